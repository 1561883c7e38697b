//! Another version takes over between two steps, and nobody outside of it notices.

use std::time::Duration;

use plugin_runtime::{
    Effect, FailureKind, Incident, InstanceConfig, Limits, OnRefusal, Successor, SwapError,
};

use crate::guests::{
    Bench, MANIFEST, closed, command, component, config, lines, link_up, plugin, received, runtime,
    successor, version, version_saying,
};

/// What `lines` says of it, however it is cut: the lines, without the one that makes it trap.
const CONVERSATION: &[u8] = b"one\n-leg\nthXree\nfour\nfive six\n\nseven\n";
const SAID: [&str; 5] = ["one", "four", "five six", "", "seven"];

fn check_conversation(bench: &Bench, at: &str) {
    assert_eq!(bench.said(), SAID, "{at}: {:#?}", bench.words());
    assert_eq!(bench.ended(), ["leg"], "{at}");
    assert_eq!(bench.words().len(), 1, "{at}: {:#?}", bench.words());
    assert_eq!(bench.connector.usage().cold_starts, 0, "{at}");
}

#[test]
fn a_swap_in_mid_frame_loses_no_byte() {
    let mut bench = Bench::connected(&lines());
    bench.receive(b"one\ntw");
    let swapped = bench.swap(successor(&version("lines-v2", "sane"))).unwrap();
    assert!(!swapped.cold);
    assert_eq!(swapped.snapshot_bytes, 12);
    bench.receive(b"o\nthree\n");
    assert_eq!(bench.said(), ["one", "two", "three"]);
    assert!(bench.incidents.is_empty(), "{:?}", bench.incidents);
    assert_eq!(bench.connector.usage().swaps, 1);
}

#[test]
fn a_swap_at_any_byte_changes_nothing() {
    let (old, new) = (lines(), version("lines-v2", "sane"));
    for cut in 0..=CONVERSATION.len() {
        let mut bench = Bench::connected(&old);
        bench.receive(&CONVERSATION[..cut]);
        bench.swap(successor(&new)).unwrap();
        bench.receive(&CONVERSATION[cut..]);
        check_conversation(&bench, &format!("cut at {cut}"));
    }
}

#[test]
fn swaps_after_every_step_change_nothing() {
    let versions = [version("lines-v2", "sane"), version("lines-v1-or-v2", "sane")];
    for size in 1..=5 {
        let mut bench = Bench::connected(&lines());
        for (number, piece) in CONVERSATION.chunks(size).enumerate() {
            bench.receive(piece);
            let swapped = bench.swap(successor(&versions[number % 2])).unwrap();
            assert!(!swapped.cold);
        }
        check_conversation(&bench, &format!("pieces of {size}"));
    }
}

#[test]
fn commands_wake_ups_and_open_pictures_go_over() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![command(1, "nothing"), command(2, "open"), command(3, "hour")]);
    bench.swap(successor(&version("lines-v2", "sane"))).unwrap();
    bench.handle(vec![command(4, "item"), command(5, "finish"), command(6, "answer")]);
    bench.now.monotonic = Duration::from_secs(5);
    bench.handle(vec![]);
    assert_eq!(bench.outcomes(), [(1, "done", "")]);
    let picture = |effect: &&Effect| {
        matches!(
            effect,
            Effect::ResyncBegin { id: 7, .. }
                | Effect::ResyncItem { id: 7, .. }
                | Effect::ResyncEnd { id: 7 }
        )
    };
    assert_eq!(bench.effects.iter().filter(picture).count(), 3);
    assert_eq!(bench.said(), ["wake"]);
    assert!(bench.words().is_empty(), "{:?}", bench.words());
}

#[test]
fn the_connection_stays_the_same_one() {
    let mut bench = Bench::connected(&lines());
    bench.swap(successor(&version("lines-v2", "sane"))).unwrap();
    // It sends for connection 1, and only for that.
    bench.handle(vec![command(1, "send")]);
    bench.handle(vec![closed(), link_up(), command(2, "send")]);
    let sends = bench.effects.iter().filter(|e| matches!(e, Effect::Send { .. })).count();
    assert_eq!(sends, 1);
    assert_eq!(bench.connector.usage().stale_sends, 1);
}

#[test]
fn a_version_that_refuses_the_state_begins_anew_on_a_new_connection() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![command(1, "nothing"), received(b"one\ntw")]);
    let swapped = bench.swap(successor(&version("lines-refuses", "sane"))).unwrap();
    assert!(swapped.cold);
    assert!(
        bench.words()[0].starts_with("cold start: 0.1.0 (")
            && bench.words()[0].ends_with(": oops: oops"),
        "{:?}",
        bench.words()
    );
    assert_eq!(bench.outcomes(), [(1, "unknown", "plugin-replaced")]);
    bench.receive(b"o\nthe link counts as closed\n");
    bench.handle(vec![link_up(), received(b"three\n")]);
    assert_eq!(bench.said(), ["one", "three"]);
}

