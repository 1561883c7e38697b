//! Plugins as they were built against each released version of the contract: they load and work in this host, for ever.

mod support {
    pub mod asterisk;
    mod plugins;
    pub use plugins::*;
}

use std::{
    fs,
    path::{Path, PathBuf},
};

use kit::{
    Silent,
    conformance::{self, Conversation, Holds, Turn, conform},
    play,
    scenario::Scenario,
};
use plugin_runtime::Plugin;
use support::{
    asterisk::{Asterisk, setup, transcripts},
    root, runtime,
};

/// Tries at each law; all of them are for the connector of today.
const ROUNDS: u32 = 5;

#[test]
fn every_plugin_of_the_museum_still_does_what_it_did() {
    let versions: Vec<PathBuf> =
        entries(&root().join("tests/museum")).into_iter().filter(|path| path.is_dir()).collect();
    assert!(!versions.is_empty(), "the museum is empty");
    for version in versions {
        let mut plugins = entries(&version);
        plugins.retain(|path| path.extension().is_some_and(|it| it == "wasm"));
        assert!(!plugins.is_empty(), "{version:?} keeps no plugin");
        for file in plugins {
            let wasm = fs::read(&file).unwrap();
            let plugin = runtime().load(&wasm).unwrap_or_else(|error| panic!("{file:?}: {error}"));
            let scenario = file.with_extension("toml");
            if scenario.exists() {
                plays(&plugin, &scenario);
            } else {
                speaks_with_asterisk(&plugin);
            }
        }
    }
}

fn plays(plugin: &Plugin, scenario: &Path) {
    let scenario = Scenario::load(scenario, None).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let failures = play::play(plugin, &scenario, play::Options::default()).failures;
    assert!(failures.is_empty(), "{:?}: {failures:#?}", scenario.file);
}

fn speaks_with_asterisk(plugin: &Plugin) {
    let recorded = transcripts();
    let answered = recorded.iter().find(|it| it.name == "answered").expect("it is kept");
    let conversation = Conversation {
        name: answered.name.clone(),
        setup: setup(plugin),
        pbx: Box::new(|| Box::new(Asterisk::new(answered))),
        turns: answered.turns.iter().map(|(at, _)| Turn { at: *at, command: None }).collect(),
    };
    let options = conformance::Options { rounds: ROUNDS, ..conformance::Options::default() };
    let report = conform(&[conversation], options, &Silent).expect("it starts");
    for verdict in &report.laws {
        assert_ne!(verdict.holds, Holds::Broken, "{verdict:#?}");
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
