//! One caller whom the PBX handed over: what the hooks say, and what the PBX is told.
//!
//! ```text
//! offered -> deciding --target--> sending --> away (the PBX has the caller) --offered again--> deciding
//!               |  '--treat--> treating --^ |
//!               '---fallback--------------^ '--failed: back to who sent them, at last to the fallback
//! ```
//!
//! It opens no socket, reads no clock and runs no plugin: an [`Event`] and the time go in, [`Action`]s come out.
//! Whatever a hook does, the caller goes somewhere: each failure ends in the fallback, and when even that fails, the
//! lease is not renewed any more and the PBX takes the caller back.

#[cfg(test)]
mod bill;
mod comforting;
pub(super) mod deciding;
pub(super) mod sending;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use calls::{
    Now, Timestamp,
    event::{CommandEnd, HookOutcome, HookWord, Problem},
    switchboard::Offered,
};
use plugin_runtime::hooks::{
    Answer, Attributes, Call, Cause, Decision, HookFailure, Lookup, Patch, Plan, Store, Target,
    Waiting,
};

use self::sending::{Sending, Setting};
use super::{
    chain::Chain,
    instructions::Instruction,
    lease::Lease,
    pace::Pace,
    private::Private,
    treatment::{self, Treating},
    words,
};

/// A caller may come back so often at once, and then so often; more is a circle.
const RETURNS: (u32, Duration) = (8, Duration::from_secs(15));
/// So often the fallback may be tried.
const FALLS: (u32, Duration) = (4, Duration::from_secs(30));
/// A configured instance, as a desk knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    /// Its id in the config.
    pub instance: String,
    /// E.g. `skills 0.1.0`.
    pub plugin: String,
}

/// A place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Router {
    pub hook: Hook,
    /// Why it cannot be asked.
    pub left_out: Option<String>,
}

/// What the admin laid down for a call, fixed when it is offered.
#[derive(Debug)]
pub(super) struct Rules {
    /// Asked in this order.
    pub routers: Vec<Router>,
    /// Treatments by instance.
    pub treatments: BTreeMap<String, Hook>,
    /// The treatment of those who name none.
    pub usual_treatment: String,
    /// Where callers go when no router says so.
    pub fallback: Target,
    /// Numbers that go on in the dialplan at once.
    pub emergency: Vec<String>,
    /// Contexts of the dialplan that hooks may send callers into.
    pub contexts: BTreeSet<String>,
    /// For one decision, lookups included.
    pub decision: Duration,
    /// After so long without us the PBX takes the caller back.
    pub lease: Duration,
}

/// Something happened.
#[derive(Debug)]
pub(super) enum Event {
    /// The PBX hands the caller over again. (The first time is [`Desk::open`].)
    Offered { offered: Box<Offered>, rules: Arc<Rules> },
    /// A router answered; `by` says which plugin and version.
    Routed { job: u64, by: String, said: Result<Decision, HookFailure> },
    /// A treatment answered.
    Planned { job: u64, by: String, said: Result<Plan, HookFailure> },
    /// A hook could not be asked: too many wait for the worker threads already.
    NotAsked { job: u64 },
    /// A lookup is over.
    LookedUp { number: u64, answer: Answer },
    /// An instruction is over.
    Done { number: u64, end: CommandEnd, problem: Option<Problem> },
    /// The caller pressed a key.
    Key(char),
    /// The leg takes no instructions any more.
    Released { reason: String },
}

/// Something to do.
#[derive(Debug)]
pub(super) enum Action {
    /// Ask a router.
    Route { job: u64, instance: String, call: Box<Call>, answers: Vec<Answer> },
    /// Ask a treatment.
    Treat {
        job: u64,
        instance: String,
        waiting: Box<Waiting>,
        state: Vec<u8>,
        /// The plugin and version whose state that is.
        wrote: String,
        cause: Cause,
        answers: Vec<Answer>,
    },
    /// Answer a question of a hook.
    LookUp { number: u64, instance: String, question: Lookup, within: Duration },
    /// Tell the PBX.
    Instruct { number: u64, instruction: Instruction },
    /// Keep values of an instance.
    Store { instance: String, stores: Vec<Store> },
    /// Keep this for the time after a restart; none: forget it.
    Keep(Option<Box<Kept>>),
    /// Put into the call's record.
    Word(HookWord),
}

/// A caller under treatment, as it is kept for a host that begins anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub treatment: String,
    pub state: Vec<u8>,
    pub then: Option<Target>,
    pub facts: Attributes,
    /// What hooks set on the call.
    pub patch: Patch,
    pub private: Private,
    pub attempt: u32,
    /// What the caller had come back from.
    pub returned_from: String,
    /// Since the treatment began, at `at`.
    pub waited: Duration,
    /// Since the call was first offered, at `at`.
    pub age: Duration,
    pub at: Timestamp,
}

