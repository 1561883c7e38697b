//! What a PBX may be told: names that mean nothing but themselves wherever they are put.

use super::{MAX_LIST, MAX_VARIABLES};

/// Longest name of anything, in bytes.
pub(super) const MAX_NAME: usize = 80;
/// Longest name of a channel variable, in bytes; this and the next two are the Asterisk connector's too.
const MAX_VARIABLE_NAME: usize = 64;
/// Channel variables that steer the PBX or tell an outcome, or open contexts to a caller,
const STEERING: [&str; 8] = [
    "QUEUESTATUS",
    "DIALSTATUS",
    "PLAYBACKSTATUS",
    "AGISTATUS",
    "QUEUE_PRIO",
    "TRANSFER_CONTEXT",
    "FORWARD_CONTEXT",
    "GOTO_ON_BLINDXFR",
];
/// and how the names of those begin that a shell gets, or whose recordings they steer.
const STEERING_FAMILIES: [&str; 2] = ["MONITOR", "MIXMONITOR"];
/// How the names of facts begin that only the host tells.
const HOSTS_FACTS: &str = "jackfield.";
/// Longest value of a channel variable, in bytes.
const MAX_VARIABLE: usize = 512;
/// Longest value of a fact, in bytes.
const MAX_FACT: usize = 4096;
/// Longest word in a message about it.
const MAX_SHOWN: usize = 40;

/// A queue's name: letters and digits of any language, `_`, `-`, `.`, `+` and `@`.
pub(super) fn queue(name: String) -> Result<String, String> {
    check("queue", name, |letter| letter.is_alphanumeric() || "_-.+@".contains(letter))
}

/// An extension: letters, digits, `*`, `#`, `+`, `-`, `.` and `_`.
pub(super) fn extension(number: String) -> Result<String, String> {
    check("extension", number, |letter| letter.is_ascii_alphanumeric() || "_-.+*#".contains(letter))
}

/// The name of a context, a music class, an instance: letters, digits, `_` and `-`.
pub(super) fn word(what: &str, name: String) -> Result<String, String> {
    check(what, name, |letter| letter.is_ascii_alphanumeric() || "_-".contains(letter))
}

/// As [`word`], or empty.
pub(super) fn word_or_none(what: &str, name: String) -> Result<String, String> {
    if name.is_empty() { Ok(name) } else { word(what, name) }
}

/// A recording, below the PBX's folder of them: never absolute, never upwards.
pub(super) fn media(name: String) -> Result<String, String> {
    let is_below = name.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    if name.len() > 120 || !is_below {
        return Err(format!(
            "the recording {}; use a name like `queue-thankyou` or `custom/greeting`, at most 120 bytes",
            shown(&name)
        ));
    }
    check_letters("recording", name, |letter| {
        letter.is_ascii_alphanumeric() || "_-./".contains(letter)
    })
}

/// A channel variable that hooks may set.
pub(super) fn variable((name, value): (String, String)) -> Result<(String, String), String> {
    let name =
        check("channel variable", name, |letter| letter.is_ascii_alphanumeric() || letter == '_')?;
    let bare = name.trim_start_matches('_');
    if !bare.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Err(format!("the channel variable {}; begin with a letter", shown(&name)));
    }
    if name.len() > MAX_VARIABLE_NAME {
        return Err(format!(
            "the channel variable {}; at most {MAX_VARIABLE_NAME} bytes",
            shown(&name)
        ));
    }
    let upper = bare.to_ascii_uppercase();
    if STEERING.contains(&upper.as_str())
        || STEERING_FAMILIES.iter().any(|family| upper.starts_with(family))
    {
        return Err(format!("the channel variable {}, which steers the PBX", shown(&name)));
    }
    if upper.starts_with("JACKFIELD_") {
        return Err(format!("the channel variable {}, which is the host's own", shown(&name)));
    }
    if value.len() > MAX_VARIABLE || value.contains(char::is_control) {
        return Err(format!(
            "the value of the channel variable {}; at most {MAX_VARIABLE} bytes on one line",
            shown(&name)
        ));
    }
    Ok((name, value))
}

/// A fact: a name, and a value without control characters other than ends of lines.
pub(super) fn fact((name, value): (String, String)) -> Result<(String, String), String> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
        return Err(format!("a fact called {}; use 1 to {MAX_NAME} printable bytes", shown(&name)));
    }
    if name.starts_with(HOSTS_FACTS) {
        return Err(format!(
            "the fact {}; names that begin with `{HOSTS_FACTS}` are the host's",
            shown(&name)
        ));
    }
    let is_odd = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    if value.len() > MAX_FACT || value.contains(is_odd) {
        return Err(format!(
            "the value of the fact {}; at most {MAX_FACT} bytes of text",
            shown(&name)
        ));
    }
    Ok((name, value))
}

/// E.g. `de` or `en_GB`.
pub(super) fn language(name: String) -> Result<String, String> {
    if (2..=20).contains(&name.len()) {
        return word("language", name);
    }
    Err(format!("the language {}; use 2 to 20 letters, e.g. `de`", shown(&name)))
}

/// Keys, each once.
pub(super) fn keys(what: &str, keys: String) -> Result<String, String> {
    let is_once = |(at, key): (usize, char)| is_key(key) && !keys[..at].contains(key);
    if keys.len() <= 16 && keys.char_indices().all(is_once) {
        return Ok(keys);
    }
    Err(format!("the {what} {}; use 0-9, *, #, A-D, each at most once", shown(&keys)))
}

/// A key of a telephone.
pub(super) fn is_key(key: char) -> bool {
    key.is_ascii_digit() || matches!(key, '*' | '#' | 'A'..='D')
}

