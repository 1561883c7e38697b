//! What stands in the lines of a recording's file.

use crate::{
    bindings::types::{Input, Now, Snapshot},
    recording,
};

pub struct Header {
    pub format: String,
    pub version: u32,
    pub wit: String,
    pub host: String,
    pub kind: String,
    pub connector: String,
    pub redacted: bool,
    pub cut: bool,
    pub unfaithful: u64,
}

pub struct Known {
    pub people: Vec<String>,
    pub extensions: Vec<String>,
    pub missed: u64,
}

pub struct Instance {
    pub plugin: Component,
    pub settings: String,
    pub links: Vec<(String, String)>,
    pub facts: Vec<(String, String)>,
    pub limits: Bounds,
    pub from: String,
    pub now: Now,
    pub snapshot: Option<Snapshot>,
}

pub struct Component {
    pub id: String,
    pub version: String,
    pub sha256: String,
}

pub struct Bounds {
    pub memory_mib: u32,
    pub step_ms: u32,
    pub snapshot_kib: u32,
    pub effects_per_step: u32,
    pub bytes_per_step: u32,
}

pub struct Step {
    pub now: Now,
    pub inputs: Vec<Input>,
}

pub struct Failed {
    pub kind: String,
    pub message: String,
}

pub struct End {
    pub steps: u64,
    pub effects_sha256: String,
}

impl From<&recording::Failed> for Failed {
    fn from(failed: &recording::Failed) -> Self {
        Self { kind: failed.kind.code().to_owned(), message: failed.message.clone() }
    }
}

/// What an instance was made from.
pub mod from {
    pub const START: &str = "start";
    /// The snapshot of the instance before, in a swap.
    pub const HANDED_OVER: &str = "handed-over";
    /// Its own snapshot; what `init` answered then did not count.
    pub const SNAPSHOT: &str = "snapshot";
    /// Its beginning is missing.
    pub const NOTHING: &str = "nothing";
}
