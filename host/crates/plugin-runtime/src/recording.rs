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

mod numbers;
mod ring;

use std::sync::Arc;

use crate::{
    FailureKind, Limits, Plugin,
    bindings::types::{Action, Config, Input, Now, Snapshot},
    guest::Seed,
};

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
#[derive(Debug)]
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
    /// The running instance goes on. Without the segment before, this one cannot be replayed.
    Continues,
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
    /// Can a replay begin here?
    pub(crate) fn is_state(&self) -> bool {
        !matches!(self, Self::Continues)
    }

    /// Bytes it keeps in memory.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Restored { snapshot, .. } | Self::Rebased { snapshot, .. } => snapshot.data.len(),
            Self::Start { .. } | Self::Continues => 0,
        }
    }
}
