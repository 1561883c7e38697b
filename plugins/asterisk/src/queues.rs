//! Queues, their members and their callers.
//!
//! How a caller left is nowhere said: `QueueCallerLeave` comes for every way out and `QueueCallerAbandon`
//! for most. So a leave is decided by what surrounds it, or waits a moment for what follows.

use std::collections::{BTreeMap, BTreeSet};

use jackfield_sdk::{
    Caller, CallerLeft, Fact, Member, MemberRef, Offer, OfferEnded, Queue, Service, ServiceEnded,
};
use serde::{Deserialize, Serialize};

use crate::{
    calls::{Calls, Told},
    frame::{Header, get, get_number, get_text},
    out::Out,
    settings::Rules,
};

/// Events of channels and of queues may overtake each other by so much.
const OVERTAKING_NS: u64 = 100_000_000;

/// How long a leave, an offer's end or a broken conversation waits for what explains it.
const PATIENCE_NS: u64 = 2_000_000_000;

const SECOND_NS: u64 = 1_000_000_000;

/// A queue and a caller's leg.
type EntryKey = (String, String);

/// All queues.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Queues {
    /// By name.
    pub settings: BTreeMap<String, QueueSettings>,
    /// By queue and interface.
    #[serde(with = "crate::snapshot::pairs")]
    members: BTreeMap<(String, String), Seat>,
    #[serde(with = "crate::snapshot::pairs")]
    entries: BTreeMap<EntryKey, Entry>,
    /// Left, and not yet decided how.
    #[serde(with = "crate::snapshot::pairs")]
    leaving: BTreeMap<EntryKey, Leaving>,
    /// Rung for a caller: by queue, caller's leg and interface.
    offers: Vec<OpenOffer>,
    services: Vec<OpenService>,
    /// Legs at the door of a queue: in the application, not yet joined.
    entering: BTreeMap<String, String>,
    /// A variable was seen in this session: the account sees the dialplan class.
    pub sees_variables: bool,
}

