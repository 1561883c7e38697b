//! Answers that break a rule, each named; and that what keeps the rules comes through.

use std::time::Duration;

use calls::Timestamp;
use plugin_runtime::{
    Part, SecretForm,
    hooks::{
        Attributes, Call, Cause, Collect, Event, HookFailure, Lookup, Observer, ObserverAction,
        ObserverInput, Question, QueueTarget, Router, Say, SayKind, Step, Store, Target, Treat,
        Treatment, Verdict, Waiting,
    },
};
use serde_json::{Value, json};

use super::{answer, config, observer, router, treatment};

/// The nonsense that each of these decisions is, by one plugin.
fn check_decisions(cases: &[(Value, &str)]) {
    let decisions: Vec<Value> = cases.iter().map(|(decision, _)| decision.clone()).collect();
    let mut router = Router::start(&router(&decisions), config()).unwrap();
    for (number, (decision, expected)) in cases.iter().enumerate() {
        let said = router.route(answer(number as u64), &Call::default(), &[]);
        let Err(HookFailure::Nonsense(text)) = said else { panic!("{decision}: {said:?}") };
        assert!(text.contains(expected), "{decision}: {text}");
    }
    assert_eq!(router.usage().restarts, 0, "a wrong answer costs no instance");
}

fn check_plans(cases: &[(Value, &str)]) {
    let plans: Vec<Value> = cases.iter().map(|(plan, _)| plan.clone()).collect();
    let mut treatment = Treatment::start(&treatment(&plans), config()).unwrap();
    for (number, (plan, expected)) in cases.iter().enumerate() {
        let now = answer(number as u64);
        let said = treatment.next(now, &Waiting::default(), b"", &Cause::Started, &[]);
        let Err(HookFailure::Nonsense(text)) = said else { panic!("{plan}: {said:?}") };
        assert!(text.contains(expected), "{plan}: {text}");
    }
}

fn send(target: Value) -> Value {
    json!({ "verdict": { "send": target } })
}

fn need(lookups: Value) -> Value {
    json!({ "verdict": { "need": lookups } })
}

fn get(id: &str) -> Value {
    json!({ "id": id, "question": { "http": { "method": "GET", "url": "https://crm.example.org/x" } } })
}

fn asking(change: impl FnOnce(&mut Value)) -> Value {
    let mut lookup = get("crm");
    change(&mut lookup["question"]["http"]);
    need(json!([lookup]))
}

#[test]
fn targets_that_no_pbx_may_be_told_are_named() {
    check_decisions(&[
        (send(json!({ "queue": { "name": "a&b" } })), "the queue `a&b`; `&` cannot be"),
        (send(json!({ "queue": { "name": "" } })), "a queue with an empty name"),
        (send(json!({ "queue": { "name": "x".repeat(10_000) } })), "of 10000 bytes; at most 80"),
        (
            send(json!({ "queue": { "name": "vip", "timeout-secs": 4_294_967_295_u32 } })),
            "4294967295 s in a queue",
        ),
        (send(json!({ "queue": { "name": "vip", "priority": -1 } })), "the priority -1"),
        (send(json!({ "extension": { "number": "1001&1002" } })), "the extension `1001&1002`"),
        (send(json!({ "extension": { "number": "1001,30,t" } })), "`,` cannot be"),
        (send(json!({ "extension": { "number": "10\r\n01" } })), "`10\\r\\n01`; `\\r` cannot be"),
        (
            send(json!({ "dialplan": { "context": "a b", "extension": "s", "priority": 1 } })),
            "the context `a b`",
        ),
        (
            send(json!({ "dialplan": { "context": "in", "extension": "s", "priority": 0 } })),
            "the dialplan priority 0",
        ),
        (send(json!({ "hang-up": { "q850": 0 } })), "the cause 0"),
        (send(json!({ "hang-up": { "q850": 128 } })), "the cause 128"),
        (
            send(json!({ "other": { "kind": "teleport" } })),
            "the target `teleport`, which this host does not know",
        ),
        (json!({ "verdict": { "other": { "kind": "dream" } } }), "the verdict `dream`"),
        (json!({ "verdict": { "treat": { "treatment": "a/b" } } }), "the treatment `a/b`"),
        (
            json!({ "verdict": { "treat": { "then": { "queue": { "name": "a|b" } } } } }),
            "the queue `a|b`",
        ),
    ]);
}

