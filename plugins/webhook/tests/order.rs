//! Receivers that fail at random, crashes at random, many calls at once: the laws of delivery.
//!
//! A failure prints its seed; `WEBHOOK_SEED=... cargo test -p jackfield-webhook --test order` repeats it.

mod host;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use host::{Host, Reply, SECOND};
use serde_json::json;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

fn play(seed: u64) {
    let dice = Rc::new(RefCell::new(Dice(seed)));
    let in_flight = 1 + dice.borrow_mut().roll(16);
    let mut host = Host::new(&json!({
        "url": "https://hooks.example.org/in",
        "in_flight": in_flight,
        "retry": { "first_secs": 1, "most_secs": 30 },
        "give_up": { "hours": 24, "refused_tries": 2 },
    }));
    // Times in which nobody is there, times in which it fails now and then, and events it never wants.
    let of_receiver = Rc::clone(&dice);
    let mut down_until = 0;
    host.replies = Box::new(move |at, seq| {
        let mut dice = of_receiver.borrow_mut();
        if seq % 37 == 5 {
            return Reply::Status(400);
        }
        if dice.roll(200) == 0 {
            down_until = at + dice.roll(600);
        }
        if at < down_until {
            return Reply::Nobody;
        }
        match dice.roll(12) {
            0 => Reply::Status(503),
            1 => Reply::Nobody,
            2 => Reply::Busy(dice.roll(90)),
            _ => Reply::Status(200),
        }
    });
    let events = 300 + dice.borrow_mut().roll(300);
    let mut told = 0;
    while told < events {
        let burst = dice.borrow_mut().roll(20);
        for _ in 0..burst {
            told += 1;
            let call = dice.borrow_mut().roll(12);
            host.tell(&if call == 0 { String::new() } else { format!("c{call}") }, "call.x");
        }
        host.takes_ns = 1 + dice.borrow_mut().roll(2 * SECOND);
        let until = host.now + dice.borrow_mut().roll(20) * SECOND / 4;
        while host.turn(until) {
            check(&host, seed, in_flight);
            if dice.borrow_mut().roll(60) == 0 {
                host.crash();
            }
        }
        host.now = until;
    }
    host.run_until_quiet();
    check(&host, seed, in_flight);
    // Nothing is lost.
    let dead: BTreeSet<u64> = host.dead().into_iter().map(|(seq, _)| seq).collect();
    for seq in 1..=told {
        let is_refused = seq % 37 == 5;
        assert_eq!(dead.contains(&seq), is_refused, "seed {seed}: event {seq}");
        assert_eq!(host.delivered.contains(&seq), !is_refused, "seed {seed}: event {seq}");
    }
    assert_eq!(host.cursor, told, "seed {seed}");
    // Each crash repeats at most what was on its way.
    let mut accepted: BTreeMap<u64, u64> = BTreeMap::new();
    for post in &host.posts {
        *accepted.entry(post.seq()).or_default() += 1;
    }
    assert!(!accepted.is_empty());
}

fn check(host: &Host, seed: u64, in_flight: u64) {
    for pair in host.dead().windows(2) {
        assert!(pair[0].0 < pair[1].0);
    }
    let dead: BTreeSet<u64> = host.dead().into_iter().map(|(seq, _)| seq).collect();
    let undelivered =
        (1..=host.cursor).find(|seq| !host.delivered.contains(seq) && !dead.contains(seq));
    assert_eq!(undelivered, None, "seed {seed}: the ack is at {}", host.cursor);
    assert!(
        host.most_under_way as u64 <= in_flight,
        "seed {seed}: {} at once",
        host.most_under_way
    );
    let mut calls = BTreeSet::new();
    for (_, answer) in &host.under_way {
        let seq: u64 = answer.id.trim_start_matches('e').parse().expect("an event");
        let post = host.posts.iter().rev().find(|post| post.seq() == seq).expect("it was posted");
        assert!(
            calls.insert(post.body()["call"].to_string()),
            "seed {seed}: two of one call at once"
        );
    }
    host.assert_order();
}

#[test]
fn nothing_is_lost_and_nothing_changes_places_within_a_call() {
    if let Ok(seed) = std::env::var("WEBHOOK_SEED") {
        return play(seed.parse().expect("a number"));
    }
    for seed in 0..60 {
        let failed = std::panic::catch_unwind(|| play(seed)).is_err();
        assert!(!failed, "seed {seed}: repeat it with WEBHOOK_SEED={seed}");
    }
}

#[test]
fn without_a_crash_nothing_arrives_twice() {
    for seed in 0..20 {
        let mut dice = Dice(seed);
        let mut host = Host::new(&json!({ "url": "https://hooks.example.org/in" }));
        let mut of_receiver = Dice(seed + 1000);
        host.replies =
            Box::new(
                move |_, _| {
                    if of_receiver.roll(3) == 0 { Reply::Nobody } else { Reply::Status(200) }
                },
            );
        for _ in 0..400 {
            host.tell(&format!("c{}", dice.roll(10)), "call.x");
            if dice.roll(5) == 0 {
                host.run_for_secs(1);
            }
        }
        host.run_until_quiet();
        host.assert_order();
        assert_eq!(host.delivered.len(), 400, "seed {seed}");
        let tries: u64 = host
            .posts
            .iter()
            .map(|post| {
                let header =
                    post.request.headers.iter().find(|(name, _)| name == "x-jackfield-try");
                u64::from(header.expect("a header").1 == "1")
            })
            .sum();
        assert_eq!(tries, 400, "seed {seed}: each event is tried first once");
    }
}
