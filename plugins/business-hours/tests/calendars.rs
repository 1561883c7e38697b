//! Calendars at random against a naive model: a table with every minute of two years.
//!
//! A failure prints its seed; `CALENDAR_SEED=... cargo test -p jackfield-business-hours --test calendars` repeats it.

use std::collections::BTreeSet;

use jackfield_bundled::settings;
use jackfield_business_hours::{
    calendar::{Calendar, Verdict},
    date::Date,
};
use serde_json::{Value, json};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn minute(&mut self) -> u32 {
        // Often a boundary that hurts.
        match self.roll(6) {
            0 => 0,
            1 => 24 * 60 - 1,
            _ => u32::try_from(self.roll(24 * 60)).unwrap(),
        }
    }

    /// Intervals that do not overlap, as (from, to) with `to` beyond midnight for the last at most.
    fn hours(&mut self) -> Hours {
        let mut cuts: BTreeSet<u32> = (0..self.roll(5)).map(|_| self.minute()).collect();
        if cuts.len() % 2 == 1 {
            cuts.pop_last();
        }
        let cuts: Vec<u32> = cuts.into_iter().collect();
        let mut hours: Hours = cuts.chunks(2).map(|pair| (pair[0], pair[1])).collect();
        if self.roll(3) == 0 {
            let from = hours.last().map_or(0, |last| last.1) + 1;
            if from < 24 * 60 {
                // Ends at midnight or on the next day, at most when it began.
                let to = 24 * 60 + u32::try_from(self.roll(u64::from(from) + 1)).unwrap();
                hours.push((from, to));
            }
        }
        hours
    }

    fn date(&mut self) -> Date {
        Date::new(2026, 1, 1).unwrap().plus(i32::try_from(self.roll(730)).unwrap())
    }
}

/// From one minute of a day to another, which may be of the next day.
type Hours = Vec<(u32, u32)>;

/// The same calendar twice: as settings, and as the days that differ.
struct Model {
    week: [Hours; 7],
    /// Day number, and what its hours are; the first counts.
    specials: Vec<(Vec<i32>, Hours)>,
}

fn written(hours: &[(u32, u32)]) -> Value {
    let clock = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
    let end = |to: u32| if to > 24 * 60 { clock(to - 24 * 60) } else { clock(to) };
    hours.iter().map(|(from, to)| format!("{}-{}", clock(*from), end(*to))).collect()
}

fn any(dice: &mut Dice) -> (Value, Model) {
    let week: [Hours; 7] = std::array::from_fn(|_| dice.hours());
    let days: serde_json::Map<String, Value> =
        DAYS.iter().zip(&week).map(|(day, hours)| ((*day).to_owned(), written(hours))).collect();
    let mut specials = Vec::new();
    // Openings first: they win.
    let lists: [Vec<Value>; 2] = std::array::from_fn(|_| {
        let mut list = Vec::new();
        for _ in 0..dice.roll(8) {
            let hours = dice.hours();
            let first = dice.date();
            let length = i32::try_from(dice.roll(20)).unwrap();
            let last = first.plus(length);
            let all =
                Date::new(2025, 12, 1).unwrap().number()..Date::new(2028, 2, 1).unwrap().number();
            let yearly = |date: Date| format!("{:02}-{:02}", date.month, date.day);
            let (mut entry, numbers): (Value, Vec<i32>) = match dice.roll(4) {
                0 => (json!({ "on": first.to_string() }), vec![first.number()]),
                1 => (
                    json!({ "from": first.to_string(), "to": last.to_string() }),
                    (first.number()..=last.number()).collect(),
                ),
                2 => {
                    // Marked day by day in every year, however the range lies around New Year.
                    let mut numbers = Vec::new();
                    for number in all {
                        let day = Date::of_number(number);
                        let began = (0..=length).any(|back| {
                            let candidate = day.plus(-back);
                            (candidate.month, candidate.day) == (first.month, first.day)
                        });
                        // A range over 29 February is a day longer in a leap year.
                        let is_leap_day = (day.month, day.day) == (2, 29);
                        let inside =
                            (first.month, first.day) <= (2, 28) && (3, 1) <= (last.month, last.day);
                        let end = (day.month, day.day) == (last.month, last.day);
                        if began || (is_leap_day && inside) || end {
                            numbers.push(number);
                        }
                    }
                    (json!({ "from": yearly(first), "to": yearly(last) }), numbers)
                }
                _ => {
                    let offset = i32::try_from(dice.roll(100)).unwrap() - 50;
                    let numbers =
                        (2025..=2028).map(|year| Date::easter(year).number() + offset).collect();
                    (json!({ "easter": offset }), numbers)
                }
            };
            entry["name"] = "X".into();
            entry["hours"] = written(&hours);
            list.push(entry);
            specials.push((numbers, hours));
        }
        list
    });
    let [openings, holidays] = lists;
    (json!({ "week": days, "openings": openings, "holidays": holidays }), Model { week, specials })
}

impl Model {
    /// Every open minute from 2026 to 2027, counted from the first.
    fn table(&self) -> Vec<bool> {
        let first = Date::new(2026, 1, 1).unwrap().number();
        let mut open = vec![false; 732 * 1440];
        for day in -1..731 {
            let number = first + day;
            let hours = self
                .specials
                .iter()
                .find(|(days, _)| days.contains(&number))
                .map_or(&self.week[Date::of_number(number).weekday()], |(_, hours)| hours);
            for (from, to) in hours {
                for minute in *from..*to {
                    let at = i64::from(day) * 1440 + i64::from(minute);
                    if let Ok(at) = usize::try_from(at) {
                        open[at] = true;
                    }
                }
            }
        }
        open
    }
}

#[test]
fn every_minute_of_two_years_is_as_a_table_says() {
    let given = std::env::var("CALENDAR_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let first = Date::new(2026, 1, 1).unwrap();
    for round in 0..8 {
        let seed = given.unwrap_or(0x5eed + round);
        let (text, model) = any(&mut Dice(seed));
        let calendar = settings(&text.to_string(), |it| Calendar::read("any", it))
            .unwrap_or_else(|problems| panic!("seed {seed}: {problems:?} in {text}"));
        let table = model.table();
        let mut opens_next = None;
        // Backwards, so that the next opening is known. The last days have no whole future.
        for at in (0..730 * 1440).rev() {
            let date = first.plus(i32::try_from(at / 1440).unwrap());
            let minute = u16::try_from(at % 1440).unwrap();
            let verdict = calendar.at(date, minute);
            let is_open = matches!(verdict, Verdict::Open { .. });
            assert_eq!(is_open, table[at], "seed {seed}: {date} minute {minute} in {text}");
            if let Verdict::Closed { opens: Some((day, clock)), .. } = verdict
                && let Some(next) = opens_next
            {
                // The opening that is told is the next minute at which the table opens.
                let told = usize::try_from(day.number() - first.number()).unwrap() * 1440
                    + usize::from(clock.0);
                assert_eq!(told, next, "seed {seed}: {date} minute {minute} in {text}");
            }
            if table[at] {
                opens_next = Some(at);
            }
        }
        if given.is_some() {
            break;
        }
    }
}
