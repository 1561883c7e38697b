//! What goes into a connector and what comes out of it.

use std::time::Duration;

use calls::{
    Fact, Timestamp,
    event::{CommandEnd, Problem},
};

use crate::{connector::Version, hooks::SecretHeader, secret::Part};

/// Something that happened outside of the connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A link is connected. Its epoch begins here.
    LinkUp {
        /// The link's name.
        link: String,
        /// Who is at the other end, e.g. `tls://pbx.example.org:5039`.
        peer: String,
        /// Fresh random bytes: the only randomness a plugin gets.
        nonce: [u8; 32],
    },
    /// Bytes of a link, with known secrets already masked ([`Secrets::mask`](crate::Secrets::mask)).
    Received {
        /// The link's name.
        link: String,
        /// Only what is new; the runtime keeps what the plugin did not consume yet.
        data: Vec<u8>,
    },
    /// A whole message of a link that has messages (WebSocket).
    Message {
        /// The link's name.
        link: String,
        /// A text message; otherwise binary.
        text: bool,
        /// The message.
        data: Vec<u8>,
    },
    /// A link is gone, for whatever reason, also when the plugin asked for it.
    LinkClosed {
        /// The link's name.
        link: String,
        /// One sentence.
        reason: String,
    },
    /// Something the PBX shall do.
    Command {
        /// Used once in the life of the connector.
        id: u64,
        /// E.g. `pause`.
        kind: String,
        /// Names and values.
        arguments: Vec<(String, String)>,
        /// Monotonic; the host itself ends the command then.
        deadline: Duration,
    },
    /// The answer to an [`Effect::HttpRequest`].
    HttpResponse {
        /// The request's.
        id: u64,
        /// 0 when there was no response; then `error` says why.
        status: u16,
        /// Names and values.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
        /// None when there was a response.
        error: Option<Problem>,
    },
}

/// What one call brought about: effects in order, and what an operator should hear of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "effects not carried out are lost"]
pub struct Outcome {
    /// To be carried out in this order.
    pub effects: Vec<Effect>,
    /// To be reported; [`Incident::ColdStart`] and [`Incident::GivenUp`] also to be acted upon.
    pub incidents: Vec<Incident>,
}

impl Outcome {
    /// What came about later.
    pub(crate) fn append(&mut self, later: Self) {
        self.effects.extend(later.effects);
        self.incidents.extend(later.incidents);
    }
}

/// Something the connector wants done, already checked against manifest and grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Bytes for the link's present connection. Secrets are filled in at the socket by [`Part::fill`].
    Send {
        /// The link's name.
        link: String,
        /// In order, without anything between them.
        parts: Vec<Part>,
    },
    /// The connector saw something.
    Fact {
        /// The PBX's own time of it.
        at_pbx: Option<Timestamp>,
        /// What.
        fact: Fact,
    },
    /// A picture of the PBX begins.
    ResyncBegin {
        /// Names the bracket until its end.
        id: u64,
        /// `all`, `calls`, `queues` or `extensions`.
        scope: String,
    },
    /// One thing in the picture.
    ResyncItem {
        /// The bracket's.
        id: u64,
        /// The fact that would create it.
        fact: Fact,
    },
    /// The picture is complete.
    ResyncEnd {
        /// The bracket's.
        id: u64,
    },
    /// A command is over. Exactly one for each command given.
    CommandOutcome {
        /// The command's.
        id: u64,
        /// How it ended.
        end: CommandEnd,
        /// Why, when it did not end well.
        problem: Option<Problem>,
        /// JSON text with what it found; empty when nothing.
        detail: String,
    },
    /// The connection shall be closed. Report it back as [`Input::LinkClosed`].
    Close {
        /// The link's name.
        link: String,
        /// One sentence.
        reason: String,
        /// When to dial again.
        retry: Retry,
    },
    /// A request to a granted host. The answer comes back as [`Input::HttpResponse`].
    HttpRequest {
        /// Names the request until its answer.
        id: u64,
        /// E.g. `GET`.
        method: String,
        /// Its host is granted.
        url: String,
        /// Names and values.
        headers: Vec<(String, String)>,
        /// Headers that hold a secret, which manifest and grants allow.
        secret_headers: Vec<SecretHeader>,
        /// The body; manifest and grants allow its secrets.
        body: Vec<Part>,
        /// After this the host answers with an error.
        timeout: Duration,
    },
}

