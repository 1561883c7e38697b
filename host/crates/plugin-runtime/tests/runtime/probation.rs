//! A version that fails while it is on probation costs nothing but its own time.

use std::time::Duration;

use plugin_runtime::{
    Effect, Incident, Input, InstanceConfig, OnRefusal, Plugin, Successor, SwapError, replay,
};

use crate::guests::{
    Bench, command, config, lines, link_up, on_probation, received, successor, version,
};
use crate::recording::{file, read};
use crate::recovery::{Dice, good_lines};

/// The steps that were replayed in the one rollback.
fn replayed(bench: &Bench) -> usize {
    let replayed = |incident: &Incident| match incident {
        Incident::RolledBack { replayed, .. } => Some(*replayed),
        _ => None,
    };
    let all: Vec<_> = bench.incidents.iter().filter_map(replayed).collect();
    assert_eq!(all.len(), 1, "{:#?}", bench.incidents);
    all[0]
}

/// Is the connector back at that version, with nothing lost?
fn check_went_back(bench: &Bench, to: &Plugin) {
    assert_eq!(bench.connector.plugin().sha256(), to.sha256());
    assert!(bench.connector.probation().is_none());
    let usage = bench.connector.usage();
    assert_eq!((usage.rollbacks, usage.cold_starts), (1, 0), "{:#?}", bench.words());
}

#[test]
fn a_version_that_traps_is_rolled_back_and_nothing_is_lost() {
    let mut bench = Bench::connected(&lines());
    bench.receive(b"one\ntw");
    bench.swap(on_probation(&version("lines-v2", "traps-third"))).unwrap();
    bench.receive(b"o\n");
    bench.receive(b"three\nfo");
    assert_eq!(bench.connector.probation().unwrap().steps, 2);
    bench.handle(vec![command(1, "done"), received(b"ur\nfive\nsi")]);
    bench.receive(b"x\n");
    assert_eq!(bench.said(), ["one", "two", "three", "four", "five", "look", "six"]);
    assert_eq!(bench.outcomes(), [(1, "done", "")]);
    assert_eq!(replayed(&bench), 2);
    assert!(
        bench.words()[0].starts_with("rolled back: it failed in a step (trap): "),
        "{:?}",
        bench.words()
    );
    check_went_back(&bench, &lines());
}

#[test]
fn a_version_that_exceeds_its_time_is_rolled_back() {
    let mut bench = Bench::connected(&lines());
    let limits = plugin_runtime::Limits { step_ms: 30, ..config().limits };
    let config = plugin_runtime::InstanceConfig { limits, ..config() };
    let slow = version("lines-v2", "loops-third");
    bench.swap(Successor { config, ..on_probation(&slow) }).unwrap();
    for line in ["one\n", "two\n", "three\n"] {
        bench.receive(line.as_bytes());
    }
    assert_eq!(bench.said(), ["one", "two", "three", "look"]);
    assert!(bench.words()[0].contains("(deadline): not done after 30 ms"), "{:?}", bench.words());
    check_went_back(&bench, &lines());
}

#[test]
fn a_command_without_outcome_rolls_back() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![command(1, "nothing")]);
    bench.swap(on_probation(&version("lines-v2", "deaf"))).unwrap();
    bench.handle(vec![command(2, "done"), received(b"one\n")]);
    // Its deadline is at 9 s; an answer may be on its way for a second more.
    assert_eq!(bench.connector.wake_at(), Some(Duration::from_secs(10)));
    bench.now.monotonic = Duration::from_secs(9);
    bench.handle(vec![]);
    assert!(bench.connector.probation().is_some());
    bench.now.monotonic = Duration::from_secs(10);
    bench.handle(vec![]);
    assert_eq!(bench.words(), ["rolled back: it did not end the command 1"]);
    // The old version did send the first, so it may still end it. What it did for the second, while it caught
    // up, did not happen.
    assert_eq!(bench.outcomes(), [(2, "unknown", "plugin-rolled-back")]);
    bench.handle(vec![command(3, "answer the first")]);
    assert_eq!(bench.outcomes()[1..], [(1, "done", "")]);
    assert_eq!(bench.said(), ["one", "look"]);
    check_went_back(&bench, &lines());
}

#[test]
fn a_leg_that_ends_twice_rolls_back_before_anybody_hears_of_it() {
    for whim in ["ends-twice", "sane"] {
        let mut bench = Bench::connected(&lines());
        bench.swap(on_probation(&version("lines-v2", whim))).unwrap();
        bench.receive(b"one\n-alpha\ntwo\n");
        assert_eq!(bench.ended(), ["alpha"]);
        if whim == "sane" {
            assert!(bench.words().is_empty(), "{:?}", bench.words());
            assert_eq!(bench.said(), ["one", "two"]);
        } else {
            assert_eq!(bench.words(), ["rolled back: it ended the leg alpha twice"]);
            assert_eq!(bench.said(), ["one", "two", "look"]);
            check_went_back(&bench, &lines());
        }
    }
}

