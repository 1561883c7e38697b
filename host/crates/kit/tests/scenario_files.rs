//! Scenario files are read, and mistakes in them are told with their place and the fix.
//!
//! `bad/<name>.toml` is a file with mistakes, `bad/<name>.complaints` what must be said about it. Adding the two
//! files adds a test.

use std::{fs, path::Path};

use kit::scenario::{KINDS, Kind, Scenario};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn each_mistake_is_told_with_its_place_and_the_fix() {
    let mut wrong = Vec::new();
    let mut tried = 0;
    for entry in fs::read_dir(Path::new(ROOT).join("tests/bad")).expect("the folder is there") {
        let file = entry.expect("a file").path();
        if file.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        tried += 1;
        let text = fs::read_to_string(&file).expect("it is text");
        let name = file.file_name().expect("a name");
        let said = match Scenario::parse(Path::new(name), &text, None) {
            Ok(_) => "nothing\n".to_owned(),
            Err(mistakes) => format!("{mistakes}\n"),
        };
        let expected = fs::read_to_string(file.with_extension("complaints")).unwrap_or_default();
        if said != expected {
            wrong.push(format!("== {}\n{said}", name.display()));
        }
    }
    assert!(tried > 4, "only {tried} files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_example_of_the_documentation_is_read() {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/scenarios.md")).expect("the page");
    let mut kinds = Vec::new();
    for block in page.split("```toml\n").skip(1) {
        let text = block.split("```").next().expect("a block");
        if !text.contains("kind = ") {
            continue;
        }
        match Scenario::parse(Path::new("scenarios.md"), text, None) {
            Ok(scenario) => kinds.push(scenario.kind()),
            Err(mistakes) => panic!("{mistakes}\n{text}"),
        }
    }
    assert_eq!(kinds, KINDS);
}

#[test]
fn a_file_that_does_not_say_its_kind_is_about_the_kind_the_plugin_is() {
    let text = "[[step]]\nexpect = { pass = true }\n";
    let scenario = Scenario::parse(Path::new("a.toml"), text, Some(Kind::Router)).expect("good");
    assert_eq!(scenario.kind(), Kind::Router);
    assert_eq!(scenario.title, "a");
}

#[test]
fn a_file_that_is_not_there_is_told_by_its_name() {
    let error = Scenario::load(Path::new("no/such.toml"), None).unwrap_err().to_string();
    assert!(error.starts_with("no/such.toml:1:1: cannot be read"), "{error}");
}
