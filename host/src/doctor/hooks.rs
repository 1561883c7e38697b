//! Hooks as the doctor knows them: each instance as a host would find it at its next start.

use super::{Finding, Level, complained};
use crate::{
    config::Config,
    plugins::rehearsal::{Rehearsal, Rehearsed, rehearse},
};

/// What is to be said of plugins as a whole, and what of each hook.
pub(super) fn of(config: &Config) -> anyhow::Result<(Vec<Finding>, Vec<Finding>)> {
    if config.hooks.instances.is_empty() {
        return Ok(Default::default());
    }
    let Rehearsal { unseen, hooks } = rehearse(config)?;
    let unseen = unseen.map(|why| {
        let message = format!("what was installed into the running host is not seen: {why}");
        Finding::warning("plugins", message, "run the check as the user that runs jackfield")
    });
    let of_hooks = hooks.iter().flat_map(|hook| findings(config, hook)).collect();
    Ok((unseen.into_iter().collect(), of_hooks))
}

fn findings(config: &Config, hook: &Rehearsed) -> Vec<Finding> {
    let mut found = Vec::new();
    if hook.is_off {
        found.push(Finding::ok("config", "it is disabled: nobody calls it"));
    }
    if let Some(plugin) = &hook.plugin {
        found.push(super::plugin(&plugin.info));
    }
    let failures = hook.failures.iter().map(|it| complained(&config.file, it, Level::Failure));
    let warnings = hook.warnings.iter().map(|it| complained(&config.file, it, Level::Warning));
    found.extend(failures.chain(warnings));
    if let (Some(plugin), []) = (&hook.plugin, hook.failures.as_slice()) {
        let kinds: Vec<_> = plugin.plugin.kinds().iter().map(|kind| kind.code()).collect();
        let message = format!(
            "fit the schema of {}, and it starts with them as {}",
            plugin.info.manifest.id,
            kinds.join(", ")
        );
        found.push(Finding::ok("settings", message));
    }
    found.into_iter().map(|finding| finding.of_hook(&hook.id)).collect()
}
