//! What `examples/` gives people to copy works.

use std::{
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use jackfield::{
    clock::Clock,
    config::Config,
    demo::{
        RECORDING,
        peer::{Peer, Script},
        recording::Recording,
    },
    serve::Host,
    tokens::{Scope, Tokens},
};
use jackfield_tests::{docs, world::plugins};

#[test]
fn the_configuration_to_start_from_is_good() -> Result<()> {
    let text = std::fs::read_to_string(examples().join("jackfield.toml"))?;
    let read =
        Config::parse(&text, &examples().join("jackfield.toml"), &|_| Some("secret".to_owned()))?;
    ensure!(read.warnings.is_empty(), "{:?}", read.warnings);
    ensure!(read.connectors.len() == 1 && read.agents.len() == 2);
    Ok(())
}

/// The PBX here is a recorded one.
#[tokio::test]
async fn the_follower_misses_nothing_when_it_is_killed_and_started_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let recording = Arc::new(Recording::parse(RECORDING)?);
    let script = Script { recording, secret: "s".to_owned(), speed: 20.0, pause: Duration::ZERO };
    let pbx = Peer::start(script).await?;
    let secret = folder.path().join("ami.secret");
    std::fs::write(&secret, "s")?;
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600))?;
    let file = folder.path().join("jackfield.toml");
    std::fs::write(
        &file,
        format!(
            "[api]\nlisten = \"127.0.0.1:0\"\n[plugins]\ndir = {:?}\n[connectors.demo]\nplugin = \"asterisk\"\n\
             links.ami = \"tcp://{}\"\nsecrets.ami = {{ file = \"ami.secret\" }}\n\
             settings = {{ username = \"jackfield\", extensions = \"^10[0-9]{{2}}$\" }}\ngrants = [\"link:ami\"]\n",
            plugins()?,
            pbx.address()
        ),
    )?;
    let config = Config::load(&file)?;
    let token = Tokens::open(&config.tokens_file())?;
    let token = token.create("follower", &[Scope::Read], None, Clock::start().now().wall)?;
    let host = Host::start(config).await?;
    let api = host.api_addr();
    let cursor = folder.path().join("cursor");
    let follow = move |count: usize| {
        let mut follower = Command::new("sh")
            .arg(examples().join("follow.sh"))
            .arg(&cursor)
            .env("JACKFIELD", format!("http://{api}"))
            .env("TOKEN", &token)
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(follower.stdout.take().context("piped")?).lines();
        let numbers: Result<Vec<u64>> = lines.take(count).map(|line| number(&line?)).collect();
        let group = format!("-{}", follower.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        follower.wait()?;
        numbers
    };
    let (first, second) =
        tokio::task::spawn_blocking(move || anyhow::Ok((follow(40)?, follow(40)?))).await??;
    host.stop().await;
    ensure!(first.iter().copied().eq(1..=40), "{first:?}");
    // It was killed with an event in hand: some may come again, none is missing.
    let begins = second.first().copied().unwrap_or_default();
    ensure!((2..=41).contains(&begins), "{second:?}");
    ensure!(second.iter().copied().eq(begins..begins + 40), "{second:?}");
    Ok(())
}

fn number(line: &str) -> Result<u64> {
    let event: serde_json::Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
    event["seq"].as_u64().context("an event has a number")
}

fn examples() -> PathBuf {
    docs::root().join("examples")
}
