//! What an instance may use, and what it does use.

use serde::{Deserialize, Serialize};

/// What an instance may use. Every field has a default, so a config names only what it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of the guest.
    pub memory_mib: u32,
    /// Longest time of one step.
    pub step_ms: u32,
    /// Largest snapshot.
    pub snapshot_kib: u32,
    /// Most actions one step may return.
    pub effects_per_step: u32,
    /// Most bytes one step may return, as they lie in the guest's memory.
    pub bytes_per_step: u32,
    /// Most log lines; what is beyond is counted, not written.
    pub log_lines_per_sec: u32,
    /// Most failures within a minute; then the connector is given up.
    pub recoveries_per_minute: u32,
    /// Most HTTP requests within a minute; more are answered with an error.
    pub http_per_minute: u32,
    /// How much is always recorded, the oldest forgotten first; 0: nothing.
    pub recording_kib: u32,
    /// How far the recording reaches back.
    pub recording_minutes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_mib: 64,
            step_ms: 50,
            snapshot_kib: 4096,
            effects_per_step: 65_536,
            bytes_per_step: 4 << 20,
            log_lines_per_sec: 50,
            recoveries_per_minute: 600,
            http_per_minute: 60,
            recording_kib: 8192,
            recording_minutes: 10,
        }
    }
}

/// What an instance has done and uses now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Steps that returned.
    pub steps: u64,
    /// Facts that came out of them, resync items included.
    pub events: u64,
    /// Steps that failed.
    pub traps: u64,
    /// Times bytes were taken out because the plugin failed on them.
    pub quarantined: u64,
    /// Times another version or configuration took over.
    pub swaps: u64,
    /// Times the version before ran again.
    pub rollbacks: u64,
    /// Times the state was lost.
    pub cold_starts: u64,
    /// Snapshots taken.
    pub snapshots: u64,
    /// Size of the last snapshot.
    pub snapshot_bytes: u64,
    /// Linear memory now.
    pub memory_bytes: u64,
    /// What is kept as a recording now, closed parts only.
    pub recording_bytes: u64,
    /// Duration of the last step in microseconds.
    pub last_step_us: u64,
    /// Duration of the longest step in microseconds.
    pub max_step_us: u64,
    /// HTTP requests the plugin made.
    pub http_requests: u64,
    /// Those of them beyond the rate, answered with an error.
    pub http_refused: u64,
    /// Log lines beyond the rate.
    pub log_lines_dropped: u64,
    /// Sends for a connection that was over.
    pub stale_sends: u64,
    /// Actions refused.
    pub refused: u64,
}
