//! Lanes: the events of each call wait in one, and only the first of a lane is ever on its way.
//!
//! A failure is put down to the event and to the receiver. The event's lane waits longer and longer. After three
//! failures with nothing delivered between them the receiver counts as down: then one request at a time asks whether
//! it is back, less and less often, and the first that arrives lets all lanes go.

use std::collections::{BTreeMap, VecDeque};

use jackfield_sdk::hooks::Now;

use crate::settings::{Retry, Settings};

/// So many failures in a row are the receiver's.
const DOWN: u32 = 3;

/// So many lanes in trouble are remembered over a restart.
const REMEMBERED: usize = 64;

const SECOND: u64 = 1_000_000_000;

/// An event on its way.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its number.
    pub seq: u64,
    /// E.g. `call.ended`.
    pub kind: String,
    /// When it happened, by the wall.
    pub at_ns: u64,
    /// JSON.
    pub body: String,
}

/// An event that is given up.
#[derive(Debug)]
pub struct Letter {
    /// The event.
    pub item: Item,
    /// Its call.
    pub call: String,
    /// What the last answer was.
    pub why: String,
    /// How often it was tried.
    pub tries: u32,
}

/// How often the first event of a lane was tried: in all, and of these refused.
pub type Tries = BTreeMap<u64, (u32, u32)>;

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Item>,
    in_flight: bool,
    /// Of the first.
    tries: u32,
    refusals: u32,
    why: String,
    /// Monotonic.
    retry_at: u64,
}

/// All of them.
#[derive(Debug)]
pub struct Lanes {
    retry: Retry,
    lanes: BTreeMap<String, Lane>,
    /// The lane of each event that is the first of one.
    first: BTreeMap<u64, String>,
    in_flight: usize,
    /// Failures of the receiver since something was delivered.
    failures: u32,
    not_before: u64,
    /// The last of them.
    why: String,
}

impl Lanes {
    /// None yet.
    pub fn new(retry: Retry) -> Self {
        Self {
            retry,
            lanes: BTreeMap::new(),
            first: BTreeMap::new(),
            in_flight: 0,
            failures: 0,
            not_before: 0,
            why: String::new(),
        }
    }

    /// Behind the other events of its call.
    pub fn push(&mut self, call: String, item: Item) {
        let lane = self.lanes.entry(call.clone()).or_default();
        if lane.queue.is_empty() {
            self.first.insert(item.seq, call);
        }
        lane.queue.push_back(item);
    }

    /// Keeps only these; answers the others. Only before anything was sent.
    pub fn retain(&mut self, keep: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut gone = Vec::new();
        self.first.clear();
        self.lanes.retain(|call, lane| {
            lane.queue.retain(|item| {
                let stays = keep(item.seq);
                if !stays {
                    gone.push(item.seq);
                }
                stays
            });
            if let Some(first) = lane.queue.front() {
                self.first.insert(first.seq, call.clone());
            }
            !lane.queue.is_empty()
        });
        gone
    }

    /// Does the receiver seem to be down?
    pub fn is_down(&self) -> bool {
        self.failures >= DOWN
    }

    /// The next event to send now: of the lane least in trouble, the oldest first. It counts as on its way.
    pub fn next(&mut self, now: Now, most: usize) -> Option<(&Item, u32)> {
        if self.in_flight >= self.most(most) || now.monotonic_ns < self.not_before {
            return None;
        }
        let ready = self.first.iter().filter_map(|(seq, call)| {
            let lane = self.lanes.get(call)?;
            let is_due = !lane.in_flight && lane.retry_at <= now.monotonic_ns;
            is_due.then_some((lane.tries, *seq))
        });
        let (_, seq) = ready.min()?;
        self.in_flight += 1;
        let lane = self.first.get(&seq).and_then(|call| self.lanes.get_mut(call))?;
        lane.in_flight = true;
        let tries = lane.tries;
        lane.queue.front().map(|item| (item, tries))
    }

    /// When the next event may be sent, as far as that is a matter of time.
    pub fn due(&self, most: usize) -> Option<u64> {
        if self.in_flight >= self.most(most) {
            return None;
        }
        let waiting = self.lanes.values().filter(|lane| !lane.in_flight && !lane.queue.is_empty());
        waiting.map(|lane| lane.retry_at.max(self.not_before)).min()
    }

