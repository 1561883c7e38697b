//! What the runtime promises, shown with tiny guests.

mod contract;
mod guests;
mod load;
mod recording;
mod recovery;
