//! The contract between host and connector while all goes well, and what of a plugin's wishes is refused.

use std::time::Duration;

use plugin_runtime::{Connector, Effect, Input, Limits, Part, Retry, SecretForm, StartError};

use crate::guests::{Bench, closed, command, config, lines, link_up, plugin, received, simple};

#[test]
fn bytes_come_again_until_they_are_consumed() {
    let mut bench = Bench::connected(&lines());
    bench.receive(b"one\ntw");
    bench.receive(b"o");
    bench.handle(vec![received(b"\nth"), received(b"ree\n")]);
    assert_eq!(bench.said(), ["one", "two", "three"]);
    assert!(bench.incidents.is_empty(), "{:?}", bench.incidents);
    assert_eq!(bench.connector.usage().events, 3);
}

#[test]
fn a_new_connection_does_not_see_bytes_of_the_old_one() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![received(b"half"), closed(), link_up(), received(b"whole\n")]);
    bench.handle(vec![closed(), received(b"nobody listens\n")]);
    assert_eq!(bench.said(), ["whole"]);
}

#[test]
fn a_long_read_comes_in_pieces_and_loses_nothing() {
    let mut bench = Bench::connected(&lines());
    let lines: Vec<String> = (0..30_000).map(|number| format!("line {number}")).collect();
    let data: String = lines.iter().map(|line| format!("{line}\n")).collect();
    // Few enough lines a step for the guest's table of actions.
    for piece in data.as_bytes().chunks(4000) {
        bench.receive(piece);
    }
    assert_eq!(bench.said(), lines);
    assert!(bench.connector.usage().snapshots >= 1);
}

#[test]
fn a_frame_that_never_ends_is_dropped_and_the_rest_goes_on() {
    let mut bench = Bench::connected(&lines());
    bench.receive(b"before\n");
    bench.receive(&[b'a'; 200_000]);
    bench.receive(b"aaa\nafter\n");
    assert_eq!(bench.said(), ["before", "after"]);
    assert!(bench.words()[0].starts_with("too long 7+"), "{:?}", bench.words());
}

#[test]
fn who_never_consumes_hears_of_gaps_and_costs_no_memory() {
    let mut bench = Bench::connected(&simple("quiet"));
    for _ in 0..100 {
        bench.receive(&[b'a'; 50]);
    }
    let dropped = bench.words();
    assert_eq!(dropped.len(), 33, "{dropped:?}");
    assert_eq!(dropped[1], "too long 150+150");
}

#[test]
fn consuming_what_was_not_given_is_refused() {
    let mut bench = Bench::connected(&simple("greedy"));
    bench.receive(b"abc");
    assert_eq!(
        bench.words(),
        ["refused it consumed link `ami` up to 4, but has bytes 0 to 3 of it"]
    );
}

#[test]
fn a_command_has_exactly_one_outcome() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![
        command(1, "done"),
        command(2, "nothing"),
        command(3, "w: twice"),
        command(4, "end"),
    ]);
    assert_eq!(
        bench.outcomes(),
        [(1, "done", ""), (3, "done", ""), (4, "unknown", "plugin-nonsense")]
    );
    let words = bench.words();
    assert_eq!(words[0], "refused an outcome of command 3, which is over or was never given");
    assert!(words[1].contains("`oops`, which is no end"), "{words:?}");
}

#[test]
fn a_send_for_an_old_connection_is_dropped() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![command(1, "send")]);
    let secret = Part::Secret {
        name: "ami".into(),
        form: SecretForm::Md5Hex,
        prefix: vec![],
        suffix: vec![],
    };
    let parts = vec![Part::Literal(b"oops".to_vec()), secret];
    assert_eq!(bench.effects, [Effect::Send { link: "ami".into(), parts }]);
    bench.handle(vec![closed(), command(2, "send"), link_up(), command(3, "send")]);
    assert_eq!(bench.effects.len(), 1);
    assert_eq!(bench.connector.usage().stale_sends, 2);
}

#[test]
fn a_secret_in_the_clear_needs_a_grant_of_its_own() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![command(1, "loud")]);
    assert!(bench.effects.is_empty());
    assert!(bench.words()[0].contains("\"plain:ami\""), "{:?}", bench.words());

    let mut generous = config();
    generous.grants.push("plain:ami".into());
    let mut bench = Bench::with(&lines(), generous);
    bench.link_up();
    bench.handle((1..=9).map(|id| command(id, "loud")).collect());
    assert_eq!(bench.effects.len(), 8);
    assert!(bench.words()[0].contains("more than 8"), "{:?}", bench.words());
}

