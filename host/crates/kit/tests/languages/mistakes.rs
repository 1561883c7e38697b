//! What an author is told about mistakes: the compiler's own words, with the place, and soon.

use std::{fs, path::Path};

use kit::{
    Silent,
    build::{self, Options},
    project::{Lang, Project},
    template,
};
use plugin_runtime::{
    Kind,
    hooks::{HookFailure, Router},
};

use crate::{RUNTIME, ask, cache, may_run, options};

/// A project of a router, with something done to it; what its build says.
fn mistaken(lang: Lang, spoil: impl FnOnce(&Path)) -> Option<String> {
    mistaken_with(lang, &options(), spoil)
}

fn mistaken_with(lang: Lang, options: &Options, spoil: impl FnOnce(&Path)) -> Option<String> {
    if !may_run(lang) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    template::begin("my-plugin", Kind::Router, lang, folder.path()).unwrap();
    spoil(folder.path());
    let project = Project::load(folder.path()).unwrap();
    let error = build::build(&project, options, &Silent).unwrap_err();
    Some(format!("{error:#}"))
}

fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{} has no `{from}`", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn a_wrong_type_in_typescript_is_told_by_the_compiler() {
    let spoil =
        |root: &Path| replace(&root.join("src/plugin.ts"), "settings.priority ?? 10", "\"ten\"");
    let Some(said) = mistaken(Lang::Ts, spoil) else { return };
    assert!(said.contains("src/plugin.ts(") && said.contains("error TS2322"), "{said}");
    assert!(said.contains("Type 'string' is not assignable to type 'number'"), "{said}");
}

#[test]
fn what_a_plugin_does_not_have_is_no_global_in_typescript() {
    let spoil = |root: &Path| {
        replace(
            &root.join("src/plugin.ts"),
            "return pass(\"not",
            "console.log(call); return pass(\"not",
        )
    };
    let Some(said) = mistaken(Lang::Ts, spoil) else { return };
    assert!(said.contains("console"), "{said}");
}

#[test]
fn a_module_that_is_not_there_is_told_with_its_place() {
    let spoil =
        |root: &Path| replace(&root.join("src/plugin.ts"), "../sdk/router.ts", "../sdk/rooter.ts");
    let Some(said) = mistaken(Lang::Ts, spoil) else { return };
    assert!(said.contains("rooter.ts") && said.contains("src/plugin.ts("), "{said}");
}

#[test]
fn a_lock_file_that_was_tampered_with_installs_nothing() {
    let spoil = |root: &Path| replace(&root.join("package-lock.json"), "sha512-", "sha512-AAAA");
    let Some(said) = mistaken(Lang::Ts, spoil) else { return };
    assert!(said.contains("npm ci") && said.contains("EINTEGRITY"), "{said}");
}

#[test]
fn without_the_tools_and_without_network_it_says_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let offline =
        Options { offline: true, target_dir: Some(empty.path().to_owned()), ..Options::default() };
    for lang in [Lang::Ts, Lang::Python] {
        let Some(said) = mistaken_with(lang, &offline, |_| {}) else { return };
        assert!(
            said.contains("not installed yet") && said.contains("fix: build once without it"),
            "{said}"
        );
    }
    assert!(cache().is_dir());
}

#[test]
fn a_mistake_in_the_grammar_of_python_is_told_with_its_line() {
    let spoil =
        |root: &Path| replace(&root.join("plugin.py"), "def route(self", "def route(self,,");
    let Some(said) = mistaken(Lang::Python, spoil) else { return };
    assert!(said.contains("plugin.py:14:") && said.contains("invalid syntax"), "{said}");
}

#[test]
fn a_module_that_python_does_not_find_is_told_with_its_line() {
    let spoil = |root: &Path| replace(&root.join("plugin.py"), "import re\n", "import nonesuch\n");
    let Some(said) = mistaken(Lang::Python, spoil) else { return };
    assert!(
        said.contains("plugin.py:3: ModuleNotFoundError: No module named 'nonesuch'"),
        "{said}"
    );
    assert!(!said.contains("Stack backtrace"), "{said}");
}

#[test]
fn a_plugin_that_exports_nothing_is_told_the_line_it_needs() {
    let spoil =
        |root: &Path| replace(&root.join("plugin.py"), "Router, Settings =", "something, other =");
    let Some(said) = mistaken(Lang::Python, spoil) else { return };
    assert!(said.contains("plugin.py has no `Router`; fix: end it with"), "{said}");
}

