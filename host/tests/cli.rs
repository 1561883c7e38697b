//! The binary as a person or a script meets it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
};

fn jackfield(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jackfield"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("JACKFIELD_CONFIG")
        .env_remove("JACKFIELD_LOG")
        .env_remove("JACKFIELD_PLUGINS_DIR")
        .env_remove("JACKFIELD_TOKEN")
        .env_remove("JACKFIELD_URL")
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

/// Exit code, output, error output.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn folder_with(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("jackfield.toml"), config).expect("written");
    folder
}

#[test]
fn help_shows_examples_and_exit_codes() {
    let (code, out, _) = said(&jackfield(Path::new("."), &["--help"]));
    assert_eq!(code, Some(0));
    for part in ["Examples:", "Exit codes:", "JACKFIELD_LOG", "JACKFIELD_TOKEN", "jackfield demo"] {
        assert!(out.contains(part), "{part}");
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_2_with_a_hint() {
    let (code, _, error) = said(&jackfield(Path::new("."), &["sevre"]));
    assert_eq!(code, Some(2));
    assert!(error.contains("serve"), "{error}");
}

#[test]
fn a_wrong_configuration_is_exit_code_2_with_every_complaint() {
    let folder = folder_with("[api]\nlisen = 1\n[connectors.hq]\nsecrets.ami = \"hunter2\"\n");
    for command in ["serve", "check"] {
        let (code, out, error) = said(&jackfield(folder.path(), &[command]));
        assert_eq!(code, Some(2), "{command}");
        let all = out + &error;
        for part in
            ["jackfield.toml:2:1", "did you mean `listen`?", "jackfield.toml:4:15", "{ env ="]
        {
            assert!(all.contains(part), "{command}: {part} in {all}");
        }
        assert!(!all.contains("hunter2"));
    }
}

#[test]
fn a_missing_configuration_names_the_file_and_the_option() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, _, error) = said(&jackfield(folder.path(), &["serve"]));
    assert_eq!(code, Some(2));
    assert!(error.contains("jackfield.toml") && error.contains("--config"), "{error}");
}

#[test]
fn a_plugin_that_is_none_is_a_complaint_with_its_line() {
    let folder = folder_with(
        "[connectors.hq]\nplugin = \"page.wasm\"\n[connectors.two]\nplugin = \"nowhere\"\n",
    );
    fs::write(folder.path().join("page.wasm"), "<html>").expect("written");
    // A host that serves starts all the same, and says so in the connectors' status.
    let (code, found, _) = said(&jackfield(folder.path(), &["check"]));
    assert_eq!(code, Some(2), "{found}");
    for part in [
        "jackfield.toml:2:10",
        "connectors.hq.plugin",
        "not WebAssembly",
        "jackfield.toml:4:10",
        "connectors.two.plugin",
        "there is no plugin \"nowhere\"",
    ] {
        assert!(found.contains(part), "{part} in {found}");
    }
}

#[test]
fn inspecting_what_is_no_plugin_fails_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("page.wasm"), "<html>").expect("written");
    let (code, _, error) = said(&jackfield(folder.path(), &["plugin", "inspect", "page.wasm"]));
    assert_eq!(code, Some(1));
    assert!(error.contains("not WebAssembly"), "{error}");
}

#[test]
fn a_token_is_shown_once_listed_without_its_secret_and_revoked() {
    let folder = folder_with("");
    let create =
        ["token", "create", "chat", "--scope", "read", "--scope", "control", "--expires", "90d"];
    let (code, token, note) = said(&jackfield(folder.path(), &create));
    assert_eq!(code, Some(0), "{note}");
    let token = token.trim();
    assert!(
        token.starts_with("jf_") && !token.contains(char::is_whitespace),
        "alone on its line: {token}"
    );
    assert!(note.contains("read, control"), "{note}");

    let (code, _, error) = said(&jackfield(folder.path(), &create));
    assert_eq!(code, Some(1));
    assert!(error.contains("already") && error.contains("fix:"), "{error}");

    let (_, list, _) = said(&jackfield(folder.path(), &["token", "list"]));
    assert!(
        list.contains("chat") && list.contains("valid until") && !list.contains(token),
        "{list}"
    );

    assert_eq!(said(&jackfield(folder.path(), &["token", "revoke", "chat"])).0, Some(0));
    let (_, list, _) = said(&jackfield(folder.path(), &["token", "list", "--json"]));
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    assert!(list["tokens"][0]["revoked_at"].is_string(), "{list}");
}

