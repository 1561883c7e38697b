//! From JSON back to the core: for the journal's own rows, so an error here is a damaged or foreign row.

use calls::{Body as B, event, fact};

use super::{
    Actor, Agent, Attribute, Body, Cause, Device, Event, Extension, Member, Notice, Party, Pbx,
    Presentation, Problem, QueueSettings,
    body::{Direction, Wish},
};

/// A text that is not an event of a known schema.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "fields are named in the messages")]
pub enum NotAnEvent {
    /// Written by a newer version.
    #[error(
        "written with schema {found}, and this version reads up to {known}; fix: run the newer jackfield that wrote it"
    )]
    NewerSchema { found: u32, known: u32 },
    /// Not JSON, or not of this shape.
    #[error("not an event: {0}")]
    Shape(#[from] serde_json::Error),
    /// An id is none.
    #[error("field `{field}`: `{text}` is not an id")]
    Id { field: &'static str, text: String },
}

impl TryFrom<Event> for calls::Event {
    type Error = NotAnEvent;

    fn try_from(event: Event) -> Result<Self, NotAnEvent> {
        let about = event::About {
            call: optional("call", event.call)?,
            leg: optional("leg", event.leg)?,
            agent: event.agent.as_deref().map(Into::into),
            queue: optional("queue", event.queue)?,
            entry: optional("entry", event.entry)?,
            extension: optional("extension", event.extension)?,
            command: optional("command", event.command)?,
        };
        Ok(Self {
            seq: event.seq,
            call_seq: event.call_seq,
            at: event.at.into(),
            at_pbx: event.at_pbx.map(Into::into),
            connector: event.connector.as_deref().map(Into::into),
            about,
            inferred: event.inferred,
            actor: event.actor.into(),
            body: body(event.body, event.cause)?,
        })
    }
}

fn id<T: std::str::FromStr>(field: &'static str, text: String) -> Result<T, NotAnEvent> {
    text.parse().map_err(|_| NotAnEvent::Id { field, text })
}

fn optional<T: std::str::FromStr>(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<T>, NotAnEvent> {
    text.map(|text| id(field, text)).transpose()
}

impl From<Actor> for calls::Actor {
    fn from(actor: Actor) -> Self {
        match actor {
            Actor::Pbx { plugin } => Self::Pbx { plugin },
            Actor::Host => Self::Host,
            Actor::Token { name } => Self::Token(name),
            Actor::Config => Self::Config,
        }
    }
}

#[expect(clippy::too_many_lines, reason = "one arm per variant")]
fn body(body: Body, cause: Option<Cause>) -> Result<B, NotAnEvent> {
    let cause = || match cause {
        Some(cause) => cause.into(),
        None => event::Cause { code: event::CauseCode::Unknown, raw: fact::RawCause::default() },
    };
    Ok(match body {
        Body::ConnectorConnected { pbx, place } => B::ConnectorConnected { pbx: pbx.into(), place },
        Body::PbxChanged { pbx } => B::PbxChanged { pbx: pbx.into() },
        Body::ConnectorDisconnected { reason } => B::ConnectorDisconnected { reason },
        Body::ObservationGap { from, to } => B::ObservationGap { from: from.into(), to: to.into() },
        Body::Resynced { scope, corrections } => B::Resynced { scope, corrections },
        Body::ExtensionChanged(extension) => B::ExtensionChanged(extension.into()),
        Body::ExtensionRemoved { number } => B::ExtensionRemoved { number },
        Body::QueueChanged(settings) => B::QueueChanged(settings.into()),
        Body::QueueRemoved { name } => B::QueueRemoved { name },
        Body::MemberAdded(member) => B::MemberAdded(member.into()),
        Body::MemberChanged(member) => B::MemberChanged(member.into()),
        Body::MemberPaused(member) => B::MemberPaused(member.into()),
        Body::MemberUnpaused(member) => B::MemberUnpaused(member.into()),
        Body::MemberRemoved { queue, interface } => {
            B::MemberRemoved(fact::MemberRef { queue, interface })
        }
        Body::MemberDesired { queue, interface, wish } => B::MemberDesired {
            member: fact::MemberRef { queue, interface },
            wish: wish.map(Into::into),
        },
        Body::CallerJoined { position, priority, joined_at, party } => {
            B::CallerJoined { position, priority, joined_at: joined_at.into(), party: party.into() }
        }
        Body::CallerMoved { position } => B::CallerMoved { position },
        Body::CallerLeft { exit, evidence, waited_ms, offered } => {
            B::CallerLeft { exit: exit.as_str().into(), evidence, waited_ms, offered }
        }
        Body::OfferStarted { interface, member_leg } => {
            B::OfferStarted { interface, member_leg: optional("data.member_leg", member_leg)? }
        }
        Body::OfferEnded { interface, outcome, rang_ms } => {
            B::OfferEnded { interface, outcome: outcome.as_str().into(), rang_ms }
        }
        Body::ServiceStarted { interface, member_leg, waited_ms, rang_secs } => B::ServiceStarted {
            interface,
            member_leg: optional("data.member_leg", member_leg)?,
            waited_ms,
            rang_secs,
        },
        Body::ServiceEnded { interface, ended_by, talked_ms } => {
            B::ServiceEnded { interface, ended_by: ended_by.as_str().into(), talked_ms }
        }
        Body::CallStarted { caller, dialled } => B::CallStarted { caller: caller.into(), dialled },
        Body::CallMerged { into } => B::CallMerged { into: id("data.into", into)? },
        Body::CallEnded { outcome } => {
            B::CallEnded { outcome: outcome.as_str().into(), cause: cause() }
        }
        Body::LegStarted { native, direction, device, extension, state, party, dialled } => {
            B::LegStarted {
                native,
                direction: direction.into(),
                device,
                extension,
                state: state.as_str().into(),
                party: party.into(),
                dialled,
            }
        }
        Body::LegMoved { from } => B::LegMoved { from: id("data.from", from)? },
        Body::LegAlerting {} => B::LegState { state: fact::LegState::Alerting },
        Body::LegAnswered {} => B::LegState { state: fact::LegState::Answered },
        Body::LegHeld {} => B::LegState { state: fact::LegState::Held },
        Body::LegResumed {} => B::LegState { state: fact::LegState::Resumed },
        Body::LegState { state } => B::LegState { state: state.as_str().into() },
        Body::LegIdentified { party } => B::LegParty { party: party.into() },
        Body::LegConnected { with } => {
            let with = with.into_iter().map(|leg| id("data.with", leg));
            B::LegPeers { with: with.collect::<Result<_, _>>()? }
        }
        Body::LegDisconnected {} => B::LegPeers { with: Vec::new() },
        Body::LegEnded { ended_by } => B::LegEnded { cause: cause(), ended_by },
        Body::LegOffered { entry, dialled, returned_from, outcome, attempt, facts } => {
            let facts = pairs(facts);
            let held = event::Held { entry, dialled, returned_from, outcome, attempt, facts };
            B::LegOffered(held)
        }
        Body::LegReleased { reason } => B::LegReleased { reason },
        Body::CallDecided {
            hook,
            instance,
            plugin,
            attempt,
            outcome,
            verdict,
            reason,
            facts,
            took_us,
        } => B::CallDecided(event::HookWord {
            hook: hook.as_str().into(),
            instance,
            plugin,
            attempt,
            outcome: outcome.as_str().into(),
            verdict,
            reason,
            facts: pairs(facts),
            took_us,
        }),
        Body::Transferred { kind, transferer, transferee, target, outcome } => B::Transferred {
            kind,
            transferer: id("data.transferer", transferer)?,
            transferee: optional("data.transferee", transferee)?,
            target,
            outcome,
        },
        Body::AgentChanged(agent) => B::AgentChanged(agent.into()),
        Body::AgentRemoved {} => B::AgentRemoved,
        Body::AgentStatus { status, reason } => {
            B::AgentStatus { status: status.as_str().into(), reason }
        }
        Body::AgentState { state } => B::AgentState { state: state.as_str().into() },
        Body::CommandAccepted { kind, arguments, idempotency_key, deadline } => {
            B::CommandAccepted {
                kind,
                arguments: pairs(arguments),
                idempotency_key,
                deadline: deadline.into(),
            }
        }
        Body::CommandSent {} => B::CommandSent,
        Body::CommandEnded { end, problem, detail } => {
            B::CommandEnded { end: end.as_str().into(), problem: problem.map(Into::into), detail }
        }
        Body::Notice(notice) => B::Notice(notice.into()),
        Body::Other { kind, facts } => B::Other { kind, facts: pairs(facts) },
    })
}

fn pairs(attributes: Vec<Attribute>) -> Vec<(String, String)> {
    attributes.into_iter().map(|Attribute { name, value }| (name, value)).collect()
}

impl From<Direction> for fact::LegDirection {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::FromDevice => Self::FromDevice,
            Direction::ToDevice => Self::ToDevice,
        }
    }
}

