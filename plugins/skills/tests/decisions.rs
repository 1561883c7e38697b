//! Where callers go, by the rules.

use jackfield_sdk::hooks::{
    Answer, Answers, Call, Config, Decision, HttpRequest, Now, Party, Question, Router, Store,
    Target, Treat, Verdict,
};
use jackfield_skills::{Skills, cache};
use serde_json::{Value, json};

fn router(settings: &Value) -> Skills {
    let config = Config::new("vip", settings.to_string());
    Skills::init(config).unwrap_or_else(|error| panic!("{}", error.message))
}

fn from(number: &str) -> Call {
    Call {
        caller: Party { number: number.into(), ..Party::default() },
        caller_e164: if number.starts_with('+') { number.into() } else { String::new() },
        ..Call::default()
    }
}

fn ask(router: &Skills, call: &Call, answers: impl Into<Answers>) -> Decision {
    router
        .route(Now::default(), call, &answers.into())
        .unwrap_or_else(|error| panic!("{}", error.message))
}

fn decide(router: &Skills, call: &Call) -> Decision {
    ask(router, call, Answers::none())
}

fn sent(queue: &str) -> Verdict {
    Verdict::Send(Target::queue(queue))
}

/// The one HTTP request it needs.
fn request(decision: &Decision) -> &HttpRequest {
    match &decision.verdict {
        Verdict::Need(lookups) => match &lookups[..] {
            [lookup] => match &lookup.question {
                Question::Http(request) => request,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

const NOBODY_KEPT: fn() -> Answer = || Answer::new("kept", 404, "");

fn usual() -> Skills {
    router(&json!({
        "lists": { "vip": ["+49 30 123456", "+43*"] },
        "languages": { "prefixes": { "+33*": "fr", "+49*": "de", "+4930*": "berlin" }, "default": "en" },
        "skills": { "sales": { "de": "sales-de", "fr": "sales-fr", "*": "sales" }, "billing": "billing" },
        "rules": [
            { "name": "overflow", "when": { "returned_from": "queue", "outcomes": ["timed-out"] }, "to": "queue:overflow", "raise_priority": 5 },
            { "name": "marked", "when": { "callers": "anonymous" }, "variables": { "NO_NUMBER": "1" }, "go_on": true },
            { "name": "VIP", "when": { "lists": "vip" }, "to": { "to": "queue:vip", "timeout_secs": 60 }, "priority": 10 },
            { "name": "bills", "when": { "dialled": ["600"] }, "skill": "billing", "treatment": "standard", "treatment_facts": { "menu": "none" } },
            { "name": "everybody", "skill": "sales" },
        ],
    }))
}

#[test]
fn a_vip_has_a_queue_and_a_priority_and_the_reason_says_so() {
    for number in ["+4930123456", "+431234"] {
        let decision = decide(&usual(), &from(number));
        assert_eq!(decision.verdict, Verdict::Send(Target::queue("vip").for_secs(60)));
        assert_eq!(decision.patch.priority, Some(10));
        assert_eq!(decision.reason, "rule \"VIP\"");
    }
}

#[test]
fn the_language_decides_which_queue_has_the_skill() {
    for (number, queue, language) in [
        ("+33123", "sales-fr", "fr"),
        ("+49891", "sales-de", "de"),
        ("+4930999", "sales", "berlin"),
        ("+1212", "sales", "en"),
    ] {
        let decision = decide(&usual(), &from(number));
        assert_eq!(decision.verdict, sent(queue), "{number}");
        assert_eq!(decision.patch.language.as_deref(), Some(language), "{number}");
    }
    let call = Call { language: "de".into(), ..from("+33123") };
    assert_eq!(decide(&usual(), &call).verdict, sent("sales-de"));
    let call = Call { language: "fr_CA".into(), ..from("+49891") };
    assert_eq!(decide(&usual(), &call).verdict, sent("sales-fr"));
}

#[test]
fn the_language_may_come_from_the_dialplan_or_the_way_in() {
    let router = router(&json!({
        "languages": { "variable": "LANG", "entries": { "hotline-it": "it" }, "dialled": { "500": "es" }, "default": "en" },
        "rules": [{ "name": "Spanish", "when": { "languages": ["es"] }, "to": "queue:es" },
                  { "name": "Italian", "when": { "languages": "it" }, "to": "queue:it" },
                  { "name": "rest", "to": "queue:rest" }],
    }));
    let call = |entry: &str, dialled: &str, variable: &str| Call {
        entry: entry.into(),
        dialled: dialled.into(),
        variables: vec![("LANG".into(), variable.into())],
        ..Call::default()
    };
    assert_eq!(decide(&router, &call("", "500", "")).verdict, sent("es"));
    assert_eq!(decide(&router, &call("hotline-it", "500", "")).verdict, sent("it"));
    assert_eq!(decide(&router, &call("hotline-it", "500", "es")).verdict, sent("es"));
    // What a channel holds may be anything.
    assert_eq!(decide(&router, &call("", "", "es\r\nX: y")).verdict, sent("rest"));
}

#[test]
fn a_rule_that_goes_on_only_sets_things() {
    let decision = decide(&usual(), &from(""));
    assert_eq!(decision.verdict, sent("sales"));
    assert_eq!(decision.patch.variables, [("NO_NUMBER".to_owned(), "1".to_owned())]);
    assert_eq!(decision.reason, "rule \"marked\", rule \"everybody\"");
}

#[test]
fn a_call_that_comes_back_from_a_full_hour_goes_to_the_overflow_with_more_priority() {
    let call = Call {
        returned_from: "queue".into(),
        outcome: "timed-out".into(),
        attempt: 2,
        priority: Some(10),
        ..from("+4930123456")
    };
    let decision = decide(&usual(), &call);
    assert_eq!(decision.verdict, sent("overflow"));
    assert_eq!(decision.patch.priority, Some(15));
    let call = Call { outcome: "join-empty".into(), ..call };
    assert_eq!(decide(&usual(), &call).reason, "rule \"VIP\"");
}

#[test]
fn a_treatment_may_greet_the_caller_first() {
    let decision = decide(&usual(), &Call { dialled: "600".into(), ..from("+1") });
    let treat = Treat::with("standard").then(Target::queue("billing")).with_fact("menu", "none");
    assert_eq!(decision.verdict, Verdict::Treat(treat));
}

#[test]
fn a_call_no_rule_is_for_passes_and_so_does_a_skill_nobody_has_in_that_language() {
    let router = router(&json!({
        "skills": { "sales": { "de": "sales-de" } },
        "languages": { "default": "en" },
        "rules": [{ "name": "sales", "when": { "dialled": "500" }, "skill": "sales" }],
    }));
    assert_eq!(decide(&router, &from("+1")).reason, "no rule is for this call");
    let decision = decide(&router, &Call { dialled: "500".into(), ..from("+1") });
    assert_eq!(decision.verdict, Verdict::Pass);
    assert_eq!(
        decision.reason,
        "rule \"sales\", but no queue of skill \"sales\" is for language \"en\""
    );
}

fn with_crm(cache_secs: u64) -> Skills {
    router(&json!({
        "crm": { "url": "https://crm.example.org/c/{e164}", "auth": "bearer", "cache_secs": cache_secs,
                 "fields": { "tier": "/tier", "tags": "/tags", "language": "/lang" } },
        "languages": { "field": "language", "default": "en" },
        "skills": { "sales": { "de": "sales-de", "*": "sales" } },
        "rules": [
            { "name": "test line", "when": { "dialled": "999" }, "to": "queue:test" },
            { "name": "gold", "when": { "fields": { "tier": ["gold", "platinum"] } }, "to": "queue:vip", "priority": 9 },
            { "name": "debtor", "when": { "fields": { "tags": "debtor" } }, "to": "queue:billing" },
            { "name": "everybody", "skill": "sales" },
        ],
    }))
}

#[test]
fn the_crm_is_asked_only_when_a_rule_needs_it() {
    let router = with_crm(0);
    let decision = decide(&router, &Call { dialled: "999".into(), ..from("+4930") });
    assert_eq!(decision.verdict, sent("test"));
    assert_eq!(decision.reason, "rule \"test line\"");
    let decision = decide(&router, &from("+4930"));
    let asked = request(&decision);
    assert_eq!(asked.url, "https://crm.example.org/c/%2B4930");
    assert_eq!(asked.secret_headers[0].secret.name, "crm");
    // A caller without a number: nothing to ask for.
    let decision = decide(&router, &from("anonymous"));
    assert_eq!(decision.verdict, sent("sales"));
    assert_eq!(decision.reason, "rule \"everybody\" (CRM not asked: the caller shows no number)");
}

#[test]
fn what_the_crm_says_decides_and_is_told_on() {
    let router = with_crm(0);
    let answer = |body: &str| [Answer::new("crm", 200, body)];
    let decision = ask(&router, &from("+4930"), answer(r#"{"tier":"gold","lang":"de"}"#));
    assert_eq!((decision.verdict, decision.patch.priority), (sent("vip"), Some(9)));
    assert_eq!(decision.reason, "rule \"gold\" (CRM)");
    assert_eq!(decision.patch.language.as_deref(), Some("de"));
    assert!(decision.patch.facts.contains(&("crm-tier".into(), "gold".into())));
    let decision = ask(&router, &from("+4930"), answer(r#"{"tags":["late","debtor"]}"#));
    assert_eq!(decision.verdict, sent("billing"));
    let decision = ask(&router, &from("+4930"), answer(r#"{"lang":"de"}"#));
    assert_eq!(decision.verdict, sent("sales-de"));
    let decision = ask(&router, &from("+4930"), [Answer::new("crm", 404, "")]);
    assert_eq!(decision.verdict, sent("sales"));
    assert_eq!(decision.reason, "rule \"everybody\" (the CRM does not know the caller)");
}

#[test]
fn without_the_crm_the_rules_go_on_and_say_so() {
    let router = with_crm(0);
    for (answer, why) in [
        (
            Answer::failed("crm", "no-connection", "connection refused"),
            "no answer: connection refused",
        ),
        (Answer::new("crm", 500, "oops"), "status 500"),
        (Answer::new("crm", 200, "<html>"), "its answer is no JSON"),
        (
            Answer::new("crm", 200, vec![b'{'; 1 << 20]),
            "its answer is 1048576 bytes, more than 64 KiB",
        ),
        (Answer::new("crm", 200, vec![b'['; 60_000]), "its answer is nested deeper than 32"),
        (Answer::new("crm", 302, ""), "status 302"),
        (Answer::new("crm", 200, ""), "its answer is no JSON"),
    ] {
        let decision = ask(&router, &from("+4930"), [answer]);
        assert_eq!(decision.verdict, sent("sales"));
        assert_eq!(decision.reason, format!("rule \"everybody\" (without the CRM: {why})"));
        assert!(decision.patch.facts.contains(&("crm".into(), "failed".into())));
        assert!(decision.stores.is_empty());
    }
    // What it says in the language's place may be no language.
    let decision = ask(&router, &from("+4930"), [Answer::new("crm", 200, r#"{"lang":"de,en\n"}"#)]);
    assert_eq!(decision.patch.language.as_deref(), Some("en"));
}

#[test]
fn an_answer_is_kept_and_the_next_call_needs_none() {
    let router = with_crm(600);
    let call = from("+4930");
    let Verdict::Need(lookups) = decide(&router, &call).verdict else { panic!() };
    assert_eq!(lookups[0].question, Question::Stored(cache::key("+4930")));
    request(&ask(&router, &call, [NOBODY_KEPT()]));
    let body = r#"{"tier":"gold"}"#;
    let decision = ask(&router, &call, [NOBODY_KEPT(), Answer::new("crm", 200, body)]);
    let [Store { value: Some(kept), .. }] = &decision.stores[..] else { panic!("{decision:?}") };
    let kept = || Answer::new("kept", 200, kept.clone());
    let again = ask(&router, &call, [kept()]);
    assert_eq!(again.verdict, sent("vip"));
    assert_eq!(again.reason, "rule \"gold\" (CRM, kept)");
    assert!(again.stores.is_empty());
    // Another caller in the same slot, a value that is old, a store that fails: the CRM is asked.
    request(&ask(&router, &from("+4931"), [kept()]));
    let now = Now { wall_ns: Now::default().wall_ns + 600_000_000_000, ..Now::default() };
    request(&router.route(now, &call, &[kept()].into()).unwrap());
    request(&ask(&router, &call, [Answer::failed("kept", "store", "the disk is full")]));
    request(&ask(&router, &call, [Answer::new("kept", 200, "\u{0}garbage")]));
}

#[test]
fn hostile_callers_get_a_decision_like_any_other() {
    for text in
        ["", "\r\nAction: Originate\r\n", "é𝄞\u{0}\u{202e}", &"+".repeat(100_000), "*", "anonymous"]
    {
        let call = Call {
            entry: text.into(),
            dialled: text.into(),
            caller: Party { number: text.into(), name: text.into(), presentation: text.into() },
            caller_e164: text.into(),
            outcome: text.into(),
            language: String::new(),
            variables: vec![(text.into(), text.into())],
            facts: vec![(text.into(), text.into())],
            attempt: u32::MAX,
            age_ms: u64::MAX,
            priority: Some(i32::MAX),
            ..Call::default()
        };
        let decision = decide(&usual(), &call);
        assert!(!matches!(decision.verdict, Verdict::Need(_)));
        assert!(decision.reason.len() < 200 && !decision.reason.contains(char::is_control));
        if let Verdict::Need(_) = decide(&with_crm(600), &call).verdict {
            ask(
                &with_crm(600),
                &call,
                [Answer::failed("kept", "store", text), Answer::failed("crm", "no-answer", text)],
            );
        }
    }
}

#[test]
fn absurd_settings_are_refused_and_the_path_is_named() {
    let said = |settings: &Value| {
        Skills::validate(&settings.to_string())
            .into_iter()
            .map(|problem| format!("{}: {}", problem.path, problem.message))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let rule = |rule: Value| json!({ "rules": [rule], "skills": { "s": "q" } });
    for (settings, part) in [
        (json!({}), "rules: has no rule"),
        (json!({ "rules": [] }), "rules: has no rule"),
        (rule(json!({ "to": "queue:a" })), "rules[0].name: is missing"),
        (
            rule(json!({ "name": "x", "to": "queue:a", "skill": "s" })),
            "rules[0].skill: does not go with `to`",
        ),
        (
            rule(json!({ "name": "x", "skill": "t" })),
            "rules[0].skill: \"t\" is not among `skills`; there are: s",
        ),
        (rule(json!({ "name": "x", "to": "queue:a&b" })), "rules[0].to: \"queue:a&b\" has a name"),
        (
            rule(json!({ "name": "x", "to": "queue:a", "go_on": true })),
            "rules[0].go_on: does not go with",
        ),
        (
            rule(json!({ "name": "x", "treatment": "t" })),
            "rules[0].treatment: needs `to` or `skill`",
        ),
        (
            rule(json!({ "name": "x", "to": "queue:a", "timeout_secs": 5 })),
            "rules[0].timeout_secs: is for `skill`",
        ),
        (
            rule(json!({ "name": "x", "when": { "lists": "vip" } })),
            "rules[0].when.lists: \"vip\" is not among `lists`",
        ),
        (
            rule(json!({ "name": "x", "when": { "fields": { "tier": "1" } } })),
            "rules[0].when.fields: \"tier\" is no field",
        ),
        (
            rule(json!({ "name": "x", "when": { "outcomes": "bored" } })),
            "rules[0].when.outcomes: \"bored\" is no outcome",
        ),
        (
            rule(json!({ "name": "x", "when": { "callers": ["call me"] } })),
            "rules[0].when.callers[0]: \"call me\" is no number",
        ),
        (
            rule(json!({ "name": "x", "when": { "nunber": "1" } })),
            "rules[0].when.nunber: is unknown here",
        ),
        (
            rule(json!({ "name": "x", "variables": { "A B": "1" } })),
            "rules[0].variables: \"A B\" is no channel variable",
        ),
        (
            rule(json!({ "name": "x", "language": "deutsch bitte" })),
            "rules[0].language: \"deutsch bitte\" is no language",
        ),
        (rule(json!({ "name": "x", "priority": 1e9 })), "rules[0].priority: must be"),
        (
            json!({ "rules": [{ "name": "x" }], "lists": { "vip": ["1", "x"] } }),
            "lists.vip[1]: \"x\" is no number",
        ),
        (
            json!({ "rules": [{ "name": "x" }], "skills": { "s": { "de": "a,b" } } }),
            "skills.s.de: \"a,b\" is no name",
        ),
        (
            json!({ "rules": [{ "name": "x" }], "languages": { "field": "l" } }),
            "languages.field: names no field",
        ),
        (
            json!({ "rules": [{ "name": "x" }], "languages": { "prefixes": { "abc": "de" } } }),
            "languages.prefixes.abc: \"abc\" is no number",
        ),
        (json!({ "rules": [{ "name": "x" }], "crm": {} }), "crm.url: is missing"),
        (
            json!({ "rules": [{ "name": "x" }], "crm": { "url": "https://a/", "secret": "s3cret", "fields": { "a": "/a" } } }),
            "crm.secret: is not written here",
        ),
    ] {
        assert!(said(&settings).contains(part), "{settings}: {}", said(&settings));
    }
    let many: Vec<Value> = (0..201).map(|_| json!({ "name": "x" })).collect();
    assert!(said(&json!({ "rules": many })).contains("rules: has 201 entries; at most 200"));
}

#[test]
fn ten_thousand_vips_are_no_reason_to_be_late() {
    let vips: Vec<String> = (0..10_000).map(|n| format!("+4930{n:06}")).collect();
    let rules: Vec<Value> = (0..200)
        .map(|n| json!({ "name": format!("r{n}"), "when": { "lists": "vip", "dialled": "77*" }, "to": "queue:a" }))
        .collect();
    let router = router(&json!({ "lists": { "vip": vips }, "rules": rules }));
    let call = Call { dialled: "779".into(), ..from("+4931") };
    let started = std::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(decide(&router, &call).verdict, Verdict::Pass);
    }
    let each = started.elapsed() / 100;
    assert!(each.as_micros() < 1000, "{each:?}");
}
