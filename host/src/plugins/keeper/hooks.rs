//! The keeper's hooks: from what is wanted to the plan that the engine and the observers follow.
//!
//! A hook has no thread and no socket of its own here: to start, swap and stop it is to say so in the next plan.
//! Calls in progress keep the plan they began with.

use std::{collections::BTreeMap, sync::Arc};

use calls::{
    Actor, Timestamp,
    fact::{Notice, Severity},
    switchboard::Input,
};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::{Task, blocking};
use crate::{
    config::{CanaryConfig, Complaint, Config, HookInstanceConfig},
    connectors::LoadedPlugin,
    hooks::{
        canary::{Budgets, Canary},
        meter::HookMeter,
        plan::{HookInstance, HookPlan},
        store::{HookStore, HookStoreError},
    },
    plugins::{
        ChangeKind, InstanceWord, KeeperError, Owner, Report, WaitingVersion,
        hooks::{self, HookBackground, HookVerdict},
        report::grants_changed,
    },
};

/// Ends of canaries that wait to be heard; one that is over is over, heard or not.
const ENDS: usize = 64;
/// What the keeper remembers of a hook: the version that was called last, and REST's canary.
pub(in crate::plugins) const LAST: &str = "last";
const CANARY: &str = "canary";

/// The hooks of one host, as the keeper has them.
pub(in crate::plugins) struct Hooks {
    pub(in crate::plugins) store: HookStore,
    plan: watch::Sender<Arc<HookPlan>>,
    pub(super) known: BTreeMap<String, KnownHook>,
    ends: mpsc::Receiver<CanaryEnd>,
    ends_in: mpsc::Sender<CanaryEnd>,
}

/// What is known of one hook.
pub(in crate::plugins) struct KnownHook {
    pub(super) word: InstanceWord,
    pub(super) reason: String,
    pub(super) since: Timestamp,
    pub(super) running: Option<Arc<HookInstance>>,
    /// What it asks for, also when it is not called.
    pub(super) plugin: Option<LoadedPlugin>,
    pub(super) waiting: Option<(WaitingVersion, LoadedPlugin)>,
    pub(super) canary_owner: Option<Owner>,
    /// Why it is not called as it is wanted.
    pub(super) refused: Vec<Complaint>,
    last: Option<String>,
    meter: Arc<HookMeter>,
}

/// A canary was given up by itself.
pub(super) struct CanaryEnd {
    instance: String,
    sha256: String,
    label: String,
    why: String,
}

impl Hooks {
    pub(super) fn new(store: HookStore, plan: watch::Sender<Arc<HookPlan>>) -> Self {
        let (ends_in, ends) = mpsc::channel(ENDS);
        Self { store, plan, known: BTreeMap::new(), ends, ends_in }
    }

    /// The next canary that was given up.
    pub(super) async fn ended(&mut self) -> CanaryEnd {
        match self.ends.recv().await {
            Some(end) => end,
            // This struct holds a sender.
            None => std::future::pending().await,
        }
    }

    /// Hooks that are called with the plugin, or shall be.
    pub(super) fn users(&self, config: &Config, plugin: &str) -> Vec<String> {
        let named = |hook: &HookInstanceConfig| {
            let of = self.known.get(&hook.id).and_then(|known| {
                let running = known.running.as_ref().map(|it| it.plugin.manifest().id.clone());
                running.or_else(|| Some(known.plugin.as_ref()?.info.manifest.id.clone()))
            });
            of.as_deref() == Some(plugin)
                || matches!(&hook.plugin, crate::config::PluginSource::Id(id) if id == plugin)
        };
        config
            .hooks
            .instances
            .iter()
            .filter(|hook| named(hook))
            .map(|hook| hook.id.clone())
            .collect()
    }

    /// SHA-256 of what one of the plugin's hooks is called with.
    pub(super) fn running(&self, plugin: &str) -> Option<String> {
        let running = self.known.values().filter_map(|known| known.running.as_ref());
        let mut of_plugin = running.filter(|it| it.plugin.manifest().id == plugin);
        of_plugin.next().map(|it| it.plugin.sha256().to_owned())
    }

    /// Does the hook try this component on some of the calls?
    pub(super) fn tries(&self, id: &str, sha256: &str) -> bool {
        let running = self.known.get(id).and_then(|known| known.running.as_ref());
        let canary = running.and_then(|it| it.canary.as_ref());
        canary.is_some_and(|it| it.candidate.plugin.sha256() == sha256)
    }