impl From<Party> for event::Party {
    fn from(party: Party) -> Self {
        Self {
            raw: party.raw,
            e164: party.e164,
            extension: party.extension,
            name: party.name,
            presentation: match party.presentation {
                Presentation::Allowed => fact::Presentation::Allowed,
                Presentation::Restricted => fact::Presentation::Restricted,
                Presentation::Unavailable => fact::Presentation::Unavailable,
            },
        }
    }
}

impl From<Cause> for event::Cause {
    fn from(cause: Cause) -> Self {
        let Cause { code, q850, sip, text, sip_equivalent: _ } = cause;
        Self { code: code.as_str().into(), raw: fact::RawCause { q850, sip, text } }
    }
}

impl From<Pbx> for fact::Pbx {
    fn from(pbx: Pbx) -> Self {
        Self {
            product: pbx.product,
            version: pbx.version,
            system_name: pbx.system_name,
            started_at: pbx.started_at.map(Into::into),
            capabilities: pbx.capabilities,
        }
    }
}

impl From<QueueSettings> for fact::QueueSettings {
    fn from(settings: QueueSettings) -> Self {
        Self {
            name: settings.name,
            strategy: settings.strategy,
            max_length: settings.max_length,
            service_level_secs: settings.service_level_secs,
            wrap_up_secs: settings.wrap_up_secs,
            weight: settings.weight,
        }
    }
}

