//! The connector's links: dialled, listened to, written to, and hung up.

use calls::{
    Timestamp,
    fact::{Notice, Severity},
};
use plugin_runtime::{Input, Part, Retry, secret::MIN_MASKED};

use super::{Batch, Instance, Supervisor};
use crate::{
    connectors::{Plan, PlannedLink, mask::Mask},
    links::{self, DialError, LinkEvent, LinkWriter, Redial, Report},
    status::{LinkWord, StatusWord},
};

pub(super) struct Link {
    pub(super) plan: PlannedLink,
    pub(super) redial: Redial,
    pub(super) attempt: u64,
    /// Connections so far.
    pub(super) epoch: u64,
    pub(super) state: LinkState,
    /// The last failure told to the journal: a PBX that is down for a night is one notice, not a thousand.
    pub(super) told: Option<DialError>,
}

pub(super) enum LinkState {
    Down,
    Dialling(LinkWriter),
    Up { writer: LinkWriter, mask: Box<Mask> },
}

impl Link {
    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, LinkState::Up { .. })
    }
}

impl Supervisor {
    /// Dials what is due. Without an instance nobody would answer the PBX.
    pub(super) fn dial(&mut self) {
        if !matches!(self.instance, Instance::Running(_)) {
            return;
        }
        let now = self.now().monotonic;
        for index in 0..self.links.len() {
            let link = &mut self.links[index];
            if !link.redial.handle_timeout(now) {
                continue;
            }
            link.attempt += 1;
            tracing::debug!(link = link.plan.name, peer = link.plan.target.peer(), "dialling");
            let writer =
                links::open(link.plan.target.clone(), index, link.attempt, self.reports_in.clone());
            link.state = LinkState::Dialling(writer);
            self.show_link(index);
        }
    }

    pub(super) async fn receive(&mut self, report: Report, batch: &mut Batch) {
        let Report { link: index, attempt, event } = report;
        let now = self.now();
        let Some(link) = self.links.get_mut(index).filter(|link| link.attempt == attempt) else {
            return;
        };
        match event {
            LinkEvent::Up => {
                let LinkState::Dialling(writer) =
                    std::mem::replace(&mut link.state, LinkState::Down)
                else {
                    return;
                };
                let mask = Box::new(Mask::new(&self.plan.secrets, masked_texts(&self.plan)));
                link.state = LinkState::Up { writer, mask };
                link.redial.handle_up(now.monotonic);
                link.told = None;
                link.epoch += 1;
                self.sight.linked |= link.plan.required;
                let reconnected = u64::from(link.epoch > 1);
                let peer = link.plan.target.peer();
                tracing::info!(link = link.plan.name, peer, "link is up");
                batch.push(Input::LinkUp { link: link.plan.name.clone(), peer, nonce: nonce() });
                self.show(|status, _| status.counters.reconnects += reconnected);
                self.show_link(index);
            }
            LinkEvent::Received(data) => {
                let LinkState::Up { mask, .. } = &mut link.state else { return };
                let length = data.len() as u64;
                let (data, masked) = mask.pass(data);
                let name = link.plan.name.clone();
                self.show(|status, _| {
                    status.counters.bytes_in += length;
                    status.counters.masked_secrets += masked as u64;
                });
                batch.bytes += data.len();
                batch.push(Input::Received { link: name, data });
            }
            LinkEvent::Failed(error) => self.dial_failed(index, error).await,
            LinkEvent::Down { reason } => {
                if let LinkState::Up { .. } = link.state {
                    let name = link.plan.name.clone();
                    self.link_lost(index, &reason, Retry::Normal);
                    batch.push(Input::LinkClosed { link: name, reason });
                }
            }
        }
    }

    async fn dial_failed(&mut self, index: usize, error: DialError) {
        let now = self.now();
        let link = &mut self.links[index];
        link.state = LinkState::Down;
        link.redial.handle_down(Retry::Normal, dice(), now.monotonic);
        let is_new = link.told.as_ref() != Some(&error);
        let required = link.plan.required;
        link.told = Some(error.clone());
        self.show(|status, now| {
            status.counters.failed_dials += 1;
            status.fail(&error.message, &error.fix, now);
            // A refusal stays one until the PBX lets us in again.
            if required && status.word != StatusWord::Refused {
                status.set(StatusWord::Disconnected, error.message.clone(), now);
            }
        });
        self.show_link(index);
        if is_new {
            tracing::warn!(
                error = error.message,
                fix = error.fix,
                "no connection; dialling goes on"
            );
            self.tell_notice("link-failed", Severity::Error, error.message, &error.fix).await;
        }
    }