#[test]
fn patches_and_stores_have_their_bounds() {
    let many: Vec<Value> = (0..10_000).map(|at| json!([format!("V{at}"), "x"])).collect();
    let stores: Vec<Value> = (0..65).map(|at| json!({ "key": format!("k{at}") })).collect();
    let variable = |name: &str, value: &str| json!({ "patch": { "variables": [[name, value]] } });
    check_decisions(&[
        (json!({ "patch": { "variables": many } }), "10000 channel variables; at most 31"),
        (json!({ "patch": { "facts": many } }), "10000 facts; at most 64"),
        (variable("A B", "x"), "the channel variable `A B`"),
        (variable("JACKFIELD_GOTO", "x"), "the host's own"),
        (variable("A", "x\ny"), "the value of the channel variable `A`"),
        (json!({ "patch": { "language": "d,e" } }), "the language `d,e`"),
        (json!({ "patch": { "language": "" } }), "the language ``"),
        (json!({ "patch": { "facts": [["\u{1b}", "x"]] } }), "a fact called `\\u{1b}`"),
        (json!({ "patch": { "facts": [["jackfield.position", "1"]] } }), "are the host's"),
        (json!({ "stores": stores }), "65 values to store; at most 64"),
        (json!({ "stores": [{ "key": "" }] }), "the key ``"),
        (json!({ "stores": [{ "key": "k", "value": "x".repeat(65_537) }] }), "65537 bytes for `k`"),
    ]);
}

#[test]
fn lookups_are_few_and_well_formed() {
    let five: Vec<Value> = (0..5).map(|at| get(&at.to_string())).collect();
    check_decisions(&[
        (need(json!(five)), "5 lookups; at most 4"),
        (need(json!([])), "names none"),
        (need(json!([get("crm"), get("crm")])), "two lookups with the id `crm`"),
        (need(json!([get("")])), "the id ``"),
        (need(json!([{ "id": "k", "question": { "stored": "" } }])), "the key ``"),
        (
            need(json!([{ "id": "k", "question": { "other": { "kind": "dns" } } }])),
            "the question `dns`",
        ),
        (asking(|http| http["method"] = "BREW".into()), "the method `BREW`"),
        (asking(|http| http["url"] = "ftp://x/".into()), "use http or https"),
        (asking(|http| http["url"] = "https://u:hunter2@x/".into()), "no user or password"),
        (asking(|http| http["url"] = "https://x/ y".into()), "without spaces"),
        (asking(|http| http["body"] = "x".repeat(1_048_577).into()), "a body of 1048577 bytes"),
        (asking(|http| http["headers"] = json!([["a b", "x"]])), "a header called `a b`"),
        (asking(|http| http["headers"] = json!([["x", "a\r\nb"]])), "a header's value"),
        (
            asking(|http| {
                http["secret-headers"] =
                    json!([{ "name": "x", "secret": { "name": "crm", "form": "md5-hex" } }])
            }),
            "the secret form `md5-hex`",
        ),
    ]);
    let said = router(&[asking(|http| http["url"] = "https://u:hunter2@x/".into())]);
    let mut router = Router::start(&said, config()).unwrap();
    let failure = router.route(answer(0), &Call::default(), &[]).unwrap_err();
    assert!(!failure.to_string().contains("hunter2"), "{failure}");
}

