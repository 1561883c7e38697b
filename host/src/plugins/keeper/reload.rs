//! The config file, read again.

use std::{collections::BTreeMap, sync::Arc};

use calls::{Actor, switchboard::Request};

use super::{Task, blocking};
use crate::{
    config::{Complaint, Config, ConfigError, Place},
    plugins::{ChangeKind, KeeperError, Report},
    switch::RequestError,
};

impl Task {
    /// Applies what is different; a file with mistakes changes nothing.
    pub(super) async fn reload(
        &mut self,
        actor: &Actor,
        report: &mut Report,
    ) -> Result<(), KeeperError> {
        let file = self.config.file.clone();
        let config = blocking(move || read(&file)).await?;
        let before = std::mem::replace(&mut self.config, Arc::new(config));
        self.shared.set_config(Arc::clone(&self.config));
        report.warnings.extend(self.config.warnings.iter().cloned());
        report.needs_restart = needs_restart(&before, &self.config);
        self.library.trust(&self.config.plugins.signing);
        self.try_again(&before).await;
        // Devices of agents name connectors: those come first, and go last.
        let ids = self.ids();
        self.settle_hooks(report).await;
        self.settle_all(&ids, actor, report).await;
        self.agents(&before, report).await;
        report.complaints.sort_by_key(|complaint| complaint.place);
        Ok(())
    }

    /// What was undone or rejected is tried again where somebody has changed what is written about it.
    async fn try_again(&mut self, before: &Config) {
        let of = |config: &Config, id: &str| {
            config.connectors.iter().find(|it| it.id.as_str() == id).map(|it| it.raw.clone())
        };
        let changed: Vec<_> = self
            .config
            .connectors
            .iter()
            .filter(|it| of(before, it.id.as_str()).as_ref() != Some(&it.raw))
            .map(|it| (it.id.to_string(), it.plugin.clone(), it.version.clone()))
            .collect();
        for (id, plugin, version) in changed {
            if let Some(instance) = self.instances.get_mut(&id) {
                instance.undone = None;
            }
            let pinned_before =
                of(before, &id).is_some_and(|raw| raw["version"] == serde_json::json!(version));
            if let (crate::config::PluginSource::Id(plugin), Some(version), false) =
                (plugin, version, pinned_before)
            {
                let (store, now) = (self.library.store.clone(), self.clock.now().wall);
                let allowed = blocking(move || match store.find(&plugin, &version) {
                    Ok(version) => store.change(now, |it| it.reject(&version.sha256, None)),
                    // It may come out of a folder.
                    Err(_) => Ok(()),
                });
                if let Err(error) = allowed.await {
                    tracing::error!(%error, "a rejected version stays rejected");
                }
            }
        }
    }

    async fn agents(&mut self, before: &Config, report: &mut Report) {
        let known: BTreeMap<_, _> = before.agents.iter().map(|agent| (&agent.id, agent)).collect();
        let wanted: BTreeMap<_, _> =
            self.config.agents.iter().map(|agent| (&agent.id, agent)).collect();
        let gone = known
            .keys()
            .filter(|id| !wanted.contains_key(*id))
            .map(|id| (*id, ChangeKind::Removed, Request::RemoveAgent((*id).clone())));
        let changed =
            wanted.iter().filter(|(id, agent)| known.get(*id) != Some(agent)).map(|(id, agent)| {
                let kind =
                    if known.contains_key(*id) { ChangeKind::Changed } else { ChangeKind::Added };
                (*id, kind, Request::PutAgent((*agent).clone()))
            });
        for (id, kind, request) in gone.chain(changed) {
            match self.switch.request(request, Actor::Config).await {
                Ok(_) => report.note(format!("agent {id}"), kind, "as the config says"),
                Err(error) => {
                    let (message, fix) = refused(&error);
                    report.complaints.push(self.config.complaint(
                        &format!("agents.{id}"),
                        message,
                        fix,
                    ));
                }
            }
        }
    }
}

fn refused(error: &RequestError) -> (String, &'static str) {
    let fix = match error {
        RequestError::Refused(_) => "change the agent here, or the other one over REST",
        RequestError::Busy | RequestError::Stopping => "reload again",
    };
    (error.to_string(), fix)
}

/// The file as it is now, or everything that is wrong with it.
pub(in crate::plugins) fn read(file: &std::path::Path) -> Result<Config, KeeperError> {
    Config::load(file).map_err(|error| match error {
        ConfigError::Complaints { complaints, .. } => KeeperError::Invalid(complaints),
        ConfigError::Unreadable { file, source } => KeeperError::Invalid(vec![Complaint {
            place: Place::default(),
            key: file.display().to_string(),
            message: format!("cannot be read: {source}"),
            fix: "put the config file back".to_owned(),
        }]),
    })
}

/// What a running host does not take up.
pub(in crate::plugins) fn needs_restart(before: &Config, after: &Config) -> Vec<Complaint> {
    let mut found = Vec::new();
    let mut look = |is_other: bool, key: &str| {
        if is_other {
            let fix = "restart jackfield when it suits you; until then the old value counts";
            found.push(after.complaint(key, "is different, and only a restart applies it", fix));
        }
    };
    look(before.api.listen != after.api.listen, "api.listen");
    look(before.api.tls != after.api.tls, "api.tls");
    look(before.api.cors != after.api.cors, "api.cors");
    look(before.journal.path != after.journal.path, "journal.path");
    look(before.journal.keep_days != after.journal.keep_days, "journal.keep_days");
    look(before.journal.keep_mib != after.journal.keep_mib, "journal.keep_mib");
    look(before.plugins.watch != after.plugins.watch, "plugins.watch");
    look(before.hooks.threads != after.hooks.threads, "hooks.threads");
    for connector in &after.connectors {
        let id = &connector.id;
        let known = before.connectors.iter().find(|it| it.id == *id);
        let zone_before = known.and_then(|it| it.time_zone.as_ref());
        // Days of figures are counted in the zone that was known when the journal was opened.
        look(
            zone_before != connector.time_zone.as_ref(),
            &format!("connectors.{id}.settings.time_zone"),
        );
        let zones = |it: &crate::config::ConnectorConfig| -> BTreeMap<String, String> {
            let zone = |(name, rules): (&String, &crate::config::QueueConfig)| {
                Some((name.clone(), rules.time_zone.clone()?))
            };
            it.queues.iter().filter_map(zone).collect()
        };
        look(
            known.map(&zones).unwrap_or_default() != zones(connector),
            &format!("connectors.{id}.queues"),
        );
    }
    found
}