#[test]
fn a_version_that_finds_no_frames_is_rolled_back_and_the_old_one_finds_them_all() {
    let mut bench = Bench::connected(&lines());
    bench.receive(b"on");
    bench.swap(on_probation(&version("lines-v2", "never-consumes"))).unwrap();
    let expected: Vec<String> = (0..20).map(|number| format!("line {number}")).collect();
    bench.receive(b"e\n");
    for line in &expected {
        bench.receive(format!("{line}\n").as_bytes());
    }
    let words = bench.words();
    assert_eq!(words, ["rolled back: it found no frame in more than 100 bytes of link `ami`"]);
    // The lines until then were seen by nobody whose word counts: that is what the resync is for.
    let look = bench.said().iter().position(|said| *said == "look").unwrap();
    assert_eq!(
        bench.said()[look + 1..],
        expected[expected.len() - bench.said().len() + 1 + look..]
    );
    check_went_back(&bench, &lines());
}

#[test]
fn a_version_without_a_snapshot_that_can_be_kept_is_rolled_back() {
    let mut bench = Bench::connected(&lines());
    bench.swap(on_probation(&version("lines-huge", "sane"))).unwrap();
    for _ in 0..1000 {
        bench.receive(b"x\n");
    }
    assert!(
        bench.words().contains(
            &"rolled back: it gives no snapshot: its snapshot is larger than the 4194304 bytes allowed".to_owned()
        ),
        "{:?}",
        bench.words()
    );
    bench.receive(b"y\n");
    assert_eq!(bench.said().len(), 1002);
    check_went_back(&bench, &lines());
}

#[test]
fn rolling_back_at_any_step_neither_loses_nor_repeats_a_line() {
    const CONVERSATION: &[u8] = b"one\n-leg\nthree\nfour\nfive six\n\nseven\n";
    let new = version("lines-v2", "sane");
    for size in 1..=7 {
        let pieces: Vec<&[u8]> = CONVERSATION.chunks(size).collect();
        for swapped_at in 0..pieces.len() {
            for back_at in swapped_at..=pieces.len() {
                let mut bench = Bench::connected(&lines());
                for (number, piece) in pieces.iter().enumerate() {
                    if number == swapped_at {
                        bench.swap(on_probation(&new)).unwrap();
                    }
                    if number == back_at {
                        bench.roll_back();
                    }
                    bench.receive(piece);
                }
                if back_at == pieces.len() {
                    bench.roll_back();
                }
                let mut said = bench.said();
                said.retain(|line| *line != "look");
                let at = format!("pieces of {size}, swapped at {swapped_at}, back at {back_at}");
                assert_eq!(said, ["one", "three", "four", "five six", "", "seven"], "{at}");
                assert_eq!(bench.ended(), ["leg"], "{at}");
                check_went_back(&bench, &lines());
            }
        }
    }
}

#[test]
fn a_rollback_by_hand_needs_a_probation() {
    let mut bench = Bench::connected(&lines());
    bench.swap(successor(&version("lines-v2", "sane"))).unwrap();
    let error = bench.connector.roll_back("the admin wants it", bench.now).unwrap_err();
    assert!(matches!(error, SwapError::NoProbation { .. }), "{error}");
    bench.swap(on_probation(&version("lines-v1-or-v2", "sane"))).unwrap();
    bench.roll_back();
    assert_eq!(bench.words(), ["rolled back: the admin wants it"]);
    check_went_back(&bench, &version("lines-v2", "sane"));
}

#[test]
fn probation_passes_with_time() {
    let new = version("lines-v2", "traps-third");
    let mut bench = Bench::connected(&lines());
    bench.swap(on_probation(&new)).unwrap();
    let view = bench.connector.probation().unwrap().clone();
    assert_eq!(
        (view.old.sha256.as_str(), view.new.sha256.as_str()),
        (lines().sha256(), new.sha256())
    );
    assert_eq!(view.until, bench.now.monotonic + Duration::from_secs(60));
    assert_eq!(bench.connector.wake_at(), Some(view.until));
    bench.now.monotonic = view.until;
    bench.handle(vec![]);
    assert!(bench.connector.probation().is_none());
    assert_eq!(bench.words(), ["probation passed"]);
    // From now on a trap costs a message, not the version.
    for _ in 0..4 {
        bench.receive(b"x\n");
    }
    assert_eq!(bench.connector.plugin().sha256(), new.sha256());
}

