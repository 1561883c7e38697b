//! `jackfield plugin build`.

use clap::Args;

use super::{OnStderr, ProjectArgs};
use crate::cli::{Color, SUCCESS, say, table::bytes};

#[derive(Debug, Args)]
pub(in crate::cli) struct BuildArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// One JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &BuildArgs, _: Color) -> anyhow::Result<u8> {
    let project = args.project.project()?;
    let built = kit::build::build(&project, &args.project.tools.options(), &OnStderr)?;
    if args.json {
        say(&format!("{:#}", serde_json::to_value(&built)?));
        return Ok(SUCCESS);
    }
    say(&format!(
        "{} {}: {}, {} in {:.1} s{}\n  with {}",
        project.manifest.id,
        project.manifest.version,
        built.path.display(),
        bytes(u64::try_from(built.bytes)?),
        built.took.as_secs_f64(),
        if built.unchanged { ", unchanged" } else { "" },
        built.tools,
    ));
    Ok(SUCCESS)
}
