//! What callers can rely on, whatever hooks do.

mod circles;
mod comforting;
mod contexts;
mod deciding;
mod listening;
