//! The event stream as a client books it: every promise of the stream checked, callers' stays collected.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    client::{Events, Seen},
    visit::{Exit, Visit},
};

/// A caller's channel: connector and Uniqueid.
pub type Native = (String, String);

/// What a stream from its beginning amounts to.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Broken promises, in words; empty when all is well.
    pub broken: Vec<String>,
    /// Calls without an end.
    pub live_calls: BTreeSet<String>,
    /// Legs without an end: id and native name.
    pub live_legs: BTreeMap<String, Native>,
    /// Callers who wait: entry, with connector, queue and Uniqueid.
    pub waiting: BTreeMap<String, (String, String, String)>,
    /// Commands without an end.
    pub open_commands: BTreeSet<String>,
    /// Latest `agent.state` by agent.
    pub agent_states: BTreeMap<String, String>,
    /// Members by connector, queue and interface: the latest event's data.
    pub members: BTreeMap<(String, String, String), Value>,
    /// How many of each type came.
    pub counts: BTreeMap<String, usize>,
    /// The number of the last event.
    pub seq: u64,

    call_seqs: BTreeMap<String, u64>,
    leg_calls: BTreeMap<String, BTreeSet<String>>,
    natives: BTreeMap<String, Native>,
    queues: BTreeMap<String, String>,
    entries: BTreeMap<String, Stay>,
    /// In the order they began.
    order: Vec<String>,
    ended: BTreeSet<String>,
    /// Events that began a time without sight.
    blind: Vec<u64>,
}

#[derive(Debug)]
struct Stay {
    leg: String,
    connector: String,
    visit: Visit,
    /// Offers that have not ended, by interface.
    offers: BTreeSet<String>,
    in_service: bool,
    /// Concluded, not seen: the other witnesses know better.
    inferred: bool,
    /// Its first and last event.
    first: u64,
    last: u64,
}

impl Ledger {
    /// Books all events of a stream that began behind event 0.
    pub fn of(events: &[Arc<Seen>]) -> Ledger {
        let mut ledger = Ledger::default();
        for seen in events {
            ledger.book(seen);
        }
        ledger
    }

    /// All stays of every caller by the caller's channel.
    pub fn visits(&self) -> BTreeMap<Native, Vec<Visit>> {
        let mut visits: BTreeMap<Native, Vec<Visit>> = BTreeMap::new();
        for entry in &self.order {
            let stay = &self.entries[entry];
            if let Some(native) = self.natives.get(&stay.leg) {
                visits.entry(native.clone()).or_default().push(stay.visit.clone());
            }
        }
        visits
    }

    /// Callers of whom something was concluded and not seen, or who were there while nothing was seen.
    pub fn seen_partly(&self) -> BTreeSet<Native> {
        let is_partly = |stay: &&Stay| {
            stay.inferred || self.blind.iter().any(|seq| (stay.first..=stay.last).contains(seq))
        };
        let stays = self.entries.values().filter(is_partly);
        stays.filter_map(|stay| self.natives.get(&stay.leg).cloned()).collect()
    }

    /// Waits until nobody is on the phone any more, and returns what all came to.
    ///
    /// `before` came on earlier connections of the same client. An error when nothing comes for `patience`.
    pub async fn quiet(
        before: &[Arc<Seen>],
        events: &Events,
        patience: Duration,
    ) -> Result<Ledger> {
        loop {
            let place = events.place();
            let all: Vec<Arc<Seen>> = before.iter().cloned().chain(events.all()).collect();
            let ledger = Ledger::of(&all);
            let open = ledger.not_quiet();
            if open.is_empty() {
                return Ok(ledger);
            }
            let next = events.next(place, "quiet", patience, |_| true).await;
            next.with_context(|| format!("not quiet: {}", open.join("\n")))?;
        }
    }

    /// The calls that a caller's channel was ever part of.
    pub fn calls_of(&self, native: &Native) -> BTreeSet<String> {
        let legs = self.natives.iter().filter(|(_, of)| *of == native).map(|(leg, _)| leg);
        legs.filter_map(|leg| self.leg_calls.get(leg)).flatten().cloned().collect()
    }

    /// Uniqueids of live legs of one connector, sorted.
    pub fn channels(&self, connector: &str) -> Vec<String> {
        let legs = self.live_legs.values().filter(|(at, _)| at == connector);
        let mut channels: Vec<String> = legs.map(|(_, native)| native.clone()).collect();
        channels.sort();
        channels
    }

