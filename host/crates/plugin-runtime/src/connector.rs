//! A connector: one instance of a plugin under supervision.
//!
//! ```text
//! inputs -> queue -> batch --step--> actions --apply--> effects
//!             ^                |
//!             |              failed: recovery.rs
//!             +- gaps, bytes that go on behind them
//! ```
//!
//! Here: the queue, and what a batch is. Beside it: bytes of links, what is kept for a replay, actions
//! and grants, recovery.

mod apply;
mod ghost;
mod history;
mod links;
mod probation;
mod recorder;
mod recovery;
mod shadow;
mod swap;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use calls::{
    Now,
    event::{CommandEnd, Problem},
};

use self::{
    apply::Minute,
    history::History,
    links::Link,
    probation::{EndedLegs, Probation, refusal},
    recovery::Breaker,
    shadow::Shadow,
};
pub use self::{
    probation::ProbationView,
    shadow::{Difference, ShadowReport},
    swap::{OnRefusal, Successor, SwapError, Swapped, Version},
};
use crate::{
    Effect, FailureKind, Incident, Input, Kind, Limits, Log, Outcome, Plugin, Usage,
    bindings::types::{self, Action},
    convert,
    guest::{Failure, Guest, Seed},
    log::LogGate,
    recording::Numbers,
};

/// Most inputs in one step.
const MAX_BATCH: usize = 1024;
/// Commands given and not over; more are refused at once.
const MAX_COMMANDS: usize = 4096;
/// How long after its deadline a command's outcome is still taken.
const COMMAND_GRACE: Duration = Duration::from_secs(60);

/// How a connector is configured, without any secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceConfig {
    /// Its id in the config, e.g. `hq`.
    pub id: String,
    /// Its settings as JSON text.
    pub settings: String,
    /// Links that are configured: name and peer, e.g. `ami` and `tls://pbx.example.org:5039`.
    pub links: Vec<(String, String)>,
    /// What the admin allows: `link:ami`; `plain:ami` for secrets in the clear; `http:crm.example.org`.
    pub grants: Vec<String>,
    /// What it may use.
    pub limits: Limits,
}

/// A connector that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The plugin is something else.
    #[error(
        "connector `{connector}` uses the plugin `{plugin}`, which is no connector but: {kinds}"
    )]
    NoConnector {
        /// The connector.
        connector: String,
        /// The plugin's id.
        plugin: String,
        /// What it is.
        kinds: String,
    },
    /// The settings are no JSON.
    #[error("the settings of connector `{connector}` are not JSON: {problem}")]
    Settings {
        /// The connector.
        connector: String,
        /// What the reader says.
        problem: String,
    },
    /// A link the plugin does not know.
    #[error("connector `{connector}` has the link `{link}`, but the plugin only knows: {known}")]
    UnknownLink {
        /// The connector.
        connector: String,
        /// The link.
        link: String,
        /// Those the manifest names.
        known: String,
    },
    /// A required link is missing.
    #[error("connector `{connector}` needs the link `{link}`; add `links.{link}` to its config")]
    MissingLink {
        /// The connector.
        connector: String,
        /// The link.
        link: String,
    },
    /// A link without grant.
    #[error(
        "connector `{connector}` may not use its link `{link}`; add \"link:{link}\" to its `grants`"
    )]
    NotGranted {
        /// The connector.
        connector: String,
        /// The link.
        link: String,
    },
    /// The plugin failed to start.
    #[error("the plugin of connector `{connector}` does not start ({}): {message}", .kind.code())]
    Failed {
        /// The connector.
        connector: String,
        /// How.
        kind: FailureKind,
        /// In its own words.
        message: String,
    },
}

