//! Routers that ask a CRM about the caller: the real host, the real connector and guests, a web server on loopback, and
//! a fake PBX that hands callers over when the test wants it.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use jackfield_tests::{
    floor::SOON,
    handover::{Caller, Handing, Heard},
    world::{self, Jackfield},
};
use lab::until;
use plugin_runtime::MANIFEST_SECTION;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Found nowhere but in its file and in the header.
const SECRET: &str = "s3cret-Of-the-CRM-5d41402abc4b";
/// What the CRM says depends on who calls.
const GOLD: &str = "493012345771";
const HANGS: &str = "493012345772";
const REDIRECTS: &str = "493012345773";
const POURS: &str = "493012345774";
const DOWN: &str = "493012345776";
const LATER: &str = "493012345775";
/// The decision's end; the CRM may take longer if it is asked.
const DECISION: Duration = Duration::from_millis(1500);

/// A web service on loopback.
struct Crm {
    address: SocketAddr,
    /// Heads of requests.
    seen: Arc<Mutex<Vec<String>>>,
    /// [`LATER`] is answered when this is true.
    gate: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Crm {
    /// `elsewhere`: where it redirects to.
    async fn start(elsewhere: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (gate, open) = watch::channel(false);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::clone(&seen);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (heads, open) = (Arc::clone(&heads), open.clone());
                tokio::spawn(serve(stream, elsewhere, heads, open));
            }
        });
        Ok(Self { address, seen, gate, serving })
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().map(|seen| seen.clone()).unwrap_or_default()
    }

    async fn asked_about(&self, number: &str) -> Result<String> {
        let asked = until(SOON, "the CRM to be asked", async || {
            let head = self.seen().into_iter().find(|head| head.contains(number));
            head.context("not yet")
        });
        Ok(asked.await?)
    }
}

async fn serve(
    mut stream: TcpStream,
    elsewhere: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    mut open: watch::Receiver<bool>,
) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut head).await? > 0 && head.len() < 64 * 1024, "no head");
    }
    let head = String::from_utf8(head)?;
    if let Ok(mut heads) = heads.lock() {
        heads.push(head.clone());
    }
    let path = head.split(' ').nth(1).context("a path")?.to_owned();
    let is = |number: &str| path.contains(number);
    if is(HANGS) {
        // Until the other side has enough.
        let _ = stream.read(&mut [0]).await;
        return Ok(());
    }
    if is(REDIRECTS) {
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        return Ok(stream.write_all(answer.as_bytes()).await?);
    }
    if is(POURS) {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n\"").await?;
        loop {
            stream.write_all(&[b'x'; 16 * 1024]).await?;
        }
    }
    if is(LATER) {
        open.wait_for(|open| *open).await?;
    }
    // It tells everything that it was told.
    let told = head.lines().find(|line| line.to_lowercase().starts_with("authorization"));
    let told = told.unwrap_or_default();
    let body = json!({ "customer": { "tier": "gold", "told": told } }).to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nX-Told: {told}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    Ok(stream.write_all(answer.as_bytes()).await?)
}

struct World {
    pbx: Handing,
    crm: Crm,
    jackfield: Jackfield,
    /// Where redirects lead; nobody shall come.
    elsewhere: std::net::TcpListener,
    _secrets: tempfile::TempDir,
}

impl World {
    async fn start() -> Result<Self> {
        let elsewhere = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        elsewhere.set_nonblocking(true)?;
        let crm = Crm::start(elsewhere.local_addr()?).await?;
        let secrets = tempfile::tempdir()?;
        let file = secrets.path().join("crm.secret");
        let mut options = fs::File::options();
        let mut secret = options.write(true).create(true).mode(0o600).open(&file)?;
        std::io::Write::write_all(&mut secret, SECRET.as_bytes())?;
        let pbx = Handing::start().await?;
        let hooks = format!(
            r#"
[hooks.instances.vip]
plugin = "skills"
version = "0.1.0"
secrets.crm = {{ file = {:?} }}
grants = ["http:127.0.0.1", "http-private:127.0.0.1:{port}", "secret:crm"]

[hooks.instances.vip.settings]
rules = [
    {{ name = "gold", when = {{ fields = {{ tier = "gold" }} }}, to = "queue:vip" }},
    {{ name = "everybody", to = "queue:standard" }},
]

[hooks.instances.vip.settings.crm]
url = "http://127.0.0.1:{port}/callers/{{e164}}"
auth = "bearer"
timeout_ms = 10000
cache_secs = 600
fields = {{ tier = "/customer/tier", told = "/customer/told" }}

[hooks.router]
order = ["vip"]
fallback = "queue:fallback"
decision_ms = {decision}
"#,
            file.display().to_string(),
            port = crm.address.port(),
            decision = DECISION.as_millis(),
        );
        let jackfield = Jackfield::start(&[pbx.connector("hq")], &hooks).await?;
        jackfield.connected("hq").await?;
        Ok(Self { pbx, crm, jackfield, elsewhere, _secrets: secrets })
    }

