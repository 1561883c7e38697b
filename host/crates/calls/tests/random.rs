//! Whatever connectors say in whatever order: nothing panics, and what holds for every journal holds.

mod bill;

use std::collections::BTreeMap;

use bill::{Bill, check_journal, fact};
use calls::{ConnectorId, Input};

/// xorshift64*: the same seed, the same day.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

const LINES: &[&str] = &["1001", "1002", "1003", "+49301", "+49302"];
const QUEUES: &[&str] = &["support", "sales"];
const SEATS: &[&str] = &["PJSIP/1001", "PJSIP/1002", "Local/1003@q/n"];
const EXITS: &[&str] = &[
    "answered",
    "abandoned",
    "timed-out",
    "full",
    "join-empty",
    "leave-empty",
    "pressed-key",
    "redirected",
    "unknown",
    "strange",
];

/// Legs come and go: a name is used for a while, then newer ones are.
fn leg(dice: &mut Dice, step: usize) -> String {
    format!("l{}", step / 60 + dice.roll(8))
}

fn a_fact(dice: &mut Dice, step: usize) -> String {
    let (one, two) = (leg(dice, step), leg(dice, step));
    let (queue, seat) = (dice.pick(QUEUES), dice.pick(SEATS));
    let extension = &seat[seat.len() - 4..];
    let extension = if extension == "@q/n" { "1003" } else { extension };
    match dice.roll(26) {
        0..=2 => format!(
            "leg {one} {} {} {}",
            dice.pick(&["from", "to"]),
            dice.pick(LINES),
            if dice.roll(2) == 0 { String::new() } else { format!("for={two}") }
        ),
        3..=5 => {
            format!(
                "state {one} {}",
                dice.pick(&["alerting", "answered", "held", "resumed", "odd"])
            )
        }
        6 => format!("peers {one}"),
        7..=9 => format!("peers {one} {two} {}", leg(dice, step)),
        10 | 11 => format!("hangup {one} {} {}", dice.roll(50), dice.pick(&["far-end", "pbx", ""])),
        12 => format!("transfer attended {one} {two} 1002"),
        13 => format!("queue {queue} wrap={}", dice.roll(3)),
        14 => dice.pick(&["no-queue support", "party l1 17", "no-ext 1001", "notice odd"]).into(),
        15 | 16 => format!(
            "member {queue} {seat} ext={extension} as={} {} taken={}",
            dice.pick(&["static", "dynamic"]),
            dice.pick(&["", "paused=lunch", "paused=tea"]),
            dice.roll(3)
        ),
        17 => format!("no-member {queue} {seat}"),
        18 | 19 => format!("join {queue} {one} {} waited={}", dice.roll(6), dice.roll(9)),
        20 => format!("leave {queue} {one} {}", dice.pick(EXITS)),
        21 => format!("offer {queue} {one} {seat} {two}"),
        22 => format!("offer-ended {queue} {one} {seat} no-answer 300"),
        23 => format!("serve {queue} {one} {seat} {two} waited=3"),
        24 => format!("served {queue} {one} {seat} caller {}", dice.roll(9)),
        _ => format!(
            "ext {extension} {}",
            dice.pick(&["registered", "unregistered", "in-use", "ringing"])
        ),
    }
}

fn a_line(dice: &mut Dice, step: usize) -> String {
    match dice.roll(40) {
        0 => {
            format!("begin {}", dice.pick(&["all", "all", "calls", "queues", "extensions", "odd"]))
        }
        1..=6 => format!("* {}", a_fact(dice, step)),
        7 => "end-of-picture".into(),
        8 if dice.roll(8) == 0 => "down link-broke".into(),
        8 => format!("pbx {}", 1 + step / 400),
        9 => format!("+ {}", dice.roll(4_000)),
        10 => format!("on {}", dice.pick(&["hq", "hq", "hq", "branch"])),
        11 => match dice.roll(4) {
            0 => format!(
                "rest-agent {} devices={}",
                dice.pick(&["anna", "bert"]),
                dice.pick(&["1001", "1002", "1001,1003", ""])
            ),
            1 => format!("remove-agent {}", dice.pick(&["anna", "bert"])),
            2 => format!(
                "{} anna queue={}",
                dice.pick(&["login", "logout", "pause", "unpause"]),
                dice.pick(QUEUES)
            ),
            _ => format!(
                "ask {} interface=PJSIP/1001 key={}",
                dice.pick(&["pause", "unpause"]),
                dice.roll(9)
            ),
        },
        12 if dice.roll(20) == 0 => "restart-host".into(),
        _ => a_fact(dice, step),
    }
}

fn a_day(seed: u64, steps: usize) -> Bill {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut bill = Bill::new();
    for connector in ["hq", "branch"] {
        let connector = ConnectorId::from(connector);
        bill.input(Input::Configured { connector });
    }
    bill.play("pbx 1\nbegin all\nend-of-picture");
    for step in 0..steps {
        if dice.roll(30) == 0 && !bill.commands.is_empty() {
            let n = 1 + dice.roll(bill.commands.len());
            bill.play(&format!("sent {n}"));
            if dice.roll(2) == 0 {
                bill.play(&format!("outcome {n} done"));
            }
        }
        let line = a_line(&mut dice, step);
        bill.play(&line);
    }
    bill
}

