//! From the core to JSON; cannot fail.

use calls::{Body as B, event, fact};

use super::{
    Actor, Agent, Attribute, Body, Cause, Device, Event, Extension, Member, Notice, Party, Pbx,
    Presentation, Problem, QueueSettings,
    body::{Direction, Wish},
};

impl From<&calls::Event> for Event {
    fn from(event: &calls::Event) -> Self {
        let about = &event.about;
        Self {
            seq: event.seq,
            call_seq: event.call_seq,
            at: event.at.into(),
            at_pbx: event.at_pbx.map(Into::into),
            connector: event.connector.as_ref().map(ToString::to_string),
            call: about.call.map(|id| id.to_string()),
            leg: about.leg.map(|id| id.to_string()),
            agent: about.agent.as_ref().map(ToString::to_string),
            queue: about.queue.map(|id| id.to_string()),
            entry: about.entry.map(|id| id.to_string()),
            extension: about.extension.map(|id| id.to_string()),
            command: about.command.map(|id| id.to_string()),
            inferred: event.inferred,
            actor: (&event.actor).into(),
            cause: cause_of(&event.body),
            body: (&event.body).into(),
        }
    }
}

fn cause_of(body: &B) -> Option<Cause> {
    match body {
        B::CallEnded { cause, .. } | B::LegEnded { cause, .. } => Some(cause.into()),
        _ => None,
    }
}

impl From<&calls::Actor> for Actor {
    fn from(actor: &calls::Actor) -> Self {
        match actor {
            calls::Actor::Pbx { plugin } => Self::Pbx { plugin: plugin.clone() },
            calls::Actor::Host => Self::Host,
            calls::Actor::Token(name) => Self::Token { name: name.clone() },
            calls::Actor::Config => Self::Config,
        }
    }
}

