//! Plugins, connectors as their instances, and what the config file owns, over REST.

use axum::body::{Body, Bytes};
use futures_util::stream;
use serde_json::{Value, json};

use super::{
    keeper::{NEW, OLD},
    world::{World, request},
};
use crate::{api::upload::MAX_COMPONENT_BYTES, tokens::Scope};

#[tokio::test]
async fn plugins_and_their_versions_can_be_read() {
    let world = World::new();
    let token = world.token(Scope::Read);
    let (_, page) = world.ask("GET", "/v1/plugins?connector=hq", &token, None).await;
    let plugin = &page["items"][0];
    assert_eq!((&plugin["id"], &plugin["name"]), (&json!("asterisk"), &json!("Asterisk")));
    assert_eq!(plugin["selected"], OLD);
    assert_eq!(plugin["versions"][0]["source"], "asterisk.wasm", "no folder of this machine");
    let (status, page) = world.ask("GET", "/v1/plugins?connector=none", &token, None).await;
    assert_eq!((status, &page["items"]), (200, &json!([])));
    let (status, one) = world.ask("GET", "/v1/plugins/asterisk", &token, None).await;
    assert_eq!((status, &one["used_by"]), (200, &json!(["hq", "off"])));
    let (_, versions) = world.ask("GET", "/v1/plugins/asterisk/versions", &token, None).await;
    assert_eq!(versions["items"][1]["sha256"], OLD);
    let title = &versions["items"][0]["settings"]["properties"]["username"]["title"];
    assert_eq!(title, "User");
    let asked = &versions["items"][0]["permissions"][0];
    assert_eq!(asked["grant"], "link:ami");
    assert!(asked["meaning"].as_str().unwrap().contains("whatever the account"), "{asked}");
    assert_eq!(world.ask("GET", "/v1/plugins/none", &token, None).await.0, 404);
}

#[tokio::test]
async fn versions_are_chosen_rolled_back_and_taken_away_in_the_name_of_the_token() {
    let world = World::new();
    let token = world.token(Scope::Admin);
    let path = "/v1/plugins/asterisk";
    let body = Some(r#"{"version":"0.2.0"}"#);
    let (status, report) = world.ask("POST", &format!("{path}/use"), &token, body).await;
    assert_eq!(status, 200, "{report}");
    assert_eq!(report["changes"][0]["kind"], "swapped");
    assert_eq!(world.ask("POST", &format!("{path}/rollback"), &token, None).await.0, 200);
    assert_eq!(
        world.keeper.asked(),
        ["admin-0: use asterisk 0.2.0", "admin-0: roll back asterisk"]
    );
    let (status, problem) = world.ask("DELETE", path, &token, None).await;
    assert_eq!(status, 409);
    assert_eq!(problem["fix"], "disable it first");
}

fn upload(token: &str, body: Body) -> axum::http::Request<Body> {
    let mut upload = request("POST", "/v1/plugins", token, None);
    upload.headers_mut().insert("content-type", "application/wasm".parse().unwrap());
    *upload.body_mut() = body;
    upload
}

#[tokio::test]
async fn a_component_is_installed_with_its_signature() {
    let world = World::new();
    let mut signed = upload(&world.token(Scope::Admin), Body::from("wasm"));
    signed.headers_mut().insert("minisign", "c2lnbmVk".parse().unwrap());
    let (parts, body) = world.send(signed).await;
    assert_eq!(parts.status, 200, "{}", String::from_utf8_lossy(&body));
    assert_eq!(world.keeper.asked(), ["admin-0: install 4 Some(\"signed\")"]);
}

#[tokio::test]
async fn an_upload_that_cannot_be_is_told_with_its_fix_and_reaches_nobody() {
    let world = World::new();
    let token = world.token(Scope::Admin);
    let broken = || {
        let chunks = [Ok(Bytes::from_static(b"\0asm")), Err(std::io::Error::other("cut"))];
        Body::from_stream(stream::iter(chunks))
    };
    let announced = |length: &str| {
        // Whoever reads it fails the test.
        let body = stream::once(async { panic!("the body was read") });
        let mut huge = upload(&token, Body::from_stream(body.map_never()));
        huge.headers_mut().insert("content-length", length.parse().unwrap());
        huge
    };
    let mut page = upload(&token, Body::from("<html>"));
    page.headers_mut().insert("content-type", "text/html".parse().unwrap());
    let mut unsigned = upload(&token, Body::from("wasm"));
    unsigned.headers_mut().insert("minisign", "?".parse().unwrap());
    for (upload, status, part) in [
        (announced("2147483648"), 413, "64 MiB"),
        (upload(&token, broken()), 400, "after 4 bytes"),
        (upload(&token, Body::empty()), 400, "empty"),
        (page, 415, "WebAssembly"),
        (unsigned, 400, "Minisign"),
        (upload(&token, Body::from("zip")), 422, "zip archive"),
        (upload(&token, Body::from("full")), 503, "disk is full"),
    ] {
        let (parts, body) = world.send(upload).await;
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(parts.status, status, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{problem}");
        assert!(!problem["fix"].as_str().unwrap().is_empty(), "{problem}");
    }
    assert!(world.keeper.asked().is_empty());
}

trait Never: Sized {
    fn map_never(self) -> stream::BoxStream<'static, std::io::Result<Bytes>>;
}

impl<S: stream::Stream<Item = ()> + Send + 'static> Never for S {
    fn map_never(self) -> stream::BoxStream<'static, std::io::Result<Bytes>> {
        Box::pin(futures_util::StreamExt::map(self, |()| Ok(Bytes::new())))
    }
}

