//! What happened: the closed list of events that journal, REST and streams are made of.

use std::collections::BTreeMap;

use crate::{
    AgentId, CallId, CommandId, ConnectorId, EntryId, ExtensionId, LegId, QueueId, Timestamp,
    code::open_code,
    fact::{
        Extension, LegDirection, LegState, Member, MemberRef, Notice, OfferOutcome, Pbx,
        Presentation, QueueExit, QueueSettings, RawCause, ServiceEnd,
    },
};

/// One event. `seq` is dense over the journal, `call_seq` dense over the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// 1 is the first of the journal.
    pub seq: u64,
    /// 1 is the first of the call; none for events of no call.
    pub call_seq: Option<u64>,
    /// When the host saw it.
    pub at: Timestamp,
    /// When the PBX says it was.
    pub at_pbx: Option<Timestamp>,
    /// Where it was seen; none for what only the host knows.
    pub connector: Option<ConnectorId>,
    /// Which things it is about.
    pub about: About,
    /// Not seen, but concluded from a picture of the PBX, or from an end of sight.
    pub inferred: bool,
    /// Who made it happen.
    pub actor: Actor,
    /// What happened.
    pub body: Body,
}

/// The things an event is about; what filters look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The call.
    pub call: Option<CallId>,
    /// The leg.
    pub leg: Option<LegId>,
    /// The agent.
    pub agent: Option<AgentId>,
    /// The queue.
    pub queue: Option<QueueId>,
    /// The caller's wait.
    pub entry: Option<EntryId>,
    /// The extension.
    pub extension: Option<ExtensionId>,
    /// The command that caused it, or whose own event it is.
    pub command: Option<CommandId>,
}

/// Who made something happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The PBX or somebody at it, seen through this plugin.
    Pbx {
        /// `name version` of the plugin that saw it.
        plugin: String,
    },
    /// The host itself.
    Host,
    /// An API token, by its name.
    Token(String),
    /// The config file.
    Config,
}

/// A party as everybody may see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// As the network sent it.
    pub raw: String,
    /// E.164 with `+`, when `raw` is a valid number by the connector's country.
    pub e164: Option<String>,
    /// The extension, when the party is one of ours.
    pub extension: Option<String>,
    /// Display name.
    pub name: Option<String>,
    /// May the number be shown.
    pub presentation: Presentation,
}

open_code! {
    /// How a call as a whole went.
    Outcome {
        /// Two people talked.
        Answered = "answered",
        /// The other side was busy.
        Busy = "busy",
        /// It rang and nobody came.
        NoAnswer = "no-answer",
        /// The caller gave up first.
        Cancelled = "cancelled",
        /// Refused by the other side.
        Declined = "declined",
        /// No such number, or no device there.
        Unreachable = "unreachable",
        /// Anything else.
        Failed = "failed",
    }
}

open_code! {
    /// Normalised cause words; the raw Q.850, SIP and text stay beside them.
    CauseCode {
        /// 16.
        Normal = "normal",
        /// 17.
        Busy = "busy",
        /// 18, 19.
        NoAnswer = "no-answer",
        /// 21.
        Rejected = "rejected",
        /// 20, 27.
        Unreachable = "unreachable",
        /// 1, 28.
        InvalidNumber = "invalid-number",
        /// 34, 38, 41, 42, 44.
        Congestion = "congestion",
        /// No Q.850 value.
        Cancelled = "cancelled",
        /// 26.
        AnsweredElsewhere = "answered-elsewhere",
        /// 55, 57.
        NotAllowed = "not-allowed",
        /// 58, 65, 79, 88.
        MediaFailed = "media-failed",
        /// Its end was not seen.
        Lost = "lost",
        /// None of these.
        Unknown = "unknown",
    }
}

/// A cause: our word, and what the PBX said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Our word.
    pub code: CauseCode,
    /// The PBX's.
    pub raw: RawCause,
}

open_code! {
    /// What a person has chosen.
    AgentStatus {
        /// In no queue.
        LoggedOut = "logged-out",
        /// In at least one queue and not paused there.
        Available = "available",
        /// Paused in every queue.
        OnBreak = "on-break",
    }
}

