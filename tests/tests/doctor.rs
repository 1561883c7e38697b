//! The doctor on real Asterisks: a good, a careless and a dangerous account, and what else goes wrong.
//!
//! The good account is the one that host/docs/admin.md prints, word by word.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use jackfield_tests::{
    chance::{Dice, is_full},
    desk, docs,
    floor::{self, Kind, LANES, Lane, SOON},
    ledger::Ledger,
    visit,
    world::{Connector, Jackfield, Site, plugins, target, tree},
};
use lab::{ManagerUser, Pbx, PbxConfig, Release, Tree, until};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const SECRET: &str = "canary-4711-secret";

/// What an Asterisk says to the account that the documentation prints, in order.
const GOOD: [&str; 15] = [
    "ok config",
    "ok agents",
    "ok plugin",
    "ok settings",
    "ok tcp",
    "ok tls",
    "ok login",
    "ok version",
    "ok fully-booted",
    "ok privileges",
    "ok too-much",
    "ok event-classes",
    "ok queues",
    "ok extensions",
    "ok clock",
];

/// The doctor's lines, and what it ended with.
struct Told {
    lines: Vec<Value>,
    exit_code: i32,
}

impl Told {
    /// A line of this check and level that says all of this.
    fn has(&self, level: &str, check: &str, words: &[&str]) -> Result<()> {
        let said = |line: &Value| {
            let part = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let text = format!("{} {}", part("message"), part("fix"));
            line["level"] == level
                && line["check"] == check
                && words.iter().all(|word| text.contains(word))
        };
        ensure!(
            self.lines.iter().any(said),
            "no line `{level} {check}` with {words:?} among\n{self}"
        );
        Ok(())
    }

    fn lacks(&self, level: &str, check: &str) -> Result<()> {
        let said = |line: &Value| line["level"] == level && line["check"] == check;
        ensure!(!self.lines.iter().any(said), "a line `{level} {check}` among\n{self}");
        Ok(())
    }

