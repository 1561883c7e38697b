//! What REST asks for happens at the PBX: on Asterisk 22 and 16, with the account of the README and with a
//! careless one.

#![expect(clippy::print_stdout, reason = "figures for whoever reads the log")]

use anyhow::{Context, Result, ensure};
use jackfield_tests::{
    ami::{self, Picture, Seat},
    client::{Client, Events, Seen},
    desk,
    floor::SOON,
    ledger::{Ledger, text},
    world::{Jackfield, Site, tree},
};
use lab::{ManagerUser, PbxConfig, Phone, PhoneConfig, Release};
use serde_json::{Value, json};

/// The section of manager.conf that the README gives.
fn least() -> ManagerUser {
    ManagerUser {
        text: "deny = 0.0.0.0/0.0.0.0\npermit = 127.0.0.1/255.255.255.255\nread = call,agent,reporting,dialplan\nwrite = call,agent,reporting\nwritetimeout = 1000\n".to_owned(),
        ..ManagerUser::stock("jackfield", "lab-secret")
    }
}

const AGENTS: &str = r#"
[agents.three]
name = "Agent Three"
devices = [{ connector = "hq", extension = "1007" }]
[agents.five]
name = "Agent Five"
devices = [{ connector = "hq", extension = "1005" }]
"#;

/// A PBX and a Jackfield, and what both say.
struct Scene {
    site: Site,
    client: Client,
    events: Events,
    /// Dropped last: its log is printed then.
    _jackfield: Jackfield,
}

impl Scene {
    async fn start(release: Release, account: ManagerUser) -> Result<Option<Scene>> {
        let Some(tree) = tree(release) else { return Ok(None) };
        let managers = vec![account, ami::account()];
        let site = Site::start("hq", &tree, PbxConfig { managers, ..PbxConfig::default() }).await?;
        let jackfield = Jackfield::start(&[site.connector()], AGENTS).await?;
        jackfield.connected("hq").await?;
        let events = jackfield.events().await?;
        let client = jackfield.client.clone();
        Ok(Some(Scene { site, client, events, _jackfield: jackfield }))
    }

    async fn done(&self, method: &str, path: &str, body: Value) -> Result<Value> {
        desk::done(&self.client, method, path, body).await
    }

    /// A seat as the PBX has it.
    async fn seat(&self, queue: &str, interface: &str) -> Result<Option<Seat>> {
        let picture = Picture::of(&self.site.pbx).await?;
        Ok(picture.members.get(&(queue.to_owned(), interface.to_owned())).cloned())
    }

    /// Waits for an event about a seat.
    async fn told(&self, place: usize, kind: &str, queue: &str, interface: &str) -> Result<()> {
        let about = |seen: &Seen| {
            let data = &seen.data["data"];
            seen.kind == kind && data["queue"] == queue && data["interface"] == interface
        };
        self.events.next(place, &format!("{kind} of {interface}"), SOON, about).await.map(drop)
    }
}

async fn every_command_is_done(release: Release, account: ManagerUser) -> Result<()> {
    let Some(scene) = Scene::start(release, account).await? else { return Ok(()) };
    probes(&scene).await.context("probe")?;
    seats(&scene).await.context("members of a queue")?;
    people(&scene).await.context("people")?;
    refusals(&scene).await.context("refusals")?;
    repetitions(&scene).await.context("the same again")?;
    // REST may answer before the stream has told: all commands end there too.
    let ledger = Ledger::quiet(&[], &scene.events, SOON).await?;
    ensure!(ledger.broken.is_empty(), "{:?}", ledger.broken);
    Ok(())
}

async fn probes(scene: &Scene) -> Result<()> {
    let answer = scene.done("POST", "/v1/connectors/hq/probe", Value::Null).await?;
    ensure!(!answer["commands"][0]["detail"].is_null(), "a probe that found nothing: {answer}");
    println!(
        "probe: {} findings",
        answer["commands"][0]["detail"]["findings"].as_array().map_or(0, Vec::len)
    );
    // Asterisk is read as a whole; a part of it is refused.
    scene.done("POST", "/v1/connectors/hq/resync", json!({ "scope": "all" })).await.map(drop)
}

