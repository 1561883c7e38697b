//! The scenarios of the bundled hooks, played with the components that are shipped.

#[path = "support/plugins.rs"]
mod plugins;

use std::path::Path;

use kit::{
    play::{Options, play},
    scenario::{Scenario, files},
};

fn every_scenario_passes(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../plugins").join(name);
    let files = files(&folder.join("scenarios")).expect("scenarios");
    assert!(files.len() > 1, "{}: {files:?}", folder.display());
    let plugin = plugins::plugin(name);
    let mut failed = Vec::new();
    for file in files {
        let scenario = Scenario::load(&file, None).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let played = play(&plugin, &scenario, Options::default());
        failed.extend(
            played.failures.into_iter().map(|failure| format!("{}: {failure:#?}", file.display())),
        );
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn business_hours_does_what_its_scenarios_say() {
    every_scenario_passes("business-hours");
}

#[test]
fn skills_does_what_its_scenarios_say() {
    every_scenario_passes("skills");
}

#[test]
fn standard_treatment_does_what_its_scenarios_say() {
    every_scenario_passes("standard-treatment");
}

#[test]
fn webhook_does_what_its_scenarios_say() {
    every_scenario_passes("webhook");
}
