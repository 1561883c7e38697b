//! Hours of one day: intervals such as `09:00-12:30`, also over midnight.

use std::fmt;

use jackfield_bundled::Reader;

/// Minutes of a day.
pub const DAY: u16 = 24 * 60;

/// Most intervals of one day.
const MOST: usize = 12;

/// From one minute to another, the second not included. One that ends beyond 24:00 ends on the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Minutes since midnight, below [`DAY`].
    pub from: u16,
    /// Above `from`, at most a day later.
    pub to: u16,
}

impl Interval {
    /// Is it open at this minute of the day on which it begins?
    pub fn has(self, minute: u16) -> bool {
        (self.from..self.to).contains(&minute)
    }

    /// Is it open at this minute of the day after the one on which it begins?
    pub fn has_next_day(self, minute: u16) -> bool {
        minute + DAY < self.to
    }

    /// Reads `09:00-12:30`; with an end at or before the beginning it goes over midnight.
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let (from, to) = (clock(from)?, clock(to)?);
        if from == DAY {
            return None;
        }
        let to = if to <= from { to + DAY } else { to };
        Some(Self { from, to })
    }
}

/// As an admin writes it.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = if self.to > DAY { self.to - DAY } else { self.to };
        write!(f, "{}-{}", Clock(self.from), Clock(to))
    }
}

/// A minute of the day as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock(pub u16);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// Reads the hours of a day: an interval, a list of them, or an empty list or `closed` for none.
pub fn read(it: &Reader<'_>) -> Vec<Interval> {
    if it.value().as_str() == Some("closed") {
        return Vec::new();
    }
    let mut hours: Vec<Interval> = Vec::new();
    let entries = if it.value().is_string() { vec![] } else { it.items(MOST) };
    let single = it.value().is_string().then_some(it);
    for it in single.into_iter().chain(&entries) {
        let Some(text) = it.text() else { continue };
        match Interval::parse(&text) {
            Some(interval) => {
                let overlaps = |other: &Interval| interval.from < other.to && other.from < interval.to;
                if let Some(other) = hours.iter().find(|other| overlaps(other)) {
                    it.complain(format!("{text:?} overlaps with \"{other}\"; write one interval for both"));
                }
                hours.push(interval);
            }
            None => it.complain(format!(
                "{text:?} are no hours; write e.g. \"09:00-17:30\", \"22:00-02:00\" for over midnight, or \"00:00-24:00\""
            )),
        }
    }
    hours.sort_by_key(|interval| interval.from);
    hours
}

/// `9:05`, `09:05`, `24:00`.
fn clock(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let digits = |text: &str, least: usize| {
        let fine = (least..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        fine.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (digits(hour, 1)?, digits(minute, 2)?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= DAY).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_as_they_are_written() {
        for (text, from, to) in [
            ("09:00-17:30", 540, 1050),
            (" 9:00 - 17:30 ", 540, 1050),
            ("22:00-02:00", 1320, 1560),
            ("00:00-24:00", 0, 1440),
            ("00:00-00:00", 0, 1440),
            ("18:00-00:00", 1080, 1440),
            ("08:00-08:00", 480, 1920),
            ("23:59-24:00", 1439, 1440),
        ] {
            assert_eq!(Interval::parse(text), Some(Interval { from, to }), "{text}");
        }
        for text in [
            "",
            "9-17",
            "09:00",
            "09:00-",
            "24:00-01:00",
            "09:60-10:00",
            "25:00-26:00",
            "9:0-10:00",
            "-1:00-2:00",
            "09:00-24:01",
            "+9:00-10:00",
            "é:00-10:00",
        ] {
            assert_eq!(Interval::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_end_is_not_included_and_midnight_is_no_wall() {
        let night = Interval::parse("22:00-02:00").unwrap();
        assert!(!night.has(1319) && night.has(1320) && night.has(1439));
        assert!(night.has_next_day(0) && night.has_next_day(119) && !night.has_next_day(120));
        let day = Interval::parse("09:00-24:00").unwrap();
        assert!(!day.has_next_day(0));
    }
}
