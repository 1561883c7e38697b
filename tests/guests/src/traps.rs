//! The real connector that traps on some messages.
//!
//! A trap takes the step back, so what is counted here must be as it was when the message comes again:
//! only then does it trap a second time and is quarantined. The gap that follows says so, and counting goes on.

use jackfield_asterisk::Asterisk;
use jackfield_sdk::{Action, Config, Connector, Error, Input, Now, Problem, Snapshot};
use serde::{Deserialize, Serialize};

use crate::frames::{self, Frame};

/// When to trap. Its state goes through snapshots.
pub trait Trigger: Default + Serialize + for<'d> Deserialize<'d> + 'static {
    /// Looks at a message before the connector does. Its error is the trap's text.
    fn look(&mut self, frame: Frame<'_>) -> Result<(), String>;

    /// A message was taken out.
    fn gap(&mut self) {}
}

/// The real connector behind a [`Trigger`].
pub struct Trapping<T> {
    inner: Asterisk,
    trigger: T,
}

impl<T: Trigger> Connector for Trapping<T> {
    fn init(
        config: Config,
        state: Option<Snapshot>,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<Self, Error> {
        let trigger = match &state {
            None => T::default(),
            Some(snapshot) => match tail(&snapshot.data) {
                Some(trigger) => serde_json::from_slice(trigger)
                    .map_err(|error| Error::new("bad-snapshot", error.to_string()))?,
                // The plain connector leaves none.
                None => T::default(),
            },
        };
        Ok(Self { inner: Asterisk::init(config, state, now, out)?, trigger })
    }

    fn step(&mut self, now: Now, inputs: Vec<Input>, out: &mut Vec<Action>) -> Result<(), Error> {
        for input in &inputs {
            match input {
                Input::Bytes(bytes) => {
                    for frame in frames::of(&bytes.data) {
                        if let Err(why) = self.trigger.look(frame) {
                            panic!("{why}");
                        }
                    }
                }
                Input::Gap(gap) if gap.bytes > 0 => self.trigger.gap(),
                _ => {}
            }
        }
        self.inner.step(now, inputs, out)
    }

    /// The real connector's, with something behind it, which the real one does not mind.
    fn snapshot(&self) -> Result<Snapshot, Error> {
        let snapshot = self.inner.snapshot()?;
        let trigger = serde_json::to_vec(&self.trigger)
            .map_err(|error| Error::new("snapshot-failed", error.to_string()))?;
        let length = u32::try_from(trigger.len()).unwrap_or_default().to_le_bytes();
        let data = [&snapshot.data, trigger.as_slice(), &length, MARK].concat();
        Ok(Snapshot { data, ..snapshot })
    }

    fn validate(settings: &str) -> Vec<Problem> {
        Asterisk::validate(settings)
    }
}

/// The last bytes of a snapshot that has a trigger at its end.
const MARK: &[u8] = b"trigger";

/// The trigger behind the real connector's state: JSON, its length, the mark.
fn tail(data: &[u8]) -> Option<&[u8]> {
    let (rest, length) = data.strip_suffix(MARK)?.split_last_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    rest.get(rest.len().checked_sub(length)?..)
}
