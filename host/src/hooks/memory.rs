//! What routers and treatments keep: one thread that waits for the disk, so that nobody else does.
//!
//! In order: a hook that asks for what it has just stored gets it.

use std::{
    collections::HashMap,
    io,
    sync::mpsc::{self as blocking, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use calls::{LegId, Timestamp};
use plugin_runtime::hooks::Store;
use tokio::sync::oneshot;

use super::{
    desk::Kept,
    kept,
    store::{HookStore, StoreWrite},
};

/// What may wait for the disk.
const WAITING: usize = 4096;
/// What was forgotten is out of all files so much later.
const WIPED_AFTER: Duration = Duration::from_secs(10);

/// The way to the thread. It ends with the last of these.
#[derive(Clone)]
pub(super) struct Memory {
    errands: blocking::SyncSender<Errand>,
}

enum Errand {
    Put {
        instance: String,
        stores: Vec<Store>,
    },
    Get {
        instance: String,
        key: String,
        answer: oneshot::Sender<Result<Option<Vec<u8>>, String>>,
    },
    Keep {
        leg: LegId,
        treatment: String,
        state: Vec<u8>,
    },
    Forget {
        leg: LegId,
    },
    /// All before it are done.
    Settle(oneshot::Sender<()>),
}

impl Memory {
    pub fn start(store: HookStore) -> io::Result<Self> {
        let (errands, waiting) = blocking::sync_channel(WAITING);
        thread::Builder::new().name("hooks-memory".to_owned()).spawn(move || {
            work(&store, &waiting);
        })?;
        Ok(Self { errands })
    }

    /// False: it is lost, too much waits for the disk.
    pub fn put(&self, instance: String, stores: Vec<Store>) -> bool {
        self.errands.try_send(Errand::Put { instance, stores }).is_ok()
    }

    pub async fn get(&self, instance: String, key: String) -> Result<Option<Vec<u8>>, String> {
        let (answer, found) = oneshot::channel();
        let busy = |_| "too much waits for the disk".to_owned();
        self.errands.try_send(Errand::Get { instance, key, answer }).map_err(busy)?;
        found.await.map_err(|_| "the host is stopping".to_owned())?
    }

    /// A caller's treatment. False: it is lost.
    pub fn keep(&self, leg: LegId, treatment: String, state: Vec<u8>) -> bool {
        self.errands.try_send(Errand::Keep { leg, treatment, state }).is_ok()
    }

    /// The caller's treatment is over. False: it will be found again at the next start, of a leg that is gone.
    pub fn forget(&self, leg: LegId) -> bool {
        self.errands.try_send(Errand::Forget { leg }).is_ok()
    }

    /// Waits until everything that was handed over is on disk.
    pub async fn settle(self) {
        let (settled, done) = oneshot::channel();
        // The disk may be behind with as much as can wait.
        let told = tokio::task::spawn_blocking(move || self.errands.send(Errand::Settle(settled)));
        if matches!(told.await, Ok(Ok(()))) {
            let _ = done.await;
        }
    }
}

/// What a host before this one kept of callers. What is of no use any more is forgotten: it cannot be read, or nobody is
/// treated for so long.
pub(super) fn kept(store: &HookStore, now: Timestamp) -> HashMap<LegId, Kept> {
    let read = || {
        let mut kept = HashMap::new();
        for name in store.states()? {
            let state = store.state(&name)?.and_then(|(_, bytes)| kept::decode(&bytes));
            match (name.parse(), state) {
                (Ok(leg), Some(state)) if !state.is_over(now) => {
                    kept.insert(leg, state);
                }
                _ => store.drop_state(&name)?,
            }
        }
        Ok::<_, super::store::HookStoreError>(kept)
    };
    read().unwrap_or_else(|error| {
        tracing::error!(%error, "what is known of callers under treatment cannot be read; they begin anew");
        HashMap::new()
    })
}

fn work(store: &HookStore, waiting: &blocking::Receiver<Errand>) {
    let later = || Some(Instant::now() + WIPED_AFTER);
    // What a host before this one left is wiped, too.
    let mut wipe_at = later();
    loop {
        let next = match wipe_at {
            None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => match at.saturating_duration_since(Instant::now()) {
                Duration::ZERO => Err(RecvTimeoutError::Timeout),
                left => waiting.recv_timeout(left),
            },
        };
        match next {
            Ok(errand) => {
                match errand {
                    Errand::Forget { .. } => wipe_at = wipe_at.or_else(later),
                    Errand::Settle(_) if wipe_at.is_some() => {
                        wipe_at = later().filter(|_| !wiped(store))
                    }
                    _ => {}
                }
                run(store, errand);
            }
            Err(RecvTimeoutError::Timeout) => wipe_at = later().filter(|_| !wiped(store)),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// False: it is tried again.
fn wiped(store: &HookStore) -> bool {
    store.wipe().unwrap_or_else(|error| {
        tracing::warn!(%error, "what was known of callers who are gone is not wiped yet");
        false
    })
}

fn run(store: &HookStore, errand: Errand) {
    let done = match errand {
        Errand::Put { instance, stores } => {
            let writes: Vec<_> = stores
                .into_iter()
                .map(|Store { key, value, .. }| StoreWrite { key, value })
                .collect();
            store.put(&instance, &writes)
        }
        Errand::Get { instance, key, answer } => {
            let _ = answer.send(store.get(&instance, &key).map_err(|error| error.to_string()));
            Ok(())
        }
        Errand::Keep { leg, treatment, state } => {
            store.keep_state(&leg.to_string(), &treatment, &state, &[])
        }
        Errand::Forget { leg } => store.drop_state(&leg.to_string()),
        Errand::Settle(settled) => {
            let _ = settled.send(());
            Ok(())
        }
    };
    if let Err(error) = done {
        tracing::error!(%error, "what a hook wants kept is lost");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hooks::treatment::LONGEST;

    #[test]
    fn what_nobody_can_go_on_with_is_forgotten_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let store = HookStore::open(&folder.path().join("hooks.db")).unwrap();
        let now = Timestamp(1_795_312_800_000_000_000);
        let ago = |time: Duration| Timestamp(now.0 - u64::try_from(time.as_nanos()).unwrap());
        let of = |at| kept::encode(Kept { at, ..Kept::default() });
        let second = Duration::from_secs(1);
        let rows = [
            ("leg-1", of(ago(LONGEST - second))),
            ("leg-2", of(ago(LONGEST + second))),
            // The clock was set back.
            ("leg-3", of(Timestamp(now.0 + 1))),
            ("leg-4", b"{}".to_vec()),
            ("of another layout", of(now)),
        ];
        for (name, bytes) in rows {
            store.keep_state(name, "standard", &bytes, &[]).unwrap();
        }
        let mut legs: Vec<_> = kept(&store, now).into_keys().map(|leg| leg.to_string()).collect();
        legs.sort();
        assert_eq!(legs, ["leg-1", "leg-3"]);
        assert_eq!(store.states().unwrap(), legs);
    }
}
