//! Agents as the doctor knows them: those of the configuration, and those that REST has put into the journal.

use std::{collections::BTreeMap, path::Path, time::Duration};

use calls::{Body, event::Agent};
use rusqlite::{Connection, OpenFlags};

use super::Finding;
use crate::{config::Config, wire};

/// All agents, and what is to be said about where they come from.
pub(super) fn of(config: &Config) -> (Vec<Agent>, Vec<Finding>) {
    let mut agents = config.agents.clone();
    let path = &config.journal.path;
    if !path.exists() {
        let message = format!(
            "there is no journal yet at {}: agents set over REST are not seen",
            path.display()
        );
        return (agents, vec![Finding::ok("agents", message)]);
    }
    let finding = match read(path) {
        Ok(known) => {
            let of_rest: Vec<Agent> = known
                .into_values()
                .filter(|agent| {
                    !agent.from_config && !agents.iter().any(|other| other.id == agent.id)
                })
                .collect();
            let message =
                format!("{} of the configuration, {} set over REST", agents.len(), of_rest.len());
            agents.extend(of_rest);
            Finding::ok("agents", message)
        }
        Err(problem) => Finding::warning(
            "agents",
            format!(
                "agents set over REST are not seen: {} cannot be read: {problem}",
                path.display()
            ),
            "run the check as the user that runs jackfield",
        ),
    };
    (agents, vec![finding])
}

/// Reads beside a running host, and writes nothing.
fn read(path: &Path) -> Result<BTreeMap<String, Agent>, String> {
    let told = |error: rusqlite::Error| error.to_string();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let journal = Connection::open_with_flags(path, flags).map_err(told)?;
    journal.busy_timeout(Duration::from_secs(2)).map_err(told)?;
    let mut agents = BTreeMap::new();
    let mut rows = journal.prepare("SELECT seq, schema, events FROM checkpoint").map_err(told)?;
    let mut rows = rows.query([]).map_err(told)?;
    let mut from = 0_i64;
    if let Some(row) = rows.next().map_err(told)? {
        from = row.get(0).map_err(told)?;
        let (schema, events): (u32, String) =
            (row.get(1).map_err(told)?, row.get(2).map_err(told)?);
        for line in events.lines() {
            take(&mut agents, schema, line)?;
        }
    }
    let mut rows = journal
        .prepare("SELECT schema, body FROM events WHERE seq > ?1 AND type IN ('agent.changed', 'agent.removed') ORDER BY seq")
        .map_err(told)?;
    let mut rows = rows.query([from]).map_err(told)?;
    while let Some(row) = rows.next().map_err(told)? {
        let (schema, body): (u32, String) = (row.get(0).map_err(told)?, row.get(1).map_err(told)?);
        take(&mut agents, schema, &body)?;
    }
    Ok(agents)
}

fn take(agents: &mut BTreeMap<String, Agent>, schema: u32, line: &str) -> Result<(), String> {
    let event = wire::read_event(schema, line).map_err(|error| error.to_string())?;
    match event.body {
        Body::AgentChanged(agent) => {
            agents.insert(agent.id.to_string(), agent);
        }
        Body::AgentRemoved => {
            agents.retain(|id, _| {
                event.about.agent.as_ref().is_none_or(|gone| gone.to_string() != *id)
            });
        }
        _ => {}
    }
    Ok(())
}
