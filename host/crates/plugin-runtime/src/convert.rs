//! Between WIT types and ours. Every string a guest hands over is cut here, every list bounded.

use calls::{Fact, Now, Timestamp, event::Problem, fact};

use crate::{
    bindings::{facts as wit, types},
    secret::{Part, SecretForm},
};

/// Longest string taken from a guest, in bytes; longer ones are cut.
pub(crate) const MAX_TEXT: usize = 4096;
/// Longest list within one action; longer ones make the action refused.
pub(crate) const MAX_LIST: usize = 1024;
/// Longest detail of a command's outcome, in bytes. It is JSON, so a longer one is refused, not cut.
const MAX_DETAIL: usize = 64 << 10;

/// Something that cannot be taken from a guest. The text goes on after "refused: ".
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Nonsense(pub(crate) String);

/// At most [`MAX_TEXT`] bytes, whole characters.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
    }
    text
}

fn cut_some(text: Option<String>) -> Option<String> {
    text.map(cut)
}

/// Bytes as an operator may see them, at most 200 characters.
pub(crate) fn printable(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    bytes
        .iter()
        .take(MOST)
        .map(|&byte| if byte == b' ' || byte.is_ascii_graphic() { char::from(byte) } else { '.' })
        .collect()
}

pub(crate) fn now(now: Now) -> types::Now {
    let monotonic_ns = u64::try_from(now.monotonic.as_nanos()).unwrap_or(u64::MAX);
    types::Now { monotonic_ns, wall_ns: now.wall.0 }
}

pub(crate) fn problem(error: types::Error) -> Problem {
    Problem { code: cut(error.code), message: cut(error.message), retryable: error.retryable }
}

/// JSON text or nothing.
pub(crate) fn detail(text: String) -> Result<String, Nonsense> {
    if text.len() > MAX_DETAIL {
        return Err(Nonsense(format!("a detail of {} bytes; at most {MAX_DETAIL}", text.len())));
    }
    if !text.is_empty()
        && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text)
    {
        return Err(Nonsense(format!("a detail that is not JSON: {error}")));
    }
    Ok(text)
}

pub(crate) fn attributes(list: Vec<(String, String)>) -> Result<Vec<(String, String)>, Nonsense> {
    bounded("attributes", &list)?;
    Ok(list.into_iter().map(|(name, value)| (cut(name), cut(value))).collect())
}

pub(crate) fn part(part: types::Part) -> Result<Part, Nonsense> {
    Ok(match part {
        types::Part::Literal(bytes) => Part::Literal(bytes),
        types::Part::Secret(secret) => {
            let form = SecretForm::from_code(&secret.form).ok_or_else(|| {
                Nonsense(format!("the secret form `{}`, which nobody knows", cut(secret.form)))
            })?;
            for (what, bytes) in [("prefix", &secret.prefix), ("suffix", &secret.suffix)] {
                if bytes.len() > MAX_TEXT {
                    return Err(Nonsense(format!(
                        "a secret's {what} of {} bytes; at most {MAX_TEXT}",
                        bytes.len()
                    )));
                }
            }
            Part::Secret {
                name: cut(secret.name),
                form,
                prefix: secret.prefix,
                suffix: secret.suffix,
            }
        }
    })
}

pub(crate) fn bounded<T>(what: &str, list: &[T]) -> Result<(), Nonsense> {
    if list.len() <= MAX_LIST {
        return Ok(());
    }
    Err(Nonsense(format!("{} {what} in one action; at most {MAX_LIST}", list.len())))
}

