//! Where a caller goes, as an admin writes it.

use std::fmt;

use jackfield_sdk::hooks::Target;
use serde_json::Value;

use crate::reader::Reader;

/// The longest name of a queue, extension or context.
const LONGEST: usize = 80;

/// What may be written, for people.
const FORMS: &str = "write \"queue:NAME\", \"extension:NUMBER\", \"dialplan:CONTEXT,EXTENSION,PRIORITY\", \
                     \"continue-in-dialplan\", \"hang-up\", \"busy\" or \"reject\" (\"hang-up:21\" for a cause of your own)";

/// Where a caller goes: a text such as `queue:support`, or a table with `to`, `timeout_secs` and `priority`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    to: To,
    /// In the queue; none: the call's.
    priority: Option<i32>,
    /// 0: as usual.
    timeout_secs: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum To {
    Queue(String),
    Extension(String),
    Dialplan { context: String, extension: String, priority: u32 },
    Continue,
    HangUp(u16),
}

impl Place {
    /// A queue with its own rules.
    pub fn queue(name: &str) -> Self {
        Self::of(To::Queue(name.to_owned()))
    }

    /// The end of the call, politely.
    pub fn hang_up() -> Self {
        Self::of(To::HangUp(16))
    }

    /// Reads it; a problem is told to the reader.
    pub fn read(it: &Reader<'_>) -> Option<Self> {
        if let Value::String(_) = it.value() {
            return Some(Self::of(to(it)?));
        }
        if !it.value().is_object() {
            it.complain(FORMS);
            return None;
        }
        it.only(&["to", "timeout_secs", "priority"]);
        let Some(target) = it.get("to") else {
            it.complain_of("to", format!("is missing: {FORMS}"));
            return None;
        };
        let place = Self {
            to: to(&target)?,
            priority: it.number_of("priority", 0..=1_000_000),
            timeout_secs: it.number_of("timeout_secs", 1..=86_400).unwrap_or(0),
        };
        if place.priority.is_some() && !matches!(place.to, To::Queue(_)) {
            it.complain_of("priority", "is for queues only");
        }
        if place.timeout_secs > 0 && !matches!(place.to, To::Queue(_) | To::Extension(_)) {
            it.complain_of("timeout_secs", "is for queues and extensions only");
        }
        Some(place)
    }

    /// Reads one in a table, when it is there.
    pub fn of_setting(it: &Reader<'_>, name: &str) -> Option<Self> {
        it.get(name).and_then(|it| Self::read(&it))
    }

    /// Does the call end there?
    pub fn is_end(&self) -> bool {
        matches!(self.to, To::HangUp(_))
    }

    /// In the words of the contract.
    pub fn target(&self) -> Target {
        let target = match &self.to {
            To::Queue(name) => Target::queue(name),
            To::Extension(number) => Target::extension(number),
            To::Dialplan { context, extension, priority } => {
                let mut target = Target::dialplan(context, extension);
                if let Target::Dialplan(dialplan) = &mut target {
                    dialplan.priority = *priority;
                }
                target
            }
            To::Continue => Target::ContinueInDialplan,
            To::HangUp(q850) => Target::hang_up(*q850),
        };
        let target = target.for_secs(self.timeout_secs);
        match self.priority {
            Some(priority) => target.with_priority(priority),
            None => target,
        }
    }

    fn of(to: To) -> Self {
        Self { to, priority: None, timeout_secs: 0 }
    }
}

/// As an admin writes it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            To::Queue(name) => write!(f, "queue:{name}"),
            To::Extension(number) => write!(f, "extension:{number}"),
            To::Dialplan { context, extension, priority } => {
                write!(f, "dialplan:{context},{extension},{priority}")
            }
            To::Continue => f.write_str("continue-in-dialplan"),
            To::HangUp(q850) => write!(f, "hang-up:{q850}"),
        }
    }
}

fn to(it: &Reader<'_>) -> Option<To> {
    let text = it.text()?;
    let found = match text.split_once(':').map_or((text.as_str(), ""), |(kind, name)| (kind, name))
    {
        ("queue", name) if is_queue(name) => To::Queue(name.to_owned()),
        ("extension", number) if is_extension(number) => To::Extension(number.to_owned()),
        ("dialplan", place) => dialplan(place).or_else(|| {
            it.complain(format!("{text:?} is no place in the dialplan: {FORMS}"));
            None
        })?,
        ("continue-in-dialplan", "") => To::Continue,
        ("hang-up", "") => To::HangUp(16),
        ("busy", "") => To::HangUp(17),
        ("reject", "") => To::HangUp(21),
        ("hang-up" | "reject", cause) => match cause.parse() {
            Ok(q850 @ 1..=127) => To::HangUp(q850),
            _ => {
                it.complain(format!("{cause:?} is no Q.850 cause; write a number from 1 to 127"));
                return None;
            }
        },
        ("queue" | "extension", _) => {
            it.complain(format!(
                "{text:?} has a name that no PBX can be told: letters, digits, `-`, `_`, `.`, `*`, `#` and `+` are \
                 possible, at most {LONGEST}"
            ));
            return None;
        }
        _ => {
            it.complain(format!("{text:?} is no place for a caller: {FORMS}"));
            return None;
        }
    };
    Some(found)
}

