//! One running Asterisk on loopback: start, stop, kill, its CLI and its queue log.
//!
//! Its whole world is one folder (configuration, database, logs, control socket), so any number
//! run at once. What it is told is in [`crate::config`], its files come from [`crate::release`].
//!
//! The process never outlives its [`Pbx`], nor the program that made it: `Drop` kills its process
//! group, and a guard process that holds a pipe to us does so if we die without a chance to.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{
    config::{self, Instance, PbxConfig, Ports},
    release::Tree,
    until::{Late, until},
};

/// A running Asterisk. Dropping it kills it.
#[derive(Debug)]
pub struct Pbx {
    folder: PathBuf,
    ports: Ports,
    has_ami_tls: bool,
    /// `None` after [`Pbx::stop`] and [`Pbx::kill`].
    server: Option<Server>,
    /// Its ports are its own as long as this is open.
    _reserved: File,
}

/// Why a PBX could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum PbxError {
    /// The path of a Unix socket holds 107 bytes.
    #[error(
        "{} is too long for Asterisk's control socket: choose a folder with a shorter path", _0.display()
    )]
    FolderTooLong(PathBuf),
    /// The folder cannot be used.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No certificate for AMI over TLS.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A program of the tree does not even start.
    #[error("cannot run {program}: {source}")]
    Run {
        /// Its path.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// Others took our ports several times in a row.
    #[error("found no free ports on 127.0.0.1 for Asterisk, or {} is not ours to write", std::env::temp_dir().display())]
    NoFreePorts,
    /// Asterisk ended while it was starting.
    #[error("Asterisk ended ({status}) while starting; the end of its log:\n{log}")]
    Died {
        /// How it ended.
        status: ExitStatus,
        /// The last lines it wrote.
        log: String,
    },
    /// Asterisk runs but does not become ready.
    #[error("Asterisk was not ready: {late}; the end of its log:\n{log}")]
    NotReady {
        /// How long was waited, and what its CLI said last.
        late: Late,
        /// The last lines it wrote.
        log: String,
    },
    /// The CLI found nobody to talk to.
    #[error("Asterisk's CLI refused `{command}`: {answer}")]
    Cli {
        /// What was asked.
        command: String,
        /// What came back.
        answer: String,
    },
    /// What a test waited for did not come.
    #[error("the queue log did not say so within {} s:\n{log}", within.as_secs_f32())]
    NotLogged {
        /// How long was waited.
        within: Duration,
        /// The last lines of the queue log.
        log: String,
    },
}

/// Far above the usual second: test machines are busy.
const BOOT_DEADLINE: Duration = Duration::from_secs(90);
const STOP_DEADLINE: Duration = Duration::from_secs(10);
const PORT_ATTEMPTS: usize = 5;

impl Pbx {
    /// Starts an Asterisk in `folder` (made when missing) and waits until it is fully booted.
    pub async fn start(tree: &Tree, folder: &Path, config: PbxConfig) -> Result<Pbx, PbxError> {
        let folder = std::path::absolute(folder).map_err(cannot_write(folder))?;
        if folder.as_os_str().len() > 85 {
            return Err(PbxError::FolderTooLong(folder));
        }
        make_folders(&folder)?;
        config::write_data(tree, &folder).map_err(cannot_write(&folder.join("data")))?;
        if config.ami_tls {
            write_certificate(&folder)?;
        }
        for _ in 0..PORT_ATTEMPTS {
            let (ports, reserved) = Ports::reserve().ok_or(PbxError::NoFreePorts)?;
            let at = Instance { tree, folder: &folder.display().to_string(), ports };
            for (name, text) in config::files(&config, &at) {
                write(&folder.join("etc").join(name), &text)?;
            }
            write_launcher(tree, &folder)?;
            let folder = folder.clone();
            let (has_ami_tls, server) = (config.ami_tls, None);
            let mut pbx = Pbx { folder, ports, has_ami_tls, server, _reserved: reserved };
            pbx.boot().await?;
            if !pbx.lost_a_port() {
                return Ok(pbx);
            }
        }
        Err(PbxError::NoFreePorts)
    }

