//! Figures of a day per queue, folded from committed events and nothing else.
//!
//! A caller belongs to the day, in the queue's time zone, in which the wait began, so that of every day
//! `offered = answered + abandoned + refused + timed out + other exits + still waiting` holds.
//! Today and yesterday are kept: a caller who waits across midnight still ends in yesterday's figures.

use std::collections::BTreeMap;

use calls::{Body, ConnectorId, EntryId, QueueId, Timestamp, fact::QueueExit};
use jiff::{civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::wire::Time;

/// Which days a queue has.
#[derive(Clone, Debug)]
pub struct Zones {
    /// Where nothing else is said.
    pub default: TimeZone,
    /// By connector.
    pub connectors: BTreeMap<ConnectorId, TimeZone>,
    /// By connector and native queue name.
    pub queues: BTreeMap<(ConnectorId, String), TimeZone>,
}

impl Default for Zones {
    fn default() -> Self {
        Self { default: TimeZone::UTC, connectors: BTreeMap::new(), queues: BTreeMap::new() }
    }
}

impl Zones {
    fn of(&self, connector: &ConnectorId, queue: &str) -> TimeZone {
        let own = self.queues.get(&(connector.clone(), queue.to_owned()));
        own.or_else(|| self.connectors.get(connector)).unwrap_or(&self.default).clone()
    }
}

/// Figures of all queues.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    zones: Zones,
    queues: BTreeMap<QueueId, Days>,
    open: BTreeMap<EntryId, Open>,
}

/// What one queue did on one day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DayFigures {
    /// The day, in `time_zone`.
    #[schema(example = "2026-11-21")]
    pub day: String,
    /// IANA name of the queue's zone.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
    /// Callers who came to the queue, refused ones included.
    pub offered: u64,
    /// Callers a member talked with.
    pub answered: u64,
    /// Callers who hung up waiting.
    pub abandoned: u64,
    /// Of these, before any member was rung.
    pub abandoned_before_ringing: u64,
    /// Of these, after a member was rung.
    pub abandoned_after_ringing: u64,
    /// Callers turned away at the door.
    pub refused: u64,
    /// Of these, because the queue was full.
    pub refused_full: u64,
    /// Of these, because nobody was there to answer.
    pub refused_empty: u64,
    /// Callers who reached the longest wait the PBX allows.
    pub timed_out: u64,
    /// Callers who left in any other way: key, redirect, no members left, hung up by the PBX, not seen.
    pub other_exits: u64,
    /// Mean wait of the answered; null when there is none.
    pub average_wait_ms: Option<u64>,
    /// Longest wait of an answered caller.
    pub longest_wait_ms: u64,
    /// Conversation time.
    pub talk_ms: u64,
    /// `answered_in_level / (answered + abandoned + timed_out + other_exits)`; null when the queue has no
    /// service level, or nobody left it yet. Refused callers do not count.
    pub service_level: Option<f64>,
    /// Answered within the queue's `service_level_secs`.
    pub answered_in_level: u64,
}

#[derive(Clone, Debug)]
struct Days {
    zone: TimeZone,
    connector: ConnectorId,
    name: String,
    service_level_secs: u32,
    days: BTreeMap<Date, Tally>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    offered: u64,
    answered: u64,
    answered_in_level: u64,
    abandoned_before: u64,
    abandoned_after: u64,
    full: u64,
    empty: u64,
    timed_out: u64,
    other: u64,
    wait_ms: u64,
    longest_wait_ms: u64,
    talk_ms: u64,
}

/// A wait that still can change the figures.
#[derive(Clone, Debug)]
struct Open {
    queue: QueueId,
    day: Date,
    answered: bool,
    left: bool,
    talked: bool,
}

/// Days kept per queue.
const KEPT_DAYS: usize = 2;

impl Figures {
    /// No figures yet.
    pub fn new(zones: Zones) -> Self {
        Self { zones, ..Self::default() }
    }

