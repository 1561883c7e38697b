//! Plugins over years: which version of which plugin each connector runs, and how that changes while calls go on.
//!
//! ```text
//! config file --.
//!                >-- desired --(keeper)--> connectors started, swapped, restarted, stopped
//! REST, CLI ----'                 |
//!                                 '--> views, report, audit log
//! ```
//!
//! [`Keeper`] is the handle; one task behind it makes what is out of what is wanted, one change after the other.
//! What the config file sets belongs to it: nobody else may change that key.

pub mod audit;
pub mod compile;
mod desired;
mod difference;
mod hook_views;
mod hooks;
mod keeper;
mod library;
mod recordings;
pub(crate) mod rehearsal;
mod report;
mod shared;
pub mod signing;
pub mod store;
mod verdict;
mod views;
mod watch;

use std::{path::PathBuf, sync::Arc};

use calls::Actor;
use plugin_runtime::{LogLine, Recording};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

pub use keeper::{Foundation, KeeperTask};
pub(crate) use keeper::{idle_policy, overlay_ids};

pub use hook_views::{CanaryView, HookView};
pub use report::{Change, ChangeKind, Report};
pub use views::{
    InstanceView, InstanceWord, KeyView, Owner, PermissionState, PermissionView, PluginView,
    ProbationView, RecordingFile, RecordingKind, RunningVersion, Swaps, VersionView,
    WaitingVersion,
};

use crate::{
    config::{CanaryConfig, Complaint},
    connectors::Control,
    hooks::store::Pair,
};

/// Changes that may wait for their turn.
const WAITING_CHANGES: usize = 32;

/// The handle to the one task that keeps connectors as they are wanted. Clones reach the same task.
#[derive(Clone, Debug)]
pub struct Keeper {
    asks: mpsc::Sender<Ask>,
    shared: Option<Arc<shared::Shared>>,
}

/// Why a change was not made. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The config file sets this key.
    #[error(
        "{key} is set in {}, line {line}; fix: change it there, or remove it there to set it here", file.display()
    )]
    OwnedByFile {
        /// The config file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// E.g. `connectors.hq.settings.username`.
        key: String,
    },
    /// What was sent cannot be used. A complaint with line 0 is about what was sent, not about the file.
    #[error("{}", listed(.0))]
    Invalid(Vec<Complaint>),
    /// There is no such thing.
    #[error("there is no {what}; fix: {fix}")]
    NotFound {
        /// E.g. `connector "hq"`.
        what: String,
        /// What to do.
        fix: String,
    },
    /// It contradicts what is.
    #[error("{message}; fix: {fix}")]
    Conflict {
        /// What stands against it.
        message: String,
        /// What to do.
        fix: String,
    },
    /// A component that cannot be installed, or the store cannot take it.
    #[error("{message}; fix: {fix}")]
    Install {
        /// What is wrong with it.
        message: String,
        /// What to do.
        fix: String,
        /// It is ours: the disk, the compiler's process. Otherwise the component's.
        ours: bool,
    },
    /// The connector did not answer in time.
    #[error("connector {connector} is busy; fix: try again in a moment")]
    Busy {
        /// Which.
        connector: String,
    },
    /// The host is going down, or does not keep connectors.
    #[error("the host is stopping; try again when it is back")]
    Stopping,
}

fn listed(complaints: &[Complaint]) -> String {
    let line = |complaint: &Complaint| {
        format!("{}: {}; fix: {}", complaint.key, complaint.message, complaint.fix)
    };
    complaints.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Counts from 1, without holes.
    pub id: u64,
    /// When.
    pub at: calls::Timestamp,
    /// Who: `token chat`, `config`, `host`.
    pub actor: String,
    /// What was done, e.g. `plugin.swap`.
    pub action: String,
    /// To what, e.g. `connector hq`.
    pub subject: String,
    /// How; never a secret.
    pub detail: String,
    /// Of this entry and the one before, lower-case hex.
    pub hash: String,
}

#[derive(Debug)]
struct Ask {
    wish: Wish,
    actor: Actor,
    answer: oneshot::Sender<Result<Report, KeeperError>>,
}

#[derive(Debug)]
enum Wish {
    Reload,
    FilesChanged,
    Installed { plugin: String, sha256: String },
    UseVersion { plugin: String, version: String },
    RollBack { plugin: String },
    Uninstall { plugin: String },
    Change { connector: String, patch: serde_json::Value },
    Remove { connector: String },
    Shadow { connector: String, version: Option<String> },
    Canary { hook: String, wish: Option<CanaryConfig> },
}

/// A capture grows to this at most, in memory.
const MAX_CAPTURE: usize = 64 << 20;

impl Keeper {
    /// Of a host without plugins, as tests of other parts want it: there is nothing, and nothing can be changed.
    pub fn nobody() -> Self {
        Self { asks: mpsc::channel(WAITING_CHANGES).0, shared: None }
    }

