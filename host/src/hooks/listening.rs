//! Whether the PBX tells the keys that a caller presses, as far as is known.
//!
//! The instruction may be lost: the link is down, or the connector has not seen the caller yet. And a connector that
//! began anew tells no keys until it is told to. So it is said again, soon when it failed, and with each renewal of
//! the lease while keys are wanted.

use std::time::Duration;

use calls::event::Problem;

use super::{
    desk::{
        Out,
        sending::{AGAIN, MOST_TRIES, is_gone, is_passing},
    },
    instructions::Instruction,
};

/// What the PBX was told, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Listening {
    /// As it was told last, unless that is known to have failed.
    is_on: bool,
    /// The instruction whose end is waited for.
    told: Option<u64>,
    /// It failed; until then it is not said again.
    again_at: Option<Duration>,
    tries: u32,
}

impl Listening {
    /// Of a caller who was held before: perhaps keys are told.
    pub fn perhaps() -> Self {
        Self { is_on: true, ..Self::default() }
    }

    /// Tells the PBX when it is to be otherwise.
    pub fn set(&mut self, wanted: bool, out: &mut Out) {
        if wanted == self.is_on {
            self.again_at = None;
        } else if self.again_at.is_none() {
            self.tell(wanted, out);
        }
    }

    /// Says once more that keys are wanted, to a connector that may have begun anew.
    pub fn repeat(&mut self, out: &mut Out) {
        if self.is_on {
            self.tell(true, out);
        }
    }

    fn tell(&mut self, on: bool, out: &mut Out) {
        self.is_on = on;
        self.told = Some(out.instruct(Instruction::listen(on)));
    }

    /// An instruction is over. False: it is another one.
    pub fn done(&mut self, number: u64, problem: Option<&Problem>, now: Duration) -> bool {
        if self.told.take_if(|told| *told == number).is_none() {
            return false;
        }
        match problem {
            None => self.tries = 0,
            Some(it) if is_passing(it) && !is_gone(it) && self.tries < MOST_TRIES => {
                self.tries += 1;
                self.is_on = !self.is_on;
                self.again_at = Some(now + AGAIN);
            }
            // Only the next renewal of the lease may help.
            Some(_) => {}
        }
        true
    }

    /// When it may be said again.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.again_at
    }

    /// The time of [`Listening::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.again_at.take_if(|at| *at <= now);
    }
}
