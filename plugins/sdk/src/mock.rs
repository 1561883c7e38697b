//! The host's side of the contract, for tests: no Jackfield, no sockets, no time that passes by itself.
//!
//! ```
//! # use jackfield_sdk::{Action, Config, Connector, Error, Input, Now, Snapshot};
//! # struct Echo;
//! # impl Connector for Echo {
//! #     fn init(_: Config, _: Option<Snapshot>, _: Now, _: &mut Vec<Action>) -> Result<Self, Error> { Ok(Echo) }
//! #     fn step(&mut self, _: Now, inputs: Vec<Input>, out: &mut Vec<Action>) -> Result<(), Error> {
//! #         for input in inputs {
//! #             if let Input::Bytes(bytes) = input {
//! #                 out.push(Action::consumed(&bytes.link, bytes.offset + bytes.data.len() as u64));
//! #                 out.push(Action::send(&bytes.link, bytes.epoch, bytes.data));
//! #             }
//! #         }
//! #         Ok(())
//! #     }
//! # }
//! use jackfield_sdk::mock::MockHost;
//!
//! let mut host = MockHost::<Echo>::start("{}").unwrap();
//! host.link_up("pbx");
//! host.receive("pbx", b"hello");
//! assert_eq!(host.take_sent("pbx"), b"hello");
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use md5::{Digest, Md5};

use crate::{
    Action, Bytes, Command, CommandOutcome, Config, Connector, Error, Fact, Gap, Input, LinkClosed,
    LinkUp, Now, Part, SecretPart,
};

/// A host for one connector `C`.
///
/// It panics, naming the law, when the connector breaks one: consuming bytes it was not given, sending on
/// a link that is not up or with another epoch, ending a command twice or one nobody gave, resync items
/// outside of their bracket, two brackets at once.
pub struct MockHost<C> {
    connector: C,
    config: Config,
    now: Now,
    wake_at: Option<u64>,
    links: BTreeMap<String, MockLink>,
    secrets: BTreeMap<String, String>,
    seen: Vec<Seen>,
    pending: BTreeSet<u64>,
    last_command: u64,
    resync: Option<u64>,
    swap_at_every_step: bool,
}

/// What the connector made happen, in order. What it sent is in [`MockHost::take_sent`].
#[derive(Clone, Debug)]
pub enum Seen {
    /// A fact, and the PBX's own time of it.
    Fact(Option<u64>, Fact),
    /// A resync began: its id and scope.
    ResyncBegin(u64, String),
    /// One thing the PBX has.
    ResyncItem(u64, Fact),
    /// The picture is complete.
    ResyncEnd(u64),
    /// A command ended.
    Outcome(CommandOutcome),
    /// A link was closed: its name, the reason, and when to dial again.
    Close(String, String, String),
    /// Anything else.
    Other(Action),
}

#[derive(Default)]
struct MockLink {
    epoch: u64,
    up: bool,
    /// Offset of the first byte of `unread`.
    offset: u64,
    unread: Vec<u8>,
    sent: Vec<u8>,
}

impl<C: Connector> MockHost<C> {
    /// Makes an instance with these settings (JSON) and no link up.
    pub fn start(settings: &str) -> Result<Self, Error> {
        let config = Config {
            id: "test".into(),
            settings: settings.into(),
            links: Vec::new(),
            facts: Vec::new(),
        };
        // Any moment will do, as long as it is always the same: 2026-01-01T00:00:00Z, an hour after boot.
        let now = Now { monotonic_ns: 3_600_000_000_000, wall_ns: 1_767_225_600_000_000_000 };
        let mut out = Vec::new();
        let connector = C::init(config.clone(), None, now, &mut out)?;
        let mut host = Self {
            connector,
            config,
            now,
            wake_at: None,
            links: BTreeMap::new(),
            secrets: BTreeMap::new(),
            seen: Vec::new(),
            pending: BTreeSet::new(),
            last_command: 0,
            resync: None,
            swap_at_every_step: false,
        };
        host.apply(out);
        Ok(host)
    }

    /// Sets a secret, to be put where the connector asks for it.
    pub fn set_secret(&mut self, name: &str, value: &str) {
        self.secrets.insert(name.into(), value.into());
    }

    /// From now on each step is followed by a snapshot and a restore into a new instance.
    pub fn swap_at_every_step(&mut self) {
        self.swap_at_every_step = true;
    }

    /// The connector itself.
    pub fn connector(&self) -> &C {
        &self.connector
    }

    /// The virtual clocks.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Sets the wall clock; the monotonic one goes on.
    pub fn set_wall(&mut self, wall_ns: u64) {
        self.now.wall_ns = wall_ns;
    }