fn dialplan(place: &str) -> Option<To> {
    let mut parts = place.split(',').map(str::trim);
    let (context, extension) = (parts.next()?, parts.next()?);
    let priority = parts.next().map_or(Some(1), |priority| priority.parse().ok())?;
    let fine = parts.next().is_none() && (1..=10_000).contains(&priority);
    (fine && is_context(context) && is_extension(extension)).then(|| To::Dialplan {
        context: context.to_owned(),
        extension: extension.to_owned(),
        priority,
    })
}

/// The name of a recording: a path below the PBX's sounds, e.g. `custom/closed`, without what begins something else.
pub fn is_recording(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let is_below = name.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    name.len() <= 120 && is_below && name.chars().all(fine)
}

/// Recordings in a table, one or several; played one after the other.
pub fn recordings(it: &Reader<'_>, name: &str) -> Vec<String> {
    it.get(name).map(|it| recordings_at(&it)).unwrap_or_default()
}

/// One recording or several.
pub fn recordings_at(it: &Reader<'_>) -> Vec<String> {
    let names = it.texts(16);
    for name in names.iter().filter(|name| !is_recording(name)) {
        it.complain(format!(
            "{name:?} is no name of a recording; write it as the PBX knows it, e.g. \"custom/closed\", without its \
             ending"
        ));
    }
    names
}

/// The name of a queue; `&`, `,`, `|` and the like begin something else in a PBX.
pub fn is_queue(name: &str) -> bool {
    is_made_of(name, |c| c.is_alphanumeric() || "_-.+@".contains(c))
}

fn is_extension(number: &str) -> bool {
    is_made_of(number, |c| c.is_ascii_alphanumeric() || "_-.+*#".contains(c))
}

fn is_context(name: &str) -> bool {
    is_made_of(name, |c| c.is_ascii_alphanumeric() || "_-".contains(c))
}

fn is_made_of(name: &str, fine: impl Fn(char) -> bool) -> bool {
    !name.is_empty() && name.len() <= LONGEST && name.chars().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    fn read(value: serde_json::Value) -> Result<String, String> {
        settings(&serde_json::json!({ "to": value }).to_string(), |it| Place::of_setting(it, "to"))
            .map(|place| format!("{:?}", place.expect("no problem").target()))
            .map_err(|problems| format!("{}: {}", problems[0].path, problems[0].message))
    }

    #[test]
    fn every_kind_of_place_can_be_written() {
        for (written, meant) in [
            ("queue:support", Target::queue("support")),
            ("extension:1001", Target::extension("1001")),
            ("dialplan:from-inside,s,3", {
                let mut target = Target::dialplan("from-inside", "s");
                if let Target::Dialplan(dialplan) = &mut target {
                    dialplan.priority = 3;
                }
                target
            }),
            ("continue-in-dialplan", Target::ContinueInDialplan),
            ("hang-up", Target::hang_up(16)),
            ("busy", Target::hang_up(17)),
            ("reject", Target::hang_up(21)),
            ("reject:34", Target::hang_up(34)),
        ] {
            assert_eq!(read(written.into()), Ok(format!("{meant:?}")));
        }
        let table = serde_json::json!({ "to": "queue:a", "timeout_secs": 60, "priority": 3 });
        let meant = Target::queue("a").for_secs(60).with_priority(3);
        assert_eq!(read(table), Ok(format!("{meant:?}")));
    }

    #[test]
    fn what_no_pbx_may_be_told_is_a_problem_with_its_path() {
        for absurd in [
            "queue:",
            "queue:a&b",
            "queue:a,b",
            "extension:100 1",
            "extension:1|2",
            "dialplan:a",
            "dialplan:a,b,0",
            "dialplan:a,b,1,2",
            "hang-up:0",
            "hang-up:128",
            "reject:no",
            "moon",
            "",
        ] {
            let problem = read(absurd.into()).unwrap_err();
            assert!(problem.starts_with("to: "), "{absurd}: {problem}");
        }
        let long = format!("queue:{}", "x".repeat(81));
        assert!(read(long.into()).is_err());
        assert!(read(serde_json::json!(7)).unwrap_err().starts_with("to: write"));
        assert!(read(serde_json::json!({})).unwrap_err().starts_with("to.to: is missing"));
        let odd = serde_json::json!({ "to": "hang-up", "priority": 1 });
        assert_eq!(read(odd).unwrap_err(), "to.priority: is for queues only");
        let absurd = serde_json::json!({ "to": "queue:a", "timeout_secs": 0 });
        assert!(read(absurd).unwrap_err().starts_with("to.timeout_secs: must be"));
    }
}
