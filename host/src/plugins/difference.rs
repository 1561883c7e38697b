//! The running state against the config file: what a reload would change, and what the file does not know of.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    ChangeKind, HookView, InstanceView, KeeperError, Owner, Report, desired,
    keeper::{needs_restart, read},
    shared::Shared,
};
use crate::config::{Complaint, Config};

/// Compares.
pub(super) fn difference(shared: &Shared) -> Result<Report, KeeperError> {
    let running = shared.config();
    let file = read(&running.file)?;
    let mut report = Report { warnings: file.warnings.clone(), ..Report::default() };
    report.needs_restart = needs_restart(&running, &file);
    let instances = shared.instances();
    let mut ids: BTreeSet<&str> = file.connectors.iter().map(|it| it.id.as_str()).collect();
    ids.extend(instances.iter().map(|it| it.id.as_str()));
    for id in ids {
        let subject = format!("connector {id}");
        let in_file = file.connectors.iter().any(|it| it.id.as_str() == id);
        let instance = instances.iter().find(|it| it.id == id);
        match instance {
            None => report.note(subject, ChangeKind::Added, "it is in the file, and nothing runs"),
            Some(it) if !in_file && it.keys.iter().all(|key| key.owner != Owner::Rest) => {
                report.note(subject, ChangeKind::Removed, "it runs, and the file does not name it");
            }
            Some(instance) => {
                let wanted: BTreeMap<String, Value> = desired::keys(&file, id, None)
                    .into_iter()
                    .map(|key| (key.key, key.value))
                    .collect();
                compare(&subject, instance, &wanted, &mut report);
                // What the file says by now nobody has looked at.
                if raw_connector(&running, id) == raw_connector(&file, id) {
                    report.complaints.extend(still(&file, &instance.refused));
                }
            }
        }
    }
    hooks(&running, &file, &mut report);
    refused_hooks(&shared.hooks(), &running, &file, &mut report);
    let agents = |config: &crate::config::Config| -> BTreeMap<_, _> {
        config.agents.iter().map(|agent| (agent.id.clone(), agent.clone())).collect()
    };
    let (now, then) = (agents(&running), agents(&file));
    for (id, agent) in &then {
        match now.get(id) {
            None => report.note(format!("agent {id}"), ChangeKind::Added, "it is in the file"),
            Some(known) if known != agent => {
                report.note(format!("agent {id}"), ChangeKind::Changed, "the file says otherwise");
            }
            Some(_) => {}
        }
    }
    for id in now.keys().filter(|id| !then.contains_key(*id)) {
        report.note(format!("agent {id}"), ChangeKind::Removed, "the file does not name it");
    }
    Ok(report)
}

fn compare(
    subject: &str,
    instance: &InstanceView,
    wanted: &BTreeMap<String, Value>,
    report: &mut Report,
) {
    for (key, value) in wanted {
        let known = instance.keys.iter().find(|known| known.key == *key).map(|known| &known.value);
        // What was read and refused does not run.
        let runs = match key.strip_prefix("settings.").zip(instance.running_settings.as_ref()) {
            Some((name, settings)) => settings.get(name),
            None => known,
        };
        match runs {
            Some(runs) if runs == value => {}
            Some(runs) => {
                let detail = format!("{key}: {value} in the file, {runs} runs");
                report.note(subject, ChangeKind::Changed, detail);
            }
            None => {
                let detail = format!("{key}: {value} in the file, and not set");
                report.note(subject, ChangeKind::Changed, detail);
            }
        }
    }
    for known in instance.keys.iter().filter(|known| !wanted.contains_key(&known.key)) {
        let detail = match known.owner {
            Owner::Rest => format!("{}: {} by REST, and not in the file", known.key, known.value),
            Owner::File { .. } => {
                format!("{}: {} runs, and is not in the file any more", known.key, known.value)
            }
        };
        report.note(subject, ChangeKind::Changed, detail);
    }
    if let Some(waiting) = &instance.waiting {
        report.note(subject, ChangeKind::Waiting, waiting.why.clone());
    }
}

fn raw_connector<'c>(config: &'c Config, id: &str) -> Option<&'c Value> {
    config.connectors.iter().find(|it| it.id.as_str() == id).map(|it| &it.raw)
}

fn raw_hook<'c>(config: &'c Config, id: &str) -> Option<&'c Value> {
    config.hooks.instances.iter().find(|it| it.id == id).map(|it| &it.raw)
}

/// Why something does not run as it is wanted, with the lines that the file has now.
fn still(file: &Config, refused: &[Complaint]) -> Vec<Complaint> {
    let still = |it: &Complaint| {
        let now = file.complaint(&it.key, it.message.clone(), it.fix.clone());
        // What REST has set is in no line.
        if it.place.line == 0 { it.clone() } else { now }
    };
    refused.iter().map(still).collect()
}

fn refused_hooks(hooks: &[HookView], running: &Config, file: &Config, report: &mut Report) {
    for hook in hooks {
        if raw_hook(running, &hook.id) != raw_hook(file, &hook.id) {
            continue;
        }
        if let (Some(running), [_, ..]) = (&hook.running, hook.refused.as_slice()) {
            let called = format!("{} {}", running.plugin, running.version);
            let detail = format!("what the file says cannot be used; {called} is called");
            report.note(format!("hook {}", hook.id), ChangeKind::Waiting, detail);
        }
        report.complaints.extend(still(file, &hook.refused));
        if let Some(waiting) = &hook.waiting {
            let subject = format!("hook {}", hook.id);
            report.note(subject, ChangeKind::Waiting, waiting.why.clone());
        }
    }
}

fn hooks(running: &Config, file: &Config, report: &mut Report) {
    let of = |config: &Config| -> BTreeMap<String, Value> {
        config.hooks.instances.iter().map(|hook| (hook.id.clone(), hook.raw.clone())).collect()
    };
    let (now, then) = (of(running), of(file));
    for (id, raw) in &then {
        let subject = format!("hook {id}");
        match now.get(id) {
            None => report.note(subject, ChangeKind::Added, "it is in the file"),
            Some(known) if known != raw => {
                report.note(subject, ChangeKind::Changed, "the file says otherwise");
            }
            Some(_) => {}
        }
    }
    for id in now.keys().filter(|id| !then.contains_key(*id)) {
        report.note(format!("hook {id}"), ChangeKind::Removed, "the file does not name it");
    }
    let (a, b) = (&running.hooks, &file.hooks);
    for (is_other, what) in [
        (a.order != b.order, "router.order"),
        (a.fallback != b.fallback, "router.fallback"),
        (a.decision != b.decision, "router.decision_ms"),
        (a.treatment != b.treatment, "treatment.default"),
        (a.observers != b.observers, "observers.run"),
        (a.time_zone != b.time_zone, "time_zone"),
        (a.emergency != b.emergency, "emergency"),
        (a.contexts != b.contexts, "contexts"),
        (a.lease != b.lease, "lease_secs"),
    ] {
        if is_other {
            report.note("hooks", ChangeKind::Changed, format!("{what}: the file says otherwise"));
        }
    }
}
