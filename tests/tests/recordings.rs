//! A conversation with a real Asterisk, recorded, gives the same effects wherever it is replayed; neither the secret nor,
//! when that is asked for, a caller's number is in the file. A crash leaves a recording that crashes again.

#![expect(clippy::print_stdout, reason = "figures for whoever reads the log")]

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use calls::{Now, Timestamp};
use jackfield_tests::{
    chance::{Dice, is_full},
    floor::{self, Kind, Lane, Told},
    world::{command, plugins, test_plugin, tree},
};
use lab::{Pbx, Release};
use plugin_runtime::{
    Connector, Effect, Input, InstanceConfig, Limits, Outcome, Recording, Runtime, Secrets,
    WriteOptions, Written,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until},
};

/// The password of the account that every lab PBX has.
const SECRET: &str = "lab-secret";
/// A connector's settings beside it.
const SETTINGS: &str = r#"{"username":"jackfield","extensions":"^1[0-9]{3}$","country":"DE","time_zone":"Europe/Berlin"}"#;

/// What was played while it was recorded, whatever else is.
const PLAYED: [Kind; 6] = [
    Kind::AnsweredCallerEnds,
    Kind::AbandonedWhileRinging,
    Kind::PressedKeyIntoAnotherQueue,
    Kind::BlindTransfer,
    Kind::Full,
    Kind::AnsweredAgentEnds,
];

/// A connector on the socket of a PBX, with nothing else of a host around it.
struct Wired {
    connector: Connector,
    secrets: Secrets,
    began: Instant,
}

impl Wired {
    fn start(wasm: &Path) -> Result<Wired> {
        // The runtime's clock must outlive the connector.
        let runtime = Box::leak(Box::new(Runtime::new(None)?));
        let plugin = runtime.load(&fs::read(wasm)?)?;
        let config = InstanceConfig {
            id: "hq".to_owned(),
            settings: SETTINGS.to_owned(),
            links: vec![("ami".to_owned(), "tcp://127.0.0.1".to_owned())],
            grants: vec!["link:ami".to_owned()],
            limits: Limits::default(),
        };
        let began = Instant::now();
        let (connector, _) = Connector::start(&plugin, config, now(began))?;
        let secrets = Secrets::from_iter([("ami".to_owned(), SECRET.as_bytes().to_vec())]);
        Ok(Wired { connector, secrets, began })
    }

    /// Talks with the PBX until it is told to stop.
    async fn talk(&mut self, pbx: &Pbx, mut stop: watch::Receiver<bool>) -> Result<()> {
        let mut stream = TcpStream::connect(pbx.ami()).await?;
        let up = Input::LinkUp { link: "ami".into(), peer: "127.0.0.1".into(), nonce: [7; 32] };
        self.handle(vec![up], &mut stream).await?;
        let mut block = vec![0; 16 * 1024];
        loop {
            let far = self.began + Duration::from_secs(3_600);
            let wake = self.connector.wake_at().map_or(far, |at| self.began + at);
            let inputs = tokio::select! {
                length = stream.read(&mut block) => {
                    let data = block[..length?].to_vec();
                    ensure!(!data.is_empty(), "the PBX closed the connection");
                    vec![Input::Received { link: "ami".into(), data }]
                }
                () = sleep_until(wake) => Vec::new(),
                _ = stop.changed() => return Ok(()),
            };
            self.handle(inputs, &mut stream).await?;
        }
    }

    async fn handle(&mut self, inputs: Vec<Input>, stream: &mut TcpStream) -> Result<()> {
        let Outcome { effects, .. } = self.connector.handle(inputs, now(self.began));
        for effect in effects {
            match effect {
                Effect::Send { parts, .. } => {
                    for part in parts {
                        stream.write_all(&part.fill(&self.secrets)?).await?;
                    }
                }
                Effect::Close { reason, .. } => bail!("the connector hung up: {reason}"),
                _ => {}
            }
        }
        Ok(())
    }
}

fn now(began: Instant) -> Now {
    let monotonic = began.elapsed();
    let since = u64::try_from(monotonic.as_nanos()).unwrap_or(0);
    Now { monotonic, wall: Timestamp(1_795_290_000_000_000_000 + since) }
}

