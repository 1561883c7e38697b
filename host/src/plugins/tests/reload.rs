//! The config file, read again while calls go on.

use super::world::{self, FakePbx, Tiny, World, admin, changes, granted};
use crate::plugins::{InstanceWord, KeeperError};

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_adds_swaps_restarts_and_removes_only_what_is_different() {
    let (hq, branch) = (FakePbx::start().await, FakePbx::start().await);
    let mut world = World::new();
    world.config(&granted("hq", &hq, ""));
    world.start().await;
    world.dialled(&hq, 1).await;
    world.hears("hq", &hq, "one\n").await;

    let nothing = world.keeper().reload(&admin()).await.unwrap();
    assert!(nothing.is_empty(), "{nothing:?}");

    world.config(&(granted("hq", &hq, "") + &granted("branch", &branch, "")));
    let report = world.keeper().reload(&admin()).await.unwrap();
    assert_eq!(changes(&report), ["connector branch added"]);
    world.dialled(&branch, 1).await;

    let settings = "settings = { greeting = \"hi\" }\nlimits = { step_ms = 80 }";
    world.config(&(granted("hq", &hq, settings) + &granted("branch", &branch, "")));
    let report = world.keeper().reload(&admin()).await.unwrap();
    assert_eq!(changes(&report), ["connector hq swapped"], "{report:?}");
    assert!(report.changes[0].detail.contains("other settings, other limits"), "{report:?}");
    // In the middle of a line, on the same connection.
    hq.say("tw").await;
    world.hears("hq", &hq, "o\n").await;
    assert_eq!(hq.connections(), 1);
    assert_eq!(world.view("hq").limits.step_ms, 80);

    let other = FakePbx::start().await;
    world.config(&(granted("hq", &hq, settings) + &granted("branch", &other, "")));
    let report = world.keeper().reload(&admin()).await.unwrap();
    assert_eq!(changes(&report), ["connector branch restarted"]);
    world.dialled(&other, 1).await;
    assert_eq!((hq.connections(), branch.connections()), (1, 1));

    world.config(&granted("hq", &hq, settings));
    let report = world.keeper().reload(&admin()).await.unwrap();
    assert_eq!(changes(&report), ["connector branch removed"]);
    assert!(world.status("branch").is_none() && world.keeper().instance("branch").is_none());
    world.hears("hq", &hq, "three\n").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_mistakes_changes_nothing_and_every_mistake_is_named() {
    let hq = FakePbx::start().await;
    let mut world = World::new();
    world.config(&granted("hq", &hq, ""));
    world.start().await;
    world.dialled(&hq, 1).await;

    world.config("[connectors.hq]\nplugin = \"tiny\"\nlinks.ami = \"nowhere\"\nlimits = { step_ms = 0 }\n[colours]\n");
    let error = world.keeper().reload(&admin()).await.unwrap_err();
    let KeeperError::Invalid(complaints) = error else { panic!("{error}") };
    let keys: Vec<_> = complaints.iter().map(|it| (it.key.as_str(), it.place.line)).collect();
    assert_eq!(
        keys,
        [("connectors.hq.links.ami", 9), ("connectors.hq.limits.step_ms", 10), ("colours", 11)]
    );
    world.hears("hq", &hq, "one\n").await;
    assert_eq!(hq.connections(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connector_that_cannot_run_does_not_stop_the_others() {
    let (hq, branch) = (FakePbx::start().await, FakePbx::start().await);
    let mut world = World::new();
    let wrong = granted("wrong", &branch, "settings = { greeting = \"too long\" }");
    let lost = granted("lost", &branch, "").replace("\"tiny\"", "\"nowhere\"");
    world.config(&(wrong + &lost + &granted("hq", &hq, "")));
    world.start().await;
    world.dialled(&hq, 1).await;
    world.hears("hq", &hq, "one\n").await;

    let view = world.view("wrong");
    assert_eq!(view.status, InstanceWord::InvalidSettingsDisabled);
    assert!(view.reason.contains("settings.greeting"), "{}", view.reason);
    let view = world.view("lost");
    assert_eq!(view.status, InstanceWord::InvalidInstallationDisabled);
    assert!(view.last_error.is_some_and(|it| it.message.contains("no plugin \"nowhere\"")));
    assert_eq!(branch.connections(), 0);

    // Mended, it starts.
    world.config(&(granted("wrong", &branch, "") + &granted("hq", &hq, "")));
    let report = world.keeper().reload(&admin()).await.unwrap();
    assert_eq!(changes(&report), ["connector lost removed", "connector wrong started"]);
    world.dialled(&branch, 1).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_leave_the_old_ones_at_work() {
    let hq = FakePbx::start().await;
    let mut world = World::new();
    world.config(&granted("hq", &hq, "settings = { greeting = \"hi\" }"));
    world.start().await;
    world.dialled(&hq, 1).await;

    world.config(&granted("hq", &hq, "settings = { greeting = \"too long\" }"));
    let report = world.keeper().reload(&admin()).await.unwrap();
    assert_eq!(report.changes, []);
    let [complaint] = report.complaints.as_slice() else { panic!("{report:?}") };
    assert_eq!(
        (complaint.key.as_str(), complaint.place.line),
        ("connectors.hq.settings.greeting", 11)
    );
    assert_eq!(world.view("hq").status, InstanceWord::AutoEnabled);
    world.hears("hq", &hq, "one\n").await;
    assert_eq!(hq.connections(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_in_the_difference_with_the_reason_until_it_is_mended() {
    let hq = FakePbx::start().await;
    let skills =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/museum/0.1.0/skills.wasm").to_owned();
    let config = |greeting: &str, list: &str| {
        let hook = format!(
            "[hooks.instances.vip]\nplugin = \"{skills}\"\n[hooks.instances.vip.settings]\n\
             lists = {{ vip = [\"+4930123456\"] }}\n\
             rules = [{{ name = \"VIP\", when = {{ lists = \"{list}\" }}, to = \"queue:vip\" }}]\n\
             [hooks.router]\norder = [\"vip\"]\n"
        );
        let settings = format!("settings = {{ greeting = \"{greeting}\" }}");
        granted("hq", &hq, &settings) + &hook
    };
    let mut world = World::new();
    world.config(&config("hi", "vip"));
    world.start().await;
    world.dialled(&hq, 1).await;
    let report = world.keeper().difference().unwrap();
    assert!(report.is_empty(), "{report:?}");

    world.config(&config("too long", "vpi"));
    world.keeper().reload(&admin()).await.unwrap();
    // A line more above: complaints follow what they are about.
    world.config(&format!("\n{}", config("too long", "vpi")));
    let report = world.keeper().difference().unwrap();
    let told: Vec<_> =
        report.complaints.iter().map(|it| (it.key.as_str(), it.place.line)).collect();
    assert_eq!(
        told,
        [
            ("connectors.hq.settings.greeting", 12),
            ("hooks.instances.vip.settings.rules[0].when.lists", 17),
        ]
    );
    assert!(report.complaints[1].message.contains("vpi"), "{report:?}");
    assert_eq!(changes(&report), ["connector hq changed", "hook vip waiting"], "{report:?}");
    assert!(report.changes[1].detail.contains("skills 0.1.0 is called"), "{report:?}");

    world.config(&config("hi", "vip"));
    let report = world.keeper().difference().unwrap();
    assert!(report.complaints.is_empty(), "nobody has looked at it yet: {report:?}");
    world.keeper().reload(&admin()).await.unwrap();
    let report = world.keeper().difference().unwrap();
    assert!(report.is_empty(), "{report:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reload_cannot_apply_is_said_to_need_a_restart() {
    let mut world = World::new();
    world.config("");
    world.start().await;
    world.config("[journal]\nkeep_days = 3\n");
    let difference = world.keeper().difference().unwrap();
    assert_eq!(difference.needs_restart[0].key, "journal.keep_days");
    let report = world.keeper().reload(&admin()).await.unwrap();
    assert_eq!((report.needs_restart.len(), report.needs_restart[0].place.line), (1, 8));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_files_are_noticed_and_half_written_ones_left_alone() {
    let (hq, branch) = (FakePbx::start().await, FakePbx::start().await);
    let mut world = World::new();
    world.watched_config(&granted("hq", &hq, ""));
    world.start().await;
    world.dialled(&hq, 1).await;

    world.half_a_plugin(&Tiny::version("2.0.0"));
    world.watched_config(&(granted("hq", &hq, "") + &granted("branch", &branch, "")));
    // The config was read; what the folder holds is no plugin, and the last one that was goes on.
    let look = async || world.keeper().instance("branch").map(drop).ok_or("no branch");
    lab::until(world::SOON, "the new connector", look).await.unwrap();
    assert_eq!(world.running("hq"), "1.0.0");

    world.plugin(&Tiny::version("2.0.0"));
    for id in ["hq", "branch"] {
        let is_new = |view: &crate::plugins::InstanceView, _: &_| {
            view.running.as_ref().is_some_and(|it| it.version == "2.0.0")
        };
        world.until(id, "the new version", is_new).await;
    }
    world.hears("hq", &hq, "one\n").await;
    assert_eq!(hq.connections(), 1);
    world.stop().await;
}
