//! The Asterisk connector: AMI bytes in, facts about queues, agents, extensions and calls out.
//!
//! It works with a stock `manager.conf` and the least privileges that show queues and calls; what an account
//! cannot see or do is missing from the capabilities it reports.

mod answers;
pub mod calls;
mod commands;
mod extensions;
pub mod forgery;
pub mod frame;
mod held;
mod live;
mod out;
mod probe;
mod queues;
mod resync;
mod session;
pub mod settings;

use std::collections::BTreeSet;

use jackfield_sdk::{
    Action, Bytes, Command, Config, Connector, Error, Input, LinkClosed, Now, Problem, Snapshot,
    log,
};
use serde::{Deserialize, Serialize};

use crate::{
    calls::Calls,
    commands::Commands,
    extensions::Extensions,
    frame::{Header, Next},
    held::{Desk, Held},
    out::Out,
    probe::Probes,
    queues::Queues,
    resync::{Item, Resync},
    session::{Asked, LINK, Phase, Session},
    settings::{Rules, Settings},
};

/// The name and version of our snapshots.
const FORMAT: &str = "asterisk";
const VERSION: u32 = 1;

/// No frame of the PBX is longer.
const MAX_FRAME: usize = 64 * 1024;

/// After a resync made necessary by an anomaly, the next one waits so long.
const RESYNC_GAP_NS: u64 = 5_000_000_000;

/// An instance.
pub struct Asterisk {
    settings: Settings,
    rules: Rules,
    state: State,
}

#[cfg(feature = "plugin")]
jackfield_sdk::register_connector!(Asterisk, manifest = include_bytes!("../manifest.json"));

/// Everything a snapshot holds. What is new comes last: an older version does not read so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    session: Session,
    pbx: PbxFacts,
    calls: Calls,
    queues: Queues,
    extensions: Extensions,
    held: Held,
    commands: Commands,
    probes: Probes,
    resync: Option<Resync>,
    /// When the last one ended, by the monotonic clock; 0 while this connection has shown no whole picture yet.
    last_resync: u64,
    /// Nobody told us that Asterisk has loaded everything: look once more.
    look_again: bool,
    /// A resync is due at this monotonic time.
    resync_at: Option<u64>,
    /// Commands `resync` that wait for the next one.
    resync_commands: Vec<u64>,
    /// Channels whose forged frames were reported.
    forgers: BTreeSet<String>,
    /// A frame that never ended is being skipped.
    skipping: bool,
    /// Callers whom we gave instructions since they are held: the lease on them is ours.
    leased: BTreeSet<String>,
}

