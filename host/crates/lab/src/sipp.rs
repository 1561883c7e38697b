//! Many simple calls at once, by the sipp program of the tree or of the machine.
//!
//! Load and plain callers; what needs several parties or a decision is easier with
//! [`crate::phone`].

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::{random, release::Tree};

/// What each call of a run does.
#[derive(Debug, Clone)]
pub enum Scenario {
    /// Calls in by the trunk, waits for the answer, talks for [`Sipp::pause`], hangs up.
    ///
    /// Where the dialplan answers before the queue does, that is also the caller who gives up
    /// waiting.
    Caller,
    /// Calls in by the trunk, hears ringing for [`Sipp::pause`], gives up unanswered.
    CallerCancels,
    /// Is called, rings for [`Sipp::pause`], answers, talks until the other side hangs up.
    Agent,
    /// A scenario of sipp's own format (XML).
    Text(String),
}

impl Scenario {
    fn text(&self) -> &str {
        match self {
            Scenario::Caller => include_str!("../scenarios/caller.xml"),
            Scenario::CallerCancels => include_str!("../scenarios/caller_cancels.xml"),
            Scenario::Agent => include_str!("../scenarios/agent.xml"),
            Scenario::Text(text) => text,
        }
    }
}

/// A run of sipp.
#[derive(Debug, Clone)]
pub struct Sipp {
    /// What each call does.
    pub scenario: Scenario,
    /// The number dialled.
    pub number: String,
    /// How many calls; `None` goes on until [`RunningSipp::stop`].
    pub calls: Option<u32>,
    /// New calls per second.
    pub calls_per_second: u32,
    /// How long a call talks or rings. A caller's first half second passes in `Answer()`, which
    /// waits that long for media, and sipp sends none.
    pub pause: Duration,
    /// Where to listen; 0 takes a free port.
    pub local_port: u16,
    /// Lines for `[field0]`, `[field1]`... of the scenario, one per call, separated by `;`.
    pub fields: Vec<String>,
    /// Keep every SIP message for [`SippReport::messages`].
    pub keeps_messages: bool,
}

impl Sipp {
    /// `calls` callers of `number`, ten a second, who talk for two seconds.
    pub fn callers(number: &str, calls: u32) -> Sipp {
        Sipp {
            scenario: Scenario::Caller,
            number: number.to_owned(),
            calls: Some(calls),
            calls_per_second: 10,
            pause: Duration::from_secs(2),
            local_port: 0,
            fields: Vec::new(),
            keeps_messages: false,
        }
    }

    /// All agents that are called at `port`; they answer at once, until stopped.
    pub fn agents(port: u16) -> Sipp {
        Sipp {
            scenario: Scenario::Agent,
            calls: None,
            pause: Duration::ZERO,
            local_port: port,
            ..Sipp::callers("agents", 0)
        }
    }

    /// Starts it against the PBX at `server`; its files go into `folder` (made when missing).
    pub fn start(
        &self,
        tree: &Tree,
        server: SocketAddr,
        folder: &Path,
    ) -> Result<RunningSipp, SippError> {
        let folder = folder.join(format!("sipp-{:016x}", random()));
        fs::create_dir_all(&folder).map_err(cannot_write(&folder))?;
        write(&folder.join(SCENARIO), self.scenario.text())?;
        let mut command = Command::from(tree.sipp().ok_or(SippError::NotInstalled)?);
        command
            .arg(server.to_string())
            .args(["-sf", SCENARIO, "-s", &self.number, "-nostdin"])
            .args(["-i", "127.0.0.1", "-mi", "127.0.0.1", "-bind_local"])
            .args(["-r", &self.calls_per_second.to_string()])
            .args(["-d", &self.pause.as_millis().max(1).to_string()])
            .args(["-mp", &media_port().to_string()])
            .args(["-trace_stat", "-stf", STATISTICS, "-fd", "1"])
            .args(["-trace_err", "-error_file", ERRORS]);
        if let Some(calls) = self.calls {
            command.args(["-m", &calls.to_string()]);
        }
        if self.local_port != 0 {
            command.args(["-p", &self.local_port.to_string()]);
        }
        if !self.fields.is_empty() {
            write(&folder.join(FIELDS), &format!("SEQUENTIAL\n{}\n", self.fields.join("\n")))?;
            command.args(["-inf", FIELDS]);
        }
        if self.keeps_messages {
            command.args(["-trace_msg", "-message_file", MESSAGES]);
        }
        let screen = folder.join(SCREEN);
        let screen = fs::File::create(&screen).map_err(cannot_write(&screen))?;
        let stderr = screen.try_clone().map_err(cannot_write(&folder))?;
        let child = command
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(screen)
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .map_err(SippError::Run)?;
        Ok(RunningSipp { child, folder })
    }

