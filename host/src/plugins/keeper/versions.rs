//! Versions: chosen, gone back from, taken out of the store, run in the shadow.

use calls::Actor;
use serde_json::json;

use super::{Task, blocking, no_connector};
use crate::{
    config::PluginSource,
    connectors::{self, Control},
    plugins::{
        ChangeKind, InstanceWord, KeeperError, Report,
        library::in_folders,
        store::{LATEST, Selection, StoreError, Version, listed},
    },
};

/// What holds an instance at its component, whatever is chosen for all.
enum Pin {
    File(String),
    Version(String),
}

impl Pin {
    fn of(plugin: &PluginSource, version: Option<&str>, enabled: Option<bool>) -> Option<Self> {
        match (plugin, version) {
            _ if enabled == Some(false) => None,
            (PluginSource::File(file), _) => Some(Self::File(file.display().to_string())),
            (PluginSource::Id(_), Some(version)) => Some(Self::Version(version.to_owned())),
            (PluginSource::Id(_), None) => None,
        }
    }
}

impl Task {
    /// A component was sent: it is the one to use from now on.
    pub(super) async fn take_up_installed(
        &mut self,
        plugin: &str,
        sha256: &str,
        actor: &Actor,
        report: &mut Report,
    ) -> Result<(), KeeperError> {
        let kept = self.versions().await?;
        let Some(found) = kept.iter().find(|it| it.sha256 == sha256) else {
            return Err(KeeperError::Conflict {
                message: format!("plugin {plugin}: what was installed was removed meanwhile"),
                fix: "install it again".to_owned(),
            });
        };
        let version = &found.version;
        let detail = format!("version {version}, {}", found.short_hash());
        report.note(format!("plugin {plugin}"), ChangeKind::Installed, detail);
        if let Some(why) = &found.rejected {
            let message =
                format!("{plugin} {version} is kept and not used: it was rolled back ({why})");
            let fix = "`jackfield plugin use` tries it again";
            report.warnings.push(self.config.complaint("", message, fix));
            return Ok(());
        }
        let name = format!("{plugin} {version}");
        self.select(plugin, Some(sha256), actor).await?;
        self.settle_users(plugin, actor, report).await;
        self.note_pinned(plugin, &name, sha256, report);
        Ok(())
    }

    /// Who goes on with something else than what was just chosen, because what is configured says so.
    fn note_pinned(&self, plugin: &str, name: &str, sha256: &str, report: &mut Report) {
        let runs = self.runs(sha256);
        let connectors = self.users(plugin).into_iter().filter_map(|id| {
            let wanted = self.instances.get(&id)?.connector.as_ref()?;
            let pin = Pin::of(&wanted.plugin, wanted.version.as_deref(), wanted.enabled)?;
            Some((id.clone(), format!("connectors.{id}"), pin))
        });
        let named = self.hooks.users(&self.config, plugin);
        let hooks = self.config.hooks.instances.iter().filter(|hook| named.contains(&hook.id));
        let hooks = hooks.filter(|hook| !self.hooks.tries(&hook.id, sha256)).filter_map(|hook| {
            let pin = Pin::of(&hook.plugin, hook.version.as_deref(), hook.enabled)?;
            Some((hook.id.clone(), format!("hooks.instances.{}", hook.id), pin))
        });
        for (id, section, pin) in connectors.chain(hooks).filter(|(id, ..)| !runs.contains(id)) {
            let (key, message, fix) = match pin {
                Pin::File(file) => (
                    "plugin",
                    format!("{id} runs what the file {file} holds, so it does not take up {name}"),
                    format!("write plugin = \"{plugin}\" in [{section}], then `jackfield reload`"),
                ),
                Pin::Version(version) => (
                    "version",
                    format!("{id} is held at version {version}, so it does not take up {name}"),
                    format!("take `version` out of [{section}], then `jackfield reload`"),
                ),
            };
            let key = format!("{section}.{key}");
            report.warnings.push(self.config.complaint(&key, message, fix));
        }
    }

    /// Connectors and hooks that run this component.
    pub(super) fn runs(&self, sha256: &str) -> Vec<String> {
        let connectors = self.instances.iter().filter(|(_, it)| {
            it.running.as_ref().is_some_and(|it| it.plan.plugin.info.sha256 == sha256)
        });
        let hooks = self.hooks.known.iter().filter(|(_, known)| {
            known.running.as_ref().is_some_and(|it| it.plugin.sha256() == sha256)
        });
        connectors.map(|(id, _)| id).chain(hooks.map(|(id, _)| id)).cloned().collect()
    }

