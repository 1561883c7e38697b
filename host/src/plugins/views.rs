//! How plugins and their instances are: what REST, the command line and metrics show.
//!
//! A view is a copy made for one reader. What is secret is never in it: of a secret it says only that it is set.

use std::path::PathBuf;

use calls::Timestamp;
use plugin_runtime::{Limits, Manifest, Permission, ShadowReport, Usage};

use crate::{
    config::Complaint,
    connectors::LoadedPlugin,
    status::{LastError, LinkStatus, StatusWord},
};

/// A plugin: every version of it that is kept or in use.
#[derive(Clone, Debug)]
pub struct PluginView {
    /// As the manifest says, e.g. `asterisk`.
    pub id: String,
    /// The newest installed first.
    pub versions: Vec<VersionView>,
    /// SHA-256 of the version chosen over REST or the command line; none: the watched folders decide.
    pub selected: Option<String>,
    /// SHA-256 of the version before it: where a rollback by hand goes.
    pub previous: Option<String>,
    /// Connectors that run it, or shall run it.
    pub used_by: Vec<String>,
}

/// One version of a plugin: one component.
#[derive(Clone, Debug)]
pub struct VersionView {
    /// As the manifest says.
    pub version: String,
    /// Of the component, lower-case hex.
    pub sha256: String,
    /// Of the component, in bytes.
    pub size: u64,
    /// Where it came from: a file, or whose upload.
    pub source: String,
    /// The name of the key that signed it.
    pub signed_by: Option<String>,
    /// When it was put into the store.
    pub installed_at: Timestamp,
    /// Why it is not used by itself any more: it was rolled back, and why.
    pub rejected: Option<String>,
    /// Connectors that run it now.
    pub used_by: Vec<String>,
    /// What it says about itself; none when the kept component cannot be read any more.
    pub manifest: Option<Manifest>,
}

/// A connector as an instance of its plugin: what is wanted, and what is.
#[derive(Clone, Debug)]
pub struct InstanceView {
    /// As in `[connectors.<id>]`.
    pub id: String,
    /// The plugin as it is configured: an id, or a path.
    pub plugin: String,
    /// What runs.
    pub running: Option<RunningVersion>,
    /// A newer version that waits, and why.
    pub waiting: Option<WaitingVersion>,
    /// What is wanted, key by key, e.g. `settings.username`; a secret's value is `"set"`.
    pub keys: Vec<KeyView>,
    /// The settings as they are wanted.
    pub settings: serde_json::Value,
    /// The settings that run; others than the wanted ones when those were refused.
    pub running_settings: Option<serde_json::Value>,
    /// Why it does not run as it is wanted; empty when it does.
    pub refused: Vec<Complaint>,
    /// In Rocket.Chat's words.
    pub status: InstanceWord,
    /// Why it is so; empty when there is nothing to say. `waiting_for_consent` begins the one that waits for a grant.
    pub reason: String,
    /// Since when it is so.
    pub since: Timestamp,
    /// The connector in one word, towards its PBX.
    pub link_status: Option<StatusWord>,
    /// The last thing that went wrong, also when all is well again.
    pub last_error: Option<LastError>,
    /// How often its plugin was started anew since the host started: cold starts and starts after it was given up.
    pub restarts: u64,
    /// Everything its plugin asks for.
    pub permissions: Vec<PermissionView>,
    /// A swap that can still be undone by itself.
    pub probation: Option<ProbationView>,
    /// A version that runs beside it with its effects discarded.
    pub shadow: Option<ShadowReport>,
    /// Its links.
    pub links: Vec<LinkStatus>,
    /// What it may use.
    pub limits: Limits,
    /// What it has done and uses.
    pub usage: Usage,
    /// Its swaps since the host started.
    pub swaps: Swaps,
    /// Crash bundles and captures that are kept, newest first.
    pub recordings: Vec<RecordingFile>,
    /// A capture to a file is under way.
    pub capturing: bool,
}

/// Which version a connector runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningVersion {
    /// The plugin's id, by its manifest.
    pub plugin: String,
    /// Its version, by its manifest.
    pub version: String,
    /// Of the component.
    pub sha256: String,
}

/// A version that shall run and does not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingVersion {
    /// By its manifest.
    pub version: String,
    /// Of the component.
    pub sha256: String,
    /// One sentence.
    pub why: String,
    /// The grants it waits for; empty when it waits for something else.
    pub missing: Vec<String>,
}

