//! From `exec` of the real binary to a ready host, with the connector compiled already; and what it uses idle.
//!
//! `cargo xtask bench -- --bench start`

#![allow(clippy::print_stdout, reason = "a bench shows its figures")]

#[path = "shared/config.rs"]
mod config;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const STARTS: usize = 7;

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    // A PBX that never answers: nothing of its time is in the figure.
    let silent = TcpListener::bind(("127.0.0.1", 0))?;
    let api = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let config = config::write(folder.path(), api, silent.local_addr()?)?;
    let compiled = folder.path().join("cache");
    let (first, _) = start(&config, api, &compiled)?;
    println!("first start, connector compiled on the way  {:>7.0} ms", first.as_secs_f64() * 1e3);
    let mut times = Vec::new();
    let mut memory = 0;
    for _ in 0..STARTS {
        let (took, resident) = start(&config, api, &compiled)?;
        times.push(took);
        memory = memory.max(resident);
    }
    times.sort();
    let median = times[STARTS / 2].as_secs_f64() * 1e3;
    println!(
        "start to ready, compiled                    {median:>7.0} ms   {:.2} of the limit of 300 ms",
        median / 300.0
    );
    let mib = memory as f64 / 1024.0;
    println!(
        "resident when idle                          {mib:>7.1} MiB  {:.2} of the limit of 80 MiB",
        mib / 80.0
    );
    Ok(())
}

/// How long a start took, and KiB resident once ready.
fn start(config: &Path, api: SocketAddr, cache: &Path) -> anyhow::Result<(Duration, u64)> {
    let began = Instant::now();
    let mut host = Command::new(env!("CARGO_BIN_EXE_jackfield"))
        .args(["serve", "--config"])
        .arg(config)
        .env("JACKFIELD_CACHE_DIR", cache)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let ready = loop {
        if is_ready(api) {
            break began.elapsed();
        }
        anyhow::ensure!(began.elapsed() < Duration::from_secs(60), "not ready after a minute");
        std::thread::yield_now();
    };
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.id())).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let resident = resident.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    host.kill()?;
    host.wait()?;
    Ok((ready, resident))
}

fn is_ready(api: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(api) else { return false };
    let asked = write!(stream, "GET /readyz HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n\r\n");
    let mut answer = [0; 12];
    asked.is_ok() && stream.read_exact(&mut answer).is_ok() && answer.ends_with(b"200")
}
