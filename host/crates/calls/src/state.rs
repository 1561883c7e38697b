//! What is known now: a fold over events and nothing else.
//!
//! The switchboard writes through [`State::apply`]; the reading side of the host and a restarted host apply
//! the same events and have the same state. What can be derived (mappings, unmapped interfaces) is an accessor.

mod apply;
mod picture;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    Actor, AgentId, CallId, CommandId, ConnectorId, EntryId, ExtensionId, LegId, QueueId,
    Timestamp,
    event::{
        self, AgentState, AgentStatus, Cause, CommandEnd, DesiredMember, Device, Held, Outcome,
        Party, Problem,
    },
    fact::{self, LegDirection, LegState, MemberRef, Pbx, QueueExit, QueueSettings, ServiceEnd},
};

/// Ended calls that stay readable.
pub const RECENT_CALLS: usize = 1_000;
/// Ended commands that stay readable, and whose idempotency keys are still known.
pub const RECENT_COMMANDS: usize = 10_000;
/// Ended legs that stay readable in one call: a caller who waits for an hour makes thousands.
pub const RECENT_LEGS_PER_CALL: usize = 64;
/// Waits that are over and stay readable in one call.
pub const RECENT_ENTRIES_PER_CALL: usize = 64;

/// Everything known now, and what ended a short while ago.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    seq: u64,
    at: Timestamp,
    connectors: BTreeMap<ConnectorId, Connector>,
    calls: BTreeMap<CallId, Call>,
    /// Ended or merged, oldest first.
    recent_calls: VecDeque<CallId>,
    legs: BTreeMap<LegId, Leg>,
    entries: BTreeMap<EntryId, Entry>,
    queues: BTreeMap<QueueId, Queue>,
    extensions: BTreeMap<ExtensionId, Line>,
    agents: BTreeMap<AgentId, Person>,
    desired: BTreeMap<(ConnectorId, MemberRef), DesiredMember>,
    commands: BTreeMap<CommandId, Command>,
    /// Ended, oldest first.
    recent_commands: VecDeque<CommandId>,
    in_flight: BTreeSet<CommandId>,
    keys: BTreeMap<String, Vec<CommandId>>,
    devices: BTreeMap<Device, AgentId>,
    index: BTreeMap<ConnectorId, Index>,
}

/// How much of each a connector has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes {
    pub legs: usize,
    pub queues: usize,
    pub members: usize,
    pub extensions: usize,
    pub waiting: usize,
}

impl Sizes {
    /// Nothing of it is left.
    pub fn is_empty(self) -> bool {
        self.legs + self.queues + self.members + self.extensions + self.waiting == 0
    }
}

/// Native names of one connector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Index {
    /// Live legs only.
    legs: BTreeMap<String, LegId>,
    /// Live legs by extension and by device.
    lines: BTreeMap<String, BTreeSet<LegId>>,
    queues: BTreeMap<String, QueueId>,
    extensions: BTreeMap<String, ExtensionId>,
    /// The extension behind a device.
    devices: BTreeMap<String, BTreeSet<ExtensionId>>,
    members: usize,
    /// Waits of live legs, newest of each queue.
    entries: BTreeMap<(QueueId, LegId), EntryId>,
    waiting: usize,
}

/// A configured connection to a PBX, as far as events tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connector {
    /// As the config names it.
    pub id: ConnectorId,
    /// Logged in, and the first picture is complete.
    pub connected: bool,
    /// When `connected` last changed.
    pub since: Timestamp,
    /// Why it is not connected; empty while it is.
    pub reason: String,
    /// The PBX when last connected.
    pub pbx: Option<Pbx>,
    /// Where it was reached then, as the config had it.
    pub place: String,
    /// Last time the state was compared with the PBX's picture, and how many events that took.
    pub resynced: Option<(Timestamp, u64)>,
}

