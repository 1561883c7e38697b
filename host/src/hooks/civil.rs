//! What clocks on walls show: hooks carry no zone data.

use calls::Now;
use jiff::{Timestamp, tz::TimeZone};
use plugin_runtime::hooks::{CivilTime, HookError, HookFailure};

/// The zones a hook wishes for.
pub(super) fn zones(names: &[String]) -> Result<Vec<(String, TimeZone)>, HookFailure> {
    let zone = |name: &String| match TimeZone::get(name) {
        Ok(zone) => Ok((name.clone(), zone)),
        Err(_) => Err(HookFailure::Refused(HookError::new(
            "unknown-time-zone",
            format!("it wishes for the time zone `{name}`, which does not exist"),
        ))),
    };
    names.iter().map(zone).collect()
}

/// Now, at the site first.
pub(super) fn times(
    site: &(String, TimeZone),
    zones: &[(String, TimeZone)],
    now: Now,
) -> Vec<CivilTime> {
    let others = zones.iter().filter(|(name, _)| *name != site.0);
    std::iter::once(site).chain(others).map(|(name, zone)| time(name, zone, now)).collect()
}

fn time(name: &str, zone: &TimeZone, now: Now) -> CivilTime {
    let nanos = i128::from(now.wall.0);
    let now = Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::UNIX_EPOCH);
    let offset = zone.to_offset_info(now);
    let civil = offset.offset().to_datetime(now);
    let small = |value: i8| u8::try_from(value).unwrap_or(0);
    CivilTime {
        zone: name.to_owned(),
        year: u16::try_from(civil.year()).unwrap_or(0),
        month: small(civil.month()),
        day: small(civil.day()),
        weekday: small(civil.weekday().to_monday_one_offset()),
        hour: small(civil.hour()),
        minute: small(civil.minute()),
        second: small(civil.second()),
        dst: offset.dst().is_dst(),
        utc_offset_minutes: i16::try_from(offset.offset().seconds() / 60).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shown(zone: &str, at: &str) -> String {
        let at: Timestamp = at.parse().unwrap();
        let wall = calls::Timestamp(at.as_nanosecond() as u64);
        let now = Now { monotonic: Duration::ZERO, wall };
        let it = time(zone, &TimeZone::get(zone).unwrap(), now);
        let CivilTime { year, month, day, weekday, hour, minute, second, dst, .. } = it;
        let offset = it.utc_offset_minutes;
        format!("{year}-{month}-{day} {weekday} {hour}:{minute}:{second} {dst} {offset}")
    }

    #[test]
    fn the_hour_that_summer_time_takes_and_the_one_it_gives_back() {
        // The last Sundays of March and October 2026, by the EU's rule at 01:00 UTC.
        let berlin = |at| shown("Europe/Berlin", at);
        assert_eq!(berlin("2026-03-29T00:59:59Z"), "2026-3-29 7 1:59:59 false 60");
        assert_eq!(berlin("2026-03-29T01:00:00Z"), "2026-3-29 7 3:0:0 true 120");
        assert_eq!(berlin("2026-10-25T00:30:00Z"), "2026-10-25 7 2:30:0 true 120");
        assert_eq!(berlin("2026-10-25T01:30:00Z"), "2026-10-25 7 2:30:0 false 60");
        // Half an hour's offset, and the date line.
        assert_eq!(shown("Asia/Kolkata", "2026-11-22T20:00:00Z"), "2026-11-23 1 1:30:0 false 330");
        assert_eq!(
            shown("Pacific/Pago_Pago", "2026-11-22T05:00:00Z"),
            "2026-11-21 6 18:0:0 false -660"
        );
    }

    #[test]
    fn the_site_comes_first_and_once() {
        let zone = |name: &str| (name.to_owned(), TimeZone::get(name).unwrap());
        let wishes = [zone("Europe/London"), zone("Europe/Berlin")];
        let now = Now { monotonic: Duration::ZERO, wall: calls::Timestamp(0) };
        let times = times(&zone("Europe/Berlin"), &wishes, now);
        let names: Vec<_> = times.iter().map(|time| time.zone.as_str()).collect();
        assert_eq!(names, ["Europe/Berlin", "Europe/London"]);
    }

    #[test]
    fn a_zone_that_does_not_exist_is_named() {
        let failure = zones(&["Europe/Atlantis".to_owned()]).unwrap_err();
        assert!(failure.to_string().contains("Europe/Atlantis"), "{failure}");
    }
}
