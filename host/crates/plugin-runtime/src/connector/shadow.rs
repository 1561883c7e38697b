//! A second version gets the same inputs; its effects are compared with the real ones and dropped.
//!
//! Both may tell the same in different steps, because they consume bytes in their own way. So an effect of
//! the one waits a while for its like of the other before it counts as a difference.

use std::{collections::VecDeque, sync::Arc, time::Duration, time::Instant};

use calls::Now;
use serde::Serialize;

use super::{Connector, InstanceConfig, SwapError, Version, ghost::Ghost, swap::NoState};
use crate::{
    Outcome, Plugin,
    bindings::types::{self, Action, Input},
    convert::{self, printable},
    guest::{Failure, Guest, Seed},
    log::LogGate,
};

/// An effect waits so many steps for its like.
const PATIENCE: u64 = 64;
/// So many effects wait at most.
const MAX_WAITING: usize = 4096;
/// Differences that are shown; the others are only counted.
const MAX_DIFFERENCES: usize = 20;
/// Characters of an effect that are shown.
const MAX_SHOWN: usize = 500;

/// What a version does beside the one that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShadowReport {
    /// The version in the shadow.
    pub version: Version,
    /// Wall clock at its beginning, nanoseconds since the Unix epoch.
    pub since: u64,
    /// It began without the state of the running one, so it follows only connections made since.
    pub cold: bool,
    /// Steps of the running one that it followed.
    pub steps: u64,
    /// Effects both had.
    pub same: u64,
    /// Effects only the running one had.
    pub only_running: u64,
    /// Effects only the shadow had.
    pub only_shadow: u64,
    /// The first differences.
    pub differences: Vec<Difference>,
    /// Why it ended before it was told to: it failed, in its own words.
    pub failure: Option<String>,
    /// Duration of its longest step in microseconds.
    pub max_step_us: u64,
    /// Its linear memory.
    pub memory_bytes: u64,
}

/// An effect that one had and the other had not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// In which step of the shadow run, from 1.
    pub step: u64,
    /// The shadow had it; otherwise the running one.
    pub by_shadow: bool,
    /// The effect, readable, cut to 500 characters.
    pub effect: String,
}

/// A shadow run.
pub(super) struct Shadow {
    /// None: it failed.
    guest: Option<Guest>,
    ghost: Ghost,
    /// Steps of the running one that it did not follow yet.
    behind: Vec<(types::Now, Vec<Input>, Vec<Action>)>,
    running: Waiting,
    shadow: Waiting,
    report: ShadowReport,
}

/// Effects of the one that the other did not have yet, and the step they came in.
type Waiting = VecDeque<(u64, Action)>;

impl Connector {
    /// Lets another version, or another configuration, follow what comes in. Its steps are made after those
    /// of the running one, on the same thread. A shadow run that was on ends.
    pub fn begin_shadow(
        &mut self,
        plugin: &Plugin,
        config: InstanceConfig,
        now: Now,
    ) -> Result<(), SwapError> {
        self.check_successor(plugin, &config)?;
        self.clock = now.monotonic;
        // Its log lines are not those of the one that runs.
        let name = format!("{} (shadow)", config.id);
        let log = Arc::new(LogGate::new(&name));
        let seed = Seed::new(plugin, config, log);
        let failed = |failure: Failure| SwapError::Failed {
            connector: seed.config.id.clone(),
            version: Version::of(plugin),
            kind: failure.kind,
            message: failure.message,
        };
        let mut out = Outcome::default();
        let handed_over = self.hand_over(&seed, now, &mut out);
        self.owed.append(out);
        let (guest, actions, mut ghost, cold) = match handed_over {
            Ok((guest, actions, _)) => {
                let mut ghost = self.ghost();
                for (name, link) in &mut ghost.links {
                    if let Some(request) = plugin.manifest().link(name) {
                        link.take_terms(request.clone(), seed.is_granted("plain", name));
                    }
                }
                (guest, actions, ghost, false)
            }
            Err(NoState::Failed(failure)) => return Err(failed(failure)),
            Err(NoState::Refused(_)) => {
                let (guest, actions) =
                    Guest::start(&seed, None, convert::now(now)).map_err(failed)?;
                (guest, actions, Ghost::unconnected(&seed), true)
            }
        };
        ghost.take(&actions);
        let report = ShadowReport {
            version: Version::of(plugin),
            since: now.wall.0,
            cold,
            steps: 0,
            same: 0,
            only_running: 0,
            only_shadow: 0,
            differences: Vec::new(),
            failure: None,
            max_step_us: 0,
            memory_bytes: guest.memory_bytes(),
        };
        self.shadow = Some(Box::new(Shadow {
            guest: Some(guest),
            ghost,
            behind: Vec::new(),
            running: Waiting::new(),
            shadow: Waiting::new(),
            report,
        }));
        Ok(())
    }

    /// What the shadow did so far, or did until it failed.
    pub fn shadow(&self) -> Option<ShadowReport> {
        self.shadow.as_ref().map(|shadow| shadow.report.clone())
    }

