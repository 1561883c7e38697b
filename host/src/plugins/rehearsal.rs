//! Hooks as `jackfield check` sees them: judged as a host would judge them at its next start, beside one that may
//! run. Nothing is written but in a folder that is thrown away.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    WaitingVersion,
    hooks::{self, HookBackground, HookVerdict},
    keeper::LAST,
    library::{Library, split_fix},
    store::Store,
};
use crate::{
    clock::Clock,
    config::{Complaint, Config, HookInstanceConfig, PluginSource},
    connectors::LoadedPlugin,
    hooks::{meter::HookMeter, store::HookStore},
};

/// What is to be said of the hooks of a config.
pub(crate) struct Rehearsal {
    /// Why plugins that were installed into a running host are not seen.
    pub(crate) unseen: Option<String>,
    /// Every instance, in the order of the config.
    pub(crate) hooks: Vec<Rehearsed>,
}

/// What is to be said of one hook.
pub(crate) struct Rehearsed {
    pub(crate) id: String,
    /// What would be called; none when there is no such component, or it is disabled.
    pub(crate) plugin: Option<LoadedPlugin>,
    /// It is disabled.
    pub(crate) is_off: bool,
    /// Why it would not be called, or not as it is wanted.
    pub(crate) failures: Vec<Complaint>,
    /// What can be used and still deserves a word.
    pub(crate) warnings: Vec<Complaint>,
}

/// Judges every hook of the config. It reads files, compiles and asks plugins, so it may take a while.
pub(crate) fn rehearse(config: &Config) -> anyhow::Result<Rehearsal> {
    let scratch = tempfile::tempdir()?;
    let signing = || config.plugins.signing.clone();
    let seen = Store::seen_beside(&config.store_folder(), &scratch.path().join("seen"), signing());
    let (store, mut unseen) = match seen {
        Ok(store) => (store, None),
        Err(error) => {
            let empty = Store::open(&scratch.path().join("empty"), signing())?;
            (empty, Some(split_fix(&error.to_string()).0))
        }
    };
    let path = HookStore::beside(&config.journal.path);
    let last = HookStore::notes_beside(&path, LAST).unwrap_or_else(|error| {
        unseen.get_or_insert_with(|| format!("{}: {error}", path.display()));
        BTreeMap::new()
    });
    let library = Library::new(super::compile::runtime()?, store, Clock::start());
    let judged = config.hooks.instances.iter().map(|hook| {
        let background = HookBackground {
            running: None,
            last: last.get(&hook.id).cloned(),
            meter: Arc::new(HookMeter::new(&hook.id)),
        };
        judged(config, &library, hook, &background, unseen.is_some())
    });
    let hooks = judged.collect();
    Ok(Rehearsal { unseen, hooks })
}

fn judged(
    config: &Config,
    library: &Library,
    hook: &HookInstanceConfig,
    background: &HookBackground,
    is_blind: bool,
) -> Rehearsed {
    let mut it = Rehearsed {
        id: hook.id.clone(),
        plugin: None,
        is_off: false,
        failures: Vec::new(),
        warnings: Vec::new(),
    };
    match hooks::judge(config, library, hook, background) {
        HookVerdict::Off => it.is_off = true,
        // It may be among those that are not seen.
        HookVerdict::Bad { plugin: None, complaints, .. }
            if is_blind && matches!(hook.plugin, PluginSource::Id(_)) =>
        {
            it.warnings = complaints;
        }
        HookVerdict::Bad { plugin, complaints, .. } => {
            it.plugin = plugin;
            it.failures = complaints;
        }
        HookVerdict::Wait { plugin, missing } => {
            let waiting = WaitingVersion::of(&plugin, &missing);
            let key = format!("hooks.instances.{}.grants", hook.id);
            let fix = waiting.fix();
            it.failures.push(config.complaint(&key, waiting.why, fix));
            // Who mends this shall not hear of the rest only then.
            match hooks::build(config, hook, &plugin, background) {
                Ok((_, warnings)) => it.warnings = warnings,
                Err(complaints) => it.failures.extend(complaints),
            }
            it.plugin = Some(plugin);
        }
        HookVerdict::Run { instance, plugin, complaints, warnings } => {
            it.failures = complaints;
            it.warnings = warnings;
            if let Some(canary) = &hook.canary {
                let alone = HookBackground { running: None, ..background.clone() };
                let tried = hooks::candidate(config, library, hook, canary, &instance, &alone);
                it.failures.extend(tried.err());
            }
            it.plugin = Some(plugin);
        }
    }
    it
}
