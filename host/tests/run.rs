//! `jackfield plugin run` against a live host: what is saved is live, what does not build changes nothing.
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;

/// The first build compiles what plugins share, on whatever machine this is.
const PATIENCE: Duration = Duration::from_secs(300);

const CONFIG: &str = r#"
[api]
listen = "127.0.0.1:0"

[hooks.instances.desk]
plugin = "PLUGIN"
settings = { vip = ["+4930123456"], queue = "vip" }

[hooks.router]
order = ["desk"]
"#;

#[test]
fn what_is_saved_is_live_and_what_does_not_build_changes_nothing() {
    let desk = Desk::new("vip-desk");
    let mut run = desk.run(&[]);
    let first = run.version();
    run.says("watching; save a file");
    assert_eq!(desk.running(), first);

    desk.replace(
        "serde_json::from_str(&config.settings)",
        "jackfield_sdk::log::info(\"the second edition\");\n        serde_json::from_str(&config.settings)",
    );
    run.says("src/lib.rs was saved");
    let second = run.version();
    run.says("the second edition");
    assert_eq!(desk.running(), second);
    assert_ne!(first, second);

    desk.replace("fn usual_priority() -> i32", "fn usual_priority() -> String");
    run.says("mismatched types");
    run.says(&format!("{second} goes on"));
    assert_eq!(desk.running(), second);
    desk.replace("fn usual_priority() -> String", "fn usual_priority() -> i32");
    let third = run.version();
    run.says("hook desk: ");
    assert_eq!(desk.running(), third);

    // A new version that the admin's settings do not fit.
    let schema = desk.project().join("settings.schema.json");
    let before = fs::read_to_string(&schema).unwrap();
    let mut asks: Value = serde_json::from_str(&before).unwrap();
    asks["properties"]["room"] = serde_json::json!({ "type": "string" });
    asks["required"].as_array_mut().unwrap().push("room".into());
    fs::write(&schema, asks.to_string()).unwrap();
    run.says("settings.room");
    run.says(&format!("desk does not run it, and goes on with {third}"));
    assert_eq!(desk.running(), third);

    // Ctrl-C while it builds.
    fs::write(&schema, before).unwrap();
    run.says("settings.schema.json was saved");
    run.interrupt();
    let told = run.says(&format!("the host goes on with vip-desk {third}"));
    // Nothing ran when this began.
    assert!(told.contains("nothing runs it") && !told.contains("plugin use"), "{told}");
    assert_eq!(run.child.wait().unwrap().code(), Some(0));

    // And while it does nothing.
    let before = desk.running();
    let mut run = desk.run(&[]);
    let last = run.version();
    run.says("watching; save a file");
    run.interrupt();
    let told = run.says(&format!("the host goes on with vip-desk {last}"));
    assert!(told.contains(&format!("jackfield plugin use vip-desk {before}")), "{told}");
    assert_eq!(run.child.wait().unwrap().code(), Some(0));
    let back = desk.ask(&["plugin", "use", "vip-desk", &before]);
    assert!(back.status.success(), "{back:?}");
    assert_eq!(desk.running(), before);

    // What never was built changed nothing.
    desk.replace("fn usual_priority() -> i32", "fn usual_priority() -> String");
    let mut run = desk.run(&[]);
    run.says("watching; save a file");
    run.interrupt();
    let told = run.says("nothing was installed");
    assert!(!told.contains("plugin use"), "{told}");
    assert_eq!(run.child.wait().unwrap().code(), Some(0));
    assert_eq!(desk.running(), before);
}

