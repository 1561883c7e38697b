//! What shall become of one connector: judged from the config, what REST has set, and the components there are.

use plugin_runtime::{Manifest, Permission};

use super::{
    InstanceWord,
    desired::{self, Overlay},
    library::{Library, Unusable},
};
use crate::{
    config::{Complaint, Config, ConnectorConfig},
    connectors::{self, LoadedPlugin, Plan},
};

/// What shall become of a connector.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and not for long")]
pub(super) enum Verdict {
    /// Nobody names it any more.
    Gone,
    /// Somebody has disabled it.
    Off { connector: ConnectorConfig },
    /// It cannot run like this.
    Bad { connector: Option<ConnectorConfig>, word: InstanceWord, complaints: Vec<Complaint> },
    /// Its plugin asks for more than is granted or declined.
    Wait { connector: ConnectorConfig, plugin: LoadedPlugin, missing: Vec<Permission> },
    /// It shall run.
    Run { connector: ConnectorConfig, plan: Box<Plan>, trouble: Option<Unusable> },
}

/// What is known of the connector beside what is wanted.
#[derive(Clone, Default)]
pub(super) struct Background {
    /// What runs now.
    pub(super) running: Option<LoadedPlugin>,
    /// SHA-256 of what ran last, also before this start of the host.
    pub(super) last: Option<String>,
    /// Judge what runs, not what should.
    pub(super) as_it_runs: bool,
}

/// Judges one connector. It reads files and asks the plugin about its settings, so it may take a while.
pub(super) fn judge(
    config: &Config,
    library: &Library,
    id: &str,
    overlay: Option<&Overlay>,
    background: &Background,
) -> Verdict {
    let environment = |name: &str| std::env::var(name).ok();
    let connector = match desired::wanted(config, id, overlay, &environment) {
        None => return Verdict::Gone,
        Some(Ok(connector)) => connector,
        Some(Err(complaints)) => {
            let word = InstanceWord::InvalidSettingsDisabled;
            return Verdict::Bad { connector: None, word, complaints };
        }
    };
    if connector.enabled == Some(false) {
        return Verdict::Off { connector };
    }
    let none = Overlay::default();
    let overlay = overlay.unwrap_or(&none);
    let placed = |complaint| desired::placed(config, overlay, complaint);
    let (plugin, trouble) = match &background.running {
        Some(running) if background.as_it_runs => (running.clone(), None),
        _ => match library.resolve(
            config,
            &connector.plugin,
            connector.version.as_deref(),
            background.last.as_deref(),
        ) {
            Ok(resolved) => (resolved.plugin, resolved.trouble),
            Err(unusable) => {
                let key = format!("connectors.{id}.plugin");
                let complaint = config.complaint(&key, unusable.message, unusable.fix);
                let (word, complaints) = (unusable.word, vec![placed(complaint)]);
                return Verdict::Bad { connector: Some(connector), word, complaints };
            }
        },
    };
    let missing = missing(&connector, &plugin, background);
    if !missing.is_empty() {
        return Verdict::Wait { connector, plugin, missing };
    }
    match connectors::plan_one(config, &connector, plugin) {
        Ok(mut plan) => {
            plan.warnings = plan.warnings.into_iter().map(placed).collect();
            Verdict::Run { connector, plan: Box::new(plan), trouble }
        }
        Err(complaints) => Verdict::Bad {
            connector: Some(connector),
            word: InstanceWord::InvalidSettingsDisabled,
            complaints: complaints.into_iter().map(placed).collect(),
        },
    }
}

/// Permissions somebody must speak about first.
fn missing(
    connector: &ConnectorConfig,
    plugin: &LoadedPlugin,
    background: &Background,
) -> Vec<Permission> {
    let manifest = &plugin.info.manifest;
    let sha256 = &plugin.info.sha256;
    let before = background.running.as_ref().map(|running| &running.info);
    // What ran like this may go on like this: an answer that is taken back only takes away.
    let is_known = before.is_some_and(|before| &before.sha256 == sha256)
        || background.last.as_ref() == Some(sha256);
    let said = |permission: &Permission| {
        permission.is_answered_by(&connector.grants)
            || permission.is_answered_by(&connector.declined)
    };
    let asked_before = |permission: &Permission| {
        before.is_none_or(|before| asks(&before.manifest, &permission.grant))
    };
    manifest
        .permissions()
        .into_iter()
        .filter(|permission| !said(permission))
        .filter(|permission| match permission.grant.split_once(':') {
            Some(("link", name)) => {
                let required = manifest.link(name).is_some_and(|link| link.required);
                // Nobody has said where it would lead: there is nothing to allow, unless the wish is new.
                required || connector.links.contains_key(name) || !asked_before(permission)
            }
            _ => !is_known,
        })
        .collect()
}

fn asks(manifest: &Manifest, grant: &str) -> bool {
    manifest.permissions().iter().any(|permission| permission.grant == grant)
}
