//! How fast is the Asterisk connector? The same recorded traffic goes, in one run, through
//!
//! 1. the real component in the real plugin runtime (lifting, checks, snapshots and all),
//! 2. the native build of the same code, with nothing around it,
//! 3. `asterisk-manager`, the Node client that Rocket.Chat used in its Asterisk era.
//!
//! Rounds alternate, the median counts. `cargo xtask bench -- --bench connector`

#![expect(clippy::print_stdout, reason = "figures are its purpose")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use jackfield::demo::{RECORDING, peer::Answers, recording::Recording};
use jackfield_asterisk::Asterisk;
use jackfield_sdk as sdk;
use plugin_runtime::Limits;

#[allow(dead_code, reason = "shared with the other bench")]
mod ready;
use ready::{BOOTED, CHUNK, Component, SECRET, SETTINGS, traffic};

const ROUNDS: usize = 7;

fn main() {
    let recording = Arc::new(Recording::parse(RECORDING).expect("the bundled recording"));
    let per_round = recording.live.len();
    let repeats = (100_000 / per_round).max(1);
    let events = per_round * repeats;
    println!(
        "traffic: {per_round} recorded events, {repeats} times with fresh ids = {events} events a round"
    );

    let mut component = Component::ready(&ready::load("asterisk"), Limits::default(), &recording);
    let mut native = Native::ready(&recording);
    let (mut in_component, mut in_native) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let traffic = traffic(&recording, round * repeats, repeats);
        let (took, facts) = component.take(&traffic);
        let (native_took, native_facts) = native.take(&traffic);
        assert_eq!(facts, native_facts, "both builds must see the same facts");
        in_component.push(took);
        in_native.push(native_took);
    }
    let component = rate(events, median(&mut in_component));
    let native = rate(events, median(&mut in_native));
    println!("component in the runtime   {component:>10.0} events/s");
    println!(
        "native build               {native:>10.0} events/s   native/component = {:.2} (limit 2.5)",
        native / component
    );
    match node(&traffic(&recording, 0, repeats), events) {
        Ok(node) => println!(
            "asterisk-manager on Node   {node:>10.0} events/s   component/Node = {:.1} (limit 6)",
            component / node
        ),
        Err(why) => println!("asterisk-manager on Node   NOT MEASURED: {why}"),
    }
    println!("limit: 250,000 events/s per core");
}

