//! Comforting: a treatment says what the caller hears until they leave.

use std::{mem, time::Duration};

use calls::{
    Now,
    event::{Hook as Kind, HookOutcome, HookWord},
};
use plugin_runtime::hooks::{Call, HookFailure, Plan, Step, Target, Treat, Waiting};

use super::{Action, Desk, Kept, Stage, Untold, sending::By};
use crate::hooks::{
    treatment::{Progress, Treating},
    words,
};

impl Desk {
    /// Begins a treatment.
    pub(super) fn treat(&mut self, treat: Treat, now: Now) {
        let Some(hook) = self.rules.treatments.get(self.treatment_id(&treat)).cloned() else {
            return self.fall_back("there is no such treatment".to_owned(), now);
        };
        self.stage = Stage::Treating(Box::new(Treating::begin(hook, treat, now.monotonic)));
        self.tell_pbx(now);
        self.lease.stay(now.monotonic);
    }

    /// Goes on with a treatment that a host before this one began.
    pub(super) fn resume(&mut self, kept: Kept, now: Now) {
        let Kept {
            treatment, state, then, facts, patch, private, attempt, waited, age, at, ..
        } = kept;
        self.kept = true;
        let hook = self.rules.treatments.get(&treatment).cloned();
        // The admin may have closed the place since.
        let hook = hook.filter(|_| then.iter().all(|then| self.check_target(then).is_ok()));
        let Some(hook) = hook else {
            self.forget_treatment();
            return self.decide(now);
        };
        let gone = Duration::from_nanos(now.wall.0.saturating_sub(at.0));
        self.call.attempt = self.call.attempt.max(attempt);
        self.age_before = age + gone;
        self.apply(&patch);
        // The PBX was told of it before.
        self.patched = patch;
        self.private = private;
        self.untold = Untold::default();
        let waited = waited + gone;
        let treat = Treat { treatment, then, facts };
        let treating = Treating::resume(hook, treat, state, waited, now.monotonic);
        self.stage = Stage::Treating(Box::new(treating));
        self.lease.stay(now.monotonic);
    }

    /// The treatment answered.
    pub(super) fn planned(
        &mut self,
        job: u64,
        by: String,
        said: Result<Plan, HookFailure>,
        now: Now,
    ) {
        let Stage::Treating(treating) = &mut self.stage else { return };
        let Some(since) = treating.hears(job) else { return };
        treating.hook.plugin = by;
        let checked = said.map_err(|failure| words::of_failure(&failure)).and_then(|plan| {
            let nonsense = |why| (HookOutcome::Nonsense, why);
            self.check_patch(&plan.patch).map_err(nonsense)?;
            for step in plan.steps.iter().flatten() {
                if let Step::HandOver(Some(target)) = step {
                    self.check_target(target).map_err(nonsense)?;
                }
            }
            Ok(plan)
        });
        match checked {
            // Its own words, or ours with some of them.
            Err((outcome, why)) => {
                let why = self.private.sentence(why);
                self.treatment_failed(outcome, why, since, now);
            }
            Ok(plan) => self.follow(plan, since, now),
        }
    }

    fn follow(&mut self, mut plan: Plan, since: Duration, now: Now) {
        let Stage::Treating(treating) = &mut self.stage else { return };
        if let Err(why) = treating.plan(&mut plan, now.monotonic, &mut self.out) {
            let why = self.private.sentence(why);
            return self.treatment_failed(HookOutcome::Nonsense, why, since, now);
        }
        let instance = treating.hook.instance.clone();
        // A sentence said again and again is news once.
        let is_news = treating.says_anew(&plan.reason);
        let Plan { patch, stores, reason, .. } = plan;
        if is_news {
            let reason = self.private.sentence(words::reason(&reason));
            self.treatment_word(HookOutcome::Decided, String::new(), reason, since, now);
        }
        self.apply(&patch);
        self.private.treatment_set(&patch);
        self.keep_patch(patch);
        // What is played from here on is in the language that the caller has just chosen.
        if self.set.is_none() && self.untold.language.is_some() {
            self.tell_pbx(now);
        }
        self.store(&instance, stores);
        self.keep_treatment(now);
    }

