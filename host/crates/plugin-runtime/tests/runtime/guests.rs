//! From a `.wat` file in `tests/guests` to a plugin, without a guest toolchain; and a connector to play with.

use std::{path::Path, sync::OnceLock, time::Duration};

use calls::{Fact, Now, Timestamp};
use plugin_runtime::{
    Connector, Effect, Incident, Input, InstanceConfig, Limits, OnRefusal, Outcome, Plugin,
    Runtime, Successor, SwapError, Swapped,
};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

/// The manifest of all of them.
pub const MANIFEST: &str = r#"{
    "id": "tiny", "name": "Tiny", "version": "0.1.0", "author": "Jackfield", "license": "MIT",
    "description": "A guest for tests.",
    "links": [{ "name": "ami", "transports": ["tcp"], "required": true, "max_frame": 100,
                "secrets": ["md5-hex", "plain"] },
              { "name": "control", "transports": ["tcp"], "max_frame": 100 }]
}"#;

pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new(None).unwrap())
}

/// The text of a guest.
pub fn wat(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/guests/{name}.wat"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A component of these files, exporting these interfaces.
pub fn component(files: &[&str], exports: &[&str], manifest: Option<&str>) -> Vec<u8> {
    component_for("0.1.0", files, exports, manifest)
}

pub fn component_for(
    version: &str,
    files: &[&str],
    exports: &[&str],
    manifest: Option<&str>,
) -> Vec<u8> {
    let text: String = files.iter().chain(&["prelude"]).map(|file| wat(file)).collect();
    let text = format!("(module {text})").replace("@0.1.0", &format!("@{version}"));
    let mut core = wat::parse_str(&text).unwrap_or_else(|error| panic!("{files:?}: {error}"));
    let mut resolve = Resolve::default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../wit");
    for package in ["log", "telephony", "connector", "settings"] {
        let path = root.join(package).join(format!("{package}.wit"));
        let text =
            std::fs::read_to_string(&path).unwrap().replace("@0.1.0", &format!("@{version}"));
        resolve.push_source(package, &text).unwrap();
    }
    let exports: String = exports
        .iter()
        .map(|&name| {
            let package = if name == "settings" { name } else { "connector" };
            format!("export jackfield:{package}/{name}@{version};")
        })
        .collect();
    let world = format!(
        "package test:guest; world guest {{ import jackfield:log/log@{version}; {exports} }}"
    );
    let package = resolve.push_source("guest.wit", &world).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    wit_component::embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8, true)
        .unwrap();
    if let Some(manifest) = manifest {
        custom_section(&mut core, "jackfield:manifest", manifest.as_bytes());
    }
    ComponentEncoder::default().validate(true).module(&core).unwrap().encode().unwrap()
}