#[test]
fn plans_have_their_bounds() {
    let step = |step: Value| json!({ "steps": [step] });
    let many: Vec<Value> = (0..65).map(|_| json!("silence")).collect();
    check_plans(&[
        (json!({ "state": "x".repeat(16_385) }), "a state of 16385 bytes; at most 16384"),
        (json!({ "steps": many }), "65 steps; at most 64"),
        (json!({ "keys": "1x" }), "the keys `1x`"),
        (json!({ "wake-ms": 3_600_001 }), "a wait of 3600001 ms"),
        (step(json!({ "wait": 4_294_967_295_u32 })), "a wait of 4294967295 ms"),
        (step(json!({ "play": [] })), "plays no recording"),
        (step(json!({ "play": ["/etc/passwd"] })), "the recording `/etc/passwd`"),
        (step(json!({ "play": ["a&b"] })), "the recording `a&b`"),
        (
            step(json!({ "say": { "kind": "number", "value": "12x" } })),
            "`12x` to be said as number",
        ),
        (step(json!({ "say": { "kind": "poem", "value": "1" } })), "as `poem`"),
        (step(json!({ "music": "a,b" })), "the music class `a,b`"),
        (step(json!({ "collect": { "most": 0 } })), "0 keys to gather"),
        (step(json!({ "collect": { "most": 33 } })), "33 keys to gather"),
        (step(json!({ "collect": { "most": 1, "end-keys": "##" } })), "the end keys `##`"),
        (step(json!({ "hand-over": { "extension": { "number": "1&2" } } })), "the extension `1&2`"),
        (step(json!({ "other": { "kind": "sing" } })), "the step `sing`"),
        (
            json!({ "lookups": (0..5).map(|at| get(&at.to_string())).collect::<Vec<_>>() }),
            "5 lookups",
        ),
    ]);
}

#[test]
fn observers_acknowledge_what_they_saw_and_ask_for_so_much() {
    let lookups: Vec<Value> = (0..65).map(|at| json!({ "lookup": get(&at.to_string()) })).collect();
    let many: Vec<Value> = (0..5000).map(|_| json!({ "ack": 1 })).collect();
    let steps = [
        json!([{ "ack": 8 }]),
        json!(lookups),
        json!(many),
        json!([{ "other": { "kind": "dial" } }]),
        json!([{ "ack": 7 }, { "store": { "key": "k", "value": "v" } }, { "wake-at": 0 }]),
    ];
    let mut observer = Observer::start(&observer(&steps), config()).unwrap();
    let seven = Event {
        seq: 7,
        kind: "call.ended".into(),
        at: Timestamp(1),
        call: "c1".into(),
        json: "{}".into(),
    };
    let mut nonsense =
        |number| match observer.step(answer(number), &[ObserverInput::Event(seven.clone())]) {
            Err(HookFailure::Nonsense(text)) => text,
            other => panic!("{other:?}"),
        };
    assert_eq!(nonsense(0), "an ack of event 8, but it was told of none beyond 7");
    assert_eq!(nonsense(1), "65 lookups in one step; at most 64");
    assert_eq!(nonsense(2), "5000 actions in one step; at most 4096");
    assert_eq!(nonsense(3), "the action `dial`, which this host does not know");
    let actions = observer.step(answer(4), &[]).unwrap();
    let store = Store { key: "k".into(), value: Some(b"v".to_vec()), facts: vec![] };
    let expected =
        [ObserverAction::Ack(7), ObserverAction::Store(store), ObserverAction::WakeAt(None)];
    assert_eq!(actions, expected);
}

