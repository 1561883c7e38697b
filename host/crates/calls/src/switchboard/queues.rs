//! Queues, who waits in them, who is rung for them, who talks with them.

use super::{Sight, Switchboard};
use crate::{
    Body, ConnectorId, EntryId, Fact, LegId, QueueId, Timestamp,
    event::About,
    fact::{Caller, NativeLeg, OfferOutcome, QueueExit, QueueSettings, ServiceEnd},
    state::Entry,
};

/// Queues of one connector.
const MOST_QUEUES: usize = 10_000;
/// Callers who wait at one connector.
const MOST_WAITING: usize = 100_000;

impl Switchboard {
    pub(super) fn queue(&mut self, sight: &Sight, settings: QueueSettings) {
        let id = match self.state.queue_named(&sight.connector, &settings.name) {
            Some(queue) if queue.settings == settings => return,
            Some(queue) => queue.id,
            None if self.state.sizes(&sight.connector).queues >= MOST_QUEUES => {
                return self.full(&sight.connector, "queues", MOST_QUEUES);
            }
            None => QueueId(self.next()),
        };
        let about = About { queue: Some(id), ..About::default() };
        self.saw(sight, about, Body::QueueChanged(settings));
    }

    /// The queue with this name. One that was not announced exists all the same, with nothing known of it.
    pub(super) fn queue_id(&mut self, sight: &Sight, name: &str) -> Option<QueueId> {
        if self.state.queue_named(&sight.connector, name).is_none() {
            let settings = QueueSettings {
                name: name.to_owned(),
                strategy: String::new(),
                max_length: 0,
                service_level_secs: 0,
                wrap_up_secs: 0,
                weight: 0,
            };
            self.queue(&sight.concluded(), settings);
        }
        self.state.queue_named(&sight.connector, name).map(|queue| queue.id)
    }

    pub(super) fn queue_removed(&mut self, sight: &Sight, name: &str) {
        let Some(queue) = self.state.queue_named(&sight.connector, name) else { return };
        let id = queue.id;
        let waiting: Vec<EntryId> = queue.waiting.iter().map(|(_, entry)| *entry).collect();
        let members: Vec<_> = queue.members.keys().cloned().collect();
        let concluded = sight.concluded();
        // From the last to the first, so that nobody moves up in a queue that is no more.
        for entry in waiting.into_iter().rev() {
            self.cancel_offers(&concluded, entry);
            self.leave(&concluded, entry, QueueExit::Unknown, "queue-removed".to_owned());
        }
        for interface in members {
            let member = crate::fact::MemberRef { queue: name.to_owned(), interface };
            self.member_removed(&concluded, member);
        }
        let about = About { queue: Some(id), ..About::default() };
        self.saw(sight, about, Body::QueueRemoved { name: name.to_owned() });
    }

    pub(super) fn caller_joined(&mut self, sight: &Sight, caller: Caller) {
        let kept = || Fact::CallerJoined(caller.clone());
        let Some(about) = self.about_live_leg(sight, &caller.leg, kept) else { return };
        let Some(leg) = about.leg else { return };
        let Some(queue) = self.queue_id(sight, &caller.queue) else { return };
        let newest = self.state.entry_of(&sight.connector, queue, leg);
        if newest.is_some_and(Entry::is_waiting) {
            return;
        }
        if self.state.sizes(&sight.connector).waiting >= MOST_WAITING {
            return self.full(&sight.connector, "waiting callers", MOST_WAITING);
        }
        let last = self.waiting_in(queue) + 1;
        let position = if caller.position == 0 { last } else { caller.position.min(last) };
        let behind: Vec<EntryId> = self
            .state
            .waiting(queue)
            .filter(|entry| entry.position >= position)
            .map(|entry| entry.id)
            .collect();
        let entry = EntryId(self.next());
        let waited = u64::from(caller.waited_secs) * 1_000_000_000;
        let body = Body::CallerJoined {
            position,
            priority: caller.priority,
            joined_at: Timestamp(self.now.wall.0.saturating_sub(waited)),
            party: self.state.leg(leg).map(|leg| leg.party.clone()).unwrap_or_default(),
        };
        self.saw(sight, About { queue: Some(queue), entry: Some(entry), ..about }, body);
        for (entry, position) in behind.into_iter().zip(position + 1..) {
            self.place(sight, entry, position);
        }
    }

