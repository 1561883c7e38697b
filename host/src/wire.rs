//! JSON as journal, streams and REST carry it: one mirror of the core's events, with both directions.
//!
//! The journal stores exactly what a stream sends, beside the number of the schema it was written with
//! ([`SCHEMA`]); [`read_event`] lifts older rows first. Answers that are not events are in [`view`].

mod body;
mod from_wire;
mod parts;
mod time;
mod to_wire;
mod upcast;
pub mod view;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use body::{Body, TYPES, type_of};
pub use from_wire::NotAnEvent;
pub use parts::{
    Agent, Attribute, Cause, Device, Extension, Member, Notice, Party, Pbx, Presentation, Problem,
    QueueSettings,
};
pub use time::Time;
pub(crate) use time::instant;
pub(crate) use upcast::current;
pub use upcast::{SCHEMA, read_event};

/// One event. `seq` has no gaps; `call_seq` has none within its call.
///
/// What the event is about is named by ids beside `data`; a field that does not apply is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Number of the event, 1 is the first of the journal. Also the id of the event on a stream.
    #[schema(example = 4711)]
    pub seq: u64,
    /// Number of the event within its call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub call_seq: Option<u64>,
    /// When Jackfield saw it.
    pub at: Time,
    /// When the PBX says it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub at_pbx: Option<Time>,
    /// Where it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "hq")]
    pub connector: Option<String>,
    /// Id of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "call-1f")]
    pub call: Option<String>,
    /// Id of the leg.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "leg-20")]
    pub leg: Option<String>,
    /// Id of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "anna")]
    pub agent: Option<String>,
    /// Id of the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "queue-3")]
    pub queue: Option<String>,
    /// Id of the caller's wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "entry-22")]
    pub entry: Option<String>,
    /// Id of the extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "ext-5")]
    pub extension: Option<String>,
    /// Id of the command that caused it, or whose own event it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "cmd-30")]
    pub command: Option<String>,
    /// Not seen, but concluded from a picture of the PBX or from an end of sight.
    #[serde(default)]
    pub inferred: bool,
    /// Who made it happen.
    pub actor: Actor,
    /// Why something ended: of `leg.ended` and `call.ended`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub cause: Option<Cause>,
    /// `type` and `data`.
    #[serde(flatten)]
    pub body: Body,
}

impl Event {
    /// As one line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and maps with string keys only")
    }
}

/// Who made something happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Actor {
    /// The PBX, or somebody at it.
    Pbx {
        /// Name and version of the plugin that saw it.
        plugin: String,
    },
    /// Jackfield itself.
    Host,
    /// A holder of an API token.
    Token {
        /// The token's name.
        name: String,
    },
    /// The config file.
    Config,
}

#[cfg(test)]
mod tests;
