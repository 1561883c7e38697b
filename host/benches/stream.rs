//! From a byte of the PBX to a line of the event stream, through the whole host: socket, component, switch,
//! journal on disk, publisher, SSE.
//!
//! The yardstick is measured in the same run on the same disk: one-row commits of SQLite with WAL and
//! `synchronous=FULL`, the least that "written before told" can cost. `cargo xtask bench -- --bench stream`

#![allow(clippy::print_stdout, reason = "a bench shows its figures")]

#[path = "shared/config.rs"]
mod config;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream as StdTcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use jackfield::{
    clock::Clock,
    config::Config,
    demo::{
        RECORDING,
        peer::{Answers, Next},
        recording::Recording,
    },
    serve::Host,
    tokens::{Scope, Tokens},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

fn main() -> anyhow::Result<()> {
    // On the disk of the target folder: a temporary folder may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;

    let before = commits(folder.path(), 1500)?;
    let normal = runtime.block_on(run(folder.path(), "normal", 1_000, Duration::from_secs(15)))?;
    let heavy = runtime.block_on(run(folder.path(), "heavy", 5_000, Duration::from_secs(10)))?;
    let after = commits(folder.path(), 1500)?;

    let mut commit = [before, after].concat();
    commit.sort();
    report("one-row SQLite commit (WAL, FULL)", &commit, &commit, (1.0, 1.0));
    report("PBX byte to SSE line at 1,000 events/s", &normal.latencies, &commit, (3.0, 4.0));
    report(
        "PBX byte to SSE line at 5,000 events/s",
        &heavy.latencies,
        &commit,
        (f64::INFINITY, f64::INFINITY),
    );
    for (name, run) in [("1,000", &normal), ("5,000", &heavy)] {
        println!(
            "{name} events/s: {} events sent in {:.1} s = {:.0}/s, {} missing on the stream, seq dense: {}",
            run.sent,
            run.took.as_secs_f64(),
            run.sent as f64 / run.took.as_secs_f64(),
            run.missing,
            run.dense
        );
    }
    Ok(())
}

fn report(name: &str, times: &[Duration], yardstick: &[Duration], limits: (f64, f64)) {
    let at = |times: &[Duration], part: f64| {
        times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3
    };
    let (p50, p99) = (at(times, 0.5), at(times, 0.99));
    let (base50, base99) = (at(yardstick, 0.5), at(yardstick, 0.99));
    println!(
        "{name:<42} p50 {p50:>7.2} ms = {:>4.1}x (limit {})   p99 {p99:>7.2} ms = {:>4.1}x (limit {})",
        p50 / base50,
        limits.0,
        p99 / base99,
        limits.1
    );
}

/// How long each of `count` commits of one row took.
fn commits(folder: &Path, count: usize) -> anyhow::Result<Vec<Duration>> {
    let file = folder.join(format!("yardstick-{count}.db"));
    let database = rusqlite::Connection::open(&file)?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database.execute_batch(
        "CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)",
    )?;
    let body = "x".repeat(400);
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        database.execute("INSERT INTO events (body) VALUES (?1)", [&body])?;
        times.push(began.elapsed());
    }
    Ok(times)
}

struct Run {
    latencies: Vec<Duration>,
    sent: usize,
    took: Duration,
    missing: usize,
    dense: bool,
}

async fn run(folder: &Path, name: &str, per_second: u32, length: Duration) -> anyhow::Result<Run> {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder)?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let ami = listener.local_addr()?;
    let listen = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let config = Config::load(&config::write(&folder, listen, ami)?)?;
    let token = Tokens::open(&config.tokens_file())?.create(
        "bench",
        &[Scope::Read],
        None,
        Clock::start().now().wall,
    )?;
    let host = Host::start(config).await?;
    let lines = follow(host.api_addr(), &token)?;
    let sent: Arc<Mutex<BTreeMap<String, Instant>>> = Arc::default();

    let began = Instant::now();
    let times = Arc::clone(&sent);
    let pbx = tokio::spawn(async move { play(listener, per_second, length, times).await });
    let stream_ended = tokio::task::spawn_blocking(move || collect(&lines, length));
    let took = pbx.await??;
    let (seen, dense) = stream_ended.await?;
    host.stop().await;

    let sent = sent.lock().map_err(|_| anyhow::anyhow!("the peer panicked"))?;
    let mut latencies: Vec<Duration> = seen
        .iter()
        .filter_map(|(native, at)| Some(at.duration_since(*sent.get(native)?)))
        .collect();
    latencies.sort();
    let missing = sent.len() - latencies.len();
    let _ = began;
    Ok(Run { latencies, sent: sent.len() * 2, took, missing, dense })
}

