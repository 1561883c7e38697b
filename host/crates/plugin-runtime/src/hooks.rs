//! Hooks: plugins that decide where a call goes, comfort its caller, or look on.
//!
//! A hook is a pure function of what it is given, and everything it answers is judged before it leaves this crate:
//! every list, string and wait has a named maximum, every name of a queue, extension or channel variable holds only
//! what a PBX may be told. What breaks a rule never reaches the host: it is one of four failures.
//!
//! | failure | what happened | the instance |
//! | --- | --- | --- |
//! | [`Trapped`](HookFailure::Trapped) | it crashed, or wanted more memory than it may have | a new one at the next call |
//! | [`Late`](HookFailure::Late) | it ran past its deadline | a new one at the next call |
//! | [`Refused`](HookFailure::Refused) | it said itself that it cannot answer | goes on |
//! | [`Nonsense`](HookFailure::Nonsense) | its answer breaks a rule; the text says which | goes on |
//!
//! A [`Router`], [`Treatment`] or [`Observer`] is one instance for one thread: make one for each worker. They keep
//! nothing that counts between two calls.

mod call;
mod failure;
mod instance;
mod lift;
mod limits;
mod lookup;
mod lower;
mod names;
mod observer;
mod router;
mod target;
mod treatment;
mod wanted;

pub use call::{Attributes, Call, CivilTime, Patch, Wishes};
pub use failure::{HookError, HookFailure};
pub(crate) use lift::{header_name, header_value};
pub use limits::{HookConfig, HookLimits, HookUsage};
pub use lookup::{Answer, HttpRequest, Lookup, Question, SecretHeader, Store};
pub use observer::{Event, Observer, ObserverAction, ObserverInput};
pub use router::{Decision, Router, Treat, Verdict};
pub use target::{DialplanTarget, ExtensionTarget, HangUpTarget, QueueTarget, Target};
pub use treatment::{
    Cause, Collect, CollectEnd, Collected, FailedStep, Plan, Say, SayKind, Step, Treatment, Waiting,
};
pub use wanted::WantedEvents;

/// Most time zones whose civil time a hook is given.
pub const MAX_TIME_ZONES: usize = 8;
/// Most lookups one decision, plan or step may ask for.
pub const MAX_LOOKUPS: usize = 4;
/// Most values one answer may store.
pub const MAX_STORES: usize = 64;
/// Most steps of a plan.
pub const MAX_STEPS: usize = 64;
/// Largest state of a treatment, in bytes.
pub const MAX_STATE: usize = 16 << 10;
/// Longest time a plan may wait or sleep.
pub const MAX_WAIT: std::time::Duration = std::time::Duration::from_secs(3600);
/// A plan that wants to be called again sooner is called after this time.
pub const MIN_WAKE: std::time::Duration = std::time::Duration::from_millis(250);
/// Most lookups of an observer that may be unanswered, and that one step may ask for.
pub const MAX_OPEN_LOOKUPS: usize = 64;
/// Most pairs of any list of facts or headers.
pub const MAX_LIST: usize = 64;
/// Most channel variables of any list, and of one call: those of the Asterisk connector's instructions.
pub const MAX_VARIABLES: usize = 31;
/// Most headers of a request that hold a secret.
pub const MAX_SECRET_HEADERS: usize = 8;
/// Longest key of a stored value, in bytes.
pub const MAX_KEY: usize = 256;
/// Longest stored value, in bytes.
pub const MAX_VALUE: usize = 64 << 10;
/// Longest body of a request, in bytes.
pub const MAX_BODY: usize = 1 << 20;
