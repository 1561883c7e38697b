//! The bundled hooks in a real host at a real Asterisk: closed hours refuse, the treatment's menu leads to a VIP queue,
//! and a receiver that goes away and comes back is told of everything.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use hmac::{Hmac, KeyInit, Mac};
use jackfield_tests::{
    floor::SOON,
    world::{self, Jackfield, Site},
};
use lab::{ManagerUser, PbxConfig, Phone, PhoneConfig, Release, until};
use serde_json::Value;
use sha2::Sha256;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

const CALLER: &str = "4930123456";
const SECRET: &str = "a secret of the webhook";

/// What the receiver does not want: the first event of each call, for which the others wait.
const UNWANTED: &str = "call.started";

/// A receiver of webhooks that remembers what it was posted, and can go away.
struct Receiver {
    address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
    is_away: Arc<AtomicBool>,
}

/// A post whose signature was right.
#[derive(Clone, Debug)]
struct Post {
    seq: u64,
    kind: String,
    call: String,
    /// 1, 2, ...
    attempt: u32,
}

impl Receiver {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let receiver = Self { address, posts: Arc::default(), is_away: Arc::default() };
        let (posts, is_away) = (Arc::clone(&receiver.posts), Arc::clone(&receiver.is_away));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // The port stays its own: whoever calls meanwhile is hung up on.
                if is_away.load(Ordering::SeqCst) {
                    continue;
                }
                let posts = Arc::clone(&posts);
                tokio::spawn(async move {
                    // What is no request of ours is not counted, and the test misses it.
                    let _ = take(stream, &posts).await;
                });
            }
        });
        Ok(receiver)
    }

    /// Nobody answers at its address any more.
    fn go_away(&self) {
        self.is_away.store(true, Ordering::SeqCst);
    }

    fn come_back(&self) {
        self.is_away.store(false, Ordering::SeqCst);
    }

    fn posts(&self) -> Vec<Post> {
        self.posts.lock().expect("nobody panics with it").clone()
    }
}

/// One POST, whose signature must be right.
async fn take(stream: TcpStream, posts: &Mutex<Vec<Post>>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let header = |name: &str| {
        let found = headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).with_context(|| format!("no {name}"))
    };
    let mut body = vec![0; header("content-length")?.parse()?];
    stream.read_exact(&mut body).await?;
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
    mac.update(header("x-jackfield-timestamp")?.as_bytes());
    mac.update(b".");
    mac.update(&body);
    let hex: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let signed = header("x-jackfield-signature")? == format!("v1={hex}");
    let event: Value = serde_json::from_slice(&body)?;
    let seq = event["seq"].as_u64().context("no seq")?;
    ensure!(header("x-jackfield-event")? == seq.to_string());
    let status = if signed {
        let post = Post {
            seq,
            kind: event["type"].as_str().context("no type")?.to_owned(),
            call: event["call"].as_str().unwrap_or_default().to_owned(),
            attempt: header("x-jackfield-try")?.parse()?,
        };
        ensure!(header("x-jackfield-type")? == post.kind);
        let status =
            if post.kind == UNWANTED { "422 Unprocessable Content" } else { "204 No Content" };
        posts.lock().expect("nobody panics with it").push(post);
        status
    } else {
        "401 Unauthorized"
    };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.get_mut().write_all(answer.as_bytes()).await?;
    Ok(())
}

