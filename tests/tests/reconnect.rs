//! Cut wires, restarted and killed PBXs, in the middle of traffic: nothing hangs in a state the PBX does not have.

#![expect(clippy::print_stdout, reason = "figures for whoever reads the log")]

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use jackfield_tests::{
    ami::Picture,
    chance::{Dice, scaled},
    client::Seen,
    desk,
    floor::{self, Kind, LANES, Lane, SOON},
    ledger::{Ledger, text},
    visit,
    world::{Jackfield, Site, tree},
};
use lab::{Phone, PhoneConfig, Release};
use serde_json::json;
use tokio::time::Instant;

/// Cuts in full.
const CUTS: usize = 40;
/// The first caller after a restart must ring the agent within this.
const FIRST_RING: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_wire_costs_a_named_gap_and_nothing_else() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let mut dice = Dice::new("cuts");
    let site = Site::start("hq", &tree, floor::pbx_config()).await?;
    let jackfield = Jackfield::start(&[site.connector()], &desk::agents_config(&["hq"])).await?;
    jackfield.connected("hq").await?;
    let events = jackfield.events().await?;
    desk::seat_dynamic_agents(&jackfield.client, "hq").await?;

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        lanes.push((Lane::start(&site.pbx, lane, &format!("0301{lane}")).await?, dice.fork()));
    }
    let pbx = &site.pbx;
    let traffic = try_join_all(lanes.into_iter().map(|(mut lane, mut dice)| {
        let stopped = stopped.clone();
        async move {
            let mut played = Vec::new();
            while !*stopped.borrow() {
                let index = usize::try_from(dice.below(Kind::ALL.len() as u64))?;
                played.push(lane.play(pbx, Kind::ALL[index], &mut dice).await?);
            }
            anyhow::Ok(played)
        }
    }));
    let cuts = scaled(CUTS);
    let cutting = async {
        for _ in 0..cuts {
            // In the middle: behind any of the next events.
            let until = events.place() + 30 + usize::try_from(dice.below(200))?;
            while events.place() < until {
                events.next(events.place(), "traffic", SOON, |_| true).await?;
            }
            let place = events.place();
            site.wire.cut();
            let of = |kind: &'static str| move |seen: &Seen| seen.kind == kind;
            let lost = events.next(place, "the cut", SOON, of("connector.disconnected")).await?;
            let back = events.next(place, "the host back", SOON, of("connector.connected")).await?;
            events.next(place, "a gap", SOON, of("connector.observation-gap")).await?;
            println!("blind for {:?}", back.at.duration_since(lost.at));
        }
        stop.send_replace(true);
        anyhow::Ok(())
    };
    let (played, ()) = tokio::try_join!(traffic, cutting)?;
    let ledger = Ledger::quiet(&[], &events, SOON).await?;
    ensure!(ledger.broken.is_empty(), "{}", ledger.broken.join("\n"));
    // A slow machine may lose the wire once more than we cut it: each loss has its gap.
    let count = |kind: &str| ledger.counts.get(kind).copied().unwrap_or(0);
    let (losses, gaps) = (count("connector.disconnected"), count("connector.observation-gap"));
    ensure!(gaps == losses && gaps >= cuts, "{cuts} cuts, {losses} losses, {gaps} gaps were told");

    // What was seen whole is as true as ever.
    let (visits, partly) = (ledger.visits(), ledger.seen_partly());
    let log = visit::by_queue_log(&site.pbx.queue_log());
    let mut compared = 0;
    let mut differences = Vec::new();
    for told in played.iter().flatten() {
        let native = ("hq".to_owned(), told.uniqueid.clone());
        let Some(stream) = visits.get(&native) else { continue };
        let log = &log[&told.uniqueid];
        if partly.contains(&native) || stream.len() < log.len() {
            continue;
        }
        compared += 1;
        let mut found = visit::differences(&told.visits, stream);
        if !told.is_hidden_transfer() {
            found.extend(visit::differences(log, stream));
        }
        for found in found {
            differences.push(format!("{} {:?}: {found}", told.uniqueid, told.kind));
        }
    }
    println!("{cuts} cuts, {} calls, {compared} seen whole", played.iter().flatten().count());
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    desk::same_seats(&jackfield.client, &site).await.map(drop)
}

