//! Two versions of the connector with different snapshots take turns while a real PBX talks: the connection stays,
//! and every call is told as if nothing had happened.

#![expect(clippy::print_stdout, reason = "figures for whoever reads the log")]

use std::time::Duration;

use anyhow::{Result, ensure};
use jackfield_tests::{
    agreement::{self, Report},
    chance::{Dice, scaled},
    desk,
    floor::{self, SOON},
    ledger::Ledger,
    traffic::Traffic,
    world::{Jackfield, Site, tree},
};
use lab::{Release, until};
use serde_json::{Value, json};

/// Swaps in full.
const SWAPS: usize = 1_000;
/// A PBX that says nothing for so long has nothing to say.
const QUIET: Duration = Duration::from_millis(150);
/// The versions that take turns: each reads the other's snapshots.
const TURNS: [&str; 2] = ["0.2.0", "0.3.0"];

async fn with_both_versions(jackfield: &Jackfield) -> Result<()> {
    for guest in ["asterisk-next", "asterisk-after-next"] {
        desk::install(&jackfield.client, guest).await?;
    }
    Ok(())
}

async fn swaps(jackfield: &Jackfield) -> Result<Value> {
    let connector = jackfield.client.get("/v1/connectors/hq").await?;
    Ok(connector["lifecycle"]["swaps"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_under_traffic_costs_no_event() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let mut dice = Dice::new("swaps");
    let site = Site::start("hq", &tree, floor::pbx_config()).await?;
    let jackfield = Jackfield::start(&[site.connector()], &desk::agents_config(&["hq"])).await?;
    jackfield.connected("hq").await?;
    let events = jackfield.events().await?;
    desk::seat_dynamic_agents(&jackfield.client, "hq").await?;
    with_both_versions(&jackfield).await?;
    let before = swaps(&jackfield).await?["done"].as_u64().unwrap_or(0);
    let count = scaled(SWAPS);
    let traffic = Traffic::start(&site.pbx, "0305", &mut dice).await?;
    let mut swap_dice = dice.fork();
    let swapping = async {
        for turn in 0..count {
            // One in five comes while the lists of a resync do.
            if swap_dice.one_in(5) {
                let path = "/v1/connectors/hq/resync";
                jackfield.client.request("POST", path, &[], Some(&json!({}))).await?;
            } else {
                let until = events.place() + usize::try_from(swap_dice.below(8))?;
                while events.place() < until {
                    events.next(events.place(), "traffic", SOON, |_| true).await?;
                }
            }
            desk::use_version(&jackfield.client, "asterisk", TURNS[turn % 2]).await?;
        }
        anyhow::Ok(())
    };
    let work = async {
        let each = u32::try_from(scaled(400))?;
        tokio::try_join!(floor::bulk(&site.pbx, &tree, each), swapping).map(drop)
    };
    let (played, ()) = traffic.during(&site.pbx, work).await?;
    let ledger = Ledger::quiet(&[], &events, SOON).await?;

    let swaps = swaps(&jackfield).await?;
    println!("{count} swaps in {} played calls: {swaps}", played.len());
    let played: Vec<_> = played.into_iter().map(|told| ("hq".to_owned(), told)).collect();
    // A list of AMI may overtake events: a resync concludes then what an event tells right behind it.
    let mut report = Report::without(ledger.seen_partly());
    report.compare_with_log(&site, &played, &ledger);
    report.compare_with_phones(&played, &ledger);
    println!("{report}");
    report.explain(&events, &ledger);
    ensure!(ledger.broken.is_empty(), "broken promises:\n{}", ledger.broken.join("\n"));
    ensure!(report.differences.is_empty(), "{} differences", report.differences.len());
    println!("{} callers concluded by the resyncs between", report.concluded.len());
    ensure!(report.concluded.len() * 5 < report.calls, "too many: {:?}", report.concluded);
    ensure!(swaps["done"] == before + count as u64, "{count} were asked for: {swaps}");
    ensure!(swaps["cold"] == 0 && swaps["rolled_back"] == 0, "{swaps}");
    ensure!(site.wire.dialled() == 1, "the host dialled {} times", site.wire.dialled());
    let gaps = ledger.counts.get("connector.observation-gap").copied().unwrap_or(0);
    ensure!(gaps == 0, "{gaps} gaps were told");
    agreement::rest_equals_the_pbx(&jackfield.client, &site, &ledger).await
}

/// The wire lets the PBX's words through a few bytes at a time, and between two such bites the version changes: in the
/// middle of the banner, of the challenge, of the login's answer, of every list's frames.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_in_mid_frame_mid_login_and_mid_list_keeps_the_connection() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let mut dice = Dice::new("bites");
    let site = Site::start("hq", &tree, floor::pbx_config()).await?;
    site.wire.allow(0);
    let jackfield = Jackfield::start(&[site.connector()], &desk::agents_config(&["hq"])).await?;
    with_both_versions(&jackfield).await?;
    let (mut allowed, mut turn) = (0, 0);
    let is_up = |connector: &Value| {
        connector["status"] == "connected" && !connector["resynced_at"].is_null()
    };
    loop {
        desk::use_version(&jackfield.client, "asterisk", TURNS[turn % 2]).await?;
        turn += 1;
        let connector = jackfield.client.get("/v1/connectors/hq").await?;
        if is_up(&connector) {
            break;
        }
        ensure!(turn < 3_000, "it does not get connected: {connector}");
        // Small bites while it logs in, larger ones in the lists.
        allowed += 1 + dice.below(if allowed < 2_000 { 60 } else { 1_500 });
        site.wire.allow(allowed);
        // Everything of the bite, unless the PBX itself waits for an answer and has no more to say.
        let bite = until(QUIET, "the bite", async || {
            let connector = jackfield.client.get("/v1/connectors/hq").await?;
            let came = &connector["counters"]["bytes_in"];
            ensure!(*came == allowed || is_up(&connector), "{came} of {allowed}");
            Ok(())
        });
        drop(bite.await);
    }
    site.wire.allow(u64::MAX);
    println!("{turn} swaps in {allowed} bytes");
    let swaps = swaps(&jackfield).await?;
    ensure!(swaps["cold"] == 0 && swaps["rolled_back"] == 0, "{swaps}");
    ensure!(site.wire.dialled() == 1, "the host dialled {} times", site.wire.dialled());
    desk::same_seats(&jackfield.client, &site).await?;
    let events = jackfield.events().await?;
    let ledger = Ledger::quiet(&[], &events, SOON).await?;
    ensure!(ledger.broken.is_empty(), "{}", ledger.broken.join("\n"));
    Ok(())
}
