//! Facts of connectors as lines: the word of the contract, then the fields that say something.

use calls::{
    Fact,
    fact::{Caller, Extension, Leg, LegDirection, Member, Presentation, QueueSettings, RawParty},
};

use crate::scenario::fields::Writer;

/// A fact as a line, e.g. `leg-started id=17 direction=from-device device=PJSIP/1001 state=answered`.
pub fn line(fact: &Fact) -> String {
    written(fact).done()
}

fn written(fact: &Fact) -> Writer {
    let new = Writer::new;
    match fact {
        Fact::Pbx(it) => new("pbx")
            .field("product", &it.product)
            .field("version", &it.version)
            .field("system-name", &it.system_name)
            .field("started-at", it.started_at.map_or(String::new(), |at| at.0.to_string()))
            .field("capabilities", it.capabilities.join(",")),
        Fact::LegStarted(it) => leg(it),
        Fact::LegState { leg, state } => new("leg-state").field("leg", leg).field("state", state),
        Fact::LegParty { leg, party: it } => party(new("leg-party").field("leg", leg), it),
        Fact::LegPeers { leg, peers } => {
            new("leg-peers").field("leg", leg).field("peers", peers.join(","))
        }
        Fact::LegEnded { leg, cause, ended_by } => new("leg-ended")
            .field("leg", leg)
            .field("cause.q850", number(cause.q850.into()))
            .field("cause.sip", number(cause.sip.into()))
            .field("cause.text", &cause.text)
            .field("ended-by", ended_by),
        Fact::LegOffered { leg, entry, dialled, returned_from, outcome, facts } => {
            new("leg-offered")
                .field("leg", leg)
                .field("entry", entry)
                .field("dialled", dialled)
                .field("returned-from", returned_from)
                .field("outcome", outcome)
                .fields("facts.", facts)
        }
        Fact::LegReleased { leg, reason } => {
            new("leg-released").field("leg", leg).field("reason", reason)
        }
        Fact::LegKey { leg, key, held_ms } => new("leg-key")
            .field("leg", leg)
            .field("key", key)
            .field("held-ms", number((*held_ms).into())),
        Fact::Transfer { kind, transferer, transferee, target, outcome } => new("transfer")
            .field("kind", kind)
            .field("transferer", transferer)
            .field("transferee", transferee.as_deref().unwrap_or_default())
            .field("target", target)
            .field("outcome", outcome),
        Fact::Queue(it) => queue(it),
        Fact::QueueRemoved { name } => new("queue-removed").field("name", name),
        Fact::Member(it) => member(it),
        Fact::MemberRemoved(it) => {
            new("member-removed").field("queue", &it.queue).field("interface", &it.interface)
        }
        Fact::CallerJoined(it) => caller(it),
        Fact::CallerLeft { queue, leg, exit, evidence } => new("caller-left")
            .field("queue", queue)
            .field("leg", leg)
            .field("exit", exit)
            .field("evidence", evidence),
        Fact::OfferStarted { queue, leg, interface, member_leg } => {
            of_member("offer-started", queue, leg, interface, member_leg.as_deref())
        }
        Fact::OfferEnded { queue, leg, interface, outcome, rang_ms } => {
            of_member("offer-ended", queue, leg, interface, None)
                .field("outcome", outcome)
                .field("rang-ms", number((*rang_ms).into()))
        }
        Fact::ServiceStarted { queue, leg, interface, member_leg, waited_secs, rang_secs } => {
            of_member("service-started", queue, leg, interface, member_leg.as_deref())
                .field("waited-secs", number((*waited_secs).into()))
                .field("rang-secs", number((*rang_secs).into()))
        }
        Fact::ServiceEnded { queue, leg, interface, ended_by, talked_secs } => {
            of_member("service-ended", queue, leg, interface, None)
                .field("ended-by", ended_by)
                .field("talked-secs", number((*talked_secs).into()))
        }
        Fact::Extension(it) => extension(it),
        Fact::ExtensionRemoved { number } => new("extension-removed").field("number", number),
        Fact::Notice(it) => new("notice")
            .field("code", &it.code)
            .field("severity", &it.severity)
            .field("message", &it.message)
            .field("fix", &it.fix),
        Fact::Other { kind, leg, facts } => new("other")
            .field("kind", kind)
            .field("leg", leg.as_deref().unwrap_or_default())
            .fields("facts.", facts),
    }
}

fn leg(it: &Leg) -> Writer {
    let direction = match it.direction {
        LegDirection::FromDevice => "from-device",
        LegDirection::ToDevice => "to-device",
    };
    let line = Writer::new("leg-started")
        .field("id", &it.id)
        .field("related", it.related.as_deref().unwrap_or_default())
        .field("direction", direction)
        .field("device", &it.device)
        .field("extension", it.extension.as_deref().unwrap_or_default())
        .field("state", &it.state);
    party(line, &it.party).field("dialled", &it.dialled)
}

fn party(line: Writer, it: &RawParty) -> Writer {
    let presentation = match it.presentation {
        Presentation::Allowed => "",
        Presentation::Restricted => "restricted",
        Presentation::Unavailable => "unavailable",
    };
    line.field("party.number", &it.number)
        .field("party.name", &it.name)
        .field("party.presentation", presentation)
}

fn queue(it: &QueueSettings) -> Writer {
    Writer::new("queue")
        .field("name", &it.name)
        .field("strategy", &it.strategy)
        .field("max-length", number(it.max_length.into()))
        .field("service-level-secs", number(it.service_level_secs.into()))
        .field("wrap-up-secs", number(it.wrap_up_secs.into()))
        .field("weight", number(it.weight.into()))
}

fn member(it: &Member) -> Writer {
    let flag = |on: bool| if on { "true" } else { "" };
    Writer::new("member")
        .field("queue", &it.queue)
        .field("interface", &it.interface)
        .field("state-interface", &it.state_interface)
        .field("extension", it.extension.as_deref().unwrap_or_default())
        .field("name", &it.name)
        .field("membership", &it.membership)
        .field("penalty", number(it.penalty.into()))
        .field("paused", flag(it.paused))
        .field("pause-reason", &it.pause_reason)
        .field("state", &it.state)
        .field("in-call", flag(it.in_call))
        .field("calls-taken", number(it.calls_taken.into()))
        .field("last-call", it.last_call.map_or(String::new(), |at| at.0.to_string()))
}

fn caller(it: &Caller) -> Writer {
    Writer::new("caller-joined")
        .field("queue", &it.queue)
        .field("leg", &it.leg)
        .field("position", number(it.position.into()))
        .field("priority", number(it.priority.into()))
        .field("waited-secs", number(it.waited_secs.into()))
}

fn of_member(word: &str, queue: &str, leg: &str, interface: &str, member: Option<&str>) -> Writer {
    Writer::new(word)
        .field("queue", queue)
        .field("leg", leg)
        .field("interface", interface)
        .field("member-leg", member.unwrap_or_default())
}

fn extension(it: &Extension) -> Writer {
    Writer::new("extension")
        .field("number", &it.number)
        .field("device", &it.device)
        .field("name", &it.name)
        .field("state", &it.state)
}

/// 0 says nothing.
fn number(number: i64) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}
