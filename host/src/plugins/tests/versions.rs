//! Updates, and ways back.

use super::world::{FakePbx, Tiny, World, admin, changes, granted};
use crate::plugins::{
    KeeperError,
    store::{MAX_DRAFTS, draft_of},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_update_is_rolled_back_by_itself_and_not_tried_again() {
    let hq = FakePbx::start().await;
    let mut world = World::new();
    world.config(&granted("hq", &hq, ""));
    world.start().await;
    world.dialled(&hq, 1).await;
    world.hears("hq", &hq, "one\n").await;

    world.plugin(&Tiny::version("2.0.0").trapping_on(b'B'));
    let report = world.keeper().reload(&admin()).await.unwrap();
    assert_eq!(changes(&report), ["connector hq swapped"]);
    assert_eq!(world.running("hq"), "2.0.0");
    let probation = world.view("hq").probation.unwrap();
    assert_eq!((probation.from.as_str(), probation.to.as_str()), ("tiny 1.0.0", "tiny 2.0.0"));

    hq.say("A line with a B\n").await;
    world
        .until("hq", "the old version", |view, _| {
            view.running.as_ref().is_some_and(|it| it.version == "1.0.0")
        })
        .await;
    let view = world.view("hq");
    assert_eq!((view.swaps.rolled_back, view.probation), (1, None));
    assert!(view.last_error.unwrap().message.contains("2.0.0 was rolled back"));
    let plugin = world.keeper().plugin("tiny").unwrap();
    let bad = plugin.versions.iter().find(|it| it.version == "2.0.0").unwrap();
    assert!(bad.rejected.is_some());
    world.hears("hq", &hq, "B is no trouble now\n").await;
    assert_eq!(hq.connections(), 1);

    // It stands in the folder still, also after a restart.
    let report = world.keeper().reload(&admin()).await.unwrap();
    assert_eq!(report.changes, []);
    assert!(report.complaints[0].message.contains("was rolled back"), "{report:?}");
    world.stop().await;
    world.start().await;
    assert_eq!(world.running("hq"), "1.0.0");

    // Unless somebody says so.
    world.keeper().use_version("tiny", "2.0.0", &admin()).await.unwrap();
    assert_eq!(world.running("hq"), "2.0.0");
    let audit = world.keeper().audit(0, 100).unwrap();
    let said: Vec<_> = audit.iter().map(|it| it.action.as_str()).collect();
    for action in ["plugin.install", "connector.swapped", "plugin.reject", "connector.rolled-back"]
    {
        assert!(said.contains(&action), "{action} in {said:?}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_rolled_back_by_hand_and_stays_so() {
    let hq = FakePbx::start().await;
    let mut world = World::new();
    world.config(&granted("hq", &hq, ""));
    world.start().await;
    world.dialled(&hq, 1).await;

    let wasm = Tiny::version("2.0.0").component();
    let report = world.keeper().install(wasm, None, &admin()).await.unwrap();
    assert_eq!(changes(&report), ["plugin tiny installed", "connector hq swapped"]);
    assert_eq!(world.running("hq"), "2.0.0");
    world.hears("hq", &hq, "one\n").await;

    let report = world.keeper().roll_back("tiny", &admin()).await.unwrap();
    assert_eq!(changes(&report)[0], "connector hq rolled-back");
    assert_eq!(world.running("hq"), "1.0.0");
    world.hears("hq", &hq, "two\n").await;
    assert_eq!(hq.connections(), 1);
    world.keeper().reload(&admin()).await.unwrap();
    assert_eq!(world.running("hq"), "1.0.0");
    world.stop().await;
    world.start().await;
    assert_eq!(world.running("hq"), "1.0.0");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_builds_of_a_version_each_is_named_with_what_runs_it() {
    let hq = FakePbx::start().await;
    let mut world = World::new();
    world.config(&granted("hq", &hq, ""));
    world.start().await;
    world.dialled(&hq, 1).await;
    let first = Tiny::version("2.0.0").trapping_on(b'Q').component();
    let last = Tiny::version("2.0.0").component();
    for wasm in [&first, &last] {
        world.keeper().install(wasm.clone(), None, &admin()).await.unwrap();
    }
    let plugin = world.keeper().plugin("tiny").unwrap();
    let builds: Vec<_> = plugin.versions.iter().filter(|it| it.version == "2.0.0").collect();
    let hash = |at: usize| &builds[at].sha256[..12];

    let error = world.keeper().use_version("tiny", "2.0.0", &admin()).await.unwrap_err();
    let KeeperError::Conflict { message, fix } = error else { panic!("{error}") };
    assert!(message.starts_with("plugin tiny has 2 builds of 2.0.0: "), "{message}");
    let each: Vec<&str> = message.split(": ").nth(1).unwrap().split("; ").collect();
    assert!(each[0].starts_with(&format!("{}, installed 20", hash(0))), "{message}");
    assert!(each[0].ends_with(", runs in hq"), "{message}");
    assert!(each[1].starts_with(&format!("{}, installed 20", hash(1))), "{message}");
    assert!(!each[1].contains("runs"), "{message}");
    assert!(fix.contains(&format!("`jackfield plugin use tiny {}`", hash(0))), "{fix}");
    world.keeper().use_version("tiny", hash(1), &admin()).await.unwrap();
    assert_eq!(world.view("hq").running.unwrap().sha256, builds[1].sha256);

    // Nobody can mean another one.
    world.keeper().use_version("tiny", "latest", &admin()).await.unwrap();
    assert_eq!(world.view("hq").running.unwrap().sha256, builds[0].sha256);
    // What came last is not the highest.
    let fix_of_old = Tiny::version("1.5.0").component();
    world.keeper().install(fix_of_old, None, &admin()).await.unwrap();
    let error = world.keeper().use_version("tiny", "latest", &admin()).await.unwrap_err();
    let KeeperError::Conflict { message, .. } = error else { panic!("{error}") };
    assert!(message.contains("1.5.0 (") && message.contains("2.0.0 ("), "{message}");
    // And what was given up is not taken up by that word.
    world.keeper().use_version("tiny", hash(0), &admin()).await.unwrap();
    world.keeper().install(Tiny::version("3.0.0").component(), None, &admin()).await.unwrap();
    world.keeper().roll_back("tiny", &admin()).await.unwrap();
    let error = world.keeper().use_version("tiny", "latest", &admin()).await.unwrap_err();
    assert!(error.to_string().contains("was rolled back"), "{error}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_take_up_what_was_installed_is_named_with_the_fix() {
    let pbxs = [FakePbx::start().await, FakePbx::start().await, FakePbx::start().await];
    let mut world = World::new();
    let file = world.folder.path().join("plugins/tiny.wasm").display().to_string();
    let of_file =
        granted("file", &pbxs[1], "").replace("plugin = \"tiny\"", &format!("plugin = \"{file}\""));
    assert!(of_file.contains(&file));
    let pinned = granted("pinned", &pbxs[2], "version = \"1.0.0\"");
    world.config(&(granted("hq", &pbxs[0], "") + &of_file + &pinned));
    world.start().await;
    let wasm = Tiny::version("2.0.0").component();
    let report = world.keeper().install(wasm, None, &admin()).await.unwrap();
    assert_eq!(world.running("hq"), "2.0.0");
    let said: Vec<_> = report.warnings.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(said, ["connectors.file.plugin", "connectors.pinned.version"]);
    let [of_file, pinned] = &report.warnings[..] else { panic!("{report:?}") };
    assert!(of_file.message.contains(&file) && of_file.message.contains("tiny 2.0.0"));
    assert!(of_file.fix.contains("plugin = \"tiny\"") && of_file.place.line > 0, "{of_file:?}");
    assert!(pinned.message.contains("held at version 1.0.0"), "{pinned:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_updates_at_once_happen_one_after_the_other() {
    let hq = FakePbx::start().await;
    let mut world = World::new();
    world.config(&granted("hq", &hq, ""));
    world.start().await;
    world.dialled(&hq, 1).await;
    let (two, three) = (Tiny::version("2.0.0").component(), Tiny::version("3.0.0").component());
    let who = admin();
    let (first, second) = tokio::join!(
        world.keeper().install(two, None, &who),
        world.keeper().install(three, None, &who)
    );
    assert!(first.is_ok() && second.is_ok());
    let plugin = world.keeper().plugin("tiny").unwrap();
    assert_eq!(plugin.versions.len(), 3);
    let selected = plugin.selected.unwrap();
    assert_eq!(world.view("hq").running.unwrap().sha256, selected);
    assert_eq!(hq.connections(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_in_use_is_not_uninstalled_and_one_that_is_not_is() {
    let hq = FakePbx::start().await;
    let mut world = World::new();
    world.config(&granted("hq", &hq, ""));
    world.start().await;
    let error = world.keeper().uninstall("tiny", &admin()).await.unwrap_err();
    assert!(
        matches!(&error, KeeperError::Conflict { message, .. } if message.contains("hq")),
        "{error}"
    );
    world.keeper().change("hq", serde_json::json!({"enabled": false}), &admin()).await.unwrap();
    world.keeper().uninstall("tiny", &admin()).await.unwrap();
    assert!(world.keeper().plugin("tiny").is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_plugin_is_not_installed_and_says_why() {
    let mut world = World::new();
    world.config("");
    world.start().await;
    let error = world.keeper().install(b"PK\x03\x04".to_vec(), None, &admin()).await.unwrap_err();
    assert!(matches!(error, KeeperError::Install { ours: false, .. }), "{error}");
    assert!(world.keeper().plugins().is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drafts_go_but_none_that_runs_is_named_or_is_on_trial() {
    let (hq, branch) = (FakePbx::start().await, FakePbx::start().await);
    let draft = |number: usize| draft_of("1.0.0", 1_795_338_000_000 + number as u64);
    let mut world = World::new();
    let named = format!("enabled = false\nversion = \"{}\"", draft(1));
    let canary = format!(
        "[hooks.instances.trial]\nplugin = \"tiny\"\ncanary = {{ version = \"{}\", percent = 10 }}\n",
        draft(2)
    );
    world.config(&(granted("hq", &hq, "") + &granted("branch", &branch, &named) + &canary));
    world.plugin(&Tiny::version(&draft(0)));
    world.start().await;
    assert_eq!(world.running("hq"), draft(0));
    // They ask for more than is granted: the connector goes on with that one.
    let asks = r#", "http": [{ "host": "crm.example.org", "reason": "to look up callers" }]"#;
    for number in 1..MAX_DRAFTS + 5 {
        let tiny = Tiny::version(&draft(number)).asking(asks);
        world.keeper().install(tiny.component(), None, &admin()).await.unwrap();
    }
    assert_eq!(world.running("hq"), draft(0));
    let plugin = world.keeper().plugin("tiny").unwrap();
    let kept: Vec<&str> = plugin.versions.iter().map(|it| it.version.as_str()).collect();
    for number in [0, 1, 2] {
        assert!(kept.contains(&draft(number).as_str()), "{number}: {kept:?}");
    }
    assert_eq!(kept.len(), 3 + MAX_DRAFTS, "{kept:?}");
    let audit = world.keeper().audit(0, 1000).unwrap();
    let forgotten = audit.iter().filter(|it| it.action == "plugin.forget");
    let forgotten: Vec<&str> = forgotten.map(|it| it.detail.as_str()).collect();
    assert_eq!(forgotten.len(), 2, "{forgotten:?}");
    assert!(forgotten[0].contains(&draft(3)) && forgotten[1].contains(&draft(4)), "{forgotten:?}");
    world.stop().await;
    world.start().await;
    assert_eq!(world.running("hq"), draft(0));
    world.stop().await;
}
