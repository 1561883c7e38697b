//! How to make the guest's present state again: a base, and the steps that returned since. What is no longer
//! needed for that goes to the recorder.

use std::sync::Arc;

use crate::{
    Recording,
    bindings::types::{Action, Input, Now, Snapshot},
    guest::{Failure, Guest, Seed},
    recording::{
        Answer, Call, Capture, Failed, Head, Numbers, Origin, RecordingKind, Ring, Segment, Step,
        quick_hash,
    },
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
/// What a step costs beside its inputs.
const STEP_OVERHEAD: usize = 64;
/// Crash bundles kept until somebody takes them.
const MAX_BUNDLES: usize = 4;

/// The inputs since the last snapshot, and what the guest answered; behind it the recorder.
pub(super) struct History {
    head: Arc<Head>,
    origin: Arc<Origin>,
    /// Steps since the origin, oldest first: those already shared with a recording, and those not.
    sealed: Vec<Arc<Vec<Step>>>,
    steps: Vec<Step>,
    /// There is no way back to the present state.
    lost: Option<&'static str>,
    /// What is kept for the way back.
    kept: Size,
    /// What is kept, failed steps and the origin's snapshot included.
    open_bytes: usize,
    since_snapshot: Size,
    snapshot_bytes: usize,
    last_ns: u64,
    /// Tells instances of the guest apart. One that was made again after a failure is the same.
    life: u64,
    recorder: Recorder,
}

/// What is kept for people.
struct Recorder {
    ring: Ring,
    capture: Option<Capture>,
    bundles: Vec<Recording>,
}

#[derive(Clone, Copy, Default)]
struct Size {
    inputs: usize,
    bytes: usize,
}

impl History {
    /// Begins where `init` returned. The state of a guest that gives no snapshots cannot be made again.
    pub(super) fn begin(seed: &Seed, now: Now, actions: &[Action]) -> Self {
        Self::from_origin(
            seed,
            Origin::Start { now, answer: Answer::Hash(quick_hash(actions)) },
            now,
        )
    }

    /// Begins where a version took over, from the state of the one before it.
    pub(super) fn take_over(seed: &Seed, snapshot: Snapshot, now: Now, actions: &[Action]) -> Self {
        let snapshot_bytes = snapshot.data.len();
        let origin = Origin::Restored { snapshot, now, answer: Answer::Hash(quick_hash(actions)) };
        Self { snapshot_bytes, ..Self::from_origin(seed, origin, now) }
    }

    fn from_origin(seed: &Seed, origin: Origin, now: Now) -> Self {
        let ring = Ring::new(&seed.limits);
        Self {
            head: Arc::new(Head::new(seed)),
            open_bytes: origin.size(),
            origin: Arc::new(origin),
            sealed: Vec::new(),
            steps: Vec::new(),
            lost: (!seed.plugin.has_snapshot()).then_some(NO_STATE),
            kept: Size::default(),
            since_snapshot: Size::default(),
            snapshot_bytes: 0,
            last_ns: now.monotonic_ns,
            life: 0,
            recorder: Recorder { ring, capture: None, bundles: Vec::new() },
        }
    }

    /// Another instance goes on from here; what led to the one before it. The recorder goes on.
    pub(super) fn succeed(&mut self, next: Self) -> Self {
        let mut old = std::mem::replace(self, next);
        let segment = old.open();
        old.record(segment);
        self.life = old.life + 1;
        std::mem::swap(&mut self.recorder, &mut old.recorder);
        self.recorder.ring.set_limits(&self.head.limits);
        old
    }

    /// A step returned.
    pub(super) fn push(&mut self, now: Now, inputs: Vec<Input>, actions: &[Action]) {
        let size = Size { inputs: inputs.len(), bytes: inputs.iter().map(size_of_input).sum() };
        self.since_snapshot.add(size);
        self.last_ns = now.monotonic_ns;
        if self.lost.is_some() {
            if !self.is_recording() {
                return;
            }
            if self.open_bytes >= SNAPSHOT_BYTES || self.steps.len() >= SNAPSHOT_INPUTS {
                self.go_on_from(Origin::Continues { asked: None });
            }
        } else {
            self.kept.add(size);
            if self.kept.inputs > MAX_INPUTS || self.kept.bytes > MAX_BYTES {
                self.go_on_from(Origin::Continues { asked: None });
                self.lost = Some("the plugin gave no snapshot for too long");
            }
        }
        self.keep(
            Step { now, call: Call::Step(inputs), answer: Answer::Hash(quick_hash(actions)) },
            size,
        );
    }

    /// A step failed. It left no trace in the state, but an author wants to see it.
    pub(super) fn failed(&mut self, now: Now, inputs: &[Input], failure: &Failure) {
        let bytes = inputs.iter().map(size_of_input).sum();
        if self.open_bytes + bytes <= MAX_BYTES {
            self.keep_failed(now, Call::Step(inputs.to_vec()), failure, bytes);
        }
    }

    /// It failed when it was asked for its state.
    pub(super) fn failed_snapshot(&mut self, now: Now, failure: &Failure) {
        self.keep_failed(now, Call::Snapshot, failure, 0);
    }

    fn keep_failed(&mut self, now: Now, call: Call, failure: &Failure, bytes: usize) {
        let bytes = bytes + failure.message.len();
        let failed = Failed { kind: failure.kind, message: failure.message.clone() };
        let answer = Answer::Failed(Box::new(failed));
        self.keep(Step { now, call, answer }, Size { inputs: 1, bytes });
    }

    fn keep(&mut self, step: Step, size: Size) {
        self.last_ns = step.now.monotonic_ns;
        self.open_bytes += STEP_OVERHEAD + size.bytes;
        self.steps.push(step);
        self.recorder.ring.trim(self.open_bytes, self.last_ns);
    }

    /// Is it time for a snapshot?
    pub(super) fn is_snapshot_due(&self) -> bool {
        self.since_snapshot.inputs >= SNAPSHOT_INPUTS
            || self.since_snapshot.bytes
                >= (SNAPSHOT_RATIO * self.snapshot_bytes).clamp(SNAPSHOT_BYTES, MAX_BYTES / 2)
    }

    /// The guest's state is this now.
    pub(super) fn rebase(&mut self, snapshot: Snapshot, now: Now) {
        self.snapshot_bytes = snapshot.data.len();
        self.go_on_from(Origin::Rebased { snapshot, now });
        self.lost = None;
    }

    /// There is no snapshot now; ask again later.
    pub(super) fn postpone(&mut self) {
        self.since_snapshot = Size::default();
    }

    /// A new instance in the state after the last step that returned, and how many steps were replayed.
    pub(super) fn rebuild(&self, seed: &Seed) -> Result<(Guest, usize), String> {
        if let Some(why) = self.lost {
            return Err(why.to_owned());
        }
        let mut guest = match &*self.origin {
            Origin::Continues { .. } => return Err(NO_STATE.to_owned()),
            Origin::Start { now, answer } => {
                let (guest, actions) = Guest::start(seed, None, *now).map_err(|failure| {
                    format!("a new instance does not start: {}", failure.message)
                })?;
                if !is_same(answer, &actions) {
                    return Err("a new instance starts in another way".to_owned());
                }
                guest
            }
            // What it answers was answered when the snapshot was taken: wake-ups and links are ours.
            Origin::Restored { snapshot, now, .. } | Origin::Rebased { snapshot, now } => {
                Guest::start(seed, Some(snapshot), *now)
                    .map_err(|failure| format!("it refuses its own snapshot: {}", failure.message))?
                    .0
            }
        };
        let mut replayed = 0;
        for step in self.sealed.iter().flat_map(|chunk| chunk.iter()).chain(&self.steps) {
            let Step { now, call: Call::Step(inputs), answer: answer @ Answer::Hash(_) } = step
            else {
                continue;
            };
            let actions = guest.replay(*now, inputs).map_err(|failure| {
                format!("step {replayed} of the replay fails: {}", failure.message)
            })?;
            if !is_same(answer, &actions) {
                return Err(format!(
                    "step {replayed} of the replay gives other actions than before"
                ));
            }
            replayed += 1;
        }
        Ok((guest, replayed))
    }

    /// Bytes kept of the last minutes, without the present segment.
    pub(super) fn recording_bytes(&self) -> usize {
        self.recorder.ring.bytes()
    }

    /// What was kept of the last minutes.
    pub(super) fn recording(&mut self, numbers: &Numbers) -> Recording {
        self.recorder.ring.trim(self.open_bytes, self.last_ns);
        let open = self.open();
        let segments = self.recorder.ring.segments().cloned().chain([open]).collect();
        self.recorded(RecordingKind::Ring, segments, numbers, false)
    }

    /// Keeps everything from the present segment's beginning on, until so many bytes are kept.
    pub(super) fn begin_capture(&mut self, most_bytes: usize) {
        let segments = if self.origin.is_state() { Vec::new() } else { self.since_last_state() };
        self.recorder.capture = Some(Capture::new(segments, most_bytes));
    }

    /// How many bytes the capture has, and whether it became as large as it may be; none if there is none.
    pub(super) fn capture(&self) -> Option<(usize, bool)> {
        self.recorder.capture.as_ref().map(|capture| (capture.bytes(), capture.is_full()))
    }

    /// What was captured; none if nothing was to be.
    pub(super) fn end_capture(&mut self, numbers: &Numbers) -> Option<Recording> {
        let mut capture = self.recorder.capture.take()?;
        capture.push(&self.open(), self.open_bytes);
        let is_cut = capture.is_full();
        Some(self.recorded(RecordingKind::Capture, capture.into_segments(), numbers, is_cut))
    }

    /// The last step failed: keeps it with what led to it.
    pub(super) fn bundle(&mut self, numbers: &Numbers) {
        if self.recorder.bundles.len() == MAX_BUNDLES {
            return;
        }
        let mut segments =
            if self.origin.is_state() { Vec::new() } else { self.since_last_state() };
        segments.push(self.open());
        let bundle = self.recorded(RecordingKind::Crash, segments, numbers, false);
        self.recorder.bundles.push(bundle);
    }

    /// The bundles of the first crashes since this was last called.
    pub(super) fn take_bundles(&mut self) -> Vec<Recording> {
        std::mem::take(&mut self.recorder.bundles)
    }

    fn recorded(
        &self,
        kind: RecordingKind,
        segments: Vec<Segment>,
        numbers: &Numbers,
        is_cut: bool,
    ) -> Recording {
        let connector = self.head.config.id.clone();
        Recording {
            kind,
            connector,
            segments,
            numbers: Arc::new(numbers.clone()),
            is_cut,
            is_redacted: false,
            unfaithful: 0,
        }
    }

    fn is_recording(&self) -> bool {
        self.recorder.ring.is_on() || self.recorder.capture.is_some()
    }

    /// The ring's end, from the last state a replay can begin in.
    fn since_last_state(&self) -> Vec<Segment> {
        let mut segments: Vec<Segment> = Vec::new();
        for segment in self.recorder.ring.segments().rev() {
            segments.push(segment.clone());
            if segment.origin.is_state() {
                break;
            }
        }
        segments.reverse();
        segments
    }

    /// The present segment as it is now. Its steps are shared from now on.
    fn open(&mut self) -> Segment {
        if !self.steps.is_empty() {
            self.sealed.push(Arc::new(std::mem::take(&mut self.steps)));
        }
        Segment {
            head: self.head.clone(),
            life: self.life,
            origin: self.origin.clone(),
            chunks: self.sealed.clone(),
        }
    }

    fn record(&mut self, segment: Segment) {
        if let Some(capture) = &mut self.recorder.capture {
            capture.push(&segment, self.open_bytes);
        }
        self.recorder.ring.push(segment, self.open_bytes, self.last_ns);
    }

    /// Ends the present segment and begins another.
    fn go_on_from(&mut self, origin: Origin) {
        if self.is_recording() {
            let segment = self.open();
            self.record(segment);
        }
        self.steps.clear();
        self.sealed.clear();
        self.open_bytes = origin.size();
        self.origin = Arc::new(origin);
        (self.kept, self.since_snapshot) = (Size::default(), Size::default());
    }
}

const NO_STATE: &str = "the plugin cannot hand over its state (no `state` export)";

fn is_same(answer: &Answer, actions: &[Action]) -> bool {
    matches!(answer, Answer::Hash(expected) if *expected == quick_hash(actions))
}

impl Size {
    fn add(&mut self, other: Self) {
        self.inputs += other.inputs;
        self.bytes += other.bytes;
    }
}

pub(super) fn size_of_input(input: &Input) -> usize {
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