    async fn ask(&self, wish: Wish, actor: &Actor) -> Result<Report, KeeperError> {
        let (answer, done) = oneshot::channel();
        let ask = Ask { wish, actor: actor.clone(), answer };
        self.asks.send(ask).await.map_err(|_| KeeperError::Stopping)?;
        done.await.map_err(|_| KeeperError::Stopping)?
    }

    fn shared(&self) -> Result<&Arc<shared::Shared>, KeeperError> {
        self.shared.as_ref().ok_or(KeeperError::Stopping)
    }

    /// Reads the config file again and applies the difference. A file with mistakes changes nothing.
    pub async fn reload(&self, actor: &Actor) -> Result<Report, KeeperError> {
        let shared = Arc::clone(self.shared()?);
        // New components are compiled here, so that nobody else's change waits for it.
        keeper::blocking(move || {
            if let Ok(config) = keeper::read(&shared.config().file) {
                shared.library.warm(&config);
            }
        })
        .await;
        self.ask(Wish::Reload, actor).await
    }

    /// Checks a component and puts it into the store; `signature` is the text of its `.minisig`. Connectors whose
    /// plugin it is take it up by the rules for updates.
    pub async fn install(
        &self,
        wasm: Vec<u8>,
        signature: Option<String>,
        actor: &Actor,
    ) -> Result<Report, KeeperError> {
        let library = Arc::clone(&self.shared()?.library);
        let by = actor.clone();
        let installed = keeper::blocking(move || {
            let source = format!("upload by {}", audit::actor_text(&by));
            library.install(&wasm, signature.as_deref(), &source, &by)
        })
        .await?;
        let store::Version { plugin, sha256, .. } = installed.version;
        let mut report =
            self.ask(Wish::Installed { plugin: plugin.clone(), sha256 }, actor).await?;
        if let Some(warning) = installed.warning {
            let (message, fix) = library::split_fix(&warning.to_string());
            let key = format!("plugin {plugin}");
            report.warnings.push(Complaint { place: Default::default(), key, message, fix });
        }
        Ok(report)
    }

    /// Makes every connector of the plugin run this version: a version number, a SHA-256, or the beginning of
    /// one of at least eight digits. A version that was rejected is tried again.
    pub async fn use_version(
        &self,
        plugin: &str,
        version_or_sha: &str,
        actor: &Actor,
    ) -> Result<Report, KeeperError> {
        let wish = Wish::UseVersion { plugin: plugin.into(), version: version_or_sha.into() };
        self.ask(wish, actor).await
    }

    /// Back to the version before, which was in use.
    pub async fn roll_back(&self, plugin: &str, actor: &Actor) -> Result<Report, KeeperError> {
        self.ask(Wish::RollBack { plugin: plugin.into() }, actor).await
    }

    /// Takes every version of the plugin out of the store; refused while an enabled connector uses it.
    pub async fn uninstall(&self, plugin: &str, actor: &Actor) -> Result<Report, KeeperError> {
        self.ask(Wish::Uninstall { plugin: plugin.into() }, actor).await
    }

    /// Changes what is wanted of a connector, as an RFC 7396 merge patch of the keys that REST owns: `plugin`,
    /// `version`, `enabled`, `settings`, `links`, `secrets` (texts, write-only), `limits`, `grants`, `declined`,
    /// `allow_plaintext`. A new id makes a new connector. All of it or nothing happens.
    pub async fn change(
        &self,
        connector: &str,
        patch: serde_json::Value,
        actor: &Actor,
    ) -> Result<Report, KeeperError> {
        self.ask(Wish::Change { connector: connector.into(), patch }, actor).await
    }

    /// Removes all that REST has set of a connector; one that the config file does not name is gone then.
    pub async fn remove(&self, connector: &str, actor: &Actor) -> Result<Report, KeeperError> {
        self.ask(Wish::Remove { connector: connector.into() }, actor).await
    }

    /// Runs a kept version beside the connector on the same inputs with its effects discarded; none ends it.
    pub async fn shadow(
        &self,
        connector: &str,
        version_or_sha: Option<&str>,
        actor: &Actor,
    ) -> Result<(), KeeperError> {
        let version = version_or_sha.map(str::to_owned);
        self.ask(Wish::Shadow { connector: connector.into(), version }, actor).await.map(drop)
    }

    /// Tries a kept version of a hook on some of the calls; none ends it.
    pub async fn canary(
        &self,
        hook: &str,
        wish: Option<CanaryConfig>,
        actor: &Actor,
    ) -> Result<Report, KeeperError> {
        self.ask(Wish::Canary { hook: hook.into(), wish }, actor).await
    }

