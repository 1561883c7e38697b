//! Queues, their members and their callers; here, how callers come and leave.
//!
//! How a caller left is nowhere said: `QueueCallerLeave` comes for every way out and `QueueCallerAbandon`
//! for most. So a leave is decided by what surrounds it, or waits a moment for what follows.

mod members;
mod offers;
mod picture;
mod services;

use std::collections::BTreeMap;

use jackfield_sdk::{Caller, CallerLeft, Fact};
use serde::{Deserialize, Serialize};

pub use members::Seat;
use offers::OpenOffer;
pub use picture::{Missing, Picture, QueueSettings, Touched};
use services::{FarEnd, OpenService};

use crate::{
    calls::{Calls, Told},
    frame::{Header, get_number, get_text},
    out::Out,
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
    members: BTreeMap<(String, String), Seat>,
    entries: BTreeMap<EntryKey, Entry>,
    /// Left, and not yet decided how.
    leaving: BTreeMap<EntryKey, Leaving>,
    /// Rung for a caller: by queue, caller's leg and interface.
    offers: Vec<OpenOffer>,
    services: Vec<OpenService>,
    /// Legs at the door of a queue: in the application, not yet joined.
    entering: BTreeMap<String, String>,
    /// A variable was seen in this session: the account sees the dialplan class.
    pub sees_variables: bool,
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

impl Queues {
    /// A caller joined. Their priority is not told: `priority` is what we know of it.
    pub fn joined(
        &mut self,
        headers: &[Header<'_>],
        told: Told<'_, '_>,
        priority: i32,
        out: &mut Out<'_>,
    ) {
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
        let (since, place) = (out.mono() as i64, told.place());
        let entry = Entry { position, priority, since, place, ..Entry::default() };
        self.entries.insert((queue.clone(), leg.clone()), entry);
        out.fact(Fact::CallerJoined(Caller { queue, leg, position, priority, waited_ms: 0 }));
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
        // What else takes them out (the queue, a redirect) is told before, in the channel's own order, if variables
        // are seen. If not: longer after the leave it explains nothing, the queue had given up on them before.
        let (now, sees_variables) = (out.mono(), self.sees_variables);
        let overtaken = |leaving: &Leaving| {
            leaving.abandon
                && (sees_variables || now + PATIENCE_NS <= leaving.until + OVERTAKING_NS)
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

    /// A leg is over.
    pub fn hung_up(&mut self, calls: &Calls, out: &mut Out<'_>) {
        self.settle_offers(calls, out);
        self.check_services(calls, out);
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
