//! Keys that REST sets: whose they are, and that they outlive the process.

use serde_json::json;

use super::world::{FakePbx, World, admin, changes, granted};
use crate::plugins::{InstanceWord, KeeperError, Owner};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_sets_is_told_with_its_line_and_not_changed() {
    let hq = FakePbx::start().await;
    let mut world = World::new();
    world.config(&granted("hq", &hq, ""));
    world.start().await;
    let error = world.keeper().change("hq", json!({"grants": []}), &admin()).await.unwrap_err();
    let KeeperError::OwnedByFile { line, key, file } = error else { panic!("{error}") };
    assert_eq!((line, key.as_str()), (10, "connectors.hq.grants"));
    assert!(file.ends_with("jackfield.toml"));
    let error = world.keeper().remove("hq", &admin()).await.unwrap_err();
    assert!(matches!(error, KeeperError::OwnedByFile { line: 7, .. }), "{error}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rest_has_set_outlives_a_restart_of_the_host() {
    let (hq, branch) = (FakePbx::start().await, FakePbx::start().await);
    let mut world = World::new();
    world.config(&granted("hq", &hq, ""));
    world.start().await;
    let made = json!({
        "plugin": "tiny",
        "links": { "ami": format!("tcp://{}", branch.address) },
        "grants": ["link:ami"],
        "settings": { "greeting": "hi" },
        "secrets": { "ami": "hunter2" },
    });
    let report = world.keeper().change("branch", made, &admin()).await.unwrap();
    assert_eq!(changes(&report), ["connector branch added"]);
    world.dialled(&branch, 1).await;
    world.keeper().change("hq", json!({"enabled": false}), &admin()).await.unwrap();
    assert_eq!(world.view("hq").status, InstanceWord::ManuallyDisabled);
    let difference = world.keeper().difference().unwrap();
    assert!(
        changes(&difference).contains(&"connector branch changed".to_owned()),
        "{difference:?}"
    );
    world.stop().await;
    world.start().await;

    assert_eq!(world.view("hq").status, InstanceWord::ManuallyDisabled);
    world.dialled(&branch, 2).await;
    let view = world.view("branch");
    assert_eq!(view.settings, json!({"greeting": "hi"}));
    let secret = view.keys.iter().find(|it| it.key == "secrets.ami").unwrap();
    assert_eq!((&secret.value, &secret.owner), (&json!("set"), &Owner::Rest));
    assert!(!format!("{view:?} {:?}", world.keeper().audit(0, 100)).contains("hunter2"));

    let report = world.keeper().change("hq", json!({"enabled": null}), &admin()).await.unwrap();
    assert_eq!(changes(&report), ["connector hq started"]);
    world.keeper().remove("branch", &admin()).await.unwrap();
    assert!(world.keeper().instance("branch").is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_are_refused_as_a_whole() {
    let hq = FakePbx::start().await;
    let mut world = World::new();
    world.config(&granted("hq", &hq, ""));
    world.start().await;
    world.dialled(&hq, 1).await;
    let patch = json!({"settings": {"greeting": "too long"}, "limits": {"step_ms": 70}});
    let error = world.keeper().change("hq", patch, &admin()).await.unwrap_err();
    let KeeperError::Invalid(complaints) = error else { panic!("{error}") };
    assert_eq!(complaints[0].key, "connectors.hq.settings.greeting");
    assert_eq!(complaints[0].place.line, 0, "it is not in the file");
    let view = world.view("hq");
    assert_eq!((view.settings, view.limits.step_ms), (json!({}), 50));
    let patch = json!({"settings": {"greeting": "hi"}, "limits": {"step_ms": 70}});
    let report = world.keeper().change("hq", patch, &admin()).await.unwrap();
    assert_eq!(changes(&report), ["connector hq swapped"]);
    assert_eq!((world.view("hq").limits.step_ms, hq.connections()), (70, 1));
    world.stop().await;
}
