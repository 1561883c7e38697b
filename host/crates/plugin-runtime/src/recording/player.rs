//! An instance that goes through recorded steps again.

use std::sync::Arc;

use super::{Answer, Call, Head, Recording, Step};
use crate::{
    Limits, Plugin,
    bindings::types::{Action, Now, Snapshot},
    guest::{Failure, Guest, Seed},
    log::LogGate,
    recording::quick_hash,
};

/// One instance, and the way back to its state for when it fails.
pub(super) struct Player<'a> {
    seed: Seed,
    guest: Guest,
    /// What `guest` was made from; none is nothing.
    base: Option<Snapshot>,
    base_now: Now,
    since: Vec<&'a Step>,
}

impl<'a> Player<'a> {
    /// A new instance, with what its `init` answered.
    pub(super) fn start(
        plugin: &Plugin,
        head: &Head,
        snapshot: Option<&Snapshot>,
        now: Now,
    ) -> Result<(Self, Vec<Action>), Failure> {
        let seed = Seed {
            plugin: plugin.clone(),
            config: head.config.clone(),
            grants: Vec::new(),
            limits: bounded(&head.limits),
            log: Arc::new(LogGate::new(&head.config.id)),
        };
        let (guest, actions) = Guest::start(&seed, snapshot, now)?;
        let base = snapshot.cloned();
        Ok((Self { seed, guest, base, base_now: now, since: Vec::new() }, actions))
    }

    /// A step that returned when it was recorded. After a failure the player is of no use.
    pub(super) fn step(&mut self, step: &'a Step) -> Result<Vec<Action>, Failure> {
        let Call::Step(inputs) = &step.call else { return Ok(Vec::new()) };
        let actions = self.guest.replay(step.now, inputs)?;
        self.since.push(step);
        Ok(actions)
    }

    /// It was asked for its state here, and gave it.
    pub(super) fn ask(&mut self, now: Now) {
        if let Some(Ok(snapshot)) = self.guest.snapshot() {
            self.base = Some(snapshot);
            self.base_now = now;
            self.since.clear();
        }
    }

    /// A call that failed when it was recorded; none if it returns now. Its state is that from before it.
    pub(super) fn fail(&mut self, step: &'a Step) -> Result<Option<Failure>, Failure> {
        let failure = match &step.call {
            Call::Step(inputs) => self.guest.step(step.now, inputs).err(),
            Call::Snapshot => self.guest.snapshot().and_then(Result::err),
        };
        self.guest = self.rebuilt()?;
        Ok(failure)
    }

    fn rebuilt(&self) -> Result<Guest, Failure> {
        let (mut guest, _) = Guest::start(&self.seed, self.base.as_ref(), self.base_now)?;
        for step in &self.since {
            if let Call::Step(inputs) = &step.call {
                guest.replay(step.now, inputs)?;
            }
        }
        Ok(guest)
    }
}

/// Limits from outside, so that no file makes this process use all there is.
fn bounded(limits: &Limits) -> Limits {
    Limits {
        memory_mib: limits.memory_mib.min(4096),
        step_ms: limits.step_ms.min(5000),
        snapshot_kib: limits.snapshot_kib.min(256 << 10),
        effects_per_step: limits.effects_per_step.min(1 << 20),
        bytes_per_step: limits.bytes_per_step.min(256 << 20),
        // What it says was said when it was recorded.
        log_lines_per_sec: 0,
        ..limits.clone()
    }
}

/// All answers of a recording in full: made again where only their hash was kept.
pub(super) struct Answers {
    /// One per segment.
    pub(super) segments: Vec<SegmentAnswers>,
    /// Answers that were not those whose hash was kept: a snapshot that does not hold the whole state.
    pub(super) unfaithful: u64,
}

pub(super) struct SegmentAnswers {
    /// The instance begins here, as far as a reader of the file is concerned.
    pub(super) is_new: bool,
    /// What `init` answered, if that was recorded.
    pub(super) init: Option<Answer>,
    pub(super) steps: Vec<Answer>,
}

impl Answers {
    /// None: the component of a segment is not at hand.
    pub(super) fn make(recording: &Recording) -> Option<Self> {
        let mut answers = Self { segments: Vec::new(), unfaithful: 0 };
        let mut player: Option<Player<'_>> = None;
        let mut life = None;
        for segment in &recording.segments {
            let is_made = |answer: &Answer| !matches!(answer, Answer::Hash(_) | Answer::Unmade);
            let steps = || segment.chunks.iter().flat_map(|chunk| chunk.iter());
            let mut is_new = life != Some(segment.life);
            life = Some(segment.life);
            let recorded_init = segment.origin.answer().filter(|_| is_new);
            if recorded_init.is_none_or(is_made) && steps().all(|step| is_made(&step.answer)) {
                let init = recorded_init.cloned();
                let steps = steps().map(|step| step.answer.clone()).collect();
                answers.segments.push(SegmentAnswers { is_new, init, steps });
                player = None;
                continue;
            }
            let plugin = segment.head.plugin.as_ref()?;
            let mut why = "the plugin gave no state to make the answer again from".to_owned();
            let mut init = None;
            if is_new || (player.is_none() && segment.origin.is_state()) {
                is_new = true;
                player = None;
                let now = segment.origin.now().or(steps().next().map(|step| step.now));
                let now = now.unwrap_or(Now { monotonic_ns: 0, wall_ns: 0 });
                match Player::start(plugin, &segment.head, segment.origin.snapshot(), now) {
                    Ok((started, actions)) => {
                        init = recorded_init.map(|expected| {
                            answers.unfaithful += u64::from(!is_same(expected, &actions));
                            Answer::Actions(actions.into())
                        });
                        player = Some(started);
                    }
                    Err(failure) => why = failure.message,
                }
            } else if let (Some(now), Some(player)) = (segment.origin.now(), &mut player) {
                player.ask(now);
            }
            let steps = steps()
                .map(|step| {
                    if is_made(&step.answer) {
                        return step.answer.clone();
                    }
                    let Some(running) = &mut player else {
                        return Answer::Unknown(why.clone().into());
                    };
                    match running.step(step) {
                        Ok(actions) => {
                            answers.unfaithful += u64::from(!is_same(&step.answer, &actions));
                            Answer::Actions(actions.into())
                        }
                        Err(failure) => {
                            answers.unfaithful += 1;
                            player = None;
                            why = failure.message;
                            Answer::Unknown(why.clone().into())
                        }
                    }
                })
                .collect();
            answers.segments.push(SegmentAnswers { is_new, init, steps });
        }
        Some(answers)
    }
}

fn is_same(expected: &Answer, actions: &[Action]) -> bool {
    match expected {
        Answer::Hash(hash) => *hash == quick_hash(actions),
        _ => true,
    }
}
