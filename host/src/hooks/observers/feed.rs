//! What one observer is told and when: without I/O, so that an hour of a receiver that is down is a test.
//!
//! ```text
//! journal --take--> queue --next_step--> the guest --stepped--> commit --committed--> lookups --answered--> queue
//!                     ^                      |
//!                     '---- from the last ack, after a failure, later and later ----'
//! ```
//!
//! Events are given in order, never one before another has been given. They come again only after a failure or a
//! restart, from the last `ack` that is on disk.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use calls::Timestamp;
pub(super) use plugin_runtime::hooks::WantedEvents as Wanted;
use plugin_runtime::hooks::{
    Answer, Event, HookError, HookFailure, Lookup, MAX_OPEN_LOOKUPS, ObserverAction, ObserverInput,
};
use serde::Deserialize;

use crate::{
    hooks::{meter::Lag, store::StoreWrite},
    journal::Published,
    wire,
};

/// Events of one step.
const BATCH: usize = 128;
/// Their JSON; one event is always given.
const BATCH_BYTES: usize = 256 << 10;
/// Events that may be given and not acknowledged: then it must acknowledge before there are more.
const WINDOW: usize = 4096;
/// After events that it does not want, its cursor moves only when so many have passed: a write for each would be waste.
const IDLE_STRIDE: u64 = 1000;
/// Sooner it is not woken again.
const SHORTEST_SLEEP: Duration = Duration::from_millis(10);
/// After the first failure, and after many.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The state of one observer.
pub(super) struct Feed {
    wanted: Wanted,
    /// On disk.
    cursor: u64,
    /// The last event that was read.
    read: u64,
    /// The last that was given in this life.
    given: u64,
    /// Not given yet.
    queue: VecDeque<Event>,
    /// Given and not acknowledged, with its time.
    open: VecDeque<(u64, Timestamp)>,
    answers: VecDeque<Answer>,
    lost: Option<u64>,
    /// Ids of lookups without an answer.
    asked: BTreeSet<String>,
    /// A new one after each failure: answers for the one before are nobody's.
    life: u64,
    wake_at: Option<Duration>,
    /// Before this there is no step without events.
    idle_until: Duration,
    trouble: Option<Trouble>,
    /// A step whose end is not on disk yet.
    pending: Option<(Commit, Duration)>,
}

/// It failed, and is tried again.
struct Trouble {
    /// Over when it has dealt with this one.
    until: u64,
    failures: u32,
    again_at: Duration,
}

/// The end of a step: to be written, then to be told to [`Feed::committed`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) ack: Option<u64>,
    pub(super) writes: Vec<StoreWrite>,
    lookups: Vec<Lookup>,
}

impl Feed {
    /// Of an observer that has dealt with everything up to `cursor`.
    pub(super) fn new(cursor: u64) -> Self {
        Self {
            wanted: Wanted::default(),
            cursor,
            read: cursor,
            given: cursor,
            queue: VecDeque::new(),
            open: VecDeque::new(),
            answers: VecDeque::new(),
            lost: None,
            asked: BTreeSet::new(),
            life: 0,
            wake_at: None,
            idle_until: Duration::ZERO,
            trouble: None,
            pending: None,
        }
    }

    /// What it said at its start.
    pub(super) fn wants(&mut self, wanted: Wanted) {
        self.wanted = wanted;
    }

    /// After which event to go on reading, and how many at most; none: it has enough.
    pub(super) fn hungry(&self) -> Option<(u64, usize)> {
        let room = WINDOW.saturating_sub(self.open.len() + self.queue.len());
        (self.queue.len() < BATCH && room > 0 && self.pending.is_none())
            .then_some((self.read, room.min(2 * BATCH)))
    }

    /// The next events of the journal.
    pub(super) fn take(&mut self, events: &[Arc<Published>]) {
        let after = self.read;
        for event in events.iter().filter(|event| event.seq > after) {
            self.read = event.seq;
            if self.wanted.takes(&event.kind) {
                self.queue.push_back(of_journal(event));
            }
        }
    }

    /// Events up to this one are gone.
    pub(super) fn lose(&mut self, last: u64) {
        self.queue.clear();
        self.read = self.read.max(last);
        self.lost = Some(last);
    }

    /// The journal is another one: it begins anew.
    pub(super) fn begin_anew(&mut self) {
        self.forget_life();
        (self.cursor, self.read, self.given) = (0, 0, 0);
    }

    /// An answer for somebody of that life.
    pub(super) fn answered(&mut self, life: u64, answer: Answer) {
        if life == self.life && self.asked.remove(&answer.id) {
            self.answers.push_back(answer);
        }
    }

