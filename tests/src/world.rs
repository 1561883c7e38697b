//! A world for one test: PBXs with wires that can be cut, and a Jackfield that watches them.
//!
//! The Jackfield is the real binary in a process of its own: started by `serve --config`, asked over HTTP,
//! ended by a signal. What it logs is printed when a test ends, and kept quiet by the test runner when it passes.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use lab::{Pbx, PbxConfig, Release, Tree, until};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    chance::Dice,
    client::{Client, Events},
    floor::SOON,
    lateness,
    ledger::text,
    proxy::Proxy,
};

/// Asterisk's files for a test; `None`, said aloud, when this machine cannot have them (with `CI` set: a panic).
pub fn tree(release: Release) -> Option<Tree> {
    Tree::for_tests(release, &target().join("lab"))
}

/// The folder that everything is built in.
pub fn target() -> PathBuf {
    let set = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    set.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))
}

/// The folder of the built guests.
pub fn plugins() -> Result<PathBuf> {
    let plugins = std::env::var_os("JACKFIELD_PLUGINS_DIR").map(PathBuf::from);
    let plugins = plugins.unwrap_or_else(|| target().join("plugins"));
    fs::canonicalize(&plugins)
        .with_context(|| format!("no guests in {}: run `cargo xtask plugins`", plugins.display()))
}

/// The file of a plugin that only tests run, see `tests/guests`.
pub fn test_plugin(name: &str) -> Result<PathBuf> {
    let file = plugins()?.join("test").join(format!("{name}.wasm"));
    ensure!(file.is_file(), "no {}: run `cargo xtask plugins`", file.display());
    Ok(file)
}

/// A PBX and the wire to its manager interface.
#[derive(Debug)]
pub struct Site {
    /// The connector's id.
    pub id: String,
    /// The PBX.
    pub pbx: Pbx,
    /// What the host dials.
    pub wire: Proxy,
    _folder: TempDir,
}

impl Site {
    /// Starts a PBX in a folder of its own.
    pub async fn start(id: &str, tree: &Tree, config: PbxConfig) -> Result<Site> {
        let folder = tempfile::tempdir()?;
        let pbx = Pbx::start(tree, folder.path(), config).await?;
        let wire = Proxy::to(pbx.ami()).await?;
        Ok(Site { id: id.to_owned(), pbx, wire, _folder: folder })
    }

    /// Its connector with the account that every lab PBX has.
    pub fn connector(&self) -> Connector {
        Connector::new(&self.id, &format!("tcp://{}", self.wire.address()))
    }
}

/// A `[connectors.<id>]` to be written into the config.
#[derive(Debug, Clone)]
pub struct Connector {
    /// Its id.
    pub id: String,
    /// Its plugin: an id, or the path of a component.
    pub plugin: String,
    /// Its link, as TOML.
    pub link: String,
    /// The account.
    pub username: String,
    /// The account's password; goes into a file.
    pub secret: String,
    /// Further lines of the section.
    pub extra: String,
}

impl Connector {
    /// A connector to this address with the account that every lab PBX has.
    pub fn new(id: &str, url: &str) -> Connector {
        Connector {
            id: id.to_owned(),
            plugin: "asterisk".to_owned(),
            link: format!("{url:?}"),
            username: "jackfield".to_owned(),
            secret: "lab-secret".to_owned(),
            extra: String::new(),
        }
    }
}

/// A running Jackfield. Dropping it kills it.
#[derive(Debug)]
pub struct Jackfield {
    folder: TempDir,
    /// A client that may do everything.
    pub client: Client,
    process: Option<Child>,
}

impl Jackfield {
    /// Writes the config, makes a token, starts the host and waits until it is ready.
    pub async fn start(connectors: &[Connector], more: &str) -> Result<Jackfield> {
        lateness::watch();
        let folder = tempfile::tempdir()?;
        let address = own_address()?;
        write_config(folder.path(), address, connectors, more)?;
        let token = create_token(folder.path())?;
        let mut jackfield = Jackfield { folder, client: Client { address, token }, process: None };
        jackfield.boot().await?;
        Ok(jackfield)
    }

