//! Placeholder while the body is being built.

use std::time::Duration;

use calls::Now;

use crate::{FailureKind, Input, Limits, Outcome, Plugin, Usage};

/// How a connector is configured, without any secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceConfig {
    /// Its id in the config, e.g. `hq`.
    pub id: String,
    /// Its settings as JSON text.
    pub settings: String,
    /// Links that are configured: name and peer, e.g. `ami` and `tls://pbx.example.org:5039`.
    pub links: Vec<(String, String)>,
    /// What the admin allows: `link:ami`; `plain:ami` for secrets in the clear; `http:crm.example.org`.
    pub grants: Vec<String>,
    /// What it may use.
    pub limits: Limits,
}

/// A connector that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings are no JSON.
    #[error("the settings of connector `{connector}` are not JSON: {problem}")]
    Settings {
        /// The connector.
        connector: String,
        /// What the reader says.
        problem: String,
    },
    /// A link the plugin does not know.
    #[error("connector `{connector}` has the link `{link}`, but the plugin only knows: {known}")]
    UnknownLink {
        /// The connector.
        connector: String,
        /// The link.
        link: String,
        /// Those the manifest names.
        known: String,
    },
    /// A required link is missing.
    #[error("connector `{connector}` needs the link `{link}`; add `links.{link}` to its config")]
    MissingLink {
        /// The connector.
        connector: String,
        /// The link.
        link: String,
    },
    /// A link without grant.
    #[error("connector `{connector}` may not use its link `{link}`; add \"link:{link}\" to its `grants`")]
    NotGranted {
        /// The connector.
        connector: String,
        /// The link.
        link: String,
    },
    /// The plugin failed to start.
    #[error("the plugin of connector `{connector}` does not start ({}): {message}", .kind.code())]
    Failed {
        /// The connector.
        connector: String,
        /// How.
        kind: FailureKind,
        /// In its own words.
        message: String,
    },
}

/// A running connector: a guest under supervision.
pub struct Connector {
    _private: (),
}

impl Connector {
    /// Starts an instance. It knows of no link yet.
    pub fn start(
        _plugin: &Plugin,
        config: InstanceConfig,
        _now: Now,
    ) -> Result<(Self, Outcome), StartError> {
        Err(StartError::Failed {
            connector: config.id,
            kind: FailureKind::Error,
            message: "not built yet".into(),
        })
    }

    /// Takes inputs in order. Call it without inputs at [`wake_at`](Self::wake_at).
    pub fn handle(&mut self, _inputs: Vec<Input>, _now: Now) -> Outcome {
        Outcome::default()
    }

    /// Monotonic time at which the connector wants to be called without inputs.
    pub fn wake_at(&self) -> Option<Duration> {
        None
    }

    /// What it has done and uses.
    pub fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Is it given up? Then it answers commands with failures, does nothing else, and must be replaced.
    pub fn is_given_up(&self) -> bool {
        false
    }
}
