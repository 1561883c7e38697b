//! Connections, and pictures of the PBX: the state becomes equal to them with the fewest events.
//!
//! Between `begin` and `end` live facts go on being applied, and win over the picture: an item about
//! something a live fact has touched since `begin` is ignored, and is not removed for being absent.

use std::collections::{BTreeMap, BTreeSet};

use super::{Sight, Switchboard};
use crate::{
    Body, ConnectorId, EntryId, Fact, QueueId, Timestamp,
    event::About,
    fact::{MemberRef, Pbx, QueueExit, RawCause, ServiceEnd},
};

/// Things in one picture, or touched while it comes: more than all limits of a connector together.
const MOST_IN_PICTURE: usize = 1_000_000;

/// A picture that is being received.
pub(super) struct Bracket {
    id: u64,
    scope: String,
    /// In the picture.
    seen: BTreeSet<Key>,
    /// Touched by a live fact since `begin`.
    live: BTreeSet<Key>,
    /// Positions of callers in the picture.
    order: BTreeMap<QueueId, Vec<(u32, EntryId)>>,
    /// Events it took so far.
    corrections: u64,
}

/// A thing by its native name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Leg(String),
    Peers(String),
    Offered(String),
    Queue(String),
    Member(MemberRef),
    Caller(String, String),
    Service(String, String),
    Extension(String),
}

impl Key {
    fn of(fact: &Fact) -> Option<Self> {
        Some(match fact {
            Fact::LegStarted(leg) => Self::Leg(leg.id.to_string()),
            Fact::LegState { leg, .. } | Fact::LegParty { leg, .. } => Self::Leg(leg.to_string()),
            Fact::LegEnded { leg, .. } => Self::Leg(leg.to_string()),
            Fact::LegPeers { leg, .. } => Self::Peers(leg.to_string()),
            Fact::Queue(settings) => Self::Queue(settings.name.clone()),
            Fact::QueueRemoved { name } => Self::Queue(name.clone()),
            Fact::Member(member) => Self::Member(super::seats::name_of(member)),
            Fact::MemberRemoved(member) => Self::Member(member.clone()),
            Fact::CallerJoined(caller) => {
                Self::Caller(caller.queue.clone(), caller.leg.to_string())
            }
            Fact::CallerLeft { queue, leg, .. } => Self::Caller(queue.clone(), leg.to_string()),
            Fact::ServiceStarted { queue, leg, .. } | Fact::ServiceEnded { queue, leg, .. } => {
                Self::Service(queue.clone(), leg.to_string())
            }
            Fact::Extension(extension) => Self::Extension(extension.number.clone()),
            Fact::ExtensionRemoved { number } => Self::Extension(number.clone()),
            Fact::LegOffered { leg, .. } | Fact::LegReleased { leg, .. } => {
                Self::Offered(leg.to_string())
            }
            Fact::Pbx(_)
            | Fact::LegKey { .. }
            | Fact::Transfer { .. }
            | Fact::OfferStarted { .. }
            | Fact::OfferEnded { .. }
            | Fact::Notice(_)
            | Fact::Other { .. } => return None,
        })
    }

    /// The queue a seat or a caller shows to exist.
    fn queue(&self) -> Option<Self> {
        match self {
            Self::Member(member) => Some(Self::Queue(member.queue.clone())),
            Self::Caller(queue, _) => Some(Self::Queue(queue.clone())),
            _ => None,
        }
    }
}

impl Bracket {
    fn covers(&self, part: &str) -> bool {
        self.scope == "all" || self.scope == part
    }

    fn stays(&self, key: &Key) -> bool {
        self.seen.contains(key) || self.live.contains(key)
    }
}

/// Is it the PBX that was there before? By what it calls itself; if it did not or does not, by its place. A place
/// that was never noted says nothing.
fn is_same(known: (&Pbx, &str), now: (&Pbx, &str)) -> bool {
    let names = (known.0.system_name.as_str(), now.0.system_name.as_str());
    known.0.product == now.0.product
        && match names {
            ("", _) | (_, "") => known.1.is_empty() || now.1.is_empty() || known.1 == now.1,
            (known, now) => known == now,
        }
}

impl Switchboard {
    /// A host that was started again sees nothing until its connectors are connected again; what they did
    /// since the last event of the journal is unknown.
    pub(super) fn disconnect_all(&mut self) {
        let blind_from = self.state.at();
        let connected = self.state.connectors().filter(|connector| connector.connected);
        let connected: Vec<ConnectorId> = connected.map(|connector| connector.id.clone()).collect();
        for connector in connected {
            self.disconnected(&connector, "the host was started again".to_owned());
            // At once, so that it is told even if the host stops again before the connector is back.
            let body = self.gap_since(blind_from);
            self.know(Some(&connector), About::default(), body);
        }
    }