    /// What to call the guest with now.
    pub(super) fn next_step(&mut self, now: Duration) -> Option<Vec<ObserverInput>> {
        let again_at = self.trouble.as_ref().map_or(Duration::ZERO, |it| it.again_at);
        if self.pending.is_some() || now < again_at {
            return None;
        }
        // A guest that asks about each answer again keeps no processor busy.
        let has_events = self.lost.is_some() || !self.queue.is_empty();
        if !has_events && now < self.idle_until {
            return None;
        }
        // One at a time: then it is known at which one it fails.
        let most = if self.trouble.is_some() { 1 } else { BATCH };
        let mut inputs: Vec<ObserverInput> = Vec::new();
        inputs.extend(self.lost.take().map(ObserverInput::Lost));
        if let Some(ObserverInput::Lost(last)) = inputs.first() {
            self.given = self.given.max(*last);
            self.open.push_back((*last, Timestamp(0)));
        }
        while inputs.len() < most
            && let Some(answer) = self.answers.pop_front()
        {
            inputs.push(ObserverInput::Answer(answer));
        }
        if inputs.len() < most && self.wake_at.is_some_and(|at| at <= now) {
            self.wake_at = None;
            inputs.push(ObserverInput::Wake);
        }
        let mut bytes = 0;
        while inputs.len() < most
            && bytes < BATCH_BYTES
            && let Some(event) = self.queue.pop_front()
        {
            bytes += event.json.len();
            self.given = event.seq;
            self.open.push_back((event.seq, event.at));
            inputs.push(ObserverInput::Event(event));
        }
        if !has_events && !inputs.is_empty() {
            self.idle_until = now + SHORTEST_SLEEP;
        }
        (!inputs.is_empty()).then_some(inputs)
    }

    /// The guest has answered: what is to be written. Its lookups are asked after that.
    pub(super) fn stepped(&mut self, actions: Vec<ObserverAction>, now: Duration) -> &Commit {
        let mut commit = Commit::default();
        for action in actions {
            match action {
                // What was never given is not dealt with, and what is on disk stays there.
                ObserverAction::Ack(seq) if seq > self.cursor && seq <= self.given => {
                    commit.ack = commit.ack.max(Some(seq));
                }
                ObserverAction::Ack(_) => {}
                ObserverAction::Store(store) => {
                    commit.writes.push(StoreWrite { key: store.key, value: store.value });
                }
                ObserverAction::Lookup(lookup) => commit.lookups.push(lookup),
                ObserverAction::WakeAt(at) => {
                    self.wake_at = at.map(|at| at.max(now + SHORTEST_SLEEP));
                }
            }
        }
        if self.trouble.as_ref().is_some_and(|it| self.given >= it.until) {
            self.trouble = None;
        }
        let commit = self.with_idle(commit);
        &self.pending.insert((commit, now)).0
    }

    /// The cursor passes by what it does not want, now and then.
    fn with_idle(&self, mut commit: Commit) -> Commit {
        let acked = commit.ack.unwrap_or(self.cursor);
        let all_acked = self.open.back().is_none_or(|(seq, _)| *seq <= acked);
        if all_acked && self.queue.is_empty() && self.lost.is_none() {
            let passed = self.read.saturating_sub(acked);
            if passed >= IDLE_STRIDE || (commit.ack.is_some() && passed > 0) {
                commit.ack = Some(self.read);
            }
        }
        commit
    }

    /// To be written although the guest had nothing to do.
    pub(super) fn idle_commit(&mut self, now: Duration) -> Option<&Commit> {
        if self.pending.is_some() {
            return None;
        }
        let commit = self.with_idle(Commit::default());
        commit.ack?;
        Some(&self.pending.insert((commit, now)).0)
    }

    /// A step's end that is to be written now.
    pub(super) fn to_write(&self, now: Duration) -> Option<&Commit> {
        self.pending.as_ref().filter(|(_, at)| *at <= now).map(|(commit, _)| commit)
    }

    /// It is on disk: the lookups that may be asked now, with the life they belong to.
    pub(super) fn committed(&mut self) -> (u64, Vec<Lookup>) {
        let Some((commit, _)) = self.pending.take() else { return (self.life, Vec::new()) };
        if let Some(seq) = commit.ack {
            self.cursor = seq;
            while self.open.front().is_some_and(|(open, _)| *open <= seq) {
                self.open.pop_front();
            }
        }
        let mut ask = Vec::new();
        for lookup in commit.lookups {
            if self.asked.len() >= MAX_OPEN_LOOKUPS {
                let message = format!("{MAX_OPEN_LOOKUPS} lookups are unanswered already");
                let error = HookError::retryable("too-many-requests", message);
                self.answers.push_back(Answer::failed(lookup.id, error));
            } else if self.asked.insert(lookup.id.clone()) {
                ask.push(lookup);
            } else {
                let message = "a lookup of this id is unanswered already";
                let error = HookError::new("asked-already", message);
                self.answers.push_back(Answer::failed(lookup.id, error));
            }
        }
        (self.life, ask)
    }