    /// When the connector wants to be woken, on the monotonic clock.
    pub fn wake_at(&self) -> Option<u64> {
        self.wake_at
    }

    /// Connects a link; its nonce is made of the epoch. Returns the epoch.
    pub fn link_up(&mut self, link: &str) -> u64 {
        let state = self.links.entry(link.into()).or_default();
        assert!(!state.up, "the test connected {link} twice");
        *state = MockLink { epoch: state.epoch + 1, up: true, ..MockLink::default() };
        let epoch = state.epoch;
        let nonce = Md5::digest(epoch.to_le_bytes()).repeat(2);
        self.step(vec![Input::LinkUp(LinkUp {
            link: link.into(),
            epoch,
            peer: format!("mock://{link}"),
            nonce,
            facts: Vec::new(),
        })]);
        epoch
    }

    /// Bytes come in on a link. They are dropped when it is down, as in a socket that was closed.
    pub fn receive(&mut self, link: &str, bytes: &[u8]) {
        let state = self.links.get_mut(link).expect("the test connected this link");
        if !state.up {
            return;
        }
        state.unread.extend_from_slice(bytes);
        let input = Bytes {
            link: link.into(),
            epoch: state.epoch,
            offset: state.offset,
            data: state.unread.clone(),
        };
        self.step(vec![Input::Bytes(input)]);
    }