    /// Connectors that were taken out of the config: nobody will ever tell how their calls end.
    pub(super) fn forget_unconfigured(&mut self) {
        let known = self.state.connectors().map(|connector| connector.id.clone());
        let gone: Vec<ConnectorId> =
            known.filter(|id| !self.policy.connectors.contains_key(id)).collect();
        for connector in gone {
            self.forget_connector(&connector);
        }
    }

    pub(super) fn forget_connector(&mut self, connector: &ConnectorId) {
        self.disconnected(connector, "not in the config any more".to_owned());
        if !self.state.sizes(connector).is_empty() {
            self.resync_begin(connector.clone(), 0, "all".to_owned());
            self.resync_end(connector.clone(), 0);
        }
        self.compare_wishes(connector);
    }

    pub(super) fn disconnected(&mut self, connector: &ConnectorId, reason: String) {
        let session = self.session(connector);
        // What was not put back yet, and only that, is put back after the next picture.
        session.unfinished.append(&mut session.to_restore);
        session.unfinished.extend(std::mem::take(&mut session.restoring).into_values());
        session.pbx = None;
        session.resynced = false;
        session.wishes_wait = false;
        session.bracket = None;
        session.early.clear();
        session.full_told.clear();
        if self.state.connector(connector).is_some_and(|connector| connector.connected) {
            let body = Body::ConnectorDisconnected { reason };
            self.know(Some(connector), About::default(), body);
        }
        self.end_sent_commands(connector);
    }

    pub(super) fn pbx(&mut self, connector: &ConnectorId, pbx: Pbx) {
        let place = self.place_of(connector);
        let known = self.state.connector(connector);
        let known = known.and_then(|known| Some((known.pbx.as_ref()?, known.place.as_str())));
        let is_another = known.is_some_and(|known| !is_same(known, (&pbx, &place)));
        let restarted = known.is_some_and(|(known, _)| {
            known.started_at.is_some()
                && pbx.started_at.is_some()
                && known.started_at != pbx.started_at
        });
        let session = self.session(connector);
        if is_another {
            // What was wished of the other one is no wish here: its picture is the truth.
            session.restarted = false;
            session.unfinished.clear();
            session.to_restore.clear();
            session.restoring.clear();
        } else {
            session.restarted |= restarted && session.pbx.as_ref() != Some(&pbx);
        }
        session.pbx = Some(pbx);
        if session.resynced {
            self.connect(connector);
        }
    }

    /// Where the config says that the connector's PBX is.
    fn place_of(&self, connector: &ConnectorId) -> String {
        let policy = self.policy.connectors.get(connector);
        policy.map(|policy| policy.place.clone()).unwrap_or_default()
    }

    /// Both halves are there: who the PBX is, and a picture of it.
    fn connect(&mut self, connector: &ConnectorId) {
        let session = self.session(connector);
        let Some(pbx) = session.pbx.clone() else { return };
        // Before the event that tells which PBX this is: should the host die in between, the next one sees
        // the restart again, or the commands it led to.
        if std::mem::take(&mut session.wishes_wait) {
            self.compare_wishes(connector);
        }
        let known = self.state.connector(connector);
        let connected = known.is_some_and(|connector| connector.connected);
        if connected {
            if known.is_some_and(|connector| connector.pbx.as_ref() != Some(&pbx)) {
                self.know(Some(connector), About::default(), Body::PbxChanged { pbx });
            }
            return;
        }
        let since = known.map(|connector| connector.since);
        let place = self.place_of(connector);
        self.know(Some(connector), About::default(), Body::ConnectorConnected { pbx, place });
        if let Some(from) = since {
            let body = self.gap_since(from);
            self.know(Some(connector), About::default(), body);
        }
    }

    /// Nothing was seen from then until now; a clock that was set back makes that no time at all.
    fn gap_since(&self, from: Timestamp) -> Body {
        let to = self.now.wall;
        Body::ObservationGap { from: from.min(to), to }
    }

    /// Marks what a live fact is about, so that an open picture does not undo it.
    pub(super) fn touch(&mut self, connector: &ConnectorId, fact: &Fact) {
        if let Some(bracket) = &mut self.session(connector).bracket
            && let Some(key) = Key::of(fact)
        {
            if bracket.live.len() > MOST_IN_PICTURE {
                return;
            }
            bracket.live.extend(key.queue());
            bracket.live.insert(key);
        }
    }

    pub(super) fn resync_begin(&mut self, connector: ConnectorId, id: u64, scope: String) {
        self.session(&connector).bracket = Some(Bracket {
            id,
            scope,
            seen: BTreeSet::new(),
            live: BTreeSet::new(),
            order: BTreeMap::new(),
            corrections: 0,
        });
    }

