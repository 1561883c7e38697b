//! How hooks are: what REST, the command line and metrics show.

use std::sync::Arc;

use calls::Timestamp;
use plugin_runtime::hooks::HookLimits;

use super::{InstanceWord, Owner, PermissionView, RunningVersion, WaitingVersion};
use crate::{
    config::Complaint,
    hooks::{
        canary::{Budgets, Canary, Tally},
        meter::{Figures, HookMeter},
    },
};

/// A hook: what is wanted, and what is.
#[derive(Clone, Debug)]
pub struct HookView {
    /// As in `[hooks.instances.<id>]`.
    pub id: String,
    /// The plugin as it is configured: an id, or a path.
    pub plugin: String,
    /// What is called.
    pub running: Option<RunningVersion>,
    /// A newer version that waits, and why.
    pub waiting: Option<WaitingVersion>,
    /// What its plugin can be: `router`, `wait-treatment`, `observer`.
    pub kinds: Vec<&'static str>,
    /// What it is used as: `router` with its place in the chain, `wait-treatment`, `observer`.
    pub roles: Vec<String>,
    /// In Rocket.Chat's words.
    pub status: InstanceWord,
    /// Why it is so; empty when there is nothing to say.
    pub reason: String,
    /// Since when it is so.
    pub since: Timestamp,
    /// The settings as they are wanted.
    pub settings: serde_json::Value,
    /// Why it is not called as it is wanted; empty when it is.
    pub refused: Vec<Complaint>,
    /// Names of its secrets.
    pub secrets: Vec<String>,
    /// Everything its plugin asks for.
    pub permissions: Vec<PermissionView>,
    /// What it may use.
    pub limits: HookLimits,
    /// Requests it may send within a minute.
    pub http_per_minute: u32,
    /// A version that is tried on some of the calls.
    pub canary: Option<CanaryView>,
    /// What it did.
    pub figures: Figures,
}

/// A version that is tried on some of the calls.
#[derive(Clone, Debug)]
pub struct CanaryView {
    /// Which.
    pub version: String,
    /// Of the component.
    pub sha256: String,
    /// Of the calls.
    pub percent: u8,
    /// When it is given up.
    pub budgets: Budgets,
    /// How it does.
    pub tally: Tally,
    /// Who began it.
    pub owner: Option<Owner>,
}

/// A view, and where to look for what changes by the second.
pub(super) struct SeenHook {
    pub(super) view: HookView,
    pub(super) meter: Arc<HookMeter>,
    pub(super) canary: Option<Arc<Canary>>,
}

impl SeenHook {
    pub(super) fn live(&self) -> HookView {
        let mut view = self.view.clone();
        view.figures = self.meter.figures();
        if let (Some(view), Some(canary)) = (&mut view.canary, &self.canary) {
            view.tally = canary.tally().clone();
        }
        // Its plugin fails; it is tried again by itself, later and later.
        let observes = view.roles.iter().any(|role| role == "observer");
        if view.status.is_enabled() && observes && view.figures.failing > 0 {
            view.status = InstanceWord::ErrorDisabled;
            if let Some(error) = &view.figures.last_error {
                view.reason.clone_from(&error.message);
            }
        }
        view
    }
}
