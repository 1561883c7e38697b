//! Events as lines of a table for people.

use std::collections::BTreeMap;

use crate::wire::{Body, Event, Party};

/// Turns events into lines; remembers the names that later events only name by id.
#[derive(Default)]
pub struct Table {
    colored: bool,
    queues: BTreeMap<String, String>,
    callers: BTreeMap<String, String>,
    devices: BTreeMap<String, String>,
}

impl Table {
    /// A table, with colours or without.
    pub fn new(colored: bool) -> Self {
        Self { colored, ..Self::default() }
    }

    /// The line above the lines.
    pub fn head(&self) -> String {
        self.paint("1", &row("TIME (UTC)", "SEQ", "EVENT", "WHERE", "WHAT"))
    }

    /// The line of an event; none for events that only repeat others in detail.
    pub fn line(&mut self, event: &Event) -> Option<String> {
        let (place, what) = self.words(event)?;
        let at = event.at.to_string();
        let time = at.get(11..23).unwrap_or(&at);
        let kind = serde_json::to_value(&event.body).ok()?;
        let kind = kind.get("type")?.as_str()?.to_owned();
        let what = if event.inferred { format!("{what} (inferred)") } else { what };
        Some(self.paint(color_of(&kind), &row(time, &event.seq.to_string(), &kind, &place, &what)))
    }

    fn words(&mut self, event: &Event) -> Option<(String, String)> {
        let connector = event.connector.clone().unwrap_or_default();
        let queue = event.queue.as_ref().and_then(|id| self.queues.get(id)).cloned();
        let place = queue.unwrap_or_else(|| connector.clone());
        let caller = || {
            let entry = event.entry.as_ref()?;
            self.callers.get(entry).cloned()
        };
        let caller = caller().unwrap_or_else(|| "a caller".to_owned());
        let what = match &event.body {
            Body::ConnectorConnected { pbx, .. } => {
                format!("{} {} is watched", pbx.product, pbx.version)
            }
            Body::PbxChanged { pbx } => format!("can also tell: {}", pbx.capabilities.join(", ")),
            Body::ConnectorDisconnected { reason } => format!("out of sight: {reason}"),
            Body::ObservationGap { from, to } => format!("nothing was seen from {from} to {to}"),
            Body::Resynced { corrections, .. } => {
                format!("picture agrees, {corrections} corrections")
            }
            Body::QueueChanged(settings) => {
                let id = event.queue.clone()?;
                self.queues.insert(id, settings.name.clone());
                format!("queue {}, {}", settings.name, settings.strategy)
            }
            Body::MemberAdded(member) => {
                format!("{} ({}) takes a seat, {}", member.name, member.interface, member.state)
            }
            Body::MemberPaused(member) => {
                format!("{} pauses: {}", member.name, member.pause_reason)
            }
            Body::MemberUnpaused(member) => format!("{} is back", member.name),
            Body::MemberRemoved { interface, .. } => format!("{interface} leaves its seat"),
            Body::MemberChanged(member) => format!("{} is {}", member.name, member.state),
            Body::ExtensionChanged(extension) => {
                format!("extension {} is {}", extension.number, extension.state)
            }
            Body::CallerJoined { position, party, .. } => {
                let name = name_of(party);
                self.callers.insert(event.entry.clone()?, name.clone());
                format!("{name} waits at position {position}")
            }
            Body::CallerMoved { position } => format!("{caller} moves to position {position}"),
            Body::CallerLeft { exit, waited_ms, .. } => {
                let secs = *waited_ms as f64 / 1000.0;
                format!("{caller} leaves after {secs:.1} s: {exit}")
            }
            Body::OfferStarted { interface, .. } => format!("{interface} rings for {caller}"),
            Body::OfferEnded { interface, outcome, .. } => {
                format!("{interface} does not take {caller}: {outcome}")
            }
            Body::ServiceStarted { interface, .. } => format!("{interface} talks with {caller}"),
            Body::ServiceEnded { interface, ended_by, talked_ms } => {
                let secs = *talked_ms as f64 / 1000.0;
                format!("{interface} talked {secs:.1} s with {caller}, ended by {ended_by}")
            }
            Body::CallStarted { caller, dialled } => format!("{} calls {dialled}", name_of(caller)),
            Body::CallMerged { into } => format!("goes on as {into}"),
            Body::CallEnded { outcome } => format!("{} {outcome}", event.call.clone()?),
            Body::LegStarted { device, .. } => {
                self.devices.insert(event.leg.clone()?, device.clone());
                return None;
            }
            Body::LegHeld {} => format!("{} holds", self.device(event)),
            Body::LegResumed {} => format!("{} comes back from hold", self.device(event)),
            Body::Transferred { kind, target, outcome, .. } => {
                format!("{kind} transfer to {target}: {outcome}")
            }
            Body::AgentChanged(agent) => format!("agent {}", agent.name),
            Body::AgentStatus { status, reason } => {
                format!("{} is {status} {reason}", event.agent.clone()?).trim_end().to_owned()
            }
            Body::AgentState { state } => format!("{} is {state}", event.agent.clone()?),
            Body::CommandAccepted { kind, .. } => format!("{} {kind}", event.command.clone()?),
            Body::CommandEnded { end, .. } => format!("{} {end}", event.command.clone()?),
            Body::Notice(notice) => format!("{}: {}", notice.severity, notice.message),
            _ => return None,
        };
        Some((place, what))
    }

    fn device(&self, event: &Event) -> String {
        let device = event.leg.as_ref().and_then(|leg| self.devices.get(leg));
        device.cloned().unwrap_or_else(|| "somebody".to_owned())
    }

    fn paint(&self, color: &str, text: &str) -> String {
        if self.colored { format!("\x1b[{color}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn row(time: &str, seq: &str, kind: &str, place: &str, what: &str) -> String {
    format!("{time:<12}  {seq:>5}  {kind:<22}  {place:<10}  {what}")
}

fn name_of(party: &Party) -> String {
    let number = party.extension.as_ref().or(party.e164.as_ref()).unwrap_or(&party.raw);
    match &party.name {
        Some(name) if !name.is_empty() => format!("{name} {number}"),
        _ if number.is_empty() => "somebody".to_owned(),
        _ => number.clone(),
    }
}

fn color_of(kind: &str) -> &'static str {
    match kind.split('.').next().unwrap_or_default() {
        "caller" | "offer" | "service" => "36",
        "call" => "32",
        "agent" | "member" => "33",
        "notice" => "31",
        _ => "2",
    }
}
