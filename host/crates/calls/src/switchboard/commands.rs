//! Commands: accepted, sent, ended exactly once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Accepted, Output, Refusal, Request, Switchboard, agents::no_agent, seats::MOST_RESTORING,
};
use crate::{
    Actor, AgentId, Body, CommandId, ConnectorId, QueueId, Timestamp,
    event::{About, CommandEnd, Problem},
    fact::{Member, MemberRef, Membership},
    state::Command,
};

/// Commands under way at the same time.
const MOST_IN_FLIGHT: usize = 1_000;
/// Bytes of one argument: Asterisk takes no line of 1,024.
const LONGEST_ARGUMENT: usize = 900;
const MOST_ARGUMENTS: usize = 32;
const LONGEST_KEY: usize = 256;
/// Nobody waits longer for a command.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);
/// How long the host waits for its own commands.
const HOST_TIMEOUT: Duration = Duration::from_secs(30);

/// Kinds every host knows: required and optional arguments. Other kinds are between asker and connector.
const KINDS: &[(&str, &[&str], &[&str])] = &[
    ("probe", &[], &["hooks", "emergency"]),
    ("resync", &[], &["scope"]),
    (
        "member-add",
        &["queue", "interface"],
        &["state_interface", "name", "penalty", "paused", "reason"],
    ),
    ("member-remove", &["queue", "interface"], &[]),
    ("pause", &["interface"], &["queue", "reason"]),
    ("unpause", &["interface"], &["queue"]),
];

/// A command before it is accepted.
struct Draft {
    connector: ConnectorId,
    kind: String,
    arguments: Vec<(String, String)>,
    agent: Option<AgentId>,
}

/// What the asker wants of all commands of one request.
struct Asked {
    key: Option<String>,
    timeout: Duration,
}

fn argument(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn value<'a>(arguments: &'a [(String, String)], name: &str) -> Option<&'a str> {
    arguments.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

impl Switchboard {
    pub(super) fn command_request(
        &mut self,
        request: Request,
        actor: Actor,
    ) -> Result<Accepted, Refusal> {
        let asked = asked_by(&request);
        if let Some(key) = &asked.key {
            if key.is_empty() || key.len() > LONGEST_KEY {
                return Err(Refusal::Invalid {
                    what: "idempotency key".to_owned(),
                    message: "must have between 1 and 256 bytes".to_owned(),
                });
            }
            if let Some(earlier) = self.earlier(key, &request)? {
                return Ok(earlier);
            }
        }
        let drafts = self.drafts(request)?;
        for draft in &drafts {
            self.check(draft)?;
        }
        let in_flight = self.state.in_flight().count();
        if in_flight + drafts.len() > MOST_IN_FLIGHT {
            return Err(Refusal::TooMany { in_flight });
        }
        let accept = |draft| self.accept(draft, actor.clone(), &asked);
        let commands = drafts.into_iter().map(accept).collect();
        Ok(Accepted { commands, ..self.nothing_to_do() })
    }

    /// The commands this key was used for, if it was; refused when it was for something else.
    fn earlier(&self, key: &str, request: &Request) -> Result<Option<Accepted>, Refusal> {
        let earlier: Vec<&Command> = self.state.commands_with_key(key).collect();
        if earlier.is_empty() {
            return Ok(None);
        }
        if earlier.iter().all(|command| same_request(command, request)) {
            let commands = earlier.iter().map(|command| command.id).collect();
            return Ok(Some(Accepted { commands, seq: self.state.seq(), repeated: true }));
        }
        let ids: Vec<String> = earlier.iter().map(|command| command.id.to_string()).collect();
        Err(Refusal::Conflict {
            message: format!(
                "idempotency key `{key}` was used for something else ({})",
                ids.join(", ")
            ),
            fix: "use a new key for a new request".to_owned(),
        })
    }