    /// Ends the shadow run. Effects that still waited for their like count as differences.
    pub fn end_shadow(&mut self) -> Option<ShadowReport> {
        let mut shadow = self.shadow.take()?;
        shadow.give_up_waiting(u64::MAX);
        Some(shadow.report)
    }

    /// The shadow makes the steps that the running one made.
    pub(super) fn follow_in_shadow(&mut self, now: Now) {
        if let Some(shadow) = &mut self.shadow {
            shadow.catch_up(convert::now(now));
        }
    }

    /// When the shadow wants to be woken.
    pub(super) fn shadow_due(&self) -> Option<Duration> {
        let shadow = self.shadow.as_ref()?;
        shadow.guest.as_ref().and(shadow.ghost.wake_at)
    }

    /// The host's side of the running instance, as it is now.
    pub(super) fn ghost(&self) -> Ghost {
        Ghost {
            links: self.links.clone(),
            commands: self.commands.keys().copied().collect(),
            brackets: self.brackets.iter().copied().collect(),
            http_open: self.http_open.clone(),
            wake_at: self.wake_at,
        }
    }
}

impl Shadow {
    /// The running one made this step.
    pub(super) fn notice(&mut self, now: types::Now, inputs: &[Input], actions: &[Action]) {
        if self.guest.is_some() {
            let effects = actions.iter().filter(|action| is_effect(action)).cloned().collect();
            self.behind.push((now, inputs.to_vec(), effects));
        }
    }

    fn catch_up(&mut self, now: types::Now) {
        for (at, inputs, effects) in std::mem::take(&mut self.behind) {
            self.follow(at, &inputs, effects);
        }
        let monotonic = Duration::from_nanos(now.monotonic_ns);
        if self.ghost.wake_at.is_some_and(|at| at <= monotonic) {
            self.follow(now, &[], Vec::new());
        }
    }

    fn follow(&mut self, now: types::Now, inputs: &[Input], effects: Vec<Action>) {
        let Some(guest) = &mut self.guest else { return };
        let longest = &mut self.report.max_step_us;
        let answer = self.ghost.step(now, inputs, &mut |inputs| {
            let began = Instant::now();
            let answer = guest.step(now, &inputs);
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            *longest = (*longest).max(took);
            answer
        });
        // What it cannot know of is no difference.
        if self.report.cold && self.report.steps == 0 && !self.ghost.is_connected() {
            return;
        }
        self.report.memory_bytes = guest.memory_bytes();
        self.report.steps += 1;
        let step = self.report.steps;
        match answer {
            Ok(actions) => {
                for effect in effects {
                    let same = take_like(&mut self.shadow, &effect);
                    self.compared(same, effect, false, step);
                }
                for effect in actions.into_iter().filter(is_effect) {
                    let same = take_like(&mut self.running, &effect);
                    self.compared(same, effect, true, step);
                }
                self.give_up_waiting(step.saturating_sub(PATIENCE));
            }
            Err(Failure { kind, message }) => {
                self.report.failure = Some(format!("{}: {message}", kind.code()));
                self.guest = None;
                self.give_up_waiting(u64::MAX);
            }
        }
    }

    fn compared(&mut self, same: bool, effect: Action, by_shadow: bool, step: u64) {
        if same {
            self.report.same += 1;
            return;
        }
        let waiting = if by_shadow { &mut self.shadow } else { &mut self.running };
        waiting.push_back((step, effect));
        if waiting.len() > MAX_WAITING
            && let Some((step, effect)) = waiting.pop_front()
        {
            self.report.differ(step, by_shadow, &effect);
        }
    }

    /// Effects of that step and before wait no longer.
    fn give_up_waiting(&mut self, until: u64) {
        for (waiting, by_shadow) in [(&mut self.running, false), (&mut self.shadow, true)] {
            while let Some((step, effect)) = waiting.pop_front_if(|(step, _)| *step <= until) {
                self.report.differ(step, by_shadow, &effect);
            }
        }
    }
}

impl ShadowReport {
    fn differ(&mut self, step: u64, by_shadow: bool, effect: &Action) {
        let count = if by_shadow { &mut self.only_shadow } else { &mut self.only_running };
        *count += 1;
        if self.differences.len() < MAX_DIFFERENCES {
            self.differences.push(Difference { step, by_shadow, effect: shown(effect) });
        }
    }
}

/// What is consumed and when it wakes up is an instance's own business.
fn is_effect(action: &Action) -> bool {
    !matches!(action, Action::Consumed(_) | Action::WakeAt(_))
}

fn take_like(waiting: &mut Waiting, effect: &Action) -> bool {
    let found = waiting.iter().position(|(_, other)| other == effect);
    found.is_some_and(|at| waiting.remove(at).is_some())
}

fn shown(effect: &Action) -> String {
    let text = match effect {
        Action::Send(send) => {
            let parts = send.parts.iter().map(|part| match part {
                types::Part::Literal(bytes) => printable(bytes),
                types::Part::Secret(secret) => format!("<{} as {}>", secret.name, secret.form),
            });
            format!("send {}: {}", send.link, parts.collect::<String>())
        }
        Action::Event(event) => format!("{:?}", event.fact),
        other => format!("{other:?}"),
    };
    text.chars().take(MAX_SHOWN).collect()
}
