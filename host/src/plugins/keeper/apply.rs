//! What becomes of one connector: started, swapped, started anew, stopped, taken away.

use std::time::Duration;

use calls::{Actor, switchboard::ConnectorPolicy};
use plugin_runtime::{OnRefusal, SwapError, Swapped};
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Instance, PATIENCE, Running, Task, blocking};
use crate::{
    config::{Complaint, ConnectorConfig, RestoreConfig},
    connectors::{self, Control, LoadedPlugin, MAX_WAITING_COMMANDS, Plan, Surroundings},
    plugins::{
        ChangeKind, InstanceWord, KeeperError, Report, WaitingVersion,
        desired::Overlay,
        report::grants_changed,
        verdict::{self, Background, Verdict},
    },
    status::LastError,
};

/// Controls that may wait for a connector.
const CONTROLS: usize = 16;
/// A frame that is under way ends soon: how often a swap is tried again, and how soon.
const FRAME_TRIES: u32 = 40;
const FRAME_GAP: Duration = Duration::from_millis(25);

impl Task {
    /// Judges one connector as it is wanted, or as it would be with another overlay, or as if that version ran.
    pub(super) async fn judge(
        &self,
        id: &str,
        overlay: Option<Overlay>,
        with: Option<LoadedPlugin>,
    ) -> Verdict {
        let instance = self.instances.get(id);
        let running = instance.and_then(|it| it.running.as_ref());
        let as_it_runs = with.is_some();
        let background = Background {
            running: with.or_else(|| running.map(|running| running.plan.plugin.clone())),
            last: instance.and_then(|instance| instance.last.clone()),
            as_it_runs,
        };
        let overlay = overlay.or_else(|| self.overlays.get(id).cloned());
        let (config, library, id) = (self.config.clone(), self.library.clone(), id.to_owned());
        blocking(move || verdict::judge(&config, &library, &id, overlay.as_ref(), &background))
            .await
    }

    /// Makes one connector what it is wanted to be. An error: it goes on as it was.
    pub(super) async fn settle(
        &mut self,
        id: &str,
        actor: &Actor,
        report: &mut Report,
    ) -> Result<(), KeeperError> {
        let mut verdict = self.judge(id, None, None).await;
        if let Some(instance) = self.instances.get_mut(id) {
            instance.refused.clear();
        }
        let waiting = match &verdict {
            Verdict::Wait { connector, plugin, missing } => {
                Some((connector.clone(), plugin.clone(), WaitingVersion::of(plugin, missing)))
            }
            _ => None,
        };
        if let Some((connector, plugin, waiting)) = waiting {
            let why = waiting.why.clone();
            let is_news = self
                .instances
                .get(id)
                .and_then(|it| it.waiting.as_ref())
                .is_none_or(|(known, _)| *known != waiting);
            if is_news {
                let detail = format!("{why}; {}", waiting.fix());
                report.note(format!("connector {id}"), ChangeKind::Waiting, detail);
            }
            let instance = self.instance(id);
            instance.waiting = Some((waiting, plugin.clone()));
            let Some(older) = self.older(id, &plugin).await else {
                let instance = self.instance(id);
                instance.plugin = Some(plugin);
                instance.connector = Some(connector);
                self.rest(id, InstanceWord::Disabled, &why, "grant or decline it").await;
                return Ok(());
            };
            // What runs goes on, with whatever else has changed.
            verdict = self.judge(id, None, Some(older)).await;
            if let Verdict::Wait { .. } = verdict {
                if self.halt(id, "a grant it needs was taken back").await {
                    report.note(format!("connector {id}"), ChangeKind::Stopped, why.clone());
                }
                self.instance(id).connector = Some(connector);
                self.rest(id, InstanceWord::Disabled, &why, "grant or decline it").await;
                return Ok(());
            }
        } else if let Some(instance) = self.instances.get_mut(id) {
            instance.waiting = None;
        }
        let followed = self.follow(id, verdict, actor, report).await;
        let refused = followed.as_ref().err().map(|error| self.complaints_of(id, error));
        if let (Some(refused), Some(instance)) = (refused, self.instances.get_mut(id)) {
            instance.refused = refused;
        }
        followed
    }

