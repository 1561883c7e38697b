use serde_json::{Value, json};

use super::world::{World, request};
use crate::tokens::Scope;

#[tokio::test]
async fn everything_of_a_pbx_can_be_read() {
    let world = World::busy().await;
    let token = world.token(Scope::Read);
    for path in ["agents", "extensions", "queues", "calls", "connectors", "plugins"] {
        let (status, answer) = world.ask("GET", &format!("/v1/{path}"), &token, None).await;
        assert_eq!(status, 200, "{path}: {answer}");
        assert!(answer["as_of"].is_u64() && answer["items"].is_array(), "{path}: {answer}");
    }
    let (_, queues) = world.ask("GET", "/v1/queues?connector=hq", &token, None).await;
    let queue = &queues["items"][0];
    assert_eq!(queue["name"], "support");
    assert_eq!(queue["members"][0]["interface"], "PJSIP/1001");
    assert_eq!(queue["callers"][0]["position"], 1);
    assert_eq!(queue["figures"]["time_zone"], "Europe/Berlin");
    let id = queue["callers"][0]["call"].as_str().unwrap();
    let (status, call) = world.ask("GET", &format!("/v1/calls/{id}"), &token, None).await;
    assert_eq!((status, &call["status"]), (200, &json!("running")));
    assert_eq!(call["legs"][0]["device"], "PJSIP/trunk");
    assert_eq!(call["events"][0]["call_seq"], 1);
}

#[tokio::test]
async fn a_calls_way_is_explained() {
    let world = World::busy().await;
    let token = world.token(Scope::Read);
    let (_, queues) = world.ask("GET", "/v1/queues?connector=hq", &token, None).await;
    let caller = &queues["items"][0]["callers"][0];
    let id = caller["call"].as_str().unwrap().to_owned();
    let (_, call) = world.ask("GET", &format!("/v1/calls/{id}"), &token, None).await;
    let native = call["legs"][0]["native"].as_str().unwrap();
    let word = calls::event::HookWord {
        hook: calls::event::Hook::Router,
        instance: "vip".into(),
        plugin: "skills 0.1.0".into(),
        attempt: 1,
        outcome: calls::event::HookOutcome::Decided,
        verdict: "queue:vip".into(),
        reason: "on the list".into(),
        facts: vec![("caller".into(), "+49301234567".into())],
        took_us: 900,
    };
    {
        let mut core = world.core.lock().unwrap();
        core.facts(
            "hq",
            vec![calls::Fact::LegOffered {
                leg: native.into(),
                entry: "sales".into(),
                dialled: "500".into(),
                returned_from: String::new(),
                outcome: String::new(),
                facts: Vec::new(),
            }],
        );
        let now = core.now();
        let call = id.parse().unwrap();
        let refusal = calls::event::HookWord { verdict: "hang-up:21".into(), ..word.clone() };
        for word in [word, refusal] {
            core.board.handle(calls::Input::Decided { call, leg: None, word }, now);
        }
        let released =
            calls::Fact::LegReleased { leg: native.into(), reason: "handed-over".into() };
        core.facts("hq", vec![released]);
    }
    world.settle().await;
    let (status, told) = world.ask("GET", &format!("/v1/calls/{id}/explain"), &token, None).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["caller"], call["caller"], "as the call itself shows them");
    let steps = told["steps"].as_array().unwrap();
    let asked = steps.iter().find(|step| step["what"] == "asked").unwrap();
    assert_eq!(asked["verdict"], "where to with 500, through sales?");
    let decided = steps.iter().find(|step| step["what"] == "decided").unwrap();
    let words = ["who", "plugin", "outcome", "verdict", "reason"].map(|field| &decided[field]);
    assert_eq!(words, ["vip", "skills 0.1.0", "decided", "queue:vip", "on the list"]);
    assert_eq!(decided["facts"][0]["value"], "+49301234567");
    let refused = steps.iter().find(|step| {
        step["call_seq"].as_u64() > decided["call_seq"].as_u64() && step["what"] != "decided"
    });
    let words = ["what", "who", "outcome"].map(|field| &refused.unwrap()[field]);
    assert_eq!(words, ["refused", "host", "21"]);
    let (status, _) = world.ask("GET", "/v1/calls/call-ffff/explain", &token, None).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn nobody_reads_connected_before_the_first_picture_can_be_read() {
    let world = World::new();
    let token = world.token(Scope::Read);
    let (board, id) = (&world.state.status, "hq".into());
    crate::connectors::announce_idle(
        "hq",
        None,
        false,
        "",
        None,
        board,
        crate::clock::Clock::start(),
    );
    board.update(&id, |status| status.word = crate::status::StatusWord::Connected);
    world.core.lock().unwrap().connect();
    let path = "/v1/connectors/hq";
    let (_, before) = world.ask("GET", path, &token, None).await;
    assert_eq!((&before["status"], &before["resynced_at"]), (&json!("connecting"), &Value::Null));
    world.settle().await;
    let (_, after) = world.ask("GET", path, &token, None).await;
    assert_eq!(after["status"], "connected");
    assert!(after["resynced_at"].is_string(), "{after}");
}

