//! `type` and `data` of an event.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Agent, Attribute, Extension, Member, Notice, Party, Pbx, Problem, QueueSettings, Time,
};

macro_rules! bodies {
    ($($(#[$meta:meta])* $variant:ident = $word:literal $({ $($(#[$fmeta:meta])* $field:ident : $type:ty,)* })? $(( $inner:ty ))?,)*) => {
        /// What happened, with what is to be known about it. More types may come: ignore what you do not know.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
        #[serde(tag = "type", content = "data")]
        #[schema(as = EventBody)]
        #[expect(missing_docs, reason = "fields are named as in the core, which documents them")]
        pub enum Body {
            $($(#[$meta])* #[serde(rename = $word)] $variant $({ $($(#[$fmeta])* $field: $type,)* })? $(( $inner ))?,)*
        }

        /// Every `type` there is.
        pub const TYPES: &[&str] = &[$($word,)*];
    };
}

bodies! {
    /// Logged in to the PBX; what follows is seen live.
    ConnectorConnected = "connector.connected" {
        pbx: Pbx,
        /// Where the config has it; older events do not say.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        place: String,
    },
    /// Still connected, and more or else is known of the PBX now.
    PbxChanged = "connector.pbx-changed" { pbx: Pbx, },
    /// From here on nothing is seen.
    ConnectorDisconnected = "connector.disconnected" { reason: String, },
    /// Nothing was seen between the two.
    ObservationGap = "connector.observation-gap" { from: Time, to: Time, },
    /// The state equals the PBX's picture of `scope`; `corrections` events were inferred.
    Resynced = "connector.resynced" { scope: String, corrections: u64, },

    /// New, or something of it changed.
    ExtensionChanged = "extension.changed" (Extension),
    /// Gone.
    ExtensionRemoved = "extension.removed" { number: String, },

    /// New, or its settings changed.
    QueueChanged = "queue.changed" (QueueSettings),
    /// Gone.
    QueueRemoved = "queue.removed" { name: String, },
    /// A new seat.
    MemberAdded = "member.added" (Member),
    /// State, penalty, name or counters of a seat.
    MemberChanged = "member.changed" (Member),
    /// Gets no offers.
    MemberPaused = "member.paused" (Member),
    /// Gets offers again.
    MemberUnpaused = "member.unpaused" (Member),
    /// The seat is gone.
    MemberRemoved = "member.removed" { queue: String, interface: String, },
    /// What Jackfield puts back after a restart of the PBX; without `wish`: nothing.
    MemberDesired = "member.desired" {
        queue: String,
        interface: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        wish: Option<Wish>,
    },

    /// A caller began to wait.
    CallerJoined = "caller.joined" { position: u32, priority: i32, joined_at: Time, party: Party, },
    /// A caller has another position.
    CallerMoved = "caller.moved" { position: u32, },
    /// A caller waits no more: once per entry. `exit` is `answered`, `abandoned`, `timed-out`, `full`, `join-empty`,
    /// `leave-empty`, `pressed-key`, `redirected`, `withdrawn`, `hung-up-by-pbx`, `continued` or `unknown`.
    CallerLeft = "caller.left" { exit: String, evidence: String, waited_ms: u64, offered: bool, },
    /// A member is rung for a caller.
    OfferStarted = "offer.started" {
        interface: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        member_leg: Option<String>,
    },
    /// An offer ended without conversation: `no-answer`, `busy`, `declined`, `cancelled` or `unavailable`.
    OfferEnded = "offer.ended" { interface: String, outcome: String, rang_ms: u32, },
    /// A member talks with the caller.
    ServiceStarted = "service.started" {
        interface: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        member_leg: Option<String>,
        waited_ms: u64,
        rang_secs: u32,
    },
    /// The conversation ended, by `caller`, `member`, `transfer` or `unknown`.
    ServiceEnded = "service.ended" { interface: String, ended_by: String, talked_ms: u64, },

    /// The first event of a call.
    CallStarted = "call.started" { caller: Party, dialled: String, },
    /// The last event of this call: it goes on as `into`.
    CallMerged = "call.merged" { into: String, },
    /// The last event of this call.
    CallEnded = "call.ended" { outcome: String, },
    /// A device or trunk takes part in the call.
    LegStarted = "leg.started" {
        native: String,
        direction: Direction,
        device: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        extension: Option<String>,
        state: String,
        party: Party,
        dialled: String,
    },
    /// A leg of a merged call belongs to this call now.
    LegMoved = "leg.moved" { from: String, },
    /// The far end rings.
    LegAlerting = "leg.alerting" {},
    /// The far end took the call.
    LegAnswered = "leg.answered" {},
    /// The far end pressed hold.
    LegHeld = "leg.held" {},
    /// The far end came back from hold.
    LegResumed = "leg.resumed" {},
    /// A state this version has no word for.
    LegState = "leg.state" { state: String, },
    /// The far end has another name or number.
    LegIdentified = "leg.identified" { party: Party, },
    /// Can talk with these legs now.
    LegConnected = "leg.connected" { with: Vec<String>, },
    /// Can talk with nobody now.
    LegDisconnected = "leg.disconnected" {},
    /// The leg is over: once per leg.
    LegEnded = "leg.ended" { ended_by: String, },
    /// The PBX waits for word on where this leg goes.
    LegOffered = "leg.offered" {
        /// What the dialplan calls the way in.
        entry: String,
        dialled: String,
        /// Empty for a new call; else `queue` or `extension`.
        returned_from: String,
        /// How that ended; empty for a new call.
        outcome: String,
        /// The how-manieth time.
        attempt: u32,
        facts: Vec<Attribute>,
    },
    /// It does not wait any more.
    LegReleased = "leg.released" { reason: String, },
    /// A hook, or the host in its place, said where the call goes, or why it does not say.
    CallDecided = "call.decided" {
        /// `router`, `wait-treatment` or `host`.
        hook: String,
        /// The configured instance; empty for the host.
        instance: String,
        /// Name and version; empty for the host.
        plugin: String,
        /// The how-manieth decision on this call.
        attempt: u32,
        /// `passed`, `decided`, `needs`, `trapped`, `late`, `refused`, `nonsense`, `bypassed`, `fallback` or `cancelled`.
        outcome: String,
        /// What shall happen, e.g. `queue:vip`; empty: nothing.
        verdict: String,
        /// One sentence.
        reason: String,
        /// What it was said on.
        facts: Vec<Attribute>,
        took_us: u64,
    },
    /// Somebody passed the call on.
    Transferred = "call.transferred" {
        kind: String,
        transferer: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        transferee: Option<String>,
        target: String,
        outcome: String,
    },

    /// New, or their data changed.
    AgentChanged = "agent.changed" (Agent),
    /// Gone.
    AgentRemoved = "agent.removed" {},
    /// What the person chose: `logged-out`, `available` or `on-break`.
    AgentStatus = "agent.status" { status: String, reason: String, },
    /// What the system makes of them: `idle`, `offered`, `talking`, `wrap-up`, `busy` or `unreachable`.
    AgentState = "agent.state" { state: String, },

    /// Somebody asked for something.
    CommandAccepted = "command.accepted" {
        kind: String,
        arguments: Vec<Attribute>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        idempotency_key: Option<String>,
        deadline: Time,
    },
    /// It went to the PBX.
    CommandSent = "command.sent" {},
    /// `done`, `failed`, `rejected`, `timed-out` or `unknown`: once per command.
    CommandEnded = "command.ended" {
        end: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        problem: Option<Problem>,
        detail: String,
    },

    /// An operator should know.
    Notice = "notice" (Notice),
    /// Something this version has no word for.
    Other = "other" { kind: String, facts: Vec<Attribute>, },
}

/// Who began a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The far end called the PBX.
    FromDevice,
    /// The PBX calls the far end.
    ToDevice,
}

/// A seat that is put back after a restart of the PBX.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Wish {
    /// What tells the state.
    pub state_interface: String,
    /// Display name.
    pub name: String,
    /// Higher is asked later.
    pub penalty: u32,
    /// Can be added again; otherwise only the pause is put back.
    pub dynamic: bool,
    /// Why it is paused; absent when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub paused: Option<String>,
}

/// The `type` of an event of the core.
pub fn type_of(body: &calls::Body) -> &'static str {
    use calls::{Body as B, fact::LegState};
    match body {
        B::ConnectorConnected { .. } => "connector.connected",
        B::PbxChanged { .. } => "connector.pbx-changed",
        B::ConnectorDisconnected { .. } => "connector.disconnected",
        B::ObservationGap { .. } => "connector.observation-gap",
        B::Resynced { .. } => "connector.resynced",
        B::ExtensionChanged(_) => "extension.changed",
        B::ExtensionRemoved { .. } => "extension.removed",
        B::QueueChanged(_) => "queue.changed",
        B::QueueRemoved { .. } => "queue.removed",
        B::MemberAdded(_) => "member.added",
        B::MemberChanged(_) => "member.changed",
        B::MemberPaused(_) => "member.paused",
        B::MemberUnpaused(_) => "member.unpaused",
        B::MemberRemoved(_) => "member.removed",
        B::MemberDesired { .. } => "member.desired",
        B::CallerJoined { .. } => "caller.joined",
        B::CallerMoved { .. } => "caller.moved",
        B::CallerLeft { .. } => "caller.left",
        B::OfferStarted { .. } => "offer.started",
        B::OfferEnded { .. } => "offer.ended",
        B::ServiceStarted { .. } => "service.started",
        B::ServiceEnded { .. } => "service.ended",
        B::CallStarted { .. } => "call.started",
        B::CallMerged { .. } => "call.merged",
        B::CallEnded { .. } => "call.ended",
        B::LegStarted { .. } => "leg.started",
        B::LegMoved { .. } => "leg.moved",
        B::LegState { state } => match state {
            LegState::Alerting => "leg.alerting",
            LegState::Answered => "leg.answered",
            LegState::Held => "leg.held",
            LegState::Resumed => "leg.resumed",
            LegState::Started | LegState::Other(_) => "leg.state",
        },
        B::LegParty { .. } => "leg.identified",
        B::LegPeers { with } if with.is_empty() => "leg.disconnected",
        B::LegPeers { .. } => "leg.connected",
        B::LegEnded { .. } => "leg.ended",
        B::LegOffered(_) => "leg.offered",
        B::LegReleased { .. } => "leg.released",
        B::CallDecided(_) => "call.decided",
        B::Transferred { .. } => "call.transferred",
        B::AgentChanged(_) => "agent.changed",
        B::AgentRemoved => "agent.removed",
        B::AgentStatus { .. } => "agent.status",
        B::AgentState { .. } => "agent.state",
        B::CommandAccepted { .. } => "command.accepted",
        B::CommandSent => "command.sent",
        B::CommandEnded { .. } => "command.ended",
        B::Notice(_) => "notice",
        B::Other { .. } => "other",
    }
}
