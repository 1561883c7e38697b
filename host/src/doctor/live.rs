//! The connectors at work: the real host, with a journal that is thrown away and nothing to put back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use calls::{
    Actor, ConnectorId, Request, State,
    event::{Agent, CommandEnd},
    fact::MemberState,
};
use serde::Deserialize;
use tokio::time::{Instant, interval, timeout};

use super::{Finding, Level};
use crate::{
    config::{Config, HooksConfig, QueueConfig, RestoreConfig},
    connectors::Plan,
    serve::Host,
    status::{ConnectorStatus, StatusWord},
};

/// From the dialling to the first complete picture.
const PATIENCE: Duration = Duration::from_secs(15);
/// A moment in which the PBX may tell what happens on it, before the plugin is asked what it saw.
const LISTEN: Duration = Duration::from_secs(2);
const PROBE_PATIENCE: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(30);
/// The longest list in a line.
const MAX_LISTED: usize = 5;
/// A plugin's word is taken, and not at any length.
const MAX_FINDINGS: usize = 200;

/// What each connector shows when it is run.
pub(super) async fn examine(
    config: &Config,
    plans: &[&Plan],
    agents: Vec<Agent>,
) -> anyhow::Result<BTreeMap<ConnectorId, Vec<Finding>>> {
    if plans.is_empty() {
        return Ok(BTreeMap::new());
    }
    let folder = tempfile::tempdir()?;
    let ids: BTreeSet<&ConnectorId> = plans.iter().map(|plan| &plan.id).collect();
    let host = Host::start(rehearsal(config, folder.path(), &ids, agents)).await?;
    let mut findings = BTreeMap::new();
    let waited =
        futures_util::future::join_all(plans.iter().map(|plan| connected(&host, plan))).await;
    for (plan, status) in plans.iter().zip(waited) {
        findings.insert(plan.id.clone(), login(plan, status.as_ref()));
    }
    let connected: Vec<&ConnectorId> = findings
        .iter()
        .filter(|(_, lines)| lines.iter().all(|line| line.level == Level::Ok))
        .map(|(id, _)| id)
        .collect();
    if !connected.is_empty() {
        tokio::time::sleep(LISTEN).await;
    }
    let asks = about_hooks(config);
    let probes = connected.iter().map(|id| probe(&host, id, asks.clone()));
    let probed = futures_util::future::join_all(probes).await;
    let of_plugins: Vec<(ConnectorId, Vec<Finding>)> =
        connected.into_iter().cloned().zip(probed).collect();
    let publisher = host.publisher();
    for (id, of_plugin) in of_plugins {
        let lines = findings.entry(id.clone()).or_default();
        let model = publisher.model();
        lines.extend(version(&model.state, &id));
        lines.extend(of_plugin);
        lines.extend(seats(&model.state, &id));
    }
    let only_probes = publisher.model().state.commands().all(|command| command.kind == "probe");
    host.stop().await;
    anyhow::ensure!(
        only_probes,
        "the check gave a command other than `probe`; report this as a bug"
    );
    Ok(findings)
}

/// What a plugin is to look for where callers shall be held: nothing without hooks.
fn about_hooks(config: &Config) -> Vec<(String, String)> {
    if config.hooks.instances.is_empty() {
        return Vec::new();
    }
    let emergency: Vec<&str> = config.hooks.emergency.iter().map(String::as_str).collect();
    [("hooks", "true"), ("emergency", &emergency.join("|"))]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// The same connectors in a host that leaves no trace.
fn rehearsal(
    config: &Config,
    folder: &std::path::Path,
    ids: &BTreeSet<&ConnectorId>,
    agents: Vec<Agent>,
) -> Config {
    let mut config = config.clone();
    config.journal.path = folder.join("check.db");
    config.api.listen = ([127, 0, 0, 1], 0).into();
    config.api.tls = None;
    config.api.cors = Vec::new();
    config.plugins.watch = false;
    // Callers who are held meanwhile are those of the host that runs: no hook here may hear of them.
    config.hooks = HooksConfig { leave_alone: true, ..HooksConfig::default() };
    config.connectors.retain(|connector| ids.contains(&connector.id));
    for connector in &mut config.connectors {
        for QueueConfig { restore, .. } in connector.queues.values_mut() {
            *restore = Some(RestoreConfig::Nothing);
        }
    }
    config.agents = agents;
    for agent in &mut config.agents {
        agent.devices.retain(|device| ids.contains(&device.connector));
    }
    config
}

/// Waits until it is clear how it goes.
async fn connected(host: &Host, plan: &Plan) -> Option<ConnectorStatus> {
    let deadline = Instant::now() + PATIENCE;
    let mut glances = interval(GLANCE);
    loop {
        glances.tick().await;
        let status = host.board().get(&plan.id)?;
        let was_linked = status.links.iter().any(|link| link.epoch > 0);
        let is_clear = match status.word {
            StatusWord::Connected
            | StatusWord::Refused
            | StatusWord::Failed
            | StatusWord::Disabled => true,
            // Once is enough: a PBX that hangs up on us need not hear us again.
            StatusWord::Disconnected => was_linked,
            StatusWord::Starting | StatusWord::Connecting => false,
        };
        if is_clear || Instant::now() > deadline {
            return Some(status);
        }
    }
}

fn login(plan: &Plan, status: Option<&ConnectorStatus>) -> Vec<Finding> {
    let Some(status) = status else {
        return vec![Finding::failure(
            "login",
            "the connector did not start",
            "report this with its log",
        )];
    };
    let error = status.last_error.as_ref();
    let message = error
        .map(|error| error.message.clone())
        .filter(|message| !message.is_empty())
        .unwrap_or_else(|| status.reason.clone());
    let fix = error.map(|error| error.fix.clone()).unwrap_or_default();
    let or = |usual: &str| if fix.is_empty() { usual.to_owned() } else { fix.clone() };
    vec![match status.word {
        StatusWord::Connected => Finding::ok("login", format!("logged in at {}", peers(plan))),
        StatusWord::Refused => Finding::failure(
            "login",
            message,
            or("correct the account or its secret in the configuration or on the PBX"),
        ),
        StatusWord::Failed | StatusWord::Disabled => {
            Finding::failure("plugin", message, or("use another version of the plugin"))
        }
        _ if message.is_empty() => Finding::failure(
            "login",
            format!(
                "{} let us connect and was not ready within {} s",
                peers(plan),
                PATIENCE.as_secs()
            ),
            "check that the port is the one the plugin speaks to, and that the PBX has finished starting",
        ),
        _ => Finding::failure("login", message, or("look into the PBX's log at this moment")),
    }]
}

fn peers(plan: &Plan) -> String {
    let peers: Vec<String> = plan.links.iter().map(|link| link.target.peer()).collect();
    peers.join(", ")
}

/// What a plugin answers to `probe`, as far as the doctor reads it.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    findings: Vec<Finding>,
}