/// A call, running or ended a short while ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Public id.
    pub id: CallId,
    /// Where it was seen first.
    pub connector: ConnectorId,
    /// Who called.
    pub caller: Party,
    /// The number dialled.
    pub dialled: String,
    /// When it was first seen.
    pub started_at: Timestamp,
    /// Two people have talked.
    pub answered: bool,
    /// In the order they joined; of the ended ones the latest [`RECENT_LEGS_PER_CALL`].
    pub legs: Vec<LegId>,
    /// Its waits in queues, oldest first.
    pub entries: Vec<EntryId>,
    /// `call_seq` of its last event.
    pub call_seq: u64,
    /// Its end; none while it runs.
    pub ended: Option<CallEnd>,
}

/// How and when a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallEnd {
    /// When.
    pub at: Timestamp,
    /// How.
    pub how: CallEndKind,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEndKind {
    /// Its last leg ended.
    Ended {
        /// How it went.
        outcome: Outcome,
        /// Why.
        cause: Cause,
    },
    /// It goes on as another call.
    Merged {
        /// That call.
        into: CallId,
    },
}

/// A leg of a call in [`State`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Public id.
    pub id: LegId,
    /// The connector that sees it.
    pub connector: ConnectorId,
    /// The call it belongs to now.
    pub call: CallId,
    /// The PBX's id of it.
    pub native: String,
    /// Who began it.
    pub direction: LegDirection,
    /// The PBX's name of the line.
    pub device: String,
    /// The extension at that line.
    pub extension: Option<String>,
    /// How far it is; never `Resumed`: that is `Answered` again.
    pub state: LegState,
    /// The far end.
    pub party: Party,
    /// The number dialled.
    pub dialled: String,
    /// When it was first seen.
    pub started_at: Timestamp,
    /// When it was first seen up.
    pub answered_at: Option<Timestamp>,
    /// Who it can talk with now.
    pub peers: BTreeSet<LegId>,
    /// Since when it waits for word on where it goes, and what came with that; none: it does not.
    pub held: Option<(Timestamp, Held)>,
    /// Its end.
    pub ended: Option<LegEnd>,
}

/// How and when a leg ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegEnd {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub cause: Cause,
    /// `far-end`, `pbx`, or empty.
    pub by: String,
    /// Concluded, not seen.
    pub inferred: bool,
}

/// One wait of one caller in one queue, and the service that followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Public id.
    pub id: EntryId,
    /// The connector.
    pub connector: ConnectorId,
    /// The queue.
    pub queue: QueueId,
    /// The caller's call.
    pub call: CallId,
    /// The caller's leg.
    pub leg: LegId,
    /// Who waits.
    pub party: Party,
    /// 1 is next; meaningless after they left.
    pub position: u32,
    /// Higher is earlier.
    pub priority: i32,
    /// When the wait began.
    pub joined_at: Timestamp,
    /// A member was rung for them.
    pub offered: bool,
    /// Members being rung for them now, by interface.
    pub offers: BTreeMap<String, Offer>,
    /// How they left; none while they wait.
    pub left: Option<Left>,
    /// The conversation with a member.
    pub service: Option<Service>,
}

/// A member is being rung for a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The leg towards the member.
    pub member_leg: Option<LegId>,
    /// The person behind the seat.
    pub agent: Option<AgentId>,
    /// Since when.
    pub started_at: Timestamp,
}

/// How a caller left a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// How.
    pub exit: QueueExit,
    /// What shows it.
    pub evidence: String,
    /// When.
    pub at: Timestamp,
    /// How long they waited.
    pub waited_ms: u64,
    /// Concluded, not seen.
    pub inferred: bool,
}

