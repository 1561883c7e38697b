//! A plugin gone mad beside a good one under load: the good one loses nothing and is hardly later than before.

#![expect(clippy::print_stdout, reason = "figures for whoever reads the log")]

use std::time::Duration;

use anyhow::{Result, ensure};
use jackfield_tests::{
    agreement::{self, Report},
    ami::Ami,
    desk,
    floor::{self, SOON},
    lateness,
    ledger::{Ledger, text},
    world::{Jackfield, Site, test_plugin, tree},
};
use lab::{Release, Tree};
use tokio::time::Instant;

/// Changes whose way through the host is timed, for each kind of madness.
const SAMPLES: usize = 150;
/// Callers of sipp, answered and giving up, beside each.
const CALLERS: u32 = 4;
/// No good connector's event may be later, however mad its neighbour: an operator would see it. How much later than
/// without the neighbour is printed.
const PATIENCE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_connector_loses_nothing_beside_a_mad_one() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    lateness::watch();
    let before = beside(None, &tree).await?;
    println!("{:<20} p50 {:>9.3?}  p99 {:>9.3?}", "alone", before.p50, before.p99);
    let mut late = Vec::new();
    for madness in ["loop", "burn", "grow", "effects", "too-many-effects", "logs"] {
        let during = beside(Some(madness), &tree).await?;
        let ratio = during.p99.as_secs_f64() / before.p99.as_secs_f64();
        println!(
            "beside {madness:<13} p50 {:>9.3?}  p99 {:>9.3?}  p99 during / before {ratio:.2}",
            during.p50, during.p99
        );
        if during.p99 > PATIENCE + lateness::worst() {
            late.push(format!("{madness}: {:?}", during.p99));
        }
    }
    ensure!(late.is_empty(), "too late: {}", late.join(", "));
    Ok(())
}

/// How long a change at the PBX took to a reader of the event stream.
struct Lateness {
    p50: Duration,
    p99: Duration,
}

async fn beside(madness: Option<&str>, tree: &Tree) -> Result<Lateness> {
    let site = Site::start("hq", tree, floor::pbx_config()).await?;
    let mut more = desk::agents_config(&["hq"]);
    if let Some(madness) = madness {
        let plugin = test_plugin("mad")?.display().to_string();
        more += &format!(
            "[connectors.mad]\nplugin = {plugin:?}\nsettings = {{ madness = {madness:?} }}\n"
        );
    }
    let jackfield = Jackfield::start(&[site.connector()], &more).await?;
    jackfield.connected("hq").await?;
    let events = jackfield.client.events(0, "&connector=hq").await?;
    let everything = jackfield.events().await?;

    let sampling = async {
        let mut ami = Ami::witness(&site.pbx).await?;
        let mut took = Vec::new();
        for sample in 0..SAMPLES {
            let (paused, wanted) = if sample % 2 == 0 {
                ("true", "member.paused")
            } else {
                ("false", "member.unpaused")
            };
            let place = events.place();
            let began = Instant::now();
            let change = [("Queue", "lane0"), ("Interface", "PJSIP/1001"), ("Paused", paused)];
            ami.action("QueuePause", &change).await?;
            let is_it = |seen: &jackfield_tests::client::Seen| {
                seen.kind == wanted && text(&seen.data["data"], "interface") == "PJSIP/1001"
            };
            let seen = events.next(place, wanted, SOON, is_it).await?;
            took.push(seen.at.duration_since(began));
        }
        took.sort();
        anyhow::Ok(Lateness { p50: took[took.len() / 2], p99: took[took.len() * 99 / 100] })
    };
    let (lateness, ()) = tokio::try_join!(sampling, floor::bulk(&site.pbx, tree, CALLERS))?;

    // Nothing of the good one is lost: its calls are told as the PBX logs them, its connection is the first one.
    let ledger = Ledger::quiet(&[], &everything, SOON).await?;
    ensure!(ledger.broken.is_empty(), "{madness:?}: {}", ledger.broken.join("\n"));
    let mut report = Report::default();
    report.compare_with_log(&site, &[], &ledger);
    ensure!(report.differences.is_empty(), "{madness:?}: {report}");
    ensure!(site.wire.dialled() == 1, "{madness:?}: {} connections", site.wire.dialled());
    agreement::rest_equals_the_pbx(&jackfield.client, &site, &ledger).await?;
    Ok(lateness)
}