#[test]
fn probation_ends_when_it_is_confirmed_or_something_else_takes_over() {
    let mut bench = Bench::connected(&lines());
    bench.swap(on_probation(&version("lines-v2", "sane"))).unwrap();
    bench.connector.confirm();
    assert!(bench.connector.probation().is_none());
    assert!(bench.words().is_empty());
    bench.swap(on_probation(&version("lines-v2", "sane"))).unwrap();
    bench.swap(on_probation(&version("lines-v1-or-v2", "sane"))).unwrap();
    assert!(bench.words().is_empty(), "{:?}", bench.words());
    assert_eq!(
        bench.connector.probation().unwrap().old.sha256,
        version("lines-v2", "sane").sha256()
    );
}

#[test]
fn probation_passes_when_there_is_too_much_to_keep() {
    let mut bench = Bench::connected(&lines());
    bench.swap(on_probation(&version("lines-v2", "sane"))).unwrap();
    let portion = format!("{}\n", "x".repeat(98)).repeat(600);
    let mut portions = 0;
    while bench.connector.probation().is_some() {
        portions += 1;
        assert!(portions < 700, "it keeps {portions} portions");
        bench.receive(portion.as_bytes());
    }
    assert!(portions * portion.len() > 30 << 20);
    assert_eq!(bench.words(), ["probation passed"]);
}

#[test]
fn a_cold_swap_can_be_undone_too() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![command(1, "nothing"), received(b"one\ntw")]);
    let cold = version("lines-refuses", "traps-third");
    assert!(bench.swap(on_probation(&cold)).unwrap().cold);
    bench.handle(vec![link_up()]);
    bench.receive(b"three\nfo");
    bench.receive(b"ur\n");
    assert_eq!(bench.said(), ["one", "three", "four", "look"]);
    // The old one would still end it, but it is over.
    bench.handle(vec![command(2, "answer the first")]);
    assert_eq!(bench.outcomes(), [(1, "unknown", "plugin-replaced")]);
    assert_eq!(bench.connector.usage().rollbacks, 1);
    assert_eq!(bench.connector.usage().refused, 0);
}

#[test]
fn a_picture_under_way_is_void_after_a_rollback() {
    let mut bench = Bench::connected(&lines());
    bench.handle(vec![command(1, "open")]);
    let keep =
        Successor { on_refusal: OnRefusal::Keep, ..on_probation(&version("lines-v2", "sane")) };
    bench.swap(keep).unwrap();
    bench.handle(vec![command(2, "item")]);
    bench.roll_back();
    let items = |bench: &Bench| {
        bench.effects.iter().filter(|e| matches!(e, Effect::ResyncItem { .. })).count()
    };
    bench.handle(vec![command(3, "item"), command(4, "finish")]);
    assert_eq!(items(&bench), 1);
    assert!(!bench.effects.iter().any(|effect| matches!(effect, Effect::ResyncEnd { .. })));
    bench.handle(vec![command(5, "open"), command(6, "item"), command(7, "finish")]);
    assert_eq!(items(&bench), 2);
    assert_eq!(bench.connector.usage().refused, 0);
}

#[test]
fn the_old_version_wakes_up_when_it_wanted_to() {
    let mut bench = Bench::connected(&lines());
    bench.swap(on_probation(&version("lines-v2", "deaf"))).unwrap();
    // The new one does not hear it, so only the old one wants to be woken at 5 s.
    bench.handle(vec![command(1, "hour")]);
    bench.roll_back();
    assert_eq!(bench.connector.wake_at(), Some(Duration::from_secs(5)));
    bench.now.monotonic = Duration::from_secs(5);
    bench.handle(vec![]);
    assert_eq!(bench.said(), ["look", "wake"]);
}

#[test]
fn an_old_version_that_would_have_hung_up_begins_anew() {
    let mut bench = Bench::connected(&lines());
    bench.swap(on_probation(&version("lines-v2", "deaf"))).unwrap();
    bench.handle(vec![command(1, "close")]);
    bench.roll_back();
    assert_eq!(
        bench.words(),
        [
            "rolled back: the admin wants it",
            "cold start: it would have closed link `ami` since the swap"
        ]
    );
    bench.handle(vec![link_up(), received(b"one\n")]);
    assert_eq!(bench.said(), ["one"]);
}

#[test]
fn what_both_versions_fail_on_is_taken_out_as_ever() {
    let mut bench = Bench::connected(&lines());
    bench.swap(on_probation(&version("lines-v2", "sane"))).unwrap();
    bench.handle(vec![
        received(b"one\ntwXo\nthree\n"),
        Input::LinkClosed { link: "control".into(), reason: "it is not configured".into() },
        command(1, "done"),
    ]);
    assert_eq!(bench.words().len(), 2, "{:?}", bench.words());
    assert!(bench.words()[0].starts_with("rolled back"), "{:?}", bench.words());
    assert!(bench.words()[1].starts_with("quarantined 4+3 `twX`"), "{:?}", bench.words());
    assert_eq!(bench.outcomes(), [(1, "done", "")]);
    let mut said = bench.said();
    said.retain(|line| *line != "look");
    assert_eq!(said, ["one", "three"]);
}

