//! A new version of a hook, tried on some of the calls, and given up by itself when it does worse.
//!
//! For a call of the canary ([`Canary::takes`]) the new version is asked first and its word counts; the old one is
//! asked too, and [`Canary::note`] hears what came of both. A failure of the new one is no failure of the call: the
//! old one's word counts then. What shows only when its word is acted on comes in behind ([`super::trials`]).

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use super::plan::HookInstance;

/// A trial under way. It outlives plans, as long as version and budgets stay the same.
pub struct Canary {
    /// The new version, with the settings, grants and secrets of the old one.
    pub candidate: Arc<HookInstance>,
    /// Of the calls.
    pub percent: u8,
    /// What it may do wrong.
    pub budgets: Budgets,
    over: AtomicBool,
    tally: Mutex<Tally>,
    tell: Box<dyn Fn(String) + Send + Sync>,
}

/// What a canary may do wrong before it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Given up at so many traps, refusals and nonsense answers together, also nonsense that only the host sees.
    pub traps: u32,
    /// Given up at so many late answers, and decisions whose lookups took too long.
    pub late: u32,
    /// Given up when more of its answers than so many in a hundred are others than the old version's.
    pub differences_percent: u8,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { traps: 1, late: 3, differences_percent: 5 }
    }
}

/// How a canary does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Times it was asked.
    pub asked: u64,
    /// Traps, refusals and nonsense.
    pub traps: u64,
    /// Answers that came too late.
    pub late: u64,
    /// Answers that could be compared with the old version's.
    pub compared: u64,
    /// Of them, those that were others.
    pub differences: u64,
    /// The last difference, for a person.
    pub last_difference: String,
    /// Why it was given up; empty while it was not.
    pub given_up: String,
}

/// What became of a call that both versions were asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The same verdict and patch.
    Same,
    /// Another one: in one sentence.
    Other(String),
    /// It answered, and the old version did not: nothing to compare with.
    Alone,
    /// It trapped, refused or talked nonsense: how.
    Failed(String),
    /// It did not answer in its time.
    Late,
}

/// Fewer answers than these say little about a percentage.
const FEW: u64 = 20;

impl Canary {
    /// A trial that begins now; `tell` hears, once, why it was given up.
    pub fn new(
        candidate: Arc<HookInstance>,
        percent: u8,
        budgets: Budgets,
        tell: impl Fn(String) + Send + Sync + 'static,
    ) -> Self {
        Self {
            candidate,
            percent: percent.min(100),
            budgets,
            over: AtomicBool::new(false),
            tally: Mutex::default(),
            tell: Box::new(tell),
        }
    }

    /// The new version decides about this call: always the same answer for the same call.
    pub fn takes(&self, call: &str) -> bool {
        !self.is_over() && u64::from(self.percent) > spread(call) % 100
    }

    /// It was given up: nobody asks it any more, also in plans that still name it.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// A trial of this candidate is wanted: this one is it. One that is over stays over for as long as it is about the
    /// same version, whatever else is wanted of it.
    pub fn is_for(&self, candidate: &HookInstance, percent: u8, budgets: Budgets) -> bool {
        match self.is_over() {
            true => self.candidate.plugin.sha256() == candidate.plugin.sha256(),
            false => {
                self.candidate.is_same(candidate)
                    && self.percent == percent
                    && self.budgets == budgets
            }
        }
    }

    /// What came of asking it.
    pub fn note(&self, heard: Heard) {
        self.tally().asked += 1;
        self.count(heard);
    }

    /// What turned out later about an answer that was noted already: nothing could be done with it.
    pub fn note_later(&self, heard: Heard) {
        self.count(heard);
    }

    fn count(&self, heard: Heard) {
        let why = {
            let mut tally = self.tally();
            match heard {
                Heard::Same => tally.compared += 1,
                Heard::Other(how) => {
                    tally.compared += 1;
                    tally.differences += 1;
                    tally.last_difference = how;
                }
                Heard::Alone => {}
                Heard::Failed(how) => {
                    tally.traps += 1;
                    tally.last_difference = how;
                }
                Heard::Late => tally.late += 1,
            }
            let Some(why) = self.budgets.verdict(&tally) else { return };
            if self.over.swap(true, Ordering::AcqRel) {
                return;
            }
            tally.given_up.clone_from(&why);
            why
        };
        (self.tell)(why);
    }