    /// The treatment gave no plan that counts: the caller goes where the router said, or gets the fallback.
    pub(super) fn treatment_failed(
        &mut self,
        outcome: HookOutcome,
        why: String,
        since: Duration,
        now: Now,
    ) {
        let Stage::Treating(treating) = &mut self.stage else { return };
        let what = format!("{}: {outcome}", treating.hook.instance);
        let then = treating.then.take();
        self.treatment_word(outcome, String::new(), why, since, now);
        match then {
            Some(then) => {
                let why = format!("{what}; the caller goes where the router said");
                self.host_word(HookOutcome::Fallback, &then, why);
                self.send(then, By::Then, now);
            }
            None => self.fall_back(what, now),
        }
    }

    /// Does what the treatment wants done now, and asks it about what happened.
    pub(super) fn comfort(&mut self, now: Now) {
        let Stage::Treating(treating) = &mut self.stage else { return };
        if self.set.is_none() {
            match treating.proceed(&self.call.language, now.monotonic, &mut self.out) {
                Progress::Going => {}
                Progress::HandOver(target) => return self.leave(target, now),
                Progress::Stuck(why) => {
                    let since = now.monotonic;
                    return self.treatment_failed(HookOutcome::Nonsense, why, since, now);
                }
            }
        }
        self.ask_treatment(now);
    }

    fn ask_treatment(&mut self, now: Now) {
        let age = self.age(now);
        let Stage::Treating(treating) = &mut self.stage else { return };
        let Some((cause, answers)) = treating.question() else { return };
        let job = self.out.number();
        treating.asks(job, &cause, now.monotonic, self.rules.decision);
        self.private.told(&cause);
        let waiting = Waiting {
            call: Call { age, ..self.call.clone() },
            waited: treating.waited(now.monotonic),
            then: treating.then.clone(),
            facts: treating.facts.clone(),
            position: None,
            estimate_secs: None,
        };
        self.out.actions.push_back(Action::Treat {
            job,
            instance: treating.hook.instance.clone(),
            waiting: Box::new(waiting),
            state: treating.state.clone(),
            wrote: treating.hook.plugin.clone(),
            cause,
            answers,
        });
    }

    /// The treatment is over.
    fn leave(&mut self, target: Option<Target>, now: Now) {
        let Stage::Treating(treating) = &mut self.stage else { return };
        let reason = match target {
            Some(_) => "it hands the caller over",
            None => "it ends, and the caller goes where the router said",
        };
        let target = target.or_else(|| treating.then.clone());
        let verdict = match &target {
            Some(target) => target.to_string(),
            None => "back to the routers".to_owned(),
        };
        let since = now.monotonic;
        self.treatment_word(HookOutcome::Decided, verdict, reason.to_owned(), since, now);
        match target {
            Some(target) => {
                let stage = mem::replace(&mut self.stage, Stage::Away);
                let Stage::Treating(treating) = stage else { return };
                self.send(target, By::Treatment(treating), now);
            }
            None => {
                self.forget_treatment();
                self.again("treatment", "finished", now);
            }
        }
    }

    /// The caller is gone, or with the PBX.
    pub(super) fn cancel_treatment(&mut self, why: &str, now: Now) {
        let Stage::Treating(treating) = &self.stage else { return };
        if let Some(since) = treating.asked_since() {
            self.treatment_word(HookOutcome::Cancelled, String::new(), why.to_owned(), since, now);
        }
    }

    fn treatment_word(
        &mut self,
        outcome: HookOutcome,
        verdict: String,
        reason: String,
        since: Duration,
        now: Now,
    ) {
        let Stage::Treating(treating) = &self.stage else { return };
        let mut facts = vec![("because".to_owned(), treating.because().to_owned())];
        facts.extend(self.private.facts(words::facts(&self.call, &[])));
        let word = HookWord {
            hook: Kind::WaitTreatment,
            instance: treating.hook.instance.clone(),
            plugin: treating.hook.plugin.clone(),
            attempt: self.call.attempt,
            outcome,
            verdict,
            reason,
            facts,
            took_us: words::micros(now.monotonic.saturating_sub(since)),
        };
        self.out.actions.push_back(Action::Word(word));
    }

    fn keep_treatment(&mut self, now: Now) {
        let Stage::Treating(treating) = &self.stage else { return };
        let kept = Kept {
            treatment: treating.hook.instance.clone(),
            state: treating.state.clone(),
            then: treating.then.clone(),
            facts: treating.facts.clone(),
            patch: self.patched.clone(),
            private: self.private.clone(),
            attempt: self.call.attempt,
            returned_from: self.returned_from.clone(),
            waited: treating.waited(now.monotonic),
            age: self.age(now),
            at: now.wall,
        };
        self.kept = true;
        self.out.actions.push_back(Action::Keep(Some(Box::new(kept))));
    }
}