    /// As `receive`, cut in pieces of `size` bytes.
    pub fn receive_in_pieces(&mut self, link: &str, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size.max(1)) {
            self.receive(link, piece);
        }
    }

    /// The peer closes the link.
    pub fn link_closed(&mut self, link: &str, reason: &str) {
        let state = self.links.get_mut(link).expect("the test connected this link");
        if !std::mem::replace(&mut state.up, false) {
            return;
        }
        let epoch = state.epoch;
        state.unread.clear();
        self.resync = None;
        self.step(vec![Input::LinkClosed(LinkClosed {
            link: link.into(),
            epoch,
            reason: reason.into(),
        })]);
    }

    /// The host takes out all unread bytes, as it does with a frame that makes the connector trap.
    pub fn gap(&mut self, link: &str) {
        let state = self.links.get_mut(link).expect("the test connected this link");
        let bytes = state.unread.len() as u64;
        let gap = Gap { link: link.into(), epoch: state.epoch, offset: state.offset, bytes };
        state.offset += bytes;
        state.unread.clear();
        self.step(vec![Input::Gap(gap)]);
    }

    /// Gives a command with 30 s to live; returns its id.
    pub fn command(&mut self, kind: &str, arguments: &[(&str, &str)]) -> u64 {
        self.last_command += 1;
        let id = self.last_command;
        self.pending.insert(id);
        let arguments = arguments.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        let deadline_ns = self.now.monotonic_ns + 30_000_000_000;
        self.step(vec![Input::Command(Command { id, kind: kind.into(), arguments, deadline_ns })]);
        id
    }

    /// Any input.
    pub fn input(&mut self, input: Input) {
        self.step(vec![input]);
    }

    /// Lets time pass, with every wake-up the connector asked for at its moment.
    pub fn advance(&mut self, time: Duration) {
        let end = self.now.monotonic_ns + time.as_nanos() as u64;
        while let Some(at) = self.wake_at.filter(|&at| at <= end) {
            self.set_monotonic(at.max(self.now.monotonic_ns));
            self.wake_at = None;
            self.step(vec![Input::Wake]);
        }
        self.set_monotonic(end);
    }

    /// What the connector sent on a link since the last time, secrets filled in.
    pub fn take_sent(&mut self, link: &str) -> Vec<u8> {
        self.links.get_mut(link).map(|link| std::mem::take(&mut link.sent)).unwrap_or_default()
    }

    /// What happened since the last time.
    pub fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// Is the link up?
    pub fn is_up(&self, link: &str) -> bool {
        self.links.get(link).is_some_and(|link| link.up)
    }

    /// Bytes that were given and not consumed.
    pub fn unread(&self, link: &str) -> &[u8] {
        self.links.get(link).map(|link| link.unread.as_slice()).unwrap_or_default()
    }

    /// Commands that have no outcome yet.
    pub fn pending_commands(&self) -> impl Iterator<Item = u64> + '_ {
        self.pending.iter().copied()
    }

    /// Takes a snapshot and goes on with a new instance made of it.
    pub fn swap(&mut self) -> Result<(), Error> {
        let snapshot = self.connector.snapshot()?;
        let mut out = Vec::new();
        self.connector = C::init(self.config.clone(), Some(snapshot), self.now, &mut out)?;
        self.apply(out);
        Ok(())
    }

    fn set_monotonic(&mut self, monotonic_ns: u64) {
        self.now.wall_ns += monotonic_ns - self.now.monotonic_ns;
        self.now.monotonic_ns = monotonic_ns;
    }

    fn step(&mut self, inputs: Vec<Input>) {
        let mut out = Vec::new();
        if let Err(error) = self.connector.step(self.now, inputs, &mut out) {
            panic!("the step failed: {} ({})", error.message, error.code);
        }
        self.apply(out);
        if self.swap_at_every_step {
            self.swap().expect("a snapshot can be taken and restored between any two steps");
        }
    }

    fn apply(&mut self, actions: Vec<Action>) {
        let mut closed = Vec::new();
        for action in actions {
            match action {
                Action::Consumed(consumed) => {
                    let link =
                        self.links.get_mut(&consumed.link).expect("law: consumes a link it has");
                    assert!(consumed.offset >= link.offset, "law: `consumed` never goes back");
                    let count = (consumed.offset - link.offset) as usize;
                    assert!(count <= link.unread.len(), "law: only what was given is consumed");
                    link.unread.drain(..count);
                    link.offset = consumed.offset;
                }
                Action::Send(send) => {
                    let bytes: Vec<u8> =
                        send.parts.iter().flat_map(|part| self.fill(part)).collect();
                    let link = self.links.get_mut(&send.link).expect("law: sends on a link it has");
                    assert!(link.up, "law: sends on a link that is up");
                    assert_eq!(send.epoch, link.epoch, "law: sends with the present epoch");
                    link.sent.extend(bytes);
                }
                Action::Close(close) => {
                    let link = self.links.get_mut(&close.link).expect("law: closes a link it has");
                    let was_up = std::mem::replace(&mut link.up, false);
                    let epoch = link.epoch;
                    // As the host does: a bracket that was cut counts as never begun.
                    self.resync = None;
                    self.seen.push(Seen::Close(
                        close.link.clone(),
                        close.reason.clone(),
                        close.retry,
                    ));
                    if was_up {
                        let reason = close.reason;
                        closed.push(Input::LinkClosed(LinkClosed {
                            link: close.link,
                            epoch,
                            reason,
                        }));
                    }
                }
                Action::Event(event) => self.seen.push(Seen::Fact(event.at_pbx_ns, event.fact)),
                Action::CommandOutcome(outcome) => {
                    assert!(
                        self.pending.remove(&outcome.id),
                        "law: one outcome per command ({})",
                        outcome.id
                    );
                    assert!(
                        ["done", "failed", "rejected", "unknown"]
                            .contains(&outcome.outcome.as_str()),
                        "law: `{}` is no outcome",
                        outcome.outcome
                    );
                    self.seen.push(Seen::Outcome(outcome));
                }
                Action::ResyncBegin(begin) => {
                    assert_eq!(self.resync, None, "law: one resync at a time");
                    self.resync = Some(begin.id);
                    self.seen.push(Seen::ResyncBegin(begin.id, begin.scope));
                }
                Action::ResyncItem(item) => {
                    assert_eq!(self.resync, Some(item.id), "law: items stand in their bracket");
                    self.seen.push(Seen::ResyncItem(item.id, item.fact));
                }
                Action::ResyncEnd(id) => {
                    assert_eq!(self.resync.take(), Some(id), "law: the end is of what began");
                    self.seen.push(Seen::ResyncEnd(id));
                }
                Action::WakeAt(at) => self.wake_at = (at > 0).then_some(at),
                other => self.seen.push(Seen::Other(other)),
            }
        }
        if !closed.is_empty() {
            self.links.values_mut().filter(|link| !link.up).for_each(|link| link.unread.clear());
            self.step(closed);
        }
    }

    fn fill(&self, part: &Part) -> Vec<u8> {
        match part {
            Part::Literal(bytes) => bytes.clone(),
            Part::Secret(SecretPart { name, form, prefix, suffix }) => {
                let secret = self
                    .secrets
                    .get(name)
                    .unwrap_or_else(|| panic!("law: there is a secret `{name}`"));
                match form.as_str() {
                    "md5-hex" => {
                        let digest = Md5::new()
                            .chain_update(prefix)
                            .chain_update(secret)
                            .chain_update(suffix);
                        hex(&digest.finalize()).into_bytes()
                    }
                    "plain" => secret.clone().into_bytes(),
                    other => format!("<{other} of {name}>").into_bytes(),
                }
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