    /// How it does.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        // Counters: whoever panicked has left at worst one too few.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budgets {
    /// Why it is over, if it is.
    fn verdict(&self, tally: &Tally) -> Option<String> {
        if tally.traps >= u64::from(self.traps.max(1)) {
            return Some(format!(
                "it failed {} times, at last: {}",
                tally.traps, tally.last_difference
            ));
        }
        if tally.late >= u64::from(self.late.max(1)) {
            return Some(format!("it was late {} times", tally.late));
        }
        let allowed = u64::from(self.differences_percent) * tally.compared.max(FEW);
        (tally.differences * 100 > allowed).then(|| {
            format!(
                "{} of {} answers were others than before, at last: {}",
                tally.differences, tally.compared, tally.last_difference
            )
        })
    }
}

/// FNV-1a, mixed: stable over restarts and machines.
fn spread(call: &str) -> u64 {
    let hash = call.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 17
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::hooks::tests::instance;

    const USUAL: Budgets = Budgets { traps: 1, late: 3, differences_percent: 5 };

    /// Why it was given up, after it was told all this; it is told at most once.
    fn given_up(budgets: Budgets, heard: &[(Heard, usize)]) -> Option<String> {
        let (told, why) = mpsc::channel();
        let tell = move |why| told.send(why).expect("somebody hears it");
        let canary = Canary::new(instance("2.0.0"), 100, budgets, tell);
        for (heard, times) in heard {
            for _ in 0..*times {
                canary.note(heard.clone());
            }
        }
        let why: Vec<String> = why.try_iter().collect();
        assert!(why.len() <= 1, "{why:?}");
        assert_eq!(why.len() == 1, canary.is_over());
        assert_eq!(canary.takes("call-1"), !canary.is_over());
        assert_eq!(canary.tally().given_up, why.first().cloned().unwrap_or_default());
        why.into_iter().next()
    }

    #[test]
    fn each_budget_ends_the_trial_by_itself() {
        let other = || Heard::Other(String::new());
        let failed = || Heard::Failed("it trapped".to_owned());
        assert_eq!(given_up(USUAL, &[(Heard::Same, 1000), (Heard::Late, 2)]), None);
        assert!(given_up(USUAL, &[(Heard::Late, 30)]).is_some_and(|why| why.contains("late")));
        assert!(given_up(USUAL, &[(Heard::Same, 1000), (failed(), 1)]).is_some());
        assert_eq!(given_up(Budgets { traps: 2, ..USUAL }, &[(failed(), 1)]), None);
        assert_eq!(given_up(USUAL, &[(other(), 1)]), None, "one of few says little");
        assert!(given_up(USUAL, &[(other(), 2)]).is_some(), "two of twenty are too many already");
        assert_eq!(given_up(USUAL, &[(Heard::Same, 95), (other(), 5)]), None);
        assert!(given_up(USUAL, &[(Heard::Same, 94), (other(), 6)]).is_some());
        let any = Budgets { differences_percent: 100, ..USUAL };
        assert_eq!(given_up(any, &[(other(), 500)]), None, "the change may be wanted");
        assert_eq!(given_up(USUAL, &[(Heard::Alone, 500)]), None, "nothing to compare with");
    }

    #[test]
    fn a_version_that_was_given_up_does_not_begin_anew_because_something_else_changes() {
        let canary = Canary::new(instance("2.0.0"), 10, USUAL, |_| {});
        let candidate = instance("2.0.0");
        let other_settings =
            HookInstance { settings: "{\"greeting\":\"hi\"}".to_owned(), ..(*candidate).clone() };
        assert!(canary.is_for(&candidate, 10, USUAL));
        assert!(!canary.is_for(&candidate, 20, USUAL));
        assert!(!canary.is_for(&other_settings, 10, USUAL));
        canary.note(Heard::Failed(String::new()));
        assert!(canary.is_for(&candidate, 10, USUAL));
        assert!(canary.is_for(&candidate, 20, USUAL) && canary.is_for(&other_settings, 10, USUAL));
        assert!(!canary.is_for(&instance("3.0.0"), 10, USUAL), "it is another one");
    }

    #[test]
    fn a_percentage_of_calls_is_about_that_many_of_them_and_always_the_same() {
        let taken = |percent: u64| {
            (0..10_000).filter(|n| spread(&format!("call-{n:08x}")) % 100 < percent).count()
        };
        assert_eq!((taken(0), taken(100)), (0, 10_000));
        for percent in [1, 10, 50] {
            let (found, wanted) = (taken(percent), percent as usize * 100);
            assert!(found.abs_diff(wanted) < 150, "{found} instead of {wanted}");
        }
        // Of the one percent none is missing in the ten.
        let both = (0..10_000).map(|n| spread(&format!("call-{n:08x}")) % 100);
        assert!(both.filter(|it| *it < 1).all(|it| it < 10));
    }
}
