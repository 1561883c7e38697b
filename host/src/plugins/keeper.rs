//! The one task that makes what is out of what is wanted, one change after the other.
//!
//! Here: what is asked of it, and what it is told. Beside it: what becomes of one connector.

mod apply;
mod drafts;
mod hooks;
mod reload;
mod show;
mod show_hooks;
mod versions;

pub(crate) use apply::idle_policy;
pub(super) use hooks::LAST;
pub(super) use reload::{needs_restart, read};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread,
    time::Duration,
};

use calls::{Actor, Timestamp};
use plugin_runtime::{InstanceConfig, Runtime};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::{
    Ask, ChangeKind, InstanceWord, Keeper, KeeperError, Report, WAITING_CHANGES, WaitingVersion,
    Wish,
    desired::{self, Overlay},
    library::Library,
    shared::Shared,
    store::{Store, StoreError},
    verdict::Verdict,
    watch::Watch,
};
use crate::{
    clock::Clock,
    config::{Complaint, Config, ConnectorConfig},
    connectors::{Control, LoadedPlugin, News, Plan},
    hooks::{plan::HookPlan, store::HookStore},
    parties::Rules,
    status::{LastError, StatusBoard},
    switch::{FactsHandle, RosterHandle, SwitchHandle},
};

/// News of connectors that may wait.
const NEWS: usize = 256;
/// For a connector's thread to end, and for its answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What a keeper stands on.
pub struct Foundation {
    /// As it was read.
    pub config: Arc<Config>,
    /// For components.
    pub runtime: Runtime,
    /// What is kept.
    pub store: Store,
    /// The host's clocks.
    pub clock: Clock,
    /// For agents of the config.
    pub switch: SwitchHandle,
    /// For which connectors there are.
    pub roster: RosterHandle,
    /// For what they see.
    pub facts: FactsHandle,
    /// Where they show how they are.
    pub board: StatusBoard,
    /// How numbers are read.
    pub rules: Rules,
    /// What hooks keep.
    pub hook_store: HookStore,
    /// Where the engine and the observers see which hooks there are.
    pub hook_plan: watch::Sender<Arc<HookPlan>>,
}

/// A keeper at work; it ends with [`KeeperTask::stop`].
#[derive(Debug)]
pub struct KeeperTask {
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    watch: tokio::task::JoinHandle<()>,
}

impl KeeperTask {
    /// Stops every connector and waits for them, for a while.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.watch.abort();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the keeper ended in the middle of something");
        }
    }
}

impl Keeper {
    /// Starts every connector that can be started, then waits for changes. What stands in the way of the others
    /// is in the log and in the views.
    pub async fn start(foundation: Foundation) -> Result<(Self, KeeperTask), KeeperError> {
        let (asks_in, asks) = mpsc::channel(WAITING_CHANGES);
        let (stop, stopping) = watch::channel(false);
        let mut task = Task::new(foundation, asks, stopping).await?;
        let mut report = Report::default();
        // Whoever calls as soon as a connector is there shall find the hooks.
        task.settle_hooks(&mut report).await;
        let ids = task.ids();
        task.settle_all(&ids, &Actor::Config, &mut report).await;
        task.tell(&report, &Actor::Config).await;
        task.publish().await;
        let keeper = Self { asks: asks_in, shared: Some(Arc::clone(&task.shared)) };
        let watch = Watch::new(keeper.clone(), Arc::clone(&task.shared)).spawn();
        let task = tokio::spawn(task.run());
        Ok((keeper, KeeperTask { stop, task, watch }))
    }
}

pub(super) struct Task {
    config: Arc<Config>,
    library: Arc<Library>,
    shared: Arc<Shared>,
    overlays: BTreeMap<String, Overlay>,
    instances: BTreeMap<String, Instance>,
    asks: mpsc::Receiver<Ask>,
    stopping: watch::Receiver<bool>,
    news: mpsc::Receiver<News>,
    news_in: mpsc::Sender<News>,
    clock: Clock,
    switch: SwitchHandle,
    roster: RosterHandle,
    facts: FactsHandle,
    board: StatusBoard,
    rules: Rules,
    hooks: hooks::Hooks,
}

/// What is known of one connector.
struct Instance {
    word: InstanceWord,
    reason: String,
    since: Timestamp,
    last_error: Option<LastError>,
    /// As it is wanted, if that makes sense.
    connector: Option<ConnectorConfig>,
    running: Option<Running>,
    /// A version that shall run and does not yet.
    waiting: Option<(WaitingVersion, LoadedPlugin)>,
    /// SHA-256 of the version that ran last, and well.
    last: Option<String>,
    /// Settings that were undone, and the SHA-256 of the version that failed with them: they are not tried again.
    undone: Option<(String, InstanceConfig)>,
    /// What REST had set before the change that is on probation.
    overlay_before: Option<Overlay>,
    /// What its plugin asks for, when nothing runs.
    plugin: Option<LoadedPlugin>,
    /// SHA-256 of the version that runs in its shadow, or did.
    shadow: Option<String>,
    /// Why it is not as it is wanted, since it was last looked at.
    refused: Vec<Complaint>,
}

