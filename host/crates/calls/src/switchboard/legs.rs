//! Legs, and the calls they make up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Sight, Switchboard};
use crate::{
    Body, CallId, ConnectorId, Fact, LegId, Timestamp,
    event::{About, Cause, CauseCode, Outcome},
    fact::{self, LegDirection, LegState, NativeLeg, QueueExit, RawCause, RawParty, ServiceEnd},
    state::Leg,
};

/// Live legs of one connector.
const MOST_LEGS: usize = 100_000;
/// Live legs of one call; further ones start calls of their own.
const MOST_LEGS_PER_CALL: usize = 1_000;
/// Ended legs whose names are still known, so that what comes late about them is understood.
const MOST_ENDED: usize = 10_000;
/// Legs that facts were kept for before they started, and facts of each.
const MOST_EARLY: usize = 256;
const MOST_EARLY_FACTS: usize = 16;

/// Native ids of legs that ended a short while ago.
#[derive(Default)]
pub(super) struct EndedLegs {
    known: BTreeMap<String, Ended>,
    order: VecDeque<String>,
}

struct Ended {
    /// None when it ended before it was ever seen.
    id: Option<LegId>,
    /// Its end was concluded, and no real one came since.
    inferred: bool,
}

impl EndedLegs {
    /// A leg that ended stays ended, except one whose end was only concluded and that a later picture shows:
    /// it lives, and starts as a new leg.
    fn may_start(&mut self, native: &str, in_picture: bool) -> bool {
        match self.known.get(native) {
            None => true,
            Some(ended) if ended.inferred && in_picture => {
                self.known.remove(native);
                self.order.retain(|other| other != native);
                true
            }
            Some(_) => false,
        }
    }