    /// SHA-256 of every version that a hook is called with, was called with last, waits for, or tries.
    pub(super) fn hashes(&self) -> impl Iterator<Item = String> {
        self.known.values().flat_map(|known| {
            let running = known.running.as_deref();
            let canary = running.and_then(|it| Some(&*it.canary.as_ref()?.candidate));
            let called = running.into_iter().chain(canary).map(|it| it.plugin.sha256());
            let plugins = known.plugin.iter().chain(known.waiting.as_ref().map(|(_, it)| it));
            let plugins = plugins.map(|plugin| plugin.info.sha256.as_str());
            called.chain(plugins).chain(known.last.as_deref()).map(str::to_owned)
        })
    }
}

impl Task {
    /// Makes every hook what it is wanted to be, and tells whoever calls them. What stands in the way of one is a
    /// complaint and not the others' affair.
    pub(super) async fn settle_hooks(&mut self, report: &mut Report) {
        let wanted = self.config.hooks.instances.clone();
        for hook in &wanted {
            self.settle_hook(hook, report).await;
        }
        let gone: Vec<String> = self
            .hooks
            .known
            .keys()
            .filter(|id| !wanted.iter().any(|hook| hook.id == **id))
            .cloned()
            .collect();
        for id in gone {
            self.hooks.known.remove(&id);
            report.note(format!("hook {id}"), ChangeKind::Removed, "nobody names it any more");
        }
        let plan = self.hook_plan();
        self.hooks.plan.send_if_modified(|known| {
            let changes = !known.is_same(&plan);
            if changes {
                *known = Arc::new(plan);
            }
            changes
        });
    }

    async fn settle_hook(&mut self, hook: &HookInstanceConfig, report: &mut Report) {
        let now = self.clock.now().wall;
        if !self.hooks.known.contains_key(&hook.id) {
            let known = self.meet(&hook.id, now).await;
            self.hooks.known.insert(hook.id.clone(), known);
        }
        let known = &self.hooks.known[&hook.id];
        let background = HookBackground {
            running: known.running.clone(),
            last: known.last.clone(),
            meter: Arc::clone(&known.meter),
        };
        let (config, library, asked) = (self.config.clone(), self.library.clone(), hook.clone());
        let of = background.clone();
        let (verdict, older) = blocking(move || {
            let verdict = hooks::judge(&config, &library, &asked, &of);
            let older = match &verdict {
                HookVerdict::Wait { plugin, .. } => {
                    hooks::judge_as_it_runs(&config, &library, &asked, &of, plugin)
                }
                _ => None,
            };
            (verdict, older)
        })
        .await;
        // What was taken back from a plugin stays so: failing must not be its way to have it again.
        let narrowed = background
            .running
            .as_ref()
            .is_some_and(|it| it.grants.iter().any(|grant| !hook.grants.contains(grant)));
        let goes_on = background.running.filter(|_| !narrowed);
        let subject = format!("hook {}", hook.id);
        if let Some(known) = self.hooks.known.get_mut(&hook.id) {
            known.refused = match &verdict {
                HookVerdict::Bad { complaints, .. } | HookVerdict::Run { complaints, .. } => {
                    complaints.clone()
                }
                HookVerdict::Off | HookVerdict::Wait { .. } => Vec::new(),
            };
        }
        match verdict {
            HookVerdict::Off => {
                self.rest_hook(&hook.id, InstanceWord::ManuallyDisabled, "it is disabled", report);
            }
            HookVerdict::Bad { word, complaints, plugin } => {
                let (reason, fix) = first(&complaints);
                report.complaints.extend(complaints);
                let known = self.hooks.known.get_mut(&hook.id).expect("inserted above");
                known.meter.failed("refused-config", reason.clone(), &fix, now);
                match goes_on {
                    // It goes on as it was.
                    Some(_) => {}
                    None => {
                        known.plugin = plugin.or_else(|| known.plugin.take());
                        self.rest_hook(&hook.id, word, &format!("{reason}; fix: {fix}"), report);
                    }
                }
            }
            HookVerdict::Wait { plugin, missing } => {
                let waiting = WaitingVersion::of(&plugin, &missing);
                let known = self.hooks.known.get_mut(&hook.id).expect("inserted above");
                if known.waiting.as_ref().is_none_or(|(known, _)| *known != waiting) {
                    let detail = format!("{}; {}", waiting.why, waiting.fix());
                    report.note(subject, ChangeKind::Waiting, detail);
                }
                let why = format!("{}; fix: {}", waiting.why, waiting.fix());
                known.waiting = Some((waiting, plugin.clone()));
                match older.map(Arc::new).or(goes_on) {
                    Some(older) => self.run_hook(hook, older, None, report).await,
                    None => {
                        known.plugin = Some(plugin);
                        self.rest_hook(&hook.id, InstanceWord::Disabled, &why, report);
                    }
                }
            }
            HookVerdict::Run { instance, plugin, complaints, warnings } => {
                report.warnings.extend(warnings);
                let known = self.hooks.known.get_mut(&hook.id).expect("inserted above");
                known.waiting = None;
                if !complaints.is_empty() {
                    let (reason, fix) = first(&complaints);
                    known.meter.failed("refused-config", reason, &fix, now);
                }
                report.complaints.extend(complaints);
                self.run_hook(hook, Arc::new(*instance), Some(plugin), report).await;
            }
        }
    }