#[tokio::test]
async fn an_upload_of_unknown_length_is_read_to_the_limit_and_no_further() {
    let world = World::new();
    let read = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = read.clone();
    let endless = stream::repeat_with(move || {
        counted.fetch_add(1 << 20, std::sync::atomic::Ordering::Relaxed);
        Ok::<_, std::io::Error>(Bytes::from(vec![0; 1 << 20]))
    });
    let endless = upload(&world.token(Scope::Admin), Body::from_stream(endless));
    let (parts, _) = world.send(endless).await;
    assert_eq!(parts.status, 413);
    let read = read.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(read, MAX_COMPONENT_BYTES + (1 << 20));
}

#[tokio::test]
async fn a_connector_shows_what_is_wanted_of_it_and_no_secret() {
    let world = World::new();
    let token = world.token(Scope::Read);
    let (_, hq) = world.ask("GET", "/v1/connectors/hq", &token, None).await;
    let lifecycle = &hq["lifecycle"];
    assert_eq!(lifecycle["status"], "auto_enabled");
    assert_eq!((&lifecycle["restarts"], &lifecycle["swaps"]["done"]), (&json!(2), &json!(9)));
    assert_eq!(lifecycle["waiting"]["missing"], json!(["http:crm.example.org"]));
    assert_eq!(lifecycle["probation"]["from"], "asterisk 0.0.9");
    let file = json!({ "by": "file", "file": "/etc/jackfield/jackfield.toml", "line": 7 });
    let username = json!({ "key": "settings.username", "value": "jackfield", "owner": file });
    assert_eq!(lifecycle["keys"][0], username);
    let secret =
        json!({ "key": "secrets.ami", "value": { "set": true }, "owner": { "by": "rest" } });
    assert_eq!(lifecycle["keys"][2], secret);
    let (_, all) = world.ask("GET", "/v1/connectors", &token, None).await;
    let off = &all["items"][1];
    assert_eq!((&off["id"], &off["status"]), (&json!("off"), &json!("disabled")));
    assert_eq!(off["lifecycle"]["status"], "manually_disabled");
    assert_eq!(off["reason"], "disabled by token chat");
}

