//! What callers get, by the clock on the wall.

use jackfield_business_hours::BusinessHours;
use jackfield_sdk::hooks::{
    Answers, Call, CivilTime, Config, Decision, Now, Router, Target, Treat, Verdict,
};
use serde_json::json;

fn router(settings: &serde_json::Value) -> BusinessHours {
    let config = Config::new("hours", settings.to_string());
    BusinessHours::init(config).unwrap_or_else(|error| panic!("{}", error.message))
}

/// `2026-11-23 09:00`, a Monday.
fn time(zone: &str, text: &str) -> CivilTime {
    let at: jiff::civil::DateTime = text.replace(' ', "T").parse().unwrap();
    CivilTime {
        zone: zone.into(),
        year: u16::try_from(at.year()).unwrap(),
        month: u8::try_from(at.month()).unwrap(),
        day: u8::try_from(at.day()).unwrap(),
        weekday: u8::try_from(at.weekday().to_monday_one_offset()).unwrap(),
        hour: u8::try_from(at.hour()).unwrap(),
        minute: u8::try_from(at.minute()).unwrap(),
        second: 0,
        dst: false,
        utc_offset_minutes: 60,
    }
}

fn at(text: &str) -> Call {
    Call { times: vec![time("Europe/Berlin", text)], ..Call::default() }
}

fn decide(router: &BusinessHours, call: &Call) -> Decision {
    router
        .route(Now::default(), call, &Answers::none())
        .unwrap_or_else(|error| panic!("{}", error.message))
}

fn reason(router: &BusinessHours, text: &str) -> String {
    decide(router, &at(text)).reason
}

fn office() -> BusinessHours {
    router(&json!({
        "week": { "mon-fri": ["09:00-12:30", "13:30-18:00"], "sat": "22:00-02:00" },
        "holidays": [
            { "name": "Tag der Deutschen Einheit", "on": "10-03" },
            { "name": "Heiligabend", "on": "12-24", "hours": "09:00-12:00", "message": "custom/xmas" },
            { "name": "Betriebsferien", "from": "12-27", "to": "01-02" },
            { "name": "Umzug", "from": "2026-05-11", "to": "2026-05-12" },
            { "name": "Ostermontag", "easter": 1 },
        ],
        "openings": [{ "name": "Advent", "on": "2026-12-06", "hours": "12:00-18:00" }],
        "closed": { "message": ["custom/closed", "custom/bye"] },
    }))
}

#[test]
fn the_reason_names_the_rule() {
    let office = office();
    for (when, expected) in [
        ("2026-11-23 09:00", "open: office, hours of mon, 09:00-12:30"),
        ("2026-11-23 12:29", "open: office, hours of mon, 09:00-12:30"),
        ("2026-11-23 12:30", "closed: hours of mon (office); opens 2026-11-23 13:30"),
        ("2026-11-23 08:59", "closed: hours of mon (office); opens 2026-11-23 09:00"),
        ("2026-11-27 18:00", "closed: hours of fri (office); opens 2026-11-28 22:00"),
        ("2026-11-28 23:59", "open: office, hours of sat, 22:00-02:00"),
        ("2026-11-29 01:59", "open: office, hours of sat, 22:00-02:00"),
        ("2026-11-29 02:00", "closed: hours of sun (office); opens 2026-11-30 09:00"),
        (
            "2025-10-03 10:00",
            "closed: holiday \"Tag der Deutschen Einheit\" (office); opens 2025-10-04 22:00",
        ),
        ("2026-12-24 11:59", "open: office, holiday \"Heiligabend\", 09:00-12:00"),
        ("2026-12-24 12:00", "closed: holiday \"Heiligabend\" (office); opens 2026-12-25 09:00"),
        ("2026-12-31 10:00", "closed: holiday \"Betriebsferien\" (office); opens 2027-01-04 09:00"),
        ("2027-01-01 10:00", "closed: holiday \"Betriebsferien\" (office); opens 2027-01-04 09:00"),
        ("2026-05-12 10:00", "closed: holiday \"Umzug\" (office); opens 2026-05-13 09:00"),
        ("2026-04-06 10:00", "closed: holiday \"Ostermontag\" (office); opens 2026-04-07 09:00"),
        ("2026-12-06 12:00", "open: office, opening \"Advent\", 12:00-18:00"),
        ("2026-12-06 18:00", "closed: opening \"Advent\" (office); opens 2026-12-07 09:00"),
    ] {
        assert_eq!(reason(&office, when), expected, "{when}");
    }
}

