//! A new version proves itself: until then the instance before it is kept, with the inputs since.
//!
//! ```text
//!          failed, or broke a law                time is up, confirmed, too much to keep
//! probation ----------------------> old instance      probation -----> old instance dropped
//!                                   replays the inputs since, effects off
//!                                   gets the failing ones, effects on
//!                                   is told to look at the PBX anew (a `gap` of no bytes)
//! ```
//!
//! The old instance consumes bytes in its own way and wakes up when it wants, so what it gets is made anew
//! from what came in ([`Ghost`]).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use calls::{
    Now,
    event::{CommandEnd, Problem},
};
use serde::Serialize;

use super::{
    Connector, History, Pending, SwapError, Version, ghost::Ghost, history::size_of_input,
};
use crate::{
    Effect, Incident, Outcome,
    bindings::{
        facts::Fact,
        types::{self, Action, Input},
    },
    convert::{self, cut},
    guest::{Guest, Seed},
};

/// What is kept of the inputs since the swap; with more of it the new version has proved itself.
const MAX_KEPT: usize = 32 << 20;
/// What a step costs beside its inputs.
const STEP_OVERHEAD: usize = 64;
/// An outcome that is so late may still be on its way.
const OUTCOME_GRACE: Duration = Duration::from_secs(1);
/// Ended legs that are remembered, to know one that ends again.
const MAX_ENDED: usize = 4096;
/// Longer names of legs are not remembered.
const MAX_LEG_ID: usize = 256;

/// A swap that can still be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbationView {
    /// The version that is kept.
    pub old: Version,
    /// The version that runs.
    pub new: Version,
    /// Monotonic time at which it has passed.
    pub until: Duration,
    /// Steps since the swap.
    pub steps: usize,
    /// What is kept of them. Beyond a limit the probation ends well.
    pub bytes: usize,
}

/// What it takes to go back.
pub(super) struct Probation {
    view: ProbationView,
    /// Monotonic time of the swap.
    began: Duration,
    old: Predecessor,
    steps: Vec<(types::Now, Vec<Input>)>,
    /// Of each link: epoch, and up to where its bytes are kept.
    kept: BTreeMap<String, (u64, u64)>,
}

/// The instance before, as it was at the swap.
pub(super) struct Predecessor {
    pub(super) seed: Seed,
    pub(super) guest: Guest,
    pub(super) history: History,
    pub(super) ghost: Ghost,
}

impl Probation {
    pub(super) fn new(old: Predecessor, new: Version, now: Now, lasts: Duration) -> Self {
        let view = ProbationView {
            old: Version::of(&old.seed.plugin),
            new,
            until: now.monotonic.saturating_add(lasts),
            steps: 0,
            bytes: 0,
        };
        Self { view, began: now.monotonic, old, steps: Vec::new(), kept: BTreeMap::new() }
    }

    pub(super) fn view(&self) -> &ProbationView {
        &self.view
    }

    /// A step of the new version returned.
    pub(super) fn keep(&mut self, now: types::Now, inputs: &[Input]) {
        let inputs: Vec<Input> = inputs.iter().map(|input| self.only_news(input)).collect();
        self.view.steps += 1;
        self.view.bytes += STEP_OVERHEAD + inputs.iter().map(size_of_input).sum::<usize>();
        self.steps.push((now, inputs));
    }

    /// Without the bytes that are kept already, because they were not consumed and came again.
    fn only_news(&mut self, input: &Input) -> Input {
        let Input::Bytes(bytes) = input else { return input.clone() };
        let end = bytes.offset + bytes.data.len() as u64;
        let kept = match self.kept.insert(bytes.link.clone(), (bytes.epoch, end)) {
            Some((epoch, kept)) if epoch == bytes.epoch => kept.clamp(bytes.offset, end),
            _ => bytes.offset,
        };
        let known = usize::try_from(kept - bytes.offset).unwrap_or(usize::MAX);
        Input::Bytes(types::Bytes {
            link: bytes.link.clone(),
            epoch: bytes.epoch,
            offset: kept,
            data: bytes.data.get(known..).unwrap_or_default().to_vec(),
        })
    }
}

/// Legs that ended lately.
#[derive(Default)]
pub(super) struct EndedLegs {
    names: BTreeSet<String>,
    order: VecDeque<String>,
}

impl EndedLegs {
    fn insert(&mut self, leg: &str) {
        // So long a name is cut before anybody else hears of it; here it would only be memory.
        if leg.len() > MAX_LEG_ID || !self.names.insert(leg.to_owned()) {
            return;
        }
        self.order.push_back(leg.to_owned());
        if self.order.len() > MAX_ENDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
    }