    async fn meet(&self, id: &str, now: Timestamp) -> KnownHook {
        let (store, asked) = (self.hooks.store.clone(), id.to_owned());
        let last = blocking(move || store.note(&asked, LAST)).await.unwrap_or_else(|error| {
            tracing::error!(hook = id, %error, "which version was called last is not known");
            None
        });
        KnownHook {
            word: InstanceWord::Initialized,
            reason: String::new(),
            since: now,
            running: None,
            plugin: None,
            waiting: None,
            canary_owner: None,
            refused: Vec::new(),
            last,
            meter: Arc::new(HookMeter::new(id)),
        }
    }

    async fn run_hook(
        &mut self,
        hook: &HookInstanceConfig,
        mut instance: Arc<HookInstance>,
        plugin: Option<LoadedPlugin>,
        report: &mut Report,
    ) {
        let (canary, owner) = self.canary_of(hook, &instance, report).await;
        let now = self.clock.now().wall;
        let known = self.hooks.known.get_mut(&hook.id).expect("it was met");
        let before = known.running.take();
        let sha256 = instance.plugin.sha256().to_owned();
        let kept = before.as_ref().filter(|before| {
            before.is_same(&instance)
                && match (&before.canary, &canary) {
                    (None, None) => true,
                    (Some(before), Some(now)) => Arc::ptr_eq(before, now),
                    _ => false,
                }
        });
        if let Some(kept) = kept {
            instance = Arc::clone(kept);
        } else {
            let subject = format!("hook {}", hook.id);
            match &before {
                None => report.note(subject, ChangeKind::Started, instance.label.clone()),
                Some(before) => {
                    let what = difference(before, &instance, canary.as_deref());
                    if !what.is_empty() {
                        report.note(subject, ChangeKind::Swapped, what);
                    }
                }
            }
            let mut own = Arc::unwrap_or_clone(instance);
            own.canary = canary;
            instance = Arc::new(own);
        }
        known.canary_owner = instance.canary.as_ref().and(owner);
        known.running = Some(instance);
        known.plugin = plugin.or_else(|| known.plugin.take());
        let by_hand = hook.enabled == Some(true);
        let word = if by_hand { InstanceWord::ManuallyEnabled } else { InstanceWord::AutoEnabled };
        known.set(word, String::new(), now);
        if known.last.as_ref() != Some(&sha256) {
            known.last = Some(sha256.clone());
            let (store, id) = (self.hooks.store.clone(), hook.id.clone());
            let noted = blocking(move || store.set_note(&id, LAST, Some(&sha256))).await;
            if let Err(error) = noted {
                tracing::error!(hook = hook.id, %error, "which version is called could not be noted");
            }
        }
    }

    fn rest_hook(&mut self, id: &str, word: InstanceWord, reason: &str, report: &mut Report) {
        let now = self.clock.now().wall;
        let known = self.hooks.known.get_mut(id).expect("it was met");
        if known.running.take().is_some() {
            report.note(format!("hook {id}"), ChangeKind::Stopped, reason);
        }
        known.canary_owner = None;
        known.set(word, reason.to_owned(), now);
    }