    /// Starts it again after [`Pbx::stop`] or [`Pbx::kill`], on the same ports.
    pub async fn boot(&mut self) -> Result<(), PbxError> {
        // Bytes of an earlier life would be taken for this one's.
        let _ = fs::remove_file(self.folder.join("log/messages"));
        let launcher = self.launcher();
        let mut server = Server::spawn(&launcher, &self.folder.join("log/console"))
            .map_err(|source| PbxError::Run { program: launcher.display().to_string(), source })?;
        // An Asterisk that ended is no reason to look again.
        let booted = until(BOOT_DEADLINE, "Asterisk to boot", async || {
            if let Ok(Some(status)) = server.asterisk.try_wait() {
                return Ok(Err(status));
            }
            match self.cli("core waitfullybooted").await {
                Ok(answer) if answer.contains("fully booted") => Ok(Ok(())),
                Ok(answer) | Err(PbxError::Cli { answer, .. }) => Err(answer),
                Err(other) => Err(other.to_string()),
            }
        });
        match booted.await {
            Ok(Ok(())) => {
                self.server = Some(server);
                Ok(())
            }
            Ok(Err(status)) => Err(PbxError::Died { status, log: self.log_end() }),
            Err(late) => Err(PbxError::NotReady { late, log: self.log_end() }),
        }
    }

