//! Drafts that nobody needs any more: who needs one is known to the keeper only.

use super::{Task, blocking};
use crate::plugins::store::InUse;

impl Task {
    /// Makes room after an install: old drafts of the plugin go, but none that somebody uses, names or tries.
    pub(super) async fn drop_drafts(&mut self, plugin: &str) {
        let in_use = self.in_use().await;
        let (store, now, id) =
            (self.library.store.clone(), self.clock.now().wall, plugin.to_owned());
        let gone =
            blocking(move || store.change(now, |change| change.drop_drafts(&id, &in_use))).await;
        match gone {
            Ok(gone) => gone.iter().for_each(|sha256| self.library.forget(sha256)),
            // They are tried again with the next install.
            Err(error) => tracing::error!(plugin, %error, "old drafts of a plugin are still kept"),
        }
    }

    /// Versions of any plugin that must stay, whether or not they were ever chosen.
    async fn in_use(&self) -> InUse {
        let mut in_use = InUse::default();
        for instance in self.instances.values() {
            let running = instance.running.as_ref();
            let before = running.and_then(|running| running.before.as_ref());
            let plugins = running
                .map(|running| &running.plan.plugin)
                .into_iter()
                .chain(before.map(|before| &before.plugin))
                .chain(instance.waiting.as_ref().map(|(_, plugin)| plugin))
                .chain(&instance.plugin);
            in_use.hashes.extend(plugins.map(|plugin| plugin.info.sha256.clone()));
            in_use.hashes.extend(instance.last.iter().chain(&instance.shadow).cloned());
        }
        in_use.hashes.extend(self.hooks.hashes());
        let connectors = self.config.connectors.iter();
        in_use.names.extend(connectors.filter_map(|connector| connector.version.clone()));
        let over_rest = self.overlays.values().filter_map(|overlay| overlay.keys.get("version"));
        in_use.names.extend(over_rest.filter_map(|it| it.as_str().map(str::to_owned)));
        for hook in &self.config.hooks.instances {
            in_use.names.extend(hook.version.clone());
            in_use.names.extend(self.canary_wish(hook).await.map(|(wish, _)| wish.version));
        }
        in_use
    }
}
