//! Callers whom somebody else takes out of the template, and callers whom the PBX has not shown yet.

#[path = "held/stage.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod stage;
mod support;

use jackfield_asterisk::Asterisk;
use jackfield_sdk::{Config, Connector, Now, mock::Seen};
use stage::{LEG, event, fake, held, offers, sent, shown, start};
use support::{Lab, SETTINGS};

const FREED: [&str; 1] = ["Setvar TIMEOUT(absolute) 0"];
const WHERE: [&str; 1] = ["Getvar CONTEXT"];

/// A caller whom we hold: we renew their lease.
fn leased() -> Lab {
    let mut lab = held();
    lab.host.command("leg-lease", &[("leg", LEG), ("secs", "45")]);
    lab.answer();
    lab.told();
    lab.fake.heard.clear();
    lab
}

fn is_in(lab: &mut Lab, context: &str) {
    let answer = format!("Response: Success\nVariable: CONTEXT\nValue: {context}\n");
    // The fake answers with what it may keep.
    lab.fake.answers.push(("Getvar", answer.leak()));
}

/// The code of the only outcome since the last time, and whether it is worth another try.
fn refused(lab: &mut Lab) -> (String, bool) {
    let seen = lab.host.take_seen();
    let outcome = seen.iter().find_map(|seen| match seen {
        Seen::Outcome(outcome) => outcome.error.clone(),
        _ => None,
    });
    let error = outcome.unwrap_or_else(|| panic!("no refusal in {seen:?}"));
    (error.code, error.retryable)
}

#[test]
fn who_is_put_through_by_somebody_else_talks_without_our_lease() {
    let mut lab = leased();
    let bridge = "BridgeUniqueid: b-1\nBridgeType: basic\nBridgeTechnology: simple_bridge\nBridgeCreator: <unknown>\nBridgeName: <unknown>\nBridgeNumChannels: 1\nBridgeVideoSourceMode: none\n";
    lab.receive(&event("BridgeEnter", "call", bridge));
    assert_eq!(sent(&mut lab), FREED);
    assert_eq!(lab.told(), [format!("released {LEG} \"bridged\"")]);
    // Asterisk goes on naming what they were put through from.
    let talking = shown("AGI", "agi:async,main,720,,").replace("BridgeId: ", "BridgeId: b-1");
    lab.fake.lists.push(("CoreShowChannels", talking));
    lab.host.command("resync", &[]);
    lab.answer();
    assert_eq!(offers(&lab.told()), [] as [&str; 0]);
}

#[test]
fn who_is_redirected_by_somebody_else_is_there_without_our_lease() {
    let mut lab = leased();
    is_in(&mut lab, "internal");
    // As Asterisk tells it: the place is still the old one.
    lab.receive(&event("AsyncAGIEnd", "agi", ""));
    assert_eq!(sent(&mut lab), [WHERE, FREED].concat());
    assert_eq!(lab.told(), [format!("released {LEG} \"went-on\"")]);
}

#[test]
fn who_is_in_the_template_again_keeps_the_lease_that_it_put_on() {
    let again = start(&["main", "720", "", ""]);
    for (context, then) in [("jackfield", ""), ("internal", again.as_str())] {
        let mut lab = leased();
        is_in(&mut lab, context);
        lab.receive(&(event("AsyncAGIEnd", "agi", "") + then));
        assert_eq!(sent(&mut lab), WHERE, "{context}");
    }
}

#[test]
fn a_time_limit_on_a_caller_whom_we_never_told_anything_is_not_ours() {
    let bridge = "BridgeUniqueid: b-1\nBridgeType: basic\nBridgeTechnology: simple_bridge\nBridgeCreator: <unknown>\nBridgeName: <unknown>\nBridgeNumChannels: 1\nBridgeVideoSourceMode: none\n";
    for ends in [event("AsyncAGIEnd", "agi", ""), event("BridgeEnter", "call", bridge)] {
        let mut lab = held();
        lab.fake.heard.clear();
        is_in(&mut lab, "internal");
        lab.receive(&ends);
        assert_eq!(sent(&mut lab), [] as [&str; 0], "{ends}");
    }
}