/// Appends a custom section to a core module.
pub fn custom_section(wasm: &mut Vec<u8>, name: &str, data: &[u8]) {
    let leb = |mut number: usize| {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let body = [leb(name.len()), name.as_bytes().to_vec(), data.to_vec()].concat();
    wasm.push(0);
    wasm.extend(leb(body.len()));
    wasm.extend(body);
}

pub fn plugin(files: &[&str], exports: &[&str]) -> Plugin {
    runtime()
        .load(&component(files, exports, Some(MANIFEST)))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A guest without state.
pub fn simple(name: &str) -> Plugin {
    plugin(&[name, "simple-init"], &["connector"])
}

/// The guest `lines`, with its state.
pub fn lines() -> Plugin {
    static LINES: OnceLock<Plugin> = OnceLock::new();
    LINES.get_or_init(|| version("lines-v1", "sane")).clone()
}

/// A version of `lines`, with that state and that whim.
pub fn version(state: &str, whim: &str) -> Plugin {
    plugin(&["lines", state, whim, "with-state"], &["connector", "state"])
}

/// A version of `lines` with another manifest.
pub fn version_saying(state: &str, whim: &str, manifest: &str) -> Plugin {
    let files = ["lines", state, whim, "with-state"];
    let wasm = component(&files, &["connector", "state"], Some(manifest));
    runtime().load(&wasm).unwrap_or_else(|error| panic!("{error}"))
}

/// A successor that begins anew when it must, without probation.
pub fn successor(plugin: &Plugin) -> Successor {
    Successor {
        plugin: plugin.clone(),
        config: config(),
        on_refusal: OnRefusal::Redial,
        probation: Duration::ZERO,
    }
}

/// A successor on probation for a minute.
pub fn on_probation(plugin: &Plugin) -> Successor {
    Successor { probation: Duration::from_secs(60), ..successor(plugin) }
}

pub fn config() -> InstanceConfig {
    InstanceConfig {
        id: "hq".into(),
        settings: "{}".into(),
        links: vec![("ami".into(), "tcp://127.0.0.1:5038".into())],
        grants: vec!["link:ami".into()],
        // The machine that runs tests may be busy; only one test is about the deadline.
        limits: Limits { step_ms: 400, ..Limits::default() },
    }
}

/// A connector on a clock of its own, with everything it ever did.
pub struct Bench {
    pub connector: Connector,
    pub now: Now,
    pub effects: Vec<Effect>,
    pub incidents: Vec<Incident>,
}

impl Bench {
    pub fn start(plugin: &Plugin) -> Self {
        Self::with(plugin, config())
    }

    pub fn with(plugin: &Plugin, config: InstanceConfig) -> Self {
        let now =
            Now { monotonic: Duration::from_secs(1), wall: Timestamp(1_800_000_000_000_000_000) };
        let (connector, outcome) =
            Connector::start(plugin, config, now).unwrap_or_else(|e| panic!("{e}"));
        let mut bench = Self { connector, now, effects: vec![], incidents: vec![] };
        bench.take(outcome);
        bench
    }

    /// With the link up.
    pub fn connected(plugin: &Plugin) -> Self {
        let mut bench = Self::start(plugin);
        bench.link_up();
        bench
    }

    pub fn handle(&mut self, inputs: Vec<Input>) {
        let outcome = self.connector.handle(inputs, self.now);
        self.take(outcome);
    }

    pub fn link_up(&mut self) {
        self.handle(vec![link_up()]);
    }

    pub fn receive(&mut self, data: &[u8]) {
        self.handle(vec![received(data)]);
    }

    pub fn swap(&mut self, successor: Successor) -> Result<Swapped, SwapError> {
        let (swapped, outcome) = self.connector.swap(successor, self.now)?;
        self.take(outcome);
        Ok(swapped)
    }

    pub fn roll_back(&mut self) {
        let outcome = self.connector.roll_back("the admin wants it", self.now).unwrap();
        self.take(outcome);
    }

    fn take(&mut self, outcome: Outcome) {
        self.effects.extend(outcome.effects);
        self.incidents.extend(outcome.incidents);
    }

    /// The lines the guest said.
    pub fn said(&self) -> Vec<&str> {
        let said = |effect| match effect {
            &Effect::Fact { fact: Fact::ExtensionRemoved { ref number }, .. } => {
                Some(number.as_str())
            }
            _ => None,
        };
        self.effects.iter().filter_map(said).collect()
    }

    /// Legs that ended.
    pub fn ended(&self) -> Vec<&str> {
        let ended = |effect| match effect {
            &Effect::Fact { fact: Fact::LegEnded { ref leg, .. }, .. } => Some(&**leg),
            _ => None,
        };
        self.effects.iter().filter_map(ended).collect()
    }

    /// Outcomes of commands: id, end, code of the problem.
    pub fn outcomes(&self) -> Vec<(u64, &str, &str)> {
        let outcome = |effect| match effect {
            &Effect::CommandOutcome { id, ref end, ref problem, .. } => {
                Some((id, end.code(), problem.as_ref().map_or("", |problem| problem.code.as_str())))
            }
            _ => None,
        };
        self.effects.iter().filter_map(outcome).collect()
    }

    /// Words for the incidents, without those that only say that recovery ran.
    pub fn words(&self) -> Vec<String> {
        self.incidents.iter().filter_map(word).collect()
    }
}

fn word(incident: &Incident) -> Option<String> {
    Some(match incident {
        Incident::Trapped { .. } | Incident::Recovered { .. } => return None,
        Incident::Quarantined { offset, bytes, head, kind, .. } => {
            format!("quarantined {offset}+{bytes} `{head}` ({})", kind.code())
        }
        Incident::Skipped { what, kind } => format!("skipped {what} ({})", kind.code()),
        Incident::FrameTooLong { offset, bytes, .. } => format!("too long {offset}+{bytes}"),
        Incident::Refused { what } => format!("refused {what}"),
        Incident::ColdStart { reason } => format!("cold start: {reason}"),
        Incident::RolledBack { reason, .. } => format!("rolled back: {reason}"),
        Incident::ProbationPassed { .. } => "probation passed".to_owned(),
        Incident::GivenUp { reason } => format!("given up: {reason}"),
    })
}

pub fn link_up() -> Input {
    Input::LinkUp { link: "ami".into(), peer: "tcp://127.0.0.1:5038".into(), nonce: [7; 32] }
}

pub fn received(data: &[u8]) -> Input {
    Input::Received { link: "ami".into(), data: data.to_vec() }
}

pub fn closed() -> Input {
    Input::LinkClosed { link: "ami".into(), reason: "cut".into() }
}

pub fn command(id: u64, kind: &str) -> Input {
    Input::Command { id, kind: kind.into(), arguments: vec![], deadline: Duration::from_secs(9) }
}