    fn drafts(&self, request: Request) -> Result<Vec<Draft>, Refusal> {
        match request {
            Request::Command { connector, kind, arguments, .. } => {
                let agent = value(&arguments, "interface").and_then(|interface| {
                    let queue = value(&arguments, "queue");
                    self.agent_behind(&connector, queue, interface)
                });
                Ok(vec![Draft { connector, kind, arguments, agent }])
            }
            Request::AgentPause { agent, queue, reason, .. } => {
                let extra = [argument("reason", &reason)];
                self.pause_drafts(&agent, queue, "pause", &extra)
            }
            Request::AgentUnpause { agent, queue, .. } => {
                self.pause_drafts(&agent, queue, "unpause", &[])
            }
            Request::AgentLogin { agent, queues, penalty, .. } => {
                self.login_drafts(&agent, &queues, penalty)
            }
            Request::AgentLogout { agent, queues, .. } => self.logout_drafts(&agent, &queues),
            Request::PutAgent(_) | Request::RemoveAgent(_) => Ok(Vec::new()),
        }
    }

    fn agent_behind(
        &self,
        connector: &ConnectorId,
        queue: Option<&str>,
        interface: &str,
    ) -> Option<AgentId> {
        let in_queue = queue.and_then(|name| {
            let member = self.state.queue_named(connector, name)?.members.get(interface)?;
            self.state.agent_of_member(connector, member)
        });
        in_queue.or_else(|| self.state.agent_at(connector, None, interface)).cloned()
    }

    fn known_queues(&self, queues: &[QueueId]) -> Result<(), Refusal> {
        match queues.iter().find(|id| self.state.queue(**id).is_none()) {
            Some(id) => Err(Refusal::NotFound { what: format!("queue `{id}`") }),
            None => Ok(()),
        }
    }

    fn seats_or_refusal(
        &self,
        agent: &AgentId,
        queues: &[QueueId],
    ) -> Result<Vec<(ConnectorId, Member)>, Refusal> {
        self.state.agent(agent).ok_or_else(|| no_agent(agent))?;
        self.known_queues(queues)?;
        let seats = self.seats_for(agent, queues);
        if seats.is_empty() {
            self.sight_of_lines(agent)?;
            let place = if queues.is_empty() { "any queue" } else { "that queue" };
            return Err(Refusal::Conflict {
                message: format!("agent `{agent}` is not a member of {place}"),
                fix: "log them in first, or set their device".to_owned(),
            });
        }
        Ok(seats)
    }

    /// Whoever has no seat may still have one at a PBX nobody has looked at.
    fn sight_of_lines(&self, agent: &AgentId) -> Result<(), Refusal> {
        let devices = self.state.agent(agent).map_or(&[][..], |person| &person.agent.devices);
        devices.iter().try_for_each(|device| self.connected(&device.connector))
    }

    fn pause_drafts(
        &self,
        agent: &AgentId,
        queue: Option<QueueId>,
        kind: &str,
        extra: &[(String, String)],
    ) -> Result<Vec<Draft>, Refusal> {
        let seats = self.seats_or_refusal(agent, queue.as_slice())?;
        let mut done = BTreeSet::new();
        let mut drafts = Vec::new();
        for (connector, member) in seats {
            if !done.insert((connector.clone(), member.interface.clone())) {
                continue;
            }
            let mut arguments = vec![argument("interface", &member.interface)];
            if queue.is_some() {
                arguments.push(argument("queue", &member.queue));
            }
            arguments.extend_from_slice(extra);
            drafts.push(Draft {
                connector,
                kind: kind.to_owned(),
                arguments,
                agent: Some(agent.clone()),
            });
        }
        Ok(drafts)
    }

    fn login_drafts(
        &self,
        agent: &AgentId,
        queues: &[QueueId],
        penalty: u32,
    ) -> Result<Vec<Draft>, Refusal> {
        self.state.agent(agent).ok_or_else(|| no_agent(agent))?;
        self.known_queues(queues)?;
        if queues.is_empty() {
            return Err(Refusal::Invalid {
                what: "queues".to_owned(),
                message: "name at least one queue".to_owned(),
            });
        }
        let seats = self.state.seats(agent);
        let mut drafts = Vec::new();
        for queue in queues.iter().collect::<BTreeSet<_>>() {
            let Some(queue) = self.state.queue(*queue) else { continue };
            if seats.iter().any(|(seated, _)| seated.id == queue.id) {
                continue;
            }
            let seat = seats.iter().find(|(seated, _)| seated.connector == queue.connector);
            let seat = seat.map(|(_, member)| {
                (member.interface.clone(), member.state_interface.clone(), member.name.clone())
            });
            let Some((interface, state_interface, name)) =
                seat.or_else(|| self.fresh_seat(agent, &queue.connector))
            else {
                let connector = &queue.connector;
                return Err(Refusal::Conflict {
                    message: format!(
                        "agent `{agent}` has no known line at connector `{connector}`, where queue `{}` is",
                        queue.settings.name
                    ),
                    fix: "set their device with PUT /v1/agents/{id} or [agents.<id>] in the config"
                        .to_owned(),
                });
            };
            let arguments = vec![
                argument("queue", &queue.settings.name),
                argument("interface", &interface),
                argument("state_interface", &state_interface),
                argument("name", &name),
                argument("penalty", &penalty.to_string()),
            ];
            drafts.push(Draft {
                connector: queue.connector.clone(),
                kind: "member-add".to_owned(),
                arguments,
                agent: Some(agent.clone()),
            });
        }
        Ok(drafts)
    }

