//! Why a call went where it went: what the PBX asked, who said what on which facts, and what came of it.

use ::calls::CallId;
use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    ApiState, Problem,
    calls::{events_of, missing},
    extract::{Holder, None, Params, Read},
};
use crate::wire::{self, Body, Time, view::One};

/// A call's way, explained.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explanation {
    /// The call.
    id: String,
    /// Who calls, as the call itself shows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    caller: Option<wire::Party>,
    /// The number dialled.
    dialled: String,
    /// What was decided on it, and what came of it, oldest first.
    steps: Vec<Step>,
}

/// One step of a call's way.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
struct Step {
    /// Number of the event in the call.
    call_seq: u64,
    at: Time,
    /// Since the call began.
    after_ms: u64,
    /// `asked`, `decided`, `sent-on`, `refused`, `hung-up`, `went-on`, `waits`, `left-queue`, `talks`, `transferred` or
    /// `ended`.
    what: &'static str,
    /// Whose word it was: an instance, `host`, or `pbx`.
    who: String,
    /// What the instance runs, e.g. `skills 0.1.0`.
    #[serde(skip_serializing_if = "String::is_empty")]
    plugin: String,
    /// Which time the call was decided; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    attempt: Option<u32>,
    /// In a decision `passed`, `decided`, `needs`, `trapped`, `late`, `refused`, `nonsense`, `bypassed`, `fallback` or
    /// `cancelled`; of a caller who was refused the Q.850 cause, e.g. `21`; elsewhere how it ended.
    #[serde(skip_serializing_if = "String::is_empty")]
    outcome: String,
    /// What shall happen, or what happened, e.g. `queue:vip`, or `vip at 1, priority 10`.
    verdict: String,
    /// Why, in one sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    /// What the decision was made on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    facts: Vec<wire::Attribute>,
    /// How long the decision took.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    took_us: Option<u64>,
}

/// Why a call went where it went: each decision with who made it, on which facts, and what came of it.
#[utoipa::path(get, path = "/v1/calls/{id}/explain", tag = "calls", security(("bearer" = ["read"])),
    params(("id" = String, Path, description = "Id of the call")),
    responses((status = 200, body = One<Explanation>)))]
pub(super) async fn explain(
    _: Holder<Read>,
    State(api): State<ApiState>,
    Path(id): Path<String>,
    _: Params<None>,
) -> Result<Json<One<Explanation>>, Problem> {
    let call: CallId = id.parse().map_err(|_| missing(&id))?;
    let events = events_of(&api, call).await?;
    let first = events.first().ok_or_else(|| missing(&id))?;
    let begin = events.iter().find_map(|event| match &event.body {
        Body::CallStarted { caller, dialled } => Some((caller.clone(), dialled.clone())),
        _ => None,
    });
    let (caller, dialled) = begin.unzip();
    let model = api.publisher.model();
    let as_of = model.as_of;
    // Queues are known by name; one that is gone by its id.
    let queue = |event: &wire::Event| {
        let id = event.queue.clone().unwrap_or_default();
        let known = id.parse().ok().and_then(|id| model.state.queue(id));
        known.map_or(id, |queue| queue.settings.name.clone())
    };
    // The last word on where the caller goes.
    let mut said = String::new();
    let steps = events.iter().filter_map(|event| {
        let step = Step::of(event, first.at, &said, queue)?;
        match step.what {
            "asked" => said.clear(),
            "decided" if !step.verdict.is_empty() => said.clone_from(&step.verdict),
            _ => {}
        }
        Some(step)
    });
    let steps = steps.collect();
    let item = Explanation { id, caller, dialled: dialled.unwrap_or_default(), steps };
    Ok(Json(One { as_of, item }))
}