    pub(super) fn remember(&mut self, native: &str, id: Option<LegId>, inferred: bool) {
        let new = self.known.insert(native.to_owned(), Ended { id, inferred }).is_none();
        if new {
            self.order.push_back(native.to_owned());
        }
        if self.order.len() > MOST_ENDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Switchboard {
    pub(super) fn leg_started(&mut self, sight: &Sight, leg: fact::Leg) {
        let connector = &sight.connector;
        let party = (self.policy.parties)(connector, &leg.party);
        if self.state.live_leg(connector, &leg.id).is_some() {
            if leg.party.number.is_empty() && leg.party.name.is_empty() {
                return self.leg_state(sight, leg.id, leg.state);
            }
            self.leg_party(sight, leg.id.clone(), leg.party);
            return self.leg_state(sight, leg.id, leg.state);
        }
        if !self.session(connector).ended.may_start(&leg.id, sight.inferred) {
            return;
        }
        if self.state.sizes(connector).legs >= MOST_LEGS {
            return self.full(connector, "legs", MOST_LEGS);
        }
        let agent = self.state.agent_at(connector, leg.extension.as_deref(), &leg.device).cloned();
        let call = match leg.related.as_deref().and_then(|other| self.call_of(connector, other)) {
            Some(call) => call,
            None => {
                let call = CallId(self.next());
                let about = About { call: Some(call), ..About::default() };
                let body =
                    Body::CallStarted { caller: party.clone(), dialled: leg.dialled.clone() };
                self.saw(sight, about, body);
                call
            }
        };
        let id = LegId(self.next());
        let about = About { call: Some(call), leg: Some(id), agent, ..About::default() };
        let native = leg.id.to_string();
        let body = Body::LegStarted {
            native: native.clone(),
            direction: leg.direction,
            device: leg.device,
            extension: leg.extension,
            state: leg.state,
            party,
            dialled: leg.dialled,
        };
        self.saw(sight, about, body);
        for (at_pbx, fact) in self.session(connector).early.remove(&native).unwrap_or_default() {
            let sight = Sight { connector: connector.clone(), at_pbx, inferred: false };
            self.fact(&sight, fact);
        }
    }

    /// The running call a leg belongs to, or belonged to when it ended, if there is room in it.
    fn call_of(&self, connector: &ConnectorId, native: &str) -> Option<CallId> {
        let leg = self.leg_by_name(connector, native)?;
        let mut call = self.state.call(leg.call)?;
        // Calls are merged into older ones only, so this ends.
        while let Some(end) = &call.ended {
            let crate::state::CallEndKind::Merged { into } = end.how else { return None };
            call = self.state.call(into)?;
        }
        (self.state.live_legs_of(call.id).count() < MOST_LEGS_PER_CALL).then_some(call.id)
    }

    /// A leg by its native id, also if it ended a short while ago.
    fn leg_by_name(&self, connector: &ConnectorId, native: &str) -> Option<&Leg> {
        self.state.live_leg(connector, native).or_else(|| {
            let ended = self.sessions.get(connector)?.ended.known.get(native)?;
            self.state.leg(ended.id?)
        })
    }

    /// What events about a leg are about; keeps the fact for later when the leg was not seen yet.
    pub(super) fn about_live_leg(
        &mut self,
        sight: &Sight,
        native: &str,
        fact: impl FnOnce() -> Fact,
    ) -> Option<About> {
        if let Some(leg) = self.state.live_leg(&sight.connector, native) {
            return Some(self.about_leg(leg));
        }
        if !sight.inferred {
            let session = self.session(&sight.connector);
            if !session.ended.known.contains_key(native) {
                let facts = session.early.entry(native.to_owned()).or_default();
                if facts.len() < MOST_EARLY_FACTS {
                    facts.push((sight.at_pbx, fact()));
                }
                // Legs that never start must not keep the place for ever. The first by name makes room, new or
                // old: so many legs that never start are a fault, and a picture mends what is lost.
                if session.early.len() > MOST_EARLY {
                    session.early.pop_first();
                }
            }
        }
        None
    }

    pub(super) fn about_leg(&self, leg: &Leg) -> About {
        let extension = leg.extension.as_deref();
        About {
            call: Some(leg.call),
            leg: Some(leg.id),
            agent: self.state.agent_at(&leg.connector, extension, &leg.device).cloned(),
            ..About::default()
        }
    }

    pub(super) fn leg_state(&mut self, sight: &Sight, native: NativeLeg, state: LegState) {
        let kept = || Fact::LegState { leg: native.clone(), state: state.clone() };
        let Some(about) = self.about_live_leg(sight, &native, kept) else { return };
        let Some(leg) = self.state.live_leg(&sight.connector, &native) else { return };
        let news = match (&leg.state, &state) {
            (_, LegState::Started) => false,
            (now, LegState::Alerting) => leg.answered_at.is_none() && *now != LegState::Alerting,
            (now, LegState::Answered) => {
                leg.answered_at.is_none() || matches!(now, LegState::Other(_))
            }
            // A picture cannot tell hold from talk; only the far end's own word ends a hold.
            (LegState::Held, LegState::Resumed) => !sight.inferred,
            (_, LegState::Resumed) => false,
            (now, new) => now != new,
        };
        if news {
            self.saw(sight, about, Body::LegState { state });
        }
    }

    pub(super) fn leg_party(&mut self, sight: &Sight, native: NativeLeg, party: RawParty) {
        let kept = || Fact::LegParty { leg: native.clone(), party: party.clone() };
        let Some(about) = self.about_live_leg(sight, &native, kept) else { return };
        let party = (self.policy.parties)(&sight.connector, &party);
        if about.leg.and_then(|id| self.state.leg(id)).is_some_and(|leg| leg.party != party) {
            self.saw(sight, about, Body::LegParty { party });
        }
    }

    pub(super) fn leg_peers(&mut self, sight: &Sight, native: NativeLeg, peers: Vec<NativeLeg>) {
        let kept = || Fact::LegPeers { leg: native.clone(), peers: peers.clone() };
        let Some(id) = self.about_live_leg(sight, &native, kept).and_then(|about| about.leg) else {
            return;
        };
        let known = peers.iter().take(MOST_LEGS_PER_CALL);
        let known = known.filter_map(|peer| self.state.live_leg(&sight.connector, peer));
        let mut with: BTreeSet<LegId> = known.map(|leg| leg.id).collect();
        with.remove(&id);
        let call_of = |id: &LegId| self.state.leg(*id).map(|leg| leg.call);
        let calls: BTreeSet<CallId> = with.iter().chain([&id]).filter_map(call_of).collect();
        if let Some((&oldest, younger)) = calls.iter().collect::<Vec<_>>().split_first() {
            for &call in younger {
                self.merge(sight, *call, *oldest);
            }
        }
        let Some(leg) = self.state.leg(id) else { return };
        // Where two calls were too large to become one.
        with.retain(|peer| self.state.leg(*peer).is_some_and(|peer| peer.call == leg.call));
        if leg.peers != with {
            let about = self.about_leg(leg);
            self.saw(sight, about, Body::LegPeers { with: with.into_iter().collect() });
        }
    }

    fn merge(&mut self, sight: &Sight, from: CallId, into: CallId) {
        let moving: Vec<LegId> = self.state.live_legs_of(from).map(|leg| leg.id).collect();
        if self.state.live_legs_of(into).count() + moving.len() > MOST_LEGS_PER_CALL {
            return self.full(&sight.connector, "legs in one call", MOST_LEGS_PER_CALL);
        }
        for id in moving {
            let Some(leg) = self.state.leg(id) else { continue };
            let about = About { call: Some(into), ..self.about_leg(leg) };
            self.saw(sight, about, Body::LegMoved { from });
        }
        let about = About { call: Some(from), ..About::default() };
        self.saw(sight, about, Body::CallMerged { into });
    }

    pub(super) fn leg_ended(
        &mut self,
        sight: &Sight,
        native: &str,
        cause: RawCause,
        ended_by: String,
    ) {
        let Some(leg) = self.state.live_leg(&sight.connector, native) else {
            return self.ended_again(sight, native, &cause);
        };
        let (id, call) = (leg.id, leg.call);
        self.let_go(id, call);
        let code = if sight.inferred { CauseCode::Lost } else { code_of(&cause) };
        let far_end = ended_by == "far-end";
        self.release_entries(sight, id, far_end);
        self.release_services(sight, id, far_end);
        self.passed_on.remove(&id);
        let peers_of: Vec<(LegId, Vec<LegId>)> = self
            .state
            .live_legs_of(call)
            .filter(|leg| leg.id != id && leg.peers.contains(&id))
            .map(|leg| (leg.id, leg.peers.iter().copied().filter(|peer| *peer != id).collect()))
            .collect();
        for (other, with) in peers_of {
            if let Some(leg) = self.state.leg(other) {
                let about = self.about_leg(leg);
                self.saw(&sight.concluded(), about, Body::LegPeers { with });
            }
        }
        let Some(leg) = self.state.leg(id) else { return };
        let about = self.about_leg(leg);
        let cause = Cause { code, raw: cause };
        self.saw(sight, about, Body::LegEnded { cause: cause.clone(), ended_by });
        self.session(&sight.connector).ended.remember(native, Some(id), sight.inferred);
        if self.state.live_legs_of(call).next().is_none() {
            let outcome = self.outcome(call, &cause);
            let about = About { call: Some(call), ..About::default() };
            self.saw(sight, about, Body::CallEnded { outcome, cause });
        }
    }

    /// An end of a leg that is not live: it ended before, or it ends before it was seen.
    fn ended_again(&mut self, sight: &Sight, native: &str, cause: &RawCause) {
        let session = self.session(&sight.connector);
        session.early.remove(native);
        let Some(ended) = session.ended.known.get_mut(native) else {
            return session.ended.remember(native, None, false);
        };
        let Some(leg) = ended.id else { return };
        if sight.inferred || !std::mem::take(&mut ended.inferred) {
            return;
        }
        // Its call may be over, and nothing comes after the end of a call: so this is about the leg only.
        let about = About { leg: Some(leg), ..About::default() };
        let facts = vec![
            ("of".to_owned(), "leg".to_owned()),
            ("cause".to_owned(), code_of(cause).code().to_owned()),
            ("text".to_owned(), cause.text.clone()),
        ];
        self.saw(sight, about, Body::Other { kind: "late-terminal".to_owned(), facts });
    }

    /// The leg's waits end with it when the connector said nothing of how.
    fn release_entries(&mut self, sight: &Sight, leg: LegId, far_end: bool) {
        let open = |entry: &&crate::state::Entry| entry.is_waiting() || !entry.offers.is_empty();
        let waits: Vec<_> = self.state.entries_of(leg).filter(open).map(|entry| entry.id).collect();
        let sight = sight.concluded();
        for id in waits {
            self.cancel_offers(&sight, id);
            let exit = if far_end { QueueExit::Abandoned } else { QueueExit::Unknown };
            self.leave(&sight, id, exit, "leg-ended".to_owned());
        }
    }

    fn release_services(&mut self, sight: &Sight, leg: LegId, far_end: bool) {
        let Some(call) = self.state.leg(leg).and_then(|leg| self.state.call(leg.call)) else {
            return;
        };
        let mut running = Vec::new();
        for entry in call.entries.iter().filter_map(|id| self.state.entry(*id)) {
            let Some(service) = entry.running_service() else { continue };
            let by = match (entry.leg == leg, service.member_leg == Some(leg)) {
                // A queue does not see what happens behind a `Local/` member.
                (false, true) if self.passed_on.contains(&leg) => ServiceEnd::Transfer,
                (true, _) if far_end => ServiceEnd::Caller,
                (_, true) if far_end => ServiceEnd::Member,
                (false, false) => continue,
                _ => ServiceEnd::Unknown,
            };
            running.push((entry.id, by));
        }
        for (entry, by) in running {
            self.end_service(&sight.concluded(), entry, by, 0);
        }
    }

    /// How the call went, judged when its last leg has ended.
    fn outcome(&self, call: CallId, last: &Cause) -> Outcome {
        let Some(call) = self.state.call(call) else { return Outcome::Failed };
        if call.answered {
            return Outcome::Answered;
        }
        let legs: Vec<&Leg> = call.legs.iter().filter_map(|id| self.state.leg(*id)).collect();
        if let Some(caller) = legs.first()
            && caller.direction == LegDirection::FromDevice
            && caller.ended.as_ref().is_some_and(|end| end.by == "far-end")
        {
            return Outcome::Cancelled;
        }
        let callees = legs.iter().filter(|leg| leg.direction == LegDirection::ToDevice);
        let causes = callees.filter_map(|leg| leg.ended.as_ref()).map(|end| &end.cause.code);
        let causes: Vec<&CauseCode> = causes.chain([&last.code]).collect();
        let first = |codes: &[CauseCode]| causes.iter().any(|code| codes.contains(code));
        if first(&[CauseCode::Busy]) {
            Outcome::Busy
        } else if first(&[CauseCode::Rejected]) {
            Outcome::Declined
        } else if first(&[CauseCode::NoAnswer]) {
            Outcome::NoAnswer
        } else if first(&[CauseCode::Unreachable, CauseCode::InvalidNumber]) {
            Outcome::Unreachable
        } else if first(&[CauseCode::Cancelled]) {
            Outcome::Cancelled
        } else if !call.entries.is_empty() && last.code == CauseCode::Normal {
            // A queue gave up on them: nobody came.
            Outcome::NoAnswer
        } else {
            Outcome::Failed
        }
    }

    pub(super) fn transfer(
        &mut self,
        sight: &Sight,
        kind: String,
        transferer: &str,
        transferee: Option<&str>,
        target: String,
        outcome: String,
    ) {
        let Some(leg) = self.leg_by_name(&sight.connector, transferer) else { return };
        let about = self.about_leg(leg);
        let running = |id| self.state.call(id).is_some_and(|call| call.ended.is_none());
        if !about.call.is_some_and(running) {
            return;
        }
        let transferer = leg.id;
        let transferee = transferee
            .and_then(|native| self.leg_by_name(&sight.connector, native))
            .map(|leg| leg.id);
        if outcome == "success" && self.state.leg(transferer).is_some_and(|leg| leg.ended.is_none())
        {
            self.passed_on.insert(transferer);
        }
        self.saw(sight, about, Body::Transferred { kind, transferer, transferee, target, outcome });
    }

    pub(super) fn other(
        &mut self,
        sight: &Sight,
        kind: String,
        leg: Option<&str>,
        facts: Vec<(String, String)>,
    ) {
        let leg = leg.and_then(|native| self.state.live_leg(&sight.connector, native));
        let about = leg.map(|leg| self.about_leg(leg)).unwrap_or_default();
        self.saw(sight, about, Body::Other { kind, facts });
    }

    /// Milliseconds since then.
    pub(super) fn millis_since(&self, then: Timestamp) -> u64 {
        self.now.wall.0.saturating_sub(then.0) / 1_000_000
    }
}

/// Our word for a cause: the Q.850 value decides, then the SIP status.
pub(super) fn code_of(cause: &RawCause) -> CauseCode {
    match cause.q850 {
        16 => CauseCode::Normal,
        17 => CauseCode::Busy,
        18 | 19 => CauseCode::NoAnswer,
        21 => CauseCode::Rejected,
        20 | 27 => CauseCode::Unreachable,
        1 | 28 => CauseCode::InvalidNumber,
        34 | 38 | 41 | 42 | 44 => CauseCode::Congestion,
        26 => CauseCode::AnsweredElsewhere,
        55 | 57 => CauseCode::NotAllowed,
        58 | 65 | 79 | 88 => CauseCode::MediaFailed,
        0 => match cause.sip {
            200 => CauseCode::Normal,
            486 | 600 => CauseCode::Busy,
            408 | 480 => CauseCode::NoAnswer,
            603 | 403 => CauseCode::Rejected,
            404 | 410 | 484 => CauseCode::InvalidNumber,
            487 => CauseCode::Cancelled,
            488 | 606 => CauseCode::MediaFailed,
            503 => CauseCode::Congestion,
            _ => CauseCode::Unknown,
        },
        _ => CauseCode::Unknown,
    }
}
