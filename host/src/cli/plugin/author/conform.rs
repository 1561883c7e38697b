//! `jackfield plugin conform`.

use std::io;

use clap::Args;
use kit::{
    Silent,
    conformance::{Conversation, Options, conform},
    report,
    scenario::Kind,
};

use super::{
    OnStderr,
    subject::{NothingToTry, SubjectArgs},
};
use crate::cli::{Color, FAILURE, SUCCESS, say};

#[derive(Debug, Args)]
pub(in crate::cli) struct ConformArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// Of the dice; a report says which one it had.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How many hostile messages to try.
    #[arg(long, value_name = "NUMBER", default_value_t = 2000)]
    rounds: u32,
    /// One JSON document instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ConformArgs, color: Color) -> anyhow::Result<u8> {
    let mut subject = args.subject.load()?;
    subject.scenarios.retain(|scenario| scenario.kind() == Kind::Connector);
    if subject.scenarios.is_empty() {
        let text = "no scenario is about a connector, and only connectors have laws".to_owned();
        return Err(NothingToTry(text).into());
    }
    let conversations: Vec<Conversation<'_>> = subject
        .scenarios
        .iter()
        .map(|scenario| Conversation::of(&subject.plugin, scenario))
        .collect::<Result<_, _>>()?;
    let options = Options { seed: args.seed, rounds: args.rounds };
    let report = if args.json {
        conform(&conversations, options, &Silent)?
    } else {
        conform(&conversations, options, &OnStderr)?
    };
    if args.json {
        say(&format!("{:#}", serde_json::to_value(&report)?));
    } else {
        say(&report::laws(&report, report::Paint::new(color.on(&io::stdout()))));
    }
    Ok(if report.passed() { SUCCESS } else { FAILURE })
}
