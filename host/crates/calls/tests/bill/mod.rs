//! A phone bill: inputs as lines of text, and behind each the events it made.
//!
//! Legs have their native names, calls and entries are counted, so that a scenario reads without a table of ids.

use std::{collections::BTreeMap, time::Duration};

use calls::{
    Accepted, Actor, AgentId, Body, CallId, CommandId, ConnectorId, ConnectorPolicy, EntryId,
    Event, Fact, Input, LegId, Now, Output, Policy, QueueId, Refusal, Request, Restore, State,
    Switchboard, Timestamp,
    event::{Agent, CommandEnd, Device, Hook, HookOutcome, HookWord, Party},
    fact::{
        Caller, Extension, Leg, LegDirection, Member, MemberRef, Notice, Pbx, QueueSettings,
        RawCause, RawParty,
    },
};

const START: u64 = 1_000_000_000_000_000_000;

pub fn policy() -> Policy {
    let policy = ConnectorPolicy { plugin: "asterisk 0.1.0".into(), ..Default::default() };
    let mut connectors = BTreeMap::from(["hq", "branch"].map(|id| (id.into(), policy.clone())));
    if let Some(hq) = connectors.get_mut(&ConnectorId::from("hq")) {
        hq.restore_queues.insert("fleeting".into(), Restore::Nothing);
    }
    Policy {
        connectors,
        parties: Box::new(|_, raw| Party {
            raw: raw.number.clone(),
            name: Some(raw.name.clone()).filter(|name| !name.is_empty()),
            presentation: raw.presentation,
            ..Party::default()
        }),
    }
}

/// A switchboard that is fed and read as text.
pub struct Bill {
    pub switchboard: Switchboard,
    pub events: Vec<Event>,
    pub millis: u64,
    connector: ConnectorId,
    picture: u64,
    legs: BTreeMap<LegId, String>,
    calls: BTreeMap<CallId, usize>,
    entries: BTreeMap<EntryId, usize>,
    pub commands: Vec<CommandId>,
}

impl Bill {
    pub fn new() -> Self {
        Self::from(State::default(), 0)
    }

    pub fn from(state: State, millis: u64) -> Self {
        Self {
            switchboard: Switchboard::new(policy(), state),
            events: Vec::new(),
            millis,
            connector: "hq".into(),
            picture: 0,
            legs: BTreeMap::new(),
            calls: BTreeMap::new(),
            entries: BTreeMap::new(),
            commands: Vec::new(),
        }
    }

    pub fn now(&self) -> Now {
        Now {
            monotonic: Duration::from_millis(self.millis),
            wall: Timestamp(START + self.millis * 1_000_000),
        }
    }

    /// The host goes away and comes back with nothing but the journal.
    pub fn restart_host(&mut self, without: &str) {
        let mut policy = policy();
        policy.connectors.remove(&ConnectorId::from(without));
        self.restart_host_with(policy);
    }

    fn restart_host_with(&mut self, policy: Policy) {
        let mut state = State::default();
        self.events.iter().for_each(|event| state.apply(event));
        let configured: Vec<ConnectorId> = policy.connectors.keys().cloned().collect();
        self.switchboard = Switchboard::new(policy, state);
        for connector in configured {
            self.switchboard.handle(Input::Configured { connector }, self.now());
        }
    }

    /// Every input line again, each followed by what it made.
    pub fn play(&mut self, script: &str) -> String {
        let mut played = String::new();
        for line in script.lines() {
            if line.trim_start().starts_with("->") {
                continue;
            }
            played += line;
            played.push('\n');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            for made in self.line(line) {
                played += "  -> ";
                played += &made;
                played.push('\n');
            }
        }
        played
    }