#[test]
fn a_decision_that_keeps_the_rules_comes_through_whole() {
    let pairs = |list: &[(&str, &str)]| -> Attributes {
        list.iter().map(|&(name, value)| (name.into(), value.into())).collect()
    };
    let treat = json!({
        "verdict": { "treat": {
            "treatment": "standard",
            "then": { "queue": { "name": "vip", "priority": 5, "timeout-secs": 60, "facts": [["why", "gold"]] } },
            "facts": [["message", "welcome"]],
        } },
        "patch": { "priority": 10, "language": "de", "variables": [["TIER", "gold"]], "facts": [["tier", "gold"]] },
        "stores": [{ "key": "last", "value": "1" }, { "key": "old", "value": null }],
        "reason": format!("a VIP\u{7}{}", "!".repeat(1000)),
    });
    let lookup = need(json!([
        { "id": "crm", "question": { "http": {
            "method": "POST", "url": "https://crm.example.org:8443/x?y=1", "headers": [["accept", "application/json"]],
            "secret-headers": [{ "name": "authorization", "before": "Bearer ",
                                 "secret": { "name": "crm", "form": "plain" } }],
            "body": "{}", "timeout-ms": 800 } } },
        { "id": "seen", "question": { "stored": "seen" } },
    ]));
    let mut router = Router::start(&router(&[treat, lookup]), config()).unwrap();
    let decision = router.route(answer(0), &Call::default(), &[]).unwrap();
    let then = QueueTarget {
        name: "vip".into(),
        priority: Some(5),
        timeout: Some(Duration::from_secs(60)),
        facts: pairs(&[("why", "gold")]),
    };
    let expected = Treat {
        treatment: "standard".into(),
        then: Some(Target::Queue(then)),
        facts: pairs(&[("message", "welcome")]),
    };
    assert_eq!(decision.verdict, Verdict::Treat(expected));
    assert_eq!(
        (decision.patch.priority, decision.patch.language.as_deref()),
        (Some(10), Some("de"))
    );
    assert_eq!(decision.patch.variables, pairs(&[("TIER", "gold")]));
    assert_eq!(decision.patch.facts, pairs(&[("tier", "gold")]));
    assert_eq!(decision.stores[0].value.as_deref(), Some(&b"1"[..]));
    assert_eq!(decision.stores[1], Store { key: "old".into(), value: None, facts: vec![] });
    assert!(decision.reason.starts_with("a VIP !!!") && decision.reason.len() == 500);

    let Verdict::Need(lookups) = router.route(answer(1), &Call::default(), &[]).unwrap().verdict
    else {
        panic!("no need")
    };
    assert_eq!(
        lookups[1],
        Lookup { id: "seen".into(), question: Question::Stored("seen".into()), facts: vec![] }
    );
    let Question::Http(request) = &lookups[0].question else { panic!("no request") };
    assert_eq!((request.method.as_str(), request.body.as_slice()), ("POST", &b"{}"[..]));
    assert_eq!(request.timeout, Some(Duration::from_millis(800)));
    let secret = &request.secret_headers[0];
    assert_eq!((secret.name.as_str(), secret.before.as_str()), ("authorization", "Bearer "));
    let part = Part::Secret {
        name: "crm".into(),
        form: SecretForm::Plain,
        prefix: vec![],
        suffix: vec![],
    };
    assert_eq!(secret.secret, part);
}

#[test]
fn a_plan_that_keeps_the_rules_comes_through_whole() {
    let plan = json!({
        "state": "s", "keys": "12*", "wake-ms": 1, "reason": "first",
        "steps": ["answer", { "play": ["queue-thankyou"] }, { "say": { "kind": "digits", "value": "12*" } },
                  { "music": "" }, "silence", { "collect": { "most": 1, "timeout-ms": 5000, "between-ms": 3000, "end-keys": "#" } },
                  { "wait": 250 }, { "hand-over": null }],
    });
    let mut treatment = Treatment::start(&treatment(&[plan]), config()).unwrap();
    let plan =
        treatment.next(answer(0), &Waiting::default(), b"before", &Cause::Key('*'), &[]).unwrap();
    assert_eq!((plan.state.as_slice(), plan.keys.as_str()), (&b"s"[..], "12*"));
    assert_eq!(plan.wake, Some(Duration::from_millis(250)), "no plan spins");
    let collect = Collect {
        most: 1,
        timeout: Duration::from_secs(5),
        between: Duration::from_secs(3),
        end_keys: "#".into(),
        facts: vec![],
    };
    let expected = [
        Step::Answer,
        Step::Play(vec!["queue-thankyou".into()]),
        Step::Say(Say { kind: SayKind::Digits, value: "12*".into() }),
        Step::Music(String::new()),
        Step::Silence,
        Step::Collect(collect),
        Step::Wait(Duration::from_millis(250)),
        Step::HandOver(None),
    ];
    assert_eq!(plan.steps.as_deref(), Some(&expected[..]));
}