impl From<&B> for Body {
    #[expect(clippy::too_many_lines, reason = "one arm per variant")]
    fn from(body: &B) -> Self {
        match body {
            B::ConnectorConnected { pbx, place } => {
                Self::ConnectorConnected { pbx: pbx.into(), place: place.clone() }
            }
            B::PbxChanged { pbx } => Self::PbxChanged { pbx: pbx.into() },
            B::ConnectorDisconnected { reason } => {
                Self::ConnectorDisconnected { reason: reason.clone() }
            }
            B::ObservationGap { from, to } => {
                Self::ObservationGap { from: (*from).into(), to: (*to).into() }
            }
            B::Resynced { scope, corrections } => {
                Self::Resynced { scope: scope.clone(), corrections: *corrections }
            }
            B::ExtensionChanged(extension) => Self::ExtensionChanged(extension.into()),
            B::ExtensionRemoved { number } => Self::ExtensionRemoved { number: number.clone() },
            B::QueueChanged(settings) => Self::QueueChanged(settings.into()),
            B::QueueRemoved { name } => Self::QueueRemoved { name: name.clone() },
            B::MemberAdded(member) => Self::MemberAdded(member.into()),
            B::MemberChanged(member) => Self::MemberChanged(member.into()),
            B::MemberPaused(member) => Self::MemberPaused(member.into()),
            B::MemberUnpaused(member) => Self::MemberUnpaused(member.into()),
            B::MemberRemoved(member) => Self::MemberRemoved {
                queue: member.queue.clone(),
                interface: member.interface.clone(),
            },
            B::MemberDesired { member, wish } => Self::MemberDesired {
                queue: member.queue.clone(),
                interface: member.interface.clone(),
                wish: wish.as_ref().map(Into::into),
            },
            B::CallerJoined { position, priority, joined_at, party } => Self::CallerJoined {
                position: *position,
                priority: *priority,
                joined_at: (*joined_at).into(),
                party: party.into(),
            },
            B::CallerMoved { position } => Self::CallerMoved { position: *position },
            B::CallerLeft { exit, evidence, waited_ms, offered } => Self::CallerLeft {
                exit: exit.to_string(),
                evidence: evidence.clone(),
                waited_ms: *waited_ms,
                offered: *offered,
            },
            B::OfferStarted { interface, member_leg } => Self::OfferStarted {
                interface: interface.clone(),
                member_leg: member_leg.map(|leg| leg.to_string()),
            },
            B::OfferEnded { interface, outcome, rang_ms } => Self::OfferEnded {
                interface: interface.clone(),
                outcome: outcome.to_string(),
                rang_ms: *rang_ms,
            },
            B::ServiceStarted { interface, member_leg, waited_ms, rang_secs } => {
                Self::ServiceStarted {
                    interface: interface.clone(),
                    member_leg: member_leg.map(|leg| leg.to_string()),
                    waited_ms: *waited_ms,
                    rang_secs: *rang_secs,
                }
            }
            B::ServiceEnded { interface, ended_by, talked_ms } => Self::ServiceEnded {
                interface: interface.clone(),
                ended_by: ended_by.to_string(),
                talked_ms: *talked_ms,
            },
            B::CallStarted { caller, dialled } => {
                Self::CallStarted { caller: caller.into(), dialled: dialled.clone() }
            }
            B::CallMerged { into } => Self::CallMerged { into: into.to_string() },
            B::CallEnded { outcome, cause: _ } => Self::CallEnded { outcome: outcome.to_string() },
            B::LegStarted { native, direction, device, extension, state, party, dialled } => {
                Self::LegStarted {
                    native: native.clone(),
                    direction: (*direction).into(),
                    device: device.clone(),
                    extension: extension.clone(),
                    state: state.to_string(),
                    party: party.into(),
                    dialled: dialled.clone(),
                }
            }
            B::LegMoved { from } => Self::LegMoved { from: from.to_string() },
            B::LegState { state } => match state {
                fact::LegState::Alerting => Self::LegAlerting {},
                fact::LegState::Answered => Self::LegAnswered {},
                fact::LegState::Held => Self::LegHeld {},
                fact::LegState::Resumed => Self::LegResumed {},
                other @ (fact::LegState::Started | fact::LegState::Other(_)) => {
                    Self::LegState { state: other.to_string() }
                }
            },
            B::LegParty { party } => Self::LegIdentified { party: party.into() },
            B::LegPeers { with } if with.is_empty() => Self::LegDisconnected {},
            B::LegPeers { with } => {
                Self::LegConnected { with: with.iter().map(ToString::to_string).collect() }
            }
            B::LegEnded { cause: _, ended_by } => Self::LegEnded { ended_by: ended_by.clone() },
            B::LegOffered(held) => Self::LegOffered {
                entry: held.entry.clone(),
                dialled: held.dialled.clone(),
                returned_from: held.returned_from.clone(),
                outcome: held.outcome.clone(),
                attempt: held.attempt,
                facts: attributes(&held.facts),
            },
            B::LegReleased { reason } => Self::LegReleased { reason: reason.clone() },
            B::CallDecided(word) => Self::CallDecided {
                hook: word.hook.to_string(),
                instance: word.instance.clone(),
                plugin: word.plugin.clone(),
                attempt: word.attempt,
                outcome: word.outcome.to_string(),
                verdict: word.verdict.clone(),
                reason: word.reason.clone(),
                facts: attributes(&word.facts),
                took_us: word.took_us,
            },
            B::Transferred { kind, transferer, transferee, target, outcome } => Self::Transferred {
                kind: kind.clone(),
                transferer: transferer.to_string(),
                transferee: transferee.map(|leg| leg.to_string()),
                target: target.clone(),
                outcome: outcome.clone(),
            },
            B::AgentChanged(agent) => Self::AgentChanged(agent.into()),
            B::AgentRemoved => Self::AgentRemoved {},
            B::AgentStatus { status, reason } => {
                Self::AgentStatus { status: status.to_string(), reason: reason.clone() }
            }
            B::AgentState { state } => Self::AgentState { state: state.to_string() },
            B::CommandAccepted { kind, arguments, idempotency_key, deadline } => {
                Self::CommandAccepted {
                    kind: kind.clone(),
                    arguments: attributes(arguments),
                    idempotency_key: idempotency_key.clone(),
                    deadline: (*deadline).into(),
                }
            }
            B::CommandSent => Self::CommandSent {},
            B::CommandEnded { end, problem, detail } => Self::CommandEnded {
                end: end.to_string(),
                problem: problem.as_ref().map(Into::into),
                detail: detail.clone(),
            },
            B::Notice(notice) => Self::Notice(notice.into()),
            B::Other { kind, facts } => {
                Self::Other { kind: kind.clone(), facts: attributes(facts) }
            }
        }
    }
}

pub(super) fn attributes(pairs: &[(String, String)]) -> Vec<Attribute> {
    pairs
        .iter()
        .map(|(name, value)| Attribute { name: name.clone(), value: value.clone() })
        .collect()
}