    pub(super) async fn use_version(
        &mut self,
        plugin: &str,
        wanted: &str,
        actor: &Actor,
        report: &mut Report,
    ) -> Result<(), KeeperError> {
        let version = self.meant(plugin, wanted).await?;
        self.check_followers(plugin)?;
        let before = self.selection(plugin).await?;
        // In the folder it is what would be used anyway: then the folder decides again.
        let (config, library, id) = (self.config.clone(), self.library.clone(), plugin.to_owned());
        let of_folder = blocking(move || {
            let file = in_folders(&config, &id)?;
            Some(library.file(&file).ok()?.info.sha256)
        })
        .await;
        self.allow(&version).await?;
        let choice =
            (of_folder.as_ref() != Some(&version.sha256)).then_some(version.sha256.as_str());
        self.select(plugin, choice, actor).await?;
        self.settle_users(plugin, actor, report).await;
        let rejected = self.versions().await?.into_iter().find(|it| it.sha256 == version.sha256);
        if let Some(why) = rejected.and_then(|it| it.rejected) {
            self.set_selection(plugin, before, actor).await?;
            self.settle_users(plugin, actor, report).await;
            return Err(KeeperError::Conflict {
                message: format!("{plugin} {} does not work: {why}", version.version),
                fix: "use another version; the one before goes on".to_owned(),
            });
        }
        if report.changes.is_empty() {
            let detail = format!("version {} is used", version.version);
            report.note(format!("plugin {plugin}"), ChangeKind::Changed, detail);
        }
        Ok(())
    }

    /// The version that somebody means; what it could be, if that is more than one.
    async fn meant(&self, plugin: &str, wanted: &str) -> Result<Version, KeeperError> {
        let store = self.library.store.clone();
        let (id, text) = (plugin.to_owned(), wanted.to_owned());
        let found = blocking(move || match text.as_str() {
            LATEST => store.latest(&id),
            text => store.find(&id, text),
        });
        match found.await {
            Err(StoreError::Ambiguous { plugin, wanted, builds }) => {
                let runs = |build: &Version| match self.runs(&build.sha256)[..] {
                    [] => String::new(),
                    ref ids => format!(", runs in {}", ids.join(", ")),
                };
                let newest = builds.first().map_or("", Version::short_hash);
                Err(KeeperError::Conflict {
                    message: format!(
                        "plugin {plugin} has {} builds of {wanted}: {}",
                        builds.len(),
                        listed(&builds, runs)
                    ),
                    fix: format!(
                        "name one by its hash; `jackfield plugin use {plugin} {newest}` takes the one installed last"
                    ),
                })
            }
            found => Ok(found?),
        }
    }

    pub(super) async fn roll_back(
        &mut self,
        plugin: &str,
        actor: &Actor,
        report: &mut Report,
    ) -> Result<(), KeeperError> {
        self.check_followers(plugin)?;
        let kept = self.versions().await?;
        let users = self.users(plugin);
        let of_hooks = self.hooks.running(plugin).map(|now| (now, None));
        let running = users.iter().find_map(|id| {
            let running = self.instances.get(id)?.running.as_ref()?;
            let before = running.before.as_ref().map(|it| it.plugin.info.sha256.clone());
            Some((running.plan.plugin.info.sha256.clone(), before))
        });
        let running = running.or(of_hooks);
        let selection = self.selection(plugin).await?;
        let now = running.as_ref().map(|(now, _)| now.clone()).or(selection.used.clone());
        let good = |sha256: &String| {
            Some(sha256) != now.as_ref()
                && kept.iter().any(|it| it.sha256 == *sha256 && it.rejected.is_none())
        };
        let of_probation = running.and_then(|(_, before)| before).filter(good);
        let newest = || {
            let fits = |it: &&Version| it.plugin == plugin && good(&it.sha256);
            kept.iter().find(fits).map(|it| it.sha256.clone())
        };
        let Some(target) =
            of_probation.or_else(|| selection.before.clone().filter(good)).or_else(newest)
        else {
            return Err(KeeperError::Conflict {
                message: format!("there is no version of plugin {plugin} to go back to"),
                fix: "install one".to_owned(),
            });
        };
        let why = "rolled back by hand";
        if let Some(now) = now.filter(|now| *now != target) {
            self.reject(&now, why, actor).await;
        }
        self.select(plugin, Some(&target), actor).await?;
        for id in &users {
            let before = self.instances.get(id).and_then(|it| it.running.as_ref()?.before.clone());
            if before.is_some_and(|before| before.plugin.info.sha256 == target) {
                // The old instance still knows what happened since.
                let reason = why.to_owned();
                let undone = self.order(id, |answer| Control::RollBack { reason, answer }).await?;
                if undone.is_ok()
                    && let Some(running) = self.instance(id).running.as_mut()
                    && let Some(before) = running.before.take()
                {
                    running.plan = before;
                    let detail = running.plan.plugin.info.name_and_version();
                    report.note(format!("connector {id}"), ChangeKind::RolledBack, detail);
                    self.instance(id).last = Some(target.clone());
                }
            }
        }
        self.settle_users(plugin, actor, report).await;
        Ok(())
    }