pub(crate) fn fact(fact: wit::Fact) -> Result<Fact, Nonsense> {
    Ok(match fact {
        wit::Fact::Pbx(pbx) => {
            bounded("capabilities", &pbx.capabilities)?;
            Fact::Pbx(fact::Pbx {
                product: cut(pbx.product),
                version: cut(pbx.version),
                system_name: cut(pbx.system_name),
                started_at: pbx.started_at_ns.map(Timestamp),
                capabilities: pbx.capabilities.into_iter().map(cut).collect(),
            })
        }
        wit::Fact::LegStarted(leg) => Fact::LegStarted(self::leg(leg)?),
        wit::Fact::LegState(change) => {
            Fact::LegState { leg: id(change.leg), state: code(change.state) }
        }
        wit::Fact::LegParty(change) => {
            Fact::LegParty { leg: id(change.leg), party: party(change.party) }
        }
        wit::Fact::LegPeers(change) => {
            bounded("peers", &change.peers)?;
            Fact::LegPeers {
                leg: id(change.leg),
                peers: change.peers.into_iter().map(id).collect(),
            }
        }
        wit::Fact::LegEnded(end) => Fact::LegEnded {
            leg: id(end.leg),
            cause: fact::RawCause {
                q850: end.cause.q850,
                sip: end.cause.sip,
                text: cut(end.cause.text),
            },
            ended_by: cut(end.ended_by),
        },
        wit::Fact::LegOffered(offered) => Fact::LegOffered {
            leg: id(offered.leg),
            entry: cut(offered.entry),
            dialled: cut(offered.dialled),
            returned_from: cut(offered.returned_from),
            outcome: cut(offered.outcome),
            facts: attributes(offered.facts)?,
        },
        wit::Fact::LegReleased(released) => {
            Fact::LegReleased { leg: id(released.leg), reason: cut(released.reason) }
        }
        wit::Fact::LegKey(pressed) => {
            Fact::LegKey { leg: id(pressed.leg), key: cut(pressed.key), held_ms: pressed.held_ms }
        }
        wit::Fact::Transfer(transfer) => Fact::Transfer {
            kind: cut(transfer.kind),
            transferer: id(transfer.transferer),
            transferee: transfer.transferee.map(id),
            target: cut(transfer.target),
            outcome: cut(transfer.outcome),
        },
        wit::Fact::Queue(queue) => Fact::Queue(fact::QueueSettings {
            name: cut(queue.name),
            strategy: cut(queue.strategy),
            max_length: queue.max_length,
            service_level_secs: queue.service_level_secs,
            wrap_up_secs: queue.wrap_up_secs,
            weight: queue.weight,
        }),
        wit::Fact::QueueRemoved(name) => Fact::QueueRemoved { name: cut(name) },
        wit::Fact::Member(member) => Fact::Member(self::member(member)),
        wit::Fact::MemberRemoved(member) => Fact::MemberRemoved(fact::MemberRef {
            queue: cut(member.queue),
            interface: cut(member.interface),
        }),
        wit::Fact::CallerJoined(caller) => Fact::CallerJoined(fact::Caller {
            queue: cut(caller.queue),
            leg: id(caller.leg),
            position: caller.position,
            priority: caller.priority,
            waited_secs: secs(caller.waited_ms),
        }),
        wit::Fact::CallerLeft(left) => Fact::CallerLeft {
            queue: cut(left.queue),
            leg: id(left.leg),
            exit: code(left.exit),
            evidence: cut(left.evidence),
        },
        wit::Fact::OfferStarted(offer) => Fact::OfferStarted {
            queue: cut(offer.queue),
            leg: id(offer.leg),
            interface: cut(offer.interface),
            member_leg: offer.member_leg.map(id),
        },
        wit::Fact::OfferEnded(end) => Fact::OfferEnded {
            queue: cut(end.queue),
            leg: id(end.leg),
            interface: cut(end.interface),
            outcome: code(end.outcome),
            rang_ms: u32::try_from(end.rang_ms).unwrap_or(u32::MAX),
        },
        wit::Fact::ServiceStarted(service) => Fact::ServiceStarted {
            queue: cut(service.queue),
            leg: id(service.leg),
            interface: cut(service.interface),
            member_leg: service.member_leg.map(id),
            waited_secs: secs(service.waited_ms),
            rang_secs: secs(service.rang_ms),
        },
        wit::Fact::ServiceEnded(end) => Fact::ServiceEnded {
            queue: cut(end.queue),
            leg: id(end.leg),
            interface: cut(end.interface),
            ended_by: code(end.ended_by),
            talked_secs: secs(end.talked_ms),
        },
        wit::Fact::Extension(extension) => Fact::Extension(fact::Extension {
            number: cut(extension.number),
            device: cut(extension.device),
            name: cut(extension.name),
            state: code(extension.state),
        }),
        wit::Fact::ExtensionRemoved(number) => Fact::ExtensionRemoved { number: cut(number) },
        wit::Fact::Notice(notice) => Fact::Notice(fact::Notice {
            code: cut(notice.code),
            severity: code(notice.severity),
            message: cut(notice.message),
            fix: cut(notice.fix),
        }),
        wit::Fact::Other(other) => Fact::Other {
            kind: cut(other.kind),
            leg: other.leg.map(id),
            facts: attributes(other.facts)?,
        },
    })
}

