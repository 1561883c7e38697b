//! Jackfield's host as a library: the binary `jackfield` is a thin wrapper around it, and tests start it
//! in their own process with [`serve::Host::start`].
//!
//! Parts, from the PBX to the client: [`links`] (sockets), [`connectors`] (one thread per connector plugin),
//! [`switch`] (the one owner of call state), [`journal`], [`publish`] (what is committed, for readers), [`api`].

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connectors;
pub mod demo;
pub mod doctor;
pub mod figures;
pub mod hooks;
pub mod http;
pub mod journal;
pub mod links;
pub mod parties;
pub mod plugins;
pub mod publish;
mod redact;
pub mod serve;
pub mod status;
pub mod switch;
pub mod tokens;
pub mod wire;
