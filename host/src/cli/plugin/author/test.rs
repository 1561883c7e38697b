//! `jackfield plugin test`.

use std::io;

use clap::Args;
use kit::{play, report};

use super::subject::SubjectArgs;
use crate::cli::{Color, FAILURE, SUCCESS, say};

#[derive(Debug, Args)]
pub(in crate::cli) struct TestArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// Show all that happens in each scenario, not only what is wrong.
    #[arg(long)]
    show: bool,
    /// Of the dice of scenarios with chaos, instead of the file's.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// One JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &TestArgs, color: Color) -> anyhow::Result<u8> {
    let subject = args.subject.load()?;
    let options = play::Options { seed: args.seed };
    let played: Vec<play::Played> = subject
        .scenarios
        .iter()
        .map(|scenario| play::play(&subject.plugin, scenario, options))
        .collect();
    if args.json {
        say(&format!("{:#}", report::scenarios_json(&played)));
    } else {
        let paint = report::Paint::new(color.on(&io::stdout()));
        let left_out = match subject.left_out {
            0 => String::new(),
            some => format!(" ({some} left out by --filter)"),
        };
        say(&(report::scenarios(&played, paint, args.show) + &left_out));
    }
    Ok(if played.iter().all(play::Played::passed) { SUCCESS } else { FAILURE })
}
