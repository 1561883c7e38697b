//! The author's kit: what `jackfield plugin new`, `build`, `check`, `test`, `bench`, `conform` and `pack` are made of.
//!
//! ```text
//! plugin.toml + sources --build--> build/<id>.wasm --check--> --pack--> dist/<id>-<version>/
//!                          |                           '-- test, bench, conform: scenarios/*.toml
//!                          '-- a language: rust (in process), ts, python (their tools)
//! ```
//!
//! A [`project`] is a folder with a `plugin.toml`, the single source of the manifest. A
//! [`Language`](languages::Language) makes a component of its sources; everything else is the same for all languages.
//! What people read during long work goes to a [`Progress`], what comes of it is a value: nothing here prints.
//!
//! What deliberately does not live here: the command line (`jackfield::cli`), and anything a plugin needs at run
//! time. The kit only uses what the host uses too: the real plugin runtime.

#[cfg(feature = "runtime")]
pub mod bench;
#[cfg(feature = "runtime")]
pub mod build;
pub mod cargo;
#[cfg(feature = "runtime")]
pub mod check;
pub mod component;
#[cfg(feature = "runtime")]
pub mod conformance;
#[cfg(feature = "runtime")]
mod contract;
mod debian;
pub mod description;
#[cfg(feature = "runtime")]
pub mod dice;
#[cfg(feature = "runtime")]
pub mod document;
#[cfg(feature = "runtime")]
mod embedded;
#[cfg(feature = "runtime")]
pub mod facts;
pub mod file;
#[cfg(feature = "runtime")]
pub mod fresh;
#[cfg(feature = "runtime")]
pub mod languages;
#[cfg(feature = "runtime")]
pub mod pack;
#[cfg(feature = "runtime")]
pub mod peer;
#[cfg(feature = "runtime")]
pub mod picture;
#[cfg(feature = "runtime")]
pub mod play;
#[cfg(feature = "runtime")]
pub mod project;
#[cfg(feature = "runtime")]
pub mod report;
#[cfg(feature = "runtime")]
pub mod rig;
#[cfg(feature = "runtime")]
pub mod scenario;
#[cfg(feature = "runtime")]
pub mod template;
pub mod toolchain;
#[cfg(feature = "runtime")]
pub mod watch;

/// Who hears what goes on during long work.
pub trait Progress: Sync {
    /// One line for people.
    fn say(&self, line: &str);
}

impl<F: Fn(&str) + Sync> Progress for F {
    fn say(&self, line: &str) {
        self(line);
    }
}

/// Hears nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn say(&self, _: &str) {}
}
