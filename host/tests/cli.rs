//! The binary as a person or a script meets it.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

fn jackfield(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jackfield"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("JACKFIELD_CONFIG")
        .env_remove("JACKFIELD_LOG")
        .env_remove("JACKFIELD_PLUGINS_DIR")
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
    for part in ["Examples:", "Exit codes:", "JACKFIELD_LOG", "jackfield demo"] {
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
    let (code, _, error) = said(&jackfield(folder.path(), &["serve"]));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("jackfield.toml:2:10: connectors.hq.plugin"), "{error}");
    assert!(error.contains("not WebAssembly"), "{error}");
    assert!(
        error
            .contains("jackfield.toml:4:10: connectors.two.plugin: there is no plugin \"nowhere\""),
        "{error}"
    );
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

#[cfg(unix)]
#[test]
fn a_running_host_answers_and_stops_in_order_on_sigterm() {
    use std::io::{BufRead, BufReader, Read, Write};

    let folder = folder_with("[api]\nlisten = \"127.0.0.1:0\"\n");
    let mut host = Command::new(env!("CARGO_BIN_EXE_jackfield"))
        .args(["--color", "never", "serve"])
        .current_dir(folder.path())
        .env("JACKFIELD_LOG", "info")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut log = BufReader::new(host.stderr.take().expect("piped"));
    let address = loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).expect("UTF-8") > 0, "it must become ready");
        if let Some((_, rest)) = line.split_once("ready api=") {
            break rest.split_whitespace().next().expect("an address").to_owned();
        }
    };
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
