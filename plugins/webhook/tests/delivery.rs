//! What a receiver gets, and what is left when it does not want it.

mod host;

use host::{Host, Reply};
use jackfield_sdk::hooks::{Observer, Wishes};
use jackfield_webhook::Webhook;
use serde_json::{Value, json};

fn with(more: Value) -> Value {
    let mut settings = json!({ "url": "https://hooks.example.org/in" });
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    settings
}

#[test]
fn an_event_is_posted_as_it_is_with_its_number_and_a_signature() {
    let mut host = Host::new(&with(json!({ "headers": { "X-Tenant": "hq" }, "bearer": true })));
    host.tell("a", "call.ended");
    host.run_until_quiet();
    let [post] = &host.posts[..] else { panic!("{:?}", host.posts) };
    assert_eq!(post.request.url, "https://hooks.example.org/in");
    assert_eq!(post.request.method, "POST");
    let header = |name: &str| {
        post.request
            .headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(header("x-jackfield-event"), Some("1"));
    assert_eq!(header("x-jackfield-type"), Some("call.ended"));
    assert_eq!(header("x-jackfield-try"), Some("1"));
    assert_eq!(header("x-tenant"), Some("hq"));
    let stamp = header("x-jackfield-timestamp").unwrap();
    let [bearer, signature] = &post.request.secret_headers[..] else { panic!() };
    assert_eq!((bearer.name.as_str(), bearer.secret.name.as_str()), ("authorization", "token"));
    assert_eq!(
        (signature.name.as_str(), signature.before.as_str()),
        ("x-jackfield-signature", "v1=")
    );
    assert_eq!(
        (signature.secret.name.as_str(), signature.secret.form.as_str()),
        ("webhook", "hmac-sha256-hex")
    );
    let signed = [&signature.secret.prefix[..], &signature.secret.suffix].concat();
    assert_eq!(signed, [stamp.as_bytes(), b".", &post.request.body].concat());
    assert_eq!(host.cursor, 1);
}

#[test]
fn only_what_is_wanted_is_posted_and_the_rest_is_acknowledged() {
    let mut host = Host::new(&with(json!({ "events": ["call.*", "agent.state"], "sign": false })));
    for kind in ["call.started", "agent.state", "agent.statement", "queue.changed", "callback"] {
        host.tell("a", kind);
    }
    host.run_until_quiet();
    let kinds: Vec<String> = host.posts.iter().map(|post| post.kind()).collect();
    assert_eq!(kinds, ["call.started", "agent.state"]);
    assert!(host.posts[0].request.secret_headers.is_empty());
    assert_eq!(host.cursor, 5);
    let wishes: Wishes = host.observer().wishes();
    assert_eq!(wishes.facts, [("events".to_owned(), "call.* agent.state".to_owned())]);
}

#[test]
fn a_receiver_that_is_down_for_an_hour_loses_nothing_and_nothing_changes_places() {
    let mut host = Host::new(&with(json!({})));
    let hour = 3600;
    host.replies =
        Box::new(move |at, _| if at < hour { Reply::Nobody } else { Reply::Status(204) });
    for second in 0..hour {
        host.tell(["a", "b", "c"][usize::try_from(second % 3).unwrap()], "call.x");
        host.run_for_secs(1);
    }
    let tries_while_down = host.posts.len();
    host.run_until_quiet();
    host.assert_order();
    assert_eq!(host.delivered.len(), 3600);
    assert_eq!(host.cursor, 3600);
    assert!(host.dead().is_empty());
    // 1, 2, 4 .. 300 s: some twenty questions whether it is back, not thousands.
    assert!((10..60).contains(&tries_while_down), "{tries_while_down}");
    // Back within the longest pause.
    assert!(host.secs() < hour + 300 + 60, "{}", host.secs());
}

#[test]
fn the_pauses_double_and_have_no_dice() {
    let mut host =
        Host::new(&with(json!({ "retry": { "first_secs": 2, "most_secs": 20 }, "in_flight": 1 })));
    host.replies = Box::new(|at, _| if at < 100 { Reply::Status(500) } else { Reply::Status(200) });
    host.tell("a", "call.x");
    host.run_until_quiet();
    let at: Vec<u64> = host.posts.iter().map(|post| post.at_secs).collect();
    assert_eq!(at, [0, 2, 6, 14, 30, 50, 70, 90, 110]);
}

#[test]
fn a_receiver_that_asks_for_time_is_given_it() {
    let mut host = Host::new(&with(json!({})));
    host.replies = Box::new(|at, _| if at < 5 { Reply::Busy(60) } else { Reply::Status(200) });
    host.tell("a", "call.x");
    host.run_until_quiet();
    assert_eq!(host.posts.iter().map(|post| post.at_secs).collect::<Vec<_>>(), [0, 60]);
}

#[test]
fn an_event_the_receiver_refuses_is_a_dead_letter_after_three_tries_and_the_others_go_on() {
    let mut host = Host::new(&with(json!({})));
    host.replies =
        Box::new(|_, seq| if seq == 2 { Reply::Status(422) } else { Reply::Status(200) });
    for call in ["a", "a", "a", "b"] {
        host.tell(call, "call.x");
    }
    host.run_until_quiet();
    assert_eq!(host.tries_of(2), 3);
    assert_eq!(host.delivered.iter().copied().collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(host.cursor, 4);
    let [(2, letter)] = &host.dead()[..] else { panic!("{:?}", host.dead()) };
    assert_eq!(letter["why"], "status 422");
    assert_eq!(letter["tries"], 3);
    assert_eq!(letter["call"], "a");
    let event: Value = serde_json::from_str(letter["event"].as_str().unwrap()).unwrap();
    assert_eq!(event["seq"], 2);
}

#[test]
fn an_event_nobody_takes_for_a_day_is_a_dead_letter() {
    let mut host = Host::new(&with(json!({})));
    host.replies = Box::new(|_, _| Reply::Nobody);
    for call in ["a", "a", "b"] {
        host.tell(call, "call.x");
    }
    host.run_for_secs(24 * 3600 - 1);
    assert_eq!((host.cursor, host.dead().len()), (0, 0));
    // It is looked at again within the longest pause.
    host.run_for_secs(301);
    assert_eq!(host.dead().len(), 3);
    assert_eq!(host.cursor, 3);
    assert!(
        host.dead()
            .iter()
            .all(|(_, letter)| letter["why"].as_str().unwrap().starts_with("no answer"))
    );
}

#[test]
fn an_event_that_makes_the_receiver_fail_does_not_stop_the_others() {
    let mut host = Host::new(&with(json!({ "give_up": { "tries": 6 } })));
    host.replies =
        Box::new(|_, seq| if seq == 1 { Reply::Status(500) } else { Reply::Status(200) });
    for call in ["poison", "a", "b", "poison", "a"] {
        host.tell(call, "call.x");
    }
    host.run_for_secs(5);
    assert!(
        host.delivered.contains(&2) && host.delivered.contains(&3) && host.delivered.contains(&5)
    );
    // The ack waits for it: everything behind it would be lost if it were lost.
    assert_eq!(host.cursor, 0);
    host.run_until_quiet();
    assert_eq!(host.tries_of(1), 6);
    assert_eq!(host.dead().len(), 1);
    assert!(host.delivered.contains(&4));
    assert_eq!(host.cursor, 5);
}

#[test]
fn dead_letters_are_few_and_the_oldest_goes_first() {
    let mut host =
        Host::new(&with(json!({ "dead_letters": 3, "give_up": { "refused_tries": 1 } })));
    host.replies = Box::new(|_, _| Reply::Status(400));
    for _ in 0..10 {
        host.tell("a", "call.x");
    }
    host.run_until_quiet();
    assert_eq!(host.dead().iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [8, 9, 10]);
    assert_eq!(host.cursor, 10);
}

#[test]
fn a_thousand_large_dead_letters_fit_the_store_and_the_steps() {
    let mut host = Host::new(&with(json!({ "dead_letters": 1000 })));
    host.replies = Box::new(|_, _| Reply::Nobody);
    host.padding = 50_000;
    for call in 0..200 {
        host.tell(&format!("c{call}"), "call.x");
    }
    host.padding = 100_000;
    host.tell("too long", "call.x");
    host.run_for_secs(25 * 3600);
    assert_eq!(host.cursor, 201);
    assert!(host.store_bytes() < 1 << 20, "{}", host.store_bytes());
    let dead = host.dead();
    assert!(dead.len() > 10);
    let (_, longest) = dead.last().unwrap();
    assert!(longest["event"].is_null() && longest["too_long"].as_u64().unwrap() > 100_000);
}

#[test]
fn a_crash_repeats_only_what_was_not_known_to_have_arrived() {
    let mut host = Host::new(&with(json!({})));
    // Seven arrive, the eighth never does.
    host.replies =
        Box::new(|_, seq| if seq == 1 { Reply::Status(500) } else { Reply::Status(200) });
    for call in 0..8 {
        host.tell(&format!("c{call}"), "call.x");
    }
    host.run_for_secs(10);
    assert_eq!((host.cursor, host.delivered.len()), (0, 7));
    let tries = host.tries_of(1);
    host.crash();
    host.run_for_secs(10);
    assert!(host.tries_of(1) > tries);
    for seq in 2..=8 {
        assert_eq!(host.tries_of(seq), 1, "{seq}");
    }
    // And goes on counting: the header says which try it is.
    let last = host.posts.iter().rev().find(|post| post.seq() == 1).unwrap();
    let header = last.request.headers.iter().find(|(name, _)| name == "x-jackfield-try").unwrap();
    assert_eq!(header.1, host.tries_of(1).to_string());
}

#[test]
fn a_store_that_fails_or_holds_garbage_costs_duplicates_and_no_event() {
    for garbage in [
        "",
        "null",
        "{\"v\":99}",
        "\u{0}",
        "{\"v\":1,\"done\":[[1,99999999999]],\"tries\":{\"x\":1}}",
    ] {
        let mut host = Host::new(&with(json!({})));
        host.store.insert("state".into(), garbage.into());
        host.tell("a", "call.x");
        host.tell("a", "call.x");
        host.run_until_quiet();
        assert_eq!((host.delivered.len(), host.cursor), (2, 2), "{garbage}");
    }
}

#[test]
fn another_journal_after_a_restart_is_told_anew() {
    let mut host = Host::new(&with(json!({})));
    host.replies =
        Box::new(|_, seq| if seq == 3 { Reply::Status(500) } else { Reply::Status(200) });
    for call in ["a", "b", "c", "d"] {
        host.tell(call, "call.x");
    }
    host.run_for_secs(3);
    assert_eq!(host.cursor, 2);
    // The numbers begin at one again: what was event 4 is another event now.
    host.crash();
    host.forget_the_journal();
    host.replies = Box::new(|_, _| Reply::Status(200));
    for call in ["e", "f", "g", "h"] {
        host.tell(call, "call.x");
    }
    host.run_until_quiet();
    assert_eq!(host.delivered.len(), 4);
    assert_eq!(host.cursor, 4);
}

#[test]
fn the_receiver_is_told_of_events_that_are_gone() {
    let mut host = Host::new(&with(json!({})));
    host.lose(17);
    host.run_until_quiet();
    let [post] = &host.posts[..] else { panic!() };
    assert_eq!(post.kind(), "webhook.events-lost");
    let body: Value = serde_json::from_slice(&post.request.body).unwrap();
    assert_eq!(body["up_to"], 17);
    assert_eq!(host.cursor, 17);
}

#[test]
fn absurd_settings_are_refused_and_the_path_is_named() {
    for (settings, part) in [
        (json!({}), "url: is missing"),
        (json!({ "url": "hooks.example.org" }), "url: must begin with https"),
        (json!({ "url": "https://u:p@a/" }), "url: must hold no user"),
        (with(json!({ "events": ["Call Ended"] })), "events: \"Call Ended\" is no type"),
        (with(json!({ "in_flight": 0 })), "in_flight: must be a whole number from 1 to 32"),
        (with(json!({ "timeout_ms": 1 })), "timeout_ms: must be"),
        (
            with(json!({ "headers": { "Authorization": "Bearer x" } })),
            "headers.Authorization: is a secret",
        ),
        (with(json!({ "headers": { "host": "x" } })), "headers.host: is no name"),
        (with(json!({ "headers": { "x y": "x" } })), "headers.x y: is no name"),
        (with(json!({ "headers": { "x": "a\r\nb" } })), "headers.x: must be one line"),
        (
            with(json!({ "headers": { "X-Jackfield-Signature": "x" } })),
            "is written by the plugin itself",
        ),
        (
            with(json!({ "signature_header": "content-type" })),
            "signature_header: \"content-type\" cannot be",
        ),
        (
            with(json!({ "signature_header": "x-jackfield-timestamp" })),
            "timestamp_header: is the same header",
        ),
        (with(json!({ "retry": { "first_secs": 600 } })), "retry.most_secs: is shorter"),
        (with(json!({ "retry": { "jitter": 1 } })), "retry.jitter: is unknown"),
        (with(json!({ "give_up": { "hours": 0 } })), "give_up.hours: must be"),
        (with(json!({ "secret": "x" })), "secret: is unknown here"),
        (json!([]), ": must be a table"),
    ] {
        let said: Vec<String> = Webhook::validate(&settings.to_string())
            .into_iter()
            .map(|problem| format!("{}: {}", problem.path, problem.message))
            .collect();
        assert!(said.join("\n").contains(part), "{settings}: {said:?}");
    }
    assert!(Webhook::validate(&with(json!({})).to_string()).is_empty());
}
