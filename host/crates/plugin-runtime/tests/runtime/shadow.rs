//! A second version follows, and nobody but the report hears of it.

use std::time::Duration;

use plugin_runtime::{Effect, Plugin, ShadowReport};

use crate::guests::{Bench, command, config, lines, link_up, received, version};

fn begin(bench: &mut Bench, plugin: &Plugin) {
    bench.connector.begin_shadow(plugin, config(), bench.now).unwrap();
}

fn report(bench: &Bench) -> ShadowReport {
    bench.connector.shadow().unwrap()
}

#[test]
fn a_version_that_does_the_same_has_no_differences() {
    let mut bench = Bench::connected(&lines());
    bench.receive(b"one\ntw");
    begin(&mut bench, &version("lines-v2", "sane"));
    bench.handle(vec![command(1, "done"), command(2, "send"), command(3, "hour")]);
    bench.receive(b"o\n-leg\nthr");
    bench.receive(b"ee\n");
    bench.now.monotonic = Duration::from_secs(5);
    bench.handle(vec![]);
    let report = report(&bench);
    // The outcome, the send, three lines and the word of the wake-up.
    assert_eq!((report.same, report.only_running, report.only_shadow), (6, 0, 0), "{report:?}");
    assert!(!report.cold);
    assert_eq!(report.failure, None);
    assert!(report.memory_bytes > 0);
    // Everything happened once.
    assert_eq!(bench.said(), ["one", "two", "three", "wake"]);
    assert_eq!(bench.outcomes(), [(1, "done", "")]);
    assert_eq!(bench.effects.iter().filter(|e| matches!(e, Effect::Send { .. })).count(), 1);
}

#[test]
fn differences_are_counted_and_the_first_are_shown() {
    let mut bench = Bench::connected(&lines());
    begin(&mut bench, &version("lines-v2", "skips-b"));
    bench.receive(b"alpha\nbeta\n");
    bench.receive(b"gamma\n");
    let report = bench.connector.end_shadow().unwrap();
    assert_eq!((report.same, report.only_running, report.only_shadow), (2, 1, 0), "{report:?}");
    assert_eq!(report.differences.len(), 1);
    assert_eq!((report.differences[0].step, report.differences[0].by_shadow), (1, false));
    assert!(report.differences[0].effect.contains("beta"), "{report:?}");
    assert!(bench.connector.shadow().is_none() && bench.connector.end_shadow().is_none());
    assert_eq!(bench.said(), ["alpha", "beta", "gamma"]);
}

#[test]
fn differences_are_told_while_it_runs() {
    let mut bench = Bench::connected(&lines());
    begin(&mut bench, &version("lines-v2", "ends-twice"));
    bench.receive(b"-leg\n");
    assert_eq!(report(&bench).only_shadow, 0, "its like may still come");
    for _ in 0..65 {
        bench.receive(b"x\n");
    }
    assert_eq!(report(&bench).only_shadow, 1);
    assert!(report(&bench).differences[0].by_shadow);
}

#[test]
fn a_shadow_that_fails_ends_alone() {
    let mut bench = Bench::connected(&lines());
    begin(&mut bench, &version("lines-v2", "traps-third"));
    for line in ["one\n", "two\n", "three\n", "four\n"] {
        bench.receive(line.as_bytes());
    }
    let report = report(&bench);
    assert!(report.failure.as_ref().unwrap().starts_with("trap: "), "{report:?}");
    assert_eq!((report.same, report.only_running), (2, 0));
    assert_eq!(bench.said(), ["one", "two", "three", "four"]);
    assert!(bench.incidents.is_empty(), "{:?}", bench.incidents);
}

#[test]
fn a_shadow_that_takes_no_state_follows_from_the_next_connection_on() {
    let mut bench = Bench::connected(&lines());
    bench.receive(b"one\ntw");
    begin(&mut bench, &version("lines-refuses", "sane"));
    bench.receive(b"o\n");
    assert_eq!((report(&bench).cold, report(&bench).steps), (true, 0));
    bench.handle(vec![crate::guests::closed(), link_up()]);
    bench.receive(b"three\n");
    assert_eq!((report(&bench).same, report(&bench).only_running), (1, 0), "{:?}", report(&bench));
}

#[test]
fn a_shadow_lives_through_crashes_and_swaps_of_the_one_that_runs() {
    let mut bench = Bench::connected(&lines());
    begin(&mut bench, &version("lines-v2", "sane"));
    bench.receive(b"one\ntwXo\nthree\n");
    bench.swap(crate::guests::successor(&version("lines-v2", "sane"))).unwrap();
    bench.receive(b"four\n");
    let report = report(&bench);
    assert_eq!((report.same, report.only_running, report.only_shadow), (3, 0, 0), "{report:?}");
    bench.handle(vec![received(b"five\n")]);
    assert_eq!(bench.said(), ["one", "three", "four", "five"]);
}

#[test]
fn a_shadow_must_fit_the_connector() {
    let mut bench = Bench::connected(&lines());
    let config = plugin_runtime::InstanceConfig { grants: vec![], ..config() };
    let error = bench.connector.begin_shadow(&lines(), config, bench.now).unwrap_err();
    assert!(error.to_string().contains("`grants`"), "{error}");
    assert!(bench.connector.shadow().is_none());
}
