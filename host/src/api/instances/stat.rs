//! What a connector's plugin may use, and what it does use.

use axum::{
    Json,
    extract::{Path, State},
};
use plugin_runtime::{Limits, Usage};
use serde::Serialize;
use utoipa::ToSchema;

use super::known;
use crate::{
    api::{
        ApiState, Problem,
        extract::{self, Holder, Params, Read},
    },
    plugins::InstanceView,
    wire::view::One,
};

/// A connector's limits with their present use.
#[derive(Serialize, ToSchema)]
pub(crate) struct Stat {
    limits: Vec<Gauge>,
    counters: StepCounters,
}

/// A limit and its use.
#[derive(Serialize, ToSchema)]
#[schema(as = Limit)]
pub(crate) struct Gauge {
    /// As in `limits` of the config.
    #[schema(example = "memory_mib")]
    pub name: &'static str,
    /// In `unit`.
    pub limit: u64,
    /// Now, or last time; absent where only the limit is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub used: Option<u64>,
    /// The most so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub most: Option<u64>,
    /// What was beyond it and left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub beyond: Option<u64>,
    /// `bytes`, `microseconds`, or what is counted.
    #[schema(example = "bytes")]
    pub unit: &'static str,
}

/// What a connector's plugin has done since it was started.
#[derive(Serialize, ToSchema)]
struct StepCounters {
    /// That returned.
    steps: u64,
    /// Steps that failed.
    traps: u64,
    /// Times an input was taken out because the plugin failed on it.
    quarantined: u64,
    /// Times its state was lost.
    cold_starts: u64,
    snapshots: u64,
    swaps: u64,
    rollbacks: u64,
    /// Facts it has told.
    facts: u64,
    /// What it wanted done and may not.
    refused: u64,
}

impl From<&InstanceView> for Stat {
    fn from(InstanceView { limits, usage, swaps, .. }: &InstanceView) -> Self {
        Self {
            limits: gauges(limits, usage),
            counters: StepCounters {
                steps: usage.steps,
                traps: usage.traps,
                quarantined: usage.quarantined,
                cold_starts: usage.cold_starts,
                snapshots: usage.snapshots,
                swaps: swaps.done,
                rollbacks: swaps.rolled_back,
                facts: usage.events,
                refused: usage.refused,
            },
        }
    }
}

/// Every limit with its use.
pub(crate) fn gauges(limits: &Limits, usage: &Usage) -> Vec<Gauge> {
    let gauge = |name, limit: u32, scale: u64, unit| Gauge {
        name,
        limit: u64::from(limit) * scale,
        used: None,
        most: None,
        beyond: None,
        unit,
    };
    vec![
        Gauge {
            used: Some(usage.memory_bytes),
            ..gauge("memory_mib", limits.memory_mib, 1 << 20, "bytes")
        },
        Gauge {
            used: Some(usage.last_step_us),
            most: Some(usage.max_step_us),
            ..gauge("step_ms", limits.step_ms, 1000, "microseconds")
        },
        Gauge {
            used: Some(usage.snapshot_bytes),
            ..gauge("snapshot_kib", limits.snapshot_kib, 1 << 10, "bytes")
        },
        gauge("effects_per_step", limits.effects_per_step, 1, "effects"),
        gauge("bytes_per_step", limits.bytes_per_step, 1, "bytes"),
        Gauge {
            beyond: Some(usage.log_lines_dropped),
            ..gauge("log_lines_per_sec", limits.log_lines_per_sec, 1, "lines")
        },
        gauge("recoveries_per_minute", limits.recoveries_per_minute, 1, "failures"),
        gauge("http_per_minute", limits.http_per_minute, 1, "requests"),
        gauge("recording_kib", limits.recording_kib, 1 << 10, "bytes"),
        gauge("recording_minutes", limits.recording_minutes, 1, "minutes"),
    ]
}

/// A connector's limits with their present use.
#[utoipa::path(get, path = "/v1/connectors/{id}/stat", tag = "connectors", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "As the config names it")),
    responses((status = 200, body = One<Stat>)))]
pub(crate) async fn stat(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<extract::None>,
) -> Result<Json<One<Stat>>, Problem> {
    let item = Stat::from(&known(&api, &id)?);
    Ok(Json(One { as_of: *api.publisher.committed().borrow(), item }))
}
