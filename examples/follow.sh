#!/bin/sh
# Follows Jackfield's events without missing one, across disconnects and restarts of either side.
#
#   JACKFIELD=http://127.0.0.1:8080 TOKEN=jf_... ./follow.sh [CURSOR_FILE]
#
# Prints one event a line, as JSON. The cursor is written after an event is out, so a crash in between repeats
# that one event (its "seq" tells) and never loses one.
set -eu
cursor=${1:-jackfield.cursor}
[ -s "$cursor" ] || echo 0 > "$cursor"

while :; do
    # The token comes by standard input: every user of the machine can see arguments (`ps`).
    printf 'Authorization: Bearer %s\n' "$TOKEN" | curl --silent --show-error --no-buffer --fail --max-time "${MAX_SECONDS:-0}" \
        -H @- -H "Last-Event-ID: $(cat "$cursor")" \
        "$JACKFIELD/v1/events" |
        while IFS= read -r line; do
            case $line in
                'id: '*) id=${line#id: } ;;
                'event: '*) kind=${line#event: } ;;
                'data: '*) data=${line#data: } ;;
                '')
                    case ${kind:-} in
                        '' | heartbeat) ;;
                        # Too much was missed: this is the whole state now. See "snapshot" in host/docs/api.md.
                        *) printf '%s\n' "${data:-}" ;;
                    esac
                    if [ -n "${id:-}" ]; then
                        echo "$id" > "$cursor.new" && mv "$cursor.new" "$cursor"
                    fi
                    id='' kind='' data=''
                    ;;
            esac
        done || :
    [ -z "${ONCE:-}" ] || exit 0
    sleep 1
done
