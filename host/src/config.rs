//! The configuration: one TOML file, read once into types that cannot be wrong.
//!
//! Every complaint names file, line, column, dotted key and the fix, and as many as possible come at once.
//! What needs a plugin's manifest (default ports, schemas of settings) is checked in [`crate::connectors`],
//! which finds the lines of keys with [`Config::complaint`].

mod document;
mod hooks;
pub mod schema;
mod secret;
mod sections;
mod url;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use calls::{ConnectorId, event::Agent};

pub(crate) use document::nearest;
pub use hooks::{CanaryConfig, HookInstanceConfig, HookLimitsConfig, HooksConfig};
pub use secret::SecretText;
pub(crate) use secret::{Unusable as UnusableSecret, from_file as secret_from_file};
pub use url::{LinkUrl, Transport};

use crate::plugins::signing::{SignaturePolicy, Signing};

/// The largest config file that is read.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Everything the admin wrote, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// `[api]`
    pub api: ApiConfig,
    /// `[journal]`
    pub journal: JournalConfig,
    /// `[plugins]`
    pub plugins: PluginsConfig,
    /// `[connectors.<id>]`
    pub connectors: Vec<ConnectorConfig>,
    /// `[agents.<id>]`
    pub agents: Vec<Agent>,
    /// `[hooks]`
    pub hooks: HooksConfig,
    /// What can be used and still deserves a word.
    pub warnings: Vec<Complaint>,
    places: BTreeMap<String, Place>,
}

/// `[api]`: where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// Loopback, unless `tls` or `allow_plaintext` is set.
    pub listen: SocketAddr,
    /// Origins of browsers that may call the API.
    pub cors: Vec<String>,
    /// Certificate and key.
    pub tls: Option<TlsFiles>,
}

/// PEM files of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// `[journal]`: where events are kept, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// The database file.
    pub path: PathBuf,
    /// Older events may go.
    pub keep_days: u32,
    /// Above this size the oldest events go.
    pub keep_mib: u32,
}

/// `[plugins]`: where plugins come from, and how they are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginsConfig {
    /// Where plugins named by id are looked for first.
    pub dir: Option<PathBuf>,
    /// Changes of this file and of plugins' files are noticed and applied by themselves.
    pub watch: bool,
    /// How long a new version can be undone by itself.
    pub probation: Duration,
    /// A new version that does not take the old one's state: dial again and resync, or keep the old one.
    pub redial: bool,
    /// What is asked of signatures, and whose count.
    pub signing: Signing,
}

impl Default for PluginsConfig {
    fn default() -> Self {
        Self {
            dir: None,
            watch: true,
            probation: Duration::from_secs(60),
            redial: true,
            // As when the section is there and says nothing of it.
            signing: Signing::new(SignaturePolicy::Off, &[]).unwrap_or_default(),
        }
    }
}

/// `[connectors.<id>]`: one instance of a connector plugin.
#[derive(Clone, Debug)]
pub struct ConnectorConfig {
    /// As in `[connectors.<id>]`.
    pub id: ConnectorId,
    /// Which component.
    pub plugin: PluginSource,
    /// Only this version of a plugin named by id.
    pub version: Option<String>,
    /// It shall run; none: it shall.
    pub enabled: Option<bool>,
    /// Peers by link name.
    pub links: BTreeMap<String, LinkConfig>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, SecretText>,
    /// For the plugin, by its own schema; an object.
    pub settings: serde_json::Value,
    /// What the plugin may do, e.g. `link:ami`.
    pub grants: Vec<String>,
    /// What it asks for and may not have: it runs without.
    pub declined: Vec<String>,
    /// What it may use; none is the default.
    pub limits: LimitsConfig,
    /// Plain `tcp://` to another machine is what the admin wants.
    pub allow_plaintext: bool,
    /// What the host itself reads from the settings.
    pub numbers: NumberRules,
    /// The zone of days and figures, e.g. `Europe/Berlin`.
    pub time_zone: Option<String>,
    /// Rules for queues by native name.
    pub queues: BTreeMap<String, QueueConfig>,
    /// The section as it is written; secrets are references in it.
    pub raw: serde_json::Value,
}

/// How numbers are read at one connector.
#[derive(Clone, Debug, Default)]
pub struct NumberRules {
    /// ISO 3166 code; without it only numbers with `+` become E.164.
    pub country: Option<String>,
    /// What an extension looks like.
    pub extensions: Option<regex_lite::Regex>,
}

/// Where a component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    /// By id: `<dir>/<id>.wasm` in the places of [`Config::plugin_dirs`].
    Id(String),
    /// A file.
    File(PathBuf),
}