/// A running connector. See the crate's documentation for what happens when its plugin fails.
pub struct Connector {
    seed: Seed,
    /// None only while recovering, and after giving up.
    guest: Option<Guest>,
    history: History,
    breaker: Breaker,
    queue: VecDeque<Pending>,
    links: BTreeMap<String, Link>,
    /// Commands without outcome, and their deadlines.
    commands: BTreeMap<u64, Duration>,
    /// Open resync brackets, oldest first.
    brackets: Vec<u64>,
    http_hosts: Vec<String>,
    http_open: BTreeSet<u64>,
    wake_at: Option<Duration>,
    usage: Usage,
    /// What came about in a call that could not return it.
    owed: Outcome,
    numbers: Numbers,
    /// Monotonic time of the present call.
    clock: Duration,
    http_minute: Minute,
    /// Requests beyond the rate, and when they are answered.
    http_refused: VecDeque<(Duration, u64)>,
    ended_legs: EndedLegs,
    probation: Option<Box<Probation>>,
    shadow: Option<Box<Shadow>>,
    /// Commands that are over but that the present instance does not know to be, since a rollback.
    let_go: BTreeSet<u64>,
    /// Resync brackets that only the present instance believes to be open, since a rollback.
    void_brackets: BTreeSet<u64>,
}

/// Waits for its step.
enum Pending {
    Input(Input),
    Wake,
    /// Was part of a step that failed.
    Prepared(types::Input),
    /// The link has bytes that no step has seen.
    More(String),
}

impl Connector {
    /// Starts an instance. It knows of no connection yet.
    pub fn start(
        plugin: &Plugin,
        config: InstanceConfig,
        now: Now,
    ) -> Result<(Self, Outcome), StartError> {
        let links = config.check(plugin)?;
        let log = Arc::new(LogGate::new(&config.id));
        let seed = Seed::new(plugin, config, log);
        let http_hosts = seed.http_hosts();
        let began = convert::now(now);
        let (guest, actions) =
            Guest::start(&seed, None, began).map_err(|failure| StartError::Failed {
                connector: seed.config.id.clone(),
                kind: failure.kind,
                message: failure.message,
            })?;
        let mut connector = Self {
            history: History::begin(&seed, began, &actions),
            breaker: Breaker::default(),
            guest: Some(guest),
            seed,
            queue: VecDeque::new(),
            links,
            commands: BTreeMap::new(),
            brackets: Vec::new(),
            http_hosts,
            http_open: BTreeSet::new(),
            wake_at: None,
            usage: Usage::default(),
            owed: Outcome::default(),
            numbers: Numbers::default(),
            clock: now.monotonic,
            http_minute: Minute::default(),
            http_refused: VecDeque::new(),
            ended_legs: EndedLegs::default(),
            probation: None,
            shadow: None,
            let_go: BTreeSet::new(),
            void_brackets: BTreeSet::new(),
        };
        let mut out = Outcome::default();
        connector.apply(actions, &mut out);
        Ok((connector, out))
    }

    /// What its plugin logs; it can be read from any thread.
    pub fn log(&self) -> Log {
        self.seed.log.reader()
    }

    /// Takes inputs in order. Call it without inputs at [`wake_at`](Self::wake_at).
    pub fn handle(&mut self, inputs: Vec<Input>, now: Now) -> Outcome {
        let mut out = std::mem::take(&mut self.owed);
        self.clock = now.monotonic;
        self.commands.retain(|_, deadline| now.monotonic <= deadline.saturating_add(COMMAND_GRACE));
        if self.guest.is_some() && self.wake_at.is_some_and(|at| at <= now.monotonic) {
            self.wake_at = None;
            self.queue.push_back(Pending::Wake);
        }
        while let Some((_, id)) = self.http_refused.pop_front_if(|(at, _)| *at <= now.monotonic) {
            let most = self.seed.limits.http_per_minute;
            let error = format!("more than {most} requests within a minute");
            self.http_open.remove(&id);
            self.queue.push_back(Pending::Prepared(types::Input::HttpResponse(refusal(
                id,
                "too-many-requests",
                &error,
            ))));
        }
        self.queue.extend(inputs.into_iter().map(Pending::Input));
        self.work(now, &mut out);
        out
    }

    /// Makes steps until there is nothing to do.
    fn work(&mut self, now: Now, out: &mut Outcome) {
        loop {
            while self.guest.is_some() {
                let batch = self.next_batch(out);
                if batch.is_empty() {
                    break;
                }
                self.step(batch, now, out);
            }
            if !self.judge(now, out) {
                break;
            }
        }
        self.refuse_what_is_left(out);
        self.follow_in_shadow(now);
    }

