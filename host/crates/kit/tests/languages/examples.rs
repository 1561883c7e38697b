//! The examples in these languages: what lies in `examples/` is all an author wrote, and it builds and answers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kit::project::Lang;
use plugin_runtime::hooks::{Cause, ObserverAction, QueueTarget, Step, Target};

use crate::{
    ask::{Watching, treat},
    built, may_run,
};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples")
}

/// A copy as it would come out of version control: without what a build leaves behind.
fn copied(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&examples().join(name), folder.path());
    folder
}

fn copy(from: &Path, to: &Path) {
    const MADE: [&str; 7] =
        ["build", "node_modules", "sdk", "wit", "stubs", "jackfield", "__pycache__"];
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if MADE.iter().any(|made| entry.file_name() == *made) {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn the_announced_wait_in_typescript_plays_announces_and_lets_a_key_end_it() {
    if !may_run(Lang::Ts) {
        return;
    }
    let plugin = built(copied("announced-wait").path());
    let settings = r#"{"announcement":"please-wait","queue":"vip","every_secs":10}"#;
    let plans = treat(&plugin, settings, &[Cause::Started, Cause::Finished, Cause::Key('1')]);
    let play = Step::Play(vec!["please-wait".into()]);
    assert_eq!(plans[0].steps.as_ref().unwrap().last(), Some(&play));
    assert_eq!(plans[1].steps.as_ref().unwrap().last(), Some(&play));
    let [Step::HandOver(Some(Target::Queue(QueueTarget { name, priority, .. })))] =
        &plans[2].steps.as_ref().unwrap()[..]
    else {
        panic!("{plans:?}")
    };
    assert_eq!((name.as_str(), *priority), ("vip", Some(5)));
    assert_eq!(plans[2].reason, "pressed 1 after 0 s and 1 announcements");
}

#[test]
fn the_missed_calls_in_python_are_told_before_they_are_acknowledged() {
    if !may_run(Lang::Python) {
        return;
    }
    let plugin = built(copied("missed-calls").path());
    let mut watching = Watching::start(&plugin, r#"{"url":"https://chat.example.org/in"}"#);
    let left =
        r#"{"entry":"entry-1","queue":"queue-3","data":{"exit":"abandoned","waited_ms":42000}}"#;
    let asked = watching.event(2, "caller.left", left);
    assert!(
        matches!(&asked[..], [ObserverAction::Lookup(lookup)] if lookup.id == "who-2"),
        "{asked:?}"
    );
    let posted = watching.answer("who-2", 200, r#"{"name":"Ada","e164":"+4930123456"}"#);
    assert!(
        matches!(&posted[..], [ObserverAction::Lookup(lookup)] if lookup.id == "post-2"),
        "{posted:?}"
    );
    let done = watching.answer("post-2", 200, "");
    assert!(matches!(&done[..], [ObserverAction::Store(_), ObserverAction::Ack(2)]), "{done:?}");
}

#[test]
fn examples_pin_the_tools_that_new_projects_get() {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    for (example, template, files) in [
        (
            "announced-wait",
            "ts",
            &["package.json", "package-lock.json", "tsconfig.json", "test/tsconfig.json"][..],
        ),
        (
            "missed-calls",
            "python",
            &["requirements.txt", "pyproject.toml", "tests/__init__.py"][..],
        ),
    ] {
        for file in files {
            let read = |path: PathBuf| {
                fs::read_to_string(&path)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            };
            let ours = read(examples().join(example).join(file));
            assert_eq!(
                ours,
                read(templates.join(template).join("common").join(file)),
                "{example}/{file}"
            );
        }
    }
}
