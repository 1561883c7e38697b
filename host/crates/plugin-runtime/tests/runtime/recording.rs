//! What is recorded of a connector, and what a replay of it shows.

use std::{sync::OnceLock, time::Duration};

use plugin_runtime::{
    Effect, Incident, Input, InstanceConfig, Limits, Part, Plugin, Recording, RecordingKind,
    ReplayError, ReplayReport, Secrets, Successor, WriteError, WriteOptions, Written, replay,
};

use crate::guests::{
    Bench, MANIFEST, closed, command, component, config, lines, link_up, plugin, received, runtime,
    simple, successor, version,
};

/// Tells numbers of callers.
pub fn callers() -> Plugin {
    static CALLERS: OnceLock<Plugin> = OnceLock::new();
    CALLERS.get_or_init(|| plugin(&["callers", "with-state"], &["connector", "state"])).clone()
}

pub fn file(recording: &Recording) -> (String, Written) {
    write(recording, &WriteOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

pub fn write(
    recording: &Recording,
    how: &WriteOptions<'_>,
) -> Result<(String, Written), WriteError> {
    let mut file = Vec::new();
    let written = recording.write(&mut file, how)?;
    assert_eq!(file.len() as u64, written.bytes);
    Ok((String::from_utf8(file).unwrap(), written))
}

pub fn read(file: &str) -> Recording {
    Recording::read(&mut file.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

pub fn replayed(plugin: &Plugin, file: &str) -> ReplayReport {
    replay(std::slice::from_ref(plugin), &read(file), None).unwrap_or_else(|e| panic!("{e}"))
}

pub fn limited(recording_kib: u32, recording_minutes: u32) -> InstanceConfig {
    let limits = Limits { recording_kib, recording_minutes, ..config().limits };
    InstanceConfig { limits, ..config() }
}

/// The first number that a line says.
fn first_line(file: &str) -> Option<u32> {
    let said = file.split("{\"extension-removed\":\"line ").nth(1)?;
    said.split([' ', '"']).next()?.parse().ok()
}

/// Says `count` numbered lines of about a hundred bytes, one a step and a second.
fn say(bench: &mut Bench, from: u32, count: u32) {
    for number in from..from + count {
        bench.now.monotonic += Duration::from_secs(1);
        bench.receive(format!("line {number} {}\n", "y".repeat(80)).as_bytes());
    }
}

#[test]
fn a_recording_replays_to_the_same_effects_on_another_instance() {
    let mut bench = Bench::connected(&lines());
    bench.receive(b"one\ntwo\nthr");
    bench.handle(vec![
        received(b"ee\n"),
        command(1, "done"),
        command(2, "send"),
        command(3, "hour"),
    ]);
    bench.now.monotonic = Duration::from_secs(6);
    bench.handle(vec![]);
    bench.handle(vec![closed(), link_up()]);
    let (file, written) = file(&bench.connector.recording());
    let report = replayed(&lines(), &file);
    assert!(report.is_same(), "{report:#?}");
    assert_eq!(report.effects_sha256, written.effects_sha256);
    assert_eq!(report.expected_sha256.as_deref(), Some(written.effects_sha256.as_str()));
    assert_eq!((report.steps, written.steps), (6, 6), "a start and five steps");
    assert!(file.contains(
        r#"{"send":{"link":"ami","epoch":1,"text":false,"parts":[{"literal":"oops"},{"secret":"#
    ));
}

#[test]
fn what_is_read_is_written_again_byte_for_byte() {
    let mut bench = Bench::with(&lines(), limited(16 << 10, 10_000));
    bench.link_up();
    say(&mut bench, 0, 3000);
    bench.receive(b"no X here\n\x00\xff\n");
    let (first, written) = file(&bench.connector.recording());
    let recording = read(&first);
    assert_eq!(recording.kind(), RecordingKind::Ring);
    assert_eq!(recording.connector(), "hq");
    assert_eq!(recording.plugins()[0].sha256, lines().sha256());
    assert_eq!(recording.steps() as u64 + 1, written.steps);
    let (second, again) = file(&recording);
    assert_eq!(first, second);
    assert_eq!(written, again);
}

#[test]
fn the_ring_is_bounded_by_bytes_and_begins_where_a_replay_can() {
    let mut bench = Bench::with(&lines(), limited(300, 10_000));
    bench.link_up();
    say(&mut bench, 0, 10_000);
    let usage = bench.connector.usage();
    assert!(usage.recording_bytes <= 300 << 10, "{usage:?}");
    assert!(usage.recording_bytes > 50 << 10, "{usage:?}");
    let (file, _) = file(&bench.connector.recording());
    let first = first_line(&file).unwrap();
    assert!((6000..10_000).contains(&first), "{first}");
    assert!(file.contains("line 9999 "));
    let report = replayed(&lines(), &file);
    assert!(report.is_same() && report.notes.is_empty(), "{report:#?}");
}

#[test]
fn the_ring_is_bounded_by_age() {
    let mut bench = Bench::with(&lines(), limited(16 << 10, 60));
    bench.link_up();
    say(&mut bench, 0, 10_000);
    let (file, _) = file(&bench.connector.recording());
    // Whole segments of a thousand inputs are kept: an hour, and at most one segment more.
    let first = first_line(&file).unwrap();
    assert!((10_000 - 3600 - 1000..=10_000 - 3600).contains(&first), "{first}");
    assert!(replayed(&lines(), &file).is_same());
}

#[test]
fn no_ring_keeps_nothing_but_what_recovery_needs() {
    let mut bench = Bench::with(&lines(), limited(0, 10));
    bench.link_up();
    say(&mut bench, 0, 5500);
    assert_eq!(bench.connector.usage().recording_bytes, 0);
    let (file, _) = file(&bench.connector.recording());
    assert!(first_line(&file).unwrap() >= 4900);
    assert!(replayed(&lines(), &file).is_same());

    let mut bench = Bench::with(&simple("quiet"), limited(0, 10));
    bench.link_up();
    say(&mut bench, 0, 5500);
    assert_eq!(bench.connector.recording().steps(), 0);
}

#[test]
fn a_plugin_without_snapshots_is_recorded_from_its_start_and_says_when_that_is_lost() {
    let guest = plugin(&["lines", "lines-v1", "sane"], &["connector"]);
    let mut bench = Bench::with(&guest, limited(16 << 10, 10_000));
    bench.link_up();
    say(&mut bench, 0, 200);
    let (whole, _) = file(&bench.connector.recording());
    let report = replayed(&guest, &whole);
    assert!(report.is_same() && report.notes.is_empty(), "{report:#?}");
    assert_eq!(report.steps, 202);

    let mut bench = Bench::with(&guest, limited(100, 10_000));
    bench.link_up();
    say(&mut bench, 0, 5000);
    assert!(bench.connector.usage().recording_bytes <= 100 << 10);
    let (cut, _) = file(&bench.connector.recording());
    let report = replayed(&guest, &cut);
    assert!(report.notes[0].contains("the beginning is missing"), "{report:#?}");
    // This guest forgets everything between steps, so that it answers as it did all the same.
    assert!(report.is_same(), "{report:#?}");
}

#[test]
fn a_capture_goes_on_across_snapshots_for_longer_than_the_ring() {
    let mut bench = Bench::with(&lines(), limited(64, 1));
    bench.link_up();
    say(&mut bench, 0, 500);
    assert_eq!(bench.connector.capture(), None);
    bench.connector.begin_capture(16 << 20);
    say(&mut bench, 500, 5000);
    assert!(bench.connector.usage().snapshots >= 5);
    let (bytes, is_full) = bench.connector.capture().unwrap();
    assert!(bytes > 400 << 10 && !is_full, "{bytes}");
    let recording = bench.connector.end_capture().unwrap();
    assert!(bench.connector.end_capture().is_none());
    assert_eq!(recording.kind(), RecordingKind::Capture);
    let (file, _) = file(&recording);
    assert!(first_line(&file).unwrap() <= 500);
    assert!(file.contains("line 5499 "));
    let report = replayed(&lines(), &file);
    assert!(report.is_same() && report.steps >= 5000, "{report:#?}");
}

#[test]
fn a_capture_that_is_full_keeps_its_beginning() {
    let mut bench = Bench::with(&lines(), limited(0, 1));
    bench.link_up();
    bench.connector.begin_capture(500 << 10);
    say(&mut bench, 0, 5000);
    assert_eq!(bench.connector.capture().map(|(_, is_full)| is_full), Some(true));
    let recording = bench.connector.end_capture().unwrap();
    assert!(recording.is_cut());
    let (file, _) = file(&recording);
    assert_eq!(first_line(&file), Some(0));
    assert!(!file.contains("line 4999 "));
    assert!(replayed(&lines(), &file).is_same());
}

#[test]
fn a_crash_leaves_a_bundle_that_replays_the_crash() {
    let mut bench = Bench::connected(&lines());
    say(&mut bench, 0, 2500);
    assert!(bench.connector.take_bundles().is_empty());
    bench.receive(b"good\nbad X\n");
    let bundles = bench.connector.take_bundles();
    assert_eq!(bundles.len(), 1);
    assert!(bench.connector.take_bundles().is_empty());
    assert_eq!(bundles[0].kind(), RecordingKind::Crash);
    let (kind, message) = bundles[0].failure().unwrap();
    assert_eq!(kind.code(), "trap");
    assert!(message.contains("wasm backtrace"), "{message}");
    // Since the last snapshot only.
    assert!(bundles[0].steps() < 1000);
    let (file, _) = file(&bundles[0]);
    assert!(file.contains(r#""failed":{"kind":"trap","message":"#));
    let report = replayed(&lines(), &file);
    assert!(report.is_same(), "{report:#?}");
    let crash = &report.crashes[0];
    assert!(crash.was_recorded && crash.happened && crash.message.contains("wasm backtrace"));
    assert_eq!(crash.step, report.steps);
}

#[test]
fn crashes_and_what_came_after_them_replay_together() {
    let mut bench = Bench::with(&lines(), limited(16 << 10, 10_000));
    bench.link_up();
    for round in 0..30 {
        say(&mut bench, round * 100, 90);
        bench.receive(b"bad X line\nan");
        bench.handle(vec![received(b"other\n"), command(round.into(), "trap"), received(b"b\n")]);
    }
    assert_eq!(bench.connector.take_bundles().len(), 4, "and no more are made");
    let (file, _) = file(&bench.connector.recording());
    let report = replayed(&lines(), &file);
    assert!(report.is_same(), "{report:#?}");
    assert!(report.crashes.len() > 60);
    assert!(report.crashes.iter().all(|crash| crash.was_recorded && crash.happened));
}

#[test]
fn a_crash_of_a_plugin_without_snapshots_is_bundled_from_its_start() {
    let guest = plugin(&["lines", "lines-v1", "sane"], &["connector"]);
    let mut bench = Bench::connected(&guest);
    bench.receive(b"one\n");
    bench.receive(b"X\n");
    let (file, _) = file(&bench.connector.take_bundles()[0]);
    let report = replayed(&guest, &file);
    assert!(report.is_same() && report.crashes[0].happened, "{report:#?}");
    assert_eq!(report.steps, 4);
}

#[test]
fn a_kill_by_deadline_is_an_input_and_the_replay_goes_on_behind_it() {
    let limits = Limits { step_ms: 30, ..Limits::default() };
    let mut bench = Bench::with(&lines(), InstanceConfig { limits, ..config() });
    bench.link_up();
    bench.receive(b"one\ntwZo\nthree\n");
    let (file, _) = file(&bench.connector.recording());
    assert!(file.contains(r#""failed":{"kind":"deadline","message":"not done after 30 ms"#));
    let report = replayed(&lines(), &file);
    assert!(report.is_same(), "{report:#?}");
    assert!(report.crashes.iter().any(|crash| crash.kind.code() == "deadline" && crash.happened));
}

#[test]
fn another_version_shows_the_first_difference_with_its_inputs() {
    let other_manifest = MANIFEST.replace("\"0.1.0\"", "\"0.2.0\"");
    let text =
        component(&["callers", "with-state"], &["connector", "state"], Some(&other_manifest));
    let other = runtime().load(&text).unwrap();
    let mut bench = Bench::connected(&callers());
    bench.receive(b"one\n");
    bench.receive(b"N12\n");
    let (text, written) = file(&bench.connector.recording());
    let report = replayed(&other, &text);
    assert!(report.is_same(), "the same code: {report:#?}");

    // Another plugin under the same id: it says every line, and loops on a Z.
    let report = replayed(&lines(), &text);
    let difference = report.first_difference.as_ref().unwrap();
    assert_eq!((report.differences, difference.step), (1, 4));
    assert_eq!(
        difference.inputs,
        [r#"{"bytes":{"link":"ami","epoch":1,"offset":4,"data":"N12\n"}}"#]
    );
    let consumed = r#"{"consumed":{"link":"ami","offset":8}}"#;
    let party = r#"{"event":{"at_pbx_ns":null,"fact":{"leg-party":{"leg":"leg 1","party":{"number":"12","name":"","presentation":""}}},"facts":[]}}"#;
    let removed = r#"{"event":{"at_pbx_ns":null,"fact":{"extension-removed":"N12"},"facts":[]}}"#;
    assert_eq!(difference.expected, [party, consumed]);
    assert_eq!(difference.got, [removed, consumed]);
    assert_ne!(report.effects_sha256, written.effects_sha256);

    let until = replay(&[lines()], &read(&text), Some(3)).unwrap();
    assert!(until.is_same());
    assert_eq!(until.steps, 3);
}

#[test]
fn a_component_that_has_nothing_to_do_with_it_is_named_with_what_is_wanted() {
    let manifest = MANIFEST.replace("\"tiny\"", "\"huge\"");
    let text = component(&["quiet", "simple-init"], &["connector"], Some(&manifest));
    let stranger = runtime().load(&text).unwrap();
    let mut bench = Bench::connected(&lines());
    let recording = bench.connector.recording();
    let error = replay(&[stranger], &recording, None).unwrap_err();
    assert!(matches!(error, ReplayError::OtherPlugin { .. }));
    let wanted = format!("made with tiny 0.1.0 (sha256 {})", lines().sha256());
    assert!(error.to_string().contains(&wanted), "{error}");
}

#[test]
fn a_plugin_that_fails_where_it_did_not_stops_the_replay_there() {
    let mut bench = Bench::connected(&callers());
    bench.receive(b"one\n");
    bench.receive(b"X\n");
    bench.receive(b"two\n");
    let (text, _) = file(&bench.connector.recording());
    let report = replayed(&lines(), &text);
    assert_eq!((report.steps, report.differences), (4, 1), "{report:#?}");
    let crash = &report.crashes[0];
    assert!(crash.happened && !crash.was_recorded);
    assert!(report.notes[0].contains("the replay stops at step 4"), "{:?}", report.notes);
    assert!(report.first_difference.unwrap().got[0].starts_with("failed (trap)"));
}

#[test]
fn no_secret_is_ever_in_a_recording() {
    const CANARY: &str = "canary-6f1d2b";
    let secrets = Secrets::from_iter([("ami", CANARY)]);
    let mut bench = Bench::start(&lines());
    let mut with_plain = config();
    with_plain.grants.push("plain:ami".into());
    bench = Bench { connector: Bench::with(&lines(), with_plain).connector, ..bench };
    bench.link_up();
    bench.handle(vec![command(1, "send")]);
    bench.handle(vec![command(2, "loose")]);
    // The secret goes out at the socket, and what comes back is masked there.
    let sent: Vec<Vec<u8>> = bench
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send { parts, .. } => Some(parts),
            _ => None,
        })
        .flatten()
        .map(|part: &Part| part.fill(&secrets).unwrap())
        .collect();
    assert!(sent.iter().any(|bytes| bytes == CANARY.as_bytes()));
    let mut echo = format!("you said {CANARY}\n").into_bytes();
    secrets.mask(&mut echo);
    bench.handle(vec![Input::Received { link: "ami".into(), data: echo }]);
    bench.receive(b"X\n");
    let how = WriteOptions { secrets: Some(&secrets), redact: None };
    let bundle = bench.connector.take_bundles().remove(0);
    for recording in [bench.connector.recording(), bundle] {
        let (text, _) = write(&recording, &how).unwrap();
        assert!(
            text.contains(r#"{"name":"ami","form":"md5-hex""#),
            "the placeholder is there: {text}"
        );
        assert!(text.contains("you said *************"));
        assert!(!text.contains(CANARY));
        for bytes in &sent {
            let is_oops = bytes == b"oops";
            assert!(is_oops || !text.as_bytes().windows(bytes.len()).any(|window| window == bytes));
        }
    }
    // One that got in by a mistake of ours or the admin's is found, also when windows cut it.
    bench.receive(&CANARY.as_bytes()[..5]);
    bench.receive(&CANARY.as_bytes()[5..]);
    let error = write(&bench.connector.recording(), &how).unwrap_err();
    assert!(matches!(&error, WriteError::HoldsSecret { name } if name == "ami"), "{error}");
    assert!(!error.to_string().contains(CANARY));
}

/// Lines for one version, for another one after a swap, and for the first again after a rollback.
fn swapped_and_rolled_back() -> (String, Plugin, Plugin) {
    let (old, new) = (lines(), version("lines-v2", "sane"));
    let mut bench = Bench::connected(&old);
    bench.receive(b"one\ntw");
    let probation = Duration::from_secs(600);
    bench.swap(Successor { probation, ..successor(&new) }).unwrap();
    bench.receive(b"o\nthree\nfo");
    let outcome = bench.connector.roll_back("not liked", bench.now).unwrap();
    assert!(outcome.incidents.iter().any(|i| matches!(i, Incident::RolledBack { .. })));
    bench.receive(b"ur\nfive\n");
    let (text, _) = file(&bench.connector.recording());
    (text, old, new)
}

#[test]
fn a_recording_across_a_swap_and_a_rollback_replays_with_both_versions() {
    let (text, old, new) = swapped_and_rolled_back();
    let recording = read(&text);
    let made_with: Vec<String> = recording.plugins().into_iter().map(|made| made.sha256).collect();
    assert_eq!(made_with, [old.sha256(), new.sha256()]);
    let report = replay(&[new, old], &recording, None).unwrap();
    assert!(report.is_same() && report.left_out.is_empty(), "{report:#?}\n{text}");
    for said in ["one", "two", "three", "five"] {
        assert!(
            text.contains(&format!("{{\"extension-removed\":\"{said}\"}}")),
            "{said} in {text}"
        );
    }
}

#[test]
fn one_version_alone_replays_its_own_parts_and_says_what_it_leaves_out() {
    let (text, old, new) = swapped_and_rolled_back();
    let mut calls = 0;
    for (given, missing) in [(&old, &new), (&new, &old)] {
        let report = replayed(given, &text);
        assert!(report.is_same(), "{report:#?}\n{text}");
        assert_eq!(report.left_out.len(), 1);
        assert_eq!(report.left_out[0].plugin.sha256, missing.sha256());
        assert!(report.left_out[0].steps > 0 && report.steps > 0);
        calls += report.steps;
    }
    let both = replay(&[old, new], &read(&text), None).unwrap();
    assert_eq!(calls, both.steps);
}
