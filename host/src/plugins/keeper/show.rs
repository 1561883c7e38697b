//! Views made of what the keeper knows.

use std::collections::BTreeMap;

use plugin_runtime::{Limits, Usage};

use super::{Instance, Task, blocking};
use crate::{
    config::PluginSource,
    connectors::LoadedPlugin,
    plugins::{
        InstanceView, PermissionState, PermissionView, PluginView, RunningVersion, Swaps,
        VersionView, desired,
        shared::Handle,
        store::{Selection, Version},
    },
};

impl Task {
    /// Shows how everything is now.
    pub(super) async fn publish(&self) {
        let store = self.library.store.clone();
        let kept = blocking(move || {
            let versions = store.versions()?;
            let mut selections = BTreeMap::new();
            for version in &versions {
                if !selections.contains_key(&version.plugin) {
                    selections.insert(version.plugin.clone(), store.selection(&version.plugin)?);
                }
            }
            Ok::<_, crate::plugins::store::StoreError>((versions, selections))
        });
        let (versions, selections) = kept.await.unwrap_or_else(|error| {
            tracing::error!(%error, "what is kept of plugins cannot be read");
            Default::default()
        });
        let instances = self.instances.iter().map(|(id, it)| self.view(id, it)).collect();
        let running = self
            .instances
            .iter()
            .filter_map(|(id, it)| {
                let running = it.running.as_ref()?;
                let handle = Handle {
                    controls: running.controls.clone(),
                    secrets: running.plan.secrets.clone(),
                };
                Some((id.clone(), handle))
            })
            .collect();
        let plugins = self.plugins(versions, &selections);
        self.shared.show(plugins, instances, self.hook_views(), running);
    }

    fn plugins(
        &self,
        versions: Vec<Version>,
        selections: &BTreeMap<String, Selection>,
    ) -> Vec<PluginView> {
        let mut plugins: BTreeMap<String, PluginView> = BTreeMap::new();
        for version in versions {
            let used_by = self.runs(&version.sha256);
            let selection = selections.get(&version.plugin).cloned().unwrap_or_default();
            let users = || {
                let uses = |it: &Instance| uses(it, &version.plugin);
                let connectors = self.instances.iter().filter(|(_, it)| uses(it));
                let hooks = self.hooks.users(&self.config, &version.plugin);
                connectors.map(|(id, _)| id.clone()).chain(hooks).collect()
            };
            plugins
                .entry(version.plugin.clone())
                .or_insert_with(|| PluginView {
                    id: version.plugin.clone(),
                    versions: Vec::new(),
                    selected: selection.used,
                    previous: selection.before,
                    used_by: users(),
                })
                .versions
                .push(VersionView {
                    version: version.version,
                    sha256: version.sha256,
                    size: version.size,
                    source: version.source,
                    signed_by: version.signed_by,
                    installed_at: version.installed_at,
                    rejected: version.rejected,
                    used_by,
                    manifest: version.manifest,
                });
        }
        plugins.into_values().collect()
    }

    fn view(&self, id: &str, instance: &Instance) -> InstanceView {
        let overlay = self.overlays.get(id);
        let running = instance.running.as_ref().map(|running| &running.plan);
        let connector = instance.connector.as_ref();
        let plugin = match connector.map(|connector| &connector.plugin) {
            Some(PluginSource::Id(id)) => id.clone(),
            Some(PluginSource::File(file)) => file.display().to_string(),
            None => String::new(),
        };
        InstanceView {
            id: id.to_owned(),
            plugin,
            running: running.map(|plan| RunningVersion {
                plugin: plan.plugin.info.manifest.id.clone(),
                version: plan.plugin.info.manifest.version.clone(),
                sha256: plan.plugin.info.sha256.clone(),
            }),
            waiting: instance.waiting.as_ref().map(|(waiting, _)| waiting.clone()),
            keys: desired::keys(&self.config, id, overlay),
            settings: connector.map(|it| it.settings.clone()).unwrap_or_default(),
            refused: instance.refused.clone(),
            running_settings: running
                .and_then(|plan| serde_json::from_str(&plan.instance.settings).ok()),
            status: instance.word,
            reason: instance.reason.clone(),
            since: instance.since,
            link_status: None,
            last_error: instance.last_error.clone(),
            restarts: 0,
            permissions: self.permissions(id, instance),
            probation: None,
            shadow: None,
            links: Vec::new(),
            limits: running.map_or_else(Limits::default, |plan| plan.instance.limits.clone()),
            usage: Usage::default(),
            swaps: Swaps::default(),
            recordings: Vec::new(),
            capturing: false,
        }
    }

    /// What the running version asks for, and what one that waits asks for beyond that.
    fn permissions(&self, id: &str, instance: &Instance) -> Vec<PermissionView> {
        let running = instance.running.as_ref().map(|running| &running.plan.plugin);
        let waiting = instance.waiting.as_ref().map(|(_, plugin)| plugin);
        let mut views: Vec<PermissionView> = Vec::new();
        let sources = [(running, true), (waiting, false), (instance.plugin.as_ref(), false)];
        for (plugin, in_use) in sources {
            let asked = plugin.map(|plugin: &LoadedPlugin| plugin.info.manifest.permissions());
            for permission in asked.unwrap_or_default() {
                if views.iter().any(|view| view.grant == permission.grant) {
                    continue;
                }
                let said = |list: &[String]| permission.is_answered_by(list);
                let (state, key) = match instance.connector.as_ref() {
                    Some(it) if said(&it.grants) => (PermissionState::Granted, "grants"),
                    Some(it) if said(&it.declined) => (PermissionState::Declined, "declined"),
                    _ => (PermissionState::Missing, ""),
                };
                let overlay = self.overlays.get(id);
                views.push(PermissionView {
                    grant: permission.grant,
                    reason: permission.reason,
                    meaning: permission.meaning,
                    state,
                    owner: desired::owner(&self.config, id, overlay, key),
                    in_use,
                });
            }
        }
        views
    }
}

fn uses(instance: &Instance, plugin: &str) -> bool {
    let runs = instance.running.as_ref().map(|it| it.plan.plugin.info.manifest.id.as_str());
    let rests = instance.plugin.as_ref().map(|it| it.info.manifest.id.as_str());
    runs == Some(plugin) || rests == Some(plugin)
}
