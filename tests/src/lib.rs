//! What the end-to-end tests share: a world of real PBXs, phones and a Jackfield, and witnesses to compare.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`ami`] | a second manager at the PBX, and the PBX's own picture |
//! | [`chance`] | seeded dice, and how large a test shall be |
//! | [`floor`] | lanes of agents' phones on a PBX, and the scripts of callers |
//! | [`visit`] | a caller's stay in a queue as three witnesses tell it, compared |

#![expect(clippy::print_stdout, reason = "tests tell people what they saw")]

pub mod ami;
pub mod chance;
pub mod floor;
pub mod visit;
