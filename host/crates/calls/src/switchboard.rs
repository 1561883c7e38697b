//! The writing side: decides events from facts, requests and time.
//!
//! Every event goes through [`State::apply`] in the moment it is made, so a decision always sees the effect
//! of the one before, and a state rebuilt from the journal equals this one. What is kept here beside the
//! state (open brackets, deadlines, the memory of ended legs) only ever decides *whether* to make an event.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Actor, AgentId, CommandId, ConnectorId, Event, Fact, Now, QueueId, State, Timestamp,
    event::{Agent, CommandEnd, Party, Problem},
    fact::{Notice, RawParty},
};

/// What the switchboard is told by the config.
pub struct Policy {
    /// Every configured connector.
    pub connectors: BTreeMap<ConnectorId, ConnectorPolicy>,
    /// Phone number rules; they live in the host.
    pub parties: Parties,
}

/// Makes a party of what the network sent.
pub type Parties = Box<dyn Fn(&ConnectorId, &RawParty) -> Party + Send + Sync>;

/// What the config says about one connector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectorPolicy {
    /// `asterisk 0.1.0`: who saw it, in every event.
    pub plugin: String,
    /// What to put back after a restart of the PBX.
    pub restore: Restore,
    /// Exceptions by native queue name.
    pub restore_queues: BTreeMap<String, Restore>,
}

/// What the host puts back after a restart of the PBX.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restore {
    /// Dynamic members that are gone, and pauses that are lost.
    #[default]
    MembersAndPauses,
    /// Nothing: after a restart the PBX's picture is the truth too.
    Nothing,
}

/// Everything that can drive the switchboard except requests and time.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// This connector exists; once for each at start.
    Configured {
        /// Which.
        connector: ConnectorId,
    },
    /// A link it cannot do without is down.
    Disconnected {
        /// Which.
        connector: ConnectorId,
        /// Why.
        reason: String,
    },
    /// A connector saw something.
    Fact {
        /// Which.
        connector: ConnectorId,
        /// When, by the PBX's clock.
        at_pbx: Option<Timestamp>,
        /// What.
        fact: Fact,
    },
    /// A picture of the PBX begins.
    ResyncBegin {
        /// Which.
        connector: ConnectorId,
        /// The connector's number of the picture.
        id: u64,
        /// `all`, `calls`, `queues` or `extensions`.
        scope: String,
    },
    /// One thing in the picture.
    ResyncItem {
        /// Which.
        connector: ConnectorId,
        /// The picture it belongs to.
        id: u64,
        /// The thing, as the fact that would create it.
        fact: Fact,
    },
    /// The picture is complete.
    ResyncEnd {
        /// Which.
        connector: ConnectorId,
        /// The picture.
        id: u64,
    },
    /// The connector wrote the command to its link.
    CommandSent {
        /// Which.
        command: CommandId,
    },
    /// The connector knows how a command ended.
    CommandOutcome {
        /// Which.
        command: CommandId,
        /// How.
        end: CommandEnd,
        /// What was wrong.
        problem: Option<Problem>,
        /// JSON text with what the command found.
        detail: String,
    },
    /// The host itself has something to tell: trap, quarantine, gap, forged input.
    Notice {
        /// About which connector.
        connector: Option<ConnectorId>,
        /// What.
        notice: Notice,
    },
}

