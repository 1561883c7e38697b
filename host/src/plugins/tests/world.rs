//! A host in a folder, with its config, versions of a tiny plugin, and fake PBXs.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    config::Config,
    plugins::{InstanceView, Keeper},
    serve::Host,
    status::ConnectorStatus,
};
use calls::Actor;
use plugin_runtime::MANIFEST_SECTION;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

/// For what a machine with little time does.
pub(super) const SOON: Duration = Duration::from_secs(30);

/// Who changes things in these tests.
pub(super) fn admin() -> Actor {
    Actor::Token("admin".to_owned())
}

/// A version of the plugin `tiny`: says each line as a fact, traps on one letter.
pub(crate) struct Tiny {
    version: String,
    traps_on: u8,
    /// Further fields of the manifest.
    asks: &'static str,
}

impl Tiny {
    pub(crate) fn version(version: &str) -> Self {
        Self { version: version.to_owned(), traps_on: b'X', asks: "" }
    }

    pub(super) fn trapping_on(self, letter: u8) -> Self {
        Self { traps_on: letter, ..self }
    }

    pub(super) fn asking(self, asks: &'static str) -> Self {
        Self { asks, ..self }
    }

    pub(crate) fn component(&self) -> Vec<u8> {
        let manifest = format!(
            r#"{{"id": "tiny", "name": "Tiny", "version": "{}", "author": "Jackfield",
                "license": "MIT", "description": "A guest for tests.",
                "settings": {{ "type": "object", "properties": {{
                    "greeting": {{ "type": "string", "maxLength": 5 }} }},
                    "additionalProperties": false }},
                "links": [{{ "name": "ami", "transports": ["tcp"], "required": true,
                             "reason": "to talk to the PBX", "max_frame": 1000 }}]{}}}"#,
            self.version, self.asks
        );
        // `i32.const X` before `i32.eq`, each byte of the line is compared with it.
        let trap = |letter: u8| [0x41, 0x80 | letter, 0x00, 0x46];
        let mut wasm = LINES.to_vec();
        let at = wasm.windows(4).position(|code| code == trap(b'X')).expect("it traps on an X");
        wasm[at..at + 4].copy_from_slice(&trap(self.traps_on));
        custom_section(&mut wasm, MANIFEST_SECTION, manifest.as_bytes());
        wasm
    }
}

/// A guest of the plugin runtime's tests, which keep it what it is: it says every line as a fact, and hands over
/// its state. The outer manifest is the one that counts.
const LINES: &[u8] = include_bytes!("lines.wasm");

fn custom_section(wasm: &mut Vec<u8>, name: &str, data: &[u8]) {
    let leb = |mut number: usize| {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
            number >>= 7;
        }
        bytes.push(u8::try_from(number).unwrap());
        bytes
    };
    let body = [leb(name.len()), name.as_bytes().to_vec(), data.to_vec()].concat();
    wasm.push(0);
    wasm.extend(leb(body.len()));
    wasm.extend(body);
}

/// A socket that plays a PBX: it takes connections, and says what a test tells it to say.
#[derive(Clone)]
pub(super) struct FakePbx {
    pub(super) address: std::net::SocketAddr,
    connections: Arc<AtomicU64>,
    line: Arc<Mutex<Option<TcpStream>>>,
}

impl FakePbx {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pbx = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            line: Arc::default(),
        };
        let taking = pbx.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *taking.line.lock().await = Some(stream);
                taking.connections.fetch_add(1, Ordering::SeqCst);
            }
        });
        pbx
    }

    /// How often it was dialled.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) async fn say(&self, text: &str) {
        let mut line = self.line.lock().await;
        line.as_mut().expect("somebody is connected").write_all(text.as_bytes()).await.unwrap();
    }
}

/// A host and its folder. Components of one test are compiled into a cache that all tests share.
pub(super) struct World {
    pub(super) folder: tempfile::TempDir,
    host: Option<Host>,
}

