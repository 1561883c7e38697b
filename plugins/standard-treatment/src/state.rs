//! What is remembered of a caller between two calls of the hook: small, and read by newer versions too.

use serde::{Deserialize, Serialize};

/// The version this one writes.
const VERSION: u32 = 1;

/// A caller. Every field has a default, so that a newer version reads what an older one wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Version of the layout.
    #[serde(rename = "v")]
    pub version: u32,
    /// Where in the treatment.
    pub at: Stage,
    /// The step of the stage's script with which the present plan begins.
    pub from: usize,
    /// Was the greeting heard, or part of it?
    pub greeted: bool,
    /// The menu, while in one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub menu: String,
    /// Rounds of the menu that led nowhere.
    pub rounds: u32,
    /// Why the menu is heard again.
    pub again: Again,
    /// The menu and the key that chose where to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<(String, String)>,
    /// Chosen by key; empty: the call's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub language: String,
    /// Is a lookup under way?
    pub asked: bool,
    /// How often a place did not take the caller.
    pub back: u32,
    /// Hand over again at this time of the wait, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again_at: Option<u64>,
    /// The next announcement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announce_at: Option<u64>,
    /// Announcements so far.
    pub announced: usize,
    /// Is the last of them under way?
    pub announcing: bool,
}

/// Where in the treatment a caller is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Greeting.
    #[default]
    Begin,
    /// The notice.
    Consent,
    /// Choosing by key.
    Menu,
    /// Music.
    Hold,
    /// Handed over.
    Leave,
    /// Nobody is there.
    Closed,
    /// Waited too long.
    Overflow,
    /// No place took them.
    End,
    /// A stage of a newer version.
    #[serde(other)]
    Unknown,
}

/// Why a menu is heard again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Again {
    /// It is the first time.
    #[default]
    No,
    /// A key that means nothing.
    Wrong,
    /// No key.
    Nothing,
    /// A reason of a newer version.
    #[serde(other)]
    Unknown,
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            at: Stage::Begin,
            from: 0,
            greeted: false,
            menu: String::new(),
            rounds: 0,
            again: Again::No,
            chosen: None,
            language: String::new(),
            asked: false,
            back: 0,
            again_at: None,
            announce_at: None,
            announced: 0,
            announcing: false,
        }
    }
}

impl State {
    /// What was written, by this version or another. What cannot be read is a caller who has heard the greeting:
    /// they are handed over rather than greeted twice.
    pub fn read(bytes: &[u8]) -> Self {
        let read: Option<Self> =
            (bytes.len() <= 4096).then(|| serde_json::from_slice(bytes).ok()).flatten();
        match read {
            Some(state) if state.at != Stage::Unknown => Self { version: VERSION, ..state },
            _ => Self { at: Stage::Leave, ..Self::default() },
        }
    }

    /// As it is given back to the host.
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// In another stage, from its first step.
    pub fn enter(&mut self, stage: Stage) {
        (self.at, self.from) = (stage, 0);
    }
}
