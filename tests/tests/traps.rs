//! A connector that traps on real traffic loses the messages it traps on, each of them aloud, and nothing else:
//! after the resync there is no call, caller or busy agent that the PBX does not have.

#![expect(clippy::print_stdout, reason = "figures for whoever reads the log")]

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use jackfield_tests::{
    agreement,
    chance::{Dice, is_full},
    client::Events,
    desk,
    floor::{self, SOON},
    ledger::{Ledger, text},
    traffic::Traffic,
    world::{Connector, Jackfield, Site, test_plugin, tree},
};
use lab::Release;
use serde_json::Value;

/// Each call of sipp's and of the lanes makes several of these.
const POISON: [&str; 3] = ["Hangup", "QueueCallerLeave", "BridgeLeave"];

/// How long traffic goes on.
fn long() -> Duration {
    Duration::from_secs(if is_full() { 300 } else { 20 })
}

/// What is left of a connector that trapped.
struct Aftermath {
    site: Site,
    jackfield: Jackfield,
    events: Events,
}

async fn under_traffic(guest: &str, prefix: &str) -> Result<Option<Aftermath>> {
    let Some(tree) = tree(Release::Asterisk22) else { return Ok(None) };
    let mut dice = Dice::new(guest);
    let site = Site::start("hq", &tree, floor::pbx_config()).await?;
    let connector = Connector {
        plugin: test_plugin(guest)?.display().to_string(),
        extra: "limits = { recoveries_per_minute = 60_000 }\n".to_owned(),
        ..site.connector()
    };
    let jackfield = Jackfield::start(&[connector], &desk::agents_config(&["hq"])).await?;
    jackfield.connected("hq").await?;
    let events = jackfield.events().await?;
    desk::seat_dynamic_agents(&jackfield.client, "hq").await?;
    let each = u32::try_from(long().as_secs() * 2)?;
    let traffic = Traffic::start(&site.pbx, prefix, &mut dice).await?;
    let (played, ()) = traffic.during(&site.pbx, floor::bulk(&site.pbx, &tree, each)).await?;

    let ledger = Ledger::quiet(&[], &events, SOON).await?;
    ensure!(ledger.broken.is_empty(), "{}", ledger.broken.join("\n"));
    agreement::rest_equals_the_pbx(&jackfield.client, &site, &ledger).await?;
    let connector = jackfield.client.get("/v1/connectors/hq").await?;
    let counters = &connector["counters"];
    ensure!(connector["status"] == "connected", "{connector}");
    ensure!(counters["cold_starts"] == 0, "{counters}");

    println!("{} calls played and {} of sipp; counters {counters}", played.len(), 2 * each);
    Ok(Some(Aftermath { site, jackfield, events }))
}

impl Aftermath {
    /// What was left out, by what it was; a line of the log that names none counts as an error.
    fn named(&self) -> Result<BTreeMap<String, usize>> {
        let mut named = BTreeMap::new();
        for line in self.jackfield.log()?.lines().filter(|line| line.contains(LEFT_OUT)) {
            let (_, head) = line.split_once("were left out: ").unwrap_or_default();
            let is_of_name =
                |letter: &char| letter.is_ascii_alphanumeric() || " :".contains(*letter);
            let name: String = head.chars().take_while(is_of_name).collect();
            ensure!(name.starts_with("Event: ") || name.starts_with("Response: "), "{line}");
            *named.entry(name).or_default() += 1;
        }
        // The journal tells the first ten of a minute one by one, and how many more there were.
        let all = self.events.all();
        let is_one = |data: &Value| text(data, "code") == "input-quarantined";
        let told = all.iter().filter(|seen| is_one(&seen.data["data"])).count();
        println!("left out, {told} of them told in the journal: {named:?}");
        ensure!(told >= named.values().sum::<usize>().min(10), "the journal tells only {told}");
        Ok(named)
    }
}

/// How the log tells of it.
const LEFT_OUT: &str = "code=\"input-quarantined\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_the_connector_cannot_bear_are_named_and_leave_no_ghost() -> Result<()> {
    let Some(after) = under_traffic("asterisk-trap-on", "0303").await? else { return Ok(()) };
    let (named, said) = (after.named()?, after.site.wire.said());
    for event in POISON {
        let event = format!("Event: {event}");
        let sent = said.matches(&format!("{event}\r\n")).count();
        let named = named.get(&event).copied().unwrap_or(0);
        ensure!(sent > 0 && sent == named, "{event}: {sent} were sent, {named} were named");
    }
    ensure!(named.len() == POISON.len(), "others were left out too: {named:?}");
    ensure!(after.site.wire.dialled() == 1, "the host dialled {} times", after.site.wire.dialled());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fiftieth_message_is_lost_aloud_and_leaves_no_ghost() -> Result<()> {
    let Some(after) = under_traffic("asterisk-trap-nth", "0304").await? else { return Ok(()) };
    let named: usize = after.named()?.values().sum();
    let sent = after.site.wire.said().matches("\r\n\r\n").count();
    println!("{named} of {sent} messages were left out");
    // Every second time an event of its own accord is waited for, and lists are long.
    ensure!(named > 0 && named <= sent / 50 && named >= sent / 500, "{named} of {sent}");
    ensure!(after.site.wire.dialled() == 1, "the host dialled {} times", after.site.wire.dialled());
    Ok(())
}
