//! Channels and bridges as the PBX has them; legs and who talks with whom as facts have them.
//!
//! A *leg* is a channel with a device at its far end. `Local/` channels and Asterisk's helpers are no legs:
//! they are kept, because a phone behind a `Local/` pair talks through it, but they are never told.

use std::collections::{BTreeMap, BTreeSet};

use jackfield_sdk::{Cause, Fact, Leg, LegEnded, LegParty, LegPeers, LegState, Party, Transfer};
use serde::{Deserialize, Serialize};

use crate::{
    frame::{self, Header, text},
    out::Out,
    settings::Rules,
};

/// Technologies of channels that no device is behind.
const HELPERS: [&str; 12] = [
    "Local",
    "Message",
    "Surrogate",
    "AsyncGoto",
    "CBAnn",
    "CBRec",
    "Announcer",
    "Recorder",
    "Snoop",
    "MulticastRTP",
    "UnicastRTP",
    "Bridge",
];

/// At least so many ended channels are remembered, so that a late event brings none back.
const REMEMBERED: usize = 512;

/// The fourteen headers of a channel that was told in full.
#[derive(Clone, Copy)]
pub struct Told<'h, 'a>(&'h [Header<'a>]);

impl<'h, 'a> Told<'h, 'a> {
    /// The channel that starts at `at`; the parser has checked it.
    pub fn new(headers: &'h [Header<'a>], at: usize) -> Self {
        Self(&headers[at..at + 14])
    }

    /// Its id.
    pub fn id(self) -> String {
        text(self.0[12].1)
    }

    /// Its name, e.g. `PJSIP/1001-00000007`.
    pub fn name(self) -> String {
        text(self.0[0].1)
    }

    /// Where it is in the dialplan: context and extension.
    pub fn place(self) -> (String, String) {
        (text(self.0[9].1), text(self.0[10].1))
    }

    /// Its priority there.
    pub fn priority(self) -> u32 {
        u32::try_from(frame::number(self.0[11].1)).unwrap_or(u32::MAX - 1)
    }

    /// Its language, e.g. `en`.
    pub fn language(self) -> String {
        text(self.0[7].1)
    }

    fn state(self) -> u64 {
        frame::number(self.0[1].1)
    }

    fn party(self) -> Party {
        Party { number: text(self.0[3].1), name: text(self.0[4].1), presentation: String::new() }
    }

    fn linked(self) -> String {
        text(self.0[13].1)
    }
}

/// A channel.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Channel {
    name: String,
    linked: String,
    /// Shown to nobody.
    hidden: bool,
    /// `started`, `alerting`, `answered` or `held`, as told.
    state: String,
    from_device: bool,
    number: String,
    called: String,
    dialled: String,
    bridge: Option<String>,
    /// As told.
    peers: Vec<String>,
    /// The channel that dialled it.
    dialler: Option<String>,
    /// How the dialling ended, e.g. `BUSY`.
    pub dial_status: String,
    /// Its far end asked to hang up.
    pub far_end_hung_up: bool,
    pbx_hung_up: bool,
}

/// How a channel ended, kept for those who ask a little later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// Q.850.
    pub cause: u16,
    /// How dialling it ended.
    pub dial_status: String,
    /// Counts those that ended.
    number: u64,
}

/// All channels and bridges.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Calls {
    channels: BTreeMap<String, Channel>,
    bridges: BTreeMap<String, BTreeSet<String>>,
    /// The halves of `Local/` pairs, by their common name.
    pairs: BTreeMap<String, [Option<String>; 2]>,
    ended: BTreeMap<String, Ended>,
    ended_so_far: u64,
}

impl Calls {
    /// The channel with this id.
    pub fn get(&self, id: &str) -> Option<&Channel> {
        self.channels.get(id)
    }

    /// How this channel ended, if that was lately.
    pub fn ended(&self, id: &str) -> Option<&Ended> {
        self.ended.get(id)
    }

