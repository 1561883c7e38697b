//! Conversations of a caller with the member who took them, and who ended them.

use jackfield_sdk::{Fact, Service, ServiceEnded};
use serde::{Deserialize, Serialize};

use super::{PATIENCE_NS, Queues, SECOND_NS};
use crate::{
    calls::{Calls, Told},
    frame::{Header, get, get_number, get_text},
    out::Out,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OpenService {
    pub(super) queue: String,
    pub(super) leg: String,
    pub(super) interface: String,
    pub(super) dialled: String,
    pub(super) member_leg: Option<String>,
    pub(super) since: u64,
    pub(super) waited: u32,
    pub(super) rang: u32,
    /// They heard each other at least once.
    pub(super) together: bool,
    /// They stopped hearing each other: when, and until when that may be undone or explained.
    pub(super) broken: Option<(u64, u64)>,
    /// The caller was alive after that.
    pub(super) moved_on: bool,
    pub(super) far_end: FarEnd,
}

/// Whose far end asked to hang up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FarEnd {
    None,
    Caller,
    Member,
}

impl Queues {
    /// The word that a conversation is over may come after the legs in it; who ended it is known by then.
    pub(super) fn end_overtaken_services(&mut self, leg: &str, out: &mut Out<'_>) {
        let now = out.mono();
        let is_over = |service: &OpenService| {
            let members = service.dialled == leg || service.member_leg.as_deref() == Some(leg);
            match service.far_end {
                _ if service.moved_on => false,
                FarEnd::None => false,
                FarEnd::Caller => service.leg == leg || members,
                // A member may have passed the caller on: then the caller's leg goes on.
                FarEnd::Member => service.leg == leg,
            }
        };
        let (over, kept) =
            std::mem::take(&mut self.services).into_iter().partition::<Vec<_>, _>(is_over);
        self.services = kept;
        for service in over {
            let end = service.broken.map_or(now, |(since, _)| since);
            let talked = (end.saturating_sub(service.since) / SECOND_NS) as u32;
            let ended_by = if service.far_end == FarEnd::Caller { "caller" } else { "member" };
            service.end(ended_by, talked, out);
        }
    }

    /// A member took the caller.
    pub fn connected(
        &mut self,
        headers: &[Header<'_>],
        told: Told<'_, '_>,
        dest: Option<Told<'_, '_>>,
        calls: &Calls,
        out: &mut Out<'_>,
    ) {
        let (queue, interface) = (get_text(headers, b"Queue"), get_text(headers, b"Interface"));
        let key = (queue.clone(), told.id());
        self.entries.remove(&key);
        self.decide(&key, "answered", "AgentConnect", out);
        self.offers.retain(|offer| {
            !(offer.queue == key.0 && offer.leg == key.1 && offer.interface == interface)
        });
        self.cancel_offers(&key, out);
        self.end_other_services(&key.1, out);
        let dialled = dest.map(Told::id).unwrap_or_default();
        let service = OpenService {
            queue,
            leg: key.1.clone(),
            interface,
            member_leg: calls.phone_behind(&dialled, &key.1),
            dialled,
            since: out.mono(),
            waited: get_number(headers, b"HoldTime") as u32,
            rang: get_number(headers, b"RingTime") as u32,
            together: false,
            broken: None,
            moved_on: false,
            far_end: FarEnd::None,
        };
        out.fact(service.fact());
        self.services.push(service);
    }

    /// A caller who was taken away and is answered again has left whom they talked with.
    fn end_other_services(&mut self, leg: &str, out: &mut Out<'_>) {
        let now = out.mono();
        let (over, kept) = std::mem::take(&mut self.services)
            .into_iter()
            .partition(|it: &OpenService| it.leg == leg);
        self.services = kept;
        for service in over {
            let end = service.broken.map_or(now, |(since, _)| since);
            let talked = (end.saturating_sub(service.since) / SECOND_NS) as u32;
            service.end("transfer", talked, out);
        }
    }

    /// Asterisk says that a conversation is over; the caller's channel may be gone already, the member's too.
    pub fn completed(
        &mut self,
        headers: &[Header<'_>],
        told: Option<Told<'_, '_>>,
        dest: Option<Told<'_, '_>>,
        out: &mut Out<'_>,
    ) {
        let (queue, interface) = (get_text(headers, b"Queue"), get_text(headers, b"Interface"));
        let (leg, dialled) = (told.map(Told::id), dest.map(Told::id));
        let is_meant = |service: &OpenService| {
            service.queue == queue
                && match (&leg, &dialled) {
                    (Some(leg), _) => service.leg == *leg,
                    (None, Some(dialled)) => service.dialled == *dialled,
                    (None, None) => service.interface == interface,
                }
        };
        let Some(at) = self.services.iter().position(is_meant) else { return };
        let service = self.services.remove(at);
        if let (true, Some((since, _))) = (service.moved_on, service.broken) {
            // A caller who was redirected: Asterisk says so only when they hang up, and blames them.
            let talked = (since.saturating_sub(service.since) / SECOND_NS) as u32;
            return service.end("transfer", talked, out);
        }
        let ended_by = match get(headers, b"Reason").unwrap_or_default() {
            b"agent" => "member",
            b"caller" => "caller",
            b"transfer" => "transfer",
            _ => "unknown",
        };
        let talked = get_number(headers, b"TalkTime") as u32;
        service.end(ended_by, talked, out);
    }

    /// Bridges or legs changed: conversations may have ended without a word.
    pub fn check_services(&mut self, calls: &Calls, out: &mut Out<'_>) {
        let now = out.mono();
        let mut at = 0;
        while at < self.services.len() {
            let service = &mut self.services[at];
            if service.member_leg.is_none() {
                service.member_leg = calls.phone_behind(&service.dialled, &service.leg);
            }
            let others = [Some(&service.dialled), service.member_leg.as_ref()];
            let together =
                others.into_iter().flatten().any(|other| calls.talk(&service.leg, other));
            match service.broken {
                _ if together => (service.together, service.broken) = (true, None),
                // AgentConnect comes before the bridge.
                None if !service.together
                    && calls.is_leg(&service.leg)
                    && calls.get(&service.dialled).is_some() => {}
                None => service.broken = Some((now, now + PATIENCE_NS)),
                Some((since, until)) if until <= now => {
                    let service = self.services.remove(at);
                    let ended_by = match service.far_end {
                        FarEnd::Caller => "caller",
                        FarEnd::Member => "member",
                        // Taken away while alive: somebody redirected them.
                        FarEnd::None if service.moved_on || calls.is_leg(&service.leg) => {
                            "transfer"
                        }
                        FarEnd::None => "unknown",
                    };
                    let talked = (since.saturating_sub(service.since) / SECOND_NS) as u32;
                    service.end(ended_by, talked, out);
                    continue;
                }
                Some(_) => {}
            }
            at += 1;
        }
    }
}

impl OpenService {
    pub(super) fn fact(&self) -> Fact {
        Fact::ServiceStarted(Service {
            queue: self.queue.clone(),
            leg: self.leg.clone(),
            interface: self.interface.clone(),
            member_leg: self.member_leg.clone(),
            waited_ms: u64::from(self.waited) * 1000,
            rang_ms: u64::from(self.rang) * 1000,
        })
    }

    fn end(self, ended_by: &str, talked_secs: u32, out: &mut Out<'_>) {
        out.fact(Fact::ServiceEnded(ServiceEnded {
            queue: self.queue,
            leg: self.leg,
            interface: self.interface,
            ended_by: ended_by.into(),
            talked_ms: u64::from(talked_secs) * 1000,
        }));
    }
}