#[test]
fn while_somebody_is_there_calls_pass_and_others_may_know() {
    let decision = decide(&office(), &at("2026-11-23 10:00"));
    assert_eq!(decision.verdict, Verdict::Pass);
    assert_eq!(decision.patch.facts[0], ("hours".into(), "open".into()));
}

#[test]
fn when_nobody_is_there_callers_hear_the_message_and_are_told_when_somebody_is() {
    let decision = decide(&office(), &at("2026-11-23 20:00"));
    let treat = Treat::usual()
        .then(Target::hang_up(16))
        .with_fact("message", "custom/closed,custom/bye")
        .with_fact("closed", "hours")
        .with_fact("closed-by", "hours of mon")
        .with_fact("opens", "2026-11-24T09:00");
    assert_eq!(decision.verdict, Verdict::Treat(treat));
    let Verdict::Treat(treat) = decide(&office(), &at("2026-12-24 20:00")).verdict else {
        panic!()
    };
    assert_eq!(treat.facts[0], ("message".into(), "custom/xmas".into()));
    assert_eq!(treat.facts[1], ("closed".into(), "holiday".into()));
}

#[test]
fn closed_may_be_a_queue_an_extension_the_dialplan_or_a_refusal() {
    for (closed, target) in [
        (json!("reject"), Target::hang_up(21)),
        (json!("queue:night"), Target::queue("night")),
        (
            json!({ "to": { "to": "extension:8000", "timeout_secs": 20 } }),
            Target::extension("8000").for_secs(20),
        ),
        (json!("dialplan:closed,s,1"), Target::dialplan("closed", "s")),
        (json!("continue-in-dialplan"), Target::ContinueInDialplan),
    ] {
        let router = router(&json!({ "week": {}, "closed": closed }));
        assert_eq!(decide(&router, &at("2026-11-23 10:00")).verdict, Verdict::Send(target));
    }
}

#[test]
fn each_way_in_has_its_own_calendar() {
    let router = router(&json!({
        "calendars": {
            "sales": { "week": { "daily": "08:00-20:00" } },
            "new-york": { "time_zone": "America/New_York", "week": { "mon-fri": "09:00-17:00" } },
        },
        "rules": [
            { "entries": ["sales"], "calendar": "sales", "closed": "queue:night" },
            { "dialled": ["+1212*"], "calendar": "new-york", "closed": "reject" },
        ],
    }));
    assert_eq!(router.wishes().time_zones, ["America/New_York"]);
    // Half past eight in the evening in Berlin, half past two in New York.
    let call = |entry: &str, dialled: &str| Call {
        entry: entry.into(),
        dialled: dialled.into(),
        times: vec![
            time("Europe/Berlin", "2026-11-23 20:30"),
            time("America/New_York", "2026-11-23 14:30"),
        ],
        ..Call::default()
    };
    let verdict = |entry, dialled| decide(&router, &call(entry, dialled)).verdict;
    assert_eq!(verdict("sales", ""), Verdict::Send(Target::queue("night")));
    assert_eq!(verdict("", "+12125550100"), Verdict::Pass);
    assert_eq!(verdict("sales", "+12125550100"), Verdict::Send(Target::queue("night")));
    assert_eq!(decide(&router, &call("", "100")).reason, "no rule is for this way in");
}