    /// A seat for somebody who has none at this PBX: the device of their extension.
    fn fresh_seat(
        &self,
        agent: &AgentId,
        connector: &ConnectorId,
    ) -> Option<(String, String, String)> {
        let agent = &self.state.agent(agent)?.agent;
        let mine = agent.devices.iter().filter(|device| device.connector == *connector);
        let mut lines =
            mine.filter_map(|device| self.state.extension_named(connector, &device.extension));
        let device = lines.next()?.extension.device.clone();
        Some((device.clone(), device, agent.name.clone()))
    }

    fn logout_drafts(&self, agent: &AgentId, queues: &[QueueId]) -> Result<Vec<Draft>, Refusal> {
        let seats = self.seats_or_refusal(agent, queues)?;
        let drafts: Vec<Draft> = seats
            .into_iter()
            .filter(|(_, member)| member.membership != Membership::Static)
            .map(|(connector, member)| Draft {
                connector,
                kind: "member-remove".to_owned(),
                arguments: vec![
                    argument("queue", &member.queue),
                    argument("interface", &member.interface),
                ],
                agent: Some(agent.clone()),
            })
            .collect();
        if drafts.is_empty() {
            return Err(Refusal::Conflict {
                message: format!(
                    "agent `{agent}` is a static member there: the PBX's own configuration seats them"
                ),
                fix: "pause them instead, or remove the member from the PBX's configuration"
                    .to_owned(),
            });
        }
        Ok(drafts)
    }

    fn check(&self, draft: &Draft) -> Result<(), Refusal> {
        let connector = &draft.connector;
        if !self.policy.connectors.contains_key(connector) {
            return Err(Refusal::NotFound { what: format!("connector `{connector}`") });
        }
        check_arguments(&draft.kind, &draft.arguments)?;
        if matches!(&*draft.kind, "probe" | "resync") { Ok(()) } else { self.connected(connector) }
    }

    fn connected(&self, connector: &ConnectorId) -> Result<(), Refusal> {
        if self.state.connector(connector).is_some_and(|known| known.connected) {
            return Ok(());
        }
        Err(Refusal::Unavailable {
            message: format!("connector `{connector}` is not connected to its PBX"),
            fix: format!("try again when GET /v1/connectors/{connector} says so"),
        })
    }

    fn accept(&mut self, draft: Draft, actor: Actor, asked: &Asked) -> CommandId {
        let id = CommandId(self.next());
        let timeout = asked.timeout.min(LONGEST_TIMEOUT);
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let queue = value(&draft.arguments, "queue")
            .and_then(|name| self.state.queue_named(&draft.connector, name))
            .map(|queue| queue.id);
        let about = About { command: Some(id), agent: draft.agent, queue, ..About::default() };
        let body = Body::CommandAccepted {
            kind: draft.kind.clone(),
            arguments: draft.arguments.clone(),
            idempotency_key: asked.key.clone(),
            deadline: Timestamp(self.now.wall.0.saturating_add(nanos)),
        };
        self.emit(Some(draft.connector.clone()), None, false, actor, about, body);
        let deadline = self.now.monotonic + timeout;
        self.deadlines.insert((deadline, id));
        self.outputs.push_back(Output::Deliver {
            connector: draft.connector,
            command: id,
            kind: draft.kind,
            arguments: draft.arguments,
            deadline,
            after: self.state.seq(),
        });
        id
    }

