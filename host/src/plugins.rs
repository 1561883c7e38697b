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
#[allow(dead_code, reason = "the keeper lands next")]
mod desired;
mod report;
pub mod signing;
pub mod store;
mod views;

use std::path::PathBuf;

use calls::Actor;
use tokio::sync::{mpsc, oneshot};

pub use report::{Change, ChangeKind, Report};
pub use views::{
    InstanceView, InstanceWord, KeyView, Owner, PermissionState, PermissionView, PluginView,
    ProbationView, RecordingFile, RecordingKind, RunningVersion, Swaps, VersionView,
    WaitingVersion,
};

use crate::config::Complaint;

/// Changes that may wait for their turn.
const WAITING_CHANGES: usize = 32;

/// The handle to the one task that keeps connectors as they are wanted. Clones reach the same task.
#[derive(Clone, Debug)]
pub struct Keeper {
    asks: mpsc::Sender<Ask>,
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
#[expect(dead_code, reason = "the task that reads them lands next")]
struct Ask {
    wish: Wish,
    actor: Actor,
    answer: oneshot::Sender<Result<Report, KeeperError>>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "the task that reads them lands next")]
enum Wish {
    Reload,
    Install { wasm: Vec<u8>, signature: Option<String> },
    UseVersion { plugin: String, version: String },
    RollBack { plugin: String },
    Uninstall { plugin: String },
    Change { connector: String, patch: serde_json::Value },
    Remove { connector: String },
    Shadow { connector: String, version: Option<String> },
}

impl Keeper {
    /// Of a host without plugins, as tests of other parts want it: there is nothing, and nothing can be changed.
    pub fn nobody() -> Self {
        Self { asks: mpsc::channel(WAITING_CHANGES).0 }
    }

    async fn ask(&self, wish: Wish, actor: &Actor) -> Result<Report, KeeperError> {
        let (answer, done) = oneshot::channel();
        let ask = Ask { wish, actor: actor.clone(), answer };
        self.asks.send(ask).await.map_err(|_| KeeperError::Stopping)?;
        done.await.map_err(|_| KeeperError::Stopping)?
    }

    /// Reads the config file again and applies the difference. A file with mistakes changes nothing.
    pub async fn reload(&self, actor: &Actor) -> Result<Report, KeeperError> {
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
        self.ask(Wish::Install { wasm, signature }, actor).await
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

    /// Begins or ends a capture to a file; the file when it ended.
    pub async fn capture(
        &self,
        connector: &str,
        on: bool,
        actor: &Actor,
    ) -> Result<Option<PathBuf>, KeeperError> {
        let _ = (connector, on, actor);
        Err(KeeperError::Stopping)
    }

    /// Every plugin that is kept or in use, by id.
    pub fn plugins(&self) -> Vec<PluginView> {
        Vec::new()
    }

    /// One plugin.
    pub fn plugin(&self, id: &str) -> Option<PluginView> {
        self.plugins().into_iter().find(|plugin| plugin.id == id)
    }

    /// Every connector, by id.
    pub fn instances(&self) -> Vec<InstanceView> {
        Vec::new()
    }

    /// One connector.
    pub fn instance(&self, connector: &str) -> Option<InstanceView> {
        self.instances().into_iter().find(|instance| instance.id == connector)
    }

    /// What a reload would change: the running state against the config file.
    pub fn difference(&self) -> Result<Report, KeeperError> {
        Err(KeeperError::Stopping)
    }

    /// Entries of the audit log after that id, oldest first.
    pub fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, KeeperError> {
        let _ = (after, limit);
        Err(KeeperError::Stopping)
    }
}
