//! What a connector was told and what it answered, from a known state on.
//!
//! ```text
//! history (the steps a crash would replay) --closed segments--> ring, capture --> Recording
//!                                                                                   |  write, read
//!                                    replay <-- plugin + Recording <-- file --------'
//! ```
//!
//! While a connector runs, only hashes of its answers are kept; the answers themselves are made again, by
//! replaying, when a recording is written. That keeps the recorder off the hot path.

mod codec;
mod file;
mod keys;
mod numbers;
mod player;
mod redact;
mod replay;
mod ring;

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use crate::{
    FailureKind, Limits, Plugin,
    bindings::types::{Action, Config, Input, Now, Snapshot},
    guest::Seed,
};

pub use file::{ReadError, Unredacted, WriteError, WriteOptions, Written};
pub use replay::{Crash, LeftOut, ReplayError, ReplayReport, StepDifference, replay};

pub(crate) use numbers::Numbers;
pub(crate) use ring::{Capture, Ring};

/// Inputs of a connector with what its plugin answered, from a state it can be started in.
///
/// Cloning it is cheap. It holds no secret: a plugin never sees one.
#[derive(Clone, Debug)]
pub struct Recording {
    pub(crate) kind: RecordingKind,
    pub(crate) connector: String,
    pub(crate) segments: Vec<Segment>,
    /// Callers' numbers the connector knows of; what redaction looks for.
    pub(crate) numbers: Arc<Numbers>,
    /// It became as large as it may be, and says nothing of what came later.
    pub(crate) is_cut: bool,
    /// Numbers of callers were replaced in it.
    pub(crate) is_redacted: bool,
    /// Steps that answered otherwise when they were replayed to write it.
    pub(crate) unfaithful: u64,
}

/// Why a recording was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingKind {
    /// The last minutes, which are always kept.
    Ring,
    /// Somebody asked for it.
    Capture,
    /// The plugin failed: what came since its last snapshot, and the step that failed, last.
    Crash,
}

/// The component a part of a recording was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedPlugin {
    /// The manifest's id.
    pub id: String,
    /// The manifest's version.
    pub version: String,
    /// SHA-256 of the component, lower-case hex.
    pub sha256: String,
}

impl Recording {
    /// Gives a recording that was read from a file the components it was made with, by their SHA-256: without
    /// them it cannot be written redacted.
    pub fn attach(&mut self, plugins: &[Plugin]) {
        for segment in &mut self.segments {
            let sha256 = &segment.head.made_with.sha256;
            if let Some(plugin) = plugins.iter().find(|plugin| plugin.sha256() == sha256) {
                let head = Head { plugin: Some(plugin.clone()), ..(*segment.head).clone() };
                segment.head = Arc::new(head);
            }
        }
    }

    /// Why it was made.
    pub fn kind(&self) -> RecordingKind {
        self.kind
    }

    /// The connector's id.
    pub fn connector(&self) -> &str {
        &self.connector
    }

    /// The components it was made with, in order, each once.
    pub fn plugins(&self) -> Vec<RecordedPlugin> {
        let mut plugins: Vec<RecordedPlugin> = Vec::new();
        for segment in &self.segments {
            if !plugins.contains(&segment.head.made_with) {
                plugins.push(segment.head.made_with.clone());
            }
        }
        plugins
    }

    /// Steps in it, those that failed included.
    pub fn steps(&self) -> usize {
        self.segments.iter().flat_map(|segment| &segment.chunks).map(|chunk| chunk.len()).sum()
    }

    /// Were numbers of callers replaced in it?
    pub fn is_redacted(&self) -> bool {
        self.is_redacted
    }

    /// How many of its steps answered otherwise when they were replayed to write it: the plugin's snapshots do
    /// not hold all of its state then.
    pub fn unfaithful(&self) -> u64 {
        self.unfaithful
    }

    /// How its last step failed, if it did: a crash bundle ends so.
    pub fn failure(&self) -> Option<(FailureKind, &str)> {
        let last = self.segments.last()?.chunks.iter().rev().find_map(|chunk| chunk.last())?;
        match &last.answer {
            Answer::Failed(failure) => Some((failure.kind, &failure.message)),
            _ => None,
        }
    }

