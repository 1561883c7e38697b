//! What is committed, for readers: the read model behind REST, and the recent events behind streams.
//!
//! The journal's writer calls [`Publisher::publish`] after each commit. Readers never hold the writer back
//! for longer than a view takes to build, and a slow stream reads later from disk instead of queueing here.

use std::{
    collections::VecDeque,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use calls::State;
use tokio::sync::watch;

use crate::{
    figures::Figures,
    journal::{Published, Store, StoreError},
};

/// Events kept in memory for streams.
const RING_EVENTS: usize = 65_536;
/// Bytes of them.
const RING_BYTES: usize = 24 << 20;

/// Everything as of one event.
pub struct Model {
    /// Call state.
    pub state: State,
    /// Figures of the queues.
    pub figures: Figures,
    /// The last event in it.
    pub as_of: u64,
}

/// The reading end of a journal.
pub struct Publisher {
    model: RwLock<Model>,
    ring: RwLock<Ring>,
    committed: watch::Sender<u64>,
    /// Events before this may be gone from disk.
    first: AtomicU64,
    store: Store,
}

#[derive(Default)]
struct Ring {
    events: VecDeque<Arc<Published>>,
    bytes: usize,
}

/// Events after a cursor.
pub enum Read {
    /// In order; empty when there are none yet.
    Events(Vec<Arc<Published>>),
    /// The next ones are no longer kept.
    TooOld,
    /// The cursor is after the last committed event.
    Ahead,
}

impl Publisher {
    pub(crate) fn new(state: State, figures: Figures, last: u64, store: Store) -> Self {
        Self {
            model: RwLock::new(Model { state, figures, as_of: last }),
            ring: RwLock::default(),
            committed: watch::Sender::new(last),
            first: AtomicU64::new(0),
            store,
        }
    }

    /// The committed state. Keep it only while building an answer: the writer waits.
    pub fn model(&self) -> RwLockReadGuard<'_, Model> {
        self.model.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the last committed event, as it grows. What it names can be read already.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }

    /// Up to `limit` events after `after`, from memory or from disk.
    pub async fn read(self: &Arc<Self>, after: u64, limit: usize) -> Result<Read, StoreError> {
        if after > *self.committed.borrow() {
            return Ok(Read::Ahead);
        }
        if let Some(events) = self.recent(after, limit) {
            return Ok(Read::Events(events));
        }
        if after + 1 < self.first.load(Ordering::Acquire) {
            return Ok(Read::TooOld);
        }
        let mut events = self.blocking(move |store| store.read_from(after, limit)).await?;
        let committed = *self.committed.borrow();
        match events.first() {
            Some(event) if event.seq != after + 1 => return Ok(Read::TooOld),
            None if after < committed => return Ok(Read::TooOld),
            _ => {}
        }
        // The disk has an event a moment before it is published.
        events.retain(|event| event.seq <= committed);
        Ok(Read::Events(events.into_iter().map(Arc::new).collect()))
    }

    /// The number of the oldest event that can still be read; none when there is none.
    pub async fn oldest(self: &Arc<Self>) -> Result<Option<u64>, StoreError> {
        self.blocking(Store::first).await
    }

    /// Up to `limit` events of a call, oldest first.
    pub async fn of_call(
        self: &Arc<Self>,
        call: calls::CallId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Published>, StoreError> {
        self.blocking(move |store| store.by_call(call, after, limit)).await
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let this = Arc::clone(self);
        match tokio::task::spawn_blocking(move || read(&this.store)).await {
            Ok(answer) => answer,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// `None`: older than memory reaches.
    fn recent(&self, after: u64, limit: usize) -> Option<Vec<Arc<Published>>> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let Some(oldest) = ring.events.front() else {
            return (after >= *self.committed.borrow()).then(Vec::new);
        };
        let skip = usize::try_from((after + 1).checked_sub(oldest.seq)?).ok()?;
        Some(ring.events.iter().skip(skip).take(limit).cloned().collect())
    }

    /// Called by the writer only, in order, after the commit.
    pub(crate) fn publish(
        &self,
        events: &[calls::Event],
        published: impl Iterator<Item = Published>,
    ) {
        let Some(last) = events.last().map(|event| event.seq) else { return };
        let published: Vec<_> = published.map(Arc::new).collect();
        // Both until the number is out: whoever sees an event may come back with its number at once, and must
        // not hear that there is no such event.
        let mut model = self.model.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            model.state.apply(event);
            model.figures.apply(event);
        }
        model.as_of = last;
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        for event in published {
            ring.bytes += event.json.len();
            ring.events.push_back(event);
        }
        while ring.events.len() > RING_EVENTS || ring.bytes > RING_BYTES {
            let Some(oldest) = ring.events.pop_front() else { break };
            ring.bytes -= oldest.json.len();
        }
        self.committed.send_replace(last);
    }

    pub(crate) fn forgot_before(&self, first: u64) {
        self.first.store(first, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::TryLockError;

    use super::*;
    use crate::{
        api::tests::world::{self, options},
        figures::Zones,
        journal::Journal,
    };

    fn events() -> Vec<calls::Event> {
        let mut core = world::core(State::default());
        core.facts("hq", vec![world::queue("support"), world::leg("c1"), world::caller("c1", 1)]);
        core.events()
    }

    /// A publisher at event `last` over a journal with all of `events`.
    async fn publisher(folder: &std::path::Path, events: &[calls::Event], last: u64) -> Publisher {
        let (journal, _) = Journal::open(&options(folder), Zones::default()).unwrap();
        journal.writer().append(events.to_vec()).await.unwrap();
        journal.close();
        let store = Store::new(folder.join("journal.db"));
        Publisher::new(State::default(), Figures::new(Zones::default()), last, store)
    }

    #[tokio::test]
    async fn nobody_sees_an_event_before_its_number_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let events = events();
        let last = events.last().unwrap().seq;
        let publisher = publisher(folder.path(), &events, 0).await;
        std::thread::scope(|scope| {
            // A stream in the middle of reading holds the publishing up.
            let ring = publisher.ring.read().unwrap();
            let publishing =
                scope.spawn(|| publisher.publish(&events, events.iter().map(Published::from)));
            loop {
                match publisher.model.try_read() {
                    Ok(model) => assert_eq!(model.as_of, *publisher.committed.borrow()),
                    Err(TryLockError::WouldBlock) => break,
                    Err(error) => panic!("{error}"),
                }
                std::thread::yield_now();
            }
            drop(ring);
            publishing.join().unwrap();
        });
        assert_eq!((publisher.model().as_of, *publisher.committed.borrow()), (last, last));
    }

    #[tokio::test]
    async fn what_the_disk_has_already_waits_until_it_is_published() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = Arc::new(publisher(folder.path(), &events(), 2).await);
        let Read::Events(found) = publisher.read(0, 100).await.unwrap() else { panic!() };
        assert_eq!(found.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2]);
        let Read::Events(found) = publisher.read(1, 100).await.unwrap() else { panic!() };
        assert_eq!(found.len(), 1);
        assert!(matches!(publisher.read(3, 100).await.unwrap(), Read::Ahead));
    }
}
