//! Offers: a member is rung for a caller, and how that ends.

use jackfield_sdk::{Fact, Offer, OfferEnded};
use serde::{Deserialize, Serialize};

use super::{EntryKey, PATIENCE_NS, Queues};
use crate::{
    calls::{Calls, Told},
    frame::{Header, get_number, get_text},
    out::Out,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OpenOffer {
    pub(super) queue: String,
    pub(super) leg: String,
    pub(super) interface: String,
    /// The channel the queue dials: perhaps a `Local/` half.
    pub(super) dialled: String,
    pub(super) since: u64,
    /// It ended after so many ms, and why is not known yet.
    pub(super) ended: Option<(u32, u64)>,
}

impl Queues {
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

    pub(super) fn cancel_offers(&mut self, key: &EntryKey, out: &mut Out<'_>) {
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
        rang_ms: rang_ms.into(),
    }));
}