    fn line(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut made = Vec::new();
        match words.as_slice() {
            ["+", millis] => {
                let until = self.millis + millis.parse::<u64>().expect("milliseconds");
                while let Some(at) = self.switchboard.poll_timeout() {
                    let at = u64::try_from(at.as_millis()).expect("fits");
                    if at > until {
                        break;
                    }
                    self.millis = at;
                    let now = self.now();
                    self.switchboard.handle_timeout(now);
                }
                self.millis = until;
            }
            ["on", connector] => self.connector = (*connector).into(),
            ["restart-host"] => self.restart_host(""),
            ["restart-host", "without", connector] => self.restart_host(connector),
            ["restart-host", "link-to", place] => {
                let mut policy = policy();
                if let Some(hq) = policy.connectors.get_mut(&self.connector) {
                    hq.place = (*place).to_owned();
                }
                self.restart_host_with(policy);
            }
            ["connect", started] => {
                self.input_fact(pbx(started));
                self.picture += 1;
                self.resync(self.picture, &[]);
            }
            ["down", reason] => {
                let connector = self.connector.clone();
                self.input(Input::Disconnected { connector, reason: (*reason).into() });
            }
            ["begin", scope] => {
                self.picture += 1;
                let (connector, id) = (self.connector.clone(), self.picture);
                self.input(Input::ResyncBegin { connector, id, scope: (*scope).into() });
            }
            ["*", item @ ..] => {
                let (connector, id) = (self.connector.clone(), self.picture);
                self.input(Input::ResyncItem { connector, id, fact: fact(item) });
            }
            ["end-of-picture"] => {
                let (connector, id) = (self.connector.clone(), self.picture);
                self.input(Input::ResyncEnd { connector, id });
            }
            ["sent", n] => {
                let command = self.command(n);
                self.input(Input::CommandSent { command });
            }
            ["outcome", n, end] => {
                let command = self.command(n);
                let (end, detail) = (CommandEnd::from(*end), String::new());
                self.input(Input::CommandOutcome { command, end, problem: None, detail });
            }
            [
                "put-agent" | "rest-agent" | "remove-agent" | "ask" | "pause" | "unpause" | "login"
                | "logout",
                ..,
            ] => {
                let (request, actor) = self.parse_request(&words);
                let now = self.now();
                match self.switchboard.request(request, actor, now) {
                    Ok(Accepted { commands, repeated, .. }) => {
                        if repeated {
                            made.push(format!("repeated {}", self.numbers(&commands)));
                        }
                    }
                    Err(refusal) => made.push(format!("refused {}: {refusal}", word(&refusal))),
                }
            }
            ["decided", call, instance, outcome, verdict @ ..] => {
                let (call, _) =
                    self.calls.iter().find(|(_, n)| n.to_string() == *call).expect("known");
                let word = HookWord {
                    hook: Hook::Router,
                    instance: (*instance).into(),
                    plugin: "skills 0.1.0".into(),
                    attempt: 1,
                    outcome: HookOutcome::from(*outcome),
                    verdict: verdict.join(" "),
                    reason: String::new(),
                    facts: Vec::new(),
                    took_us: 0,
                };
                self.input(Input::Decided { call: *call, leg: None, word });
            }
            words => self.input_fact(fact(words)),
        }
        made.extend(self.drain());
        made
    }

    fn command(&self, n: &str) -> CommandId {
        self.commands[n.parse::<usize>().expect("number") - 1]
    }

    fn numbers(&self, ids: &[CommandId]) -> String {
        let number = |id| 1 + self.commands.iter().position(|known| known == id).expect("known");
        ids.iter().map(|id| number(id).to_string()).collect::<Vec<_>>().join(",")
    }

    pub fn input(&mut self, input: Input) {
        let now = self.now();
        self.switchboard.handle(input, now);
    }

    fn input_fact(&mut self, fact: Fact) {
        let connector = self.connector.clone();
        self.input(Input::Fact { connector, at_pbx: None, fact });
    }

    fn resync(&mut self, id: u64, items: &[Fact]) {
        let connector = self.connector.clone();
        self.input(Input::ResyncBegin { connector: connector.clone(), id, scope: "all".into() });
        for fact in items {
            let fact = fact.clone();
            self.input(Input::ResyncItem { connector: connector.clone(), id, fact });
        }
        self.input(Input::ResyncEnd { connector, id });
    }

