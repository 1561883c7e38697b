//! `jackfield hooks`: the hooks of a running host, what they say and keep, and trials of their versions.

use axum::http::Method;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    client::{Client, HostArgs, Sent, Trouble, segment},
    report::{self, list, text},
    say,
    table::{bytes, micros, table},
};

#[derive(Debug, Subcommand)]
pub(super) enum HooksCommand {
    /// Show every hook: what it is used as, which version is called, and how it does.
    List {
        #[command(flatten)]
        show: Asked,
    },
    /// Show all about one hook: status, versions, permissions, the last error, its canary.
    Show {
        /// As in [hooks.instances.<name>].
        hook: String,
        #[command(flatten)]
        show: Asked,
    },
    /// Show what a hook's plugin has logged.
    Logs {
        /// As in [hooks.instances.<name>].
        hook: String,
        #[command(flatten)]
        show: Asked,
    },
    /// Show what a hook keeps, e.g. the letters that a webhook could not deliver.
    Store {
        /// As in [hooks.instances.<name>].
        hook: String,
        /// Only keys that begin like this, e.g. dead/.
        #[arg(long, default_value = "")]
        prefix: String,
        /// Keys after this one.
        #[arg(long, default_value = "")]
        after: String,
        #[command(flatten)]
        show: Asked,
    },
    /// Try a version on some of the calls; it is given up by itself when it does worse.
    ///
    /// For these calls both versions are asked, the new one's answer counts, and the answers are compared. Take the
    /// new version for all calls with `jackfield plugin use`.
    Canary {
        /// As in [hooks.instances.<name>].
        hook: String,
        /// A version that is kept, its SHA-256, or the beginning of that; without it, show how the trial goes.
        version: Option<String>,
        /// How many of 100 calls it gets.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
        percent: u8,
        /// Give it up at so many traps, refusals and nonsense answers.
        #[arg(long)]
        traps: Option<u32>,
        /// Give it up at so many late answers.
        #[arg(long)]
        late: Option<u32>,
        /// Give it up when more of 100 answers than this are others than before.
        #[arg(long, value_parser = clap::value_parser!(u8).range(0..=100))]
        differences_percent: Option<u8>,
        /// End the trial: all calls go to the old version again.
        #[arg(long, conflicts_with = "version")]
        end: bool,
        #[command(flatten)]
        show: Asked,
    },
}

/// How to show what a host answers. Not `Show`: that is a command's name already.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// The answer as one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

pub(super) async fn run(command: HooksCommand) -> Result<(), Trouble> {
    match command {
        HooksCommand::List { show } => shown("/v1/hooks", &show, all).await,
        HooksCommand::Show { hook, show } => shown(&of(&hook, ""), &show, one).await,
        HooksCommand::Logs { hook, show } => shown(&of(&hook, "/logs"), &show, log).await,
        HooksCommand::Store { hook, prefix, after, show } => {
            let query = format!("/store?prefix={}&cursor={}", segment(&prefix), segment(&after));
            shown(&of(&hook, &query), &show, stored).await
        }
        HooksCommand::Canary { hook, version: None, end: false, show, .. } => {
            shown(&of(&hook, ""), &show, |hook| canary(&hook["canary"])).await
        }
        HooksCommand::Canary {
            hook,
            version,
            percent,
            traps,
            late,
            differences_percent,
            end: _,
            show,
        } => {
            let path = of(&hook, "/canary");
            let mut body = json!({ "version": version, "percent": percent });
            for (name, value) in [
                ("traps", traps),
                ("late", late),
                ("differences_percent", differences_percent.map(u32::from)),
            ] {
                if let Some(value) = value {
                    body[name] = value.into();
                }
            }
            let (method, body) = match version {
                Some(_) => (Method::POST, Sent::Json(body)),
                None => (Method::DELETE, Sent::Nothing),
            };
            let answer = Client::new(&show.host)?.ask(method, &path, body).await?;
            say(&if show.json { format!("{answer:#}") } else { report::lines(&answer) });
            Ok(())
        }
    }
}

/// A path of a hook.
fn of(hook: &str, rest: &str) -> String {
    format!("/v1/hooks/{}{rest}", segment(hook))
}

/// One answer, as JSON or as `lines` make it.
async fn shown(path: &str, show: &Asked, lines: impl Fn(&Value) -> String) -> Result<(), Trouble> {
    let answer = Client::new(&show.host)?.get(path).await?;
    say(&if show.json { format!("{answer:#}") } else { lines(&answer) });
    Ok(())
}

