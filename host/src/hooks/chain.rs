//! One decision: routers asked in the admin's order until one of them says where the caller goes.
//!
//! A router that needs to know more first names its questions and is asked again with all answers. All of it
//! together has one end in time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use plugin_runtime::hooks::{Answer, Lookup};

/// Most lookups of one router in one decision.
pub const MOST_LOOKUPS: usize = 4;

/// How far a decision is.
#[derive(Debug)]
pub(super) struct Chain {
    /// Whose turn it is.
    pub router: usize,
    /// Its plugin and version.
    pub plugin: String,
    /// When that turn began.
    pub turn_began: Duration,
    /// Nobody is asked or waited for after this.
    pub give_up_at: Duration,
    /// What this router got to know so far.
    pub answers: Vec<Answer>,
    asked: BTreeSet<String>,
    waits: Waits,
}

/// What the decision waits for.
#[derive(Debug)]
enum Waits {
    Nothing,
    /// The router's word, under this number.
    Word(u64),
    /// Answers to lookups: their numbers, and the router's ids of them.
    Answers(BTreeMap<u64, String>),
}

impl Chain {
    pub fn new(now: Duration, within: Duration) -> Self {
        Self {
            router: 0,
            plugin: String::new(),
            turn_began: now,
            give_up_at: now + within,
            answers: Vec::new(),
            asked: BTreeSet::new(),
            waits: Waits::Nothing,
        }
    }

    /// The router is being asked under this number.
    pub fn asks(&mut self, job: u64) {
        self.waits = Waits::Word(job);
    }

    /// Is this the word that is waited for? It is heard once.
    pub fn hears(&mut self, job: u64) -> bool {
        let expected = matches!(self.waits, Waits::Word(asked) if asked == job);
        if expected {
            self.waits = Waits::Nothing;
        }
        expected
    }

    /// It passed: the next one's turn.
    pub fn next(&mut self, now: Duration) {
        self.router += 1;
        self.turn_began = now;
        self.answers.clear();
        self.asked.clear();
    }

    /// The router needs to know these first; `Err` says why it does not get them.
    pub fn needs(
        &mut self,
        lookups: &[Lookup],
        mut number: impl FnMut() -> u64,
    ) -> Result<Vec<u64>, String> {
        if lookups.is_empty() {
            return Err("it needs lookups and names none".to_owned());
        }
        if self.asked.len() + lookups.len() > MOST_LOOKUPS {
            return Err(format!("it asks for more than {MOST_LOOKUPS} lookups in one decision"));
        }
        for lookup in lookups {
            if !self.asked.insert(lookup.id.clone()) {
                return Err(format!("it asks twice for the lookup `{}`", lookup.id));
            }
        }
        let numbers: Vec<u64> = lookups.iter().map(|_| number()).collect();
        let open = numbers.iter().copied().zip(lookups.iter().map(|lookup| lookup.id.clone()));
        self.waits = Waits::Answers(open.collect());
        Ok(numbers)
    }

    /// An answer. True: all are there.
    pub fn looked_up(&mut self, number: u64, answer: Answer) -> bool {
        let Waits::Answers(open) = &mut self.waits else { return false };
        let Some(id) = open.remove(&number) else { return false };
        self.answers.push(Answer { id, ..answer });
        open.is_empty()
    }

    /// What a lookup may take, so that the router can still be asked about the answer.
    pub fn lookup_within(&self, asked: Option<Duration>, now: Duration) -> Duration {
        let left = self.give_up_at.saturating_sub(now) * 3 / 4;
        asked.unwrap_or(left).min(left).max(Duration::from_millis(1))
    }

    /// In what it was when time was up.
    pub fn was_doing(&self) -> &'static str {
        match self.waits {
            Waits::Answers(_) => "its lookups took too long",
            Waits::Word(_) | Waits::Nothing => "it did not answer in time",
        }
    }
}