/// When to dial again after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Soon, with the usual back-off.
    Normal,
    /// The PBX refused us: wait long.
    Slow,
    /// Only the admin can mend it.
    NeverUntilConfigChange,
}

/// Why a call into a guest did not return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// It trapped.
    Trap,
    /// It ran past its deadline.
    Deadline,
    /// It asked for more memory than it may have.
    Memory,
    /// It handed over more bytes or effects than one step may.
    TooMuch,
    /// It returned an error.
    Error,
    /// The host panicked while serving it: ours.
    HostPanic,
}

impl FailureKind {
    /// A stable kebab-case code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::TooMuch => "too-much",
            Self::Error => "error",
            Self::HostPanic => "host-panic",
        }
    }
}

/// Something that went wrong inside, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incident {
    /// A step failed; none of its effects happened. Recovery follows.
    Trapped {
        /// How.
        kind: FailureKind,
        /// What the plugin or the engine said, at most 4 KiB, with the WASM backtrace if there is one.
        message: String,
    },
    /// A new instance has the state from before the failed step.
    Recovered {
        /// Steps that were replayed on top of the snapshot.
        replayed: usize,
    },
    /// Bytes that made the plugin fail twice were taken out; it was told by `gap`.
    Quarantined {
        /// The link's name.
        link: String,
        /// Counts the link's connections.
        epoch: u64,
        /// Of the first byte taken out, counted from the start of the connection.
        offset: u64,
        /// How many.
        bytes: u64,
        /// Their beginning, printable, at most 200 characters.
        head: String,
        /// How the plugin failed on them.
        kind: FailureKind,
    },
    /// An input that is not bytes made the plugin fail twice and was left out.
    Skipped {
        /// E.g. `wake` or ``command `pause` ``.
        what: String,
        /// How the plugin failed on it.
        kind: FailureKind,
    },
    /// The plugin did not consume bytes until its longest frame was exceeded; they were dropped, and it
    /// was told by `gap`.
    FrameTooLong {
        /// The link's name.
        link: String,
        /// Of the first byte dropped, counted from the start of the connection.
        offset: u64,
        /// How many.
        bytes: u64,
        /// The manifest's `max_frame`.
        max_frame: u32,
    },
    /// The plugin wanted something it may not, or that makes no sense. It did not happen.
    Refused {
        /// What, and why.
        what: String,
    },
    /// The plugin's state is lost and a new instance began from nothing. All its links count as closed:
    /// close them and dial again (a [`Input::LinkClosed`] is not expected). Open commands ended as
    /// unknown, open resync brackets are void.
    ColdStart {
        /// Why the state could not be kept.
        reason: String,
    },
    /// The version on probation failed or broke a law, so the one before it runs again, with its state and
    /// the same connections. A resync follows. If its state could not be kept, a [`Incident::ColdStart`]
    /// comes after this.
    RolledBack {
        /// The version that failed.
        from: Version,
        /// The version that runs again.
        to: Version,
        /// What was wrong.
        reason: String,
        /// Steps since the swap that it caught up with.
        replayed: usize,
    },
    /// A version has proved itself; the one before it is let go. Not told of a probation that was confirmed,
    /// or ended by another swap.
    ProbationPassed {
        /// The version that goes on.
        version: Version,
    },
    /// The plugin fails too often, or cannot start at all. The connector does nothing any more; start a
    /// new one after a back-off. All its links count as closed.
    GivenUp {
        /// Why.
        reason: String,
    },
}
