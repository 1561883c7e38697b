//! What came of scenarios and laws, for people and for programs.

use std::{fmt::Write, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{
    conformance::{self, Holds},
    play::{
        Failure, Played,
        diff::{DiffLine, Sign},
    },
    scenario::time,
};

/// Longest line that is shown.
const MAX_LINE: usize = 400;
/// Lines that came where anything may, which are shown before and after others.
const CONTEXT: usize = 2;

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Colours when `on`.
    pub fn new(on: bool) -> Self {
        Self { on }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Good.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Bad.
    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// Neither.
    pub fn odd(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Less important.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }
}

/// Scenarios as lines. `show`: with all that happened.
pub fn scenarios(played: &[Played], paint: Paint, show: bool) -> String {
    let mut out = String::new();
    for one in played {
        let word = if one.passed() { paint.good("ok  ") } else { paint.bad("FAIL") };
        let again: Vec<String> =
            one.again.iter().map(|again| format!("{} x{}", again.how, again.times)).collect();
        let again = match again[..] {
            [] => String::new(),
            _ => format!(" ({}, seed {})", again.join(", "), one.again[0].seed),
        };
        let took = format!("{} in {} ms", time::shown(one.lasted), one.took.as_millis());
        let _ = writeln!(
            out,
            "{word} {}: {}{again}  {}",
            name(&one.file),
            plain(&one.title),
            paint.dim(&took)
        );
        if show || !one.passed() {
            transcript(&mut out, one, paint, show);
        }
        for failure in &one.failures {
            failed(&mut out, one, failure, paint);
        }
    }
    let failed = played.iter().filter(|one| !one.passed()).count();
    let took: Duration = played.iter().map(|one| one.took).sum();
    let total = played.len();
    let passed = total - failed;
    let sum = match failed {
        0 => paint.good(&format!("{passed} of {total} passed")),
        _ => paint.bad(&format!("{failed} of {total} failed")),
    };
    let _ = write!(out, "{sum} in {:.2} s", took.as_secs_f64());
    out
}

fn transcript(out: &mut String, one: &Played, paint: Paint, show: bool) {
    if show {
        for line in &one.lines {
            let at = time::shown(line.at);
            let _ = writeln!(out, "     {at:>10}  {:<6}  {}", line.who, plain(&line.text));
        }
    }
    for line in one.log.iter().rev().take(if show { 50 } else { 5 }).rev() {
        let _ = writeln!(out, "     {} {}", paint.dim("log"), plain(line));
    }
}

fn failed(out: &mut String, one: &Played, failure: &Failure, paint: Paint) {
    let Failure { step, line, at, what, message, diff } = failure;
    let mut lines = message.lines();
    let first = plain(lines.next().unwrap_or_default());
    let _ = writeln!(
        out,
        "     {} ({}:{line}), at {}: {}: {first}",
        plain(step),
        name(&one.file),
        time::shown(*at),
        paint.bad(what)
    );
    // A backtrace is long, and its end says least.
    for line in lines.take(12) {
        let _ = writeln!(out, "       {}", paint.dim(&plain(line)));
    }
    for line in shortened(diff) {
        let Some(line) = line else {
            let _ = writeln!(out, "         {}", paint.dim("..."));
            continue;
        };
        let at = line.at.map_or(String::new(), time::shown);
        let text = format!("{at:>10}  {}", plain(&line.text));
        let text = match line.sign {
            Sign::Same => format!("  {text}"),
            Sign::Missing => paint.bad(&format!("- {text}")),
            Sign::Unexpected => paint.good(&format!("+ {text}")),
            Sign::Skipped => paint.dim(&format!("  {text}")),
        };
        let _ = writeln!(out, "       {text}");
    }
    if !diff.is_empty() {
        let _ = writeln!(out, "       {}", paint.dim("- expected, + what came"));
    }
}

/// Of long stretches in which nothing differs, the ends; none is where something is left out.
fn shortened(diff: &[DiffLine]) -> Vec<Option<&DiffLine>> {
    let differs = |line: &DiffLine| matches!(line.sign, Sign::Missing | Sign::Unexpected);
    let near = |index: usize| {
        let from = index.saturating_sub(CONTEXT);
        let to = (index + CONTEXT + 1).min(diff.len());
        diff[from..to].iter().any(differs)
    };
    let mut lines = Vec::new();
    for (index, line) in diff.iter().enumerate() {
        if near(index) {
            lines.push(Some(line));
        } else if lines.last().is_none_or(Option::is_some) {
            lines.push(None);
        }
    }
    lines
}

/// Scenarios as one document.
pub fn scenarios_json(played: &[Played]) -> Value {
    let diff = |line: &DiffLine| {
        let sign = match line.sign {
            Sign::Same => "same",
            Sign::Missing => "missing",
            Sign::Unexpected => "unexpected",
            Sign::Skipped => "skipped",
        };
        json!({ "sign": sign, "at_ms": line.at.map(|at| at.as_secs_f64() * 1e3), "text": line.text })
    };
    let failure = |failure: &Failure| {
        json!({
            "step": failure.step,
            "line": failure.line,
            "at_ms": failure.at.as_secs_f64() * 1e3,
            "what": failure.what,
            "message": failure.message,
            "diff": failure.diff.iter().map(diff).collect::<Vec<_>>(),
        })
    };
    let one = |one: &Played| {
        json!({
            "file": one.file,
            "title": one.title,
            "kind": one.kind.code(),
            "passed": one.passed(),
            "lasted_ms": one.lasted.as_secs_f64() * 1e3,
            "took_ms": one.took.as_secs_f64() * 1e3,
            "again": one.again.iter().map(|again| json!({ "how": again.how, "times": again.times, "seed": again.seed })).collect::<Vec<_>>(),
            "failures": one.failures.iter().map(failure).collect::<Vec<_>>(),
            "lines": one.lines.iter().map(|line| json!({ "at_ms": line.at.as_secs_f64() * 1e3, "who": line.who, "text": line.text })).collect::<Vec<_>>(),
            "log": one.log,
        })
    };
    json!({
        "passed": played.iter().all(Played::passed),
        "scenarios": played.iter().map(one).collect::<Vec<_>>(),
    })
}

/// Laws as a table.
pub fn laws(report: &conformance::Report, paint: Paint) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} {} ({}), seed {}, tried with: {}",
        report.plugin,
        report.version,
        report.sha256.get(..8).unwrap_or_default(),
        report.seed,
        plain(&report.conversations.join(", "))
    );
    for verdict in &report.laws {
        let word = match verdict.holds {
            Holds::Holds => paint.good("holds    "),
            Holds::Broken => paint.bad("BROKEN   "),
            Holds::NotTried => paint.odd("not tried"),
        };
        let law = verdict.law.code();
        let _ = writeln!(out, "{law:<15} {word}  {}", plain(&verdict.sentence));
        for line in &verdict.evidence {
            let _ = writeln!(out, "{:<15}   {}", "", plain(line));
        }
    }
    let broken = report.broken().len();
    let tried = report.laws.iter().filter(|it| it.holds != Holds::NotTried).count();
    let sum = match broken {
        0 => paint.good(&format!("{tried} of {} laws tried, all hold", report.laws.len())),
        1 => paint.bad("one law is broken"),
        more => paint.bad(&format!("{more} laws are broken")),
    };
    out + &sum
}

fn name(file: &Path) -> String {
    file.file_name().map_or_else(String::new, |name| plain(&name.to_string_lossy()))
}

/// Foreign text on a terminal: one line, not too long, and steering nothing.
pub fn plain(text: &str) -> String {
    let mut plain: String = text
        .trim_end_matches('\n')
        .chars()
        .take(MAX_LINE)
        .flat_map(|letter| match letter {
            '\n' => vec!['\\', 'n'],
            letter if letter.is_control() => vec!['.'],
            letter => vec![letter],
        })
        .collect();
    if text.chars().nth(MAX_LINE).is_some() {
        plain.push_str(" ..");
    }
    plain
}