    pub(super) async fn uninstall(
        &mut self,
        plugin: &str,
        actor: &Actor,
        report: &mut Report,
    ) -> Result<(), KeeperError> {
        let kept: Vec<Version> =
            self.versions().await?.into_iter().filter(|it| it.plugin == plugin).collect();
        if kept.is_empty() {
            return Err(no_plugin(plugin));
        }
        let connectors = self.users(plugin).into_iter().filter(|id| {
            self.instances.get(id).is_some_and(|it| it.word != InstanceWord::ManuallyDisabled)
        });
        let hooks = self.hooks.users(&self.config, plugin).into_iter().filter(|id| {
            self.hooks.known.get(id).is_some_and(|it| it.word != InstanceWord::ManuallyDisabled)
        });
        let enabled: Vec<String> = connectors.chain(hooks).collect();
        if !enabled.is_empty() {
            return Err(KeeperError::Conflict {
                message: format!("plugin {plugin} is used by {}", enabled.join(", ")),
                fix: "disable or remove these connectors or hooks first".to_owned(),
            });
        }
        let (store, now) = (self.library.store.clone(), self.clock.now().wall);
        let (id, actor) = (plugin.to_owned(), actor.clone());
        let hashes: Vec<String> = kept.iter().map(|it| it.sha256.clone()).collect();
        let gone = hashes.clone();
        blocking(move || {
            store.change(now, |change| {
                for sha256 in &gone {
                    change.remove_version(sha256)?;
                }
                change.set_selection(&id, &Selection::default())?;
                let detail = json!({ "sha256": gone });
                change.audit(&actor, "plugin.uninstall", &format!("plugin {id}"), &detail)
            })
        })
        .await?;
        for sha256 in &hashes {
            self.library.forget(sha256);
        }
        for id in self.users(plugin) {
            self.instance(&id).plugin = None;
            self.instance(&id).last = None;
        }
        let detail = format!("{} versions removed", hashes.len());
        report.note(format!("plugin {plugin}"), ChangeKind::Uninstalled, detail);
        Ok(())
    }

    pub(super) async fn shadow(
        &mut self,
        id: &str,
        version: Option<&str>,
        actor: &Actor,
    ) -> Result<(), KeeperError> {
        let Some(instance) = self.instances.get(id) else { return Err(no_connector(id)) };
        let mut plan = None;
        let mut what = "none".to_owned();
        if let Some(version) = version {
            let (Some(connector), Some(running)) = (&instance.connector, &instance.running) else {
                return Err(KeeperError::Conflict {
                    message: format!("connector {id} does not run"),
                    fix: "enable it first".to_owned(),
                });
            };
            let (config, library, connector) =
                (self.config.clone(), self.library.clone(), connector.clone());
            let plugin = running.plan.plugin.info.manifest.id.clone();
            let version = version.to_owned();
            let made = blocking(move || {
                let found = library.store.find(&plugin, &version)?;
                let plugin =
                    library.kept(&found.sha256).map_err(|unusable| KeeperError::Install {
                        message: unusable.message,
                        fix: unusable.fix,
                        ours: false,
                    })?;
                connectors::plan_one(&config, &connector, plugin).map_err(KeeperError::Invalid)
            })
            .await?;
            what = made.plugin.info.name_and_version();
            plan = Some(Box::new(made));
        }
        let sha256 = plan.as_ref().map(|plan| plan.plugin.info.sha256.clone());
        let begun = self.order(id, |answer| Control::Shadow { plan, answer }).await?;
        begun.map_err(|error| KeeperError::Conflict {
            message: error.to_string(),
            fix: "use another version".to_owned(),
        })?;
        self.instance(id).shadow = sha256;
        let (store, now) = (self.library.store.clone(), self.clock.now().wall);
        let (subject, actor) = (format!("connector {id}"), actor.clone());
        blocking(move || {
            let detail = json!({ "version": what });
            store.change(now, |it| it.audit(&actor, "connector.shadow", &subject, &detail))
        })
        .await?;
        Ok(())
    }

    /// Connectors that run the plugin, or shall.
    fn users(&self, plugin: &str) -> Vec<String> {
        let uses = |instance: &super::Instance| {
            let runs = instance.running.as_ref().map(|it| it.plan.plugin.info.manifest.id.as_str());
            let rests = instance.plugin.as_ref().map(|it| it.info.manifest.id.as_str());
            let named = match instance.connector.as_ref().map(|it| &it.plugin) {
                Some(PluginSource::Id(id)) => Some(id.as_str()),
                _ => None,
            };
            [runs, rests, named].contains(&Some(plugin))
        };
        self.instances.iter().filter(|(_, it)| uses(it)).map(|(id, _)| id.clone()).collect()
    }

