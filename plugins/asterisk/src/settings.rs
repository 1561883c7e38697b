//! What the admin sets, and the rules that follow from it.

use std::{cell::RefCell, collections::BTreeMap};

use jackfield_sdk::{Error, Problem};
use regex_lite::Regex;
use serde::Deserialize;

use crate::session::{LONGEST_VALUE, is_one_line};

/// The settings as the manifest's schema has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The section of manager.conf.
    pub username: String,
    /// Which numbers are people's.
    pub extensions: String,
    /// Which devices are trunks whatever they look like; empty: none.
    pub trunks: String,
    /// Seconds of silence before a ping.
    pub keepalive_secs: u32,
    /// Ask for event filters.
    pub filters: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            username: String::new(),
            extensions: "^[0-9]{2,6}$".into(),
            trunks: String::new(),
            keepalive_secs: 15,
            filters: true,
        }
    }
}

/// Tells extensions from trunks.
#[derive(Debug)]
pub struct Rules {
    extensions: Pattern,
    trunks: Option<Pattern>,
}

/// A pattern, and what it said lately: the same few names come all day.
#[derive(Debug)]
struct Pattern {
    regex: Regex,
    said: RefCell<BTreeMap<String, bool>>,
}

/// So many answers of a pattern are kept,
const KEPT: usize = 4096;
/// for texts of at most so many bytes.
const KEPT_LENGTH: usize = 64;

/// Reads settings; an error names the setting and the fix.
pub fn read(text: &str) -> Result<(Settings, Rules), Error> {
    let problem = |problem: &Problem| {
        Error::new("bad-settings", format!("{}: {}", problem.path, problem.message))
    };
    let settings = parse(text).map_err(|found| problem(&found))?;
    let rules = Rules::new(&settings).map_err(|found| problem(&found))?;
    Ok((settings, rules))
}

/// Everything that is wrong with these settings.
pub fn problems(text: &str) -> Vec<Problem> {
    match parse(text) {
        Ok(settings) => {
            let mut found = Vec::new();
            found.extend(Rules::new(&settings).err());
            if settings.username.is_empty() {
                let message = "is empty; name the section of manager.conf to log in as";
                found.push(Problem::new("username", message));
            }
            found
        }
        Err(problem) => vec![problem],
    }
}

fn parse(text: &str) -> Result<Settings, Problem> {
    let settings: Settings =
        serde_json::from_str(text).map_err(|error| Problem::new("", error.to_string()))?;
    if !is_one_line(&settings.username) {
        let message = format!("must be one line of at most {LONGEST_VALUE} bytes");
        return Err(Problem::new("username", message));
    }
    Ok(settings)
}

impl Rules {
    fn new(settings: &Settings) -> Result<Self, Problem> {
        let compile = |path: &str, pattern: &str| {
            let regex = Regex::new(pattern).map_err(|error| {
                Problem::new(path, format!("`{pattern}` is no regular expression: {error}"))
            })?;
            Ok(Pattern { regex, said: RefCell::default() })
        };
        let trunks = match settings.trunks.as_str() {
            "" => None,
            pattern => Some(compile("trunks", pattern)?),
        };
        Ok(Self { extensions: compile("extensions", &settings.extensions)?, trunks })
    }

    /// Is this the number of an extension?
    pub fn is_extension(&self, number: &str) -> bool {
        self.extensions.is_match(number)
    }

    /// The extension a device belongs to: `1001` for `PJSIP/1001`, none for a trunk.
    pub fn of_device(&self, device: &str) -> Option<String> {
        let (technology, name) = device.split_once('/')?;
        // `Queue:sales_pause_PJSIP/1003` is one of Asterisk's own.
        let is_word = technology.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_word
            || technology == "Local"
            || self.trunks.as_ref().is_some_and(|trunks| trunks.is_match(device))
        {
            return None;
        }
        self.is_extension(name).then(|| name.to_owned())
    }

    /// The extension behind a queue member: its phone, the number a `Local/` interface dials, or its hint.
    pub fn of_member(&self, interface: &str, state_interface: &str) -> Option<String> {
        let number = |text: &str| {
            let number = text.split('@').next().unwrap_or_default();
            self.is_extension(number).then(|| number.to_owned())
        };
        self.of_device(interface)
            .or_else(|| number(interface.strip_prefix("Local/")?))
            .or_else(|| number(state_interface.strip_prefix("hint:")?))
            .or_else(|| self.of_device(state_interface))
    }
}

impl Pattern {
    fn is_match(&self, text: &str) -> bool {
        let mut said = self.said.borrow_mut();
        if let Some(known) = said.get(text) {
            return *known;
        }
        let found = self.regex.is_match(text);
        if text.len() <= KEPT_LENGTH {
            if said.len() >= KEPT {
                said.clear();
            }
            said.insert(text.into(), found);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> Rules {
        read(json).unwrap().1
    }

    #[test]
    fn a_device_that_looks_like_no_extension_is_a_trunk() {
        let rules = rules(r#"{"username":"u","trunks":"^SIP/77"}"#);
        assert_eq!(rules.of_device("PJSIP/1001").as_deref(), Some("1001"));
        assert_eq!(rules.of_device("PJSIP/trunk"), None);
        assert_eq!(rules.of_device("SIP/7700"), None);
        assert_eq!(rules.of_device("Local/1001@agents"), None);
        assert_eq!(rules.of_device("Queue:sales_pause_PJSIP/1003"), None);
    }

    #[test]
    fn a_member_is_found_by_its_phone_its_local_number_or_its_hint() {
        let rules = rules(r#"{"username":"u"}"#);
        let of = |interface, state| rules.of_member(interface, state);
        assert_eq!(of("PJSIP/1001", "PJSIP/1001").as_deref(), Some("1001"));
        assert_eq!(of("Local/5001@from-queue/n", "hint:5001@ext-local").as_deref(), Some("5001"));
        assert_eq!(of("Local/anna@from-queue/n", "hint:5001@ext-local").as_deref(), Some("5001"));
        assert_eq!(of("PJSIP/trunk", "Custom:x"), None);
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let found = problems(r#"{"username":"u","extensions":"^[0-"}"#);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "extensions");
        assert_eq!(problems("{}")[0].path, "username");
    }

    #[test]
    fn a_username_of_two_lines_is_not_even_read() {
        for name in [r"u\r\nAction: Logoff", r"u\n", r"u\u0000"] {
            let text = format!(r#"{{"username":"{name}"}}"#);
            assert_eq!(problems(&text)[0].path, "username");
            assert!(read(&text).unwrap_err().message.contains("one line"), "{name}");
        }
    }
}
