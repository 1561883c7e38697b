//! What a host knows of a PBX by what a connector told it: the state as a fold over facts and pictures.
//!
//! It is made apart from the calls core on purpose: two readings of one contract watch each other. What may rightly
//! differ between what was seen live and what a picture shows (names, numbers dialled, counters, times) is left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use calls::{
    Fact,
    fact::{LegState, Member, MemberRef},
};

use crate::rig::What;

/// What there is, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    things: BTreeMap<Key, Vec<(&'static str, String)>>,
    /// Open brackets, oldest first.
    brackets: Vec<Bracket>,
}

/// The name of a thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Extension(String),
    Queue(String),
    Member(String, String),
    Leg(String),
    /// Whom a leg can talk with: told apart from the leg, and kept with it.
    Peers(String),
    Caller(String, String),
    /// A caller whom the PBX handed over.
    Held(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Bracket {
    id: u64,
    scope: String,
    items: BTreeSet<Key>,
    touched: BTreeSet<Key>,
}

impl Picture {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what a connector told.
    pub fn take(&mut self, what: &What) {
        match what {
            What::Fact(fact) => self.live(fact),
            What::ResyncBegin(id, scope) => self.brackets.push(Bracket {
                id: *id,
                scope: scope.clone(),
                items: BTreeSet::new(),
                touched: BTreeSet::new(),
            }),
            What::Has(id, fact) => self.item(*id, fact),
            What::ResyncEnd(id) => self.end(*id),
            // A picture cut in the middle is none.
            What::Link(_, false) => self.brackets.clear(),
            _ => {}
        }
    }

    /// Is a picture under way?
    pub fn is_open(&self) -> bool {
        !self.brackets.is_empty()
    }

    /// A line for each thing.
    pub fn lines(&self) -> Vec<String> {
        self.things.iter().map(|(key, fields)| shown(key, fields)).collect()
    }

    /// How many things there are.
    pub fn len(&self) -> usize {
        self.things.len()
    }

    /// Is there nothing?
    pub fn is_empty(&self) -> bool {
        self.things.is_empty()
    }

    fn live(&mut self, fact: &Fact) {
        for key in self.apply(fact) {
            for bracket in &mut self.brackets {
                bracket.touched.insert(key.clone());
            }
        }
    }

    fn item(&mut self, id: u64, fact: &Fact) {
        let Some(at) = self.brackets.iter().position(|bracket| bracket.id == id) else { return };
        let Some(key) = key_of(fact) else { return };
        let is_newer = self.brackets[at].touched.contains(&key);
        self.brackets[at].items.insert(key);
        // What was heard live since the picture began is newer than the picture.
        if !is_newer {
            self.apply(fact);
        }
    }

    fn end(&mut self, id: u64) {
        let Some(at) = self.brackets.iter().position(|bracket| bracket.id == id) else { return };
        let bracket = self.brackets.remove(at);
        self.things.retain(|key, _| {
            !key.is_in(&bracket.scope)
                || bracket.items.contains(key)
                || bracket.touched.contains(key)
        });
        for (key, fields) in &mut self.things {
            let Key::Leg(leg) = key else { continue };
            let peers = Key::Peers(leg.clone());
            // A picture that names no peers of a leg says that there are none.
            if peers.is_in(&bracket.scope)
                && !bracket.items.contains(&peers)
                && !bracket.touched.contains(&peers)
            {
                fields.retain(|(name, _)| *name != "with");
            }
        }
        let legs: BTreeSet<String> = self
            .things
            .keys()
            .filter_map(|key| if let Key::Leg(leg) = key { Some(leg.clone()) } else { None })
            .collect();
        self.without_legs(&legs);
    }

    /// Peers that are gone are peers no more, and nobody waits or is held without a leg.
    fn without_legs(&mut self, legs: &BTreeSet<String>) {
        self.things.retain(|key, _| match key {
            Key::Caller(_, leg) | Key::Held(leg) => legs.contains(leg),
            _ => true,
        });
        for fields in self.things.values_mut() {
            for (name, value) in fields {
                if *name == "with" {
                    let there = value.split(',').filter(|peer| legs.contains(*peer));
                    *value = there.collect::<Vec<_>>().join(",");
                }
            }
        }
    }

    /// What it changed.
    fn apply(&mut self, fact: &Fact) -> Vec<Key> {
        match fact {
            Fact::LegStarted(it) => {
                let key = Key::Leg(it.id.to_string());
                let peers = self.field(&key, "with");
                let fields = vec![
                    ("state", state(&it.state)),
                    ("device", it.device.clone()),
                    ("extension", it.extension.clone().unwrap_or_default()),
                    ("with", peers),
                ];
                self.put(key, fields)
            }
            Fact::LegState { leg, state: it } => self.set(leg, "state", state(it)),
            Fact::LegPeers { leg, peers } => {
                let mut peers: Vec<&str> = peers.iter().map(|peer| &**peer).collect();
                peers.sort_unstable();
                self.set(leg, "with", peers.join(","));
                vec![Key::Peers(leg.to_string())]
            }
            Fact::LegEnded { leg, .. } => {
                let key = Key::Leg(leg.to_string());
                self.things.remove(&key);
                let mut touched = vec![key];
                touched.extend(
                    self.things
                        .keys()
                        .filter(|key| {
                            matches!(key, Key::Caller(_, caller) | Key::Held(caller) if caller == &**leg)
                        })
                        .cloned(),
                );
                self.things.retain(|key, _| !touched.contains(key));
                touched
            }
            Fact::Queue(it) => {
                let fields = vec![
                    ("strategy", it.strategy.clone()),
                    ("max-length", it.max_length.to_string()),
                    ("weight", it.weight.to_string()),
                ];
                self.put(Key::Queue(it.name.clone()), fields)
            }
            Fact::QueueRemoved { name } => {
                let gone: Vec<Key> =
                    self.things.keys().filter(|key| key.queue() == Some(name)).cloned().collect();
                self.things.retain(|key, _| !gone.contains(key));
                gone
            }
            Fact::Member(it) => self.member(it),
            Fact::MemberRemoved(MemberRef { queue, interface }) => {
                let key = Key::Member(queue.clone(), interface.clone());
                self.things.remove(&key);
                vec![key]
            }
            Fact::CallerJoined(it) => {
                let key = Key::Caller(it.queue.clone(), it.leg.to_string());
                self.put(key, Vec::new())
            }
            Fact::CallerLeft { queue, leg, .. } => {
                let key = Key::Caller(queue.clone(), leg.to_string());
                self.things.remove(&key);
                vec![key]
            }
            Fact::LegOffered { leg, entry, dialled, returned_from, outcome, .. } => {
                let fields = vec![
                    ("entry", entry.clone()),
                    ("dialled", dialled.clone()),
                    ("returned-from", returned_from.clone()),
                    ("outcome", outcome.clone()),
                ];
                self.put(Key::Held(leg.to_string()), fields)
            }
            Fact::LegReleased { leg, .. } => {
                let key = Key::Held(leg.to_string());
                self.things.remove(&key);
                vec![key]
            }
            Fact::Extension(it) => {
                let fields = vec![("state", it.state.to_string()), ("device", it.device.clone())];
                self.put(Key::Extension(it.number.clone()), fields)
            }
            Fact::ExtensionRemoved { number } => {
                let key = Key::Extension(number.clone());
                self.things.remove(&key);
                vec![key]
            }
            _ => Vec::new(),
        }
    }

    fn member(&mut self, it: &Member) -> Vec<Key> {
        let key = Key::Member(it.queue.clone(), it.interface.clone());
        let fields = vec![
            ("state", it.state.to_string()),
            ("paused", it.paused.to_string()),
            ("penalty", it.penalty.to_string()),
            ("membership", it.membership.to_string()),
        ];
        self.put(key, fields)
    }

    fn put(&mut self, key: Key, fields: Vec<(&'static str, String)>) -> Vec<Key> {
        self.things.insert(key.clone(), fields);
        vec![key]
    }

    fn field(&self, key: &Key, name: &str) -> String {
        let fields = self.things.get(key).into_iter().flatten();
        let mut found = fields.filter(|(field, _)| *field == name);
        found.next().map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// Changes a leg that is there.
    fn set(&mut self, leg: &str, name: &'static str, value: String) -> Vec<Key> {
        let key = Key::Leg(leg.to_owned());
        let Some(fields) = self.things.get_mut(&key) else { return Vec::new() };
        match fields.iter_mut().find(|(field, _)| *field == name) {
            Some((_, old)) => *old = value,
            None => fields.push((name, value)),
        }
        vec![key]
    }
}

/// Back from hold is answered; and so is hold, which pictures of a PBX (AMI's lists) do not show.
fn state(state: &LegState) -> String {
    match state {
        LegState::Resumed | LegState::Held => LegState::Answered.to_string(),
        state => state.to_string(),
    }
}

fn key_of(fact: &Fact) -> Option<Key> {
    Some(match fact {
        Fact::LegStarted(it) => Key::Leg(it.id.to_string()),
        Fact::LegState { leg, .. } => Key::Leg(leg.to_string()),
        Fact::LegPeers { leg, .. } => Key::Peers(leg.to_string()),
        Fact::Queue(it) => Key::Queue(it.name.clone()),
        Fact::Member(it) => Key::Member(it.queue.clone(), it.interface.clone()),
        Fact::CallerJoined(it) => Key::Caller(it.queue.clone(), it.leg.to_string()),
        Fact::LegOffered { leg, .. } => Key::Held(leg.to_string()),
        Fact::Extension(it) => Key::Extension(it.number.clone()),
        _ => return None,
    })
}

impl Key {
    fn is_in(&self, scope: &str) -> bool {
        match scope {
            "calls" => matches!(self, Self::Leg(_) | Self::Peers(_) | Self::Held(_)),
            "queues" => matches!(self, Self::Queue(_) | Self::Member(..) | Self::Caller(..)),
            "extensions" => matches!(self, Self::Extension(_)),
            _ => true,
        }
    }

    fn queue(&self) -> Option<&str> {
        match self {
            Self::Queue(queue) | Self::Member(queue, _) | Self::Caller(queue, _) => Some(queue),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extension(number) => write!(f, "extension {number}"),
            Self::Queue(name) => write!(f, "queue {name}"),
            Self::Member(queue, interface) => write!(f, "member {interface} of {queue}"),
            Self::Leg(id) => write!(f, "leg {id}"),
            Self::Peers(id) => write!(f, "peers of leg {id}"),
            Self::Caller(queue, leg) => write!(f, "caller {leg} in {queue}"),
            Self::Held(leg) => write!(f, "held leg {leg}"),
        }
    }
}

fn shown(key: &Key, fields: &[(&'static str, String)]) -> String {
    let mut line = key.to_string();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        line.push_str(&format!(" {name}={value}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use calls::fact::{Extension, ExtensionState};

    use super::*;

    fn extension(number: &str) -> Fact {
        Fact::Extension(Extension {
            number: number.into(),
            device: format!("SIP/{number}"),
            name: String::new(),
            state: ExtensionState::Registered,
        })
    }

    #[test]
    fn a_picture_takes_away_what_it_does_not_show_unless_it_was_heard_of_since() {
        let mut picture = Picture::new();
        for what in [
            What::Fact(extension("1")),
            What::Fact(extension("2")),
            What::ResyncBegin(7, "extensions".into()),
            What::Fact(extension("3")),
            What::Has(7, extension("2")),
        ] {
            picture.take(&what);
        }
        assert_eq!(picture.len(), 3);
        picture.take(&What::ResyncEnd(7));
        let lines = picture.lines();
        assert_eq!(
            lines,
            [
                "extension 2 state=registered device=SIP/2",
                "extension 3 state=registered device=SIP/3"
            ]
        );
    }

    #[test]
    fn a_picture_that_was_cut_takes_nothing_away() {
        let mut picture = Picture::new();
        picture.take(&What::Fact(extension("1")));
        picture.take(&What::ResyncBegin(7, "all".into()));
        picture.take(&What::Link("line".into(), false));
        picture.take(&What::ResyncEnd(7));
        assert_eq!(picture.len(), 1);
    }
}
