//! `jackfield plugin replay`: gives a plugin the inputs of a recording again, and shows what is different.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use plugin_runtime::{
    Crash, Plugin, RecordedPlugin, Recording, ReplayReport, Runtime, StepDifference, replay,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{FAILURE, SUCCESS, USAGE, complain, say};
use crate::{connectors::load, plugins::compile};

/// Files of one folder that are looked at when a component is searched.
const MAX_FILES: usize = 1000;
/// Largest component that is looked at.
const MAX_COMPONENT: u64 = 64 << 20;
/// Longest line shown to people.
const MAX_LINE: usize = 2000;

/// What to replay, with what.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The recording.
    file: PathBuf,
    /// A component to replay it with; may be given several times.
    ///
    /// A component that is in the recording, by its SHA-256, takes its own part; another one takes the part of every
    /// version of the plugin with its id. Without this, the components of the recording are looked for beside
    /// it and in --plugins-dir.
    #[arg(long = "plugin", value_name = "FILE")]
    plugins: Vec<PathBuf>,
    /// Where the components of the recording may be.
    #[arg(long, value_name = "DIR", env = "JACKFIELD_PLUGINS_DIR")]
    plugins_dir: Option<PathBuf>,
    /// Stop after this step.
    #[arg(long, value_name = "STEP")]
    until: Option<u64>,
    /// Show the first difference: what the plugin was given, what it answered then, and what it answers now.
    #[arg(long)]
    diff: bool,
    /// One JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<u8> {
    let replayed = match try_replay(args) {
        Ok(replayed) => replayed,
        Err(problem) => {
            complain(&problem);
            return Ok(USAGE);
        }
    };
    say(&if args.json {
        format!("{:#}", replayed.as_json())
    } else {
        replayed.as_lines(args.diff)
    });
    Ok(if replayed.report.is_same() { SUCCESS } else { FAILURE })
}

struct Replayed {
    recording: Recording,
    report: ReplayReport,
}

fn try_replay(args: &ReplayArgs) -> Result<Replayed, String> {
    let name = args.file.display();
    let file = File::open(&args.file).map_err(|error| format!("cannot read {name}: {error}"))?;
    let recording =
        Recording::read(&mut BufReader::new(file)).map_err(|error| format!("{name}: {error}"))?;
    let runtime = compile::runtime().map_err(|error| error.to_string())?;
    let plugins = components(args, &recording, &runtime)?;
    let report = replay(&plugins, &recording, args.until)
        .map_err(|error| format!("{name}: {error} (--plugin FILE)"))?;
    Ok(Replayed { recording, report })
}

fn components(
    args: &ReplayArgs,
    recording: &Recording,
    runtime: &Runtime,
) -> Result<Vec<Plugin>, String> {
    if !args.plugins.is_empty() {
        let load = |file: &PathBuf| load(runtime, file).map(|loaded| loaded.plugin);
        return args.plugins.iter().map(load).collect();
    }
    let beside = match args.file.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => Path::new("."),
    };
    let folders: Vec<&Path> = [beside].into_iter().chain(args.plugins_dir.as_deref()).collect();
    let mut wanted = recording.plugins();
    let mut found = Vec::new();
    for file in folders.iter().flat_map(|folder| wasm_files(folder)) {
        if let Some(wasm) = read(&file)
            && let sha256 = sha256(&wasm)
            && let Some(at) = wanted.iter().position(|plugin| plugin.sha256 == sha256)
        {
            let plugin = runtime.load(&wasm);
            found.push(plugin.map_err(|error| format!("{}: {error}", file.display()))?);
            wanted.swap_remove(at);
        }
    }
    if found.is_empty() && !wanted.is_empty() {
        let folders: Vec<String> = folders.iter().map(|dir| dir.display().to_string()).collect();
        return Err(format!(
            "the recording was made with {}, which is not in {}; give it with --plugin FILE, put it beside the \
             recording, or say where it is with --plugins-dir",
            wanted.iter().map(described).collect::<Vec<_>>().join(" and "),
            folders.join(" nor in "),
        ));
    }
    Ok(found)
}

fn wasm_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().take(MAX_FILES);
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        .collect();
    files.sort();
    files
}

