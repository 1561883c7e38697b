//! A calendar: the hours of the week, the days that differ, and which of them decides at a minute.

use std::fmt;

use jackfield_bundled::{Reader, json, place};

use crate::{
    date::{Date, days_in},
    hours::{self, Clock, Interval},
};

/// Most days or ranges of days that differ.
const MOST_DAYS: usize = 1000;

/// How far the next opening is looked for.
const LOOK_AHEAD: i32 = 62;

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// When somebody is there.
#[derive(Clone, Debug, Default)]
pub struct Calendar {
    /// What the settings call it.
    pub name: String,
    /// IANA name; empty: the site's.
    pub time_zone: String,
    /// From Monday.
    week: [Vec<Interval>; 7],
    /// They win over holidays.
    openings: Vec<Special>,
    /// They win over the week.
    holidays: Vec<Special>,
}

/// Days whose hours differ from the week's.
#[derive(Clone, Debug)]
struct Special {
    name: String,
    days: Days,
    hours: Vec<Interval>,
    /// What callers hear on such a day, when that differs.
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Days {
    /// One day, or from one to another.
    Dates { from: Date, to: Date },
    /// The same each year, as (month, day); one that begins after it ends goes over New Year.
    Yearly { from: (u8, u8), to: (u8, u8) },
    /// So many days after Easter Sunday.
    Easter { offset: i32 },
}

/// What a calendar says of a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'c> {
    /// Somebody is there.
    Open {
        /// Which hours say so.
        rule: Rule<'c>,
        /// On the day before, when it goes over midnight.
        interval: Interval,
    },
    /// Nobody is there.
    Closed {
        /// Which rule made the day what it is.
        rule: Rule<'c>,
        /// The message of that day; empty: the usual one.
        message: &'c str,
        /// When somebody is there again, if that is within two months.
        opens: Option<(Date, Clock)>,
    },
}

/// Which part of a calendar decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule<'c> {
    /// An exceptional opening, by its name.
    Opening(&'c str),
    /// A holiday, by its name.
    Holiday(&'c str),
    /// The hours of this weekday.
    Week(&'static str),
}

impl Rule<'_> {
    /// A word for the treatment and other hooks.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Opening(_) => "opening",
            Self::Holiday(_) => "holiday",
            Self::Week(_) => "hours",
        }
    }
}

/// As it stands in a reason.
impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening(name) => write!(f, "opening \"{name}\""),
            Self::Holiday(name) => write!(f, "holiday \"{name}\""),
            Self::Week(day) => write!(f, "hours of {day}"),
        }
    }
}

impl Calendar {
    /// Reads one; problems are told to the reader.
    pub fn read(name: &str, it: &Reader<'_>) -> Self {
        it.only(&["time_zone", "week", "holidays", "openings"]);
        Self::read_parts(name, it)
    }

    /// Reads the parts of one from a table that holds other settings, too.
    pub fn read_parts(name: &str, it: &Reader<'_>) -> Self {
        let time_zone = it.text_of("time_zone").unwrap_or_default();
        if !time_zone.is_empty() && !is_zone(&time_zone) {
            it.complain_of(
                "time_zone",
                format!("{time_zone:?} is no time zone; write e.g. \"Europe/Berlin\""),
            );
        }
        let week = read_week(it);
        let specials = |name| it.list(name, MOST_DAYS).iter().filter_map(Special::read).collect();
        if it.get("week").is_none() && it.get("openings").is_none() {
            it.complain_of("week", "is missing: this calendar would never be open; write e.g. { mon-fri = \"09:00-17:00\" }");
        }
        Self {
            name: json::one_line(name, 60),
            time_zone,
            week,
            openings: specials("openings"),
            holidays: specials("holidays"),
        }
    }

    /// What it says of a minute of a day.
    pub fn at(&self, date: Date, minute: u16) -> Verdict<'_> {
        // Who came in before midnight is still there after it, whatever the new day is.
        let yesterday = self.day(date.plus(-1));
        let over_midnight = yesterday.hours.iter().find(|interval| interval.has_next_day(minute));
        if let Some(interval) = over_midnight {
            return Verdict::Open { rule: yesterday.rule, interval: *interval };
        }
        let today = self.day(date);
        match today.hours.iter().find(|interval| interval.has(minute)) {
            Some(interval) => Verdict::Open { rule: today.rule, interval: *interval },
            None => Verdict::Closed {
                rule: today.rule,
                message: today.message,
                opens: self.next_opening(date, minute),
            },
        }
    }

    /// Is somebody there?
    pub fn is_open(&self, date: Date, minute: u16) -> bool {
        matches!(self.at(date, minute), Verdict::Open { .. })
    }

    fn next_opening(&self, date: Date, minute: u16) -> Option<(Date, Clock)> {
        (0..=LOOK_AHEAD).find_map(|days| {
            let date = date.plus(days);
            let after = |interval: &&Interval| days > 0 || interval.from > minute;
            // Sorted by their beginning.
            let first = self.day(date).hours.iter().find(after)?;
            Some((date, Clock(first.from)))
        })
    }

    /// The hours that begin on this day.
    fn day(&self, date: Date) -> Day<'_> {
        let special = |list: &'_ [Special]| list.iter().position(|special| special.days.have(date));
        if let Some(special) = special(&self.openings).and_then(|index| self.openings.get(index)) {
            return special.as_day(Rule::Opening(&special.name));
        }
        if let Some(special) = special(&self.holidays).and_then(|index| self.holidays.get(index)) {
            return special.as_day(Rule::Holiday(&special.name));
        }
        let weekday = date.weekday();
        Day { rule: Rule::Week(WEEKDAYS[weekday]), hours: &self.week[weekday], message: "" }
    }
}

