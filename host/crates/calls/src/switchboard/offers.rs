//! Callers whom the PBX handed over: they wait for word of the hooks.

use super::{Offered, Output, Sight, Switchboard};
use crate::{
    Body, CallId, Fact, LegId,
    event::{About, Held, HookWord},
};

/// Legs whose attempts are counted.
const MOST_COUNTED: usize = 100_000;

impl Switchboard {
    pub(super) fn leg_offered(&mut self, sight: &Sight, fact: Fact) {
        let Fact::LegOffered { leg: native, .. } = &fact else { return };
        let native = native.clone();
        let kept = || fact.clone();
        let Some(about) = self.about_live_leg(sight, &native, kept) else { return };
        let Some(leg) = self.state.live_leg(&sight.connector, &native) else { return };
        let (id, call, caller) = (leg.id, leg.call, leg.party.clone());
        let Fact::LegOffered { entry, dialled, returned_from, outcome, facts, .. } = fact else {
            return;
        };
        // A picture shows again who waits: news for a host that has begun anew, or when they went and came back unseen.
        let is_same = leg.held.as_ref().is_some_and(|(_, held)| {
            held.entry == entry && held.returned_from == returned_from && held.outcome == outcome
        });
        if sight.inferred && is_same && self.at_desk.contains_key(&id) {
            return;
        }
        if self.at_desk.len() >= MOST_COUNTED && !self.at_desk.contains_key(&id) {
            return self.full(&sight.connector, "callers handed over", MOST_COUNTED);
        }
        let attempt = self.at_desk.entry(id).or_default();
        *attempt = attempt.saturating_add(1);
        let held = Held { entry, dialled, returned_from, outcome, attempt: *attempt, facts };
        self.saw(sight, about, Body::LegOffered(held.clone()));
        let connector = sight.connector.clone();
        let offered = Offered { call, leg: id, native, connector, caller, held };
        self.outputs.push_back(Output::Offered(offered));
    }

    pub(super) fn leg_released(&mut self, sight: &Sight, native: &str, reason: String) {
        let Some(leg) = self.state.live_leg(&sight.connector, native) else { return };
        if leg.held.is_none() {
            return;
        }
        let (id, call, about) = (leg.id, leg.call, self.about_leg(leg));
        self.saw(sight, about, Body::LegReleased { reason: reason.clone() });
        self.outputs.push_back(Output::Released { leg: id, call, reason });
    }

    /// The leg ends: nobody needs to be asked about it any more.
    pub(super) fn let_go(&mut self, leg: LegId, call: CallId) {
        if self.at_desk.remove(&leg).is_some() {
            self.outputs.push_back(Output::Released { leg, call, reason: "ended".to_owned() });
        }
    }

    pub(super) fn leg_key(&mut self, sight: &Sight, native: &str, key: String, held_ms: u32) {
        let Some(leg) = self.state.live_leg(&sight.connector, native) else { return };
        if leg.held.is_some() {
            self.outputs.push_back(Output::Key { leg: leg.id, key, held_ms });
        }
    }

    /// A hook's word. Nothing comes after the end of a call, so a word that is too late is not kept.
    pub(super) fn decided(&mut self, call: CallId, leg: Option<LegId>, word: HookWord) {
        let leg = leg.and_then(|id| self.state.leg(id)).filter(|leg| leg.ended.is_none());
        // The call may have been merged since.
        let call = leg.map_or(call, |leg| leg.call);
        let Some(found) = self.state.call(call).filter(|call| call.ended.is_none()) else { return };
        let connector = found.connector.clone();
        let about = About { call: Some(call), leg: leg.map(|leg| leg.id), ..About::default() };
        self.know(Some(&connector), about, Body::CallDecided(word));
    }
}
