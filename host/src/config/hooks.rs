//! `[hooks]`: who decides where calls go, what callers hear meanwhile, and who is told afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{PluginSource, SecretText};
use crate::hooks::{canary::Budgets, plan::Fallback};

/// `[hooks]`
#[derive(Clone, Debug)]
pub struct HooksConfig {
    /// The site's zone, e.g. `Europe/Berlin`; none: that of the first connector which has one, or UTC.
    pub time_zone: Option<String>,
    /// Numbers that go on in the dialplan at once: no plugin, no limit.
    pub emergency: BTreeSet<String>,
    /// Contexts of the dialplan that hooks may send callers into.
    pub contexts: BTreeSet<String>,
    /// Worker threads of routers and treatments.
    pub threads: usize,
    /// After so long without this host the PBX takes a caller back.
    pub lease: Duration,
    /// `[hooks.instances.<id>]`
    pub instances: Vec<HookInstanceConfig>,
    /// `[hooks.router] order`
    pub order: Vec<String>,
    /// `[hooks.router] fallback`
    pub fallback: Fallback,
    /// `[hooks.router] decision_ms`
    pub decision: Duration,
    /// `[hooks.treatment] default`
    pub treatment: Option<String>,
    /// `[hooks.observers] run`
    pub observers: Vec<String>,
    /// Callers who are held belong to another host: nobody is asked about them, and they are told nothing. Never in a
    /// file; `jackfield check` wants it.
    pub leave_alone: bool,
}

impl Default for HooksConfig {
    fn default() -> Self {
        Self {
            time_zone: None,
            emergency: ["112", "911"].map(str::to_owned).into(),
            contexts: BTreeSet::new(),
            threads: 2,
            lease: Duration::from_secs(45),
            instances: Vec::new(),
            order: Vec::new(),
            fallback: Fallback::ContinueInDialplan,
            decision: Duration::from_millis(2000),
            treatment: None,
            observers: Vec::new(),
            leave_alone: false,
        }
    }
}

/// `[hooks.instances.<id>]`: one instance of a plugin with hooks.
#[derive(Clone, Debug)]
pub struct HookInstanceConfig {
    /// As in `[hooks.instances.<id>]`.
    pub id: String,
    /// Which component.
    pub plugin: PluginSource,
    /// Only this version of a plugin named by id.
    pub version: Option<String>,
    /// It shall run; none: it shall.
    pub enabled: Option<bool>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, SecretText>,
    /// For the plugin, by its own schema; an object.
    pub settings: serde_json::Value,
    /// What the plugin may do, e.g. `http:crm.example.org`.
    pub grants: Vec<String>,
    /// What it asks for and may not have: it runs without.
    pub declined: Vec<String>,
    /// What it may use; none is the default.
    pub limits: HookLimitsConfig,
    /// A version to try on some of the calls.
    pub canary: Option<CanaryConfig>,
    /// The section as it is written; secrets are references in it.
    pub raw: serde_json::Value,
}

/// `limits` of a hook; none: the plugin runtime's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the plugin runtime's `HookLimits` documents each")]
pub struct HookLimitsConfig {
    pub memory_mib: Option<u32>,
    pub route_ms: Option<u32>,
    pub treatment_ms: Option<u32>,
    pub step_ms: Option<u32>,
    pub bytes_per_call: Option<u32>,
    pub actions_per_step: Option<u32>,
    pub log_lines_per_sec: Option<u32>,
    pub http_per_minute: Option<u32>,
}

/// `canary`: a version, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryConfig {
    /// A version number, a SHA-256, or the beginning of one of at least eight digits.
    pub version: String,
    /// Of the calls.
    pub percent: u8,
    /// When it is given up.
    pub budgets: Budgets,
}
