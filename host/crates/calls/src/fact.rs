//! What a connector says, parsed: native names, closed shapes, open codes.
//!
//! These mirror the WIT package `jackfield:telephony`; `plugin-runtime` converts.

use crate::{Timestamp, code::open_code};

/// A leg's name in the PBX; means something only together with its connector.
pub type NativeLeg = Box<str>;

/// A person at the far end of a leg, as the network named them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawParty {
    /// As it came; empty when the network gave none.
    pub number: String,
    /// As it came; empty when none.
    pub name: String,
    /// May the number be shown?
    pub presentation: Presentation,
}

/// May a number be shown to people?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Presentation {
    /// Yes, or nobody said otherwise.
    #[default]
    Allowed,
    /// The caller withheld it: only for emergency and billing.
    Restricted,
    /// There is none.
    Unavailable,
}

/// Why something ended, as raw as the PBX has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawCause {
    /// ITU-T Q.850 value; 0 when none.
    pub q850: u16,
    /// SIP status of the far end; 0 when none.
    pub sip: u16,
    /// The PBX's text.
    pub text: String,
}

/// The PBX itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pbx {
    /// Product name, e.g. `Asterisk`.
    pub product: String,
    /// Its version.
    pub version: String,
    /// What it calls itself; empty when nothing.
    pub system_name: String,
    /// When it started; a new value means it restarted.
    pub started_at: Option<Timestamp>,
    /// Capability codes of this account at this PBX.
    pub capabilities: Vec<String>,
}

/// Who began a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LegDirection {
    /// The far end called the PBX.
    FromDevice,
    /// The PBX calls the far end.
    ToDevice,
}

open_code! {
    /// How far a leg has come.
    LegState {
        /// Exists.
        Started = "started",
        /// The far end rings.
        Alerting = "alerting",
        /// Up.
        Answered = "answered",
        /// The far end pressed hold.
        Held = "held",
        /// The far end came back from hold; counts as `Answered` in a picture.
        Resumed = "resumed",
    }
}

/// A leg as it is when first seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Native id.
    pub id: NativeLeg,
    /// The leg it was made for: it joins that leg's call.
    pub related: Option<NativeLeg>,
    /// Who began it.
    pub direction: LegDirection,
    /// The PBX's name of the line, e.g. `PJSIP/1001`.
    pub device: String,
    /// The extension at that line; none for a trunk.
    pub extension: Option<String>,
    /// How far it is.
    pub state: LegState,
    /// The far end.
    pub party: RawParty,
    /// The number dialled; empty when unknown.
    pub dialled: String,
}

/// A queue's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Native name.
    pub name: String,
    /// The PBX's word for how it picks members.
    pub strategy: String,
    /// Most callers; 0 is no limit.
    pub max_length: u32,
    /// Seconds; 0 when unset.
    pub service_level_secs: u32,
    /// Seconds a member rests after a call.
    pub wrap_up_secs: u32,
    /// Weight against other queues.
    pub weight: u32,
}

open_code! {
    /// What a member's device does, as the queue sees it.
    MemberState {
        /// Free.
        Idle = "idle",
        /// Talking.
        InUse = "in-use",
        /// Talking, and can take no more.
        Busy = "busy",
        /// The PBX does not know such a device.
        Invalid = "invalid",
        /// Not registered.
        Unavailable = "unavailable",
        /// Rings.
        Ringing = "ringing",
        /// Has somebody on hold.
        OnHold = "on-hold",
        /// Nobody can tell.
        Unknown = "unknown",
    }
}

open_code! {
    /// Where a membership comes from.
    Membership {
        /// Written in the PBX's configuration; cannot be removed.
        Static = "static",
        /// Added while running; may be gone after a restart.
        Dynamic = "dynamic",
        /// From the PBX's database.
        Realtime = "realtime",
    }
}

/// A seat in one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Native queue name.
    pub queue: String,
    /// What the queue dials.
    pub interface: String,
    /// What tells the state.
    pub state_interface: String,
    /// The extension behind the seat, when the connector can tell.
    pub extension: Option<String>,
    /// Display name.
    pub name: String,
    /// Where the membership comes from.
    pub membership: Membership,
    /// Higher is asked later.
    pub penalty: u32,
    /// Gets no offers.
    pub paused: bool,
    /// Why, while paused.
    pub pause_reason: String,
    /// The device's state.
    pub state: MemberState,
    /// In a call of this queue.
    pub in_call: bool,
    /// Calls taken since the PBX counts.
    pub calls_taken: u32,
    /// End of the last call.
    pub last_call: Option<Timestamp>,
}

/// A seat by name: queue and interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberRef {
    /// Native queue name.
    pub queue: String,
    /// What the queue dials.
    pub interface: String,
}

/// A caller waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Native queue name.
    pub queue: String,
    /// The caller's leg.
    pub leg: NativeLeg,
    /// 1 is next.
    pub position: u32,
    /// Higher is earlier.
    pub priority: i32,
    /// Seconds waited already.
    pub waited_secs: u32,
}