/// A list that is not too long.
pub(super) fn bounded<T>(what: &str, list: Vec<T>, most: usize) -> Result<Vec<T>, String> {
    if list.len() <= most {
        return Ok(list);
    }
    Err(format!("{} {what}; at most {most}", list.len()))
}

pub(super) fn facts(list: Vec<(String, String)>) -> Result<Vec<(String, String)>, String> {
    bounded("facts", list, MAX_LIST)?.into_iter().map(fact).collect()
}

pub(super) fn variables(list: Vec<(String, String)>) -> Result<Vec<(String, String)>, String> {
    bounded("channel variables", list, MAX_VARIABLES)?.into_iter().map(variable).collect()
}

/// A guest's word in a message: short, on one line, in quotes.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_SHOWN).flat_map(char::escape_default).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        short.push_str("...");
    }
    format!("`{short}`")
}

fn check(what: &str, name: String, is_fine: impl Fn(char) -> bool) -> Result<String, String> {
    if name.is_empty() {
        return Err(format!("a {what} with an empty name"));
    }
    if name.len() > MAX_NAME {
        return Err(format!(
            "the {what} {} of {} bytes; at most {MAX_NAME}",
            shown(&name),
            name.len()
        ));
    }
    check_letters(what, name, is_fine)
}

fn check_letters(
    what: &str,
    name: String,
    is_fine: impl Fn(char) -> bool,
) -> Result<String, String> {
    match name.chars().find(|&letter| !is_fine(letter)) {
        None => Ok(name),
        Some(odd) => Err(format!(
            "the {what} {}; `{}` cannot be in its name",
            shown(&name),
            odd.escape_default()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_nothing_that_a_pbx_takes_for_more() {
        for odd in
            ["a&b", "a,b", "a b", "a\r\nb", "${X}", "a|b", "a\"b", "a;b", "", &"x".repeat(81)]
        {
            let refused = [
                queue(odd.into()),
                extension(odd.into()),
                word("context", odd.into()),
                media(odd.into()).and_then(|_| {
                    if odd.len() == 81 { Err("long".into()) } else { Ok(odd.into()) }
                }),
                variable((odd.into(), String::new())).map(|(name, _)| name),
            ];
            assert!(refused.iter().all(Result::is_err), "{odd:?}: {refused:?}");
        }
        assert_eq!(queue("a&b".into()).unwrap_err(), "the queue `a&b`; `&` cannot be in its name");
        assert_eq!(
            extension("\n".into()).unwrap_err(),
            "the extension `\\n`; `\\n` cannot be in its name"
        );
        assert_eq!(queue("".into()).unwrap_err(), "a queue with an empty name");
    }

    #[test]
    fn names_that_pbxs_have_are_fine() {
        for name in ["vip", "500", "Zentrale-München", "sales.emea", "a@b", "q_1+"] {
            assert_eq!(queue(name.into()).as_deref(), Ok(name));
        }
        for number in ["1001", "*98", "+49301234", "s", "user.name"] {
            assert_eq!(extension(number.into()).as_deref(), Ok(number));
        }
        for name in ["queue-thankyou", "custom/greeting", "en_GB/hello.v2"] {
            assert_eq!(media(name.into()).as_deref(), Ok(name));
        }
        for name in ["CUSTOMER", "__TIER", "x1"] {
            assert!(variable((name.into(), "gold".into())).is_ok());
        }
    }

    #[test]
    fn recordings_stay_below_their_folder() {
        for name in ["/etc/passwd", "../voicemail/1001", "a/../b", "a//b", ".hidden", "http://x/y"]
        {
            assert!(media(name.into()).is_err(), "{name}");
        }
    }

    #[test]
    fn variables_of_the_host_and_values_of_two_lines_are_refused() {
        assert!(variable(("JACKFIELD_QUEUE".into(), "x".into())).is_err());
        assert!(variable(("__jackfield_goto".into(), "x".into())).is_err());
        assert!(variable(("X".into(), "a\nb".into())).is_err());
        assert!(variable(("CHANNEL(language)".into(), "de".into())).is_err());
    }

    #[test]
    fn no_variable_that_reaches_a_shell_or_opens_a_context_is_set() {
        for name in [
            "MONITOR_EXEC",
            "_MONITOR_EXEC_ARGS",
            "__MixMonitor_Filename",
            "TRANSFER_CONTEXT",
            "__FORWARD_CONTEXT",
            "goto_on_blindxfr",
            "QUEUE_PRIO",
            "QUEUESTATUS",
        ] {
            assert!(variable((name.into(), "x".into())).is_err(), "{name}");
        }
        assert!(variable(("A".repeat(65), String::new())).is_err());
        assert!(variable(("A".into(), "x".repeat(512))).is_ok());
        assert!(variable(("A".into(), "x".repeat(513))).is_err());
        let many = |count| (0..count).map(|at| (format!("V{at}"), String::new())).collect();
        assert!(variables(many(31)).is_ok());
        assert!(variables(many(32)).is_err());
    }

    #[test]
    fn keys_are_those_of_a_telephone_each_once() {
        assert_eq!(keys("keys", "12*#A".into()).as_deref(), Ok("12*#A"));
        assert_eq!(keys("keys", "".into()).as_deref(), Ok(""));
        for odd in ["11", "E", "1 2", "1,2"] {
            assert!(keys("keys", odd.into()).is_err(), "{odd}");
        }
    }

    #[test]
    fn what_a_guest_said_is_shown_short_and_on_one_line() {
        assert_eq!(shown("a\u{1b}[2J\nb"), "`a\\u{1b}[2J\\nb`");
        assert_eq!(shown(&"x".repeat(1000)).len(), 40 + 3 + 2);
    }
}