#[test]
fn any_order_of_facts_makes_a_sound_journal() {
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 1..=300 {
        let sound = std::panic::catch_unwind(|| {
            let bill = a_day(seed, 700);
            check_journal(&bill.events, bill.switchboard.state());
            bill.events
        });
        let Ok(events) = sound else { panic!("seed {seed}") };
        let kind = |event: &calls::Event| format!("{:?}", event.body);
        let word = |body: String| body.split([' ', '(']).next().map(str::to_owned);
        kinds.extend(events.iter().map(kind).filter_map(word));
    }
    assert!(kinds.len() >= 38, "such days show nearly everything: {kinds:?}");
}

/// Everything that was ended is gone in the end, however odd the day was: an empty picture ends all.
#[test]
fn an_empty_picture_ends_everything() {
    for seed in 1..=60 {
        let mut bill = a_day(seed, 400);
        for connector in ["hq", "branch"] {
            bill.play(&format!("on {connector}\nbegin all\nend-of-picture"));
        }
        let state = bill.switchboard.state();
        assert!(state.calls().all(|call| call.ended.is_some()), "seed {seed}");
        assert_eq!(state.queues().count() + state.extensions().count(), 0, "seed {seed}");
        let idle = state.agents().filter(|person| person.state.code() == "idle").count();
        let resting = state.agents().filter(|person| person.state.code() == "wrap-up").count();
        assert_eq!(idle + resting, state.agents().count(), "seed {seed}");
        check_journal(&bill.events, state);
    }
}

/// A picture of what is known changes nothing.
#[test]
fn the_same_picture_twice_makes_no_events_the_second_time() {
    for seed in 1..=60 {
        let picture = a_picture(&mut Dice(seed));
        let mut bill = Bill::new();
        bill.play("pbx 1");
        bill.play(&picture);
        bill.events.clear();
        bill.play(&picture);
        let made: Vec<_> = bill.events.iter().map(|event| format!("{:?}", event.body)).collect();
        assert_eq!(made.len(), 1, "seed {seed}: {made:#?}\n{picture}");
    }
}

fn a_picture(dice: &mut Dice) -> String {
    let mut lines = BTreeMap::new();
    let mut places = BTreeMap::new();
    for _ in 0..80 {
        let line = a_fact(dice, 0);
        let words: Vec<&str> = line.split_whitespace().collect();
        // Legs come first, and everything is there once.
        let (order, names) = match words[0] {
            "leg" => (0, 2),
            "queue" | "ext" => (1, 2),
            "member" | "join" => (2, 3),
            _ => continue,
        };
        lines.entry((order, words[..names].join(" "))).or_insert(line);
    }
    let mut picture = String::from("begin all\n");
    for ((_, name), line) in lines {
        if let Some(("join", rest)) = name.split_once(' ') {
            let queue = rest.split(' ').next().map(str::to_owned);
            let place = places.entry(queue).and_modify(|place| *place += 1).or_insert(1);
            picture += &format!("* {name} {place}\n");
        } else {
            picture += &format!("* {line}\n");
        }
    }
    picture + "end-of-picture\n"
}

#[test]
fn a_very_long_call_stays_small() {
    let mut bill = Bill::new();
    bill.play("connect 1\nqueue support\nleg a from +49301");
    let mut facts = |line: String| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let connector = ConnectorId::from("hq");
        bill.input(Input::Fact { connector, at_pbx: None, fact: fact(&words) });
    };
    for n in 0..3_000 {
        facts("join support a 1".into());
        facts(format!("leg m{n} to 1001 for=a"));
        facts(format!("hangup m{n} 19"));
        facts("leave support a timed-out".into());
    }
    bill.drain();
    let state = bill.switchboard.state();
    let call = state.calls().next().expect("it runs");
    assert!(call.legs.len() < 70 && call.entries.len() < 70);
    check_journal(&bill.events, state);
}

#[test]
fn ended_calls_and_commands_are_forgotten_in_time() {
    let mut bill = Bill::new();
    bill.play("connect 1\nqueue support");
    let mut script = String::new();
    for n in 0..1_300 {
        script += &format!("leg a{n} from +49301\njoin support a{n} 1\nhangup a{n} 16 far-end\n");
    }
    bill.play(&script);
    let state = bill.switchboard.state();
    assert_eq!(state.calls().count(), 1_000);
    check_journal(&bill.events, state);
}

#[test]
fn what_is_too_much_is_dropped_and_told_once() {
    let mut bill = Bill::new();
    let script: String = (0..10_050).map(|n| format!("queue q{n}\n")).collect();
    bill.play(&script);
    let state = bill.switchboard.state();
    assert_eq!(state.queues().count(), 10_000);
    let notices = bill.events.iter().filter(|event| matches!(event.body, calls::Body::Notice(_)));
    assert_eq!(notices.count(), 1);
    assert!(bill.play("connect 1").contains("queue.removed q9999"));
}

#[test]
fn a_thousand_commands_may_be_under_way_and_no_more() {
    let mut bill = Bill::new();
    bill.play(&"ask probe\n".repeat(1_000));
    assert!(bill.play("ask probe").contains("refused too-many"));
    bill.play("outcome 1 done");
    assert!(!bill.play("ask probe").contains("refused"));
    check_journal(&bill.events, bill.switchboard.state());
}