    /// A caller from their arrival until they are sent on: where to, and how the hooks explain it.
    async fn call(&self, number: &str) -> Result<Told> {
        let caller = self.pbx.hand_over(number).await?;
        self.told(&caller).await
    }

    async fn told(&self, caller: &Caller) -> Result<Told> {
        let commands = self.pbx.taken(caller, SOON).await;
        let commands =
            commands.with_context(|| format!("the host's log:\n{}", self.jackfield.log_end()))?;
        let client = &self.jackfield.client;
        let explained = until(SOON, "the call to be explained", async || {
            let mut found = Vec::new();
            for call in jackfield_tests::desk::list(client, "/v1/calls").await? {
                let id = call["id"].as_str().context("an id")?;
                found.push(client.get(&format!("/v1/calls/{id}/explain")).await?);
            }
            let text = format!("+{}", caller.number());
            let mine = found.into_iter().rev().find(|it| it.to_string().contains(&text));
            let mine = mine.with_context(|| format!("no {text}"))?;
            ensure!(mine.to_string().contains("queue:"), "not decided: {mine}");
            Ok(mine)
        });
        let after = commands.last().context("commands")?.at - caller.at;
        Ok(Told { queue: queue(&commands), after, explained: explained.await? })
    }

    /// For all calls a version that fails in each way there is.
    async fn try_moody(&self) -> Result<()> {
        let client = &self.jackfield.client;
        let answer = client.upload("/v1/plugins", "application/wasm", moody()?).await?;
        ensure!(answer.status == 200, "{}", answer.body);
        let wish = json!({ "version": "0.2.0", "percent": 100 });
        let answer = client.request("POST", "/v1/hooks/vip/canary", &[], Some(&wish)).await?;
        ensure!(answer.status == 200, "{}", answer.body);
        Ok(())
    }

    async fn trial_is_over(&self) -> Result<()> {
        let over = until(SOON, "the trial to be over", async || {
            let hook = self.jackfield.client.get("/v1/hooks/vip").await?;
            let given_up = hook["canary"].is_null()
                || hook["canary"]["tally"]["given_up"].as_str().is_some_and(|why| !why.is_empty());
            ensure!(given_up, "{hook}");
            Ok(())
        });
        Ok(over.await?)
    }

    async fn reload(&self, from: &str, to: &str) -> Result<Value> {
        let file = self.jackfield.folder().join("jackfield.toml");
        let config = fs::read_to_string(&file)?;
        ensure!(config.contains(from), "no {from}");
        fs::write(&file, config.replace(from, to))?;
        let answer = self.jackfield.client.request("POST", "/v1/reload", &[], None).await?;
        ensure!(answer.status == 200, "{}", answer.body);
        Ok(answer.body)
    }
}

struct Told {
    queue: String,
    /// From being handed over.
    after: Duration,
    explained: Value,
}

/// The queue that the hand-over names.
fn queue(commands: &[Heard]) -> String {
    let set = commands.iter().find(|it| it.text.contains("Variable: JACKFIELD_QUEUE\r\n"));
    let value = set.and_then(|it| it.text.split("Value: ").nth(1)).unwrap_or_default();
    value.lines().next().unwrap_or_default().to_owned()
}

