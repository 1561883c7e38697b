//! Times as people write them: `"1h30m"`, and civil times in a zone.

use std::time::Duration;

use calls::Timestamp;
use jiff::{Zoned, civil, tz::TimeZone};
use plugin_runtime::hooks::CivilTime;

/// A duration with units, e.g. `1.5s`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "`{text}` is no time; write it with its unit, e.g. \"250ms\", \"1.5s\", \"2m\", \"1h30m\" or \"1d\""
        )
    };
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let secs = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(number * secs).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    // What a number with a point leaves behind its last microsecond is nobody's wish.
    let micros = u64::try_from(total.as_micros()).map_err(|_| wrong())?;
    if total > LONGEST {
        return Err(format!("`{text}` is too long; a scenario lasts at most 400 days"));
    }
    Ok(Duration::from_micros(micros))
}

/// Longest time in a scenario: every day of a year can be tried.
const LONGEST: Duration = Duration::from_secs(400 * 86_400);

/// A duration for people: `0s`, `250ms`, `1m30s`, `1h0m5.25s`.
pub fn shown(time: Duration) -> String {
    let (secs, millis) = (time.as_secs(), time.subsec_micros() as f64 / 1e6);
    let (hours, minutes) = (secs / 3600, secs / 60 % 60);
    if secs == 0 && millis > 0.0 {
        return format!("{}ms", round(millis * 1e3));
    }
    let seconds = round((secs % 60) as f64 + millis);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

fn round(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// When a scenario begins, and what the site's clocks show.
#[derive(Clone, Debug)]
pub struct Clock {
    zone: TimeZone,
    name: String,
    begin: Timestamp,
}

/// Where the monotonic clock of every scenario begins: no plugin may believe that it is 0.
pub const BOOT: Duration = Duration::from_secs(3600);

impl Clock {
    /// A site in that zone, at that civil time or moment.
    pub fn new(zone: &str, begin: &str) -> Result<Self, String> {
        let mut clock = Self { zone: time_zone(zone)?, name: zone.to_owned(), begin: Timestamp(0) };
        clock.begin = clock.moment(begin)?;
        Ok(clock)
    }

    /// When the scenario begins.
    pub fn begin(&self) -> Timestamp {
        self.begin
    }

    /// The moment of a civil time at the site, or of a time with its offset.
    pub fn moment(&self, text: &str) -> Result<Timestamp, String> {
        let wrong = |error: jiff::Error| {
            format!("`{text}` is no time: {error}; write it as \"2026-11-22T09:30:00\"")
        };
        let moment = match text.parse::<jiff::Timestamp>() {
            Ok(moment) => moment,
            Err(_) => {
                let civil: civil::DateTime = text.parse().map_err(wrong)?;
                civil.to_zoned(self.zone.clone()).map_err(wrong)?.timestamp()
            }
        };
        let nanos = u64::try_from(moment.as_nanosecond())
            .map_err(|_| format!("`{text}` is before 1970"))?;
        Ok(Timestamp(nanos))
    }

    /// The name of the site's zone.
    pub fn zone(&self) -> &str {
        &self.name
    }

    /// What clocks show at the site, then in the other zones. Zones nobody knows are left out.
    pub fn shows(&self, now: Timestamp, others: &[String]) -> Vec<CivilTime> {
        let site = civil_time(&self.name, &self.zone, now);
        let others = others.iter().filter_map(|name| civil_time(name, &time_zone(name).ok()?, now));
        site.into_iter().chain(others).collect()
    }
}

fn time_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        format!("there is no time zone `{name}`; write its IANA name, e.g. \"Europe/Berlin\"")
    })
}

fn civil_time(name: &str, zone: &TimeZone, now: Timestamp) -> Option<CivilTime> {
    let moment = jiff::Timestamp::from_nanosecond(now.0.into()).ok()?;
    let zoned = Zoned::new(moment, zone.clone());
    let info = zone.to_offset_info(moment);
    Some(CivilTime {
        zone: name.to_owned(),
        year: u16::try_from(zoned.year()).ok()?,
        month: u8::try_from(zoned.month()).ok()?,
        day: u8::try_from(zoned.day()).ok()?,
        weekday: u8::try_from(zoned.weekday().to_monday_one_offset()).ok()?,
        hour: u8::try_from(zoned.hour()).ok()?,
        minute: u8::try_from(zoned.minute()).ok()?,
        second: u8::try_from(zoned.second()).ok()?,
        dst: info.dst().is_dst(),
        utc_offset_minutes: i16::try_from(zoned.offset().seconds() / 60).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_with_its_units_and_shown_with_them() {
        for (text, millis, back) in [
            ("250ms", 250, "250ms"),
            ("1.5s", 1_500, "1.5s"),
            ("2m", 120_000, "2m0s"),
            ("1h30m", 5_400_000, "1h30m0s"),
            ("1d", 86_400_000, "24h0m0s"),
            ("0s", 0, "0s"),
        ] {
            let time = duration(text).unwrap();
            assert_eq!((time.as_millis(), shown(time).as_str()), (millis, back), "{text}");
        }
        for wrong in ["", "5", "5 s", "s", "-1s", "1.2.3s", "1y", "999999d", "1e9s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn clocks_know_summer_and_winter() {
        let clock = Clock::new("Europe/Berlin", "2026-07-01T09:30:00").unwrap();
        let shown = clock.shows(clock.begin(), &["America/New_York".into(), "Mars/Base".into()]);
        let told: Vec<String> = shown
            .iter()
            .map(|time| {
                format!(
                    "{} {}:{} {} {}",
                    time.zone, time.hour, time.minute, time.dst, time.utc_offset_minutes
                )
            })
            .collect();
        assert_eq!(told, ["Europe/Berlin 9:30 true 120", "America/New_York 3:30 true -240"]);
        let winter = clock.moment("2026-12-24T18:00:00").unwrap();
        assert_eq!(winter, clock.moment("2026-12-24T17:00:00Z").unwrap());
        assert_eq!(clock.shows(winter, &[])[0].weekday, 4);
        assert!(Clock::new("Europe/Berln", "2026-07-01T09:30:00").is_err());
        assert!(clock.moment("tomorrow").is_err());
    }
}