    /// `ok tcp` and so on, in order.
    fn outline(&self) -> Vec<String> {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.lines
            .iter()
            .map(|line| format!("{} {}", word(&line["level"]), word(&line["check"])))
            .collect()
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A PBX, a configuration that names it, and a wire that notes what is said to the PBX.
struct Patient {
    folder: TempDir,
    pbx: Pbx,
    wire: Wire,
}

impl Patient {
    async fn new(tree: &Tree, account: ManagerUser, config: PbxConfig) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = PbxConfig { managers: vec![account], load_agents: 0, ..config };
        let pbx = Pbx::start(tree, &folder.path().join("pbx"), config).await?;
        let wire = Wire::to(pbx.ami()).await?;
        Ok(Self { folder, pbx, wire })
    }

    /// The doctor's word about the connector with this link.
    async fn check(&self, link: &str, secret: &str) -> Result<Told> {
        write_config(self.folder.path(), link)?;
        run(self.folder.path(), secret).await
    }

    async fn check_by_wire(&self) -> Result<Told> {
        self.check(&format!("\"tcp://{}\"", self.wire.address), SECRET).await
    }

    /// The same while callers come and go.
    async fn check_in_traffic(&self) -> Result<Told> {
        let callers = async {
            let mut pace = tokio::time::interval(Duration::from_millis(400));
            loop {
                pace.tick().await;
                let call = "channel originate Local/813@from-trunk application Wait 2";
                self.pbx.cli(call).await.context("a caller")?;
            }
        };
        tokio::select! {
            told = self.check_by_wire() => told,
            ended = callers => ended,
        }
    }

    /// Asterisk writes its log behind everybody's back.
    async fn logins_refused(&self) -> Result<usize> {
        let refused = until(SOON, "a refused login in Asterisk's log", async || {
            let log = fs::read_to_string(self.pbx.folder().join("log/messages"))?;
            let count = log.matches("failed to authenticate").count();
            if count > 0 { Ok(count) } else { Err(std::io::Error::other("no word of it")) }
        });
        Ok(refused.await?)
    }
}

fn write_config(folder: &Path, link: &str) -> Result<()> {
    let agents: String = ["1001", "1002", "1005", "1006"]
        .iter()
        .map(|extension| {
            format!("[agents.a{extension}]\ndevices = [{{ connector = \"hq\", extension = \"{extension}\" }}]\n")
        })
        .collect();
    let text = format!(
        "[journal]\npath = \"never.db\"\n[plugins]\ndir = {:?}\n[connectors.hq]\nplugin = \"asterisk\"\n\
         links.ami = {link}\nsecrets.ami = {{ env = \"DOCTOR_SECRET\" }}\n\
         settings = {{ username = \"jackfield\", extensions = \"^1[0-9]{{3}}$\" }}\ngrants = [\"link:ami\"]\n{agents}",
        plugins()?.display().to_string(),
    );
    Ok(fs::write(folder.join("jackfield.toml"), text)?)
}

/// `jackfield check --json`; nothing it prints or leaves behind may hold the secret, and it keeps no journal.
async fn run(folder: &Path, secret: &str) -> Result<Told> {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_jackfield-under-test"))
        .args(["check", "--json", "--config", "jackfield.toml"])
        .env("DOCTOR_SECRET", secret)
        .env("JACKFIELD_CACHE_DIR", target().join("test-cache"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let (text, errors) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(!text.contains(secret) && !errors.contains(secret), "the secret was printed");
    ensure!(!folder.join("never.db").exists(), "a check left a journal behind");
    let document: Value = serde_json::from_str(&text).with_context(|| format!("{text}{errors}"))?;
    let exit_code = output.status.code().unwrap_or(-1);
    ensure!(
        document["exit_code"] == exit_code,
        "the document says another exit code than {exit_code}"
    );
    let lines = document["findings"].as_array().cloned().unwrap_or_default();
    let without_fix = lines
        .iter()
        .find(|line| line["level"] != "ok" && line["fix"].as_str().is_none_or(str::is_empty));
    ensure!(without_fix.is_none(), "a line without a fix: {without_fix:?}");
    Ok(Told { lines, exit_code })
}

/// Passes on what is said, and notes the actions that the PBX is asked for.
struct Wire {
    address: SocketAddr,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    async fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let noted = said.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let noted = noted.clone();
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    let ((mut hears, mut tells), (mut answers, mut asks)) =
                        (near.into_split(), far.into_split());
                    tokio::spawn(async move { tokio::io::copy(&mut answers, &mut tells).await });
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = hears.read(&mut buffer).await {
                        let bytes = &buffer[..length];
                        noted.lock().expect("nobody panicked").extend_from_slice(bytes);
                        if asks.write_all(bytes).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(Self { address, said })
    }

    fn actions(&self) -> BTreeSet<String> {
        let said = self.said.lock().expect("nobody panicked");
        let text = String::from_utf8_lossy(&said).into_owned();
        text.lines().filter_map(|line| line.strip_prefix("Action: ")).map(str::to_owned).collect()
    }
}

fn account(lines: &str) -> ManagerUser {
    ManagerUser { name: "jackfield".to_owned(), secret: SECRET.to_owned(), text: lines.to_owned() }
}

/// The account that the documentation prints, for this machine.
fn printed() -> Result<ManagerUser> {
    let block = docs::named("host/docs/admin.md", "account")?;
    ensure!(block.starts_with("[jackfield]\nsecret = "), "{block}");
    let lines: Vec<&str> = block.lines().skip(2).collect();
    let lines = lines.join("\n");
    ensure!(lines.contains("192.0.2.10"), "the address of the documentation has changed");
    Ok(account(&(lines.replace("192.0.2.10", "127.0.0.1") + "\n")))
}

async fn a_good_account_is_good(release: Release) -> Result<()> {
    let Some(tree) = tree(release) else { return Ok(()) };
    let patient = Patient::new(&tree, printed()?, PbxConfig::default()).await?;
    let told = patient.check_in_traffic().await?;
    assert_eq!(told.exit_code, 0, "{told}");
    let outline = told.outline();
    for line in GOOD {
        assert!(outline.iter().any(|told| told == line), "no `{line}` among\n{told}");
    }
    told.has("ok", "event-classes", &["agent", "call", "dialplan"])?;
    told.has("ok", "version", &["Asterisk"])?;
    told.has(
        "ok",
        "freepbx",
        &["manager_custom.conf", "queues_custom.conf", "extensions_custom.conf"],
    )?;
    let allowed = if release == Release::Asterisk16 { vec!["warning support"] } else { vec![] };
    let complaints: Vec<&String> = outline.iter().filter(|line| !line.starts_with("ok")).collect();
    assert_eq!(complaints, allowed, "{told}");

    let harmless = [
        "Challenge",
        "CoreSettings",
        "CoreShowChannels",
        "CoreStatus",
        "DeviceStateList",
        "ExtensionStateList",
        "ListCommands",
        "Login",
        "Ping",
        "QueueStatus",
    ];
    let actions = patient.wire.actions();
    let unknown: Vec<&String> =
        actions.iter().filter(|action| !harmless.contains(&action.as_str())).collect();
    assert!(actions.len() > 5 && unknown.is_empty(), "the check asked for {unknown:?}");
    Ok(())
}

#[tokio::test]
async fn the_printed_account_has_nothing_to_complain_about_on_asterisk_22() -> Result<()> {
    a_good_account_is_good(Release::Asterisk22).await
}

#[tokio::test]
async fn the_printed_account_has_nothing_to_complain_about_on_asterisk_16() -> Result<()> {
    a_good_account_is_good(Release::Asterisk16).await
}

async fn a_careless_account_is_warned_of(release: Release) -> Result<()> {
    let Some(tree) = tree(release) else { return Ok(()) };
    let patient =
        Patient::new(&tree, ManagerUser::stock("jackfield", SECRET), PbxConfig::default()).await?;
    patient.pbx.cli("queue add member PJSIP/1003 to sales").await?;
    let told = patient.check_by_wire().await?;
    assert_eq!(told.exit_code, 0, "{told}");
    for class in ["command", "config", "system", "originate"] {
        told.has(
            "warning",
            "too-much",
            &[&format!("`{class}`"), "[jackfield]", "manager_custom.conf"],
        )?;
    }
    told.lacks("failure", "too-much")?;
    told.has("warning", "persistent-members", &["1 now", "persistentmembers = yes"])?;
    told.has("warning", "agents", &["PJSIP/1003", "[agents.1003]", "extension = \"1003\""])?;
    told.has("ok", "privileges", &[])?;
    Ok(())
}

#[tokio::test]
async fn a_careless_account_is_warned_of_on_asterisk_22() -> Result<()> {
    a_careless_account_is_warned_of(Release::Asterisk22).await
}

#[tokio::test]
async fn a_careless_account_is_warned_of_on_asterisk_16() -> Result<()> {
    a_careless_account_is_warned_of(Release::Asterisk16).await
}

#[tokio::test]
async fn an_account_that_equals_a_shell_is_a_failure() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let dangerous = account("read = all\nwrite = agi,system,command,agent,reporting\n");
    let told = Patient::new(&tree, dangerous, PbxConfig::default()).await?.check_by_wire().await?;
    assert_eq!(told.exit_code, 1, "{told}");
    told.has("failure", "too-much", &["`agi`", "shell", "remove `agi` from `write`"])?;
    told.has("warning", "too-much", &["`system`", "keep it in `read`"])?;
    told.has("warning", "too-much", &["`command`"])?;
    Ok(())
}

#[tokio::test]
async fn a_site_with_hooks_is_told_what_they_need_of_the_pbx() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let with = "read = system,call,agent,dialplan,agi,dtmf\nwrite = agent,reporting,call,agi\n";
    for (account, level, words) in [
        (printed()?, "failure", "add `agi` and `call` to `write`"),
        (account(with), "ok", "may hold callers"),
    ] {
        let patient = Patient::new(&tree, account, PbxConfig::default()).await?;
        let folder = patient.folder.path();
        write_config(folder, &format!("\"tcp://{}\"", patient.wire.address))?;
        let file = folder.join("jackfield.toml");
        let text = fs::read_to_string(&file)?
            + "\n[hooks.router]\norder = [\"vip\"]\n[hooks.instances.vip]\nplugin = \"skills\"\n\
               settings = { rules = [{ name = \"all\", to = \"queue:sales\" }] }\n";
        fs::write(&file, text)?;
        let told = run(folder, SECRET).await?;
        told.has(level, "held-callers", &[words])?;
        told.lacks("failure", "probe")?;
        if level == "ok" {
            // The usual numbers, since this config names none.
            told.has("failure", "emergency-numbers", &["JACKFIELD_EMERGENCY=112|911`"])?;
        }
        told.has("ok", "queues", &[])?;
    }
    Ok(())
}

#[tokio::test]
async fn missing_rights_are_told_with_what_is_missed_without_them() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let patient =
        Patient::new(&tree, account("read = call\nwrite =\n"), PbxConfig::default()).await?;
    let told = patient.check_in_traffic().await?;
    assert_eq!(told.exit_code, 1, "{told}");
    told.has("failure", "privileges", &["CoreShowChannels", "add `reporting` to `write`"])?;
    told.has("warning", "privileges", &["QueuePause", "add `agent` to `write`", "only watch"])?;
    told.has("warning", "fully-booted", &["add `system` to `read`"])?;
    told.has("ok", "event-classes", &["call"])?;
    told.has("warning", "event-classes", &["`agent`", "to `read`"])?;
    told.has("warning", "event-classes", &["`dialplan`", "to `read`"])?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_named_with_its_file() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let patient = Patient::new(&tree, printed()?, PbxConfig::default()).await?;
    let told = patient.check(&format!("\"tcp://{}\"", patient.pbx.ami()), "not-the-secret").await?;
    assert_eq!(told.exit_code, 1, "{told}");
    told.has("ok", "tcp", &[])?;
    told.has(
        "failure",
        "login",
        &["jackfield", "secrets.ami", "manager.conf", "manager_custom.conf"],
    )?;
    told.lacks("ok", "login")?;
    assert_eq!(patient.logins_refused().await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_way_that_is_closed_is_told_with_what_opens_it() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let config = PbxConfig { ami_tls: true, ..PbxConfig::default() };
    let mut patient = Patient::new(&tree, printed()?, config).await?;
    let tls = patient.pbx.ami_tls().context("TLS was asked for")?;
    let ca = patient.pbx.certificate().display().to_string();

    let told = patient
        .check(&format!("{{ url = \"tls://localhost:{}\", ca = {ca:?} }}", tls.port()), SECRET)
        .await?;
    assert_eq!(told.exit_code, 0, "{told}");
    told.has("ok", "dns", &["localhost is", "127.0.0.1"])?;
    told.has("ok", "tls", &["TLS 1.3", "localhost, 127.0.0.1", "until"])?;

    let told = patient
        .check(
            &format!("{{ url = \"tls://127.0.0.2:{}\", ca = {ca:?} }}", wrong_name(tls).await?),
            SECRET,
        )
        .await?;
    assert_eq!(told.exit_code, 1, "{told}");
    told.has("failure", "tls", &["not for 127.0.0.2", "localhost", "subjectAltName"])?;

    let told = patient.check(&format!("\"tls://localhost:{}\"", tls.port()), SECRET).await?;
    told.has("failure", "tls", &["self-signed", "links.ami", "ca ="])?;

    let told = patient.check("\"tls://no-such-pbx.invalid\"", SECRET).await?;
    told.has("failure", "dns", &["no-such-pbx.invalid", "/etc/hosts"])?;

    let closed = patient.pbx.ami();
    patient.pbx.stop().await;
    let told = patient.check(&format!("\"tcp://{closed}\""), SECRET).await?;
    assert_eq!(told.exit_code, 1, "{told}");
    told.has("failure", "tcp", &["refuses connections", "manager.conf", "enabled = yes"])?;
    Ok(())
}

/// The TLS port at an address that the certificate does not carry.
async fn wrong_name(target: SocketAddr) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.2:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let Ok(mut far) = TcpStream::connect(target).await else { return };
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    Ok(port)
}