#[test]
fn a_closed_link_is_silent_both_ways() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![command(1, "close"), command(2, "close"), command(3, "send")]);
    bench.receive(b"late\n");
    let close = Effect::Close { link: "ami".into(), reason: String::new(), retry: Retry::Normal };
    assert_eq!(bench.effects, [close]);
    bench.handle(vec![closed(), link_up(), received(b"again\n")]);
    assert_eq!(bench.said(), ["again"]);
}

#[test]
fn items_of_a_resync_that_is_not_open_are_refused() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![command(1, "bracket")]);
    assert_eq!(
        bench.effects,
        [Effect::ResyncBegin { id: 7, scope: String::new() }, Effect::ResyncEnd { id: 7 }]
    );
    assert_eq!(bench.words(), ["refused an item of resync 8, which is not open"]);
}

#[test]
fn a_wake_up_comes_when_it_was_asked_for_and_once() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![command(1, "hours later")]);
    assert_eq!(bench.connector.wake_at(), Some(Duration::from_secs(5)));
    bench.now.monotonic = Duration::from_secs(4);
    bench.handle(vec![]);
    assert!(bench.said().is_empty());
    bench.now.monotonic = Duration::from_secs(5);
    bench.handle(vec![]);
    bench.handle(vec![]);
    assert_eq!(bench.said(), ["wake"]);
    assert_eq!(bench.connector.wake_at(), None);
}

#[test]
fn log_lines_beyond_the_rate_are_counted() {
    let mut limited = config();
    limited.limits.log_lines_per_sec = 2;
    let mut bench = Bench::with(&simple("logs"), limited);
    bench.link_up();
    assert_eq!(bench.connector.usage().log_lines_dropped, 1);
}

#[test]
fn more_actions_than_allowed_are_no_step() {
    let few = Limits { effects_per_step: 19, ..config().limits };
    let mut bench =
        Bench::with(&simple("chatty"), plugin_runtime::InstanceConfig { limits: few, ..config() });
    bench.handle(vec![command(1, "go")]);
    assert_eq!(bench.connector.wake_at(), None);
    assert_eq!(bench.outcomes(), [(1, "unknown", "plugin-restarted")]);
}

#[test]
fn links_need_a_place_in_manifest_config_and_grants() {
    let start = |change: fn(&mut plugin_runtime::InstanceConfig)| {
        let mut config = config();
        change(&mut config);
        let now = calls::Now { monotonic: Duration::ZERO, wall: calls::Timestamp(0) };
        Connector::start(&lines(), config, now).map(|_| ()).unwrap_err()
    };
    assert!(matches!(start(|c| c.links.clear()), StartError::MissingLink { .. }));
    assert!(start(|c| c.grants.clear()).to_string().contains("add \"link:ami\""));
    assert!(
        start(|c| c.links.push(("ari".into(), String::new())))
            .to_string()
            .contains("only knows: ami, control")
    );
    let now = calls::Now { monotonic: Duration::ZERO, wall: calls::Timestamp(0) };
    let stillborn = plugin(&["quiet", "stillborn-init"], &["connector"]);
    let error = Connector::start(&stillborn, config(), now).unwrap_err().to_string();
    assert_eq!(error, "the plugin of connector `hq` does not start (error): oops: oops");
    assert!(matches!(start(|c| c.settings = "{".into()), StartError::Settings { .. }));
}

#[test]
fn inputs_of_a_link_nobody_configured_are_ignored() {
    let mut bench = Bench::connected(&lines());
    let strange = Input::Received { link: "ari".into(), data: b"x\n".to_vec() };
    let late =
        Input::HttpResponse { id: 9, status: 200, headers: vec![], body: vec![], error: None };
    bench.handle(vec![strange, late, received(b"one\n")]);
    assert_eq!(bench.said(), ["one"]);
}

#[test]
fn a_guest_with_all_interfaces_runs() {
    let exports = ["connector", "state", "settings"];
    let full = plugin(&["lines", "lines-v1", "sane", "with-state", "picky-settings"], &exports);
    assert!(full.has_snapshot() && full.has_settings_check());
    let mut bench = Bench::connected(&full);
    bench.receive(b"one\n");
    assert_eq!(bench.said(), ["one"]);
}