fn leg(leg: wit::Leg) -> Result<fact::Leg, Nonsense> {
    let direction = match leg.direction.as_str() {
        "from-device" => fact::LegDirection::FromDevice,
        "to-device" => fact::LegDirection::ToDevice,
        _ => return Err(Nonsense(format!("a leg with the direction `{}`", cut(leg.direction)))),
    };
    Ok(fact::Leg {
        id: id(leg.id),
        related: leg.related.map(id),
        direction,
        device: cut(leg.device),
        extension: cut_some(leg.extension),
        state: code(leg.state),
        party: party(leg.party),
        dialled: cut(leg.dialled),
    })
}

fn member(member: wit::Member) -> fact::Member {
    fact::Member {
        queue: cut(member.queue),
        interface: cut(member.interface),
        state_interface: cut(member.state_interface),
        extension: cut_some(member.extension),
        name: cut(member.name),
        membership: code(member.membership),
        penalty: member.penalty,
        paused: member.paused,
        pause_reason: cut(member.pause_reason),
        state: code(member.state),
        in_call: member.in_call,
        calls_taken: member.calls_taken,
        last_call: member.last_call_ns.map(Timestamp),
    }
}

fn party(party: wit::Party) -> fact::RawParty {
    let presentation = match party.presentation.as_str() {
        "" | "allowed" => fact::Presentation::Allowed,
        "unavailable" => fact::Presentation::Unavailable,
        // A word we do not know may well mean that the number must not be shown.
        _ => fact::Presentation::Restricted,
    };
    fact::RawParty { number: cut(party.number), name: cut(party.name), presentation }
}

/// Whole seconds, as reports count them.
fn secs(ms: u64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}

fn id(id: String) -> Box<str> {
    cut(id).into_boxed_str()
}

/// An open code: a word we know, or the word itself.
pub(crate) fn code<C: for<'a> From<&'a str>>(word: String) -> C {
    C::from(&cut(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_cut_between_characters() {
        assert_eq!(cut("short".into()), "short");
        let long = cut(format!("x{}", "ü".repeat(MAX_TEXT)));
        assert_eq!(long.len(), MAX_TEXT - 1);
        assert!(long.ends_with('ü'));
    }

    #[test]
    fn a_list_that_is_too_long_is_refused() {
        let peers = vec![String::from("1"); MAX_LIST + 1];
        let error =
            fact(wit::Fact::LegPeers(wit::LegPeers { leg: "1".into(), peers })).unwrap_err();
        assert_eq!(error.0, "1025 peers in one action; at most 1024");
    }

    #[test]
    fn an_unknown_presentation_hides_the_number() {
        let strange =
            wit::Party { number: "1".into(), name: String::new(), presentation: "secret".into() };
        assert_eq!(party(strange).presentation, fact::Presentation::Restricted);
    }

    #[test]
    fn a_detail_is_json_or_nothing() {
        assert_eq!(detail("{\"a\":1}".into()), Ok("{\"a\":1}".into()));
        assert_eq!(detail(String::new()), Ok(String::new()));
        assert!(detail("{".into()).unwrap_err().0.contains("not JSON"));
    }

    #[test]
    fn only_printable_bytes_reach_the_operator() {
        assert_eq!(printable(b"Event: \x1b[31m\r\n\xff"), "Event: .[31m...");
        assert_eq!(printable(&[b'a'; 500]).len(), 200);
    }
}
