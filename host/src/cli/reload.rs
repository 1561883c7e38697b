//! `jackfield reload` and `jackfield config`: the config file against what runs.

use axum::http::Method;
use clap::Subcommand;

use super::{
    client::{Client, HostArgs, Sent, Trouble},
    report, say,
};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Show what a reload would change: what runs against the config file.
    Diff {
        /// The answer as one JSON document.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        host: HostArgs,
    },
}

pub(super) async fn config(command: ConfigCommand) -> Result<(), Trouble> {
    let ConfigCommand::Diff { json, host } = command;
    let report = Client::new(&host)?.get("/v1/config/diff").await?;
    say(&if json { format!("{report:#}") } else { report::lines(&report) });
    Ok(())
}

pub(super) async fn reload(json: bool, host: HostArgs) -> Result<(), Trouble> {
    let report = Client::new(&host)?.ask(Method::POST, "/v1/reload", Sent::Nothing).await?;
    say(&if json { format!("{report:#}") } else { report::lines(&report) });
    Ok(())
}
