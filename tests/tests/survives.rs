//! A host that is killed with -9 in the middle of traffic goes on where it stopped, and so does a connector
//! that is stopped in the middle of a step.

#![expect(clippy::print_stdout, reason = "figures for whoever reads the log")]

use std::sync::Arc;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use jackfield_tests::{
    chance::{Dice, scaled},
    client::{Events, Seen},
    desk,
    floor::{self, Kind, LANES, Lane, SOON},
    ledger::Ledger,
    visit,
    world::{Connector, Jackfield, Site, tree},
};
use lab::Release;

/// Deaths in full.
const DEATHS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_misses_no_number_when_the_host_is_killed() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let mut dice = Dice::new("survives");
    let site = Site::start("hq", &tree, floor::pbx_config()).await?;
    let mut jackfield =
        Jackfield::start(&[site.connector()], &desk::agents_config(&["hq"])).await?;
    jackfield.connected("hq").await?;
    desk::seat_dynamic_agents(&jackfield.client, "hq").await?;
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        let lane = Lane::start(&site.pbx, lane, &format!("0301{lane}")).await?;
        lanes.push((lane, dice.fork()));
    }
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let pbx = &site.pbx;
    let traffic = try_join_all(lanes.into_iter().map(|(mut lane, mut dice)| {
        let stopped = stopped.clone();
        async move {
            let mut calls = 0;
            while !*stopped.borrow() {
                let index = usize::try_from(dice.below(Kind::ALL.len() as u64))?;
                lane.play(pbx, Kind::ALL[index], &mut dice).await?;
                calls += 1;
            }
            anyhow::Ok(calls)
        }
    }));
    let deaths = scaled(DEATHS);
    let killing = async {
        // What the client has, over all connections.
        let mut had: Vec<Arc<Seen>> = Vec::new();
        let mut events = jackfield.events().await?;
        for death in 0..deaths {
            // In the middle: somewhere within the next events.
            let until = events.place() + 20 + usize::try_from(dice.below(60))?;
            while events.place() < until {
                let place = events.place();
                events.next(place, "traffic", SOON, |_| true).await?;
            }
            jackfield.kill();
            let last = keep(&mut had, &events);
            jackfield.boot().await?;
            println!("death {}: back at event {last}", death + 1);
            events = jackfield.client.events_again(last).await?;
            jackfield.connected("hq").await?;
        }
        stop.send_replace(true);
        anyhow::Ok((had, events))
    };
    let (calls, (mut had, events)) = tokio::try_join!(traffic, killing)?;
    println!("{deaths} deaths in {} calls", calls.iter().sum::<u32>());

    // Quiet now: what the stream amounts to is what the PBX has.
    let ledger = Ledger::quiet(&had, &events, SOON).await?;
    keep(&mut had, &events);
    ensure!(ledger.broken.is_empty(), "{}", ledger.broken.join("\n"));
    let gaps = ledger.counts.get("connector.observation-gap").copied().unwrap_or(0);
    ensure!(gaps >= deaths, "{deaths} deaths, and only {gaps} gaps were told");
    // A client that reads all from the beginning reads the same.
    let again = jackfield.events().await?;
    again.reached(ledger.seq, SOON).await?;
    let fresh = again.all();
    for (had, fresh) in had.iter().zip(&fresh) {
        ensure!(had.data == fresh.data, "told differently: {} and {}", had.data, fresh.data);
    }
    desk::same_seats(&jackfield.client, &site).await.map(drop)
}

/// Adds what came on this connection; returns the id to come back with.
fn keep(had: &mut Vec<Arc<Seen>>, events: &Events) -> u64 {
    had.extend(events.all());
    had.last().map_or(0, |seen| seen.id)
}

/// Calls in full while the connector traps.
const TRAPPED_CALLS: usize = 200;

/// The real component on a real Asterisk with a millisecond for a step: whatever step the clock ticks in is stopped
/// where it is, bytes half read. What was not lost aloud must be as true as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_that_traps_in_the_middle_of_traffic_misses_nothing() -> Result<()> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(()) };
    let mut dice = Dice::new("traps");
    let site = Site::start("hq", &tree, floor::pbx_config()).await?;
    let hasty = Connector { extra: "limits = { step_ms = 1 }\n".to_owned(), ..site.connector() };
    let jackfield = Jackfield::start(&[hasty], &desk::agents_config(&["hq"])).await?;
    jackfield.connected("hq").await?;
    let events = jackfield.events().await?;
    desk::seat_dynamic_agents(&jackfield.client, "hq").await?;
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        let lane = Lane::start(&site.pbx, lane, &format!("0302{lane}")).await?;
        lanes.push((lane, dice.fork()));
    }
    let pbx = &site.pbx;
    let each = scaled(TRAPPED_CALLS) / LANES;
    let (mut played, mut traps) = (Vec::new(), 0);
    // Whether the clock ticks within a step is chance: on a fast and idle machine it takes a few calls more.
    for _ in 0..10 {
        let round = lanes.iter_mut().map(|(lane, dice)| async move {
            let mut played = Vec::new();
            for _ in 0..each {
                let index = usize::try_from(dice.below(Kind::ALL.len() as u64))?;
                played.push(lane.play(pbx, Kind::ALL[index], dice).await?);
            }
            anyhow::Ok(played)
        });
        played.extend(try_join_all(round).await?.concat());
        let connector = jackfield.client.get("/v1/connectors/hq").await?;
        traps = connector["counters"]["traps"].as_u64().unwrap_or(0);
        if traps > 0 {
            break;
        }
    }
    ensure!(traps > 0, "nothing trapped in {} calls", played.len());
    let ledger = Ledger::quiet(&[], &events, SOON).await?;
    ensure!(ledger.broken.is_empty(), "{}", ledger.broken.join("\n"));
    let connector = jackfield.client.get("/v1/connectors/hq").await?;
    println!("{} calls, counters {}", played.len(), connector["counters"]);
    for seen in events.all().iter().filter(|seen| seen.kind == "notice") {
        println!("{}", seen.data["data"]["message"]);
    }
    ensure!(connector["status"] == "connected", "{connector}");

    let (visits, partly) = (ledger.visits(), ledger.seen_partly());
    let mut differences = Vec::new();
    let mut whole = 0;
    for told in &played {
        let native = ("hq".to_owned(), told.uniqueid.clone());
        if partly.contains(&native) {
            continue;
        }
        whole += 1;
        let nothing = Vec::new();
        let stream = visits.get(&native).unwrap_or(&nothing);
        for found in visit::differences(&told.visits, stream) {
            differences.push(format!("{} {:?}: {found}", told.uniqueid, told.kind));
        }
    }
    println!("{whole} calls seen whole");
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    desk::same_seats(&jackfield.client, &site).await.map(drop)
}
