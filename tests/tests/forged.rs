//! A caller who writes manager events into the number they call from is not believed, on Asterisk 22 and 16
//! with stock settings.
//!
//! The INVITE is not authenticated: the PBX takes it as coming from its trunk, as a provider's would be. It is our
//! phone's, and once sipp's, which shares no line of code with it.

#![expect(clippy::print_stdout, reason = "figures for whoever reads the log")]

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use jackfield_tests::{
    client::{Events, Seen},
    desk,
    floor::SOON,
    ledger::{Ledger, text},
    world::{Jackfield, Site, tree},
};
use lab::{Pbx, PbxConfig, Phone, PhoneConfig, Release, Scenario, Sipp, Tree, phone::Side, until};
use serde_json::json;

/// What the From user holds when it is decoded; `{}` is the Uniqueid of the call under attack. Asterisk cuts the
/// number at 79 bytes.
const FORGERIES: [(&str, &str); 7] = [
    ("a whole event", "5\r\n\r\nEvent: Hangup\r\nUniqueid: {}\r\nCause: 16"),
    ("an event with privilege", "5\r\n\r\nEvent: Hangup\r\nPrivilege: call,all\r\nUniqueid: {}"),
    ("a caller leaving", "5\r\n\r\nEvent: QueueCallerLeave\r\nQueue: parked\r\nUniqueid: {}"),
    ("an answer", "5\r\n\r\nResponse: Goodbye\r\nUniqueid: {}\r\n"),
    ("a header", "5\r\nUniqueid: {}\r\nLinkedid: {}"),
    ("the end of a list", "5\r\nEventList: Complete"),
    ("line ends only", "5\r\n\r\n\r\n"),
];

struct Victims {
    agent: Phone,
    talking: lab::Call,
    waiting: lab::Call,
    /// Uniqueids.
    talking_id: String,
    waiting_id: String,
    _callers: [Phone; 2],
}

impl Victims {
    /// One caller talks with an agent, one waits.
    async fn start(pbx: &Pbx) -> Result<Victims> {
        let agent = Phone::start(PhoneConfig::extension(pbx.sip(), "1001")).await?;
        agent.register().await?;
        let callers = [
            Phone::start(PhoneConfig::trunk(pbx.sip(), "0301111111")).await?,
            Phone::start(PhoneConfig::trunk(pbx.sip(), "0302222222")).await?,
        ];
        let (talking, waiting) = (callers[0].call("800")?, callers[1].call("802")?);
        let connected = pbx.wait_for_queue_log(SOON, |line| line.event == "CONNECT").await?;
        let parked =
            |line: &lab::QueueLogLine| line.event == "ENTERQUEUE" && line.queue == "parked";
        let parked = pbx.wait_for_queue_log(SOON, parked).await?;
        Ok(Victims {
            agent,
            talking,
            waiting,
            talking_id: connected.callid,
            waiting_id: parked.callid,
            _callers: callers,
        })
    }
}

async fn nobody_is_fooled(release: Release) -> Result<()> {
    let Some(tree) = tree(release) else { return Ok(()) };
    let site = Site::start("hq", &tree, PbxConfig::default()).await?;
    let jackfield = Jackfield::start(&[site.connector()], "").await?;
    jackfield.connected("hq").await?;
    let events = jackfield.events().await?;
    let victims = Victims::start(&site.pbx).await?;
    for victim in [&victims.talking_id, &victims.waiting_id] {
        let began = |seen: &Seen| seen.data["data"]["native"] == victim.as_str();
        events.wait("the victim's leg", SOON, began).await?;
    }
    for (what, forgery) in FORGERIES {
        let victim =
            if what == "a caller leaving" { &victims.waiting_id } else { &victims.talking_id };
        attack(&site.pbx, &events, &forgery.replace("{}", victim))
            .await
            .with_context(|| format!("forged: {what}"))?;
    }
    let whole = FORGERIES[0].1.replace("{}", &victims.talking_id);
    attack_by_sipp(&tree, &site.pbx, &events, &whole).await.context("forged by sipp")?;
    odd_but_no_forgery(&site.pbx, &events, &victims.talking_id).await?;
    let ledger = Ledger::of(&events.all());
    ensure!(ledger.broken.is_empty(), "{:?}", ledger.broken);
    let channels = ledger.channels("hq");
    for victim in [&victims.talking_id, &victims.waiting_id] {
        ensure!(channels.contains(victim), "the call of {victim} ended in the stream");
    }
    ensure!(ledger.waiting.len() == 1, "waiting: {:?}", ledger.waiting);
    ensure!(victims.talking.is_up() && victims.waiting.is_up(), "a call ended at the PBX");

    // No look at the whole PBX is under way that could find the ends before they are told.
    let all = json!({ "scope": "all" });
    desk::done(&jackfield.client, "POST", "/v1/connectors/hq/resync", all).await?;
    // Jackfield still sees: the true ends come, live.
    victims.talking.hang_up().await?;
    victims.waiting.hang_up().await?;
    for victim in [&victims.talking_id, &victims.waiting_id] {
        let leg = leg_of(&events, victim).context("the victim has a leg")?;
        let ended = |seen: &Seen| seen.kind == "leg.ended" && text(&seen.data, "leg") == leg;
        let ended = events.wait("the true end", SOON, ended).await?;
        ensure!(ended.data["inferred"] == false, "not seen but concluded: {}", ended.data);
    }
    ensure!(victims.agent.next_call(SOON).await?.ended(SOON).await?.by == Side::Peer, "the agent");
    Ok(())
}

