//! What an observer is told at 1,000 events a second: how late, in which order, how often.
//!
//! The real journal on a real disk, the real store, a real guest in its sandbox that acknowledges what it is told, and
//! refuses an event that is not the next one: its place gets to the end only if each came once and in order.
//! The lag is from the moment an event is handed to the journal to the moment at which the acknowledgement of it is
//! written. `cargo xtask bench -- --bench observers`

#![expect(clippy::print_stdout, reason = "figures are its purpose")]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use calls::{
    ConnectorId, Fact, Input, Now, Output, Policy, State, Switchboard, Timestamp, event::Party,
    fact, switchboard::ConnectorPolicy,
};
use jackfield::{
    clock::Clock,
    figures::Zones,
    hooks::{
        meter::HookMeter,
        observers::{ObserverParts, run},
        plan::{HookInstance, HookPlan},
        store::HookStore,
    },
    http::{Fetcher, Rules},
    journal::{Journal, JournalOptions, Retention},
};
use plugin_runtime::Secrets;
use tokio::sync::watch;

#[allow(dead_code, reason = "shared with the other benches")]
mod ready;

const PER_SEC: usize = 1_000;
const SECS: usize = 10;
const LIMIT: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_secs(10);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("threads").block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let options =
        JournalOptions { path: folder.path().join("journal.db"), retention: Retention::default() };
    let (journal, _) = Journal::open(&options, Zones::default()).expect("a new journal");
    let store = HookStore::open(&folder.path().join("hooks.db")).expect("a new store");
    let meter = Arc::new(HookMeter::new("watch"));
    let instance = HookInstance {
        id: "watch".to_owned(),
        plugin: ready::load("test/hooks"),
        label: "hooks 0.1.0".to_owned(),
        settings: r#"{"takes":"in-order"}"#.to_owned(),
        grants: Vec::new(),
        limits: Default::default(),
        http_per_minute: 0,
        secrets: Secrets::new(),
        secret_texts: BTreeMap::new(),
        rules: Rules::default(),
        canary: None,
        meter: Arc::clone(&meter),
    };
    let plan = HookPlan {
        observers: vec!["watch".to_owned()],
        instances: [("watch".to_owned(), Arc::new(instance))].into(),
        ..HookPlan::empty()
    };
    let (_plan, plan) = watch::channel(Arc::new(plan));
    let (stop, stopping) = watch::channel(false);
    let observing = tokio::spawn(run(ObserverParts {
        plan,
        publisher: journal.publisher(),
        store: store.clone(),
        fetcher: Fetcher::default(),
        clock: Clock::start(),
        stop: stopping,
    }));
    // It notes where it begins before it is told anything.
    let begun = lab::until(SOON, "the observer's place", async || {
        store
            .cursor("watch")
            .map_err(|error| error.to_string())?
            .ok_or("it has none yet".to_owned())
    });
    begun.await.expect("it begins");

    let mut events = events(PER_SEC * SECS).into_iter();
    let mut sent: Vec<(u64, Instant)> = Vec::new();
    let mut lags: Vec<Duration> = Vec::new();
    let mut dealt_with = 0;
    let mut backwards = 0;
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let writer = journal.writer();
    loop {
        tick.tick().await;
        let due = (began.elapsed().as_millis() as usize).min(PER_SEC * SECS);
        let next: Vec<calls::Event> = events.by_ref().take(due - sent.len()).collect();
        let now = Instant::now();
        sent.extend(next.iter().map(|event| (event.seq, now)));
        if !next.is_empty() {
            writer.append(next).await.expect("the journal takes it");
        }
        let cursor = store.cursor("watch").expect("readable").unwrap_or_default();
        backwards += usize::from(cursor < dealt_with);
        let now = Instant::now();
        for (seq, at) in &sent[lags.len()..] {
            if *seq > cursor {
                break;
            }
            lags.push(now - *at);
        }
        dealt_with = cursor;
        if lags.len() == PER_SEC * SECS || began.elapsed() > Duration::from_secs(SECS as u64 * 3) {
            break;
        }
    }
    stop.send_replace(true);
    observing.await.expect("it ends");
    lags.sort();
    let at = |percent: usize| lags.get((lags.len().max(1) - 1) * percent / 100).copied();
    let told = lags.len();
    println!(
        "{told} of {} events dealt with at {PER_SEC} a second, its place went back {backwards} times",
        sent.len()
    );
    for (name, percent) in [("p50", 50), ("p99", 99), ("longest", 100)] {
        let lag = at(percent).unwrap_or(Duration::MAX).as_secs_f64() * 1e3;
        let limit = LIMIT.as_secs_f64() * 1e3;
        println!("lag {name:<8} {lag:>9.3} ms   limit {limit:>7.1}   ratio {:.2}", lag / limit);
    }
    let figures = meter.figures();
    println!(
        "steps of the guest: {:?}, p50 {:?}, p99 {:?}",
        figures.outcomes, figures.p50, figures.p99
    );
}

/// Real events: of legs that begin.
fn events(count: usize) -> Vec<calls::Event> {
    let parties = |_: &ConnectorId, raw: &fact::RawParty| Party {
        raw: raw.number.clone(),
        ..Party::default()
    };
    let connectors = [("hq".into(), ConnectorPolicy::default())].into();
    let mut board =
        Switchboard::new(Policy { connectors, parties: Box::new(parties) }, State::default());
    let mut events = Vec::new();
    let mut clock = Duration::ZERO;
    for n in 0.. {
        clock += Duration::from_millis(1);
        let wall = Timestamp(1_795_291_200_000_000_000 + clock.as_nanos() as u64);
        let fact = Fact::LegStarted(fact::Leg {
            id: format!("c{n}").into(),
            related: None,
            direction: fact::LegDirection::FromDevice,
            device: "PJSIP/trunk".into(),
            extension: None,
            state: fact::LegState::Answered,
            party: fact::RawParty { number: "0301234567".into(), ..fact::RawParty::default() },
            dialled: "800".into(),
        });
        let input = Input::Fact { connector: "hq".into(), at_pbx: None, fact };
        board.handle(input, Now { monotonic: clock, wall });
        while let Some(output) = board.poll_output() {
            if let Output::Event(event) = output {
                events.push(event);
            }
        }
        if events.len() >= count {
            break;
        }
    }
    events.truncate(count);
    events
}
