//! Runs WASM plugins as transactions.
//!
//! A plugin is a pure state machine: bytes, commands and the time go in as data, effects come out as
//! data. One call into it is a *step*, and its effects count only when the step returned. So a plugin
//! that traps, loops, grows or talks nonsense costs one message, not the connection:
//!
//! ```text
//! Runtime --load--> Plugin --start--> Connector --handle(inputs, now)--> Outcome { effects, incidents }
//!                                        |
//!                 step failed -> new instance from the last snapshot -> replay what had returned
//!                             -> the failed inputs one at a time -> the poisonous bytes taken out (`gap`)
//! ```
//!
//! Between two steps another version may take over, with the state of the one before it and the same
//! connections ([`Connector::swap`]). While it is on probation, a failure or a broken law brings the old one
//! back, caught up with what came since. A version may also follow in the shadow, without effects.
//!
//! What deliberately does not live here: sockets, timers, dialling, the values of secrets on their way
//! to a socket (the host calls [`Part::fill`] there), and what facts mean (crate `calls`). Types
//! generated from WIT never leave this crate.

mod bindings;
mod cache;
mod compile;
mod connector;
mod convert;
mod engine;
mod exchange;
mod guest;
pub mod hooks;
mod limits;
mod load;
mod log;
mod manifest;
mod recording;
pub mod secret;

pub use compile::{CompileChild, Compiler, Compiling, Progress, compile_as_child};
pub use connector::{
    Connector, Difference, InstanceConfig, OnRefusal, ProbationView, ShadowReport, StartError,
    Successor, SwapError, Swapped, Version,
};
pub use engine::{Runtime, RuntimeError};
pub use exchange::{Effect, FailureKind, Incident, Input, Outcome, Retry};
pub use limits::{Limits, Usage};
pub use load::{Kind, LoadError, MAX_COMPONENT, Plugin, SettingsError, SettingsProblem};
pub use log::{Log, LogLevel, LogLine};
pub use manifest::{
    HookRequest, HttpRequest, LinkRequest, MANIFEST_SECTION, Manifest, ManifestError, Permission,
    SecretRequest,
};
pub use recording::{
    Crash, LeftOut, ReadError, RecordedPlugin, Recording, RecordingKind, ReplayError, ReplayReport,
    StepDifference, Unredacted, WriteError, WriteOptions, Written, replay,
};
pub use secret::{FillError, Part, SecretForm, Secrets};
