//! The store's tables, and the only code that writes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use calls::Timestamp;
use plugin_runtime::Manifest;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

use super::{Selection, StoreError, Version};
use crate::plugins::audit;

/// Layout of the tables, in `PRAGMA user_version`.
const LAYOUT: u32 = 1;

const TABLES: &str = "
    CREATE TABLE versions (
        sha256 TEXT PRIMARY KEY,
        plugin TEXT NOT NULL,
        version TEXT NOT NULL,
        size INTEGER NOT NULL,
        source TEXT NOT NULL,
        signed_by TEXT,
        installed_at INTEGER NOT NULL,
        rejected TEXT,
        manifest TEXT NOT NULL,
        signature TEXT
    ) STRICT;
    CREATE TABLE selections (plugin TEXT PRIMARY KEY, used TEXT, before TEXT) STRICT;
    CREATE TABLE overlays (connector TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE actuals (connector TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE secrets (
        connector TEXT NOT NULL,
        name TEXT NOT NULL,
        file TEXT NOT NULL UNIQUE,
        PRIMARY KEY (connector, name)
    ) STRICT;
    CREATE TABLE secret_numbers (number INTEGER PRIMARY KEY AUTOINCREMENT) STRICT;
    PRAGMA user_version = 1;
";

const COLUMNS: &str =
    "sha256, plugin, version, size, source, signed_by, installed_at, rejected, manifest, signature";

pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let file = |source| StoreError::File { path: path.to_owned(), source };
    let failed = |source| StoreError::Database { path: path.to_owned(), source };
    crate::journal::private_file(path).map_err(file)?;
    let connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(2)).map_err(failed)?;
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        .map_err(failed)?;
    let found: u32 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    match found {
        0 => connection
            .execute_batch(&format!("BEGIN; {TABLES} {} COMMIT;", audit::TABLES))
            .map_err(failed)?,
        LAYOUT => {}
        _ => {
            let path = path.to_owned();
            return Err(StoreError::NewerLayout { path, found, known: LAYOUT });
        }
    }
    Ok(connection)
}

/// Copies what the database keeps now, and writes nothing beside it.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Database { path: from.to_owned(), source };
    // First, so that nobody else may read the copy.
    crate::journal::private_file(to)
        .map_err(|source| StoreError::File { path: to.to_owned(), source })?;
    let connection = crate::journal::open_beside(from).map_err(failed)?;
    connection.execute("VACUUM INTO ?1", [to.to_string_lossy()]).map_err(failed)?;
    Ok(())
}

/// Names of files that rows refer to, below the store's folder.
pub(super) fn known_files(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let mut rows = connection.prepare(
        "SELECT 'components/' || sha256 || '.wasm' FROM versions UNION ALL SELECT 'secrets/' || file FROM secrets",
    )?;
    rows.query_map([], |row| row.get(0))?.collect()
}

pub(super) fn versions(connection: &Connection) -> rusqlite::Result<Vec<Version>> {
    let mut rows = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM versions ORDER BY plugin, installed_at DESC, rowid DESC"
    ))?;
    rows.query_map([], |row| Ok(version_of(row)?.0))?.collect()
}

type VersionAndSignature = (Version, Option<String>);

pub(super) fn version(
    connection: &Connection,
    sha256: &str,
) -> rusqlite::Result<Option<VersionAndSignature>> {
    let one = format!("SELECT {COLUMNS} FROM versions WHERE sha256 = ?1");
    connection.query_row(&one, [sha256], version_of).optional()
}

fn version_of(row: &Row<'_>) -> rusqlite::Result<VersionAndSignature> {
    let manifest: String = row.get(8)?;
    let version = Version {
        sha256: row.get(0)?,
        plugin: row.get(1)?,
        version: row.get(2)?,
        size: row.get(3)?,
        source: row.get(4)?,
        signed_by: row.get(5)?,
        installed_at: Timestamp(row.get::<_, i64>(6)? as u64),
        rejected: row.get(7)?,
        manifest: Manifest::from_json(manifest.as_bytes()).ok(),
    };
    Ok((version, row.get(9)?))
}

