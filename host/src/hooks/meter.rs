//! What a hook instance did: counted over its versions, for REST, metrics and the command line.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use calls::Timestamp;
use plugin_runtime::Log;
use tokio::sync::Semaphore;

use crate::status::LastError;

/// Times that p50 and p99 are made of.
const TIMES: usize = 1024;
/// Requests of one instance on their way at once.
const AT_ONCE: usize = 32;

/// Counters of one instance. Shared by whoever calls it and whoever shows it.
#[derive(Debug)]
pub struct HookMeter {
    log: Log,
    turns: Semaphore,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    words: BTreeMap<&'static str, u64>,
    times: VecDeque<u32>,
    last_error: Option<LastError>,
    minute: Option<(Instant, u32)>,
    failing: u32,
    lag: Lag,
}

/// How far an observer is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Committed events that it has not acknowledged.
    pub events: u64,
    /// The age of the oldest of them.
    pub age: Duration,
    /// The last event it has acknowledged.
    pub cursor: u64,
}

/// What is shown of the counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Calls into the guest by outcome: `answered`, `trapped`, `late`, `refused`, `nonsense`, and whatever else was
    /// counted.
    pub outcomes: BTreeMap<String, u64>,
    /// Of the last calls; none before the first.
    pub p50: Option<Duration>,
    /// Of the last calls.
    pub p99: Option<Duration>,
    /// The last thing that went wrong.
    pub last_error: Option<LastError>,
    /// Failures since it last answered.
    pub failing: u32,
    /// Of an observer.
    pub lag: Lag,
}

impl HookMeter {
    /// Of an instance that nobody has asked yet.
    pub fn new(instance: &str) -> Self {
        let turns = Semaphore::new(AT_ONCE);
        Self { log: Log::new(instance), turns, counted: Mutex::default() }
    }

    /// What its guests say, of all versions.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// For its requests, of all versions.
    pub fn turns(&self) -> &Semaphore {
        &self.turns
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        // Counters: whoever panicked has left at worst one too few.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It answered.
    pub fn answered(&self, took: Duration) {
        let mut counted = self.counted();
        *counted.words.entry("answered").or_default() += 1;
        counted.failing = 0;
        if counted.times.len() == TIMES {
            counted.times.pop_front();
        }
        counted.times.push_back(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    /// It did not: `word` is `trapped`, `late`, `refused` or `nonsense`.
    pub fn failed(&self, word: &'static str, message: String, fix: &str, at: Timestamp) {
        let mut counted = self.counted();
        *counted.words.entry(word).or_default() += 1;
        counted.failing = counted.failing.saturating_add(1);
        counted.last_error = Some(LastError { message, fix: fix.to_owned(), at });
    }

    /// Something else worth counting, e.g. `stores-lost`.
    pub fn count(&self, word: &'static str) {
        *self.counted().words.entry(word).or_default() += 1;
    }

    /// How far it is behind.
    pub fn set_lag(&self, lag: Lag) {
        self.counted().lag = lag;
    }

    /// One more request of `most` within a minute; false: it had them all.
    pub fn takes_request(&self, most: u32, now: Instant) -> bool {
        let mut counted = self.counted();
        let (began, sent) = counted.minute.unwrap_or((now, 0));
        let is_over = now.saturating_duration_since(began) >= Duration::from_secs(60);
        let (began, sent) = if is_over { (now, 0) } else { (began, sent) };
        let takes = sent < most;
        counted.minute = Some((began, if takes { sent + 1 } else { sent }));
        takes
    }

    /// What is shown.
    pub fn figures(&self) -> Figures {
        let counted = self.counted();
        let mut times: Vec<u32> = counted.times.iter().copied().collect();
        times.sort_unstable();
        let at = |percent: usize| {
            let last = times.len().checked_sub(1)?;
            Some(Duration::from_micros(u64::from(times[last * percent / 100])))
        };
        Figures {
            outcomes: counted.words.iter().map(|(word, n)| ((*word).to_owned(), *n)).collect(),
            p50: at(50),
            p99: at(99),
            last_error: counted.last_error.clone(),
            failing: counted.failing,
            lag: counted.lag,
        }
    }
}
