//! The author's kit: what `jackfield plugin new`, `build`, `check`, `test`, `bench`, `conform` and `pack` are made of.
//!
//! What deliberately does not live here: the command line (`jackfield::cli`), and anything a plugin needs at run
//! time. The kit only uses what the host uses too: the real plugin runtime.

pub mod document;
pub mod scenario;
