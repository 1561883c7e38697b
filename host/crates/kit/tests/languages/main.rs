//! TypeScript and Python from `plugin new` to a plugin that answers: every template and every example.
//!
//! The tools are fetched once into `target/test-cache`; cargo runs two of these at a time on two cores. Without node or
//! python3 they fail in CI and skip aloud elsewhere.

mod ask;
mod examples;
mod helpers;
mod mistakes;
mod templates;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use kit::{
    build::{self, Options},
    languages::language,
    play::play,
    project::{Lang, Project},
    report::{self, Paint},
    scenario::Scenario,
};
use plugin_runtime::{Plugin, Runtime};

/// One engine with a cache of compiled plugins: compiling Python takes ten seconds.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let folder = cache().join("compiled");
    std::fs::create_dir_all(&folder).unwrap();
    Runtime::new(Some(&folder)).unwrap()
});

/// Where the tools are kept from one run to the next.
fn cache() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let target = target.unwrap_or_else(|| root.join("target"));
    let folder = target.join("test-cache");
    std::fs::create_dir_all(&folder).unwrap();
    folder.canonicalize().unwrap()
}

fn options() -> Options {
    Options { target_dir: Some(cache()), ..Options::default() }
}

/// Is the language's interpreter here? Its absence is an error where everything must be tried.
fn may_run(lang: Lang) -> bool {
    let (program, fix) = match lang {
        Lang::Rust => return true,
        Lang::Ts => ("node", "apt-get install nodejs npm"),
        Lang::Python => ("python3", "apt-get install python3 python3-pip"),
    };
    if Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success()) {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "no {program}: {fix}");
    eprintln!("SKIPPED: no {program} ({fix})");
    false
}

/// Builds the project, runs its unit tests, loads what was built, and prints what it cost.
fn built(root: &Path) -> Plugin {
    let project = Project::load(root).unwrap();
    let say = |line: &str| eprintln!("{}: {line}", project.manifest.id);
    let built =
        build::build(&project, &options(), &say).unwrap_or_else(|error| panic!("{error:#}"));
    let took = built.took.as_secs_f64();
    eprintln!(
        "{} in {}: {} KiB in {took:.1} s",
        project.kind.code(),
        project.lang,
        built.bytes / 1024
    );
    let mut tests = language(project.lang).unit_tests(&project, &options()).unwrap();
    let output = tests.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    let wasm = std::fs::read(project.component()).unwrap();
    let plugin = RUNTIME.load(&wasm).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(plugin.kinds(), [project.kind]);
    assert_eq!(plugin.manifest(), &project.manifest);
    let files = project.scenarios();
    assert!(!files.is_empty(), "no scenarios");
    for file in files {
        let scenario = Scenario::load(&file, None).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let played = play(&plugin, &scenario, kit::play::Options::default());
        assert!(played.passed(), "{}", report::scenarios(&[played], Paint::new(false), true));
    }
    plugin
}