    /// A command of the host itself; none when the seat's names cannot be sent.
    pub(super) fn issue(
        &mut self,
        connector: &ConnectorId,
        kind: &str,
        arguments: Vec<(String, String)>,
    ) -> Option<CommandId> {
        check_arguments(kind, &arguments).ok()?;
        let agent = self.agent_behind(
            connector,
            value(&arguments, "queue"),
            value(&arguments, "interface")?,
        );
        let draft = Draft { connector: connector.clone(), kind: kind.to_owned(), arguments, agent };
        Some(self.accept(draft, Actor::Host, &Asked { key: None, timeout: HOST_TIMEOUT }))
    }

    pub(super) fn command_sent(&mut self, id: CommandId) {
        let Some(command) = self.state.command(id) else { return };
        if command.ended.is_none() && command.sent_at.is_none() {
            let (connector, about) = (command.connector.clone(), about_command(command));
            self.know(Some(&connector), about, Body::CommandSent);
        }
    }

    pub(super) fn command_outcome(
        &mut self,
        id: CommandId,
        end: CommandEnd,
        problem: Option<Problem>,
        detail: String,
    ) {
        let Some(command) = self.state.command(id) else { return };
        let actor = self.pbx_actor(&command.connector);
        self.end_command(id, actor, end, problem, detail);
    }

    fn end_command(
        &mut self,
        id: CommandId,
        actor: Actor,
        end: CommandEnd,
        problem: Option<Problem>,
        detail: String,
    ) {
        let Some(command) = self.state.command(id).filter(|command| command.ended.is_none()) else {
            return;
        };
        let (connector, about) = (command.connector.clone(), about_command(command));
        let body = Body::CommandEnded { end, problem, detail };
        self.deadlines.retain(|(_, other)| *other != id);
        self.emit(Some(connector.clone()), None, false, actor, about, body);
        if self.session(&connector).restoring.remove(&id).is_some() {
            self.put_back(&connector);
        }
    }

    fn end_by_host(&mut self, id: CommandId, end: CommandEnd, message: &str) {
        let code = end.code().to_owned();
        let problem = Problem { code, message: message.to_owned(), retryable: false };
        self.end_command(id, Actor::Host, end, Some(problem), String::new());
    }

    pub(super) fn fire_deadlines(&mut self) {
        while let Some((at, id)) = self.deadlines.first().copied() {
            if at > self.now.monotonic {
                return;
            }
            self.deadlines.pop_first();
            let message = "nobody answered in time; it may have happened all the same: look before you repeat it";
            self.end_by_host(id, CommandEnd::TimedOut, message);
        }
    }

    /// The link is down: what was sent may have happened or not.
    pub(super) fn end_sent_commands(&mut self, connector: &ConnectorId) {
        let sent = self.state.in_flight().filter(|command| command.sent_at.is_some());
        let sent = sent.filter(|command| command.connector == *connector);
        let sent: Vec<CommandId> = sent.map(|command| command.id).collect();
        for id in sent {
            let message = "the link broke before the answer; look before you repeat it";
            self.end_by_host(id, CommandEnd::Unknown, message);
        }
    }

    /// Nobody knows what became of commands that were under way when the host stopped.
    pub(super) fn end_what_the_journal_left(&mut self) {
        let left: Vec<CommandId> = self.state.in_flight().map(|command| command.id).collect();
        for id in left {
            let message = "the host was started again before the answer; look before you repeat it";
            self.end_by_host(id, CommandEnd::Unknown, message);
        }
        // What was being put back when sight was lost is put back after the next picture.
        let cut = |command: &&Command| {
            let since = self.state.connector(&command.connector).map(|connector| connector.since);
            let unknown = |end: &&crate::state::CommandResult| {
                end.end == CommandEnd::Unknown && since.is_some_and(|since| end.at >= since)
            };
            command.actor == Actor::Host && command.ended.as_ref().filter(unknown).is_some()
        };
        let mut all: BTreeMap<ConnectorId, Vec<MemberRef>> = BTreeMap::new();
        for command in self.state.commands().filter(cut) {
            let [queue, interface] = ["queue", "interface"]
                .map(|name| value(&command.arguments, name).unwrap_or_default().to_owned());
            all.entry(command.connector.clone()).or_default().push(MemberRef { queue, interface });
        }
        for (connector, members) in all {
            let session = self.session(&connector);
            // As many as there may be at once: others may have waited, and nobody knows which.
            session.restarted |= members.len() >= MOST_RESTORING;
            session.unfinished.extend(members);
        }
    }
}

