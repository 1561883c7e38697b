//! A checkpoint: events that rebuild the state.
//!
//! They are made for [`State::apply`] only: each thing appears as the shortest series of events that leads to
//! it, with the times it happened, not as a copy of what the journal held.

use super::{Call, CallEndKind, Command, Connector, Entry, Leg, Person, Queue, State};
use crate::{
    Actor, ConnectorId, Event, Timestamp,
    event::{About, Body},
    fact::{LegState, OfferOutcome},
};

impl State {
    /// Events that, applied to an empty state, rebuild this one. They all carry [`State::seq`] as their number.
    pub fn picture(&self) -> Vec<Event> {
        let mut picture = Picture { seq: self.seq, events: Vec::new() };
        for connector in self.connectors.values() {
            picture.connector(connector);
        }
        for line in self.extensions.values() {
            let about = About { extension: Some(line.id), ..About::default() };
            let body = Body::ExtensionChanged(line.extension.clone());
            picture.push(line.since, Some(&line.connector), about, body);
        }
        for queue in self.queues.values() {
            picture.queue(queue, self.at);
        }
        for ((connector, member), wish) in &self.desired {
            let body = Body::MemberDesired { member: member.clone(), wish: Some(wish.clone()) };
            picture.push(self.at, Some(connector), About::default(), body);
        }
        for person in self.agents.values() {
            picture.agent(person);
        }
        for call in self.calls.values() {
            picture.call(call, self);
        }
        for call in self.recent_calls.iter().filter_map(|id| self.calls.get(id)) {
            picture.call_end(call);
        }
        for command in self.commands.values() {
            picture.command(command);
        }
        for command in self.recent_commands.iter().filter_map(|id| self.commands.get(id)) {
            picture.command_end(command);
        }
        // Carries the time and the number even when nothing else is left of what happened.
        let mark = Body::Other { kind: "checkpoint".to_owned(), facts: Vec::new() };
        picture.push(self.at, None, About::default(), mark);
        picture.events
    }
}

struct Picture {
    seq: u64,
    events: Vec<Event>,
}

impl Picture {
    fn push(&mut self, at: Timestamp, connector: Option<&ConnectorId>, about: About, body: Body) {
        self.full(at, connector, about, body, None, false);
    }

    fn full(
        &mut self,
        at: Timestamp,
        connector: Option<&ConnectorId>,
        about: About,
        body: Body,
        call_seq: Option<u64>,
        inferred: bool,
    ) {
        self.events.push(Event {
            seq: self.seq,
            call_seq,
            at,
            at_pbx: None,
            connector: connector.cloned(),
            about,
            inferred,
            actor: Actor::Host,
            body,
        });
    }

    fn connector(&mut self, connector: &Connector) {
        let id = Some(&connector.id);
        if let Some(pbx) = connector.pbx.clone() {
            let body = Body::ConnectorConnected { pbx, place: connector.place.clone() };
            self.push(connector.since, id, About::default(), body);
        }
        if !connector.connected {
            let body = Body::ConnectorDisconnected { reason: connector.reason.clone() };
            self.push(connector.since, id, About::default(), body);
        }
        if let Some((at, corrections)) = connector.resynced {
            let body = Body::Resynced { scope: "all".to_owned(), corrections };
            self.push(at, id, About::default(), body);
        }
    }

    fn queue(&mut self, queue: &Queue, at: Timestamp) {
        let about = About { queue: Some(queue.id), ..About::default() };
        let body = Body::QueueChanged(queue.settings.clone());
        self.push(at, Some(&queue.connector), about.clone(), body);
        for member in queue.members.values() {
            let body = Body::MemberAdded(member.clone());
            self.push(at, Some(&queue.connector), about.clone(), body);
        }
    }

    fn agent(&mut self, person: &Person) {
        let about = About { agent: Some(person.agent.id.clone()), ..About::default() };
        let changed = Body::AgentChanged(person.agent.clone());
        let status = Body::AgentStatus {
            status: person.status.clone(),
            reason: person.status_reason.clone(),
        };
        let state = Body::AgentState { state: person.state.clone() };
        self.push(person.status_since, None, about.clone(), changed);
        self.push(person.status_since, None, about.clone(), status);
        self.push(person.state_since, None, about, state);
    }

    fn call(&mut self, call: &Call, state: &State) {
        let about = About { call: Some(call.id), ..About::default() };
        let body = Body::CallStarted { caller: call.caller.clone(), dialled: call.dialled.clone() };
        self.full(call.started_at, Some(&call.connector), about, body, Some(call.call_seq), false);
        for leg in call.legs.iter().filter_map(|id| state.legs.get(id)) {
            self.leg(leg, call.answered && call.legs.first() == Some(&leg.id));
        }
        for entry in call.entries.iter().filter_map(|id| state.entries.get(id)) {
            self.entry(entry);
        }
    }

