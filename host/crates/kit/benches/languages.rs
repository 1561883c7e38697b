//! What each language costs: the router's template in Rust, TypeScript and Python, begun, built, compiled and asked.
//!
//! `cargo xtask bench -- --bench languages`; prints the table of `plugins/sdk/docs/languages.md`. A language whose tools are
//! not here is left out with a word.

#![expect(clippy::print_stdout, reason = "figures are its purpose")]

use std::time::{Duration, Instant};

use calls::{Now, Timestamp};
use kit::{
    Silent,
    build::{self, Options},
    project::{Lang, Project},
    template,
};
use plugin_runtime::{
    Kind, Log, Runtime,
    hooks::{Call, HookConfig, HookLimits, Router},
};

const CALLS: usize = 5_000;

fn main() -> anyhow::Result<()> {
    println!(
        "| language | component | build again | compiled by the host | one decision, p50 | p99 | memory of an instance |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for lang in Lang::ALL {
        if let Err(error) = measure(lang) {
            println!("| {lang} | not measured: {error:#} |");
        }
    }
    Ok(())
}

fn measure(lang: Lang) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("vip-desk");
    template::begin("vip-desk", Kind::Router, lang, &root)?;
    let project = Project::load(&root)?;
    // The first build fetches and compiles tools; an author waits for the ones after it.
    build::build(&project, &Options::default(), &Silent)?;
    let began = Instant::now();
    let built = build::build(&project, &Options::default(), &Silent)?;
    let build = began.elapsed();
    let wasm = std::fs::read(&built.path)?;
    let began = Instant::now();
    let plugin = Runtime::new(None)?.load(&wasm)?;
    let compile = began.elapsed();
    let limits = HookLimits { route_ms: 1_000, ..HookLimits::default() };
    let mut router = Router::start(
        &plugin,
        HookConfig {
            id: "bench".into(),
            settings: r#"{"vip":["+4930123456"],"queue":"vip"}"#.into(),
            grants: Vec::new(),
            limits,
            log: Log::new("bench"),
        },
    )?;
    let call = Call {
        id: "call-1".into(),
        connector: "hq".into(),
        dialled: "500".into(),
        caller_e164: "+4930123456".into(),
        attempt: 1,
        variables: (0..5).map(|number| (format!("NAME{number}"), "value".into())).collect(),
        ..Call::default()
    };
    let now = Now { monotonic: Duration::from_secs(1), wall: Timestamp(1_795_435_200_000_000_000) };
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        router.route(now, &call, &[])?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    println!(
        "| {lang} | {} KiB | {:.1} s | {:.1} s | {:.0} us | {:.0} us | {:.1} MiB |",
        built.bytes / 1024,
        build.as_secs_f64(),
        compile.as_secs_f64(),
        times[CALLS / 2].as_secs_f64() * 1e6,
        times[CALLS * 99 / 100].as_secs_f64() * 1e6,
        router.usage().memory_bytes as f64 / (1024.0 * 1024.0),
    );
    Ok(())
}
