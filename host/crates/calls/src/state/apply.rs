//! The fold: how each event changes the state. An event that names something unknown changes nothing of it.

use super::{
    BTreeMap, BTreeSet, Call, CallEnd, CallEndKind, Command, CommandResult, Connector, ConnectorId,
    Entry, Index, Left, Leg, LegEnd, Line, Offer, Person, Queue, RECENT_CALLS, RECENT_COMMANDS,
    RECENT_ENTRIES_PER_CALL, RECENT_LEGS_PER_CALL, Service, State,
};
use crate::{
    CallId, CommandId, EntryId, Event, LegId,
    event::{Agent, AgentState, AgentStatus, Body, Party},
    fact::{self, LegDirection, LegState, QueueSettings},
};

impl State {
    /// Applies the next event. Events come in the order of their numbers.
    pub fn apply(&mut self, event: &Event) {
        self.seq = self.seq.max(event.seq);
        self.at = self.at.max(event.at);
        if let (Some(call_seq), Some(id)) = (event.call_seq, event.about.call)
            && !matches!(event.body, Body::CallStarted { .. })
            && let Some(call) = self.calls.get_mut(&id)
        {
            call.call_seq = call.call_seq.max(call_seq);
        }
        match &event.body {
            Body::ConnectorConnected { pbx, place } => {
                self.connection(event, true, "", Some((pbx, place)));
            }
            Body::PbxChanged { pbx } => {
                if let Some(connector) =
                    event.connector.as_ref().and_then(|id| self.connectors.get_mut(id))
                {
                    connector.pbx = Some(pbx.clone());
                }
            }
            Body::ConnectorDisconnected { reason } => self.connection(event, false, reason, None),
            Body::Resynced { corrections, .. } => {
                if let Some(connector) =
                    event.connector.as_ref().and_then(|id| self.connectors.get_mut(id))
                {
                    connector.resynced = Some((event.at, *corrections));
                }
            }
            Body::ExtensionChanged(extension) => self.extension_changed(event, extension),
            Body::ExtensionRemoved { .. } => self.extension_removed(event),
            Body::QueueChanged(settings) => self.queue_changed(event, settings),
            Body::QueueRemoved { .. } => self.queue_removed(event),
            Body::MemberAdded(member)
            | Body::MemberChanged(member)
            | Body::MemberPaused(member)
            | Body::MemberUnpaused(member) => self.member_changed(event, member),
            Body::MemberRemoved(member) => self.member_removed(event, &member.interface),
            Body::MemberDesired { member, wish } => {
                let Some(connector) = event.connector.clone() else { return };
                let key = (connector, member.clone());
                match wish {
                    Some(wish) => self.desired.insert(key, wish.clone()),
                    None => self.desired.remove(&key),
                };
            }
            Body::CallerJoined { position, priority, joined_at, party } => {
                self.new_entry(event, *position, *priority, *joined_at, party, None);
            }
            Body::CallerMoved { position } => self.caller_moved(event, *position),
            Body::CallerLeft { exit, evidence, waited_ms, offered } => {
                let left = Left {
                    exit: exit.clone(),
                    evidence: evidence.clone(),
                    at: event.at,
                    waited_ms: *waited_ms,
                    inferred: event.inferred,
                };
                self.caller_left(event, left, *offered);
            }
            Body::OfferStarted { interface, member_leg } => {
                let offer = Offer {
                    member_leg: *member_leg,
                    agent: event.about.agent.clone(),
                    started_at: event.at,
                };
                if let Some(entry) = self.entry_about(event) {
                    entry.offered = true;
                    entry.offers.insert(interface.clone(), offer);
                }
            }
            Body::OfferEnded { interface, .. } => {
                if let Some(entry) = self.entry_about(event) {
                    entry.offers.remove(interface);
                }
            }
            Body::ServiceStarted { interface, member_leg, waited_ms, rang_secs } => {
                let service = Service {
                    interface: interface.clone(),
                    member_leg: *member_leg,
                    agent: event.about.agent.clone(),
                    started_at: event.at,
                    waited_ms: *waited_ms,
                    rang_secs: *rang_secs,
                    ended: None,
                };
                self.service_started(event, service);
            }
            Body::ServiceEnded { ended_by, talked_ms, .. } => {
                if let Some(service) =
                    self.entry_about(event).and_then(|entry| entry.service.as_mut())
                {
                    service.ended = Some((event.at, ended_by.clone(), *talked_ms));
                }
                if let Some(call) = self.entry_about(event).map(|entry| entry.call) {
                    self.trim_entries(call);
                }
            }
            Body::CallStarted { caller, dialled } => self.call_started(event, caller, dialled),
            Body::CallMerged { into } => self.call_merged(event, *into),
            Body::CallEnded { outcome, cause } => {
                let how = CallEndKind::Ended { outcome: outcome.clone(), cause: cause.clone() };
                self.call_over(event, how);
            }
            Body::LegStarted { .. } => self.leg_started(event),
            Body::LegMoved { from } => self.leg_moved(event, *from),
            Body::LegState { state } => {
                if let Some(leg) = event.about.leg.and_then(|id| self.legs.get_mut(&id)) {
                    leg.enter(state, event);
                }
            }
            Body::LegParty { party } => self.leg_party(event, party),
            Body::LegPeers { with } => self.leg_peers(event, with),
            Body::LegEnded { cause, ended_by } => {
                let end = LegEnd {
                    at: event.at,
                    cause: cause.clone(),
                    by: ended_by.clone(),
                    inferred: event.inferred,
                };
                self.leg_ended(event, end);
            }
            Body::LegOffered(held) => {
                if let Some(leg) = event.about.leg.and_then(|id| self.legs.get_mut(&id)) {
                    leg.held = Some((event.at, held.clone()));
                }
            }
            Body::LegReleased { .. } => {
                if let Some(leg) = event.about.leg.and_then(|id| self.legs.get_mut(&id)) {
                    leg.held = None;
                }
            }
            Body::AgentChanged(agent) => self.agent_changed(event, agent),
            Body::AgentRemoved => self.agent_removed(event),
            Body::AgentStatus { status, reason } => {
                if let Some(person) = self.person_about(event) {
                    person.status = status.clone();
                    person.status_reason.clone_from(reason);
                    person.status_since = event.at;
                }
            }
            Body::AgentState { state } => {
                if let Some(person) = self.person_about(event) {
                    person.state = state.clone();
                    person.state_since = event.at;
                }
            }
            Body::CommandAccepted { .. } => self.command_accepted(event),
            Body::CommandSent => {
                if let Some(command) = event.about.command.and_then(|id| self.commands.get_mut(&id))
                {
                    command.sent_at = Some(event.at);
                }
            }
            Body::CommandEnded { end, problem, detail } => {
                let result = CommandResult {
                    at: event.at,
                    end: end.clone(),
                    problem: problem.clone(),
                    detail: detail.clone(),
                };
                self.command_ended(event, result);
            }
            Body::ObservationGap { .. }
            | Body::CallDecided(_)
            | Body::Transferred { .. }
            | Body::Notice(_)
            | Body::Other { .. } => {}
        }
        // An empty index says nothing, and must not make two equal states differ.
        if let Some(connector) = &event.connector
            && self.index.get(connector).is_some_and(|index| *index == Index::default())
        {
            self.index.remove(connector);
        }
    }