    /// Counts one event. Events come in order, each once.
    pub fn apply(&mut self, event: &calls::Event) {
        let (Some(connector), Some(queue)) = (&event.connector, event.about.queue) else { return };
        match &event.body {
            Body::QueueChanged(settings) => {
                let zone = self.zones.of(connector, &settings.name);
                let days = self.days(connector, queue);
                days.name.clone_from(&settings.name);
                days.service_level_secs = settings.service_level_secs;
                days.zone = zone;
            }
            Body::QueueRemoved { .. } => {
                self.queues.remove(&queue);
                self.open.retain(|_, open| open.queue != queue);
            }
            Body::CallerJoined { joined_at, .. } => {
                let (day, tally) = self.days(connector, queue).at(*joined_at);
                tally.offered += 1;
                if let Some(entry) = event.about.entry {
                    let open = Open { queue, day, answered: false, left: false, talked: false };
                    self.open.insert(entry, open);
                    self.forget_old(queue);
                }
            }
            Body::ServiceStarted { waited_ms, .. } => {
                self.answered(event.about.entry, *waited_ms);
            }
            Body::CallerLeft { exit: QueueExit::Answered, waited_ms, .. } => {
                self.answered(event.about.entry, *waited_ms);
                self.change(event.about.entry, |open, _| open.left = true);
            }
            Body::CallerLeft { exit, offered, .. } => {
                let known = event.about.entry.is_some_and(|entry| self.open.contains_key(&entry));
                if known {
                    self.change(event.about.entry, |open, tally| {
                        open.left = true;
                        if !open.answered {
                            tally.left(exit, *offered);
                        }
                    });
                } else {
                    let (_, tally) = self.days(connector, queue).at(event.at);
                    tally.offered += 1;
                    tally.left(exit, *offered);
                }
            }
            Body::ServiceEnded { talked_ms, .. } => {
                self.change(event.about.entry, |open, tally| {
                    open.talked = true;
                    tally.talk_ms += talked_ms;
                });
            }
            _ => {}
        }
    }

    /// The figures of the day that `now` is in.
    pub fn today(&self, queue: QueueId, now: Timestamp) -> Option<DayFigures> {
        let days = self.queues.get(&queue)?;
        let day = days.day(now);
        Some(days.figures(day))
    }

    fn days(&mut self, connector: &ConnectorId, queue: QueueId) -> &mut Days {
        self.queues.entry(queue).or_insert_with(|| Days {
            zone: self.zones.of(connector, ""),
            connector: connector.clone(),
            name: String::new(),
            service_level_secs: 0,
            days: BTreeMap::new(),
        })
    }

    fn answered(&mut self, entry: Option<EntryId>, waited_ms: u64) {
        let Some(open) = entry.and_then(|entry| self.open.get_mut(&entry)) else { return };
        let Some(days) = self.queues.get_mut(&open.queue) else { return };
        if std::mem::replace(&mut open.answered, true) {
            return;
        }
        let level_ms = u64::from(days.service_level_secs) * 1_000;
        let tally = days.days.entry(open.day).or_default();
        tally.answered += 1;
        tally.wait_ms += waited_ms;
        tally.longest_wait_ms = tally.longest_wait_ms.max(waited_ms);
        if level_ms > 0 && waited_ms <= level_ms {
            tally.answered_in_level += 1;
        }
    }

    fn change(&mut self, entry: Option<EntryId>, change: impl FnOnce(&mut Open, &mut Tally)) {
        let Some(entry) = entry else { return };
        let Some(open) = self.open.get_mut(&entry) else { return };
        let Some(days) = self.queues.get_mut(&open.queue) else { return };
        change(open, days.days.entry(open.day).or_default());
        if open.left && (open.talked || !open.answered) {
            self.open.remove(&entry);
        }
    }

    /// Nothing older than yesterday can change.
    fn forget_old(&mut self, queue: QueueId) {
        let Some(days) = self.queues.get_mut(&queue) else { return };
        if days.days.len() <= KEPT_DAYS {
            return;
        }
        while days.days.len() > KEPT_DAYS {
            days.days.pop_first();
        }
        let Some((oldest, _)) = days.days.first_key_value() else { return };
        let oldest = *oldest;
        self.open.retain(|_, open| open.queue != queue || open.day >= oldest);
    }
}

impl Days {
    fn day(&self, at: Timestamp) -> Date {
        crate::wire::instant(at).to_zoned(self.zone.clone()).date()
    }

    fn at(&mut self, at: Timestamp) -> (Date, &mut Tally) {
        let day = self.day(at);
        (day, self.days.entry(day).or_default())
    }