/// A conversation between a queue's caller and a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The seat.
    pub interface: String,
    /// The member's leg.
    pub member_leg: Option<LegId>,
    /// The person behind the seat.
    pub agent: Option<AgentId>,
    /// Since when.
    pub started_at: Timestamp,
    /// How long the caller waited.
    pub waited_ms: u64,
    /// How long the member's device rang.
    pub rang_secs: u32,
    /// Its end: when, by whom, milliseconds of talk.
    pub ended: Option<(Timestamp, ServiceEnd, u64)>,
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Public id.
    pub id: QueueId,
    /// The connector.
    pub connector: ConnectorId,
    /// Native name and settings.
    pub settings: QueueSettings,
    /// Its seats by interface.
    pub members: BTreeMap<String, fact::Member>,
    /// Who waits: position and entry, next first.
    pub waiting: BTreeSet<(u32, EntryId)>,
    /// Interfaces by extension.
    by_extension: BTreeMap<String, BTreeSet<String>>,
}

/// An extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Public id.
    pub id: ExtensionId,
    /// The connector.
    pub connector: ConnectorId,
    /// Number, device, name, state.
    pub extension: fact::Extension,
    /// Since when it is as it is.
    pub since: Timestamp,
}

/// An agent and what they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub agent: event::Agent,
    /// What they have chosen.
    pub status: AgentStatus,
    /// Why they are on a break.
    pub status_reason: String,
    /// Since when.
    pub status_since: Timestamp,
    /// What the system makes of them.
    pub state: AgentState,
    /// Since when.
    pub state_since: Timestamp,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Public id.
    pub id: CommandId,
    /// Which connector carries it out.
    pub connector: ConnectorId,
    /// What, e.g. `pause`.
    pub kind: String,
    /// With which arguments.
    pub arguments: Vec<(String, String)>,
    /// The asker's own key.
    pub idempotency_key: Option<String>,
    /// Who asked.
    pub actor: Actor,
    /// The agent it is about.
    pub agent: Option<AgentId>,
    /// The queue it is about.
    pub queue: Option<QueueId>,
    /// After this nobody waits any more.
    pub deadline: Timestamp,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it went to the PBX.
    pub sent_at: Option<Timestamp>,
    /// How it ended; none while it is under way.
    pub ended: Option<CommandResult>,
}

/// How and when a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandResult {
    /// When.
    pub at: Timestamp,
    /// How.
    pub end: CommandEnd,
    /// What was wrong.
    pub problem: Option<Problem>,
    /// JSON text with what the command found; empty when nothing.
    pub detail: String,
}

impl Command {
    /// `accepted`, `sent`, or the word of its end.
    pub fn status(&self) -> &str {
        match (&self.ended, self.sent_at) {
            (Some(result), _) => result.end.code(),
            (None, Some(_)) => "sent",
            (None, None) => "accepted",
        }
    }
}

impl Entry {
    /// Still in the queue.
    pub fn is_waiting(&self) -> bool {
        self.left.is_none()
    }

    /// The conversation, while it goes on.
    pub fn running_service(&self) -> Option<&Service> {
        self.service.as_ref().filter(|service| service.ended.is_none())
    }
}

impl State {
    /// Number of the last event applied: `as_of`.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The latest time any event carried.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Connectors that were ever connected.
    pub fn connectors(&self) -> impl Iterator<Item = &Connector> {
        self.connectors.values()
    }

    /// One connector.
    pub fn connector(&self, id: &ConnectorId) -> Option<&Connector> {
        self.connectors.get(id)
    }

    /// Running calls and the latest [`RECENT_CALLS`] ended ones, by id.
    pub fn calls(&self) -> impl DoubleEndedIterator<Item = &Call> {
        self.calls.values()
    }

    /// One call, running or recently ended.
    pub fn call(&self, id: CallId) -> Option<&Call> {
        self.calls.get(&id)
    }

    /// One leg of a call in the state.
    pub fn leg(&self, id: LegId) -> Option<&Leg> {
        self.legs.get(&id)
    }

    /// The live leg with this native id.
    pub fn live_leg(&self, connector: &ConnectorId, native: &str) -> Option<&Leg> {
        self.legs.get(self.index.get(connector)?.legs.get(native)?)
    }

    /// All live legs of a connector.
    pub fn live_legs(&self, connector: &ConnectorId) -> impl Iterator<Item = &Leg> {
        let ids = self.index.get(connector).into_iter().flat_map(|index| index.legs.values());
        ids.filter_map(|id| self.legs.get(id))
    }