    /// Starts it again after [`Jackfield::kill`], at the same address.
    pub async fn boot(&mut self) -> Result<()> {
        let log = fs::File::options().create(true).append(true).open(self.log_file())?;
        let process = command(self.folder.path())
            .args(["serve", "--config"])
            .arg(self.folder.path().join(CONFIG))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the host")?;
        self.process = Some(process);
        let ready = until(BOOT_DEADLINE, "the host to be ready", async || {
            let ended = self.process.as_mut().and_then(|process| process.try_wait().ok().flatten());
            if let Some(status) = ended {
                // Looking again would not help.
                return Ok(Err(anyhow!("it ended: {status}")));
            }
            let answer = self.client.request("GET", "/readyz", &[], None).await?;
            ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
            Ok(Ok(()))
        });
        let ready = ready.await.map_err(anyhow::Error::from).and_then(|ready| ready);
        ready.with_context(|| format!("the host's log:\n{}", self.log_end()))
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Ends it as a service manager does, and waits until it has ended well.
    pub async fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("it does not run")?;
        let told = Command::new("kill").args(["-TERM", &process.id().to_string()]).status()?;
        ensure!(told.success(), "kill: {told}");
        let ended =
            until(SOON, "the host to stop", async || process.try_wait()?.context("it still runs"));
        let ended = ended.await.with_context(|| format!("the host's log:\n{}", self.log_end()));
        if ended.is_err() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let ended = ended?;
        ensure!(ended.success(), "{ended}:\n{}", self.log_end());
        Ok(())
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Waits until this connector sees its PBX live, and the first picture is committed.
    pub async fn connected(&self, id: &str) -> Result<()> {
        let is_there = |connector: &Value| {
            text(connector, "status") == "connected" && !connector["resynced_at"].is_null()
        };
        self.status(id, is_there).await.map(drop)
    }

    /// Waits until the connector is as `wanted`, and returns it.
    pub async fn status(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let path = format!("/v1/connectors/{id}");
        let what = format!("connector {id} as wanted");
        let found = until(2 * SOON, &what, async || {
            let connector = self.client.get(&path).await?;
            ensure!(wanted(&connector), "{connector}");
            Ok(connector)
        });
        found.await.with_context(|| format!("the host's log:\n{}", self.log_end()))
    }

    /// What `jackfield explain` prints of the latest call from this number, once all these words are in it.
    pub async fn explained(&self, number: &str, words: &[&str]) -> Result<String> {
        let explained = until(SOON, "the call to be explained", async || {
            let calls = self.client.get("/v1/calls").await?;
            let calls = calls["items"].as_array().context("calls")?;
            let from = |call: &&Value| text(&call["caller"], "raw") == number;
            let call = calls.iter().rev().find(from).context("no call from there")?;
            let output = command(self.folder())
                .args(["explain", text(call, "id")])
                .env("JACKFIELD_URL", format!("http://{}", self.client.address))
                .env("JACKFIELD_TOKEN", &self.client.token)
                .output()?;
            let printed = String::from_utf8(output.stdout)?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let missing = words.iter().find(|word| !printed.contains(**word));
            ensure!(missing.is_none(), "no {missing:?} in\n{printed}");
            Ok(printed)
        });
        explained.await.with_context(|| format!("the host's log:\n{}", self.log_end()))
    }

    /// Follows all events from the first.
    pub async fn events(&self) -> Result<Events> {
        self.client.events(0, "").await
    }

    /// Where it keeps its things.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All that it logged.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(self.log_file()).context("the host's log")
    }

    /// The end of its log.
    pub fn log_end(&self) -> String {
        let log = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("host.log")
    }
}