    /// Is it a leg that lives?
    pub fn is_leg(&self, id: &str) -> bool {
        self.channels.get(id).is_some_and(|channel| !channel.hidden)
    }

    /// All channels now.
    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.channels.keys()
    }

    /// A channel is there; told as a leg when it is one and is new.
    pub fn started(&mut self, told: Told<'_, '_>, rules: &Rules, out: &mut Out<'_>) {
        let id = told.id();
        if self.channels.contains_key(&id) || self.ended(&id).is_some() {
            return;
        }
        self.insert(id.clone(), told);
        if let Some(leg) = self.leg(&id, rules) {
            out.fact(Fact::LegStarted(leg));
        }
    }

    fn insert(&mut self, id: String, told: Told<'_, '_>) {
        let name = told.name();
        let hidden = HELPERS.contains(&name.split('/').next().unwrap_or_default());
        if let Some((pair, half)) = half_of_pair(&name) {
            self.pairs.entry(pair.to_owned()).or_default()[half] = Some(id.clone());
        }
        let party = told.party();
        let from_device = match told.state() {
            4 => true,
            0 | 1 | 3 | 5 => false,
            _ => told.linked() == id,
        };
        let exten = told.place().1;
        let channel = Channel {
            name,
            linked: told.linked(),
            hidden,
            state: state_word(told.state()).into(),
            from_device,
            number: party.number,
            called: party.name,
            dialled: if from_device && exten != "s" { exten } else { String::new() },
            ..Channel::default()
        };
        self.channels.insert(id, channel);
    }

    /// The leg as it is now; none for a hidden channel.
    pub fn leg(&self, id: &str, rules: &Rules) -> Option<Leg> {
        let channel = self.channels.get(id).filter(|channel| !channel.hidden)?;
        let device = device_of(&channel.name);
        Some(Leg {
            id: id.into(),
            related: self.related(id, channel),
            direction: if channel.from_device { "from-device" } else { "to-device" }.into(),
            extension: rules.of_device(device),
            device: device.into(),
            state: channel.state.clone(),
            party: channel.party(),
            dialled: channel.dialled.clone(),
        })
    }

    /// The leg it was made for: a leg that shares its linked id now, the one of that id first.
    fn related(&self, id: &str, channel: &Channel) -> Option<String> {
        let linked = &channel.linked;
        if linked == id {
            return None;
        }
        if self.is_leg(linked) {
            return Some(linked.clone());
        }
        let mut others = self
            .channels
            .iter()
            .filter(|(other, it)| *other != id && !it.hidden && it.linked == *linked);
        others.next().map(|(other, _)| other.clone())
    }

    /// A channel changed state.
    pub fn changed(&mut self, told: Told<'_, '_>, out: &mut Out<'_>) {
        let state = state_word(told.state());
        self.reached(&told.id(), state, out);
    }

    /// A leg got as far as `alerting` or `answered`.
    pub fn reached(&mut self, id: &str, state: &str, out: &mut Out<'_>) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        let rank = |state: &str| {
            ["started", "alerting", "answered", "held"].iter().position(|known| *known == state)
        };
        if rank(state) <= rank(&channel.state) {
            return;
        }
        channel.state = state.into();
        if !channel.hidden {
            out.fact(Fact::LegState(LegState { leg: id.into(), state: state.into() }));
        }
    }

    /// The far end of this leg pressed hold, or came back.
    pub fn hold(&mut self, id: &str, held: bool, out: &mut Out<'_>) {
        let Some(channel) = self.channels.get_mut(id).filter(|channel| !channel.hidden) else {
            return;
        };
        if held == (channel.state == "held") {
            return;
        }
        channel.state = if held { "held" } else { "answered" }.into();
        let state = if held { "held" } else { "resumed" }.into();
        out.fact(Fact::LegState(LegState { leg: id.into(), state }));
    }

    /// A leg's far end may have another name now.
    pub fn identified(&mut self, told: Told<'_, '_>, out: &mut Out<'_>) {
        let id = told.id();
        let Some(channel) = self.channels.get_mut(&id) else { return };
        let party = told.party();
        channel.linked = told.linked();
        if party.number == channel.number && party.name == channel.called {
            return;
        }
        channel.number.clone_from(&party.number);
        channel.called.clone_from(&party.name);
        if !channel.hidden {
            out.fact(Fact::LegParty(LegParty { leg: id, party }));
        }
    }

    /// A channel has another name.
    pub fn renamed(&mut self, id: &str, name: &str) {
        if let Some(channel) = self.channels.get_mut(id) {
            channel.name = name.into();
        }
    }

    /// One channel dials another.
    pub fn dials(&mut self, dialler: Option<&str>, dialled: &str, dial_string: &str) {
        if let Some(channel) = self.channels.get_mut(dialled) {
            channel.dialler = dialler.map(Into::into);
            if channel.dialled.is_empty() && !channel.from_device {
                channel.dialled = dial_string.split('@').next().unwrap_or_default().into();
            }
        }
    }

    /// Dialling a channel ended so.
    pub fn dial_ended(&mut self, id: &str, status: &str) {
        if let Some(channel) = self.channels.get_mut(id) {
            // A second end (`CANCEL` after `NOANSWER`) says less than the first.
            if channel.dial_status.is_empty() {
                channel.dial_status = status.into();
            }
        }
    }

    /// The far end, or the PBX, asks to end a channel.
    pub fn hang_up_asked(&mut self, id: &str, by_far_end: bool) {
        if let Some(channel) = self.channels.get_mut(id) {
            if by_far_end {
                channel.far_end_hung_up = true;
            } else {
                channel.pbx_hung_up = true;
            }
        }
    }

    /// A channel is over. Says whether it was known.
    pub fn hung_up(&mut self, id: &str, cause: Cause, out: &mut Out<'_>) -> bool {
        self.leave_bridge(id, out);
        let Some(channel) = self.channels.remove(id) else { return false };
        if let Some((pair, half)) = half_of_pair(&channel.name) {
            if let Some(halves) = self.pairs.get_mut(pair) {
                halves[half] = None;
                if halves.iter().all(Option::is_none) {
                    self.pairs.remove(pair);
                }
            }
        }
        let dial_status = channel.dial_status.clone();
        self.remember(id, cause.q850, channel.dial_status);
        if !channel.hidden {
            let given_up = channel.state != "answered"
                && ["CANCEL", "NOANSWER"].contains(&dial_status.as_str());
            let ended_by = match (channel.far_end_hung_up, channel.pbx_hung_up) {
                (true, _) => "far-end",
                (false, true) => "pbx",
                (false, false) if given_up && cause.q850 == 0 => "pbx",
                (false, false) => "",
            };
            out.fact(Fact::LegEnded(LegEnded { leg: id.into(), cause, ended_by: ended_by.into() }));
        }
        true
    }

    fn remember(&mut self, id: &str, cause: u16, dial_status: String) {
        self.ended_so_far += 1;
        self.ended.insert(id.into(), Ended { cause, dial_status, number: self.ended_so_far });
        // The oldest go together, so that not each end has to look for them.
        if self.ended.len() >= REMEMBERED + REMEMBERED / 4 {
            let last = self.ended_so_far - REMEMBERED as u64;
            self.ended.retain(|_, ended| ended.number > last);
        }
    }

    /// A channel entered a bridge.
    pub fn enter_bridge(&mut self, id: &str, bridge: &str, out: &mut Out<'_>) {
        let Some(channel) = self.channels.get_mut(id) else { return };
        if channel.bridge.as_deref() == Some(bridge) {
            return;
        }
        self.leave_bridge(id, out);
        self.put_into_bridge(id, bridge);
        self.tell_peers(id, out);
    }

    /// A channel left its bridge.
    pub fn leave_bridge(&mut self, id: &str, out: &mut Out<'_>) {
        let Some(bridge) = self.channels.get_mut(id).and_then(|channel| channel.bridge.take())
        else {
            return;
        };
        let mut left_behind = None;
        if let Some(inside) = self.bridges.get_mut(&bridge) {
            inside.remove(id);
            left_behind = inside.iter().next().cloned();
            if inside.is_empty() {
                self.bridges.remove(&bridge);
            }
        }
        self.tell_peers(id, out);
        if let Some(other) = left_behind {
            self.tell_peers(&other, out);
        }
    }

    fn put_into_bridge(&mut self, id: &str, bridge: &str) {
        if let Some(channel) = self.channels.get_mut(id) {
            channel.bridge = Some(bridge.into());
            self.bridges.entry(bridge.into()).or_default().insert(id.into());
        }
    }

    /// Everybody who can be heard from this channel, through bridges and `Local/` pairs, itself included.
    fn connected(&self, id: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![id.to_owned()];
        while let Some(id) = open.pop() {
            let Some(channel) = self.channels.get(&id) else { continue };
            if !found.insert(id.clone()) {
                continue;
            }
            if let Some(inside) =
                channel.bridge.as_ref().and_then(|bridge| self.bridges.get(bridge))
            {
                open.extend(inside.iter().filter(|other| !found.contains(*other)).cloned());
            }
            open.extend(
                self.other_half(&channel.name).filter(|other| !found.contains(*other)).cloned(),
            );
        }
        found
    }

    /// The other half of a `Local/` channel.
    fn other_half(&self, name: &str) -> Option<&String> {
        let (pair, half) = half_of_pair(name)?;
        self.pairs.get(pair)?[1 - half].as_ref()
    }

    /// Tells the peers of everybody connected with `id`, where they changed.
    fn tell_peers(&mut self, id: &str, out: &mut Out<'_>) {
        let everybody: Vec<String> =
            self.connected(id).into_iter().filter(|id| self.is_leg(id)).collect();
        for leg in &everybody {
            let peers: Vec<String> =
                everybody.iter().filter(|other| *other != leg).cloned().collect();
            let Some(channel) = self.channels.get_mut(leg) else { continue };
            if channel.peers != peers {
                channel.peers.clone_from(&peers);
                out.fact(Fact::LegPeers(LegPeers { leg: leg.clone(), peers }));
            }
        }
    }

    /// Can these two hear each other?
    pub fn talk(&self, one: &str, other: &str) -> bool {
        self.connected(one).contains(other)
    }

    /// The phone's leg behind a channel: itself, or what the far half of a `Local/` pair dialled or talks with.
    pub fn phone_behind(&self, id: &str, but_not: &str) -> Option<String> {
        let channel = self.channels.get(id)?;
        if !channel.hidden {
            return Some(id.into());
        }
        let half = self.other_half(&channel.name)?;
        let dialled = |dialled: &&String| self.channels[*dialled].dialler.as_ref() == Some(half);
        let found = self
            .channels
            .keys()
            .filter(dialled)
            .max_by_key(|id| self.channels[*id].state == "answered")
            .and_then(|id| self.phone_behind_deeper(id, but_not));
        found.or_else(|| {
            self.connected(half).into_iter().find(|other| other != but_not && self.is_leg(other))
        })
    }

    /// A `Local/` channel may dial another: one more step, never a circle.
    fn phone_behind_deeper(&self, id: &str, but_not: &str) -> Option<String> {
        let channel = self.channels.get(id)?;
        if !channel.hidden {
            return Some(id.into());
        }
        let half = self.other_half(&channel.name)?;
        self.channels
            .iter()
            .find(|(other, it)| {
                !it.hidden && *other != but_not && it.dialler.as_ref() == Some(half)
            })
            .map(|(id, _)| id.clone())
    }

    /// Somebody passed a call on: a blind transfer.
    pub fn transferred(&self, transfer: Transfer, out: &mut Out<'_>) {
        if self.is_leg(&transfer.transferer) {
            out.fact(Fact::Transfer(transfer));
        }
    }

    /// Takes the picture of a resync: a channel in a list, and the bridge it is in.
    pub fn listed(&mut self, told: Told<'_, '_>, bridge: &str) -> String {
        let id = told.id();
        if let Some(channel) = self.channels.get_mut(&id) {
            let seen = state_word(told.state());
            if channel.state != "held" || seen != "answered" {
                channel.state = seen.into();
            }
            channel.name = told.name();
            channel.linked = told.linked();
        } else {
            self.insert(id.clone(), told);
        }
        let before =
            self.channels.get(&id).and_then(|channel| channel.bridge.clone()).unwrap_or_default();
        if before != bridge {
            if let Some(inside) = self.bridges.get_mut(&before) {
                inside.remove(&id);
                if inside.is_empty() {
                    self.bridges.remove(&before);
                }
            }
            if let Some(channel) = self.channels.get_mut(&id) {
                channel.bridge = None;
            }
            if !bridge.is_empty() {
                self.put_into_bridge(&id, bridge);
            }
        }
        id
    }

    /// Forgets channels that a complete list did not have.
    pub fn forget(&mut self, id: &str) {
        if let Some(channel) = self.channels.remove(id) {
            if let Some(inside) =
                channel.bridge.as_ref().and_then(|bridge| self.bridges.get_mut(bridge))
            {
                inside.remove(id);
            }
            if let Some((pair, half)) = half_of_pair(&channel.name) {
                if let Some(halves) = self.pairs.get_mut(pair) {
                    halves[half] = None;
                }
            }
        }
        self.bridges.retain(|_, inside| !inside.is_empty());
        self.pairs.retain(|_, halves| halves.iter().any(Option::is_some));
    }

    /// The legs and peers as they are, for a picture.
    pub fn picture(&mut self, rules: &Rules) -> Vec<Fact> {
        let legs: Vec<String> =
            self.channels.keys().filter(|id| self.is_leg(id)).cloned().collect();
        let mut facts: Vec<Fact> =
            legs.iter().filter_map(|id| self.leg(id, rules)).map(Fact::LegStarted).collect();
        // A leg must be known before others are made for it.
        facts.sort_by_key(|fact| matches!(fact, Fact::LegStarted(leg) if leg.related.is_some()));
        for id in &legs {
            let peers: Vec<String> = self
                .connected(id)
                .into_iter()
                .filter(|other| other != id && self.is_leg(other))
                .collect();
            if let Some(channel) = self.channels.get_mut(id) {
                channel.peers.clone_from(&peers);
            }
            if !peers.is_empty() {
                facts.push(Fact::LegPeers(LegPeers { leg: id.clone(), peers }));
            }
        }
        facts
    }
}