#[test]
fn completions_come_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, _) = said(&jackfield(Path::new("."), &["completions", shell]));
        assert_eq!(code, Some(0));
        assert!(out.contains("jackfield"), "{shell}");
    }
}

/// A host of that folder, its log, and where its API is.
#[expect(
    clippy::zombie_processes,
    reason = "whoever asked for it waits; a test that fails before that ends"
)]
fn serving(folder: &Path) -> (Child, BufReader<ChildStderr>, String) {
    let mut host = Command::new(env!("CARGO_BIN_EXE_jackfield"))
        .args(["--color", "never", "serve"])
        .current_dir(folder)
        .env("JACKFIELD_LOG", "info")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut log = BufReader::new(host.stderr.take().expect("piped"));
    loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).expect("UTF-8") > 0, "it must become ready");
        if let Some((_, rest)) = line.split_once("ready api=") {
            let address = rest.split_whitespace().next().expect("an address").to_owned();
            return (host, log, address);
        }
    }
}

/// A command that asks a running host.
fn asked(
    folder: &Path,
    url: &str,
    token: &str,
    arguments: &[&str],
) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jackfield"));
    command.args(arguments).args(["--url", url]).current_dir(folder).stdin(Stdio::null());
    command.env_remove("JACKFIELD_URL").env("JACKFIELD_TOKEN", token);
    said(&command.output().expect("the binary runs"))
}

#[test]
fn without_a_token_a_host_is_not_even_asked() {
    for command in [&["plugin", "list"][..], &["reload"], &["config", "diff"], &["audit", "list"]] {
        let (code, _, error) = said(&jackfield(Path::new("."), command));
        assert_eq!(code, Some(2), "{command:?}");
        assert!(error.contains("JACKFIELD_TOKEN") && error.contains("fix:"), "{error}");
    }
}

