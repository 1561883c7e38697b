//! The picture of all queues: taken from the PBX's lists, given to the host.

use std::collections::{BTreeMap, BTreeSet};

use jackfield_sdk::{Caller, Fact, Offer, Queue};
use serde::{Deserialize, Serialize};

use super::{
    Entry, EntryKey, Queues, SECOND_NS, Seat, members::read_member, services::OpenService,
};
use crate::{
    calls::Calls,
    frame::{Header, get_number, get_text},
    settings::Rules,
};

/// A queue's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSettings {
    pub(super) strategy: String,
    pub(super) max: u32,
    pub(super) service_level: u32,
    pub(super) weight: u32,
    pub(super) wrap_up: u32,
}

/// What a list of the PBX said, gathered until it is complete.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Picture {
    settings: BTreeMap<String, QueueSettings>,
    members: BTreeMap<(String, String), Seat>,
    wrap_up: BTreeMap<(String, String), u32>,
    entries: BTreeMap<EntryKey, (u32, i32, u32)>,
}

/// What becomes of what a picture does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is gone.
    Goes,
    /// It is still there: the picture is not trusted that far.
    Stays,
}

/// What changed live while a list was gathered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Touched {
    /// Seats by queue and interface.
    pub members: BTreeSet<(String, String)>,
    /// Callers by queue and leg.
    pub joined: BTreeSet<EntryKey>,
    /// The same.
    pub left: BTreeSet<EntryKey>,
    /// Channels that ended.
    pub ended: BTreeSet<String>,
    /// Channels that began or changed.
    pub channels: BTreeSet<String>,
    /// Devices.
    pub devices: BTreeSet<String>,
}

impl Picture {
    /// One item of the list.
    pub fn item(&mut self, name: &[u8], headers: &[Header<'_>]) {
        match name {
            b"QueueParams" => {
                let settings = QueueSettings {
                    strategy: get_text(headers, b"Strategy"),
                    max: get_number(headers, b"Max") as u32,
                    service_level: get_number(headers, b"ServiceLevel") as u32,
                    weight: get_number(headers, b"Weight") as u32,
                    wrap_up: 0,
                };
                self.settings.insert(get_text(headers, b"Queue"), settings);
            }
            b"QueueMember" => {
                let (key, seat) = read_member(headers, b"Location", b"Name");
                self.wrap_up.insert(key.clone(), get_number(headers, b"Wrapuptime") as u32);
                self.members.insert(key, seat);
            }
            b"QueueEntry" => {
                let key = (get_text(headers, b"Queue"), get_text(headers, b"Uniqueid"));
                let priority: i32 = get_text(headers, b"Priority").parse().unwrap_or_default();
                let numbers = (
                    get_number(headers, b"Position") as u32,
                    priority,
                    get_number(headers, b"Wait") as u32,
                );
                self.entries.insert(key, numbers);
            }
            _ => {}
        }
    }
}

impl Queues {
    /// Takes the picture of a complete list; what changed since `began` live is kept.
    pub fn take_picture(
        &mut self,
        picture: Picture,
        missing: Missing,
        touched: &Touched,
        calls: &Calls,
        now: u64,
    ) {
        let stays = missing == Missing::Stays;
        if !stays {
            self.settings.clear();
        }
        self.settings.extend(picture.settings);
        let mut members = picture.members;
        for key in &touched.members {
            match self.members.remove(key) {
                Some(seat) => members.insert(key.clone(), seat),
                None => members.remove(key),
            };
        }
        for (key, wrap_up) in picture.wrap_up {
            if let Some(settings) = self.settings.get_mut(&key.0) {
                settings.wrap_up = settings.wrap_up.max(wrap_up);
            }
        }
        if stays {
            self.members.extend(members);
        } else {
            self.members = members;
        }
        let mut entries = BTreeMap::new();
        for (key, (position, priority, waited)) in picture.entries {
            if touched.left.contains(&key) {
                continue;
            }
            let known = self.entries.remove(&key);
            let since = now as i64 - i64::from(waited) * SECOND_NS as i64;
            let entry = known.unwrap_or(Entry { since, ..Entry::default() });
            entries.insert(key, Entry { position, priority, ..entry });
        }
        // Joined while the list was made.
        for key in &touched.joined {
            if let Some(entry) = self.entries.remove(key) {
                entries.insert(key.clone(), entry);
            }
        }
        if stays {
            self.entries.extend(entries);
        } else {
            self.entries = entries;
        }
        self.offers.retain(|offer| calls.is_leg(&offer.leg) && calls.get(&offer.dialled).is_some());
        self.services
            .retain(|service| calls.is_leg(&service.leg) && calls.get(&service.dialled).is_some());
        self.entering.retain(|leg, _| calls.is_leg(leg));
    }

    /// Everything as it is, for a picture.
    pub fn picture(&self, rules: &Rules, now: u64) -> Vec<Fact> {
        let mut facts: Vec<Fact> = self
            .settings
            .iter()
            .map(|(name, settings)| {
                Fact::Queue(Queue {
                    name: name.clone(),
                    strategy: settings.strategy.clone(),
                    max_length: settings.max,
                    service_level_secs: settings.service_level,
                    wrap_up_secs: settings.wrap_up,
                    weight: settings.weight,
                })
            })
            .collect();
        facts.extend(self.members.iter().map(|(key, seat)| Fact::Member(seat.fact(key, rules))));
        let mut callers: Vec<_> = self.entries.iter().collect();
        callers.sort_by_key(|(key, entry)| (&key.0, entry.position));
        facts.extend(callers.into_iter().map(|(key, entry)| {
            let waited = (now as i64).saturating_sub(entry.since).max(0) as u64;
            Fact::CallerJoined(Caller {
                queue: key.0.clone(),
                leg: key.1.clone(),
                position: entry.position,
                priority: entry.priority,
                waited_ms: waited / 1_000_000,
            })
        }));
        facts.extend(self.offers.iter().filter(|offer| offer.ended.is_none()).map(|offer| {
            Fact::OfferStarted(Offer {
                queue: offer.queue.clone(),
                leg: offer.leg.clone(),
                interface: offer.interface.clone(),
                member_leg: None,
            })
        }));
        facts.extend(self.services.iter().map(OpenService::fact));
        facts
    }
}