#[test]
fn who_came_while_somebody_was_there_stays_and_nobody_hears_the_message_twice() {
    let back = |when: &str, age_mins: u64, from: &str| Call {
        returned_from: from.into(),
        outcome: "timed-out".into(),
        attempt: 2,
        age_ms: age_mins * 60_000,
        ..at(when)
    };
    let office = office();
    assert_eq!(decide(&office, &back("2026-11-23 18:05", 6, "queue")).verdict, Verdict::Pass);
    assert_eq!(decide(&office, &back("2026-11-24 00:10", 371, "queue")).verdict, Verdict::Pass);
    let closed = Verdict::Send(Target::hang_up(16));
    assert_eq!(decide(&office, &back("2026-11-23 18:05", 5, "treatment")).verdict, closed);
    let settings = json!({ "week": {}, "closed": { "to": "queue:night", "otherwise": "busy" } });
    let night = router(&settings);
    assert_eq!(
        decide(&night, &back("2026-11-23 18:05", 1, "queue")).verdict,
        Verdict::Send(Target::hang_up(17))
    );
    let strict = router(
        &json!({ "week": { "mon": "09:00-18:00" }, "closed": "reject", "returned": "as-of-now" }),
    );
    assert_eq!(
        decide(&strict, &back("2026-11-23 18:05", 6, "queue")).verdict,
        Verdict::Send(Target::hang_up(21))
    );
}

#[test]
fn a_day_of_23_or_25_hours_is_what_the_clock_on_the_wall_shows() {
    let router = router(&json!({
        "time_zone": "Europe/Berlin", "week": { "sat": "20:00-04:00", "sun": "20:00-04:00" }, "closed": "reject",
    }));
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    let minutes_open = |from: &str| {
        let start: jiff::Timestamp = from.parse().unwrap();
        let is_open = |minute: &i64| {
            let at = (start + jiff::SignedDuration::from_mins(*minute)).to_zoned(zone.clone());
            let call = self::at(&at.datetime().strftime("%Y-%m-%d %H:%M").to_string());
            decide(&router, &call).verdict == Verdict::Pass
        };
        (0..12 * 60).filter(is_open).count()
    };
    // From 18:00 on Saturday: eight hours by the wall are 7, 9 and 8 of the caller's.
    assert_eq!(minutes_open("2026-03-28T17:00:00Z"), 7 * 60);
    assert_eq!(minutes_open("2026-10-24T16:00:00Z"), 9 * 60);
    assert_eq!(minutes_open("2026-07-04T16:00:00Z"), 8 * 60);
}

#[test]
fn hostile_callers_change_nothing() {
    let office = office();
    for text in ["", "\r\nAction: Originate", "\u{0}\u{202e}", &"9".repeat(100_000)] {
        let mut call = at("2026-11-23 10:00");
        call.entry = text.into();
        call.dialled = text.into();
        call.caller.number = text.into();
        call.caller.name = text.into();
        call.caller_e164 = text.into();
        let decision = decide(&office, &call);
        assert_eq!(decision.verdict, Verdict::Pass);
        assert!(decision.reason.len() < 200 && !decision.reason.contains(char::is_control));
    }
}

#[test]
fn without_a_time_it_refuses_instead_of_guessing() {
    let route = |call: &Call| office().route(Now::default(), call, &Answers::none()).unwrap_err();
    assert_eq!(route(&Call::default()).code, "no-time");
    let mut odd = at("2026-11-23 10:00");
    (odd.times[0].month, odd.times[0].hour) = (13, 99);
    assert_eq!(route(&odd).code, "no-time");
}