    fn queue_id(&self, name: &str) -> QueueId {
        let queue = self.switchboard.state().queue_named(&self.connector, name);
        queue.map_or(QueueId(0), |queue| queue.id)
    }

    fn parse_request(&self, words: &[&str]) -> (Request, Actor) {
        let option = |name: &str| option(words, name);
        let idempotency_key = option("key").map(str::to_owned);
        let timeout = Duration::from_millis(
            option("timeout").map_or(5_000, |text| text.parse().expect("ms")),
        );
        let agent = AgentId::from(words[1]);
        let queue = option("queue").map(|name| self.queue_id(name));
        let queues = queue.into_iter().collect();
        let actor = Actor::Token("crm".into());
        let request = match words[0] {
            "put-agent" | "rest-agent" => {
                let devices = option("devices")
                    .unwrap_or_default()
                    .split(',')
                    .filter(|text| !text.is_empty());
                let device = |extension: &str| Device {
                    connector: self.connector.clone(),
                    extension: extension.into(),
                };
                let external = option("user").map(|id| ("rocketchat_user_id".into(), id.into()));
                let agent = Agent {
                    id: agent.clone(),
                    name: agent.as_str().to_uppercase(),
                    external: external.into_iter().collect(),
                    devices: devices.map(device).collect(),
                    from_config: false,
                };
                let from_config = words[0] == "put-agent";
                return (Request::PutAgent(agent), if from_config { Actor::Config } else { actor });
            }
            "remove-agent" => Request::RemoveAgent(agent),
            "ask" => {
                let arguments = words[2..].iter().filter_map(|word| word.split_once('='));
                let arguments =
                    arguments.filter(|(name, _)| !matches!(*name, "key" | "timeout" | "at"));
                let unescape = |text: &str| text.replace("\\n", "\n");
                Request::Command {
                    connector: option("at").map_or(self.connector.clone(), ConnectorId::from),
                    kind: words[1].into(),
                    arguments: arguments
                        .map(|(name, value)| (name.into(), unescape(value)))
                        .collect(),
                    idempotency_key,
                    timeout,
                }
            }
            "pause" => {
                let reason = option("reason").unwrap_or_default().into();
                Request::AgentPause { agent, queue, reason, idempotency_key, timeout }
            }
            "unpause" => Request::AgentUnpause { agent, queue, idempotency_key, timeout },
            "login" => {
                let penalty = 3;
                Request::AgentLogin { agent, queues, penalty, idempotency_key, timeout }
            }
            _ => Request::AgentLogout { agent, queues, idempotency_key, timeout },
        };
        (request, actor)
    }

    pub fn drain(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(output) = self.switchboard.poll_output() {
            match output {
                Output::Event(event) => {
                    lines.push(self.print(&event));
                    self.events.push(event);
                }
                Output::Deliver { command, kind, arguments, after, .. } => {
                    assert!(self.events.iter().any(|event| event.seq == after), "{after}");
                    let arguments: Vec<String> =
                        arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    let number = self.numbers(&[command]);
                    lines.push(format!("deliver {number} {kind} {}", arguments.join(" ")));
                }
                Output::Offered(offered) => lines.push(format!(
                    "ask {} about {} attempt {}",
                    self.legs[&offered.leg], offered.caller.raw, offered.held.attempt
                )),
                Output::Released { leg, reason, .. } => {
                    lines.push(format!("let go of {} {reason}", self.legs[&leg]));
                }
                Output::Key { leg, key, .. } => {
                    lines.push(format!("key {key} of {}", self.legs[&leg]));
                }
            }
        }
        lines
    }

