//! Instructions for a caller who is held: commands of the host, read and checked.
//!
//! Whatever a plugin decided comes through here, so nothing passes that could mean more to Asterisk than it says:
//! no line end, no `,` or `&` in a name, no path out of the sounds folder.

use jackfield_sdk::{Command, Error};
use serde::{Deserialize, Serialize};

use crate::session::{LONGEST_VALUE, is_one_line};

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Instruction {
    /// Said or played, one after the other.
    Spoken(Spoken),
    /// Done at once, whatever is being played.
    AtOnce(AtOnce),
    /// The caller goes; what is being played is cut.
    Leave(Leave),
}

/// What takes its time on the caller's channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spoken {
    /// Answer the call.
    Answer,
    /// Recordings, one after the other.
    Play(Vec<String>),
    /// A number as a word.
    SayNumber(String, Option<String>),
    /// Digit by digit.
    SayDigits(String, Option<String>),
    /// Music of this class; empty: the usual one.
    Music(String),
    /// No music.
    Silence,
}

/// What needs no waiting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AtOnce {
    /// Tell the caller's keys, or not.
    Listen(bool),
    /// Seconds until the PBX takes the caller back; 0: never.
    Lease(u32),
    /// Channel variables; `CHANNEL(language)` among them.
    Set(Vec<(String, String)>),
}

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leave {
    /// Into a queue.
    Queue {
        /// Its name.
        queue: String,
        /// Of the caller; higher is served earlier.
        priority: Option<i32>,
        /// 0: the queue's own rules.
        timeout_secs: u32,
        /// To be set before.
        variables: Vec<(String, String)>,
    },
    /// To a phone.
    Extension {
        /// Its number.
        extension: String,
        /// How long it rings.
        timeout_secs: u32,
    },
    /// To a place of the dialplan: context, extension, priority.
    Dialplan(String, String, u32),
    /// On behind the place where the caller was handed over.
    Continue,
    /// The end, with this Q.850 cause.
    HangUp(u16),
}

/// At most so many recordings in one instruction,
const MAX_MEDIA: usize = 16;
/// and variables, beside the language,
const MAX_VARIABLES: usize = 31;
/// each of so many bytes. The host holds hooks to the same.
const LONGEST_VARIABLE: usize = 512;
/// A day: longer leases, waits and rings are mistakes.
const MAX_SECS: u32 = 86_400;
/// When nothing is said of how long a phone rings.
const RING_SECS: u32 = 30;

impl Instruction {
    /// The leg it is for, and what it says.
    pub fn read(command: &Command) -> Result<(String, Self), Error> {
        let arguments = Arguments(command);
        let leg = arguments.needed("leg")?.to_owned();
        let instruction = match command.kind.as_str() {
            "leg-answer" => Self::Spoken(Spoken::Answer),
            "leg-play" => Self::Spoken(Spoken::Play(arguments.media()?)),
            "leg-say" => Self::Spoken(arguments.say()?),
            "leg-music" => Self::Spoken(Spoken::Music(match arguments.get("class")? {
                "" => String::new(),
                class => checked("class", class, is_word)?,
            })),
            "leg-silence" => Self::Spoken(Spoken::Silence),
            "leg-listen" => Self::AtOnce(AtOnce::Listen(match arguments.needed("on")? {
                "true" => true,
                "false" => false,
                _ => return Err(bad("on", "must be `true` or `false`")),
            })),
            "leg-lease" => Self::AtOnce(AtOnce::Lease(arguments.seconds("secs", None)?)),
            "leg-set" => Self::AtOnce(AtOnce::Set(arguments.variables()?)),
            "leg-to-queue" => Self::Leave(Leave::Queue {
                queue: checked("queue", arguments.needed("queue")?, is_queue)?,
                priority: match arguments.get("priority")? {
                    "" => None,
                    priority => {
                        let number = priority.parse().ok();
                        Some(number.ok_or_else(|| bad("priority", "must be a whole number"))?)
                    }
                },
                timeout_secs: arguments.seconds("timeout-secs", Some(0))?,
                variables: arguments.variables()?,
            }),
            "leg-to-extension" => Self::Leave(Leave::Extension {
                extension: checked("extension", arguments.needed("extension")?, is_number)?,
                timeout_secs: match arguments.seconds("timeout-secs", Some(0))? {
                    0 => RING_SECS,
                    secs => secs,
                },
            }),
            "leg-to-dialplan" => Self::Leave(Leave::Dialplan(
                checked("context", arguments.needed("context")?, is_word)?,
                checked("extension", arguments.needed("extension")?, is_number)?,
                match arguments.get("priority")? {
                    "" => 1,
                    priority => whole("priority", priority, 10_000)?,
                },
            )),
            "leg-continue" => Self::Leave(Leave::Continue),
            "leg-hang-up" => Self::Leave(Leave::HangUp(match arguments.get("q850")? {
                "" => 16,
                cause => whole("q850", cause, 127)? as u16,
            })),
            other => {
                let message = format!("this connector has no instruction `{other}`");
                return Err(Error::new("not-supported", message));
            }
        };
        Ok((leg, instruction))
    }
}

