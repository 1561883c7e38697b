//! A day of 5,000 calls through the Asterisk connector, and its recording replayed.
//!
//! The day is made by this script, always the same, from calls recorded at a real Asterisk: each has ids and times of its
//! own, and they come one after the other over 24 hours. `cargo xtask bench -- -p kit --bench day`

#![expect(clippy::print_stdout, reason = "figures are its purpose")]

#[path = "../tests/support/asterisk.rs"]
mod asterisk;
#[path = "../tests/support/plugins.rs"]
mod plugins;
use plugins::root;

use std::time::{Duration, Instant};

use asterisk::{Asterisk, Frame, Transcript, setup, transcripts, written};
use kit::rig::{Rig, Unkind, What};

const CALLS: u64 = 5_000;
const DAY: Duration = Duration::from_secs(86_400);
const LIMIT: Duration = Duration::from_secs(10);
/// The calls a day is made of: served, abandoned, not answered, held, from a browser.
const KINDS: [&str; 5] = ["answered", "abandoned", "no-answer", "hold", "webrtc"];

fn main() {
    let plugin = plugins::plugin("asterisk");
    let recorded: Vec<Transcript> =
        transcripts().into_iter().filter(|it| KINDS.contains(&it.name.as_str())).collect();
    assert_eq!(recorded.len(), KINDS.len());
    let empty = Transcript { name: "day".into(), ..Transcript::default() };
    let pbx = Box::new(Asterisk::new(&empty));
    let mut rig = Rig::start(setup(&plugin), pbx, Unkind::default()).expect("it starts");
    rig.run_until(Duration::from_secs(5));
    rig.begin_recording(1 << 30);
    let (mut frames, mut bytes, mut facts) = (0, 0, 0);
    let began = Instant::now();
    let mut made = Duration::ZERO;
    for call in 0..CALLS {
        let began = Instant::now();
        let (at, turns) = a_call(&recorded, call);
        made += began.elapsed();
        for (after, turn, count) in turns {
            rig.run_until(at + after);
            (frames, bytes) = (frames + count, bytes + turn.len());
            rig.say_bytes("ami", turn);
            rig.settle();
        }
        for told in rig.told() {
            match told.what {
                What::Fact(_) => facts += 1,
                What::Failed(kind, message) => panic!("call {call}: {kind}: {message}"),
                _ => {}
            }
        }
    }
    rig.run_until(DAY);
    let took = began.elapsed() - made;
    let usage = rig.usage();
    println!(
        "the day: {CALLS} calls made from {} recorded ones, {frames} events, {:.0} MB, {facts} facts told, {} steps",
        KINDS.len(),
        bytes as f64 / 1e6,
        usage.steps
    );
    println!(
        "played through the connector in {:.2} s, {:.2} s of it in the connector (limit {} s); {:.0} events/s, memory {:.1} MiB",
        took.as_secs_f64(),
        rig.computed().as_secs_f64(),
        LIMIT.as_secs(),
        f64::from(frames) / rig.computed().as_secs_f64(),
        usage.memory_bytes as f64 / f64::from(1 << 20)
    );
    let recording = rig.end_recording().expect("it was begun");
    assert!(!recording.is_cut(), "the whole day is in it");
    let began = Instant::now();
    let report = plugin_runtime::replay(&[plugin], &recording, None).expect("it is of this plugin");
    let replayed = began.elapsed();
    println!(
        "its recording, {} steps, replayed in {:.2} s (limit {} s): {}",
        recording.steps(),
        replayed.as_secs_f64(),
        LIMIT.as_secs(),
        if report.is_same() { "every answer the same" } else { "NOT THE SAME" }
    );
    assert!(report.is_same(), "{:?}", report.first_difference);
}

/// When it comes, and what is said of it when: bytes and how many events they are.
fn a_call(recorded: &[Transcript], call: u64) -> (Duration, Vec<(Duration, Vec<u8>, i32)>) {
    let at =
        Duration::from_secs(20) + (DAY - Duration::from_secs(120)) / CALLS as u32 * call as u32;
    let kind = &recorded[usize::try_from(call).unwrap_or(0) % recorded.len()];
    let begin = kind.turns.first().map_or(Duration::ZERO, |(at, _)| *at);
    let turn = |(when, frames): &(Duration, Vec<Frame>)| {
        let text: String =
            frames.iter().map(|frame| written(&renumbered(frame, call, at))).collect();
        // Gaps of seconds are of the recording, not of a day with a call every 17 s.
        let after = (*when - begin).min(Duration::from_secs(12));
        (after, text.into_bytes(), i32::try_from(frames.len()).unwrap_or(0))
    };
    (at, kind.turns.iter().map(turn).collect())
}

/// The same event of another call, so long after the beginning.
fn renumbered(frame: &Frame, call: u64, at: Duration) -> Frame {
    let value = |key: &str, value: &str| {
        if (key.ends_with("niqueid") || key.ends_with("inkedid"))
            && let Some((before, number)) = value.rsplit_once('.')
        {
            return format!("{before}.{}", call * 1000 + number.parse::<u64>().unwrap_or(0));
        }
        if key == "Timestamp"
            && let Some((secs, rest)) = value.split_once('.')
        {
            let secs = secs.parse::<u64>().unwrap_or(0) + at.as_secs();
            return format!("{secs}.{rest}");
        }
        value.to_owned()
    };
    frame.iter().map(|(key, text)| (key.clone(), value(key, text))).collect()
}