    /// What must be true when nobody is on the phone any more.
    pub fn not_quiet(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = |what: &str, list: Vec<String>| {
            if !list.is_empty() {
                found.push(format!("{} {what} without an end: {}", list.len(), list.join(", ")));
            }
        };
        open("calls", self.live_calls.iter().cloned().collect());
        open(
            "legs",
            self.live_legs.iter().map(|(id, native)| format!("{id} {native:?}")).collect(),
        );
        open("waits", self.waiting.iter().map(|(id, at)| format!("{id} {at:?}")).collect());
        open("commands", self.open_commands.iter().cloned().collect());
        let stays = || self.entries.iter();
        open(
            "offers",
            stays().filter(|(_, stay)| !stay.offers.is_empty()).map(|(id, _)| id.clone()).collect(),
        );
        open(
            "services",
            stays().filter(|(_, stay)| stay.in_service).map(|(id, _)| id.clone()).collect(),
        );
        found
    }

    fn book(&mut self, seen: &Seen) {
        let event = &seen.data;
        let kind = text(event, "type");
        let seq = event["seq"].as_u64().unwrap_or(0);
        if seq != self.seq + 1 {
            self.broken.push(format!("event {seq} follows event {}", self.seq));
        }
        if seen.id != seq || (!seen.kind.is_empty() && seen.kind != kind) {
            self.broken.push(format!("event {seq} {kind} came as {} {}", seen.id, seen.kind));
        }
        self.seq = seq;
        *self.counts.entry(kind.to_owned()).or_default() += 1;
        self.count_in_call(event);
        for thing in ["leg", "entry"] {
            let id = text(event, thing);
            // A leg's stay and service may be told after the leg's end, but nothing of the leg itself.
            if kind.starts_with(&format!("{thing}."))
                && kind != "leg.started"
                && self.ended.contains(id)
            {
                self.broken.push(format!("event {seq} {kind}: {id} has ended"));
            }
        }
        match kind.split_once('.').map_or(kind, |(family, _)| family) {
            "call" => self.call(event, kind),
            "leg" => self.leg(event, kind),
            "queue" | "member" => self.queue(event, kind),
            "caller" | "offer" | "service" => self.stay(event, kind),
            "command" => self.command(event, kind),
            "connector" if kind == "connector.disconnected" => self.blind.push(seq),
            "notice" if is_loss(text(&event["data"], "code")) => self.blind.push(seq),
            "agent" if kind == "agent.state" => {
                let state = text(&event["data"], "state").to_owned();
                self.agent_states.insert(text(event, "agent").to_owned(), state);
            }
            _ => {}
        }
    }

    fn count_in_call(&mut self, event: &Value) {
        let call = text(event, "call");
        match (call, event["call_seq"].as_u64()) {
            ("", None) => {}
            ("", Some(_)) | (_, None) => {
                self.broken
                    .push(format!("event {}: call and call_seq do not go together", self.seq));
            }
            (_, Some(number)) => {
                let before = self.call_seqs.insert(call.to_owned(), number).unwrap_or(0);
                if number != before + 1 {
                    self.broken
                        .push(format!("event {}: {call} {number} follows {before}", self.seq));
                }
                if self.ended.contains(call) {
                    self.broken.push(format!("event {}: {call} has ended", self.seq));
                }
            }
        }
    }

    fn call(&mut self, event: &Value, kind: &str) {
        let call = text(event, "call").to_owned();
        match kind {
            "call.started" => {
                self.live_calls.insert(call);
            }
            "call.ended" | "call.merged" => {
                if !self.live_calls.remove(&call) {
                    self.broken.push(format!("event {} {kind}: {call} was not live", self.seq));
                }
                self.ended.insert(call);
            }
            _ => {}
        }
    }

    fn leg(&mut self, event: &Value, kind: &str) {
        let leg = text(event, "leg").to_owned();
        self.leg_calls.entry(leg.clone()).or_default().insert(text(event, "call").to_owned());
        match kind {
            "leg.started" => {
                let native = (
                    text(event, "connector").to_owned(),
                    text(&event["data"], "native").to_owned(),
                );
                if self.natives.insert(leg.clone(), native.clone()).is_some() {
                    self.broken.push(format!("event {}: {leg} began twice", self.seq));
                }
                self.live_legs.insert(leg, native);
            }
            "leg.ended" => {
                if self.live_legs.remove(&leg).is_none() {
                    self.broken.push(format!("event {}: {leg} ended and was not live", self.seq));
                }
                self.ended.insert(leg);
            }
            _ if !self.natives.contains_key(&leg) => {
                self.broken.push(format!("event {} {kind}: {leg} never began", self.seq));
            }
            _ => {}
        }
    }