fn all(answer: &Value) -> String {
    let hooks = list(&answer["items"]);
    if hooks.is_empty() {
        return "no hooks are configured; [hooks.instances.<name>] of the config makes one"
            .to_owned();
    }
    let rows = hooks.iter().map(|hook| {
        let version = [&hook["running"]["plugin"], &hook["running"]["version"]].map(text).join(" ");
        let canary = match hook["canary"]["percent"].as_u64() {
            Some(percent) => format!(" ({percent} % {})", text(&hook["canary"]["version"])),
            None => String::new(),
        };
        let time = |name: &str| hook[name].as_u64().map(micros).unwrap_or_default();
        let failed: u64 = ["trapped", "late", "refused", "nonsense"]
            .iter()
            .filter_map(|word| hook["outcomes"][word].as_u64())
            .sum();
        let answered = hook["outcomes"]["answered"].as_u64().unwrap_or_default();
        let lag = hook["lag"]["events"].as_u64().map(|events| events.to_string());
        [
            text(&hook["id"]),
            words(&hook["roles"]),
            format!("{}{canary}", version.trim()),
            text(&hook["status"]),
            format!("{answered} / {failed}"),
            time("p50_us"),
            time("p99_us"),
            lag.unwrap_or_else(|| "-".to_owned()),
        ]
    });
    let head =
        ["HOOK", "USED AS", "VERSION", "STATUS", "ANSWERED / FAILED", "P50", "P99", "BEHIND"];
    let mut lines = vec![table(head, rows)];
    for hook in hooks {
        let reason = text(&hook["reason"]);
        if !reason.is_empty() {
            lines.push(format!("{}: {reason}", text(&hook["id"])));
        }
    }
    lines.join("\n")
}

fn words(value: &Value) -> String {
    let words: Vec<String> = list(value).iter().map(text).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

fn one(hook: &Value) -> String {
    let mut lines = vec![format!("{}  {}", text(&hook["id"]), text(&hook["status"]))];
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {name:<12} {value}"));
        }
    };
    line("why", text(&hook["reason"]));
    line("used as", words(&hook["roles"]));
    line("can be", words(&hook["kinds"]));
    let running = &hook["running"];
    let sha256: String = text(&running["sha256"]).chars().take(12).collect();
    let version = [text(&running["plugin"]), text(&running["version"]), sha256].join(" ");
    line("version", version.trim().to_owned());
    line("waits", text(&hook["waiting"]["why"]));
    if hook["canary"].is_object() {
        line("canary", canary(&hook["canary"]));
    }
    let outcomes = hook["outcomes"].as_object().into_iter().flatten();
    let outcomes: Vec<String> = outcomes.map(|(word, count)| format!("{count} {word}")).collect();
    line("calls", outcomes.join(", "));
    if let (Some(p50), Some(p99)) = (hook["p50_us"].as_u64(), hook["p99_us"].as_u64()) {
        line("time", format!("p50 {}, p99 {}", micros(p50), micros(p99)));
    }
    if hook["lag"].is_object() {
        let lag = &hook["lag"];
        line(
            "behind",
            format!("{} events, {} ms; at event {}", lag["events"], lag["age_ms"], lag["cursor"]),
        );
    }
    let error = &hook["last_error"];
    if error.is_object() {
        let fix = text(&error["fix"]);
        let fix = if fix.is_empty() { fix } else { format!("; fix: {fix}") };
        line("last error", format!("{} {}{fix}", text(&error["at"]), text(&error["message"])));
    }
    line("secrets", list(&hook["secrets"]).iter().map(text).collect::<Vec<_>>().join(", "));
    for permission in list(&hook["permissions"]) {
        let reason = text(&permission["reason"]);
        let reason = if reason.is_empty() { reason } else { format!(" ({reason})") };
        line(
            "permission",
            format!("{} {}{reason}", text(&permission["grant"]), text(&permission["state"])),
        );
    }
    let limits = hook["limits"].as_object().into_iter().flatten();
    let limits: Vec<String> = limits.map(|(name, value)| format!("{name} {value}")).collect();
    line("limits", limits.join(", "));
    lines.join("\n")
}

fn canary(canary: &Value) -> String {
    if !canary.is_object() {
        return "no version is tried".to_owned();
    }
    let tally = &canary["tally"];
    let mut told = format!(
        "{} for {} % of the calls: asked {}, failed {} (of {}), late {} (of {}), other answers {} of {} (of {} %)",
        text(&canary["version"]),
        canary["percent"],
        tally["asked"],
        tally["failed"],
        canary["traps"],
        tally["late"],
        canary["late"],
        tally["differences"],
        tally["compared"],
        canary["differences_percent"],
    );
    let last = text(&tally["last_difference"]);
    if !last.is_empty() {
        told = format!("{told}; at last: {last}");
    }
    told
}

fn log(answer: &Value) -> String {
    let line = |line: &Value| {
        format!("{} {:<5} {}", text(&line["at"]), text(&line["level"]), text(&line["text"]))
    };
    let lines: Vec<String> = list(&answer["items"]).iter().map(line).collect();
    if lines.is_empty() { "it has logged nothing".to_owned() } else { lines.join("\n") }
}

fn stored(answer: &Value) -> String {
    let items = list(&answer["items"]);
    if items.is_empty() {
        return "it keeps nothing of this kind".to_owned();
    }
    let rows = items.iter().map(|item| {
        let value: String = text(&item["value"]).chars().take(200).collect();
        [text(&item["key"]), bytes(item["bytes"].as_u64().unwrap_or_default()), value]
    });
    let mut told = table(["KEY", "SIZE", "VALUE"], rows);
    if let Some(next) = answer["next"].as_str() {
        told = format!("{told}\nthere is more: --after {next}");
    }
    told
}