/// A seat as FreePBX makes it, added, paused, unpaused and removed.
async fn seats(scene: &Scene) -> Result<()> {
    const INTERFACE: &str = "Local/1005@from-queue/n";
    let phone = Phone::start(PhoneConfig::extension(scene.site.pbx.sip(), "1005")).await?;
    phone.register().await?;
    let place = scene.events.place();
    let member = json!({
        "interface": INTERFACE,
        "state_interface": "hint:1005@ext-local",
        "name": "Agent Five",
        "penalty": 3,
    });
    scene.done("POST", "/v1/queues/sales/members", member).await?;
    scene.told(place, "member.added", "sales", INTERFACE).await?;
    let seat = scene.seat("sales", INTERFACE).await?.context("the PBX has no such member")?;
    ensure!(seat.dynamic && !seat.paused && seat.name == "Agent Five", "{seat:?}");
    // The registration reaches the hint, and through it the seat, in Asterisk's own time.
    let is_idle = |seen: &Seen| {
        let member = &seen.data["data"];
        member["interface"] == INTERFACE && member["state"] == "idle"
    };
    scene.events.next(place, "the phone is registered", SOON, is_idle).await?;
    let queue = scene.client.get("/v1/queues/sales").await?;
    let member = &queue["members"][0];
    ensure!(member["penalty"] == 3 && member["agent"] == "five", "{member}");
    ensure!(member["state_interface"] == "hint:1005@ext-local", "{member}");
    ensure!(member["state"] == "idle", "{member}");

    let place = scene.events.place();
    let pause = json!({ "interface": INTERFACE, "reason": "coffee" });
    scene.done("POST", "/v1/queues/sales/members/pause", pause).await?;
    scene.told(place, "member.paused", "sales", INTERFACE).await?;
    let seat = scene.seat("sales", INTERFACE).await?.context("gone")?;
    ensure!(seat.paused && seat.reason == "coffee", "{seat:?}");
    let place = scene.events.place();
    let unpause = json!({ "interface": INTERFACE });
    scene.done("POST", "/v1/queues/sales/members/unpause", unpause).await?;
    scene.told(place, "member.unpaused", "sales", INTERFACE).await?;
    ensure!(scene.seat("sales", INTERFACE).await?.is_some_and(|seat| !seat.paused), "still paused");
    let place = scene.events.place();
    let which = "/v1/queues/sales/members?interface=Local%2F1005%40from-queue%2Fn";
    scene.done("DELETE", which, Value::Null).await?;
    scene.told(place, "member.removed", "sales", INTERFACE).await?;
    ensure!(scene.seat("sales", INTERFACE).await?.is_none(), "still there");
    Ok(())
}

/// A person logs in to two queues, goes on a break in all, comes back, logs out.
async fn people(scene: &Scene) -> Result<()> {
    let queues = ["sales", "parked"];
    scene.done("POST", "/v1/agents/three/login", json!({ "queues": queues, "penalty": 1 })).await?;
    scene.done("POST", "/v1/agents/three/pause", json!({ "reason": "lunch" })).await?;
    for queue in queues {
        let seat = scene.seat(queue, "PJSIP/1007").await?.context("no seat")?;
        ensure!(seat.dynamic && seat.paused && seat.reason == "lunch", "{queue}: {seat:?}");
    }
    let on_break = |seen: &Seen| {
        seen.kind == "agent.status"
            && seen.data["agent"] == "three"
            && seen.data["data"]["status"] == "on-break"
    };
    scene.events.wait("the break", SOON, on_break).await?;
    scene.done("POST", "/v1/agents/three/unpause", json!({ "queue": "sales" })).await?;
    ensure!(scene.seat("sales", "PJSIP/1007").await?.is_some_and(|seat| !seat.paused), "sales");
    ensure!(scene.seat("parked", "PJSIP/1007").await?.is_some_and(|seat| seat.paused), "parked");
    scene.done("POST", "/v1/agents/three/unpause", json!({})).await?;
    scene.done("POST", "/v1/agents/three/logout", json!({ "queues": ["parked"] })).await?;
    ensure!(scene.seat("parked", "PJSIP/1007").await?.is_none(), "still in parked");
    let place = scene.events.place();
    scene.done("POST", "/v1/agents/three/logout", json!({})).await?;
    ensure!(scene.seat("sales", "PJSIP/1007").await?.is_none(), "still in sales");
    let is_out = |seen: &Seen| {
        seen.kind == "agent.status"
            && seen.data["agent"] == "three"
            && seen.data["data"]["status"] == "logged-out"
    };
    scene.events.next(place, "the logout", SOON, is_out).await?;
    Ok(())
}