    /// The version that goes on while that one waits: what runs, or what ran before the host was restarted.
    async fn older(&self, id: &str, waiting: &LoadedPlugin) -> Option<LoadedPlugin> {
        let instance = self.instances.get(id)?;
        if let Some(running) = &instance.running {
            return Some(running.plan.plugin.clone());
        }
        let last = instance.last.clone().filter(|last| *last != waiting.info.sha256)?;
        let library = self.library.clone();
        blocking(move || library.kept(&last).ok()).await
    }

    async fn follow(
        &mut self,
        id: &str,
        verdict: Verdict,
        actor: &Actor,
        report: &mut Report,
    ) -> Result<(), KeeperError> {
        match verdict {
            Verdict::Gone => {
                self.take_away(id, report).await;
                Ok(())
            }
            Verdict::Off { connector } => {
                self.instance(id).connector = Some(connector);
                if self.halt(id, "it was disabled").await {
                    report.note(format!("connector {id}"), ChangeKind::Stopped, "disabled");
                }
                self.rest(id, InstanceWord::ManuallyDisabled, "", "").await;
                Ok(())
            }
            Verdict::Bad { connector, word, complaints } => {
                self.bad(id, connector, word, &complaints).await;
                Err(KeeperError::Invalid(complaints))
            }
            Verdict::Run { connector, mut plan, trouble } => {
                report.warnings.append(&mut plan.warnings);
                if let Some(trouble) = trouble {
                    let key = format!("connectors.{id}.plugin");
                    let goes_on = plan.plugin.info.name_and_version();
                    let message = format!("{}; {goes_on} is used", trouble.message);
                    self.fail(id, &message, &trouble.fix);
                    let complaint = self.config.complaint(&key, message, trouble.fix);
                    self.instance(id).refused.push(complaint.clone());
                    report.complaints.push(complaint);
                }
                let policy = policy(&connector, &plan);
                self.instance(id).connector = Some(connector);
                self.run_plan(id, *plan, policy, actor, report).await
            }
            // Handled by the caller.
            Verdict::Wait { .. } => Ok(()),
        }
    }