    fn print(&mut self, event: &Event) -> String {
        let about = &event.about;
        if let (Some(id), Body::LegStarted { native, .. }) = (about.leg, &event.body) {
            self.legs.insert(id, native.clone());
        }
        if let Some(id) = about.call {
            let next = self.calls.len() + 1;
            self.calls.entry(id).or_insert(next);
        }
        if let Some(id) = about.entry {
            let next = self.entries.len() + 1;
            self.entries.entry(id).or_insert(next);
        }
        if let (Some(id), Body::CommandAccepted { .. }) = (about.command, &event.body) {
            self.commands.push(id);
        }
        let mut text = self.body(event);
        if let Some(id) = about.entry {
            text += &format!(" entry {}", self.entries[&id]);
        }
        if let Some(id) = about.leg {
            text += &format!(" leg {}", self.legs[&id]);
        }
        if let Some(id) = about.call {
            text += &format!(" call {}", self.calls[&id]);
        }
        if let Some(agent) = &about.agent {
            text += &format!(" agent {agent}");
        }
        if let Some(command) = about.command {
            text += &format!(" command {}", self.numbers(&[command]));
        }
        if event.inferred {
            text += " (inferred)";
        }
        text
    }

    fn body(&self, event: &Event) -> String {
        let leg = |id: &LegId| self.legs[id].clone();
        let legs = |ids: &[LegId]| ids.iter().map(leg).collect::<Vec<_>>().join(",");
        let maybe = |id: &Option<LegId>| id.as_ref().map_or("?".to_owned(), leg);
        match &event.body {
            Body::ConnectorConnected { .. } => "connector.connected".into(),
            Body::PbxChanged { .. } => "connector.pbx-changed".into(),
            Body::ConnectorDisconnected { reason } => format!("connector.disconnected {reason}"),
            Body::ObservationGap { from, to } => {
                format!(
                    "connector.observation-gap {}..{} ms",
                    (from.0 - START) / 1_000_000,
                    (to.0 - START) / 1_000_000
                )
            }
            Body::Resynced { scope, corrections } => {
                format!("connector.resynced {scope} {corrections}")
            }
            Body::ExtensionChanged(extension) => {
                format!("extension.changed {} {}", extension.number, extension.state)
            }
            Body::ExtensionRemoved { number } => format!("extension.removed {number}"),
            Body::QueueChanged(settings) => format!("queue.changed {}", settings.name),
            Body::QueueRemoved { name } => format!("queue.removed {name}"),
            Body::MemberAdded(member) => format!("member.added {}", seat(member)),
            Body::MemberChanged(member) => format!("member.changed {}", seat(member)),
            Body::MemberPaused(member) => {
                format!("member.paused {} {:?}", seat(member), member.pause_reason)
            }
            Body::MemberUnpaused(member) => format!("member.unpaused {}", seat(member)),
            Body::MemberRemoved(member) => {
                format!("member.removed {} {}", member.queue, member.interface)
            }
            Body::MemberDesired { member, wish } => {
                let wish = match wish {
                    None => "nothing".to_owned(),
                    Some(wish) => format!(
                        "{}{}",
                        if wish.dynamic { "seat" } else { "pause only" },
                        wish.paused
                            .as_ref()
                            .map_or(String::new(), |why| format!(" paused {why:?}"))
                    ),
                };
                format!("member.desired {} {}: {wish}", member.queue, member.interface)
            }
            Body::CallerJoined { position, joined_at, .. } => {
                let waited = (event.at.0 - joined_at.0) / 1_000_000;
                format!(
                    "caller.joined at {position}{}",
                    if waited > 0 { format!(" since {waited} ms") } else { String::new() }
                )
            }
            Body::CallerMoved { position } => format!("caller.moved to {position}"),
            Body::CallerLeft { exit, waited_ms, offered, .. } => format!(
                "caller.left {exit} after {waited_ms} ms{}",
                if *offered { " offered" } else { "" }
            ),
            Body::OfferStarted { interface, member_leg } => {
                format!("offer.started {interface} by {}", maybe(member_leg))
            }
            Body::OfferEnded { interface, outcome, rang_ms } => {
                format!("offer.ended {interface} {outcome} after {rang_ms} ms")
            }
            Body::ServiceStarted { interface, member_leg, waited_ms, .. } => {
                format!("service.started {interface} by {} after {waited_ms} ms", maybe(member_leg))
            }
            Body::ServiceEnded { interface, ended_by, talked_ms } => {
                format!("service.ended {interface} by {ended_by} after {talked_ms} ms")
            }
            Body::CallStarted { caller, dialled } => {
                format!("call.started {}>{dialled}", caller.raw)
            }
            Body::CallMerged { into } => format!("call.merged into {}", self.calls[into]),
            Body::CallEnded { outcome, cause } => format!("call.ended {outcome} {}", cause.code),
            Body::LegStarted { device, state, .. } => format!("leg.started {device} {state}"),
            Body::LegMoved { from } => format!("leg.moved from {}", self.calls[from]),
            Body::LegState { state } => format!("leg.{state}"),
            Body::LegParty { party } => format!("leg.identified {}", party.raw),
            Body::LegPeers { with } if with.is_empty() => "leg.disconnected".into(),
            Body::LegPeers { with } => format!("leg.connected with {}", legs(with)),
            Body::LegEnded { cause, ended_by } => {
                format!("leg.ended {} {ended_by}", cause.code).trim().into()
            }
            Body::Transferred { kind, transferee, target, outcome, .. } => {
                format!("call.transferred {kind} {} to {target:?} {outcome}", maybe(transferee))
            }
            Body::LegOffered(held) => {
                let from = if held.returned_from.is_empty() { "new" } else { &held.returned_from };
                format!("leg.offered {} {from} {}", held.entry, held.attempt)
            }
            Body::LegReleased { reason } => format!("leg.released {reason}"),
            Body::CallDecided(word) => {
                format!("call.decided {} {} {}", word.instance, word.outcome, word.verdict)
                    .trim()
                    .into()
            }
            Body::AgentChanged(agent) => format!("agent.changed {}", agent.name),
            Body::AgentRemoved => "agent.removed".into(),
            Body::AgentStatus { status, reason } => {
                format!("agent.status {status} {reason}").trim().into()
            }
            Body::AgentState { state } => format!("agent.state {state}"),
            Body::CommandAccepted { kind, .. } => format!(
                "command.accepted {kind} from {}",
                match &event.actor {
                    Actor::Token(name) => name,
                    Actor::Host => "host",
                    Actor::Config => "config",
                    Actor::Pbx { .. } => "pbx",
                }
            ),
            Body::CommandSent => "command.sent".into(),
            Body::CommandEnded { end, .. } => format!("command.ended {end}"),
            Body::Notice(notice) => {
                format!("notice {} {}: {}", notice.severity, notice.code, notice.message)
            }
            Body::Other { kind, .. } => format!("other {kind}"),
        }
    }
}