fn about_command(command: &Command) -> About {
    About {
        command: Some(command.id),
        agent: command.agent.clone(),
        queue: command.queue,
        ..About::default()
    }
}

fn asked_by(request: &Request) -> Asked {
    match request {
        Request::Command { idempotency_key, timeout, .. }
        | Request::AgentPause { idempotency_key, timeout, .. }
        | Request::AgentUnpause { idempotency_key, timeout, .. }
        | Request::AgentLogin { idempotency_key, timeout, .. }
        | Request::AgentLogout { idempotency_key, timeout, .. } => {
            Asked { key: idempotency_key.clone(), timeout: *timeout }
        }
        Request::PutAgent(_) | Request::RemoveAgent(_) => {
            Asked { key: None, timeout: Duration::ZERO }
        }
    }
}

/// Would this request make this command? For a person: the same person, kind and own arguments, wherever
/// their seats were at the time.
fn same_request(command: &Command, request: &Request) -> bool {
    let of_agent = |agent: &AgentId, kind: &str, own: &[(&str, Option<&str>)]| {
        command.agent.as_ref() == Some(agent)
            && command.kind == kind
            && own.iter().all(|(name, wanted)| value(&command.arguments, name) == *wanted)
    };
    match request {
        Request::Command { connector, kind, arguments, .. } => {
            command.connector == *connector
                && command.kind == *kind
                && command.arguments == *arguments
        }
        Request::AgentPause { agent, queue, reason, .. } => {
            of_agent(agent, "pause", &[("reason", Some(reason))]) && command.queue == *queue
        }
        Request::AgentUnpause { agent, queue, .. } => {
            of_agent(agent, "unpause", &[]) && command.queue == *queue
        }
        Request::AgentLogin { agent, queues, penalty, .. } => {
            of_agent(agent, "member-add", &[("penalty", Some(&penalty.to_string()))])
                && command.queue.is_some_and(|queue| queues.contains(&queue))
        }
        Request::AgentLogout { agent, queues, .. } => {
            of_agent(agent, "member-remove", &[])
                && command.queue.is_some_and(|queue| queues.is_empty() || queues.contains(&queue))
        }
        Request::PutAgent(_) | Request::RemoveAgent(_) => false,
    }
}

fn check_arguments(kind: &str, arguments: &[(String, String)]) -> Result<(), Refusal> {
    let invalid =
        |what: &str, message: String| Err(Refusal::Invalid { what: what.to_owned(), message });
    let word = |text: &str| {
        let legal =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        !text.is_empty() && text.len() <= 64 && text.bytes().all(legal)
    };
    if !word(kind) {
        return invalid("kind", "must be a kebab-case word of at most 64 letters".to_owned());
    }
    if arguments.len() > MOST_ARGUMENTS {
        return invalid("arguments", format!("there may be at most {MOST_ARGUMENTS}"));
    }
    let mut names = BTreeSet::new();
    for (name, value) in arguments {
        if !word(name) {
            return invalid("arguments", "a name must be a word of at most 64 letters".to_owned());
        }
        if !names.insert(name.as_str()) {
            return invalid(name, "is there twice".to_owned());
        }
        if value.contains(['\r', '\n', '\0']) {
            return invalid(name, "must not contain CR, LF or NUL".to_owned());
        }
        if value.len() > LONGEST_ARGUMENT {
            return invalid(name, format!("must have at most {LONGEST_ARGUMENT} bytes"));
        }
    }
    let Some((_, required, optional)) = KINDS.iter().find(|(known, ..)| *known == kind) else {
        return Ok(());
    };
    let empty = |name: &&&str| value(arguments, name).is_none_or(str::is_empty);
    if let Some(name) = required.iter().find(empty) {
        return invalid(name, format!("`{kind}` needs it"));
    }
    let known = |name: &str| required.contains(&name) || optional.contains(&name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        return invalid(name, format!("`{kind}` does not take it"));
    }
    if value(arguments, "penalty").is_some_and(|text| text.parse::<u32>().is_err()) {
        return invalid("penalty", "must be a whole number".to_owned());
    }
    if value(arguments, "paused").is_some_and(|text| !matches!(text, "true" | "false")) {
        return invalid("paused", "must be `true` or `false`".to_owned());
    }
    Ok(())
}
