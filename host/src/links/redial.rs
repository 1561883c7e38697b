//! When to dial a link: soon, later and later, and after a refusal much later. It never gives up by itself.

use std::time::Duration;

use plugin_runtime::Retry;

/// Gaps after failures nobody is to blame for: each half as long again as the one before, so that the PBX
/// is found again within half of the time it was away.
const QUICK: Gaps =
    Gaps { first: Duration::from_millis(500), last: Duration::from_secs(30), grow: (3, 2) };
/// Gaps after a refusal: a wrong password must not look like an attack, nor lock the account.
const SLOW: Gaps =
    Gaps { first: Duration::from_secs(60), last: Duration::from_secs(300), grow: (2, 1) };
/// A connection that lived this long was a good one: the next gap is a first one again.
const GOOD: Duration = Duration::from_secs(20);

/// One link's dialling. It holds no socket and reads no clock.
#[derive(Debug)]
pub struct Redial {
    state: State,
    quick: u32,
    slow: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting {
        until: Duration,
    },
    Dialling,
    Up {
        since: Duration,
    },
    /// Until the config changes.
    Halted,
}

struct Gaps {
    first: Duration,
    last: Duration,
    /// As a fraction.
    grow: (u32, u32),
}

impl Redial {
    /// Wants to dial at once.
    pub fn new(now: Duration) -> Self {
        Self { state: State::Waiting { until: now }, quick: 0, slow: 0 }
    }

    /// When to dial; none while dialling, connected or halted.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match self.state {
            State::Waiting { until } => Some(until),
            _ => None,
        }
    }

    /// True: dial now, and say how it went.
    pub fn handle_timeout(&mut self, now: Duration) -> bool {
        match self.state {
            State::Waiting { until } if until <= now => {
                self.state = State::Dialling;
                true
            }
            _ => false,
        }
    }

    /// The connection is there.
    pub fn handle_up(&mut self, now: Duration) {
        self.state = State::Up { since: now };
    }

    /// It did not come, or it is gone. `dice` is any random number.
    pub fn handle_down(&mut self, retry: Retry, dice: u32, now: Duration) {
        if let State::Up { since } = self.state
            && now.saturating_sub(since) >= GOOD
        {
            self.quick = 0;
            self.slow = 0;
        }
        let gap = match retry {
            Retry::Normal => {
                self.quick += 1;
                QUICK.after(self.quick - 1)
            }
            Retry::Slow => {
                self.slow += 1;
                SLOW.after(self.slow - 1)
            }
            Retry::NeverUntilConfigChange => {
                self.state = State::Halted;
                return;
            }
        };
        self.state = State::Waiting { until: now + jittered(gap, dice) };
    }
}

impl Gaps {
    fn after(&self, failures: u32) -> Duration {
        let mut gap = self.first;
        for _ in 0..failures {
            if gap >= self.last {
                break;
            }
            gap = gap * self.grow.0 / self.grow.1;
        }
        gap.min(self.last)
    }
}

/// Between three quarters of the gap and all of it: a hundred hosts do not come back in the same moment.
fn jittered(gap: Duration, dice: u32) -> Duration {
    let quarter = gap / 4;
    gap - quarter.mul_f64(f64::from(dice) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails `times` times in a row; gives the gaps in milliseconds.
    fn gaps(retry: Retry, dice: u32, times: usize) -> Vec<u128> {
        let mut now = Duration::ZERO;
        let mut redial = Redial::new(now);
        (0..times)
            .map(|_| {
                assert!(redial.handle_timeout(now));
                assert_eq!(redial.poll_timeout(), None, "nothing to wait for while dialling");
                redial.handle_down(retry, dice, now);
                let until = redial.poll_timeout().expect("it never gives up");
                assert!(
                    !redial.handle_timeout(until - Duration::from_nanos(1)),
                    "not before its time"
                );
                let gap = until - now;
                now = until;
                gap.as_millis()
            })
            .collect()
    }

    #[test]
    fn failures_grow_the_gap_to_half_a_minute_and_no_further() {
        assert_eq!(
            gaps(Retry::Normal, 0, 14),
            [
                500, 750, 1125, 1687, 2531, 3796, 5695, 8542, 12814, 19221, 28832, 30000, 30000,
                30000
            ]
        );
        assert_eq!(gaps(Retry::Normal, 0, 1000).last(), Some(&30_000));
    }

    #[test]
    fn a_refused_login_is_tried_once_a_minute_then_every_five() {
        assert_eq!(gaps(Retry::Slow, 0, 5), [60_000, 120_000, 240_000, 300_000, 300_000]);
    }

    #[test]
    fn jitter_takes_away_up_to_a_quarter() {
        assert_eq!(gaps(Retry::Normal, u32::MAX, 2), [375, 562]);
        assert_eq!(gaps(Retry::Slow, u32::MAX, 1), [45_000]);
    }

    #[test]
    fn a_connection_that_lived_begins_anew_and_one_that_did_not_goes_on() {
        let mut redial = Redial::new(Duration::ZERO);
        for _ in 0..5 {
            redial.handle_down(Retry::Normal, 0, Duration::ZERO);
        }
        let up = Duration::from_secs(100);
        redial.handle_up(up);
        redial.handle_down(Retry::Normal, 0, up + Duration::from_secs(1));
        assert_eq!(
            redial.poll_timeout(),
            Some(up + Duration::from_secs(1) + Duration::from_micros(3_796_875))
        );
        redial.handle_up(up);
        redial.handle_down(Retry::Normal, 0, up + GOOD);
        assert_eq!(redial.poll_timeout(), Some(up + GOOD + Duration::from_millis(500)));
    }

    #[test]
    fn only_the_admin_ends_never() {
        let mut redial = Redial::new(Duration::ZERO);
        redial.handle_down(Retry::NeverUntilConfigChange, 0, Duration::ZERO);
        assert_eq!(redial.poll_timeout(), None);
        assert!(!redial.handle_timeout(Duration::from_secs(1 << 40)));
    }
}
