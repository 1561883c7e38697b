//! What the runtime promises, shown with tiny guests.

mod contract;
mod guests;
mod load;
mod probation;
mod recording;
mod recovery;
mod shadow;
mod swap;
