//! A new version proves itself: until then the instance before it is kept, with the inputs since.

use std::time::Duration;

use calls::Now;
use serde::Serialize;

use super::{Connector, SwapError, Version};
use crate::Outcome;

/// A swap that can still be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbationView {
    /// The version that is kept.
    pub old: Version,
    /// The version that runs.
    pub new: Version,
    /// Monotonic time at which it has passed.
    pub until: Duration,
    /// Steps since the swap.
    pub steps: usize,
    /// What is kept of them. Beyond a limit the probation ends well.
    pub bytes: usize,
}

impl Connector {
    /// The probation that is on.
    pub fn probation(&self) -> Option<&ProbationView> {
        None
    }

    /// Ends the probation well: the old instance is let go.
    pub fn confirm(&mut self) {}

    /// Goes back to the version before, as if the new one had failed now.
    pub fn roll_back(&mut self, reason: &str, now: Now) -> Result<Outcome, SwapError> {
        let _ = (reason, now);
        Err(SwapError::NoProbation { connector: self.seed.config.id.clone() })
    }
}
