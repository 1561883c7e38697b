//! What `plugins/sdk/docs/debugging.md` tells people to type is typed here.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A folder with a connector, its scenario, and `jackfield`.
fn desk() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let built = std::env::var_os("JACKFIELD_PLUGINS_DIR").map(PathBuf::from);
    let built = built.unwrap_or_else(|| root().join("target/plugins")).join("test/faulty.wasm");
    fs::copy(&built, folder.path().join("faulty.wasm"))
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask plugins`", built.display()));
    let scenario = root().join("tests/scenarios/shop.toml");
    fs::copy(scenario, folder.path().join("shop.toml")).expect("the scenario is there");
    symlink(env!("CARGO_BIN_EXE_jackfield"), folder.path().join("jackfield")).expect("a link");
    folder
}

fn typed(folder: &Path, line: &str) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("sh")
        .args(["-ec", line])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", folder.display()))
        .env("JACKFIELD_CACHE_DIR", folder.join("cache"))
        .output()
        .expect("there is a shell")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn every_command_of_the_page_works() {
    let page = fs::read_to_string(root().join("plugins/sdk/docs/debugging.md")).expect("the page");
    let desk = desk();
    let mut tried = 0;
    for block in page.split("```sh\n").skip(1) {
        let line = block.split("```").next().expect("a block");
        let output = typed(desk.path(), line);
        assert!(output.status.success(), "{line}{}", text(&output));
        tried += 1;
    }
    assert_eq!(tried, 5);
    let json = fs::read_to_string(desk.path().join("before.json")).expect("it was written");
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["passed"], true);
    assert_eq!(json["scenarios"][0]["title"], "a small shop");
}

#[test]
fn a_broken_law_has_exit_code_1_and_names_itself() {
    let desk = desk();
    let break_it = "sed -i 's/breaks = \"none\"/breaks = \"snapshot\"/' shop.toml";
    assert!(typed(desk.path(), break_it).status.success());
    let line = "jackfield plugin conform --component faulty.wasm shop.toml --rounds 50 --json";
    let output = typed(desk.path(), line);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let broken: Vec<&str> = report["laws"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|law| law["holds"] == "broken")
        .filter_map(|law| law["law"].as_str())
        .collect();
    assert_eq!(broken, ["snapshot"]);
    let output = typed(desk.path(), "jackfield plugin test --component faulty.wasm shop.toml");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("FAIL shop.toml"), "{}", text(&output));
}

#[test]
fn a_scenario_with_a_mistake_has_exit_code_2_and_its_line() {
    let desk = desk();
    fs::write(desk.path().join("typo.toml"), "kind = \"connector\"\nsetings = {}\n")
        .expect("written");
    let output = typed(desk.path(), "jackfield plugin test --component faulty.wasm typo.toml");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(
        text(&output).contains("typo.toml:2:1: setings: no such key; did you mean `settings`?"),
        "{}",
        text(&output)
    );
    let output = typed(
        desk.path(),
        "jackfield plugin test --component faulty.wasm shop.toml --filter nothing",
    );
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}