#[test]
fn a_version_that_refuses_the_state_is_refused_if_the_admin_wants_that() {
    let mut bench = Bench::connected(&lines());
    bench.receive(b"one\ntw");
    let refusing = version("lines-refuses", "sane");
    let error =
        bench.swap(Successor { on_refusal: OnRefusal::Keep, ..successor(&refusing) }).unwrap_err();
    assert!(matches!(error, SwapError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("does not take the state of 0.1.0 ("), "{error}");
    assert!(error.to_string().contains("allow a redial"), "{error}");
    bench.receive(b"o\n");
    assert_eq!(bench.said(), ["one", "two"]);
    assert_eq!(bench.connector.plugin().sha256(), lines().sha256());
}

#[test]
fn a_version_without_state_can_only_be_replaced_by_a_redial() {
    let mut bench = Bench::connected(&plugin(&["lines", "lines-v1", "sane"], &["connector"]));
    let keep = Successor { on_refusal: OnRefusal::Keep, ..successor(&lines()) };
    let error = bench.swap(keep).unwrap_err();
    assert!(error.to_string().contains("no `state` export"), "{error}");
    assert!(bench.swap(successor(&lines())).unwrap().cold);
    bench.handle(vec![link_up(), received(b"one\n")]);
    assert_eq!(bench.said(), ["one"]);
}

#[test]
fn a_restore_that_loops_is_stopped_and_the_old_version_goes_on() {
    let mut bench = Bench::connected(&lines());
    bench.receive(b"one\ntw");
    let error = bench.swap(successor(&version("lines-restores-for-ever", "sane"))).unwrap_err();
    assert!(matches!(error, SwapError::Failed { kind: FailureKind::Deadline, .. }), "{error}");
    assert!(error.to_string().contains("does not start as connector `hq` (deadline)"), "{error}");
    bench.receive(b"o\n");
    assert_eq!(bench.said(), ["one", "two"]);
    assert!(bench.incidents.is_empty(), "{:?}", bench.incidents);
}

#[test]
fn a_state_beyond_its_limit_is_not_handed_over() {
    for (state, why) in [
        ("lines-huge", "its snapshot is larger than the 4194304 bytes allowed"),
        ("lines-gigabyte", "gives no snapshot"),
    ] {
        let mut bench = Bench::connected(&version(state, "sane"));
        bench.receive(b"one\ntw");
        let keep = Successor { on_refusal: OnRefusal::Keep, ..successor(&lines()) };
        let error = bench.swap(keep).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        bench.receive(b"o\n");
        assert_eq!(bench.said(), ["one", "two"], "{state}: {:?}", bench.words());
        assert!(bench.swap(successor(&lines())).unwrap().cold);
        bench.handle(vec![link_up(), received(b"three\n")]);
        assert_eq!(bench.said(), ["one", "two", "three"]);
    }
}

#[test]
fn what_needs_a_new_start_is_no_swap() {
    let mut bench = Bench::connected(&lines());
    let cases: [(&str, InstanceConfig); 4] = [
        ("another id", InstanceConfig { id: "other".into(), ..config() }),
        (
            "other links",
            InstanceConfig {
                links: vec![("ami".into(), "tcp://pbx.example.org:5038".into())],
                ..config()
            },
        ),
        (
            "knows: ami, control",
            InstanceConfig {
                links: vec![("ari".into(), "tcp://pbx.example.org:8088".into())],
                ..config()
            },
        ),
        ("add \"link:ami\" to its `grants`", InstanceConfig { grants: vec![], ..config() }),
    ];
    for (words, config) in cases {
        let error = bench.swap(Successor { config, ..successor(&lines()) }).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let other = version_saying("lines-v1", "sane", &MANIFEST.replace("\"tiny\"", "\"big\""));
    let error = bench.swap(successor(&other)).unwrap_err();
    assert!(error.to_string().contains("another plugin (`big` instead of `tiny`)"), "{error}");
    let without = version_saying(
        "lines-v1",
        "sane",
        &MANIFEST.replace("\"name\": \"ami\"", "\"name\": \"ari\""),
    );
    let error = bench.swap(successor(&without)).unwrap_err();
    assert!(error.to_string().contains("the plugin only knows: ari, control"), "{error}");
    bench.receive(b"one\n");
    assert_eq!(bench.said(), ["one"]);
    assert_eq!(bench.connector.usage().swaps, 0);
}

#[test]
fn shorter_frames_wait_until_the_one_under_way_has_ended() {
    let short = MANIFEST.replace("\"max_frame\": 100", "\"max_frame\": 20");
    let short = version_saying("lines-v1", "sane", &short);
    let mut bench = Bench::connected(&lines());
    bench.receive(b"one\na line of thirty characters");
    let error = bench.swap(successor(&short)).unwrap_err();
    assert!(error.to_string().contains("at most 20 bytes on link `ami`, but 27 bytes"), "{error}");
    bench.receive(b".\n");
    assert!(!bench.swap(successor(&short)).unwrap().cold);
    assert_eq!(bench.said(), ["one", "a line of thirty characters."]);
}

#[test]
fn new_settings_grants_and_limits_need_no_new_version() {
    let mut bench = Bench::connected(&lines());
    bench.receive(b"tw");
    bench.handle(vec![command(1, "letter in the clear")]);
    assert!(bench.words()[0].contains("\"plain:ami\" to the grants"), "{:?}", bench.words());
    let config = InstanceConfig {
        settings: r#"{"loud": true}"#.into(),
        grants: vec!["link:ami".into(), "plain:ami".into()],
        limits: Limits { effects_per_step: 3, ..config().limits },
        ..config()
    };
    assert!(!bench.swap(Successor { config, ..successor(&lines()) }).unwrap().cold);
    // Told of the settings, so that it can look at the PBX with other eyes.
    assert_eq!(bench.said(), ["look"]);
    bench.receive(b"o\n");
    bench.handle(vec![command(2, "letter in the clear")]);
    assert_eq!(bench.said(), ["look", "two"]);
    assert!(bench.effects.iter().any(|effect| matches!(effect, Effect::Send { .. })));
    bench.receive(b"1\n2\n3\n4\n");
    let too_much = |incident: &Incident| {
        matches!(incident, Incident::Trapped { kind: FailureKind::TooMuch, .. })
    };
    assert!(bench.incidents.iter().any(too_much), "{:?}", bench.incidents);
}

#[test]
fn settings_the_plugin_refuses_leave_the_old_ones() {
    let stillborn = plugin(&["lines", "sane", "stillborn-init"], &["connector"]);
    let mut bench = Bench::connected(&lines());
    let error = bench.swap(successor(&stillborn)).unwrap_err();
    assert!(matches!(error, SwapError::Failed { kind: FailureKind::Error, .. }), "{error}");
    let config = InstanceConfig { settings: "{".into(), ..config() };
    let error = bench.swap(Successor { config, ..successor(&lines()) }).unwrap_err();
    assert!(error.to_string().contains("are not JSON"), "{error}");
    bench.receive(b"one\n");
    assert_eq!(bench.said(), ["one"]);
    assert!(bench.incidents.is_empty(), "{:?}", bench.incidents);
}

#[test]
fn who_was_given_up_cannot_be_swapped() {
    let limits = Limits { recoveries_per_minute: 0, ..config().limits };
    let mut bench = Bench::with(&lines(), InstanceConfig { limits, ..config() });
    bench.handle(vec![link_up(), received(b"X")]);
    let error = bench.swap(successor(&lines())).unwrap_err();
    assert!(matches!(error, SwapError::GivenUp { .. }), "{error}");
}

#[test]
fn requests_beyond_the_rate_are_answered_with_an_error_after_a_while() {
    let manifest = MANIFEST.replace(
        "\"links\"",
        r#""http": [{ "host": "crm.example.org", "reason": "looks callers up" }], "links""#,
    );
    let wasm = component(&["asks", "simple-init"], &["connector"], Some(&manifest));
    let limits = Limits { http_per_minute: 2, ..config().limits };
    let grants = vec!["link:ami".into(), "http:crm.example.org".into()];
    let mut bench =
        Bench::with(&runtime().load(&wasm).unwrap(), InstanceConfig { limits, grants, ..config() });
    let requests = |bench: &Bench| {
        bench.effects.iter().filter(|e| matches!(e, Effect::HttpRequest { .. })).count()
    };
    bench.handle((1..=3).map(|id| command(id, "ask")).collect());
    assert_eq!(requests(&bench), 2);
    assert!(bench.said().is_empty());
    let at = bench.connector.wake_at().unwrap();
    assert!(at > bench.now.monotonic);
    bench.now.monotonic = at;
    bench.handle(vec![]);
    assert_eq!(bench.said(), ["error"]);
    bench.now.monotonic += Duration::from_secs(60);
    bench.handle(vec![command(4, "ask")]);
    assert_eq!(requests(&bench), 3);
    let usage = bench.connector.usage();
    assert_eq!((usage.http_requests, usage.http_refused), (4, 1));
}