#[tokio::test]
async fn pages_hold_everything_once() {
    let world = World::busy().await;
    let token = world.token(Scope::Read);
    let mut path = "/v1/extensions?limit=1".to_owned();
    let mut seen = Vec::new();
    loop {
        let (status, page) = world.ask("GET", &path, &token, None).await;
        assert_eq!(status, 200);
        seen.push(page["items"][0]["id"].as_str().unwrap().to_owned());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/extensions?limit=1&cursor={next}");
    }
    let (_, all) = world.ask("GET", "/v1/extensions", &token, None).await;
    let all: Vec<_> =
        all["items"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(seen, all);
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn a_name_that_two_connectors_have_is_a_conflict() {
    let world = World::busy().await;
    let token = world.token(Scope::Read);
    let (status, problem) = world.ask("GET", "/v1/queues/support", &token, None).await;
    assert_eq!(status, 409);
    assert!(problem["fix"].as_str().unwrap().contains("?connector="), "{problem}");
    let (status, queue) = world.ask("GET", "/v1/queues/support?connector=hq", &token, None).await;
    assert_eq!((status, &queue["connector"]), (200, &json!("hq")));
    let (status, _) = world.ask("GET", "/v1/extensions/1001?connector=branch", &token, None).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn an_agent_is_made_paused_and_forgotten() {
    let world = World::busy().await;
    let token = world.token(Scope::Admin);
    let anna = r#"{"name":"Anna","external":{"rocketchat_user_id":"u1"},"devices":[{"connector":"hq","extension":"1001"}]}"#;
    let (status, agent) = world.ask("PUT", "/v1/agents/anna", &token, Some(anna)).await;
    assert_eq!((status, &agent["status"]), (200, &json!("available")), "{agent}");
    assert_eq!(agent["seats"][0]["queue_name"], "support");

    let mut pause = request("POST", "/v1/agents/anna/pause", &token, Some(r#"{"reason":"lunch"}"#));
    pause.headers_mut().insert("prefer", "wait=5".parse().unwrap());
    pause.headers_mut().insert("idempotency-key", "k1".parse().unwrap());
    let (parts, body) = world.send(pause).await;
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(parts.status, 200, "{answer}");
    assert_eq!(parts.headers["preference-applied"], "wait");
    assert_eq!(answer["commands"][0]["status"], "done");
    assert_eq!(answer["commands"][0]["actor"]["name"], "admin-0");
    let id = answer["command_ids"][0].as_str().unwrap();
    let (status, command) = world.ask("GET", &format!("/v1/commands/{id}"), &token, None).await;
    assert_eq!((status, &command["arguments"]["reason"]), (200, &json!("lunch")), "{command}");

    let mut again = request("POST", "/v1/agents/anna/pause", &token, Some(r#"{"reason":"lunch"}"#));
    again.headers_mut().insert("idempotency-key", "k1".parse().unwrap());
    let (_, body) = world.send(again).await;
    let again: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&again["repeated"], again["command_ids"][0].as_str()), (&json!(true), Some(id)));

    let (status, _) = world.ask("DELETE", "/v1/agents/anna", &token, None).await;
    assert_eq!(status, 204);
    let (status, _) = world.ask("GET", "/v1/agents/anna", &token, None).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_device_has_one_agent() {
    let world = World::busy().await;
    let token = world.token(Scope::Admin);
    let body = r#"{"name":"A","devices":[{"connector":"hq","extension":"1001"}]}"#;
    assert_eq!(world.ask("PUT", "/v1/agents/a", &token, Some(body)).await.0, 200);
    let (status, problem) = world.ask("PUT", "/v1/agents/b", &token, Some(body)).await;
    assert_eq!(status, 409, "{problem}");
}

#[tokio::test]
async fn members_are_added_paused_and_removed() {
    let world = World::busy().await;
    let token = world.token(Scope::Control);
    let path = "/v1/queues/support/members";
    let steps = [
        ("POST", format!("{path}?connector=hq"), Some(r#"{"interface":"PJSIP/1002","penalty":3}"#)),
        ("POST", format!("{path}/pause?connector=hq"), Some(r#"{"interface":"PJSIP/1001"}"#)),
        ("POST", format!("{path}/unpause?connector=hq"), Some(r#"{"interface":"PJSIP/1001"}"#)),
        ("DELETE", format!("{path}?connector=hq&interface=PJSIP/1001"), None),
    ];
    for (method, path, body) in steps {
        let (status, answer) = world.ask(method, &path, &token, body).await;
        assert_eq!(status, 202, "{method} {path}: {answer}");
        assert_eq!(answer["command_ids"].as_array().unwrap().len(), 1, "{answer}");
    }
}

#[tokio::test]
async fn errors_are_problems_that_name_the_part_and_the_fix() {
    let world = World::busy().await;
    let token = world.token(Scope::Admin);
    let agent = "/v1/agents/a";
    let huge = format!(r#"{{"name":"{}"}}"#, "x".repeat(300_000));
    let cases: &[(&str, &str, Option<&str>, u16, &str)] = &[
        ("GET", "/nowhere", None, 404, "/nowhere"),
        ("PATCH", "/v1/queues", None, 405, "PATCH"),
        ("GET", "/v1/queues?colour=red", None, 400, "colour"),
        ("GET", "/v1/queues?limit=0", None, 400, "limit"),
        ("GET", "/v1/queues?limit=x", None, 400, "limit"),
        ("GET", "/v1/version?x=1", None, 400, "x"),
        ("GET", "/v1/queues/none", None, 404, "none"),
        ("GET", "/v1/agents/%ff", None, 400, "read"),
        ("GET", "/v1/events?type=caller.lost", None, 400, "caller.lost"),
        ("GET", "/v1/events?after=x", None, 400, "after"),
        ("GET", "/v1/events?since=1", None, 400, "since"),
        (
            "PUT",
            agent,
            Some(r#"{"name":"A","devices":[{"connector":"hq","extenson":"1"}]}"#),
            422,
            "devices[0]",
        ),
        ("PUT", agent, Some(r#"{"name":"A","colour":1}"#), 422, "colour"),
        ("PUT", agent, Some(r#"{"name":"#), 400, ""),
        ("PUT", agent, Some(r#" ["A",{},[]]"#), 400, "array"),
        ("POST", "/v1/agents/a/pause", Some(r#"[null,"lunch"]"#), 400, "array"),
        ("PUT", agent, Some(&huge), 413, ""),
        ("PUT", "/v1/agents/a%20b", Some(r#"{"name":"A"}"#), 422, "id"),
        ("PUT", agent, None, 415, ""),
        ("POST", "/v1/connectors/none/probe", None, 404, "none"),
    ];
    for (method, path, body, status, part) in cases {
        let (parts, answer) = world.send(request(method, path, &token, *body)).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        assert_eq!(parts.status.as_u16(), *status, "{method} {path}: {answer}");
        assert_eq!(parts.headers["content-type"], "application/problem+json", "{method} {path}");
        assert_eq!(answer["status"], *status);
        assert!(answer["detail"].as_str().unwrap().contains(part), "{method} {path}: {answer}");
        assert!(!answer["fix"].as_str().unwrap().is_empty(), "{method} {path}: {answer}");
        assert_eq!(answer["instance"], path.split('?').next().unwrap());
    }
}

#[tokio::test]
async fn a_token_in_the_query_is_refused_before_anything_else() {
    let world = World::new();
    let token = world.token(Scope::Read);
    for path in [
        format!("/v1/version?token={token}"),
        format!("/healthz?x={token}"),
        "/x?access_token=1".to_owned(),
    ] {
        let (status, problem) = world.ask("GET", &path, "", None).await;
        assert_eq!(status, 400);
        assert!(problem["fix"].as_str().unwrap().contains("revoke"), "{problem}");
    }
}

#[tokio::test]
async fn no_token_and_wrong_tokens_are_told_apart_from_missing_scopes() {
    let world = World::new();
    let (parts, _) = world.send(request("GET", "/v1/version", "", None)).await;
    assert_eq!(parts.status, 401);
    assert!(parts.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    assert_eq!(world.ask("GET", "/v1/version", "jf_a_b", None).await.0, 401);
    let read = world.token(Scope::Read);
    let (status, problem) = world.ask("DELETE", "/v1/agents/a", &read, None).await;
    assert_eq!(status, 403);
    assert!(problem["fix"].as_str().unwrap().contains("--scope admin"), "{problem}");
    world.state.tokens.revoke("read-0", crate::wire::Time::now().into()).unwrap();
    assert_eq!(world.ask("GET", "/v1/version", &read, None).await.0, 401);
}

/// Every operation of the document, with every scope: what the document says is what happens.
#[tokio::test]
async fn the_document_says_who_may_and_it_is_so() {
    let world = World::busy().await;
    let (status, document) = world.ask("GET", "/openapi.json", "", None).await;
    assert_eq!(status, 200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let scopes = [Scope::Read, Scope::Control, Scope::Admin];
    let tokens = scopes.map(|scope| (scope, world.token(scope)));
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            let needed = operation["security"][0]["bearer"][0].as_str();
            let method = method.to_uppercase();
            // Unknown ids everywhere, and a filter that is refused, so that nothing is changed or streams for ever.
            let path = path.replace("{id}", "none").replace("{name}", "none");
            let path = if path == "/v1/events" { "/v1/events?after=x".to_owned() } else { path };
            let (without, _) = world.ask(&method, &path, "", None).await;
            let Some(needed) = needed else {
                assert_eq!(without, 200, "{method} {path}");
                continue;
            };
            assert_eq!(without, 401, "{method} {path}");
            for (scope, token) in &tokens {
                let (status, _) = world.ask(&method, &path, token, None).await;
                let may = *scope >= needed.parse().unwrap();
                assert_eq!(status != 403, may, "{method} {path} with {}", scope.word());
                assert_ne!(status, 401, "{method} {path} with {}", scope.word());
            }
            let responses = operation["responses"].as_object().unwrap();
            for status in ["400", "401", "403"] {
                assert!(responses.contains_key(status), "{method} {path} documents {status}");
            }
        }
    }
    assert!(operations > 50, "{operations}");
}

#[tokio::test]
async fn the_document_refers_to_nothing_that_is_not_there() {
    let world = World::new();
    let (_, document) = world.ask("GET", "/openapi.json", "", None).await;
    let mut refs = Vec::new();
    collect_refs(&document, &mut refs);
    assert!(refs.len() > 50);
    for reference in refs {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn collect_refs(value: &Value, refs: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            refs.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| collect_refs(value, refs));
        }
        Value::Array(list) => list.iter().for_each(|value| collect_refs(value, refs)),
        _ => {}
    }
}

#[tokio::test]
async fn only_named_origins_may_call_from_a_browser() {
    let world = World::with(1, vec!["https://chat.example.org".to_owned()]);
    let ask = |origin: &'static str| {
        let mut request = request("OPTIONS", "/v1/version", "", None);
        request.headers_mut().insert("origin", origin.parse().unwrap());
        request.headers_mut().insert("access-control-request-method", "GET".parse().unwrap());
        world.send(request)
    };
    let (parts, _) = ask("https://chat.example.org").await;
    assert_eq!(parts.status, 204);
    assert_eq!(parts.headers["access-control-allow-origin"], "https://chat.example.org");
    let (parts, _) = ask("https://evil.example.org").await;
    assert!(!parts.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_fails_readyz_and_refuses_commands() {
    let world = World::busy().await;
    let token = world.token(Scope::Admin);
    assert_eq!(world.ask("GET", "/readyz", "", None).await.0, 200);
    world.state.journal.limit_pages(1);
    let events = {
        let mut core = world.core.lock().unwrap();
        // More than fits into what is left of the last page.
        for round in 0..100 {
            core.facts("hq", vec![super::world::leg(&format!("x{round}"))]);
        }
        core.events()
    };
    let last = events.last().unwrap().seq;
    world.state.journal.append(events).await.unwrap();
    let mut health = world.state.journal.watch_health();
    health.wait_for(|health| *health != crate::journal::Health::Ok).await.unwrap();
    let (status, problem) = world.ask("GET", "/readyz", "", None).await;
    assert_eq!(status, 503, "{problem}");
    assert_eq!(world.ask("PUT", "/v1/agents/a", &token, Some(r#"{"name":"A"}"#)).await.0, 503);
    world.state.journal.limit_pages(1_000_000);
    world.state.journal.committed().wait_for(|committed| *committed >= last).await.unwrap();
    health.wait_for(|health| *health == crate::journal::Health::Ok).await.unwrap();
    assert_eq!(world.ask("GET", "/readyz", "", None).await.0, 200);
}
