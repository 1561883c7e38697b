//! What a hook is given.

#![allow(clippy::derivable_impls, reason = "the types are generated")]

use super::{Call, CivilTime, Now, Party, Patch, Waiting, Wishes};

impl Call {
    /// A channel variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        find(&self.variables, name)
    }

    /// Something known of the call.
    pub fn fact(&self, name: &str) -> Option<&str> {
        find(&self.facts, name)
    }

    /// The civil time in a zone, which [`Wishes`] asked for.
    pub fn time_in(&self, zone: &str) -> Option<&CivilTime> {
        self.times.iter().find(|time| time.zone == zone)
    }

    /// The civil time at the site.
    pub fn site_time(&self) -> Option<&CivilTime> {
        self.times.first()
    }

    /// Does it come for the first time?
    pub fn is_new(&self) -> bool {
        self.returned_from.is_empty()
    }
}

impl Waiting {
    /// A fact that the router gave to the treatment.
    pub fn fact(&self, name: &str) -> Option<&str> {
        find(&self.facts, name)
    }
}

impl CivilTime {
    /// Minutes since midnight.
    pub fn minute_of_day(&self) -> u16 {
        u16::from(self.hour) * 60 + u16::from(self.minute)
    }
}

impl Wishes {
    /// The civil time in these zones, by their IANA names. The site's own comes always.
    pub fn time_zones(zones: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { time_zones: zones.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

/// The first value of that name.
pub(super) fn find<'a>(attributes: &'a [(String, String)], name: &str) -> Option<&'a str> {
    attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

impl Default for Wishes {
    fn default() -> Self {
        Self { time_zones: Vec::new(), facts: Vec::new() }
    }
}

impl Default for Patch {
    fn default() -> Self {
        Self { priority: None, language: None, variables: Vec::new(), facts: Vec::new() }
    }
}

/// Any moment will do for a test, as long as it is always the same: 2026-01-01T00:00:00Z, an hour after boot.
impl Default for Now {
    fn default() -> Self {
        Self { monotonic_ns: 3_600_000_000_000, wall_ns: 1_767_225_600_000_000_000 }
    }
}

impl Default for Party {
    fn default() -> Self {
        Self { number: String::new(), name: String::new(), presentation: String::new() }
    }
}

/// A new call of which nothing is known, to build one for a test.
impl Default for Call {
    fn default() -> Self {
        Self {
            id: "call-1".into(),
            connector: "hq".into(),
            entry: String::new(),
            dialled: String::new(),
            caller: Party::default(),
            caller_e164: String::new(),
            returned_from: String::new(),
            outcome: String::new(),
            attempt: 1,
            age_ms: 0,
            priority: None,
            language: String::new(),
            variables: Vec::new(),
            times: Vec::new(),
            facts: Vec::new(),
        }
    }
}

/// Somebody who begins to wait, to build one for a test.
impl Default for Waiting {
    fn default() -> Self {
        Self {
            call: Call::default(),
            waited_ms: 0,
            then: None,
            facts: Vec::new(),
            position: None,
            estimate_secs: None,
        }
    }
}
