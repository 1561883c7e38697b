//! Write Jackfield plugins in Rust.
//!
//! A plugin is a pure state machine: what it may know comes in as data, what it wants done goes out as
//! data. It has no clock, no socket, no random numbers and no files; the host owns all of these.
//! One call is one *step*, and a step is a transaction: its [`Action`]s happen only if it returned `Ok`.
//!
//! A connector implements [`Connector`] and names itself with [`register_connector!`]:
//!
//! ```
//! use jackfield_sdk::{Action, Config, Connector, Error, Input, Now, Snapshot, register_connector};
//!
//! /// Says nothing about a PBX that says nothing.
//! struct Silent;
//!
//! impl Connector for Silent {
//!     fn init(_: Config, _: Option<Snapshot>, _: Now, _: &mut Vec<Action>) -> Result<Self, Error> {
//!         Ok(Silent)
//!     }
//!
//!     fn step(&mut self, _: Now, inputs: Vec<Input>, out: &mut Vec<Action>) -> Result<(), Error> {
//!         for input in inputs {
//!             if let Input::Bytes(bytes) = input {
//!                 out.push(Action::consumed(&bytes.link, bytes.offset + bytes.data.len() as u64));
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//!
//! register_connector!(Silent, manifest = br#"{ "id": "silent" }"#);
//! ```
//!
//! A [hook](hooks) decides where a call goes, comforts its caller, or looks on: [`hooks::Router`],
//! [`hooks::WaitTreatment`], [`hooks::Observer`].
//!
//! [`mock::MockHost`] plays the host of a connector in tests: it keeps the bytes that were not consumed, the epochs, a
//! virtual clock and the commands, and it panics when the connector breaks a law of the contract.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(any(
    all(target_arch = "wasm32", not(target_feature = "atomics"), feature = "allocator"),
    test
))]
mod allocator;
pub mod bindings;
mod guest;
pub mod hooks;
pub mod log;
#[cfg(any(target_arch = "wasm32", test))]
mod memory;
#[cfg(not(target_arch = "wasm32"))]
pub mod mock;
mod register;

pub use bindings::{
    connector::jackfield::{
        connector::types::{
            Action, Bytes, Close, Command, CommandOutcome, Config, Consumed, Error, Event, Gap,
            HttpRequest, HttpResponse, Input, LinkClosed, LinkUp, Message, Now, OtherAction,
            OtherInput, Part, ResyncBegin, ResyncItem, SecretHeader, SecretPart, Send, Snapshot,
        },
        telephony::facts::{
            Caller, CallerLeft, Cause, Extension, Fact, Leg, LegEnded, LegKey, LegOffered,
            LegParty, LegPeers, LegReleased, LegState, Member, MemberRef, Notice, Offer,
            OfferEnded, OtherFact, Party, Pbx, Queue, Service, ServiceEnded, Transfer,
        },
    },
    settings::exports::jackfield::settings::settings::Problem,
};

#[doc(hidden)]
pub use guest::{Slot, say_last_words};

/// A connector: a state machine between a PBX's bytes and facts about its calls.
pub trait Connector: Sized + 'static {
    /// Makes the instance; called once, before any step.
    ///
    /// With a snapshot it goes on where that was taken, on the same open links. An error for a snapshot it
    /// does not understand makes the host start afresh: close the links, dial again, no snapshot.
    fn init(
        config: Config,
        state: Option<Snapshot>,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<Self, Error>;

    /// Takes the inputs in order and pushes what should happen onto `out`.
    ///
    /// An error counts as a crash: nothing of `out` happens and this instance is thrown away.
    fn step(&mut self, now: Now, inputs: Vec<Input>, out: &mut Vec<Action>) -> Result<(), Error>;

    /// The state now, without bytes that were not consumed: those come again.
    ///
    /// A connector that cannot is started afresh after a crash or a swap, at the price of a reconnect.
    fn snapshot(&self) -> Result<Snapshot, Error> {
        Err(Error::new("not-supported", "this connector keeps no snapshots"))
    }

    /// A second look at settings that fit the manifest's schema; an empty list says they can be used.
    fn validate(_settings: &str) -> Vec<Problem> {
        Vec::new()
    }
}

impl Problem {
    /// Something wrong with the setting at `path`: the settings cannot be used.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), severity: "error".into(), message: message.into() }
    }

    /// Something the admin should know about the setting at `path`, which can be used all the same.
    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: "warning".into(), ..Self::new(path, message) }
    }
}

impl Error {
    /// An error that trying again does not mend.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), retryable: false }
    }

    /// An error that may be gone the next time.
    pub fn retryable(code: &str, message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::new(code, message) }
    }
}

impl Action {
    /// The bytes of `link` before `offset` are dealt with.
    pub fn consumed(link: &str, offset: u64) -> Self {
        Self::Consumed(Consumed { link: link.into(), offset })
    }

    /// Sends `bytes`; no secret in them.
    pub fn send(link: &str, epoch: u64, bytes: impl Into<Vec<u8>>) -> Self {
        Self::send_parts(link, epoch, vec![Part::Literal(bytes.into())])
    }

    /// Sends literal pieces and secrets that the host puts in.
    pub fn send_parts(link: &str, epoch: u64, parts: Vec<Part>) -> Self {
        Self::Send(Send { link: link.into(), epoch, text: false, parts })
    }

    /// Tells a fact, with the PBX's own time of it, nanoseconds since the Unix epoch.
    pub fn fact(at_pbx_ns: Option<u64>, fact: Fact) -> Self {
        Self::Event(Event { at_pbx_ns, fact, facts: Vec::new() })
    }

    /// One thing of the picture of that id.
    pub fn resync_item(id: u64, fact: Fact) -> Self {
        Self::ResyncItem(ResyncItem { id, fact, facts: Vec::new() })
    }

    /// Ends a command well.
    pub fn done(id: u64, detail: impl Into<String>) -> Self {
        Self::CommandOutcome(CommandOutcome {
            id,
            outcome: "done".into(),
            error: None,
            detail: detail.into(),
        })
    }

    /// Ends a command that the PBX refused.
    pub fn failed(id: u64, error: Error) -> Self {
        Self::ended_with(id, "failed", error)
    }

    /// Ends a command that makes no sense.
    pub fn rejected(id: u64, error: Error) -> Self {
        Self::ended_with(id, "rejected", error)
    }

    /// Ends a command of which nobody knows whether it was carried out.
    pub fn unknown(id: u64, error: Error) -> Self {
        Self::ended_with(id, "unknown", error)
    }

    fn ended_with(id: u64, outcome: &str, error: Error) -> Self {
        Self::CommandOutcome(CommandOutcome {
            id,
            outcome: outcome.into(),
            error: Some(error),
            detail: String::new(),
        })
    }

    /// Closes `link`; `retry` is `normal`, `slow` or `never-until-config-change`.
    pub fn close(link: &str, reason: impl Into<String>, retry: &str) -> Self {
        Self::Close(Close { link: link.into(), reason: reason.into(), retry: retry.into() })
    }
}

impl HttpRequest {
    /// A request without headers and body, with the host's usual time; its fields are there to be filled.
    pub fn new(id: u64, method: &str, url: impl Into<String>) -> Self {
        Self {
            id,
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            secret_headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: 0,
            facts: Vec::new(),
        }
    }
}

impl Command {
    /// The value of an argument; none when it was not given.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.arguments.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}
