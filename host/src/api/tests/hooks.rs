//! Hooks over REST.

use serde_json::json;

use super::world::{World, request};
use crate::tokens::Scope;

#[tokio::test]
async fn a_hook_is_shown_with_how_it_does_and_without_its_secrets() {
    let world = World::new();
    let token = world.token(Scope::Read);
    let (status, page) = world.ask("GET", "/v1/hooks", &token, None).await;
    assert_eq!(status, 200, "{page}");
    let (status, vip) = world.ask("GET", "/v1/hooks/vip", &token, None).await;
    assert_eq!((status, &vip["status"]), (200, &json!("auto_enabled")));
    assert_eq!(vip["id"], page["items"][0]["id"]);
    assert_eq!(vip["roles"], json!(["router 1", "observer"]));
    assert_eq!((&vip["p50_us"], &vip["p99_us"]), (&json!(3), &json!(25)));
    assert_eq!(vip["outcomes"], json!({ "answered": 9, "late": 1 }));
    assert_eq!(vip["secrets"], json!(["crm"]));
    assert_eq!(vip["lag"], json!({ "events": 3, "age_ms": 12, "cursor": 40 }));
    assert_eq!(vip["last_error"]["fix"], "mend it");
    assert_eq!(
        (&vip["canary"]["percent"], &vip["canary"]["tally"]["differences"]),
        (&json!(10), &json!(1))
    );
    assert_eq!(vip["permissions"][0]["state"], "granted");
    let (status, problem) = world.ask("GET", "/v1/hooks/none", &token, None).await;
    assert_eq!((status, &problem["fix"]), (404, &json!("GET /v1/hooks lists them.")));
}

#[tokio::test]
async fn what_a_hook_says_and_keeps_can_be_read_the_latter_by_admins() {
    let world = World::new();
    let (read, admin) = (world.token(Scope::Read), world.token(Scope::Admin));
    let (_, logs) = world.ask("GET", "/v1/hooks/vip/logs", &read, None).await;
    assert_eq!(logs["items"][0]["text"], "no CRM");
    assert_eq!(world.ask("GET", "/v1/hooks/none/logs", &read, None).await.0, 404);
    let dead = "/v1/hooks/vip/store?prefix=dead/&limit=1";
    assert_eq!(world.ask("GET", dead, &read, None).await.0, 403);
    let (status, page) = world.ask("GET", dead, &admin, None).await;
    assert_eq!((status, &page["next"]), (200, &json!("dead/1")));
    assert_eq!(page["items"], json!([{ "key": "dead/1", "value": "caf\u{fffd}", "bytes": 4 }]));
    let next = format!("{dead}&cursor=dead/1");
    let (_, page) = world.ask("GET", &next, &admin, None).await;
    assert_eq!(page["items"][0]["key"], "dead/2");
    assert_eq!(world.ask("GET", "/v1/hooks/vip/store?limit=0", &admin, None).await.0, 400);
    assert_eq!(world.ask("GET", "/v1/hooks/none/store", &admin, None).await.0, 404);
}

#[tokio::test]
async fn a_canary_is_begun_and_ended_in_the_name_of_the_token() {
    let world = World::new();
    let (admin, read) = (world.token(Scope::Admin), world.token(Scope::Read));
    let path = "/v1/hooks/vip/canary";
    let usual = r#"{"version":"0.2.0","percent":10}"#;
    assert_eq!(world.ask("POST", path, &read, Some(usual)).await.0, 403);
    assert_eq!(world.ask("POST", path, &admin, Some(usual)).await.0, 200);
    let strict = r#"{"version":"0.2.0","percent":100,"traps":2,"late":4,"differences_percent":0}"#;
    assert_eq!(world.ask("POST", path, &admin, Some(strict)).await.0, 200);
    assert_eq!(world.ask("DELETE", path, &admin, None).await.0, 200);
    assert_eq!(
        world.keeper.asked(),
        [
            "admin-0: canary vip 0.2.0 10 1 3 5",
            "admin-0: canary vip 0.2.0 100 2 4 0",
            "admin-0: canary vip -",
        ]
    );
    for wrong in [
        r#"{"version":"0.2.0","percent":0}"#,
        r#"{"version":"0.2.0","percent":101}"#,
        r#"{"version":"0.2.0","percent":1,"differences_percent":101}"#,
        r#"{"percent":1}"#,
        r#"{"version":"0.2.0","percent":1,"trap":1}"#,
    ] {
        let (status, problem) = world.ask("POST", path, &admin, Some(wrong)).await;
        assert!(status == 400 || status == 422, "{wrong}: {status} {problem}");
    }
    assert_eq!(world.keeper.asked(), [""; 0]);
}

#[tokio::test]
async fn monitoring_sees_calls_times_and_lag() {
    let world = World::new();
    let token = world.token(Scope::Read);
    let (_, body) = world.send(request("GET", "/metrics", &token, None)).await;
    let text = String::from_utf8(body.to_vec()).unwrap();
    for line in [
        r#"jackfield_hook_status{hook="vip",status="auto_enabled"} 1"#,
        r#"jackfield_hook_info{hook="vip",plugin="skills",version="0.1.0"} 1"#,
        r#"jackfield_hook_calls_total{hook="vip",outcome="late"} 1"#,
        r#"jackfield_hook_call_seconds{hook="vip",quantile="0.99"} 0.000025"#,
        r#"jackfield_hook_lag_events{hook="vip"} 3"#,
        r#"jackfield_hook_lag_seconds{hook="vip"} 0.012"#,
        r#"jackfield_hook_canary_percent{hook="vip",version="0.2.0"} 10"#,
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
}