impl Kept {
    /// Nobody is treated for so long: the caller is gone.
    pub fn is_over(&self, now: Timestamp) -> bool {
        Duration::from_nanos(now.0.saturating_sub(self.at.0)) > treatment::LONGEST
    }
}

/// What a desk wants done, in order.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub actions: VecDeque<Action>,
    count: u64,
}

impl Out {
    /// A number nobody has.
    pub fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Tells the PBX.
    pub fn instruct(&mut self, instruction: Instruction) -> u64 {
        let number = self.number();
        self.actions.push_back(Action::Instruct { number, instruction });
        number
    }
}

/// One caller.
///
/// Invariant: while the caller is with us, something is waited for that has a deadline.
#[derive(Debug)]
pub(super) struct Desk {
    rules: Arc<Rules>,
    call: Call,
    /// On the monotonic clock.
    arrived: Duration,
    /// The age it had then.
    age_before: Duration,
    /// As the PBX said last.
    returned_from: String,
    /// What hooks set and the PBX was not told yet.
    untold: Untold,
    /// What hooks set altogether.
    patched: Patch,
    private: Private,
    stage: Stage,
    /// Goes on beside the stage; hand-overs wait for it.
    set: Option<Setting>,
    lease: Lease,
    returns: Pace,
    falls: Pace,
    /// How often nobody took the caller.
    losses: u32,
    /// Their treatment is kept for a restart.
    kept: bool,
    out: Out,
}

#[derive(Debug, Default)]
struct Untold {
    variables: Attributes,
    language: Option<String>,
}

impl Untold {
    /// It was not told after all. What was set since then counts.
    fn put_back(&mut self, told: Self) {
        let newer = mem::replace(&mut self.variables, told.variables);
        put_all(&mut self.variables, &newer);
        self.language = self.language.take().or(told.language);
    }
}

#[derive(Debug)]
enum Stage {
    Deciding(Chain),
    Treating(Box<Treating>),
    Sending(Box<Sending>),
    /// Nobody took the caller. The lease runs out.
    Lost {
        retry_at: Option<Duration>,
    },
    /// Not with us.
    Away,
}

impl Desk {
    /// The PBX hands a caller over, for the first time or for the first time since the host began. `kept`: what was
    /// kept of their treatment.
    pub fn open(offered: Offered, rules: Arc<Rules>, kept: Option<Kept>, now: Now) -> Self {
        let at = now.monotonic;
        let mut desk = Self {
            lease: Lease::new(rules.lease),
            rules,
            call: Call::default(),
            arrived: at,
            age_before: Duration::ZERO,
            returned_from: String::new(),
            untold: Untold::default(),
            patched: Patch::default(),
            private: Private::default(),
            stage: Stage::Away,
            set: None,
            losses: 0,
            kept: false,
            returns: Pace::new(RETURNS.0, RETURNS.1, at),
            falls: Pace::new(FALLS.0, FALLS.1, at),
            out: Out::default(),
        };
        desk.look_at(offered);
        match kept {
            // From elsewhere they come back anew.
            Some(kept) if kept.returned_from == desk.call.returned_from && !desk.is_emergency() => {
                desk.resume(kept, now);
            }
            kept => {
                desk.kept = kept.is_some();
                desk.forget_treatment();
                desk.decide(now);
            }
        }
        desk.settle(now);
        desk
    }

    /// Something happened.
    pub fn handle(&mut self, event: Event, now: Now) {
        match event {
            Event::Offered { offered, rules } => self.offered(*offered, rules, now),
            Event::Routed { job, by, said } => self.routed(job, by, said, now),
            Event::Planned { job, by, said } => self.planned(job, by, said, now),
            Event::NotAsked { job } => self.not_asked(job, now),
            Event::LookedUp { number, answer } => self.looked_up(number, answer, now),
            Event::Done { number, end, problem } => self.done(number, &end, problem, now),
            Event::Key(key) => {
                if let Stage::Treating(treating) = &mut self.stage {
                    treating.key(key, now.monotonic);
                }
            }
            Event::Released { reason } => {
                self.cancel(&reason, now);
                self.gone();
            }
        }
        self.settle(now);
    }

