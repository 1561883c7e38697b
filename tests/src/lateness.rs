//! How late this machine is: what a busy one adds to every time that is measured on it.
//!
//! A test that compares times cannot know how long the machine let everybody wait. So it measures that beside
//! its own work, and allows as much: exact on an idle machine, true on any.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

static WORST_MICROS: AtomicU64 = AtomicU64::new(0);
static WATCH: OnceLock<()> = OnceLock::new();

/// Between two glances at the clock.
const PACE: Duration = Duration::from_millis(10);

/// Begins to watch, for as long as the process runs.
pub fn watch() {
    WATCH.get_or_init(|| {
        // A thread of its own: a runtime's workers would tell how late they are, not the machine.
        thread::spawn(|| {
            loop {
                let began = Instant::now();
                thread::park_timeout(PACE);
                let late = began.elapsed().saturating_sub(PACE);
                let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
                WORST_MICROS.fetch_max(micros, Ordering::Relaxed);
            }
        });
    });
}

/// The longest that this process waited for a processor since [`watch`].
pub fn worst() -> Duration {
    Duration::from_micros(WORST_MICROS.load(Ordering::Relaxed))
}
