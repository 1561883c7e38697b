//! What the witnesses say of the same calls, compared: Jackfield's stream, queue_log, the phones, the PBX itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use anyhow::{Context, Result, ensure};
use lab::until;

use crate::{
    ami::Picture,
    client::{Client, Events},
    desk,
    floor::{Kind, SOON, Told},
    ledger::{Ledger, Native, text},
    visit::{self, Visit},
    world::Site,
};

/// Differences and how many calls went which way.
#[derive(Debug, Default)]
pub struct Report {
    /// What is told differently, in words; empty when all agree.
    pub differences: Vec<String>,
    /// How many callers there were.
    pub calls: usize,
    /// Callers of whom something was concluded and not seen: they are not compared.
    pub concluded: BTreeSet<Native>,
    suspects: BTreeSet<Native>,
    exits: BTreeMap<String, usize>,
    stays: usize,
    kinds: BTreeMap<Kind, usize>,
}

impl Report {
    /// A report that leaves these callers out.
    pub fn without(concluded: BTreeSet<Native>) -> Report {
        Report { concluded, ..Report::default() }
    }

    /// Every call of the site: its queue_log against the stream.
    pub fn compare_with_log(&mut self, site: &Site, played: &[(String, Told)], ledger: &Ledger) {
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

    /// Every call that was played: the phones against the stream.
    pub fn compare_with_phones(&mut self, played: &[(String, Told)], ledger: &Ledger) {
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
    pub fn explain(&self, events: &Events, ledger: &Ledger) {
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
        if self.concluded.contains(who) {
            return;
        }
        for what in visit::differences(one, other) {
            self.differences.push(format!("{} {}: {witnesses}: {what}", who.0, who.1));
            self.suspects.insert(who.clone());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> std::fmt::Result {
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
pub async fn rest_equals_the_pbx(client: &Client, site: &Site, ledger: &Ledger) -> Result<()> {
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