    fn waiting_in(&self, queue: QueueId) -> u32 {
        let waiting = self.state.queue(queue).map_or(0, |queue| queue.waiting.len());
        u32::try_from(waiting).unwrap_or(u32::MAX)
    }

    /// What events about a wait are about, without the agent.
    pub(super) fn about_entry(&self, entry: &Entry) -> About {
        About {
            call: Some(entry.call),
            leg: Some(entry.leg),
            queue: Some(entry.queue),
            entry: Some(entry.id),
            ..About::default()
        }
    }

    /// Moves a caller to a position, if they are not there.
    pub(super) fn place(&mut self, sight: &Sight, entry: EntryId, position: u32) {
        let Some(entry) = self.state.entry(entry) else { return };
        if entry.position != position && entry.is_waiting() {
            let about = self.about_entry(entry);
            self.saw(sight, about, Body::CallerMoved { position });
        }
    }

    pub(super) fn caller_left(
        &mut self,
        sight: &Sight,
        queue: String,
        leg: NativeLeg,
        exit: QueueExit,
        evidence: String,
    ) {
        let kept = || Fact::CallerLeft {
            queue: queue.clone(),
            leg: leg.clone(),
            exit: exit.clone(),
            evidence: evidence.clone(),
        };
        let Some(about) = self.about_live_leg(sight, &leg, kept) else { return };
        let Some(leg) = about.leg else { return };
        let Some(queue) = self.queue_id(sight, &queue) else { return };
        let newest = self.state.entry_of(&sight.connector, queue, leg);
        if let Some(entry) = newest.filter(|entry| entry.is_waiting()) {
            let entry = entry.id;
            if exit != QueueExit::Answered {
                self.cancel_offers(sight, entry);
            }
            return self.leave(sight, entry, exit, evidence);
        }
        if matches!(exit, QueueExit::Full | QueueExit::JoinEmpty) {
            // Refused at the door: a wait of no time.
            let entry = EntryId(self.next());
            let about = About { queue: Some(queue), entry: Some(entry), ..about };
            let body = Body::CallerLeft { exit, evidence, waited_ms: 0, offered: false };
            self.saw(sight, about, body);
        }
    }

    /// Ends a wait; everybody behind moves up.
    pub(super) fn leave(
        &mut self,
        sight: &Sight,
        entry: EntryId,
        exit: QueueExit,
        evidence: String,
    ) {
        let Some((queue, position)) = self.depart(sight, entry, exit, evidence) else { return };
        let waiting = self.state.queue(queue).into_iter().flat_map(|queue| &queue.waiting);
        let behind: Vec<EntryId> =
            waiting.filter(|(at, _)| *at > position).map(|(_, entry)| *entry).collect();
        for (entry, position) in behind.into_iter().zip(position..) {
            self.place(sight, entry, position);
        }
    }

    /// Ends a wait; whoever is behind stays where they are until they are placed.
    pub(super) fn depart(
        &mut self,
        sight: &Sight,
        entry: EntryId,
        exit: QueueExit,
        evidence: String,
    ) -> Option<(QueueId, u32)> {
        let entry = self.state.entry(entry).filter(|entry| entry.is_waiting())?;
        let (queue, position) = (entry.queue, entry.position);
        let body = Body::CallerLeft {
            exit,
            evidence,
            waited_ms: self.millis_since(entry.joined_at),
            offered: entry.offered,
        };
        let about = self.about_entry(entry);
        self.saw(sight, about, body);
        Some((queue, position))
    }

    /// Puts the callers of a queue in this order; who is not in it stays behind them in the old order.
    pub(super) fn reorder(&mut self, sight: &Sight, queue: QueueId, order: &[EntryId]) {
        let waiting = self.state.queue(queue).into_iter().flat_map(|queue| &queue.waiting);
        let waiting: Vec<EntryId> = waiting.map(|(_, entry)| *entry).collect();
        let known = order.iter().filter(|entry| waiting.contains(entry));
        let rest = waiting.iter().filter(|entry| !order.contains(entry));
        let target: Vec<EntryId> = known.chain(rest).copied().collect();
        for (entry, position) in target.into_iter().zip(1..) {
            self.place(sight, entry, position);
        }
    }

