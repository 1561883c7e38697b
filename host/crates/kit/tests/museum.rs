//! Plugins as they were built against each released version of the contract: they load and work in this host, for ever.

mod support {
    pub mod asterisk;
    mod plugins;
    pub use plugins::*;
}

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use kit::{
    Silent,
    conformance::{self, Command, Conversation, Holds, Turn, conform},
    play,
    scenario::Scenario,
};
use plugin_runtime::{Kind, Plugin};
use sha2::{Digest, Sha256};
use support::{
    asterisk::{Asterisk, Transcript, setup, transcripts},
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
            if plugin.kinds() == [Kind::Connector] {
                speaks_with_asterisk(&plugin);
            } else {
                plays(&plugin, &file.with_extension("toml"));
            }
        }
    }
}

#[test]
fn nothing_in_the_museum_was_changed_or_added_since_it_was_kept() {
    for version in entries(&root().join("tests/museum")).into_iter().filter(|path| path.is_dir()) {
        let sums = fs::read_to_string(version.join("SHA256SUMS")).unwrap();
        let kept: BTreeMap<String, String> = sums
            .lines()
            .map(|line| line.split_once("  ").expect("a sum and a name"))
            .map(|(sum, name)| (name.to_owned(), sum.to_owned()))
            .collect();
        let mut found = BTreeMap::new();
        summed(&version, &version, &mut found);
        found.remove("SHA256SUMS");
        assert_eq!(found, kept, "a released version never changes: {version:?}");
    }
}

fn summed(folder: &Path, version: &Path, found: &mut BTreeMap<String, String>) {
    for path in entries(folder) {
        if path.is_dir() {
            summed(&path, version, found);
            continue;
        }
        let sum = Sha256::digest(fs::read(&path).unwrap());
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        found.insert(path.strip_prefix(version).unwrap().display().to_string(), sum);
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
    let quiet = Transcript { name: "pause".into(), ..Transcript::default() };
    let pause = Command {
        kind: "pause".into(),
        arguments: vec![("interface".into(), "PJSIP/1001".into())],
        within: Duration::from_secs(30),
    };
    let conversations = [
        Conversation {
            name: answered.name.clone(),
            setup: setup(plugin),
            pbx: Box::new(|| Box::new(Asterisk::new(answered))),
            turns: answered.turns.iter().map(|(at, _)| Turn { at: *at, command: None }).collect(),
        },
        Conversation {
            name: quiet.name.clone(),
            setup: setup(plugin),
            pbx: Box::new(|| Box::new(Asterisk::new(&quiet))),
            turns: vec![Turn { at: Duration::from_secs(12), command: Some(pause) }],
        },
    ];
    let options = conformance::Options { rounds: ROUNDS, ..conformance::Options::default() };
    let report = conform(&conversations, options, &Silent).expect("it starts");
    for verdict in &report.laws {
        assert_eq!(verdict.holds, Holds::Holds, "{verdict:#?}");
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