struct Day<'c> {
    rule: Rule<'c>,
    hours: &'c [Interval],
    message: &'c str,
}

impl Special {
    fn read(it: &Reader<'_>) -> Option<Self> {
        it.only(&["name", "on", "from", "to", "easter", "hours", "message"]);
        let name = it.text_of("name").unwrap_or_default();
        if name.is_empty() {
            it.complain_of(
                "name",
                "is missing: it is what you read when you ask why a call was turned away",
            );
        }
        let message = place::recordings(it, "message").join(",");
        let hours = it.get("hours").map(|it| hours::read(&it)).unwrap_or_default();
        let days = Days::read(it)?;
        Some(Self { name: json::one_line(&name, 80), days, hours, message })
    }

    fn as_day<'c>(&'c self, rule: Rule<'c>) -> Day<'c> {
        Day { rule, hours: &self.hours, message: &self.message }
    }
}

impl Days {
    fn read(it: &Reader<'_>) -> Option<Self> {
        let offset = it.number_of("easter", -100..=100);
        let ways = [it.get("on").is_some(), it.get("from").is_some(), it.get("easter").is_some()];
        if ways.iter().filter(|is_set| **is_set).count() != 1 {
            it.complain(
                "must say its day in one way: on = \"2026-12-24\" or \"12-24\" (each year), from and to, or \
                 easter = 1 (days after Easter Sunday)",
            );
            return None;
        }
        if let Some(offset) = offset {
            return Some(Self::Easter { offset });
        }
        if it.get("on").is_some() {
            return Some(match Written::read(it, "on")? {
                Written::Full(date) => Self::Dates { from: date, to: date },
                Written::Yearly(day) => Self::Yearly { from: day, to: day },
            });
        }
        if it.get("to").is_none() {
            it.complain_of("to", "is missing: the last of the days that begin with `from`");
            return None;
        }
        match (Written::read(it, "from")?, Written::read(it, "to")?) {
            (Written::Full(from), Written::Full(to)) if from <= to => {
                Some(Self::Dates { from, to })
            }
            (Written::Full(_), Written::Full(_)) => {
                it.complain_of("to", "is before `from`");
                None
            }
            (Written::Yearly(from), Written::Yearly(to)) => Some(Self::Yearly { from, to }),
            _ => {
                it.complain_of("to", "must have a year if `from` has one, and none if it has none");
                None
            }
        }
    }

    fn have(self, date: Date) -> bool {
        match self {
            Self::Dates { from, to } => (from..=to).contains(&date),
            Self::Yearly { from, to } => {
                let day = (date.month, date.day);
                if from <= to { (from..=to).contains(&day) } else { day >= from || day <= to }
            }
            Self::Easter { offset } => {
                // Far from Easter it may be another year.
                let sunday = date.plus(-offset);
                Date::easter(sunday.year) == sunday
            }
        }
    }
}

/// A day with or without its year.
enum Written {
    Full(Date),
    Yearly((u8, u8)),
}

impl Written {
    fn read(it: &Reader<'_>, name: &str) -> Option<Self> {
        let it = it.get(name)?;
        let text = it.text()?;
        let found = Self::parse(&text);
        if found.is_none() {
            it.complain(format!(
                "{text:?} is no day; write \"2026-12-24\", or \"12-24\" for each year"
            ));
        }
        found
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = |text: &str, length: usize| {
            let fine = text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
            fine.then(|| text.parse::<u16>().ok()).flatten()
        };
        let small = |text: &str| digits(text, 2).and_then(|it| u8::try_from(it).ok());
        let mut parts = text.split('-');
        match (parts.next()?, parts.next()?, parts.next(), parts.next()) {
            (month, day, None, _) => {
                let (month, day) = (small(month)?, small(day)?);
                // 29 February is a day of some years.
                let exists = (1..=12).contains(&month) && (1..=days_in(2000, month)).contains(&day);
                exists.then_some(Self::Yearly((month, day)))
            }
            (year, month, Some(day), None) => {
                let year = i32::from(digits(year, 4)?);
                let date = Date::new(year, small(month)?, small(day)?)?;
                (1970..=9000).contains(&year).then_some(Self::Full(date))
            }
            _ => None,
        }
    }
}

/// Days of the week by name, or ranges of them: `mon`, `mon-fri`, `sat-sun`; `daily` is all.
fn read_week(it: &Reader<'_>) -> [Vec<Interval>; 7] {
    let mut week: [Option<Vec<Interval>>; 7] = Default::default();
    let index = |name: &str| WEEKDAYS.iter().position(|day| *day == name);
    for (name, it) in it.table("week", 64) {
        let range = match name.split_once('-') {
            None if name == "daily" => Some((0, 6)),
            None => index(&name).map(|day| (day, day)),
            Some((from, to)) => index(from).zip(index(to)),
        };
        let Some((from, to)) = range else {
            it.complain(
                "is no day of the week; write mon, tue, wed, thu, fri, sat, sun, mon-fri or daily",
            );
            continue;
        };
        let hours = hours::read(&it);
        let days = if from <= to { to - from } else { to + 7 - from };
        for day in (from..=from + days).map(|day| day % 7) {
            if week[day].is_some() {
                it.complain(format!(
                    "says the hours of {} again; write each day once",
                    WEEKDAYS[day]
                ));
            }
            week[day] = Some(hours.clone());
        }
    }
    week.map(Option::unwrap_or_default)
}

/// What an IANA name looks like; whether the host knows it, the host says.
fn is_zone(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
    name.len() <= 64 && name.chars().all(fine)
}
