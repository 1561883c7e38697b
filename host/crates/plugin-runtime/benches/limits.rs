//! What a plugin costs the host: how soon a loop is stopped while every core is busy, how long loading a
//! compiled plugin takes, what an idle instance holds in memory. Each figure stands beside its limit.
//!
//! `cargo bench -p plugin-runtime --bench limits`; the Asterisk connector is used where it is built.

#![expect(clippy::print_stdout, reason = "figures are its purpose")]

#[path = "../tests/runtime/guests.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod guests;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use calls::{Now, Timestamp};
use plugin_runtime::{Connector, InstanceConfig, Limits, Runtime};
use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest, Sha256};

use crate::guests::{MANIFEST, component, config, link_up};

const KILLS: usize = 120;
const LOADS: usize = 50;
const INSTANCES: usize = 200;

fn main() {
    kills();
    let wasm = asterisk();
    loads(wasm.as_deref());
    residents(wasm.as_deref());
}

/// A loop is stopped at its deadline, with a thread that computes on every core beside it.
fn kills() {
    let deadline = Duration::from_millis(50);
    let runtime = Runtime::new(None).expect("an engine");
    let looping = component(&["loops", "simple-init"], &["connector"], Some(MANIFEST));
    let looping = runtime.load(&looping).expect("a plugin");
    let limits = Limits { step_ms: 50, ..Limits::default() };
    let start = now(0);
    let instance = InstanceConfig { limits, ..config() };
    let (mut connector, _) = Connector::start(&looping, instance, start).expect("it starts");
    let stop = Arc::new(AtomicBool::new(false));
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let busy: Vec<_> = (0..cores)
        .map(|_| {
            let stop = stop.clone();
            thread::spawn(move || while !stop.load(Relaxed) {})
        })
        .collect();
    let (mut computed, mut passed) = (Vec::new(), Vec::new());
    for kill in 0..KILLS {
        // A minute apart by its own clock, so that nothing is given up.
        let before = computing();
        let _ = connector.handle(vec![link_up()], now(60 * (kill as u64 + 1)));
        computed.push((computing() - before).saturating_sub(deadline));
        let took = Duration::from_micros(connector.usage().last_step_us);
        passed.push(took.saturating_sub(deadline));
    }
    stop.store(true, Relaxed);
    busy.into_iter().for_each(|thread| thread.join().expect("it only counts"));
    assert_eq!(connector.usage().traps, KILLS as u64);
    println!("a loop is stopped, {KILLS} times, {cores} cores busy with {cores} other threads:");
    line("  computed beyond the deadline, p50", at(&mut computed, 50), Duration::from_millis(2));
    line("  computed beyond the deadline, p99", at(&mut computed, 99), Duration::from_millis(10));
    // A guest that waits for a core is not late, so this depends on how many others want one.
    let (half, most) = (at(&mut passed, 50).as_millis(), at(&mut passed, 99).as_millis());
    println!(
        "  by the clock on the wall, waiting for a core included: p50 {half} ms, p99 {most} ms"
    );
}

fn loads(asterisk: Option<&[u8]>) {
    let small = component(&["quiet", "simple-init"], &["connector"], Some(MANIFEST));
    for (name, wasm) in [("a tiny guest", Some(&small[..])), ("the Asterisk connector", asterisk)] {
        let Some(wasm) = wasm else {
            println!("load of {name}: NOT MEASURED, it is not built (cargo xtask plugins)");
            continue;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = Runtime::new(Some(folder.path())).expect("an engine");
        runtime.load(wasm).expect("it compiles");
        let mut times = measured(|| drop(runtime.load(wasm).expect("it loads")));
        let kib = wasm.len() / 1024;
        println!("load of {name}, {kib} KiB, compiled before, {LOADS} times, computed:");
        line("  checked, hashed, linked: p50", at(&mut times, 50), Duration::from_millis(1));
        let mut times = measured(|| _ = std::hint::black_box(Sha256::digest(wasm)));
        println!("  its hash alone: p50 {} us", at(&mut times, 50).as_micros());
    }
}

/// How long this thread computes for it, so that a busy machine does not count.
fn measured(mut what: impl FnMut()) -> Vec<Duration> {
    let mut one = || {
        let before = computing();
        what();
        computing() - before
    };
    (0..LOADS).map(|_| one()).collect()
}

/// Memory of the process before and after so many instances, the plugin itself loaded before.
fn residents(asterisk: Option<&[u8]>) {
    let Some(wasm) = asterisk else {
        println!("an idle Rust plugin: NOT MEASURED, none is built (cargo xtask plugins)");
        return;
    };
    let runtime = Runtime::new(None).expect("an engine");
    let plugin = runtime.load(wasm).expect("a plugin");
    let instance = || InstanceConfig {
        settings: r#"{"username":"jackfield","time_zone":"Europe/Berlin"}"#.into(),
        ..config()
    };
    let start = || {
        let (mut connector, _) = Connector::start(&plugin, instance(), now(0)).expect("it starts");
        let _ = connector.handle(vec![link_up()], now(1));
        connector
    };
    let mut times = measured(|| drop(start()));
    println!("another instance of the loaded Asterisk connector, {LOADS} times, computed:");
    line("  made, begun, stepped once: p50", at(&mut times, 50), Duration::from_millis(1));
    // What the first ones bring about is shared by all.
    let mut kept: Vec<Connector> = (0..8).map(|_| start()).collect();
    let before = resident();
    kept.extend((0..INSTANCES).map(|_| start()));
    let each = resident().saturating_sub(before) / INSTANCES as u64;
    println!("an idle instance of the Asterisk connector, {INSTANCES} of them:");
    println!(
        "  resident each                     {:>10} KiB   limit 128 KiB{}",
        each / 1024,
        verdict(each <= 128 << 10)
    );
}

fn line(what: &str, measured: Duration, limit: Duration) {
    let (measured_us, limit_us) = (measured.as_micros(), limit.as_micros());
    println!(
        "{what:<35} {measured_us:>10} us    limit {limit_us} us{}",
        verdict(measured <= limit)
    );
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "" } else { "   NOT MET" }
}

fn at(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent).div_ceil(100).saturating_sub(1)]
}

fn now(secs: u64) -> Now {
    Now {
        monotonic: Duration::from_secs(secs + 1),
        wall: Timestamp(1_800_000_000_000_000_000 + secs * 1_000_000_000),
    }
}

/// How long this thread has computed.
fn computing() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("a time since the start")
}

/// Bytes of this process in memory that no file backs.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a figure");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

fn asterisk() -> Option<Vec<u8>> {
    let folder = std::env::var_os("JACKFIELD_PLUGINS_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/plugins"),
        PathBuf::from,
    );
    std::fs::read(folder.join("asterisk.wasm")).ok()
}
