//! `cargo xtask test`, `demo` and `bench`: guests first, then cargo, with the time each stage took.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::guests;
use crate::workspace::{Workspace, cargo};

/// Tells tests and benches where the built guests are.
const PLUGINS_DIR: &str = "JACKFIELD_PLUGINS_DIR";

pub fn test(workspace: &Workspace, args: &[String]) -> anyhow::Result<()> {
    say_what_is_skipped();
    stage("guests", || guests::build(workspace, &[]))?;
    stage("tests", || run(workspace, &["test", "--workspace", "--no-fail-fast"], args))
}

pub fn demo(workspace: &Workspace, args: &[String]) -> anyhow::Result<()> {
    stage("guests", || guests::build(workspace, &[]))?;
    let plugins = workspace.plugins();
    let plugins = plugins.to_str().context("the target folder's name is not UTF-8")?;
    let verb = ["run", "--package=jackfield", "--", "demo", "--plugins-dir", plugins];
    // Becomes cargo, which becomes the demo: Ctrl-C reaches it alone, and the shell waits for it.
    Err(cargo_command(workspace, &verb, args).exec()).context("cannot run cargo")
}

pub fn bench(workspace: &Workspace, args: &[String]) -> anyhow::Result<()> {
    stage("guests", || guests::build(workspace, &[]))?;
    stage("benches", || run(workspace, &["bench", "--profile=dev", "--workspace"], args))
}

fn run(workspace: &Workspace, verb: &[&str], args: &[String]) -> anyhow::Result<()> {
    let status = cargo_command(workspace, verb, args).status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo {} failed", verb[0]);
    Ok(())
}

fn cargo_command(workspace: &Workspace, verb: &[&str], args: &[String]) -> Command {
    let mut command = Command::new(cargo());
    command
        .args(verb)
        .args(args)
        .current_dir(&workspace.root)
        .env(PLUGINS_DIR, workspace.plugins());
    command
}

fn stage(name: &str, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let started = Instant::now();
    work()?;
    println!("== {name}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// The tests decide themselves what a missing peer means; here it is only said before the wait.
fn say_what_is_skipped() {
    if !on_path("mmdebstrap") {
        println!(
            "== NOTE: no mmdebstrap on PATH, so no real Asterisk can be set up: the tests against \
             it are SKIPPED (with CI set they FAIL). Fix: apt install mmdebstrap"
        );
    }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
