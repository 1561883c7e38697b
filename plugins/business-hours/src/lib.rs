//! Business hours: lets calls pass while somebody is there, and says what happens to them otherwise.
//!
//! It knows no time zones: the host tells what the clock on the wall shows, so that a day with 23 or 25 hours is the
//! host's business.

pub mod calendar;
pub mod date;
pub mod hours;
pub mod settings;

use jackfield_bundled::reader::refusal;
use jackfield_sdk::{
    Problem,
    hooks::{Answers, Call, CivilTime, Config, Decision, Error, Now, Router, Treat, Wishes},
    register_router,
};

use crate::{
    calendar::{Calendar, Rule, Verdict},
    date::Date,
    hours::DAY,
    settings::{Closed, Settings},
};

/// An instance.
pub struct BusinessHours {
    settings: Settings,
}

register_router!(BusinessHours, manifest = include_bytes!("../manifest.json"));

impl Router for BusinessHours {
    fn init(config: Config) -> Result<Self, Error> {
        let settings = Settings::read(&config.settings).map_err(|problems| refusal(&problems))?;
        Ok(Self { settings })
    }

    fn wishes(&self) -> Wishes {
        Wishes::time_zones(self.settings.zones())
    }

    fn route(&self, _: Now, call: &Call, _: &Answers) -> Result<Decision, Error> {
        let Some((rule, calendar)) = self.settings.rule(call) else {
            return Ok(Decision::pass().because("no rule is for this way in"));
        };
        let time = time_of(calendar, call)?;
        let back =
            if self.settings.by_arrival && !call.is_new() { call.age_ms / 60_000 } else { 0 };
        let (date, minute) = earlier(time, back)?;
        let name = &calendar.name;
        Ok(match calendar.at(date, minute) {
            Verdict::Open { rule, interval } => Decision::pass()
                .because(format!("open: {name}, {rule}, {interval}"))
                .with_fact("hours", "open")
                .with_fact("calendar", name),
            Verdict::Closed { rule: by, message, opens } => {
                let opens = opens.map(|(date, clock)| (date.to_string(), clock.to_string()));
                let until = match &opens {
                    Some((date, clock)) => format!("; opens {date} {clock}"),
                    None => String::new(),
                };
                closed(&rule.closed, call, by, message, opens)
                    .because(format!("closed: {by} ({name}){until}"))
                    .with_fact("hours", "closed")
                    .with_fact("calendar", name)
            }
        })
    }

    fn validate(settings: &str) -> Vec<Problem> {
        Settings::read(settings).err().unwrap_or_default()
    }
}

/// What happens to a call when nobody is there.
fn closed(
    closed: &Closed,
    call: &Call,
    by: Rule<'_>,
    message: &str,
    opens: Option<(String, String)>,
) -> Decision {
    // They were there already: hearing it again, or the same place again, helps nobody.
    if !call.is_new() {
        return Decision::send(closed.otherwise.as_ref().unwrap_or(&closed.to).target());
    }
    let message = if message.is_empty() { closed.message.join(",") } else { message.to_owned() };
    if message.is_empty() {
        return Decision::send(closed.to.target());
    }
    let treat = Treat::with(&closed.treatment)
        .then(closed.to.target())
        .with_fact("message", message)
        .with_fact("closed", by.code())
        .with_fact("closed-by", by.to_string());
    Decision::treat(match opens {
        Some((date, clock)) => treat.with_fact("opens", format!("{date}T{clock}")),
        None => treat,
    })
}

/// The clock of a calendar.
fn time_of<'c>(calendar: &Calendar, call: &'c Call) -> Result<&'c CivilTime, Error> {
    let zone = calendar.time_zone.as_str();
    let time = if zone.is_empty() { call.site_time() } else { call.time_in(zone) };
    time.ok_or_else(|| {
        let zone = if zone.is_empty() { "the site" } else { zone };
        Error::new("no-time", format!("the host did not tell what time it is in {zone}"))
    })
}

/// The day and minute so many minutes before.
fn earlier(time: &CivilTime, minutes: u64) -> Result<(Date, u16), Error> {
    let date = Date::new(time.year.into(), time.month, time.day)
        .filter(|_| time.minute_of_day() < DAY)
        .ok_or_else(|| {
            let CivilTime { year, month, day, hour, minute, .. } = time;
            let message = format!("{year}-{month}-{day} {hour}:{minute} is no time");
            Error::new("no-time", message)
        })?;
    let day = i64::from(DAY);
    // A call that is older than a year is no call.
    let minutes = i64::try_from(minutes.min(366 * 1440)).unwrap_or(0);
    let total = i64::from(date.number()) * day + i64::from(time.minute_of_day()) - minutes;
    let number = i32::try_from(total.div_euclid(day)).unwrap_or(0);
    let minute = u16::try_from(total.rem_euclid(day)).unwrap_or(0);
    Ok((Date::of_number(number), minute))
}