pub(super) fn insert(
    connection: &Connection,
    version: &Version,
    signature: Option<&str>,
) -> rusqlite::Result<()> {
    let manifest = version.manifest.as_ref().map_or_else(String::new, |manifest| {
        serde_json::to_string(manifest).expect("strings, numbers and JSON")
    });
    connection.execute(
        &format!(
            "INSERT INTO versions ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        ),
        params![
            version.sha256,
            version.plugin,
            version.version,
            version.size,
            version.source,
            version.signed_by,
            version.installed_at.0 as i64,
            version.rejected,
            manifest,
            signature,
        ],
    )?;
    Ok(())
}

pub(super) fn sign(
    connection: &Connection,
    version: &Version,
    signature: Option<&str>,
) -> rusqlite::Result<()> {
    let changed = "UPDATE versions SET signed_by = ?2, signature = ?3 WHERE sha256 = ?1";
    connection.execute(changed, params![version.sha256, version.signed_by, signature])?;
    Ok(())
}

pub(super) fn count(connection: &Connection, plugin: &str) -> rusqlite::Result<usize> {
    let count = "SELECT count(*) FROM versions WHERE plugin = ?1";
    connection.query_row(count, [plugin], |row| row.get(0))
}

pub(super) fn reject(
    connection: &Connection,
    sha256: &str,
    why: Option<&str>,
) -> rusqlite::Result<()> {
    let changed = "UPDATE versions SET rejected = ?2 WHERE sha256 = ?1";
    connection.execute(changed, params![sha256, why])?;
    Ok(())
}

pub(super) fn remove_version(connection: &Connection, sha256: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM versions WHERE sha256 = ?1", [sha256])?;
    connection.execute("UPDATE selections SET used = NULL WHERE used = ?1", [sha256])?;
    connection.execute("UPDATE selections SET before = NULL WHERE before = ?1", [sha256])?;
    connection.execute("DELETE FROM selections WHERE used IS NULL AND before IS NULL", [])?;
    Ok(())
}

pub(super) fn selection(connection: &Connection, plugin: &str) -> rusqlite::Result<Selection> {
    let found = connection
        .query_row("SELECT used, before FROM selections WHERE plugin = ?1", [plugin], |row| {
            Ok(Selection { used: row.get(0)?, before: row.get(1)? })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

pub(super) fn set_selection(
    connection: &Connection,
    plugin: &str,
    selection: &Selection,
) -> rusqlite::Result<()> {
    let replaced = "INSERT OR REPLACE INTO selections (plugin, used, before) VALUES (?1, ?2, ?3)";
    connection.execute(replaced, params![plugin, selection.used, selection.before])?;
    Ok(())
}

pub(super) fn documents(
    connection: &Connection,
    table: &'static str,
) -> rusqlite::Result<Result<BTreeMap<String, Value>, StoreError>> {
    let mut rows = connection.prepare_cached(&format!("SELECT connector, body FROM {table}"))?;
    let mut rows = rows.query([])?;
    let mut documents = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (connector, body): (String, String) = (row.get(0)?, row.get(1)?);
        match serde_json::from_str(&body) {
            Ok(body) => documents.insert(connector, body),
            Err(error) => {
                let what = format!("connector {connector} in {table}");
                return Ok(Err(StoreError::Unreadable { what, problem: error.to_string() }));
            }
        };
    }
    Ok(Ok(documents))
}

pub(super) fn set_document(
    connection: &Connection,
    table: &'static str,
    connector: &str,
    body: &str,
) -> rusqlite::Result<()> {
    let replaced = format!("INSERT OR REPLACE INTO {table} (connector, body) VALUES (?1, ?2)");
    connection.execute(&replaced, [connector, body])?;
    Ok(())
}

pub(super) fn remove_document(
    connection: &Connection,
    table: &'static str,
    connector: &str,
) -> rusqlite::Result<()> {
    connection.execute(&format!("DELETE FROM {table} WHERE connector = ?1"), [connector])?;
    Ok(())
}

pub(super) fn count_documents(
    connection: &Connection,
    table: &'static str,
) -> rusqlite::Result<usize> {
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
}

/// Names and files.
pub(super) fn secrets(
    connection: &Connection,
    connector: &str,
) -> rusqlite::Result<Vec<(String, String)>> {
    let mut rows = connection
        .prepare_cached("SELECT name, file FROM secrets WHERE connector = ?1 ORDER BY name")?;
    rows.query_map([connector], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Never the same twice, so that a new file never takes the place of one that still counts.
pub(super) fn next_secret(connection: &Connection) -> rusqlite::Result<i64> {
    connection.execute("DELETE FROM secret_numbers", [])?;
    connection.execute("INSERT INTO secret_numbers DEFAULT VALUES", [])?;
    Ok(connection.last_insert_rowid())
}

pub(super) fn set_secret(
    connection: &Connection,
    connector: &str,
    name: &str,
    file: &str,
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO secrets (connector, name, file) VALUES (?1, ?2, ?3)",
        [connector, name, file],
    )?;
    Ok(())
}

pub(super) fn remove_secret(
    connection: &Connection,
    connector: &str,
    name: &str,
) -> rusqlite::Result<()> {
    let removed = "DELETE FROM secrets WHERE connector = ?1 AND name = ?2";
    connection.execute(removed, [connector, name])?;
    Ok(())
}