open_code! {
    /// What the system makes of an agent now.
    AgentState {
        /// Nothing to do.
        Idle = "idle",
        /// A queue offers them a caller.
        Offered = "offered",
        /// In conversation with a queue's caller.
        Talking = "talking",
        /// After a queue's call.
        WrapUp = "wrap-up",
        /// On the phone outside of queues.
        Busy = "busy",
        /// No device reachable.
        Unreachable = "unreachable",
    }
}

/// A person who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Chosen by whoever created them.
    pub id: AgentId,
    /// Display name.
    pub name: String,
    /// Ids elsewhere, e.g. `rocketchat_user_id`, `rocketchat_username`. No two agents share a value of a key.
    pub external: BTreeMap<String, String>,
    /// Their lines. No two agents share one.
    pub devices: Vec<Device>,
    /// Set by the config file: read-only over REST.
    pub from_config: bool,
}

/// An agent's line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Device {
    /// The connector.
    pub connector: ConnectorId,
    /// Its extension.
    pub extension: String,
}

open_code! {
    /// How a command ended.
    CommandEnd {
        /// It is so.
        Done = "done",
        /// The PBX refused.
        Failed = "failed",
        /// It makes no sense.
        Rejected = "rejected",
        /// Nobody answered in time.
        TimedOut = "timed-out",
        /// It was sent, and the link broke before the answer.
        Unknown = "unknown",
    }
}

open_code! {
    /// Who has a word on where a call goes.
    Hook {
        /// Decides where it goes.
        Router = "router",
        /// Comforts the caller.
        WaitTreatment = "wait-treatment",
        /// The host itself: emergency numbers, fallbacks, limits.
        Host = "host",
    }
}

open_code! {
    /// What came of asking a hook.
    HookOutcome {
        /// It has no opinion.
        Passed = "passed",
        /// Its word counts.
        Decided = "decided",
        /// It asked the host to look something up first.
        Needs = "needs",
        /// It crashed.
        Trapped = "trapped",
        /// It took longer than it may.
        Late = "late",
        /// It said that it cannot answer.
        Refused = "refused",
        /// It said something that cannot be.
        Nonsense = "nonsense",
        /// Nobody was asked, e.g. an emergency number.
        Bypassed = "bypassed",
        /// The host's own rule took its place.
        Fallback = "fallback",
        /// The caller was gone before the answer.
        Cancelled = "cancelled",
    }
}

/// A hook's word on a call, and what it was said on: what `explain` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookWord {
    /// What kind of hook.
    pub hook: Hook,
    /// The configured instance, e.g. `vip`; empty for the host itself.
    pub instance: String,
    /// `skills 0.1.0`; empty for the host itself.
    pub plugin: String,
    /// Which time the call was decided.
    pub attempt: u32,
    /// What came of it.
    pub outcome: HookOutcome,
    /// What shall happen, e.g. `queue:vip`; empty when nothing.
    pub verdict: String,
    /// One sentence: the hook's own, or what was wrong with it.
    pub reason: String,
    /// What it was said on, as far as it is worth knowing.
    pub facts: Vec<(String, String)>,
    /// How long it took, lookups included.
    pub took_us: u64,
}

/// An error as everybody may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable kebab-case code.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// May the same be tried again.
    pub retryable: bool,
}

/// What happened. The comment names the event's type on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are documented where their types are")]
pub enum Body {
    /// `connector.connected`: logged in; what follows is seen live.
    ConnectorConnected { pbx: Pbx, place: String },
    /// `connector.pbx-changed`: still connected, and more or else is known of the PBX now.
    PbxChanged { pbx: Pbx },
    /// `connector.disconnected`: from here on nothing is seen.
    ConnectorDisconnected { reason: String },
    /// `connector.observation-gap`: nothing was seen between the two.
    ObservationGap { from: Timestamp, to: Timestamp },
    /// `connector.resynced`: the state equals the PBX's picture; `corrections` events were inferred.
    Resynced { scope: String, corrections: u64 },

    /// `extension.changed`: new, or anything of it changed.
    ExtensionChanged(Extension),
    /// `extension.removed`
    ExtensionRemoved { number: String },

