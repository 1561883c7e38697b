//! Scenario files: what happens to a plugin, when, and what it must do (`docs/scenarios.md`).
//!
//! Here: what every kind has in common. Beside it: the kinds, and what texts are compared with. Playing a scenario
//! is the business of [`crate::play`].

pub mod connector;
pub mod fields;
pub mod observer;
pub mod pattern;
pub mod read;
pub mod router;
pub mod time;
pub mod treatment;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use calls::Timestamp;
pub use plugin_runtime::Kind;
use serde_json::Value;

pub use self::time::Clock;
use crate::document::{Complaint, Document, Section};

/// Largest file that is read.
const MAX_FILE: u64 = 8 << 20;

/// What a plugin can be tried as.
pub const KINDS: [Kind; 4] = [Kind::Router, Kind::WaitTreatment, Kind::Observer, Kind::Connector];

/// One file, read.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file.
    pub file: PathBuf,
    /// For the report: its title, or the file's name.
    pub title: String,
    /// The plugin's settings as JSON text.
    pub settings: String,
    /// What its store holds at the beginning.
    pub stored: Vec<(String, Vec<u8>)>,
    /// Limits that are not the usual ones, as a JSON object.
    pub limits: Option<Value>,
    /// When it begins, and where.
    pub clock: Clock,
    /// What happens.
    pub script: Script,
}

/// What happens, by kind.
#[derive(Clone, Debug)]
pub enum Script {
    /// Calls that are decided.
    Router(Vec<router::Step>),
    /// A caller under treatment.
    Treatment(Box<treatment::Script>),
    /// Events, and a web.
    Observer(observer::Script),
    /// A PBX.
    Connector(connector::Script),
}

/// The moment of a router's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When(pub Timestamp);

/// What was read before the steps.
pub(crate) struct Head {
    clock: Clock,
    until: Option<Duration>,
}

/// A file with mistakes in it.
#[derive(Clone, Debug)]
pub struct Mistakes {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, by its place.
    pub complaints: Vec<Complaint>,
}

impl std::error::Error for Mistakes {}

/// `scenarios/vip.toml:3:1: expect.sned: no such key; did you mean `send`?`, a line each.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, complaint) in self.complaints.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:{complaint}", self.file.display())?;
        }
        Ok(())
    }
}

impl Scenario {
    /// Reads a file. `usual` is what a file is about that does not say its kind.
    pub fn load(file: &Path, usual: Option<Kind>) -> Result<Self, Mistakes> {
        let problem = |message: String| Mistakes {
            file: file.to_owned(),
            complaints: vec![Complaint {
                line: 1,
                column: 1,
                key: String::new(),
                message,
                fix: String::new(),
            }],
        };
        let size = fs::metadata(file).map_or(0, |metadata| metadata.len());
        if size > MAX_FILE {
            return Err(problem(format!("it has {size} bytes; a scenario has at most {MAX_FILE}")));
        }
        let text = fs::read_to_string(file)
            .map_err(|error| problem(format!("cannot be read: {error}")))?;
        Self::parse(file, &text, usual)
    }

    /// Reads a file's text.
    pub fn parse(file: &Path, text: &str, usual: Option<Kind>) -> Result<Self, Mistakes> {
        let document = Document::new(text);
        let table = document.parse();
        let mut root = Section::root(&document, &table);
        let scenario = read(&mut root, file, usual);
        // Without a kind nobody asked for half of the keys.
        if scenario.is_some() {
            root.finish();
        }
        let complaints = document.finish();
        match scenario {
            Some(scenario) if complaints.is_empty() => Ok(scenario),
            _ => Err(Mistakes { file: file.to_owned(), complaints }),
        }
    }

    /// What the plugin is tried as.
    pub fn kind(&self) -> Kind {
        match &self.script {
            Script::Router(_) => Kind::Router,
            Script::Treatment(_) => Kind::WaitTreatment,
            Script::Observer(_) => Kind::Observer,
            Script::Connector(_) => Kind::Connector,
        }
    }
}

fn read(root: &mut Section<'_, '_>, file: &Path, usual: Option<Kind>) -> Option<Scenario> {
    let kind = kind(root, usual);
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let title = root.string("title").map_or(name, |at| at.value);
    let settings = read::json_table(root, "settings").unwrap_or_else(|| "{}".to_owned());
    let stored = read::stored(root, "stored");
    let limits = read::json_table(root, "limits").and_then(|text| serde_json::from_str(&text).ok());
    let clock = clock(root)?;
    let until = read::duration(root, "until").map(|at| at.value);
    let head = Head { clock, until };
    let script = match kind? {
        Kind::Router => Script::Router(router::steps(root, &head)),
        Kind::WaitTreatment => Script::Treatment(Box::new(treatment::script(root, &head))),
        Kind::Observer => Script::Observer(observer::script(root, &head)),
        Kind::Connector => Script::Connector(connector::script(root, &head)),
    };
    Some(Scenario {
        file: file.to_owned(),
        title,
        settings,
        stored,
        limits,
        clock: head.clock,
        script,
    })
}

fn kind(root: &mut Section<'_, '_>, usual: Option<Kind>) -> Option<Kind> {
    let codes = KINDS.map(Kind::code);
    match root.string("kind") {
        Some(at) => {
            let code = read::one_of(root.document(), at, &codes)?;
            KINDS.into_iter().find(|kind| kind.code() == code)
        }
        None => {
            if usual.is_none() {
                let fix = format!("write kind = one of: {}", codes.join(", "));
                root.complain("it does not say what kind of plugin it is about", fix);
            }
            usual
        }
    }
}

fn clock(root: &mut Section<'_, '_>) -> Option<Clock> {
    let zone = root.string("time-zone");
    let begin = root.value("clock");
    let document = root.document();
    let name = zone.as_ref().map_or("UTC", |at| at.value.as_str());
    let text = match &begin {
        // Without quotes it is a date of TOML, which is as good.
        Some(at) => match at.value {
            toml::de::DeValue::Datetime(datetime) => datetime.to_string(),
            _ => crate::document::as_string(document, at)?.value,
        },
        None => "2026-01-05T10:00:00".to_owned(),
    };
    if let Err(problem) = Clock::new(name, "2026-01-05T10:00:00") {
        let span = zone.as_ref().map_or(0..0, |at| at.span.clone());
        document.complain(&span, "time-zone", problem, "");
        return None;
    }
    match Clock::new(name, &text) {
        Ok(clock) => Some(clock),
        Err(problem) => {
            document.complain(&begin.map_or(0..0, |at| at.span), "clock", problem, "");
            None
        }
    }
}

/// A step's `at`; steps never go back in time.
pub(crate) fn at(section: &mut Section<'_, '_>, last: &mut Duration) -> Duration {
    if let Some(at) = read::duration(section, "at") {
        if at.value < *last {
            let message = format!("this is before the step above it, at {}", time::shown(*last));
            let fix = "put the steps in the order of time";
            section.document().complain(&at.span, &at.key, message, fix);
        }
        *last = at.value.max(*last);
    }
    *last
}

/// For clocks that count nanoseconds.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The files of a folder, or the file itself.
pub fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