    /// Monotonic time at which the connector wants to be called without inputs.
    pub fn wake_at(&self) -> Option<Duration> {
        let owed = (self.owed != Outcome::default()).then_some(Duration::ZERO);
        let answer = self.http_refused.front().map(|(at, _)| *at);
        let due = [owed, self.wake_at, answer, self.judgement_due(), self.shadow_due()];
        due.into_iter().flatten().min()
    }

    /// What it has done and uses.
    pub fn usage(&self) -> Usage {
        Usage {
            memory_bytes: self.guest.as_ref().map_or(0, Guest::memory_bytes),
            log_lines_dropped: self.seed.log.dropped(),
            recording_bytes: self.history.recording_bytes() as u64,
            ..self.usage.clone()
        }
    }

    /// Is it given up? Then it answers commands with failures, does nothing else, and must be replaced.
    pub fn is_given_up(&self) -> bool {
        self.guest.is_none()
    }

    /// The plugin it runs.
    pub fn plugin(&self) -> &Plugin {
        &self.seed.plugin
    }

    /// Inputs for one step. A link's bytes are its last input in it: what was consumed of them decides
    /// what comes next. Empty: nothing to do.
    fn next_batch(&mut self, out: &mut Outcome) -> Vec<types::Input> {
        let mut batch = Vec::new();
        let mut closed_for: Vec<String> = Vec::new();
        while batch.len() < MAX_BATCH
            && let Some(pending) = self.queue.front()
            && !pending.link().is_some_and(|link| closed_for.iter().any(|closed| closed == link))
        {
            let Some(pending) = self.queue.pop_front() else { break };
            let Some(input) = self.prepare(pending, out) else { continue };
            if let types::Input::Bytes(bytes) = &input {
                closed_for.push(bytes.link.clone());
            }
            batch.push(input);
        }
        batch
    }

    /// Makes the host's side of an input true, and what the plugin is to hear of it.
    fn prepare(&mut self, pending: Pending, out: &mut Outcome) -> Option<types::Input> {
        let input = match pending {
            Pending::Prepared(input) => return Some(input),
            Pending::Wake => return Some(types::Input::Wake),
            Pending::More(link) => return self.more(&link),
            Pending::Input(input) => input,
        };
        match input {
            Input::LinkUp { link, peer, nonce } => {
                let epoch = self.configured(&link)?.up();
                Some(types::Input::LinkUp(types::LinkUp {
                    link,
                    epoch,
                    peer,
                    nonce: nonce.to_vec(),
                    facts: Vec::new(),
                }))
            }
            Input::Received { link, data } => {
                let mut link = link;
                self.configured(&link)?.receive(data);
                // What came in several reads is one delivery.
                while let Some(Pending::Input(Input::Received { link: next, .. })) =
                    self.queue.front()
                    && *next == link
                    && let Some(Pending::Input(Input::Received { link: next, data })) =
                        self.queue.pop_front()
                {
                    link = next;
                    self.configured(&link)?.receive(data);
                }
                self.more(&link)
            }
            Input::Message { link, text, data } => {
                let epoch = self.configured(&link)?.open_epoch()?;
                Some(types::Input::Message(types::Message { link, epoch, text, data }))
            }
            Input::LinkClosed { link, reason } => {
                let closed = self.configured(&link)?;
                let required = closed.request.required;
                let epoch = closed.down()?;
                if required {
                    // A picture cut in the middle is none; the host discards it as well.
                    self.brackets.clear();
                }
                Some(types::Input::LinkClosed(types::LinkClosed { link, epoch, reason }))
            }
            Input::Command { id, kind, arguments, deadline } => {
                if self.commands.len() >= MAX_COMMANDS {
                    let message = format!("{MAX_COMMANDS} commands are under way already");
                    out.effects.push(failed(id, "busy", message, true));
                    return None;
                }
                if self.commands.contains_key(&id) {
                    self.refuse(format!("command {id} a second time, by the host"), out);
                    return None;
                }
                self.commands.insert(id, deadline);
                let deadline_ns = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
                Some(types::Input::Command(types::Command { id, kind, arguments, deadline_ns }))
            }
            Input::HttpResponse { id, status, headers, body, error } => {
                let expected = self.http_open.remove(&id);
                let error = error.map(|Problem { code, message, retryable }| types::Error {
                    code,
                    message,
                    retryable,
                });
                let response = types::HttpResponse { id, status, headers, body, error };
                expected.then_some(types::Input::HttpResponse(response))
            }
        }
    }