    fn figures(&self, day: Date) -> DayFigures {
        let tally = self.days.get(&day).cloned().unwrap_or_default();
        let abandoned = tally.abandoned_before + tally.abandoned_after;
        let gone = tally.answered + abandoned + tally.timed_out + tally.other;
        let level = (self.service_level_secs > 0 && gone > 0)
            .then(|| tally.answered_in_level as f64 / gone as f64);
        DayFigures {
            day: day.to_string(),
            time_zone: self.zone.iana_name().unwrap_or("UTC").to_owned(),
            offered: tally.offered,
            answered: tally.answered,
            abandoned,
            abandoned_before_ringing: tally.abandoned_before,
            abandoned_after_ringing: tally.abandoned_after,
            refused: tally.full + tally.empty,
            refused_full: tally.full,
            refused_empty: tally.empty,
            timed_out: tally.timed_out,
            other_exits: tally.other,
            average_wait_ms: tally.wait_ms.checked_div(tally.answered),
            longest_wait_ms: tally.longest_wait_ms,
            talk_ms: tally.talk_ms,
            service_level: level,
            answered_in_level: tally.answered_in_level,
        }
    }
}

impl Tally {
    fn left(&mut self, exit: &QueueExit, offered: bool) {
        let count = match exit {
            QueueExit::Abandoned if offered => &mut self.abandoned_after,
            QueueExit::Abandoned => &mut self.abandoned_before,
            QueueExit::Full => &mut self.full,
            QueueExit::JoinEmpty => &mut self.empty,
            QueueExit::TimedOut => &mut self.timed_out,
            _ => &mut self.other,
        };
        *count += 1;
    }
}

/// Figures inside a checkpoint of the journal.
#[derive(Serialize, Deserialize)]
pub(crate) struct Saved {
    queues: Vec<SavedQueue>,
    open: Vec<SavedOpen>,
}

#[derive(Serialize, Deserialize)]
struct SavedQueue {
    id: u64,
    connector: String,
    name: String,
    service_level_secs: u32,
    days: BTreeMap<String, Tally>,
}

#[derive(Serialize, Deserialize)]
struct SavedOpen {
    id: u64,
    queue: u64,
    day: String,
    answered: bool,
    left: bool,
    talked: bool,
}

impl Figures {
    pub(crate) fn save(&self) -> Saved {
        let queues = self.queues.iter().map(|(id, days)| SavedQueue {
            id: id.0,
            connector: days.connector.to_string(),
            name: days.name.clone(),
            service_level_secs: days.service_level_secs,
            days: days.days.iter().map(|(day, tally)| (day.to_string(), tally.clone())).collect(),
        });
        let open = self.open.iter().map(|(id, open)| SavedOpen {
            id: id.0,
            queue: open.queue.0,
            day: open.day.to_string(),
            answered: open.answered,
            left: open.left,
            talked: open.talked,
        });
        Saved { queues: queues.collect(), open: open.collect() }
    }

    /// Days that cannot be read are left out: they are figures, not facts.
    pub(crate) fn restore(&mut self, saved: Saved) {
        for queue in saved.queues {
            let connector = ConnectorId::from(queue.connector.as_str());
            let days = queue.days.into_iter();
            let days = Days {
                zone: self.zones.of(&connector, &queue.name),
                connector,
                name: queue.name,
                service_level_secs: queue.service_level_secs,
                days: days.filter_map(|(day, tally)| Some((day.parse().ok()?, tally))).collect(),
            };
            self.queues.insert(QueueId(queue.id), days);
        }
        for open in saved.open {
            let Ok(day) = open.day.parse() else { continue };
            let SavedOpen { answered, left, talked, .. } = open;
            let kept = Open { queue: QueueId(open.queue), day, answered, left, talked };
            self.open.insert(EntryId(open.id), kept);
        }
    }
}

/// As a test or a person writes it.
impl From<&str> for Zones {
    fn from(name: &str) -> Self {
        Self { default: TimeZone::get(name).unwrap_or(TimeZone::UTC), ..Self::default() }
    }
}

impl DayFigures {
    /// Nothing happened on the day of `now`.
    pub fn empty(now: Time) -> Self {
        Days {
            zone: TimeZone::UTC,
            connector: "".into(),
            name: String::new(),
            service_level_secs: 0,
            days: BTreeMap::new(),
        }
        .figures(crate::wire::instant(now.into()).to_zoned(TimeZone::UTC).date())
    }
}

#[cfg(test)]
mod tests;