async fn probe(host: &Host, id: &ConnectorId, asks: Vec<(String, String)>) -> Vec<Finding> {
    let failed = |message: String| {
        vec![Finding::failure(
            "probe",
            message,
            "run the check again; if it stays, report it to the plugin's author",
        )]
    };
    let request = Request::Command {
        connector: id.clone(),
        kind: "probe".to_owned(),
        arguments: asks,
        idempotency_key: None,
        timeout: PROBE_PATIENCE,
    };
    let accepted = match host.switch().request(request, Actor::Host).await {
        Ok(accepted) => accepted,
        Err(error) => return failed(format!("the connector could not be asked: {error}")),
    };
    let publisher = host.publisher();
    let mut committed = publisher.committed();
    let ended = || {
        let model = publisher.model();
        accepted.commands.first().and_then(|id| model.state.command(*id)?.ended.clone())
    };
    let told = async {
        loop {
            // What is committed after this look is looked at again.
            committed.mark_unchanged();
            if let Some(result) = ended() {
                return Some(result);
            }
            committed.changed().await.ok()?;
        }
    };
    let Ok(Some(result)) = timeout(PROBE_PATIENCE + Duration::from_secs(1), told).await else {
        return failed("the plugin did not answer `probe`".to_owned());
    };
    if result.end != CommandEnd::Done {
        let why =
            result.problem.map_or_else(|| format!("{:?}", result.end), |problem| problem.message);
        return failed(format!("the plugin could not answer `probe`: {why}"));
    }
    match serde_json::from_str::<Answer>(&result.detail) {
        Ok(answer) => answer.findings.into_iter().take(MAX_FINDINGS).collect(),
        Err(error) => failed(format!("the plugin's answer to `probe` cannot be read: {error}")),
    }
}

fn version(state: &State, id: &ConnectorId) -> Option<Finding> {
    let pbx = state.connector(id)?.pbx.as_ref()?;
    let name = if pbx.system_name.is_empty() {
        String::new()
    } else {
        format!(", named {}", pbx.system_name)
    };
    Some(Finding::ok("version", format!("{} {}{name}", pbx.product, pbx.version)))
}

/// Members nobody can be found behind, or no device.
fn seats(state: &State, id: &ConnectorId) -> Vec<Finding> {
    let mut findings = Vec::new();
    let members = || {
        state
            .queues()
            .filter(|queue| queue.connector == *id)
            .flat_map(|queue| queue.members.values())
    };
    let invalid: BTreeSet<&str> = members()
        .filter(|member| member.state == MemberState::Invalid)
        .map(|member| member.state_interface.as_str())
        .collect();
    if !invalid.is_empty() {
        findings.push(Finding::warning(
            "devices",
            format!(
                "the PBX knows no such device, so these members never ring: {}",
                listed(&invalid)
            ),
            "correct the member on the PBX, or remove it from its queues",
        ));
    }
    let unmapped = state.unmapped();
    let unmapped: BTreeSet<&str> = unmapped
        .iter()
        .filter(|(connector, _)| connector == id)
        .map(|(_, interface)| interface.as_str())
        .collect();
    let first = members().find(|member| unmapped.contains(member.interface.as_str()));
    if let Some(first) = first {
        let extension = first.extension.as_deref().unwrap_or("1001");
        findings.push(Finding::warning(
            "agents",
            format!("members of queues that are no agent's: {}", listed(&unmapped)),
            format!(
                "give each its person: a section [agents.{extension}] with the line devices = [{{ connector = \
                 \"{id}\", extension = \"{extension}\" }}], or PUT /v1/agents/<id>"
            ),
        ));
    } else if members().next().is_some() {
        findings.push(Finding::ok("agents", "every member of a queue is an agent's"));
    }
    findings
}

fn listed(names: &BTreeSet<&str>) -> String {
    let shown: Vec<&str> = names.iter().take(MAX_LISTED).copied().collect();
    let more = names.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
