//! What the runtime promises, shown with tiny guests.

mod contract;
mod guests;
mod hooks;
mod hostile_recordings;
mod load;
mod probation;
mod recording;
mod recovery;
mod redaction;
mod shadow;
mod swap;
