//! Traps on every 50th message.

use jackfield_test_guests::{
    frames::Frame,
    register,
    traps::{Trapping, Trigger},
};
use serde::{Deserialize, Serialize};

const EVERY: u64 = 50;

#[derive(Default, Serialize, Deserialize)]
/// When it traps.
pub struct Nth {
    /// Messages since the last trap.
    count: u64,
    /// Every second trap waits for an event of its own accord: else no list of more than 50 items would ever
    /// be complete, and no resync ever end.
    spares_answers: bool,
}

impl Trigger for Nth {
    fn look(&mut self, frame: Frame<'_>) -> Result<(), String> {
        if self.count + 1 >= EVERY && !(self.spares_answers && frame.is_answer()) {
            return Err(format!("message {}: {}", self.count + 1, frame.event()));
        }
        self.count += 1;
        Ok(())
    }

    fn gap(&mut self) {
        self.count = 0;
        self.spares_answers = !self.spares_answers;
    }
}

register!(Trapping<Nth>, "trap-nth");