#[tokio::test]
async fn a_patch_reaches_the_keeper_as_it_is() {
    let world = World::new();
    let token = world.token(Scope::Admin);
    let patch = r#"{"limits":{"memory_mib":null},"secrets":{"ami":"hunter2"}}"#;
    let mut asked = request("PATCH", "/v1/connectors/hq", &token, Some(patch));
    asked.headers_mut().insert("content-type", "application/merge-patch+json".parse().unwrap());
    let (parts, body) = world.send(asked).await;
    assert_eq!(parts.status, 200, "{}", String::from_utf8_lossy(&body));
    assert!(!String::from_utf8_lossy(&body).contains("hunter2"));
    for (method, path, body, expected) in [
        ("POST", "/enable", None, r#"admin-0: change hq {"enabled":true}"#),
        ("POST", "/disable", None, r#"admin-0: change hq {"enabled":false}"#),
        ("DELETE", "", None, "admin-0: remove hq"),
        (
            "PUT",
            "/permissions",
            Some(r#"{"granted":["link:ami"],"declined":["http:crm.example.org"]}"#),
            r#"admin-0: change hq {"declined":["http:crm.example.org"],"grants":["link:ami"]}"#,
        ),
        ("POST", "/shadow", Some(r#"{"version":"0.2.0"}"#), "admin-0: shadow hq Some(\"0.2.0\")"),
        ("DELETE", "/shadow", None, "admin-0: shadow hq None"),
        ("POST", "/recordings", Some(r#"{"capture":true}"#), "admin-0: capture hq true false"),
    ] {
        world.keeper.asked();
        let path = format!("/v1/connectors/hq{path}");
        let (status, answer) = world.ask(method, &path, &token, body).await;
        assert!(matches!(status, 200 | 204), "{method} {path}: {status} {answer}");
        assert_eq!(world.keeper.asked(), [expected], "{method} {path}");
    }
    let both = Some(r#"{"granted":["link:ami"],"declined":["link:ami"]}"#);
    let path = "/v1/connectors/hq/permissions";
    assert_eq!(world.ask("PUT", path, &token, both).await.0, 422);
}

#[tokio::test]
async fn what_the_file_sets_is_a_conflict_with_file_and_line() {
    let world = World::new();
    let token = world.token(Scope::Admin);
    let body = Some(r#"{"settings":{"username":"x"}}"#);
    let (status, problem) = world.ask("PATCH", "/v1/connectors/hq", &token, body).await;
    assert_eq!(status, 409, "{problem}");
    let place = json!({
        "file": "/etc/jackfield/jackfield.toml", "line": 7, "key": "connectors.hq.settings.username",
    });
    assert_eq!(problem["set_in"], place);
    assert!(problem["detail"].as_str().unwrap().contains("line 7"), "{problem}");
}

#[tokio::test]
async fn every_wrong_setting_is_told() {
    let world = World::new();
    let token = world.token(Scope::Admin);
    let body = Some(r#"{"settings":{"country":1}}"#);
    let (status, problem) = world.ask("PATCH", "/v1/connectors/hq", &token, body).await;
    assert_eq!(status, 422, "{problem}");
    let fix = "write e.g. \"Europe/Berlin\"";
    let second = json!({ "key": "settings.time_zone", "message": "is no zone", "fix": fix });
    assert_eq!(problem["errors"][1], second);
}

#[tokio::test]
async fn settings_are_replaced_as_a_set_and_those_of_the_file_stay() {
    let world = World::new();
    let token = world.token(Scope::Admin);
    let path = "/v1/connectors/hq/settings";
    let (_, settings) = world.ask("GET", path, &token, None).await;
    assert_eq!(settings["settings"]["country"], "DE");
    assert_eq!(settings["schema"]["properties"]["username"]["title"], "User");
    assert_eq!(settings["keys"].as_array().unwrap().len(), 2);
    for (wanted, patch) in [
        (r#"{"country":"FR"}"#, r#"{"settings":{"country":"FR"}}"#),
        (
            r#"{"username":"jackfield","filters":true}"#,
            r#"{"settings":{"country":null,"filters":true}}"#,
        ),
        (r#"{"username":"jackfield","country":"DE"}"#, r#"{"settings":{}}"#),
    ] {
        let (status, answer) = world.ask("PUT", path, &token, Some(wanted)).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(world.keeper.asked(), [format!("admin-0: change hq {patch}")]);
    }
    let other = Some(r#"{"username":"root"}"#);
    assert_eq!(world.ask("PUT", path, &token, other).await.0, 409);
}

#[tokio::test]
async fn permissions_say_what_they_mean_and_the_honest_limit() {
    let world = World::new();
    let token = world.token(Scope::Read);
    let path = "/v1/connectors/hq/permissions";
    let (status, answer) = world.ask("GET", path, &token, None).await;
    assert_eq!(status, 200);
    assert_eq!(answer["permissions"][0]["state"], "granted");
    assert_eq!(answer["permissions"][0]["owner"]["line"], 7);
    assert_eq!(answer["permissions"][1]["state"], "missing");
    assert_eq!(answer["waiting_for"], json!(["http:crm.example.org"]));
    assert!(answer["honest_limit"].as_str().unwrap().contains("whatever the account"));
}

#[tokio::test]
async fn use_is_shown_beside_limits_and_in_metrics() {
    let world = World::new();
    let token = world.token(Scope::Read);
    let (_, stat) = world.ask("GET", "/v1/connectors/hq/stat", &token, None).await;
    let memory =
        json!({ "name": "memory_mib", "limit": 64 << 20, "used": 3 << 20, "unit": "bytes" });
    assert_eq!(stat["limits"][0], memory);
    assert_eq!(stat["counters"]["traps"], 4);
    let (parts, body) = world.send(request("GET", "/metrics", &token, None)).await;
    assert!(parts.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = String::from_utf8(body).unwrap();
    for line in [
        "jackfield_plugin_traps_total{connector=\"hq\"} 4",
        "jackfield_plugin_swaps_total{connector=\"hq\"} 9",
        "jackfield_plugin_max_swap_pause_seconds{connector=\"hq\"} 0.00012",
        "jackfield_plugin_status{connector=\"off\",status=\"manually_disabled\"} 1",
        "jackfield_plugin_limit{connector=\"hq\",limit=\"memory_mib\",unit=\"bytes\"} 67108864",
        "jackfield_plugin_limit_used{connector=\"hq\",limit=\"memory_mib\",unit=\"bytes\"} 3145728",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
    }
    assert_well_formed(&text);
}

/// Every sample belongs to the family announced right before it, and no sample comes twice.
fn assert_well_formed(text: &str) {
    let mut family = "";
    let mut seen = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            family = rest.split(' ').nth(1).unwrap();
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        assert_eq!(sample.split('{').next().unwrap(), family);
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(seen.insert(sample), "{line} comes twice");
    }
}

#[tokio::test]
async fn logs_shadow_and_recordings_can_be_read() {
    let world = World::new();
    let token = world.token(Scope::Admin);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crash-1.jsonl");
    std::fs::write(&path, "{}\n").unwrap();
    world.keeper.keep_recording("crash-1.jsonl", path.clone());
    let at = "/v1/connectors/hq";
    let (_, logs) = world.ask("GET", &format!("{at}/logs"), &token, None).await;
    assert_eq!(logs["items"][0]["text"], "logged in");
    let (_, shadow) = world.ask("GET", &format!("{at}/shadow"), &token, None).await;
    assert_eq!((&shadow["sha256"], &shadow["only_running"]), (&json!(NEW), &json!(1)));
    assert_eq!(shadow["differences"][0]["step"], 7);
    let (status, _) = world.ask("GET", "/v1/connectors/off/shadow", &token, None).await;
    assert_eq!(status, 404);
    let (_, list) = world.ask("GET", &format!("{at}/recordings"), &token, None).await;
    assert_eq!(list["items"][0]["name"], "crash-1.jsonl");
    assert!(!list.to_string().contains(folder.path().to_str().unwrap()));
    let file = format!("{at}/recordings/crash-1.jsonl");
    let (parts, body) = world.send(request("GET", &file, &token, None)).await;
    assert_eq!((parts.status.as_u16(), body.as_slice()), (200, &b"{}\n"[..]));
    let redacted = format!("{file}?redact=true");
    assert_eq!(world.ask("GET", &redacted, &token, None).await.0, 409);
    for (query, told) in [("", "redacted: false\n"), ("?redact=true", "redacted: true\n")] {
        let path = format!("{at}/recordings/ring{query}");
        let (_, body) = world.send(request("GET", &path, &token, None)).await;
        assert_eq!(String::from_utf8(body).unwrap(), told);
    }
    for other in ["..%2Fjackfield.toml", "crash-2.jsonl"] {
        let path = format!("{at}/recordings/{other}");
        assert_eq!(world.ask("GET", &path, &token, None).await.0, 404);
    }
    let end = Some(r#"{"capture":false,"redact":true}"#);
    let (_, ended) = world.ask("POST", &format!("{at}/recordings"), &token, end).await;
    assert_eq!(ended, json!({ "capturing": false, "name": "hq-1.jsonl" }));
}

#[tokio::test]
async fn a_reload_reports_and_the_difference_only_tells() {
    let world = World::new();
    let token = world.token(Scope::Admin);
    let (_, difference) = world.ask("GET", "/v1/config/diff", &token, None).await;
    assert_eq!(difference["needs_restart"][0]["line"], 3);
    assert!(world.keeper.asked().is_empty());
    assert_eq!(world.ask("POST", "/v1/reload", &token, None).await.0, 200);
    assert_eq!(world.keeper.asked(), ["admin-0: reload"]);
}

#[tokio::test]
async fn the_audit_log_comes_in_pages_without_a_gap() {
    let world = World::new();
    let token = world.token(Scope::Read);
    let mut path = "/v1/audit?limit=2".to_owned();
    let mut ids = Vec::new();
    loop {
        let (status, page) = world.ask("GET", &path, &token, None).await;
        assert_eq!(status, 200, "{page}");
        ids.extend(page["items"].as_array().unwrap().iter().map(|it| it["id"].as_u64().unwrap()));
        let Some(next) = page["next"].as_u64() else { break };
        path = format!("/v1/audit?limit=2&after={next}");
    }
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    assert_eq!(world.ask("GET", "/v1/audit?limit=0", &token, None).await.0, 400);
}