    async fn run_plan(
        &mut self,
        id: &str,
        plan: Plan,
        policy: ConnectorPolicy,
        actor: &Actor,
        report: &mut Report,
    ) -> Result<(), KeeperError> {
        let subject = format!("connector {id}");
        let undone = self.instance(id).undone.as_ref();
        if undone.is_some_and(|(sha256, instance)| {
            *sha256 == plan.plugin.info.sha256 && *instance == plan.instance
        }) {
            let message = "these settings were undone, because the plugin failed with them";
            self.fail(id, message, "change them");
            let complaint =
                self.config.complaint(&format!("connectors.{id}"), message, "change them");
            return Err(KeeperError::Invalid(vec![complaint]));
        }
        self.set_rules(&plan);
        let now_running = self.instance(id).running.as_ref().map(|running| &running.plan);
        let Some(before) = now_running else {
            let detail = plan.plugin.info.name_and_version();
            let is_new = self.board.get(&plan.id).is_none();
            self.start(id, plan, policy).await?;
            let kind = if is_new { ChangeKind::Added } else { ChangeKind::Started };
            report.note(subject, kind, detail);
            return Ok(());
        };
        let same_version = before.plugin.info.sha256 == plan.plugin.info.sha256;
        if same_version && before.is_instance_of(&plan) && before.has_links_of(&plan) {
            if !self.roster.configure(plan.id.clone(), policy, None).await {
                return Err(KeeperError::Stopping);
            }
            if let Some(running) = &mut self.instance(id).running {
                // The same in all that the plugin sees.
                running.plan.numbers = plan.numbers;
            }
            return Ok(());
        }
        let what = difference(before, &plan);
        if !before.has_links_of(&plan) {
            self.halt(id, "its links were changed").await;
            self.start(id, plan, policy).await?;
            report.note(subject, ChangeKind::Restarted, what);
            return Ok(());
        }
        // What was taken back from a plugin stays so: failing must not be its way to have it again.
        let narrows =
            before.instance.grants.iter().any(|grant| !plan.instance.grants.contains(grant));
        let probation = if narrows { Duration::ZERO } else { self.config.plugins.probation };
        match self.swap(id, plan.clone(), probation).await? {
            Ok(swapped) => {
                if !self.roster.configure(plan.id.clone(), policy, None).await {
                    return Err(KeeperError::Stopping);
                }
                let proven = probation.is_zero().then(|| plan.plugin.info.sha256.clone());
                let running = self.instance(id).running.as_mut();
                if let Some(running) = running {
                    let before = std::mem::replace(&mut running.plan, plan);
                    running.before = (!probation.is_zero()).then_some(before);
                }
                if let Some(sha256) = proven {
                    self.instance(id).last = Some(sha256);
                }
                self.set_word(id);
                self.note_actual(id).await;
                let cold = if swapped.cold { ", without its state" } else { "" };
                let pause = swapped.pause.as_micros();
                report.note(subject, ChangeKind::Swapped, format!("{what}, in {pause} µs{cold}"));
                Ok(())
            }
            Err(SwapError::Restart { .. } | SwapError::GivenUp { .. }) => {
                self.halt(id, "it was changed").await;
                self.start(id, plan, policy).await?;
                report.note(subject, ChangeKind::Restarted, what);
                Ok(())
            }
            Err(error) => {
                let message = error.to_string();
                if !same_version && matches!(error, SwapError::Failed { .. }) {
                    self.reject(&plan.plugin.info.sha256, &message, actor).await;
                }
                let fix = if same_version { "change the settings" } else { "use another version" };
                if narrows {
                    self.halt(id, "a permission was taken back").await;
                }
                self.fail(id, &message, fix);
                Err(KeeperError::Conflict { message, fix: fix.to_owned() })
            }
        }
    }

    /// The outer error: nobody answers. The inner: it was refused, and the old one goes on.
    async fn swap(
        &mut self,
        id: &str,
        plan: Plan,
        probation: Duration,
    ) -> Result<Result<Swapped, SwapError>, KeeperError> {
        let on_refusal =
            if self.config.plugins.redial { OnRefusal::Redial } else { OnRefusal::Keep };
        let mut tries = FRAME_TRIES;
        loop {
            let plan = Box::new(plan.clone());
            let swapped = self
                .order(id, |answer| Control::Swap { plan, on_refusal, probation, answer })
                .await?;
            if matches!(swapped, Err(SwapError::FrameUnderWay { .. })) && tries > 0 {
                tries -= 1;
                tokio::time::sleep(FRAME_GAP).await;
                continue;
            }
            return Ok(swapped);
        }
    }

    /// Asks a running connector for something, and waits for its answer.
    pub(super) async fn order<T>(
        &self,
        id: &str,
        control: impl FnOnce(oneshot::Sender<T>) -> Control,
    ) -> Result<T, KeeperError> {
        let running = self.instances.get(id).and_then(|instance| instance.running.as_ref());
        let Some(running) = running else {
            return Err(KeeperError::Conflict {
                message: format!("connector {id} does not run"),
                fix: "enable it, or see in its status why it does not".to_owned(),
            });
        };
        crate::plugins::shared::order(&running.controls, id, control).await
    }

