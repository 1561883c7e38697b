//! The journal: every event once, in order, on disk before anybody hears of it.
//!
//! SQLite in WAL mode with `synchronous=FULL`, written by one thread. Whatever is queued when the last fsync
//! returns is the next commit. When the disk cannot take it, the writer keeps the events, says so in
//! [`JournalWriter::health`] and tries again; the queue is bounded, so [`JournalWriter::append`] then waits,
//! and whoever reads from a PBX stops reading.
//!
//! ```text
//! append -> queue (bounded) -> writer thread -> commit -> Publisher -> REST, streams
//! ```

mod database;
mod store;
mod writer;

use std::{fs::File, path::PathBuf, sync::Arc, thread::JoinHandle};

pub use database::{JournalError, Retention};
pub use store::{Published, Store, StoreError};
pub use writer::{AppendError, Health, JournalWriter};

use crate::{
    figures::{Figures, Zones},
    publish::Publisher,
};
use database::Database;
pub(crate) use database::{open_beside, private_file, warn_if_open_to_all};

/// An open journal. Dropping it writes what is queued.
pub struct Journal {
    writer: JournalWriter,
    publisher: Arc<Publisher>,
    thread: Option<JoinHandle<()>>,
    /// Held: no second host may write here.
    _lock: File,
}

/// What a journal held when it was opened.
pub struct Recovered {
    /// For the switchboard.
    pub state: calls::State,
    /// The oldest event that can still be read; one past `last` when there is none.
    pub first: u64,
    /// The newest event.
    pub last: u64,
    /// Events that were replayed on top of the checkpoint.
    pub replayed: u64,
}

/// Where a journal is and how long it keeps events.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// The database file; made when it is not there.
    pub path: PathBuf,
    /// What may go, and when.
    pub retention: Retention,
}

impl Journal {
    /// Opens or makes the journal, reads it, and starts its writer.
    pub fn open(options: &JournalOptions, zones: Zones) -> Result<(Self, Recovered), JournalError> {
        let lock = database::lock(&options.path)?;
        let mut database = Database::open(&options.path)?;
        let mut figures = Figures::new(zones);
        let (state, bounds) = database.recover(&mut figures)?;
        let store = Store::new(options.path.clone());
        let publisher = Arc::new(Publisher::new(state.clone(), figures, bounds.last, store));
        let (writer, thread) =
            writer::start(database, Arc::clone(&publisher), bounds, options.retention)?;
        let recovered = Recovered {
            state,
            first: bounds.first,
            last: bounds.last,
            replayed: bounds.last - bounds.checkpoint,
        };
        Ok((Self { writer, publisher, thread: Some(thread), _lock: lock }, recovered))
    }

    /// The writing end.
    pub fn writer(&self) -> JournalWriter {
        self.writer.clone()
    }

    /// The reading end.
    pub fn publisher(&self) -> Arc<Publisher> {
        Arc::clone(&self.publisher)
    }

    /// Writes what is queued and a checkpoint, then ends the writer.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.writer.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's writer panicked");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
