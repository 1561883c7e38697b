//! Traps, loops, growth: what they cost and what they do not.

use std::time::Duration;

use plugin_runtime::{FailureKind, Incident, Input, InstanceConfig, Limits};

use crate::guests::{Bench, closed, command, config, lines, link_up, plugin, received, simple};

fn failure_kinds(bench: &Bench) -> Vec<FailureKind> {
    let kind = |incident| match incident {
        &Incident::Trapped { kind, .. } => Some(kind),
        _ => None,
    };
    bench.incidents.iter().filter_map(kind).collect()
}

/// Pseudo-random numbers below `below`, the same each time.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

#[test]
fn poison_in_a_line_costs_that_line_only() {
    let mut bench = Bench::connected(&lines());
    bench.receive(b"one\ntwo\nthXree\nfour\nfi");
    bench.receive(b"ve\n");
    assert_eq!(bench.said(), ["one", "two", "four", "five"]);
    assert_eq!(bench.words(), ["quarantined 8+3 `thX` (trap)"]);
    let usage = bench.connector.usage();
    assert_eq!((usage.quarantined, usage.cold_starts), (1, 0));
}

#[test]
fn every_other_line_is_seen_exactly_once_however_the_bytes_are_split() {
    for seed in 1..=60_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut expected = Vec::new();
        let mut data = Vec::new();
        for number in 0..40 {
            let mut line = format!("line {number} {}", "y".repeat(dice.roll(30)));
            if dice.roll(6) == 0 {
                for _ in 0..=dice.roll(3) {
                    line.insert(dice.roll(line.len() + 1), 'X');
                }
            } else {
                expected.push(line.clone());
            }
            data.extend(line.bytes());
            data.push(b'\n');
        }
        let mut bench = Bench::connected(&lines());
        let mut rest = &data[..];
        while !rest.is_empty() {
            let mut inputs = Vec::new();
            for id in 0..=dice.roll(3) as u64 {
                let (piece, later) = rest.split_at(rest.len().min(1 + dice.roll(90)));
                inputs.push(received(piece));
                if dice.roll(8) == 0 {
                    inputs.push(command(1_000_000 * rest.len() as u64 + id, "done"));
                }
                rest = later;
            }
            bench.handle(inputs);
        }
        assert_eq!(bench.said(), expected, "seed {seed}: {:#?}", bench.words());
        assert_eq!(bench.connector.usage().cold_starts, 0, "seed {seed}");
    }
}

/// What a line-reading connector must say of one connection's bytes.
pub fn good_lines(stream: &str) -> impl Iterator<Item = String> {
    let whole = stream.rfind('\n').map_or("", |end| &stream[..end]);
    whole.split_terminator('\n').filter(|line| !line.contains('X')).map(str::to_owned)
}

#[test]
fn two_links_commands_cuts_and_poison_keep_out_of_each_others_way() {
    const LINKS: [&str; 2] = ["ami", "control"];
    for seed in 1..=80_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut config = config();
        config.links.push(("control".into(), "tcp://127.0.0.1:5039".into()));
        config.grants.push("link:control".into());
        let mut bench = Bench::with(&lines(), config);
        let mut up = [false; 2];
        let mut streams = [String::new(), String::new()];
        let mut expected: [Vec<String>; 2] = Default::default();
        let mut commands = Vec::new();
        for number in 0..60 {
            let mut inputs = Vec::new();
            for _ in 0..=dice.roll(6) {
                let which = dice.roll(2);
                let link = LINKS[which].to_owned();
                match dice.roll(12) {
                    0 if up[which] => {
                        up[which] = false;
                        expected[which].extend(good_lines(&std::mem::take(&mut streams[which])));
                        inputs.push(Input::LinkClosed { link, reason: "cut".into() });
                    }
                    _ if !up[which] => {
                        up[which] = true;
                        inputs.push(Input::LinkUp { link, peer: "peer".into(), nonce: [1; 32] });
                    }
                    1..3 => {
                        let (kind, end) = [("done", "done"), ("trap", "failed")][dice.roll(2)];
                        commands.push((commands.len() as u64, end));
                        inputs.push(command(commands.len() as u64 - 1, kind));
                    }
                    choice => {
                        let poison = ["", "", "", "X", "aXb"][dice.roll(5)];
                        let end = if choice < 9 { "\n" } else { "" };
                        let data = format!("{link} {number}{poison} rest{end}");
                        // No line may grow longer than a frame.
                        let open = streams[which].len()
                            - streams[which].rfind('\n').map_or(0, |at| at + 1);
                        let data = if open > 60 { "\n".to_owned() } else { data };
                        streams[which].push_str(&data);
                        inputs.push(Input::Received { link, data: data.into_bytes() });
                    }
                }
            }
            bench.handle(inputs);
        }
        for which in 0..2 {
            expected[which].extend(good_lines(&streams[which]));
            let said: Vec<_> =
                bench.said().into_iter().filter(|l| l.starts_with(LINKS[which])).collect();
            let expected: Vec<_> =
                expected[which].iter().filter(|l| l.starts_with(LINKS[which])).collect();
            assert_eq!(said, expected, "seed {seed}: {:#?}", bench.words());
        }
        let mut outcomes: Vec<_> = bench.outcomes().iter().map(|&(id, end, _)| (id, end)).collect();
        outcomes.sort_unstable();
        assert_eq!(outcomes, commands, "seed {seed}");
        assert_eq!(bench.connector.usage().cold_starts, 0, "seed {seed}: {:#?}", bench.words());
    }
}

