//! Notices by itself that the config file or a plugin's file has changed: it looks once a second.
//!
//! A file that was written a moment ago may be half written, so it counts when it was the same twice, and a
//! component that cannot be read yet is looked at again when it has changed again.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use calls::Actor;

use super::{
    Keeper, KeeperError, Wish,
    keeper::blocking,
    library::{Stamp, in_folders, watched_files},
    shared::Shared,
};
use crate::config::{Config, PluginSource};

/// Between two looks.
const GLANCE: Duration = Duration::from_secs(1);

pub(super) struct Watch {
    keeper: Keeper,
    shared: Arc<Shared>,
    config: Seen,
    plugins: BTreeMap<PathBuf, Seen>,
}

/// What one file looked like.
#[derive(Default)]
struct Seen {
    last: Option<Stamp>,
    /// What was dealt with.
    done: Option<Stamp>,
}

impl Seen {
    fn known(stamp: Option<Stamp>) -> Self {
        Self { last: stamp, done: stamp }
    }

    /// True: it is another one than the last that was dealt with, and nobody writes it any more.
    fn look(&mut self, stamp: Option<Stamp>) -> bool {
        let quiet = self.last == stamp;
        self.last = stamp;
        if !quiet || self.done == stamp || stamp.is_none() {
            return false;
        }
        self.done = stamp;
        true
    }
}

impl Watch {
    pub(super) fn new(keeper: Keeper, shared: Arc<Shared>) -> Self {
        let config = shared.config();
        let plugins = files(&config)
            .into_iter()
            // Those in use were read a moment ago; others in the folder are read soon.
            .filter(|file| is_in_use(&config, file))
            .map(|file| (file.clone(), Seen::known(Stamp::of(&file))))
            .collect();
        Self { keeper, shared, config: Seen::known(Stamp::of(&config.file)), plugins }
    }

    pub(super) fn spawn(mut self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            if !self.shared.config().plugins.watch {
                return;
            }
            let mut glance = tokio::time::interval(GLANCE);
            glance.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                glance.tick().await;
                if self.look().await.is_none() {
                    return;
                }
            }
        })
    }

    /// None: the keeper has ended.
    async fn look(&mut self) -> Option<()> {
        let config = self.shared.config();
        let (stamps, file) = blocking({
            let config = Arc::clone(&config);
            move || {
                let plugins = files(&config).into_iter();
                let stamps: Vec<_> = plugins.map(|file| (Stamp::of(&file), file)).collect();
                (stamps, Stamp::of(&config.file))
            }
        })
        .await;
        if self.config.look(file) {
            tracing::info!(file = %config.file.display(), "the config file has changed");
            match self.keeper.reload(&Actor::Config).await {
                Err(KeeperError::Stopping) => return None,
                Err(error) => tracing::error!(
                    "the config file cannot be used, everything goes on as it is:\n{error}"
                ),
                Ok(_) => {}
            }
        }
        let mut changed = Vec::new();
        let mut plugins = std::mem::take(&mut self.plugins);
        for (stamp, file) in stamps {
            let mut seen = plugins.remove(&file).unwrap_or_default();
            if seen.look(stamp) {
                changed.push(file.clone());
            }
            self.plugins.insert(file, seen);
        }
        if changed.is_empty() {
            return Some(());
        }
        let library = Arc::clone(&self.shared.library);
        let found = blocking(move || {
            let mut found = false;
            for file in changed {
                match library.file(&file) {
                    Ok(plugin) => {
                        tracing::info!(file = %file.display(), plugin = plugin.info.name_and_version(), "a plugin's file is new");
                        found = true;
                    }
                    Err(unusable) => tracing::error!(
                        file = %file.display(),
                        fix = unusable.fix,
                        "this plugin's file cannot be used, what runs goes on: {}",
                        unusable.message
                    ),
                }
            }
            found
        })
        .await;
        if found
            && let Err(KeeperError::Stopping) =
                self.keeper.ask(Wish::FilesChanged, &Actor::Config).await
        {
            return None;
        }
        Some(())
    }
}

/// Every file that may hold a component of this host.
fn files(config: &Config) -> Vec<PathBuf> {
    let mut files = watched_files(config);
    for source in sources(config) {
        match source {
            PluginSource::File(file) => files.push(file.clone()),
            PluginSource::Id(id) => files.extend(in_folders(config, id)),
        }
    }
    files.sort();
    files.dedup();
    files
}

fn is_in_use(config: &Config, file: &PathBuf) -> bool {
    sources(config).any(|source| match source {
        PluginSource::File(known) => known == file,
        PluginSource::Id(id) => in_folders(config, id).as_ref() == Some(file),
    })
}

/// Plugins that connectors and hooks name.
fn sources(config: &Config) -> impl Iterator<Item = &PluginSource> {
    let connectors = config.connectors.iter().map(|connector| &connector.plugin);
    connectors.chain(config.hooks.instances.iter().map(|hook| &hook.plugin))
}