impl State {
    /// Who is held, and what it takes to act for them.
    fn desk(&mut self) -> (&mut Held, Desk<'_>) {
        let is_pictured = self.last_resync != 0;
        let Self { held, calls, queues, extensions, session, leased, .. } = self;
        (held, Desk { calls, queues, extensions, session, is_pictured, leased })
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct PbxFacts {
    version: String,
    system_name: String,
    started_at: Option<u64>,
    /// As told last.
    capabilities: Vec<String>,
}

impl Connector for Asterisk {
    fn init(
        config: Config,
        state: Option<Snapshot>,
        _now: Now,
        _out: &mut Vec<Action>,
    ) -> Result<Self, Error> {
        let (settings, rules) = settings::read(&config.settings)?;
        let state = match state {
            None => State::default(),
            Some(Snapshot { format, version, mut data })
                if format == FORMAT && version == VERSION =>
            {
                // What an older version did not write, `leased`, is a set of the length 0.
                data.push(0);
                postcard::from_bytes(&data).map_err(|error| {
                    Error::new("bad-snapshot", format!("the snapshot cannot be read: {error}"))
                })?
            }
            Some(snapshot) => {
                let Snapshot { format, version, .. } = snapshot;
                return Err(Error::new(
                    "unknown-snapshot",
                    format!("a snapshot {format} {version} is not ours"),
                ));
            }
        };
        Ok(Self { settings, rules, state })
    }

    fn step(&mut self, now: Now, inputs: Vec<Input>, out: &mut Vec<Action>) -> Result<(), Error> {
        let mut out = Out::new(now, out);
        let before = self.wake_at();
        // A wake-up that came is used up, whatever it was for.
        let woken = inputs.iter().any(|input| matches!(input, Input::Wake));
        for input in inputs {
            out.at_pbx = None;
            self.input(input, &mut out);
        }
        self.due(&mut out);
        let wake_at = self.wake_at();
        if woken || wake_at != before {
            out.push(Action::WakeAt(wake_at));
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        let data = postcard::to_allocvec(&self.state).map_err(|error| {
            Error::new("snapshot-failed", format!("the state cannot be written: {error}"))
        })?;
        Ok(Snapshot { format: FORMAT.into(), version: VERSION, data })
    }

    fn validate(settings: &str) -> Vec<Problem> {
        settings::problems(settings)
    }
}

impl Asterisk {
    fn input(&mut self, input: Input, out: &mut Out<'_>) {
        match input {
            Input::LinkUp(up) if up.link == LINK => {
                self.state.session = Session::up(up.epoch, &up.nonce, out);
                // It may be another one, or a new start of it.
                self.state.pbx = PbxFacts::default();
                self.state.skipping = false;
            }
            Input::Bytes(bytes) if bytes.link == LINK && self.state.session.is_of(bytes.epoch) => {
                self.bytes(&bytes, out);
            }
            Input::LinkClosed(closed) if closed.link == LINK => self.closed(&closed, out),
            // What comes next may start in mid-frame: believe nothing until we know where we are.
            Input::Gap(gap) if self.is_live_link(&gap.link, gap.epoch) => {
                if gap.bytes > 0 {
                    self.mind_the_gap(out);
                } else {
                    // Nothing is missing: the host only wants everything looked at anew.
                    self.state.resync.iter_mut().for_each(Resync::spoil);
                }
                self.want_resync(0, out);
            }
            Input::Command(command) => self.command(&command, out),
            Input::SettingsChanged(text) => match settings::read(&text) {
                Ok((settings, rules)) => {
                    (self.settings, self.rules) = (settings, rules);
                    self.want_resync(0, out);
                }
                Err(error) => log::error(&error.message),
            },
            _ => {}
        }
    }

    fn is_live_link(&self, link: &str, epoch: u64) -> bool {
        link == LINK && self.state.session.is_of(epoch) && self.state.session.phase == Phase::Live
    }

    fn bytes(&mut self, bytes: &Bytes, out: &mut Out<'_>) {
        self.state.session.heard(self.settings.keepalive_secs, out);
        let data = bytes.data.as_slice();
        let mut at = 0;
        if self.state.session.phase == Phase::Banner {
            match self.banner(data, out) {
                Some(length) => at = length,
                None => return,
            }
        }
        let mut headers = Vec::with_capacity(64);
        loop {
            let rest = &data[at..];
            match frame::next(rest, &mut headers) {
                Next::Frame(length) => {
                    at += length;
                    if std::mem::take(&mut self.state.skipping) {
                        continue;
                    }
                    out.at_pbx = None;
                    self.frame(&headers, out);
                }
                Next::Blank(length) => at += length,
                Next::Incomplete
                    if rest.len() > MAX_FRAME && self.state.session.is_logging_in() =>
                {
                    let said = format!(
                        "it sent a message of more than {} KiB during the login: is this really an AMI port?",
                        MAX_FRAME / 1024
                    );
                    self.state.session.close(said, "slow", out);
                    break;
                }
                Next::Incomplete if rest.len() > MAX_FRAME => {
                    // Keep what may be the start of its end.
                    at += rest.len() - 3;
                    if !std::mem::replace(&mut self.state.skipping, true) {
                        self.poisoned(&headers, "it has no end", out);
                    }
                    break;
                }
                Next::Incomplete => break,
            }
        }
        if at > 0 && self.state.session.phase != Phase::Closing {
            out.push(Action::consumed(LINK, bytes.offset + at as u64));
        }
    }

    /// The first line, which no empty line follows. Says how long it was.
    fn banner(&mut self, data: &[u8], out: &mut Out<'_>) -> Option<usize> {
        const BANNER: &[u8] = b"Asterisk Call Manager/";
        let end = data.windows(2).take(256).position(|two| two == b"\r\n");
        let known = data.len().min(BANNER.len());
        if data[..known] != BANNER[..known] || (end.is_none() && data.len() > 256) {
            let message =
                "what answers there is no AMI: check the port (5038, TLS 5039) in `links.ami`";
            self.state.session.close(message, "slow", out);
            return Some(data.len());
        }
        let end = end?;
        self.state.session.challenge(out);
        Some(end + 2)
    }

    fn frame(&mut self, headers: &[Header<'_>], out: &mut Out<'_>) {
        if self.state.resync.as_ref().is_some_and(Resync::is_cut)
            && self.ends_as_ours(headers)
            && forgery::has_an_entrys_key(headers)
        {
            // The rest of the cut item, whatever the caller made it begin with.
            return self.state.resync.iter_mut().for_each(Resync::cut_is_over);
        }
        match headers {
            [(b"Response", _), (b"ActionID", id), ..] => {
                if let Some(id) = self.state.session.own(id) {
                    self.response(id, headers, out);
                }
            }
            // An error about something we did not send in full has no ActionID.
            [(b"Response", _), ..] => {}
            [(b"Event", _), (b"ActionID", id), ..] => self.item(id, headers, out),
            [
                (
                    b"Event",
                    b"QueueParams" | b"QueueMember" | b"QueueEntry" | b"QueueStatusComplete",
                ),
                ..,
                (b"ActionID", id),
            ] => {
                self.item(id, headers, out);
            }
            [(b"Event", _), (b"Privilege", _), ..] => self.live(headers, out),
            _ => self.poisoned(headers, "it begins as nothing Asterisk sends", out),
        }
    }

    fn item(&mut self, action_id: &[u8], headers: &[Header<'_>], out: &mut Out<'_>) {
        let own = self.state.session.own(action_id);
        let Some(id) = own else {
            // A cut item has lost its ActionID.
            return self.poisoned(headers, "it answers nothing we asked", out);
        };
        let list = match self.state.session.asked(id) {
            Some(&Asked::List(list)) => list,
            Some(&Asked::ProbeDialplan(command)) => {
                if self.state.probes.dialplan(command, headers) {
                    self.state.session.answered(id);
                }
                return;
            }
            _ => return,
        };
        let Some(resync) = &mut self.state.resync else { return };
        match resync.item(list, headers, &mut self.state.calls, &self.rules) {
            Ok(Item::OneOfMore) => {}
            Ok(Item::Last) => {
                self.state.session.answered(id);
                self.end_resync_if_complete(out);
            }
            Err(why) => self.poisoned(headers, why, out),
        }
    }

    fn ends_as_ours(&self, headers: &[Header<'_>]) -> bool {
        headers
            .last()
            .is_some_and(|last| last.0 == b"ActionID" && self.state.session.own(last.1).is_some())
    }

    /// A frame that Asterisk would not send: somebody put line ends into what it prints.
    fn poisoned(&mut self, headers: &[Header<'_>], why: &str, out: &mut Out<'_>) {
        let session = &self.state.session;
        if !matches!(session.phase, Phase::Booting | Phase::Live) {
            return;
        }
        let ends_as_ours = self.ends_as_ours(headers);
        if let (Some(resync), false) = (&mut self.state.resync, ends_as_ours) {
            resync.item_was_cut(headers);
        }
        let known = self.state.session.distrust.is_some();
        self.distrust(out);
        if known {
            // What follows the cut is expected to be nonsense.
            return;
        }
        let channel =
            headers.iter().take(8).find(|header| header.0 == b"Channel").map(|header| header.1);
        let channel = channel.map(frame::text).unwrap_or_default();
        self.report_forgery(channel, headers, why, out);
    }

    fn report_forgery(
        &mut self,
        channel: String,
        headers: &[Header<'_>],
        why: &str,
        out: &mut Out<'_>,
    ) {
        let first = !self.state.forgers.contains(&channel);
        if self.state.forgers.len() >= 256 {
            self.state.forgers.clear();
        }
        if first {
            let event: String =
                headers.first().map(|header| frame::text(header.1)).unwrap_or_default();
            let event: String =
                event.chars().filter(|letter| letter.is_alphanumeric()).take(40).collect();
            let place = if channel.is_empty() {
                String::new()
            } else {
                format!(" about the channel {channel}")
            };
            let message = format!(
                "a frame ({event}){place} was dropped: {why}; a caller may be forging AMI events"
            );
            let fix = "Look at who called on that channel, and have the SBC or the trunk's provider strip control \
                       characters from caller numbers";
            out.notice("forged-input", "security", message, fix);
            self.state.forgers.insert(channel);
        }
        // However many channels forge: one look at the PBX in so much time.
        self.want_resync(RESYNC_GAP_NS, out);
    }

    /// In the gap may be the end of a list, and the answer to a ping: neither is waited for any more.
    fn mind_the_gap(&mut self, out: &mut Out<'_>) {
        let State { session, resync, held, .. } = &mut self.state;
        session.distrust = Some(session.ping(out));
        held.missed_answers(out);
        if let Some(resync) = resync {
            resync.ask_again(session, out);
        }
    }

    /// Believes nothing more until a ping is answered.
    fn distrust(&mut self, out: &mut Out<'_>) {
        self.state.resync.iter_mut().for_each(Resync::spoil);
        if self.state.session.distrust.is_none() {
            let ping = self.state.session.ping(out);
            self.state.session.distrust = Some(ping);
            self.state.held.doubt();
        }
    }

    /// A resync is needed, at the earliest so long after the last one.
    fn want_resync(&mut self, gap_ns: u64, out: &Out<'_>) {
        // One under way counts as ending now, and so does one that showed nothing whole.
        let is_now = self.state.resync.is_some() || self.state.last_resync == 0;
        let last = if is_now { out.mono() } else { self.state.last_resync };
        let at = out.mono().max(last.saturating_add(gap_ns));
        self.state.resync_at = Some(self.state.resync_at.map_or(at, |known| known.min(at)));
    }

    fn end_resync_if_complete(&mut self, out: &mut Out<'_>) {
        let State { resync, calls, queues, extensions, held, session, last_resync, leased, .. } =
            &mut self.state;
        let complete = |resync: &mut Resync| resync.is_complete(held, calls, session, out);
        if let Some(resync) = resync.take_if(complete) {
            if resync.is_whole() || *last_resync != 0 {
                *last_resync = out.mono().max(1);
            }
            out.at_pbx = None;
            let elsewhere = resync.end(calls, queues, extensions, held, &self.rules, out);
            leased.retain(|id| calls.is_leg(id));
            held.make_certain(calls, session, out);
            for id in elsewhere {
                held::free(&id, self.state.desk().1, out);
            }
            if std::mem::take(&mut self.state.look_again) {
                self.want_resync(RESYNC_GAP_NS, out);
            }
        }
    }

    fn closed(&mut self, closed: &LinkClosed, out: &mut Out<'_>) {
        if !self.state.session.is_of(closed.epoch) {
            return;
        }
        let state = &mut self.state;
        state.session = Session::default();
        state.skipping = false;
        (state.resync_at, state.last_resync) = (None, 0);
        state.forgers.clear();
        state.queues.lost_sight();
        state.commands.lost(out);
        state.held.lost(out);
        state.probes.lost(out);
        let waiting = state.resync.take().map(|resync| resync.commands).unwrap_or_default();
        for command in waiting.into_iter().chain(std::mem::take(&mut state.resync_commands)) {
            out.push(Action::failed(
                command,
                Error::retryable("link-lost", "the link to the PBX broke"),
            ));
        }
    }

    fn command(&mut self, command: &Command, out: &mut Out<'_>) {
        let live = self.state.session.phase == Phase::Live;
        match command.kind.as_str() {
            "resync" if !matches!(command.argument("scope"), None | Some("" | "all")) => {
                let error = Error::new(
                    "not-supported",
                    "this connector reads everything at once: leave `scope` out, or set it to `all`",
                );
                out.push(Action::rejected(command.id, error));
            }
            "resync" | "probe" if !live => {
                let error = Error::retryable(
                    "not-connected",
                    "the connector is not logged in to the PBX now",
                );
                out.push(Action::failed(command.id, error));
            }
            "resync" => {
                self.state.resync_commands.push(command.id);
                self.want_resync(0, out);
            }
            kind if kind.starts_with("leg-") => {
                let (held, desk) = self.state.desk();
                held.instruct(command, desk, out);
            }
            "probe" => self.state.probes.begin(command, &mut self.state.session, out),
            _ => self.state.commands.handle(command, &mut self.state.session, out),
        }
    }

    /// Does what is due now.
    fn due(&mut self, out: &mut Out<'_>) {
        out.at_pbx = None;
        let now = out.mono();
        self.state.session.timed_out(out);
        self.state.commands.settle(&self.state.queues, out);
        if self.state.queues.deadline().is_some_and(|at| at <= now) {
            self.state.queues.timed_out(&self.state.calls, out);
        }
        self.end_resync_if_complete(out);
        if self.state.resync.as_ref().is_some_and(|resync| resync.deadline <= now) {
            self.state.session.close(
                "the PBX did not complete its lists within 30 s",
                "normal",
                out,
            );
        }
        let State { resync, resync_at, resync_commands, session, calls, .. } = &mut self.state;
        let trusted = session.phase == Phase::Live && session.distrust.is_none();
        if trusted && resync.is_none() && resync_at.take_if(|at| *at <= now).is_some() {
            let commands = std::mem::take(resync_commands);
            // The number of the resync: unique as long as the host runs.
            let id = out.now.monotonic_ns;
            *resync = Some(Resync::begin(id, commands, calls, session, out));
        }
    }

    /// When to be woken; 0 is never.
    fn wake_at(&self) -> u64 {
        let state = &self.state;
        let resync = match &state.resync {
            Some(resync) => Some(resync.deadline),
            None if state.session.phase == Phase::Live && state.session.distrust.is_none() => {
                state.resync_at
            }
            None => None,
        };
        [state.session.wake_at(), state.queues.deadline(), state.commands.deadline(), resync]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(0)
    }
}