    /// `answered`: this leg carries the call's memory of it, as a conversation that is over.
    fn leg(&mut self, leg: &Leg, answered: bool) {
        let id = Some(&leg.connector);
        let about = About { call: Some(leg.call), leg: Some(leg.id), ..About::default() };
        let first = if leg.answered_at.is_some() { LegState::Started } else { leg.state.clone() };
        let body = Body::LegStarted {
            native: leg.native.clone(),
            direction: leg.direction,
            device: leg.device.clone(),
            extension: leg.extension.clone(),
            state: first,
            party: leg.party.clone(),
            dialled: leg.dialled.clone(),
        };
        self.push(leg.started_at, id, about.clone(), body);
        if let Some(at) = leg.answered_at {
            let body = Body::LegState { state: LegState::Answered };
            self.push(at, id, about.clone(), body);
            if leg.state != LegState::Answered {
                let body = Body::LegState { state: leg.state.clone() };
                self.push(at, id, about.clone(), body);
            }
        }
        if answered {
            let body = Body::LegPeers { with: vec![leg.id] };
            self.push(leg.started_at, id, about.clone(), body);
        }
        if answered || !leg.peers.is_empty() {
            let body = Body::LegPeers { with: leg.peers.iter().copied().collect() };
            self.push(leg.started_at, id, about.clone(), body);
        }
        if let Some((at, held)) = &leg.held {
            self.push(*at, id, about.clone(), Body::LegOffered(held.clone()));
        }
        if let Some(end) = &leg.ended {
            let body = Body::LegEnded { cause: end.cause.clone(), ended_by: end.by.clone() };
            self.full(end.at, id, about, body, None, end.inferred);
        }
    }

    fn entry(&mut self, entry: &Entry) {
        let id = Some(&entry.connector);
        let about = About {
            call: Some(entry.call),
            leg: Some(entry.leg),
            queue: Some(entry.queue),
            entry: Some(entry.id),
            ..About::default()
        };
        let body = Body::CallerJoined {
            position: entry.position,
            priority: entry.priority,
            joined_at: entry.joined_at,
            party: entry.party.clone(),
        };
        self.push(entry.joined_at, id, about.clone(), body);
        if entry.offered && entry.offers.is_empty() {
            let interface = String::new();
            let body = Body::OfferStarted { interface: interface.clone(), member_leg: None };
            self.push(entry.joined_at, id, about.clone(), body);
            let outcome = OfferOutcome::NoAnswer;
            let body = Body::OfferEnded { interface, outcome, rang_ms: 0 };
            self.push(entry.joined_at, id, about.clone(), body);
        }
        if let Some(service) = &entry.service {
            let about = About { agent: service.agent.clone(), ..about.clone() };
            let body = Body::ServiceStarted {
                interface: service.interface.clone(),
                member_leg: service.member_leg,
                waited_ms: service.waited_ms,
                rang_secs: service.rang_secs,
            };
            self.push(service.started_at, id, about.clone(), body);
            if let Some((at, ended_by, talked_ms)) = &service.ended {
                let body = Body::ServiceEnded {
                    interface: service.interface.clone(),
                    ended_by: ended_by.clone(),
                    talked_ms: *talked_ms,
                };
                self.push(*at, id, about, body);
            }
        }
        for (interface, offer) in &entry.offers {
            let about = About { agent: offer.agent.clone(), ..about.clone() };
            let body =
                Body::OfferStarted { interface: interface.clone(), member_leg: offer.member_leg };
            self.push(offer.started_at, id, about, body);
        }
        if let Some(left) = &entry.left {
            let body = Body::CallerLeft {
                exit: left.exit.clone(),
                evidence: left.evidence.clone(),
                waited_ms: left.waited_ms,
                offered: entry.offered,
            };
            self.full(left.at, id, about, body, None, left.inferred);
        }
    }

    fn call_end(&mut self, call: &Call) {
        let Some(end) = &call.ended else { return };
        let about = About { call: Some(call.id), ..About::default() };
        let body = match &end.how {
            CallEndKind::Ended { outcome, cause } => {
                Body::CallEnded { outcome: outcome.clone(), cause: cause.clone() }
            }
            CallEndKind::Merged { into } => Body::CallMerged { into: *into },
        };
        self.push(end.at, Some(&call.connector), about, body);
    }

    fn command(&mut self, command: &Command) {
        let about = About {
            command: Some(command.id),
            agent: command.agent.clone(),
            queue: command.queue,
            ..About::default()
        };
        let body = Body::CommandAccepted {
            kind: command.kind.clone(),
            arguments: command.arguments.clone(),
            idempotency_key: command.idempotency_key.clone(),
            deadline: command.deadline,
        };
        self.push(command.accepted_at, Some(&command.connector), about.clone(), body);
        if let Some(accepted) = self.events.last_mut() {
            accepted.actor = command.actor.clone();
        }
        if let Some(at) = command.sent_at {
            self.push(at, Some(&command.connector), about, Body::CommandSent);
        }
    }

    fn command_end(&mut self, command: &Command) {
        let Some(result) = &command.ended else { return };
        let about = About { command: Some(command.id), ..About::default() };
        let body = Body::CommandEnded {
            end: result.end.clone(),
            problem: result.problem.clone(),
            detail: result.detail.clone(),
        };
        self.push(result.at, Some(&command.connector), about, body);
    }
}