#[test]
fn a_guest_that_can_only_take_small_bites_loses_nothing() {
    let mut bench = Bench::connected(&lines());
    let lines: Vec<String> = (0..30_000).map(|number| format!("line {number}")).collect();
    // Its table of actions holds 900: larger bites trap.
    bench.receive(lines.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes());
    assert_eq!(bench.said(), lines);
    assert_eq!(bench.connector.usage().quarantined, 0);
}

#[test]
fn bytes_that_make_it_loop_are_taken_out_too() {
    let limits = Limits { step_ms: 30, ..Limits::default() };
    let mut bench = Bench::with(&lines(), InstanceConfig { limits, ..config() });
    bench.link_up();
    bench.receive(b"one\ntwZo\nthree\n");
    assert_eq!(bench.said(), ["one", "three"]);
    assert_eq!(bench.words(), ["quarantined 4+3 `twZ` (deadline)"]);
}

#[test]
fn a_command_that_traps_fails_and_the_others_do_not() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![
        command(1, "done"),
        received(b"one\n"),
        command(2, "trap"),
        received(b"two\n"),
        command(3, "done"),
    ]);
    assert_eq!(bench.said(), ["one", "two"]);
    assert_eq!(
        bench.outcomes(),
        [(1, "done", ""), (2, "failed", "plugin-trapped"), (3, "done", "")]
    );
    assert_eq!(bench.words(), ["skipped command `trap` (trap)"]);
}

#[test]
fn nothing_of_a_failed_step_happens_twice() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![
        command(1, "send"),
        command(2, "done"),
        received(b"one\nX\n"),
        command(3, "done"),
    ]);
    let sends =
        bench.effects.iter().filter(|e| matches!(e, plugin_runtime::Effect::Send { .. })).count();
    assert_eq!(sends, 1);
    assert_eq!(bench.said(), ["one"]);
    assert_eq!(bench.outcomes(), [(2, "done", ""), (3, "done", "")]);
}

#[test]
fn the_state_survives_with_the_connection_up() {
    let mut bench = Bench::connected(&lines());
    for number in 0..3000 {
        bench.receive(format!("line {number}\n").as_bytes());
    }
    assert!(bench.connector.usage().snapshots >= 2);
    bench.receive(b"half a li");
    bench.handle(vec![command(1, "trap")]);
    bench.receive(b"ne\n");
    assert_eq!(bench.said().len(), 3001);
    assert_eq!(bench.said()[3000], "half a line");
    // From the snapshot, not from the start.
    let replayed = bench.incidents.iter().find_map(|incident| match incident {
        Incident::Recovered { replayed } => Some(*replayed),
        _ => None,
    });
    assert!(replayed.is_some_and(|replayed| replayed <= 1000), "{replayed:?}");
}

#[test]
fn a_trap_tells_where_it_was() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![command(1, "trap")]);
    let Incident::Trapped { kind, message } = &bench.incidents[0] else {
        panic!("{:?}", bench.incidents)
    };
    assert_eq!(*kind, FailureKind::Trap);
    assert!(message.contains("backtrace") && message.contains("unreachable"), "{message}");
}