/// A name that means nothing but itself anywhere in a dialplan: letters of ASCII, digits, `_` and `-`.
pub fn is_word(text: &str) -> bool {
    (1..=80).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// As a word, but queues may also be named in any language and have a dot, a plus sign or an `@`.
fn is_queue(text: &str) -> bool {
    let may = |letter: char| letter.is_alphanumeric() || "_-.+@".contains(letter);
    (1..=80).contains(&text.len()) && text.chars().all(may)
}

/// A number that can be dialled, or an extension with a name.
fn is_number(text: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.+*#".contains(&byte);
    (1..=80).contains(&text.len()) && text.bytes().all(may)
}

/// A recording, named below the sounds folder: never absolute, never upwards.
fn is_media(text: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    (1..=120).contains(&text.len())
        && text.bytes().all(may)
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
}

/// A name that a channel variable may have; those that steer the template, tell an outcome, reach a shell or open
/// contexts to a caller are not for plugins. The host's hooks are held to the same.
pub fn is_variable(name: &str) -> bool {
    const OURS: [&str; 8] = [
        "QUEUESTATUS",
        "DIALSTATUS",
        "PLAYBACKSTATUS",
        "AGISTATUS",
        "QUEUE_PRIO",
        "TRANSFER_CONTEXT",
        "FORWARD_CONTEXT",
        "GOTO_ON_BLINDXFR",
    ];
    const FAMILIES: [&str; 3] = ["JACKFIELD_", "MONITOR", "MIXMONITOR"];
    let bare = name.trim_start_matches('_').to_ascii_uppercase();
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && bare.starts_with(|first: char| first.is_ascii_alphabetic())
        && !FAMILIES.iter().any(|family| bare.starts_with(family))
        && !OURS.contains(&bare.as_str())
}

fn is_language(text: &str) -> bool {
    (2..=20).contains(&text.len()) && is_word(text)
}

fn checked(name: &str, text: &str, is_fine: impl Fn(&str) -> bool) -> Result<String, Error> {
    if is_fine(text) {
        return Ok(text.to_owned());
    }
    Err(bad(name, "holds a character that it cannot have, or is too long"))
}

fn whole(name: &str, text: &str, most: u32) -> Result<u32, Error> {
    let number = text.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| bad(name, &format!("must be a whole number from 0 to {most}")))
}

fn bad(name: &str, message: &str) -> Error {
    Error::new("bad-argument", format!("`{name}` {message}"))
}

struct Arguments<'a>(&'a Command);

impl<'a> Arguments<'a> {
    /// Empty when not given.
    fn get(&self, name: &str) -> Result<&'a str, Error> {
        let value = self.0.argument(name).unwrap_or_default();
        if is_one_line(value) {
            Ok(value)
        } else {
            Err(bad(name, &format!("must be one line of at most {LONGEST_VALUE} bytes")))
        }
    }

    fn needed(&self, name: &str) -> Result<&'a str, Error> {
        match self.get(name)? {
            "" => Err(bad(name, "is missing")),
            value => Ok(value),
        }
    }

    fn seconds(&self, name: &str, unsaid: Option<u32>) -> Result<u32, Error> {
        match (self.get(name)?, unsaid) {
            ("", Some(unsaid)) => Ok(unsaid),
            ("", None) => Err(bad(name, "is missing")),
            (secs, _) => whole(name, secs, MAX_SECS),
        }
    }

    fn media(&self) -> Result<Vec<String>, Error> {
        let given = self.0.arguments.iter().filter(|(name, _)| name == "media");
        let media: Vec<String> =
            given.map(|(_, media)| checked("media", media, is_media)).collect::<Result<_, _>>()?;
        match media.len() {
            0 => Err(bad("media", "is missing")),
            1..=MAX_MEDIA => Ok(media),
            _ => Err(bad("media", &format!("is given more than {MAX_MEDIA} times"))),
        }
    }

    fn language(&self) -> Result<Option<String>, Error> {
        match self.get("language")? {
            "" => Ok(None),
            language => checked("language", language, is_language).map(Some),
        }
    }

    fn say(&self) -> Result<Spoken, Error> {
        let value = self.needed("value")?;
        let digits = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        match self.needed("kind")? {
            "number" if digits(value.strip_prefix('-').unwrap_or(value), 9) => {
                Ok(Spoken::SayNumber(value.into(), self.language()?))
            }
            "number" => Err(bad("value", "must be a whole number of at most nine digits")),
            "digits" if digits(&value.replace(['*', '#'], "0"), 40) => {
                Ok(Spoken::SayDigits(value.into(), self.language()?))
            }
            "digits" => Err(bad("value", "must be at most 40 digits, `*` or `#`")),
            _ => Err(bad("kind", "must be `number` or `digits`")),
        }
    }

    /// `variable.NAME` and `language`, as they are set on the channel.
    fn variables(&self) -> Result<Vec<(String, String)>, Error> {
        let mut found = Vec::new();
        for (key, value) in &self.0.arguments {
            let Some(name) = key.strip_prefix("variable.") else { continue };
            if !is_variable(name) {
                return Err(bad(key, "is no variable that may be set"));
            }
            if value.len() > LONGEST_VARIABLE || value.contains(char::is_control) {
                return Err(bad(
                    key,
                    &format!("must be one line of at most {LONGEST_VARIABLE} bytes"),
                ));
            }
            found.push((name.to_owned(), value.clone()));
        }
        if found.len() > MAX_VARIABLES {
            return Err(bad("variable", &format!("is given more than {MAX_VARIABLES} times")));
        }
        if let Some(language) = self.language()? {
            found.push((LANGUAGE.into(), language));
        }
        Ok(found)
    }
}

/// What Asterisk calls the language of a channel.
pub const LANGUAGE: &str = "CHANNEL(language)";