    fn entry_about(&mut self, event: &Event) -> Option<&mut Entry> {
        self.entries.get_mut(&event.about.entry?)
    }

    fn person_about(&mut self, event: &Event) -> Option<&mut Person> {
        self.agents.get_mut(event.about.agent.as_ref()?)
    }

    fn index_of(&mut self, connector: &ConnectorId) -> &mut Index {
        self.index.entry(connector.clone()).or_default()
    }

    fn connection(
        &mut self,
        event: &Event,
        up: bool,
        reason: &str,
        pbx: Option<(&fact::Pbx, &String)>,
    ) {
        let Some(id) = &event.connector else { return };
        let connector = self.connectors.entry(id.clone()).or_insert_with(|| Connector {
            id: id.clone(),
            connected: up,
            since: event.at,
            reason: String::new(),
            pbx: None,
            place: String::new(),
            resynced: None,
        });
        connector.connected = up;
        connector.since = event.at;
        connector.reason = reason.to_owned();
        if let Some((pbx, place)) = pbx {
            connector.pbx = Some(pbx.clone());
            connector.place.clone_from(place);
        }
    }

    fn extension_changed(&mut self, event: &Event, extension: &fact::Extension) {
        let (Some(connector), Some(id)) = (event.connector.clone(), event.about.extension) else {
            return;
        };
        let before = self.extensions.insert(
            id,
            Line {
                id,
                connector: connector.clone(),
                extension: extension.clone(),
                since: event.at,
            },
        );
        let index = self.index_of(&connector);
        if let Some(before) = before {
            forget_in(&mut index.devices, &before.extension.device, &id);
        }
        index.extensions.insert(extension.number.clone(), id);
        index.devices.entry(extension.device.clone()).or_default().insert(id);
    }