/// What the API and the config ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Create or replace an agent.
    PutAgent(Agent),
    /// Forget an agent.
    RemoveAgent(AgentId),
    /// One command for one connector.
    Command {
        /// Who carries it out.
        connector: ConnectorId,
        /// `probe`, `resync`, `member-add`, `member-remove`, `pause`, `unpause`.
        kind: String,
        /// Its arguments by name.
        arguments: Vec<(String, String)>,
        /// The asker's key: the same again is not done twice.
        idempotency_key: Option<String>,
        /// How long anybody waits for it.
        timeout: Duration,
    },
    /// Pause a person, in one queue or in all.
    AgentPause {
        /// Who.
        agent: AgentId,
        /// Where; none: everywhere.
        queue: Option<QueueId>,
        /// Why.
        reason: String,
        /// As in [`Request::Command`].
        idempotency_key: Option<String>,
        /// As in [`Request::Command`].
        timeout: Duration,
    },
    /// End a person's pause, in one queue or in all.
    AgentUnpause {
        /// Who.
        agent: AgentId,
        /// Where; none: everywhere.
        queue: Option<QueueId>,
        /// As in [`Request::Command`].
        idempotency_key: Option<String>,
        /// As in [`Request::Command`].
        timeout: Duration,
    },
    /// Give a person a seat in queues.
    AgentLogin {
        /// Who.
        agent: AgentId,
        /// Where.
        queues: Vec<QueueId>,
        /// Higher is asked later.
        penalty: u32,
        /// As in [`Request::Command`].
        idempotency_key: Option<String>,
        /// As in [`Request::Command`].
        timeout: Duration,
    },
    /// Take a person's seats away.
    AgentLogout {
        /// Who.
        agent: AgentId,
        /// Where; empty: everywhere.
        queues: Vec<QueueId>,
        /// As in [`Request::Command`].
        idempotency_key: Option<String>,
        /// As in [`Request::Command`].
        timeout: Duration,
    },
}

/// A request was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The commands it became; empty when there was nothing for a PBX to do.
    pub commands: Vec<CommandId>,
    /// Answer when this event is committed.
    pub seq: u64,
    /// The idempotency key was known: these are the commands of the first time.
    pub repeated: bool,
}

/// A request was refused, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such thing.
    #[error("there is no {what}")]
    NotFound {
        /// E.g. `agent "anna"`.
        what: String,
    },
    /// It contradicts what is.
    #[error("{message}; {fix}")]
    Conflict {
        /// What stands against it.
        message: String,
        /// What to do.
        fix: String,
    },
    /// It makes no sense.
    #[error("{what}: {message}")]
    Invalid {
        /// The field or argument.
        what: String,
        /// What is wrong with it.
        message: String,
    },
    /// Not now.
    #[error("{message}; {fix}")]
    Unavailable {
        /// What is missing.
        message: String,
        /// What to do.
        fix: String,
    },
    /// Too many commands are under way.
    #[error(
        "{in_flight} commands are under way, the most there may be; wait until some have ended"
    )]
    TooMany {
        /// How many.
        in_flight: usize,
    },
}

/// What should happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write it to the journal; [`Switchboard::state`] has it already.
    Event(Event),
    /// Hand a command to its connector.
    Deliver {
        /// Who carries it out.
        connector: ConnectorId,
        /// Which.
        command: CommandId,
        /// What.
        kind: String,
        /// With which arguments.
        arguments: Vec<(String, String)>,
        /// Monotonic: after this nobody waits.
        deadline: Duration,
        /// Only when this event is committed.
        after: u64,
    },
}

/// The one owner of call state; see the module's documentation.
pub struct Switchboard {
    policy: Policy,
    state: State,
    outputs: std::collections::VecDeque<Output>,
}

impl Switchboard {
    /// With an empty state, or one rebuilt from the journal.
    pub fn new(policy: Policy, state: State) -> Self {
        Self { policy, state, outputs: std::collections::VecDeque::new() }
    }

    /// Takes what happened.
    pub fn handle(&mut self, _input: Input, _now: Now) {}

    /// Takes what the API or the config wants.
    pub fn request(
        &mut self,
        _request: Request,
        _actor: Actor,
        _now: Now,
    ) -> Result<Accepted, Refusal> {
        Ok(Accepted { commands: Vec::new(), seq: self.state.seq(), repeated: false })
    }

    /// The next thing that should happen.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Switchboard::handle_timeout`] is due, by the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    /// Fires what is due: deadlines of commands, ends of wrap-up, held-back notices.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// What is known, all events made so far included.
    pub fn state(&self) -> &State {
        &self.state
    }
}
