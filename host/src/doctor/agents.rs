//! Agents as the doctor knows them: those of the configuration, and those that REST has put into the journal.

use std::{collections::BTreeMap, path::Path};

use calls::{Body, event::Agent};

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
    let journal = crate::journal::open_beside(path).map_err(told)?;
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

#[cfg(test)]
mod tests {
    use calls::{Actor, AgentId, Event, Timestamp, event::About};

    use super::*;
    use crate::{
        figures::Zones,
        journal::{Journal, JournalOptions, Retention},
    };

    fn agent(id: &str) -> Agent {
        Agent {
            id: AgentId::from(id),
            name: id.to_owned(),
            external: BTreeMap::new(),
            devices: Vec::new(),
            from_config: false,
        }
    }

    fn event(seq: u64, id: &str, body: Body) -> Event {
        Event {
            seq,
            call_seq: None,
            at: Timestamp(seq),
            at_pbx: None,
            connector: None,
            about: About { agent: Some(AgentId::from(id)), ..About::default() },
            inferred: false,
            actor: Actor::Token("chat".to_owned()),
            body,
        }
    }

    #[tokio::test]
    async fn agents_set_over_rest_are_read_beside_a_running_host() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("jackfield.db");
        let options = JournalOptions { path: path.clone(), retention: Retention::default() };
        let (journal, _) = Journal::open(&options, Zones::default()).expect("a journal");
        let events = vec![
            event(1, "anna", Body::AgentChanged(agent("anna"))),
            event(2, "bert", Body::AgentChanged(agent("bert"))),
            event(3, "anna", Body::AgentRemoved),
        ];
        journal.writer().append(events).await.expect("written");
        journal.publisher().committed().wait_for(|seq| *seq == 3).await.expect("committed");
        let read_now = || read(&path).expect("readable").into_keys().collect::<Vec<_>>();
        assert_eq!(read_now(), ["bert"]);
        // Closing writes a checkpoint, and what is in it is read too.
        journal.close();
        assert_eq!(read_now(), ["bert"]);
    }
}