    /// Runs it to its end.
    pub async fn run(
        &self,
        tree: &Tree,
        server: SocketAddr,
        folder: &Path,
    ) -> Result<SippReport, SippError> {
        self.start(tree, server, folder)?.finished().await
    }
}

const SCENARIO: &str = "scenario.xml";
const STATISTICS: &str = "statistics.csv";
const ERRORS: &str = "errors.log";
const FIELDS: &str = "fields.csv";
const MESSAGES: &str = "messages.log";
const SCREEN: &str = "screen.log";

/// sipp at work. Dropping it kills it.
#[derive(Debug)]
pub struct RunningSipp {
    child: Child,
    folder: PathBuf,
}

impl RunningSipp {
    /// Waits until all its calls are done.
    pub async fn finished(mut self) -> Result<SippReport, SippError> {
        let status = self.child.wait().await.map_err(SippError::Run)?;
        SippReport::read(&self.folder, status)
    }

    /// Takes no new calls, waits for the present ones.
    pub async fn stop(self) -> Result<SippReport, SippError> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Fails when it ended by itself, which is as good.
            let _ = kill_process(pid, Signal::USR1);
        }
        self.finished().await
    }
}

/// What came out of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SippReport {
    /// Calls that went as the scenario says.
    pub successful: u32,
    /// Calls that did not.
    pub failed: u32,
    /// What surprised sipp, in its own words.
    pub errors: String,
    /// All SIP messages, when asked for.
    pub messages: Option<String>,
}

impl SippReport {
    fn read(folder: &Path, status: ExitStatus) -> Result<SippReport, SippError> {
        let text = |name| {
            let bytes = fs::read(folder.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let statistics = text(STATISTICS);
        let counter = |name| count(&statistics, name);
        match (counter("SuccessfulCall(C)"), counter("FailedCall(C)")) {
            (Some(successful), Some(failed)) => {
                let messages = Some(text(MESSAGES)).filter(|messages| !messages.is_empty());
                Ok(SippReport { successful, failed, errors: text(ERRORS), messages })
            }
            _ => {
                // With a wrong option it prints its whole manual.
                let output = text(ERRORS) + &text(SCREEN);
                let lines: Vec<&str> = output.lines().collect();
                let output = lines[lines.len().saturating_sub(12)..].join("\n");
                Err(SippError::NoStatistics { status, output })
            }
        }
    }
}

/// Why sipp did not run.
#[derive(Debug, thiserror::Error)]
pub enum SippError {
    /// Neither the tree nor the machine has it.
    #[error("sipp is not installed: run `apt-get install sip-tester`")]
    NotInstalled,
    /// It does not start.
    #[error("cannot run sipp: {0}")]
    Run(io::Error),
    /// A folder cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It ended before it counted anything.
    #[error("sipp ended without statistics ({status}):\n{output}")]
    NoStatistics {
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },
}

/// The last value of a column of sipp's statistics.
fn count(statistics: &str, column: &str) -> Option<u32> {
    let mut lines = statistics.lines();
    let column = lines.next()?.split(';').position(|name| name == column)?;
    lines.next_back()?.split(';').nth(column)?.parse().ok()
}

/// Outside the ports that Asterisk's media gets, see [`crate::config::Ports`].
fn media_port() -> u16 {
    40_000 + 2 * u16::try_from(random() % 10_000).unwrap_or(0)
}

fn write(path: &Path, text: &str) -> Result<(), SippError> {
    fs::write(path, text).map_err(cannot_write(path))
}

fn cannot_write(path: &Path) -> impl FnOnce(io::Error) -> SippError {
    let path = path.to_owned();
    |source| SippError::Write { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_the_statistics_counts() {
        let text = "StartTime;SuccessfulCall(P);SuccessfulCall(C)\na;1;1\nb;2;3\n";
        assert_eq!(count(text, "SuccessfulCall(C)"), Some(3));
        assert_eq!(count(text, "FailedCall(C)"), None);
    }
}
