//! The audit log: who changed what about plugins, each row chained to the one before by its hash.
//!
//! A row that is edited, taken out or put in is found by its number, and so are rows missing at the end.
//! Whoever can write the whole file can also write a new chain: [`Head`] is small, so keep it elsewhere too (it
//! is logged at each start).

use std::path::{Path, PathBuf};

use calls::{Actor, Timestamp};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use super::AuditEntry;

/// Most rows of one page.
pub const MAX_PAGE: usize = 1000;
/// Longer details are cut.
const MAX_DETAIL: usize = 16 << 10;
const MAX_WORD: usize = 512;

pub(super) const TABLES: &str = "
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        detail TEXT NOT NULL,
        hash BLOB NOT NULL
    ) STRICT;
    CREATE TABLE audit_head (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        id INTEGER NOT NULL,
        hash BLOB NOT NULL
    ) STRICT;
    CREATE TRIGGER audit_is_not_edited BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
    CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
";

/// The last row of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 when there is none.
    pub id: u64,
    /// Its hash, lower-case hex.
    pub hash: String,
}

/// The log is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audit log: row {id}: {problem}; everything before it is as it was written")]
pub struct Broken {
    /// The first row that is wrong.
    pub id: u64,
    /// How.
    pub problem: String,
}

/// The log cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "fields are named in the messages")]
pub enum AuditError {
    /// The database.
    #[error("audit log {}: {source}; fix: name the file registry.db in the folder of the plugins' store", path.display())]
    Database { path: PathBuf, source: rusqlite::Error },
    /// It was changed.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Verifies the log in a file, without a host: its head, or the first row that is wrong.
pub fn verify_file(path: &Path) -> Result<Head, AuditError> {
    let failed = |source| AuditError::Database { path: path.to_owned(), source };
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    Ok(verify(&connection).map_err(failed)??)
}

/// How the log names who did it.
pub fn actor_text(actor: &Actor) -> String {
    match actor {
        Actor::Host => "host".to_owned(),
        Actor::Config => "config".to_owned(),
        Actor::Token(name) => format!("token {name}"),
        Actor::Pbx { plugin } => format!("pbx {plugin}"),
    }
}

/// What is to be written down.
pub(super) struct Note<'a> {
    pub(super) actor: &'a Actor,
    pub(super) action: &'a str,
    pub(super) subject: &'a str,
    pub(super) detail: &'a serde_json::Value,
}

/// Within the transaction of the change it tells of.
pub(super) fn append(
    connection: &Connection,
    note: &Note<'_>,
    at: Timestamp,
) -> rusqlite::Result<Head> {
    let before = head(connection)?;
    let mut entry = AuditEntry {
        id: before.id + 1,
        at,
        actor: cut(actor_text(note.actor), MAX_WORD),
        action: cut(note.action.to_owned(), MAX_WORD),
        subject: cut(note.subject.to_owned(), MAX_WORD),
        detail: detail(note.detail),
        hash: String::new(),
    };
    let hash = chain(&before.hash, &entry);
    entry.hash = hex(&hash);
    connection.execute(
        "INSERT INTO audit (id, at, actor, action, subject, detail, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            entry.id,
            entry.at.0 as i64,
            entry.actor,
            entry.action,
            entry.subject,
            entry.detail,
            hash
        ],
    )?;
    connection.execute(
        "INSERT OR REPLACE INTO audit_head (one, id, hash) VALUES (1, ?1, ?2)",
        params![entry.id, hash],
    )?;
    Ok(Head { id: entry.id, hash: entry.hash })
}