fn leg_of(events: &Events, native: &str) -> Option<String> {
    let all = events.all();
    let leg =
        all.iter().find(|seen| seen.kind == "leg.started" && seen.data["data"]["native"] == native);
    leg.map(|seen| text(&seen.data, "leg").to_owned())
}

/// A bare line feed ends no line at the manager interface: such a number is shown as it came, and is of a call
/// like any other.
async fn odd_but_no_forgery(pbx: &Pbx, events: &Events, victim: &str) -> Result<()> {
    let place = events.place();
    let number = format!("5\nUniqueid: {victim}\nChannel: x");
    let caller = Phone::start(from(pbx, &number)).await?;
    let call = caller.call("500")?;
    call.answered(SOON).await?;
    let shown = |seen: &Seen| {
        seen.kind == "call.started" && seen.data["data"]["caller"]["raw"] == number.as_str()
    };
    let started = events.next(place, "the odd call", SOON, shown).await?;
    call.hang_up().await?;
    let ended =
        |seen: &Seen| seen.kind == "call.ended" && seen.data["call"] == started.data["call"];
    events.next(place, "its end", SOON, ended).await.map(drop)
}

/// As it may stand in a SIP URI.
fn encoded(number: &str) -> String {
    let encode = |byte| match byte {
        byte if u8::is_ascii_alphanumeric(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    number.bytes().map(encode).collect()
}

/// A caller whose From user is this.
fn from(pbx: &Pbx, number: &str) -> PhoneConfig {
    PhoneConfig { from_user: Some(encoded(number)), ..PhoneConfig::trunk(pbx.sip(), "5") }
}

/// Calls an extension from this number; the stream must tell of the attempt and of a look at the whole PBX.
async fn attack(pbx: &Pbx, events: &Events, number: &str) -> Result<()> {
    let place = events.place();
    let attacker = Phone::start(from(pbx, number)).await?;
    let call = attacker.call("500")?;
    call.answered(SOON).await?;
    told(events, place, number).await?;
    let place = events.place();
    call.hang_up().await?;
    forgotten(pbx, events, place).await
}

/// The same, by sipp.
async fn attack_by_sipp(tree: &Tree, pbx: &Pbx, events: &Events, number: &str) -> Result<()> {
    let place = events.place();
    let folder = tempfile::tempdir()?;
    let forger = Sipp {
        scenario: Scenario::Text(include_str!("../scenarios/forger.xml").to_owned()),
        fields: vec![encoded(number)],
        ..Sipp::callers("500", 1)
    };
    let report = forger.run(tree, pbx.sip(), folder.path()).await?;
    ensure!((report.successful, report.failed) == (1, 0), "sipp: {}", report.errors);
    let place = told(events, place, number).await?;
    forgotten(pbx, events, place).await
}

/// Waits until the stream has told of the attempt and of a look at the whole PBX; returns the place of the former.
async fn told(events: &Events, place: usize, number: &str) -> Result<usize> {
    let notice = events.next(place, "a security notice", SOON, is_forgery).await?;
    println!("{number:?}: {}", notice.data["data"]["message"]);
    let place = place_of(events, &notice);
    let resynced = |seen: &Seen| seen.kind == "connector.resynced";
    events.next(place, "a resync", SOON, resynced).await?;
    Ok(place)
}

/// The next attack must not be told by this one's end.
async fn forgotten(pbx: &Pbx, events: &Events, place: usize) -> Result<()> {
    pbx_forgot(pbx).await?;
    let over = |seen: &Seen| seen.kind == "call.ended" || seen.kind == "connector.resynced";
    events.next(place, "the end of the attack", SOON, over).await.map(drop)
}

fn is_forgery(seen: &Seen) -> bool {
    let data = &seen.data["data"];
    seen.kind == "notice" && data["code"] == "forged-input" && data["severity"] == "security"
}

fn place_of(events: &Events, seen: &Arc<Seen>) -> usize {
    events.all().iter().position(|other| other.id == seen.id).unwrap_or(0)
}

/// Waits until the attacker's channel is gone: only the victims' three are left.
async fn pbx_forgot(pbx: &Pbx) -> Result<()> {
    let gone = until(SOON, "the end of the attacker's channel", async || {
        let channels = pbx.cli("core show channels concise").await?;
        ensure!(channels.lines().filter(|line| line.contains('!')).count() <= 3, "{channels}");
        Ok(())
    });
    Ok(gone.await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_fooled_by_a_forged_event_on_asterisk_22() -> Result<()> {
    nobody_is_fooled(Release::Asterisk22).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_fooled_by_a_forged_event_on_asterisk_16() -> Result<()> {
    nobody_is_fooled(Release::Asterisk16).await
}