/// A queue's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSettings {
    strategy: String,
    max: u32,
    service_level: u32,
    weight: u32,
    wrap_up: u32,
}

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// What tells its state.
    pub state_interface: String,
    /// `static`, `dynamic` or `realtime`.
    pub membership: String,
    name: String,
    penalty: u32,
    paused: bool,
    reason: String,
    /// Asterisk's number for it.
    state: u8,
    in_call: bool,
    calls_taken: u32,
    /// Seconds since the epoch; 0 is never.
    last_call: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Entry {
    position: u32,
    priority: i32,
    /// Monotonic; may lie before the start of the clock, so it is signed.
    since: i64,
    place: (String, String),
    abandon: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Leaving {
    abandon: bool,
    /// The caller's far end had asked to hang up before.
    far_end: bool,
    until: u64,
    /// Where they waited; empty when that was not seen.
    place: (String, String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct OpenOffer {
    queue: String,
    leg: String,
    interface: String,
    /// The channel the queue dials: perhaps a `Local/` half.
    dialled: String,
    since: u64,
    /// It ended after so many ms, and why is not known yet.
    ended: Option<(u32, u64)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct OpenService {
    queue: String,
    leg: String,
    interface: String,
    dialled: String,
    member_leg: Option<String>,
    since: u64,
    waited: u32,
    rang: u32,
    /// They heard each other at least once.
    together: bool,
    /// They stopped hearing each other: when, and until when that may be undone or explained.
    broken: Option<(u64, u64)>,
    /// The caller was alive after that.
    moved_on: bool,
    far_end: FarEnd,
}

/// Whose far end asked to hang up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum FarEnd {
    None,
    Caller,
    Member,
}

impl Queues {
    /// A caller joined.
    pub fn joined(&mut self, headers: &[Header<'_>], told: Told<'_, '_>, out: &mut Out<'_>) {
        let queue = get_text(headers, b"Queue");
        let leg = told.id();
        self.entering.remove(&leg);
        self.goes_on(told, out);
        // They went on: what is not known by now will not be known.
        self.decide_leg(
            &leg,
            |_| true,
            "unknown",
            "QueueCallerLeave, then QueueCallerJoin, and no reason seen",
            out,
        );
        let position = get_number(headers, b"Position") as u32;
        let entry =
            Entry { position, since: out.mono() as i64, place: told.place(), ..Entry::default() };
        self.entries.insert((queue.clone(), leg.clone()), entry);
        out.fact(Fact::CallerJoined(Caller { queue, leg, position, priority: 0, waited_secs: 0 }));
    }

    /// Asterisk's "abandon", which is most ways out.
    pub fn abandoned(&mut self, headers: &[Header<'_>], told: Told<'_, '_>, out: &mut Out<'_>) {
        let key = (get_text(headers, b"Queue"), told.id());
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.abandon = true;
        }
        if let Some(leaving) = self.leaving.get_mut(&key) {
            leaving.abandon = true;
            if leaving.far_end {
                self.decide(&key, "abandoned", "HangupRequest, QueueCallerAbandon", out);
            }
        }
    }

    /// A caller left.
    pub fn left(
        &mut self,
        headers: &[Header<'_>],
        told: Told<'_, '_>,
        calls: &Calls,
        out: &mut Out<'_>,
    ) {
        let key = (get_text(headers, b"Queue"), told.id());
        let Some(entry) = self.entries.remove(&key) else { return };
        for (other, behind) in &mut self.entries {
            if other.0 == key.0 && behind.position > entry.position {
                behind.position -= 1;
            }
        }
        let far_end = calls.get(&key.1).is_some_and(|channel| channel.far_end_hung_up);
        let moved = entry.place != told.place() && !entry.place.0.is_empty();
        match (entry.abandon, far_end, moved) {
            (true, true, _) => {
                self.decide(&key, "abandoned", "HangupRequest, QueueCallerAbandon", out)
            }
            (true, false, true) => {
                let (context, exten) = told.place();
                self.decide(
                    &key,
                    "redirected",
                    &format!("QueueCallerAbandon, now at {exten}@{context}"),
                    out,
                );
            }
            (false, false, true) => {
                let (context, exten) = told.place();
                self.decide(&key, "pressed-key", &format!("now at {exten}@{context}"), out);
            }
            (abandon, ..) => {
                let until = out.mono() + PATIENCE_NS;
                self.leaving.insert(key, Leaving { abandon, far_end, until, place: entry.place });
            }
        }
    }

    fn decide(&mut self, key: &EntryKey, exit: &str, evidence: &str, out: &mut Out<'_>) {
        self.leaving.remove(key);
        if exit != "answered" {
            self.cancel_offers(key, out);
        }
        out.fact(Fact::CallerLeft(CallerLeft {
            queue: key.0.clone(),
            leg: key.1.clone(),
            exit: exit.into(),
            evidence: evidence.into(),
        }));
    }

    /// Decides the leaves of this leg that still wait and fit.
    fn decide_leg(
        &mut self,
        leg: &str,
        fits: impl Fn(&Leaving) -> bool,
        exit: &str,
        evidence: &str,
        out: &mut Out<'_>,
    ) {
        let of_leg = self.leaving.iter().filter(|(key, leaving)| key.1 == leg && fits(leaving));
        let keys: Vec<EntryKey> = of_leg.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.decide(&key, exit, evidence, out);
        }
    }

    /// The dialplan variable `QUEUESTATUS` was set: the word for the way out, or for a closed door.
    pub fn status(&mut self, leg: &str, status: &str, out: &mut Out<'_>) {
        let exit = match status {
            "TIMEOUT" => "timed-out",
            "FULL" => "full",
            "JOINEMPTY" | "JOINUNAVAIL" => "join-empty",
            "LEAVEEMPTY" | "LEAVEUNAVAIL" => "leave-empty",
            "WITHDRAW" => "withdrawn",
            "CONTINUE" => "continued",
            _ => return,
        };
        let evidence = format!("QUEUESTATUS={status}");
        let refused = matches!(exit, "full" | "join-empty");
        if let Some(queue) = self.entering.remove(leg).filter(|_| refused) {
            self.decide(&(queue, leg.to_owned()), exit, &evidence, out);
        } else {
            self.decide_leg(leg, |_| true, exit, &evidence, out);
        }
    }

    /// A leg enters the application `Queue` with these arguments.
    pub fn at_the_door(&mut self, leg: &str, arguments: &str) {
        let queue = arguments.split(',').next().unwrap_or_default();
        if !queue.is_empty() {
            self.entering.insert(leg.into(), queue.into());
        }
    }

    /// A leg goes on in the dialplan. Asterisk 16 tells only now, not with the leave, that it is elsewhere: taken
    /// there, or by a key. A time-out and the like said so before (`QUEUESTATUS`), if variables are seen.
    pub fn goes_on(&mut self, told: Told<'_, '_>, out: &mut Out<'_>) {
        if self.leaving.is_empty() || !self.sees_variables {
            return;
        }
        let (leg, here) = (told.id(), told.place());
        // Every hang-up leads there.
        if here.1 == "h" {
            return;
        }
        let elsewhere = |leaving: &Leaving| {
            !leaving.far_end && !leaving.place.0.is_empty() && leaving.place != here
        };
        let evidence = format!("QueueCallerLeave, then at {}@{}", here.1, here.0);
        let taken = |leaving: &Leaving| elsewhere(leaving) && leaving.abandon;
        self.decide_leg(&leg, taken, "redirected", &evidence, out);
        self.decide_leg(&leg, elsewhere, "pressed-key", &evidence, out);
    }

    /// The far end of a leg asks to hang up.
    pub fn far_end_hung_up(&mut self, leg: &str, out: &mut Out<'_>) {
        // Longer after the leave it explains nothing: the queue had given up on them before.
        let now = out.mono();
        let overtaken = |leaving: &Leaving| {
            leaving.abandon && now + PATIENCE_NS <= leaving.until + OVERTAKING_NS
        };
        self.decide_leg(leg, overtaken, "abandoned", "QueueCallerAbandon, HangupRequest", out);
        for service in &mut self.services {
            if service.broken.is_some() && service.leg == leg {
                service.moved_on = true;
            } else if service.far_end == FarEnd::None {
                if service.leg == leg {
                    service.far_end = FarEnd::Caller;
                } else if service.dialled == leg || service.member_leg.as_deref() == Some(leg) {
                    service.far_end = FarEnd::Member;
                }
            }
        }
    }

    /// A leg is about to be over; `far_end` says whether its far end had asked for it.
    pub fn hanging_up(&mut self, leg: &str, far_end: bool, out: &mut Out<'_>) {
        self.entering.remove(leg);
        self.end_overtaken_services(leg, out);
        // Asterisk leaves the queue before it ends the channel; a leave that was not seen must not stay for ever.
        let inside: Vec<EntryKey> =
            self.entries.keys().filter(|key| key.1 == leg).cloned().collect();
        for key in inside {
            let abandon = self.entries.remove(&key).is_some_and(|entry| entry.abandon);
            self.leaving.insert(key, Leaving { abandon, far_end, ..Leaving::default() });
        }
        self.decide_leg(leg, |leaving| leaving.far_end, "abandoned", "HangupRequest, Hangup", out);
        if self.sees_variables && !far_end {
            let evidence = "QueueCallerAbandon, Hangup, no HangupRequest";
            self.decide_leg(leg, |leaving| leaving.abandon, "hung-up-by-pbx", evidence, out);
        }
        self.decide_leg(leg, |_| true, "unknown", "Hangup, and no reason seen", out);
    }

    /// The word that a conversation is over may come after the legs in it; who ended it is known by then.
    fn end_overtaken_services(&mut self, leg: &str, out: &mut Out<'_>) {
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

    /// A leg is over.
    pub fn hung_up(&mut self, calls: &Calls, out: &mut Out<'_>) {
        self.settle_offers(calls, out);
        self.check_services(calls, out);
    }

    /// The queue rings a member.
    pub fn called(
        &mut self,
        headers: &[Header<'_>],
        told: Told<'_, '_>,
        dest: Told<'_, '_>,
        calls: &Calls,
        out: &mut Out<'_>,
    ) {
        let (queue, interface) = (get_text(headers, b"Queue"), get_text(headers, b"Interface"));
        let (leg, dialled) = (told.id(), dest.id());
        let member_leg = calls.is_leg(&dialled).then(|| dialled.clone());
        let since = out.mono();
        let offer = OpenOffer { queue, leg, interface, dialled, since, ended: None };
        out.fact(Fact::OfferStarted(Offer {
            queue: offer.queue.clone(),
            leg: offer.leg.clone(),
            interface: offer.interface.clone(),
            member_leg,
        }));
        self.offers.push(offer);
    }

    /// A member did not answer; or was busy, which Asterisk calls the same.
    pub fn not_answered(
        &mut self,
        headers: &[Header<'_>],
        told: Told<'_, '_>,
        calls: &Calls,
        out: &mut Out<'_>,
    ) {
        let (queue, interface, leg) =
            (get_text(headers, b"Queue"), get_text(headers, b"Interface"), told.id());
        let rang_ms = get_number(headers, b"RingTime") as u32;
        let until = out.mono() + PATIENCE_NS;
        let of_this = |offer: &&mut OpenOffer| {
            offer.queue == queue
                && offer.leg == leg
                && offer.interface == interface
                && offer.ended.is_none()
        };
        let Some(offer) = self.offers.iter_mut().find(of_this) else { return };
        // A member who rang at all did not refuse at once: nothing more to wait for.
        offer.ended = Some((rang_ms, if rang_ms > 0 { 0 } else { until }));
        self.settle_offers(calls, out);
    }

    /// Ends offers whose reason is known by now.
    pub fn settle_offers(&mut self, calls: &Calls, out: &mut Out<'_>) {
        let now = out.mono();
        let mut at = 0;
        while at < self.offers.len() {
            let offer = &self.offers[at];
            let outcome =
                offer.ended.and_then(|(_, until)| offer_outcome(offer, calls, until <= now));
            if let (Some(outcome), Some((rang_ms, _))) = (outcome, offer.ended) {
                let offer = self.offers.remove(at);
                end_offer(offer, outcome, rang_ms, out);
            } else {
                at += 1;
            }
        }
    }

    fn cancel_offers(&mut self, key: &EntryKey, out: &mut Out<'_>) {
        let (gone, kept) = std::mem::take(&mut self.offers)
            .into_iter()
            .partition(|offer: &OpenOffer| offer.queue == key.0 && offer.leg == key.1);
        self.offers = kept;
        for offer in gone {
            let rang_ms = (out.mono().saturating_sub(offer.since) / 1_000_000) as u32;
            let (outcome, rang_ms) =
                offer.ended.map_or(("cancelled", rang_ms), |(rang_ms, _)| ("no-answer", rang_ms));
            end_offer(offer, outcome, rang_ms, out);
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

    /// When something here must be decided without further evidence.
    pub fn deadline(&self) -> Option<u64> {
        let leaves = self.leaving.values().map(|leaving| leaving.until);
        let offers = self.offers.iter().filter_map(|offer| offer.ended.map(|(_, until)| until));
        let services =
            self.services.iter().filter_map(|service| service.broken.map(|(_, until)| until));
        leaves.chain(offers).chain(services).min()
    }

    /// Decides what waited long enough.
    pub fn timed_out(&mut self, calls: &Calls, out: &mut Out<'_>) {
        let now = out.mono();
        let late: Vec<EntryKey> = self
            .leaving
            .iter()
            .filter(|(_, leaving)| leaving.until <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in late {
            self.decide(&key, "unknown", "QueueCallerLeave, and nothing that explains it", out);
        }
        self.settle_offers(calls, out);
        self.check_services(calls, out);
    }

    /// A member is new or changed.
    pub fn member(&mut self, headers: &[Header<'_>], rules: &Rules, out: &mut Out<'_>) {
        let (key, seat) = read_member(headers, b"Interface", b"MemberName");
        self.wrap_up(&key.0, headers);
        if self.members.get(&key) != Some(&seat) {
            out.fact(Fact::Member(seat.fact(&key, rules)));
            self.members.insert(key, seat);
        }
    }

    fn wrap_up(&mut self, queue: &str, headers: &[Header<'_>]) {
        let wrap_up = get_number(headers, b"Wrapuptime") as u32;
        if let Some(settings) = self.settings.get_mut(queue) {
            settings.wrap_up = settings.wrap_up.max(wrap_up);
        }
    }

    /// A member is gone.
    pub fn member_removed(&mut self, headers: &[Header<'_>], out: &mut Out<'_>) {
        let key = (get_text(headers, b"Queue"), get_text(headers, b"Interface"));
        if self.members.remove(&key).is_some() {
            out.fact(Fact::MemberRemoved(MemberRef { queue: key.0, interface: key.1 }));
        }
    }

    /// Members, by queue and interface.
    pub fn members(&self) -> impl Iterator<Item = (&(String, String), &Seat)> {
        self.members.iter()
    }

    /// Takes the picture of a complete list; what changed since `began` live is kept.
    pub fn take_picture(
        &mut self,
        picture: Picture,
        missing: Missing,
        touched: &Touched,
        calls: &Calls,
        now: u64,
    ) {
        let stays = missing == Missing::Stays;
        if !stays {
            self.settings.clear();
        }
        self.settings.extend(picture.settings);
        let mut members = picture.members;
        for key in &touched.members {
            match self.members.remove(key) {
                Some(seat) => members.insert(key.clone(), seat),
                None => members.remove(key),
            };
        }
        for (key, wrap_up) in picture.wrap_up {
            if let Some(settings) = self.settings.get_mut(&key.0) {
                settings.wrap_up = settings.wrap_up.max(wrap_up);
            }
        }
        if stays {
            self.members.extend(members);
        } else {
            self.members = members;
        }
        let mut entries = BTreeMap::new();
        for (key, (position, priority, waited)) in picture.entries {
            if touched.left.contains(&key) {
                continue;
            }
            let known = self.entries.remove(&key);
            let since = now as i64 - i64::from(waited) * SECOND_NS as i64;
            let entry = known.unwrap_or(Entry { since, ..Entry::default() });
            entries.insert(key, Entry { position, priority, ..entry });
        }
        // Joined while the list was made.
        for key in &touched.joined {
            if let Some(entry) = self.entries.remove(key) {
                entries.insert(key.clone(), entry);
            }
        }
        if stays {
            self.entries.extend(entries);
        } else {
            self.entries = entries;
        }
        self.offers.retain(|offer| calls.is_leg(&offer.leg) && calls.get(&offer.dialled).is_some());
        self.services
            .retain(|service| calls.is_leg(&service.leg) && calls.get(&service.dialled).is_some());
        self.entering.retain(|leg, _| calls.is_leg(leg));
    }

    /// Everything as it is, for a picture.
    pub fn picture(&self, rules: &Rules, now: u64) -> Vec<Fact> {
        let mut facts: Vec<Fact> = self
            .settings
            .iter()
            .map(|(name, settings)| {
                Fact::Queue(Queue {
                    name: name.clone(),
                    strategy: settings.strategy.clone(),
                    max_length: settings.max,
                    service_level_secs: settings.service_level,
                    wrap_up_secs: settings.wrap_up,
                    weight: settings.weight,
                })
            })
            .collect();
        facts.extend(self.members.iter().map(|(key, seat)| Fact::Member(seat.fact(key, rules))));
        let mut callers: Vec<_> = self.entries.iter().collect();
        callers.sort_by_key(|(key, entry)| (&key.0, entry.position));
        facts.extend(callers.into_iter().map(|(key, entry)| {
            let waited = (now as i64).saturating_sub(entry.since).max(0) as u64;
            Fact::CallerJoined(Caller {
                queue: key.0.clone(),
                leg: key.1.clone(),
                position: entry.position,
                priority: entry.priority,
                waited_secs: (waited / SECOND_NS) as u32,
            })
        }));
        facts.extend(self.offers.iter().filter(|offer| offer.ended.is_none()).map(|offer| {
            Fact::OfferStarted(Offer {
                queue: offer.queue.clone(),
                leg: offer.leg.clone(),
                interface: offer.interface.clone(),
                member_leg: None,
            })
        }));
        facts.extend(self.services.iter().map(OpenService::fact));
        facts
    }

    /// What cannot be decided any more when the link is lost.
    pub fn lost_sight(&mut self) {
        self.leaving.clear();
        self.entering.clear();
        self.offers.clear();
        for service in &mut self.services {
            service.broken = None;
        }
    }
}

impl Seat {
    /// Gets no calls from this queue now.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    fn fact(&self, key: &(String, String), rules: &Rules) -> Member {
        Member {
            queue: key.0.clone(),
            interface: key.1.clone(),
            state_interface: self.state_interface.clone(),
            extension: rules.of_member(&key.1, &self.state_interface),
            name: self.name.clone(),
            membership: self.membership.clone(),
            penalty: self.penalty,
            paused: self.paused,
            pause_reason: self.reason.clone(),
            state: member_state(self.state).into(),
            in_call: self.in_call,
            calls_taken: self.calls_taken,
            last_call: (self.last_call > 0).then(|| self.last_call.saturating_mul(SECOND_NS)),
        }
    }
}

impl OpenService {
    fn fact(&self) -> Fact {
        Fact::ServiceStarted(Service {
            queue: self.queue.clone(),
            leg: self.leg.clone(),
            interface: self.interface.clone(),
            member_leg: self.member_leg.clone(),
            waited_secs: self.waited,
            rang_secs: self.rang,
        })
    }

    fn end(self, ended_by: &str, talked_secs: u32, out: &mut Out<'_>) {
        out.fact(Fact::ServiceEnded(ServiceEnded {
            queue: self.queue,
            leg: self.leg,
            interface: self.interface,
            ended_by: ended_by.into(),
            talked_secs,
        }));
    }
}

fn offer_outcome(offer: &OpenOffer, calls: &Calls, late: bool) -> Option<&'static str> {
    let (rang_ms, _) = offer.ended?;
    let (cause, status) = match (calls.get(&offer.dialled), calls.ended(&offer.dialled)) {
        (Some(channel), _) => (0, channel.dial_status.as_str()),
        (None, Some(ended)) => (ended.cause, ended.dial_status.as_str()),
        (None, None) => (0, ""),
    };
    match (cause, status) {
        (17, _) | (_, "BUSY") => Some("busy"),
        (21, _) => Some("declined"),
        (20 | 27 | 3, _) | (_, "CHANUNAVAIL") => Some("unavailable"),
        _ if rang_ms > 0 || late || cause > 0 => Some("no-answer"),
        _ => None,
    }
}

fn end_offer(offer: OpenOffer, outcome: &str, rang_ms: u32, out: &mut Out<'_>) {
    out.fact(Fact::OfferEnded(OfferEnded {
        queue: offer.queue,
        leg: offer.leg,
        interface: offer.interface,
        outcome: outcome.into(),
        rang_ms,
    }));
}

fn member_state(status: u8) -> &'static str {
    match status {
        1 => "idle",
        2 => "in-use",
        3 => "busy",
        4 => "invalid",
        5 => "unavailable",
        // 7 is ringing while in use.
        6 | 7 => "ringing",
        8 => "on-hold",
        _ => "unknown",
    }
}

fn read_member(headers: &[Header<'_>], interface: &[u8], name: &[u8]) -> ((String, String), Seat) {
    let interface = get_text(headers, interface);
    let paused = get(headers, b"Paused") == Some(b"1");
    let state_interface = get_text(headers, b"StateInterface");
    let seat = Seat {
        state_interface: if state_interface.is_empty() {
            interface.clone()
        } else {
            state_interface
        },
        name: get_text(headers, name),
        membership: get_text(headers, b"Membership"),
        penalty: get_number(headers, b"Penalty") as u32,
        paused,
        reason: if paused { get_text(headers, b"PausedReason") } else { String::new() },
        state: get_number(headers, b"Status") as u8,
        in_call: get(headers, b"InCall") == Some(b"1"),
        calls_taken: get_number(headers, b"CallsTaken") as u32,
        last_call: get_number(headers, b"LastCall"),
    };
    ((get_text(headers, b"Queue"), interface), seat)
}

/// What a list of the PBX said, gathered until it is complete.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Picture {
    settings: BTreeMap<String, QueueSettings>,
    #[serde(with = "crate::snapshot::pairs")]
    members: BTreeMap<(String, String), Seat>,
    #[serde(with = "crate::snapshot::pairs")]
    wrap_up: BTreeMap<(String, String), u32>,
    #[serde(with = "crate::snapshot::pairs")]
    entries: BTreeMap<EntryKey, (u32, i32, u32)>,
}

/// What becomes of what a picture does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is gone.
    Goes,
    /// It is still there: the picture is not trusted that far.
    Stays,
}

/// What changed live while a list was gathered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Touched {
    /// Seats by queue and interface.
    pub members: BTreeSet<(String, String)>,
    /// Callers by queue and leg.
    pub joined: BTreeSet<EntryKey>,
    /// The same.
    pub left: BTreeSet<EntryKey>,
    /// Channels that ended.
    pub ended: BTreeSet<String>,
    /// Channels that began or changed.
    pub channels: BTreeSet<String>,
    /// Devices.
    pub devices: BTreeSet<String>,
}

impl Picture {
    /// One item of the list.
    pub fn item(&mut self, name: &[u8], headers: &[Header<'_>]) {
        match name {
            b"QueueParams" => {
                let settings = QueueSettings {
                    strategy: get_text(headers, b"Strategy"),
                    max: get_number(headers, b"Max") as u32,
                    service_level: get_number(headers, b"ServiceLevel") as u32,
                    weight: get_number(headers, b"Weight") as u32,
                    wrap_up: 0,
                };
                self.settings.insert(get_text(headers, b"Queue"), settings);
            }
            b"QueueMember" => {
                let (key, seat) = read_member(headers, b"Location", b"Name");
                self.wrap_up.insert(key.clone(), get_number(headers, b"Wrapuptime") as u32);
                self.members.insert(key, seat);
            }
            b"QueueEntry" => {
                let key = (get_text(headers, b"Queue"), get_text(headers, b"Uniqueid"));
                let priority: i32 = get_text(headers, b"Priority").parse().unwrap_or_default();
                let numbers = (
                    get_number(headers, b"Position") as u32,
                    priority,
                    get_number(headers, b"Wait") as u32,
                );
                self.entries.insert(key, numbers);
            }
            _ => {}
        }
    }
}
