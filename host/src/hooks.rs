//! Hooks: plugins that decide where callers go and what they hear, and those that watch.
//!
//! ```text
//! switch --offered, released, key, outcome--> engine: a desk per caller --instructions--> connectors
//!   ^                                            |      chain of routers, then a treatment
//!   '------------- each hook's word -------------'
//! ```
//!
//! The PBX hands a caller over and waits for instructions. Whatever goes wrong here, the caller gets the fallback,
//! and if this process dies, the PBX takes the caller back when the lease is over.

pub mod canary;
mod chain;
mod civil;
mod desk;
pub mod engine;
mod inbox;
mod instructions;
mod kept;
mod lease;
mod listening;
mod lookups;
mod memory;
pub mod meter;
pub mod observers;
mod pace;
pub mod plan;
mod private;
pub mod store;
#[cfg(test)]
mod tests;
mod treatment;
mod trials;
mod words;
mod workers;

pub use inbox::{FIRST_INSTRUCTION, HookInput, HooksInbox, HooksOutlet, inbox, is_instruction};
