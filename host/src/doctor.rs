//! `jackfield check`: what is wrong with configuration, plugins and PBXs, each with its fix.

use std::path::PathBuf;

use plugin_runtime::Runtime;
use serde::Serialize;

use crate::{
    cli::{Color, FAILURE, SUCCESS, USAGE, say},
    config::{Complaint, Config, ConfigError},
    connectors,
};

/// How one thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and should be better.
    Warning,
    /// It does not work.
    Failure,
}

/// One line of the doctor's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it was found.
    pub verdict: Verdict,
    /// What was looked at, e.g. `config`, `connectors.hq.links.ami`.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What to do; empty when nothing.
    pub fix: String,
}

/// Checks, prints, and gives the exit code.
pub async fn run(file: PathBuf, json: bool, color: Color) -> anyhow::Result<u8> {
    let (findings, usable) = check(file).await?;
    if json {
        say(&format!("{:#}", serde_json::json!({ "findings": findings })));
    } else {
        let colored = color.on(&std::io::stdout());
        for finding in &findings {
            say(&line(finding, colored));
        }
    }
    let worst = findings.iter().map(|finding| finding.verdict).max();
    Ok(match worst {
        _ if !usable => USAGE,
        Some(Verdict::Failure) => FAILURE,
        _ => SUCCESS,
    })
}

/// All findings, and whether the configuration could be used at all.
async fn check(file: PathBuf) -> anyhow::Result<(Vec<Finding>, bool)> {
    let mut findings = Vec::new();
    let config = match Config::load(&file) {
        Ok(config) => config,
        Err(ConfigError::Complaints { file, complaints }) => {
            findings.extend(complaints.iter().map(|complaint| complained(&file, complaint, Verdict::Failure)));
            return Ok((findings, false));
        }
        Err(error) => {
            findings.push(Finding {
                verdict: Verdict::Failure,
                subject: "config".to_owned(),
                message: error.to_string(),
                fix: String::new(),
            });
            return Ok((findings, false));
        }
    };
    findings.push(ok("config", format!("{} can be read", config.file.display())));
    findings.extend(config.warnings.iter().map(|warning| complained(&config.file, warning, Verdict::Warning)));
    let runtime = Runtime::new(None)?;
    let plans = match connectors::plan(&config, &runtime) {
        Ok(plans) => plans,
        Err(complaints) => {
            findings.extend(complaints.iter().map(|complaint| complained(&config.file, complaint, Verdict::Failure)));
            return Ok((findings, false));
        }
    };
    for plan in plans {
        let subject = format!("connectors.{}", plan.id);
        findings.push(ok(&format!("{subject}.plugin"), plan.plugin.info.name_and_version()));
        for link in plan.links {
            let subject = format!("{subject}.links.{}", link.name);
            findings.push(match link.target.dial().await {
                Ok(_) => ok(&subject, format!("{} answers", link.target.peer())),
                Err(error) => Finding {
                    verdict: Verdict::Failure,
                    subject,
                    message: error.message,
                    fix: error.fix,
                },
            });
        }
    }
    Ok((findings, true))
}

fn ok(subject: &str, message: String) -> Finding {
    Finding { verdict: Verdict::Ok, subject: subject.to_owned(), message, fix: String::new() }
}

fn complained(file: &std::path::Path, complaint: &Complaint, verdict: Verdict) -> Finding {
    let key = if complaint.key.is_empty() { "config" } else { complaint.key.as_str() };
    Finding {
        verdict,
        subject: key.to_owned(),
        message: format!(
            "{}:{}:{}: {}",
            file.display(),
            complaint.place.line,
            complaint.place.column,
            complaint.message
        ),
        fix: complaint.fix.clone(),
    }
}

fn line(finding: &Finding, colored: bool) -> String {
    let (word, color) = match finding.verdict {
        Verdict::Ok => ("ok     ", "32"),
        Verdict::Warning => ("warning", "33"),
        Verdict::Failure => ("failure", "31"),
    };
    let word = if colored { format!("\x1b[{color}m{word}\x1b[0m") } else { word.to_owned() };
    let fix = if finding.fix.is_empty() { String::new() } else { format!("\n         fix: {}", finding.fix) };
    format!("{word}  {}: {}{fix}", finding.subject, finding.message)
}
