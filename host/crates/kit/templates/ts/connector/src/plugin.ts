/**
 * Tells the calls of a PBX that speaks lines of text.
 *
 * | the connector says | the PBX answers |
 * | --- | --- |
 * | `HELLO client` | nothing |
 * | `LIST` | `HAS 17 ringing 5551234` for each call, then `END` |
 *
 * | by itself the PBX says | |
 * | --- | --- |
 * | `RING 17 5551234` | a call comes in |
 * | `UP 17` | it is answered |
 * | `BYE 17 16` | it is over, with its Q.850 cause |
 */
import {
    close, consumed, defineConnector, done, fact, fail, item, log, rejected, send, text, utf8,
    type Action, type Bytes, type Command, type ConnectorPlugin, type Input, type Leg, type Now, type Snapshot,
} from "../sdk/connector.ts";

/** The link's name in plugin.toml. */
const LINK = "line";
const NEWLINE = 10;

/** What the admin configures; see settings.schema.json, by which it is valid when it comes here. */
interface Settings {
    client?: string;
}

/** All it remembers. Everything else it may know comes in as data. */
interface Memory {
    client: string;
    /** The connection that is up; sends to an older one are dropped by the host. */
    epoch: number | null;
    /** Pictures asked for so far; the last one is being told while `listing`. */
    pictures: number;
    listing: boolean;
}

class Lines implements ConnectorPlugin {
    private readonly memory: Memory;

    constructor(settings: Settings, snapshot: Snapshot | null) {
        const client = settings.client ?? "jackfield";
        // With a snapshot it goes on in the middle of the same connection: after a crash, or as a newer version.
        if (snapshot === null) this.memory = { client, epoch: null, pictures: 0, listing: false };
        else if (snapshot.version === 1) this.memory = { ...(JSON.parse(text(snapshot.data)) as Memory), client };
        else throw fail("unknown-snapshot", `a snapshot of version ${snapshot.version}; this is version 1`);
    }

    /** One transaction: what it answers happens only if it returned. */
    step(_now: Now, inputs: Input[]): Action[] {
        return inputs.flatMap((input) => this.hear(input));
    }

    snapshot(): Snapshot {
        return { format: "{{id}}", version: 1, data: utf8(JSON.stringify(this.memory)) };
    }

    private hear(input: Input): Action[] {
        switch (input.tag) {
            case "link-up":
                this.memory.epoch = input.val.epoch;
                this.memory.listing = false;
                return [...this.say(`HELLO ${this.memory.client}`), ...this.askForPicture()];
            case "link-closed":
                this.memory.epoch = null;
                this.memory.listing = false;
                return [];
            case "bytes":
                return this.read(input.val);
            case "gap":
                // In the middle of a picture nobody can tell what it lacks: connect again.
                return this.memory.listing ? [close(LINK, "bytes of a picture were lost")] : this.askForPicture();
            case "command":
                return this.carryOut(input.val);
            default:
                return [];
        }
    }

    private say(line: string): Action[] {
        return this.memory.epoch === null ? [] : [send(LINK, this.memory.epoch, `${line}\n`)];
    }

    /** Every command ends exactly once: done, failed, rejected or unknown. */
    private carryOut(command: Command): Action[] {
        if (command.kind !== "resync") {
            return [rejected(command, "unknown-command", `this connector does not know \`${command.kind}\``)];
        }
        // One picture at a time; the one under way will do.
        const asked = this.memory.epoch !== null && !this.memory.listing ? this.askForPicture() : [];
        return [...asked, done(command)];
    }

    /** After each connect, and whenever something may have been missed. */
    private askForPicture(): Action[] {
        this.memory.pictures += 1;
        this.memory.listing = true;
        return [{ tag: "resync-begin", val: { id: this.memory.pictures, scope: "calls" } }, ...this.say("LIST")];
    }

    /** Deals with the whole lines. The rest stays with the host and comes again with what follows. */
    private read({ data, offset }: Bytes): Action[] {
        const actions: Action[] = [];
        let begin = 0;
        for (let end = data.indexOf(NEWLINE); end >= 0; end = data.indexOf(NEWLINE, begin)) {
            // A caller may choose the bytes of their name: nothing here may throw.
            actions.push(...this.line(text(data.subarray(begin, end)).replace(/\r+$/, "")));
            begin = end + 1;
        }
        return [...actions, consumed(LINK, offset + begin)];
    }

    private line(line: string): Action[] {
        const words = line.split(" ");
        const [word = "", id = "", third = "", fourth = ""] = words;
        const { listing, pictures } = this.memory;
        switch (`${word} ${words.length}`) {
            case "HAS 4":
                if (!listing) return [];
                return [item(pictures, { tag: "leg-started", val: leg(id, stateOf(third), fourth) })];
            case "END 1":
                if (!listing) return [];
                this.memory.listing = false;
                return [{ tag: "resync-end", val: pictures }];
            case "RING 3":
                return [fact({ tag: "leg-started", val: leg(id, "alerting", third) })];
            case "UP 2":
                return [fact({ tag: "leg-state", val: { leg: id, state: "answered" } })];
            case "BYE 3":
                return [fact({ tag: "leg-ended", val: { leg: id, cause: { q850: causeOf(third), sip: 0, text: "" }, endedBy: "" } })];
            default:
                // Its first word only: the rest may be somebody's name or number.
                log.warning(`a line that means nothing: ${word} ...`);
                return [];
        }
    }
}

export const { connector, state, settings } = defineConnector<Settings>(Lines);

function causeOf(word: string): number {
    return /^[0-9]{1,3}$/.test(word) ? Number(word) : 0;
}

function stateOf(word: string): string {
    return word === "ringing" ? "alerting" : word === "up" ? "answered" : "started";
}

function leg(id: string, state: string, number: string): Leg {
    return {
        id,
        related: null,
        direction: "from-device",
        device: `line/${id}`,
        extension: null,
        state,
        party: { number, name: "", presentation: "" },
        dialled: "",
    };
}