open_code! {
    /// How a caller left a queue, or was refused at its door.
    QueueExit {
        /// A member took them.
        Answered = "answered",
        /// They hung up.
        Abandoned = "abandoned",
        /// The PBX's limit for waiting was reached.
        TimedOut = "timed-out",
        /// Refused: too many callers.
        Full = "full",
        /// Refused: no members.
        JoinEmpty = "join-empty",
        /// Sent away: no members left.
        LeaveEmpty = "leave-empty",
        /// Pressed the key that leads out.
        PressedKey = "pressed-key",
        /// Taken out by a redirect.
        Redirected = "redirected",
        /// Taken out by a command that says so.
        Withdrawn = "withdrawn",
        /// The PBX or an operator hung up.
        HungUpByPbx = "hung-up-by-pbx",
        /// Went on in the dialplan after service.
        Continued = "continued",
        /// Nobody saw how.
        Unknown = "unknown",
    }
}

open_code! {
    /// How an offer ended without service.
    OfferOutcome {
        /// Rang out.
        NoAnswer = "no-answer",
        /// Busy.
        Busy = "busy",
        /// The member refused.
        Declined = "declined",
        /// The caller left, or another member was faster.
        Cancelled = "cancelled",
        /// No device there.
        Unavailable = "unavailable",
    }
}

open_code! {
    /// Who ended a conversation between caller and member.
    ServiceEnd {
        /// The caller hung up.
        Caller = "caller",
        /// The member hung up.
        Member = "member",
        /// Passed on.
        Transfer = "transfer",
        /// Nobody saw.
        Unknown = "unknown",
    }
}

open_code! {
    /// What an extension does.
    ExtensionState {
        /// Reachable and idle.
        Registered = "registered",
        /// No device there.
        Unregistered = "unregistered",
        /// Rings.
        Ringing = "ringing",
        /// Talking.
        InUse = "in-use",
        /// Talking, and can take no more.
        Busy = "busy",
        /// Has somebody on hold.
        OnHold = "on-hold",
        /// Nobody can tell.
        Unknown = "unknown",
    }
}

/// Somebody's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// What people dial.
    pub number: String,
    /// The PBX's name of the line.
    pub device: String,
    /// Display name; empty when none.
    pub name: String,
    /// What it does.
    pub state: ExtensionState,
}

open_code! {
    /// How loud a notice is.
    Severity {
        /// For the record.
        Info = "info",
        /// Somebody should look.
        Warning = "warning",
        /// Something does not work.
        Error = "error",
        /// Somebody tried something.
        Security = "security",
    }
}

/// Something an operator or auditor must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Stable kebab-case code.
    pub code: String,
    /// How loud.
    pub severity: Severity,
    /// What, and where.
    pub message: String,
    /// What to do; empty when nothing.
    pub fix: String,
}

/// One thing a connector saw.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants' fields are named and documented in wit/telephony")]
pub enum Fact {
    Pbx(Pbx),
    LegStarted(Leg),
    LegState {
        leg: NativeLeg,
        state: LegState,
    },
    LegParty {
        leg: NativeLeg,
        party: RawParty,
    },
    LegPeers {
        leg: NativeLeg,
        peers: Vec<NativeLeg>,
    },
    LegEnded {
        leg: NativeLeg,
        cause: RawCause,
        ended_by: String,
    },
    LegOffered {
        leg: NativeLeg,
        entry: String,
        dialled: String,
        returned_from: String,
        outcome: String,
        facts: Vec<(String, String)>,
    },
    LegReleased {
        leg: NativeLeg,
        reason: String,
    },
    LegKey {
        leg: NativeLeg,
        key: String,
        held_ms: u32,
    },
    Transfer {
        kind: String,
        transferer: NativeLeg,
        transferee: Option<NativeLeg>,
        target: String,
        outcome: String,
    },
    Queue(QueueSettings),
    QueueRemoved {
        name: String,
    },
    Member(Member),
    MemberRemoved(MemberRef),
    CallerJoined(Caller),
    CallerLeft {
        queue: String,
        leg: NativeLeg,
        exit: QueueExit,
        evidence: String,
    },
    OfferStarted {
        queue: String,
        leg: NativeLeg,
        interface: String,
        member_leg: Option<NativeLeg>,
    },
    OfferEnded {
        queue: String,
        leg: NativeLeg,
        interface: String,
        outcome: OfferOutcome,
        rang_ms: u32,
    },
    ServiceStarted {
        queue: String,
        leg: NativeLeg,
        interface: String,
        member_leg: Option<NativeLeg>,
        waited_secs: u32,
        rang_secs: u32,
    },
    ServiceEnded {
        queue: String,
        leg: NativeLeg,
        interface: String,
        ended_by: ServiceEnd,
        talked_secs: u32,
    },
    Extension(Extension),
    ExtensionRemoved {
        number: String,
    },
    Notice(Notice),
    Other {
        kind: String,
        leg: Option<NativeLeg>,
        facts: Vec<(String, String)>,
    },
}
