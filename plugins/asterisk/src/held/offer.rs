//! What the dialplan says about a caller when it hands them over: `AGI(agi:async,entry,dialled,from,outcome,NAME=value...)`.

use serde::{Deserialize, Serialize};

use crate::{
    frame::text,
    held::instruction::{is_variable, is_word},
};

/// What comes with a caller. Nothing in it was written by the caller's own side: the template filters what they
/// dialled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The name of the way in.
    pub entry: String,
    /// What the caller dialled.
    pub dialled: String,
    /// `queue`, `extension`, or empty for a new call.
    pub returned_from: String,
    /// How that ended, in our words.
    pub outcome: String,
    /// Names and values.
    pub variables: Vec<(String, String)>,
}

/// No `Env` of Asterisk is longer: some twenty lines, percent-encoded.
const MAX_ENV: usize = 8 * 1024;

/// What an `Env` holds, each once and in this order; the arguments follow.
const KEYS: [&str; 20] = [
    "agi_request",
    "agi_channel",
    "agi_language",
    "agi_type",
    "agi_uniqueid",
    "agi_version",
    "agi_callerid",
    "agi_calleridname",
    "agi_callingpres",
    "agi_callingani2",
    "agi_callington",
    "agi_callingtns",
    "agi_dnid",
    "agi_rdnis",
    "agi_context",
    "agi_extension",
    "agi_priority",
    "agi_enhanced",
    "agi_accountcode",
    "agi_threadid",
];

/// More arguments than these are no template's.
const MAX_ARGUMENTS: usize = 16;

impl Offer {
    /// Reads the `Env` of AsyncAGIStart.
    ///
    /// Asterisk prints the caller's number and name raw into it, so a line end in one of them makes a line of its
    /// own. That is never believed: every key comes once and in its place, or the whole `Env` is refused.
    pub fn of_env(env: &[u8]) -> Result<Self, &'static str> {
        if env.len() > MAX_ENV {
            return Err("its environment is longer than any");
        }
        let env = decoded(env).ok_or("its environment is not percent-encoded text")?;
        let mut lines = env.split('\n');
        for key in KEYS {
            let line = lines.next().unwrap_or_default();
            value_of(line, key).ok_or("its environment is not as Asterisk writes it")?;
        }
        let mut arguments = Vec::new();
        for line in lines.by_ref() {
            if line.is_empty() {
                break;
            }
            let key = format!("agi_arg_{}", arguments.len() + 1);
            let value =
                value_of(line, &key).ok_or("its arguments are not as Asterisk writes them")?;
            if arguments.len() == MAX_ARGUMENTS {
                return Err("it has more arguments than any");
            }
            arguments.push(value);
        }
        if lines.any(|line| !line.is_empty()) {
            return Err("its environment goes on behind its end");
        }
        Ok(Self::of_arguments(&arguments))
    }

    /// Reads what CoreShowChannels shows of a caller in `AGI`; none when that is another AGI.
    pub fn of_application(data: &[u8]) -> Option<Self> {
        match data.strip_prefix(b"agi:async")? {
            [] => Some(Self::default()),
            [b',', arguments @ ..] => Some(Self::of_variable(arguments)),
            _ => None,
        }
    }

    /// Reads the template's JACKFIELD_OFFER, which is the arguments.
    pub fn of_variable(value: &[u8]) -> Self {
        let value = text(value);
        let arguments: Vec<&str> = value.split(',').take(MAX_ARGUMENTS).collect();
        Self::of_arguments(&arguments)
    }

    fn of_arguments(arguments: &[&str]) -> Self {
        let argument = |index: usize| arguments.get(index).copied().unwrap_or_default();
        let returned_from = match argument(2) {
            from @ ("queue" | "extension") => from,
            _ => "",
        };
        let outcome = match returned_from {
            "" => "",
            "queue" => queue_outcome(argument(3)),
            _ => dial_outcome(argument(3)),
        };
        let variables = arguments.iter().skip(4).filter_map(|argument| {
            let (name, value) = argument.split_once('=')?;
            is_variable(name).then(|| (name.to_owned(), value.to_owned()))
        });
        Self {
            entry: word(argument(0)),
            dialled: argument(1).to_owned(),
            returned_from: returned_from.into(),
            outcome: outcome.into(),
            variables: variables.collect(),
        }
    }
}

fn word(text: &str) -> String {
    if is_word(text) { text.to_owned() } else { String::new() }
}

fn value_of<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix(": ")
}

/// QUEUESTATUS in our words.
fn queue_outcome(status: &str) -> &'static str {
    match status {
        "TIMEOUT" => "timed-out",
        "FULL" => "full",
        "JOINEMPTY" | "JOINUNAVAIL" => "join-empty",
        "LEAVEEMPTY" | "LEAVEUNAVAIL" => "leave-empty",
        "CONTINUE" => "continued",
        "WITHDRAW" => "withdrawn",
        _ => "failed",
    }
}

/// DIALSTATUS in our words.
fn dial_outcome(status: &str) -> &'static str {
    match status {
        "BUSY" => "busy",
        "NOANSWER" => "no-answer",
        "CHANUNAVAIL" => "unreachable",
        _ => "failed",
    }
}

/// Percent-decoded text; bytes that are no UTF-8 are replaced.
pub fn decoded(encoded: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = tail else { return None };
        rest = tail;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
    }
    Some(text(&bytes))
}