    /// The canary that is wanted, if it can be: the one that is under way as long as nothing about it changes, and one
    /// that is over until it is marked as such ([`Self::canary_ended`]).
    async fn canary_of(
        &self,
        hook: &HookInstanceConfig,
        runs: &HookInstance,
        report: &mut Report,
    ) -> (Option<Arc<Canary>>, Option<Owner>) {
        let Some((wish, owner)) = self.canary_wish(hook).await else { return (None, None) };
        let known = &self.hooks.known[&hook.id];
        let background = HookBackground {
            running: None,
            last: known.last.clone(),
            meter: Arc::clone(&known.meter),
        };
        let (config, library, asked) = (self.config.clone(), self.library.clone(), hook.clone());
        let (wanted, like) = (wish.clone(), runs.plain());
        let candidate = blocking(move || {
            hooks::candidate(&config, &library, &asked, &wanted, &like, &background)
        })
        .await;
        let candidate = match candidate {
            Ok(candidate) => candidate,
            Err(complaint) => {
                report.complaints.push(complaint);
                return (None, None);
            }
        };
        let under_way = known.running.as_ref().and_then(|it| it.canary.as_ref());
        let under_way = under_way.filter(|it| it.is_for(&candidate, wish.percent, wish.budgets));
        if let Some(under_way) = under_way {
            return (Some(Arc::clone(under_way)), Some(owner));
        }
        let (ends, instance) = (self.hooks.ends_in.clone(), hook.id.clone());
        let (sha256, label) = (candidate.plugin.sha256().to_owned(), candidate.label.clone());
        let tell = move |why: String| {
            let end = CanaryEnd {
                instance: instance.clone(),
                sha256: sha256.clone(),
                label: label.clone(),
                why,
            };
            if ends.try_send(end).is_err() {
                tracing::error!(
                    hook = instance,
                    "too many canaries end at once; this one is marked later"
                );
            }
        };
        let canary = Canary::new(Arc::new(candidate), wish.percent, wish.budgets, tell);
        (Some(Arc::new(canary)), Some(owner))
    }

    /// What the file says, or else REST.
    pub(super) async fn canary_wish(
        &self,
        hook: &HookInstanceConfig,
    ) -> Option<(CanaryConfig, Owner)> {
        if let Some(wish) = &hook.canary {
            return Some((wish.clone(), file_owner(&self.config, &hook.id)?));
        }
        let (store, id) = (self.hooks.store.clone(), hook.id.clone());
        let note = blocking(move || store.note(&id, CANARY)).await.unwrap_or_else(|error| {
            tracing::error!(hook = hook.id, %error, "whether it has a canary is not known");
            None
        });
        let wish: serde_json::Value = serde_json::from_str(&note?).ok()?;
        Some((canary_from(&wish)?, Owner::Rest))
    }

    /// Begins, changes or ends a canary, for REST.
    pub(super) async fn set_canary(
        &mut self,
        id: &str,
        wish: Option<CanaryConfig>,
        actor: &Actor,
        report: &mut Report,
    ) -> Result<(), KeeperError> {
        let hook = self.config.hooks.instances.iter().find(|hook| hook.id == id).cloned();
        let Some(hook) = hook else { return Err(no_hook(id)) };
        if hook.canary.is_some()
            && let Some(Owner::File { file, line }) = file_owner(&self.config, id)
        {
            let key = format!("hooks.instances.{id}.canary");
            return Err(KeeperError::OwnedByFile { file, line, key });
        }
        let running = self.hooks.known.get(id).and_then(|known| known.running.clone());
        if let Some(wish) = &wish {
            let Some(running) = &running else {
                return Err(KeeperError::Conflict {
                    message: format!("hook {id} is not called"),
                    fix: "see in its status why".to_owned(),
                });
            };
            let known = &self.hooks.known[id];
            let background = HookBackground {
                running: None,
                last: known.last.clone(),
                meter: Arc::clone(&known.meter),
            };
            let (config, library, asked) =
                (self.config.clone(), self.library.clone(), hook.clone());
            let (wanted, like) = (wish.clone(), running.plain());
            let found = blocking(move || {
                hooks::candidate(&config, &library, &asked, &wanted, &like, &background)
            });
            if let Err(complaint) = found.await {
                let place = crate::config::Place::default();
                return Err(KeeperError::Invalid(vec![Complaint { place, ..complaint }]));
            }
        }
        let note = wish.as_ref().map(|wish| canary_json(wish).to_string());
        let (store, asked) = (self.hooks.store.clone(), id.to_owned());
        blocking(move || store.set_note(&asked, CANARY, note.as_deref())).await.map_err(ours)?;
        let action = if wish.is_some() { "hook.canary" } else { "hook.canary-end" };
        let detail = wish.as_ref().map_or_else(|| json!({}), canary_json);
        let (library, actor, subject) = (self.library.clone(), actor.clone(), format!("hook {id}"));
        blocking(move || library.note(&actor, action, &subject, &detail)).await?;
        self.settle_hooks(report).await;
        Ok(())
    }

