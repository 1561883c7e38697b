use calls::{ConnectorId, Event, fact::QueueSettings};

use super::*;

const QUEUE: QueueId = QueueId(1);

/// Berlin, as a person would write it.
fn berlin(local: &str) -> Timestamp {
    let at = local.parse::<jiff::civil::DateTime>().unwrap().in_tz("Europe/Berlin").unwrap();
    Timestamp(u64::try_from(at.timestamp().as_nanosecond()).unwrap())
}

fn event(entry: Option<u64>, at: Timestamp, body: Body) -> Event {
    let connector = Some(ConnectorId::from("hq"));
    let about = calls::event::About {
        queue: Some(QUEUE),
        entry: entry.map(EntryId),
        ..calls::event::About::default()
    };
    let actor = calls::Actor::Host;
    Event {
        seq: 1,
        call_seq: None,
        at,
        at_pbx: None,
        connector,
        about,
        inferred: false,
        actor,
        body,
    }
}

fn open() -> Figures {
    let mut figures = Figures::new(Zones::from("Europe/Berlin"));
    let settings = QueueSettings {
        name: "support".into(),
        strategy: String::new(),
        max_length: 0,
        service_level_secs: 20,
        wrap_up_secs: 0,
        weight: 0,
    };
    figures.apply(&event(None, Timestamp(0), Body::QueueChanged(settings)));
    figures
}

fn joined(figures: &mut Figures, entry: u64, at: &str) {
    let joined_at = berlin(at);
    let body =
        Body::CallerJoined { position: 1, priority: 0, joined_at, party: Default::default() };
    figures.apply(&event(Some(entry), joined_at, body));
}

fn left(
    figures: &mut Figures,
    entry: u64,
    at: &str,
    exit: QueueExit,
    waited_ms: u64,
    offered: bool,
) {
    let body = Body::CallerLeft { exit, evidence: String::new(), waited_ms, offered };
    figures.apply(&event(Some(entry), berlin(at), body));
}

fn served(figures: &mut Figures, entry: u64, at: &str, talked_ms: u64) {
    let ended_by = calls::fact::ServiceEnd::Caller;
    let body = Body::ServiceEnded { interface: "PJSIP/1".into(), ended_by, talked_ms };
    figures.apply(&event(Some(entry), berlin(at), body));
}

fn day(figures: &Figures, at: &str) -> DayFigures {
    figures.today(QUEUE, berlin(at)).unwrap()
}

#[test]
fn every_caller_is_counted_once_by_how_they_left() {
    let mut figures = open();
    let noon = "2026-11-21T12:00";
    for entry in 1..=6 {
        joined(&mut figures, entry, noon);
    }
    left(&mut figures, 1, noon, QueueExit::Answered, 10_000, true);
    served(&mut figures, 1, noon, 60_000);
    left(&mut figures, 2, noon, QueueExit::Answered, 30_000, true);
    left(&mut figures, 3, noon, QueueExit::Abandoned, 5_000, false);
    left(&mut figures, 4, noon, QueueExit::Abandoned, 5_000, true);
    left(&mut figures, 5, noon, QueueExit::TimedOut, 5_000, true);
    // Refused at the door: never joined.
    left(&mut figures, 7, noon, QueueExit::Full, 0, false);
    left(&mut figures, 8, noon, QueueExit::JoinEmpty, 0, false);
    let today = day(&figures, noon);
    assert_eq!((today.offered, today.answered, today.abandoned), (8, 2, 2));
    assert_eq!((today.abandoned_before_ringing, today.abandoned_after_ringing), (1, 1));
    assert_eq!((today.refused, today.refused_full, today.refused_empty), (2, 1, 1));
    assert_eq!((today.timed_out, today.other_exits), (1, 0));
    assert_eq!((today.average_wait_ms, today.longest_wait_ms), (Some(20_000), 30_000));
    assert_eq!((today.talk_ms, today.service_level), (60_000, Some(0.2)));
    let waiting = 1;
    let gone =
        today.answered + today.abandoned + today.refused + today.timed_out + today.other_exits;
    assert_eq!(today.offered, gone + waiting);
}

#[test]
fn who_waits_across_midnight_belongs_to_yesterday() {
    let mut figures = open();
    joined(&mut figures, 1, "2026-11-21T23:59");
    left(&mut figures, 1, "2026-11-22T00:01", QueueExit::Abandoned, 120_000, false);
    let yesterday = day(&figures, "2026-11-21T23:59:59");
    assert_eq!((yesterday.offered, yesterday.abandoned), (1, 1));
    let today = day(&figures, "2026-11-22T00:01");
    assert_eq!((today.day.as_str(), today.offered, today.abandoned), ("2026-11-22", 0, 0));
}

#[test]
fn days_of_23_and_25_hours_end_at_local_midnight() {
    for (date, next) in [("2026-03-29", "2026-03-30"), ("2026-10-25", "2026-10-26")] {
        let mut figures = open();
        joined(&mut figures, 1, &format!("{date}T00:00"));
        joined(&mut figures, 2, &format!("{date}T23:59:59"));
        joined(&mut figures, 3, &format!("{next}T00:00"));
        assert_eq!(day(&figures, &format!("{date}T12:00")).offered, 2, "{date}");
        assert_eq!(day(&figures, &format!("{next}T12:00")).offered, 1, "{next}");
    }
}

#[test]
fn nothing_older_than_yesterday_is_kept() {
    let mut figures = open();
    for date in 10..20 {
        joined(&mut figures, date, &format!("2026-11-{date}T12:00"));
    }
    assert_eq!(figures.queues[&QUEUE].days.len(), KEPT_DAYS);
    assert_eq!(figures.open.len(), KEPT_DAYS);
}

#[test]
fn figures_come_back_from_a_checkpoint() {
    let mut figures = open();
    joined(&mut figures, 1, "2026-11-21T12:00");
    let saved = serde_json::to_string(&figures.save()).unwrap();
    let mut restored = Figures::new(Zones::from("Europe/Berlin"));
    restored.restore(serde_json::from_str(&saved).unwrap());
    for figures in [&mut figures, &mut restored] {
        left(figures, 1, "2026-11-21T12:01", QueueExit::Answered, 60_000, true);
        served(figures, 1, "2026-11-21T12:02", 30_000);
    }
    assert_eq!(day(&restored, "2026-11-21T13:00"), day(&figures, "2026-11-21T13:00"));
    assert!(restored.open.is_empty());
}
