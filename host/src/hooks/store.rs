//! What hooks keep: values of their own, how far observers have come, and what treatments know of a caller.
//!
//! One SQLite database beside the journal, for this user only. Everything of one step is one transaction: an
//! observer's `ack` and the values it stores are on disk together or not at all. Commits are not waited for at the
//! disk (`synchronous=NORMAL`): after a power cut the last moments may be missing, as a whole and in order, and an
//! observer is told their events again.
//!
//! All of it blocks: call it off the async threads.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params,
};

/// Keys of one instance.
pub const MAX_KEYS: u64 = 10_000;
/// Keys and values of one instance together.
pub const MAX_BYTES: u64 = 1 << 20;
/// One key.
pub const MAX_KEY: usize = 256;
/// One value.
pub const MAX_VALUE: usize = 64 << 10;
/// What is kept of one caller under treatment: its state (at most 16 KiB) and what goes with it.
pub const MAX_STATE: usize = 64 << 10;
/// Entries of one page.
pub const MAX_PAGE: usize = 1000;

/// Layout of the tables, in `PRAGMA user_version`.
const LAYOUT: u32 = 1;

const TABLES: &str = "
    CREATE TABLE pairs (
        instance TEXT NOT NULL,
        key TEXT NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (instance, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE sizes (instance TEXT PRIMARY KEY, keys INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
    CREATE TABLE cursors (instance TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
    CREATE TABLE states (call TEXT PRIMARY KEY, instance TEXT NOT NULL, state BLOB NOT NULL) STRICT;
    CREATE TABLE notes (instance TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (instance, name)) STRICT;
    PRAGMA user_version = 1;
";

/// The hooks' database. Clones are the same one.
#[derive(Clone)]
pub struct HookStore {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    connection: Mutex<Connection>,
    full: AtomicBool,
}

/// A value to keep; none removes the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreWrite {
    /// At most [`MAX_KEY`] bytes.
    pub key: String,
    /// At most [`MAX_VALUE`] bytes.
    pub value: Option<Vec<u8>>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
}

/// What an instance keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreUsage {
    /// Of at most [`MAX_KEYS`].
    pub keys: u64,
    /// Of at most [`MAX_BYTES`].
    pub bytes: u64,
}

/// Why something was not kept or not found. Nothing of the step was kept then.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "fields are named in the messages")]
pub enum HookStoreError {
    /// The file or its folder.
    #[error("hooks' store {}: {source}; fix: make the folder writable for this user", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// The database.
    #[error("hooks' store {}: {source}; fix: check the disk", path.display())]
    Database { path: PathBuf, source: rusqlite::Error },
    /// No room on the disk.
    #[error("hooks' store {}: the disk is full; fix: make room, nothing has to be restarted", path.display())]
    Full { path: PathBuf },
    /// Made by a newer version.
    #[error("hooks' store {}: made by a newer jackfield (layout {found}, this one knows {known}); fix: run the newer jackfield", path.display())]
    NewerLayout { path: PathBuf, found: u32, known: u32 },
    /// The plugin's fault: a limit.
    #[error("{what}; fix: {fix}")]
    Limit { what: String, fix: &'static str },
}

impl fmt::Debug for HookStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookStore").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl HookStore {
    /// Where the store of a host with that journal is.
    pub fn beside(journal: &Path) -> PathBuf {
        let mut path = journal.as_os_str().to_owned();
        path.push(".hooks.db");
        path.into()
    }

    /// What is remembered under this name, by instance: read beside a host that runs, and nothing is written.
    pub fn notes_beside(
        path: &Path,
        name: &str,
    ) -> Result<BTreeMap<String, String>, rusqlite::Error> {
        if matches!(path.try_exists(), Ok(false)) {
            return Ok(BTreeMap::new());
        }
        let connection = crate::journal::open_beside(path)?;
        let mut rows = connection.prepare("SELECT instance, body FROM notes WHERE name = ?1")?;
        rows.query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }

    /// Opens or makes it. A damaged database is put aside and said so: callers are worth more than what hooks
    /// remember.
    pub fn open(path: &Path) -> Result<Self, HookStoreError> {
        let connection = match open(path) {
            Err(HookStoreError::Database { source, .. }) if is_damage(&source) => {
                put_aside(path, &source)?;
                open(path)?
            }
            opened => opened?,
        };
        let inner = Inner {
            path: path.to_owned(),
            connection: Mutex::new(connection),
            full: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The value of a key.
    pub fn get(&self, instance: &str, key: &str) -> Result<Option<Vec<u8>>, HookStoreError> {
        self.read(|it| {
            it.prepare_cached("SELECT value FROM pairs WHERE instance = ?1 AND key = ?2")?
                .query_row(params![instance, key], |row| row.get(0))
                .optional()
        })
    }

    /// Pairs whose key begins like this and comes after that, in order; at most [`MAX_PAGE`].
    pub fn page(
        &self,
        instance: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Pair>, HookStoreError> {
        let limit = limit.min(MAX_PAGE) as i64;
        self.read(|it| {
            let mut rows = it.prepare_cached(
                "SELECT key, value FROM pairs
                 WHERE instance = ?1 AND key > ?3 AND substr(key, 1, length(?2)) = ?2
                 ORDER BY key LIMIT ?4",
            )?;
            let pair = |row: &rusqlite::Row<'_>| Ok(Pair { key: row.get(0)?, value: row.get(1)? });
            rows.query_map(params![instance, prefix, after, limit], pair)?.collect()
        })
    }

    /// What it keeps.
    pub fn usage(&self, instance: &str) -> Result<StoreUsage, HookStoreError> {
        self.read(|it| usage(it, instance))
    }

    /// Keeps all of it or nothing.
    pub fn put(&self, instance: &str, writes: &[StoreWrite]) -> Result<(), HookStoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        self.change(|it| write(it, instance, writes))
    }

    /// The last event that an observer has dealt with; none before its first `ack`.
    pub fn cursor(&self, instance: &str) -> Result<Option<u64>, HookStoreError> {
        self.read(|it| {
            it.prepare_cached("SELECT seq FROM cursors WHERE instance = ?1")?
                .query_row([instance], |row| row.get::<_, i64>(0))
                .optional()
                .map(|seq| seq.map(|seq| seq as u64))
        })
    }

    /// The end of an observer's step: its values, and how far it has come, in one transaction.
    pub fn step(
        &self,
        instance: &str,
        ack: Option<u64>,
        writes: &[StoreWrite],
    ) -> Result<(), HookStoreError> {
        if ack.is_none() && writes.is_empty() {
            return Ok(());
        }
        self.change(|it| {
            if let Some(seq) = ack {
                it.prepare_cached(
                    "INSERT OR REPLACE INTO cursors (instance, seq) VALUES (?1, ?2)",
                )?
                .execute(params![instance, seq as i64])?;
            }
            write(it, instance, writes)
        })
    }

    /// What a treatment knows of a caller, with the values of the same step.
    pub fn keep_state(
        &self,
        call: &str,
        instance: &str,
        state: &[u8],
        writes: &[StoreWrite],
    ) -> Result<(), HookStoreError> {
        if state.len() > MAX_STATE {
            return Err(HookStoreError::Limit {
                what: format!("a state of {} bytes is longer than {MAX_STATE}", state.len()),
                fix: "keep less of a caller",
            });
        }
        self.change(|it| {
            it.prepare_cached(
                "INSERT OR REPLACE INTO states (call, instance, state) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![call, instance, state])?;
            write(it, instance, writes)
        })
    }

    /// The treatment of a caller and what it knows.
    pub fn state(&self, call: &str) -> Result<Option<(String, Vec<u8>)>, HookStoreError> {
        self.read(|it| {
            it.prepare_cached("SELECT instance, state FROM states WHERE call = ?1")?
                .query_row([call], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
    }

    /// The treatment of a caller is over.
    pub fn drop_state(&self, call: &str) -> Result<(), HookStoreError> {
        self.change(|it| {
            it.prepare_cached("DELETE FROM states WHERE call = ?1")?.execute([call])?;
            Ok(())
        })
    }

    /// What was dropped is in no file any more: until then it stands in the log of changes. False: somebody else's
    /// reading keeps it there.
    pub fn wipe(&self) -> Result<bool, HookStoreError> {
        self.read(|it| {
            it.query_row(
                "PRAGMA wal_checkpoint(TRUNCATE)",
                [],
                |row| Ok(row.get::<_, i64>(0)? == 0),
            )
        })
    }

    /// Callers that a treatment has a state of.
    pub fn states(&self) -> Result<Vec<String>, HookStoreError> {
        self.read(|it| {
            let mut rows = it.prepare_cached("SELECT call FROM states ORDER BY call")?;
            rows.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// What the keeper remembers of an instance over restarts.
    pub fn note(&self, instance: &str, name: &str) -> Result<Option<String>, HookStoreError> {
        self.read(|it| {
            it.prepare_cached("SELECT body FROM notes WHERE instance = ?1 AND name = ?2")?
                .query_row([instance, name], |row| row.get(0))
                .optional()
        })
    }

    /// Remembers it; none forgets it.
    pub fn set_note(
        &self,
        instance: &str,
        name: &str,
        body: Option<&str>,
    ) -> Result<(), HookStoreError> {
        self.change(|it| {
            match body {
                Some(body) => it
                    .prepare_cached(
                        "INSERT OR REPLACE INTO notes (instance, name, body) VALUES (?1, ?2, ?3)",
                    )?
                    .execute([instance, name, body])?,
                None => it
                    .prepare_cached("DELETE FROM notes WHERE instance = ?1 AND name = ?2")?
                    .execute([instance, name])?,
            };
            Ok(())
        })
    }

    /// The last thing that was to be kept could not be, because the disk is full.
    pub fn is_full(&self) -> bool {
        self.inner.full.load(Ordering::Acquire)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A transaction that was not committed was undone when it was dropped.
        self.inner.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, HookStoreError> {
        read(&self.connection()).map_err(|source| self.failed(source))
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Refused>,
    ) -> Result<T, HookStoreError> {
        let mut connection = self.connection();
        let done = (|| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = change(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })();
        match done {
            Ok(done) => {
                self.inner.full.store(false, Ordering::Release);
                Ok(done)
            }
            Err(Refused::Database(source)) => Err(self.failed(source)),
            Err(Refused::Limit(what, fix)) => Err(HookStoreError::Limit { what, fix }),
        }
    }

    fn failed(&self, source: rusqlite::Error) -> HookStoreError {
        let path = self.inner.path.clone();
        if source.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            self.inner.full.store(true, Ordering::Release);
            return HookStoreError::Full { path };
        }
        HookStoreError::Database { path, source }
    }

    /// The honest stand-in for a full disk.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, pages: u32) {
        self.connection()
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .expect("a pragma");
    }
}

enum Refused {
    Database(rusqlite::Error),
    Limit(String, &'static str),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

fn usage(connection: &Connection, instance: &str) -> rusqlite::Result<StoreUsage> {
    let found = connection
        .prepare_cached("SELECT keys, bytes FROM sizes WHERE instance = ?1")?
        .query_row([instance], |row| {
            let (keys, bytes): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok(StoreUsage { keys: keys.max(0) as u64, bytes: bytes.max(0) as u64 })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

fn write(it: &Transaction<'_>, instance: &str, writes: &[StoreWrite]) -> Result<(), Refused> {
    if writes.is_empty() {
        return Ok(());
    }
    let mut used = usage(it, instance)?;
    for StoreWrite { key, value } in writes {
        if key.is_empty() || key.len() > MAX_KEY {
            let what = format!("a key of {} bytes is not possible", key.len());
            return Err(Refused::Limit(what, "use keys of 1 to 256 bytes"));
        }
        let before: Option<i64> = it
            .prepare_cached("SELECT length(value) FROM pairs WHERE instance = ?1 AND key = ?2")?
            .query_row(params![instance, key], |row| row.get(0))
            .optional()?;
        if let Some(length) = before {
            used.keys = used.keys.saturating_sub(1);
            used.bytes = used.bytes.saturating_sub(length as u64 + key.len() as u64);
        }
        let Some(value) = value else {
            it.prepare_cached("DELETE FROM pairs WHERE instance = ?1 AND key = ?2")?
                .execute(params![instance, key])?;
            continue;
        };
        if value.len() > MAX_VALUE {
            let what = format!("a value of {} bytes is too long", value.len());
            return Err(Refused::Limit(what, "use values of at most 65536 bytes"));
        }
        used.keys += 1;
        used.bytes += (value.len() + key.len()) as u64;
        it.prepare_cached(
            "INSERT OR REPLACE INTO pairs (instance, key, value) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![instance, key, value])?;
    }
    if used.keys > MAX_KEYS || used.bytes > MAX_BYTES {
        let what =
            format!("{} keys with {} bytes are more than may be kept", used.keys, used.bytes);
        return Err(Refused::Limit(what, "remove keys; 10000 with 1 MiB are the most"));
    }
    it.prepare_cached("INSERT OR REPLACE INTO sizes (instance, keys, bytes) VALUES (?1, ?2, ?3)")?
        .execute(params![instance, used.keys as i64, used.bytes as i64])?;
    Ok(())
}

fn open(path: &Path) -> Result<Connection, HookStoreError> {
    let file = |source| HookStoreError::File { path: path.to_owned(), source };
    let failed = |source| HookStoreError::Database { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(file)?;
    }
    crate::journal::private_file(path).map_err(file)?;
    let connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(2)).map_err(failed)?;
    connection
        .execute_batch(
            // What a treatment knew of a caller who is gone, keys perhaps, is wiped out (`wipe`).
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY; \
             PRAGMA secure_delete = ON;",
        )
        .map_err(failed)?;
    let found: u32 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    match found {
        0 => connection.execute_batch(&format!("BEGIN; {TABLES} COMMIT;")).map_err(failed)?,
        LAYOUT => {
            let said: String = connection
                .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
                .map_err(failed)?;
            if said != "ok" {
                let damaged = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
                return Err(failed(rusqlite::Error::SqliteFailure(damaged, Some(said))));
            }
        }
        _ => {
            let path = path.to_owned();
            return Err(HookStoreError::NewerLayout { path, found, known: LAYOUT });
        }
    }
    Ok(connection)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn put_aside(path: &Path, why: &rusqlite::Error) -> Result<(), HookStoreError> {
    let beside = |path: &Path, end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let aside = beside(path, ".damaged");
    tracing::error!(
        file = %path.display(), aside = %aside.display(), error = %why,
        "what hooks kept is damaged and was put aside; observers begin with what happens from now on; \
         fix: check the disk, then restore a backup of the file if there is one"
    );
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(beside(path, end));
    }
    std::fs::rename(path, &aside)
        .map_err(|source| HookStoreError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
