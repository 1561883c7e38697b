//! A host for one connector, without sockets and with a clock that only moves when told to.
//!
//! ```text
//! Pbx --bytes--> rig --inputs--> Connector (the real runtime) --effects--> rig --bytes--> Pbx
//!                                                                 '--> what was told, by its time
//! ```
//!
//! It redials as the host does (a second after a close, a minute when the PBX refused us), and can be unkind: bytes in
//! pieces, connections that break at a byte, an instance that is replaced after every step.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use calls::{
    Fact, Now, Timestamp,
    event::{CommandEnd, Problem},
};
use plugin_runtime::{
    Connector, Effect, Incident, Input, InstanceConfig, LogLine, OnRefusal, Outcome, Plugin,
    Recording, Retry, Secrets, StartError, Successor, Usage,
};

use crate::{
    dice::Dice,
    facts,
    peer::{Pbx, Said},
    scenario::{fields::Writer, nanos, time::BOOT},
};

/// What a connector is tried with.
#[derive(Clone)]
pub struct Setup {
    /// The plugin.
    pub plugin: Plugin,
    /// How it is configured.
    pub config: InstanceConfig,
    /// Secrets that are filled in at the socket.
    pub secrets: Vec<(String, String)>,
    /// When it begins.
    pub begin: Timestamp,
}

/// How unkind the rig is.
#[derive(Clone, Debug, Default)]
pub struct Unkind {
    /// Bytes come in pieces.
    pub split: Option<Split>,
    /// After every input: a snapshot, and a new instance from it.
    pub swap: bool,
    /// The connection breaks after so many bytes, once.
    pub cut_after: Option<u64>,
}

/// How bytes are cut in pieces.
#[derive(Clone, Debug)]
pub enum Split {
    /// So many at a time.
    Every(usize),
    /// Any number up to this.
    Random(usize, Dice),
}

/// Something the connector did, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Since the beginning.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// Something the connector did.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A fact, seen live.
    Fact(Fact),
    /// A picture begins.
    ResyncBegin(u64, String),
    /// A fact in a picture.
    Has(u64, Fact),
    /// A picture is complete.
    ResyncEnd(u64),
    /// A command is over.
    Outcome(u64, CommandEnd, Option<Problem>, String),
    /// It hangs up.
    Close(String, String, Retry),
    /// A frame for the PBX.
    Sent(String, String),
    /// A web request.
    Http(String),
    /// It wanted something it may not, or that makes no sense.
    Refused(String),
    /// A step failed: a trap, a deadline, a limit.
    Failed(String, String),
    /// The connection broke or came up.
    Link(String, bool),
}

impl What {
    /// As a line of a scenario.
    pub fn line(&self) -> String {
        match self {
            Self::Fact(fact) => facts::line(fact),
            Self::ResyncBegin(_, scope) => Writer::new("resync-begin").field("scope", scope).done(),
            Self::Has(_, fact) => format!("has {}", facts::line(fact)),
            Self::ResyncEnd(_) => "resync-end".to_owned(),
            Self::Outcome(id, end, problem, detail) => {
                let line = Writer::new(&format!("command {id} {end}"));
                let line = match problem {
                    Some(it) => line.field("code", &it.code).field("message", &it.message),
                    None => line,
                };
                line.field("detail", detail).done()
            }
            Self::Close(link, reason, retry) => {
                let retry = match retry {
                    Retry::Normal => "normal",
                    Retry::Slow => "slow",
                    Retry::NeverUntilConfigChange => "never-until-config-change",
                };
                Writer::new("close")
                    .field("link", link)
                    .field("retry", retry)
                    .field("reason", reason)
                    .done()
            }
            Self::Sent(_, frame) => frame.clone(),
            Self::Http(line) => line.clone(),
            Self::Refused(what) => what.clone(),
            Self::Failed(kind, message) => format!("{kind}: {message}"),
            Self::Link(link, true) => format!("link {link} is up"),
            Self::Link(link, false) => format!("link {link} is down"),
        }
    }

