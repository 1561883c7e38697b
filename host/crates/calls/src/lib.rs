//! Calls, legs, queues, members, agents and commands: one event-sourced core.
//!
//! Facts of connectors and requests of the API go into a [`Switchboard`]; out come [`Event`]s for the
//! journal and commands for connectors. [`State`] is a fold over events and nothing else, so that the
//! writing side, the reading side and a restarted host all agree by construction.
//!
//! What deliberately does not live here: clocks, sockets, storage, randomness, JSON.
//! Time comes in with every input, ids are made from event numbers.

mod code;
pub mod event;
pub mod fact;
mod id;
pub mod state;
pub mod switchboard;

pub use event::{Actor, Body, Event};
pub use fact::Fact;
pub use id::{AgentId, CallId, CommandId, ConnectorId, EntryId, ExtensionId, LegId, QueueId};
pub use state::State;
pub use switchboard::{
    Accepted, ConnectorPolicy, Input, Output, Parties, Policy, Refusal, Request, Restore,
    Switchboard,
};

/// A moment of wall time: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

/// Both clocks when an input arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since some fixed moment; never goes back. Deadlines use it.
    pub monotonic: std::time::Duration,
    /// What events carry.
    pub wall: Timestamp,
}