impl From<fact::LegDirection> for Direction {
    fn from(direction: fact::LegDirection) -> Self {
        match direction {
            fact::LegDirection::FromDevice => Self::FromDevice,
            fact::LegDirection::ToDevice => Self::ToDevice,
        }
    }
}

impl From<&event::Party> for Party {
    fn from(party: &event::Party) -> Self {
        Self {
            raw: party.raw.clone(),
            e164: party.e164.clone(),
            extension: party.extension.clone(),
            name: party.name.clone(),
            presentation: match party.presentation {
                fact::Presentation::Allowed => Presentation::Allowed,
                fact::Presentation::Restricted => Presentation::Restricted,
                fact::Presentation::Unavailable => Presentation::Unavailable,
            },
        }
    }
}

fn sip_equivalent(raw: &calls::fact::RawCause) -> Option<u16> {
    if raw.sip != 0 {
        return None;
    }
    sip::cause::status_for_q850(raw.q850).map(|status| status.code())
}

impl From<&event::Cause> for Cause {
    fn from(cause: &event::Cause) -> Self {
        Self {
            code: cause.code.to_string(),
            q850: cause.raw.q850,
            sip: cause.raw.sip,
            text: cause.raw.text.clone(),
            sip_equivalent: sip_equivalent(&cause.raw),
        }
    }
}

impl From<&fact::Pbx> for Pbx {
    fn from(pbx: &fact::Pbx) -> Self {
        Self {
            product: pbx.product.clone(),
            version: pbx.version.clone(),
            system_name: pbx.system_name.clone(),
            started_at: pbx.started_at.map(Into::into),
            capabilities: pbx.capabilities.clone(),
        }
    }
}

impl From<&fact::QueueSettings> for QueueSettings {
    fn from(settings: &fact::QueueSettings) -> Self {
        Self {
            name: settings.name.clone(),
            strategy: settings.strategy.clone(),
            max_length: settings.max_length,
            service_level_secs: settings.service_level_secs,
            wrap_up_secs: settings.wrap_up_secs,
            weight: settings.weight,
        }
    }
}

impl From<&fact::Member> for Member {
    fn from(member: &fact::Member) -> Self {
        Self {
            queue: member.queue.clone(),
            interface: member.interface.clone(),
            state_interface: member.state_interface.clone(),
            extension: member.extension.clone(),
            name: member.name.clone(),
            membership: member.membership.to_string(),
            penalty: member.penalty,
            paused: member.paused,
            pause_reason: member.pause_reason.clone(),
            state: member.state.to_string(),
            in_call: member.in_call,
            calls_taken: member.calls_taken,
            last_call: member.last_call.map(Into::into),
        }
    }
}

impl From<&event::DesiredMember> for Wish {
    fn from(wish: &event::DesiredMember) -> Self {
        Self {
            state_interface: wish.state_interface.clone(),
            name: wish.name.clone(),
            penalty: wish.penalty,
            dynamic: wish.dynamic,
            paused: wish.paused.clone(),
        }
    }
}

impl From<&fact::Extension> for Extension {
    fn from(extension: &fact::Extension) -> Self {
        Self {
            number: extension.number.clone(),
            device: extension.device.clone(),
            name: extension.name.clone(),
            state: extension.state.to_string(),
        }
    }
}

impl From<&event::Agent> for Agent {
    fn from(agent: &event::Agent) -> Self {
        Self {
            id: agent.id.to_string(),
            name: agent.name.clone(),
            external: agent.external.clone(),
            devices: agent.devices.iter().map(Into::into).collect(),
            from_config: agent.from_config,
        }
    }
}

impl From<&event::Device> for Device {
    fn from(device: &event::Device) -> Self {
        Self { connector: device.connector.to_string(), extension: device.extension.clone() }
    }
}

impl From<&event::Problem> for Problem {
    fn from(problem: &event::Problem) -> Self {
        Self {
            code: problem.code.clone(),
            message: problem.message.clone(),
            retryable: problem.retryable,
        }
    }
}

impl From<&fact::Notice> for Notice {
    fn from(notice: &fact::Notice) -> Self {
        Self {
            code: notice.code.clone(),
            severity: notice.severity.to_string(),
            message: notice.message.clone(),
            fix: notice.fix.clone(),
        }
    }
}
