//! `jackfield plugin new`.

use std::path::PathBuf;

use clap::Args;
use kit::{
    project::{self, Kind, Lang},
    template,
};

use crate::cli::{Color, SUCCESS, say};

#[derive(Debug, Args)]
pub(in crate::cli) struct NewArgs {
    /// What it is: connector, router, wait-treatment or observer.
    #[arg(long, value_parser = project::kind, value_name = "connector|router|wait-treatment|observer")]
    kind: Kind,
    /// What it is written in: rust, ts or python.
    #[arg(long, default_value = "rust", value_name = "rust|ts|python")]
    lang: Lang,
    /// Its id: lower-case letters, digits and `-`.
    name: String,
    /// The folder to begin it in; NAME unless given.
    folder: Option<PathBuf>,
    /// One JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &NewArgs, _: Color) -> anyhow::Result<u8> {
    let folder = args.folder.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let begun = template::begin(&args.name, args.kind, args.lang, &folder)?;
    let go = format!("cd {}", folder.display());
    let next = [go.as_str(), "jackfield plugin build", "jackfield plugin test"];
    if args.json {
        let document = serde_json::json!({
            "folder": begun.root, "files": begun.files, "next": next,
        });
        say(&format!("{document:#}"));
        return Ok(SUCCESS);
    }
    let vendored = begun.files.iter().filter(|file| file.starts_with("vendor/")).count();
    let mut lines = vec![format!(
        "A {} in {}, `{}`, in {}:",
        args.kind.code(),
        args.lang,
        args.name,
        folder.display()
    )];
    let own = begun.files.iter().filter(|file| !file.starts_with("vendor/"));
    lines.extend(own.map(|file| format!("  {file}")));
    if vendored > 0 {
        lines.push(format!("  vendor/ (the SDK, {vendored} files)"));
    }
    lines.push("\nNext:".into());
    lines.extend(next.iter().map(|command| format!("  {command}")));
    say(&lines.join("\n"));
    Ok(SUCCESS)
}