    pub(super) fn offer_started(&mut self, sight: &Sight, fact: Fact) {
        let Fact::OfferStarted { queue, leg, interface, member_leg } = &fact else { return };
        let Some(about) = self.about_live_leg(sight, leg, || fact.clone()) else { return };
        let Some(id) = self.newest(&sight.connector, queue, about.leg) else { return };
        let Some(entry) = self.state.entry(id).filter(|entry| entry.is_waiting()) else { return };
        let member_leg = self.member_leg(&sight.connector, member_leg.as_deref());
        if let Some(open) = entry.offers.get(interface) {
            if open.member_leg == member_leg || sight.inferred {
                return;
            }
            self.end_offer(&sight.concluded(), id, interface, OfferOutcome::NoAnswer, None);
        }
        let Some(entry) = self.state.entry(id) else { return };
        let agent = self.agent_serving(entry, interface, member_leg);
        let about = About { agent, ..self.about_entry(entry) };
        self.saw(sight, about, Body::OfferStarted { interface: interface.clone(), member_leg });
    }

    fn newest(&self, connector: &ConnectorId, queue: &str, leg: Option<LegId>) -> Option<EntryId> {
        let queue = self.state.queue_named(connector, queue)?.id;
        self.state.entry_of(connector, queue, leg?).map(|entry| entry.id)
    }

    fn member_leg(&self, connector: &ConnectorId, native: Option<&str>) -> Option<LegId> {
        self.state.live_leg(connector, native?).map(|leg| leg.id)
    }

    /// The person behind a seat: by the seat, by what it dials, or by the leg that rings.
    fn agent_serving(
        &self,
        entry: &Entry,
        interface: &str,
        member_leg: Option<LegId>,
    ) -> Option<crate::AgentId> {
        let seat = self.state.queue(entry.queue).and_then(|queue| queue.members.get(interface));
        let by_seat = seat.and_then(|member| self.state.agent_of_member(&entry.connector, member));
        let by_interface = || self.state.agent_at(&entry.connector, None, interface);
        let by_leg = || {
            let leg = self.state.leg(member_leg?)?;
            self.state.agent_at(&leg.connector, leg.extension.as_deref(), &leg.device)
        };
        by_seat.or_else(by_interface).or_else(by_leg).cloned()
    }

    pub(super) fn offer_ended(
        &mut self,
        sight: &Sight,
        queue: &str,
        leg: &NativeLeg,
        interface: String,
        outcome: OfferOutcome,
        rang_ms: u32,
    ) {
        let kept = || Fact::OfferEnded {
            queue: queue.to_owned(),
            leg: leg.clone(),
            interface: interface.clone(),
            outcome: outcome.clone(),
            rang_ms,
        };
        let Some(about) = self.about_live_leg(sight, leg, kept) else { return };
        if let Some(entry) = self.newest(&sight.connector, queue, about.leg) {
            self.end_offer(sight, entry, &interface, outcome, Some(rang_ms));
        }
    }

    fn end_offer(
        &mut self,
        sight: &Sight,
        entry: EntryId,
        interface: &str,
        outcome: OfferOutcome,
        rang_ms: Option<u32>,
    ) {
        let Some(entry) = self.state.entry(entry) else { return };
        let Some(offer) = entry.offers.get(interface) else { return };
        let about = About { agent: offer.agent.clone(), ..self.about_entry(entry) };
        let rang_ms = rang_ms.unwrap_or_else(|| {
            u32::try_from(self.millis_since(offer.started_at)).unwrap_or(u32::MAX)
        });
        let interface = interface.to_owned();
        self.saw(sight, about, Body::OfferEnded { interface, outcome, rang_ms });
    }

    /// Ends the offers nobody told the end of.
    pub(super) fn cancel_offers(&mut self, sight: &Sight, entry: EntryId) {
        let Some(open) = self.state.entry(entry).map(|entry| &entry.offers) else { return };
        for interface in open.keys().cloned().collect::<Vec<_>>() {
            self.end_offer(&sight.concluded(), entry, &interface, OfferOutcome::Cancelled, None);
        }
    }