    pub(super) fn resync_item(&mut self, connector: ConnectorId, id: u64, fact: Fact) {
        let Some(bracket) =
            self.session(&connector).bracket.as_mut().filter(|bracket| bracket.id == id)
        else {
            return;
        };
        if bracket.seen.len() + bracket.live.len() > MOST_IN_PICTURE {
            self.session(&connector).bracket = None;
            return self.full(&connector, "things in one picture", MOST_IN_PICTURE);
        }
        let key = Key::of(&fact);
        let touched = key.as_ref().is_some_and(|key| bracket.live.contains(key));
        bracket.seen.extend(key.as_ref().and_then(Key::queue));
        bracket.seen.extend(key);
        let ends_something = matches!(
            fact,
            Fact::LegEnded { .. }
                | Fact::LegReleased { .. }
                | Fact::LegKey { .. }
                | Fact::QueueRemoved { .. }
                | Fact::MemberRemoved(_)
                | Fact::CallerLeft { .. }
                | Fact::OfferEnded { .. }
                | Fact::ServiceEnded { .. }
                | Fact::ExtensionRemoved { .. }
        );
        if ends_something {
            return;
        }
        // A live word about a leg is not the whole leg: one that was never seen starts all the same.
        let starts = matches!(&fact, Fact::LegStarted(leg) if self.state.live_leg(&connector, &leg.id).is_none());
        if touched && !starts {
            return;
        }
        let sight = Sight { connector, at_pbx: None, inferred: true };
        let place = match &fact {
            Fact::CallerJoined(caller) => {
                Some((caller.position, caller.queue.clone(), caller.leg.clone()))
            }
            _ => None,
        };
        let before = self.state.seq();
        self.fact(&sight, fact);
        self.count_corrections(&sight.connector, before);
        if let Some((position, queue, leg)) = place {
            self.note_place(&sight.connector, position, &queue, &leg);
        }
    }

    fn note_place(&mut self, connector: &ConnectorId, position: u32, queue: &str, leg: &str) {
        let Some(queue) = self.state.queue_named(connector, queue).map(|queue| queue.id) else {
            return;
        };
        let Some(leg) = self.state.live_leg(connector, leg).map(|leg| leg.id) else { return };
        let entry = self.state.entry_of(connector, queue, leg).map(|entry| entry.id);
        if let (Some(entry), Some(bracket)) = (entry, &mut self.session(connector).bracket) {
            bracket.order.entry(queue).or_default().push((position, entry));
        }
    }

    /// Counts the concluded events made since then.
    fn count_corrections(&mut self, connector: &ConnectorId, before: u64) {
        let events = self.outputs.iter().rev().filter_map(|output| match output {
            super::Output::Event(event) => Some(event),
            _ => None,
        });
        let news = events.take_while(|event| event.seq > before);
        let corrections = news.filter(|event| event.inferred).count() as u64;
        if let Some(bracket) = &mut self.session(connector).bracket {
            bracket.corrections += corrections;
        }
    }

    pub(super) fn resync_end(&mut self, connector: ConnectorId, id: u64) {
        let Some(bracket) = self.session(&connector).bracket.take_if(|bracket| bracket.id == id)
        else {
            return;
        };
        let sight = Sight { connector: connector.clone(), at_pbx: None, inferred: true };
        let before = self.state.seq();
        if bracket.covers("queues") {
            self.remove_callers(&sight, &bracket);
        }
        if bracket.covers("calls") {
            self.remove_services(&sight, &bracket);
            self.remove_legs(&sight, &bracket);
        }
        if bracket.covers("queues") {
            self.remove_seats(&sight, &bracket);
            self.reorder_callers(&sight, &bracket);
        }
        if bracket.covers("extensions") {
            self.remove_extensions(&sight, &bracket);
        }
        let queues = bracket.covers("queues");
        let (scope, so_far) = (bracket.scope.clone(), bracket.corrections);
        self.session(&connector).bracket = Some(bracket);
        self.count_corrections(&connector, before);
        let bracket = self.session(&connector).bracket.take();
        let corrections = bracket.map_or(so_far, |bracket| bracket.corrections);
        let session = self.session(&connector);
        // A part of the PBX is not the PBX.
        session.resynced |= scope == "all";
        session.wishes_wait |= queues;
        if session.resynced {
            self.connect(&connector);
        }
        self.know(Some(&connector), About::default(), Body::Resynced { scope, corrections });
        if queues {
            self.tell_all_unmapped(Some(&connector));
        }
    }

