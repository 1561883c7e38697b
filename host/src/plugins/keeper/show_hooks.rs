//! Views of hooks, made of what the keeper knows.

use plugin_runtime::{Kind, hooks::HookLimits};

use super::Task;
use crate::{
    config::{HookInstanceConfig, PluginSource},
    hooks::canary::Tally,
    plugins::{
        CanaryView, HookView, Owner, PermissionState, PermissionView, RunningVersion,
        hook_views::SeenHook, hooks,
    },
};

impl Task {
    pub(super) fn hook_views(&self) -> Vec<SeenHook> {
        let hooks = self.config.hooks.instances.iter();
        hooks.filter_map(|hook| self.hook_view(hook)).collect()
    }

    fn hook_view(&self, hook: &HookInstanceConfig) -> Option<SeenHook> {
        let known = self.hooks.known.get(&hook.id)?;
        let running = known.running.as_ref();
        let canary = running.and_then(|it| it.canary.clone());
        let kinds = running.map(|it| &it.plugin);
        let kinds = kinds.or_else(|| Some(&known.plugin.as_ref()?.plugin));
        let kinds = kinds.map(|plugin| plugin.kinds()).unwrap_or_default();
        let roles = hooks::roles(&self.config.hooks, &hook.id).into_iter().map(|(kind, _)| {
            let place = self.config.hooks.order.iter().position(|id| *id == hook.id);
            match (kind, place) {
                (Kind::Router, Some(at)) => format!("router {}", at + 1),
                (kind, _) => kind.code().to_owned(),
            }
        });
        let view = HookView {
            id: hook.id.clone(),
            plugin: match &hook.plugin {
                PluginSource::Id(id) => id.clone(),
                PluginSource::File(file) => file.display().to_string(),
            },
            running: running.map(|it| RunningVersion {
                plugin: it.plugin.manifest().id.clone(),
                version: it.plugin.manifest().version.clone(),
                sha256: it.plugin.sha256().to_owned(),
            }),
            waiting: known.waiting.as_ref().map(|(waiting, _)| waiting.clone()),
            kinds: kinds.iter().map(|kind| kind.code()).collect(),
            roles: roles.collect(),
            status: known.word,
            reason: known.reason.clone(),
            since: known.since,
            settings: hook.settings.clone(),
            refused: known.refused.clone(),
            secrets: hook.secrets.keys().cloned().collect(),
            permissions: self.hook_permissions(hook),
            limits: running.map_or_else(HookLimits::default, |it| it.limits.clone()),
            http_per_minute: running.map_or(0, |it| it.http_per_minute),
            canary: canary.as_ref().map(|canary| CanaryView {
                version: canary.candidate.plugin.manifest().version.clone(),
                sha256: canary.candidate.plugin.sha256().to_owned(),
                percent: canary.percent,
                budgets: canary.budgets,
                tally: Tally::default(),
                owner: known.canary_owner.clone(),
            }),
            figures: Default::default(),
        };
        Some(SeenHook { view, meter: known.meter().clone(), canary })
    }

    /// What the version that is called asks for, and what one that waits asks for beyond that.
    fn hook_permissions(&self, hook: &HookInstanceConfig) -> Vec<PermissionView> {
        let Some(known) = self.hooks.known.get(&hook.id) else { return Vec::new() };
        let running = known.running.as_ref().map(|it| it.plugin.manifest());
        let waiting = known.waiting.as_ref().map(|(_, plugin)| &plugin.info.manifest);
        let rests = known.plugin.as_ref().map(|plugin| &plugin.info.manifest);
        let mut views: Vec<PermissionView> = Vec::new();
        for (manifest, in_use) in [(running, true), (waiting, false), (rests, false)] {
            for asked in manifest.map(|manifest| manifest.permissions()).unwrap_or_default() {
                if views.iter().any(|view| view.grant == asked.grant) {
                    continue;
                }
                let (state, key) = if asked.is_answered_by(&hook.grants) {
                    (PermissionState::Granted, "grants")
                } else if asked.is_answered_by(&hook.declined) {
                    (PermissionState::Declined, "declined")
                } else {
                    (PermissionState::Missing, "")
                };
                let key = format!("hooks.instances.{}.{key}", hook.id);
                let owner = self
                    .config
                    .place(&key)
                    .map(|place| Owner::File { file: self.config.file.clone(), line: place.line });
                views.push(PermissionView {
                    grant: asked.grant,
                    reason: asked.reason,
                    meaning: asked.meaning,
                    state,
                    owner,
                    in_use,
                });
            }
        }
        views
    }
}