    /// It lives again, or its name does.
    fn remove(&mut self, leg: &str) {
        self.names.remove(leg);
    }

    /// These actions happened.
    pub(super) fn follow(&mut self, actions: &[Action]) {
        for (leg, is_over) in actions.iter().filter_map(life) {
            if is_over { self.insert(leg) } else { self.remove(leg) }
        }
    }

    /// A leg that would end although it is over.
    fn twice<'a>(&self, actions: &'a [Action]) -> Option<&'a str> {
        let mut here = BTreeMap::new();
        actions.iter().filter_map(life).find_map(|(leg, is_over)| {
            let was_over = here.insert(leg, is_over).unwrap_or_else(|| self.names.contains(leg));
            (is_over && was_over).then_some(leg)
        })
    }
}

/// The leg an action is about, and whether it is over by that.
fn life(action: &Action) -> Option<(&str, bool)> {
    match action {
        Action::Event(types::Event { fact: Fact::LegEnded(ended), .. }) => Some((&ended.leg, true)),
        Action::Event(types::Event { fact: Fact::LegStarted(leg), .. })
        | Action::ResyncItem(types::ResyncItem { fact: Fact::LegStarted(leg), .. }) => {
            Some((&leg.id, false))
        }
        _ => None,
    }
}

impl Connector {
    /// The probation that is on.
    pub fn probation(&self) -> Option<&ProbationView> {
        self.probation.as_ref().map(|probation| probation.view())
    }

    /// Ends the probation well: the old instance is let go.
    pub fn confirm(&mut self) {
        self.probation = None;
    }

    /// Goes back to the version before, as if the new one had failed now.
    pub fn roll_back(&mut self, reason: &str, now: Now) -> Result<Outcome, SwapError> {
        if self.probation.is_none() {
            return Err(SwapError::NoProbation { connector: self.seed.config.id.clone() });
        }
        let mut out = std::mem::take(&mut self.owed);
        self.clock = now.monotonic;
        self.go_back(reason.to_owned(), Vec::new(), now, &mut out);
        self.work(now, &mut out);
        Ok(out)
    }

    /// A law that these actions of the new version would break. Outside of probation nobody asks: the
    /// switch enforces them.
    pub(super) fn breach(&self, actions: &[Action]) -> Option<String> {
        self.probation.as_ref()?;
        let leg = self.ended_legs.twice(actions)?;
        Some(format!("it ended the leg {} twice", cut(leg.to_owned())))
    }

    /// Ends the probation if it is time to, one way or the other. True: there is something to do now.
    pub(super) fn judge(&mut self, now: Now, out: &mut Outcome) -> bool {
        let Some(probation) = &self.probation else { return false };
        let overdue = self.commands.iter().find(|(_, deadline)| {
            let late = deadline.saturating_add(OUTCOME_GRACE);
            **deadline >= probation.began && late <= now.monotonic
        });
        if let Some((id, _)) = overdue {
            self.go_back(format!("it did not end the command {id}"), Vec::new(), now, out);
            return true;
        }
        if probation.view.until <= now.monotonic || probation.view.bytes > MAX_KEPT {
            out.incidents.push(Incident::ProbationPassed { version: probation.view.new.clone() });
            self.probation = None;
        }
        false
    }

    /// When [`judge`](Self::judge) has something to do.
    pub(super) fn judgement_due(&self) -> Option<Duration> {
        let probation = self.probation.as_ref()?;
        let deadlines = self.commands.values().filter(|deadline| **deadline >= probation.began);
        let overdue = deadlines.min().map(|deadline| deadline.saturating_add(OUTCOME_GRACE));
        Some(overdue.map_or(probation.view.until, |at| at.min(probation.view.until)))
    }