    /// The next deadline; none: nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let stage = match &self.stage {
            Stage::Deciding(chain) => Some(chain.give_up_at),
            Stage::Treating(treating) => treating.poll_timeout(),
            Stage::Sending(sending) => sending.poll_timeout(),
            Stage::Lost { retry_at } => *retry_at,
            Stage::Away => None,
        };
        let set = self.set.as_ref().map(|set| set.until);
        [stage, set, self.lease.poll_timeout()].into_iter().flatten().min()
    }

    /// The time of [`Desk::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Now) {
        let at = now.monotonic;
        if let Some(secs) = self.lease.handle_timeout(at) {
            self.out.instruct(Instruction::lease(secs));
            if let Stage::Treating(treating) = &mut self.stage {
                treating.lease_renewed(&mut self.out);
            }
        }
        self.sending_timed_out(now);
        match &mut self.stage {
            Stage::Deciding(chain) if chain.give_up_at <= at => {
                let why = chain.was_doing();
                self.router_failed(HookOutcome::Late, why.to_owned(), now);
            }
            Stage::Treating(treating) => {
                let since = treating.asked_since();
                if treating.handle_timeout(at, &mut self.out) {
                    let why = "it did not answer in time".to_owned();
                    self.treatment_failed(HookOutcome::Late, why, since.unwrap_or(at), now);
                }
            }
            _ => {}
        }
        self.settle(now);
    }

    /// What is to be done, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.out.actions.pop_front()
    }

    /// Does everything that can be done now.
    fn settle(&mut self, now: Now) {
        self.comfort(now);
        self.hand_over(now);
    }

    fn offered(&mut self, offered: Offered, rules: Arc<Rules>, now: Now) {
        // What was under way is not any more: the PBX has the caller anew.
        self.cancel("offered again", now);
        self.gone();
        self.rules = rules;
        self.look_at(offered);
        self.decide(now);
    }

    fn look_at(&mut self, offered: Offered) {
        let Offered { call, connector, caller, held, .. } = offered;
        self.returned_from.clone_from(&held.returned_from);
        let attempt = held.attempt.max(self.call.attempt.saturating_add(1));
        let mut it = Call {
            id: call.to_string(),
            connector: connector.to_string(),
            entry: held.entry,
            dialled: held.dialled,
            caller: words::raw_party(&caller),
            caller_e164: caller.e164.unwrap_or_default(),
            returned_from: held.returned_from,
            outcome: held.outcome,
            attempt,
            ..Call::default()
        };
        for (name, value) in held.facts {
            match name.strip_prefix("variable.") {
                Some(variable) => it.variables.push((variable.to_owned(), value)),
                None if name == "language" => it.language = value,
                None => it.facts.push((name, value)),
            }
        }
        self.call = it;
        self.apply(&self.patched.clone());
    }

    fn is_emergency(&self) -> bool {
        self.rules.emergency.contains(&self.call.dialled)
    }

    fn age(&self, now: Now) -> Duration {
        self.age_before + now.monotonic.saturating_sub(self.arrived)
    }

    /// Hooks after this one see it.
    fn apply(&mut self, patch: &Patch) {
        let call = &mut self.call;
        call.priority = patch.priority.or(call.priority);
        if let Some(language) = &patch.language {
            call.language.clone_from(language);
        }
        put_all(&mut call.variables, &patch.variables);
        put_all(&mut call.facts, &patch.facts);
    }

    /// The call comes back with it, and the PBX hears of it.
    fn keep_patch(&mut self, patch: Patch) {
        put_all(&mut self.untold.variables, &patch.variables);
        put_all(&mut self.patched.variables, &patch.variables);
        put_all(&mut self.patched.facts, &patch.facts);
        self.patched.priority = patch.priority.or(self.patched.priority);
        if patch.language.is_some() {
            self.untold.language.clone_from(&patch.language);
            self.patched.language = patch.language;
        }
    }

    fn store(&mut self, instance: &str, stores: Vec<Store>) {
        if !stores.is_empty() {
            let instance = instance.to_owned();
            self.out.actions.push_back(Action::Store { instance, stores });
        }
    }

    fn forget_treatment(&mut self) {
        if mem::take(&mut self.kept) {
            self.out.actions.push_back(Action::Keep(None));
        }
    }

    /// Nobody waits for the hooks' words any more.
    fn cancel(&mut self, why: &str, now: Now) {
        match &self.stage {
            Stage::Deciding(_) => self.cancel_decision(why, now),
            Stage::Treating(_) => self.cancel_treatment(why, now),
            Stage::Sending(_) | Stage::Lost { .. } | Stage::Away => {}
        }
    }
}

fn put_all(ours: &mut Attributes, theirs: &Attributes) {
    for (name, value) in theirs {
        match ours.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.clone_from(value),
            None => ours.push((name.clone(), value.clone())),
        }
    }
}
