//! A new version of a hook, tried on some of the calls, and given up by itself when it does worse.
//!
//! For a call of the canary ([`Canary::takes`]) the new version is asked first and its word counts; the old one is
//! asked too, and [`Canary::note`] hears what came of both. A failure of the new one is no failure of the call: the
//! old one's word counts then.

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
    /// Given up at so many traps, refusals and nonsense answers together.
    pub traps: u32,
    /// Given up at so many late answers.
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

    /// What came of asking it.
    pub fn note(&self, heard: Heard) {
        let why = {
            let mut tally = self.tally();
            tally.asked += 1;
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
    use super::*;

    fn said(budgets: Budgets, heard: &[(Heard, usize)]) -> Option<String> {
        let mut tally = Tally::default();
        for (heard, times) in heard {
            for _ in 0..*times {
                match heard {
                    Heard::Same => tally.compared += 1,
                    Heard::Other(_) => {
                        tally.compared += 1;
                        tally.differences += 1;
                    }
                    Heard::Alone => {}
                    Heard::Failed(_) => tally.traps += 1,
                    Heard::Late => tally.late += 1,
                }
            }
        }
        budgets.verdict(&tally)
    }

    const USUAL: Budgets = Budgets { traps: 1, late: 3, differences_percent: 5 };

    #[test]
    fn each_budget_ends_the_trial_by_itself() {
        let other = || Heard::Other(String::new());
        assert_eq!(said(USUAL, &[(Heard::Same, 1000), (Heard::Late, 2)]), None);
        assert!(said(USUAL, &[(Heard::Late, 3)]).is_some());
        assert!(said(USUAL, &[(Heard::Same, 1000), (Heard::Failed(String::new()), 1)]).is_some());
        assert_eq!(said(USUAL, &[(other(), 1)]), None, "one of few says little");
        assert!(said(USUAL, &[(other(), 2)]).is_some(), "two of twenty are too many already");
        assert_eq!(said(USUAL, &[(Heard::Same, 95), (other(), 5)]), None);
        assert!(said(USUAL, &[(Heard::Same, 94), (other(), 6)]).is_some());
        let any = Budgets { differences_percent: 100, ..USUAL };
        assert_eq!(said(any, &[(other(), 500)]), None, "the change may be wanted");
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