    /// It did worse than the old version: nobody asks it any more, and it is not used by itself again.
    pub(super) async fn canary_ended(&mut self, end: CanaryEnd, report: &mut Report) {
        let CanaryEnd { instance, sha256, label, why } = end;
        self.reject(&sha256, &why, &Actor::Host).await;
        let now = self.clock.now().wall;
        let message = format!("the canary {label} was given up: {why}");
        let fix = "mend it, or `jackfield plugin use` to try it again";
        if let Some(known) = self.hooks.known.get(&instance) {
            known.meter.failed("canary-ended", message.clone(), fix, now);
        }
        let (store, id) = (self.hooks.store.clone(), instance.clone());
        if let Err(error) = blocking(move || store.set_note(&id, CANARY, None)).await {
            tracing::error!(hook = instance, %error, "the canary's end could not be noted");
        }
        report.note(format!("hook {instance}"), ChangeKind::RolledBack, message.clone());
        let notice = Notice {
            code: "canary-given-up".to_owned(),
            severity: Severity::Error,
            message: format!("hook {instance}: {message}"),
            fix: fix.to_owned(),
        };
        // The switch may have ended; the audit log has it all the same.
        self.facts.tell(vec![Input::Notice { connector: None, notice }]).await;
        self.settle_hooks(&mut Report::default()).await;
    }

    fn hook_plan(&self) -> HookPlan {
        let mut plan = HookPlan::of(&self.config);
        for (id, known) in &self.hooks.known {
            match &known.running {
                Some(running) => {
                    plan.instances.insert(id.clone(), Arc::clone(running));
                }
                None => {
                    plan.left_out.insert(id.clone(), known.reason.clone());
                }
            }
        }
        plan
    }
}

impl KnownHook {
    fn set(&mut self, word: InstanceWord, reason: String, now: Timestamp) {
        if self.word != word {
            self.since = now;
        }
        self.word = word;
        self.reason = reason;
    }

    pub(super) fn meter(&self) -> &Arc<HookMeter> {
        &self.meter
    }
}

fn first(complaints: &[Complaint]) -> (String, String) {
    let first = complaints.first();
    let reason = first.map_or_else(String::new, |it| format!("{}: {}", it.key, it.message));
    (reason, first.map_or_else(String::new, |it| it.fix.clone()))
}

/// What is different, for a person.
fn difference(before: &HookInstance, after: &HookInstance, canary: Option<&Canary>) -> String {
    let mut what = Vec::new();
    if before.plugin.sha256() != after.plugin.sha256() {
        what.push(if before.label == after.label {
            format!("{} is {} now", after.label, &after.plugin.sha256()[..8])
        } else {
            format!("{} instead of {}", after.label, before.label)
        });
    }
    for (is_other, name) in [
        (before.settings != after.settings, "settings"),
        (
            before.limits != after.limits || before.http_per_minute != after.http_per_minute,
            "limits",
        ),
        (before.secret_texts != after.secret_texts, "secrets"),
    ] {
        if is_other {
            what.push(format!("other {name}"));
        }
    }
    what.extend(grants_changed(&before.grants, &after.grants));
    match (&before.canary, canary) {
        (None, Some(canary)) => {
            what.push(format!("{} for {} % of the calls", canary.candidate.label, canary.percent));
        }
        (Some(before), None) => what.push(format!("no {} any more", before.candidate.label)),
        (Some(before), Some(after)) if !std::ptr::eq(before.as_ref(), after) => {
            what.push(format!("{} for {} % of the calls", after.candidate.label, after.percent));
        }
        _ => {}
    }
    what.join(", ")
}

fn file_owner(config: &Config, id: &str) -> Option<Owner> {
    let place = config.place(&format!("hooks.instances.{id}.canary"))?;
    Some(Owner::File { file: config.file.clone(), line: place.line })
}

fn canary_json(wish: &CanaryConfig) -> serde_json::Value {
    json!({
        "version": wish.version,
        "percent": wish.percent,
        "traps": wish.budgets.traps,
        "late": wish.budgets.late,
        "differences_percent": wish.budgets.differences_percent,
    })
}

fn canary_from(json: &serde_json::Value) -> Option<CanaryConfig> {
    let number = |name: &str| u32::try_from(json[name].as_u64()?).ok();
    let percent = |name: &str| u8::try_from(json[name].as_u64()?).ok();
    Some(CanaryConfig {
        version: json["version"].as_str()?.to_owned(),
        percent: percent("percent")?,
        budgets: Budgets {
            traps: number("traps")?,
            late: number("late")?,
            differences_percent: percent("differences_percent")?,
        },
    })
}

pub(super) fn no_hook(id: &str) -> KeeperError {
    KeeperError::NotFound {
        what: format!("hook {id:?}"),
        fix: "GET /v1/hooks lists them".to_owned(),
    }
}

fn ours(error: HookStoreError) -> KeeperError {
    let (message, fix) = crate::plugins::library::split_fix(&error.to_string());
    KeeperError::Install { message, fix, ours: true }
}