fn hooks(receiver: SocketAddr, secret: &str) -> String {
    let port = receiver.port();
    format!(
        r#"
[hooks]
time_zone = "Europe/Berlin"

[hooks.instances.hours]
plugin = "business-hours"

[hooks.instances.hours.settings.calendars]
never = {{ week = {{}} }}
always = {{ week = {{ daily = "00:00-24:00" }} }}

[[hooks.instances.hours.settings.rules]]
dialled = "720"
calendar = "never"
closed = "busy"

[[hooks.instances.hours.settings.rules]]
calendar = "always"
closed = "reject"

[hooks.instances.vip]
plugin = "skills"
declined = ["http:*", "secret:crm"]
settings = {{ lists = {{ vip = "+{CALLER}" }}, rules = [
    {{ name = "VIP", when = {{ lists = "vip" }}, to = "queue:standard", priority = 10, treatment = "standard" }},
] }}

[hooks.instances.standard]
plugin = "standard-treatment"
declined = ["http:*", "secret:lookup"]

[hooks.instances.standard.settings]
greeting = ["lab/tone-600", "lab/nowhere"]
menu = "main"
menus = {{ main = {{ prompt = "lab/long-700", keys = {{ 1 = "queue:vip", 2 = "go-on" }} }} }}

[hooks.instances.feed]
plugin = "webhook"
secrets.webhook = {{ file = {secret:?} }}
grants = ["http:127.0.0.1", "http-private:127.0.0.1:{port}", "secret:webhook"]
declined = ["secret:token"]
settings = {{ url = "http://127.0.0.1:{port}/in", retry = {{ first_secs = 1, most_secs = 2 }} }}

[hooks.router]
order = ["hours", "vip"]
fallback = "queue:fallback"

[hooks.treatment]
default = "standard"

[hooks.observers]
run = ["feed"]
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_hours_refuse_the_menu_leads_to_a_queue_and_the_receiver_hears_of_all_of_it()
-> Result<()> {
    let Some(tree) = world::tree(Release::Asterisk22) else { return Ok(()) };
    let config = PbxConfig {
        managers: vec![ManagerUser::holding("jackfield", "lab-secret")],
        ..PbxConfig::default()
    };
    let site = Site::start("hq", &tree, config).await?;
    let agent = Phone::start(PhoneConfig::extension(site.pbx.sip(), "1003")).await?;
    agent.register().await?;
    let receiver = Receiver::start().await?;
    let folder = tempfile::tempdir()?;
    let secret = folder.path().join("secret");
    private(&secret)?;
    let hooks = hooks(receiver.address, &secret.display().to_string());
    let jackfield = Jackfield::start(&[site.connector()], &hooks).await?;
    jackfield.connected("hq").await?;
    let events = jackfield.events().await?;
    let caller = Phone::start(PhoneConfig::trunk(site.pbx.sip(), CALLER)).await?;
    let log = || jackfield.log_end();

    // Nobody is there at 720: busy.
    let refused = caller.call("720")?;
    let ending = refused.ended(SOON).await.with_context(log)?;
    ensure!(ending.status == Some(486), "{ending:?}");

    // Meanwhile nobody takes the events.
    receiver.go_away();
    let call = caller.call("721")?;
    call.answered(SOON).await?;
    let heard = until(SOON, "the greeting and the menu", async || {
        let recording = call.recording(Duration::ZERO);
        let (greeting, prompt) = (recording.tone(600), recording.tone(700));
        ensure!(
            greeting > Duration::from_secs(1) && prompt > Duration::from_millis(500),
            "{greeting:?}, {prompt:?}"
        );
        Ok(())
    });
    heard.await.with_context(log)?;
    call.press("1").await?;
    // The menu's queue, not the router's.
    let answered = agent.next_call(SOON).await.with_context(log)?;
    answered.hang_up().await?;
    call.ended(SOON).await?;

    let ended = until(SOON, "both calls to end", async || {
        let ended = events.all().iter().filter(|seen| seen.kind == "call.ended").count();
        ensure!(ended == 2, "{ended} calls have ended");
        Ok(())
    });
    ended.await.with_context(log)?;
    let of_calls: Vec<(u64, String)> = events
        .all()
        .iter()
        .filter(|seen| seen.kind.starts_with("call."))
        .map(|seen| (seen.id, seen.kind.clone()))
        .collect();
    let unwanted: Vec<u64> =
        of_calls.iter().filter(|(_, kind)| kind == UNWANTED).map(|(seq, _)| *seq).collect();
    ensure!(!unwanted.is_empty(), "{of_calls:?}");

    // An hour would be the same, and longer: the first question whether it is back comes within `most_secs`.
    receiver.come_back();
    let all = until(SOON, "every event of both calls at the receiver", async || {
        let posts = receiver.posts();
        for (seq, kind) in &of_calls {
            ensure!(posts.iter().any(|post| post.seq == *seq), "event {seq}, {kind}, is missing");
        }
        Ok(())
    });
    all.await.with_context(log)?;
    let dead = until(SOON, "a dead letter of each event that nobody wants", async || {
        let store = jackfield.client.get("/v1/hooks/feed/store?prefix=dead:").await?;
        for seq in &unwanted {
            let key = format!("dead:{seq:020}");
            ensure!(store.to_string().contains(&key), "no {key} in {store}");
        }
        ensure!(store["items"].as_array().context("items")?.len() == unwanted.len(), "{store}");
        Ok(())
    });
    dead.await.with_context(log)?;

    let posts = receiver.posts();
    let calls: BTreeSet<&String> = posts.iter().map(|post| &post.call).collect();
    for call in calls.into_iter().filter(|call| !call.is_empty()) {
        let of_call = posts.iter().filter(|post| post.call == *call).map(|post| post.seq);
        ensure!(of_call.is_sorted(), "the order of {call}: {posts:?}");
    }
    // What was posted while nobody listened came again; what was taken did not.
    ensure!(posts.iter().any(|post| post.attempt > 1 && post.kind != UNWANTED), "{posts:?}");
    let mut seen = BTreeSet::new();
    for post in posts.iter().filter(|post| post.kind != UNWANTED) {
        ensure!(seen.insert(post.seq), "event {} came twice: {posts:?}", post.seq);
    }
    for seq in unwanted {
        let tries = posts.iter().filter(|post| post.seq == seq).count();
        ensure!(tries == 3, "event {seq} was tried {tries} times");
    }
    let log = jackfield.log()?;
    ensure!(!log.contains(SECRET), "the secret is in the log");
    ensure!(!format!("{:?}", events.all()).contains(SECRET), "the secret is in the journal");
    Ok(())
}

fn private(path: &std::path::Path) -> Result<()> {
    use std::{fs, io::Write, os::unix::fs::OpenOptionsExt};
    let mut file =
        fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(SECRET.as_bytes())?)
}