impl WaitingVersion {
    /// A version that asks for grants about which nobody has decided.
    pub(super) fn of(plugin: &LoadedPlugin, missing: &[Permission]) -> Self {
        let asks: Vec<String> = missing
            .iter()
            .map(|it| match it.reason.as_str() {
                "" => it.grant.clone(),
                reason => format!("{} ({reason})", it.grant),
            })
            .collect();
        let name = plugin.info.name_and_version();
        Self {
            version: plugin.info.manifest.version.clone(),
            sha256: plugin.info.sha256.clone(),
            why: format!("waiting_for_consent: {name} asks for {}", asks.join(", ")),
            missing: missing.iter().map(|it| it.grant.clone()).collect(),
        }
    }

    /// What to do about it.
    pub(super) fn fix(&self) -> String {
        let missing: Vec<String> =
            self.missing.iter().map(|grant| format!("\"{grant}\"")).collect();
        format!("add {} to its grants, or to its declined", missing.join(", "))
    }
}

/// One key of a connector.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyView {
    /// Below `connectors.<id>`, e.g. `settings.username`, `links.ami`, `enabled`.
    pub key: String,
    /// `"set"` for secrets.
    pub value: serde_json::Value,
    /// Who may change it.
    pub owner: Owner,
}

/// Who set a key: only that one may change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The config file.
    File {
        /// Which.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// REST or the command line.
    Rest,
}

/// A connector's status in the words of Rocket.Chat Apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceWord {
    /// Known, and not started yet.
    Initialized,
    /// Runs, because it is configured.
    AutoEnabled,
    /// Runs, because somebody enabled it.
    ManuallyEnabled,
    /// Somebody disabled it.
    ManuallyDisabled,
    /// Does not run; the reason says why, e.g. that it waits for consent.
    Disabled,
    /// Its plugin fails; it is tried again by itself, later and later.
    ErrorDisabled,
    /// Its component cannot be compiled.
    CompilerErrorDisabled,
    /// Its component is missing, damaged, or may not be used.
    InvalidInstallationDisabled,
    /// Its settings or links cannot be used.
    InvalidSettingsDisabled,
}

impl InstanceWord {
    /// As on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Self::Initialized => "initialized",
            Self::AutoEnabled => "auto_enabled",
            Self::ManuallyEnabled => "manually_enabled",
            Self::ManuallyDisabled => "manually_disabled",
            Self::Disabled => "disabled",
            Self::ErrorDisabled => "error_disabled",
            Self::CompilerErrorDisabled => "compiler_error_disabled",
            Self::InvalidInstallationDisabled => "invalid_installation_disabled",
            Self::InvalidSettingsDisabled => "invalid_settings_disabled",
        }
    }

    /// Does it run?
    pub fn is_enabled(self) -> bool {
        matches!(self, Self::AutoEnabled | Self::ManuallyEnabled)
    }
}

/// Something a plugin asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionView {
    /// As grants are written, e.g. `link:ami`.
    pub grant: String,
    /// Why, in the plugin's own words.
    pub reason: String,
    /// What granting it means, in the host's words.
    pub meaning: String,
    /// What the admin said.
    pub state: PermissionState,
    /// Who said it.
    pub owner: Option<Owner>,
    /// The running version asks for it; otherwise only a version that waits does.
    pub in_use: bool,
}

/// What the admin said to a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionState {
    /// Yes.
    Granted,
    /// No: the plugin runs without it.
    Declined,
    /// Nothing yet.
    Missing,
}

impl PermissionState {
    /// As on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Declined => "declined",
            Self::Missing => "missing",
        }
    }
}

/// A swap in the time in which it is undone by itself when the new version fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbationView {
    /// `name version` of the one it would go back to.
    pub from: String,
    /// Of the component it would go back to.
    pub from_sha256: String,
    /// `name version` of the one on probation.
    pub to: String,
    /// When it has passed.
    pub until: Timestamp,
}

/// Swaps of one connector since the host started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swaps {
    /// That took place.
    pub done: u64,
    /// Of them, those without the old version's state: with redial and resync.
    pub cold: u64,
    /// Undone, by themselves or by hand within probation.
    pub rolled_back: u64,
    /// The longest pause of one, in microseconds.
    pub max_pause_us: u64,
    /// The last pause, in microseconds.
    pub last_pause_us: u64,
}

/// A recording on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingFile {
    /// The file's name, which is its id over REST.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// In bytes.
    pub size: u64,
    /// When it was written.
    pub at: Timestamp,
    /// What it is.
    pub kind: RecordingKind,
}

/// Why there is a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingKind {
    /// The plugin failed.
    Crash,
    /// Somebody asked for it.
    Capture,
}

impl RecordingKind {
    /// As on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Capture => "capture",
        }
    }
}