/// What cannot be is refused, with words that help, and changes nothing.
async fn refusals(scene: &Scene) -> Result<()> {
    let before = Picture::of(&scene.site.pbx).await?;
    let which = "/v1/queues/support/members?interface=PJSIP%2F1001";
    let answer = desk::ended(&scene.client, "DELETE", which, Value::Null).await?;
    let command = &answer["commands"][0];
    ensure!(command["status"] == "failed", "{command}");
    ensure!(command["problem"]["code"] == "member-not-dynamic", "{command}");
    ensure!(text(&command["problem"], "message").contains("queues.conf"), "{command}");
    let injected =
        json!({ "interface": "PJSIP/1007\r\n\r\nAction: Command\r\nCommand: core stop now" });
    let path = "/v1/queues/sales/members";
    let answer = scene.client.command("POST", path, Some(&injected)).await?;
    let is_refused =
        (400..500).contains(&answer.status) || answer.body["commands"][0]["status"] == "rejected";
    ensure!(is_refused, "{} {}", answer.status, answer.body);
    let answer = scene
        .client
        .command("POST", "/v1/queues/nosuch/members", Some(&json!({ "interface": "x" })))
        .await?;
    ensure!(answer.status == 404, "{} {}", answer.status, answer.body);
    ensure!(Picture::of(&scene.site.pbx).await?.members == before.members, "something changed");
    Ok(())
}

/// The same `Idempotency-Key` is the same command.
async fn repetitions(scene: &Scene) -> Result<()> {
    let body = json!({ "interface": "PJSIP/1007", "name": "Agent Three" });
    let headers = [("Prefer", "wait=20"), ("Idempotency-Key", "once")];
    let path = "/v1/queues/sales/members";
    let first = scene.client.request("POST", path, &headers, Some(&body)).await?;
    scene.done("DELETE", "/v1/queues/sales/members?interface=PJSIP%2F1007", Value::Null).await?;
    let second = scene.client.request("POST", path, &headers, Some(&body)).await?;
    ensure!(second.body["repeated"] == true, "{}", second.body);
    ensure!(
        first.body["command_ids"] == second.body["command_ids"],
        "{} {}",
        first.body,
        second.body
    );
    ensure!(scene.seat("sales", "PJSIP/1007").await?.is_none(), "it was done again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_of_the_readme_does_it_all_on_asterisk_22() -> Result<()> {
    every_command_is_done(Release::Asterisk22, least()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_of_the_readme_does_it_all_on_asterisk_16() -> Result<()> {
    every_command_is_done(Release::Asterisk16, least()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_careless_account_does_it_all_on_asterisk_22() -> Result<()> {
    every_command_is_done(Release::Asterisk22, ManagerUser::stock("jackfield", "lab-secret")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_careless_account_does_it_all_on_asterisk_16() -> Result<()> {
    every_command_is_done(Release::Asterisk16, ManagerUser::stock("jackfield", "lab-secret")).await
}
