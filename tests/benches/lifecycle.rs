//! What a swap, a crash and the recording cost the Asterisk connector, with the real components in the real runtime.
//! Times are time computed, so that a busy machine does not count; of a swap also the time that passed.
//!
//! `cargo xtask bench -- --bench lifecycle`

#![expect(clippy::print_stdout, reason = "figures are its purpose")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use jackfield::demo::{RECORDING, peer::renumbered, recording::Recording};
use plugin_runtime::{Effect, Incident, Limits, OnRefusal, Successor};
use rustix::time::{ClockId, clock_gettime};

#[allow(dead_code, reason = "shared with the other bench")]
mod ready;
use ready::{Component, config, load, traffic};

fn main() {
    let recording = Arc::new(Recording::parse(RECORDING).expect("the bundled recording"));
    swap(&recording);
    recovery(&recording);
    recording_cost(&recording);
}

/// A value, its limit, and how much of it is used.
fn line(what: &str, value: f64, limit: f64, unit: &str) {
    let ratio = value / limit;
    println!("{what:<44} {value:>9.3} {unit:<8} limit {limit:>7.3}   ratio {ratio:.2}");
}

/// What this thread has computed.
fn computed() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("a time since the start")
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The value that so many percent do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

const SWAPS: usize = 1_000;
const EVENTS_PER_SWAP: usize = 10;
const EVENTS_PER_SEC: u64 = 1_000;
const SNAPSHOT: u64 = 64 * 1024;

/// Two versions with different snapshots take turns while a PBX says a thousand things a second on one socket.
fn swap(recording: &Arc<Recording>) {
    let versions = [load("asterisk"), load("test/asterisk-next"), load("test/asterisk-after-next")];
    let [plain, next, after_next] = &versions;
    let mut component = busy(plain, recording);
    let events = SWAPS * EVENTS_PER_SWAP;
    let sent: Vec<Vec<u8>> = (0..)
        .flat_map(|round| frames(recording).map(move |frame| renumbered(frame, round + 1)))
        .take(events)
        .collect();
    let mut unswapped = busy(plain, recording);
    let expected: usize = sent.iter().map(|frame| facts(&unswapped.receive(frame).effects)).sum();

    let (mut socket, pbx) = pouring(sent);
    let (mut told, mut swaps, mut pauses, mut cold, mut largest) = (0, 0, Vec::new(), 0, 0);
    let mut passed = Vec::new();
    let (mut block, mut pending) = (vec![0; ready::CHUNK], 0);
    loop {
        let length = socket.read(&mut block).expect("the socket is up");
        if length == 0 {
            break;
        }
        let outcome = component.receive(&block[..length]);
        assert!(outcome.incidents.is_empty(), "{:?}", outcome.incidents);
        told += facts(&outcome.effects);
        // Not by frames: some swaps are in the middle of one.
        pending += 1;
        if pending >= EVENTS_PER_SWAP && swaps < SWAPS {
            pending = 0;
            swaps += 1;
            let plugin = if swaps % 2 == 1 { next } else { after_next };
            let began = computed();
            let (swapped, outcome) = component
                .connector
                .swap(successor(plugin), component.now)
                .expect("each reads the other's snapshot");
            assert!(outcome.incidents.is_empty(), "{:?}", outcome.incidents);
            cold += usize::from(swapped.cold);
            largest = largest.max(swapped.snapshot_bytes);
            pauses.push(computed() - began);
            passed.push(swapped.pause);
        }
    }
    let took: Duration = pbx.join().expect("the PBX ends well");
    pauses.sort();
    passed.sort();
    println!(
        "swap: {} swaps on one socket at {:.0} events/s, snapshots of up to {largest} bytes, {cold} cold; \
         {told} facts, {expected} without swaps",
        pauses.len(),
        events as f64 / took.as_secs_f64()
    );
    assert_eq!(cold, 0, "each reads the other's snapshot");
    if told != expected {
        println!("swap: {told} FACTS INSTEAD OF {expected}: a swap cost something");
    }
    for (name, percent) in [("p50", 50), ("p99", 99), ("max", 100)] {
        line(&format!("swap, computed, {name}"), millis(percentile(&pauses, percent)), 1.0, "ms");
        line(&format!("swap, passed, {name}"), millis(percentile(&passed, percent)), 1.0, "ms");
    }
}

/// A connector whose callers hold the line: its snapshot is nearly as large as it shall be when traffic runs too.
fn busy(plugin: &plugin_runtime::Plugin, recording: &Arc<Recording>) -> Component {
    let mut component = Component::ready(plugin, Limits::default(), recording);
    let mut calls = 1_000_000;
    while snapshot_bytes(&mut component, plugin) < SNAPSHOT / 2 {
        for _ in 0..10 {
            calls += 1;
            for frame in frames(recording).filter(|frame| !ends(frame)).take(30) {
                let _ = component.receive(&renumbered(frame, calls));
            }
        }
    }
    component
}