/// A connector's thread.
struct Running {
    plan: Plan,
    /// What ran before the swap that is on probation.
    before: Option<Plan>,
    controls: mpsc::Sender<Control>,
    stop: watch::Sender<Option<String>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Instance {
    fn new(now: Timestamp, last: Option<String>) -> Self {
        Self {
            word: InstanceWord::Initialized,
            reason: String::new(),
            since: now,
            last_error: None,
            connector: None,
            running: None,
            waiting: None,
            last,
            undone: None,
            overlay_before: None,
            plugin: None,
            shadow: None,
            refused: Vec::new(),
        }
    }
}

impl Task {
    async fn new(
        foundation: Foundation,
        asks: mpsc::Receiver<Ask>,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, KeeperError> {
        let Foundation {
            config,
            runtime,
            store,
            clock,
            switch,
            roster,
            facts,
            board,
            rules,
            hook_store,
            hook_plan,
        } = foundation;
        let hooks = hooks::Hooks::new(hook_store, hook_plan);
        let (overlays, actuals) = blocking({
            let store = store.clone();
            move || Ok::<_, StoreError>((overlays(&store)?, store.actuals()?))
        })
        .await?;
        let library = Arc::new(Library::new(runtime, store, clock));
        let shared = Arc::new(Shared::new(
            Arc::clone(&library),
            Arc::clone(&config),
            board.clone(),
            hooks.store.clone(),
        ));
        let (news_in, news) = mpsc::channel(NEWS);
        let now = clock.now().wall;
        let instances = actuals
            .into_iter()
            .map(|(id, actual)| {
                let last = actual["sha256"].as_str().map(str::to_owned);
                (id, Instance::new(now, last))
            })
            .collect();
        Ok(Self {
            config,
            library,
            shared,
            overlays,
            instances,
            asks,
            stopping,
            news,
            news_in,
            clock,
            switch,
            roster,
            facts,
            board,
            rules,
            hooks,
        })
    }

    async fn run(mut self) {
        let mut stopping = self.stopping.clone();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => break,
                Some(news) = self.news.recv() => self.hear(news).await,
                end = self.hooks.ended() => {
                    let mut report = Report::default();
                    self.canary_ended(end, &mut report).await;
                    self.tell(&report, &Actor::Host).await;
                }
                ask = self.asks.recv() => match ask {
                    Some(Ask { wish, actor, answer }) => {
                        let done = self.grant(wish, &actor).await;
                        self.publish().await;
                        // Whoever asked may have gone.
                        let _ = answer.send(done);
                        continue;
                    }
                    None => break,
                },
            }
            self.publish().await;
        }
        self.stop_all().await;
    }

    async fn grant(&mut self, wish: Wish, actor: &Actor) -> Result<Report, KeeperError> {
        let mut report = Report::default();
        let done = self.carry_out(wish, actor, &mut report).await;
        // What happened before something failed has happened, and is told.
        self.tell(&report, actor).await;
        done.map(|()| report)
    }

    async fn carry_out(
        &mut self,
        wish: Wish,
        actor: &Actor,
        report: &mut Report,
    ) -> Result<(), KeeperError> {
        match wish {
            Wish::Reload => self.reload(actor, report).await?,
            Wish::FilesChanged => {
                let ids = self.ids();
                self.settle_all(&ids, actor, report).await;
                self.settle_hooks(report).await;
            }
            Wish::Installed { plugin, sha256 } => {
                let taken_up = self.take_up_installed(&plugin, &sha256, actor, report).await;
                self.drop_drafts(&plugin).await;
                taken_up?;
            }
            Wish::UseVersion { plugin, version } => {
                self.use_version(&plugin, &version, actor, report).await?;
            }
            Wish::RollBack { plugin } => self.roll_back(&plugin, actor, report).await?,
            Wish::Uninstall { plugin } => self.uninstall(&plugin, actor, report).await?,
            Wish::Change { connector, patch } => {
                self.change(&connector, &patch, actor, report).await?;
            }
            Wish::Remove { connector } => self.remove(&connector, actor, report).await?,
            Wish::Shadow { connector, version } => {
                self.shadow(&connector, version.as_deref(), actor).await?;
            }
            Wish::Canary { hook, wish } => self.set_canary(&hook, wish, actor, report).await?,
        }
        Ok(())
    }

