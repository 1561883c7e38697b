//! Going through a recording again, and saying what was different.

use super::{
    Answer, Call, Failed, Origin, RecordedPlugin, Recording, Segment, Step, codec::Wire,
    file::EffectsHash, player::Player, quick_hash,
};
use crate::{
    FailureKind, Plugin,
    bindings::types::{Action, Input, Now},
    guest::Failure,
};

/// Crashes told one by one; the others are only counted.
const MAX_CRASHES: usize = 100;

/// What a replay showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayReport {
    /// Calls of the plugin that were made: its starts and its steps.
    pub steps: u64,
    /// SHA-256 over all answers given now, lower-case hex.
    pub effects_sha256: String,
    /// The same over the answers recorded for these calls; none if only their quick hashes were kept.
    pub expected_sha256: Option<String>,
    /// How many answers were different.
    pub differences: u64,
    /// The first of them.
    pub first_difference: Option<StepDifference>,
    /// Calls that did not return, as recorded or only now; the first hundred.
    pub crashes: Vec<Crash>,
    /// What no component was given for.
    pub left_out: Vec<LeftOut>,
    /// What a reader should know to judge the rest.
    pub notes: Vec<String>,
}

/// An answer that is not the recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepDifference {
    /// Counted from 1 over the calls in the recording.
    pub step: u64,
    /// What the plugin was given, a line each.
    pub inputs: Vec<String>,
    /// What it answered when it was recorded, a line for each action.
    pub expected: Vec<String>,
    /// What it answers now.
    pub got: Vec<String>,
}

/// A call that did not return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Counted from 1 over the calls in the recording.
    pub step: u64,
    /// How.
    pub kind: FailureKind,
    /// What the plugin or the engine says, with the WASM backtrace if there is one.
    pub message: String,
    /// Did it fail when it was recorded?
    pub was_recorded: bool,
    /// Does it fail now?
    pub happened: bool,
}

/// A part of the recording that was not replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The component it was made with.
    pub plugin: RecordedPlugin,
    /// Calls in it.
    pub steps: u64,
}

/// A replay that did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// None of the components given has anything to do with it.
    #[error(
        "the recording was made with {}; give that component, or another version of that plugin",
        .wanted.iter().map(described).collect::<Vec<_>>().join(" and ")
    )]
    OtherPlugin {
        /// The components it was made with.
        wanted: Vec<RecordedPlugin>,
    },
    /// There is nothing in it.
    #[error("the recording is empty")]
    Empty,
}

fn described(plugin: &RecordedPlugin) -> String {
    format!("{} {} (sha256 {})", plugin.id, plugin.version, plugin.sha256)
}

impl ReplayReport {
    /// Did the plugin answer everything as it was recorded?
    pub fn is_same(&self) -> bool {
        self.differences == 0
    }
}

/// Gives plugins the inputs of a recording, up to and including that call, and compares what they answer.
///
/// Each part of a recording goes to the component with its SHA-256. One that is given, but that the recording
/// does not know, takes the parts of all versions of the plugin with its id. Parts nobody takes are left out.
pub fn replay(
    plugins: &[Plugin],
    recording: &Recording,
    until: Option<u64>,
) -> Result<ReplayReport, ReplayError> {
    if recording.segments.is_empty() {
        return Err(ReplayError::Empty);
    }
    let wanted = recording.plugins();
    let takes = |segment: &Segment| component_for(plugins, &wanted, segment);
    if !recording.segments.iter().any(|segment| takes(segment).is_some()) {
        return Err(ReplayError::OtherPlugin { wanted });
    }
    let mut replay = Replay::new(until.unwrap_or(u64::MAX), recording.unfaithful);
    let mut life = None;
    for segment in &recording.segments {
        let is_new = life != Some(segment.life);
        life = Some(segment.life);
        match takes(segment) {
            Some(plugin) => replay.segment(plugin, segment, is_new),
            None => replay.leave_out(segment, is_new),
        }
        if replay.is_over() {
            break;
        }
    }
    Ok(replay.report())
}

fn component_for<'p>(
    plugins: &'p [Plugin],
    wanted: &[RecordedPlugin],
    segment: &Segment,
) -> Option<&'p Plugin> {
    let made_with = &segment.head.made_with;
    let is_other = |plugin: &&Plugin| {
        plugin.manifest().id == made_with.id
            && wanted.iter().all(|known| known.sha256 != plugin.sha256())
    };
    let exact = plugins.iter().find(|plugin| plugin.sha256() == made_with.sha256);
    exact.or_else(|| plugins.iter().find(is_other))
}