    async fn start(
        &mut self,
        id: &str,
        plan: Plan,
        policy: ConnectorPolicy,
    ) -> Result<(), KeeperError> {
        let (inbox, commands) = mpsc::channel(MAX_WAITING_COMMANDS);
        let (controls, obeyed) = mpsc::channel(CONTROLS);
        let (stop, stopping) = watch::channel(None);
        if !self.roster.configure(plan.id.clone(), policy, Some(inbox)).await {
            return Err(KeeperError::Stopping);
        }
        connectors::announce(&plan, &self.board, self.clock);
        let surroundings = Surroundings {
            clock: self.clock,
            switch: self.facts.clone(),
            board: self.board.clone(),
            news: self.news_in.clone(),
            stop: stopping,
        };
        let thread = connectors::spawn(plan.clone(), commands, obeyed, surroundings);
        let thread = thread.map_err(|error| {
            let message = format!("cannot start the connector's thread: {error}");
            let fix = "raise the limit of processes (ulimit -u)";
            self.fail(id, &message, fix);
            KeeperError::Conflict { message, fix: fix.to_owned() }
        })?;
        let sha256 = plan.plugin.info.sha256.clone();
        let instance = self.instance(id);
        instance.last = Some(sha256);
        instance.plugin = None;
        instance.running =
            Some(Running { plan, before: None, controls, stop, thread: Some(thread) });
        self.set_word(id);
        self.note_actual(id).await;
        Ok(())
    }

    /// Ends its thread. True: it ran.
    pub(super) async fn halt(&mut self, id: &str, why: &str) -> bool {
        let Some(mut running) = self.instance(id).running.take() else { return false };
        running.stop.send_replace(Some(why.to_owned()));
        let thread = running.thread.take();
        let joined = tokio::task::spawn_blocking(move || thread.map(std::thread::JoinHandle::join));
        if tokio::time::timeout(PATIENCE, joined).await.is_err() {
            tracing::warn!(connector = id, "it does not stop; going on without it");
        }
        self.instance(id).plugin = Some(running.plan.plugin);
        true
    }

    async fn take_away(&mut self, id: &str, report: &mut Report) {
        let ran = self.halt(id, "it is not in the config any more").await;
        let connector = id.into();
        let was_there = self.board.get(&connector).is_some();
        // Unknown to it when it never ran: then nothing happens.
        self.roster.forget(connector.clone()).await;
        self.board.remove(&connector);
        self.instances.remove(id);
        let (store, now, actual) =
            (self.library.store.clone(), self.clock.now().wall, id.to_owned());
        let forgotten = blocking(move || store.change(now, |it| it.remove_actual(&actual))).await;
        if let Err(error) = forgotten {
            tracing::error!(%error, "how a connector was is not forgotten");
        }
        if ran || was_there {
            report.note(format!("connector {id}"), ChangeKind::Removed, "nobody names it any more");
        }
    }

    /// It does not run, and that is how it shall be, or nothing can be done about it.
    pub(super) async fn rest(&mut self, id: &str, word: InstanceWord, reason: &str, fix: &str) {
        self.set_status(id, word, reason.to_owned());
        let plugin = self.instance(id).plugin.as_ref().map(|plugin| plugin.info.clone());
        let failed = !matches!(word, InstanceWord::Disabled | InstanceWord::ManuallyDisabled);
        if failed {
            self.fail(id, reason, fix);
        }
        let last_error = self.instance(id).last_error.clone();
        connectors::announce_idle(id, plugin, failed, reason, last_error, &self.board, self.clock);
        // Known to the switch all the same: it is there, and sees nothing.
        let policy = self.instance(id).connector.as_ref().map(idle_policy).unwrap_or_default();
        self.roster.configure(id.into(), policy, None).await;
        self.note_actual(id).await;
    }

    async fn bad(
        &mut self,
        id: &str,
        connector: Option<ConnectorConfig>,
        word: InstanceWord,
        complaints: &[Complaint],
    ) {
        let first = complaints.first();
        let reason = first.map_or_else(String::new, |it| format!("{}: {}", it.key, it.message));
        let fix = first.map_or_else(String::new, |it| it.fix.clone());
        if self.instance(id).running.is_some() {
            // It goes on as it was.
            self.fail(id, &reason, &fix);
            return;
        }
        self.instance(id).connector = connector;
        self.rest(id, word, &reason, &fix).await;
    }