/// A PBX in which calls start and end at a steady pace: half of the events are `Newchannel`, half `Hangup`.
async fn play(
    listener: TcpListener,
    per_second: u32,
    length: Duration,
    times: Arc<Mutex<BTreeMap<String, Instant>>>,
) -> anyhow::Result<Duration> {
    let recording = Arc::new(Recording::parse(RECORDING)?);
    let (mut stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    stream.write_all(&recording.banner).await?;
    let mut answers = Answers::new(Arc::clone(&recording), config::SECRET);
    let mut chunk = vec![0; 16 * 1024];
    let mut quiet = tokio::time::Instant::now() + Duration::from_secs(10);
    // Until the connector has its first picture: nothing asked for a while.
    while let Ok(read) = tokio::time::timeout_at(quiet, stream.read(&mut chunk)).await {
        let mut out = Vec::new();
        let next = answers.receive(&chunk[..read?], &mut out);
        if next == Next::Play {
            out.extend_from_slice(
                b"Event: FullyBooted\r\nPrivilege: system,all\r\nUptime: 1\r\nLastReload: 1\r\nStatus: Fully Booted\r\n\r\n",
            );
        }
        quiet = tokio::time::Instant::now() + Duration::from_millis(1500);
        stream.write_all(&out).await?;
    }
    let (mut from_host, mut to_host) = stream.into_split();
    // Pings are read and not answered: the run is shorter than the connector's patience.
    tokio::spawn(
        async move { while from_host.read(&mut chunk).await.is_ok_and(|read| read > 0) {} },
    );
    let began = Instant::now();
    let calls = u64::from(per_second) * length.as_secs() / 2;
    let mut pace = tokio::time::interval(Duration::from_secs(2) / per_second);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    for number in 0..calls {
        pace.tick().await;
        let native = format!("1795290000.{number}");
        let frames =
            [event("Newchannel", &native, number, ""), event("Hangup", &native, number, HANGUP)]
                .concat();
        times.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.insert(native, Instant::now());
        to_host.write_all(&frames).await?;
    }
    Ok(began.elapsed())
}

const HANGUP: &str = "Cause: 16\r\nCause-txt: Normal Clearing\r\nTechCause: 0\r\n";

fn event(name: &str, native: &str, number: u64, more: &str) -> Vec<u8> {
    format!(
        "Event: {name}\r\nPrivilege: call,all\r\nChannel: PJSIP/trunk-{number:08x}\r\nChannelState: 0\r\n\
         ChannelStateDesc: Down\r\nCallerIDNum: +4930{number:06}\r\nCallerIDName: Bench\r\nConnectedLineNum: <unknown>\r\n\
         ConnectedLineName: <unknown>\r\nLanguage: en\r\nAccountCode: \r\nContext: from-trunk\r\nExten: 800\r\n\
         Priority: 1\r\nUniqueid: {native}\r\nLinkedid: {native}\r\n{more}\r\n"
    )
    .into_bytes()
}

/// The stream's lines with the moment each was read.
fn follow(api: SocketAddr, token: &str) -> anyhow::Result<Receiver<(Instant, String)>> {
    let mut stream = StdTcpStream::connect(api)?;
    write!(
        stream,
        "GET /v1/events?after=0 HTTP/1.1\r\nHost: {api}\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n\r\n"
    )?;
    let (lines, received) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            let at = Instant::now();
            if line.starts_with("data:") && lines.send((at, line)).is_err() {
                return;
            }
        }
    });
    Ok(received)
}

/// When each call's first leg was seen, until the stream is quiet; and whether the numbers had no hole.
fn collect(
    lines: &Receiver<(Instant, String)>,
    length: Duration,
) -> (Vec<(String, Instant)>, bool) {
    let mut seen = Vec::new();
    let mut dense = true;
    let mut last = 0;
    let mut patience = length + Duration::from_secs(30);
    while let Ok((at, line)) = lines.recv_timeout(patience) {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(&line["data:".len()..]) else {
            continue;
        };
        let Some(seq) = event["seq"].as_u64() else { continue };
        dense &= seq == last + 1;
        last = seq;
        if let Some(native) = event["data"]["native"].as_str() {
            seen.push((native.to_owned(), at));
            patience = Duration::from_secs(5);
        }
    }
    (seen, dense)
}