impl Drop for Jackfield {
    fn drop(&mut self) {
        self.kill();
        println!("the end of the host's log:\n{}", self.log_end());
    }
}

const CONFIG: &str = "jackfield.toml";
/// The first start on a machine compiles the plugins, beside other tests that do the same.
const BOOT_DEADLINE: Duration = Duration::from_secs(180);

/// `jackfield` as these tests run it, in this folder. Built with this package, see `src/bin`.
pub fn command(folder: &Path) -> Command {
    let tests = std::env::current_exe().unwrap_or_default();
    let built = tests.ancestors().nth(2).unwrap_or(Path::new("")).to_owned();
    let mut command = Command::new(built.join("jackfield-under-test"));
    // Compiled plugins are kept between tests: each would take seconds to compile its own.
    command.env("JACKFIELD_CACHE_DIR", target().join("test-cache"));
    command.env("JACKFIELD_LOG", std::env::var("JACKFIELD_LOG").unwrap_or("info".to_owned()));
    command.env("NO_COLOR", "1").current_dir(folder);
    command
}

fn write_config(
    folder: &Path,
    listen: SocketAddr,
    connectors: &[Connector],
    more: &str,
) -> Result<()> {
    let plugins = plugins()?;
    let noon = zone_where_it_is_noon();
    let mut config = format!(
        "[api]\nlisten = \"{listen}\"\n\n[journal]\npath = \"journal.db\"\n\n[plugins]\ndir = {:?}\n",
        plugins.display().to_string()
    );
    for Connector { id, plugin, link, username, secret, extra } in connectors {
        let file = format!("{id}.secret");
        let options =
            fs::File::options().write(true).create(true).truncate(true).mode(0o600).to_owned();
        std::io::Write::write_all(&mut options.open(folder.join(&file))?, secret.as_bytes())?;
        config += &format!(
            "\n[connectors.{id}]\nplugin = {plugin:?}\nlinks.ami = {link}\nsecrets.ami = {{ file = \"{file}\" }}\n\
             settings = {{ username = \"{username}\", extensions = \"^1[0-9]{{3}}$\", country = \"DE\", time_zone = \"{noon}\" }}\n\
             grants = [\"link:ami\"]\n{extra}"
        );
    }
    fs::write(folder.join(CONFIG), format!("{config}\n{more}"))?;
    Ok(())
}

fn create_token(folder: &Path) -> Result<String> {
    let output = command(folder)
        .args(["token", "create", "tests", "--scope", "admin", "--config"])
        .arg(folder.join(CONFIG))
        .output()
        .context("cannot run `jackfield token create`")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "token create: {printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // The token is the only word as long as that.
    let token = printed.split_whitespace().find(|word| word.len() >= 32);
    Ok(token.with_context(|| format!("no token in {printed}"))?.to_owned())
}

/// An address that nobody else has, also after a restart: one of the sixteen million of loopback, and a port
/// below those that the system gives to outgoing connections.
pub fn own_address() -> Result<SocketAddr> {
    let mut dice = Dice::by_chance();
    for _ in 0..200 {
        let mut byte = |from: u8, to: u8| -> Result<u8> {
            Ok(from + u8::try_from(dice.below(u64::from(to - from) + 1))?)
        };
        // 127.0.x.y is left to the PBXs and to addresses that tests choose.
        let ip = Ipv4Addr::new(127, byte(1, 254)?, byte(1, 254)?, byte(1, 254)?);
        let address = SocketAddr::from((ip, u16::try_from(22_000 + dice.below(9_000))?));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port on loopback")
}

/// A time zone in which no midnight divides the figures of the day while a test runs.
fn zone_where_it_is_noon() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let hour = now.as_secs() / 3600 % 24;
    // `Etc/GMT-5` is five hours east of Greenwich.
    match 12_i64 - i64::try_from(hour).unwrap_or(0) {
        0 => "Etc/GMT".to_owned(),
        east => format!("Etc/GMT{:+}", -east),
    }
}