    pub(super) fn instance(&mut self, id: &str) -> &mut Instance {
        let now = self.clock.now().wall;
        self.instances.entry(id.to_owned()).or_insert_with(|| Instance::new(now, None))
    }

    /// The word for one that runs.
    pub(super) fn set_word(&mut self, id: &str) {
        let by_hand = self.instance(id).connector.as_ref().and_then(|it| it.enabled) == Some(true);
        let word = if by_hand { InstanceWord::ManuallyEnabled } else { InstanceWord::AutoEnabled };
        self.set_status(id, word, String::new());
    }

    fn set_status(&mut self, id: &str, word: InstanceWord, reason: String) {
        let now = self.clock.now().wall;
        let instance = self.instance(id);
        if instance.word != word {
            instance.since = now;
        }
        instance.word = word;
        instance.reason = reason;
    }

    /// Remembers what went wrong.
    pub(super) fn fail(&mut self, id: &str, message: &str, fix: &str) {
        let at = self.clock.now().wall;
        let error = LastError { message: message.to_owned(), fix: fix.to_owned(), at };
        self.board.update(&id.into(), |status| status.last_error = Some(error.clone()));
        self.instance(id).last_error = Some(error);
    }

    fn set_rules(&self, plan: &Plan) {
        let mut rules = self.rules.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        rules.insert(plan.id.clone(), plan.numbers.clone());
    }

    /// What is remembered of it over a restart of the host.
    pub(super) async fn note_actual(&mut self, id: &str) {
        let instance = self.instance(id);
        let actual = json!({
            "sha256": instance.last,
            "status": instance.word.code(),
            "reason": instance.reason,
            "since": instance.since.0,
        });
        let (store, now, connector) =
            (self.library.store.clone(), self.clock.now().wall, id.to_owned());
        let noted =
            blocking(move || store.change(now, |it| it.set_actual(&connector, &actual))).await;
        if let Err(error) = noted {
            tracing::error!(%error, "how a connector is could not be noted");
        }
    }

    /// The version is not used by itself any more.
    pub(super) async fn reject(&mut self, sha256: &str, why: &str, actor: &Actor) {
        let (store, now) = (self.library.store.clone(), self.clock.now().wall);
        let (sha256, why, actor) = (sha256.to_owned(), why.to_owned(), actor.clone());
        let rejected = blocking(move || {
            store.change(now, |change| {
                change.reject(&sha256, Some(&why))?;
                let detail = json!({ "sha256": sha256, "why": why });
                change.audit(&actor, "plugin.reject", &format!("version {sha256}"), &detail)
            })
        })
        .await;
        if let Err(error) = rejected {
            tracing::error!(%error, "a version that failed could not be marked");
        }
    }

    /// A connector has gone back to the version, or the settings, before.
    pub(super) async fn rolled_back(
        &mut self,
        id: &str,
        from: &str,
        to: &str,
        reason: &str,
        report: &mut Report,
    ) {
        let Some(running) = self.instance(id).running.as_mut() else { return };
        if running.plan.plugin.info.sha256 != from {
            // Something else runs already; that it failed is true all the same.
            if from != to {
                self.reject(from, reason, &Actor::Host).await;
            }
            return;
        }
        let Some(before) = running.before.take() else { return };
        let failed = std::mem::replace(&mut running.plan, before);
        let goes_on = running.plan.plugin.info.name_and_version();
        let same_version = from == to;
        let what = failed.plugin.info.name_and_version();
        self.instance(id).last = Some(to.to_owned());
        if same_version {
            let sha256 = failed.plugin.info.sha256.clone();
            self.instance(id).undone = Some((sha256, failed.instance));
            self.overlay_back(id, reason).await;
        } else {
            self.reject(from, reason, &Actor::Host).await;
            self.select_back(&failed.plugin, from, to).await;
        }
        let (message, fix) = if same_version {
            (format!("its new settings were undone: {reason}"), "change them")
        } else {
            let message = format!("{what} was rolled back, {goes_on} goes on: {reason}");
            (message, "use another version, or `jackfield plugin use` to try this one again")
        };
        self.fail(id, &message, fix);
        self.set_word(id);
        self.note_actual(id).await;
        report.note(format!("connector {id}"), ChangeKind::RolledBack, message);
    }

