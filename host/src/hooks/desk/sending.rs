//! Sending: the caller goes to the PBX, and who hears it when nobody takes them.

use std::{mem, time::Duration};

use calls::{
    Now,
    event::{CommandEnd, Hook as Kind, HookOutcome, HookWord, Problem},
};
use plugin_runtime::hooks::{Attributes, Target};

use super::{Action, Desk, Hook, Stage, Untold};
use crate::hooks::{instructions::Instruction, treatment::Treating, words};

/// Nobody takes the caller: tried again after this, while the lease lasts.
const RETRY: Duration = Duration::from_secs(2);
/// So often.
const MOST_LOSSES: u32 = 5;
/// The link to the PBX is down for a moment: tried again after this.
pub(in crate::hooks) const AGAIN: Duration = Duration::from_secs(1);
/// So often; a lease is about over then.
pub(in crate::hooks) const MOST_TRIES: u32 = 40;

/// A hand-over under way.
#[derive(Debug)]
pub(super) struct Sending {
    target: Target,
    by: By,
    pbx: Pbx,
    /// Variables that the hand-over under way carries; they are still to be told when it fails.
    told: Attributes,
    /// How often the PBX could not be reached.
    tries: u32,
}

/// How far a hand-over is.
#[derive(Debug)]
enum Pbx {
    /// It is to be told, or is first told what hooks set.
    Untold,
    /// It could not be reached.
    Again { at: Duration },
    /// Its answer is waited for.
    Told { number: u64, until: Duration },
}

/// Who wants it: they hear when it fails.
#[derive(Debug)]
pub(super) enum By {
    Router(Hook),
    Treatment(Box<Treating>),
    /// The treatment failed: where the router said.
    Then,
    Fallback,
    LastResort,
}

/// The PBX is being told what hooks set on the call.
#[derive(Debug)]
pub(super) struct Setting {
    number: u64,
    pub until: Duration,
    told: Untold,
}

impl Sending {
    pub fn poll_timeout(&self) -> Option<Duration> {
        match self.pbx {
            Pbx::Untold => None,
            Pbx::Again { at: until } | Pbx::Told { until, .. } => Some(until),
        }
    }

    /// The treatment that hands the caller over.
    pub fn treating(&mut self) -> Option<&mut Treating> {
        match &mut self.by {
            By::Treatment(treating) => Some(treating),
            _ => None,
        }
    }
}

impl Desk {
    /// The caller goes there.
    pub(super) fn send(&mut self, target: Target, by: By, now: Now) {
        let told = Attributes::new();
        let sending = Sending { target, by, pbx: Pbx::Untold, told, tries: 0 };
        self.stage = Stage::Sending(Box::new(sending));
        self.tell_first(now);
    }

    /// Tells the PBX what it must know before the hand-over.
    fn tell_first(&mut self, now: Now) {
        let Stage::Sending(sending) = &self.stage else { return };
        // An emergency call, and one that nobody takes, wait for nothing.
        let is_urgent =
            matches!(sending.by, By::LastResort) || matches!(sending.target, Target::HangUp(_));
        // A queue is told the variables with the hand-over itself.
        let with_it = matches!(sending.target, Target::Queue(_)) && self.untold.language.is_none();
        if !is_urgent && !with_it {
            self.tell_pbx(now);
        }
    }

    /// Tells the PBX what hooks set on the call and it does not know yet.
    pub(super) fn tell_pbx(&mut self, now: Now) {
        let told = mem::take(&mut self.untold);
        if told.variables.is_empty() && told.language.is_none() {
            return;
        }
        let instruction = Instruction::set(&told.variables, told.language.as_deref());
        let until = now.monotonic + instruction.within;
        self.set = Some(Setting { number: self.out.instruct(instruction), until, told });
    }

