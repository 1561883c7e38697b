//! What happens when a step fails.
//!
//! ```text
//! step failed --> new instance: base + replay, effects off --> its inputs one at a time, effects on
//!                    | impossible                                  | fails again
//!                    v                                             v
//!               cold start                        bytes: shortest failing prefix is taken out
//!                    | fails                      command: failed       wake, answers: left out
//!                    v                            link up or down, gap: cold start
//!                 given up
//! ```

use std::time::Duration;

use calls::{
    Now,
    event::{CommandEnd, Problem},
};

use super::{Connector, History, Pending, failed};
use crate::{
    Effect, FailureKind, Incident, Input, Outcome,
    bindings::types,
    convert::{self, cut},
    guest::{Failure, Guest},
};

/// A wake-up that fails is tried again after this.
const WAKE_AGAIN: Duration = Duration::from_secs(10);
/// The window of the breaker.
const MINUTE: Duration = Duration::from_secs(60);
/// Most time per minute that a guest may burn until its deadline.
const MAX_BURNT: Duration = Duration::from_secs(10);

/// Counts failures, so that one that comes again and again does not become our only work.
#[derive(Default)]
pub(super) struct Breaker {
    began: Duration,
    failures: u32,
    burnt: Duration,
}

impl Breaker {
    /// Forgets what is a minute old.
    fn look_at(&mut self, now: Now) {
        if now.monotonic.saturating_sub(self.began) >= MINUTE {
            *self = Self { began: now.monotonic, ..Self::default() };
        }
    }
}

/// The connector does not go on with what it was doing: it started anew, or was given up.
pub(super) struct Interrupted;

impl Connector {
    /// The step with these inputs failed.
    pub(super) fn recover(
        &mut self,
        inputs: Vec<types::Input>,
        failure: Failure,
        now: Now,
        out: &mut Outcome,
    ) {
        let Failure { kind, message } = failure;
        self.history.bundle(&self.numbers);
        let reason = format!("it failed in a step ({}): {}", kind.code(), brief(&message));
        out.incidents.push(Incident::Trapped { kind, message });
        if self.probation.is_some() {
            return self.go_back(reason, inputs, now, out);
        }
        self.breaker.look_at(now);
        self.breaker.failures += 1;
        if self.breaker.failures > self.seed.limits.recoveries_per_minute {
            let most = self.seed.limits.recoveries_per_minute;
            self.give_up(
                format!("the plugin failed more than {most} times within a minute"),
                now,
                out,
            );
            return;
        }
        let _ = self.one_at_a_time(inputs, kind, now, out);
    }

    /// Asks the guest for its state, so that less has to be replayed.
    pub(super) fn take_snapshot(&mut self, now: Now, out: &mut Outcome) {
        let _ = self.rebase(now, out);
    }

    fn one_at_a_time(
        &mut self,
        inputs: Vec<types::Input>,
        kind: FailureKind,
        now: Now,
        out: &mut Outcome,
    ) -> Result<(), Interrupted> {
        let replayed = self.restore(kind, now, out)?;
        out.incidents.push(Incident::Recovered { replayed });
        self.rebase(now, out)?;
        let mut inputs = inputs.into_iter();
        while let Some(input) = inputs.next() {
            match self.attempt(std::slice::from_ref(&input), now) {
                Ok(actions) => self.commit(vec![input], actions, now, out),
                Err(failure) => {
                    for later in inputs.rev() {
                        self.queue.push_front(Pending::again(later));
                    }
                    self.restore(failure.kind, now, out)?;
                    return self.leave_out(input, failure.kind, now, out);
                }
            }
        }
        Ok(())
    }