#[test]
fn no_line_and_no_outcome_is_lost_or_told_twice_whatever_is_swapped_and_rolled_back_when() {
    const LINKS: [&str; 2] = ["ami", "control"];
    let versions = [
        version("lines-v1-or-v2", "sane"),
        version("lines-v2", "sane"),
        version("lines-v2", "traps-third"),
    ];
    let config = || InstanceConfig {
        links: LINKS.map(|link| (link.to_owned(), "tcp://127.0.0.1:5038".to_owned())).to_vec(),
        grants: vec!["link:ami".into(), "link:control".into()],
        ..config()
    };
    let mut rollbacks = 0;
    for seed in 1..=120_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bench = Bench::with(&versions[0], config());
        let mut up = [false; 2];
        let mut streams = [String::new(), String::new()];
        let mut expected: [Vec<String>; 2] = Default::default();
        let mut commands = Vec::new();
        for number in 0..50 {
            let mut inputs = Vec::new();
            for _ in 0..=dice.roll(4) {
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
                        let (kind, end) =
                            [("done", "done"), ("done", "done"), ("trap", "failed")][dice.roll(3)];
                        commands.push((commands.len() as u64, end));
                        inputs.push(command(commands.len() as u64 - 1, kind));
                    }
                    choice => {
                        let poison = ["", "", "", "", "", "", "", "X"][dice.roll(8)];
                        let end = if choice < 9 { "\n" } else { "" };
                        let open = streams[which].len()
                            - streams[which].rfind('\n').map_or(0, |at| at + 1);
                        // No line may grow longer than a frame.
                        let data = if open > 60 {
                            "\n".to_owned()
                        } else {
                            format!("{link} {number}{poison} rest{end}")
                        };
                        streams[which].push_str(&data);
                        inputs.push(Input::Received { link, data: data.into_bytes() });
                    }
                }
            }
            let plain = || Successor { config: config(), ..successor(&versions[0]) };
            match dice.roll(8) {
                0 | 1 => {
                    // Going back to the one that traps would be a crash like any other, again and again.
                    bench.swap(plain()).unwrap();
                    let new = &versions[dice.roll(3)];
                    bench.swap(Successor { config: config(), ..on_probation(new) }).unwrap();
                }
                2 if bench.connector.probation().is_some() => bench.roll_back(),
                3 => bench.connector.confirm(),
                _ => {}
            }
            if bench.connector.probation().is_none() {
                assert!(!bench.swap(plain()).unwrap().cold);
            }
            bench.handle(inputs);
        }
        for which in 0..2 {
            expected[which].extend(good_lines(&streams[which]));
            let of_link = |line: &&str| line.starts_with(LINKS[which]);
            let said: Vec<_> = bench.said().into_iter().filter(of_link).collect();
            let mut lines: Vec<_> = expected[which].iter().map(String::as_str).collect();
            lines.retain(|line| line.starts_with(LINKS[which]));
            assert_eq!(said, lines, "seed {seed}: {:#?}", bench.words());
        }
        let mut outcomes: Vec<_> = bench.outcomes().iter().map(|&(id, end, _)| (id, end)).collect();
        outcomes.sort_unstable();
        assert_eq!(outcomes, commands, "seed {seed}");
        let usage = bench.connector.usage();
        assert_eq!(usage.cold_starts, 0, "seed {seed}: {:#?}", bench.words());
        rollbacks += usage.rollbacks;
    }
    assert!(rollbacks > 200, "only {rollbacks} rollbacks: this shows little");
}

#[test]
fn a_recording_over_a_swap_and_a_rollback_replays_the_same() {
    let new = version("lines-v2", "traps-third");
    let mut bench = Bench::connected(&lines());
    bench.receive(b"one\ntw");
    bench.swap(on_probation(&new)).unwrap();
    for piece in ["o\nthree\n", "four\n", "five\nsi", "x\n"] {
        bench.receive(piece.as_bytes());
    }
    assert_eq!(bench.said(), ["one", "two", "three", "four", "five", "look", "six"]);
    let (file, _) = file(&bench.connector.recording());
    let report = replay(&[lines(), new], &read(&file), None).unwrap();
    assert!(report.is_same(), "{report:#?}");
    assert!(report.left_out.is_empty(), "{report:#?}");
    assert_eq!(report.crashes.len(), 1, "{report:#?}");
}