fn snapshot_bytes(component: &mut Component, plugin: &plugin_runtime::Plugin) -> u64 {
    let (swapped, _) =
        component.connector.swap(successor(plugin), component.now).expect("its own snapshot");
    swapped.snapshot_bytes
}

fn successor(plugin: &plugin_runtime::Plugin) -> Successor {
    Successor {
        plugin: plugin.clone(),
        config: config(Limits::default()),
        on_refusal: OnRefusal::Keep,
        probation: Duration::ZERO,
    }
}

fn frames(recording: &Recording) -> impl Iterator<Item = &Vec<u8>> {
    let live = recording.live.iter().map(|(_, frame)| frame);
    live.filter(|frame| !frame.starts_with(b"Event: FullyBooted"))
}

/// Ends something that shall go on.
fn ends(frame: &[u8]) -> bool {
    ["Event: Hangup", "Event: QueueCaller", "Event: BridgeLeave", "Event: BridgeDestroy"]
        .iter()
        .any(|name| frame.starts_with(name.as_bytes()))
}

fn facts(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Fact { .. })).count()
}

/// A PBX that says these frames at its pace on a socket of loopback.
fn pouring(sent: Vec<Vec<u8>>) -> (TcpStream, thread::JoinHandle<Duration>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let pbx = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the bench dials");
        stream.set_nodelay(true).expect("a socket");
        let began = Instant::now();
        for (number, frame) in (0..).zip(sent) {
            let due = began + Duration::from_micros(number * 1_000_000 / EVENTS_PER_SEC);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            stream.write_all(&frame).expect("the bench reads");
        }
        began.elapsed()
    });
    (TcpStream::connect(address).expect("the PBX listens"), pbx)
}

const TRAPS: usize = 200;

/// One message that traps, after more and more others since the last snapshot.
fn recovery(recording: &Arc<Recording>) {
    let plugin = load("test/asterisk-trap-on");
    let speed = {
        let traffic: Vec<u8> =
            frames(recording).filter(|frame| !ends(frame)).flatten().copied().collect();
        let mut component = Component::ready(&plugin, Limits::default(), recording);
        component.take(&traffic);
        let (took, _) = component.take(&traffic);
        took.as_secs_f64() / frames(recording).count() as f64
    };
    let limits = Limits { recoveries_per_minute: u32::MAX, ..Limits::default() };
    let mut component = Component::ready(&plugin, limits, recording);
    let poison: Vec<&Vec<u8>> =
        frames(recording).filter(|frame| frame.starts_with(b"Event: Hangup\r")).collect();
    let mut over: Vec<Duration> = Vec::new();
    let mut most_replayed = 0;
    for trap in 0..TRAPS {
        let round = trap as u64 + 1;
        for frame in frames(recording).filter(|frame| !ends(frame)).take(5 * trap) {
            let _ = component.receive(&renumbered(frame, round));
        }
        let frame = renumbered(poison[trap % poison.len()], round);
        let began = computed();
        let outcome = component.receive(&frame);
        let took = computed() - began;
        let replayed = outcome.incidents.iter().find_map(|incident| match incident {
            Incident::Recovered { replayed } => Some(*replayed),
            _ => None,
        });
        let replayed = replayed.expect("it recovers");
        assert!(
            outcome.incidents.iter().any(|it| matches!(it, Incident::Quarantined { .. })),
            "{:?}",
            outcome.incidents
        );
        most_replayed = most_replayed.max(replayed);
        over.push(took.saturating_sub(Duration::from_secs_f64(speed * replayed as f64)));
    }
    over.sort();
    println!(
        "recovery: {TRAPS} traps, up to {most_replayed} steps replayed, each message isolated and quarantined"
    );
    for (name, percent) in [("p50", 50), ("p99", 99), ("max", 100)] {
        let value = millis(percentile(&over, percent));
        line(&format!("recovery beyond the replay, {name}"), value, 10.0, "ms");
    }
}

const ROUNDS: usize = 9;

/// The same traffic with and without the recording that is always on.
fn recording_cost(recording: &Arc<Recording>) {
    let plugin = load("asterisk");
    let per_round = recording.live.len();
    let repeats = (50_000 / per_round).max(1);
    let mut on = Component::ready(&plugin, Limits::default(), recording);
    let off = Limits { recording_kib: 0, ..Limits::default() };
    let mut off = Component::ready(&plugin, off, recording);
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let traffic = traffic(recording, round * repeats, repeats);
        // Who goes first takes turns.
        let (with, without) = if round % 2 == 0 {
            let with = on.take(&traffic).0;
            (with, off.take(&traffic).0)
        } else {
            let without = off.take(&traffic).0;
            (on.take(&traffic).0, without)
        };
        ratios.push(with.as_secs_f64() / without.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    println!("recording: {ROUNDS} rounds of {} events each way", per_round * repeats);
    line("recording, time with / without it", ratios[ROUNDS / 2], 1.10, "");
}