    /// Hands over when nothing is in the way any more.
    pub(super) fn hand_over(&mut self, now: Now) {
        let Stage::Sending(sending) = &mut self.stage else { return };
        let is_urgent = matches!(sending.by, By::LastResort);
        if !matches!(sending.pbx, Pbx::Untold) || (self.set.is_some() && !is_urgent) {
            return;
        }
        if matches!(sending.target, Target::Queue(_)) {
            sending.told = mem::take(&mut self.untold.variables);
        }
        // The PBX ends the lease itself when the caller has left us, and not before: a hand-over that fails leaves
        // them with one.
        let instruction =
            Instruction::hand_over(&sending.target, self.call.priority, &sending.told);
        self.lease.end();
        let until = now.monotonic + instruction.within;
        sending.pbx = Pbx::Told { number: self.out.instruct(instruction), until };
    }

    /// An instruction is over.
    pub(super) fn done(
        &mut self,
        number: u64,
        end: &CommandEnd,
        problem: Option<Problem>,
        now: Now,
    ) {
        let problem = match end {
            CommandEnd::Done => None,
            _ => Some(problem.unwrap_or_else(|| without_words(end))),
        };
        if let Some(set) = self.set.take_if(|set| set.number == number) {
            if let Some(problem) = problem {
                if is_passing(&problem) {
                    self.untold.put_back(set.told);
                }
                tracing::warn!(
                    call = self.call.id,
                    code = problem.code,
                    "the PBX did not take the variables or the language that hooks set"
                );
            }
            return;
        }
        match &mut self.stage {
            Stage::Treating(treating) => treating.done(number, problem, now.monotonic),
            Stage::Sending(sending) => match (&sending.pbx, problem) {
                (Pbx::Told { number: told, .. }, _) if *told != number => {}
                (Pbx::Told { .. }, None) => self.gone(),
                (Pbx::Told { .. }, Some(problem)) => self.not_taken(problem, now),
                _ => {}
            },
            _ => {}
        }
    }

    /// Time is up for what is under way.
    pub(super) fn sending_timed_out(&mut self, now: Now) {
        let at = now.monotonic;
        if self.set.take_if(|set| set.until <= at).is_some() {
            tracing::warn!(
                call = self.call.id,
                "the PBX does not say whether it took what hooks set"
            );
        }
        match &mut self.stage {
            Stage::Sending(sending) => match sending.pbx {
                Pbx::Again { at: again } if again <= at => {
                    sending.pbx = Pbx::Untold;
                    if self.set.is_none() {
                        self.tell_first(now);
                    }
                }
                Pbx::Told { until, .. } if until <= at => {
                    self.not_taken(without_words(&CommandEnd::TimedOut), now);
                }
                _ => {}
            },
            Stage::Lost { retry_at } if retry_at.is_some_and(|retry_at| retry_at <= at) => {
                let target = match self.is_emergency() {
                    true => Target::ContinueInDialplan,
                    false => self.rules.fallback.clone(),
                };
                self.send(target, By::LastResort, now);
            }
            _ => {}
        }
    }

    /// The PBX has the caller.
    pub(super) fn gone(&mut self) {
        self.stage = Stage::Away;
        self.set = None;
        self.lease.end();
        self.forget_treatment();
    }

