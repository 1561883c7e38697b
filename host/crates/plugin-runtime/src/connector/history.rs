//! How to make the guest's present state again: a base, and the steps that returned since.

use std::hash::{Hash, Hasher};

use crate::{
    bindings::types::{Action, Input, Now, Snapshot},
    guest::{Guest, Seed},
};

/// A snapshot is taken after so many bytes of input,
const SNAPSHOT_BYTES: usize = 256 << 10;
/// or after so many inputs.
const SNAPSHOT_INPUTS: usize = 1000;
/// A large snapshot is taken less often: not before so many times its size came in.
const SNAPSHOT_RATIO: usize = 4;
/// When snapshots fail, at most so much is kept to replay.
const MAX_BYTES: usize = 16 << 20;
/// And so many inputs.
const MAX_INPUTS: usize = 20_000;
/// What an input costs beside its bytes.
const INPUT_OVERHEAD: usize = 64;

/// The inputs since the last snapshot, and what the guest answered.
pub(super) struct History {
    base: Base,
    steps: Vec<Step>,
    kept: Size,
    since_snapshot: Size,
    snapshot_bytes: usize,
}

enum Base {
    /// `init` from nothing.
    Start {
        now: Now,
        answer: u64,
    },
    Snapshot {
        snapshot: Snapshot,
        now: Now,
    },
    /// There is no way back.
    None {
        why: &'static str,
    },
}

struct Step {
    now: Now,
    inputs: Vec<Input>,
    /// Hash of the actions.
    answer: u64,
}

#[derive(Clone, Copy, Default)]
struct Size {
    inputs: usize,
    bytes: usize,
}

impl History {
    /// Begins where `init` returned. A guest that gives no snapshots is not followed.
    pub(super) fn begin(has_snapshot: bool, now: Now, actions: &[Action]) -> Self {
        let base = if has_snapshot {
            Base::Start { now, answer: hash(actions) }
        } else {
            Base::None { why: "the plugin cannot hand over its state (no `state` export)" }
        };
        Self {
            base,
            steps: Vec::new(),
            kept: Size::default(),
            since_snapshot: Size::default(),
            snapshot_bytes: 0,
        }
    }

    /// Begins where a version took over, from the state of the one before it.
    pub(super) fn take_over(snapshot: Snapshot, has_snapshot: bool, now: Now) -> Self {
        let snapshot_bytes = snapshot.data.len();
        let mut history = Self::begin(has_snapshot, now, &[]);
        if has_snapshot {
            history.base = Base::Snapshot { snapshot, now };
            history.snapshot_bytes = snapshot_bytes;
        }
        history
    }

    /// Another instance goes on from here; what led to the one before it.
    pub(super) fn succeed(&mut self, next: Self) -> Self {
        std::mem::replace(self, next)
    }

    /// A step returned.
    pub(super) fn push(&mut self, now: Now, inputs: Vec<Input>, actions: &[Action]) {
        let size = Size { inputs: inputs.len(), bytes: inputs.iter().map(size_of_input).sum() };
        self.since_snapshot.add(size);
        if matches!(self.base, Base::None { .. }) {
            return;
        }
        self.kept.add(size);
        if self.kept.inputs > MAX_INPUTS || self.kept.bytes > MAX_BYTES {
            self.base = Base::None { why: "the plugin gave no snapshot for too long" };
            (self.steps, self.kept) = (Vec::new(), Size::default());
            return;
        }
        self.steps.push(Step { now, inputs, answer: hash(actions) });
    }

    /// Is it time for a snapshot?
    pub(super) fn is_snapshot_due(&self) -> bool {
        self.since_snapshot.inputs >= SNAPSHOT_INPUTS
            || self.since_snapshot.bytes >= SNAPSHOT_BYTES.max(SNAPSHOT_RATIO * self.snapshot_bytes)
    }

    /// The guest's state is this now.
    pub(super) fn rebase(&mut self, snapshot: Snapshot, now: Now) {
        self.snapshot_bytes = snapshot.data.len();
        self.base = Base::Snapshot { snapshot, now };
        self.steps.clear();
        (self.kept, self.since_snapshot) = (Size::default(), Size::default());
    }

    /// There is no snapshot now; ask again later.
    pub(super) fn postpone(&mut self) {
        self.since_snapshot = Size::default();
    }

    /// A new instance in the state after the last step that returned, and how many steps were replayed.
    pub(super) fn rebuild(&self, seed: &Seed) -> Result<(Guest, usize), String> {
        let mut guest = match &self.base {
            Base::None { why } => return Err((*why).to_owned()),
            Base::Start { now, answer } => {
                let (guest, actions) = Guest::start(seed, None, *now).map_err(|failure| {
                    format!("a new instance does not start: {}", failure.message)
                })?;
                if hash(&actions) != *answer {
                    return Err("a new instance starts in another way".to_owned());
                }
                guest
            }
            // What it answers was answered when the snapshot was taken: wake-ups and links are ours.
            Base::Snapshot { snapshot, now } => {
                Guest::start(seed, Some(snapshot), *now)
                    .map_err(|failure| format!("it refuses its own snapshot: {}", failure.message))?
                    .0
            }
        };
        for (number, step) in self.steps.iter().enumerate() {
            let actions = guest.replay(step.now, &step.inputs).map_err(|failure| {
                format!("step {number} of the replay fails: {}", failure.message)
            })?;
            if hash(&actions) != step.answer {
                return Err(format!("step {number} of the replay gives other actions than before"));
            }
        }
        Ok((guest, self.steps.len()))
    }
}

impl Size {
    fn add(&mut self, other: Self) {
        self.inputs += other.inputs;
        self.bytes += other.bytes;
    }
}

fn size_of_input(input: &Input) -> usize {
    let pairs = |pairs: &[(String, String)]| -> usize {
        pairs.iter().map(|(name, value)| name.len() + value.len()).sum()
    };
    INPUT_OVERHEAD
        + match input {
            Input::Bytes(bytes) => bytes.data.len(),
            Input::Message(message) => message.data.len(),
            Input::Command(command) => pairs(&command.arguments),
            Input::HttpResponse(response) => response.body.len() + pairs(&response.headers),
            _ => 0,
        }
}

fn hash(actions: &[Action]) -> u64 {
    let mut hasher = Mixer::default();
    actions.hash(&mut hasher);
    hasher.finish()
}

/// A quick hash of every action of every step. Not against malice: a guest that makes two answers collide
/// only fools its own replay.
#[derive(Default)]
struct Mixer(u64);

impl Mixer {
    fn mix(&mut self, word: u64) {
        // An odd number with as many ones as zeros, in no order: the golden ratio's.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.mix(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        // The low bits depend on few of the input's without this.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::types::Consumed;

    fn consumed(link: &str, offset: u64) -> Action {
        Action::Consumed(Consumed { link: link.into(), offset })
    }

    #[test]
    fn other_actions_have_another_hash() {
        let lists = [
            vec![],
            vec![consumed("ami", 1)],
            vec![consumed("ami", 2)],
            vec![consumed("am", 1)],
            vec![consumed("a link with a long name", 1)],
            vec![consumed("a link with a long nama", 1)],
            vec![consumed("ami", 1), consumed("ami", 2)],
            vec![consumed("ami", 2), consumed("ami", 1)],
            vec![Action::WakeAt(1)],
            vec![Action::ResyncEnd(1)],
        ];
        for (at, one) in lists.iter().enumerate() {
            assert_eq!(hash(one), hash(&one.clone()));
            for other in &lists[..at] {
                assert_ne!(hash(one), hash(other), "{one:?} {other:?}");
            }
        }
    }
}
