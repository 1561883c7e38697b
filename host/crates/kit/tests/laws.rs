//! A connector that keeps every law, and one that breaks each of them in turn: the suite names that law and no other.

#![expect(clippy::print_stdout, reason = "the report is what a reader wants to see")]

mod support {
    mod plugins;
    pub use plugins::*;
}

use kit::{
    Silent,
    conformance::{Conversation, Holds, Law, Options, conform},
    play,
    scenario::{Scenario, Script},
};
use support::{plugin, shop};

fn broken(breaks: &str) -> Vec<Law> {
    let plugin = plugin("test/faulty");
    let scenario = Scenario { settings: format!(r#"{{"breaks":"{breaks}"}}"#), ..shop() };
    let conversation = Conversation::of(&plugin, &scenario).expect("it is a connector's");
    let options = Options { rounds: 400, ..Options::default() };
    let report = conform(&[conversation], options, &Silent).expect("it starts");
    for verdict in &report.laws {
        assert!(verdict.sentence.ends_with('.'), "one sentence: {}", verdict.sentence);
        assert_ne!(verdict.holds, Holds::NotTried, "{verdict:?}");
        assert_eq!(verdict.holds == Holds::Broken, !verdict.evidence.is_empty(), "{verdict:?}");
    }
    println!("{}\n", kit::report::laws(&report, kit::report::Paint::new(false)));
    report.broken()
}

#[test]
fn a_connector_that_keeps_all_laws_passes() {
    assert_eq!(broken("none"), []);
}

#[test]
fn a_picture_without_legs_after_a_cut_breaks_the_resync_law() {
    assert_eq!(broken("resync"), [Law::Resync]);
}

#[test]
fn a_command_that_ends_twice_breaks_the_command_law() {
    assert_eq!(broken("command"), [Law::Command]);
}

#[test]
fn a_leg_that_ends_twice_breaks_the_terminal_event_law() {
    assert_eq!(broken("terminal-event"), [Law::TerminalEvent]);
}

#[test]
fn a_snapshot_that_forgets_breaks_the_snapshot_law() {
    assert_eq!(broken("snapshot"), [Law::Snapshot]);
}

#[test]
fn a_line_taken_in_the_middle_breaks_the_chunking_law() {
    assert_eq!(broken("chunking"), [Law::Chunking]);
}

#[test]
fn a_number_that_is_none_breaks_the_hostile_bytes_law() {
    assert_eq!(broken("hostile-bytes"), [Law::HostileBytes]);
}

#[test]
fn a_scenario_with_every_chaos_passes_for_a_connector_that_keeps_the_laws() {
    let played = play::play(&plugin("test/faulty"), &shop(), play::Options::default());
    assert!(
        played.passed(),
        "{}",
        kit::report::scenarios(&[played], kit::report::Paint::new(false), true)
    );
    let again: Vec<&str> = played.again.iter().map(|again| again.how).collect();
    assert_eq!(again, ["split", "restart", "reorder", "duplicate", "cut"]);
}

#[test]
fn chaos_finds_what_the_plain_scenario_does_not() {
    for (breaks, how) in [
        ("chunking", "split in pieces of 1"),
        ("snapshot", "crashed and restored"),
        ("resync", "cut after byte"),
    ] {
        let mut scenario = Scenario { settings: format!(r#"{{"breaks":"{breaks}"}}"#), ..shop() };
        if breaks == "resync"
            && let Script::Connector(script) = &mut scenario.script
        {
            // At the end of it somebody must be there, or there is nothing to forget.
            script.steps.truncate(3);
        }
        let played = play::play(&plugin("test/faulty"), &scenario, play::Options::default());
        let steps: Vec<&str> =
            played.failures.iter().map(|failure| failure.step.as_str()).collect();
        assert!(steps.iter().any(|step| step.starts_with(how)), "{breaks}: {steps:?}");
    }
}

#[test]
fn a_failed_step_says_what_was_expected_and_what_came_at_which_time() {
    let mut scenario = shop();
    scenario.settings = r#"{"breaks":"terminal-event"}"#.into();
    let played = play::play(&plugin("test/faulty"), &scenario, play::Options::default());
    let text = kit::report::scenarios(&[played], kit::report::Paint::new(false), false);
    assert!(text.contains("FAIL shop.toml: a small shop"), "{text}");
    assert!(text.contains("at 7s: tells: it is not what was expected"), "{text}");
    assert!(text.contains("+         7s  leg-ended leg=a1 cause.q850=16"), "{text}");
}
