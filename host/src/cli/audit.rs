//! `jackfield audit`: who changed what, and whether the log of that is what was written.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::{
    ConfigArgs, FAILURE, SUCCESS, USAGE,
    client::{Client, HostArgs, Trouble},
    complain, load,
    report::{list, text},
    say,
    table::table,
};
use crate::plugins::audit::{AuditError, Head, verify_file};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Check that no entry of the audit log was changed, taken out or put in.
    ///
    /// Each entry is bound to the one before by its hash; the first that is not is named. No host needs to run.
    /// Keep the number and hash it shows elsewhere: whoever can write the whole file could also write it anew.
    Verify {
        /// The log, when it is not the one of the configuration: registry.db in the plugins' folder.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// One JSON document instead of a line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Show who changed what in a running host, oldest first.
    List {
        /// Only entries after this number.
        #[arg(long, default_value_t = 0, value_name = "NUMBER")]
        after: u64,
        /// Most entries.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
        /// The answer as one JSON document.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        host: HostArgs,
    },
}

pub(super) fn run(command: AuditCommand) -> anyhow::Result<u8> {
    match command {
        AuditCommand::Verify { file, json, config } => {
            let file = match file {
                Some(file) => file,
                None => {
                    let Some(config) = load(&config.config) else { return Ok(USAGE) };
                    config.store_folder().join("registry.db")
                }
            };
            Ok(verify(&file, json))
        }
        AuditCommand::List { after, limit, json, host } => {
            super::remote(entries(after, limit, json, host))
        }
    }
}

fn verify(file: &std::path::Path, json: bool) -> u8 {
    let verified = verify_file(file);
    let document = |value: serde_json::Value| say(&format!("{value:#}"));
    match verified {
        Ok(Head { id, hash }) if json => {
            document(json!({ "ok": true, "entries": id, "hash": hash }))
        }
        Ok(Head { id: 0, .. }) => say("the audit log is empty"),
        Ok(Head { id, hash }) => {
            say(&format!("{id} entries, each as it was written; the last is {hash}"))
        }
        Err(AuditError::Broken(broken)) => {
            if json {
                document(json!({ "ok": false, "entry": broken.id, "problem": broken.problem }));
            } else {
                complain(&format!(
                    "{broken}\n  fix: compare with a backup; {} is not to be trusted from there on",
                    file.display()
                ));
            }
            return FAILURE;
        }
        Err(error) => {
            complain(&error.to_string());
            return USAGE;
        }
    }
    SUCCESS
}

async fn entries(after: u64, limit: u64, json: bool, host: HostArgs) -> Result<(), Trouble> {
    let path = format!("/v1/audit?after={after}&limit={limit}");
    let answer = Client::new(&host)?.get(&path).await?;
    if json {
        say(&format!("{answer:#}"));
        return Ok(());
    }
    let rows = list(&answer["items"]).iter().map(|entry| {
        let number = entry["id"].as_u64().unwrap_or(0).to_string();
        let words = ["at", "actor", "action", "subject", "detail"].map(|field| text(&entry[field]));
        let [at, actor, action, subject, detail] = words;
        [number, at, actor, action, subject, detail]
    });
    say(&table(["NUMBER", "AT", "WHO", "WHAT", "TO", "HOW"], rows));
    if let Some(next) = answer["next"].as_u64() {
        complain(&format!("there are more: --after {next}"));
    }
    Ok(())
}