#[test]
fn without_a_state_export_a_trap_is_a_cold_start() {
    let stateless = plugin(&["lines", "lines-v1", "sane"], &["connector"]);
    let mut bench = Bench::connected(&stateless);
    bench.handle(vec![command(1, "nothing"), received(b"one\n")]);
    bench.handle(vec![received(b"X\n"), command(2, "done")]);
    assert_eq!(
        bench.words(),
        ["cold start: the plugin cannot hand over its state (no `state` export)"]
    );
    // The first was under way; of the second nobody knows either.
    assert_eq!(
        bench.outcomes(),
        [(1, "unknown", "plugin-restarted"), (2, "unknown", "plugin-restarted")]
    );
    bench.receive(b"the link counts as closed\n");
    bench.handle(vec![link_up(), received(b"two\n")]);
    assert_eq!(bench.said(), ["one", "two"]);
}

#[test]
fn a_snapshot_that_forgets_is_noticed_in_the_replay() {
    let amnesiac = plugin(&["amnesiac", "simple-init", "with-state"], &["connector", "state"]);
    let mut bench = Bench::connected(&amnesiac);
    bench.handle(vec![command(1, "trap")]);
    assert!(bench.words()[0].starts_with("skipped"), "replay from the start: {:?}", bench.words());
    for _ in 0..1005 {
        bench.receive(b"x");
    }
    bench.handle(vec![command(2, "trap")]);
    assert!(bench.words()[1].starts_with("cold start: step 0 of the replay gives other actions"));
}

#[test]
fn a_loop_is_stopped_at_its_deadline() {
    let limits = Limits { step_ms: 5, ..Limits::default() };
    let mut bench = Bench::with(&simple("loops"), InstanceConfig { limits, ..config() });
    bench.link_up();
    assert_eq!(failure_kinds(&bench), [FailureKind::Deadline]);
    assert!(bench.words()[0].starts_with("cold start"), "{:?}", bench.words());
}

#[test]
fn growth_ends_at_the_memory_limit() {
    let mut bench = Bench::connected(&simple("grows"));
    assert_eq!(failure_kinds(&bench), [FailureKind::Memory]);
    bench.handle(vec![link_up()]);
    assert!(bench.connector.usage().memory_bytes <= 64 << 20);
}

#[test]
fn a_million_actions_are_too_much() {
    let limits = Limits { memory_mib: 256, ..config().limits };
    let bench = {
        let mut bench = Bench::with(&simple("million"), InstanceConfig { limits, ..config() });
        bench.link_up();
        bench
    };
    assert_eq!(failure_kinds(&bench), [FailureKind::TooMuch], "{:?}", bench.incidents);
}

#[test]
fn an_error_from_a_step_counts_as_a_trap() {
    let bench = Bench::connected(&simple("error"));
    assert_eq!(failure_kinds(&bench), [FailureKind::Error]);
    let Incident::Trapped { message, .. } = &bench.incidents[0] else { unreachable!() };
    assert_eq!(message, "oops: oops");
}

#[test]
fn a_wake_up_that_traps_is_tried_again_later() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![command(1, "zombie")]);
    bench.now.monotonic = Duration::from_secs(5);
    bench.handle(vec![received(b"one\n")]);
    assert_eq!(bench.words(), ["skipped wake (trap)"]);
    assert_eq!(bench.said(), ["one"]);
    assert_eq!(bench.connector.wake_at(), Some(Duration::from_secs(15)));
}

#[test]
fn who_fails_too_often_is_given_up_and_its_commands_answered() {
    let limits = Limits { recoveries_per_minute: 10, ..config().limits };
    let mut bench = Bench::with(&lines(), InstanceConfig { limits, ..config() });
    bench.handle(vec![link_up(), command(1, "nothing")]);
    for _ in 0..10 {
        bench.receive(b"X\n");
    }
    assert!(!bench.connector.is_given_up());
    // A minute later it has credit again.
    bench.now.monotonic += Duration::from_secs(60);
    for _ in 0..10 {
        bench.receive(b"X\n");
    }
    assert!(!bench.connector.is_given_up());
    bench.handle(vec![received(b"X\n"), command(2, "done")]);
    assert!(bench.connector.is_given_up());
    bench.handle(vec![command(3, "done"), closed()]);
    assert_eq!(
        bench.words().last().unwrap(),
        "given up: the plugin failed more than 10 times within a minute"
    );
    assert_eq!(
        bench.outcomes(),
        [
            (1, "unknown", "plugin-stopped"),
            (2, "unknown", "plugin-stopped"),
            (3, "failed", "plugin-stopped")
        ]
    );
}
