//! The tables, and the only code that writes them.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use calls::State;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::Published;
use crate::{
    figures::{self, Figures},
    wire::{self, NotAnEvent, SCHEMA},
};

/// Layout of the tables, in `PRAGMA user_version`.
const LAYOUT: u32 = 1;

const TABLES: &str = "
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        schema INTEGER NOT NULL,
        at INTEGER NOT NULL,
        type TEXT NOT NULL,
        connector TEXT,
        call TEXT,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_by_call ON events (call, seq) WHERE call IS NOT NULL;
    CREATE TABLE checkpoint (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        seq INTEGER NOT NULL,
        schema INTEGER NOT NULL,
        events TEXT NOT NULL,
        figures TEXT NOT NULL
    ) STRICT;
    PRAGMA user_version = 1;
";

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "fields are named in the messages")]
pub enum JournalError {
    /// Another process writes it.
    #[error("journal {}: another jackfield has it open; fix: stop that one, or set another `journal.path`", path.display())]
    InUse { path: PathBuf },
    /// The file or its folder.
    #[error("journal {}: {source}; fix: make the folder writable for this user, or set another `journal.path`", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// The database.
    #[error("journal {}: {source}; fix: check the disk; if the file is damaged, move it away and restore a backup", path.display())]
    Database { path: PathBuf, source: rusqlite::Error },
    /// Made by a newer version.
    #[error("journal {}: made by a newer jackfield (layout {found}, this one knows {known}); fix: run the newer jackfield", path.display())]
    NewerLayout { path: PathBuf, found: u32, known: u32 },
    /// A database of something else.
    #[error("journal {}: this is a database of something else; fix: set another `journal.path`", path.display())]
    NotAJournal { path: PathBuf },
    /// A row that cannot be read.
    #[error("journal {}: event {seq}: {source}; fix: restore a backup of the file", path.display())]
    Event { path: PathBuf, seq: u64, source: NotAnEvent },
    /// A number is missing.
    #[error("journal {}: event {expected} is missing, {found} follows; fix: restore a backup of the file", path.display())]
    Gap { path: PathBuf, expected: u64, found: u64 },
}

/// What may go, and when.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Events older than this.
    pub keep: Duration,
    /// The oldest events above this size.
    pub keep_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { keep: Duration::from_secs(30 * 86_400), keep_bytes: 4 << 30 }
    }
}

/// Which events there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub first: u64,
    pub last: u64,
    pub checkpoint: u64,
}

pub(super) struct Database {
    path: PathBuf,
    connection: Connection,
}

/// One writer per file, over the life of the process.
pub(super) fn lock(path: &Path) -> Result<File, JournalError> {
    let failed = |source| JournalError::File { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = private_file(Path::new(&name)).map_err(failed)?;
    warn_if_open_to_all(path, &private_file(path).map_err(failed)?, "it holds phone numbers");
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Opens or makes a file that only this user can read: SQLite keeps its mode for the WAL too.
pub(crate) fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// To read beside a host that runs: nothing is written.
pub(crate) fn open_beside(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    Ok(connection)
}

/// For files that somebody else has made, or has opened up.
pub(crate) fn warn_if_open_to_all(path: &Path, file: &File, why: &str) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map(|metadata| metadata.permissions().mode()).unwrap_or(0);
        if mode & 0o007 != 0 {
            tracing::warn!(
                file = %path.display(),
                "every user of this machine can open it (mode {:o}), and {why}; fix: chmod o= {}",
                mode & 0o777,
                path.display()
            );
        }
    }
    #[cfg(not(unix))]
    let _ = (path, file, why);
}