    fn remove_callers(&mut self, sight: &Sight, bracket: &Bracket) {
        let queues = self.state.queues().filter(|queue| queue.connector == sight.connector);
        let mut gone = Vec::new();
        for queue in queues {
            for entry in self.state.waiting(queue.id) {
                let Some(leg) = self.state.leg(entry.leg) else { continue };
                let key = Key::Caller(queue.settings.name.clone(), leg.native.clone());
                if !bracket.stays(&key) {
                    gone.push(entry.id);
                }
            }
        }
        // First all leave, then whoever stays moves up once.
        let mut thinned = BTreeSet::new();
        for entry in gone {
            self.cancel_offers(sight, entry);
            let evidence = "absent-from-picture".to_owned();
            let left = self.depart(sight, entry, QueueExit::Unknown, evidence);
            thinned.extend(left.map(|(queue, _)| queue));
        }
        for queue in thinned {
            self.reorder(sight, queue, &[]);
        }
    }

    /// A conversation the picture does not name goes on as long as the two are still connected.
    fn remove_services(&mut self, sight: &Sight, bracket: &Bracket) {
        let mut gone = Vec::new();
        for leg in self.state.live_legs(&sight.connector) {
            for entry in self.state.entries_of(leg.id) {
                let Some(service) = entry.running_service() else { continue };
                let queue = self.state.queue(entry.queue);
                let name = queue.map(|queue| queue.settings.name.clone()).unwrap_or_default();
                if bracket.stays(&Key::Service(name, leg.native.clone())) {
                    continue;
                }
                let stays = |key: Key| bracket.stays(&key);
                let connected = stays(Key::Leg(leg.native.clone()))
                    && stays(Key::Peers(leg.native.clone()))
                    && match service.member_leg.and_then(|id| self.state.leg(id)) {
                        Some(member) => {
                            stays(Key::Leg(member.native.clone())) && leg.peers.contains(&member.id)
                        }
                        None => !leg.peers.is_empty(),
                    };
                if !connected {
                    gone.push(entry.id);
                }
            }
        }
        for entry in gone {
            self.end_service(sight, entry, ServiceEnd::Unknown, 0);
        }
    }

    fn remove_legs(&mut self, sight: &Sight, bracket: &Bracket) {
        let legs = self.state.live_legs(&sight.connector);
        let (stay, gone): (Vec<_>, Vec<_>) =
            legs.partition(|leg| bracket.stays(&Key::Leg(leg.native.clone())));
        let silent = stay
            .iter()
            .filter(|leg| !leg.peers.is_empty() && !bracket.stays(&Key::Peers(leg.native.clone())));
        let alone: Vec<_> = silent.map(|leg| leg.native.clone()).collect();
        let gone: Vec<_> = gone.iter().map(|leg| leg.native.clone()).collect();
        let released = stay
            .iter()
            .filter(|leg| leg.held.is_some() && !bracket.stays(&Key::Offered(leg.native.clone())));
        let released: Vec<_> = released.map(|leg| leg.native.clone()).collect();
        for native in released {
            self.leg_released(sight, &native, "absent-from-picture".to_owned());
        }
        for native in alone {
            self.leg_peers(sight, native.into(), Vec::new());
        }
        for native in gone {
            self.leg_ended(sight, &native, RawCause::default(), String::new());
        }
    }

    fn remove_seats(&mut self, sight: &Sight, bracket: &Bracket) {
        let queues = self.state.queues().filter(|queue| queue.connector == sight.connector);
        let mut gone_members = Vec::new();
        let mut gone_queues = Vec::new();
        for queue in queues {
            let name = &queue.settings.name;
            for interface in queue.members.keys() {
                let member = MemberRef { queue: name.clone(), interface: interface.clone() };
                if !bracket.stays(&Key::Member(member.clone())) {
                    gone_members.push(member);
                }
            }
            if !bracket.stays(&Key::Queue(name.clone())) {
                gone_queues.push(name.clone());
            }
        }
        for member in gone_members {
            self.member_removed(sight, member);
        }
        for name in gone_queues {
            self.queue_removed(sight, &name);
        }
    }

    /// Priorities change places without a word, so the picture's order counts where no live fact came between.
    fn reorder_callers(&mut self, sight: &Sight, bracket: &Bracket) {
        for (queue, places) in &bracket.order {
            let Some(name) = self.state.queue(*queue).map(|queue| &queue.settings.name) else {
                continue;
            };
            let touched = |key: &Key| matches!(key, Key::Caller(at, _) if at == name);
            if bracket.live.iter().any(touched) {
                continue;
            }
            let mut places = places.clone();
            places.sort_unstable();
            let order: Vec<EntryId> = places.into_iter().map(|(_, entry)| entry).collect();
            self.reorder(sight, *queue, &order);
        }
    }

    fn remove_extensions(&mut self, sight: &Sight, bracket: &Bracket) {
        let lines = self.state.extensions().filter(|line| line.connector == sight.connector);
        let numbers = lines.map(|line| line.extension.number.clone());
        let gone: Vec<String> =
            numbers.filter(|number| !bracket.stays(&Key::Extension(number.clone()))).collect();
        for number in gone {
            self.extension_removed(sight, &number);
        }
    }
}