/// Plays calls on two lanes while the connector listens.
async fn recorded(wasm: &Path) -> Result<Option<(Wired, Vec<Told>)>> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(None) };
    let mut dice = Dice::new("recordings");
    let folder = tempfile::tempdir()?;
    let pbx = Pbx::start(&tree, folder.path(), floor::pbx_config()).await?;
    let mut wired = Wired::start(wasm)?;
    let stop = watch::Sender::new(false);
    // The third lane has no seats unless somebody adds them.
    let mut lanes = Vec::new();
    for lane in 0..2 {
        lanes.push((Lane::start(&pbx, lane, &format!("03061{lane}")).await?, dice.fork()));
    }
    let kinds: &[Kind] = if is_full() { &Kind::ALL } else { &PLAYED };
    let played = async {
        let played = lanes.iter_mut().map(async |(lane, dice)| {
            let mut played = Vec::new();
            for kind in kinds {
                played.push(lane.play(&pbx, *kind, dice).await?);
            }
            anyhow::Ok(played)
        });
        let played = futures_util::future::try_join_all(played).await;
        stop.send_replace(true);
        played
    };
    let (played, ()) = tokio::try_join!(played, wired.talk(&pbx, stop.subscribe()))?;
    Ok(Some((wired, played.concat())))
}

/// Writes it to a file, and reads that as text.
fn written(
    recording: &Recording,
    secrets: &Secrets,
    redact: bool,
    file: &Path,
) -> Result<(Written, String)> {
    let mut to = fs::File::create(file)?;
    let redact = redact.then_some([0x5a; 32]);
    let written = recording.write(&mut to, &WriteOptions { redact, secrets: Some(secrets) })?;
    Ok((written, fs::read_to_string(file)?))
}

/// `jackfield plugin replay`, in a folder of its own as on any other machine: its exit code and what it prints.
fn replay(file: &Path, plugin: &Path) -> Result<(Option<i32>, Value)> {
    let folder = tempfile::tempdir()?;
    let output = command(folder.path())
        .args(["plugin", "replay", "--json"])
        .arg(file)
        .arg("--plugin")
        .arg(plugin)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report = serde_json::from_str(&text)
        .with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((output.status.code(), report))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_conversation_replays_to_the_same_effects_and_keeps_its_secrets() -> Result<()> {
    let plugin = plugins()?.join("asterisk.wasm");
    let Some((mut wired, played)) = recorded(&plugin).await? else { return Ok(()) };
    let recording = wired.connector.recording();
    let folder = tempfile::tempdir()?;
    for redact in [false, true] {
        let file = folder.path().join(format!("redacted-{redact}.ndjson"));
        let (written, text) = written(&recording, &wired.secrets, redact, &file)?;
        println!("redacted: {redact}; {} steps, {} bytes", written.steps, written.bytes);
        ensure!(!text.contains(SECRET), "the secret is in the recording");
        for told in &played {
            let is_there = text.contains(&told.caller);
            ensure!(is_there != redact, "redacted: {redact}; {} is there: {is_there}", told.caller);
        }
        let (code, report) = replay(&file, &plugin)?;
        ensure!(code == Some(0) && report["same"] == true, "{report:#}");
        ensure!(report["effects_sha256"] == *written.effects_sha256, "{written:?}\n{report:#}");
        ensure!(report["calls"] == written.steps, "{written:?}\n{report:#}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_leaves_a_recording_that_crashes_again() -> Result<()> {
    let plugin = test_plugin("asterisk-trap-on")?;
    let Some((mut wired, _)) = recorded(&plugin).await? else { return Ok(()) };
    let bundles = wired.connector.take_bundles();
    println!("{} bundles of {} traps", bundles.len(), wired.connector.usage().traps);
    ensure!(!bundles.is_empty(), "nothing was left by {:?}", wired.connector.usage());
    let folder = tempfile::tempdir()?;
    for (number, bundle) in bundles.iter().enumerate() {
        let (kind, said) = bundle.failure().context("a bundle is about a failure")?;
        ensure!(said.contains("wasm backtrace"), "{kind:?} {said}");
        let file = folder.path().join(format!("{number}.ndjson"));
        let (_, text) = written(bundle, &wired.secrets, false, &file)?;
        ensure!(!text.contains(SECRET), "the secret is in the bundle");
        let (code, report) = replay(&file, &plugin)?;
        let crashes = report["crashes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let again = crashes.last().context("the replay tells of no crash")?;
        ensure!(code == Some(0) && again["happened"] == true, "bundle {number}: {report:#}");
        // The version without the fault takes the same inputs well.
        if number == 0 {
            let (_, report) = replay(&file, &plugins()?.join("asterisk.wasm"))?;
            let crashes = report["crashes"].as_array().map(Vec::as_slice).unwrap_or_default();
            let is_well = crashes.iter().all(|crash| crash["happened"] == false);
            ensure!(is_well, "{report:#}");
        }
    }
    Ok(())
}