    fn more(&self, link: &str) -> Option<types::Input> {
        let link = self.links.get(link).filter(|link| link.has_news())?;
        link.window().map(types::Input::Bytes)
    }

    fn configured(&mut self, link: &str) -> Option<&mut Link> {
        let found = self.links.get_mut(link);
        if found.is_none() {
            tracing::error!(
                connector = self.seed.config.id,
                link,
                "input of a link that is not configured"
            );
        }
        found
    }

    fn step(&mut self, inputs: Vec<types::Input>, now: Now, out: &mut Outcome) {
        match self.attempt(&inputs, now) {
            Ok(actions) => match self.breach(&actions) {
                None => self.commit(inputs, actions, now, out),
                Some(law) => self.go_back(law, inputs, now, out),
            },
            Err(failure) => self.recover(inputs, failure, now, out),
        }
        if self.probation.is_some()
            && let Some((name, link)) = self.links.iter().find(|(_, link)| link.is_frame_too_long())
        {
            let most = link.request.max_frame;
            let reason = format!("it found no frame in more than {most} bytes of link `{name}`");
            self.go_back(reason, Vec::new(), now, out);
        }
        self.settle_links(out);
        if self.guest.is_some() && self.history.is_snapshot_due() {
            self.take_snapshot(now, out);
        }
    }

    /// Calls the guest. Nothing of ours changes but the figures.
    fn attempt(&mut self, inputs: &[types::Input], now: Now) -> Result<Vec<Action>, Failure> {
        let Some(guest) = &mut self.guest else {
            return Err(Failure {
                kind: FailureKind::Trap,
                message: "there is no instance".into(),
            });
        };
        let began = Instant::now();
        let answer = guest.step(convert::now(now), inputs);
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.usage.last_step_us = took;
        self.usage.max_step_us = self.usage.max_step_us.max(took);
        match &answer {
            Ok(_) => self.usage.steps += 1,
            Err(failure) => {
                self.usage.traps += 1;
                self.history.failed(convert::now(now), inputs, failure);
            }
        }
        answer
    }

    /// The step returned: now it counts.
    fn commit(
        &mut self,
        inputs: Vec<types::Input>,
        actions: Vec<Action>,
        now: Now,
        out: &mut Outcome,
    ) {
        for input in &inputs {
            if let types::Input::Bytes(bytes) = input
                && let Some(link) = self.links.get_mut(&bytes.link)
            {
                link.delivered(bytes.epoch, bytes.offset + bytes.data.len() as u64);
            }
        }
        self.ended_legs.follow(&actions);
        self.witness(convert::now(now), &inputs, &actions);
        self.history.push(convert::now(now), inputs, &actions);
        self.apply(actions, out);
    }

    /// Tells those that may have to make the same step.
    fn witness(&mut self, now: types::Now, inputs: &[types::Input], actions: &[Action]) {
        if let Some(probation) = &mut self.probation {
            probation.keep(now, inputs);
        }
        if let Some(shadow) = &mut self.shadow {
            shadow.notice(now, inputs, actions);
        }
    }

    /// Frames that are too long go; what no step has seen yet, and gaps before it, go first in the queue.
    fn settle_links(&mut self, out: &mut Outcome) {
        for (name, link) in &mut self.links {
            if link.is_frame_too_long()
                && let Some((_, seen)) = link.marks()
                && let Some(taken) = link.take_out(seen)
            {
                out.incidents.push(Incident::FrameTooLong {
                    link: name.clone(),
                    offset: taken.offset,
                    bytes: taken.bytes,
                    max_frame: link.request.max_frame,
                });
            }
            // Unless the queue gets there by itself before anything else happens to the link.
            let next = || self.queue.iter().find(|pending| pending.link() == Some(name));
            if link.has_news() && !next().is_some_and(Pending::leads_to_more) {
                self.queue.push_front(Pending::More(name.clone()));
            }
            if let Some(gap) = link.take_gap() {
                self.queue.push_front(Pending::Prepared(types::Input::Gap(gap)));
            }
        }
    }

