//! What is kept of plugins: components by their hash, which version is used, what REST has set, and the audit log.
//!
//! ```text
//! <journal>.plugins/           0700
//!   registry.db                versions, selection, overlays, actual states, audit log
//!   components/<sha256>.wasm   as they were verified, byte for byte
//!   secrets/<connector>.<n>    secrets that came over REST, 0600, one each
//! ```
//!
//! A change is a transaction: files are written under names that nobody knows yet, one commit makes them count, and
//! what no row knows is swept away at the next start. So a full disk or a power cut keeps nothing half.
//!
//! All of it blocks; call it from threads that may.

mod beside;
mod change;
mod choose;
mod drafts;
mod error;
mod files;
mod registry;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use calls::{Actor, Timestamp};
use plugin_runtime::{Manifest, Plugin, Runtime};
use rusqlite::{Connection, TransactionBehavior};
use serde_json::Value;

use self::files::Files;
pub use self::{
    change::Change,
    choose::{LATEST, listed},
    drafts::{InUse, MAX_DRAFTS, draft_of},
    error::{InstallError, StoreError},
};
use super::{
    AuditEntry,
    audit::{self, Broken, Head},
    signing::{SignatureProblem, Signing},
};
use crate::config::SecretText;

/// Versions of one plugin that are kept.
pub const MAX_VERSIONS: usize = 100;
/// Connectors that REST can have set something of.
pub const MAX_OVERLAYS: usize = 1000;
/// Of one connector, as JSON text.
pub const MAX_OVERLAY: usize = 256 << 10;

/// A component that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// The plugin's id, by its manifest.
    pub plugin: String,
    /// Its version, by its manifest. Two components may claim the same.
    pub version: String,
    /// Of the component, lower-case hex: what a version is known by.
    pub sha256: String,
    /// Of the component, in bytes.
    pub size: u64,
    /// Where it came from, for people.
    pub source: String,
    /// The id of the trusted key that signed it, when it was installed.
    pub signed_by: Option<String>,
    /// When it was installed.
    pub installed_at: Timestamp,
    /// Why it is not used by itself any more.
    pub rejected: Option<String>,
    /// What it says about itself; none when this host cannot read that any more.
    pub manifest: Option<Manifest>,
}

/// Which version of a plugin an admin has chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// SHA-256 of the one in use; none: nobody has chosen.
    pub used: Option<String>,
    /// SHA-256 of the one before.
    pub before: Option<String>,
}

/// A component that was just installed, or was kept already.
#[derive(Debug)]
pub struct Installed {
    /// Ready to start: made of the same bytes that were verified and kept.
    pub plugin: Plugin,
    /// What is known about it.
    pub version: Version,
    /// It was not kept before.
    pub is_new: bool,
    /// What its signature lacks, where the policy lets that pass.
    pub warning: Option<SignatureProblem>,
}

/// The store of one host. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    files: Files,
    database: PathBuf,
    connection: Mutex<Connection>,
    /// One at a time, compilation included.
    installing: Mutex<()>,
    signing: RwLock<Signing>,
    _lock: File,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("database", &self.inner.database).finish_non_exhaustive()
    }
}

impl Store {
    /// Where the store of a host with that journal is.
    pub fn beside(journal: &Path) -> PathBuf {
        let mut path = journal.as_os_str().to_owned();
        path.push(".plugins");
        path.into()
    }