    /// The old instance runs again, in the state it would have now; `failing` it still has to see.
    pub(super) fn go_back(
        &mut self,
        reason: String,
        failing: Vec<Input>,
        now: Now,
        out: &mut Outcome,
    ) {
        let Some(probation) = self.probation.take() else { return };
        let Probation { view, old, steps, .. } = *probation;
        let Predecessor { seed, mut guest, mut history, mut ghost } = old;
        let before = ghost.commands.clone();
        let mut outcomes = BTreeMap::new();
        let mut lost = None;
        for (number, (at, inputs)) in steps.iter().enumerate() {
            let answer = ghost.step(*at, inputs, &mut |inputs| {
                let actions = guest.replay(*at, &inputs)?;
                history.push(*at, inputs, &actions);
                Ok(actions)
            });
            match answer {
                Ok(actions) => outcomes.extend(actions.into_iter().filter_map(outcome)),
                Err(failure) => {
                    let message = failure.message;
                    lost = Some(format!("step {number} since the swap fails in it: {message}"));
                    break;
                }
            }
        }
        // Its recording goes on from here, not from before the swap.
        let snapshot = guest.snapshot().and_then(Result::ok);
        let is_rebased =
            snapshot.map(|snapshot| history.rebase(snapshot, convert::now(now))).is_some();
        self.seed = seed;
        self.guest = Some(guest);
        drop(self.history.succeed(history));
        self.take_terms();
        self.usage.rollbacks += 1;
        let (from, to, reason) = (view.new, view.old, cut(reason));
        out.incidents.push(Incident::RolledBack { from, to, reason, replayed: steps.len() });
        let adopted = lost.map_or_else(|| self.adopt_links(&mut ghost), Err);
        if let Err(reason) = adopted {
            return self.cold_start(reason, now, out);
        }
        self.settle_commands(&before, outcomes, &failing, &ghost, out);
        let never_sent: Vec<u64> = ghost.http_open.difference(&self.http_open).copied().collect();
        self.brackets.clear();
        self.void_brackets = ghost.brackets;
        self.wake_at = ghost.wake_at;
        self.http_open = ghost.http_open;
        self.ask_for_resync();
        for id in never_sent {
            let error = "the request was not made, because a version of the plugin was rolled back";
            self.queue.push_front(Pending::Prepared(Input::HttpResponse(refusal(
                id,
                "rolled-back",
                error,
            ))));
            self.http_open.remove(&id);
        }
        for input in failing.into_iter().rev() {
            self.queue.push_front(Pending::again(input));
        }
        if !is_rebased {
            let _ = self.rebase(now, out);
        }
    }

    /// Bytes that the old instance did not deal with come again.
    fn adopt_links(&mut self, ghost: &mut Ghost) -> Result<(), String> {
        for (name, link) in &mut self.links {
            if let Some(other) = ghost.links.remove(name)
                && !link.adopt(other)
            {
                return Err(format!("it would have closed link `{name}` since the swap"));
            }
        }
        Ok(())
    }

    /// The old instance knows all open commands, but what it did for those since the swap did not happen.
    fn settle_commands(
        &mut self,
        before: &BTreeSet<u64>,
        mut outcomes: BTreeMap<u64, Action>,
        failing: &[Input],
        ghost: &Ghost,
        out: &mut Outcome,
    ) {
        let goes_on = |id: u64| {
            let comes_again = |input: &Input| matches!(input, Input::Command(c) if c.id == id);
            failing.iter().any(comes_again) || before.contains(&id) && ghost.commands.contains(&id)
        };
        let open: Vec<u64> = self.commands.keys().copied().collect();
        for id in open {
            if before.contains(&id)
                && let Some(outcome) = outcomes.remove(&id)
            {
                self.apply(vec![outcome], out);
            } else if !goes_on(id) {
                self.commands.remove(&id);
                out.effects.push(unknown(id));
            }
        }
        let let_go = ghost.commands.iter().filter(|id| !self.commands.contains_key(id));
        self.let_go = let_go.copied().collect();
    }

    /// Provokes a resync on every connection.
    fn ask_for_resync(&mut self) {
        for (name, link) in self.links.iter().rev() {
            let (Some(epoch), Some((offset, _))) = (link.open_epoch(), link.marks()) else {
                continue;
            };
            self.queue.push_front(Pending::More(name.clone()));
            let gap = types::Gap { link: name.clone(), epoch, offset, bytes: 0 };
            self.queue.push_front(Pending::Prepared(Input::Gap(gap)));
        }
    }
}

fn outcome(action: Action) -> Option<(u64, Action)> {
    match &action {
        Action::CommandOutcome(outcome) => Some((outcome.id, action)),
        _ => None,
    }
}

fn unknown(id: u64) -> Effect {
    let message = "the version of the plugin that was given the command was rolled back".to_owned();
    let problem = Problem { code: "plugin-rolled-back".to_owned(), message, retryable: false };
    Effect::CommandOutcome {
        id,
        end: CommandEnd::Unknown,
        problem: Some(problem),
        detail: String::new(),
    }
}

/// The answer to a request that was not made.
pub(super) fn refusal(id: u64, code: &str, message: &str) -> types::HttpResponse {
    types::HttpResponse {
        id,
        status: 0,
        headers: Vec::new(),
        body: Vec::new(),
        error: Some(types::Error {
            code: code.to_owned(),
            message: message.to_owned(),
            retryable: true,
        }),
    }
}
