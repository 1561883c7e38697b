//! Answers of versions on trial that one caller's way rests on.
//!
//! Whether an answer is any good shows partly after it was given: the queue that it names is not there, or what it
//! wants looked up takes too long. That is its version's fault, unless the old one said the very same.

use std::{collections::BTreeMap, sync::Arc};

use calls::event::{HookOutcome, HookWord};

use super::canary::{Canary, Heard};

/// The last answers to one caller's questions, by instance, as far as they are a canary's.
#[derive(Default)]
pub(super) struct Trials(BTreeMap<String, Arc<Canary>>);

impl Trials {
    /// It is asked: what it said before has had its time, and what it says next is not known yet.
    pub fn asks(&mut self, instance: &str) {
        self.0.remove(instance);
    }

    /// It answered; `canary` when that is the new version's word alone.
    pub fn answered(&mut self, instance: &str, canary: Option<Arc<Canary>>) {
        match canary {
            Some(canary) => self.0.insert(instance.to_owned(), canary),
            None => self.0.remove(instance),
        };
    }

    /// The desk's word on what an instance said; of each answer it counts once.
    pub fn judge(&mut self, word: &HookWord) {
        let heard = match word.outcome {
            HookOutcome::Nonsense => Heard::Failed(word.reason.clone()),
            HookOutcome::Late => Heard::Late,
            _ => return,
        };
        if let Some(canary) = self.0.remove(&word.instance) {
            canary.note_later(heard);
        }
    }
}

#[cfg(test)]
mod tests {
    use calls::event::Hook;

    use super::*;
    use crate::hooks::{canary::Budgets, tests::instance};

    fn word(instance: &str, outcome: HookOutcome) -> HookWord {
        HookWord {
            hook: Hook::Router,
            instance: instance.to_owned(),
            plugin: String::new(),
            attempt: 1,
            outcome,
            verdict: String::new(),
            reason: "queue:x: no such queue (no-such-queue)".to_owned(),
            facts: Vec::new(),
            took_us: 0,
        }
    }

    /// What is counted against the canary: failures, late answers.
    fn counted(canary: &Canary) -> (u64, u64) {
        let tally = canary.tally();
        assert_eq!(tally.asked, 0, "it was counted when it was asked");
        (tally.traps, tally.late)
    }

    #[test]
    fn nonsense_that_only_the_desk_sees_counts_against_the_version_that_said_it() {
        let budgets = Budgets { traps: 2, ..Budgets::default() };
        let canary = Arc::new(Canary::new(instance("2.0.0"), 100, budgets, |_| {}));
        let mut trials = Trials::default();
        trials.judge(&word("vip", HookOutcome::Nonsense));
        assert_eq!(counted(&canary), (0, 0), "nobody said anything");
        trials.answered("vip", Some(canary.clone()));
        for outcome in [HookOutcome::Decided, HookOutcome::Needs, HookOutcome::Cancelled] {
            trials.judge(&word("vip", outcome));
        }
        trials.judge(&word("hours", HookOutcome::Nonsense));
        assert_eq!(counted(&canary), (0, 0), "another one's, or no fault");
        for _ in 0..2 {
            trials.judge(&word("vip", HookOutcome::Nonsense));
            assert_eq!(counted(&canary), (1, 0), "one answer is wrong once");
        }
        assert!(!canary.is_over());
        trials.answered("vip", Some(canary.clone()));
        trials.judge(&word("vip", HookOutcome::Nonsense));
        assert!(canary.is_over() && canary.tally().given_up.contains("no-such-queue"));
    }

    #[test]
    fn lookups_that_outlast_the_decision_are_late_and_a_question_nobody_had_time_for_is_not() {
        let canary = Arc::new(Canary::new(instance("2.0.0"), 100, Budgets::default(), |_| {}));
        let mut trials = Trials::default();
        trials.asks("vip");
        trials.judge(&word("vip", HookOutcome::Late));
        assert_eq!(counted(&canary), (0, 0));
        // It named its lookups.
        trials.answered("vip", Some(canary.clone()));
        trials.judge(&word("vip", HookOutcome::Late));
        assert_eq!(counted(&canary), (0, 1));
        // They are answered, and the threads have too much to do.
        trials.answered("vip", Some(canary.clone()));
        trials.asks("vip");
        trials.judge(&word("vip", HookOutcome::Late));
        // The old version's word.
        trials.answered("vip", None);
        trials.judge(&word("vip", HookOutcome::Late));
        assert_eq!(counted(&canary), (0, 1));
    }
}
