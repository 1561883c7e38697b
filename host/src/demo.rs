//! `jackfield demo`: the real host and the real connector, with a PBX that is always at hand.
//!
//! Usually a recorded one ([`peer`] replays `demo/asterisk.recording`); with `--asterisk` a real one, in which
//! phones and sipp make calls ([`scene`]).

pub mod peer;
pub mod recording;
mod scene;
mod table;
mod tap;

use std::{
    io::{BufRead, IsTerminal, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use lab::{Pbx, PbxConfig, Release, Tree};

use crate::{
    cli::{Color, DemoArgs, FAILURE, SUCCESS, complain, say},
    clock::Clock,
    config::Config,
    publish::{Publisher, Read},
    serve::Host,
    tokens::{Scope, Tokens},
    wire,
};
use peer::{Peer, Script};
use recording::Recording;
use table::Table;

/// A manager session of this project's connector with Asterisk 22, while the scene was played.
pub const RECORDING: &[u8] = include_bytes!("../demo/asterisk.recording");
/// Any secret does: the peer checks that the digest was made of it.
const SECRET: &str = "demo-secret";

/// Shows it; gives the exit code.
pub async fn run(args: DemoArgs, color: Color) -> anyhow::Result<u8> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let stage = match args.asterisk {
        true => Stage::real(&args, folder.path()).await?,
        false => Some(Stage::recorded().await?),
    };
    let Some(stage) = stage else { return Ok(FAILURE) };
    let host = open_house(&args, folder.path(), &stage).await?;
    let publisher = host.publisher();
    let shown = show(&publisher, color);
    let watched = async {
        tokio::select! {
            ended = stage.play(folder.path()) => ended,
            ended = shown => ended,
            () = asked_to_stop() => Ok(()),
            () = after(args.seconds) => Ok(()),
        }
    }
    .await;
    host.stop().await;
    watched?;
    Ok(SUCCESS)
}

/// Where the calls happen.
enum Stage {
    Recorded(Peer),
    Real { pbx: Pbx, tree: Box<Tree>, ami: SocketAddr },
}

impl Stage {
    async fn recorded() -> anyhow::Result<Self> {
        let recording = Arc::new(Recording::parse(RECORDING)?);
        let pause = Duration::from_secs(2);
        let script = Script { recording, secret: SECRET.to_owned(), speed: 1.0, pause };
        Ok(Self::Recorded(Peer::start(script).await?))
    }

    /// `None`: the user does not want one unpacked.
    async fn real(args: &DemoArgs, folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(tree) = tree(args).await? else { return Ok(None) };
        complain(&format!("starting Asterisk of {}", tree.root().display()));
        let pbx = Pbx::start(
            &tree,
            &folder.join("pbx"),
            PbxConfig { load_agents: 0, ..PbxConfig::default() },
        )
        .await?;
        let ami = match &args.record {
            Some(file) => tap::start(pbx.ami(), file.clone()).await?,
            None => pbx.ami(),
        };
        Ok(Some(Self::Real { pbx, tree: Box::new(tree), ami }))
    }

    fn ami(&self) -> SocketAddr {
        match self {
            Self::Recorded(peer) => peer.address(),
            Self::Real { ami, .. } => *ami,
        }
    }

    fn secret(&self) -> &'static str {
        match self {
            Self::Recorded(_) => SECRET,
            Self::Real { .. } => "lab-secret",
        }
    }

    /// Makes things happen, for ever.
    async fn play(&self, folder: &Path) -> anyhow::Result<()> {
        let Self::Real { pbx, tree, .. } = self else { return std::future::pending().await };
        let agents = scene::Agents::arrive(pbx).await?;
        // The first picture is of an idle house.
        tokio::time::sleep(Duration::from_secs(2)).await;
        loop {
            // Whoever tries the API meanwhile may pause an agent or take a seat away: the show goes on.
            let played = async {
                scene::round(pbx, &agents).await?;
                scene::crowd(pbx, &agents, tree, folder, 3).await
            };
            if let Err(error) = played.await {
                tracing::debug!(%error, "the scene went another way");
                complain(
                    "The scene did not go as written (is an agent paused, or a seat gone?); it begins again.",
                );
                scene::tidy(pbx, &agents).await;
            }
        }
    }
}

