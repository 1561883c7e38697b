//! The writer thread and its bounded queue.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use calls::Timestamp;
use tokio::sync::{Semaphore, watch};

use super::{
    JournalError, Published, Retention,
    database::{Bounds, Database},
};
use crate::{publish::Publisher, wire::Time};

/// Events that may wait for the disk; then [`JournalWriter::append`] waits.
pub const MAX_QUEUED: usize = 65_536;
/// Events in one commit.
const MAX_COMMIT: usize = 4_096;
/// Events between two checkpoints: what a start has to replay.
const CHECKPOINT_EVERY: u64 = 20_000;
/// How often the age and size of the journal are looked at.
const TRIM_EVERY: Duration = Duration::from_secs(60);
/// Events given up in one transaction.
const MAX_TRIM: u64 = 20_000;
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// Can the journal be written?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Yes.
    Ok,
    /// No: events are kept in memory and it is tried again.
    Failing {
        /// When it began.
        since: Timestamp,
        /// What the database says.
        error: String,
    },
}

/// Why events were not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AppendError {
    /// A defect of the host: numbers must be dense.
    #[error(
        "event {got} was to be written where {expected} belongs; this is a defect of jackfield"
    )]
    NotDense {
        /// The next number of the journal.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// The journal is closing, or its writer is gone.
    #[error("the journal is closed")]
    Closed,
}

/// The writing end of a journal. Events are appended by one task: the switch.
#[derive(Clone)]
pub struct JournalWriter {
    shared: Arc<Shared>,
    publisher: Arc<Publisher>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    room: Semaphore,
    health: watch::Sender<Health>,
    /// The writer thread is gone.
    ended: watch::Sender<bool>,
}

struct Queue {
    events: VecDeque<calls::Event>,
    next: u64,
    closing: bool,
    #[cfg(test)]
    max_pages: Option<u32>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JournalWriter {
    /// Takes events to be written; waits while the queue is full. Taken is not yet committed.
    pub async fn append(&self, events: Vec<calls::Event>) -> Result<(), AppendError> {
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            let some: Vec<_> = events.by_ref().take(MAX_COMMIT).collect();
            let room = self.shared.room.acquire_many(some.len() as u32).await;
            room.map_err(|_| AppendError::Closed)?.forget();
            let mut queue = self.shared.queue();
            if queue.closing {
                return Err(AppendError::Closed);
            }
            for event in some {
                if event.seq != queue.next {
                    return Err(AppendError::NotDense { expected: queue.next, got: event.seq });
                }
                queue.next += 1;
                queue.events.push_back(event);
            }
            drop(queue);
            self.shared.wake.notify_one();
        }
        Ok(())
    }

    /// The number of the last committed event, as it grows.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.publisher.committed()
    }

    /// Can the journal be written?
    pub fn health(&self) -> Health {
        self.shared.health.borrow().clone()
    }

    /// The same, as it changes.
    pub fn watch_health(&self) -> watch::Receiver<Health> {
        self.shared.health.subscribe()
    }

    /// Returns when nothing is written any more.
    pub async fn ended(&self) {
        // The sender lives as long as `self`.
        let _ = self.shared.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// As if the writer thread had panicked.
    #[cfg(test)]
    pub(crate) fn end_early(&self) {
        drop(Ending(Arc::clone(&self.shared)));
        self.shared.wake.notify_all();
    }

    pub(super) fn close(&self) {
        self.shared.queue().closing = true;
        self.shared.room.close();
        self.shared.wake.notify_all();
    }

    /// From the next attempt on the database may have this many pages.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, pages: u32) {
        self.shared.queue().max_pages = Some(pages);
        self.shared.wake.notify_all();
    }
}

pub(super) fn start(
    database: Database,
    publisher: Arc<Publisher>,
    bounds: Bounds,
    retention: Retention,
) -> Result<(JournalWriter, JoinHandle<()>), JournalError> {
    let queue = Queue {
        events: VecDeque::new(),
        next: bounds.last + 1,
        closing: false,
        #[cfg(test)]
        max_pages: None,
    };
    let shared = Arc::new(Shared {
        queue: Mutex::new(queue),
        wake: Condvar::new(),
        room: Semaphore::new(MAX_QUEUED),
        health: watch::Sender::new(Health::Ok),
        ended: watch::Sender::new(false),
    });
    let handle = JournalWriter { shared: Arc::clone(&shared), publisher: Arc::clone(&publisher) };
    let writer =
        Writer { shared, database, publisher, bounds, retention, looked_at: Instant::now() };
    let thread = std::thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || {
            let _ending = Ending(Arc::clone(&writer.shared));
            writer.run();
        })
        .map_err(|source| JournalError::File { path: "writer thread".into(), source })?;
    Ok((handle, thread))
}

