//! What a hook's instance is started with, what it may use, and what it does use.

use serde::{Deserialize, Serialize};

use crate::Log;

/// What every instance of a configured hook is started with.
#[derive(Clone, Debug)]
pub struct HookConfig {
    /// The hook's id in the config, e.g. `vip`.
    pub id: String,
    /// The settings as JSON text, valid by the manifest's schema.
    pub settings: String,
    /// What the admin allows, e.g. `http:crm.example.org`, `secret:crm`.
    pub grants: Vec<String>,
    /// What an instance may use.
    pub limits: HookLimits,
    /// Where its log lines go; one for all instances and versions of the hook ([`Log::new`]).
    pub log: Log,
}

/// What an instance of a hook may use. Every field has a default, so a config names only what it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HookLimits {
    /// Linear memory of the guest.
    pub memory_mib: u32,
    /// Longest time of one `route`, the guest's own computing.
    pub route_ms: u32,
    /// Longest time of one `next` of a treatment.
    pub treatment_ms: u32,
    /// Longest time of one `step` of an observer.
    pub step_ms: u32,
    /// Most bytes one answer may have, as they lie in the guest's memory.
    pub bytes_per_call: u32,
    /// Most actions one step of an observer may return.
    pub actions_per_step: u32,
    /// Most log lines; what is beyond is counted, not written.
    pub log_lines_per_sec: u32,
}

impl Default for HookLimits {
    fn default() -> Self {
        Self {
            memory_mib: 64,
            route_ms: 5,
            treatment_ms: 10,
            step_ms: 50,
            bytes_per_call: 4 << 20,
            actions_per_step: 4096,
            log_lines_per_sec: 50,
        }
    }
}

/// What one instance has done and uses now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HookUsage {
    /// Calls that were answered well.
    pub calls: u64,
    /// Calls in which it crashed.
    pub traps: u64,
    /// Calls stopped at the deadline.
    pub late: u64,
    /// Calls it refused.
    pub refused: u64,
    /// Answers that could not be carried out.
    pub nonsense: u64,
    /// Times a new instance was made after a failure.
    pub restarts: u64,
    /// Linear memory now; 0 while there is no instance.
    pub memory_bytes: u64,
    /// Duration of the last call in microseconds.
    pub last_us: u64,
    /// Duration of the longest call in microseconds.
    pub max_us: u64,
}
