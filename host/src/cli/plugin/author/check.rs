//! `jackfield plugin check`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use kit::{
    check::{self, Finding, Level, Question, Report},
    project::Project,
};

use crate::{
    cli::{
        Color, FAILURE, SUCCESS, complain, say,
        table::{bytes, plain},
    },
    plugins::compile,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArgs {
    /// A component, or the folder of a project that was built.
    #[arg(default_value = ".", value_name = "FILE|DIR")]
    what: PathBuf,
    /// The version before: what would an update mean for those who run it?
    #[arg(long, value_name = "WASM")]
    against: Option<PathBuf>,
    /// Warnings fail, too.
    #[arg(long)]
    strict: bool,
    /// Do not compile and start it; what can be told without is told.
    #[arg(long)]
    quick: bool,
    /// One JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CheckArgs, color: Color) -> anyhow::Result<u8> {
    let (file, project) = if args.what.is_dir() {
        let project = Project::find(&args.what)?;
        (project.component(), Some(project))
    } else {
        (args.what.clone(), None)
    };
    let wasm = read(&file).map_err(|error| match &project {
        Some(_) => {
            anyhow::anyhow!("{error:#}: the project was not built; fix: `jackfield plugin build`")
        }
        None => error,
    })?;
    if project.as_ref().is_some_and(|project| !kit::fresh::is_fresh(project)) {
        complain("something was saved since this was built; `jackfield plugin build` makes it new");
    }
    let against = args.against.as_deref().map(read).transpose()?;
    let runtime = if args.quick { None } else { Some(compile::runtime()?) };
    let question = Question {
        project: project.as_ref(),
        against: against.as_deref(),
        runtime: runtime.as_ref(),
    };
    let report = check::check(file, &wasm, &question);
    let fails = if args.strict { Level::Warning } else { Level::Error };
    let code = if report.worst() >= fails { FAILURE } else { SUCCESS };
    if args.json {
        let mut document = serde_json::to_value(&report)?;
        document["ok"] = (code == SUCCESS).into();
        say(&format!("{document:#}"));
    } else {
        say(&lines(&report, args.strict, color.on(&std::io::stdout())));
    }
    Ok(code)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn lines(report: &Report, strict: bool, colored: bool) -> String {
    let mut lines = vec![format!(
        "{}, {}, sha256 {}",
        report.file.display(),
        bytes(report.bytes as u64),
        &report.sha256[..12]
    )];
    lines.extend(report.findings.iter().map(|finding| line(finding, colored)));
    let count = |level| report.findings.iter().filter(|finding| finding.level == level).count();
    lines.push(match (count(Level::Error), count(Level::Warning)) {
        (0, 0) => "a host takes it".to_owned(),
        (0, warnings) => {
            let but = if strict { ", so --strict does not" } else { "" };
            format!("a host takes it{but}; {}", counted(warnings, "warning"))
        }
        (errors, warnings) => {
            format!(
                "no host takes it: {}, {}",
                counted(errors, "error"),
                counted(warnings, "warning")
            )
        }
    });
    lines.join("\n")
}

fn line(Finding { level, about, text, fix }: &Finding, colored: bool) -> String {
    let (word, code) = match level {
        Level::Ok => ("ok", 32),
        Level::Warning => ("warning", 33),
        Level::Error => ("error", 31),
    };
    let word = format!("{word:<8}");
    let word = if colored { format!("\x1b[{code}m{word}\x1b[0m") } else { word };
    let fix =
        if fix.is_empty() { String::new() } else { format!("\n{:22}fix: {}", "", plain(fix)) };
    // Texts of tools have lines of their own.
    let text = text.lines().map(plain).collect::<Vec<_>>().join(&format!("\n{:22}", ""));
    format!("{word}{about:<14}{text}{fix}")
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}
