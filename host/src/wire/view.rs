//! Answers of REST that are not events: things as they are, as of one event.

use std::collections::BTreeMap;

use calls::{
    State,
    state::{self, CallEndKind},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Actor, Agent, Cause, Extension, Member, Party, Problem, QueueSettings, Time};
use crate::{figures::DayFigures, publish::Model};

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The list is as it was after this event.
    pub as_of: u64,
    /// In the order of their ids.
    pub items: Vec<T>,
    /// `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<String>,
}

/// One thing.
#[derive(Debug, Serialize, ToSchema)]
pub struct One<T> {
    /// It is as it was after this event.
    pub as_of: u64,
    /// The thing.
    #[serde(flatten)]
    pub item: T,
}

/// An agent and what they do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AgentView)]
#[expect(missing_docs, reason = "as in the core")]
pub struct AgentView {
    #[serde(flatten)]
    pub agent: Agent,
    /// `logged-out`, `available` or `on-break`: what they chose.
    pub status: String,
    /// Why they are on a break.
    pub status_reason: String,
    pub status_since: Time,
    /// `idle`, `offered`, `talking`, `wrap-up`, `busy` or `unreachable`: what the system makes of them.
    pub state: String,
    pub state_since: Time,
    /// Their places in queues.
    pub seats: Vec<Seat>,
    /// Running calls at their lines.
    pub calls: Vec<String>,
}

/// An agent's place in a queue.
#[derive(Debug, Serialize, ToSchema)]
#[expect(missing_docs, reason = "as in the core")]
pub struct Seat {
    /// Id of the queue.
    pub queue: String,
    pub connector: String,
    #[serde(flatten)]
    pub member: SeatMember,
}

/// A member without its queue.
#[derive(Debug, Serialize, ToSchema)]
#[expect(missing_docs, reason = "as in `Member`")]
pub struct SeatMember {
    /// Name of the queue in the PBX.
    pub queue_name: String,
    pub interface: String,
    pub penalty: u32,
    pub paused: bool,
    pub pause_reason: String,
    pub state: String,
}

impl AgentView {
    /// As the model has it.
    pub fn of(state: &State, person: &state::Person) -> Self {
        let id = &person.agent.id;
        let seats = state.seats(id).into_iter().map(|(queue, member)| Seat {
            queue: queue.id.to_string(),
            connector: queue.connector.to_string(),
            member: SeatMember {
                queue_name: queue.settings.name.clone(),
                interface: member.interface.clone(),
                penalty: member.penalty,
                paused: member.paused,
                pause_reason: member.pause_reason.clone(),
                state: member.state.to_string(),
            },
        });
        let mut calls: Vec<_> = state.legs_of(id).into_iter().map(|leg| leg.call).collect();
        calls.sort_unstable();
        calls.dedup();
        Self {
            agent: (&person.agent).into(),
            status: person.status.to_string(),
            status_reason: person.status_reason.clone(),
            status_since: person.status_since.into(),
            state: person.state.to_string(),
            state_since: person.state_since.into(),
            seats: seats.collect(),
            calls: calls.iter().map(ToString::to_string).collect(),
        }
    }
}

/// An extension of a connector.
#[derive(Debug, Serialize, ToSchema)]
#[expect(missing_docs, reason = "as in the core")]
pub struct ExtensionView {
    #[schema(example = "ext-5")]
    pub id: String,
    pub connector: String,
    #[serde(flatten)]
    pub extension: Extension,
    /// Since when it is as it is.
    pub since: Time,
    /// The agent whose line it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub agent: Option<String>,
}

impl ExtensionView {
    /// As the model has it.
    pub fn of(state: &State, line: &state::Line) -> Self {
        let number = &line.extension.number;
        let agent = state.agent_at(&line.connector, Some(number), &line.extension.device);
        Self {
            id: line.id.to_string(),
            connector: line.connector.to_string(),
            extension: (&line.extension).into(),
            since: line.since.into(),
            agent: agent.map(ToString::to_string),
        }
    }
}

/// A queue: its seats, who waits, and the figures of today.
#[derive(Debug, Serialize, ToSchema)]
#[expect(missing_docs, reason = "as in the core")]
pub struct QueueView {
    #[schema(example = "queue-3")]
    pub id: String,
    pub connector: String,
    #[serde(flatten)]
    pub settings: QueueSettings,
    pub members: Vec<MemberView>,
    /// Next first.
    pub callers: Vec<CallerView>,
    /// Of today in the queue's time zone.
    pub figures: DayFigures,
}