/// What went wrong inside: a word for the operator, and the instance goes on.
fn refusals(lang: Lang, file: &str, line: &str, bodies: &[(&str, &str, &str)]) {
    if !may_run(lang) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    template::begin("my-plugin", Kind::Router, lang, folder.path()).unwrap();
    let branches: String = bodies
        .iter()
        .map(|(dialled, body, _)| line.replace("DIALLED", dialled).replace("BODY", body))
        .collect();
    let (before, indent) = match lang {
        Lang::Ts => ("        if (call.returnedFrom", ""),
        _ => ("        if call.returned_from:", ""),
    };
    replace(&folder.path().join(file), before, &format!("{indent}{branches}{before}"));
    let project = Project::load(folder.path()).unwrap();
    let built =
        build::build(&project, &options(), &Silent).unwrap_or_else(|error| panic!("{error:#}"));
    let plugin = RUNTIME.load(&fs::read(built.path).unwrap()).unwrap();
    let mut router = Router::start(&plugin, ask::config(r#"{"vip":[],"queue":"vip"}"#)).unwrap();
    for (dialled, _, expected) in bodies {
        let call = plugin_runtime::hooks::Call { dialled: (*dialled).into(), ..ask::call("+491") };
        match router.route(ask::now(), &call, &[]) {
            Err(HookFailure::Refused(error)) => {
                let said = error.to_string();
                assert!(said.contains(expected), "{dialled}: `{said}` has no `{expected}`");
            }
            other => panic!("{dialled}: {other:?}"),
        }
    }
    assert_eq!(router.usage().restarts, 0);
}

#[test]
fn in_typescript_an_exception_a_clock_and_an_answer_that_does_not_fit_become_errors() {
    let line = "        if (call.dialled === \"DIALLED\") { BODY }\n";
    refusals(
        Lang::Ts,
        "src/plugin.ts",
        line,
        &[
            (
                "thrown",
                "throw new TypeError(\"nobody home\");",
                "TypeError: nobody home (exception)",
            ),
            (
                "clock",
                "return pass(String(Date.now()));",
                "a plugin has no clock of its own; take the time from `now`",
            ),
            ("date", "return pass(new Date().toISOString());", "not-in-a-plugin"),
            ("chance", "return pass(String(Math.random()));", "a plugin has no randomness"),
            (
                "missing",
                "return pass(JSON.parse(\"{\\\"reason\\\":null}\").reason);",
                "route.reason is null, must be a text",
            ),
            (
                "fraction",
                "return pass(\"\", { priority: 1.5 });",
                "route.patch.priority is 1.5, must be a whole number",
            ),
            ("half", "return pass(\"\\ud800\");", "half of a surrogate pair"),
            ("later", "return Promise.resolve(pass(\"\")) as never;", "`async` has no place in it"),
        ],
    );
}

#[test]
fn in_python_an_exception_a_clock_and_an_answer_that_does_not_fit_become_errors() {
    let line = "        if call.dialled == \"DIALLED\":\n            BODY\n";
    refusals(
        Lang::Python,
        "plugin.py",
        line,
        &[
            ("raised", "raise ValueError(\"nobody home\")", "ValueError: nobody home (exception)"),
            ("deep", "return self.route(call, context)", "RecursionError"),
            (
                "clock",
                "import time; return pass_on(str(time.time()))",
                "a plugin has no clock of its own",
            ),
            ("late", "import wave; return pass_on()", "`import wave` comes too late"),
            (
                "today",
                "return pass_on(str(__import__(\"sys\").modules[\"datetime\"].datetime.now()))",
                "no clock of its own",
            ),
            ("missing", "return pass_on(None)", "route.reason is None, must be a str"),
            (
                "fraction",
                "return pass_on(priority=1.5)",
                "route.patch.priority is 1.5, must be a whole number from -2147483648",
            ),
            (
                "large",
                "return pass_on(priority=1 << 40)",
                "must be a whole number from -2147483648 to 2147483647",
            ),
            ("half", "return pass_on(\"\\ud800\")", "half of a surrogate pair"),
            ("nothing", "return None", "route is None, must be a Decision"),
        ],
    );
}