    pub(super) fn service_started(&mut self, sight: &Sight, fact: Fact) {
        let Fact::ServiceStarted { queue, leg, interface, member_leg, waited_secs, rang_secs } =
            &fact
        else {
            return;
        };
        let Some(about) = self.about_live_leg(sight, leg, || fact.clone()) else { return };
        let Some(queue) = self.queue_id(sight, queue) else { return };
        let Some(leg) = about.leg else { return };
        let member_leg = self.member_leg(&sight.connector, member_leg.as_deref());
        let newest = self.state.entry_of(&sight.connector, queue, leg);
        if newest.is_some_and(|entry| entry.running_service().is_some()) {
            return;
        }
        let id = match newest.filter(|entry| entry.service.is_none()) {
            Some(entry) => entry.id,
            None => {
                // Nobody saw them wait: a wait that is over at once.
                let id = EntryId(self.next());
                let about = About { queue: Some(queue), entry: Some(id), ..about };
                let body = Body::CallerLeft {
                    exit: QueueExit::Answered,
                    evidence: "service-started".to_owned(),
                    waited_ms: u64::from(*waited_secs) * 1_000,
                    offered: true,
                };
                self.saw(&sight.concluded(), about, body);
                id
            }
        };
        self.leave(sight, id, QueueExit::Answered, "service-started".to_owned());
        let Some(entry) = self.state.entry(id) else { return };
        let member_leg = member_leg.or_else(|| self.leg_behind(entry, interface));
        let agent = entry.offers.get(interface).and_then(|offer| offer.agent.clone());
        let agent = agent.or_else(|| self.agent_serving(entry, interface, member_leg));
        let body = Body::ServiceStarted {
            interface: interface.clone(),
            member_leg,
            waited_ms: entry.left.as_ref().map_or(0, |left| left.waited_ms),
            rang_secs: *rang_secs,
        };
        let about = About { agent, ..self.about_entry(entry) };
        self.saw(sight, about, body);
        // Whoever else was rung was slower.
        self.cancel_offers(sight, id);
    }

    /// The member's leg in the caller's call, when the connector did not name it.
    fn leg_behind(&self, entry: &Entry, interface: &str) -> Option<LegId> {
        let seat = self.state.queue(entry.queue).and_then(|queue| queue.members.get(interface));
        let extension = seat.and_then(|member| member.extension.as_deref());
        let mut legs = self.state.live_legs_of(entry.call).filter(|leg| leg.id != entry.leg);
        legs.find(|leg| {
            leg.device == interface
                || (extension.is_some() && leg.extension.as_deref() == extension)
        })
        .map(|leg| leg.id)
    }

    pub(super) fn service_ended(
        &mut self,
        sight: &Sight,
        queue: &str,
        leg: &NativeLeg,
        ended_by: ServiceEnd,
        talked_secs: u32,
    ) {
        let Some(live) = self.state.live_leg(&sight.connector, leg).map(|leg| leg.id) else {
            return;
        };
        if let Some(entry) = self.newest(&sight.connector, queue, Some(live)) {
            self.end_service(sight, entry, ended_by, talked_secs);
        }
    }

    pub(super) fn end_service(
        &mut self,
        sight: &Sight,
        entry: EntryId,
        ended_by: ServiceEnd,
        talked_secs: u32,
    ) {
        let Some(entry) = self.state.entry(entry) else { return };
        let Some(service) = entry.running_service() else { return };
        // The PBX counts whole seconds, but knows of a beginning that was not seen here.
        let talked_ms = self.millis_since(service.started_at).max(u64::from(talked_secs) * 1_000);
        let agent = service.agent.clone();
        let interface = service.interface.clone();
        let rest = self.state.queue(entry.queue).map_or(0, |queue| queue.settings.wrap_up_secs);
        let about = About { agent: agent.clone(), ..self.about_entry(entry) };
        self.saw(sight, about, Body::ServiceEnded { interface, ended_by, talked_ms });
        if let Some(agent) = agent.filter(|_| rest > 0) {
            let ends = self.now.monotonic + std::time::Duration::from_secs(rest.into());
            let known = self.wrap_ups.entry(agent).or_default();
            *known = ends.max(*known);
        }
    }
}