/// A restart as an operator makes it, and a crash.
async fn after_a_restart_all_is_as_before(crash: bool) -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let mut site = Site::start("hq", &tree, floor::pbx_config()).await?;
    let jackfield = Jackfield::start(&[site.connector()], &desk::agents_config(&["hq"])).await?;
    jackfield.connected("hq").await?;
    let events = jackfield.events().await?;
    desk::seat_dynamic_agents(&jackfield.client, "hq").await?;
    // One agent has the queue for herself: the other one of the lane, and a static member, are on a break.
    for agent in ["hq-1008", "hq-1001"] {
        let path = format!("/v1/agents/{agent}/pause");
        desk::done(&jackfield.client, "POST", &path, json!({ "reason": "lunch" })).await?;
    }
    let before = Picture::of(&site.pbx).await?;
    let agent = Phone::start(PhoneConfig::extension(site.pbx.sip(), "1007")).await?;
    agent.register().await?;
    let caller = Phone::start(PhoneConfig::trunk(site.pbx.sip(), "0305551234")).await?;
    let first = caller.call("320")?;
    agent.next_call(SOON).await?.answered(SOON).await?;
    let waits = caller.call("323")?;
    waits.answered(SOON).await?;
    events.wait("the conversation", SOON, |seen| seen.kind == "service.started").await?;
    let joined = |seen: &Seen| seen.kind == "caller.joined";
    let first_joined = events.wait("the first caller", SOON, joined).await?;
    let second = |seen: &Seen| joined(seen) && seen.id > first_joined.id;
    events.wait("the waiting caller", SOON, second).await?;

    let place = events.place();
    if crash {
        site.pbx.kill();
    } else {
        site.pbx.stop().await;
    }
    let of = |kind: &'static str| move |seen: &Seen| seen.kind == kind;
    events.next(place, "the loss", SOON, of("connector.disconnected")).await?;
    let booting = Instant::now();
    site.pbx.boot().await?;
    let booted = Instant::now();
    // A machine on which Asterisk starts slowly is slow for us too.
    let first_ring = FIRST_RING.max(3 * booted.duration_since(booting));
    agent.register().await?;
    let again = caller.call("320")?;
    let offered = agent.next_call(SOON).await?;
    let rang = booted.elapsed();
    println!(
        "crash: {crash}; the agent rang {rang:?} after the PBX was back ({first_ring:?} allowed)"
    );
    offered.answered(SOON).await?;
    ensure!(rang < first_ring, "the agent rang only after {rang:?}");
    again.hang_up().await?;
    drop((first, waits));

    events.next(place, "the gap", SOON, of("connector.observation-gap")).await?;
    let ledger = Ledger::quiet(&[], &events, SOON).await?;
    ensure!(ledger.broken.is_empty(), "{}", ledger.broken.join("\n"));
    let after = Picture::quiet(&site.pbx).await?;
    ensure!(
        before.members == after.members,
        "before {:?}\nafter {:?}",
        before.members,
        after.members
    );
    for agent in desk::agents(&jackfield.client).await? {
        if ["hq-1008", "hq-1001"].contains(&text(&agent, "id")) {
            ensure!(agent["status"] == "on-break" && agent["status_reason"] == "lunch", "{agent}");
        }
    }
    desk::same_seats(&jackfield.client, &site).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_and_pauses_are_back_after_a_restart_of_the_pbx() -> Result<()> {
    after_a_restart_all_is_as_before(false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_and_pauses_are_back_after_a_crash_of_the_pbx() -> Result<()> {
    after_a_restart_all_is_as_before(true).await
}
