//! Playing scenarios: the real plugin, everything else played.

mod connector;
pub mod diff;
mod hooks;
mod observer;
mod router;
mod treatment;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use plugin_runtime::Plugin;

pub use self::connector::{TryError, setup};
use self::diff::{DiffLine, Expected, compare};
use crate::scenario::{Kind, Scenario, Script, fields::FieldLine, pattern::Line, read::Failing};

/// How to play.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Of the dice, instead of the file's.
    pub seed: Option<u64>,
}

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Played {
    /// The file.
    pub file: PathBuf,
    /// What it is about.
    pub title: String,
    /// As what the plugin was tried.
    pub kind: Kind,
    /// What was not as expected; empty: passed.
    pub failures: Vec<Failure>,
    /// All that happened, in order.
    pub lines: Vec<Happened>,
    /// How long it lasted by its own clock.
    pub lasted: Duration,
    /// How long that took.
    pub took: Duration,
    /// How it was played once more.
    pub again: Vec<Again>,
    /// What the plugin logged last.
    pub log: Vec<String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Since the beginning.
    pub at: Duration,
    /// Who did it: `plugin`, `pbx`, `caller`, `host`, `web`.
    pub who: &'static str,
    /// What.
    pub text: String,
}

/// One way in which a scenario was played once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// E.g. `split`.
    pub how: &'static str,
    /// How often.
    pub times: u32,
    /// Of the dice.
    pub seed: u64,
}

/// Something that was not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step: its title or number.
    pub step: String,
    /// Its line in the file.
    pub line: usize,
    /// Since the beginning.
    pub at: Duration,
    /// What was looked at, e.g. `hears`.
    pub what: String,
    /// One sentence.
    pub message: String,
    /// The two beside each other, where there are two.
    pub diff: Vec<DiffLine>,
}

impl Played {
    /// Was everything as expected?
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Plays a scenario. A plugin that cannot be tried as that kind fails it.
pub fn play(plugin: &Plugin, scenario: &Scenario, options: Options) -> Played {
    let began = Instant::now();
    let mut played = Played {
        file: scenario.file.clone(),
        title: scenario.title.clone(),
        kind: scenario.kind(),
        failures: Vec::new(),
        lines: Vec::new(),
        lasted: Duration::ZERO,
        took: Duration::ZERO,
        again: Vec::new(),
        log: Vec::new(),
    };
    match &scenario.script {
        Script::Router(steps) => router::play(plugin, scenario, steps, &mut played),
        Script::Treatment(script) => treatment::play(plugin, scenario, script, &mut played),
        Script::Observer(script) => observer::play(plugin, scenario, script, &mut played),
        Script::Connector(script) => {
            connector::play(plugin, scenario, script, options, &mut played);
        }
    }
    played.took = began.elapsed();
    played
}

/// The place in a file that something is about.
#[derive(Clone, Debug)]
struct Place {
    step: String,
    line: usize,
    at: Duration,
}

impl Place {
    fn of(number: usize, title: &str, line: usize, at: Duration) -> Self {
        let step = match title {
            "" => format!("step {number}"),
            title => format!("step {number}, {title}"),
        };
        Self { step, line, at }
    }

    fn start() -> Self {
        Self { step: "the beginning".into(), line: 1, at: Duration::ZERO }
    }

    fn failure(&self, what: &str, message: impl Into<String>, diff: Vec<DiffLine>) -> Failure {
        let Self { step, line, at } = self.clone();
        Failure { step, line, at, what: what.to_owned(), message: message.into(), diff }
    }
}

impl Played {
    fn fail(&mut self, place: &Place, what: &str, message: impl Into<String>) {
        self.failures.push(place.failure(what, message, Vec::new()));
    }

    fn happened(&mut self, at: Duration, who: &'static str, text: impl Into<String>) {
        self.lines.push(Happened { at, who, text: text.into() });
    }

    /// Compares a list of lines with what was expected.
    fn compare<E: Expected>(
        &mut self,
        place: &Place,
        what: &str,
        expected: &[E],
        got: &[(Duration, String)],
    ) {
        if let Some(diff) = compare(expected, got) {
            self.failures.push(place.failure(what, "it is not what was expected", diff));
        }
    }

    /// A failure of the plugin: told unless it was expected.
    fn plugin_failed(
        &mut self,
        place: &Place,
        expected: Option<&Failing>,
        code: &str,
        message: &str,
    ) -> bool {
        match expected {
            Some(failing) if failing.code == code => {
                if let Some(pattern) = &failing.message
                    && !pattern.is(message)
                {
                    let text = format!("it says `{message}`, and `{pattern}` was expected");
                    self.fail(place, "message", text);
                }
                true
            }
            Some(failing) => {
                let text = format!("it {code}: {message}; expected was that it {}", failing.code);
                self.fail(place, "fails", text);
                false
            }
            None => {
                self.fail(place, "the plugin", format!("it {}: {message}", failed_how(code)));
                false
            }
        }
    }
}

/// `it trapped`, `it was late`.
fn failed_how(code: &str) -> &str {
    match code {
        "late" => "was late",
        "nonsense" => "answered nonsense",
        other => other,
    }
}

/// Times are met within this.
const TOLERANCE: Duration = Duration::from_millis(1);

fn is_at(wanted: Option<Duration>, at: Duration) -> bool {
    wanted.is_none_or(|wanted| wanted.abs_diff(at) <= TOLERANCE)
}

impl Expected for Line {
    fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }

    fn fits(&self, at: Duration, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Fits { at: wanted, pattern } => is_at(*wanted, at) && pattern.is(text),
        }
    }
}

impl Expected for FieldLine {
    fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }

    fn fits(&self, at: Duration, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Fits { at: wanted, .. } => is_at(*wanted, at) && self.is(text),
        }
    }
}

/// A line as it is.
struct Exactly<'a>(&'a str);

impl std::fmt::Display for Exactly<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl Expected for Exactly<'_> {
    fn is_any(&self) -> bool {
        false
    }

    fn fits(&self, _at: Duration, text: &str) -> bool {
        self.0 == text
    }
}
