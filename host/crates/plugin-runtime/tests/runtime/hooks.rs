//! What hooks may answer, and what becomes of those that answer otherwise or not at all.

mod answers;
mod failures;
mod nonsense;
mod random;

use std::time::Duration;

use calls::{Now, Timestamp};
use plugin_runtime::{
    Log, Plugin,
    hooks::{HookConfig, HookLimits},
};
use serde_json::{Value, json};

use self::answers::Answers;
use crate::guests::runtime;

/// Answers with this number are misdeeds; see the guest `answers`.
const TRAPS: u64 = 1000;
const LOOPS: u64 = 1001;
const GROWS: u64 = 1002;
const TRAPS_THE_SECOND_TIME: u64 = 1003;

fn config() -> HookConfig {
    // The machine that runs tests may be busy; only one test is about the deadline.
    let limits =
        HookLimits { route_ms: 400, treatment_ms: 400, step_ms: 400, ..HookLimits::default() };
    HookConfig {
        id: "vip".into(),
        settings: "{}".into(),
        grants: vec![],
        limits,
        log: Log::new("vip"),
    }
}

/// The moment at which the guest gives the answer of that number.
fn answer(number: u64) -> Now {
    Now { monotonic: Duration::from_nanos(number), wall: Timestamp(1_767_225_600_000_000_000) }
}

/// A plugin whose router gives these decisions.
fn router(decisions: &[Value]) -> Plugin {
    let ok = |decision: &Value| json!({ "ok": decision });
    load(Answers { route: decisions.iter().map(ok).collect(), ..Answers::default() })
}

/// A plugin whose treatment gives these plans.
fn treatment(plans: &[Value]) -> Plugin {
    let ok = |plan: &Value| json!({ "ok": plan });
    load(Answers { next: plans.iter().map(ok).collect(), ..Answers::default() })
}

/// A plugin whose observer gives these actions.
fn observer(steps: &[Value]) -> Plugin {
    let ok = |actions: &Value| json!({ "ok": actions });
    load(Answers { step: steps.iter().map(ok).collect(), ..Answers::default() })
}

fn load(answers: Answers) -> Plugin {
    runtime().load(&answers.component()).unwrap_or_else(|error| panic!("{error}"))
}