/// The files in which this is written.
fn files_with(folder: &Path, what: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_with(&path, what)?);
        } else if let Ok(bytes) = fs::read(&path)
            && bytes.windows(what.len()).any(|part| part == what.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_crm_says_decides_and_its_secret_is_in_the_header_and_nowhere_else() -> Result<()>
{
    let world = World::start().await?;
    let gold = world.call(GOLD).await?;
    let text = gold.explained.to_string();
    ensure!(gold.queue == "vip" && text.contains("(CRM)"), "{}: {text}", gold.queue);
    let head = world.crm.asked_about(GOLD).await?.to_lowercase();
    let expected = format!("authorization: bearer {SECRET}").to_lowercase();
    ensure!(head.lines().any(|line| line == expected), "{head}");
    ensure!(!head.lines().next().unwrap_or_default().contains("s3cret"), "{head}");

    // The CRM told its secret back, and the router kept that.
    let client = &world.jackfield.client;
    let paths =
        ["/v1/hooks", "/v1/hooks/vip", "/v1/hooks/vip/logs", "/v1/hooks/vip/store", "/v1/calls"];
    let mut shown = vec![text.clone()];
    for path in paths {
        shown.push(client.get(path).await?.to_string());
    }
    let events = world.jackfield.events().await?;
    let decided = |seen: &jackfield_tests::client::Seen| seen.kind == "call.decided";
    let of_call = events.wait("the decision", SOON, decided).await?;
    shown.push(of_call.data.to_string());
    shown.push(world.pbx.heard().iter().map(|heard| heard.text.as_str()).collect());
    for text in &shown {
        ensure!(!text.contains(SECRET), "{text}");
    }
    let kept = client.get("/v1/hooks/vip/store").await?.to_string();
    ensure!(kept.contains("uthorization: Bearer"), "what it told back is kept, masked: {kept}");
    let files = files_with(world.jackfield.folder(), SECRET)?;
    ensure!(files.is_empty(), "{files:?}");
    ensure!(!world.jackfield.log()?.contains(GOLD), "callers' numbers are not logged");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crm_that_fails_in_whatever_way_costs_the_caller_time_and_not_the_call() -> Result<()> {
    let world = World::start().await?;
    for (number, words) in [
        (HANGS, "without the CRM: "),
        (REDIRECTS, "127.0.0.1 is this machine or in its network"),
        (POURS, "the answer of 127.0.0.1 is too long"),
    ] {
        let told = world.call(number).await?;
        let text = told.explained.to_string();
        world.crm.asked_about(number).await?;
        ensure!(told.queue == "standard", "{number} is in {}: {text}", told.queue);
        ensure!(text.contains(words), "{number}: no `{words}` in {text}");
        // The machine may be slow, but nobody waits as long as the CRM was given.
        ensure!(told.after < DECISION + Duration::from_secs(5), "{number} after {:?}", told.after);
    }
    ensure!(world.elsewhere.accept().is_err(), "it went where it was redirected to");
    ensure!(world.call(GOLD).await?.queue == "vip");

    world.crm.serving.abort();
    until(SOON, "the CRM to be down", async || {
        let reached = TcpStream::connect(world.crm.address).await;
        ensure!(reached.is_err(), "it listens");
        Ok(())
    })
    .await?;
    let told = world.call(DOWN).await?;
    let text = told.explained.to_string();
    ensure!(told.queue == "standard", "{}: {text}", told.queue);
    ensure!(text.contains("no connection to 127.0.0.1"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_on_with_the_rules_it_began_with_when_they_change_meanwhile() -> Result<()> {
    let world = World::start().await?;
    let first = world.pbx.hand_over(LATER).await?;
    world.crm.asked_about(LATER).await?;
    let changed = world.reload("queue:vip", "queue:standard").await?;
    ensure!(changed["changes"][0]["kind"] == "swapped", "{changed}");
    let second = world.call(GOLD).await?;
    ensure!(second.queue == "standard", "the new rules: {}", second.explained);
    world.crm.gate.send_replace(true);
    let first = world.told(&first).await?;
    ensure!(first.queue == "vip", "the old rules: {}", first.explained);
    Ok(())
}

/// Version 0.2.0 of `skills`: one that fails for some callers.
fn moody() -> Result<Vec<u8>> {
    let mut manifest: Value =
        serde_json::from_slice(include_bytes!("../../plugins/skills/manifest.json"))?;
    manifest["version"] = json!("0.2.0");
    let manifest = manifest.to_string().into_bytes();
    let mut wasm = fs::read(world::test_plugin("moody-router")?)?;
    // Its own manifest becomes a section that nobody reads.
    let name = MANIFEST_SECTION.as_bytes();
    for at in 0..wasm.len().saturating_sub(name.len()) {
        if wasm[at..].starts_with(name) {
            wasm[at] = b'x';
        }
    }
    let leb = |mut number: usize| {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let body = [leb(name.len()), name.to_vec(), manifest].concat();
    wasm.push(0);
    wasm.extend(leb(body.len()));
    wasm.extend(body);
    Ok(wasm)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_that_traps_is_given_up_and_the_call_gets_the_word_of_the_old_one()
-> Result<()> {
    /// The new version traps for it.
    const TRAPS: &str = "493012345661";
    let world = World::start().await?;
    world.try_moody().await?;
    let told = world.call(TRAPS).await?;
    let text = told.explained.to_string();
    ensure!(told.queue == "vip" && text.contains("skills 0.1.0"), "{} {text}", told.queue);
    ensure!(!text.contains("skills 0.2.0"), "its word did not count: {text}");
    world.trial_is_over().await?;
    ensure!(world.jackfield.log()?.contains("in a bad mood"), "{}", world.jackfield.log_end());
    let again = world.call(GOLD).await?;
    let text = again.explained.to_string();
    ensure!(again.queue == "vip" && text.contains("skills 0.1.0"), "{} {text}", again.queue);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_that_names_a_queue_which_is_not_there_is_given_up_and_the_caller_gets_the_fallback()
-> Result<()> {
    /// The new version sends it nowhere.
    const NOWHERE: &str = "493012345665";
    let world = World::start().await?;
    world.try_moody().await?;
    let told = world.call(NOWHERE).await?;
    let text = told.explained.to_string();
    ensure!(told.queue == "fallback", "{} {text}", told.queue);
    world.trial_is_over().await?;
    let again = world.call(GOLD).await?;
    let text = again.explained.to_string();
    ensure!(again.queue == "vip" && text.contains("skills 0.1.0"), "{} {text}", again.queue);
    Ok(())
}