#[test]
fn snapshots_from_before_leases_were_counted_are_taken_with_everybody_in_them() {
    let lab = held();
    let mut snapshot = lab.host.connector().snapshot().expect("a snapshot");
    assert_eq!(snapshot.data.pop(), Some(0), "nobody was leased");
    let config =
        Config { id: "hq".into(), settings: SETTINGS.into(), links: Vec::new(), facts: Vec::new() };
    let now = Now { monotonic_ns: 1, wall_ns: 1 };
    let before = Asterisk::init(config, Some(snapshot.clone()), now, &mut Vec::new());
    snapshot.data.push(0);
    assert_eq!(before.expect("it takes it").snapshot().expect("a snapshot").data, snapshot.data);
}

#[test]
fn who_was_taken_while_the_link_was_down_is_freed_by_the_next_picture() {
    let held_there = shown("AGI", "agi:async,main,720,,");
    for (item, freed) in [
        (shown("Echo", "").replace("Context: jackfield", "Context: internal"), true),
        (held_there.replace("BridgeId: ", "BridgeId: b-1"), true),
        (shown("Queue", "fallback,t").replace("Exten: held", "Exten: T"), false),
        (held_there, false),
    ] {
        let mut lab = leased();
        lab.host.link_closed("ami", "cut");
        lab.fake.lists.push(("CoreShowChannels", item.clone()));
        lab.fake.heard.clear();
        lab.connect();
        let sent = sent(&mut lab);
        assert_eq!(sent.iter().any(|action| action == FREED[0]), freed, "{item}: {sent:?}");
        let still_held = !offers(&lab.told()).is_empty();
        assert_eq!(still_held, item.contains("agi:async") && !freed, "{item}");
    }
}

#[test]
fn before_the_first_picture_nobody_is_said_not_to_be_held() {
    let mut lab = Lab::new(SETTINGS, fake());
    // What they came with is never told, so that the picture waits.
    lab.fake.answers.push(("Getvar", ""));
    lab.fake.lists.push(("CoreShowChannels", shown("Playback", "hello")));
    lab.connect();
    lab.told();
    let queue = [("leg", LEG), ("queue", "support")];
    lab.host.command("leg-to-queue", &queue);
    assert_eq!(refused(&mut lab), ("not-connected".to_owned(), true));
    // Spoiled by a caller: still not the whole truth.
    lab.receive("Nonsense: of a caller\n\n");
    lab.answer();
    lab.advance(5000);
    assert!(lab.told().iter().any(|line| line.starts_with("resync ends")));
    lab.host.command("leg-to-queue", &queue);
    assert_eq!(refused(&mut lab), ("not-connected".to_owned(), true));
    lab.fake.lists.retain(|(action, _)| *action != "CoreShowChannels");
    lab.advance(6000);
    assert!(lab.told().iter().any(|line| line.starts_with("resync ends")));
    lab.host.command("leg-to-queue", &queue);
    assert_eq!(refused(&mut lab), ("not-held".to_owned(), false));
}

#[test]
fn who_is_on_the_way_to_us_is_not_shown_as_held_yet() {
    let mut lab = Lab::new(SETTINGS, fake());
    // In the template's `held`, some lines before it hands them over.
    lab.fake.answers.push(("Getvar", "Response: Success\nVariable: JACKFIELD_OFFER\nValue: \n"));
    lab.fake.lists.push(("CoreShowChannels", shown("Set", "TIMEOUT(absolute)=45")));
    lab.connect();
    let told = lab.told();
    assert!(told.iter().any(|line| line.starts_with("resync ends")), "{told:?}");
    assert_eq!(offers(&told), [] as [&str; 0]);
}
