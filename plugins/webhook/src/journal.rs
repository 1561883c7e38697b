//! What is delivered, what is not, and what of it is kept in the store.
//!
//! | key | value |
//! | --- | --- |
//! | `state` | what was delivered beyond the last ack, how often events in trouble were tried, which dead letters there are |
//! | `dead:00000000000000000042` | the dead letter of event 42, as JSON |

use std::collections::{BTreeSet, VecDeque};

use jackfield_bundled::json;
use jackfield_sdk::{hooks::Action, log};
use serde_json::{Value, json};

use crate::{
    lanes::{Letter, Tries},
    settings::Settings,
};

/// The key of the state, and the id of the lookup that asks for it.
pub const STATE: &str = "state";

/// The version of the state's text.
const VERSION: u64 = 1;

/// The longest dead letter; of a longer event only the head is kept.
const LONGEST: usize = 60 * 1024;

/// All dead letters together: the store holds 1 MiB.
const MOST_BYTES: usize = 768 * 1024;

/// See above.
#[derive(Debug, Default)]
pub struct Journal {
    /// Neither delivered nor a dead letter.
    open: BTreeSet<u64>,
    /// Dealt with, beyond the last ack.
    done: BTreeSet<u64>,
    /// The last event told.
    last: u64,
    /// The first event told in this life.
    first: Option<u64>,
    acked: u64,
    /// The last ack of the life before, as far as it matters.
    acked_before: u64,
    /// Dead letters in the store, with their sizes.
    dead: VecDeque<(u64, usize)>,
    dropped: u64,
    /// As it is in the store.
    kept: String,
}

impl Journal {
    /// Was it never told before? It is now.
    pub fn is_new(&mut self, seq: u64) -> bool {
        if self.first.is_none() {
            self.first = Some(seq);
            // The host goes on behind its last ack.
            self.acked = seq.saturating_sub(1);
        }
        if seq <= self.acked_before {
            self.begin_anew();
        }
        let is_new = seq > self.last && !self.done.contains(&seq);
        self.last = self.last.max(seq);
        is_new
    }

    /// It is to be delivered.
    pub fn open(&mut self, seq: u64) {
        self.open.insert(seq);
    }

    /// It was delivered in an earlier life.
    pub fn close(&mut self, seq: u64) {
        self.open.remove(&seq);
    }

    /// It arrived.
    pub fn delivered(&mut self, seq: u64) {
        self.open.remove(&seq);
        self.done.insert(seq);
    }

    /// Was it delivered, perhaps in an earlier life?
    pub fn was_delivered(&self, seq: u64) -> bool {
        self.done.contains(&seq)
    }

    /// Goes on from what was kept; what cannot be read counts as nothing.
    pub fn load(&mut self, state: &[u8]) -> Tries {
        let mut tries = Tries::new();
        let Ok(value) = json::read(state) else { return tries };
        if value["v"].as_u64() != Some(VERSION) {
            log::warn("what was kept is of another version; some events may come twice");
            return tries;
        }
        let number = |value: &Value| value.as_u64();
        for pair in value["done"].as_array().into_iter().flatten() {
            if let (Some(from), Some(to)) = (number(&pair[0]), number(&pair[1]))
                && to.saturating_sub(from) < 100_000
            {
                self.done.extend(from..=to);
            }
        }
        for entry in value["dead"].as_array().into_iter().flatten() {
            if let (Some(seq), Some(size)) = (number(&entry[0]), number(&entry[1])) {
                self.dead.push_back((seq, usize::try_from(size).unwrap_or(LONGEST)));
            }
        }
        self.acked_before = number(&value["acked"]).unwrap_or(0);
        if self.first.is_some_and(|first| first <= self.acked_before) {
            self.begin_anew();
        }
        self.dropped = number(&value["dropped"]).unwrap_or(0);
        let small = |value: &Value| value.as_u64().and_then(|it| u32::try_from(it).ok());
        for (seq, counts) in value["tries"].as_object().into_iter().flatten() {
            if let (Ok(seq), Some(all), Some(refused)) =
                (seq.parse(), small(&counts[0]), small(&counts[1]))
            {
                tries.insert(seq, (all, refused));
            }
        }
        self.kept = String::from_utf8_lossy(state).into_owned();
        tries
    }

    /// Makes a dead letter; answers its size.
    pub fn bury(&mut self, letter: Letter, settings: &Settings, out: &mut Vec<Action>) -> usize {
        let Letter { item, call, why, tries } = letter;
        let seq = item.seq;
        let mut value = json!({
            "seq": seq, "type": item.kind, "call": call, "at_ns": item.at_ns, "why": why, "tries": tries,
            "event": item.body,
        });
        let mut text = value.to_string();
        if text.len() > LONGEST {
            value["event"] = Value::Null;
            value["too_long"] = item.body.len().into();
            text = value.to_string();
        }
        log::error(&format!(
            "event {seq} is given up after {tries} tries: {why}; it is kept as a dead letter"
        ));
        let size = text.len();
        out.push(Action::put(key(seq), text));
        self.dead.push_back((seq, size));
        let mut bytes: usize = self.dead.iter().map(|(_, size)| size).sum();
        while self.dead.len() > settings.dead_letters || bytes > MOST_BYTES {
            let Some((oldest, size)) = self.dead.pop_front() else { break };
            bytes -= size;
            self.dropped += 1;
            log::error(&format!("the dead letter of event {oldest} is dropped to make room"));
            out.push(Action::remove(key(oldest)));
        }
        self.delivered(seq);
        size
    }

    /// Acknowledges what is dealt with, and keeps what is needed after a restart.
    pub fn keep(&mut self, tries: &Tries, out: &mut Vec<Action>) {
        let floor = match self.open.first() {
            Some(first) => first - 1,
            None => self.last,
        };
        let ack = floor > self.acked;
        if ack {
            self.acked = floor;
        }
        self.done = self.done.split_off(&(self.acked + 1));
        let state = self.text(tries);
        if state != self.kept {
            out.push(Action::put(STATE, state.as_str()));
            self.kept = state;
        }
        if ack {
            out.push(Action::ack(self.acked));
        }
    }

    /// An event comes again that was acknowledged: the host has another journal, and its numbers mean other events.
    fn begin_anew(&mut self) {
        self.done.clear();
        self.acked_before = 0;
    }

    fn text(&self, tries: &Tries) -> String {
        let tries: serde_json::Map<String, Value> = tries
            .iter()
            .map(|(seq, (all, refused))| (seq.to_string(), json!([all, refused])))
            .collect();
        let acked = if self.done.is_empty() { 0 } else { self.acked };
        json!({
            "v": VERSION, "acked": acked, "done": ranges(&self.done), "tries": tries, "dead": self.dead, "dropped": self.dropped,
        })
        .to_string()
    }
}

/// The numbers as ranges, both ends included.
fn ranges(numbers: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, to)) if *to + 1 == number => *to = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

fn key(seq: u64) -> String {
    format!("dead:{seq:020}")
}