    /// Every hook, by id.
    pub fn hooks(&self) -> Vec<HookView> {
        self.shared.as_ref().map(|shared| shared.hooks()).unwrap_or_default()
    }

    /// One hook.
    pub fn hook(&self, id: &str) -> Option<HookView> {
        self.hooks().into_iter().find(|hook| hook.id == id)
    }

    /// The last lines of a hook's log, oldest first; none when there is no such hook.
    pub fn hook_log(&self, id: &str) -> Option<Vec<LogLine>> {
        self.shared.as_ref()?.hook_log(id)
    }

    /// What a hook keeps: keys that begin like this and come after that, in order.
    pub fn hook_pairs(
        &self,
        hook: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Pair>, KeeperError> {
        let pairs = self.shared()?.hook_store.page(hook, prefix, after, limit);
        pairs.map_err(|error| {
            let (message, fix) = library::split_fix(&error.to_string());
            KeeperError::Install { message, fix, ours: true }
        })
    }

    /// Begins or ends a capture to a file; the file when it ended. `redact` puts tokens in the place of callers'
    /// numbers in it.
    pub async fn capture(
        &self,
        connector: &str,
        on: bool,
        redact: bool,
        actor: &Actor,
    ) -> Result<Option<PathBuf>, KeeperError> {
        let shared = Arc::clone(self.shared()?);
        let handle = shared.handle(connector).ok_or_else(|| not_running(connector))?;
        let most = on.then_some(MAX_CAPTURE);
        let ended =
            shared::order(&handle.controls, connector, |answer| Control::Capture { most, answer })
                .await?;
        let (id, actor) = (connector.to_owned(), actor.clone());
        keeper::blocking(move || {
            let detail = json!({ "on": on });
            let subject = format!("connector {id}");
            let written = match ended {
                Some(recording) => {
                    let kind = RecordingKind::Capture;
                    let kept = recordings::keep(
                        &shared.recordings(),
                        &id,
                        kind,
                        &recording,
                        &handle.secrets,
                        redact,
                    );
                    Some(kept.map_err(|error| recordings::refused(&error))?)
                }
                None => None,
            };
            shared.library.note(&actor, "connector.capture", &subject, &detail)?;
            Ok(written)
        })
        .await
    }

    /// What a connector was told and answered in the last minutes.
    pub async fn recording(&self, connector: &str) -> Result<Recording, KeeperError> {
        let handle = self.shared()?.handle(connector).ok_or_else(|| not_running(connector))?;
        let answered =
            shared::order(&handle.controls, connector, |answer| Control::Recording { answer });
        answered.await?.ok_or_else(|| not_running(connector))
    }

    /// The same as a file, with tokens in the place of callers' numbers when asked.
    pub async fn ring(&self, connector: &str, redact: bool) -> Result<std::fs::File, KeeperError> {
        let handle = self.shared()?.handle(connector).ok_or_else(|| not_running(connector))?;
        let recording = self.recording(connector).await?;
        keeper::blocking(move || recordings::unnamed(&recording, &handle.secrets, redact))
            .await
            .map_err(|error| recordings::refused(&error))
    }

    /// Every plugin that is kept or in use, by id.
    pub fn plugins(&self) -> Vec<PluginView> {
        self.shared.as_ref().map(|shared| shared.plugins().to_vec()).unwrap_or_default()
    }

    /// One plugin.
    pub fn plugin(&self, id: &str) -> Option<PluginView> {
        self.plugins().into_iter().find(|plugin| plugin.id == id)
    }

    /// Every connector, by id.
    pub fn instances(&self) -> Vec<InstanceView> {
        self.shared.as_ref().map(|shared| shared.instances()).unwrap_or_default()
    }

    /// One connector.
    pub fn instance(&self, connector: &str) -> Option<InstanceView> {
        self.shared.as_ref()?.instance(connector)
    }

    /// The last lines of a connector's log, oldest first; none when there is no such connector.
    pub fn log(&self, connector: &str) -> Option<Vec<LogLine>> {
        self.shared.as_ref()?.log(connector)
    }

    /// What a reload would change: the running state against the config file.
    /// It reads files: call it where that may take a moment.
    pub fn difference(&self) -> Result<Report, KeeperError> {
        difference::difference(self.shared()?)
    }

    /// Entries of the audit log after that id, oldest first.
    pub fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, KeeperError> {
        Ok(self.shared()?.library.store.audit(after, limit)?)
    }

    /// Where the keeper's files are: the store with its audit log, and the recordings.
    pub fn folders(&self) -> Option<(PathBuf, PathBuf)> {
        let shared = self.shared.as_ref()?;
        Some((store::Store::beside(&shared.config().journal.path), shared.recordings()))
    }
}

fn not_running(connector: &str) -> KeeperError {
    KeeperError::Conflict {
        message: format!("connector {connector} does not run"),
        fix: "enable it, or see in its status why it does not".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