/// An installed Asterisk, or one unpacked into the user's cache if the user agrees.
async fn tree(args: &DemoArgs) -> anyhow::Result<Option<Tree>> {
    if let Ok(tree) = Tree::installed() {
        return Ok(Some(tree));
    }
    let folder = cache_folder()?.join("asterisk22");
    if let Ok(tree) = Tree::open(&folder) {
        return Ok(Some(tree));
    }
    complain(&format!(
        "No Asterisk is installed here. One can be unpacked from Debian (100 MB to load, 300 MB on disk) into\n  {}\n\
         Nothing is installed and nothing outside that folder changes; remove the folder to be rid of it.\n\
         The trade-off: it comes from Debian's unstable suite with its signatures checked, but without the check\n\
         that its list is fresh. Do not use it for anything but this demo.",
        folder.display()
    ));
    if !args.yes && !agreed("Unpack it?")? {
        complain("Not unpacked. `apt-get install asterisk` does as well; or leave out --asterisk.");
        return Ok(None);
    }
    let tree = tokio::task::spawn_blocking(move || {
        Tree::unpack(Release::Asterisk22, &folder, |line| complain(&format!("  {line}")))
    });
    Ok(Some(tree.await??))
}

fn agreed(question: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("there is nobody to ask \"{question}\": say --yes if that is the answer");
    }
    write!(std::io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn cache_folder() -> anyhow::Result<PathBuf> {
    let cache =
        std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(cache.join("jackfield"))
}

/// Writes a configuration as an admin would, starts the host with it, and says where to look.
async fn open_house(args: &DemoArgs, folder: &Path, stage: &Stage) -> anyhow::Result<Host> {
    let secret = folder.join("ami.secret");
    write_private(&secret, stage.secret())?;
    let plugins = match &args.plugins_dir {
        Some(dir) => {
            format!("[plugins]\ndir = {:?}\n", std::path::absolute(dir)?.display().to_string())
        }
        None => String::new(),
    };
    let file = folder.join("jackfield.toml");
    std::fs::write(&file, config_text(args.port, stage.ami(), &plugins))?;
    let config = Config::load(&file)?;
    let token = Tokens::open(&config.tokens_file())?.create(
        "demo",
        &[Scope::Read, Scope::Control],
        None,
        Clock::start().now().wall,
    )?;
    let host = Host::start(config).await?;
    let api = host.api_addr();
    say(&format!(
        "Jackfield is up, with its Asterisk connector as a sandboxed component.\n\n  \
         API      http://{api}/v1   (description: http://{api}/openapi.json)\n  \
         token    {token}\n  \
         try      curl -H 'Authorization: Bearer {token}' http://{api}/v1/queues\n           \
         curl -N -H 'Authorization: Bearer {token}' http://{api}/v1/events\n  \
         config   {}\n\nWhat it sees, as it happens (Ctrl-C ends the demo):\n",
        file.display()
    ));
    Ok(host)
}

fn config_text(port: u16, ami: SocketAddr, plugins: &str) -> String {
    format!(
        r#"[api]
listen = "127.0.0.1:{port}"

{plugins}
[connectors.demo]
plugin = "asterisk"
links.ami = "tcp://{ami}"
secrets.ami = {{ file = "ami.secret" }}
settings = {{ username = "jackfield", extensions = "^10[0-9]{{2}}$", country = "DE", time_zone = "Europe/Berlin" }}
grants = ["link:ami"]

[agents.anna]
name = "Anna"
devices = [{{ connector = "demo", extension = "1001" }}]

[agents.ben]
name = "Ben"
devices = [{{ connector = "demo", extension = "1002" }}]

[agents.cleo]
name = "Cleo"
devices = [{{ connector = "demo", extension = "1003" }}]
"#
    )
}

fn write_private(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(file)?.write_all(text.as_bytes())?;
    Ok(())
}

/// Follows the committed events.
async fn show(publisher: &Arc<Publisher>, color: Color) -> anyhow::Result<()> {
    let mut table = Table::new(color.on(&std::io::stdout()));
    let mut committed = publisher.committed();
    let mut after = 0;
    say(&table.head());
    loop {
        match publisher.read(after, 256).await? {
            Read::Events(events) if events.is_empty() => committed.changed().await?,
            Read::Events(events) => {
                for event in events {
                    after = event.seq;
                    let event: wire::Event = serde_json::from_str(&event.json)?;
                    if let Some(line) = table.line(&event) {
                        say(&line);
                    }
                }
            }
            Read::TooOld | Read::Ahead => {
                bail!("the journal of the demo was changed by somebody else")
            }
        }
    }
}

/// Ctrl-C, or SIGTERM: the temporary folder must go either way.
async fn asked_to_stop() {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminated) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

async fn after(seconds: u64) {
    match seconds {
        0 => std::future::pending().await,
        _ => tokio::time::sleep(Duration::from_secs(seconds)).await,
    }
}