/// `links.<name>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// The peer.
    pub url: LinkUrl,
    /// PEM file with the only certificates that are trusted for it.
    pub ca: Option<PathBuf>,
}

/// `limits`; none: the plugin runtime's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the plugin runtime's `Limits` documents each")]
pub struct LimitsConfig {
    pub memory_mib: Option<u32>,
    pub step_ms: Option<u32>,
    pub snapshot_kib: Option<u32>,
    pub effects_per_step: Option<u32>,
    pub bytes_per_step: Option<u32>,
    pub log_lines_per_sec: Option<u32>,
    pub recoveries_per_minute: Option<u32>,
    pub http_per_minute: Option<u32>,
    pub recording_kib: Option<u32>,
    pub recording_minutes: Option<u32>,
}

/// `queues.<name>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// `restore`; none: the default.
    pub restore: Option<RestoreConfig>,
    /// The queue's own zone; none: the connector's.
    pub time_zone: Option<String>,
}

/// What is put back after a restart of the PBX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreConfig {
    /// `members-and-pauses`
    MembersAndPauses,
    /// `nothing`
    Nothing,
}

/// Where in the file, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "lines and columns")]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// Something in the file that cannot be, or should not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Where.
    pub place: Place,
    /// The dotted key; empty where there is none.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file itself.
    #[error("cannot read {}: {source}\n  fix: name an existing file, e.g. `jackfield serve --config jackfield.toml`", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is in it.
    #[error("{}", Listing { file, complaints })]
    Complaints {
        /// The file.
        file: PathBuf,
        /// All that was found.
        complaints: Vec<Complaint>,
    },
}

/// Complaints as lines for a person.
pub(crate) struct Listing<'c> {
    pub(crate) file: &'c Path,
    pub(crate) complaints: &'c [Complaint],
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, complaint) in self.complaints.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            let Place { line, column } = complaint.place;
            write!(f, "{separator}{}:{line}:{column}: ", self.file.display())?;
            if !complaint.key.is_empty() {
                write!(f, "{}: ", complaint.key)?;
            }
            write!(f, "{}\n  fix: {}", complaint.message, complaint.fix)?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads a file, with secrets from this process's environment.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        use std::io::Read;

        let unreadable = |source| ConfigError::Unreadable { file: file.to_owned(), source };
        let mut bytes = Vec::new();
        std::fs::File::open(file)
            .and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
            .map_err(unreadable)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(unreadable(std::io::Error::other("it is larger than 4 MiB")));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| unreadable(std::io::Error::other("it is not UTF-8 text")))?;
        Self::parse(&text, file, &|name| std::env::var(name).ok())
    }

    /// Reads a text as if it stood in `file`.
    pub fn parse(
        text: &str,
        file: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        sections::read(text, file, environment)
    }

    /// A complaint about a key, with the place of the key or of the nearest table around it.
    pub fn complaint(
        &self,
        key: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Complaint {
        let mut nearest = key;
        let place = loop {
            if let Some(place) = self.places.get(nearest) {
                break *place;
            }
            match nearest.rfind(['.', '[']) {
                Some(cut) => nearest = &nearest[..cut],
                None => break Place { line: 1, column: 1 },
            }
        };
        Complaint { place, key: key.to_owned(), message: message.into(), fix: fix.into() }
    }

    /// Where a key is set; none when it is not.
    pub fn place(&self, key: &str) -> Option<Place> {
        self.places.get(key).copied()
    }

    /// Complaints as an error about this file.
    pub fn refuse(&self, complaints: Vec<Complaint>) -> ConfigError {
        ConfigError::Complaints { file: self.file.clone(), complaints }
    }

    /// The hashes of the API's tokens, beside the journal.
    pub fn tokens_file(&self) -> PathBuf {
        self.journal.path.with_extension("tokens.db")
    }

    /// The folder of what is kept of plugins, beside the journal.
    pub fn store_folder(&self) -> PathBuf {
        crate::plugins::store::Store::beside(&self.journal.path)
    }

    /// Where plugins named by id are looked for, in order.
    pub fn plugin_dirs(&self) -> Vec<PathBuf> {
        let beside_binary = || {
            let binary = std::env::current_exe().ok()?;
            Some(binary.parent()?.join("../plugins"))
        };
        self.plugins
            .dir
            .clone()
            .into_iter()
            .chain(std::env::var_os("JACKFIELD_PLUGINS_DIR").map(PathBuf::from))
            .chain(beside_binary())
            .collect()
    }
}
