//! What README and documentation tell people to type is typed here, against a real Asterisk and a real host.

#![expect(clippy::print_stderr, reason = "what was left out is said aloud")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    net::SocketAddr,
    os::unix::{fs::PermissionsExt, fs::symlink, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use jackfield::config::Config;
use jackfield_tests::{
    docs::{self, Block},
    world::{own_address, plugins, target, tree},
};
use lab::{ManagerUser, Pbx, PbxConfig, Release};

/// Blocks nobody runs here: file, first line, why.
const NOT_RUN: [(&str, &str, &str); 5] = [
    (
        "README.md",
        "cargo xtask demo",
        "builds everything and runs until it is stopped; `.ci/run` does it, for some seconds",
    ),
    ("README.md", "cargo xtask test", "runs this test"),
    (
        "README.md",
        "jackfield plugin new",
        "each template's own test does this, in every language and for every kind",
    ),
    (
        "host/docs/admin.md",
        "cargo build --release",
        "minutes of compiling; the same sources are built for the tests",
    ),
    ("host/docs/admin.md", "sudo install", "changes the machine"),
];

/// Programs that a machine may lack; a block that needs one is then left out, aloud.
const OTHERS: [&str; 3] = ["curl", "openssl", "sqlite3"];

const PATIENCE: Duration = Duration::from_secs(600);
const SECRET: &str = "a-long-random-secret";

#[test]
fn every_configuration_in_the_documentation_is_accepted() -> Result<()> {
    let mut count = 0;
    for Block { file, line, text, .. } in blocks("toml")? {
        let place = Path::new("/etc/jackfield/jackfield.toml");
        let read = Config::parse(&text, place, &|_| Some("secret".to_owned()));
        let config = read.with_context(|| format!("{file}:{line}"))?;
        ensure!(config.warnings.is_empty(), "{file}:{line}: {:?}", config.warnings);
        count += 1;
    }
    ensure!(count >= 3, "only {count} configurations found");
    Ok(())
}

#[test]
fn what_is_not_run_is_listed_with_its_reason_and_still_there() -> Result<()> {
    let all = blocks("sh")?;
    for (file, first, _) in NOT_RUN {
        ensure!(
            all.iter().any(|block| is(block, file, first)),
            "{file} has no block `{first}` any more"
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_the_documentation_tells_to_type_works() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let mut files: BTreeMap<String, Vec<Block>> = BTreeMap::new();
    for block in blocks("sh")? {
        let left_out = NOT_RUN.iter().any(|(file, first, _)| is(&block, file, first));
        let missing: Vec<&&str> = OTHERS
            .iter()
            .filter(|name| block.text.contains(**name) && !is_installed(name))
            .collect();
        if !missing.is_empty() {
            eprintln!("!!! NOT RUN: {}:{} needs {missing:?}", block.file, block.line);
        } else if !left_out {
            files.entry(block.file.clone()).or_default().push(block);
        }
    }
    let account = "read = system,call,agent,dialplan\nwrite = agent,reporting\n".to_owned();
    let account =
        ManagerUser { name: "jackfield".to_owned(), secret: SECRET.to_owned(), text: account };
    let folder = tempfile::tempdir()?;
    let config = PbxConfig { managers: vec![account], load_agents: 0, ..PbxConfig::default() };
    let pbx = Pbx::start(&tree, &folder.path().join("pbx"), config).await?;
    for (index, (file, blocks)) in files.iter().enumerate() {
        let desk = folder.path().join(index.to_string());
        fs::create_dir(&desk)?;
        type_in(&desk, &pbx, blocks).await.with_context(|| file.clone())?;
    }
    Ok(())
}

/// One shell for a file, so that what one block exports is there in the next.
async fn type_in(desk: &Path, pbx: &Pbx, blocks: &[Block]) -> Result<()> {
    let api = own_address()?;
    write_tools(desk, pbx, api)?;
    let script = script(blocks, api);
    fs::write(desk.join("script"), &script)?;
    let path = std::env::var("PATH").unwrap_or_default();
    let log = fs::File::create(desk.join("log"))?;
    let child = Command::new("sh")
        .args(["-eu", "script"])
        .current_dir(desk)
        .env("PATH", format!("{}:{path}", desk.join("bin").display()))
        .env("HQ_AMI_SECRET", SECRET)
        .env("JACKFIELD_PLUGINS_DIR", plugins()?)
        .env("JACKFIELD_CACHE_DIR", target().join("test-cache"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    let group = child.id();
    let ended =
        tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(move || wait(child))).await;
    // The host of the script, whatever became of the script.
    let _ = Command::new("kill")
        .args(["-KILL", "--", &format!("-{group}")])
        .stderr(Stdio::null())
        .status();
    let log = fs::read_to_string(desk.join("log"))?;
    let status = ended.with_context(|| format!("it does not end:\n{log}"))???;
    ensure!(status.success(), "{status}, at the last line of\n{log}");
    ensure!(!log.contains(&format!("secret = {SECRET}")), "the secret was printed");
    Ok(())
}

fn wait(mut child: std::process::Child) -> std::io::Result<std::process::ExitStatus> {
    child.wait()
}

/// `jackfield` and `asterisk` as a reader would have them, and the configuration of a desk.
fn write_tools(desk: &Path, pbx: &Pbx, api: SocketAddr) -> Result<()> {
    let bin = desk.join("bin");
    fs::create_dir(&bin)?;
    symlink(env!("CARGO_BIN_EXE_jackfield-under-test"), bin.join("jackfield"))?;
    let asterisk = bin.join("asterisk");
    fs::write(
        &asterisk,
        format!("#!/bin/sh\nexec '{}' \"$@\"\n", pbx.folder().join("asterisk.sh").display()),
    )?;
    fs::set_permissions(&asterisk, fs::Permissions::from_mode(0o755))?;
    let config = format!(
        "[api]\nlisten = \"{api}\"\n[connectors.hq]\nplugin = \"asterisk\"\nlinks.ami = \"tcp://{}\"\n\
         secrets.ami = {{ env = \"HQ_AMI_SECRET\" }}\nsettings = {{ username = \"jackfield\", extensions = \"^1[0-9]{{3}}$\" }}\n\
         grants = [\"link:ami\"]\n[agents.anna]\ndevices = [{{ connector = \"hq\", extension = \"1001\" }}]\n",
        pbx.ami(),
    );
    Ok(fs::write(desk.join("jackfield.toml"), config)?)
}

/// The blocks in order. A host that would run for ever runs beside them; a stream is read for a while.
fn script(blocks: &[Block], api: SocketAddr) -> String {
    const SERVE: &str = "jackfield serve --config jackfield.toml";
    let ready = format!(
        "{SERVE} > host.log 2>&1 &\ncommand curl -sf --retry 900 --retry-delay 1 --retry-max-time 300 --retry-all-errors http://{api}/readyz"
    );
    let mut script = "curl() { command curl --silent --show-error --fail --max-time 5 \"$@\" || [ $? -eq 28 ]; }\n\
                      TOKEN=$(jackfield token create reader --scope admin --config jackfield.toml)\nexport TOKEN\n"
        .to_owned();
    if !blocks.iter().any(|block| block.text.contains(SERVE)) {
        let _ = writeln!(script, "{ready}");
    }
    for Block { file, line, text, .. } in blocks {
        let text = text.replace(SERVE, &ready).replace("127.0.0.1:8080", &api.to_string());
        let _ = writeln!(script, "echo '# {file}:{line}'\n{text}");
    }
    script
}

#[test]
fn the_sample_of_the_doctor_has_only_lines_that_exist() -> Result<()> {
    let sources = [
        "host/src/doctor.rs",
        "host/src/doctor/live.rs",
        "host/src/doctor/network.rs",
        "host/src/doctor/agents.rs",
        "plugins/asterisk/src/probe/findings.rs",
    ];
    let sources: Vec<String> = sources
        .iter()
        .map(|file| fs::read_to_string(docs::root().join(file)))
        .collect::<Result<_, _>>()?;
    let sample = docs::named("host/docs/admin.md", "sample")?;
    let checks: BTreeSet<&str> = sample
        .lines()
        .filter(|line| {
            line.starts_with("  ok ")
                || line.starts_with("  warning ")
                || line.starts_with("  FAILURE ")
        })
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    ensure!(checks.len() > 10, "{checks:?}");
    for check in checks {
        let quoted = format!("\"{check}\"");
        ensure!(sources.iter().any(|source| source.contains(&quoted)), "nobody checks `{check}`");
    }
    Ok(())
}

fn blocks(language: &str) -> Result<Vec<Block>> {
    Ok(docs::all()?.into_iter().filter(|block| block.language == language).collect())
}

fn is(block: &Block, file: &str, first: &str) -> bool {
    block.file == file && block.text.starts_with(first)
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