fn word(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotFound { .. } => "not-found",
        Refusal::Conflict { .. } => "conflict",
        Refusal::Invalid { .. } => "invalid",
        Refusal::Unavailable { .. } => "unavailable",
        Refusal::TooMany { .. } => "too-many",
    }
}

fn seat(member: &Member) -> String {
    format!("{} {} {}", member.queue, member.interface, member.state)
}

fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words
        .iter()
        .find_map(|word| word.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}

pub fn pbx(started: &str) -> Fact {
    Fact::Pbx(Pbx {
        product: "Asterisk".into(),
        version: "22".into(),
        system_name: String::new(),
        started_at: Some(Timestamp(started.parse().expect("number"))),
        capabilities: Vec::new(),
    })
}

/// One line of a scenario as a fact.
pub fn fact(words: &[&str]) -> Fact {
    let option = |name: &str| option(words, name);
    let number = |name: &str| option(name).map_or(0, |text| text.parse().expect("number"));
    match *words {
        ["leg", id, from_or_to, who, ..] => {
            let trunk = who.len() > 4;
            Fact::LegStarted(Leg {
                id: id.into(),
                related: option("for").map(Into::into),
                direction: if from_or_to == "from" {
                    LegDirection::FromDevice
                } else {
                    LegDirection::ToDevice
                },
                device: if trunk { "PJSIP/trunk".into() } else { format!("PJSIP/{who}") },
                extension: (!trunk).then(|| who.into()),
                state: option("state").unwrap_or("started").into(),
                party: RawParty { number: who.into(), ..RawParty::default() },
                dialled: option("dial").unwrap_or_default().into(),
            })
        }
        ["state", leg, state] => Fact::LegState { leg: leg.into(), state: state.into() },
        ["party", leg, number] => Fact::LegParty {
            leg: leg.into(),
            party: RawParty { number: number.into(), ..RawParty::default() },
        },
        ["peers", leg, ref peers @ ..] => Fact::LegPeers {
            leg: leg.into(),
            peers: peers.iter().map(|peer| (*peer).into()).collect(),
        },
        ["hangup", leg, q850, ref by @ ..] => Fact::LegEnded {
            leg: leg.into(),
            cause: RawCause { q850: q850.parse().expect("cause"), ..RawCause::default() },
            ended_by: by.first().copied().unwrap_or_default().into(),
        },
        ["offered", leg, entry, ref from @ ..] => Fact::LegOffered {
            leg: leg.into(),
            entry: entry.into(),
            dialled: "500".into(),
            returned_from: from.first().copied().unwrap_or_default().into(),
            outcome: from.get(1).copied().unwrap_or_default().into(),
            facts: Vec::new(),
        },
        ["released", leg, reason] => Fact::LegReleased { leg: leg.into(), reason: reason.into() },
        ["key", leg, key] => Fact::LegKey { leg: leg.into(), key: key.into(), held_ms: 80 },
        ["transfer", kind, transferer, transferee, target] => Fact::Transfer {
            kind: kind.into(),
            transferer: transferer.into(),
            transferee: Some(transferee.into()),
            target: target.into(),
            outcome: "success".into(),
        },
        ["queue", name, ..] => Fact::Queue(QueueSettings {
            name: name.into(),
            strategy: "rrmemory".into(),
            max_length: 0,
            service_level_secs: 0,
            wrap_up_secs: number("wrap"),
            weight: 0,
        }),
        ["no-queue", name] => Fact::QueueRemoved { name: name.into() },
        ["member", queue, interface, ..] => Fact::Member(Member {
            queue: queue.into(),
            interface: interface.into(),
            state_interface: option("by").unwrap_or(interface).into(),
            extension: option("ext").map(str::to_owned),
            name: String::new(),
            membership: option("as").unwrap_or("static").into(),
            penalty: number("penalty"),
            paused: option("paused").is_some(),
            pause_reason: option("paused").unwrap_or_default().into(),
            state: option("state").unwrap_or("idle").into(),
            in_call: false,
            calls_taken: number("taken"),
            last_call: None,
        }),
        ["no-member", queue, interface] => {
            Fact::MemberRemoved(MemberRef { queue: queue.into(), interface: interface.into() })
        }
        ["join", queue, leg, position, ..] => Fact::CallerJoined(Caller {
            queue: queue.into(),
            leg: leg.into(),
            position: position.parse().expect("position"),
            priority: 0,
            waited_secs: number("waited"),
        }),
        ["leave", queue, leg, exit] => Fact::CallerLeft {
            queue: queue.into(),
            leg: leg.into(),
            exit: exit.into(),
            evidence: "test".into(),
        },
        ["offer", queue, leg, interface, ref by @ ..] => Fact::OfferStarted {
            queue: queue.into(),
            leg: leg.into(),
            interface: interface.into(),
            member_leg: by.first().map(|leg| (*leg).into()),
        },
        ["offer-ended", queue, leg, interface, outcome, rang_ms] => Fact::OfferEnded {
            queue: queue.into(),
            leg: leg.into(),
            interface: interface.into(),
            outcome: outcome.into(),
            rang_ms: rang_ms.parse().expect("ms"),
        },
        ["serve", queue, leg, interface, ref by @ ..] => Fact::ServiceStarted {
            queue: queue.into(),
            leg: leg.into(),
            interface: interface.into(),
            member_leg: by.first().filter(|word| !word.contains('=')).map(|leg| (*leg).into()),
            waited_secs: number("waited"),
            rang_secs: 0,
        },
        ["served", queue, leg, interface, by, secs] => Fact::ServiceEnded {
            queue: queue.into(),
            leg: leg.into(),
            interface: interface.into(),
            ended_by: by.into(),
            talked_secs: secs.parse().expect("secs"),
        },
        ["ext", number, state] => Fact::Extension(Extension {
            number: number.into(),
            device: format!("PJSIP/{number}"),
            name: String::new(),
            state: state.into(),
        }),
        ["no-ext", number] => Fact::ExtensionRemoved { number: number.into() },
        ["pbx", started] => pbx(started),
        ["pbx", started, name] => match pbx(started) {
            Fact::Pbx(pbx) => Fact::Pbx(Pbx { system_name: (*name).into(), ..pbx }),
            other => other,
        },
        ["notice", code] => Fact::Notice(Notice {
            code: code.into(),
            severity: "warning".into(),
            message: "something".into(),
            fix: String::new(),
        }),
        ["other", kind, ref leg @ ..] => Fact::Other {
            kind: kind.into(),
            leg: leg.first().map(|leg| (*leg).into()),
            facts: Vec::new(),
        },
        _ => panic!("not a line of a phone bill: {words:?}"),
    }
}

