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
mod choose;
mod drafts;
mod files;
mod registry;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use calls::{Actor, Timestamp};
use plugin_runtime::{LoadError, Manifest, Plugin, Runtime};
use rusqlite::{Connection, TransactionBehavior};
use serde_json::Value;

pub use self::{
    choose::{LATEST, listed},
    drafts::{InUse, MAX_DRAFTS, draft_of},
};
use self::{drafts::is_draft, files::Files};
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

/// The store cannot do that.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "fields are named in the messages")]
pub enum StoreError {
    /// Another process has it.
    #[error("plugin store {}: another jackfield has it open; fix: stop that one", folder.display())]
    InUse { folder: PathBuf },
    /// Others may look into it.
    #[error("plugin store {}: {problem}; fix: chmod 700 {}, as the user that runs jackfield", folder.display(), folder.display())]
    NotPrivate { folder: PathBuf, problem: String },
    /// Files.
    #[error("plugin store: {}: {source}; fix: {}; nothing was kept", path.display(), fix_of(source))]
    File { path: PathBuf, source: io::Error },
    /// The database.
    #[error("plugin store {}: {source}; fix: {}; nothing was kept", path.display(), fix_of_database(source))]
    Database { path: PathBuf, source: rusqlite::Error },
    /// Made by a newer version.
    #[error("plugin store {}: made by a newer jackfield (layout {found}, this one knows {known}); fix: run the newer jackfield", path.display())]
    NewerLayout { path: PathBuf, found: u32, known: u32 },
    /// A row that says nothing.
    #[error(
        "plugin store: what it keeps about {what} cannot be read: {problem}; fix: restore a backup of its folder"
    )]
    Unreadable { what: String, problem: String },
    /// No such version.
    #[error(
        "plugin {plugin} has no version {wanted:?} here; fix: use one of these, or install it: {}",
        or_none(known)
    )]
    NoVersion { plugin: String, wanted: String, known: Vec<String> },
    /// Several; the one installed last comes first.
    #[error(
        "plugin {plugin} has {} builds that are {wanted:?}: {}; fix: name one by the beginning of its SHA-256",
        builds.len(), choose::listed(builds, |_| String::new())
    )]
    Ambiguous { plugin: String, wanted: String, builds: Vec<Version> },
    /// Others could be meant.
    #[error(
        "what the latest version of plugin {plugin} is can be understood in two ways: {problem}; fix: name one by its version or its SHA-256"
    )]
    NoLatest { plugin: String, problem: String },
    /// A kept file is not what was kept.
    #[error("plugin {plugin} {version}: its kept file {} is damaged or was exchanged; fix: install it again", path.display())]
    Damaged { plugin: String, version: String, path: PathBuf },
    /// Not allowed any more.
    #[error("plugin {plugin} {version}: {problem}")]
    Signature { plugin: String, version: String, problem: SignatureProblem },
    /// It does not load any more.
    #[error("plugin {plugin} {version}: {problem}")]
    Load { plugin: String, version: String, problem: LoadError },
    /// More than is kept.
    #[error("{what}: at most {most} are kept; fix: remove some first")]
    TooMany { what: String, most: usize },
    /// Not a name for a file.
    #[error(
        "{what} {name:?} cannot be a name here; fix: use 1 to 64 letters, digits, `-`, `_` and `.`, not beginning with `.`"
    )]
    BadName { what: &'static str, name: String },
    /// A secret that is none, or is not kept well.
    #[error("secret {name:?} of connector {connector}: {problem}; fix: {fix}")]
    Secret { connector: String, name: String, problem: String, fix: String },
    /// A secret where none belongs.
    #[error(
        "connector {connector}: secrets are not kept with its other settings; this is a fault of jackfield, please report it"
    )]
    SecretInOverlay { connector: String },
}

