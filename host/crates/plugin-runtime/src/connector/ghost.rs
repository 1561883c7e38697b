//! The host's side of an instance whose effects do not happen: it sees the same connections and bytes as the
//! one that runs, but consumes them in its own way, and wakes up when it wants.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Link, apply::MAX_OPEN_REQUESTS};
use crate::{
    FailureKind,
    bindings::types::{self, Action, Input},
    guest::{Failure, Seed},
};

/// More brackets than this nobody needs.
const MAX_BRACKETS: usize = 16;

/// What the host keeps for an instance without effects.
#[derive(Default)]
pub(super) struct Ghost {
    pub(super) links: BTreeMap<String, Link>,
    /// Commands it was given and did not end.
    pub(super) commands: BTreeSet<u64>,
    /// Resync brackets it began and did not end.
    pub(super) brackets: BTreeSet<u64>,
    /// Requests it waits for.
    pub(super) http_open: BTreeSet<u64>,
    pub(super) wake_at: Option<Duration>,
}

impl Ghost {
    /// One that knows of no connection.
    pub(super) fn unconnected(seed: &Seed) -> Self {
        let links = seed.config.links.iter().filter_map(|(name, _)| {
            let request = seed.plugin.manifest().link(name)?.clone();
            Some((name.clone(), Link::new(request, seed.is_granted("plain", name))))
        });
        Self { links: links.collect(), ..Self::default() }
    }

    /// Does it see any connection?
    pub(super) fn is_connected(&self) -> bool {
        self.links.values().any(|link| link.open_epoch().is_some())
    }

    /// One step of the instance that runs, made by this one; it may take several, or none. `call` makes a
    /// step, the actions of all are returned.
    pub(super) fn step(
        &mut self,
        now: types::Now,
        inputs: &[Input],
        call: &mut dyn FnMut(Vec<Input>) -> Result<Vec<Action>, Failure>,
    ) -> Result<Vec<Action>, Failure> {
        let mut all = Vec::new();
        let mut batch = self.batch(now, inputs);
        while !batch.is_empty() {
            for input in &batch {
                if let Input::Bytes(bytes) = input
                    && let Some(link) = self.links.get_mut(&bytes.link)
                {
                    link.delivered(bytes.epoch, bytes.offset + bytes.data.len() as u64);
                }
            }
            let actions = call(batch)?;
            self.take(&actions);
            all.extend(actions);
            if let Some((name, _)) = self.links.iter().find(|(_, link)| link.is_frame_too_long()) {
                let message = format!("it does not consume the frames of link `{name}`");
                return Err(Failure { kind: FailureKind::TooMuch, message });
            }
            batch = self.links.values().filter_map(news).collect();
        }
        Ok(all)
    }

    /// What it hears of these inputs.
    fn batch(&mut self, now: types::Now, inputs: &[Input]) -> Vec<Input> {
        let mut batch = Vec::with_capacity(inputs.len());
        let monotonic = Duration::from_nanos(now.monotonic_ns);
        if self.wake_at.take_if(|at| *at <= monotonic).is_some() {
            batch.push(Input::Wake);
        }
        for input in inputs {
            batch.extend(self.translate(input));
        }
        batch
    }

    fn translate(&mut self, input: &Input) -> Option<Input> {
        let hears = match input {
            // It has its own.
            Input::Wake => false,
            Input::Bytes(bytes) => {
                let link = self.links.get_mut(&bytes.link)?;
                link.receive_at(bytes.epoch, bytes.offset, &bytes.data);
                return news(link);
            }
            Input::LinkUp(up) => {
                self.links.get_mut(&up.link)?.up_as(up.epoch);
                true
            }
            Input::LinkClosed(closed) => self.links.get_mut(&closed.link)?.down().is_some(),
            Input::Message(message) => {
                self.links.get(&message.link)?.open_epoch() == Some(message.epoch)
            }
            Input::Gap(gap) => {
                let link = self.links.get_mut(&gap.link)?;
                if gap.bytes > 0 {
                    link.skip_to(gap.epoch, gap.offset.saturating_add(gap.bytes));
                }
                link.open_epoch() == Some(gap.epoch)
            }
            Input::Command(command) => {
                self.commands.insert(command.id);
                true
            }
            Input::HttpResponse(response) => self.http_open.remove(&response.id),
            Input::SettingsChanged(_) | Input::Other(_) => true,
        };
        hears.then(|| input.clone())
    }

    /// What the host would keep of these actions.
    pub(super) fn take(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Consumed(consumed) => {
                    if let Some(link) = self.links.get_mut(&consumed.link) {
                        // Nonsense changes nothing, as for the instance that runs.
                        let _ = link.consume(consumed.offset);
                    }
                }
                Action::CommandOutcome(outcome) => {
                    self.commands.remove(&outcome.id);
                }
                Action::ResyncBegin(begin) => {
                    if self.brackets.len() < MAX_BRACKETS {
                        self.brackets.insert(begin.id);
                    }
                }
                Action::ResyncEnd(id) => {
                    self.brackets.remove(id);
                }
                Action::WakeAt(at) => {
                    self.wake_at = (*at != 0).then(|| Duration::from_nanos(*at));
                }
                Action::HttpRequest(request) => {
                    if self.http_open.len() < MAX_OPEN_REQUESTS {
                        self.http_open.insert(request.id);
                    }
                }
                Action::Close(close) => {
                    if let Some(link) = self.links.get_mut(&close.link) {
                        link.close();
                    }
                }
                Action::Send(_) | Action::Event(_) | Action::ResyncItem(_) | Action::Other(_) => {}
            }
        }
    }
}

fn news(link: &Link) -> Option<Input> {
    if !link.has_news() {
        return None;
    }
    link.window().map(Input::Bytes)
}
