//! How often something may happen: a few times at once, then only so often.

use std::time::Duration;

/// A bucket that fills slowly.
#[derive(Debug)]
pub(super) struct Pace {
    most: u32,
    left: u32,
    every: Duration,
    filled_at: Duration,
}

impl Pace {
    /// `most` at once, then one each `every`.
    pub fn new(most: u32, every: Duration, now: Duration) -> Self {
        Self { most, left: most, every, filled_at: now }
    }

    /// Takes one; false: too often.
    pub fn take(&mut self, now: Duration) -> bool {
        self.fill(now);
        let any = self.left > 0;
        self.left = self.left.saturating_sub(1);
        any
    }

    /// How many are left.
    pub fn left(&mut self, now: Duration) -> u32 {
        self.fill(now);
        self.left
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled_at).as_nanos() / self.every.as_nanos().max(1);
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(passed).min(self.most);
        self.filled_at = match self.left == self.most {
            true => now,
            false => self.filled_at + self.every * passed,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_at_once_then_one_each_interval() {
        let at = Duration::from_secs;
        let mut pace = Pace::new(2, at(10), at(0));
        assert!(pace.take(at(0)) && pace.take(at(1)) && !pace.take(at(2)));
        assert!(!pace.take(at(9)) && pace.take(at(11)) && !pace.take(at(12)));
        assert!(pace.take(at(1000)) && pace.take(at(1000)) && !pace.take(at(1000)));
    }
}