    /// It arrived.
    pub fn delivered(&mut self, seq: u64) -> Option<Item> {
        self.land(seq)?;
        if self.is_down() {
            // It is back: nobody waits for a time that was meant for a receiver that is down.
            self.lanes.values_mut().for_each(|lane| lane.retry_at = 0);
        }
        (self.failures, self.not_before) = (0, 0);
        self.take(seq).map(|letter| letter.item)
    }

    /// The receiver is in trouble.
    pub fn later(&mut self, now: Now, seq: u64, after_secs: u64, why: &str) {
        let retry = self.retry;
        let Some(lane) = self.land(seq) else { return };
        lane.tries = lane.tries.saturating_add(1);
        lane.why = why.to_owned();
        let asked = after_secs.min(retry.most_secs);
        lane.retry_at = now.monotonic_ns + retry.pause_secs(lane.tries).max(asked) * SECOND;
        self.failures = self.failures.saturating_add(1);
        self.why = why.to_owned();
        if self.failures >= DOWN {
            let pause = retry.pause_secs(self.failures - DOWN + 1).max(asked);
            self.not_before = now.monotonic_ns + pause * SECOND;
        }
    }

    /// The receiver refuses this one; answers how often it did.
    pub fn refused(&mut self, now: Now, seq: u64, why: &str) -> u32 {
        let retry = self.retry;
        let Some(lane) = self.land(seq) else { return 0 };
        lane.tries = lane.tries.saturating_add(1);
        lane.refusals += 1;
        lane.why = why.to_owned();
        lane.retry_at = now.monotonic_ns + retry.pause_secs(lane.tries) * SECOND;
        let refusals = lane.refusals;
        // It answers: it is not down.
        (self.failures, self.not_before) = (0, 0);
        refusals
    }

    /// An event that was tried often or long enough, or that is as old while nothing gets through at all.
    pub fn hopeless(&self, now: Now, settings: &Settings) -> Option<u64> {
        let too_old = |item: &Item| now.wall_ns.saturating_sub(item.at_ns) >= settings.give_up_ns;
        let is_hopeless = |(seq, call): (&u64, &String)| {
            let lane = self.lanes.get(call)?;
            let item = lane.queue.front()?;
            let tried = lane.tries > 0 || self.is_down();
            let over = lane.tries >= settings.give_up_tries || (tried && too_old(item));
            (!lane.in_flight && over).then_some(*seq)
        };
        self.first.iter().find_map(is_hopeless)
    }

    /// Takes the first event out of its lane; the next one may go.
    pub fn take(&mut self, seq: u64) -> Option<Letter> {
        let call = self.first.remove(&seq)?;
        let mut lane = self.lanes.remove(&call)?;
        let item = lane.queue.pop_front()?;
        // One that was never tried is given up because nothing got through.
        let why = if lane.why.is_empty() { self.why.clone() } else { lane.why };
        let letter = Letter { item, call: call.clone(), why, tries: lane.tries };
        if let Some(next) = lane.queue.front() {
            self.first.insert(next.seq, call.clone());
            self.lanes.insert(call, Lane { queue: lane.queue, ..Lane::default() });
        }
        Some(letter)
    }

    /// How often events in trouble were tried.
    pub fn tries(&self) -> Tries {
        let of = |(seq, call): (&u64, &String)| {
            let lane = self.lanes.get(call)?;
            (lane.tries > 0).then_some((*seq, (lane.tries, lane.refusals)))
        };
        self.first.iter().filter_map(of).take(REMEMBERED).collect()
    }

    /// Goes on counting after a restart.
    pub fn remember(&mut self, tries: &Tries) {
        for (seq, (tries, refusals)) in tries {
            if let Some(lane) = self.first.get(seq).and_then(|call| self.lanes.get_mut(call)) {
                (lane.tries, lane.refusals) = (*tries, *refusals);
            }
        }
    }

    fn most(&self, most: usize) -> usize {
        if self.is_down() { 1 } else { most }
    }

    /// Its request is over.
    fn land(&mut self, seq: u64) -> Option<&mut Lane> {
        let lane = self.first.get(&seq).and_then(|call| self.lanes.get_mut(call))?;
        if !lane.in_flight {
            return None;
        }
        lane.in_flight = false;
        self.in_flight -= 1;
        Some(lane)
    }
}
