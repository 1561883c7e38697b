//! A second version gets the same inputs; its effects are compared with the real ones and dropped.

use calls::{Now, Timestamp};
use serde::Serialize;

use super::{Connector, InstanceConfig, SwapError, Version};
use crate::{FailureKind, Plugin};

/// What a version does beside the one that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShadowReport {
    /// The version in the shadow.
    pub version: Version,
    /// Wall clock at its beginning, nanoseconds since the Unix epoch.
    pub since: u64,
    /// It began without the state of the running one, so it follows only connections made since.
    pub cold: bool,
    /// Steps of the running one that it followed.
    pub steps: u64,
    /// Effects both had.
    pub same: u64,
    /// Effects only the running one had.
    pub only_running: u64,
    /// Effects only the shadow had.
    pub only_shadow: u64,
    /// The first differences.
    pub differences: Vec<Difference>,
    /// Why it ended before it was told to: it failed, in its own words.
    pub failure: Option<String>,
    /// Duration of its longest step in microseconds.
    pub max_step_us: u64,
    /// Its linear memory.
    pub memory_bytes: u64,
}

/// An effect that one had and the other had not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// In which step of the shadow run, from 1.
    pub step: u64,
    /// The shadow had it; otherwise the running one.
    pub by_shadow: bool,
    /// The effect, readable, cut to 500 characters.
    pub effect: String,
}

impl Connector {
    /// Lets another version, or another configuration, follow what comes in. Its steps are made after those
    /// of the running one, on the same thread.
    pub fn begin_shadow(
        &mut self,
        plugin: &Plugin,
        config: InstanceConfig,
        now: Now,
    ) -> Result<(), SwapError> {
        let (_, Timestamp(_)) = (config, now.wall);
        Err(SwapError::Failed {
            connector: self.seed.config.id.clone(),
            version: Version::of(plugin),
            kind: FailureKind::Error,
            message: "this host cannot run a shadow yet".to_owned(),
        })
    }

    /// What the shadow did so far, or did until it failed.
    pub fn shadow(&self) -> Option<ShadowReport> {
        None
    }

    /// Ends the shadow run.
    pub fn end_shadow(&mut self) -> Option<ShadowReport> {
        None
    }
}
