//! Plugins as they were built against each released version of the contract: they load and work in this host, for ever.

mod support {
    mod plugins;
    pub use plugins::*;
}

use std::{fs, path::PathBuf};

use kit::{
    play::{self, Options},
    scenario::Scenario,
};
use support::{root, runtime};

fn entries(folder: PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_plugin_of_the_museum_still_does_what_it_did() {
    let mut played = 0;
    for version in entries(root().join("tests/museum")).into_iter().filter(|path| path.is_dir()) {
        let plugins = entries(version.clone());
        let plugins = plugins.iter().filter(|path| path.extension().is_some_and(|it| it == "wasm"));
        let before = played;
        for file in plugins {
            let wasm = fs::read(file).unwrap();
            let plugin = runtime().load(&wasm).unwrap_or_else(|error| panic!("{file:?}: {error}"));
            let scenario = Scenario::load(&file.with_extension("toml"), None)
                .unwrap_or_else(|mistakes| panic!("{mistakes}"));
            let failures = play::play(&plugin, &scenario, Options::default()).failures;
            assert!(failures.is_empty(), "{file:?}: {failures:#?}");
            played += 1;
        }
        assert!(played > before, "{version:?} keeps no plugin");
    }
    assert!(played > 0, "the museum is empty");
}
