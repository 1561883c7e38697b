//! Dice that fall the same way again: a seed that is printed, and how large a test shall be.

use std::{
    env,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// A small generator (splitmix64). Not fit for secrets.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Seeded by `JACKFIELD_SEED`, or by chance; the seed is printed, so that a failure can be had again.
    pub fn new(test: &str) -> Dice {
        let given = env::var("JACKFIELD_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| Dice::by_chance().0 >> 1);
        println!("{test}: JACKFIELD_SEED={seed}");
        Dice(seed)
    }

    /// For what must differ from run to run, such as ports.
    pub fn by_chance() -> Dice {
        Dice(RandomState::new().hash_one(0))
    }

    /// Dice of their own for one of several concurrent parts.
    pub fn fork(&mut self) -> Dice {
        Dice(self.next())
    }

    /// Evenly from `0..below`; 0 when `below` is 0.
    pub fn below(&mut self, below: u64) -> u64 {
        if below == 0 { 0 } else { self.next() % below }
    }

    /// One time in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Between the two, in steps of a millisecond.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to.saturating_sub(from) + 1))
    }

    /// Puts `items` into another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap_or(0);
            items.swap(last, other);
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The full size with `JACKFIELD_FULL=1`, else the tenth that fits into every build.
pub fn scaled(full: usize) -> usize {
    if is_full() { full } else { full.div_ceil(10) }
}

/// Whether `JACKFIELD_FULL=1` is set.
pub fn is_full() -> bool {
    env::var("JACKFIELD_FULL").is_ok_and(|value| value == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_falls_the_same_way() {
        let (mut one, mut other) = (Dice(7), Dice(7));
        for _ in 0..100 {
            assert_eq!(one.below(6), other.below(6));
        }
        let mut items = [1, 2, 3, 4, 5];
        one.shuffle(&mut items);
        items.sort_unstable();
        assert_eq!(items, [1, 2, 3, 4, 5]);
    }
}