    /// Every connector that anybody names, and every one that is there.
    pub(super) fn ids(&self) -> Vec<String> {
        let of_file = self.config.connectors.iter().map(|connector| connector.id.to_string());
        let ids: BTreeSet<String> = of_file
            .chain(self.overlays.keys().cloned())
            .chain(self.instances.keys().cloned())
            .collect();
        ids.into_iter().collect()
    }

    /// One after the other; what stands in the way of one is a complaint and not the others' affair.
    async fn settle_all(&mut self, ids: &[String], actor: &Actor, report: &mut Report) {
        for id in ids {
            if let Err(error) = self.settle(id, actor, report).await {
                report.complaints.extend(self.complaints_of(id, &error));
            }
        }
    }

    fn complaints_of(&self, id: &str, error: &KeeperError) -> Vec<Complaint> {
        match error {
            KeeperError::Invalid(complaints) => complaints.clone(),
            KeeperError::Conflict { message, fix } => {
                vec![self.config.complaint(&format!("connectors.{id}"), message, fix)]
            }
            error => {
                let fix = "see the connector's status";
                vec![self.config.complaint(&format!("connectors.{id}"), error.to_string(), fix)]
            }
        }
    }

    /// What REST wants of a connector; kept first, made true then, and forgotten again if that fails.
    async fn change(
        &mut self,
        id: &str,
        patch: &serde_json::Value,
        actor: &Actor,
        report: &mut Report,
    ) -> Result<(), KeeperError> {
        let before = self.overlays.get(id).cloned().unwrap_or_default();
        let wanted = desired::patched(&self.config, id, &before, patch)?;
        if wanted == before {
            return Ok(());
        }
        match self.judge(id, Some(wanted.clone()), None).await {
            Verdict::Bad { complaints, .. } => return Err(KeeperError::Invalid(complaints)),
            Verdict::Gone => return self.remove(id, actor, report).await,
            Verdict::Off { .. } | Verdict::Wait { .. } | Verdict::Run { .. } => {}
        }
        let keys = keys_of(patch);
        self.keep(id, &before, &wanted, actor, "connector.change", json!({ "keys": keys })).await?;
        // What was undone once may be tried again when somebody has changed it.
        if let Some(instance) = self.instances.get_mut(id) {
            instance.undone = None;
        }
        if let Err(error) = self.settle(id, actor, report).await {
            let why = json!({ "keys": keys, "why": error.to_string() });
            self.keep(id, &wanted, &before, &Actor::Host, "connector.change-undone", why).await?;
            let mut back = Report::default();
            if let Err(error) = self.settle(id, &Actor::Host, &mut back).await {
                tracing::error!(connector = id, %error, "the settings before do not work any more either");
            }
            return Err(error);
        }
        if let Some(instance) = self.instances.get_mut(id) {
            let on_probation = instance.running.as_ref().is_some_and(|it| it.before.is_some());
            instance.overlay_before = on_probation.then_some(before);
        }
        if report.changes.is_empty() {
            let detail = format!("{} set", keys.join(", "));
            report.note(format!("connector {id}"), ChangeKind::Changed, detail);
        }
        Ok(())
    }

    async fn remove(
        &mut self,
        id: &str,
        actor: &Actor,
        report: &mut Report,
    ) -> Result<(), KeeperError> {
        let Some(before) = self.overlays.get(id).cloned() else {
            return Err(match self.config.place(&format!("connectors.{id}")) {
                Some(place) => KeeperError::OwnedByFile {
                    file: self.config.file.clone(),
                    line: place.line,
                    key: format!("connectors.{id}"),
                },
                None => no_connector(id),
            });
        };
        let detail = json!({});
        self.keep(id, &before, &Overlay::default(), actor, "connector.remove", detail).await?;
        self.settle(id, actor, report).await
    }

    /// Writes down what REST wants, with who wants it.
    async fn keep(
        &mut self,
        id: &str,
        before: &Overlay,
        wanted: &Overlay,
        actor: &Actor,
        action: &'static str,
        detail: serde_json::Value,
    ) -> Result<(), KeeperError> {
        let store = self.library.store.clone();
        let now = self.clock.now().wall;
        let (id, actor) = (id.to_owned(), actor.clone());
        let (before, wanted) = (before.clone(), wanted.clone());
        let kept = wanted.clone();
        let connector = id.clone();
        blocking(move || {
            store.change(now, |change| {
                if wanted.is_empty() {
                    change.remove_overlay(&id)?;
                } else {
                    change.set_overlay(&id, &serde_json::Value::Object(wanted.keys.clone()))?;
                    for (name, secret) in &wanted.secrets {
                        if before.secrets.get(name) != Some(secret) {
                            change.set_secret(&id, name, secret)?;
                        }
                    }
                    for name in before.secrets.keys() {
                        if !wanted.secrets.contains_key(name) {
                            change.remove_secret(&id, name)?;
                        }
                    }
                }
                change.audit(&actor, action, &format!("connector {id}"), &detail)
            })
        })
        .await?;
        if kept.is_empty() {
            self.overlays.remove(&connector);
        } else {
            self.overlays.insert(connector, kept);
        }
        Ok(())
    }

