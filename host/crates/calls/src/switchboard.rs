//! The writing side: decides events from facts, requests and time.
//!
//! Every event goes through [`State::apply`] in the moment it is made, so a decision always sees the effect
//! of the one before, and a state rebuilt from the journal equals this one. What is kept here beside the
//! state (open brackets, deadlines, the memory of ended legs) only ever decides *whether* to make an event.

mod agents;
mod commands;
mod legs;
mod notices;
mod offers;
mod queues;
mod resync;
mod seats;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use self::{legs::EndedLegs, notices::Throttle, resync::Bracket};
use crate::{
    Actor, AgentId, Body, CallId, CommandId, ConnectorId, EntryId, Event, Fact, LegId, Now,
    QueueId, State, Timestamp,
    event::{About, Agent, CommandEnd, Held, HookWord, Party, Problem},
    fact::{MemberRef, NativeLeg, Notice, Pbx, RawParty},
};

/// What the switchboard is told by the config.
pub struct Policy {
    /// Every configured connector. What the journal holds of others ends with the first input.
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
    /// Where its PBX is, e.g. `pbx.example.org:5038`: what tells two PBXs apart that have no name of their own.
    pub place: String,
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
    /// This connector exists; once for each at start. The first input of all ends what the journal left open.
    Configured {
        /// Which.
        connector: ConnectorId,
    },
    /// This version of its plugin sees for the connector from now on: it was swapped, or rolled back.
    Runs {
        /// Which.
        connector: ConnectorId,
        /// `asterisk 0.1.1`
        plugin: String,
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
    /// A hook said something about a call.
    Decided {
        /// Which.
        call: CallId,
        /// About which of its legs.
        leg: Option<LegId>,
        /// What.
        word: HookWord,
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
    /// The PBX handed a caller over: the hooks decide.
    Offered(Offered),
    /// The leg takes no instructions any more.
    Released {
        /// Which.
        leg: LegId,
        /// Its call, now.
        call: CallId,
        /// Why, in the PBX's words, or `ended`.
        reason: String,
    },
    /// The caller pressed a key. It is no event: keys are nobody's business but the treatment's that asked.
    Key {
        /// Which leg.
        leg: LegId,
        /// One of 0-9, *, #, A-D.
        key: String,
        /// How long it was pressed.
        held_ms: u32,
    },
}

/// A caller whom the PBX handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The call.
    pub call: CallId,
    /// The caller's leg.
    pub leg: LegId,
    /// The PBX's id of it, for instructions.
    pub native: NativeLeg,
    /// Whose it is.
    pub connector: ConnectorId,
    /// Who calls.
    pub caller: Party,
    /// What the PBX said with it.
    pub held: Held,
}

/// The one owner of call state; see the module's documentation.
pub struct Switchboard {
    policy: Policy,
    state: State,
    outputs: VecDeque<Output>,
    now: Now,
    /// What the journal left under way was dealt with.
    woken: bool,
    sessions: BTreeMap<ConnectorId, Session>,
    deadlines: BTreeSet<(Duration, CommandId)>,
    /// Whose rest after a queue's call ends when.
    wrap_ups: BTreeMap<AgentId, Duration>,
    /// Waits in which an agent is rung or talks.
    engaged: BTreeMap<AgentId, BTreeSet<EntryId>>,
    /// Live legs that have passed their call on.
    passed_on: BTreeSet<LegId>,
    /// How often the PBX has handed over legs that live.
    at_desk: BTreeMap<LegId, u32>,
    /// Interfaces a notice was given for.
    unmapped_told: BTreeSet<(ConnectorId, String)>,
    /// Agents whose status and state must be looked at again.
    dirty: BTreeSet<AgentId>,
    throttle: Throttle,
}

/// What is known of one connector beside the state.
#[derive(Default)]
struct Session {
    /// As reported since the link is up.
    pbx: Option<Pbx>,
    /// A picture was completed since the link is up.
    resynced: bool,
    /// A picture of the queues was completed, and the wishes were not compared with it yet.
    wishes_wait: bool,
    /// The PBX has restarted and the wishes were not compared yet.
    restarted: bool,
    /// What was to be put back when sight was lost, and was not compared with a picture yet.
    unfinished: BTreeSet<MemberRef>,
    bracket: Option<Bracket>,
    ended: EndedLegs,
    /// Facts about legs that were not seen yet.
    early: BTreeMap<String, Vec<(Option<Timestamp>, Fact)>>,
    /// Limits a notice was given for.
    full_told: BTreeSet<&'static str>,
    to_restore: BTreeSet<MemberRef>,
    restoring: BTreeMap<CommandId, MemberRef>,
}

/// Where a fact comes from.
#[derive(Clone, Debug)]
struct Sight {
    connector: ConnectorId,
    at_pbx: Option<Timestamp>,
    inferred: bool,
}

impl Sight {
    fn concluded(&self) -> Self {
        Self { inferred: true, ..self.clone() }
    }
}

impl Switchboard {
    /// With an empty state, or one rebuilt from the journal.
    pub fn new(policy: Policy, state: State) -> Self {
        let mut switchboard = Self {
            policy,
            outputs: VecDeque::new(),
            now: Now { monotonic: Duration::ZERO, wall: state.at() },
            woken: false,
            sessions: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            wrap_ups: BTreeMap::new(),
            engaged: BTreeMap::new(),
            passed_on: BTreeSet::new(),
            at_desk: BTreeMap::new(),
            unmapped_told: state.unmapped(),
            dirty: BTreeSet::new(),
            throttle: Throttle::default(),
            state,
        };
        switchboard.remember();
        switchboard
    }

