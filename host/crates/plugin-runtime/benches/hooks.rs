//! What a hook costs: a decision about a call of ten strings, a chain of eight, a new instance after a trap, a plan, a
//! step of an observer. Each figure stands beside its limit, the decision also beside its native twin: the same source
//! without a sandbox.
//!
//! The guest is built as plugins for users are. `cargo xtask plugins --only hooks`, then `cargo bench -p plugin-runtime
//! --bench hooks`.

#![expect(clippy::print_stdout, reason = "figures are its purpose")]

#[path = "../../../../tests/guests/hooks.rs"]
#[allow(dead_code, missing_docs, reason = "a guest, here natively")]
mod twin;

use std::{
    hint::black_box,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use calls::{
    Now, Timestamp,
    fact::{Presentation, RawParty},
};
use jackfield_sdk::hooks::{self as sdk, Router as _};
use plugin_runtime::{
    Log, Plugin, Runtime,
    hooks::{
        Call, Cause, CivilTime, Event, HookConfig, HookLimits, Observer, ObserverInput, Router,
        Treatment, Verdict, Waiting,
    },
};

/// The calmest of so many rounds counts: others want the processor too.
const ROUNDS: usize = 40;
const CALLS: usize = 5_000;
const TRAPS: usize = 200;
const EVENTS: usize = 32;

fn main() {
    let Some(plugin) = plugin() else {
        println!("NOT MEASURED: build the guest first (cargo xtask plugins --only hooks)");
        return;
    };
    let one = decisions(&plugin);
    chain(&plugin, one);
    restarts(&plugin);
    plans(&plugin);
    steps(&plugin);
}

fn decisions(plugin: &Plugin) -> Duration {
    let (call, native) = (call(), native_call());
    let mut router = Router::start(plugin, config()).expect("it starts");
    let decision = router.route(now(), &call, &[]).expect("a decision");
    assert!(matches!(decision.verdict, Verdict::Send(_)), "{decision:?}");
    let sandboxed =
        measured(CALLS, || router.route(now(), black_box(&call), &[]).expect("a decision"));
    let hook = twin::ByCountry;
    let natively = measured(CALLS, || {
        // As a host would: what it hands over is its own afterwards.
        let call = black_box(&native).clone();
        hook.route(sdk::Now::default(), &call, &sdk::Answers::none()).expect("a decision")
    });
    println!("a decision about a call of ten strings, {ROUNDS} rounds of {CALLS}:");
    line("  p50", sandboxed.p50, Duration::from_nanos(2_500));
    line("  p99", sandboxed.p99, Duration::from_micros(25));
    let ratio = sandboxed.p50.as_nanos() as f64 / natively.p50.as_nanos().max(1) as f64;
    println!(
        "  its native twin: p50 {} ns, so the sandbox is {ratio:.1} times that",
        natively.p50.as_nanos()
    );
    sandboxed.p50
}

/// Eight instances, each its own memory, asked one after the other.
fn chain(plugin: &Plugin, one: Duration) {
    let call = call();
    let mut routers: Vec<Router> =
        (0..8).map(|_| Router::start(plugin, config()).expect("it starts")).collect();
    let all = measured(CALLS / 5, || {
        for router in &mut routers {
            black_box(router.route(now(), black_box(&call), &[]).expect("a decision"));
        }
    });
    let ratio = all.p50.as_nanos() as f64 / one.as_nanos().max(1) as f64;
    println!("a chain of eight:");
    println!(
        "  p50 {:>32} ns, {ratio:.2} times one; limit 8.5{}",
        all.p50.as_nanos(),
        verdict(ratio <= 8.5)
    );
}

fn restarts(plugin: &Plugin) {
    let call = call();
    let trap = Call { entry: "trap".into(), ..call.clone() };
    // A panic says its last words; they are not what is measured.
    let limits = HookLimits { log_lines_per_sec: 0, ..HookLimits::default() };
    let mut router = Router::start(plugin, HookConfig { limits, ..config() }).expect("it starts");
    let mut times = Vec::new();
    for _ in 0..TRAPS {
        router.route(now(), &trap, &[]).expect_err("asked for");
        let began = Instant::now();
        router.route(now(), &call, &[]).expect("a decision");
        times.push(began.elapsed());
    }
    assert_eq!(router.usage().restarts, TRAPS as u64);
    times.sort_unstable();
    println!("a decision by a new instance after a trap, {TRAPS} times:");
    line("  p50", times[TRAPS / 2], Duration::from_micros(100));
    println!("  p99 {:>32} ns", times[TRAPS * 99 / 100].as_nanos());
}

fn plans(plugin: &Plugin) {
    let mut treatment = Treatment::start(plugin, config()).expect("it starts");
    let waiting = Waiting { call: call(), ..Waiting::default() };
    let times = measured(CALLS, || {
        treatment.next(now(), black_box(&waiting), &[3], &Cause::Woke, &[]).expect("a plan")
    });
    println!("a plan of a wait treatment for the same call:");
    line("  p50", times.p50, Duration::from_micros(5));
    line("  p99", times.p99, Duration::from_micros(25));
}

fn steps(plugin: &Plugin) {
    let mut observer = Observer::start(plugin, config()).expect("it starts");
    let event = |seq| {
        let json =
            format!("{{\"seq\":{seq},\"type\":\"call.ended\",\"data\":\"{}\"}}", "x".repeat(400));
        let (kind, call) = ("call.ended".to_owned(), "c_0123456789abcdef".to_owned());
        ObserverInput::Event(Event { seq, kind, at: Timestamp(seq), call, json })
    };
    let inputs: Vec<ObserverInput> = (0..EVENTS as u64).map(event).collect();
    let times = measured(CALLS / 5, || observer.step(now(), black_box(&inputs)).expect("actions"));
    println!("a step of an observer with {EVENTS} events of 450 bytes:");
    line("  p50, each event", times.p50 / EVENTS as u32, Duration::from_micros(5));
    line("  p99, the whole step", times.p99, Duration::from_millis(1));
}

struct Percentiles {
    p50: Duration,
    p99: Duration,
}

/// Of the calmest round.
fn measured<T>(calls: usize, mut what: impl FnMut() -> T) -> Percentiles {
    let mut best = Percentiles { p50: Duration::MAX, p99: Duration::MAX };
    let mut times = Vec::with_capacity(calls);
    for _ in 0..ROUNDS {
        times.clear();
        for _ in 0..calls {
            let began = Instant::now();
            black_box(what());
            times.push(began.elapsed());
        }
        times.sort_unstable();
        best.p50 = best.p50.min(times[calls / 2]);
        best.p99 = best.p99.min(times[calls * 99 / 100]);
    }
    best
}

/// Ten strings that are not empty, one civil time.
fn call() -> Call {
    Call {
        id: "c_0123456789abcdef".into(),
        connector: "hq".into(),
        entry: "main".into(),
        dialled: "+4930555500".into(),
        caller: RawParty {
            number: "030123456".into(),
            name: "Zoë Example".into(),
            presentation: Presentation::Allowed,
        },
        caller_e164: "+4930123456".into(),
        attempt: 1,
        language: "de".into(),
        times: vec![CivilTime {
            zone: "Europe/Berlin".into(),
            year: 2026,
            month: 11,
            day: 22,
            weekday: 7,
            hour: 9,
            minute: 30,
            second: 0,
            dst: false,
            utc_offset_minutes: 60,
        }],
        ..Call::default()
    }
}

fn native_call() -> sdk::Call {
    let party = sdk::Party {
        number: "030123456".into(),
        name: "Zoë Example".into(),
        presentation: "allowed".into(),
    };
    sdk::Call {
        id: "c_0123456789abcdef".into(),
        entry: "main".into(),
        dialled: "+4930555500".into(),
        caller: party,
        caller_e164: "+4930123456".into(),
        language: "de".into(),
        times: vec![sdk::CivilTime {
            zone: "Europe/Berlin".into(),
            year: 2026,
            month: 11,
            day: 22,
            weekday: 7,
            hour: 9,
            minute: 30,
            second: 0,
            dst: false,
            utc_offset_minutes: 60,
        }],
        ..sdk::Call::default()
    }
}

fn config() -> HookConfig {
    HookConfig {
        id: "bench".into(),
        settings: "{}".into(),
        grants: vec![],
        limits: HookLimits::default(),
        log: Log::new("bench"),
    }
}

fn now() -> Now {
    Now { monotonic: Duration::from_secs(1), wall: Timestamp(1_767_225_600_000_000_000) }
}

fn plugin() -> Option<Plugin> {
    let folder = std::env::var_os("JACKFIELD_PLUGINS_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/plugins"),
        PathBuf::from,
    );
    let wasm = std::fs::read(folder.join("test/hooks.wasm")).ok()?;
    let runtime = Runtime::new(None).expect("an engine");
    Some(runtime.load(&wasm).unwrap_or_else(|error| panic!("{error}")))
}

fn line(what: &str, measured: Duration, limit: Duration) {
    let (measured, limit) = (measured.as_nanos(), limit.as_nanos());
    println!("{what:<25} {measured:>10} ns    limit {limit} ns{}", verdict(measured <= limit));
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "" } else { "    MISSED" }
}
