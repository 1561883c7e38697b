//! Traps exactly on the messages whose loss could leave ghosts.

use jackfield_test_guests::{
    frames::Frame,
    register,
    traps::{Trapping, Trigger},
};
use serde::{Deserialize, Serialize};

const POISON: [&str; 3] = ["Hangup", "QueueCallerLeave", "BridgeLeave"];

#[derive(Default, Serialize, Deserialize)]
/// When it traps.
pub struct On;

impl Trigger for On {
    fn look(&mut self, frame: Frame<'_>) -> Result<(), String> {
        match frame.event() {
            event if POISON.contains(&event) => Err(format!("cannot bear {event}")),
            _ => Ok(()),
        }
    }
}

register!(Trapping<On>, "trap-on");