    /// Is it a line of `tells`?
    pub fn is_told(&self) -> bool {
        !matches!(self, Self::Sent(..) | Self::Refused(_) | Self::Failed(..) | Self::Link(..))
    }
}

/// What is to happen.
enum Due {
    Dial(String),
    Said { link: String, epoch: u64, said: Said },
}

#[derive(Default)]
struct Link {
    up: bool,
    /// Counts its connections.
    epoch: u64,
}

/// Calls of the connector at one moment; more is an endless conversation.
const MAX_AT_ONCE: u32 = 100_000;
/// Times that are kept one by one.
const MAX_TIMINGS: usize = 1 << 20;
/// How long after a close the host dials again.
const REDIAL: Duration = Duration::from_secs(1);
/// When the PBX refused us.
const REDIAL_SLOWLY: Duration = Duration::from_secs(60);

/// The host.
pub struct Rig {
    setup: Setup,
    secrets: Secrets,
    unkind: Unkind,
    connector: Connector,
    /// The PBX.
    pub pbx: Box<dyn Pbx>,
    links: BTreeMap<String, Link>,
    due: BTreeMap<(Duration, u64), Due>,
    numbers: u64,
    at: Duration,
    at_once: u32,
    told: Vec<Told>,
    received: u64,
    commands: u64,
    stopped: bool,
    /// The PBX says nothing, whatever it hears.
    mute: bool,
    /// What the PBX said, when it is kept.
    heard: Option<Vec<Vec<u8>>>,
    computed: Duration,
    timings: Vec<Duration>,
}

impl Rig {
    /// Starts the connector and dials its links.
    pub fn start(setup: Setup, pbx: Box<dyn Pbx>, unkind: Unkind) -> Result<Self, StartError> {
        let now = Now { monotonic: BOOT, wall: setup.begin };
        let (connector, outcome) = Connector::start(&setup.plugin, setup.config.clone(), now)?;
        let secrets = setup.secrets.iter();
        let mut rig = Self {
            secrets: secrets
                .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
                .collect(),
            unkind,
            connector,
            pbx,
            links: BTreeMap::new(),
            due: BTreeMap::new(),
            numbers: 0,
            at: Duration::ZERO,
            at_once: 0,
            told: Vec::new(),
            received: 0,
            commands: 0,
            stopped: false,
            mute: false,
            heard: None,
            computed: Duration::ZERO,
            timings: Vec::new(),
            setup,
        };
        for (link, _) in rig.setup.config.links.clone() {
            rig.links.insert(link.clone(), Link::default());
            rig.later(Duration::ZERO, Due::Dial(link));
        }
        rig.take(outcome);
        Ok(rig)
    }

    /// Since the beginning.
    pub fn at(&self) -> Duration {
        self.at
    }

    /// What was told since the last time.
    pub fn told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Bytes the connector was given.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// What the instance uses.
    pub fn usage(&self) -> Usage {
        self.connector.usage()
    }

    /// What it logged last.
    pub fn log(&self) -> Vec<LogLine> {
        self.connector.log().lines()
    }

    /// Is a link up?
    pub fn is_up(&self) -> bool {
        self.links.values().any(|link| link.up)
    }

    /// Lets time pass, with all that is due in it.
    pub fn run_until(&mut self, end: Duration) {
        while !self.stopped {
            let due = self.due.first_key_value().map(|((at, _), _)| *at);
            let wake = self.connector.wake_at().map(|at| at.saturating_sub(BOOT).max(self.at));
            let Some(next) = [due, wake].into_iter().flatten().min().filter(|next| *next <= end)
            else {
                break;
            };
            self.move_to(next.max(self.at));
            if due.is_some_and(|due| due <= next)
                && let Some((_, due)) = self.due.pop_first()
            {
                self.happen(due);
            } else {
                self.handle(Vec::new());
            }
        }
        self.move_to(end.max(self.at));
    }