    /// A new instance in the state after the last step that returned.
    pub(super) fn restore(
        &mut self,
        kind: FailureKind,
        now: Now,
        out: &mut Outcome,
    ) -> Result<usize, Interrupted> {
        self.guest = None;
        self.breaker.look_at(now);
        if kind == FailureKind::Deadline {
            self.breaker.burnt += Duration::from_millis(self.seed.limits.step_ms.into());
            if self.breaker.burnt > MAX_BURNT {
                let most = MAX_BURNT.as_secs();
                self.give_up(
                    format!("the plugin burnt more than {most} s within a minute"),
                    now,
                    out,
                );
                return Err(Interrupted);
            }
        }
        match self.history.rebuild(&self.seed) {
            Ok((guest, replayed)) => {
                self.guest = Some(guest);
                Ok(replayed)
            }
            Err(reason) => {
                self.cold_start(reason, now, out);
                Err(Interrupted)
            }
        }
    }

    pub(super) fn rebase(&mut self, now: Now, out: &mut Outcome) -> Result<(), Interrupted> {
        let Some(guest) = &mut self.guest else { return Err(Interrupted) };
        match guest.snapshot() {
            None => self.history.postpone(),
            Some(Ok(snapshot)) => {
                self.usage.snapshots += 1;
                self.usage.snapshot_bytes = snapshot.data.len() as u64;
                self.history.rebase(snapshot, convert::now(now));
            }
            Some(Err(failure)) => {
                self.history.postpone();
                self.refuse(format!("no snapshot: {}", failure.message), out);
                let is_gone = failure.kind != FailureKind::Error;
                if is_gone {
                    self.usage.traps += 1;
                    self.history.failed_snapshot(convert::now(now), &failure);
                    self.history.bundle(&self.numbers);
                }
                if self.probation.is_some() {
                    let reason = format!("it gives no snapshot: {}", brief(&failure.message));
                    self.go_back(reason, Vec::new(), now, out);
                    return Err(Interrupted);
                }
                if is_gone {
                    self.restore(failure.kind, now, out)?;
                }
            }
        }
        Ok(())
    }

    /// An input failed twice. The guest is as it was before it.
    fn leave_out(
        &mut self,
        input: types::Input,
        kind: FailureKind,
        now: Now,
        out: &mut Outcome,
    ) -> Result<(), Interrupted> {
        let what = match input {
            types::Input::Bytes(bytes) => return self.isolate(&bytes, kind, now, out),
            types::Input::LinkUp(types::LinkUp { link, .. }) => {
                return self.lose(
                    format!("the plugin fails when link `{link}` comes up"),
                    now,
                    out,
                );
            }
            types::Input::LinkClosed(types::LinkClosed { link, .. }) => {
                return self.lose(format!("the plugin fails when link `{link}` closes"), now, out);
            }
            types::Input::Gap(types::Gap { link, .. }) => {
                return self.lose(format!("the plugin fails on a gap of link `{link}`"), now, out);
            }
            types::Input::Command(command) => {
                if self.commands.remove(&command.id).is_some() {
                    let message = format!("the plugin failed twice on it ({})", kind.code());
                    out.effects.push(failed(command.id, "plugin-trapped", message, false));
                }
                format!("command `{}`", cut(command.kind))
            }
            types::Input::Wake => {
                self.wake_at = Some(now.monotonic + WAKE_AGAIN);
                "wake".to_owned()
            }
            types::Input::Message(message) => format!("a message of link `{}`", message.link),
            types::Input::HttpResponse(response) => {
                format!("the answer to request {}", response.id)
            }
            types::Input::SettingsChanged(_) => "settings".to_owned(),
            types::Input::Other(other) => format!("input `{}`", cut(other.kind)),
        };
        out.incidents.push(Incident::Skipped { what, kind });
        Ok(())
    }

