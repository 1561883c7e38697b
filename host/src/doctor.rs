//! `jackfield check`: what is wrong with configuration, plugins, ways and PBXs, each with its fix.
//!
//! ```text
//! config -> plugins, hooks -> name, port, certificate -> the real host with a journal that is thrown away -> `probe`
//! ```
//!
//! It changes nothing anywhere: not the journal, and not the PBX, since the only command it ever gives is
//! `probe`. A refused login is not tried again. What a PBX's privileges and queues mean is the plugin's
//! knowledge: it comes as findings in the outcome of `probe`. Here is what is true of every PBX.

mod agents;
mod certificate;
mod hooks;
mod live;
mod network;
mod print;

use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::{
    cli::{Color, FAILURE, SUCCESS, USAGE, say},
    config::{Complaint, Config, ConfigError},
    connectors::{self, Plan},
    plugins::compile,
    status::PluginInfo,
};

/// How one thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and should be better.
    Warning,
    /// It does not work, or is too dangerous to go on with.
    Failure,
}

/// One line of the doctor's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Whose; none: of the host as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector: Option<String>,
    /// Of which hook; none: of a connector, or of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// What was looked at, e.g. `login`: stable, for scripts.
    pub check: String,
    /// How it was found.
    pub level: Level,
    /// What was found.
    pub message: String,
    /// What to do; empty when nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

impl Finding {
    fn new(level: Level, check: &str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            connector: None,
            hook: None,
            check: check.to_owned(),
            level,
            message: message.into(),
            fix: fix.into(),
        }
    }

    fn ok(check: &str, message: impl Into<String>) -> Self {
        Self::new(Level::Ok, check, message, "")
    }

    fn warning(check: &str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Level::Warning, check, message, fix)
    }

    fn failure(check: &str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Level::Failure, check, message, fix)
    }

    fn of(mut self, connector: &str) -> Self {
        self.connector = Some(connector.to_owned());
        self.hook = None;
        self
    }

    fn of_hook(mut self, hook: &str) -> Self {
        self.hook = Some(hook.to_owned());
        self
    }
}

/// All that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The configuration's file.
    pub file: PathBuf,
    /// False: the configuration cannot be used, and nothing else was tried.
    pub usable: bool,
    /// Every line, the host's first, then connector by connector, then hook by hook.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The worst line.
    pub fn worst(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self.worst() {
            _ if !self.usable => USAGE,
            Level::Failure => FAILURE,
            Level::Warning | Level::Ok => SUCCESS,
        }
    }
}

/// Checks, prints, and gives the exit code.
pub async fn run(file: PathBuf, json: bool, color: Color) -> anyhow::Result<u8> {
    let report = check(&file).await?;
    let text = if json {
        print::json(&report)
    } else {
        print::lines(&report, color.on(&std::io::stdout()))
    };
    say(&text);
    Ok(report.exit_code())
}

/// Checks everything a configuration names.
pub async fn check(file: &Path) -> anyhow::Result<Report> {
    let mut report = Report { file: file.to_owned(), usable: false, findings: Vec::new() };
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => {
            report.findings = refused(&error);
            return Ok(report);
        }
    };
    let (planned, hooks, config) =
        tokio::task::spawn_blocking(move || (plan(&config), hooks::of(&config), config)).await?;
    let plans = match planned? {
        Ok(plans) => plans,
        Err(complaints) => {
            report.findings = refused(&config.refuse(complaints));
            // What is wrong with hooks has to be mended, too.
            if let Ok((of_plugins, of_hooks)) = hooks {
                report.findings.extend(of_plugins.into_iter().chain(of_hooks));
            }
            return Ok(report);
        }
    };
    report.usable = true;
    report.findings.push(Finding::ok("config", counted(&config)));
    report.findings.extend(
        config.warnings.iter().map(|warning| complained(&config.file, warning, Level::Warning)),
    );
    let (of_plugins, of_hooks) = hooks?;
    report.findings.extend(of_plugins);
    if plans.is_empty() {
        report.findings.push(Finding::warning(
            "config",
            "it names no connector, so there is nothing to watch",
            "add a section [connectors.<id>], see host/docs/admin.md",
        ));
    }
    let ways = join_all(plans.iter().map(way)).await;
    let open: Vec<&Plan> =
        plans.iter().zip(&ways).filter(|(_, (_, open))| *open).map(|(plan, _)| plan).collect();
    let (known, about_agents) = agents::of(&config);
    report.findings.extend(about_agents);
    let mut seen = live::examine(&config, &open, known).await?;
    for (plan, (found, _)) in plans.iter().zip(ways) {
        let id = plan.id.as_str();
        let mut of_connector = vec![plugin(&plan.plugin.info), settings(plan)];
        let warned = &plan.warnings;
        of_connector.extend(warned.iter().map(|it| complained(&config.file, it, Level::Warning)));
        of_connector.extend(found);
        of_connector.extend(seen.remove(&plan.id).unwrap_or_default());
        report.findings.extend(of_connector.into_iter().map(|finding| finding.of(id)));
    }
    report.findings.extend(of_hooks);
    Ok(report)
}

