//! The languages plugins are written in. A language makes a component of a project; the rest is the same for all.

pub mod python;
pub mod rust;
mod tools;
pub mod ts;
mod vendored;

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    Progress,
    build::Options,
    project::{Kind, Lang, Project},
};

/// What the kit needs to know of a language.
pub trait Language: Sync {
    /// Which it is.
    fn lang(&self) -> Lang;

    /// Compiles the project's sources into a component without WASI and without a manifest.
    ///
    /// An error names what was tried and the fix. Long work says what it is doing.
    fn compile(
        &self,
        project: &Project,
        options: &Options,
        progress: &dyn Progress,
    ) -> anyhow::Result<Compiled>;

    /// The command that runs the project's own unit tests, natively and without a host.
    fn unit_tests(&self, project: &Project, options: &Options) -> anyhow::Result<Command>;

    /// Files of a new project that are made, not kept as templates: a path inside the project and its content.
    fn generated(&self, _kind: Kind) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        Ok(Vec::new())
    }

    /// Names of folders that hold nothing an author wrote, besides `build` and `dist`.
    fn left_overs(&self) -> &'static [&'static str];
}

/// What a language made.
#[derive(Debug)]
pub struct Compiled {
    /// The component.
    pub component: Vec<u8>,
    /// The tools that made it, for people: `rustc 1.97.1 at /usr/bin/rustc`.
    pub tools: String,
}

/// The language of that name.
pub fn language(lang: Lang) -> &'static dyn Language {
    match lang {
        Lang::Rust => &rust::Rust,
        Lang::Ts => &ts::TypeScript,
        Lang::Python => &python::Python,
    }
}

/// How often long work says that it goes on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// What is kept of what a tool says on standard error.
const MAX_COMPLAINT: usize = 64 << 10;
/// What a tool may say on standard output.
const MAX_OUTPUT: u64 = 64 << 20;

/// Runs a tool to its end; answers what it said on standard output. Every five seconds the last line it said on
/// standard error goes to `progress`; when it fails, all of that is the error.
pub fn run(command: &mut Command, shown: &str, progress: &dyn Progress) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            anyhow::anyhow!("`{program}` is not installed, or not on PATH")
        }
        _ => anyhow::anyhow!("cannot run {program}: {error}"),
    })?;
    let began = Instant::now();
    let stdout = child.stdout.take().context("it was piped")?;
    let stderr = child.stderr.take().context("it was piped")?;
    let (send, lines) = mpsc::sync_channel::<String>(64);
    let (output, complaint) = std::thread::scope(|scope| {
        let output = scope.spawn(move || {
            let mut output = Vec::new();
            let read = stdout.take(MAX_OUTPUT).read_to_end(&mut output);
            read.map(|_| output)
        });
        scope.spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut line = Vec::new();
            while stderr.by_ref().take(1 << 16).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
                line.clear();
            }
        });
        let complaint = listen(&lines, shown, began, progress);
        (output.join(), complaint)
    });
    let status = child.wait()?;
    if !status.success() {
        bail!("`{shown}` failed ({status})\n{}", complaint.trim_end());
    }
    let output = output.ok().context("its output could not be read")??;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Until standard error ends; answers its last 64 KiB.
fn listen(
    lines: &mpsc::Receiver<String>,
    shown: &str,
    began: Instant,
    progress: &dyn Progress,
) -> String {
    let (mut complaint, mut last) = (String::new(), String::new());
    let mut say_at = began + SIGN_OF_LIFE;
    loop {
        match lines.recv_timeout(say_at.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                complaint.push_str(&line);
                if complaint.len() > MAX_COMPLAINT {
                    let cut = complaint.len() - MAX_COMPLAINT / 2;
                    let cut = (cut..).find(|&at| complaint.is_char_boundary(at)).unwrap_or(0);
                    complaint.drain(..cut);
                }
                last = line.trim().to_owned();
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let secs = began.elapsed().as_secs();
                progress.say(&format!("{shown}: {secs} s so far; {last}"));
                say_at = Instant::now() + SIGN_OF_LIFE;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return complaint,
        }
    }
}
