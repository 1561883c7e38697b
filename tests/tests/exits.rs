//! Every way into and out of a queue, on two real Asterisks at once: what Jackfield says equals queue_log and
//! what the phones heard, call by call.

#![expect(clippy::print_stdout, reason = "figures for whoever reads the log")]

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use jackfield_tests::{
    agreement::{self, Report},
    chance::{Dice, scaled},
    client::Client,
    desk,
    floor::{self, Kind, LANES, Lane, SOON, Told},
    ledger::Ledger,
    visit,
    world::{Jackfield, Site, tree},
};
use lab::Release;

/// Calls played call by call with phones, and by sipp for bulk: more than 500 in full.
const PLAYED: usize = 360;
const BULK: usize = 160;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jackfield_tells_every_call_as_the_queue_log_and_the_phones_do() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let mut dice = Dice::new("exits");
    let sites = [
        Site::start("north", &tree, floor::pbx_config()).await?,
        Site::start("south", &tree, floor::pbx_config()).await?,
    ];
    let connectors = sites.each_ref().map(Site::connector);
    let jackfield =
        Jackfield::start(&connectors, &desk::agents_config(&["north", "south"])).await?;
    let events = jackfield.events().await?;
    let mut lanes = Vec::new();
    for (index, site) in sites.iter().enumerate() {
        jackfield.connected(&site.id).await?;
        desk::seat_dynamic_agents(&jackfield.client, &site.id).await?;
        for lane in 0..LANES {
            let lane = Lane::start(&site.pbx, lane, &format!("030{}{lane}", index + 1)).await?;
            lanes.push((site, lane, dice.fork(), Vec::new()));
        }
    }
    deal(&mut lanes, &mut dice);
    let each = u32::try_from(scaled(BULK) / 4)?;
    let bulk = try_join_all(sites.iter().map(|site| floor::bulk(&site.pbx, &tree, each)));
    let played = try_join_all(lanes.into_iter().map(play));
    let ((), played) = tokio::try_join!(async { bulk.await.map(drop) }, played)?;
    let ledger = Ledger::quiet(&[], &events, SOON).await?;

    let played = played.concat();
    let mut report = Report::default();
    for site in &sites {
        report.compare_with_log(site, &played, &ledger);
    }
    report.compare_with_phones(&played, &ledger);
    println!("{report}");
    report.explain(&events, &ledger);
    ensure!(ledger.broken.is_empty(), "broken promises:\n{}", ledger.broken.join("\n"));
    ensure!(report.differences.is_empty(), "{} differences", report.differences.len());
    ensure!(report.calls >= scaled(PLAYED) + scaled(BULK), "only {} calls", report.calls);
    for site in &sites {
        agreement::rest_equals_the_pbx(&jackfield.client, site, &ledger).await?;
        figures_equal_the_log(&jackfield.client, site).await?;
    }
    Ok(())
}

type Hand<'s> = (&'s Site, Lane, Dice, Vec<Kind>);

/// Gives every lane its scripts, each kind about equally often over all lanes.
fn deal(lanes: &mut [Hand<'_>], dice: &mut Dice) {
    let mut pack: Vec<Kind> = Vec::new();
    while pack.len() < scaled(PLAYED) {
        let mut kinds = Kind::ALL;
        dice.shuffle(&mut kinds);
        pack.extend(kinds);
    }
    let count = lanes.len();
    for (index, kind) in pack.into_iter().enumerate() {
        lanes[index % count].3.push(kind);
    }
}

async fn play((site, mut lane, mut dice, kinds): Hand<'_>) -> Result<Vec<(String, Told)>> {
    let mut played = Vec::new();
    for kind in kinds {
        played.push((site.id.clone(), lane.play(&site.pbx, kind, &mut dice).await?));
    }
    Ok(played)
}

/// Offered, answered and abandoned of today by queue, from the journal, equal what queue_log counts.
async fn figures_equal_the_log(client: &Client, site: &Site) -> Result<()> {
    let mut counted: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for visit in visit::by_queue_log(&site.pbx.queue_log()).values().flatten() {
        let (offered, answered, lost) = counted.entry(visit.queue.clone()).or_default();
        *offered += 1;
        let exit = visit.exit.as_ref().map(ToString::to_string).unwrap_or_default();
        *answered += u64::from(exit == "answered");
        *lost += u64::from(exit != "answered");
    }
    let queues = desk::queues(client, &site.id).await?;
    for (name, (offered, answered, lost)) in counted {
        let figures = &queues.get(&name).with_context(|| format!("no queue {name}"))?["figures"];
        println!(
            "{} {name}: {offered} offered, {answered} answered, {lost} not; REST {figures}",
            site.id
        );
        ensure!(
            figures["offered"] == offered && figures["answered"] == answered,
            "{name}: {figures}"
        );
    }
    Ok(())
}