/// What cannot be read is not what is searched.
fn read(file: &Path) -> Option<Vec<u8>> {
    let mut wasm = Vec::new();
    File::open(file).ok()?.take(MAX_COMPONENT).read_to_end(&mut wasm).ok()?;
    Some(wasm)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn described(plugin: &RecordedPlugin) -> String {
    let RecordedPlugin { id, version, sha256 } = plugin;
    plain(&format!("{id} {version} (sha256 {sha256})"))
}

impl Replayed {
    fn as_lines(&self, with_difference: bool) -> String {
        let Self { recording, report } = self;
        let mut lines = vec![
            format!(
                "recording  of {}, {}{}, {} steps",
                plain(recording.connector()),
                recording.kind().code(),
                if recording.is_redacted() { ", redacted" } else { "" },
                recording.steps(),
            ),
            format!(
                "made with  {}",
                recording.plugins().iter().map(described).collect::<Vec<_>>().join(", ")
            ),
            format!("replayed   {} calls, starts included", report.steps),
            format!("effects    sha256 {}", report.effects_sha256),
        ];
        for left in &report.left_out {
            lines.push(format!("left out   {} calls of {}", left.steps, described(&left.plugin)));
        }
        for note in &report.notes {
            lines.push(format!("note       {}", plain(note)));
        }
        for crash in &report.crashes {
            lines.push(crash_line(crash));
        }
        // The backtrace of the last one, which is what a crash bundle is about.
        if let Some(crash) = report.crashes.last() {
            lines.extend(crash.message.lines().map(|line| format!("           {}", plain(line))));
        }
        match &report.first_difference {
            None => lines.push("result     the same".to_owned()),
            Some(difference) => {
                lines.push(format!(
                    "result     {} answers are different, the first in step {}{}",
                    report.differences,
                    difference.step,
                    if with_difference { "" } else { " (--diff shows it)" },
                ));
                if with_difference {
                    lines.extend(difference_lines(difference));
                }
            }
        }
        lines.join("\n")
    }

    fn as_json(&self) -> Value {
        let Self { recording, report } = self;
        let plugin = |plugin: &RecordedPlugin| json!({ "id": plugin.id, "version": plugin.version, "sha256": plugin.sha256 });
        let crash = |crash: &Crash| {
            json!({
                "step": crash.step,
                "kind": crash.kind.code(),
                "message": crash.message,
                "was_recorded": crash.was_recorded,
                "happened": crash.happened,
            })
        };
        let difference = |difference: &StepDifference| {
            json!({
                "step": difference.step,
                "inputs": values(&difference.inputs),
                "expected": values(&difference.expected),
                "got": values(&difference.got),
            })
        };
        json!({
            "same": report.is_same(),
            "recording": {
                "connector": recording.connector(),
                "kind": recording.kind().code(),
                "redacted": recording.is_redacted(),
                "steps": recording.steps(),
                "plugins": recording.plugins().iter().map(plugin).collect::<Vec<_>>(),
            },
            "calls": report.steps,
            "effects_sha256": report.effects_sha256,
            "expected_sha256": report.expected_sha256,
            "differences": report.differences,
            "first_difference": report.first_difference.as_ref().map(difference),
            "crashes": report.crashes.iter().map(crash).collect::<Vec<_>>(),
            "left_out": report
                .left_out
                .iter()
                .map(|left| json!({ "plugin": plugin(&left.plugin), "calls": left.steps }))
                .collect::<Vec<_>>(),
            "notes": report.notes,
        })
    }
}

fn crash_line(crash: &Crash) -> String {
    let kind = crash.kind.code();
    let what = match (crash.was_recorded, crash.happened) {
        (true, true) => "as when it was recorded",
        (true, false) => "when it was recorded, but not now",
        (false, _) => "now, but not when it was recorded",
    };
    format!("crash      in step {} ({kind}), {what}", crash.step)
}

/// What both answered is said once; what only one answered, with a sign before it.
fn difference_lines(difference: &StepDifference) -> Vec<String> {
    let StepDifference { step, inputs, expected, got } = difference;
    let mut lines = vec![format!("step {step} was given:")];
    lines.extend(inputs.iter().map(|line| format!("    {}", plain(line))));
    lines.push("it answered (- when it was recorded, + now):".to_owned());
    let same = expected.iter().zip(got).take_while(|(expected, got)| expected == got).count();
    let is_same_end = |(expected, got): &(&String, &String)| expected == got;
    let most = expected.len().min(got.len()) - same;
    let same_end = expected.iter().rev().zip(got.iter().rev()).take(most);
    let same_end = same_end.take_while(is_same_end).count();
    let signed = |sign: char, part: &[String]| -> Vec<String> {
        part.iter().map(|line| format!("  {sign} {}", plain(line))).collect()
    };
    lines.extend(signed(' ', &expected[..same]));
    lines.extend(signed('-', &expected[same..expected.len() - same_end]));
    lines.extend(signed('+', &got[same..got.len() - same_end]));
    lines.extend(signed(' ', &expected[expected.len() - same_end..]));
    if expected.is_empty() && got.is_empty() {
        lines.push("    nothing".to_owned());
    }
    lines
}

/// Lines of JSON as JSON; others as text.
fn values(lines: &[String]) -> Vec<Value> {
    let value = |line: &String| serde_json::from_str(line).unwrap_or_else(|_| json!(line));
    lines.iter().map(value).collect()
}

/// Foreign text on a terminal: not too long, and steering nothing.
fn plain(text: &str) -> String {
    let mut plain: String = text
        .chars()
        .take(MAX_LINE)
        .map(|char| if char.is_control() { '.' } else { char })
        .collect();
    if text.chars().nth(MAX_LINE).is_some() {
        plain.push_str(" ..");
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(expected: &[&str], got: &[&str]) -> Vec<String> {
        let list = |list: &[&str]| list.iter().map(|line| (*line).to_owned()).collect();
        let (expected, got) = (list(expected), list(got));
        let difference = StepDifference { step: 7, inputs: vec!["\"wake\"".into()], expected, got };
        difference_lines(&difference).split_off(3)
    }

    #[test]
    fn a_difference_shows_what_is_common_once() {
        assert_eq!(shown(&["a", "b", "c"], &["a", "x", "c"]), ["    a", "  - b", "  + x", "    c"]);
        assert_eq!(shown(&["a"], &["a", "a"]), ["    a", "  + a"]);
        assert_eq!(shown(&["a", "a"], &["a"]), ["    a", "  - a"]);
        assert_eq!(shown(&[], &["a"]), ["  + a"]);
        assert_eq!(shown(&["a\u{9b}2J"], &[]), ["  - a.2J"]);
    }
}