    /// What REST had set before the settings that failed counts again.
    async fn overlay_back(&mut self, id: &str, reason: &str) {
        let Some(mut before) = self.instance(id).overlay_before.take() else { return };
        let now = self.overlays.get(id).cloned().unwrap_or_default();
        // A new secret is the PBX's truth, whatever became of the settings that came with it.
        before.secrets.clone_from(&now.secrets);
        let why = json!({ "why": reason });
        let kept = self.keep(id, &now, &before, &Actor::Host, "connector.change-undone", why).await;
        match kept {
            Ok(()) => self.instance(id).undone = None,
            Err(error) => tracing::error!(%error, "settings that failed could not be taken back"),
        }
        let runs = self.instance(id).running.as_ref().map(|it| it.plan.plugin.clone());
        if let Verdict::Run { connector, .. } = self.judge(id, None, runs).await {
            self.instance(id).connector = Some(connector);
        }
    }

    /// Whoever chose the version that failed has the one before again.
    async fn select_back(&mut self, plugin: &LoadedPlugin, from: &str, to: &str) {
        let (store, now) = (self.library.store.clone(), self.clock.now().wall);
        let (plugin, from, to) = (plugin.info.manifest.id.clone(), from.to_owned(), to.to_owned());
        let back = blocking(move || {
            if store.selection(&plugin)?.used.as_deref() != Some(from.as_str()) {
                return Ok(());
            }
            store.change(now, |change| change.select(&plugin, Some(&to)))
        });
        if let Err(error) = back.await {
            tracing::error!(%error, "the choice of a version that failed could not be taken back");
        }
    }
}

/// What is different, for a person.
fn difference(before: &Plan, after: &Plan) -> String {
    let (old, new) = (&before.plugin.info, &after.plugin.info);
    let mut what = Vec::new();
    if old.sha256 != new.sha256 {
        what.push(if old.manifest.version == new.manifest.version {
            format!("{} is {} now", new.name_and_version(), &new.sha256[..8.min(new.sha256.len())])
        } else {
            format!("{} instead of {}", new.name_and_version(), old.manifest.version)
        });
    }
    let (a, b) = (&before.instance, &after.instance);
    for (is_other, name) in [
        (!before.has_links_of(after), "links"),
        (a.settings != b.settings, "settings"),
        (a.limits != b.limits, "limits"),
        (before.secret_texts != after.secret_texts, "secrets"),
    ] {
        if is_other {
            what.push(format!("other {name}"));
        }
    }
    what.extend(grants_changed(&a.grants, &b.grants));
    what.join(", ")
}

/// What the switch is to know of a connector.
pub(crate) fn policy(connector: &ConnectorConfig, plan: &Plan) -> ConnectorPolicy {
    ConnectorPolicy {
        plugin: plan.plugin.info.name_and_version(),
        place: plan.place().unwrap_or_default(),
        ..idle_policy(connector)
    }
}

/// The same of one that does not run.
pub(crate) fn idle_policy(connector: &ConnectorConfig) -> ConnectorPolicy {
    let restore_queues = connector
        .queues
        .iter()
        .filter_map(|(name, rules)| {
            let restore = match rules.restore? {
                RestoreConfig::MembersAndPauses => calls::switchboard::Restore::MembersAndPauses,
                RestoreConfig::Nothing => calls::switchboard::Restore::Nothing,
            };
            Some((name.clone(), restore))
        })
        .collect();
    ConnectorPolicy { restore_queues, ..ConnectorPolicy::default() }
}