struct Replay<'a> {
    until: u64,
    /// Calls in the recording so far, those left out included.
    number: u64,
    player: Option<Player<'a>>,
    got: EffectsHash,
    expected: EffectsHash,
    is_expected_known: bool,
    report: ReplayReport,
    scratch: String,
}

impl<'a> Replay<'a> {
    fn new(until: u64, unfaithful: u64) -> Self {
        let mut notes = Vec::new();
        if unfaithful > 0 {
            notes.push(format!(
                "{unfaithful} steps had answered otherwise before the recording was written: the plugin's \
                 snapshots do not hold all of its state"
            ));
        }
        Self {
            until,
            number: 0,
            player: None,
            got: EffectsHash::default(),
            expected: EffectsHash::default(),
            is_expected_known: true,
            report: ReplayReport {
                steps: 0,
                effects_sha256: String::new(),
                expected_sha256: None,
                differences: 0,
                first_difference: None,
                crashes: Vec::new(),
                left_out: Vec::new(),
                notes,
            },
            scratch: String::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.number >= self.until
    }

    fn leave_out(&mut self, segment: &Segment, is_new: bool) {
        self.player = None;
        let steps = segment.chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>()
            + u64::from(is_new && segment.origin.answer().is_some());
        self.number += steps;
        let plugin = segment.head.made_with.clone();
        match self.report.left_out.iter_mut().find(|left| left.plugin == plugin) {
            Some(left) => left.steps += steps,
            None => self.report.left_out.push(LeftOut { plugin, steps }),
        }
    }

    fn segment(&mut self, plugin: &Plugin, segment: &'a Segment, is_new: bool) {
        if is_new {
            self.start(plugin, segment);
        } else if let (Some(player), Some(now)) = (&mut self.player, segment.origin.now()) {
            player.ask(now);
        }
        for step in segment.chunks.iter().flat_map(|chunk| chunk.iter()) {
            if self.is_over() {
                return;
            }
            self.number += 1;
            match (&step.answer, &step.call) {
                (Answer::Failed(failed), _) => self.failing(step, failed),
                (Answer::Unknown(why), _) => {
                    self.player = None;
                    self.note(format!(
                        "step {} and those up to the next start are not replayed: when the recording was \
                         written, their answers could not be made again: {why}",
                        self.number
                    ));
                }
                _ => self.step(step),
            }
        }
    }

    fn start(&mut self, plugin: &Plugin, segment: &'a Segment) {
        self.player = None;
        let first = || segment.chunks.iter().find_map(|chunk| chunk.first());
        let now = segment.origin.now().or_else(|| first().map(|step| step.now));
        let now = now.unwrap_or(Now { monotonic_ns: 0, wall_ns: 0 });
        if matches!(*segment.origin, Origin::Continues { .. }) {
            self.note(
                "the beginning is missing, and the plugin hands over no state: it begins from nothing here, and \
                 need not answer as it did"
                    .to_owned(),
            );
        }
        let recorded = segment.origin.answer();
        self.number += u64::from(recorded.is_some());
        let given = || match segment.origin.snapshot() {
            None => vec!["init without a snapshot".to_owned()],
            Some(snapshot) => {
                let (format, version, bytes) =
                    (&snapshot.format, snapshot.version, snapshot.data.len());
                vec![format!("init with a snapshot `{format}` {version} of {bytes} bytes")]
            }
        };
        match Player::start(plugin, &segment.head, segment.origin.snapshot(), now) {
            Ok((player, actions)) => {
                self.player = Some(player);
                if let Some(recorded) = recorded {
                    self.compare(recorded, Ok(actions), given);
                }
            }
            Err(failure) => {
                self.compare(recorded.unwrap_or(&Answer::Unmade), Err(failure), given);
            }
        }
    }

    fn step(&mut self, step: &'a Step) {
        let Some(player) = &mut self.player else { return };
        let answer = player.step(step);
        if answer.is_err() {
            self.player = None;
        }
        self.compare(&step.answer, answer, || given(step));
    }

    /// A call that failed when it was recorded should fail again, and leave no trace.
    fn failing(&mut self, step: &'a Step, recorded: &Failed) {
        let Some(player) = &mut self.player else { return };
        let failure = match player.fail(step) {
            Ok(failure) => failure,
            Err(lost) => {
                self.player = None;
                self.note(format!(
                    "after step {} the state could not be made again: {}",
                    self.number, lost.message
                ));
                None
            }
        };
        let happened = failure.as_ref().is_some_and(|failure| failure.kind == recorded.kind);
        self.crash(Crash {
            step: self.number,
            kind: recorded.kind,
            message: failure
                .as_ref()
                .map_or_else(|| recorded.message.clone(), |failure| failure.message.clone()),
            was_recorded: true,
            happened,
        });
        // How fast a machine is and what the host does wrong are not the plugin's.
        let by_itself = !matches!(recorded.kind, FailureKind::Deadline | FailureKind::HostPanic);
        let expected = Answer::Failed(Box::new(recorded.clone()));
        if happened || !by_itself {
            if !happened {
                self.note(format!(
                    "step {} was killed ({}) when it was recorded, and is not here: that depends on the machine. \
                     It left no trace, so the replay goes on",
                    self.number,
                    recorded.kind.code()
                ));
            }
            self.count(&expected, &expected);
            return;
        }
        let got = match failure {
            Some(failure) => failed(failure),
            None => Answer::Unknown("it returns".into()),
        };
        self.differ(&expected, &got, || given(step));
        self.count(&expected, &got);
    }

    fn compare(
        &mut self,
        expected: &Answer,
        answer: Result<Vec<Action>, Failure>,
        given: impl FnOnce() -> Vec<String>,
    ) {
        let is_same = match (expected, &answer) {
            (Answer::Hash(hash), Ok(actions)) => *hash == quick_hash(actions),
            (Answer::Actions(expected), Ok(actions)) => **expected == **actions,
            (Answer::Unknown(_), _) => true,
            _ => false,
        };
        let got = match answer {
            Ok(actions) => Answer::Actions(actions.into()),
            Err(failure) => {
                let Failure { kind, message } = failure.clone();
                let step = self.number;
                let (was_recorded, happened) = (false, true);
                self.crash(Crash { step, kind, message, was_recorded, happened });
                self.note(format!(
                    "the replay stops at step {step}, where the plugin fails and did not before"
                ));
                failed(failure)
            }
        };
        if !is_same {
            self.differ(expected, &got, given);
        }
        self.count(expected, &got);
    }

    fn differ(&mut self, expected: &Answer, got: &Answer, given: impl FnOnce() -> Vec<String>) {
        self.report.differences += 1;
        if self.report.first_difference.is_none() {
            self.report.first_difference = Some(StepDifference {
                step: self.number,
                inputs: given(),
                expected: lines(expected),
                got: lines(got),
            });
        }
    }

    fn count(&mut self, expected: &Answer, got: &Answer) {
        self.report.steps += 1;
        self.is_expected_known &= !matches!(expected, Answer::Hash(_) | Answer::Unmade);
        self.scratch.clear();
        self.expected.answer(expected, &mut self.scratch);
        self.scratch.clear();
        self.got.answer(got, &mut self.scratch);
    }

    fn crash(&mut self, crash: Crash) {
        if self.report.crashes.len() < MAX_CRASHES {
            self.report.crashes.push(crash);
        }
    }

    fn note(&mut self, note: String) {
        if self.report.notes.len() < MAX_CRASHES {
            self.report.notes.push(note);
        }
    }

    fn report(mut self) -> ReplayReport {
        self.report.effects_sha256 = self.got.hex();
        self.report.expected_sha256 = self.is_expected_known.then(|| self.expected.hex());
        self.report
    }
}

fn failed(failure: Failure) -> Answer {
    let Failure { kind, message } = failure;
    Answer::Failed(Box::new(Failed { kind, message }))
}

fn given(step: &Step) -> Vec<String> {
    match &step.call {
        Call::Step(inputs) => inputs.iter().map(text::<Input>).collect(),
        Call::Snapshot => vec!["snapshot".to_owned()],
    }
}

fn lines(answer: &Answer) -> Vec<String> {
    match answer {
        Answer::Actions(actions) => actions.iter().map(text::<Action>).collect(),
        Answer::Failed(failed) => {
            vec![format!("failed ({}): {}", failed.kind.code(), failed.message)]
        }
        Answer::Unknown(why) => vec![format!("({why})")],
        Answer::Hash(_) | Answer::Unmade => vec!["(only a hash of it was kept)".to_owned()],
    }
}

fn text<T: Wire>(value: &T) -> String {
    let mut text = String::new();
    value.write(&mut text);
    text
}
