//! Hooks: a [`Router`] decides where a call goes, a [`WaitTreatment`] comforts its caller, an [`Observer`] looks on.
//!
//! A hook answers with data. What it wants to know it asks for with a [`Lookup`] and is called again with the answer;
//! what it wants kept it hands over as a [`Store`], or, for a treatment, as its state.
//!
//! ```
//! use jackfield_sdk::{
//!     hooks::{Answers, Call, Config, Decision, Error, Now, Router, Target},
//!     register_router,
//! };
//!
//! /// Calls from Germany have a queue of their own.
//! struct Germany;
//!
//! impl Router for Germany {
//!     fn init(_: Config) -> Result<Self, Error> {
//!         Ok(Germany)
//!     }
//!
//!     fn route(&self, _: Now, call: &Call, _: &Answers) -> Result<Decision, Error> {
//!         if call.caller_e164.starts_with("+49") {
//!             return Ok(Decision::send(Target::queue("german")).because("the caller is in Germany"));
//!         }
//!         Ok(Decision::pass())
//!     }
//! }
//!
//! register_router!(Germany, manifest = br#"{ "id": "germany" }"#);
//!
//! let call = Call { caller_e164: "+493012345".into(), ..Call::default() };
//! let decision = Germany.route(Now::default(), &call, &Answers::none()).unwrap();
//! assert_eq!(decision, Decision::send(Target::queue("german")).because("the caller is in Germany"));
//! ```
//!
//! One component may be several of these: register each, and give the manifest to one of them.

mod answers;
mod call;
mod decision;
mod guest;
mod lookup;
mod observer;
mod plan;
mod target;

pub use self::answers::Answers;
pub use crate::{
    Party, Problem,
    bindings::{
        observer::exports::jackfield::observer::observer::{Action, Event, Input},
        router::{
            exports::jackfield::router::router::{Decision, Treat, Verdict},
            jackfield::hooks::types::{
                Answer, Call, CivilTime, Config, DialplanTarget, Error, ExtensionTarget, Failure,
                HangUpTarget, HttpRequest, Lookup, Now, Other, Patch, Question, QueueTarget,
                SecretHeader, SecretPart, Store, Target, Wishes,
            },
        },
        wait_treatment::exports::jackfield::treatment::wait_treatment::{
            Cause, Collect, Collected, FailedStep, Plan, Say, Step, Waiting,
        },
    },
};

/// Decides where a call goes.
///
/// It is asked when the PBX hands a call over, and again whenever the call comes back
/// ([`Call::returned_from`]). It keeps nothing between two calls.
pub trait Router: Sized + 'static {
    /// Reads the settings; called once, before any decision.
    fn init(config: Config) -> Result<Self, Error>;

    /// What it needs with every call. Asked once, after `init`.
    fn wishes(&self) -> Wishes {
        Wishes::default()
    }

    /// Decides. After [`Decision::need`] the same call is asked about again, with all answers so far.
    fn route(&self, now: Now, call: &Call, answers: &Answers) -> Result<Decision, Error>;

    /// A second look at settings that fit the manifest's schema; an empty list says they can be used.
    fn validate(_settings: &str) -> Vec<Problem> {
        Vec::new()
    }
}

/// Comforts a caller who waits: what they hear, and what their keys do.
///
/// It keeps nothing itself: `state` is a value the host keeps for each caller.
pub trait WaitTreatment: Sized + 'static {
    /// Reads the settings; called once.
    fn init(config: Config) -> Result<Self, Error>;

    /// What it needs with every call. Asked once, after `init`.
    fn wishes(&self) -> Wishes {
        Wishes::default()
    }

    /// What to do from now on. `state` is that of the last [`Plan`], and empty the first time; `answers` are
    /// those not given yet.
    fn next(
        &self,
        now: Now,
        waiting: &Waiting,
        state: &[u8],
        cause: &Cause,
        answers: &Answers,
    ) -> Result<Plan, Error>;

    /// A second look at settings that fit the manifest's schema; an empty list says they can be used.
    fn validate(_settings: &str) -> Vec<Problem> {
        Vec::new()
    }
}

/// Sees what happened, after it is committed, in order.
///
/// After a crash events come again from the last [`Action::Ack`]; whatever it keeps in memory is gone then.
pub trait Observer: Sized + 'static {
    /// Reads the settings; called once.
    fn init(config: Config) -> Result<Self, Error>;

    /// What it needs. Asked once, after `init`.
    fn wishes(&self) -> Wishes {
        Wishes::default()
    }

    /// Takes the inputs in order and pushes what it wants done onto `out`.
    ///
    /// An error counts as a crash: nothing of `out` happens and this instance is thrown away.
    fn step(&mut self, now: Now, inputs: Vec<Input>, out: &mut Vec<Action>) -> Result<(), Error>;

    /// A second look at settings that fit the manifest's schema; an empty list says they can be used.
    fn validate(_settings: &str) -> Vec<Problem> {
        Vec::new()
    }
}

impl Config {
    /// As a test would give it: an instance's id, and its settings as JSON text.
    pub fn new(id: impl Into<String>, settings: impl Into<String>) -> Self {
        Self { id: id.into(), settings: settings.into(), facts: Vec::new() }
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
