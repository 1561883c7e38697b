//! The only place where the host reads clocks for the cores.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use calls::{Now, Timestamp};
use tokio::time::Instant;

/// Both clocks. Copies agree with each other, so a deadline of one thread means the same in another.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Monotonic time begins here.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Both clocks now.
    pub fn now(&self) -> Now {
        Now { monotonic: self.start.elapsed(), wall: wall() }
    }

    /// The moment of a monotonic time, for sleeping until then.
    pub fn instant(&self, monotonic: Duration) -> Instant {
        // Guests name deadlines; a date beyond the clock is one nobody will see.
        const FAR: Duration = Duration::from_secs(86_400 * 365);
        let latest = self.start.elapsed() + FAR;
        self.start + monotonic.min(latest)
    }
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