    /// It cannot be written now; it is tried again, and nothing else happens until then.
    pub(super) fn not_committed(&mut self, now: Duration) {
        if let Some((_, at)) = &mut self.pending {
            *at = now + FIRST_PAUSE;
        }
    }

    /// The guest failed at these, or what it wants kept cannot be. A new guest is told everything since the last
    /// `ack` again, after a pause, one at a time up to where it failed. In one sentence: at what, and until when.
    pub(super) fn failed(
        &mut self,
        inputs: &[ObserverInput],
        failure: &HookFailure,
        now: Duration,
    ) -> String {
        let failures = self.trouble.as_ref().map_or(0, |it| it.failures) + 1;
        let pause = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(6)).min(LONGEST_PAUSE);
        let until = self.given.max(self.trouble.as_ref().map_or(0, |it| it.until));
        self.trouble = Some(Trouble { until, failures, again_at: now + pause });
        self.forget_life();
        format!("{failure}, at {}; again in {} s", at_what(inputs), pause.as_secs())
    }

    fn forget_life(&mut self) {
        self.life += 1;
        self.pending = None;
        self.queue.clear();
        self.open.clear();
        self.answers.clear();
        self.asked.clear();
        self.lost = None;
        self.wake_at = None;
        self.read = self.cursor;
        self.given = self.cursor;
    }

    /// A new guest may be made now.
    pub(super) fn may_start(&self, now: Duration) -> bool {
        self.trouble.as_ref().is_none_or(|trouble| trouble.again_at <= now)
    }

    /// When something is to be done without anything happening.
    pub(super) fn poll_timeout(&self, now: Duration) -> Option<Duration> {
        if let Some((_, at)) = &self.pending {
            return Some(*at);
        }
        let pause = self.trouble.as_ref().map(|trouble| trouble.again_at);
        let idle_until = (!self.answers.is_empty()).then_some(self.idle_until);
        let soonest = [self.wake_at.map(|at| at.max(self.idle_until)), idle_until];
        pause.filter(|at| *at > now).or(soonest.into_iter().flatten().min())
    }

    /// There are no more events for this guest: it finishes what it was given.
    pub(super) fn drain(&mut self) {
        self.queue.clear();
        self.lost = None;
        self.read = self.given;
    }

    /// Everything given is acknowledged, and nothing is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.pending.is_none() && self.open.is_empty() && self.asked.is_empty()
    }

    /// How far it is behind the journal.
    pub(super) fn lag(&self, committed: u64, now: Timestamp) -> Lag {
        let oldest = self.open.front().map(|(_, at)| *at);
        let oldest = oldest.or_else(|| self.queue.front().map(|event| event.at));
        // Of events that are lost nobody knows when they were.
        let age = oldest.filter(|at| at.0 > 0).map_or(0, |at| now.0.saturating_sub(at.0));
        // What it does not want is dealt with as soon as it was read.
        let idle = self.open.is_empty() && self.queue.is_empty();
        let cursor = if idle { self.read } else { self.cursor };
        Lag {
            events: committed.saturating_sub(cursor),
            age: Duration::from_nanos(age),
            cursor: self.cursor,
        }
    }
}

fn of_journal(event: &Published) -> Event {
    #[derive(Deserialize)]
    struct When {
        at: wire::Time,
    }
    let at = serde_json::from_str(&event.json).map_or(Timestamp(0), |When { at }| at.into());
    Event {
        seq: event.seq,
        kind: event.kind.to_string(),
        at,
        call: event.call.as_deref().unwrap_or_default().to_owned(),
        json: event.json.to_string(),
    }
}

fn at_what(inputs: &[ObserverInput]) -> String {
    let events: Vec<&Event> = inputs
        .iter()
        .filter_map(|input| match input {
            ObserverInput::Event(event) => Some(event),
            _ => None,
        })
        .collect();
    match (events.as_slice(), inputs) {
        ([event], [_]) => format!("event {} ({})", event.seq, event.kind),
        ([first, .., last], _) => format!("one of the events {} to {}", first.seq, last.seq),
        (_, []) => "its start".to_owned(),
        (_, [ObserverInput::Wake]) => "its wake-up".to_owned(),
        (_, [ObserverInput::Lost(last)]) => format!("the loss of the events up to {last}"),
        (_, [ObserverInput::Answer(answer)]) => format!("the answer of lookup {:?}", answer.id),
        _ => "answers and wake-ups".to_owned(),
    }
}