impl Database {
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let failed = |source| JournalError::Database { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(failed)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;
                 PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;",
            )
            .map_err(failed)?;
        let found: u32 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(failed)?;
        let tables: u32 = connection
            .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
            .map_err(failed)?;
        match found {
            0 if tables > 0 => return Err(JournalError::NotAJournal { path: path.to_owned() }),
            0 => connection.execute_batch(&format!("BEGIN; {TABLES} COMMIT;")).map_err(failed)?,
            LAYOUT => {}
            _ => {
                return Err(JournalError::NewerLayout {
                    path: path.to_owned(),
                    found,
                    known: LAYOUT,
                });
            }
        }
        Ok(Self { path: path.to_owned(), connection })
    }

    /// The state after the last event: the checkpoint, then everything behind it.
    pub fn recover(&mut self, figures: &mut Figures) -> Result<(State, Bounds), JournalError> {
        let failed = |source| JournalError::Database { path: self.path.clone(), source };
        let mut state = State::default();
        let checkpoint = self.checkpoint(&mut state, figures)?;
        let mut last = checkpoint;
        let mut rows = self
            .connection
            .prepare("SELECT seq, schema, body FROM events WHERE seq > ?1 ORDER BY seq")
            .map_err(failed)?;
        let mut rows = rows.query([checkpoint]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let seq: u64 = row.get(0).map_err(failed)?;
            if seq != last + 1 {
                return Err(JournalError::Gap {
                    path: self.path.clone(),
                    expected: last + 1,
                    found: seq,
                });
            }
            let body = row.get_ref(2).map_err(failed)?;
            let body = body.as_str().map_err(|source| failed(source.into()))?;
            let schema = row.get(1).map_err(failed)?;
            let event = self.event(seq, schema, body)?;
            state.apply(&event);
            figures.apply(&event);
            last = seq;
        }
        let first: Option<u64> = self
            .connection
            .query_row("SELECT min(seq) FROM events", [], |row| row.get(0))
            .map_err(failed)?;
        Ok((state, Bounds { first: first.unwrap_or(last + 1), last, checkpoint }))
    }

    fn checkpoint(&self, state: &mut State, figures: &mut Figures) -> Result<u64, JournalError> {
        let failed = |source| JournalError::Database { path: self.path.clone(), source };
        let found: Option<(u64, u32, String, String)> = self
            .connection
            .query_row("SELECT seq, schema, events, figures FROM checkpoint", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()
            .map_err(failed)?;
        let Some((seq, schema, events, saved)) = found else { return Ok(0) };
        for line in events.lines() {
            state.apply(&self.event(seq, schema, line)?);
        }
        let saved: figures::Saved = serde_json::from_str(&saved).map_err(|source| {
            JournalError::Event { path: self.path.clone(), seq, source: source.into() }
        })?;
        figures.restore(saved);
        Ok(seq)
    }

    fn event(&self, seq: u64, schema: u32, json: &str) -> Result<calls::Event, JournalError> {
        wire::read_event(schema, json).map_err(|source| JournalError::Event {
            path: self.path.clone(),
            seq,
            source,
        })
    }

    /// All or nothing.
    pub fn insert(&mut self, events: &[(calls::Timestamp, Published)]) -> rusqlite::Result<()> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO events (seq, schema, at, type, connector, call, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            for (at, event) in events {
                insert.execute(params![
                    event.seq,
                    SCHEMA,
                    at.0 as i64,
                    event.kind,
                    event.connector,
                    event.call,
                    event.json,
                ])?;
            }
        }
        transaction.commit()
    }

    /// Writes a checkpoint and, in the same transaction, forgets what is before `keep_from`.
    pub fn trim(
        &mut self,
        state: &State,
        figures: &Figures,
        keep_from: u64,
    ) -> rusqlite::Result<()> {
        let mut events = String::new();
        for event in state.picture() {
            events.push_str(&wire::Event::from(&event).to_json());
            events.push('\n');
        }
        let figures = serde_json::to_string(&figures.save()).expect("numbers and strings");
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "INSERT OR REPLACE INTO checkpoint (id, seq, schema, events, figures)
             VALUES (1, ?1, ?2, ?3, ?4)",
            params![state.seq(), SCHEMA, events, figures],
        )?;
        transaction.execute("DELETE FROM events WHERE seq < ?1", [keep_from])?;
        transaction.commit()
    }

    /// The first event that is young enough, and the first that fits; at most `most` events are given up.
    pub fn keep_from(
        &self,
        bounds: Bounds,
        retention: Retention,
        now: calls::Timestamp,
        most: u64,
    ) -> rusqlite::Result<u64> {
        let held = bounds.last + 1 - bounds.first;
        if held == 0 {
            return Ok(bounds.first);
        }
        let keep_nanos = u64::try_from(retention.keep.as_nanos()).unwrap_or(u64::MAX);
        let oldest = now.0.saturating_sub(keep_nanos) as i64;
        let edge = bounds.first + most.min(held);
        // By number, so that a clock that was set back costs nothing.
        let young: Option<u64> = self
            .connection
            .query_row(
                "SELECT seq FROM events WHERE seq < ?1 AND at >= ?2 ORDER BY seq LIMIT 1",
                params![edge, oldest],
                |row| row.get(0),
            )
            .optional()?;
        let young = young.unwrap_or(edge);
        let pragma =
            |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
        let used = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
        let over = used.saturating_sub(retention.keep_bytes);
        // An eighth more, so that it is not needed again at once.
        let too_many = (over + if over > 0 { retention.keep_bytes / 8 } else { 0 })
            .saturating_mul(held)
            .div_ceil(used.max(1));
        Ok(young.max(bounds.first + too_many.min(most).min(held)))
    }

    /// The honest stand-in for a full disk.
    #[cfg(test)]
    pub fn limit_pages(&self, pages: u32) {
        self.connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .expect("a pragma");
    }
}
