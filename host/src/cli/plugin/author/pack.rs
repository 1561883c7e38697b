//! `jackfield plugin pack`.

use clap::Args;

use super::{OnStderr, ProjectArgs};
use crate::cli::{Color, SUCCESS, say};

#[derive(Debug, Args)]
pub(in crate::cli) struct PackArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// One JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &PackArgs, _: Color) -> anyhow::Result<u8> {
    let project = args.project.project()?;
    kit::build::build(&project, &args.project.tools.options(), &OnStderr)?;
    let packed = kit::pack::pack(&project)?;
    if args.json {
        say(&format!("{:#}", serde_json::to_value(&packed)?));
        return Ok(SUCCESS);
    }
    say(&format!(
        "{}\n  sha256 {}\n\nTo try it on a running host (JACKFIELD_TOKEN is an admin's token of it):\n  {}\n\
         To hand it on, sign it:\n  {}",
        packed.folder.display(),
        packed.sha256,
        packed.install,
        packed.sign,
    ));
    Ok(SUCCESS)
}
