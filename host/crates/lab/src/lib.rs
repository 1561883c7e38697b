//! A real Asterisk and real phones on loopback, for `jackfield demo --asterisk` and the tests.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`release`] | getting Asterisk's files: unpacked from Debian without touching the host, or installed |
//! | [`config`] | what a PBX is told: its accounts, phones, queues and dialplan, as Asterisk's own files |
//! | [`pbx`] | one running Asterisk: start, stop, kill, its CLI and its queue log |
//! | [`phone`] | a small SIP phone that a test drives call by call and that writes down what it hears |
//! | [`sipp`] | many simple calls at once, by the sipp program |
//! | [`until`] | waiting for what does not tell by itself |
//!
//! Nothing here listens or calls beyond 127.0.0.0/8, needs a chroot, or leaves a process behind.
//! (PJSIP's DNS client has a socket of its own, and Asterisk asks the system's resolver for the
//! host's own name when it starts.)
//! This crate knows nothing of Jackfield's own SIP stack on purpose: a test peer that shared its
//! parser would agree with its mistakes.

pub mod config;
pub mod pbx;
pub mod phone;
pub mod release;
pub mod sipp;
mod until;

pub use config::{ManagerUser, PbxConfig, Ports};
pub use pbx::{Pbx, QueueLogLine};
pub use phone::{Answering, Call, Heard, Phone, PhoneConfig, Recording, Sound};
pub use release::{Release, Tree};
pub use sipp::{RunningSipp, Scenario, Sipp, SippReport};
pub use until::{Late, until};

/// Random bits for ports, tags and branches; not fit for secrets.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
