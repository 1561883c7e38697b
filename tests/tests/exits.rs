//! Every way into and out of a queue, on two real Asterisks at once: what Jackfield says equals queue_log and
//! what the phones heard, call by call.

#![expect(clippy::print_stdout, reason = "figures for whoever reads the log")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use jackfield_tests::{
    ami::Picture,
    chance::{Dice, scaled},
    client::{Client, Events},
    desk,
    floor::{self, Kind, LANES, Lane, SOON, Told},
    ledger::{Ledger, Native, text},
    visit::{self, Visit},
    world::{Jackfield, Site, tree},
};
use lab::{Release, Sipp, Tree, until};
use tempfile::TempDir;

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
    let folder = tempfile::tempdir()?;
    let bulk = try_join_all(sites.iter().map(|site| bulk(site, &tree, &folder)));
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
        rest_equals_the_pbx(&jackfield.client, site, &ledger).await?;
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

/// Callers of sipp: half are answered by its agents in `load`, half give up in `sales`.
async fn bulk(site: &Site, tree: &Tree, folder: &TempDir) -> Result<()> {
    let agents =
        Sipp { pause: Duration::from_millis(200), ..Sipp::agents(site.pbx.ports().load_agents) };
    let agents = agents.start(tree, site.pbx.sip(), folder.path())?;
    let calls = u32::try_from(scaled(BULK) / 4)?;
    let answered = Sipp { calls_per_second: 2, ..Sipp::callers("803", calls) };
    let gives_up = Sipp { calls_per_second: 2, ..Sipp::callers("801", calls) };
    let (answered, gives_up) = tokio::try_join!(
        answered.run(tree, site.pbx.sip(), folder.path()),
        gives_up.run(tree, site.pbx.sip(), folder.path()),
    )?;
    for report in [&answered, &gives_up] {
        ensure!((report.successful, report.failed) == (calls, 0), "sipp: {}", report.errors);
    }
    // What its agents heard: each call that a caller ended was answered and ended there too.
    let heard = agents.stop().await?;
    ensure!((heard.successful, heard.failed) == (calls, 0), "sipp agents: {heard:?}");
    Ok(())
}

/// Differences and how many calls went which way.
#[derive(Debug, Default)]
struct Report {
    differences: Vec<String>,
    suspects: BTreeSet<Native>,
    exits: BTreeMap<String, usize>,
    calls: usize,
    stays: usize,
    kinds: BTreeMap<Kind, usize>,
}

impl Report {
    fn compare_with_log(&mut self, site: &Site, played: &[(String, Told)], ledger: &Ledger) {
        let mut log = visit::by_queue_log(&site.pbx.queue_log());
        let hidden = |(at, told): &&(String, Told)| *at == site.id && told.is_hidden_transfer();
        for (_, told) in played.iter().filter(hidden) {
            for visit in log.get_mut(&told.uniqueid).into_iter().flatten() {
                (visit.ended_by, visit.talked) = (None, None);
            }
        }
        let told = ledger.visits();
        let of_site = told.keys().filter(|(connector, _)| *connector == site.id);
        let callers: BTreeSet<&String> =
            log.keys().chain(of_site.map(|(_, native)| native)).collect();
        self.calls += callers.len();
        for native in callers {
            let nothing = Vec::new();
            let log = log.get(native).unwrap_or(&nothing);
            let told = told.get(&(site.id.clone(), native.clone())).unwrap_or(&nothing);
            self.stays += log.len();
            for exit in told.iter().filter_map(|visit| visit.exit.as_ref()) {
                *self.exits.entry(exit.to_string()).or_default() += 1;
            }
            let who = (site.id.clone(), native.clone());
            self.note(&who, "queue_log against stream", log, told);
        }
    }

    fn compare_with_phones(&mut self, played: &[(String, Told)], ledger: &Ledger) {
        let visits = ledger.visits();
        for (site, told) in played {
            *self.kinds.entry(told.kind).or_default() += 1;
            let nothing = Vec::new();
            let stream = visits.get(&(site.clone(), told.uniqueid.clone())).unwrap_or(&nothing);
            let who = (site.clone(), told.uniqueid.clone());
            self.note(
                &who,
                &format!("{:?}: phones against stream", told.kind),
                &told.visits,
                stream,
            );
        }
    }

    /// Prints all events of the calls that are told differently.
    fn explain(&self, events: &Events, ledger: &Ledger) {
        for (site, native) in &self.suspects {
            println!("events of {site} {native}:");
            let calls = ledger.calls_of(&(site.clone(), native.clone()));
            for seen in events.all() {
                if calls.contains(text(&seen.data, "call")) {
                    println!("  {} {} {}", seen.id, seen.kind, seen.data);
                }
            }
        }
    }

    fn note(&mut self, who: &Native, witnesses: &str, one: &[Visit], other: &[Visit]) {
        for what in visit::differences(one, other) {
            self.differences.push(format!("{} {}: {witnesses}: {what}", who.0, who.1));
            self.suspects.insert(who.clone());
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} calls, {} stays in queues", self.calls, self.stays)?;
        for (exit, count) in &self.exits {
            writeln!(f, "{count:6}  {exit}")?;
        }
        writeln!(f, "played by hand:")?;
        for (kind, count) in &self.kinds {
            writeln!(f, "{count:6}  {kind:?}")?;
        }
        for difference in &self.differences {
            writeln!(f, "DIFFERENCE {difference}")?;
        }
        write!(f, "{} differences", self.differences.len())
    }
}

/// After the last call: REST, the folded stream and the PBX have the same seats, and nobody waits or talks.
async fn rest_equals_the_pbx(client: &Client, site: &Site, ledger: &Ledger) -> Result<()> {
    let picture = Picture::quiet(&site.pbx).await?;
    let seats = desk::same_seats(client, site).await?;
    let queues = desk::queues(client, &site.id).await?;
    for (name, waiting) in &picture.waiting {
        let queue = queues.get(name).with_context(|| format!("REST has no queue {name}"))?;
        ensure!(waiting.is_empty() && desk::callers(queue).is_empty(), "{name}: somebody waits");
    }
    ensure!(queues.len() == picture.waiting.len(), "REST has other queues than the PBX");
    let folded = ledger.members.keys().filter(|(connector, ..)| *connector == site.id).count();
    ensure!(folded == seats.len(), "the stream has {folded} members, REST {}", seats.len());
    // The PBX tells a device's state in its own time, after the call's end.
    until(SOON, "every agent to be idle", async || {
        for agent in desk::agents(client).await? {
            ensure!(agent["state"] == "idle" || agent["state"] == "unreachable", "{agent}");
            ensure!(agent["calls"].as_array().is_some_and(Vec::is_empty), "{agent}");
        }
        Ok(())
    })
    .await?;
    let running = desk::running_calls(client).await?;
    ensure!(running.is_empty(), "REST still has calls: {running:?}");
    Ok(())
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
