//! Deciding: the routers are asked, one after the other.

use calls::{
    Now,
    event::{Hook as Kind, HookOutcome, HookWord},
};
use plugin_runtime::hooks::{
    Answer, Attributes, Call, Decision, HookFailure, Lookup, MAX_LIST, MAX_VARIABLES, Patch,
    Target, Treat, Verdict,
};

use super::{Action, Desk, Hook, Stage, put_all, sending::By};
use crate::hooks::{chain::Chain, treatment, words};

/// Bytes of the channel variables, or of the facts, that hooks put on one call.
const MOST_PATCHED_BYTES: usize = 16 << 10;

/// Why a caller gets the fallback although nothing failed.
const NO_ROUTER: &str = "no router is configured";
const NOBODY_DECIDED: &str = "no router decided";

/// The host's word that a caller gets the fallback, where nothing failed: every router that there is passed, and the
/// caller goes where the admin wants such callers.
pub(in crate::hooks) fn is_by_design(word: &HookWord, fallback: &Target) -> bool {
    word.outcome == HookOutcome::Fallback
        && [NO_ROUTER, NOBODY_DECIDED].contains(&word.reason.as_str())
        && word.verdict == fallback.to_string()
}

impl Desk {
    /// Asks the routers from the first on.
    pub(super) fn decide(&mut self, now: Now) {
        let at = now.monotonic;
        self.lease.begin(at);
        if self.is_emergency() {
            let why = format!("{} is an emergency number: nobody is asked", self.call.dialled);
            self.send(Target::ContinueInDialplan, By::LastResort, now);
            return self.host_word(HookOutcome::Bypassed, &Target::ContinueInDialplan, why);
        }
        if !self.returns.take(at) {
            return self.fall_back("the caller comes back too often".to_owned(), now);
        }
        self.stage = Stage::Deciding(Chain::new(at, self.rules.decision));
        self.ask_router(now);
    }

    fn ask_router(&mut self, now: Now) {
        let Stage::Deciding(chain) = &mut self.stage else { return };
        let Some(router) = self.rules.routers.get(chain.router) else {
            let why = match self.rules.routers.is_empty() {
                true => NO_ROUTER,
                false => NOBODY_DECIDED,
            };
            return self.fall_back(why.to_owned(), now);
        };
        chain.plugin.clone_from(&router.hook.plugin);
        if let Some(why) = router.left_out.clone() {
            return self.router_failed(HookOutcome::Refused, why, now);
        }
        let job = self.out.number();
        chain.asks(job);
        let answers = chain.answers.clone();
        let call = Call { age: self.age(now), ..self.call.clone() };
        let instance = router.hook.instance.clone();
        self.out.actions.push_back(Action::Route { job, instance, call: Box::new(call), answers });
    }

    pub(super) fn routed(
        &mut self,
        job: u64,
        plugin: String,
        said: Result<Decision, HookFailure>,
        now: Now,
    ) {
        let Stage::Deciding(chain) = &mut self.stage else { return };
        if !chain.hears(job) {
            return;
        }
        chain.plugin.clone_from(&plugin);
        let Some(router) = self.rules.routers.get(chain.router) else { return };
        let instance = router.hook.instance.clone();
        let decision = match said {
            Ok(decision) => decision,
            Err(failure) => {
                let (outcome, why) = words::of_failure(&failure);
                // It is told what treatments set.
                let why = self.private.sentence(why);
                return self.router_failed(outcome, why, now);
            }
        };
        let Decision { verdict, patch, stores, reason, .. } = decision;
        if let Verdict::Need(lookups) = verdict {
            return self.router_needs(lookups, &reason, now);
        }
        if let Err(why) = self.check(&verdict, &patch) {
            return self.router_failed(HookOutcome::Nonsense, why, now);
        }
        let outcome = match verdict {
            Verdict::Pass => HookOutcome::Passed,
            _ => HookOutcome::Decided,
        };
        // Before its patch: the facts are those it decided on.
        self.router_word(outcome, self.describe(&verdict), words::reason(&reason), now);
        self.apply(&patch);
        self.keep_patch(patch);
        self.store(&instance, stores);
        match verdict {
            Verdict::Send(target) => {
                self.send(target, By::Router(Hook { instance, plugin }), now);
            }
            Verdict::Treat(treat) => self.treat(treat, now),
            Verdict::Pass | Verdict::Need(_) => {
                if let Stage::Deciding(chain) = &mut self.stage {
                    chain.next(now.monotonic);
                }
                self.ask_router(now);
            }
        }
    }

    fn router_needs(&mut self, lookups: Vec<Lookup>, reason: &str, now: Now) {
        let Stage::Deciding(chain) = &mut self.stage else { return };
        let out = &mut self.out;
        let numbers = match chain.needs(&lookups, || out.number()) {
            Ok(numbers) => numbers,
            Err(why) => return self.router_failed(HookOutcome::Nonsense, why, now),
        };
        let Some(router) = self.rules.routers.get(chain.router) else { return };
        let ids: Vec<_> = lookups.iter().map(|lookup| lookup.id.as_str()).collect();
        let verdict = format!("lookup {}", ids.join(", "));
        for (number, question) in numbers.into_iter().zip(lookups) {
            let within = chain.lookup_within(treatment::asked_time(&question), now.monotonic);
            let instance = router.hook.instance.clone();
            self.out.actions.push_back(Action::LookUp { number, instance, question, within });
        }
        self.router_word(HookOutcome::Needs, verdict, words::reason(reason), now);
    }

