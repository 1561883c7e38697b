//! The call a hook decides about, and what it changes on it.

use std::time::Duration;

use calls::fact::RawParty;

/// Growing knowledge: names and values.
pub type Attributes = Vec<(String, String)>;

/// What a hook needs with every call: its answer to `init`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// IANA names of the time zones whose civil time it reads, at most [`MAX_TIME_ZONES`](super::MAX_TIME_ZONES).
    pub time_zones: Vec<String>,
    /// Growing knowledge.
    pub facts: Attributes,
}

/// What a clock on the wall shows in one time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CivilTime {
    /// IANA name.
    pub zone: String,
    /// E.g. 2026.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 1 is Monday, 7 is Sunday.
    pub weekday: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// Daylight saving time is in force.
    pub dst: bool,
    /// East of Greenwich is positive.
    pub utc_offset_minutes: i16,
}

/// A call that waits for a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The host's id of it.
    pub id: String,
    /// The connector it came through.
    pub connector: String,
    /// What the dialplan calls this way in; empty when it says nothing.
    pub entry: String,
    /// The number the caller dialled.
    pub dialled: String,
    /// Who calls, as the network says.
    pub caller: RawParty,
    /// The caller's number in E.164 with `+`; empty when it is no valid number.
    pub caller_e164: String,
    /// Empty for a new call; else `queue`, `extension` or `treatment`.
    pub returned_from: String,
    /// How that ended, e.g. `timed-out`.
    pub outcome: String,
    /// 1 for a new call; counts every time it is decided.
    pub attempt: u32,
    /// Since the PBX first handed it over.
    pub age: Duration,
    /// Set by a hook before this one.
    pub priority: Option<i32>,
    /// E.g. `de`; empty when unknown.
    pub language: String,
    /// Channel variables.
    pub variables: Attributes,
    /// The civil time at the site, then in the zones the hook wishes for.
    pub times: Vec<CivilTime>,
    /// Growing knowledge, also what hooks before this one found out.
    pub facts: Attributes,
}

/// What a hook changes on the call for those after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// Higher is served earlier.
    pub priority: Option<i32>,
    /// E.g. `de`: letters, digits, `-` and `_`.
    pub language: Option<String>,
    /// Channel variables, also seen by the PBX. Names are letters, digits and `_`; values are one line.
    pub variables: Attributes,
    /// Seen by hooks only.
    pub facts: Attributes,
}

impl Patch {
    /// Does it change nothing?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