/// A seat and who sits there.
#[derive(Debug, Serialize, ToSchema)]
#[expect(missing_docs, reason = "as in the core")]
pub struct MemberView {
    #[serde(flatten)]
    pub member: Member,
    /// The agent; absent: the interface belongs to nobody, which somebody should mend.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub agent: Option<String>,
}

/// Somebody who waits.
#[derive(Debug, Serialize, ToSchema)]
#[expect(missing_docs, reason = "as in the core")]
pub struct CallerView {
    pub entry: String,
    pub call: String,
    pub leg: String,
    pub party: Party,
    /// 1 is next.
    pub position: u32,
    pub priority: i32,
    pub joined_at: Time,
    /// Until the moment of the answer.
    pub waiting_ms: u64,
    /// Interfaces being rung for them now.
    pub ringing: Vec<String>,
}

impl QueueView {
    /// As the model has it.
    pub fn of(model: &Model, queue: &state::Queue, now: Time) -> Self {
        let state = &model.state;
        let members = queue.members.values().map(|member| MemberView {
            member: member.into(),
            agent: state.agent_of_member(&queue.connector, member).map(ToString::to_string),
        });
        let callers = state.waiting(queue.id).map(|entry| CallerView {
            entry: entry.id.to_string(),
            call: entry.call.to_string(),
            leg: entry.leg.to_string(),
            party: (&entry.party).into(),
            position: entry.position,
            priority: entry.priority,
            joined_at: entry.joined_at.into(),
            waiting_ms: calls::Timestamp::from(now).0.saturating_sub(entry.joined_at.0) / 1_000_000,
            ringing: entry.offers.keys().cloned().collect(),
        });
        let figures = model.figures.today(queue.id, now.into());
        Self {
            id: queue.id.to_string(),
            connector: queue.connector.to_string(),
            settings: (&queue.settings).into(),
            members: members.collect(),
            callers: callers.collect(),
            figures: figures.unwrap_or_else(|| DayFigures::empty(now)),
        }
    }
}

/// A call with its legs and waits.
#[derive(Debug, Serialize, ToSchema)]
#[expect(missing_docs, reason = "as in the core")]
pub struct CallView {
    #[schema(example = "call-1f")]
    pub id: String,
    pub connector: String,
    /// `running`, `ended` or `merged`.
    pub status: &'static str,
    pub caller: Party,
    pub dialled: String,
    pub started_at: Time,
    /// Two people have talked.
    pub answered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ended_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub cause: Option<Cause>,
    /// The call it goes on as.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub merged_into: Option<String>,
    pub legs: Vec<LegView>,
    pub entries: Vec<EntryView>,
}

/// A leg of a call.
#[derive(Debug, Serialize, ToSchema)]
#[expect(missing_docs, reason = "as in the core")]
pub struct LegView {
    #[schema(example = "leg-20")]
    pub id: String,
    pub connector: String,
    /// The PBX's own id of it.
    pub native: String,
    pub device: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub extension: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub agent: Option<String>,
    /// `started`, `alerting`, `answered` or `held`.
    pub state: String,
    pub party: Party,
    pub dialled: String,
    pub started_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub answered_at: Option<Time>,
    /// Legs it can talk with now.
    pub peers: Vec<String>,
    /// Since when it waits for a decision where it goes; absent: it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub deciding_since: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ended_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub cause: Option<Cause>,
}

/// One wait of the caller in a queue, and the service that followed.
#[derive(Debug, Serialize, ToSchema)]
#[expect(missing_docs, reason = "as in the core")]
pub struct EntryView {
    #[schema(example = "entry-22")]
    pub id: String,
    pub queue: String,
    pub leg: String,
    pub joined_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub left_at: Option<Time>,
    /// How they left; absent while they wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub exit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub waited_ms: Option<u64>,
    /// The seat that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub interface: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub talked_ms: Option<u64>,
}