    /// Lets what is due now happen.
    pub fn settle(&mut self) {
        self.run_until(self.at);
    }

    /// That turn of the PBX.
    pub fn turn(&mut self, number: usize) {
        for (link, said) in self.pbx.turn(number, self.at) {
            self.say(&link, said);
        }
    }

    /// Gives a command; they are numbered from 1.
    pub fn command(&mut self, kind: &str, arguments: &[(String, String)], within: Duration) -> u64 {
        self.commands += 1;
        let id = self.commands;
        let deadline = BOOT + self.at + within;
        let (kind, arguments) = (kind.to_owned(), arguments.to_vec());
        self.handle(vec![Input::Command { id, kind, arguments, deadline }]);
        id
    }

    /// The connections break; nobody answers for a while.
    pub fn cut(&mut self, link: &str, down: Duration) {
        self.lose(link, "the connection broke", Some(down.max(REDIAL)));
    }

    /// The connection breaks within the next bytes, after so many of them.
    pub fn cut_after(&mut self, bytes: u64) {
        self.unkind.cut_after = Some(self.received + bytes);
    }

    /// It broke already, or shall not break any more: was it still to break?
    pub fn cut_no_more(&mut self) -> bool {
        self.unkind.cut_after.take().is_some()
    }

    /// From now on the PBX says nothing, whatever it hears.
    pub fn mute(&mut self) {
        self.mute = true;
    }

    /// From now on what the PBX says is kept.
    pub fn keep_heard(&mut self) {
        self.heard = Some(Vec::new());
    }

    /// What the PBX said.
    pub fn heard(&mut self) -> Vec<Vec<u8>> {
        self.heard.take().unwrap_or_default()
    }

    /// From now on all inputs are recorded, up to so many bytes.
    pub fn begin_recording(&mut self, most_bytes: usize) {
        self.connector.begin_capture(most_bytes);
    }

    /// What was recorded.
    pub fn end_recording(&mut self) -> Option<Recording> {
        self.connector.end_capture()
    }

    /// How long the connector has computed, all that the runtime does around it included.
    pub fn computed(&self) -> Duration {
        self.computed
    }

