//! What the SDKs make for an author: it fits the contract of today, and so do the stubs that stand in for it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kit::{
    languages::language,
    project::{Lang, Project},
    template,
};
use plugin_runtime::Kind;

use crate::{cache, may_run, options};

/// Files that componentize-py makes and no unit test needs.
const LEFT_OUT: [&str; 3] =
    ["componentize_py_async_support", "componentize_py_runtime.pyi", "poll_loop.py"];

/// A new project with one more unit test; its unit tests pass.
fn tested(kind: Kind, lang: Lang, name: &str, test: &str) {
    if !may_run(lang) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    template::begin("my-plugin", kind, lang, folder.path()).unwrap();
    fs::write(folder.path().join(name), test).unwrap();
    let project = Project::load(folder.path()).unwrap();
    let output = language(lang).unit_tests(&project, &options()).unwrap().output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn what_the_sdk_in_typescript_makes_fits_the_contract() {
    let test = include_str!("helpers/helpers.test.ts");
    tested(Kind::Router, Lang::Ts, "test/helpers.test.ts", test);
}

#[test]
fn what_the_sdk_in_python_makes_fits_the_contract() {
    for (kind, test) in [
        (Kind::Router, include_str!("helpers/router.py")),
        (Kind::WaitTreatment, include_str!("helpers/wait-treatment.py")),
        (Kind::Observer, include_str!("helpers/observer.py")),
        (Kind::Connector, include_str!("helpers/connector.py")),
    ] {
        tested(kind, Lang::Python, "tests/test_helpers.py", test);
    }
}

/// The stubs of a project in Python are what the tool that builds it makes of its WIT files.
pub fn stubs_are_fresh(root: &Path, kind: Kind) {
    let made = root.join("build/bindings");
    let mut bindings = Command::new("python3");
    bindings.args(["-B", "-c", "from componentize_py import script; raise SystemExit(script())"]);
    bindings
        .arg("-d")
        .arg(root.join("wit"))
        .arg("-w")
        .arg(format!("jackfield:sdk/{}@0.1.0", kind.code()));
    bindings.arg("bindings").arg(&made).env("PYTHONPATH", tools());
    let output = bindings.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (ours, theirs) = (texts(&root.join("stubs")), texts(&made));
    assert!(!theirs.is_empty(), "componentize-py made nothing");
    for (file, text) in &theirs {
        assert!(
            ours.get(file) == Some(text),
            "templates/python/stubs/{}/{} is not of today's contract; fix: `componentize-py bindings`, without {}",
            kind.code(),
            file.display(),
            LEFT_OUT.join(", ")
        );
    }
    assert!(
        ours.keys().eq(theirs.keys()),
        "stubs that nothing makes: {:?} {:?}",
        ours.keys(),
        theirs.keys()
    );
}

/// The tools that a build has just installed, or found.
fn tools() -> PathBuf {
    let entries = fs::read_dir(cache().join("plugin-tools")).unwrap();
    let mut found: Vec<_> = entries
        .map(|entry| entry.unwrap().path().join("site"))
        .filter(|site| site.join("componentize_py").is_dir())
        .collect();
    // Those of an older lock file may still be there.
    found.sort_by_key(|site| fs::metadata(site).unwrap().modified().unwrap());
    found.pop().expect("a build in Python installed its tools")
}

/// All files below a folder, by their paths in it.
fn texts(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut texts = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inside) = folders.pop() {
        for entry in fs::read_dir(&inside).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            if name == "__pycache__" || LEFT_OUT.iter().any(|left| name == *left) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                texts.insert(path.strip_prefix(folder).unwrap().to_owned(), text);
            }
        }
    }
    texts
}