impl Channel {
    /// Its name now, e.g. `PJSIP/trunk-00000007`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Has somebody answered it?
    pub fn is_answered(&self) -> bool {
        ["answered", "held"].contains(&self.state.as_str())
    }

    /// Is its end asked for, by whomever?
    pub fn is_hanging_up(&self) -> bool {
        self.far_end_hung_up || self.pbx_hung_up
    }

    fn party(&self) -> Party {
        Party {
            number: self.number.clone(),
            name: self.called.clone(),
            presentation: String::new(),
        }
    }
}

/// `PJSIP/1001-00000007` is a channel of the device `PJSIP/1001`.
fn device_of(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(device, _)| device)
}

/// `Local/5001@from-queue-00000001;2` is half 1 (of 0 and 1) of its pair.
fn half_of_pair(name: &str) -> Option<(&str, usize)> {
    if !name.starts_with("Local/") {
        return None;
    }
    match name.rsplit_once(';')? {
        (pair, "1") => Some((pair, 0)),
        (pair, "2") => Some((pair, 1)),
        _ => None,
    }
}

/// Asterisk's channel states in our words: 5 Ringing, 6 Up.
fn state_word(state: u64) -> &'static str {
    match state {
        5 => "alerting",
        6 => "answered",
        _ => "started",
    }
}
