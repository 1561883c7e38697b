//! PBXs that misbehave, that refuse us, and that are none: each is told with its fix, is not hammered, and
//! costs a good neighbour nothing.

#![expect(clippy::print_stdout, reason = "figures for whoever reads the log")]

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use jackfield_tests::{
    client::Seen,
    floor::SOON,
    ledger::{Ledger, text},
    peers::{BadPeer, Manners},
    proxy::Proxy,
    world::{Connector, Jackfield, Site, tree},
};
use lab::{PbxConfig, Phone, PhoneConfig, Release};
use tokio::time::Instant;

/// How long everybody may misbehave, at least.
const WATCHED: Duration = Duration::from_secs(20);
/// A connector that dials once a second is a hammer.
const MOST_DIALS_PER_SECOND: f64 = 0.6;
/// Whoever waits for a peer that says nothing waits for a login's patience: 10 s.
const HELD_UP: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_peers_are_told_with_their_fix_and_harm_nobody() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let config = PbxConfig { ami_tls: true, ..PbxConfig::default() };
    let site = Site::start("good", &tree, config).await?;
    let mut connectors = vec![site.connector()];

    let mut peers = Vec::new();
    for (id, manners) in [
        ("silent", Manners::Silent),
        ("garbage", Manners::Garbage),
        ("web", Manners::WebServer),
        ("huge", Manners::HugeLine),
        ("half", Manners::HalfFrame),
        ("cut", Manners::ClosesInTheList),
        ("closes", Manners::Closes),
    ] {
        let peer = BadPeer::start(manners).await?;
        connectors.push(Connector::new(id, &format!("tcp://{}", peer.address())));
        peers.push((id, peer));
    }
    // Real Asterisks from here on.
    let wrong_password = Proxy::to(site.pbx.ami()).await?;
    connectors.push(Connector {
        secret: "wrong".to_owned(),
        ..Connector::new("password", &format!("tcp://{}", wrong_password.address()))
    });
    // Its certificate is for 127.0.0.1 and localhost.
    let tls = site.pbx.ami_tls().context("no TLS")?;
    let wrong_name = Proxy::at(Ipv4Addr::new(127, 0, 0, 2), tls).await?;
    let certificate = site.pbx.certificate().display().to_string();
    connectors.push(Connector {
        link: format!("{{ url = \"tls://{}\", ca = {certificate:?} }}", wrong_name.address()),
        ..Connector::new("name", "")
    });
    connectors.push(Connector {
        link: format!("{{ url = \"tls://{tls}\", ca = {certificate:?} }}"),
        ..Connector::new("tls", "")
    });
    // Nobody listens at port 9 of loopback.
    connectors.push(Connector::new("nobody", "tcp://127.0.0.1:9"));

    let jackfield = Jackfield::start(&connectors, "").await?;
    let events = jackfield.events().await?;
    let started = Instant::now();
    jackfield.connected("good").await?;
    jackfield.connected("tls").await?;

    // The neighbour's calls are seen while all this goes on.
    let agent = Phone::start(PhoneConfig::extension(site.pbx.sip(), "1001")).await?;
    agent.register().await?;
    let caller = Phone::start(PhoneConfig::trunk(site.pbx.sip(), "0301234567")).await?;
    let mut slowest = Duration::ZERO;
    let mut calls = 0;
    while started.elapsed() < WATCHED {
        let place = events.place();
        let call = caller.call("800")?;
        let offered = agent.next_call(SOON).await?;
        offered.answered(SOON).await?;
        let answered = Instant::now();
        let of_good =
            |seen: &Seen| seen.kind == "service.started" && seen.data["connector"] == "good";
        events.next(place, "the conversation", SOON, of_good).await?;
        slowest = slowest.max(answered.elapsed());
        call.hang_up().await?;
        let left = |seen: &Seen| seen.kind == "service.ended" && seen.data["connector"] == "good";
        events.next(place, "its end", SOON, left).await?;
        calls += 1;
    }
    println!(
        "{calls} calls of the good neighbour; slowest event {slowest:?} after the phone was answered"
    );
    ensure!(slowest < HELD_UP, "the neighbour was held up for {slowest:?}");

    let mut unclear = Vec::new();
    for (id, words) in [
        ("silent", &["noth", "silen", "no banner", "did not", "not greet", "says"][..]),
        ("garbage", &["no AMI"]),
        ("web", &["no AMI"]),
        ("huge", &["more than 64 KiB during the login"]),
        ("half", &["not", "answer"]),
        ("cut", &["clos", "list"]),
        ("closes", &["clos"]),
        ("password", &["secret", "password", "refus", "Authentication"]),
        ("name", &["certificate", "name"]),
        ("nobody", &["refuses"]),
    ] {
        let has_error = |connector: &serde_json::Value| !connector["last_error"].is_null();
        let connector = jackfield.status(id, has_error).await?;
        let error = &connector["last_error"];
        println!(
            "{id}: {} ({}) | {} | fix: {}",
            connector["status"], connector["reason"], error["message"], error["fix"]
        );
        let message = text(error, "message").to_lowercase();
        let is_named = words.iter().any(|word| message.contains(&word.to_lowercase()));
        let is_alive = connector["status"] != "connected" && connector["alive"] == true;
        if !is_named || !is_alive || text(error, "fix").is_empty() {
            unclear.push(format!("{id}: {connector}"));
        }
    }
    ensure!(unclear.is_empty(), "{}", unclear.join("\n"));
    for (id, peer) in &peers {
        let (dialled, time) = (peer.dialled(), started.elapsed());
        println!("{id}: dialled {dialled} times in {time:?}");
        let most = MOST_DIALS_PER_SECOND * time.as_secs_f64();
        ensure!(dialled as f64 <= most, "{id} was dialled {dialled} times in {time:?}");
    }
    // A PBX that counts failures bans whoever tries a wrong password again and again.
    println!("password: dialled {} times", wrong_password.dialled());
    ensure!(wrong_password.dialled() <= 2, "{} wrong logins", wrong_password.dialled());
    jackfield.status("password", |connector| connector["status"] == "refused").await?;
    let good = jackfield.client.get("/v1/connectors/good").await?;
    ensure!(good["status"] == "connected" && good["counters"]["reconnects"] == 0, "{good}");
    ensure!(good["last_error"].is_null(), "{good}");
    let ledger = Ledger::of(&events.all());
    ensure!(ledger.broken.is_empty(), "{:?}", ledger.broken);
    Ok(())
}