impl World {
    /// Nothing runs yet; `tiny` is version 1.0.0.
    pub(super) fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap(), host: None };
        fs::create_dir(world.folder.path().join("plugins")).unwrap();
        world.plugin(&Tiny::version("1.0.0"));
        world
    }

    /// Puts a version where the config looks for it, in one move.
    pub(super) fn plugin(&self, tiny: &Tiny) {
        let part = self.folder.path().join("tiny.part");
        fs::write(&part, tiny.component()).unwrap();
        fs::rename(part, self.folder.path().join("plugins/tiny.wasm")).unwrap();
    }

    /// Half of a version, as a slow copy leaves it for a while.
    pub(super) fn half_a_plugin(&self, tiny: &Tiny) {
        let wasm = tiny.component();
        fs::write(self.folder.path().join("plugins/tiny.wasm"), &wasm[..wasm.len() / 2]).unwrap();
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("jackfield.toml")
    }

    /// Writes the config; these tests say themselves when it is read.
    pub(super) fn config(&self, connectors: &str) {
        self.write_config("watch = false", connectors);
    }

    /// Writes the config, in one move; the host notices by itself.
    pub(super) fn watched_config(&self, connectors: &str) {
        self.write_config("watch = true", connectors);
    }

    fn write_config(&self, watch: &str, connectors: &str) {
        let head = "[api]\nlisten = \"127.0.0.1:0\"\n[plugins]\ndir = \"plugins\"";
        let text = format!("{head}\n{watch}\nprobation_secs = 600\n{connectors}");
        let part = self.folder.path().join("jackfield.part");
        fs::write(&part, text).unwrap();
        fs::rename(part, self.config_file()).unwrap();
    }

    pub(super) async fn start(&mut self) {
        let config = Config::load(&self.config_file()).unwrap();
        self.host = Some(Host::start(config).await.unwrap());
    }

    pub(super) async fn stop(&mut self) {
        self.host.take().unwrap().stop().await;
    }

    pub(super) fn keeper(&self) -> &Keeper {
        self.host.as_ref().unwrap().keeper()
    }

    pub(super) fn status(&self, id: &str) -> Option<ConnectorStatus> {
        self.host.as_ref().unwrap().board().get(&id.into())
    }

    pub(super) fn view(&self, id: &str) -> InstanceView {
        self.keeper().instance(id).unwrap()
    }

    /// The version that a connector runs; empty when none.
    pub(super) fn running(&self, id: &str) -> String {
        self.view(id).running.map(|it| it.version).unwrap_or_default()
    }

    /// Waits until so many connections were made to it.
    pub(super) async fn dialled(&self, pbx: &FakePbx, times: u64) {
        let look = async || match pbx.connections() {
            made if made == times => Ok(()),
            made => Err(format!("{made} connections")),
        };
        lab::until(SOON, &format!("connection {times}"), look).await.unwrap();
    }

    /// Waits until something is true of a connector.
    pub(super) async fn until(
        &self,
        id: &str,
        what: &str,
        is_so: impl Fn(&InstanceView, &ConnectorStatus) -> bool,
    ) {
        let look = async || {
            let (view, status) = (self.view(id), self.status(id).unwrap());
            if is_so(&view, &status) { Ok(()) } else { Err(format!("{view:?} {status:?}")) }
        };
        lab::until(SOON, what, look).await.unwrap();
    }

    /// Says a line at the PBX and waits until the connector has told of it.
    pub(super) async fn hears(&self, id: &str, pbx: &FakePbx, line: &str) {
        let before = self.status(id).unwrap().counters.facts;
        pbx.say(line).await;
        self.until(id, "a fact", |_, status| status.counters.facts > before).await;
    }
}

/// A section for a connector of `tiny` at that PBX.
pub(super) fn section(id: &str, pbx: &FakePbx, more: &str) -> String {
    format!("[connectors.{id}]\nplugin = \"tiny\"\nlinks.ami = \"tcp://{}\"\n{more}\n", pbx.address)
}

/// With the grant that it needs.
pub(super) fn granted(id: &str, pbx: &FakePbx, more: &str) -> String {
    section(id, pbx, &format!("grants = [\"link:ami\"]\n{more}"))
}

/// Kinds and subjects of a report's changes.
pub(super) fn changes(report: &crate::plugins::Report) -> Vec<String> {
    report.changes.iter().map(|it| format!("{} {}", it.subject, it.kind.code())).collect()
}