/// Rows after a number, oldest first.
pub(super) fn page(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<AuditEntry>> {
    let mut rows = connection.prepare_cached(
        "SELECT id, at, actor, action, subject, detail, hash FROM audit WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    rows.query_map(params![after, limit.min(MAX_PAGE + 1) as i64], entry)?.collect()
}

pub(super) fn head(connection: &Connection) -> rusqlite::Result<Head> {
    let found = connection
        .query_row("SELECT id, hash FROM audit_head", [], |row| {
            Ok(Head { id: row.get(0)?, hash: hex(&row.get::<_, Vec<u8>>(1)?) })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Follows the chain from the first row to the last.
pub(super) fn verify(connection: &Connection) -> rusqlite::Result<Result<Head, Broken>> {
    // One transaction: rows and head of the same moment, also while a host writes.
    let connection = connection.unchecked_transaction()?;
    let kept = head(&connection)?;
    let mut last = Head::default();
    let mut rows = connection
        .prepare("SELECT id, at, actor, action, subject, detail, hash FROM audit ORDER BY id")?;
    let mut rows = rows.query([])?;
    let broken = |id, problem: &str| Ok(Err(Broken { id, problem: problem.to_owned() }));
    while let Some(row) = rows.next()? {
        let expected = last.id + 1;
        let Ok(entry) = entry(row) else { return broken(expected, "it cannot be read") };
        if entry.id != expected {
            return broken(expected, "it is missing");
        }
        if hex(&chain(&last.hash, &entry)) != entry.hash {
            return broken(expected, "it was changed, or a row before it was exchanged");
        }
        last = Head { id: entry.id, hash: entry.hash };
    }
    if kept.id > last.id {
        return broken(last.id + 1, "it is missing");
    }
    if kept != last {
        return broken(kept.id + 1, "it was not written by jackfield");
    }
    Ok(Ok(last))
}

/// Every field with its length before it, so that no two rows read the same.
fn chain(before: &str, entry: &AuditEntry) -> [u8; 32] {
    let mut hasher = Sha256::new_with_prefix(b"jackfield audit 1");
    let numbers = [entry.id.to_be_bytes(), entry.at.0.to_be_bytes()];
    let texts = [before, &entry.actor, &entry.action, &entry.subject, &entry.detail];
    for part in numbers.iter().map(|n| &n[..]).chain(texts.map(str::as_bytes)) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    Ok(AuditEntry {
        id: row.get(0)?,
        at: Timestamp(row.get::<_, i64>(1)? as u64),
        actor: row.get(2)?,
        action: row.get(3)?,
        subject: row.get(4)?,
        detail: row.get(5)?,
        hash: hex(&row.get::<_, Vec<u8>>(6)?),
    })
}

fn detail(value: &serde_json::Value) -> String {
    let text = value.to_string();
    if text.len() <= MAX_DETAIL {
        return text;
    }
    let bytes = text.len();
    // Still JSON, and the whole of it can be recognised by its hash.
    serde_json::json!({ "cut": cut(text.clone(), 1024), "bytes": bytes, "sha256": hex(&Sha256::digest(&text)) })
        .to_string()
}

fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
    }
    text
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn log(rows: u64) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        for row in 1..=rows {
            add(&connection, row);
        }
        connection
    }

    fn add(connection: &Connection, row: u64) {
        let actor = Actor::Token(format!("ops{row}"));
        let detail = json!({ "row": row });
        let note =
            Note { actor: &actor, action: "grant", subject: "connector hq", detail: &detail };
        append(connection, &note, Timestamp(row)).unwrap();
    }

    /// Somebody with a SQLite shell, who knows how to take the triggers away.
    fn tamper(connection: &Connection, statement: &str) {
        let away = "DROP TRIGGER audit_is_not_edited; DROP TRIGGER audit_is_not_deleted;";
        connection.execute_batch(&format!("{away} {statement}")).unwrap();
    }

    #[test]
    fn what_was_appended_is_read_in_order_and_verifies() {
        let log = log(5);
        let page = page(&log, 2, 2).unwrap();
        let ids: Vec<_> = page.iter().map(|entry| (entry.id, entry.actor.as_str())).collect();
        assert_eq!(ids, [(3, "token ops3"), (4, "token ops4")]);
        assert_eq!(page[0].detail, r#"{"row":3}"#);
        assert_eq!(verify(&log).unwrap(), Ok(head(&log).unwrap()));
        assert_eq!(head(&log).unwrap().id, 5);
        assert_eq!(verify(&self::log(0)).unwrap(), Ok(Head::default()));
    }

    #[test]
    fn nobody_edits_or_deletes_by_accident() {
        let log = log(2);
        for statement in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit WHERE id = 1"] {
            let error = log.execute(statement, []).unwrap_err().to_string();
            assert!(error.contains("append-only"), "{error}");
        }
    }

    #[test]
    fn the_first_row_that_is_wrong_is_named() {
        let new_row = "INSERT INTO audit SELECT 6, at, actor, action, subject, detail, hash FROM audit WHERE id = 5";
        for (statement, row) in [
            ("UPDATE audit SET actor = 'token eve' WHERE id = 3", 3),
            ("UPDATE audit SET at = 4 WHERE id = 3", 3),
            ("UPDATE audit SET action = 'decline' WHERE id = 1", 1),
            ("UPDATE audit SET subject = 'connector hr' WHERE id = 5", 5),
            ("UPDATE audit SET detail = '{\"row\":33}' WHERE id = 3", 3),
            ("UPDATE audit SET hash = zeroblob(32) WHERE id = 2", 2),
            // The edges of fields count too.
            ("UPDATE audit SET action = 'gran', subject = 'tconnector hq' WHERE id = 4", 4),
            ("DELETE FROM audit WHERE id = 1", 1),
            ("DELETE FROM audit WHERE id = 4", 4),
            ("DELETE FROM audit WHERE id = 5", 5),
            ("DELETE FROM audit WHERE id > 2", 3),
            ("DELETE FROM audit", 1),
            ("UPDATE audit SET id = 9 WHERE id = 5", 5),
            (new_row, 6),
            ("DELETE FROM audit WHERE id = 5; UPDATE audit_head SET id = 4", 5),
        ] {
            let log = log(5);
            tamper(&log, statement);
            let broken = verify(&log).unwrap().unwrap_err();
            assert_eq!(broken.id, row, "{statement}: {broken}");
        }
    }

    #[test]
    fn a_detail_that_is_too_long_is_cut_and_stays_json() {
        let log = log(0);
        let detail = json!({ "long": "\u{e9}".repeat(MAX_DETAIL) });
        let note = Note { actor: &Actor::Host, action: "a", subject: "s", detail: &detail };
        append(&log, &note, Timestamp(1)).unwrap();
        let row = page(&log, 0, 1).unwrap().remove(0);
        assert!(row.detail.len() < MAX_DETAIL);
        let kept: serde_json::Value = serde_json::from_str(&row.detail).unwrap();
        assert_eq!(kept["bytes"], detail.to_string().len());
        assert!(verify(&log).unwrap().is_ok());
    }

    #[test]
    fn a_file_is_verified_without_a_host_and_also_while_one_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL").unwrap();
        connection.execute_batch(TABLES).unwrap();
        add(&connection, 1);
        add(&connection, 2);
        assert_eq!(verify_file(&path).unwrap(), head(&connection).unwrap());
        tamper(&connection, "UPDATE audit SET actor = 'x' WHERE id = 2");
        let error = verify_file(&path).unwrap_err().to_string();
        assert!(error.contains("row 2: it was changed"), "{error}");
        let missing = verify_file(&folder.path().join("nothing.db")).unwrap_err().to_string();
        assert!(missing.contains("nothing.db") && missing.contains("fix: "), "{missing}");
    }
}