    pub(super) fn looked_up(&mut self, number: u64, answer: Answer, now: Now) {
        match &mut self.stage {
            Stage::Deciding(chain) => {
                if chain.looked_up(number, answer) {
                    self.ask_router(now);
                }
            }
            Stage::Treating(treating) => treating.looked_up(number, answer),
            Stage::Sending(sending) => {
                if let Some(treating) = sending.treating() {
                    treating.looked_up(number, answer);
                }
            }
            Stage::Lost { .. } | Stage::Away => {}
        }
    }

    pub(super) fn not_asked(&mut self, job: u64, now: Now) {
        let why = "it was not asked: the worker threads have too much to do".to_owned();
        match &mut self.stage {
            Stage::Deciding(chain) => {
                if chain.hears(job) {
                    self.router_failed(HookOutcome::Late, why, now);
                }
            }
            Stage::Treating(treating) => {
                if let Some(since) = treating.hears(job) {
                    self.treatment_failed(HookOutcome::Late, why, since, now);
                }
            }
            Stage::Sending(_) | Stage::Lost { .. } | Stage::Away => {}
        }
    }

    /// The router whose turn it is gave no answer that counts: the caller gets the fallback.
    pub(super) fn router_failed(&mut self, outcome: HookOutcome, why: String, now: Now) {
        let Stage::Deciding(chain) = &self.stage else { return };
        let instance = match self.rules.routers.get(chain.router) {
            Some(router) => router.hook.instance.clone(),
            None => String::new(),
        };
        let word = format!("{instance}: {outcome}");
        self.router_word(outcome, String::new(), why, now);
        self.fall_back(word, now);
    }

    fn check(&self, verdict: &Verdict, patch: &Patch) -> Result<(), String> {
        self.check_patch(patch)?;
        let treat = match verdict {
            Verdict::Pass | Verdict::Need(_) => return Ok(()),
            Verdict::Send(target) => return self.check_target(target),
            Verdict::Treat(treat) => treat,
        };
        treat.then.iter().try_for_each(|then| self.check_target(then))?;
        match self.treatment_id(treat) {
            id if self.rules.treatments.contains_key(id) => Ok(()),
            "" => Err("it wants the usual treatment, and none is configured".to_owned()),
            id => Err(format!("there is no treatment `{id}`")),
        }
    }

    /// From a context of the dialplan a caller may reach whatever it reaches, the world included: the admin names those
    /// that are open to hooks. Queues and extensions have a place of their own in our part of the dialplan.
    pub(super) fn check_target(&self, target: &Target) -> Result<(), String> {
        let Target::Dialplan(place) = target else { return Ok(()) };
        if self.rules.contexts.contains(&place.context) {
            return Ok(());
        }
        Err(format!(
            "context-not-allowed: {target} is in the context `{0}`; if hooks may send callers there, add \"{0}\" to \
             [hooks] contexts",
            place.context
        ))
    }

    /// A PBX is told all variables of a call at once, so they are counted together, whoever set them.
    pub(super) fn check_patch(&self, patch: &Patch) -> Result<(), String> {
        let Patch { variables, facts, .. } = &self.patched;
        check_merged("variables", variables, &patch.variables, MAX_VARIABLES)?;
        check_merged("facts", facts, &patch.facts, MAX_LIST)
    }

    pub(super) fn treatment_id<'t>(&'t self, treat: &'t Treat) -> &'t str {
        match treat.treatment.as_str() {
            "" => &self.rules.usual_treatment,
            id => id,
        }
    }

    fn router_word(&mut self, outcome: HookOutcome, verdict: String, reason: String, now: Now) {
        let Stage::Deciding(chain) = &self.stage else { return };
        let Some(router) = self.rules.routers.get(chain.router) else { return };
        let word = HookWord {
            hook: Kind::Router,
            instance: router.hook.instance.clone(),
            plugin: chain.plugin.clone(),
            attempt: self.call.attempt,
            outcome,
            verdict,
            reason,
            facts: self.private.facts(words::facts(&self.call, &chain.answers)),
            took_us: words::micros(now.monotonic.saturating_sub(chain.turn_began)),
        };
        self.out.actions.push_back(Action::Word(word));
    }

    fn describe(&self, verdict: &Verdict) -> String {
        match verdict {
            Verdict::Pass | Verdict::Need(_) => String::new(),
            Verdict::Send(target) => target.to_string(),
            Verdict::Treat(treat) => {
                let then = treat.then.as_ref().map(|then| format!(", then {then}"));
                format!("treatment:{}{}", self.treatment_id(treat), then.unwrap_or_default())
            }
        }
    }

    /// The caller is gone before the router answered.
    pub(super) fn cancel_decision(&mut self, why: &str, now: Now) {
        self.router_word(HookOutcome::Cancelled, String::new(), why.to_owned(), now);
    }
}

fn check_merged(
    what: &str,
    ours: &Attributes,
    theirs: &Attributes,
    most: usize,
) -> Result<(), String> {
    if theirs.is_empty() {
        return Ok(());
    }
    let mut all = ours.clone();
    put_all(&mut all, theirs);
    let bytes: usize = all.iter().map(|(name, value)| name.len() + value.len()).sum();
    if all.len() <= most && bytes <= MOST_PATCHED_BYTES {
        return Ok(());
    }
    Err(format!(
        "with this there are {} {what} of {bytes} bytes on the call; at most {most} of {MOST_PATCHED_BYTES} bytes",
        all.len()
    ))
}