    /// Takes what happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        self.begin(now);
        match input {
            Input::Configured { connector } => {
                self.session(&connector);
            }
            Input::Runs { connector, plugin } => {
                if let Some(policy) = self.policy.connectors.get_mut(&connector) {
                    policy.plugin = plugin;
                }
            }
            Input::Disconnected { connector, reason } => self.disconnected(&connector, reason),
            Input::Fact { connector, at_pbx, fact } => {
                let sight = Sight { connector, at_pbx, inferred: false };
                self.touch(&sight.connector, &fact);
                self.fact(&sight, fact);
            }
            Input::ResyncBegin { connector, id, scope } => self.resync_begin(connector, id, scope),
            Input::ResyncItem { connector, id, fact } => {
                self.resync_item(connector, id, fact);
                // Agents are looked at when the picture is complete.
                return;
            }
            Input::ResyncEnd { connector, id } => self.resync_end(connector, id),
            Input::CommandSent { command } => self.command_sent(command),
            Input::CommandOutcome { command, end, problem, detail } => {
                self.command_outcome(command, end, problem, detail);
            }
            Input::Decided { call, leg, word } => self.decided(call, leg, word),
            Input::Notice { connector, notice } => self.notice(connector, Actor::Host, notice),
        }
        self.settle();
    }

    /// Takes what the API or the config wants.
    pub fn request(
        &mut self,
        request: Request,
        actor: Actor,
        now: Now,
    ) -> Result<Accepted, Refusal> {
        self.begin(now);
        let answer = self.carry_out(request, actor);
        self.settle();
        // What follows from it belongs to it: the answer waits for all of it.
        answer.map(|accepted| Accepted { seq: self.state.seq(), ..accepted })
    }

    /// The config changed: this connector exists from now on, or its rules are others.
    pub fn configure(&mut self, connector: ConnectorId, policy: ConnectorPolicy, now: Now) {
        self.begin(now);
        self.session(&connector);
        self.policy.connectors.insert(connector, policy);
        self.settle();
    }

    /// The config changed: this connector does not exist any more, and what is known of it ends.
    pub fn forget(&mut self, connector: &ConnectorId, now: Now) {
        self.begin(now);
        if self.policy.connectors.remove(connector).is_some() {
            self.forget_connector(connector);
            self.sessions.remove(connector);
        }
        self.settle();
    }