    fn queue(&mut self, event: &Value, kind: &str) {
        let data = &event["data"];
        if kind == "queue.changed" {
            self.queues.insert(text(event, "queue").to_owned(), text(data, "name").to_owned());
        }
        let key = (
            text(event, "connector").to_owned(),
            text(data, "queue").to_owned(),
            text(data, "interface").to_owned(),
        );
        match kind {
            "member.added" | "member.changed" | "member.paused" | "member.unpaused" => {
                self.members.insert(key, data.clone());
            }
            "member.removed" => {
                self.members.remove(&key);
            }
            _ => {}
        }
    }

    fn command(&mut self, event: &Value, kind: &str) {
        let command = text(event, "command").to_owned();
        match kind {
            "command.accepted" => {
                self.open_commands.insert(command);
            }
            "command.ended" if !self.open_commands.remove(&command) => {
                self.broken.push(format!("event {}: {command} ended and was not open", self.seq));
            }
            _ => {}
        }
    }

    fn stay(&mut self, event: &Value, kind: &str) {
        let (data, seq) = (&event["data"], self.seq);
        let entry = text(event, "entry").to_owned();
        let connector = text(event, "connector").to_owned();
        let is_new = !self.entries.contains_key(&entry);
        // A caller who is refused at the door leaves without having joined.
        if is_new && !matches!(kind, "caller.joined" | "caller.left") {
            return self.broken.push(format!("event {seq} {kind}: {entry} never began"));
        }
        let queue = self.queues.get(text(event, "queue")).cloned().unwrap_or_default();
        if is_new {
            self.order.push(entry.clone());
        }
        let stay = self.entries.entry(entry.clone()).or_insert_with(|| Stay {
            leg: text(event, "leg").to_owned(),
            connector: connector.clone(),
            visit: Visit { refusals: Some(0), ..Visit::new(&queue) },
            offers: BTreeSet::new(),
            in_service: false,
            inferred: false,
            first: seq,
            last: seq,
        });
        stay.inferred |= event["inferred"] == true;
        stay.last = seq;
        let mut broken = Vec::new();
        let interface = text(data, "interface").to_owned();
        let millis = |name: &str| data[name].as_u64().map(Duration::from_millis);
        match kind {
            "caller.joined" => {
                if !is_new {
                    broken.push("joined twice");
                }
                let native = self.natives.get(&stay.leg).map(|(_, native)| native.clone());
                self.waiting.insert(entry.clone(), (connector, queue, native.unwrap_or_default()));
            }
            "caller.left" => {
                if stay.visit.exit.is_some() {
                    broken.push("left twice");
                }
                stay.visit.exit = Some(Exit::new(text(data, "exit")));
                stay.visit.waited = millis("waited_ms");
                self.waiting.remove(&entry);
            }
            "offer.started" => {
                let is_first = stay.offers.insert(interface);
                if !is_first {
                    broken.push("offered twice at once to one seat");
                }
            }
            "offer.ended" => {
                if !stay.offers.remove(&interface) {
                    broken.push("an offer ended that was not open");
                }
                if text(data, "outcome") != "cancelled" {
                    *stay.visit.refusals.get_or_insert(0) += 1;
                }
            }
            "service.started" => {
                if stay.in_service || stay.visit.ended_by.is_some() {
                    broken.push("served twice");
                }
                // The offer became a conversation.
                stay.offers.remove(&interface);
                stay.in_service = true;
                stay.visit.waited = millis("waited_ms");
                let seat = (stay.connector.clone(), stay.visit.queue.clone(), interface.clone());
                let name = self.members.get(&seat).map(|member| text(member, "name").to_owned());
                stay.visit.member = Some(name.unwrap_or(interface));
            }
            "service.ended" => {
                if !stay.in_service {
                    broken.push("a conversation ended that was not there");
                }
                stay.in_service = false;
                stay.visit.ended_by = Some(text(data, "ended_by").to_owned());
                stay.visit.talked = millis("talked_ms");
            }
            _ => {}
        }
        self.broken
            .extend(broken.into_iter().map(|what| format!("event {seq} {kind}: {entry} {what}")));
    }
}

/// Notices that tell of bytes nobody has understood.
fn is_loss(code: &str) -> bool {
    const LOSSES: [&str; 5] = [
        "input-quarantined",
        "input-skipped",
        "frame-too-long",
        "plugin-cold-start",
        "plugin-given-up",
    ];
    LOSSES.contains(&code)
}

/// A text of an event; empty when it is not there.
pub fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}