#[tokio::test]
async fn queues_and_extensions_that_are_not_there_are_missed() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let patient = Patient::new(&tree, printed()?, PbxConfig::default()).await?;
    fs::write(patient.pbx.folder().join("etc/queues.conf"), "[general]\n")?;
    patient.pbx.cli("queue reload all").await?;
    let told = patient.check_by_wire().await?;
    told.has("warning", "queues", &["no queues", "queues.conf", "queues_custom.conf"])?;

    fs::write(
        patient.pbx.folder().join("etc/queues.conf"),
        "[general]\n[odd]\nmember => PJSIP/anna\nmember => PJSIP/1099\nmember => Nothing/1001\n",
    )?;
    patient.pbx.cli("queue reload all").await?;
    let told = patient.check_by_wire().await?;
    told.has("ok", "queues", &["1 queue: odd"])?;
    told.has("warning", "members", &["PJSIP/anna", "`extensions`"])?;
    told.has("warning", "devices", &["Nothing/1001"])?;
    told.has("warning", "agents", &["PJSIP/1099"])?;
    Ok(())
}

#[tokio::test]
async fn a_pattern_that_matches_nothing_and_a_configuration_that_cannot_be_used() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let patient = Patient::new(&tree, printed()?, PbxConfig::default()).await?;
    let config = patient.folder.path().join("jackfield.toml");
    write_config(patient.folder.path(), &format!("\"tcp://{}\"", patient.wire.address))?;
    let good = fs::read_to_string(&config)?;

    fs::write(&config, good.replace("^1[0-9]{3}$", "^77[0-9]{3}$"))?;
    let told = run(patient.folder.path(), SECRET).await?;
    assert_eq!(told.exit_code, 1, "{told}");
    told.has("failure", "extensions", &["^77[0-9]{3}$", "pjsip list endpoints"])?;

    fs::write(&config, good.replace("extensions =", "extension ="))?;
    let told = run(patient.folder.path(), SECRET).await?;
    assert_eq!(told.exit_code, 2, "{told}");
    told.has("failure", "settings", &["jackfield.toml:", "extension", "extensions"])?;
    Ok(())
}