fn rate(events: usize, took: Duration) -> f64 {
    events as f64 / took.as_secs_f64()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The same code, natively, with only the bytes kept around it.
struct Native {
    connector: Asterisk,
    unread: Vec<u8>,
    offset: u64,
}

const NOW: sdk::Now = sdk::Now { monotonic_ns: 1_000_000_000, wall_ns: 1_795_290_000_000_000_000 };

impl Native {
    fn ready(recording: &Arc<Recording>) -> Self {
        use sdk::Connector as _;
        let config = sdk::Config {
            id: "bench".into(),
            settings: SETTINGS.into(),
            links: vec![("ami".into(), "tcp://127.0.0.1".into())],
            facts: Vec::new(),
        };
        let mut actions = Vec::new();
        let mut connector = Asterisk::init(config, None, NOW, &mut actions).expect("it starts");
        let up = sdk::LinkUp {
            link: "ami".into(),
            epoch: 1,
            peer: "127.0.0.1".into(),
            nonce: vec![7; 32],
            facts: Vec::new(),
        };
        connector.step(NOW, vec![sdk::Input::LinkUp(up)], &mut actions).expect("a step");
        let mut this = Self { connector, unread: Vec::new(), offset: 0 };
        let mut answers = Answers::new(Arc::clone(recording), SECRET);
        let mut to_client = recording.banner.clone();
        loop {
            for action in actions.drain(..) {
                if let sdk::Action::Send(send) = action {
                    let bytes: Vec<u8> = send.parts.into_iter().flat_map(filled).collect();
                    answers.receive(&bytes, &mut to_client);
                }
            }
            if to_client.is_empty() {
                return this;
            }
            if to_client.windows(23).any(|text| text == b"Authentication accepted") {
                to_client.extend_from_slice(BOOTED);
            }
            this.step(&std::mem::take(&mut to_client), &mut actions);
        }
    }

    fn step(&mut self, bytes: &[u8], actions: &mut Vec<sdk::Action>) {
        use sdk::Connector as _;
        self.unread.extend_from_slice(bytes);
        let input = sdk::Bytes {
            link: "ami".into(),
            epoch: 1,
            offset: self.offset,
            data: self.unread.clone(),
        };
        self.connector.step(NOW, vec![sdk::Input::Bytes(input)], actions).expect("a step");
        for action in actions.iter() {
            if let sdk::Action::Consumed(consumed) = action {
                let length =
                    usize::try_from(consumed.offset.saturating_sub(self.offset)).expect("fits");
                self.unread.drain(..length);
                self.offset = consumed.offset;
            }
        }
    }

    fn take(&mut self, traffic: &[u8]) -> (Duration, usize) {
        let mut facts = 0;
        let mut actions = Vec::new();
        let began = Instant::now();
        for chunk in traffic.chunks(CHUNK) {
            actions.clear();
            self.step(chunk, &mut actions);
            facts +=
                actions.iter().filter(|action| matches!(action, sdk::Action::Event(_))).count();
        }
        (began.elapsed(), facts)
    }
}

fn filled(part: sdk::Part) -> Vec<u8> {
    match part {
        sdk::Part::Literal(bytes) => bytes,
        sdk::Part::Secret(part) => {
            let text = [&part.prefix[..], SECRET.as_bytes(), &part.suffix[..]].concat();
            jackfield::demo::peer::md5_hex(&text).into_bytes()
        }
    }
}

/// Events a second of asterisk-manager, from its first event to its last.
fn node(traffic: &[u8], events: usize) -> Result<f64, String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/node");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-node");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    for file in ["package.json", "client.js"] {
        std::fs::copy(here.join(file), folder.join(file)).map_err(|error| error.to_string())?;
    }
    if !folder.join("node_modules/asterisk-manager").is_dir() {
        let install = Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund"])
            .current_dir(&folder)
            .output()
            .map_err(|error| format!("npm: {error}; install Node.js"))?;
        if !install.status.success() {
            return Err(String::from_utf8_lossy(&install.stderr).into_owned());
        }
    }
    let mut rates = Vec::new();
    for _ in 0..3 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let bytes = traffic.to_vec();
        let server = std::thread::spawn(move || serve(&listener, &bytes));
        // A few events are FullyBooted, left out of the traffic.
        let count = events * 99 / 100;
        let client = Command::new("node")
            .args(["client.js", &port.to_string(), &count.to_string()])
            .current_dir(&folder)
            .output()
            .map_err(|error| format!("node: {error}; install Node.js"))?;
        let _ = server.join();
        let line = String::from_utf8_lossy(&client.stdout).into_owned();
        let answer: serde_json::Value = serde_json::from_str(line.trim())
            .map_err(|_| format!("{line}{}", String::from_utf8_lossy(&client.stderr)))?;
        let (Some(seen), Some(ns)) = (answer["events"].as_f64(), answer["ns"].as_f64()) else {
            return Err(line);
        };
        rates.push(seen / ns * 1e9);
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[rates.len() / 2])
}

/// Lets one client log in and pours the traffic into it.
fn serve(listener: &TcpListener, traffic: &[u8]) -> std::io::Result<()> {
    let (mut stream, _): (TcpStream, _) = listener.accept()?;
    stream.write_all(b"Asterisk Call Manager/11.0.0\r\n")?;
    let mut asked = Vec::new();
    let mut byte = [0];
    while !asked.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        asked.push(byte[0]);
    }
    let asked = String::from_utf8_lossy(&asked).into_owned();
    let id = asked
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("actionid: ").map(str::to_owned));
    let id = id.unwrap_or_default();
    write!(
        stream,
        "Response: Success\r\nActionID: {id}\r\nMessage: Authentication accepted\r\n\r\n"
    )?;
    stream.write_all(traffic)
}