    /// The books of a link that is gone; the plugin is told by the caller.
    pub(super) fn link_lost(&mut self, index: usize, reason: &str, retry: Retry) {
        let now = self.now();
        let link = &mut self.links[index];
        link.state = LinkState::Down;
        link.redial.handle_down(retry, dice(), now.monotonic);
        let required = link.plan.required;
        tracing::warn!(link = link.plan.name, reason, ?retry, "link is down");
        self.show(|status, now| {
            if required {
                let word = match retry {
                    Retry::Normal => StatusWord::Disconnected,
                    Retry::Slow | Retry::NeverUntilConfigChange => StatusWord::Refused,
                };
                status.set(word, reason, now);
                if status.last_error.as_ref().is_none_or(|error| error.at.0 + RECENT < now.0) {
                    status.fail(reason, fix_of(retry), now);
                }
            }
        });
        self.show_link(index);
    }

    pub(super) fn send(
        &mut self,
        name: &str,
        parts: &[Part],
        blinded: &mut Option<String>,
    ) -> Option<Notice> {
        let index = self.links.iter().position(|link| link.plan.name == name)?;
        let LinkState::Up { writer, .. } = &self.links[index].state else { return None };
        let mut bytes = Vec::new();
        for part in parts {
            match part.fill(&self.plan.secrets) {
                Ok(filled) => bytes.extend(filled),
                Err(error) => {
                    // Half a message must not go out, and the PBX would wait for the other half.
                    let message = error.to_string();
                    self.close(name, message.clone(), Retry::NeverUntilConfigChange, blinded);
                    let fix = "add the secret to the connector's `secrets`";
                    self.show(|status, now| status.fail(&message, fix, now));
                    return Some(Notice {
                        code: "secret-missing".to_owned(),
                        severity: Severity::Error,
                        message,
                        fix: fix.to_owned(),
                    });
                }
            }
        }
        let length = bytes.len() as u64;
        match writer.send(bytes) {
            Ok(()) => self.show(|status, _| status.counters.bytes_out += length),
            Err(backlog) => self.close(name, backlog.to_string(), Retry::Normal, blinded),
        }
        None
    }

    pub(super) fn close(
        &mut self,
        name: &str,
        reason: String,
        retry: Retry,
        blinded: &mut Option<String>,
    ) {
        let Some(index) = self.links.iter().position(|link| link.plan.name == name) else { return };
        if !self.links[index].is_up() {
            return;
        }
        if self.links[index].plan.required {
            *blinded = Some(reason.clone());
        }
        self.link_lost(index, &reason, retry);
        self.links[index].attempt += 1; // What the old connection still reports is of no interest.
        self.pending.push_back(Input::LinkClosed { link: name.to_owned(), reason });
    }

    /// The plugin has lost its state: nothing on the old connections makes sense any more.
    pub(super) fn hang_up_all(&mut self, reason: &str) {
        for index in 0..self.links.len() {
            if self.links[index].is_up() {
                self.link_lost(index, reason, Retry::Normal);
            }
            self.links[index].attempt += 1;
            if let LinkState::Dialling(_) = self.links[index].state {
                let now = self.now().monotonic;
                self.links[index].state = LinkState::Down;
                self.links[index].redial.handle_down(Retry::Normal, dice(), now);
            }
        }
    }

    pub(super) fn drop_link(&mut self, index: usize) {
        self.links[index].state = LinkState::Down;
        self.show_link(index);
    }

    pub(super) fn show_link(&self, index: usize) {
        let link = &self.links[index];
        let now = self.now();
        let next_dial_at = link.redial.poll_timeout().map(|at| {
            let gap = at.saturating_sub(now.monotonic).as_nanos();
            Timestamp(now.wall.0.saturating_add(u64::try_from(gap).unwrap_or(u64::MAX)))
        });
        let state = match link.state {
            LinkState::Down => LinkWord::Down,
            LinkState::Dialling(_) => LinkWord::Dialling,
            LinkState::Up { .. } => LinkWord::Up,
        };
        self.around.board.update(&self.id, |status| {
            if let Some(shown) = status.links.get_mut(index) {
                shown.state = state;
                shown.epoch = link.epoch;
                shown.next_dial_at = next_dial_at;
            }
        });
    }
}

/// An error told within the last second already explains the end of the link (nanoseconds).
const RECENT: u64 = 1_000_000_000;

/// The secrets of a plan that are long enough to be masked.
pub(super) fn masked_texts(plan: &Plan) -> Vec<Vec<u8>> {
    let texts = plan.secret_texts.values().map(|text| text.expose().as_bytes().to_vec());
    texts.filter(|text| text.len() >= MIN_MASKED).collect()
}

fn nonce() -> [u8; 32] {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).expect("the operating system gives random bytes");
    nonce
}

pub(super) fn dice() -> u32 {
    getrandom::u32().expect("the operating system gives random bytes")
}

/// What helps when a link is gone and the plugin said no more than why.
fn fix_of(retry: Retry) -> &'static str {
    match retry {
        Retry::Normal => {
            "it is dialled again by itself; if it stays so, check that the link leads to the PBX, and look into the PBX's own log"
        }
        Retry::Slow => {
            "it is dialled again after a longer while; check the link's address and port, and the account at the PBX"
        }
        Retry::NeverUntilConfigChange => {
            "change the connector's section in the config: it is dialled again when that is read"
        }
    }
}
