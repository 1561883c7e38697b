//! What the admin sets: calendars, and which way in has which.

use std::collections::BTreeSet;

use jackfield_bundled::{Numbers, Place, Reader, json, place, settings};
use jackfield_sdk::{Problem, hooks::Call};

use crate::calendar::Calendar;

/// Most calendars.
const MOST_CALENDARS: usize = 64;
/// Most rules.
const MOST_RULES: usize = 200;
/// Zones the host gives besides the site's.
const MOST_ZONES: usize = 8;

/// Everything set.
#[derive(Debug)]
pub struct Settings {
    calendars: Vec<Calendar>,
    rules: Vec<Rule>,
    /// A call that comes back is judged by the time at which it first came.
    pub by_arrival: bool,
}

/// Which calls have which calendar, and what happens to them outside its hours.
#[derive(Debug)]
pub struct Rule {
    entries: Vec<String>,
    connectors: Vec<String>,
    dialled: Option<Numbers>,
    calendar: usize,
    /// When nobody is there.
    pub closed: Closed,
}

/// What happens to a call when nobody is there.
#[derive(Debug)]
pub struct Closed {
    /// Recordings they hear first; empty: none.
    pub message: Vec<String>,
    /// Where they go, after the message if there is one.
    pub to: Place,
    /// Where they go when they come back from there.
    pub otherwise: Option<Place>,
    /// Which treatment plays the message; empty: the site's usual one.
    pub treatment: String,
}

/// The calendar of the shorthand: settings without `calendars`.
const ONLY: &str = "office";

impl Settings {
    /// Reads them; or everything that is wrong.
    pub fn read(text: &str) -> Result<Self, Vec<Problem>> {
        settings(text, Self::of)
    }

    /// The rule for a call, with its calendar.
    pub fn rule(&self, call: &Call) -> Option<(&Rule, &Calendar)> {
        let rule = self.rules.iter().find(|rule| rule.is_for(call))?;
        Some((rule, self.calendars.get(rule.calendar)?))
    }

    /// The zones of the calendars; the site's own is not among them.
    pub fn zones(&self) -> BTreeSet<&str> {
        let zones = self.calendars.iter().map(|calendar| calendar.time_zone.as_str());
        zones.filter(|zone| !zone.is_empty()).collect()
    }

    fn of(it: &Reader<'_>) -> Self {
        it.only(&[
            "time_zone",
            "week",
            "holidays",
            "openings",
            "closed",
            "calendars",
            "rules",
            "returned",
        ]);
        let mut calendars: Vec<Calendar> = it
            .table("calendars", MOST_CALENDARS)
            .iter()
            .map(|(name, it)| Calendar::read(name, it))
            .collect();
        let names: Vec<String> = calendars.iter().map(|calendar| calendar.name.clone()).collect();
        let mut rules: Vec<Rule> =
            it.list("rules", MOST_RULES).iter().filter_map(|it| Rule::read(it, &names)).collect();
        let has_own =
            ["week", "holidays", "openings", "time_zone"].iter().any(|name| it.get(name).is_some());
        if has_own || it.get("closed").is_some() {
            rules.push(Rule { calendar: calendars.len(), ..Rule::for_all(Closed::of_setting(it)) });
            calendars.push(Calendar::read_parts(ONLY, it));
        } else if rules.is_empty() {
            it.complain(
                "set no hours: write `week`, e.g. { mon-fri = \"09:00-17:00\" }, and `closed`, or `calendars` and `rules`",
            );
        }
        let read = Self {
            calendars,
            rules,
            by_arrival: match it.text_of("returned").as_deref() {
                None | Some("as-it-came") => true,
                Some("as-of-now") => false,
                Some(_) => {
                    it.complain_of("returned", "must be \"as-it-came\" or \"as-of-now\"");
                    true
                }
            },
        };
        if read.zones().len() > MOST_ZONES - 1 {
            it.complain_of("calendars", format!("have more than {} time zones", MOST_ZONES - 1));
        }
        read
    }
}

impl Rule {
    fn read(it: &Reader<'_>, calendars: &[String]) -> Option<Self> {
        it.only(&["entries", "dialled", "connectors", "calendar", "closed"]);
        let name = match it.text_of("calendar") {
            Some(name) => name,
            None => {
                if it.get("calendar").is_none() {
                    it.complain_of("calendar", "is missing: name one of `calendars`");
                }
                return None;
            }
        };
        let Some(calendar) = calendars.iter().position(|known| *known == name) else {
            let known = if calendars.is_empty() { "none".to_owned() } else { calendars.join(", ") };
            it.complain_of(
                "calendar",
                format!("{name:?} is not among `calendars`; there are: {known}"),
            );
            return None;
        };
        Some(Self {
            entries: it.texts_of("entries", 200),
            connectors: it.texts_of("connectors", 64),
            dialled: Numbers::of_setting(it, "dialled"),
            calendar,
            closed: Closed::of_setting(it),
        })
    }

    fn for_all(closed: Closed) -> Self {
        Self { entries: Vec::new(), connectors: Vec::new(), dialled: None, calendar: 0, closed }
    }

    fn is_for(&self, call: &Call) -> bool {
        let among =
            |list: &[String], value: &str| list.is_empty() || list.iter().any(|it| it == value);
        among(&self.entries, &call.entry)
            && among(&self.connectors, &call.connector)
            && self.dialled.as_ref().is_none_or(|numbers| numbers.contain(&[&call.dialled]))
    }
}

impl Closed {
    fn of_setting(it: &Reader<'_>) -> Self {
        let plain =
            |to: Place| Self { message: Vec::new(), to, otherwise: None, treatment: String::new() };
        let Some(it) = it.get("closed") else {
            it.complain_of("closed", "is missing; write e.g. { message = \"custom/closed\" }, \"queue:night\" or \"reject\"");
            return plain(Place::hang_up());
        };
        if !it.value().is_object() {
            return plain(Place::read(&it).unwrap_or_else(Place::hang_up));
        }
        it.only(&["message", "to", "otherwise", "treatment"]);
        let message = place::recordings(&it, "message");
        let to = Place::of_setting(&it, "to");
        if message.is_empty() && it.get("to").is_none() {
            it.complain("must say what happens: `message`, `to`, or both");
        }
        if message.is_empty() && it.get("treatment").is_some() {
            it.complain_of("treatment", "has nothing to play: add `message`");
        }
        Self {
            message,
            to: to.unwrap_or_else(Place::hang_up),
            otherwise: Place::of_setting(&it, "otherwise"),
            treatment: json::one_line(&it.text_of("treatment").unwrap_or_default(), 60),
        }
    }
}