/// A component that is not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It is no plugin, or cannot be compiled.
    #[error("{source_name}: {problem}")]
    NotAPlugin {
        /// Where it came from, or its name.
        source_name: String,
        /// Why.
        problem: LoadError,
    },
    /// Its signature.
    #[error("{source_name}: {problem}")]
    Signature {
        /// Where it came from.
        source_name: String,
        /// What is wrong with it.
        problem: SignatureProblem,
    },
    /// It cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn fix_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on the disk and try again"
        }
        io::ErrorKind::PermissionDenied => "make it writable for the user that runs jackfield",
        _ => "check the disk and the folder's rights",
    }
}

fn fix_of_database(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => "make room on the disk and try again",
        _ => "check the disk; if the file is damaged, restore a backup of its folder",
    }
}

fn or_none(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
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

/// Changes that happen together. An error out of any of them should end the whole.
pub struct Change<'s> {
    store: &'s Inner,
    transaction: &'s Connection,
    now: Timestamp,
    /// Needless if the change fails.
    written: Vec<PathBuf>,
    /// Needless if it does not.
    forgotten: Vec<PathBuf>,
}

impl Change<'_> {
    /// Writes down who did what; `detail` never holds a secret.
    pub fn audit(
        &mut self,
        actor: &Actor,
        action: &str,
        subject: &str,
        detail: &Value,
    ) -> Result<(), StoreError> {
        let note = audit::Note { actor, action, subject, detail };
        audit::append(self.transaction, &note, self.now)
            .map(drop)
            .map_err(|source| self.failed(source))
    }

    /// Chooses a version of a plugin, or none; what was chosen becomes the one before.
    pub fn select(&mut self, plugin: &str, sha256: Option<&str>) -> Result<(), StoreError> {
        let known =
            registry::selection(self.transaction, plugin).map_err(|source| self.failed(source))?;
        if known.used.as_deref() == sha256 {
            return Ok(());
        }
        let selection =
            Selection { used: sha256.map(str::to_owned), before: known.used.or(known.before) };
        self.set_selection(plugin, &selection)
    }

    /// Sets both: the one in use, and the one before.
    pub fn set_selection(&mut self, plugin: &str, selection: &Selection) -> Result<(), StoreError> {
        registry::set_selection(self.transaction, plugin, selection)
            .map_err(|source| self.failed(source))
    }

    /// Notes why a version is not to be used by itself any more; none takes that back.
    pub fn reject(&mut self, sha256: &str, why: Option<&str>) -> Result<(), StoreError> {
        registry::reject(self.transaction, sha256, why).map_err(|source| self.failed(source))
    }

    /// Forgets a version and its component.
    pub fn remove_version(&mut self, sha256: &str) -> Result<(), StoreError> {
        registry::remove_version(self.transaction, sha256).map_err(|source| self.failed(source))?;
        self.forgotten.push(self.store.files.component_path(sha256));
        Ok(())
    }

    /// Sets what REST wants of a connector: an object without secrets.
    pub fn set_overlay(&mut self, connector: &str, overlay: &Value) -> Result<(), StoreError> {
        check_name("connector", connector)?;
        if overlay.get("secrets").is_some() {
            return Err(StoreError::SecretInOverlay { connector: connector.to_owned() });
        }
        self.set_document("overlays", connector, overlay)
    }

    /// Forgets what REST wanted of a connector, its secrets too.
    pub fn remove_overlay(&mut self, connector: &str) -> Result<(), StoreError> {
        registry::remove_document(self.transaction, "overlays", connector)
            .map_err(|source| self.failed(source))?;
        let secrets =
            registry::secrets(self.transaction, connector).map_err(|source| self.failed(source))?;
        for (name, _) in secrets {
            self.remove_secret(connector, &name)?;
        }
        Ok(())
    }

    /// Notes how a connector is.
    pub fn set_actual(&mut self, connector: &str, actual: &Value) -> Result<(), StoreError> {
        check_name("connector", connector)?;
        self.set_document("actuals", connector, actual)
    }

    /// Forgets how a connector was.
    pub fn remove_actual(&mut self, connector: &str) -> Result<(), StoreError> {
        registry::remove_document(self.transaction, "actuals", connector)
            .map_err(|source| self.failed(source))
    }

    /// Keeps a secret, in a file that only this user can read.
    pub fn set_secret(
        &mut self,
        connector: &str,
        name: &str,
        secret: &SecretText,
    ) -> Result<(), StoreError> {
        check_name("connector", connector)?;
        check_name("secret", name)?;
        self.remove_secret(connector, name)?;
        let number =
            registry::next_secret(self.transaction).map_err(|source| self.failed(source))?;
        let file = format!("{connector}.{number}");
        let path = self
            .store
            .files
            .write_secret(&file, secret)
            .map_err(|problem| problem.of(connector, name))?;
        self.written.push(path);
        registry::set_secret(self.transaction, connector, name, &file)
            .map_err(|source| self.failed(source))
    }

    /// Forgets a secret.
    pub fn remove_secret(&mut self, connector: &str, name: &str) -> Result<(), StoreError> {
        let known =
            registry::secrets(self.transaction, connector).map_err(|source| self.failed(source))?;
        if let Some((_, file)) = known.into_iter().find(|(known, _)| known == name) {
            self.forgotten.push(self.store.files.secret_path(&file));
        }
        registry::remove_secret(self.transaction, connector, name)
            .map_err(|source| self.failed(source))
    }

    fn keep(
        &mut self,
        version: Version,
        wasm: &[u8],
        signature: Option<&str>,
        actor: &Actor,
    ) -> Result<(Version, bool), StoreError> {
        let known = registry::version(self.transaction, &version.sha256)
            .map_err(|source| self.failed(source))?;
        let signature = signature.filter(|_| version.signed_by.is_some());
        if let Some((kept, _)) = known {
            let found = self.store.files.component(&version.sha256);
            if found.ok().is_none_or(|(_, found)| found != wasm) {
                let path = self.store.files.write_component(&version.sha256, wasm)?;
                tracing::warn!(file = %path.display(), "a kept plugin was damaged; it is whole again");
            }
            if version.signed_by.is_none() || version.signed_by == kept.signed_by {
                return Ok((kept, false));
            }
            registry::sign(self.transaction, &version, signature)
                .map_err(|source| self.failed(source))?;
            return Ok((Version { signed_by: version.signed_by, ..kept }, false));
        }
        let versions = registry::count(self.transaction, &version.plugin)
            .map_err(|source| self.failed(source))?;
        // For a draft an older one goes as soon as this one was taken up.
        let most = MAX_VERSIONS + if is_draft(&version.version) { MAX_DRAFTS } else { 0 };
        if versions >= most {
            let what = format!("versions of plugin {}", version.plugin);
            return Err(StoreError::TooMany { what, most });
        }
        let path = self.store.files.write_component(&version.sha256, wasm)?;
        self.written.push(path);
        registry::insert(self.transaction, &version, signature)
            .map_err(|source| self.failed(source))?;
        let detail = serde_json::json!({
            "version": version.version,
            "sha256": version.sha256,
            "bytes": version.size,
            "source": version.source,
            "signed_by": version.signed_by,
        });
        self.audit(actor, "plugin.install", &format!("plugin {}", version.plugin), &detail)?;
        Ok((version, true))
    }

    fn set_document(
        &mut self,
        table: &'static str,
        connector: &str,
        document: &Value,
    ) -> Result<(), StoreError> {
        let text = document.to_string();
        if text.len() > MAX_OVERLAY {
            let what = format!("bytes of what is kept about connector {connector}");
            return Err(StoreError::TooMany { what, most: MAX_OVERLAY });
        }
        let failed = |source| StoreError::Database { path: self.store.database.clone(), source };
        registry::set_document(self.transaction, table, connector, &text).map_err(failed)?;
        if registry::count_documents(self.transaction, table).map_err(failed)? > MAX_OVERLAYS {
            let what = "connectors with settings of their own over REST".to_owned();
            return Err(StoreError::TooMany { what, most: MAX_OVERLAYS });
        }
        Ok(())
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Database { path: self.store.database.clone(), source }
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), StoreError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(fine) {
        return Ok(());
    }
    Err(StoreError::BadName { what, name: name.chars().take(80).collect() })
}