    fn extension_removed(&mut self, event: &Event) {
        let Some(line) = event.about.extension.and_then(|id| self.extensions.remove(&id)) else {
            return;
        };
        let index = self.index_of(&line.connector);
        forget(&mut index.extensions, &line.extension.number, line.id);
        forget_in(&mut index.devices, &line.extension.device, &line.id);
    }

    fn queue_changed(&mut self, event: &Event, settings: &QueueSettings) {
        let (Some(connector), Some(id)) = (event.connector.clone(), event.about.queue) else {
            return;
        };
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.settings = settings.clone();
            return;
        }
        self.index_of(&connector).queues.insert(settings.name.clone(), id);
        self.queues.insert(
            id,
            Queue {
                id,
                connector,
                settings: settings.clone(),
                members: BTreeMap::new(),
                waiting: BTreeSet::new(),
                by_extension: BTreeMap::new(),
            },
        );
    }

    fn queue_removed(&mut self, event: &Event) {
        let Some(queue) = event.about.queue.and_then(|id| self.queues.remove(&id)) else { return };
        let index = self.index_of(&queue.connector);
        forget(&mut index.queues, &queue.settings.name, queue.id);
        index.members -= queue.members.len().min(index.members);
        index.waiting -= queue.waiting.len().min(index.waiting);
    }

    fn member_changed(&mut self, event: &Event, member: &fact::Member) {
        let Some(queue) = event.about.queue.and_then(|id| self.queues.get_mut(&id)) else { return };
        let before = queue.members.insert(member.interface.clone(), member.clone());
        let new = before.is_none();
        if let Some(extension) = before.and_then(|before| before.extension) {
            forget_in(&mut queue.by_extension, &extension, &member.interface);
        }
        if let Some(extension) = &member.extension {
            let interfaces = queue.by_extension.entry(extension.clone()).or_default();
            interfaces.insert(member.interface.clone());
        }
        let connector = queue.connector.clone();
        if new {
            self.index_of(&connector).members += 1;
        }
    }

    fn member_removed(&mut self, event: &Event, interface: &str) {
        let Some(queue) = event.about.queue.and_then(|id| self.queues.get_mut(&id)) else { return };
        let Some(member) = queue.members.remove(interface) else { return };
        if let Some(extension) = member.extension {
            forget_in(&mut queue.by_extension, &extension, interface);
        }
        let connector = queue.connector.clone();
        let index = self.index_of(&connector);
        index.members = index.members.saturating_sub(1);
    }

    /// A wait: one that begins, or one that was over at once (`left`).
    fn new_entry(
        &mut self,
        event: &Event,
        position: u32,
        priority: i32,
        joined_at: crate::Timestamp,
        party: &Party,
        left: Option<Left>,
    ) {
        let about = &event.about;
        let (Some(connector), Some(id), Some(queue), Some(call), Some(leg)) =
            (event.connector.clone(), about.entry, about.queue, about.call, about.leg)
        else {
            return;
        };
        let Some(call) = self.calls.get_mut(&call) else { return };
        call.entries.push(id);
        let call = call.id;
        if left.is_none()
            && let Some(queue) = self.queues.get_mut(&queue)
        {
            queue.waiting.insert((position, id));
            self.index_of(&connector).waiting += 1;
        }
        self.index_of(&connector).entries.insert((queue, leg), id);
        self.entries.insert(
            id,
            Entry {
                id,
                connector,
                queue,
                call,
                leg,
                party: party.clone(),
                position,
                priority,
                joined_at,
                offered: false,
                offers: BTreeMap::new(),
                left,
                service: None,
            },
        );
        self.trim_entries(call);
    }

    /// Forgets the oldest wait of a call that has too many, if nothing of it goes on.
    fn trim_entries(&mut self, call: CallId) {
        let Some(call) = self.calls.get_mut(&call) else { return };
        if call.entries.len() <= RECENT_ENTRIES_PER_CALL {
            return;
        }
        let over = |id: &EntryId| {
            self.entries
                .get(id)
                .is_none_or(|entry| !entry.is_waiting() && entry.running_service().is_none())
        };
        let Some(at) = call.entries.iter().position(over) else { return };
        let id = call.entries.remove(at);
        self.forget_entry(id);
    }

    fn forget_entry(&mut self, id: EntryId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        let index = self.index_of(&entry.connector);
        let key = (entry.queue, entry.leg);
        if index.entries.get(&key) == Some(&id) {
            index.entries.remove(&key);
        }
        if entry.is_waiting()
            && let Some(queue) = self.queues.get_mut(&entry.queue)
        {
            queue.waiting.remove(&(entry.position, id));
        }
    }

    fn caller_moved(&mut self, event: &Event, position: u32) {
        let Some(entry) = event.about.entry.and_then(|id| self.entries.get_mut(&id)) else {
            return;
        };
        if let Some(queue) = self.queues.get_mut(&entry.queue)
            && queue.waiting.remove(&(entry.position, entry.id))
        {
            queue.waiting.insert((position, entry.id));
        }
        entry.position = position;
    }

    fn caller_left(&mut self, event: &Event, left: Left, offered: bool) {
        let Some(id) = event.about.entry else { return };
        let Some(entry) = self.entries.get_mut(&id) else {
            let joined_at = crate::Timestamp(
                event.at.0.saturating_sub(left.waited_ms.saturating_mul(1_000_000)),
            );
            let party = event.about.leg.and_then(|leg| self.legs.get(&leg));
            let party = party.map(|leg| leg.party.clone()).unwrap_or_default();
            self.new_entry(event, 0, 0, joined_at, &party, Some(left));
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.offered = offered;
            }
            return;
        };
        entry.left = Some(left);
        entry.offered = offered;
        let (connector, call) = (entry.connector.clone(), entry.call);
        let (queue, position) = (entry.queue, entry.position);
        if let Some(queue) = self.queues.get_mut(&queue)
            && queue.waiting.remove(&(position, id))
        {
            let index = self.index_of(&connector);
            index.waiting = index.waiting.saturating_sub(1);
        }
        self.trim_entries(call);
    }

    fn service_started(&mut self, event: &Event, service: Service) {
        let Some(entry) = event.about.entry.and_then(|id| self.entries.get_mut(&id)) else {
            return;
        };
        entry.offers.remove(&service.interface);
        entry.service = Some(service);
        if let Some(call) = self.calls.get_mut(&entry.call) {
            call.answered = true;
        }
    }

    fn call_started(&mut self, event: &Event, caller: &Party, dialled: &str) {
        let (Some(connector), Some(id)) = (event.connector.clone(), event.about.call) else {
            return;
        };
        self.calls.insert(
            id,
            Call {
                id,
                connector,
                caller: caller.clone(),
                dialled: dialled.to_owned(),
                started_at: event.at,
                answered: false,
                legs: Vec::new(),
                entries: Vec::new(),
                call_seq: event.call_seq.unwrap_or_default(),
                ended: None,
            },
        );
    }

    fn call_merged(&mut self, event: &Event, into: CallId) {
        if let Some(from) = event.about.call.and_then(|id| self.calls.get_mut(&id)) {
            let entries = std::mem::take(&mut from.entries);
            let answered = std::mem::take(&mut from.answered);
            for id in &entries {
                if let Some(entry) = self.entries.get_mut(id) {
                    entry.call = into;
                }
            }
            if let Some(into) = self.calls.get_mut(&into) {
                into.answered |= answered;
                into.entries.extend(entries);
                into.entries.sort_unstable();
            }
        }
        self.call_over(event, CallEndKind::Merged { into });
    }

    fn call_over(&mut self, event: &Event, how: CallEndKind) {
        let Some(call) = event.about.call.and_then(|id| self.calls.get_mut(&id)) else { return };
        call.ended = Some(CallEnd { at: event.at, how });
        self.recent_calls.push_back(call.id);
        if self.recent_calls.len() > RECENT_CALLS
            && let Some(call) = self.recent_calls.pop_front().and_then(|id| self.calls.remove(&id))
        {
            for leg in call.legs {
                self.forget_leg(leg);
            }
            for entry in call.entries {
                self.forget_entry(entry);
            }
        }
    }

    fn leg_started(&mut self, event: &Event) {
        let Body::LegStarted { native, direction, device, extension, state, party, dialled } =
            &event.body
        else {
            return;
        };
        let (Some(connector), Some(id), Some(call)) =
            (event.connector.clone(), event.about.leg, event.about.call)
        else {
            return;
        };
        let Some(home) = self.calls.get_mut(&call) else { return };
        home.legs.push(id);
        let mut leg = Leg {
            id,
            connector: connector.clone(),
            call,
            native: native.clone(),
            direction: *direction,
            device: device.clone(),
            extension: extension.clone(),
            state: LegState::Started,
            party: party.clone(),
            dialled: dialled.clone(),
            started_at: event.at,
            answered_at: None,
            peers: BTreeSet::new(),
            held: None,
            ended: None,
        };
        leg.enter(state, event);
        let index = self.index_of(&connector);
        index.legs.insert(native.clone(), id);
        for line in leg.lines() {
            index.lines.entry(line.clone()).or_default().insert(id);
        }
        self.legs.insert(id, leg);
    }

    fn leg_moved(&mut self, event: &Event, from: CallId) {
        let (Some(id), Some(into)) = (event.about.leg, event.about.call) else { return };
        if let Some(call) = self.calls.get_mut(&from) {
            call.legs.retain(|leg| *leg != id);
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.call = into;
        }
        if let Some(call) = self.calls.get_mut(&into) {
            call.legs.push(id);
        }
    }

    fn leg_party(&mut self, event: &Event, party: &Party) {
        let Some(leg) = event.about.leg.and_then(|id| self.legs.get_mut(&id)) else { return };
        leg.party = party.clone();
        if let Some(call) = self.calls.get_mut(&leg.call)
            && call.legs.first() == Some(&leg.id)
            && leg.direction == LegDirection::FromDevice
        {
            call.caller = party.clone();
        }
    }

    fn leg_peers(&mut self, event: &Event, with: &[LegId]) {
        let Some(leg) = event.about.leg.and_then(|id| self.legs.get_mut(&id)) else { return };
        leg.peers = with.iter().copied().collect();
        if !with.is_empty()
            && let Some(call) = self.calls.get_mut(&leg.call)
        {
            call.answered = true;
        }
    }

    fn leg_ended(&mut self, event: &Event, end: LegEnd) {
        let Some(leg) = event.about.leg.and_then(|id| self.legs.get_mut(&id)) else { return };
        leg.peers.clear();
        leg.held = None;
        leg.ended = Some(end);
        let (id, call, connector) = (leg.id, leg.call, leg.connector.clone());
        let (native, lines) = (leg.native.clone(), leg.lines().cloned().collect::<Vec<_>>());
        let index = self.index_of(&connector);
        forget(&mut index.legs, &native, id);
        for line in lines {
            forget_in(&mut index.lines, &line, &id);
        }
        self.trim_legs(call);
    }

    /// Forgets the oldest ended leg of a call that has too many; the first leg, the caller's, stays.
    fn trim_legs(&mut self, call: CallId) {
        let Some(call) = self.calls.get_mut(&call) else { return };
        if call.legs.len() <= RECENT_LEGS_PER_CALL {
            return;
        }
        let over = |id: &LegId| self.legs.get(id).is_none_or(|leg| leg.ended.is_some());
        let ended = call.legs.iter().filter(|id| over(id)).count();
        if ended <= RECENT_LEGS_PER_CALL {
            return;
        }
        let Some(at) = call.legs.iter().skip(1).position(over) else { return };
        let id = call.legs.remove(at + 1);
        self.forget_leg(id);
    }

    fn forget_leg(&mut self, id: LegId) {
        self.legs.remove(&id);
    }

    fn agent_changed(&mut self, event: &Event, agent: &Agent) {
        if let Some(before) = self.agents.get(&agent.id) {
            for device in &before.agent.devices {
                self.devices.remove(device);
            }
        }
        for device in &agent.devices {
            self.devices.insert(device.clone(), agent.id.clone());
        }
        match self.agents.get_mut(&agent.id) {
            Some(person) => person.agent = agent.clone(),
            None => {
                let person = Person {
                    agent: agent.clone(),
                    status: AgentStatus::LoggedOut,
                    status_reason: String::new(),
                    status_since: event.at,
                    state: AgentState::Idle,
                    state_since: event.at,
                };
                self.agents.insert(agent.id.clone(), person);
            }
        }
    }

    fn agent_removed(&mut self, event: &Event) {
        let Some(person) = event.about.agent.as_ref().and_then(|id| self.agents.remove(id)) else {
            return;
        };
        for device in &person.agent.devices {
            self.devices.remove(device);
        }
    }

    fn command_accepted(&mut self, event: &Event) {
        let Body::CommandAccepted { kind, arguments, idempotency_key, deadline } = &event.body
        else {
            return;
        };
        let (Some(connector), Some(id)) = (event.connector.clone(), event.about.command) else {
            return;
        };
        if let Some(key) = idempotency_key {
            self.keys.entry(key.clone()).or_default().push(id);
        }
        self.in_flight.insert(id);
        self.commands.insert(
            id,
            Command {
                id,
                connector,
                kind: kind.clone(),
                arguments: arguments.clone(),
                idempotency_key: idempotency_key.clone(),
                actor: event.actor.clone(),
                agent: event.about.agent.clone(),
                queue: event.about.queue,
                deadline: *deadline,
                accepted_at: event.at,
                sent_at: None,
                ended: None,
            },
        );
    }

    fn command_ended(&mut self, event: &Event, result: CommandResult) {
        let Some(command) = event.about.command.and_then(|id| self.commands.get_mut(&id)) else {
            return;
        };
        command.ended = Some(result);
        self.in_flight.remove(&command.id);
        self.recent_commands.push_back(command.id);
        if self.recent_commands.len() > RECENT_COMMANDS
            && let Some(oldest) = self.recent_commands.pop_front()
        {
            self.forget_command(oldest);
        }
    }

    fn forget_command(&mut self, id: CommandId) {
        let Some(key) = self.commands.remove(&id).and_then(|command| command.idempotency_key)
        else {
            return;
        };
        if let Some(ids) = self.keys.get_mut(&key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.keys.remove(&key);
            }
        }
    }
}

impl Leg {
    fn enter(&mut self, state: &LegState, event: &Event) {
        self.state = match state {
            LegState::Resumed => LegState::Answered,
            other => other.clone(),
        };
        if matches!(self.state, LegState::Answered | LegState::Held) && self.answered_at.is_none() {
            self.answered_at = Some(event.at);
        }
    }

    /// The names it is found by.
    fn lines(&self) -> impl Iterator<Item = &String> {
        self.extension.iter().chain(std::iter::once(&self.device))
    }
}

/// Removes a name that still means this id; it may mean a newer one.
fn forget<Id: PartialEq>(names: &mut BTreeMap<String, Id>, name: &str, id: Id) {
    if names.get(name) == Some(&id) {
        names.remove(name);
    }
}

fn forget_in<Item, Asked>(sets: &mut BTreeMap<String, BTreeSet<Item>>, name: &str, item: &Asked)
where
    Item: Ord + std::borrow::Borrow<Asked>,
    Asked: Ord + ?Sized,
{
    if let Some(set) = sets.get_mut(name) {
        set.remove(item);
        if set.is_empty() {
            sets.remove(name);
        }
    }
}