impl Step {
    /// None: the event explains nothing. `said`: where the caller was to go.
    fn of(
        event: &wire::Event,
        began: Time,
        said: &str,
        queue: impl Fn(&wire::Event) -> String,
    ) -> Option<Self> {
        let nanos = |time: Time| ::calls::Timestamp::from(time).0;
        let blank = Self {
            call_seq: event.call_seq?,
            at: event.at,
            after_ms: nanos(event.at).saturating_sub(nanos(began)) / 1_000_000,
            what: "asked",
            who: "pbx".to_owned(),
            plugin: String::new(),
            attempt: None,
            outcome: String::new(),
            verdict: String::new(),
            reason: String::new(),
            facts: Vec::new(),
            took_us: None,
        };
        Some(match &event.body {
            Body::LegOffered { entry, dialled, returned_from, outcome, attempt, facts } => Self {
                attempt: Some(*attempt),
                outcome: outcome.clone(),
                verdict: match (returned_from.as_str(), entry.as_str()) {
                    ("", "") => format!("where to with {dialled}?"),
                    ("", entry) => format!("where to with {dialled}, through {entry}?"),
                    (from, _) => format!("back from {from}, where to now?"),
                },
                facts: facts.clone(),
                ..blank
            },
            Body::CallDecided {
                instance,
                plugin,
                attempt,
                outcome,
                verdict,
                reason,
                facts,
                took_us,
                ..
            } => Self {
                what: "decided",
                who: if instance.is_empty() { "host".to_owned() } else { instance.clone() },
                plugin: plugin.clone(),
                attempt: Some(*attempt),
                outcome: outcome.clone(),
                verdict: verdict.clone(),
                reason: reason.clone(),
                facts: facts.clone(),
                took_us: Some(*took_us),
                ..blank
            },
            Body::LegReleased { reason } => {
                let (what, who, outcome) = released(reason, said);
                let (who, outcome) = (who.to_owned(), outcome.to_owned());
                Self { what, who, outcome, reason: reason.clone(), ..blank }
            }
            Body::CallerJoined { position, priority, .. } => Self {
                what: "waits",
                verdict: format!("{} at {position}, priority {priority}", queue(event)),
                ..blank
            },
            Body::CallerLeft { exit, evidence, .. } => Self {
                what: "left-queue",
                outcome: exit.clone(),
                verdict: queue(event),
                reason: evidence.clone(),
                ..blank
            },
            Body::ServiceStarted { interface, .. } => {
                Self { what: "talks", verdict: format!("with {interface}"), ..blank }
            }
            Body::Transferred { kind, target, outcome, .. } => Self {
                what: "transferred",
                outcome: outcome.clone(),
                verdict: format!("{kind} to {target}"),
                ..blank
            },
            Body::CallMerged { into } => {
                Self { what: "ended", verdict: format!("goes on as {into}"), ..blank }
            }
            Body::CallEnded { outcome } => {
                Self { what: "ended", outcome: outcome.clone(), ..blank }
            }
            _ => return None,
        })
    }
}

/// What became of a caller whom the hooks do not have any more, who did it, and with which cause.
fn released<'s>(reason: &str, said: &'s str) -> (&'static str, &'static str, &'s str) {
    /// As any conversation ends (Q.850 "normal call clearing").
    const NORMAL: &str = "16";
    match (reason, said.strip_prefix("hang-up:")) {
        // The connector was told to hang up, and the caller may be gone before it says so.
        ("handed-over" | "hung-up", Some(NORMAL)) => ("hung-up", "host", NORMAL),
        ("handed-over" | "hung-up", Some(cause)) => ("refused", "host", cause),
        ("hung-up", None) => ("hung-up", "pbx", ""),
        ("went-on", _) => ("went-on", "pbx", ""),
        _ => ("sent-on", "pbx", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::released;

    #[test]
    fn a_caller_who_leaves_the_hooks_is_sent_on_refused_gone_or_elsewhere() {
        for (reason, said, expected) in [
            ("handed-over", "queue:vip", ("sent-on", "pbx", "")),
            ("handed-over", "hang-up:21", ("refused", "host", "21")),
            // The same, told in another order.
            ("hung-up", "hang-up:21", ("refused", "host", "21")),
            ("handed-over", "hang-up:16", ("hung-up", "host", "16")),
            ("hung-up", "treatment:standard", ("hung-up", "pbx", "")),
            ("hung-up", "", ("hung-up", "pbx", "")),
            ("went-on", "queue:vip", ("went-on", "pbx", "")),
            ("bridged", "treatment:standard", ("sent-on", "pbx", "")),
        ] {
            assert_eq!(released(reason, said), expected, "{reason}, {said:?}");
        }
    }
}
