//! What an observer answers.

use super::{Action, Lookup, Store};

impl Action {
    /// Everything up to this `seq` is dealt with.
    pub fn ack(seq: u64) -> Self {
        Self::Ack(seq)
    }

    /// Asks for something; the answer comes as an input.
    pub fn lookup(lookup: Lookup) -> Self {
        Self::Lookup(lookup)
    }

    /// Keeps a value in the instance's own store.
    pub fn put(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self::Store(Store::put(key, value))
    }

    /// Removes a key from the instance's own store.
    pub fn remove(key: impl Into<String>) -> Self {
        Self::Store(Store::remove(key))
    }
}