    /// The next thing that should happen.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Switchboard::handle_timeout`] is due, by the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let wrap_up = self.wrap_ups.values().min().copied();
        [deadline, wrap_up, self.throttle.due()].into_iter().flatten().min()
    }

    /// Fires what is due: deadlines of commands, ends of wrap-up, held-back notices.
    pub fn handle_timeout(&mut self, now: Now) {
        self.begin(now);
        self.fire_deadlines();
        let done = self.wrap_ups.iter().filter(|(_, at)| **at <= now.monotonic);
        let done: Vec<AgentId> = done.map(|(agent, _)| agent.clone()).collect();
        for agent in done {
            self.wrap_ups.remove(&agent);
            self.dirty.insert(agent);
        }
        self.flush_notices();
        self.settle();
    }

    /// What is known, all events made so far included.
    pub fn state(&self) -> &State {
        &self.state
    }

    fn begin(&mut self, now: Now) {
        self.now = now;
        if !std::mem::replace(&mut self.woken, true) {
            self.disconnect_all();
            self.end_what_the_journal_left();
            self.resume_wrap_ups();
            self.forget_unconfigured();
        }
    }

    fn carry_out(&mut self, request: Request, actor: Actor) -> Result<Accepted, Refusal> {
        match request {
            Request::PutAgent(agent) => self.put_agent(agent, actor),
            Request::RemoveAgent(agent) => self.remove_agent(agent, actor),
            other => self.command_request(other, actor),
        }
    }

    fn fact(&mut self, sight: &Sight, fact: Fact) {
        match fact {
            Fact::Pbx(pbx) => self.pbx(&sight.connector, pbx),
            Fact::LegStarted(leg) => self.leg_started(sight, leg),
            Fact::LegState { leg, state } => self.leg_state(sight, leg, state),
            Fact::LegParty { leg, party } => self.leg_party(sight, leg, party),
            Fact::LegPeers { leg, peers } => self.leg_peers(sight, leg, peers),
            Fact::LegEnded { leg, cause, ended_by } => {
                self.leg_ended(sight, &leg, cause, ended_by);
            }
            Fact::LegOffered { .. } => self.leg_offered(sight, fact),
            Fact::LegReleased { leg, reason } => self.leg_released(sight, &leg, reason),
            Fact::LegKey { leg, key, held_ms } => self.leg_key(sight, &leg, key, held_ms),
            Fact::Transfer { kind, transferer, transferee, target, outcome } => {
                self.transfer(sight, kind, &transferer, transferee.as_deref(), target, outcome);
            }
            Fact::Queue(settings) => self.queue(sight, settings),
            Fact::QueueRemoved { name } => self.queue_removed(sight, &name),
            Fact::Member(member) => self.member(sight, member),
            Fact::MemberRemoved(member) => self.member_removed(sight, member),
            Fact::CallerJoined(caller) => self.caller_joined(sight, caller),
            Fact::CallerLeft { queue, leg, exit, evidence } => {
                self.caller_left(sight, queue, leg, exit, evidence);
            }
            Fact::OfferStarted { .. } => self.offer_started(sight, fact),
            Fact::OfferEnded { queue, leg, interface, outcome, rang_ms } => {
                self.offer_ended(sight, &queue, &leg, interface, outcome, rang_ms);
            }
            Fact::ServiceStarted { .. } => self.service_started(sight, fact),
            Fact::ServiceEnded { queue, leg, ended_by, talked_secs, .. } => {
                self.service_ended(sight, &queue, &leg, ended_by, talked_secs);
            }
            Fact::Extension(extension) => self.extension(sight, extension),
            Fact::ExtensionRemoved { number } => self.extension_removed(sight, &number),
            Fact::Notice(notice) => {
                let actor = self.pbx_actor(&sight.connector);
                self.notice(Some(sight.connector.clone()), actor, notice);
            }
            Fact::Other { kind, leg, facts } => self.other(sight, kind, leg.as_deref(), facts),
        }
    }

    fn session(&mut self, connector: &ConnectorId) -> &mut Session {
        self.sessions.entry(connector.clone()).or_default()
    }

    fn pbx_actor(&self, connector: &ConnectorId) -> Actor {
        let policy = self.policy.connectors.get(connector);
        Actor::Pbx { plugin: policy.map(|policy| policy.plugin.clone()).unwrap_or_default() }
    }

    /// The number of the event that comes next: what is created by it takes its id from it.
    fn next(&self) -> u64 {
        self.state.seq() + 1
    }

    /// Makes an event of something seen.
    fn saw(&mut self, sight: &Sight, about: About, body: Body) {
        let actor = self.pbx_actor(&sight.connector);
        let connector = Some(sight.connector.clone());
        self.emit(connector, sight.at_pbx, sight.inferred, actor, about, body);
    }

    /// Makes an event of something the host itself knows.
    fn know(&mut self, connector: Option<&ConnectorId>, about: About, body: Body) {
        self.emit(connector.cloned(), None, false, Actor::Host, about, body);
    }

    fn emit(
        &mut self,
        connector: Option<ConnectorId>,
        at_pbx: Option<Timestamp>,
        inferred: bool,
        actor: Actor,
        about: About,
        body: Body,
    ) {
        let derived = matches!(body, Body::AgentStatus { .. } | Body::AgentState { .. });
        if let Some(agent) = about.agent.as_ref().filter(|_| !derived) {
            self.dirty.insert(agent.clone());
            if let Some(entry) = about.entry
                && matches!(body, Body::OfferStarted { .. } | Body::ServiceStarted { .. })
            {
                self.engaged.entry(agent.clone()).or_default().insert(entry);
            }
        }
        let before = about.call.and_then(|id| self.state.call(id)).map_or(0, |call| call.call_seq);
        let event = Event {
            seq: self.next(),
            call_seq: about.call.map(|_| before + 1),
            at: self.now.wall,
            at_pbx,
            connector,
            about,
            inferred,
            actor,
            body,
        };
        self.state.apply(&event);
        self.outputs.push_back(Output::Event(event));
    }
}
