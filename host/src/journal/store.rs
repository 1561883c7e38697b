//! Reading what is committed, beside the writer.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use rusqlite::{Connection, OpenFlags, Row, params};
use serde::Deserialize;

use crate::wire::{self, NotAnEvent};

/// A committed event, ready to be sent, with what filters look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `wire::Event`")]
pub struct Published {
    pub seq: u64,
    pub kind: Box<str>,
    pub connector: Option<Box<str>>,
    pub queue: Option<Box<str>>,
    pub agent: Option<Box<str>>,
    pub call: Option<Box<str>>,
    /// The whole event as one line.
    pub json: Box<str>,
}

impl From<&calls::Event> for Published {
    fn from(event: &calls::Event) -> Self {
        let boxed = |id: &dyn std::fmt::Display| id.to_string().into_boxed_str();
        let about = &event.about;
        Self {
            seq: event.seq,
            kind: wire::type_of(&event.body).into(),
            connector: event.connector.as_ref().map(|id| boxed(id)),
            queue: about.queue.as_ref().map(|id| boxed(id)),
            agent: about.agent.as_ref().map(|id| boxed(id)),
            call: about.call.as_ref().map(|id| boxed(id)),
            json: wire::Event::from(event).to_json().into(),
        }
    }
}

/// Why committed events cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database.
    #[error("journal: {0}")]
    Database(#[from] rusqlite::Error),
    /// A row.
    #[error("journal: {0}")]
    Event(#[from] NotAnEvent),
}

/// Reads the journal's file through connections of its own. Blocking: call it off the async threads.
pub struct Store {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

/// Connections kept open.
const IDLE: usize = 4;

#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    connector: Option<Box<str>>,
    queue: Option<Box<str>>,
    agent: Option<Box<str>>,
    call: Option<Box<str>>,
}

impl Store {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default() }
    }

    /// Up to `limit` events after `after`.
    pub fn read_from(&self, after: u64, limit: usize) -> Result<Vec<Published>, StoreError> {
        self.with(|connection| {
            let mut rows = connection.prepare_cached(
                "SELECT seq, schema, body FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            read(rows.query(params![after as i64, limit as i64])?)
        })
    }

    /// Up to `limit` events of a call after `after`.
    pub fn by_call(
        &self,
        call: calls::CallId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Published>, StoreError> {
        self.with(|connection| {
            let mut rows = connection.prepare_cached(
                "SELECT seq, schema, body FROM events WHERE call = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
            )?;
            read(rows.query(params![call.to_string(), after as i64, limit as i64])?)
        })
    }

    /// The number of the oldest event that is kept.
    pub fn first(&self) -> Result<Option<u64>, StoreError> {
        self.with(|connection| {
            Ok(connection.query_row("SELECT min(seq) FROM events", [], |row| row.get(0))?)
        })
    }

    fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let reused = idle().pop();
        let connection = match reused {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = Connection::open_with_flags(&self.path, flags)?;
                connection.busy_timeout(std::time::Duration::from_secs(5))?;
                connection
            }
        };
        let answer = read(&connection)?;
        let mut idle = idle();
        if idle.len() < IDLE {
            idle.push(connection);
        }
        Ok(answer)
    }
}

fn read(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Published>, StoreError> {
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(published(row)?);
    }
    Ok(events)
}

fn published(row: &Row<'_>) -> Result<Published, StoreError> {
    let json = wire::current(row.get(1)?, row.get(2)?)?;
    let keys: Keys = serde_json::from_str(&json).map_err(NotAnEvent::from)?;
    let Keys { kind, connector, queue, agent, call } = keys;
    let kind = kind.into();
    Ok(Published { seq: row.get(0)?, kind, connector, queue, agent, call, json: json.into() })
}