fn plan(config: &Config) -> anyhow::Result<Result<Vec<Plan>, Vec<Complaint>>> {
    let runtime = compile::runtime()?;
    Ok(connectors::plan(config, &runtime))
}

/// Every required link must be open for the connector to be tried.
async fn way(plan: &Plan) -> (Vec<Finding>, bool) {
    let mut findings = Vec::new();
    let mut open = true;
    for link in &plan.links {
        let (found, is_open) = network::examine(link).await;
        findings.extend(found);
        open &= is_open || !link.required;
    }
    (findings, open)
}

fn counted(config: &Config) -> String {
    let of =
        |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let hooks = match config.hooks.instances.len() {
        0 => String::new(),
        count => format!(", {}", of(count, "hook")),
    };
    format!(
        "{} is good: {}, {}{hooks}",
        config.file.display(),
        of(config.connectors.len(), "connector"),
        of(config.agents.len(), "agent"),
    )
}

fn plugin(info: &PluginInfo) -> Finding {
    let hash = info.sha256.get(..12).unwrap_or(&info.sha256);
    Finding::ok(
        "plugin",
        format!("{} from {} (sha256 {hash}...)", info.name_and_version(), info.file.display()),
    )
}

fn settings(plan: &Plan) -> Finding {
    Finding::ok(
        "settings",
        format!("fit the schema of {}, and it accepts them", plan.plugin.info.manifest.id),
    )
}

fn refused(error: &ConfigError) -> Vec<Finding> {
    match error {
        ConfigError::Complaints { file, complaints } => {
            complaints.iter().map(|complaint| complained(file, complaint, Level::Failure)).collect()
        }
        ConfigError::Unreadable { file, source } => vec![Finding::failure(
            "config",
            format!("cannot read {}: {source}", file.display()),
            "name an existing file, e.g. `jackfield check --config jackfield.toml`",
        )],
    }
}

/// A complaint of the configuration as a line of the connector or the hook it is about.
fn complained(file: &Path, complaint: &Complaint, level: Level) -> Finding {
    let place = complaint.place;
    let key = if complaint.key.is_empty() { String::new() } else { format!("{}: ", complaint.key) };
    let parts: Vec<&str> = complaint.key.splitn(4, '.').collect();
    let first = |rest: &str| rest.split(['.', '[']).next().unwrap_or_default().to_owned();
    let (connector, hook, part) = match parts[..] {
        ["connectors", id, ref rest @ ..] => {
            (Some(id.to_owned()), None, first(rest.first().unwrap_or(&"")))
        }
        ["hooks", "instances", id, ref rest @ ..] => {
            (None, Some(id.to_owned()), first(rest.first().unwrap_or(&"")))
        }
        _ => (None, None, String::new()),
    };
    let check = match part.as_str() {
        known @ ("plugin" | "settings") => known,
        known @ ("grants" | "secrets" | "canary") if hook.is_some() => known,
        _ => "config",
    };
    let message =
        format!("{}:{}:{}: {key}{}", file.display(), place.line, place.column, complaint.message);
    Finding { connector, hook, ..Finding::new(level, check, message, complaint.fix.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;

    fn report(usable: bool, levels: &[Level]) -> Report {
        let findings = levels.iter().map(|level| Finding::new(*level, "x", "", "")).collect();
        Report { file: PathBuf::from("jackfield.toml"), usable, findings }
    }

    #[test]
    fn the_exit_code_follows_the_worst_line() {
        use Level::{Failure, Ok, Warning};
        assert_eq!(report(true, &[]).exit_code(), 0);
        assert_eq!(report(true, &[Ok, Warning, Ok]).exit_code(), 0);
        assert_eq!(report(true, &[Warning, Failure, Ok]).exit_code(), 1);
        assert_eq!(report(false, &[Failure]).exit_code(), 2);
    }

    #[test]
    fn a_complaint_is_filed_under_its_connector_and_check() {
        let of = |key: &str| {
            let complaint = Complaint {
                place: Place { line: 3, column: 1 },
                key: key.to_owned(),
                message: "is wrong".to_owned(),
                fix: "mend it".to_owned(),
            };
            let found = complained(Path::new("a.toml"), &complaint, Level::Failure);
            (found.connector.or(found.hook), found.check, found.message)
        };
        let (connector, check, message) = of("connectors.hq.settings.username");
        assert_eq!((connector.as_deref(), check.as_str()), (Some("hq"), "settings"));
        assert_eq!(message, "a.toml:3:1: connectors.hq.settings.username: is wrong");
        assert_eq!(of("api.listen").0, None);
        assert_eq!(of("connectors.hq.grants[0]").1, "config");
        let (hook, check, _) = of("hooks.instances.vip.grants[0]");
        assert_eq!((hook.as_deref(), check.as_str()), (Some("vip"), "grants"));
        assert_eq!(of("hooks.instances.vip.settings.lists.a").1, "settings");
        assert_eq!(
            of("hooks.router.order[0]"),
            (None, "config".to_owned(), "a.toml:3:1: hooks.router.order[0]: is wrong".to_owned())
        );
        assert_eq!(of("").2, "a.toml:3:1: is wrong");
    }
}