    /// After giving up, commands are answered and everything else is dropped.
    fn refuse_what_is_left(&mut self, out: &mut Outcome) {
        for pending in std::mem::take(&mut self.queue) {
            if let Pending::Input(Input::Command { id, .. }) = pending {
                let message = "the connector is stopped because its plugin kept failing".to_owned();
                out.effects.push(failed(id, "plugin-stopped", message, true));
            }
        }
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("id", &self.seed.config.id)
            .field("plugin", &self.seed.plugin)
            .field("usage", &self.usage)
            .finish_non_exhaustive()
    }
}

impl Pending {
    /// An input of a step that failed, to be tried again. Bytes are asked for again, because by then some
    /// of them may be dealt with.
    fn again(input: types::Input) -> Self {
        match input {
            types::Input::Bytes(bytes) => Self::More(bytes.link),
            input => Self::Prepared(input),
        }
    }

    /// It, or what is behind it, delivers all unseen bytes of its link. What was prepared once belongs to
    /// a time before these bytes came.
    fn leads_to_more(&self) -> bool {
        matches!(self, Self::More(_) | Self::Input(Input::Received { .. }) | Self::Prepared(_))
    }

    /// The link it is about.
    fn link(&self) -> Option<&str> {
        match self {
            Self::Input(
                Input::LinkUp { link, .. }
                | Input::Received { link, .. }
                | Input::Message { link, .. }
                | Input::LinkClosed { link, .. },
            )
            | Self::More(link) => Some(link),
            Self::Prepared(input) => link_of(input),
            Self::Input(_) | Self::Wake => None,
        }
    }
}

fn link_of(input: &types::Input) -> Option<&str> {
    match input {
        types::Input::LinkUp(up) => Some(&up.link),
        types::Input::Bytes(bytes) => Some(&bytes.link),
        types::Input::Message(message) => Some(&message.link),
        types::Input::LinkClosed(closed) => Some(&closed.link),
        types::Input::Gap(gap) => Some(&gap.link),
        _ => None,
    }
}

fn failed(id: u64, code: &str, message: String, retryable: bool) -> Effect {
    let problem = Problem { code: code.to_owned(), message, retryable };
    Effect::CommandOutcome {
        id,
        end: CommandEnd::Failed,
        problem: Some(problem),
        detail: String::new(),
    }
}

impl InstanceConfig {
    /// The links it may use.
    fn check(&self, plugin: &Plugin) -> Result<BTreeMap<String, Link>, StartError> {
        let connector = || self.id.clone();
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&self.settings) {
            return Err(StartError::Settings {
                connector: connector(),
                problem: error.to_string(),
            });
        }
        let manifest = plugin.manifest();
        if !plugin.kinds().contains(&Kind::Connector) {
            let kinds: Vec<&str> = plugin.kinds().iter().map(|kind| kind.code()).collect();
            return Err(StartError::NoConnector {
                connector: connector(),
                plugin: manifest.id.clone(),
                kinds: kinds.join(", "),
            });
        }
        let mut links = BTreeMap::new();
        for (name, _) in &self.links {
            let Some(request) = manifest.link(name) else {
                let known: Vec<&str> =
                    manifest.links.iter().map(|link| link.name.as_str()).collect();
                return Err(StartError::UnknownLink {
                    connector: connector(),
                    link: name.clone(),
                    known: known.join(", "),
                });
            };
            if !self.is_granted("link", name) {
                return Err(StartError::NotGranted { connector: connector(), link: name.clone() });
            }
            links.insert(name.clone(), Link::new(request.clone(), self.is_granted("plain", name)));
        }
        match manifest.links.iter().find(|link| link.required && !links.contains_key(&link.name)) {
            Some(missing) => {
                Err(StartError::MissingLink { connector: connector(), link: missing.name.clone() })
            }
            None => Ok(links),
        }
    }

    fn is_granted(&self, what: &str, name: &str) -> bool {
        self.grants.iter().any(|grant| grant.split_once(':') == Some((what, name)))
    }
}