#[test]
fn a_program_reads_an_object_a_line() {
    let desk = Desk::new("json-desk");
    let once = || {
        let mut run = desk.command(&["plugin", "run", "--once", "--json"]);
        let output = run.current_dir(desk.project()).output().unwrap();
        (output.status.code(), events(&String::from_utf8(output.stdout).unwrap()))
    };
    let (code, told) = once();
    assert_eq!(code, Some(0), "{told:#?}");
    let kinds: Vec<&str> = told.iter().map(|it| it["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["built", "installed", "running"]);
    let first = desk.running();
    assert_eq!((&told[0]["plugin"], &told[0]["version"]), (&"json-desk".into(), &(*first).into()));
    assert!(told[0]["bytes"].as_u64() > Some(0) && told[0]["secs"].is_number(), "{}", told[0]);
    let changes = told[1]["changes"]["changes"].as_array().unwrap();
    assert!(changes.iter().any(|it| it["subject"] == "plugin json-desk"), "{}", told[1]);
    let runs = serde_json::json!({
        "event": "running", "id": "desk", "group": "hooks", "running": first, "is_new": true, "missing": [],
    });
    assert_eq!(told[2], runs);

    desk.replace("fn usual_priority() -> i32", "fn usual_priority() -> String");
    let (code, told) = once();
    assert_eq!((code, told.len()), (Some(1), 1), "{told:#?}");
    assert_eq!(
        (&told[0]["event"], &told[0]["goes_on"]),
        (&"failed".into(), &format!("json-desk {first}").into())
    );

    // Mended while it watches; the plugin says something, and the last line says how things are.
    let mut run = desk.run(&["--json"]);
    run.says("\"event\":\"watching\"");
    desk.replace(
        "serde_json::from_str(&config.settings)",
        "jackfield_sdk::log::info(\"the second edition\");\n        serde_json::from_str(&config.settings)",
    );
    desk.replace("fn usual_priority() -> String", "fn usual_priority() -> i32");
    let told = events(&run.says("\"event\":\"log\""));
    assert_eq!((&told[0]["group"], &told[0]["level"]), (&"hooks".into(), &"info".into()));
    assert_eq!(
        (&told[0]["instance"], &told[0]["text"]),
        (&"desk".into(), &"the second edition".into())
    );
    run.interrupt();
    let told = events(&run.says("\"event\":\"ended\""));
    let now = desk.running();
    assert_eq!(
        (&told[0]["installed"], &told[0]["before"]),
        (&now.as_str().into(), &(*first).into())
    );
    assert_eq!(
        told[0]["instances"],
        serde_json::json!([{ "id": "desk", "group": "hooks", "running": now }])
    );
    assert_eq!(run.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_plugin_that_is_not_taken_up_says_why_and_fails() {
    let desk = Desk::new("file-desk");
    let built = desk.ask(&["plugin", "build", "file-desk"]);
    assert!(built.status.success(), "{built:?}");
    let file = desk.folder.path().join("elsewhere.wasm");
    fs::copy(desk.project().join("build/file-desk.wasm"), &file).unwrap();
    desk.configure(&CONFIG.replace("PLUGIN", file.to_str().unwrap()));
    assert_eq!(desk.running(), "0.1.0");

    let once = ["plugin", "run", "--once", "file-desk"];
    let output = desk.ask(&once);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for part in [
        "is installed and not taken up",
        "desk does not run it, and goes on with 0.1.0: desk runs what the file ",
        file.to_str().unwrap(),
        "fix: write plugin = \"file-desk\" in [hooks.instances.desk], then `jackfield reload`",
    ] {
        assert!(said.contains(part), "no `{part}` in\n{said}");
    }
    let output = desk.ask(&["plugin", "run", "--once", "--json", "file-desk"]);
    let told = events(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(output.status.code(), Some(1), "{told:#?}");
    let [_, _, running, failed] = &told[..] else { panic!("{told:#?}") };
    assert!(running["why"].as_str().unwrap().contains(file.to_str().unwrap()), "{running}");
    assert_eq!(running["is_new"], false);
    assert!(failed["message"].as_str().unwrap().contains("not taken up"), "{failed}");
    assert_eq!(desk.running(), "0.1.0");

    // What it says to do, helps.
    desk.configure(&CONFIG.replace("PLUGIN", "file-desk"));
    let output = desk.ask(&once);
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    // Nobody uses it.
    desk.configure(CONFIG.split("[hooks").next().unwrap());
    let output = desk.ask(&once);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said.contains("add `plugin = \"file-desk\"` in [hooks.instances.NAME]"), "{said}");
}

#[test]
fn what_was_logged_before_it_began_is_not_told() {
    let desk = Desk::new("quiet-desk");
    desk.replace(
        "serde_json::from_str(&config.settings)",
        "jackfield_sdk::log::info(\"the first edition\");\n        serde_json::from_str(&config.settings)",
    );
    let once = desk.ask(&["plugin", "run", "--once", "quiet-desk"]);
    assert_eq!(once.status.code(), Some(0), "{once:?}");
    let logs = String::from_utf8(desk.ask(&["hooks", "logs", "desk"]).stdout).unwrap();
    assert!(logs.contains("the first edition"), "{logs}");
    desk.replace("the first edition", "the second edition");
    let mut run = desk.run(&[]);
    run.says("watching; save a file");
    run.says("the second edition");
    assert!(!run.said.contains("the first edition"), "{}", run.said);
}

#[test]
fn what_pack_says_to_type_installs_a_plugin_that_nobody_signed() {
    let desk = Desk::new("own-desk");
    let output = desk.command(&["plugin", "pack"]).current_dir(desk.project()).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let line = told.lines().find(|line| line.contains("plugin install")).expect(&told).trim();
    let bin = Path::new(env!("CARGO_BIN_EXE_jackfield")).parent().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let typed = Command::new("sh")
        .args(["-ec", line])
        .current_dir(desk.project())
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("JACKFIELD_URL", &desk.url)
        .env("JACKFIELD_TOKEN", &desk.token)
        .output()
        .unwrap();
    assert!(typed.status.success(), "{line}: {typed:?}");
    assert_eq!(desk.running(), "0.1.0");
}

/// Lines of JSON objects.
fn events(lines: &str) -> Vec<Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn what_stands_in_the_way_is_told_before_anything_is_built() {
    let mut desk = Desk::new("vip-desk");
    let project = desk.project();
    let run = ["plugin", "run", project.to_str().unwrap()];
    let told = |output: Output| {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!desk.project().join("build").exists());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let mut stranger = desk.command(&run);
    let said = told(stranger.env("JACKFIELD_TOKEN", "jf_0_1").output().unwrap());
    assert!(said.contains("jackfield token create"), "{said}");
    let mut nowhere = desk.command(&run);
    let said = told(nowhere.env("JACKFIELD_URL", "http://127.0.0.1:1").output().unwrap());
    assert!(said.contains("nobody listens") && said.contains("jackfield serve"), "{said}");
    let reader = desk.token("reader", "read");
    desk.token = reader;
    fs::remove_file(desk.project().join("plugin.toml")).unwrap();
    let output = desk.ask(&run);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

/// An author's desk: a project, a host that serves, and an admin's token for it.
struct Desk {
    folder: tempfile::TempDir,
    /// Of the project.
    name: &'static str,
    url: String,
    token: String,
    _host: Talking,
}

impl Desk {
    /// Tests that build need names of their own: cargo takes two projects of one name in its shared folder for one.
    fn new(name: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = CONFIG.replace("PLUGIN", name);
        fs::write(folder.path().join("jackfield.toml"), config).unwrap();
        let mut serve = jackfield(folder.path(), &["--color", "never", "serve"]);
        let mut host = Talking::start(serve.env("JACKFIELD_LOG", "info"));
        let ready = host.says("ready api=");
        let (_, rest) = ready.split_once("ready api=").unwrap();
        let url = format!("http://{}", rest.split_whitespace().next().unwrap());
        let mut desk = Self { folder, name, url, token: String::new(), _host: host };
        desk.token = desk.token("author", "admin");
        let begun = desk.ask(&["plugin", "new", "--kind", "router", name]);
        assert!(begun.status.success(), "{begun:?}");
        desk
    }

    fn token(&self, name: &str, scope: &str) -> String {
        let made = self.ask(&["token", "create", name, "--scope", scope]);
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    fn project(&self) -> PathBuf {
        self.folder.path().join(self.name)
    }

    /// What the host follows from now on.
    fn configure(&self, config: &str) {
        let file = self.folder.path().join("jackfield.toml");
        let part = file.with_extension("part");
        fs::write(&part, config.replace("127.0.0.1:0", &self.url["http://".len()..])).unwrap();
        fs::rename(part, file).unwrap();
        let reloaded = self.ask(&["reload"]);
        assert!(reloaded.status.success(), "{reloaded:?}");
    }

    /// As typed in the project's folder, in a terminal of its own.
    fn run(&self, options: &[&str]) -> Talking {
        let mut run = self.command(&["plugin", "run"]);
        run.args(options);
        Talking::start(run.current_dir(self.project()).process_group(0))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = jackfield(self.folder.path(), arguments);
        command.env("JACKFIELD_URL", &self.url).env("JACKFIELD_TOKEN", &self.token);
        command
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The version that the host calls.
    fn running(&self) -> String {
        let shown = self.ask(&["hooks", "show", "desk", "--json"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        shown["running"]["version"].as_str().unwrap_or_else(|| panic!("{shown:#}")).to_owned()
    }

    /// Edits the source and saves it.
    fn replace(&self, from: &str, to: &str) {
        let file = self.project().join("src/lib.rs");
        let before = fs::read_to_string(&file).unwrap();
        assert!(before.contains(from), "no `{from}`");
        fs::write(&file, before.replace(from, to)).unwrap();
    }
}

fn jackfield(folder: &Path, arguments: &[&str]) -> Command {
    let bin = Path::new(env!("CARGO_BIN_EXE_jackfield"));
    // Built once for all tests and runs: only the plugin itself is compiled anew.
    let cache = bin.ancestors().nth(2).expect("target/debug/jackfield").join("test-cache");
    let mut command = Command::new(bin);
    command
        .args(arguments)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", &cache)
        .env("JACKFIELD_CACHE_DIR", cache)
        .env_remove("JACKFIELD_CONFIG")
        .env_remove("JACKFIELD_PLUGINS_DIR")
        .stdin(Stdio::null());
    command
}

/// A process that says what it does, on standard output and error.
struct Talking {
    child: Child,
    lines: mpsc::Receiver<String>,
    said: String,
}

impl Talking {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (send, lines) = mpsc::channel();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let send = send.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = send.send(line);
                }
            });
        }
        Self { child, lines, said: String::new() }
    }

    /// The next line with this in it.
    fn says(&mut self, part: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("it never said `{part}`:\n{}", self.said);
            };
            self.said += &format!("{line}\n");
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The next version that it built.
    fn version(&mut self) -> String {
        let line = self.says("built in");
        let version = line.split([' ', ':']).nth(1).unwrap_or_default().to_owned();
        assert!(version.starts_with("0.1.0-dev."), "{line}");
        version
    }

    /// Ctrl-C, as a terminal gives it to a process and its children.
    fn interrupt(&self) {
        let group = format!("-{}", self.child.id());
        assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