    /// Finds the shortest prefix of these bytes that fails, and takes it out. Prefixes that do not fail
    /// are steps like any other: a link may deliver its bytes in any pieces.
    fn isolate(
        &mut self,
        bytes: &types::Bytes,
        mut kind: FailureKind,
        now: Now,
        out: &mut Outcome,
    ) -> Result<(), Interrupted> {
        let name = &bytes.link;
        // Up to `good` it did not fail, up to `bad` it did; `sure`: with what is unconsumed now.
        let mut bad = bytes.offset + bytes.data.len() as u64;
        let mut good =
            self.links.get(name).and_then(super::Link::marks).map_or(bad, |(_, seen)| seen);
        let mut sure = true;
        while bad > good + 1 || !sure {
            let middle = if bad > good + 1 { good + (bad - good) / 2 } else { bad };
            // None: the plugin closed the link meanwhile.
            let Some(prefix) = self.links.get(name).and_then(|link| link.bytes_until(middle))
            else {
                return Ok(());
            };
            let input = types::Input::Bytes(prefix);
            match self.attempt(std::slice::from_ref(&input), now) {
                Ok(actions) => {
                    self.commit(vec![input], actions, now, out);
                    if middle == bad {
                        return Ok(());
                    }
                    (good, sure) = (middle, false);
                }
                Err(failure) => {
                    self.restore(failure.kind, now, out)?;
                    (bad, sure, kind) = (middle, true, failure.kind);
                }
            }
        }
        if let Some(taken) = self.links.get_mut(name).and_then(|link| link.take_out(bad)) {
            self.usage.quarantined += 1;
            out.incidents.push(Incident::Quarantined {
                link: name.clone(),
                epoch: taken.epoch,
                offset: taken.offset,
                bytes: taken.bytes,
                head: taken.head,
                kind,
            });
        }
        Ok(())
    }

    fn lose(&mut self, reason: String, now: Now, out: &mut Outcome) -> Result<(), Interrupted> {
        self.cold_start(reason, now, out);
        Err(Interrupted)
    }

    /// The state is lost: begin from nothing, with no link up.
    pub(super) fn cold_start(&mut self, reason: String, now: Now, out: &mut Outcome) {
        self.usage.cold_starts += 1;
        self.forget("plugin-restarted", now, out);
        out.incidents.push(Incident::ColdStart { reason: cut(reason) });
        let began = convert::now(now);
        match Guest::start(&self.seed, None, began) {
            Ok((guest, actions)) => {
                self.guest = Some(guest);
                self.history.succeed(History::begin(&self.seed, began, &actions));
                self.apply(actions, out);
            }
            Err(failure) => {
                let message = failure.message;
                self.give_up(format!("a new instance does not start: {message}"), now, out);
            }
        }
    }

    fn give_up(&mut self, reason: String, now: Now, out: &mut Outcome) {
        self.forget("plugin-stopped", now, out);
        self.guest = None;
        out.incidents.push(Incident::GivenUp { reason: cut(reason) });
    }

    /// Ends what only the lost state knew how to go on with.
    pub(super) fn forget(&mut self, code: &str, now: Now, out: &mut Outcome) {
        for (id, _) in std::mem::take(&mut self.commands) {
            let message = "the plugin lost its state while the command was under way".to_owned();
            let problem = Problem { code: code.to_owned(), message, retryable: false };
            out.effects.push(Effect::CommandOutcome {
                id,
                end: CommandEnd::Unknown,
                problem: Some(problem),
                detail: String::new(),
            });
        }
        let closed = self.links.iter_mut().filter_map(|(name, link)| {
            let (link, epoch) = (name.clone(), link.down()?);
            let reason = "the plugin begins anew".to_owned();
            Some(types::Input::LinkClosed(types::LinkClosed { link, epoch, reason }))
        });
        let closed: Vec<_> = closed.collect();
        self.witness(convert::now(now), &closed, &[]);
        self.let_go.clear();
        self.brackets.clear();
        self.void_brackets.clear();
        self.http_open.clear();
        self.http_refused.clear();
        self.wake_at = None;
        self.numbers.forget_legs();
        self.queue.retain(|pending| matches!(pending, Pending::Input(Input::Command { .. })));
    }
}

/// The sentence in a failure's message that says most.
pub(super) fn brief(message: &str) -> &str {
    let said = match message.split_once("Caused by:") {
        Some((place, cause)) if place.starts_with("error while executing") => cause,
        _ => message,
    };
    said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}