    /// One wait.
    pub fn entry(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// The newest wait of this leg in this queue.
    pub fn entry_of(&self, connector: &ConnectorId, queue: QueueId, leg: LegId) -> Option<&Entry> {
        self.entries.get(self.index.get(connector)?.entries.get(&(queue, leg))?)
    }

    /// All queues, by id.
    pub fn queues(&self) -> impl DoubleEndedIterator<Item = &Queue> {
        self.queues.values()
    }

    /// One queue.
    pub fn queue(&self, id: QueueId) -> Option<&Queue> {
        self.queues.get(&id)
    }

    /// The queue with this native name.
    pub fn queue_named(&self, connector: &ConnectorId, name: &str) -> Option<&Queue> {
        self.queues.get(self.index.get(connector)?.queues.get(name)?)
    }

    /// Who waits in a queue, next first.
    pub fn waiting(&self, queue: QueueId) -> impl Iterator<Item = &Entry> {
        let ids = self.queues.get(&queue).into_iter().flat_map(|queue| &queue.waiting);
        ids.filter_map(|(_, id)| self.entries.get(id))
    }

    /// All extensions, by id.
    pub fn extensions(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.extensions.values()
    }

    /// One extension.
    pub fn extension(&self, id: ExtensionId) -> Option<&Line> {
        self.extensions.get(&id)
    }

    /// The extension with this number.
    pub fn extension_named(&self, connector: &ConnectorId, number: &str) -> Option<&Line> {
        self.extensions.get(self.index.get(connector)?.extensions.get(number)?)
    }

    /// The extension behind this device.
    pub fn extension_at(&self, connector: &ConnectorId, device: &str) -> Option<&Line> {
        self.extensions.get(self.index.get(connector)?.devices.get(device)?.first()?)
    }

    /// All agents, by id.
    pub fn agents(&self) -> impl DoubleEndedIterator<Item = &Person> {
        self.agents.values()
    }

    /// One agent.
    pub fn agent(&self, id: &AgentId) -> Option<&Person> {
        self.agents.get(id)
    }

    /// The agent whose line this is.
    pub fn agent_with(&self, device: &Device) -> Option<&AgentId> {
        self.devices.get(device)
    }

    /// The agent behind a line that is known by extension, by device, or by both.
    pub fn agent_at(
        &self,
        connector: &ConnectorId,
        extension: Option<&str>,
        device: &str,
    ) -> Option<&AgentId> {
        let by_number = |number: &str| {
            self.devices.get(&Device { connector: connector.clone(), extension: number.to_owned() })
        };
        extension
            .and_then(by_number)
            .or_else(|| by_number(&self.extension_at(connector, device)?.extension.number))
    }

    /// The agent in a seat.
    pub fn agent_of_member(
        &self,
        connector: &ConnectorId,
        member: &fact::Member,
    ) -> Option<&AgentId> {
        self.agent_at(connector, member.extension.as_deref(), &member.interface)
    }

    /// The seats of an agent: queue and member.
    pub fn seats(&self, id: &AgentId) -> Vec<(&Queue, &fact::Member)> {
        let Some(person) = self.agents.get(id) else { return Vec::new() };
        let mut found = BTreeMap::new();
        for device in &person.agent.devices {
            let Some(index) = self.index.get(&device.connector) else { continue };
            let line = self.extension_named(&device.connector, &device.extension);
            for queue in index.queues.values().filter_map(|id| self.queues.get(id)) {
                let by_extension = queue.by_extension.get(&device.extension).into_iter().flatten();
                let by_device = line.map(|line| &line.extension.device);
                for interface in by_extension.chain(by_device) {
                    if let Some(member) = queue.members.get(interface)
                        && self.agent_of_member(&device.connector, member) == Some(id)
                    {
                        found.insert((queue.id, interface), (queue, member));
                    }
                }
            }
        }
        found.into_values().collect()
    }

    /// The live legs at an agent's lines.
    pub fn legs_of(&self, id: &AgentId) -> Vec<&Leg> {
        let Some(person) = self.agents.get(id) else { return Vec::new() };
        let mut found = BTreeMap::new();
        for device in &person.agent.devices {
            let Some(index) = self.index.get(&device.connector) else { continue };
            let line = self.extension_named(&device.connector, &device.extension);
            let names = [Some(&device.extension), line.map(|line| &line.extension.device)];
            let ids = names.into_iter().flatten().filter_map(|name| index.lines.get(name));
            for leg in ids.flatten().filter_map(|id| self.legs.get(id)) {
                if self.agent_at(&leg.connector, leg.extension.as_deref(), &leg.device) == Some(id)
                {
                    found.insert(leg.id, leg);
                }
            }
        }
        found.into_values().collect()
    }

    /// Interfaces of queue members that belong to no agent: each is a visible warning.
    pub fn unmapped(&self) -> BTreeSet<(ConnectorId, String)> {
        let mut unmapped = BTreeSet::new();
        for queue in self.queues.values() {
            for member in queue.members.values() {
                if self.agent_of_member(&queue.connector, member).is_none() {
                    unmapped.insert((queue.connector.clone(), member.interface.clone()));
                }
            }
        }
        unmapped
    }

    /// The waits of a leg in its call, oldest first.
    pub fn entries_of(&self, leg: LegId) -> impl Iterator<Item = &Entry> {
        let call = self.legs.get(&leg).and_then(|leg| self.calls.get(&leg.call));
        let ids = call.into_iter().flat_map(|call| &call.entries);
        ids.filter_map(|id| self.entries.get(id)).filter(move |entry| entry.leg == leg)
    }

    /// The legs of a call that have not ended.
    pub fn live_legs_of(&self, call: CallId) -> impl Iterator<Item = &Leg> {
        let ids = self.calls.get(&call).into_iter().flat_map(|call| &call.legs);
        ids.filter_map(|id| self.legs.get(id)).filter(|leg| leg.ended.is_none())
    }

    /// How many live legs, queues, members, extensions and waiting callers a connector has.
    pub(crate) fn sizes(&self, connector: &ConnectorId) -> Sizes {
        let Some(index) = self.index.get(connector) else { return Sizes::default() };
        Sizes {
            legs: index.legs.len(),
            queues: index.queues.len(),
            members: index.members,
            extensions: index.extensions.len(),
            waiting: index.waiting,
        }
    }

    /// What the host will put back after a restart of a connector's PBX.
    pub fn desired(
        &self,
        connector: &ConnectorId,
    ) -> impl Iterator<Item = (&MemberRef, &DesiredMember)> {
        let from =
            (connector.clone(), MemberRef { queue: String::new(), interface: String::new() });
        self.desired
            .range(from..)
            .take_while(move |((at, _), _)| at == connector)
            .map(|((_, member), wish)| (member, wish))
    }

    /// The wish for one seat.
    pub fn desired_member(
        &self,
        connector: &ConnectorId,
        member: &MemberRef,
    ) -> Option<&DesiredMember> {
        self.desired.get(&(connector.clone(), member.clone()))
    }

    /// Commands under way and the latest [`RECENT_COMMANDS`] ended ones, by id.
    pub fn commands(&self) -> impl DoubleEndedIterator<Item = &Command> {
        self.commands.values()
    }

    /// One command.
    pub fn command(&self, id: CommandId) -> Option<&Command> {
        self.commands.get(&id)
    }

    /// Commands accepted and not ended.
    pub fn in_flight(&self) -> impl Iterator<Item = &Command> {
        self.in_flight.iter().filter_map(|id| self.commands.get(id))
    }

    /// The commands a key was used for.
    pub fn commands_with_key(&self, key: &str) -> impl Iterator<Item = &Command> {
        let ids = self.keys.get(key).into_iter().flatten();
        ids.filter_map(|id| self.commands.get(id))
    }
}
