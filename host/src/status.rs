//! The status board: how each connector is right now, for REST and the doctor.
//!
//! It holds what the journal does not: sockets, counters, the last error. What the PBX looks like is call
//! state and lives in `calls`.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use calls::{ConnectorId, Timestamp};
use plugin_runtime::{Log, Manifest, ShadowReport, Usage};

use crate::plugins::{ProbationView, Swaps};

/// All connectors' statuses. Clones show the same board.
#[derive(Clone, Debug, Default)]
pub struct StatusBoard {
    connectors: Arc<Mutex<BTreeMap<ConnectorId, ConnectorStatus>>>,
}

/// How one connector is.
#[derive(Clone, Debug)]
pub struct ConnectorStatus {
    /// Which.
    pub id: ConnectorId,
    /// In one word.
    pub word: StatusWord,
    /// Why it is so; empty when there is nothing to say.
    pub reason: String,
    /// Since when it is so.
    pub since: Timestamp,
    /// The last thing that went wrong, also when all is well again.
    pub last_error: Option<LastError>,
    /// Every configured link.
    pub links: Vec<LinkStatus>,
    /// What went through.
    pub counters: Counters,
    /// What the plugin's instance has done and uses.
    pub usage: Usage,
    /// The plugin; none when it could not be found or used.
    pub plugin: Option<PluginInfo>,
    /// Its thread runs. False: it is not to run, or, if the word is `failed`, restart the host and report it.
    pub alive: bool,
    /// Its swaps.
    pub swaps: Swaps,
    /// A swap that can still be undone by itself.
    pub probation: Option<ProbationView>,
    /// A version that runs beside it with its effects discarded.
    pub shadow: Option<ShadowReport>,
    /// How often its plugin had to begin anew.
    pub restarts: u64,
    /// What its plugin logs.
    pub log: Option<Log>,
    /// A capture to a file is under way.
    pub capturing: bool,
}

/// A connector in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusWord {
    /// Not dialled yet.
    Starting,
    /// Dialling, logging in, or reading the first picture.
    Connecting,
    /// Sees the PBX live.
    Connected,
    /// Was connected, and dials again.
    Disconnected,
    /// The PBX does not want us: somebody must act.
    Refused,
    /// The plugin does not work: somebody must act.
    Failed,
    /// It is not to run, or waits for somebody's consent.
    Disabled,
}

impl StatusWord {
    /// As on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
        }
    }
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// What.
    pub message: String,
    /// What to do; empty when nothing.
    pub fix: String,
    /// When.
    pub at: Timestamp,
}

/// One link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// As in the config.
    pub name: String,
    /// E.g. `tls://pbx.example.org:5039`.
    pub peer: String,
    /// In one word.
    pub state: LinkWord,
    /// Counts its connections.
    pub epoch: u64,
    /// When it is dialled again; none while it is up, or when only the admin can mend it.
    pub next_dial_at: Option<Timestamp>,
}

/// A link in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkWord {
    /// Waits to be dialled.
    Down,
    /// Is dialled.
    Dialling,
    /// Is connected.
    Up,
}

impl LinkWord {
    /// As on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Dialling => "dialling",
            Self::Up => "up",
        }
    }
}

/// What went through a connector since the start of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// From the PBX.
    pub bytes_in: u64,
    /// To the PBX.
    pub bytes_out: u64,
    /// Told by the plugin, pictures included.
    pub facts: u64,
    /// Commands handed to the plugin.
    pub commands: u64,
    /// Connections after the first of each link.
    pub reconnects: u64,
    /// Dials that did not succeed.
    pub failed_dials: u64,
    /// Secrets masked in what the PBX said.
    pub masked_secrets: u64,
    /// Bytes the plugin could not take.
    pub quarantined_bytes: u64,
}

/// The plugin of a connector.
#[derive(Clone, Debug)]
pub struct PluginInfo {
    /// What it says about itself.
    pub manifest: Manifest,
    /// SHA-256 of the component.
    pub sha256: String,
    /// Where it was read from.
    pub file: PathBuf,
    /// It can hand over its state.
    pub has_snapshot: bool,
}

impl PluginInfo {
    /// `asterisk 0.1.0`
    pub fn name_and_version(&self) -> String {
        format!("{} {}", self.manifest.id, self.manifest.version)
    }
}

impl StatusBoard {
    /// Puts a connector on the board.
    pub fn put(&self, status: ConnectorStatus) {
        self.lock().insert(status.id.clone(), status);
    }

    /// Takes a connector off the board.
    pub fn remove(&self, id: &ConnectorId) {
        self.lock().remove(id);
    }

    /// One connector.
    pub fn get(&self, id: &ConnectorId) -> Option<ConnectorStatus> {
        self.lock().get(id).cloned()
    }

    /// All connectors, by id.
    pub fn all(&self) -> Vec<ConnectorStatus> {
        self.lock().values().cloned().collect()
    }

    /// Every plugin in use, once, with the connectors that use it.
    pub fn plugins(&self) -> Vec<(PluginInfo, Vec<ConnectorId>)> {
        let mut plugins: BTreeMap<String, (PluginInfo, Vec<ConnectorId>)> = BTreeMap::new();
        for status in self.lock().values() {
            let Some(plugin) = &status.plugin else { continue };
            plugins
                .entry(plugin.sha256.clone())
                .or_insert_with(|| (plugin.clone(), Vec::new()))
                .1
                .push(status.id.clone());
        }
        plugins.into_values().collect()
    }

    /// Changes one connector's status. `change` must not block: readers wait for it.
    pub fn update(&self, id: &ConnectorId, change: impl FnOnce(&mut ConnectorStatus)) {
        if let Some(status) = self.lock().get_mut(id) {
            change(status);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ConnectorId, ConnectorStatus>> {
        // A status is plain data: whoever panicked left at worst an old one.
        self.connectors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectorStatus {
    /// Sets the word; the time changes only with it.
    pub fn set(&mut self, word: StatusWord, reason: impl Into<String>, now: Timestamp) {
        if self.word != word {
            self.since = now;
        }
        self.word = word;
        self.reason = reason.into();
    }

    /// Remembers what went wrong.
    pub fn fail(&mut self, message: impl Into<String>, fix: impl Into<String>, now: Timestamp) {
        self.last_error = Some(LastError { message: message.into(), fix: fix.into(), at: now });
    }
}