#[test]
fn nobody_listens_and_somebody_else_listens_are_told_apart() {
    use std::io::{Read, Write};

    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", socket.local_addr().expect("bound"));
    let page = std::thread::spawn(move || {
        let (mut client, _) = socket.accept().expect("a client");
        let mut asked = [0; 1024];
        let read = client.read(&mut asked).expect("a request");
        let answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>";
        client.write_all(answer).expect("answered");
        String::from_utf8_lossy(&asked[..read]).into_owned()
    });
    let (code, _, error) = asked(Path::new("."), &url, "jf_a_b", &["plugin", "list"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("is not Jackfield"), "{error}");
    let request = page.join().expect("asked").to_ascii_lowercase();
    assert!(
        request.starts_with("get /v1/plugins?") && request.contains("bearer jf_a_b"),
        "{request}"
    );
    let (code, _, error) = asked(Path::new("."), &url, "jf_a_b", &["plugin", "list"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("nobody listens") && error.contains("jackfield serve"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_running_host_is_asked_by_its_own_commands() {
    let folder = folder_with("[api]\nlisten = \"127.0.0.1:0\"\n");
    let (mut host, _log, address) = serving(folder.path());
    let url = format!("http://{address}");
    let token = |name: &str, scope: &str| {
        let made = jackfield(folder.path(), &["token", "create", name, "--scope", scope]);
        said(&made).1.trim().to_owned()
    };
    let (reader, admin) = (token("reader", "read"), token("admin", "admin"));
    let ask = |token: &str, arguments: &[&str]| asked(folder.path(), &url, token, arguments);

    let (code, out, error) = ask(&reader, &["plugin", "list"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("no plugins are kept") && out.contains("no connectors"), "{out}");
    let (code, out, _) = ask(&reader, &["plugin", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &list["plugins"]), (Some(0), &serde_json::json!([])));

    let (code, _, error) = ask(&reader, &["plugin", "enable", "hq"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("scope `admin`") && error.contains("--scope admin"), "{error}");
    let (code, _, error) = ask(&admin, &["plugin", "enable", "hq"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("There is no connector `hq`"), "{error}");
    let (code, _, error) = ask("jf_0_1", &["plugin", "list"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("not valid") && error.contains("JACKFIELD_TOKEN"), "{error}");
    let (code, _, error) = ask(&admin, &["plugin", "install", "nowhere.wasm"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("nowhere.wasm"), "{error}");
    host.kill().expect("it runs");
    host.wait().expect("it ends");
}

#[test]
fn an_audit_log_that_is_not_there_is_named() {
    let folder = folder_with("");
    let (code, _, error) = said(&jackfield(folder.path(), &["audit", "verify"]));
    assert_eq!(code, Some(2));
    assert!(error.contains("registry.db") && error.contains("fix:"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_running_host_answers_and_stops_in_order_on_sigterm() {
    use std::io::{Read, Write};

    let folder = folder_with("[api]\nlisten = \"127.0.0.1:0\"\n");
    let (mut host, mut log, address) = serving(folder.path());
    let mut client = std::net::TcpStream::connect(&address).expect("it listens");
    client
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("written");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let killed =
        Command::new("kill").args(["-TERM", &host.id().to_string()]).status().expect("kill runs");
    assert!(killed.success());
    assert_eq!(host.wait().expect("it ends").code(), Some(0));
    let mut rest = String::new();
    log.read_to_string(&mut rest).expect("UTF-8");
    assert!(rest.contains("stopped"), "{rest}");
}

#[test]
fn what_cannot_be_replayed_is_exit_code_2_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let replay = |file: &str| said(&jackfield(folder.path(), &["plugin", "replay", file]));
    let (code, _, error) = replay("none.jsonl");
    assert_eq!((code, error.contains("cannot read none.jsonl")), (Some(2), true), "{error}");
    fs::write(folder.path().join("notes.txt"), "buy milk\n").expect("written");
    let (code, _, error) = replay("notes.txt");
    assert_eq!(code, Some(2));
    assert!(error.contains("notes.txt: this is no recording of Jackfield"), "{error}");

    let now = r#""now":{"monotonic_ns":1,"wall_ns":1}"#;
    let lines = [
        r#"{"format":"jackfield-recording","version":1,"wit":"0.1.0","host":"0.1.0","kind":"ring","connector":"hq","redacted":false,"cut":false,"unfaithful":0}"#.to_owned(),
        format!(
            r#"{{"instance":{{"plugin":{{"id":"asterisk","version":"0.9.0","sha256":"00ff"}},"settings":"{{}}","links":[],"facts":[],"limits":{{"memory_mib":64,"step_ms":50,"snapshot_kib":64,"effects_per_step":64,"bytes_per_step":64}},"from":"nothing",{now},"snapshot":null}}}}"#
        ),
        // Of nothing, as anybody's sha256sum says.
        r#"{"end":{"steps":0,"effects_sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}"#.to_owned(),
    ];
    fs::write(folder.path().join("bug.jsonl"), lines.join("\n") + "\n").expect("written");
    fs::write(folder.path().join("other.wasm"), "no wasm").expect("written");
    let (code, _, error) = replay("bug.jsonl");
    assert_eq!(code, Some(2));
    for part in ["made with asterisk 0.9.0 (sha256 00ff)", "is not in .", "--plugin FILE"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

/// A component of the first release, which every later host loads.
fn released(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/museum/0.1.0/{name}.wasm"))
}

/// Exit code and findings: hook, level, check, message with its fix.
fn checked(folder: &Path) -> (Option<i32>, Vec<[String; 4]>) {
    let (code, out, error) = said(&jackfield(folder, &["check", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&out).expect(&(out + &error));
    let findings = report["findings"].as_array().expect("a list").iter().map(|it| {
        let text = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
        let message = match it["fix"].as_str() {
            Some(fix) => format!("{}; fix: {fix}", text("message")),
            None => text("message"),
        };
        [text("hook"), text("level"), text("check"), message]
    });
    (code, findings.collect())
}

#[test]
fn check_finds_hooks_good_that_a_host_would_call() {
    let (skills, standard) = (released("skills"), released("standard-treatment"));
    let folder = folder_with(&format!(
        r#"
[hooks.instances.vip]
plugin = "{}"
[hooks.instances.vip.settings]
lists = {{ vip = ["+4930123456"] }}
rules = [{{ name = "VIP", when = {{ lists = "vip" }}, to = "queue:vip" }}]
[hooks.instances.standard]
plugin = "{}"
[hooks.instances.later]
plugin = "nowhere"
enabled = false
[hooks.router]
order = ["vip"]
[hooks.treatment]
default = "standard"
"#,
        skills.display(),
        standard.display()
    ));
    let (code, findings) = checked(folder.path());
    assert_eq!(code, Some(0), "{findings:?}");
    let of = |hook: &str| -> Vec<_> {
        let of = findings.iter().filter(|it| it[0] == hook);
        of.map(|[_, level, check, _]| format!("{level} {check}")).collect()
    };
    assert_eq!(of("vip"), ["ok plugin", "ok settings"]);
    assert_eq!(of("standard"), ["ok plugin", "ok settings"]);
    assert_eq!(of("later"), ["ok config"]);
    assert!(!folder.path().join("jackfield.db.plugins").exists(), "it leaves no store behind");
}

#[test]
fn check_warns_of_a_place_in_a_context_that_no_hook_may_reach() {
    let skills = released("skills");
    let config = |contexts: &str| {
        format!(
            r#"
[hooks]
contexts = {contexts}
[hooks.instances.vip]
plugin = "{}"
[hooks.instances.vip.settings]
rules = [{{ name = "all", to = "dialplan:night-desk,s,1" }}]
[hooks.router]
order = ["vip"]
"#,
            skills.display()
        )
    };
    for (contexts, warned) in [("[]", true), ("[\"night-desk\"]", false)] {
        let (code, findings) = checked(folder_with(&config(contexts)).path());
        assert_eq!(code, Some(0), "{findings:?}");
        let warns = |it: &[String; 4]| it[1] == "warning" && it[3].contains("night-desk");
        assert_eq!(findings.iter().any(warns), warned, "{findings:?}");
    }
}

#[test]
fn check_tells_of_each_hook_why_a_host_would_not_call_it() {
    let config = r#"
[hooks.instances.hours]
plugin = "nowhere"
[hooks.instances.vip]
plugin = "SKILLS"
settings = { rules = [], rulez = 1 }
[hooks.instances.lists]
plugin = "SKILLS"
settings = { rules = [{ name = "VIP", when = { lists = "vpi" }, to = "queue:vip" }] }
[hooks.instances.crm]
plugin = "SKILLS"
settings = { rules = [{ name = "all", to = "queue:all" }] }
secrets.crm = { file = "crm" }
[hooks.instances.feed]
plugin = "SKILLS"
settings = { rules = [{ name = "all", to = "queue:all" }] }
[hooks.router]
order = ["vip", "vpi"]
[hooks.observers]
run = ["feed"]
"#;
    let folder = folder_with(&config.replace("SKILLS", &released("skills").display().to_string()));
    let secret = folder.path().join("crm");
    fs::write(&secret, "hunter2").expect("written");
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&secret, mode).expect("changed");
    }
    let (code, findings) = checked(folder.path());
    assert_eq!(code, Some(1), "{findings:?}");
    for (hook, level, check, parts) in [
        ("", "warning", "config", ["jackfield.toml:18:17", "no hook \"vpi\"", "did you mean"]),
        ("hours", "failure", "plugin", ["jackfield.toml:3:10", "no plugin \"nowhere\"", "install"]),
        ("vip", "failure", "settings", ["jackfield.toml:6:", "rulez", "fix: "]),
        ("lists", "failure", "settings", ["jackfield.toml:9:", "vpi", "as Skills asks"]),
        ("crm", "failure", "grants", ["jackfield.toml:1", "secret:crm", "to its grants"]),
        ("feed", "failure", "config", ["jackfield.toml:20:7", "no observer", "another plugin"]),
    ] {
        let of = findings.iter().filter(|it| it[..3] == [hook, level, check]);
        let said: Vec<&String> = of.map(|it| &it[3]).collect();
        let tells = |text: &&String| parts.iter().all(|part| text.contains(part));
        assert!(said.iter().any(tells), "{hook}: {parts:?} in {findings:#?}");
    }
    assert!(!format!("{findings:?}").contains("hunter2"));
    let lines = said(&jackfield(folder.path(), &["check"])).1;
    assert!(lines.contains("\nhook crm\n"), "{lines}");
}

#[test]
fn check_names_the_secret_of_a_hook_that_is_not_set() {
    let folder = folder_with(
        "[hooks.instances.crm]\nplugin = \"skills\"\nsecrets.crm = { env = \"JACKFIELD_NO_SUCH\" }\n",
    );
    let (code, findings) = checked(folder.path());
    assert_eq!(code, Some(2), "{findings:?}");
    let [hook, level, check, message] = &findings[0];
    assert_eq!((hook.as_str(), level.as_str(), check.as_str()), ("crm", "failure", "secrets"));
    assert!(message.contains("jackfield.toml:3:") && message.contains("JACKFIELD_NO_SUCH"));
}

#[test]
fn check_sees_what_was_installed_into_the_host_that_runs_and_says_so_when_it_cannot() {
    use jackfield::plugins::{compile, signing::Signing, store::Store};

    let folder = folder_with(
        "[hooks.instances.vip]\nplugin = \"skills\"\n\
         settings = { rules = [{ name = \"all\", to = \"queue:all\" }] }\n\
         [hooks.router]\norder = [\"vip\"]\n",
    );
    let kept = Store::beside(&folder.path().join("jackfield.db"));
    // Open until the end, as a host that runs has it.
    let store = Store::open(&kept, Signing::default()).expect("a store");
    let wasm = fs::read(released("skills")).expect("there");
    let runtime = compile::runtime().expect("an engine");
    let (by, now) = (calls::Actor::Host, calls::Timestamp(1));
    store.install(&runtime, &wasm, None, "upload", &by, now).expect("installed");
    let before = fs::read_dir(kept.join("components")).expect("there").count();
    let (code, findings) = checked(folder.path());
    assert_eq!(code, Some(0), "{findings:?}");
    assert!(findings.iter().any(|it| it[..3] == ["vip", "ok", "settings"]), "{findings:?}");
    assert_eq!(fs::read_dir(kept.join("components")).expect("there").count(), before);

    drop(store);
    fs::write(kept.join("registry.db"), "no database at all, but long enough to look like one")
        .expect("written");
    let (code, findings) = checked(folder.path());
    assert_eq!(code, Some(0), "what may be there is no failure: {findings:?}");
    let unseen = findings.iter().find(|it| it[2] == "plugins").expect("it is said");
    assert_eq!((unseen[0].as_str(), unseen[1].as_str()), ("", "warning"));
    assert!(unseen[3].contains("registry.db") && !unseen[3].contains('\n'), "{unseen:?}");
}