    /// A connector has something to tell.
    async fn hear(&mut self, news: News) {
        let mut report = Report::default();
        match news {
            News::RolledBack { connector, from, to, reason } => {
                let id = connector.to_string();
                self.rolled_back(&id, &from.sha256, &to.sha256, &reason, &mut report).await;
            }
            News::ProbationPassed { connector } => {
                let id = connector.to_string();
                if let Some(instance) = self.instances.get_mut(&id)
                    && let Some(running) = &mut instance.running
                {
                    running.before = None;
                    instance.overlay_before = None;
                    instance.last = Some(running.plan.plugin.info.sha256.clone());
                    self.note_actual(&id).await;
                }
            }
            News::Crashed { connector, bundle } => self.shared.keep_crash(&connector, *bundle),
        }
        self.tell(&report, &Actor::Host).await;
    }

    /// To the log and the audit log.
    async fn tell(&self, report: &Report, actor: &Actor) {
        for change in &report.changes {
            tracing::info!(subject = change.subject, "{}: {}", change.kind.code(), change.detail);
        }
        for complaint in &report.complaints {
            tracing::error!(
                key = complaint.key,
                line = complaint.place.line,
                fix = complaint.fix,
                "{}",
                complaint.message
            );
        }
        for complaint in report.needs_restart.iter().chain(&report.warnings) {
            tracing::warn!(
                key = complaint.key,
                line = complaint.place.line,
                fix = complaint.fix,
                "{}",
                complaint.message
            );
        }
        // Installs and what REST sets are written down with what they change.
        let changes: Vec<_> = report
            .changes
            .iter()
            .filter(|change| !matches!(change.kind, ChangeKind::Installed | ChangeKind::Changed))
            .cloned()
            .collect();
        if changes.is_empty() {
            return;
        }
        let (store, now, actor) =
            (self.library.store.clone(), self.clock.now().wall, actor.clone());
        let written = blocking(move || {
            store.change(now, |log| {
                for change in &changes {
                    let (kind, _) = change.subject.split_once(' ').unwrap_or(("host", ""));
                    let action = format!("{kind}.{}", change.kind.code());
                    let detail = json!({ "detail": change.detail });
                    log.audit(&actor, &action, &change.subject, &detail)?;
                }
                Ok::<_, StoreError>(())
            })
        });
        if let Err(error) = written.await {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }

    async fn stop_all(&mut self) {
        for instance in self.instances.values() {
            if let Some(running) = &instance.running {
                running.stop.send_replace(Some("this host stopped".to_owned()));
            }
        }
        let threads: Vec<_> = self
            .instances
            .values_mut()
            .filter_map(|instance| instance.running.take()?.thread)
            .collect();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // Its panic was reported on the status board.
                let _ = thread.join();
            }
        });
        if tokio::time::timeout(PATIENCE, joined).await.is_err() {
            tracing::warn!("a connector does not stop; going on without it");
        }
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // The sender's end is the host's end.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Work that waits for disks, compilers or threads.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// What REST has set of every connector.
pub(super) fn overlays(store: &Store) -> Result<BTreeMap<String, Overlay>, StoreError> {
    let mut overlays = BTreeMap::new();
    for (id, kept) in store.overlays()? {
        let keys = kept.as_object().cloned().unwrap_or_default();
        let mut secrets = BTreeMap::new();
        for name in store.secret_names(&id)? {
            match store.secret(&id, &name) {
                Ok(Some(secret)) => {
                    secrets.insert(name, secret);
                }
                Ok(None) => {}
                // The connector will say that it is missing.
                Err(error) => tracing::error!("{error}"),
            }
        }
        overlays.insert(id, Overlay { keys, secrets });
    }
    Ok(overlays)
}

/// Connectors that REST has made or changed: whoever starts the switch must know of them.
pub(crate) fn overlay_ids(store: &Store) -> Result<Vec<String>, StoreError> {
    Ok(store.overlays()?.into_keys().collect())
}

pub(super) fn no_connector(id: &str) -> KeeperError {
    KeeperError::NotFound {
        what: format!("connector {id:?}"),
        fix: "GET /v1/connectors lists them".to_owned(),
    }
}

/// The keys a patch touches, without their values.
fn keys_of(patch: &serde_json::Value) -> Vec<String> {
    let Some(patch) = patch.as_object() else { return Vec::new() };
    patch
        .iter()
        .flat_map(|(key, value)| match value.as_object() {
            Some(entries) => entries.keys().map(|name| format!("{key}.{name}")).collect(),
            None => vec![key.clone()],
        })
        .collect()
}