/// What holds for every journal, whatever a connector said.
pub fn check_journal(events: &[Event], live: &State) {
    let mut folded = State::default();
    let mut call_seqs: BTreeMap<CallId, u64> = BTreeMap::new();
    let mut ended_calls = std::collections::BTreeSet::new();
    let mut ended = std::collections::BTreeSet::new();
    for (event, seq) in events.iter().zip(1..) {
        assert_eq!(event.seq, seq, "numbers are dense");
        folded.apply(event);
        assert_eq!(event.about.call.is_some(), event.call_seq.is_some());
        if let Some(call) = event.about.call {
            let last = call_seqs.entry(call).or_default();
            *last += 1;
            assert_eq!(event.call_seq, Some(*last), "numbers of a call are dense: {event:?}");
            assert!(
                !ended_calls.contains(&call),
                "nothing comes after the end of a call: {event:?}"
            );
        }
        let terminal = match &event.body {
            Body::CallEnded { .. } | Body::CallMerged { .. } => {
                ended_calls.insert(event.about.call.expect("has a call"));
                continue;
            }
            Body::LegEnded { .. } => event.about.leg.map(|id| id.to_string()),
            Body::CallerLeft { .. } => event.about.entry.map(|id| id.to_string()),
            Body::CommandEnded { .. } => event.about.command.map(|id| id.to_string()),
            _ => continue,
        };
        let terminal = terminal.expect("a terminal event names what ended");
        assert!(ended.insert(terminal.clone()), "{terminal} ended twice");
    }
    assert!(folded == *live, "the journal rebuilds the live state");
    for queue in live.queues() {
        let positions: Vec<u32> = live.waiting(queue.id).map(|entry| entry.position).collect();
        let wanted: Vec<u32> = (1..).take(positions.len()).collect();
        assert_eq!(positions, wanted, "positions in {}", queue.settings.name);
    }
    check_picture(live);
}

pub fn check_picture(live: &State) {
    let mut rebuilt = State::default();
    let picture = live.picture();
    picture.iter().for_each(|event| rebuilt.apply(event));
    if rebuilt != *live {
        panic!("the picture rebuilds the state\nrebuilt {rebuilt:#?}\nlive {live:#?}");
    }
}