    /// `queue.changed`: new, or its settings changed.
    QueueChanged(QueueSettings),
    /// `queue.removed`
    QueueRemoved { name: String },
    /// `member.added`
    MemberAdded(Member),
    /// `member.changed`: state, penalty, name, counters.
    MemberChanged(Member),
    /// `member.paused`
    MemberPaused(Member),
    /// `member.unpaused`
    MemberUnpaused(Member),
    /// `member.removed`
    MemberRemoved(MemberRef),
    /// `member.desired`: what the host will put back after a restart of the PBX; none: nothing.
    MemberDesired { member: MemberRef, wish: Option<DesiredMember> },

    /// `caller.joined`
    CallerJoined { position: u32, priority: i32, joined_at: Timestamp, party: Party },
    /// `caller.moved`: another position.
    CallerMoved { position: u32 },
    /// `caller.left`: exactly once per entry. `offered`: a member was rung for them.
    CallerLeft { exit: QueueExit, evidence: String, waited_ms: u64, offered: bool },
    /// `offer.started`
    OfferStarted { interface: String, member_leg: Option<LegId> },
    /// `offer.ended`
    OfferEnded { interface: String, outcome: OfferOutcome, rang_ms: u32 },
    /// `service.started`
    ServiceStarted { interface: String, member_leg: Option<LegId>, waited_ms: u64, rang_secs: u32 },
    /// `service.ended`
    ServiceEnded { interface: String, ended_by: ServiceEnd, talked_ms: u64 },

    /// `call.started`
    CallStarted { caller: Party, dialled: String },
    /// `call.merged`: the last event of this call; it goes on as `into`.
    CallMerged { into: CallId },
    /// `call.ended`: the last event of this call.
    CallEnded { outcome: Outcome, cause: Cause },
    /// `leg.started`
    LegStarted {
        native: String,
        direction: LegDirection,
        device: String,
        extension: Option<String>,
        state: LegState,
        party: Party,
        dialled: String,
    },
    /// `leg.moved`: a leg of a merged call now belongs to this call.
    LegMoved { from: CallId },
    /// `leg.alerting`, `leg.answered`, `leg.held`, `leg.resumed`
    LegState { state: LegState },
    /// `leg.identified`
    LegParty { party: Party },
    /// `leg.connected`, or `leg.disconnected` when `with` is empty.
    LegPeers { with: Vec<LegId> },
    /// `leg.ended`: exactly once per leg.
    LegEnded { cause: Cause, ended_by: String },
    /// `leg.offered`: the PBX waits for word on where it goes. `attempt`: the how-manieth time.
    LegOffered(Held),
    /// `leg.released`: it does not wait any more.
    LegReleased { reason: String },
    /// `call.decided`: a hook's word on it.
    CallDecided(HookWord),
    /// `call.transferred`
    Transferred {
        kind: String,
        transferer: LegId,
        transferee: Option<LegId>,
        target: String,
        outcome: String,
    },

    /// `agent.changed`: new, or their data changed.
    AgentChanged(Agent),
    /// `agent.removed`
    AgentRemoved,
    /// `agent.status`
    AgentStatus { status: AgentStatus, reason: String },
    /// `agent.state`
    AgentState { state: AgentState },

    /// `command.accepted`
    CommandAccepted {
        kind: String,
        arguments: Vec<(String, String)>,
        idempotency_key: Option<String>,
        deadline: Timestamp,
    },
    /// `command.sent`
    CommandSent,
    /// `command.ended`: exactly once per command.
    CommandEnded { end: CommandEnd, problem: Option<Problem>, detail: String },

    /// `notice`
    Notice(Notice),
    /// `other`: a fact this version has no word for.
    Other { kind: String, facts: Vec<(String, String)> },
}

/// A leg that waits for word on where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What the dialplan calls the way in.
    pub entry: String,
    /// The number the caller dialled.
    pub dialled: String,
    /// Empty for a new call; else what it comes back from: `queue`, `extension`.
    pub returned_from: String,
    /// How that ended; empty for a new call.
    pub outcome: String,
    /// 1 for a new call.
    pub attempt: u32,
    /// What else is known, e.g. `language`, `variable.NAME`.
    pub facts: Vec<(String, String)>,
}

/// A seat the host will put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredMember {
    /// As the queue needs it to add the seat.
    pub state_interface: String,
    /// Display name.
    pub name: String,
    /// Higher is asked later.
    pub penalty: u32,
    /// Can be added again: dynamic, not from the PBX's configuration.
    pub dynamic: bool,
    /// Paused, and why.
    pub paused: Option<String>,
}
