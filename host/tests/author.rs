//! `jackfield plugin new`, `build`, `check` and `pack` as an author meets them: in a fresh folder, with a real toolchain.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// Built once for all tests and runs: only the plugin itself is compiled anew.
fn cache() -> PathBuf {
    let bin = Path::new(env!("CARGO_BIN_EXE_jackfield"));
    bin.ancestors().nth(2).expect("target/debug/jackfield").join("test-cache")
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jackfield"));
    command.arg("plugin").args(arguments).current_dir(folder).env("CARGO_TARGET_DIR", cache());
    command
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

fn works(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Fails with this exit code; answers what it said.
fn fails(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{}", text(&output));
    text(&output)
}

fn begun(kind: &str, name: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    works(&mut command(folder.path(), &["new", "--kind", kind, name]));
    let root = folder.path().join(name);
    (folder, root)
}

fn replace(file: &Path, from: &str, to: &str) {
    let before = fs::read_to_string(file).unwrap();
    assert!(before.contains(from), "{} has no {from}", file.display());
    fs::write(file, before.replace(from, to)).unwrap();
}

/// What a template promises: it builds, a host takes it, its scenarios and its unit tests pass, without a warning.
fn template(kind: &str, name: &str) {
    let (_folder, root) = begun(kind, name);
    works(&mut command(&root, &["build"]));
    let tried: Value =
        serde_json::from_str(&works(&mut command(&root, &["test", "--json"]))).unwrap();
    let files = fs::read_dir(root.join("scenarios")).unwrap().count();
    assert!(files > 0 && tried["passed"] == true, "{tried:#}");
    assert_eq!(tried["scenarios"].as_array().unwrap().len(), files, "{tried:#}");
    let report: Value =
        serde_json::from_str(&works(&mut command(&root, &["check", "--json"]))).unwrap();
    assert_eq!(report["ok"], true);
    let contract = serde_json::json!({ "version": "0.1.0", "fits": true, "difference": null });
    assert!(report["contracts"].as_array().unwrap().contains(&contract), "{report:#}");
    assert!(report["kinds"].as_array().unwrap().contains(&kind.into()), "{report:#}");
    let loaded = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .any(|it| it["about"] == "load" && it["level"] == "ok");
    assert!(loaded, "{report:#}");
    let again: Value =
        serde_json::from_str(&works(&mut command(&root, &["build", "--json"]))).unwrap();
    assert_eq!(again["unchanged"], true, "the same sources give the same bytes");
    replace(&root.join("src/lib.rs"), "\n#[cfg(test)]", "\n// Saved once more.\n#[cfg(test)]");
    let rebuilt = works(&mut command(&root, &["build", "--json"]));
    let rebuilt: Value = serde_json::from_str(&rebuilt).unwrap();
    eprintln!("{name}: built again after a save in {:.1} s", rebuilt["took"].as_f64().unwrap());
    let mut tests = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    tests
        // Not the examples in docs: they are built when cargo has let go of the shared folder.
        .args(["test", "--lib"])
        .current_dir(&root)
        .env("CARGO_TARGET_DIR", cache())
        .env("RUSTFLAGS", "-Dwarnings");
    works(&mut tests);
}

// Their names are words that the language, the SDK or its macros have too.

#[test]
fn a_connector_in_rust_builds_as_it_is() {
    template("connector", "plugin");
}

#[test]
fn a_router_in_rust_builds_as_it_is() {
    template("router", "router");
}

#[test]
fn a_wait_treatment_in_rust_builds_as_it_is() {
    template("wait-treatment", "self");
}

#[test]
fn an_observer_in_rust_builds_as_it_is() {
    template("observer", "option");
}

/// What an example promises: what its README tells to type builds it, a host takes it, its scenarios and its unit
/// tests pass.
fn example(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let readme = fs::read_to_string(examples.join(name).join("README.md")).unwrap();
    let block = readme.split("```\n").nth(1).expect("what to type");
    symlink(examples.canonicalize().unwrap(), folder.path().join("examples")).unwrap();
    symlink(env!("CARGO_BIN_EXE_jackfield"), folder.path().join("jackfield")).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut typed = Command::new("sh");
    typed.args(["-ec", block]).current_dir(folder.path()).env("CARGO_TARGET_DIR", cache());
    works(typed.env("PATH", format!("{}:{path}", folder.path().display())));
    let root = folder.path().join(name);
    works(&mut command(&root, &["check", "--strict"]));
    works(&mut command(&root, &["test"]));
    let mut tests = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    works(tests.args(["test", "--lib"]).current_dir(&root).env("CARGO_TARGET_DIR", cache()));
}

#[test]
fn the_router_that_asks_a_crm_builds_from_a_new_project() {
    example("crm-router");
}

#[test]
fn the_connector_of_the_bellboard_builds_from_a_new_project() {
    example("bellboard");
}

#[test]
fn nothing_is_overwritten() {
    let (folder, root) = begun("router", "precious");
    replace(&root.join("src/lib.rs"), "on the VIP list", "precious");
    let told = fails(&mut command(folder.path(), &["new", "--kind", "router", "precious"]), 2);
    assert!(told.contains("nothing is overwritten"), "{told}");
    assert!(fs::read_to_string(root.join("src/lib.rs")).unwrap().contains("precious"));
}

#[test]
fn words_that_name_nothing_are_refused_with_those_that_do() {
    let folder = tempfile::tempdir().unwrap();
    let told = fails(&mut command(folder.path(), &["new", "--kind", "teleporter", "x"]), 2);
    assert!(told.contains("connector, router, wait-treatment, observer"), "{told}");
    let told = fails(&mut command(folder.path(), &["new", "--kind", "router", "No Spaces"]), 2);
    assert!(told.contains("e.g. `vip-desk`"), "{told}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_place_that_is_none_is_told_with_one_that_would_do() {
    let (folder, root) = begun("router", "placed");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let begin = |place: &str| command(folder.path(), &["new", "--kind", "router", "x", place]);
    let told = fails(&mut begin("file"), 2);
    assert!(told.contains("/file exists and is no folder; fix:"), "{told}");
    let told = fails(&mut begin("file/x"), 2);
    assert!(told.contains("cannot write") && told.contains("/file/x/"), "{told}");
    assert!(told.contains("fix:"), "{told}");
    // Not the project around it.
    for line in [&["build", "nowhere"][..], &["test", "nowhere.toml"], &["run", "nowhere"]] {
        let told = fails(command(&root, line).env("JACKFIELD_TOKEN", "jf_a_b"), 2);
        assert!(told.contains("there is no ") && told.contains("nowhere"), "{told}");
        assert!(told.contains("fix:"), "{told}");
    }
    let told = fails(&mut command(&root, &["check"]), 1);
    assert!(told.contains("was not built; fix: `jackfield plugin build`"), "{told}");
}

#[test]
fn a_folder_without_a_project_is_told_how_to_begin_one() {
    let folder = tempfile::tempdir().unwrap();
    for verb in ["build", "check", "pack"] {
        let told = fails(&mut command(folder.path(), &[verb]), 2);
        assert!(told.contains("no plugin.toml") && told.contains("jackfield plugin new"), "{told}");
    }
}

#[test]
fn a_mistake_in_plugin_toml_is_told_by_its_key() {
    let (_folder, root) = begun("router", "mistaken");
    let file = root.join("plugin.toml");
    for (from, to, told) in [
        ("kind = \"router\"", "kind = \"rooter\"", "kind: `rooter` is none of connector, router"),
        ("kind = \"rooter\"", "colour = \"red\"\nkind = \"router\"", "unknown field `colour`"),
        ("colour = \"red\"\n", "", ""),
        ("id = \"mistaken\"", "id = \"Not An Id\"", "`id` is wrong"),
        ("id = \"Not An Id\"", "id = \"mistaken\"", ""),
        ("version = \"0.1.0\"", "version = \"latest\"", "`version` is wrong"),
        ("version = \"latest\"", "version = \"0.1.0\"", ""),
        ("lang = \"rust\"", "lang = \"rust", "fix: mend that line"),
        ("lang = \"rust\n", "lang = \"rust\"\n", ""),
        ("settings.schema.json", "nowhere.json", "nowhere.json"),
    ] {
        replace(&file, from, to);
        if !told.is_empty() {
            let said = fails(&mut command(&root, &["build"]), 2);
            assert!(
                said.contains(told) && said.contains("plugin.toml") | said.contains("nowhere"),
                "{said}"
            );
        }
    }
}

#[test]
fn without_a_toolchain_it_says_what_it_tried_and_the_fix() {
    let (_folder, root) = begun("router", "toolless");
    let mut build = command(&root, &["build", "--offline"]);
    build
        .env("PATH", "/nowhere")
        .env("XDG_CACHE_HOME", "/nowhere")
        .env_remove("JACKFIELD_PLUGIN_RUSTC");
    let told = fails(&mut build, 1);
    for part in [
        "rustc on PATH",
        "private toolchain",
        "--offline",
        "rustup target add wasm32-unknown-unknown",
        "JACKFIELD_PLUGIN_RUSTC",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
}

#[test]
fn a_wrong_toolchain_is_named() {
    let (_folder, root) = begun("router", "wrong-tool");
    let told = fails(command(&root, &["build"]).env("JACKFIELD_PLUGIN_RUSTC", "/bin/false"), 1);
    assert!(told.contains("JACKFIELD_PLUGIN_RUSTC: /bin/false"), "{told}");
}

#[test]
fn broken_wit_in_a_project_is_told_with_its_place() {
    let (_folder, root) = begun("router", "broken-wit");
    fs::create_dir(root.join("wit")).unwrap();
    fs::write(root.join("wit/mine.wit"), "package a:b;\n\ninterface broken { func }\n").unwrap();
    let told = fails(&mut command(&root, &["build"]), 1);
    assert!(told.contains("mine.wit:3") && told.contains("fix:"), "{told}");
}

#[test]
fn what_does_not_compile_shows_the_compilers_words() {
    let (_folder, root) = begun("router", "miswritten");
    replace(
        &root.join("src/lib.rs"),
        "fn usual_priority() -> i32",
        "fn usual_priority() -> String",
    );
    let told = fails(&mut command(&root, &["build"]), 1);
    assert!(told.contains("mismatched types") && told.contains("src/lib.rs"), "{told}");
}

#[test]
fn a_plugin_that_registers_nothing_is_refused() {
    let (_folder, root) = begun("router", "forgetful");
    replace(&root.join("src/lib.rs"), "register_router!(Forgetful, settings);", "");
    replace(&root.join("src/lib.rs"), "\n    register_router,\n", "\n");
    let told = fails(&mut command(&root, &["build"]), 1);
    assert!(told.contains("register"), "{told}");
}

#[test]
fn a_packed_version_is_complete_and_never_changes() {
    let (_folder, root) = begun("router", "packed");
    replace(&root.join("plugin.toml"), "author = \"You\"", "author = \"Ada\"");
    let packed: Value =
        serde_json::from_str(&works(&mut command(&root, &["pack", "--json"]))).unwrap();
    let folder = root.join("dist/packed-0.1.0");
    let wasm = folder.join("packed-0.1.0.wasm");
    works(Command::new("sha256sum").args(["--check", "SHA256"]).current_dir(&folder));
    assert!(
        fs::read_to_string(folder.join("SHA256"))
            .unwrap()
            .starts_with(packed["sha256"].as_str().unwrap())
    );
    works(&mut command(&root, &["check", wasm.to_str().unwrap(), "--strict", "--quick"]));
    // The same again is fine; other bytes under the same version are not.
    works(&mut command(&root, &["pack"]));
    let old = root.join("old.wasm");
    fs::copy(&wasm, &old).unwrap();
    replace(&root.join("plugin.toml"), "of their own.", "of their very own.");
    let told = fails(&mut command(&root, &["pack"]), 1);
    assert!(told.contains("was packed before") && told.contains("count `version`"), "{told}");

    // An update that asks for more is told before anybody installs it.
    replace(&root.join("plugin.toml"), "version = \"0.1.0\"", "version = \"0.2.0\"");
    let manifest = root.join("plugin.toml");
    let more = fs::read_to_string(&manifest).unwrap()
        + "\n[[http]]\nhost = \"crm.example.org\"\nreason = \"To look up.\"\n";
    fs::write(&manifest, more).unwrap();
    works(&mut command(&root, &["build"]));
    let against = ["check", "--quick", "--against", old.to_str().unwrap()];
    let told = works(&mut command(&root, &against));
    assert!(told.contains("http:crm.example.org is asked for anew"), "{told}");
}

#[test]
fn what_is_no_plugin_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.wasm");
    for (bytes, told) in [
        (&b"hello"[..], "not WebAssembly"),
        (b"\0asm\x01\0\0\0", "core module"),
        (b"\0asm\x0d\0\x01\0", "exports nothing"),
    ] {
        fs::write(&file, bytes).unwrap();
        let said = fails(&mut command(folder.path(), &["check", "x.wasm"]), 1);
        assert!(said.contains(told), "{said}");
    }
}
