//! The store as somebody sees it who must not change it: a copy of what is kept, beside a host that may run.

use std::{
    path::Path,
    sync::{Arc, Mutex, RwLock},
};

use super::{Files, Inner, Signing, Store, StoreError, registry};

impl Store {
    /// What the store in that folder keeps now, with everything that is kept from now on in the folder `scratch`
    /// only. An empty one if there is none.
    pub(in crate::plugins) fn seen_beside(
        folder: &Path,
        scratch: &Path,
        signing: Signing,
    ) -> Result<Self, StoreError> {
        let (mut files, lock) = Files::open(scratch)?;
        let (original, database) = (folder.join("registry.db"), scratch.join("registry.db"));
        let is_there = original.try_exists();
        if is_there.map_err(|source| StoreError::File { path: original.clone(), source })? {
            registry::copy(&original, &database)?;
            files.lend(folder);
        }
        let inner = Inner {
            files,
            connection: Mutex::new(registry::open(&database)?),
            database,
            installing: Mutex::default(),
            signing: RwLock::new(signing),
            _lock: lock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}