    /// Ends it as an operator would: calls are hung up, connections closed.
    pub async fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        // The answer is lost with the server.
        let _ = self.cli("core stop now").await;
        // One that does not end is killed when `server` is dropped.
        let _ =
            until(STOP_DEADLINE, "Asterisk to end", async || match server.asterisk.try_wait() {
                Ok(None) => Err("it runs"),
                _ => Ok(()),
            })
            .await;
    }

    /// Ends it as a power cut would: nobody is told anything.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// [`Pbx::stop`], then [`Pbx::boot`].
    pub async fn restart(&mut self) -> Result<(), PbxError> {
        self.stop().await;
        self.boot().await
    }

    /// Runs one CLI command and returns what it printed.
    pub async fn cli(&self, command: &str) -> Result<String, PbxError> {
        let launcher = self.launcher();
        let output = tokio::process::Command::new("/bin/sh")
            .arg(&launcher)
            .args(["-rx", command])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|source| PbxError::Run { program: launcher.display().to_string(), source })?;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(answer);
        }
        let answer = answer + &String::from_utf8_lossy(&output.stderr);
        Err(PbxError::Cli { command: command.to_owned(), answer })
    }

    /// Where it listens and expects its peers.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Where SIP is spoken, over UDP and TCP.
    pub fn sip(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.sip).into()
    }

    /// The manager interface.
    pub fn ami(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.ami).into()
    }

    /// The manager interface over TLS, if the configuration asked for it.
    pub fn ami_tls(&self) -> Option<SocketAddr> {
        self.has_ami_tls.then(|| (Ipv4Addr::LOCALHOST, self.ports.ami_tls).into())
    }

    /// The self-signed certificate of [`Pbx::ami_tls`] (PEM; for `localhost` and 127.0.0.1).
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("etc/certificate.pem")
    }

    /// Its folder: `etc`, `log`, `spool` and so on.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process id, which is also the process group's; `None` while stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(|server| server.asterisk.id())
    }

    /// All complete lines of queue_log so far.
    pub fn queue_log(&self) -> Vec<QueueLogLine> {
        let bytes = fs::read(self.folder.join("log/queue_log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        text.split_inclusive('\n')
            .filter_map(|line| QueueLogLine::parse(line.strip_suffix('\n')?))
            .collect()
    }

    /// Waits until queue_log holds the line that is `wanted`.
    pub async fn wait_for_queue_log(
        &self,
        within: Duration,
        wanted: impl Fn(&QueueLogLine) -> bool,
    ) -> Result<QueueLogLine, PbxError> {
        let found = until(within, "a line of queue_log", async || {
            self.queue_log().into_iter().find(|line| wanted(line)).ok_or("no such line")
        });
        found.await.map_err(|_| {
            let log = last_lines(&self.folder.join("log/queue_log"), 20);
            PbxError::NotLogged { within, log }
        })
    }

    /// The last lines of Asterisk's own log, for the message of a failed test.
    pub fn log_end(&self) -> String {
        let full = last_lines(&self.folder.join("log/full"), 30);
        if full.is_empty() { last_lines(&self.folder.join("log/console"), 30) } else { full }
    }

    fn launcher(&self) -> PathBuf {
        self.folder.join("asterisk.sh")
    }

    /// Asterisk starts even when it cannot listen; only its log says so.
    fn lost_a_port(&self) -> bool {
        let bytes = fs::read(self.folder.join("log/messages")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains("Address already in use")
    }
}

/// One line of Asterisk's queue_log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueLogLine {
    /// Seconds since 1970.
    pub time: u64,
    /// Uniqueid of the caller's channel; `NONE` or `REALTIME` in lines about no caller.
    pub callid: String,
    /// The queue, or `NONE`.
    pub queue: String,
    /// The member's name, or `NONE`.
    pub agent: String,
    /// What happened: `ENTERQUEUE`, `CONNECT`, `COMPLETECALLER`...
    pub event: String,
    /// What goes with the event, by position.
    pub data: Vec<String>,
}

impl QueueLogLine {
    fn parse(line: &str) -> Option<QueueLogLine> {
        let mut fields = line.split('|').map(str::to_owned);
        Some(QueueLogLine {
            time: fields.next()?.parse().ok()?,
            callid: fields.next()?,
            queue: fields.next()?,
            agent: fields.next()?,
            event: fields.next()?,
            data: fields.collect(),
        })
    }
}

/// The process and the guard that ends it when we die; both end with this value.
#[derive(Debug)]
struct Server {
    /// Leads a process group of its own. Reaped only after the guard is gone, so that the guard
    /// can never hit a process that got the same number later.
    asterisk: Child,
    guard: Child,
}

impl Server {
    fn spawn(launcher: &Path, console: &Path) -> io::Result<Server> {
        let console = File::options().create(true).append(true).open(console)?;
        let mut asterisk = Command::new("/bin/sh")
            .arg(launcher)
            .arg("-f")
            .stdin(Stdio::null())
            .stderr(console.try_clone()?)
            .stdout(console)
            .process_group(0)
            .spawn()?;
        // The shell reads until our end of the pipe is closed, by us or by our death.
        let guard = Command::new("/bin/sh")
            .args(["-c", "read _; kill -s KILL -- -$0", &asterisk.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        match guard {
            Ok(guard) => Ok(Server { asterisk, guard }),
            Err(error) => {
                let _ = asterisk.kill();
                let _ = asterisk.wait();
                Err(error)
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        if let Some(group) = i32::try_from(self.asterisk.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.asterisk.wait();
    }
}

fn make_folders(folder: &Path) -> Result<(), PbxError> {
    const FOLDERS: [&str; 11] = [
        "etc",
        "run",
        "log",
        "lib/keys",
        "cache",
        "agi-bin",
        "spool/voicemail",
        "spool/monitor",
        "spool/recording",
        "spool/outgoing",
        "spool/tmp",
    ];
    for name in FOLDERS {
        let path = folder.join(name);
        fs::create_dir_all(&path).map_err(cannot_write(&path))?;
    }
    Ok(())
}

/// A script, since Asterisk restarts itself by executing its argv\[0\] again.
fn write_launcher(tree: &Tree, folder: &Path) -> Result<(), PbxError> {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("asterisk.sh");
    let mut words = tree.command_line(tree.asterisk(), Some(&path));
    words.extend(["-C".to_owned(), folder.join("etc/asterisk.conf").display().to_string()]);
    let words: Vec<String> = words.iter().map(|word| shell_quoted(word)).collect();
    write(&path, &format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(cannot_write(&path))
}

fn shell_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn write_certificate(folder: &Path) -> Result<(), PbxError> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names)?;
    let etc = folder.join("etc");
    write(&etc.join("certificate.pem"), &cert.pem())?;
    write(&etc.join("asterisk.pem"), &(cert.pem() + &signing_key.serialize_pem()))
}

fn write(path: &Path, text: &str) -> Result<(), PbxError> {
    fs::write(path, text).map_err(cannot_write(path))
}

fn cannot_write(path: &Path) -> impl FnOnce(io::Error) -> PbxError {
    let path = path.to_owned();
    |source| PbxError::Write { path, source }
}

fn last_lines(file: &Path, count: usize) -> String {
    let bytes = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_queue_log_is_cut_at_its_bars() {
        let line = QueueLogLine::parse("1700000000|a-1.2|support|Agent One|CONNECT|3|a-1.4|2");
        let line = line.expect("has all fields");
        assert_eq!((line.time, line.event.as_str()), (1_700_000_000, "CONNECT"));
        assert_eq!(line.data, ["3", "a-1.4", "2"]);
        assert_eq!(QueueLogLine::parse("17|cut off"), None);
    }
}