    /// Opens or makes the store, and sweeps away what a crash left half done.
    pub fn open(folder: &Path, signing: Signing) -> Result<Self, StoreError> {
        let (files, lock) = Files::open(folder)?;
        let database = folder.join("registry.db");
        let connection = registry::open(&database)?;
        let failed = |source| StoreError::Database { path: database.clone(), source };
        files.sweep(&registry::known_files(&connection).map_err(failed)?)?;
        let inner = Inner {
            files,
            database,
            connection: Mutex::new(connection),
            installing: Mutex::default(),
            signing: RwLock::new(signing),
            _lock: lock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Which signatures count from now on. False: the same as before.
    pub fn set_signing(&self, signing: Signing) -> bool {
        let mut known = self.inner.signing.write().unwrap_or_else(PoisonError::into_inner);
        let changed = *known != signing;
        *known = signing;
        changed
    }

    /// Verifies, compiles and keeps a component. A component that is kept already is found good again.
    ///
    /// The bytes that were verified are the bytes that are kept and the bytes that are loaded. Installs wait for
    /// each other; one takes as long as compiling, about a second per MB.
    pub fn install(
        &self,
        runtime: &Runtime,
        wasm: &[u8],
        signature: Option<&str>,
        source: &str,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Installed, InstallError> {
        let _one = self.inner.installing.lock().unwrap_or_else(PoisonError::into_inner);
        let source_name = || source.to_owned();
        let plugin = |problem| InstallError::NotAPlugin { source_name: source_name(), problem };
        // Before its signature: what a stranger says is looked at as little as possible, but "this is a zip" helps
        // more than "it is not signed".
        Runtime::look_at(wasm).map_err(plugin)?;
        let checked = self
            .signing()
            .check(wasm, signature)
            .map_err(|problem| InstallError::Signature { source_name: source_name(), problem })?;
        let plugin = runtime.load(wasm).map_err(plugin)?;
        let version = Version {
            plugin: plugin.manifest().id.clone(),
            version: plugin.manifest().version.clone(),
            sha256: plugin.sha256().to_owned(),
            size: wasm.len() as u64,
            source: source.to_owned(),
            signed_by: checked.signed_by,
            installed_at: now,
            rejected: None,
            manifest: Some(plugin.manifest().clone()),
        };
        let (version, is_new) =
            self.change(now, |change| change.keep(version, wasm, signature, actor))?;
        Ok(Installed { plugin, version, is_new, warning: checked.warning })
    }

    /// A kept version, ready to start. Its bytes must still be those that were kept, and its signature must be good
    /// by the keys that are trusted now.
    pub fn load(&self, runtime: &Runtime, sha256: &str) -> Result<Plugin, StoreError> {
        let (version, signature) = self
            .read(|connection| registry::version(connection, sha256))?
            .ok_or_else(|| StoreError::NoVersion {
            plugin: "of any name".to_owned(),
            wanted: sha256.to_owned(),
            known: Vec::new(),
        })?;
        let (plugin, number) = (version.plugin, version.version);
        let (path, wasm) = self.inner.files.component(sha256)?;
        if audit::hex(&<sha2::Sha256 as sha2::Digest>::digest(&wasm)) != sha256 {
            return Err(StoreError::Damaged { plugin, version: number, path });
        }
        match self.signing().check(&wasm, signature.as_deref()) {
            Err(problem) => Err(StoreError::Signature { plugin, version: number, problem }),
            Ok(_) => runtime.load(&wasm).map_err(|problem| StoreError::Load {
                plugin,
                version: number,
                problem,
            }),
        }
    }

    /// Every version that is kept, by plugin, the newest installed first.
    pub fn versions(&self) -> Result<Vec<Version>, StoreError> {
        self.read(registry::versions)
    }

    /// What an admin has chosen of a plugin.
    pub fn selection(&self, plugin: &str) -> Result<Selection, StoreError> {
        self.read(|connection| registry::selection(connection, plugin))
    }

    /// What REST has set, by connector. Never a secret.
    pub fn overlays(&self) -> Result<BTreeMap<String, Value>, StoreError> {
        self.read(|connection| registry::documents(connection, "overlays"))?
    }

    /// What the keeper noted about connectors, by connector.
    pub fn actuals(&self) -> Result<BTreeMap<String, Value>, StoreError> {
        self.read(|connection| registry::documents(connection, "actuals"))?
    }

    /// Names of the secrets that REST has set for a connector.
    pub fn secret_names(&self, connector: &str) -> Result<Vec<String>, StoreError> {
        let found = self.read(|database| registry::secrets(database, connector))?;
        Ok(found.into_iter().map(|(name, _)| name).collect())
    }

    /// A secret that REST has set; refused if others could have read or changed its file.
    pub fn secret(&self, connector: &str, name: &str) -> Result<Option<SecretText>, StoreError> {
        let found = self.read(|database| registry::secrets(database, connector))?;
        let Some((_, file)) = found.into_iter().find(|(known, _)| known == name) else {
            return Ok(None);
        };
        self.inner.files.secret(&file).map(Some).map_err(|problem| problem.of(connector, name))
    }

    /// Everything in it happens, or nothing.
    pub fn change<T, E: From<StoreError>>(
        &self,
        now: Timestamp,
        work: impl FnOnce(&mut Change<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.connection();
        let failed = |source| StoreError::Database { path: self.inner.database.clone(), source };
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let mut change = Change {
            store: &self.inner,
            transaction: &transaction,
            now,
            written: Vec::new(),
            forgotten: Vec::new(),
        };
        let done = work(&mut change);
        let (written, forgotten) = (change.written, change.forgotten);
        let done = done.and_then(|done| {
            transaction.commit().map_err(failed)?;
            Ok(done)
        });
        // Files nobody refers to. What cannot be removed now is swept at the next start.
        let needless = if done.is_ok() { forgotten } else { written };
        for path in needless {
            let _ = std::fs::remove_file(path);
        }
        done
    }

    /// Entries of the audit log after that id, oldest first; at most [`MAX_PAGE`](audit::MAX_PAGE).
    pub fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(|connection| audit::page(connection, after, limit))
    }

    /// The last entry of the audit log.
    pub fn audit_head(&self) -> Result<Head, StoreError> {
        self.read(audit::head)
    }

    /// Follows the audit log's chain through: its head, or the first row that is wrong.
    pub fn verify_audit(&self) -> Result<Result<Head, Broken>, StoreError> {
        self.read(audit::verify)
    }

    fn signing(&self) -> Signing {
        self.inner.signing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.inner.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&self.connection())
            .map_err(|source| StoreError::Database { path: self.inner.database.clone(), source })
    }
}