impl From<Member> for fact::Member {
    fn from(member: Member) -> Self {
        Self {
            queue: member.queue,
            interface: member.interface,
            state_interface: member.state_interface,
            extension: member.extension,
            name: member.name,
            membership: member.membership.as_str().into(),
            penalty: member.penalty,
            paused: member.paused,
            pause_reason: member.pause_reason,
            state: member.state.as_str().into(),
            in_call: member.in_call,
            calls_taken: member.calls_taken,
            last_call: member.last_call.map(Into::into),
        }
    }
}

impl From<Wish> for event::DesiredMember {
    fn from(wish: Wish) -> Self {
        Self {
            state_interface: wish.state_interface,
            name: wish.name,
            penalty: wish.penalty,
            dynamic: wish.dynamic,
            paused: wish.paused,
        }
    }
}

impl From<Extension> for fact::Extension {
    fn from(extension: Extension) -> Self {
        Self {
            number: extension.number,
            device: extension.device,
            name: extension.name,
            state: extension.state.as_str().into(),
        }
    }
}

impl From<Agent> for event::Agent {
    fn from(agent: Agent) -> Self {
        Self {
            id: agent.id.as_str().into(),
            name: agent.name,
            external: agent.external,
            devices: agent.devices.into_iter().map(Into::into).collect(),
            from_config: agent.from_config,
        }
    }
}

impl From<Device> for event::Device {
    fn from(device: Device) -> Self {
        Self { connector: device.connector.as_str().into(), extension: device.extension }
    }
}

impl From<Problem> for event::Problem {
    fn from(problem: Problem) -> Self {
        Self { code: problem.code, message: problem.message, retryable: problem.retryable }
    }
}

impl From<Notice> for fact::Notice {
    fn from(notice: Notice) -> Self {
        Self {
            code: notice.code,
            severity: notice.severity.as_str().into(),
            message: notice.message,
            fix: notice.fix,
        }
    }
}
