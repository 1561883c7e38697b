//! Webhook: posts committed events to a URL, signed, until they arrive.
//!
//! ```text
//! event --> the lane of its call --> one request at a time --> delivered, or a dead letter --> ack
//!            (order within a call)     (lanes in parallel)       (kept in the store)      (of all before it)
//! ```
//!
//! The `ack` never passes an event that is neither delivered nor a dead letter: what was not acknowledged comes
//! again after a crash. What was delivered beyond the `ack` is remembered in the store, so that it is not sent twice
//! for that reason.

mod delivery;
mod journal;
mod lanes;
pub mod settings;

use jackfield_bundled::reader::refusal;
use jackfield_sdk::{
    Problem,
    hooks::{Action, Answer, Config, Error, Event, Input, Lookup, Now, Observer, Wishes},
    log, register_observer,
};

use crate::{
    delivery::Outcome,
    journal::{Journal, STATE},
    lanes::{Item, Lanes},
    settings::Settings,
};

/// Bytes of bodies sent by one step; a body stands twice in a signed request.
const STEP_BYTES: usize = 1 << 20;

/// Dead letters made by one step, and their bytes.
const STEP_LETTERS: usize = 100;
const STEP_LETTER_BYTES: usize = 1 << 20;

/// An instance.
pub struct Webhook {
    settings: Settings,
    phase: Phase,
    lanes: Lanes,
    journal: Journal,
    wake_at: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing asked yet.
    New,
    /// What was kept is on its way; nothing is sent before it is here.
    Loading,
    Ready,
}

register_observer!(Webhook, manifest = include_bytes!("../manifest.json"));

impl Observer for Webhook {
    fn init(config: Config) -> Result<Self, Error> {
        let settings = Settings::read(&config.settings).map_err(|problems| refusal(&problems))?;
        Ok(Self {
            lanes: Lanes::new(settings.retry),
            settings,
            phase: Phase::New,
            journal: Journal::default(),
            wake_at: 0,
        })
    }

    fn wishes(&self) -> Wishes {
        let mut wishes = Wishes::default();
        if !self.settings.events.is_empty() {
            wishes.facts.push(("events".to_owned(), self.settings.events.join(" ")));
        }
        wishes
    }

    fn step(&mut self, now: Now, inputs: Vec<Input>, out: &mut Vec<Action>) -> Result<(), Error> {
        if self.phase == Phase::New {
            self.phase = Phase::Loading;
            out.push(Action::lookup(Lookup::stored(STATE, STATE)));
        }
        let mut woken = false;
        for input in inputs {
            match input {
                Input::Event(event) => self.event(event),
                Input::Answer(answer) if answer.id == STATE => self.loaded(&answer),
                Input::Answer(answer) => self.answered(now, &answer, out),
                Input::Wake => woken = true,
                Input::Lost(last) => self.lost(last, now),
                Input::Other(_) => {}
            }
        }
        if self.phase == Phase::Ready {
            let more = self.give_up(now, out);
            self.send(now, out);
            self.journal.keep(&self.lanes.tries(), out);
            let wake_at = if more { now.monotonic_ns + 1 } else { self.wake_at(now) };
            if woken || wake_at != self.wake_at {
                self.wake_at = wake_at;
                out.push(Action::WakeAt(wake_at));
            }
        }
        Ok(())
    }

    fn validate(settings: &str) -> Vec<Problem> {
        Settings::read(settings).err().unwrap_or_default()
    }
}

impl Webhook {
    fn event(&mut self, event: Event) {
        let Event { seq, kind, at_ns, call, json } = event;
        if !self.journal.is_new(seq) {
            return;
        }
        if self.settings.wants(&kind) {
            self.journal.open(seq);
            self.lanes.push(call, Item { seq, kind, at_ns, body: json });
        }
    }

    /// The receiver must know of the hole.
    fn lost(&mut self, last: u64, now: Now) {
        if !self.journal.is_new(last) {
            return;
        }
        log::error(&format!("events up to {last} are gone: nobody can send them any more"));
        let body = serde_json::json!({ "seq": last, "type": "webhook.events-lost", "up_to": last });
        self.journal.open(last);
        let kind = "webhook.events-lost".to_owned();
        self.lanes.push(
            String::new(),
            Item { seq: last, kind, at_ns: now.wall_ns, body: body.to_string() },
        );
    }

    fn loaded(&mut self, answer: &Answer) {
        if self.phase == Phase::Ready {
            return;
        }
        self.phase = Phase::Ready;
        if let Some(error) = &answer.error {
            log::warn(&format!(
                "what was kept cannot be read: {}; some events may come twice",
                error.message
            ));
        }
        let tries = self.journal.load(if answer.is_ok() { &answer.body } else { b"" });
        for seq in self.lanes.retain(|seq| !self.journal.was_delivered(seq)) {
            self.journal.close(seq);
        }
        self.lanes.remember(&tries);
    }

    fn answered(&mut self, now: Now, answer: &Answer, out: &mut Vec<Action>) {
        let Some(seq) = delivery::seq_of(&answer.id) else { return };
        let was_down = self.lanes.is_down();
        match delivery::outcome(answer) {
            Outcome::Delivered => {
                if self.lanes.delivered(seq).is_some() {
                    self.journal.delivered(seq);
                }
            }
            Outcome::Later { why, after_secs } => {
                self.lanes.later(now, seq, after_secs, &why);
                if !was_down && self.lanes.is_down() {
                    log::warn(&format!(
                        "the receiver does not take events: {why}; they are kept and tried again"
                    ));
                }
            }
            Outcome::Refused { why } => {
                let refusals = self.lanes.refused(now, seq, &why);
                if refusals >= self.settings.refused_tries
                    && let Some(letter) = self.lanes.take(seq)
                {
                    self.journal.bury(letter, &self.settings, out);
                }
            }
        }
        if was_down && !self.lanes.is_down() {
            log::info("the receiver takes events again");
        }
    }

    /// Makes dead letters of what has been tried long enough; says whether there is more to do.
    fn give_up(&mut self, now: Now, out: &mut Vec<Action>) -> bool {
        let (mut letters, mut bytes) = (0, 0);
        while let Some(seq) = self.lanes.hopeless(now, &self.settings) {
            if letters == STEP_LETTERS || bytes > STEP_LETTER_BYTES {
                return true;
            }
            let Some(letter) = self.lanes.take(seq) else { return false };
            letters += 1;
            bytes += self.journal.bury(letter, &self.settings, out);
        }
        false
    }

    fn send(&mut self, now: Now, out: &mut Vec<Action>) {
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let Some((item, tries)) = self.lanes.next(now, self.settings.in_flight) else { return };
            bytes += item.body.len();
            out.push(Action::lookup(delivery::request(&self.settings, now, item, tries)));
        }
    }

    fn wake_at(&self, now: Now) -> u64 {
        self.lanes.due(self.settings.in_flight).map_or(0, |at| at.max(now.monotonic_ns + 1))
    }
}