    /// An error when no connector of the plugin would follow a choice.
    fn check_followers(&self, plugin: &str) -> Result<(), KeeperError> {
        let mut owner = None;
        for id in self.users(plugin) {
            let Some(connector) = self.instances.get(&id).and_then(|it| it.connector.as_ref())
            else {
                continue;
            };
            let key = match (&connector.plugin, &connector.version) {
                (PluginSource::Id(_), None) => return Ok(()),
                (PluginSource::Id(_), Some(_)) => "version",
                (PluginSource::File(_), _) => "plugin",
            };
            owner.get_or_insert((id, key));
        }
        for id in self.hooks.users(&self.config, plugin) {
            let hook = self.config.hooks.instances.iter().find(|hook| hook.id == id);
            let Some(hook) = hook else { continue };
            let key = match (&hook.plugin, &hook.version) {
                (PluginSource::Id(_), None) => return Ok(()),
                (PluginSource::Id(_), Some(_)) => "version",
                (PluginSource::File(_), _) => "plugin",
            };
            if owner.is_none()
                && let Some(place) = self.config.place(&format!("hooks.instances.{id}.{key}"))
            {
                return Err(KeeperError::OwnedByFile {
                    file: self.config.file.clone(),
                    line: place.line,
                    key: format!("hooks.instances.{id}.{key}"),
                });
            }
        }
        let Some((id, key)) = owner else { return Ok(()) };
        crate::plugins::desired::owned_by_rest(&self.config, &id, key)?;
        Err(KeeperError::Conflict {
            message: format!("connector {id} has a {key} of its own"),
            fix: format!("remove `{key}` from it first"),
        })
    }

    async fn settle_users(&mut self, plugin: &str, actor: &Actor, report: &mut Report) {
        let users = self.users(plugin);
        self.settle_all(&users, actor, report).await;
        if !self.hooks.users(&self.config, plugin).is_empty() {
            self.settle_hooks(report).await;
        }
    }

    async fn versions(&self) -> Result<Vec<Version>, KeeperError> {
        let store = self.library.store.clone();
        Ok(blocking(move || store.versions()).await?)
    }

    async fn selection(&self, plugin: &str) -> Result<Selection, KeeperError> {
        let (store, plugin) = (self.library.store.clone(), plugin.to_owned());
        Ok(blocking(move || store.selection(&plugin)).await?)
    }

    async fn select(
        &mut self,
        plugin: &str,
        sha256: Option<&str>,
        actor: &Actor,
    ) -> Result<(), KeeperError> {
        let before = self.selection(plugin).await?;
        if before.used.as_deref() == sha256 {
            return Ok(());
        }
        let running = self.users(plugin).into_iter().find_map(|id| {
            Some(self.instances.get(&id)?.running.as_ref()?.plan.plugin.info.sha256.clone())
        });
        let running = running.or_else(|| self.hooks.running(plugin));
        let used = sha256.map(str::to_owned);
        let was = before.used.or(running).filter(|was| Some(was) != used.as_ref());
        let selection = Selection { used, before: was.or(before.before) };
        self.set_selection(plugin, selection, actor).await
    }

    async fn set_selection(
        &mut self,
        plugin: &str,
        selection: Selection,
        actor: &Actor,
    ) -> Result<(), KeeperError> {
        let (store, now) = (self.library.store.clone(), self.clock.now().wall);
        let (plugin, actor) = (plugin.to_owned(), actor.clone());
        blocking(move || {
            store.change(now, |change| {
                change.set_selection(&plugin, &selection)?;
                let detail = json!({ "used": selection.used, "before": selection.before });
                change.audit(&actor, "plugin.use", &format!("plugin {plugin}"), &detail)
            })
        })
        .await?;
        Ok(())
    }

    /// It may be used again, though it was rolled back once.
    async fn allow(&mut self, version: &Version) -> Result<(), KeeperError> {
        if version.rejected.is_some() {
            let (store, now) = (self.library.store.clone(), self.clock.now().wall);
            let sha256 = version.sha256.clone();
            blocking(move || store.change(now, |change| change.reject(&sha256, None))).await?;
        }
        Ok(())
    }
}

fn no_plugin(plugin: &str) -> KeeperError {
    KeeperError::NotFound {
        what: format!("plugin {plugin:?}"),
        fix: "GET /v1/plugins lists them".to_owned(),
    }
}
