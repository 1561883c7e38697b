//! What a plugin asks for, it gets when somebody has said so.

use serde_json::json;

use super::world::{FakePbx, Tiny, World, admin, changes, granted, section};
use crate::plugins::{InstanceWord, PermissionState};

const ASKS: &str = r#", "http": [{ "host": "crm.example.org", "reason": "to look up callers" }]"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_without_the_grant_it_needs_waits_and_starts_when_it_comes() {
    let (hq, branch) = (FakePbx::start().await, FakePbx::start().await);
    let mut world = World::new();
    world.config(&(section("hq", &hq, "") + &granted("branch", &branch, "")));
    world.start().await;
    world.dialled(&branch, 1).await;
    let view = world.view("hq");
    assert_eq!(view.status, InstanceWord::Disabled);
    assert!(view.reason.starts_with("waiting_for_consent"), "{}", view.reason);
    assert!(view.reason.contains("link:ami (to talk to the PBX)"), "{}", view.reason);
    assert_eq!(view.permissions[0].state, PermissionState::Missing);
    assert_eq!(hq.connections(), 0);

    let report =
        world.keeper().change("hq", json!({"grants": ["link:ami"]}), &admin()).await.unwrap();
    assert_eq!(changes(&report), ["connector hq started"]);
    world.dialled(&hq, 1).await;
    assert_eq!(world.view("hq").permissions[0].state, PermissionState::Granted);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_asks_for_more_waits_while_the_old_one_goes_on() {
    let hq = FakePbx::start().await;
    let mut world = World::new();
    world.config(&granted("hq", &hq, ""));
    world.start().await;
    world.dialled(&hq, 1).await;

    world.plugin(&Tiny::version("2.0.0").asking(ASKS));
    let report = world.keeper().reload(&admin()).await.unwrap();
    assert_eq!(changes(&report), ["connector hq waiting"]);
    assert_eq!(world.running("hq"), "1.0.0");
    let waiting = world.view("hq").waiting.unwrap();
    assert_eq!(
        (waiting.version.as_str(), &waiting.missing[..]),
        ("2.0.0", &["http:crm.example.org".to_owned()][..])
    );
    assert!(waiting.why.contains("to look up callers"));
    // Whatever else changes, changes for the one that runs.
    world.config(&granted("hq", &hq, "settings = { greeting = \"hi\" }"));
    let report = world.keeper().reload(&admin()).await.unwrap();
    assert_eq!(changes(&report), ["connector hq swapped"]);
    assert_eq!(world.running("hq"), "1.0.0");

    // A no is an answer too.
    world.config(&granted("hq", &hq, "declined = [\"http:crm.example.org\"]"));
    let report = world.keeper().reload(&admin()).await.unwrap();
    assert_eq!(changes(&report), ["connector hq swapped"]);
    assert_eq!(world.running("hq"), "2.0.0");
    let permissions = world.view("hq").permissions;
    let http = permissions.iter().find(|it| it.grant == "http:crm.example.org").unwrap();
    assert_eq!(http.state, PermissionState::Declined);
    world.hears("hq", &hq, "one\n").await;
    assert_eq!(hq.connections(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_waits_does_not_stop_the_old_one_from_coming_back_after_a_restart() {
    let hq = FakePbx::start().await;
    let mut world = World::new();
    world.config(&granted("hq", &hq, ""));
    world.start().await;
    world.plugin(&Tiny::version("2.0.0").asking(ASKS));
    world.keeper().reload(&admin()).await.unwrap();
    world.stop().await;
    world.start().await;
    assert_eq!(world.running("hq"), "1.0.0");
    assert!(world.view("hq").waiting.is_some());

    // A grant that is taken back is gone at once.
    world.config(&section("hq", &hq, ""));
    let report = world.keeper().reload(&admin()).await.unwrap();
    assert!(changes(&report).contains(&"connector hq stopped".to_owned()), "{report:?}");
    assert_eq!(world.view("hq").status, InstanceWord::Disabled);
    world.stop().await;
}
