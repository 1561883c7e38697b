//! What routers and treatments keep: one thread that waits for the disk, so that nobody else does.
//!
//! In order: a hook that asks for what it has just stored gets it.

use std::{io, sync::mpsc as blocking, thread};

use calls::LegId;
use plugin_runtime::hooks::Store;
use tokio::sync::oneshot;

use super::store::{HookStore, StoreWrite};

/// What may wait for the disk.
const WAITING: usize = 4096;

/// The way to the thread. It ends with the last of these.
#[derive(Clone)]
pub(super) struct Memory {
    errands: blocking::SyncSender<Errand>,
}

enum Errand {
    Put { instance: String, stores: Vec<Store> },
    Get { instance: String, key: String, answer: oneshot::Sender<Result<Option<Vec<u8>>, String>> },
    Keep { leg: LegId, treatment: String, state: Vec<u8> },
    Forget { leg: LegId },
}

impl Memory {
    pub fn start(store: HookStore) -> io::Result<Self> {
        let (errands, waiting) = blocking::sync_channel(WAITING);
        thread::Builder::new().name("hooks-memory".to_owned()).spawn(move || {
            for errand in waiting {
                run(&store, errand);
            }
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
}

/// What a host before this one kept of callers.
pub(super) fn kept(store: &HookStore) -> Vec<(LegId, Vec<u8>)> {
    let read = || {
        let mut kept = Vec::new();
        for name in store.states()? {
            let Ok(leg) = name.parse() else { continue };
            if let Some((_, state)) = store.state(&name)? {
                kept.push((leg, state));
            }
        }
        Ok::<_, super::store::HookStoreError>(kept)
    };
    read().unwrap_or_else(|error| {
        tracing::error!(%error, "what is known of callers under treatment cannot be read; they begin anew");
        Vec::new()
    })
}

fn run(store: &HookStore, errand: Errand) {
    let done = match errand {
        Errand::Put { instance, stores } => {
            let writes: Vec<_> =
                stores.into_iter().map(|Store { key, value }| StoreWrite { key, value }).collect();
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
    };
    if let Err(error) = done {
        tracing::error!(%error, "what a hook wants kept is lost");
    }
}