#[test]
fn absurd_settings_are_refused_and_the_path_is_named() {
    let said = |settings: serde_json::Value| {
        BusinessHours::validate(&settings.to_string())
            .into_iter()
            .map(|problem| format!("{}: {}", problem.path, problem.message))
            .collect::<Vec<_>>()
            .join("\n")
    };
    for (settings, part) in [
        (json!({}), ": set no hours"),
        (
            json!({ "week": { "mon": "9-17" }, "closed": "reject" }),
            "week.mon: \"9-17\" are no hours",
        ),
        (
            json!({ "week": { "mo": "09:00-17:00" }, "closed": "reject" }),
            "week.mo: is no day of the week",
        ),
        (
            json!({ "week": { "mon-fri": "09:00-17:00", "wed": [] }, "closed": "reject" }),
            "says the hours of wed again",
        ),
        (
            json!({ "week": { "mon": ["09:00-12:00", "11:00-13:00"] }, "closed": "reject" }),
            "week.mon[1]: \"11:00-13:00\" overlaps",
        ),
        (json!({ "week": {} }), "closed: is missing"),
        (json!({ "week": {}, "closed": {} }), "closed: must say what happens"),
        (json!({ "week": {}, "closed": "moon" }), "closed: \"moon\" is no place"),
        (
            json!({ "week": {}, "closed": { "message": "a,b" } }),
            "closed.message: \"a,b\" is no name of a recording",
        ),
        (
            json!({ "week": {}, "closed": "reject", "holidays": [{ "name": "x" }] }),
            "holidays[0]: must say its day in one way",
        ),
        (
            json!({ "week": {}, "closed": "reject", "holidays": [{ "name": "x", "on": "02-30" }] }),
            "holidays[0].on: \"02-30\" is no day",
        ),
        (
            json!({ "week": {}, "closed": "reject", "holidays": [{ "name": "x", "on": "2026-02-29" }] }),
            "holidays[0].on: ",
        ),
        (
            json!({ "week": {}, "closed": "reject", "holidays": [{ "on": "02-01" }] }),
            "holidays[0].name: is missing",
        ),
        (
            json!({ "week": {}, "closed": "reject", "holidays": [{ "name": "x", "from": "2026-02-02", "to": "2026-02-01" }] }),
            "holidays[0].to: is before",
        ),
        (
            json!({ "week": {}, "closed": "reject", "holidays": [{ "name": "x", "from": "2026-02-02", "to": "03-01" }] }),
            "holidays[0].to: must have a year",
        ),
        (
            json!({ "week": {}, "closed": "reject", "holidays": [{ "name": "x", "from": "02-02" }] }),
            "holidays[0].to: is missing",
        ),
        (
            json!({ "week": {}, "closed": "reject", "holidays": [{ "name": "x", "easter": 101 }] }),
            "holidays[0].easter: must be",
        ),
        (
            json!({ "week": {}, "closed": "reject", "time_zone": "Berlin; rm" }),
            "time_zone: \"Berlin; rm\" is no time zone",
        ),
        (
            json!({ "rules": [{ "calendar": "x", "closed": "reject" }] }),
            "rules[0].calendar: \"x\" is not among `calendars`; there are: none",
        ),
        (
            json!({ "calendars": { "a": {} }, "rules": [{ "closed": "reject" }] }),
            "calendars.a.week: is missing",
        ),
        (json!({ "week": {}, "closed": "reject", "returned": "never" }), "returned: must be"),
        (json!({ "week": [], "closed": "reject" }), "week: must be a table"),
        (json!({ "week": {}, "closed": "reject", "rules": {} }), "rules: must be a list"),
    ] {
        assert!(said(settings.clone()).contains(part), "{settings}: {}", said(settings.clone()));
    }
    let zones: serde_json::Map<String, serde_json::Value> = (0..9)
        .map(|n| (format!("c{n}"), json!({ "time_zone": format!("Etc/GMT+{n}"), "week": {} })))
        .collect();
    assert!(
        said(json!({ "calendars": zones, "week": {}, "closed": "reject" }))
            .contains("calendars: have more than")
    );
    assert_eq!(said(json!({ "week": { "daily": "00:00-24:00" }, "closed": "reject" })), "");
}

#[test]
fn the_examples_of_the_manifest_are_settings_that_work() {
    let manifest: serde_json::Value =
        serde_json::from_slice(include_bytes!("../manifest.json")).unwrap();
    let properties = manifest["settings"]["properties"].as_object().unwrap();
    let mut tried = 0;
    for (name, schema) in properties {
        assert!(schema["title"].is_string() && schema["description"].is_string(), "{name}");
        for example in schema["examples"].as_array().into_iter().flatten() {
            let mut settings =
                json!({ "week": {}, "closed": "reject", "calendars": { "sales": { "week": {} } } });
            settings[name] = example.clone();
            let problems = BusinessHours::validate(&settings.to_string());
            assert!(problems.is_empty(), "{name} = {example}: {problems:?}");
            tried += 1;
        }
    }
    assert!(tried >= 9, "{tried}");
}