/// What the printed account is for: every caller's stay, as the queue log and the phones tell it; agents who
/// are logged in and paused over REST. On old and new at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_printed_account_suffices_on_asterisk_22_and_16() -> Result<()> {
    let (Some(new), Some(old)) = (tree(Release::Asterisk22), tree(Release::Asterisk16)) else {
        return Ok(());
    };
    let config = || -> Result<PbxConfig> {
        let mut config = floor::pbx_config();
        config.managers.retain(|manager| manager.name != "jackfield");
        config.managers.push(printed()?);
        Ok(config)
    };
    let sites =
        [Site::start("new", &new, config()?).await?, Site::start("old", &old, config()?).await?];
    let connectors =
        sites.each_ref().map(|site| Connector { secret: SECRET.to_owned(), ..site.connector() });
    let jackfield = Jackfield::start(&connectors, &desk::agents_config(&["new", "old"])).await?;
    let events = jackfield.events().await?;
    let mut dice = Dice::new("account");
    let mut playing = Vec::new();
    for (index, site) in sites.iter().enumerate() {
        jackfield.connected(&site.id).await?;
        desk::seat_dynamic_agents(&jackfield.client, &site.id).await?;
        for lane in 0..LANES {
            let kinds = kinds().into_iter().skip(lane).step_by(LANES).collect();
            let lane = Lane::start(&site.pbx, lane, &format!("030{}{lane}", index + 1)).await?;
            playing.push(play(site, lane, kinds, dice.fork()));
        }
    }
    let played = try_join_all(playing).await?.concat();
    let ledger = Ledger::quiet(&[], &events, SOON).await?;
    let visits = ledger.visits();
    let mut differences = Vec::new();
    for (site, told) in &played {
        let pbx = sites.iter().find(|other| other.id == *site).map(|site| &site.pbx);
        let log = visit::by_queue_log(&pbx.context("a site")?.queue_log());
        let stream =
            visits.get(&(site.clone(), told.uniqueid.clone())).cloned().unwrap_or_default();
        let logged = log.get(&told.uniqueid).cloned().unwrap_or_default();
        let found = visit::differences(&logged, &stream)
            .into_iter()
            .chain(visit::differences(&told.visits, &stream));
        differences
            .extend(found.map(|what| format!("{site} {:?} {}: {what}", told.kind, told.uniqueid)));
    }
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    ensure!(played.len() == 2 * kinds().len(), "only {} calls", played.len());

    let body = serde_json::json!({ "reason": "lunch" });
    for agent in ["new-1001", "old-1001"] {
        let place = events.place();
        let path = format!("/v1/agents/{agent}/pause");
        let answer = jackfield.client.command("POST", &path, Some(&body)).await?;
        ensure!(answer.status < 300, "{}", answer.body);
        events.next(place, "the pause", SOON, |seen| seen.kind == "member.paused").await?;
    }
    Ok(())
}

/// Those that need every right; all with `JACKFIELD_FULL=1`.
fn kinds() -> Vec<Kind> {
    if is_full() {
        // What a queue log hides of transfers is the business of another test.
        let hidden = [Kind::BlindTransfer, Kind::AttendedTransfer];
        return Kind::ALL.into_iter().filter(|kind| !hidden.contains(kind)).collect();
    }
    vec![
        Kind::AnsweredCallerEnds,
        Kind::AbandonedWhileRinging,
        Kind::TimedOut,
        Kind::Full,
        Kind::JoinEmpty,
        Kind::LeaveEmpty,
        Kind::PressedKey,
        Kind::Redirected,
        Kind::HungUpByPbx,
    ]
}

async fn play(
    site: &Site,
    mut lane: Lane,
    kinds: Vec<Kind>,
    mut dice: Dice,
) -> Result<Vec<(String, floor::Told)>> {
    let mut played = Vec::new();
    for kind in kinds {
        played.push((site.id.clone(), lane.play(&site.pbx, kind, &mut dice).await?));
    }
    Ok(played)
}
