//! A component of the Asterisk connector in the runtime, logged in to a recorded PBX: what benches begin with.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use calls::{Now, Timestamp};
use jackfield::demo::{
    peer::{Answers, renumbered},
    recording::Recording,
};
use plugin_runtime::{
    Connector, Effect, Input, InstanceConfig, Limits, Outcome, Part, Plugin, Runtime, Secrets,
};

/// How the bytes of a link come.
pub const CHUNK: usize = 16 * 1024;
/// The secret of the account.
pub const SECRET: &str = "bench";
/// The settings of the connector.
pub const SETTINGS: &str = r#"{"username":"jackfield","extensions":"^10[0-9]{2}$","country":"DE","time_zone":"Europe/Berlin"}"#;
/// What a session gets after its login.
pub const BOOTED: &[u8] = b"Event: FullyBooted\r\nPrivilege: system,all\r\nUptime: 1\r\nLastReload: 1\r\nStatus: Fully Booted\r\n\r\n";

/// Recorded events with fresh ids, so often.
pub fn traffic(recording: &Recording, first: usize, repeats: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for repeat in first..first + repeats {
        for (_, frame) in &recording.live {
            if !frame.starts_with(b"Event: FullyBooted") {
                bytes.extend(renumbered(frame, repeat as u64 + 1));
            }
        }
    }
    bytes
}

/// A built guest: `asterisk`, `test/asterisk-next`.
pub fn load(name: &str) -> Plugin {
    // The runtime's ticker must outlive the connector: a bench ends with its process.
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::new(None).expect("wasmtime starts"));
    let wasm = std::fs::read(plugins().join(format!("{name}.wasm")));
    runtime.load(&wasm.expect("run `cargo xtask plugins` first")).expect("the connector loads")
}

fn plugins() -> PathBuf {
    let folder = std::env::var_os("JACKFIELD_PLUGINS_DIR").map(PathBuf::from);
    folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins"))
}

/// How it is configured.
pub fn config(limits: Limits) -> InstanceConfig {
    InstanceConfig {
        id: "bench".into(),
        settings: SETTINGS.into(),
        links: vec![("ami".into(), "tcp://127.0.0.1".into())],
        grants: vec!["link:ami".into()],
        limits,
    }
}

/// The component, with its first picture.
pub struct Component {
    /// It.
    pub connector: Connector,
    /// Its time, which stands still unless a bench moves it.
    pub now: Now,
}

impl Component {
    /// Logs in.
    pub fn ready(plugin: &Plugin, limits: Limits, recording: &Arc<Recording>) -> Self {
        let now =
            Now { monotonic: Duration::from_secs(1), wall: Timestamp(1_795_290_000_000_000_000) };
        let (connector, _) = Connector::start(plugin, config(limits), now).expect("it starts");
        let mut this = Self { connector, now };
        let secrets = Secrets::from_iter([("ami".to_owned(), SECRET.as_bytes().to_vec())]);
        let mut answers = Answers::new(Arc::clone(recording), SECRET);
        let up = Input::LinkUp { link: "ami".into(), peer: "127.0.0.1".into(), nonce: [7; 32] };
        let mut effects = this.handle(up);
        let mut to_client = recording.banner.clone();
        loop {
            for effect in effects.drain(..) {
                if let Effect::Send { parts, .. } = effect {
                    let bytes: Vec<u8> = parts
                        .iter()
                        .flat_map(|part: &Part| part.fill(&secrets).expect("the secret is there"))
                        .collect();
                    answers.receive(&bytes, &mut to_client);
                }
            }
            if to_client.is_empty() {
                return this;
            }
            if to_client.windows(23).any(|text| text == b"Authentication accepted") {
                to_client.extend_from_slice(BOOTED);
            }
            effects = this.handle(Input::Received {
                link: "ami".into(),
                data: std::mem::take(&mut to_client),
            });
        }
    }

    fn handle(&mut self, input: Input) -> Vec<Effect> {
        let outcome = self.connector.handle(vec![input], self.now);
        assert!(outcome.incidents.is_empty(), "{:?}", outcome.incidents);
        outcome.effects
    }

    /// Hands bytes of the PBX in, whatever comes of it.
    pub fn receive(&mut self, data: &[u8]) -> Outcome {
        let input = Input::Received { link: "ami".into(), data: data.to_vec() };
        self.connector.handle(vec![input], self.now)
    }

    /// Takes all of the traffic: how long, and how many facts came out.
    pub fn take(&mut self, traffic: &[u8]) -> (Duration, usize) {
        let mut facts = 0;
        let began = Instant::now();
        for chunk in traffic.chunks(CHUNK) {
            let effects = self.handle(Input::Received { link: "ami".into(), data: chunk.to_vec() });
            facts += effects.iter().filter(|effect| matches!(effect, Effect::Fact { .. })).count();
        }
        (began.elapsed(), facts)
    }
}