    /// The place did not take the caller, who is still with us.
    fn not_taken(&mut self, problem: Problem, now: Now) {
        let Stage::Sending(sending) = &mut self.stage else { return };
        if is_gone(&problem) {
            // The PBX says so in its own words, too.
            return self.gone();
        }
        let variables = mem::take(&mut sending.told);
        // Perhaps it is they that the PBX does not take.
        if problem.code != "bad-argument" {
            self.untold.put_back(Untold { variables, language: None });
        }
        if is_passing(&problem) && sending.tries < MOST_TRIES {
            sending.tries += 1;
            sending.pbx = Pbx::Again { at: now.monotonic + AGAIN };
            return;
        }
        let Sending { target, by, .. } = match mem::replace(&mut self.stage, Stage::Away) {
            Stage::Sending(sending) => *sending,
            stage => return self.stage = stage,
        };
        let code = problem.code.as_str();
        tracing::warn!(call = self.call.id, %target, code, "the caller was not taken");
        self.lease.stay(now.monotonic);
        match by {
            // The dialplan's mistake, whoever decided.
            By::Router(_) if code == NO_TEMPLATE => {
                self.fall_back(format!("{target} did not take the caller: {code}"), now);
            }
            By::Router(router) if is_nowhere(&problem) => {
                let word = HookWord {
                    hook: Kind::Router,
                    instance: router.instance,
                    plugin: router.plugin,
                    attempt: self.call.attempt,
                    outcome: HookOutcome::Nonsense,
                    verdict: String::new(),
                    reason: words::reason(&format!("{target}: {} ({code})", problem.message)),
                    facts: Vec::new(),
                    took_us: 0,
                };
                self.out.actions.push_back(Action::Word(word));
                self.fall_back(format!("{target} did not take the caller: {code}"), now);
            }
            By::Router(_) => {
                let from = match target {
                    Target::Queue(_) => "queue",
                    Target::Extension(_) => "extension",
                    _ => "dialplan",
                };
                self.again(from, code, now);
            }
            By::Treatment(mut treating) => {
                treating.came_back(code.to_owned());
                self.stage = Stage::Treating(treating);
            }
            By::Then => self.fall_back(format!("{target} did not take the caller: {code}"), now),
            By::Fallback if target != Target::ContinueInDialplan => {
                let why = format!("the fallback {target} did not take the caller: {code}");
                self.host_word(HookOutcome::Fallback, &Target::ContinueInDialplan, why);
                self.send(Target::ContinueInDialplan, By::LastResort, now);
            }
            By::Fallback | By::LastResort => {
                // Once more, and not renewed: the PBX takes the caller back.
                self.lease.end();
                self.losses += 1;
                let tries_left = self.losses <= MOST_LOSSES;
                if !self.rules.lease.is_zero() {
                    self.out.instruct(Instruction::lease(self.rules.lease.as_secs()));
                }
                let retry_at = tries_left.then_some(now.monotonic + RETRY);
                self.stage = Stage::Lost { retry_at };
            }
        }
    }

    /// The routers are asked about a caller who is still with us.
    pub(super) fn again(&mut self, from: &str, outcome: &str, now: Now) {
        self.call.returned_from = from.to_owned();
        self.call.outcome = outcome.to_owned();
        self.call.attempt = self.call.attempt.saturating_add(1);
        self.decide(now);
    }

    /// No hook says where the caller goes: the admin did.
    pub(super) fn fall_back(&mut self, why: String, now: Now) {
        self.forget_treatment();
        let target = match self.falls.take(now.monotonic) {
            true => self.rules.fallback.clone(),
            // Even the fallback sends them back.
            false => Target::ContinueInDialplan,
        };
        self.host_word(HookOutcome::Fallback, &target, why);
        self.send(target, By::Fallback, now);
    }

    /// The host's own word on the call.
    pub(super) fn host_word(&mut self, outcome: HookOutcome, target: &Target, reason: String) {
        let word = HookWord {
            hook: Kind::Host,
            instance: String::new(),
            plugin: String::new(),
            attempt: self.call.attempt,
            outcome,
            verdict: target.to_string(),
            reason,
            facts: self.private.facts(words::facts(&self.call, &[])),
            took_us: 0,
        };
        self.out.actions.push_back(Action::Word(word));
    }
}

fn without_words(end: &CommandEnd) -> Problem {
    let message = "the PBX did not say what came of it".to_owned();
    Problem { code: end.code().to_owned(), message, retryable: false }
}

/// The PBX handed the caller over in a way that leads to no queue and no extension.
const NO_TEMPLATE: &str = "no-template";

/// The caller is not held any more: the leg's release is about to be told.
pub(in crate::hooks) fn is_gone(problem: &Problem) -> bool {
    matches!(problem.code.as_str(), "not-held" | "hung-up" | "interrupted")
}

/// The PBX was not reached, or did not answer: the same may work in a moment.
pub(in crate::hooks) fn is_passing(problem: &Problem) -> bool {
    problem.retryable
}

/// There is no such place: asking the routers again would lead there again.
fn is_nowhere(problem: &Problem) -> bool {
    matches!(
        problem.code.as_str(),
        "no-such-queue" | "no-such-extension" | "no-such-place" | "bad-argument"
    )
}