    /// Did it become as large as it may be, so that the end is missing?
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }
}

impl RecordingKind {
    pub(crate) const ALL: [Self; 3] = [Self::Ring, Self::Capture, Self::Crash];

    /// A stable kebab-case code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Capture => "capture",
            Self::Crash => "crash",
        }
    }
}

/// Steps of one instance between two snapshots.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) head: Arc<Head>,
    /// Segments of one life are of one instance, or of one and those that were made to be like it.
    pub(crate) life: u64,
    pub(crate) origin: Arc<Origin>,
    pub(crate) chunks: Vec<Arc<Vec<Step>>>,
}

/// What an instance was started with.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) made_with: RecordedPlugin,
    pub(crate) config: Config,
    pub(crate) limits: Limits,
    /// The component itself; none in a recording that was read from a file.
    pub(crate) plugin: Option<Plugin>,
}

/// The state a segment begins in.
#[derive(Debug)]
pub(crate) enum Origin {
    /// `init` from nothing.
    Start { now: Now, answer: Answer },
    /// `init` from a snapshot: of the version before, or of an instance that was thrown away.
    Restored { snapshot: Snapshot, now: Now, answer: Answer },
    /// The running instance gave this snapshot and goes on.
    Rebased { snapshot: Snapshot, now: Now },
    /// The running instance goes on; it gave a snapshot, which was not kept, at that time. Without the
    /// segment before, this one cannot be replayed.
    Continues { asked: Option<Now> },
}

/// One call into a guest.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) now: Now,
    pub(crate) call: Call,
    pub(crate) answer: Answer,
}

#[derive(Debug)]
pub(crate) enum Call {
    Step(Vec<Input>),
    /// It was asked for its state. Recorded only when it failed on that.
    Snapshot,
}

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// It returned; a quick hash of its actions, for use in this process.
    Hash(u64),
    /// It returned, but to inputs that were changed since.
    Unmade,
    /// It returned, but its actions could not be made again.
    Unknown(Box<str>),
    /// It returned these actions.
    Actions(Arc<[Action]>),
    /// It did not return.
    Failed(Box<Failed>),
}

#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
}

impl Head {
    pub(crate) fn new(seed: &Seed) -> Self {
        let manifest = seed.plugin.manifest();
        let made_with = RecordedPlugin {
            id: manifest.id.clone(),
            version: manifest.version.clone(),
            sha256: seed.plugin.sha256().to_owned(),
        };
        let (config, limits) = (seed.config.clone(), seed.limits.clone());
        Self { made_with, config, limits, plugin: Some(seed.plugin.clone()) }
    }
}

impl Origin {
    /// What `init` answered, where its answer counted.
    pub(crate) fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Start { answer, .. } | Self::Restored { answer, .. } => Some(answer),
            Self::Rebased { .. } | Self::Continues { .. } => None,
        }
    }

    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        match self {
            Self::Restored { snapshot, .. } | Self::Rebased { snapshot, .. } => Some(snapshot),
            Self::Start { .. } | Self::Continues { .. } => None,
        }
    }

    pub(crate) fn now(&self) -> Option<Now> {
        match self {
            Self::Start { now, .. } | Self::Restored { now, .. } | Self::Rebased { now, .. } => {
                Some(*now)
            }
            Self::Continues { asked } => *asked,
        }
    }

    /// Can a replay begin here?
    pub(crate) fn is_state(&self) -> bool {
        !matches!(self, Self::Continues { .. })
    }

    /// Bytes it keeps in memory.
    pub(crate) fn size(&self) -> usize {
        self.snapshot().map_or(0, |snapshot| snapshot.data.len())
    }
}

/// A quick hash of every action of every step. Not against malice: a guest that makes two answers collide
/// only fools its own replay.
pub(crate) fn quick_hash(actions: &[Action]) -> u64 {
    let mut hasher = Mixer::default();
    actions.hash(&mut hasher);
    hasher.finish()
}

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
            assert_eq!(quick_hash(one), quick_hash(&one.clone()));
            for other in &lists[..at] {
                assert_ne!(quick_hash(one), quick_hash(other), "{one:?} {other:?}");
            }
        }
    }
}
