//! The nouns inside events and answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// Someone at the far end of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Party {
    /// The number as the network sent it; empty when it sent none.
    #[schema(example = "030 1234567")]
    pub raw: String,
    /// The number in E.164, when `raw` is a valid one by the connector's country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "+49301234567")]
    pub e164: Option<String>,
    /// The extension, when the party is one of the PBX's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "1001")]
    pub extension: Option<String>,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "Anna")]
    pub name: Option<String>,
    /// May the number be shown to people?
    pub presentation: Presentation,
}

/// May a number be shown to people?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Presentation {
    /// Yes, or nobody said otherwise.
    #[default]
    Allowed,
    /// The caller withheld it.
    Restricted,
    /// There is none.
    Unavailable,
}

/// Why something ended: our word, and what the PBX said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cause {
    /// `normal`, `busy`, `no-answer`, `rejected`, `unreachable`, `invalid-number`, `congestion`, `cancelled`,
    /// `answered-elsewhere`, `not-allowed`, `media-failed`, `lost` or `unknown`; more may come.
    #[schema(example = "normal")]
    pub code: String,
    /// ITU-T Q.850 value; 0 when there was none.
    #[serde(default)]
    pub q850: u16,
    /// SIP status of the far end; 0 when there was none.
    #[serde(default)]
    pub sip: u16,
    /// The PBX's own text.
    #[serde(default)]
    #[schema(example = "Normal Clearing")]
    pub text: String,
    /// The SIP status that says the same as the Q.850 value (RFC 3398 §8.2.6.1); absent when the PBX gave a SIP
    /// status, or when no status says it. Only told, never read.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, read_only, example = 486)]
    pub sip_equivalent: Option<u16>,
}

/// The PBX behind a connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pbx {
    /// Product name.
    #[schema(example = "Asterisk")]
    pub product: String,
    /// Its version.
    #[schema(example = "22.10.0")]
    pub version: String,
    /// What it calls itself; empty when nothing.
    pub system_name: String,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub started_at: Option<Time>,
    /// What this account can do there.
    pub capabilities: Vec<String>,
}

/// Settings of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueSettings {
    /// Name in the PBX.
    #[schema(example = "support")]
    pub name: String,
    /// The PBX's word for how it picks members.
    #[schema(example = "ringall")]
    pub strategy: String,
    /// Most callers; 0 is no limit.
    pub max_length: u32,
    /// Within how many seconds callers should be answered; 0 when unset.
    pub service_level_secs: u32,
    /// Seconds a member rests after a call.
    pub wrap_up_secs: u32,
    /// Weight against other queues.
    pub weight: u32,
}

/// A seat in a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// Name of the queue in the PBX.
    #[schema(example = "support")]
    pub queue: String,
    /// What the queue dials; names the seat within its queue.
    #[schema(example = "PJSIP/1001")]
    pub interface: String,
    /// What tells the state.
    pub state_interface: String,
    /// The extension behind the seat, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub extension: Option<String>,
    /// Display name.
    pub name: String,
    /// `static`, `dynamic` or `realtime`.
    #[schema(example = "dynamic")]
    pub membership: String,
    /// Higher is asked later.
    pub penalty: u32,
    /// Gets no offers.
    pub paused: bool,
    /// Why, while paused.
    pub pause_reason: String,
    /// `idle`, `in-use`, `busy`, `invalid`, `unavailable`, `ringing`, `on-hold` or `unknown`.
    #[schema(example = "idle")]
    pub state: String,
    /// In a call of this queue.
    pub in_call: bool,
    /// Calls taken since the PBX counts.
    pub calls_taken: u32,
    /// End of the last call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub last_call: Option<Time>,
}

/// An extension as the PBX has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Extension {
    /// What people dial.
    #[schema(example = "1001")]
    pub number: String,
    /// The PBX's name of the line.
    #[schema(example = "PJSIP/1001")]
    pub device: String,
    /// Display name; empty when none.
    pub name: String,
    /// `registered`, `unregistered`, `ringing`, `in-use`, `busy`, `on-hold` or `unknown`.
    #[schema(example = "registered")]
    pub state: String,
}

/// A person who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Chosen by whoever created them.
    #[schema(example = "anna")]
    pub id: String,
    /// Display name.
    pub name: String,
    /// Ids elsewhere, e.g. `rocketchat_user_id`. No two agents share a value of a key.
    pub external: BTreeMap<String, String>,
    /// Their lines. No two agents share one.
    pub devices: Vec<Device>,
    /// Set by the config file: read-only over REST.
    pub from_config: bool,
}

/// An agent's line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Id of the connector.
    #[schema(example = "hq")]
    pub connector: String,
    /// The extension there.
    #[schema(example = "1001")]
    pub extension: String,
}

/// What was wrong with a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CommandProblem)]
pub struct Problem {
    /// Stable word.
    #[schema(example = "permission-denied")]
    pub code: String,
    /// One sentence.
    pub message: String,
    /// May the same be tried again?
    pub retryable: bool,
}

/// Something an operator or auditor must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notice {
    /// Stable word.
    pub code: String,
    /// `info`, `warning`, `error` or `security`.
    #[schema(example = "warning")]
    pub severity: String,
    /// What, and where.
    pub message: String,
    /// What to do; empty when nothing.
    pub fix: String,
}

/// A named text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attribute {
    /// Name.
    pub name: String,
    /// Text.
    pub value: String,
}