    /// How long each call of it took, since the last time.
    pub fn timings(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.timings)
    }

    /// Has it come to an end by itself: given up, or without rest?
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Bytes come in as if the PBX had said them.
    pub fn say_bytes(&mut self, link: &str, bytes: Vec<u8>) {
        self.say(link, Said { bytes, ..Said::default() });
    }

    /// The connector is replaced by itself, with a snapshot; or with other settings.
    pub fn swap(&mut self, settings: Option<String>) {
        if let Some(settings) = settings {
            self.setup.config.settings = settings;
        }
        let successor = Successor {
            plugin: self.setup.plugin.clone(),
            config: self.setup.config.clone(),
            on_refusal: OnRefusal::Keep,
            probation: Duration::ZERO,
        };
        match self.connector.swap(successor, self.now()) {
            Ok((_, outcome)) => self.take(outcome),
            Err(error) => self.tell(What::Failed("swap".into(), error.to_string())),
        }
    }

    fn now(&self) -> Now {
        let wall = Timestamp(self.setup.begin.0.saturating_add(nanos(self.at)));
        Now { monotonic: BOOT + self.at, wall }
    }

    fn move_to(&mut self, at: Duration) {
        if at > self.at {
            self.at = at;
            self.at_once = 0;
        }
    }

    fn later(&mut self, after: Duration, due: Due) {
        self.numbers += 1;
        self.due.insert((self.at.saturating_add(after), self.numbers), due);
    }

    fn say(&mut self, link: &str, said: Said) {
        if self.mute {
            return;
        }
        let Some(state) = self.links.get(link) else { return };
        let (link, epoch) = (link.to_owned(), state.epoch);
        if state.up {
            self.later(said.after, Due::Said { link, epoch, said });
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Dial(link) => self.dial(link),
            Due::Said { link, epoch, said } => {
                if let Some(heard) = &mut self.heard {
                    heard.push(said.bytes.clone());
                }
                let pieces = self.pieces(said.bytes);
                for piece in pieces {
                    if !self.receive(&link, epoch, piece) {
                        return;
                    }
                }
                if said.closes && self.is_up_in(&link, epoch) {
                    self.lose(&link, "the PBX hung up", Some(REDIAL));
                }
            }
        }
    }

    fn is_up_in(&self, link: &str, epoch: u64) -> bool {
        self.links.get(link).is_some_and(|link| link.up && link.epoch == epoch)
    }

    fn dial(&mut self, link: String) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if state.up {
            return;
        }
        state.up = true;
        state.epoch += 1;
        let mut dice = Dice::new(state.epoch);
        let mut nonce = [0; 32];
        nonce.fill_with(|| dice.roll().to_le_bytes()[0]);
        self.tell(What::Link(link.clone(), true));
        let peer = format!("tcp://{link}.test");
        self.handle(vec![Input::LinkUp { link: link.clone(), peer, nonce }]);
        for said in self.pbx.connected(&link, self.at) {
            self.say(&link, said);
        }
    }

    /// False: the connection is gone.
    fn receive(&mut self, link: &str, epoch: u64, mut bytes: Vec<u8>) -> bool {
        if !self.is_up_in(link, epoch) || self.stopped {
            return false;
        }
        let cut = self.unkind.cut_after.filter(|cut| self.received + bytes.len() as u64 > *cut);
        if let Some(cut) = cut {
            bytes.truncate(usize::try_from(cut.saturating_sub(self.received)).unwrap_or(0));
            self.unkind.cut_after = None;
        }
        self.received += bytes.len() as u64;
        if !bytes.is_empty() {
            self.handle(vec![Input::Received { link: link.to_owned(), data: bytes }]);
        }
        if cut.is_some() {
            self.lose(link, "the connection broke", Some(REDIAL));
        }
        self.is_up_in(link, epoch)
    }

    fn pieces(&mut self, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let size = match &mut self.unkind.split {
                None => rest.len(),
                Some(Split::Every(size)) => *size,
                Some(Split::Random(most, dice)) => 1 + dice.below(*most),
            };
            let (piece, tail) = rest.split_at(size.clamp(1, rest.len()));
            pieces.push(piece.to_vec());
            rest = tail;
        }
        pieces
    }

    fn lose(&mut self, link: &str, reason: &str, redial: Option<Duration>) {
        let Some(state) = self.links.get_mut(link) else { return };
        if !std::mem::replace(&mut state.up, false) {
            return;
        }
        self.forget(link, redial);
        let (link, reason) = (link.to_owned(), reason.to_owned());
        self.handle(vec![Input::LinkClosed { link, reason }]);
    }

    /// What is known of a connection that is gone.
    fn forget(&mut self, link: &str, redial: Option<Duration>) {
        self.tell(What::Link(link.to_owned(), false));
        self.pbx.gone(link);
        if let Some(after) = redial {
            self.later(after, Due::Dial(link.to_owned()));
        }
    }

    fn tell(&mut self, what: What) {
        self.told.push(Told { at: self.at, what });
    }

    fn handle(&mut self, inputs: Vec<Input>) {
        self.at_once += 1;
        if self.at_once > MAX_AT_ONCE {
            self.stopped = true;
            let message =
                format!("more than {MAX_AT_ONCE} steps at one moment: it never comes to rest");
            return self.tell(What::Failed("endless".into(), message));
        }
        let began = Instant::now();
        let outcome = self.connector.handle(inputs, self.now());
        let took = began.elapsed();
        self.computed += took;
        // Enough for any figure.
        if self.timings.len() < MAX_TIMINGS {
            self.timings.push(took);
        }
        self.take(outcome);
        if self.unkind.swap && !self.stopped {
            self.swap(None);
        }
    }

    fn take(&mut self, outcome: Outcome) {
        let mut closed = Vec::new();
        let mut requests = Vec::new();
        for effect in outcome.effects {
            match effect {
                Effect::Send { link, parts } => {
                    let filled: Result<Vec<Vec<u8>>, _> =
                        parts.iter().map(|part| part.fill(&self.secrets)).collect();
                    match filled {
                        Ok(parts) => self.send(&link, &parts.concat()),
                        Err(error) => self.tell(What::Failed("secret".into(), error.to_string())),
                    }
                }
                Effect::Fact { fact, .. } => self.tell(What::Fact(fact)),
                Effect::ResyncBegin { id, scope } => self.tell(What::ResyncBegin(id, scope)),
                Effect::ResyncItem { id, fact } => self.tell(What::Has(id, fact)),
                Effect::ResyncEnd { id } => self.tell(What::ResyncEnd(id)),
                Effect::CommandOutcome { id, end, problem, detail } => {
                    self.tell(What::Outcome(id, end, problem, detail));
                }
                Effect::Close { link, reason, retry } => {
                    let redial = match retry {
                        Retry::Normal => Some(REDIAL),
                        Retry::Slow => Some(REDIAL_SLOWLY),
                        Retry::NeverUntilConfigChange => None,
                    };
                    self.tell(What::Close(link.clone(), reason, retry));
                    closed.push((link, redial));
                }
                Effect::HttpRequest { id, method, url, .. } => {
                    self.tell(What::Http(
                        Writer::new("http").field("method", method).field("url", url).done(),
                    ));
                    requests.push(id);
                }
            }
        }
        for incident in outcome.incidents {
            self.report(incident);
        }
        for (link, redial) in closed {
            self.lose(&link, "closed by the connector", redial);
        }
        for id in requests {
            let error = Some(Problem {
                code: "no-connection".to_owned(),
                message: "there is no web in a scenario of a connector".to_owned(),
                retryable: true,
            });
            let (headers, body) = (Vec::new(), Vec::new());
            self.handle(vec![Input::HttpResponse { id, status: 0, headers, body, error }]);
        }
    }

    fn send(&mut self, link: &str, bytes: &[u8]) {
        let heard = self.pbx.hear(link, bytes, self.at);
        for frame in heard.frames {
            self.tell(What::Sent(link.to_owned(), frame));
        }
        for said in heard.said {
            self.say(link, said);
        }
    }

    fn report(&mut self, incident: Incident) {
        let what = match incident {
            Incident::Trapped { kind, message } => What::Failed(kind.code().into(), message),
            Incident::Refused { what } => What::Refused(what),
            Incident::Quarantined { link, bytes, head, .. } => What::Failed(
                "quarantined".into(),
                format!("{bytes} bytes of `{link}` were taken out, which begin with `{head}`"),
            ),
            Incident::Skipped { what, kind } => {
                What::Failed("skipped".into(), format!("{what} ({})", kind.code()))
            }
            Incident::FrameTooLong { link, bytes, max_frame, .. } => What::Refused(format!(
                "{bytes} bytes of `{link}` were not consumed and dropped: frames have at most {max_frame} bytes"
            )),
            Incident::ColdStart { reason } => {
                self.all_closed(Some(REDIAL));
                What::Failed("cold-start".into(), reason)
            }
            Incident::GivenUp { reason } => {
                self.all_closed(None);
                self.stopped = true;
                What::Failed("given-up".into(), reason)
            }
            // Part of the trap before it, or of a probation, which there is none of.
            Incident::Recovered { .. }
            | Incident::RolledBack { .. }
            | Incident::ProbationPassed { .. } => return,
        };
        self.tell(what);
    }

    /// The runtime counts all links as closed.
    fn all_closed(&mut self, redial: Option<Duration>) {
        let up: Vec<String> =
            self.links.iter().filter(|(_, link)| link.up).map(|(name, _)| name.clone()).collect();
        for link in up {
            if let Some(state) = self.links.get_mut(&link) {
                state.up = false;
            }
            self.forget(&link, redial);
        }
    }
}