impl CallView {
    /// As the state has it.
    pub fn of(state: &State, call: &state::Call) -> Self {
        let (status, outcome, cause, into) = match call.ended.as_ref().map(|end| &end.how) {
            None => ("running", None, None, None),
            Some(CallEndKind::Ended { outcome, cause }) => {
                ("ended", Some(outcome.to_string()), Some(cause.into()), None)
            }
            Some(CallEndKind::Merged { into }) => ("merged", None, None, Some(into.to_string())),
        };
        let legs = call.legs.iter().filter_map(|id| state.leg(*id));
        let entries = call.entries.iter().filter_map(|id| state.entry(*id));
        Self {
            id: call.id.to_string(),
            connector: call.connector.to_string(),
            status,
            caller: (&call.caller).into(),
            dialled: call.dialled.clone(),
            started_at: call.started_at.into(),
            answered: call.answered,
            ended_at: call.ended.as_ref().map(|end| end.at.into()),
            outcome,
            cause,
            merged_into: into,
            legs: legs.map(|leg| LegView::of(state, leg)).collect(),
            entries: entries.map(EntryView::of).collect(),
        }
    }
}

impl LegView {
    fn of(state: &State, leg: &state::Leg) -> Self {
        let agent = state.agent_at(&leg.connector, leg.extension.as_deref(), &leg.device);
        Self {
            id: leg.id.to_string(),
            connector: leg.connector.to_string(),
            native: leg.native.clone(),
            device: leg.device.clone(),
            extension: leg.extension.clone(),
            agent: agent.map(ToString::to_string),
            state: leg.state.to_string(),
            party: (&leg.party).into(),
            dialled: leg.dialled.clone(),
            started_at: leg.started_at.into(),
            answered_at: leg.answered_at.map(Into::into),
            peers: leg.peers.iter().map(ToString::to_string).collect(),
            deciding_since: leg.held.as_ref().map(|(at, _)| (*at).into()),
            ended_at: leg.ended.as_ref().map(|end| end.at.into()),
            cause: leg.ended.as_ref().map(|end| (&end.cause).into()),
        }
    }
}

impl EntryView {
    fn of(entry: &state::Entry) -> Self {
        let (left, service) = (entry.left.as_ref(), entry.service.as_ref());
        Self {
            id: entry.id.to_string(),
            queue: entry.queue.to_string(),
            leg: entry.leg.to_string(),
            joined_at: entry.joined_at.into(),
            left_at: left.map(|left| left.at.into()),
            exit: left.map(|left| left.exit.to_string()),
            waited_ms: left.map(|left| left.waited_ms),
            interface: service.map(|service| service.interface.clone()),
            agent: service.and_then(|service| service.agent.as_ref()).map(ToString::to_string),
            talked_ms: service.and_then(|service| service.ended.as_ref()).map(|ended| ended.2),
        }
    }
}

/// A command and how it went.
#[derive(Debug, Serialize, ToSchema)]
#[expect(missing_docs, reason = "as in the core")]
pub struct CommandView {
    #[schema(example = "cmd-30")]
    pub id: String,
    pub connector: String,
    #[schema(example = "pause")]
    pub kind: String,
    pub arguments: BTreeMap<String, String>,
    /// `accepted`, `sent`, and then one of `done`, `failed`, `rejected`, `timed-out`, `unknown`.
    pub status: String,
    pub actor: Actor,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub queue: Option<String>,
    pub accepted_at: Time,
    pub deadline: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub sent_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ended_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub problem: Option<Problem>,
    /// What the command found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

impl CommandView {
    /// As the model has it.
    pub fn of(command: &state::Command) -> Self {
        let ended = command.ended.as_ref();
        Self {
            id: command.id.to_string(),
            connector: command.connector.to_string(),
            kind: command.kind.clone(),
            arguments: command.arguments.iter().cloned().collect(),
            status: command.status().to_owned(),
            actor: (&command.actor).into(),
            agent: command.agent.as_ref().map(ToString::to_string),
            queue: command.queue.map(|queue| queue.to_string()),
            accepted_at: command.accepted_at.into(),
            deadline: command.deadline.into(),
            sent_at: command.sent_at.map(Into::into),
            ended_at: ended.map(|ended| ended.at.into()),
            problem: ended.and_then(|ended| ended.problem.as_ref()).map(Into::into),
            detail: ended.filter(|ended| !ended.detail.is_empty()).map(|ended| {
                serde_json::from_str(&ended.detail)
                    .unwrap_or_else(|_| Value::String(ended.detail.clone()))
            }),
        }
    }
}