/// Tells everybody when the writer thread ends, however it ends.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let early = !std::mem::replace(&mut self.0.queue().closing, true);
        self.0.room.close();
        if early {
            let error = "its writer ended; this is a defect of jackfield: restart it".to_owned();
            tracing::error!(error, "the journal takes nothing any more");
            self.0.health.send_replace(Health::Failing { since: Time::now().into(), error });
        }
        self.0.ended.send_replace(true);
    }
}

struct Writer {
    shared: Arc<Shared>,
    database: Database,
    publisher: Arc<Publisher>,
    bounds: Bounds,
    retention: Retention,
    looked_at: Instant,
}

impl Writer {
    fn run(mut self) {
        loop {
            let events = self.next();
            if events.is_empty() && self.shared.queue().closing {
                break;
            }
            if !events.is_empty() && !self.commit(&events) {
                return;
            }
            self.tidy();
        }
        if self.bounds.checkpoint < self.bounds.last {
            self.trim(self.bounds.first);
        }
    }

    /// What is queued; nothing when it is time to look at the retention, or to end.
    fn next(&mut self) -> Vec<calls::Event> {
        let mut queue = self.shared.queue();
        while queue.events.is_empty() && !queue.closing {
            let (woken, timeout) = self
                .shared
                .wake
                .wait_timeout(queue, TRIM_EVERY)
                .unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            if timeout.timed_out() {
                break;
            }
        }
        let count = queue.events.len().min(MAX_COMMIT);
        queue.events.drain(..count).collect()
    }

    /// Tries until it is written. False: the journal is closing and the disk does not take it.
    fn commit(&mut self, events: &[calls::Event]) -> bool {
        let rows: Vec<_> = events.iter().map(|event| (event.at, Published::from(event))).collect();
        let mut pause = FIRST_RETRY;
        while let Err(error) = self.insert(&rows) {
            self.failing(&error);
            if self.shared.queue().closing {
                let lost = events.len() + self.shared.queue().events.len();
                tracing::error!(lost, %error, "the journal cannot be written at the end; its last events are lost");
                return false;
            }
            self.wait(pause);
            pause = (pause * 2).min(LAST_RETRY);
        }
        if self.shared.health.send_replace(Health::Ok) != Health::Ok {
            tracing::info!("the journal can be written again");
        }
        self.bounds.last += events.len() as u64;
        self.publisher.publish(events, rows.into_iter().map(|(_, row)| row));
        self.shared.room.add_permits(events.len());
        true
    }

    fn insert(&mut self, rows: &[(Timestamp, Published)]) -> rusqlite::Result<()> {
        #[cfg(test)]
        if let Some(pages) = self.shared.queue().max_pages.take() {
            self.database.limit_pages(pages);
        }
        self.database.insert(rows)
    }

    fn failing(&self, error: &rusqlite::Error) {
        let began = self.shared.health.send_if_modified(|health| {
            let began = *health == Health::Ok;
            if began {
                *health = Health::Failing { since: Time::now().into(), error: error.to_string() };
            }
            began
        });
        if began {
            tracing::error!(%error, "the journal cannot be written; events wait in memory; fix: free space on its disk");
        }
    }

    fn wait(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut queue = self.shared.queue();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            #[cfg(test)]
            if queue.max_pages.is_some() {
                return;
            }
            if left.is_zero() || queue.closing {
                return;
            }
            let woken = self.shared.wake.wait_timeout(queue, left);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Checkpoint when it is time, and forget what is too old or too much.
    fn tidy(&mut self) {
        let due = self.bounds.last - self.bounds.checkpoint >= CHECKPOINT_EVERY;
        if !due && self.looked_at.elapsed() < TRIM_EVERY {
            return;
        }
        self.looked_at = Instant::now();
        let now = Time::now().into();
        match self.database.keep_from(self.bounds, self.retention, now, MAX_TRIM) {
            Ok(keep_from) if due || keep_from > self.bounds.first => self.trim(keep_from),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the journal's size cannot be read"),
        }
    }

    fn trim(&mut self, keep_from: u64) {
        let model = self.publisher.model();
        match self.database.trim(&model.state, &model.figures, keep_from) {
            Ok(()) => {
                self.bounds.checkpoint = self.bounds.last;
                self.bounds.first = keep_from;
                drop(model);
                self.publisher.forgot_before(keep_from);
            }
            Err(error) => tracing::warn!(%error, "the journal's checkpoint cannot be written"),
        }
    }
}
