//! What the end-to-end tests share: a world of real PBXs, phones and a Jackfield, and witnesses to compare.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`agreement`] | what the witnesses say of the same calls, compared |
//! | [`ami`] | a second manager at the PBX, and the PBX's own picture |
//! | [`author`] | plugins of `examples/`, built as their authors do |
//! | [`chance`] | seeded dice, and how large a test shall be |
//! | [`client`] | REST and the event stream over bare TCP |
//! | [`desk`] | what a supervisor reads and does over REST |
//! | [`docs`] | the code blocks of README and documentation |
//! | [`floor`] | lanes of agents' phones on a PBX, and the scripts of callers |
//! | [`handover`] | a fake PBX that hands callers over when a test wants it |
//! | [`lateness`] | how late this machine is, for tests that compare times |
//! | [`ledger`] | the event stream as a client books it, its promises checked |
//! | [`peers`] | peers that are no PBX and misbehave |
//! | [`proxy`] | a wire between host and PBX that a test may cut |
//! | [`traffic`] | calls without end, while a test does something to the host |
//! | [`transcript`] | the shell sessions of the documentation, typed in again |
//! | [`visit`] | a caller's stay in a queue as three witnesses tell it, compared |
//! | [`world`] | PBXs and the Jackfield that watches them |

#![expect(clippy::print_stdout, reason = "tests tell people what they saw")]

pub mod agreement;
pub mod ami;
pub mod author;
pub mod chance;
pub mod client;
pub mod desk;
pub mod docs;
pub mod floor;
pub mod handover;
pub mod lateness;
pub mod ledger;
pub mod peers;
pub mod proxy;
pub mod traffic;
pub mod transcript;
pub mod visit;
pub mod world;
