//! Scenarios of connectors: a PBX that says and answers what the script has.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Head,
    fields::FieldLine,
    pattern::{Line, Names, Pattern},
    read::{self, Failing},
};
use crate::document::{Section, Value, as_string};

/// What happens.
#[derive(Clone, Debug)]
pub struct Script {
    /// The PBX, by link.
    pub peers: BTreeMap<String, Peer>,
    /// Secrets that are filled in at the socket, by name.
    pub secrets: Vec<(String, String)>,
    /// Until the first step.
    pub expect: Expect,
    /// In order of time.
    pub steps: Vec<Step>,
    /// How it is played once more.
    pub chaos: Chaos,
    /// When it is over.
    pub until: Option<Duration>,
}

/// One link's end at the PBX.
#[derive(Clone, Debug)]
pub struct Peer {
    /// What ends a frame.
    pub frame: String,
    /// What is sent for a line feed in a text.
    pub newline: String,
    /// Sent when somebody connects.
    pub greets: Vec<String>,
    /// The first that fits answers.
    pub rules: Vec<Rule>,
    /// What no rule fits is ignored.
    pub ignores: bool,
}

/// How a frame is answered.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The frame.
    pub gets: Pattern,
    /// The answer.
    pub sends: Vec<String>,
    /// How long it thinks.
    pub takes: Duration,
    /// How often.
    pub times: Option<u32>,
    /// Hangs up after it.
    pub closes: bool,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub struct Step {
    /// Of the file.
    pub line: usize,
    /// For the report.
    pub title: String,
    /// Since the beginning.
    pub at: Duration,
    /// The link it is about.
    pub link: String,
    /// What.
    pub happens: Happens,
    /// What the PBX has from then on: table, key, fields; none takes it away.
    pub now: Vec<(String, String, Option<Names>)>,
    /// The frames may come in any order.
    pub any_order: bool,
    /// The frames may come twice.
    pub may_repeat: bool,
    /// Until the next step.
    pub expect: Expect,
}

/// What can happen.
#[derive(Clone, Debug)]
pub enum Happens {
    /// Time goes by.
    Nothing,
    /// The PBX sends frames.
    Sends(Vec<String>),
    /// The PBX waits for a frame, then sends.
    Gets {
        /// The frame.
        frame: Pattern,
        /// How long it waits.
        within: Duration,
        /// Then.
        sends: Vec<String>,
    },
    /// The host gives a command.
    Command {
        /// E.g. `pause`.
        kind: String,
        /// Names and values.
        arguments: Vec<(String, String)>,
        /// From now.
        deadline: Duration,
    },
    /// The connection breaks.
    Cut {
        /// Nobody answers so long.
        down: Duration,
        /// The PBX has forgotten everything.
        restart: bool,
    },
    /// The admin changes the settings.
    Settings(String),
    /// The connector is replaced by itself.
    Swap,
}

/// What must come of it.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// Facts and outcomes.
    pub tells: Option<Vec<FieldLine>>,
    /// Frames.
    pub sends: Option<Vec<Line>>,
    /// What it may not.
    pub refused: Option<Vec<Line>>,
    /// The connector fails.
    pub fails: Option<Failing>,
}

/// How a scenario is played once more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chaos {
    /// Bytes come in any pieces.
    pub split: bool,
    /// Frames that may come in any order do.
    pub reorder: bool,
    /// Frames that may come twice do.
    pub duplicate: bool,
    /// The connection breaks anywhere.
    pub cut: bool,
    /// The connector crashes anywhere.
    pub restart: bool,
    /// Of the dice.
    pub seed: Option<u64>,
}

/// Reads it all.
pub(super) fn script(root: &mut Section<'_, '_>, head: &Head) -> Script {
    let document = root.document();
    let mut peers = BTreeMap::new();
    for (link, at) in root.entries("pbx") {
        if let Some(section) = Section::of(document, &at) {
            peers.insert(link, peer(section));
        }
    }
    if peers.is_empty() {
        document.complain(
            &(0..0),
            "pbx",
            "there is no PBX",
            "begin one with `[pbx.LINK]`, LINK as in the plugin's manifest",
        );
    }
    let secrets = root.texts("secrets");
    let first = root.section("expect").map(expect).unwrap_or_default();
    let mut last = Duration::ZERO;
    let sections = root.sections("step");
    let steps = sections.into_iter().map(|section| step(section, &peers, &mut last)).collect();
    let chaos = root.section("chaos").map(chaos).unwrap_or_default();
    Script { peers, secrets, expect: first, steps, chaos, until: head.until }
}

fn peer(mut section: Section<'_, '_>) -> Peer {
    let frame = section.string("frame").map_or_else(|| "\n".to_owned(), |at| at.value);
    if frame.is_empty() {
        section.complain("nothing ends its frames", "write e.g. frame = \"\\n\"");
    }
    let newline = section.string("newline").map_or_else(|| "\n".to_owned(), |at| at.value);
    let greets = frames(&mut section, "greets");
    let rules = section.sections("on").into_iter().map(rule).collect();
    let ignores = section.bool("ignores").is_some_and(|at| at.value);
    section.finish();
    Peer { frame, newline, greets, rules, ignores }
}

fn rule(mut section: Section<'_, '_>) -> Rule {
    let gets = frame_pattern(&mut section, "gets").unwrap_or_else(|| {
        section.complain("it answers nothing", "write gets = \"the frame it answers\"");
        Pattern::frame("")
    });
    let rule = Rule {
        gets,
        sends: frames(&mut section, "sends"),
        takes: read::duration(&mut section, "takes").map_or(Duration::ZERO, |at| at.value),
        times: section.number("times", 1..=1_000_000_u32).map(|at| at.value),
        closes: section.bool("closes").is_some_and(|at| at.value),
    };
    section.finish();
    rule
}

fn frames(section: &mut Section<'_, '_>, name: &'static str) -> Vec<String> {
    section.strings(name).unwrap_or_default().into_iter().map(|at| at.value).collect()
}

fn frame_pattern(section: &mut Section<'_, '_>, name: &'static str) -> Option<Pattern> {
    Some(Pattern::frame(&section.string(name)?.value))
}

/// How long the PBX waits for a frame.
const WITHIN: Duration = Duration::from_secs(5);
/// How long a command may take.
const DEADLINE: Duration = Duration::from_secs(30);

fn step(mut section: Section<'_, '_>, peers: &BTreeMap<String, Peer>, last: &mut Duration) -> Step {
    let line = section.line();
    let title = section.string("title").map(|at| at.value).unwrap_or_default();
    let at = super::at(&mut section, last);
    let link = link(&mut section, peers);
    let mut happens = Vec::new();
    let sends = frames(&mut section, "sends");
    let within = read::duration(&mut section, "within").map_or(WITHIN, |at| at.value);
    match frame_pattern(&mut section, "gets") {
        Some(frame) => happens.push(Happens::Gets { frame, within, sends }),
        None if !sends.is_empty() => happens.push(Happens::Sends(sends)),
        None => {}
    }
    happens.extend(section.section("command").map(command));
    let down = read::duration(&mut section, "down").map_or(Duration::ZERO, |at| at.value);
    for (name, restart) in [("cut", false), ("restart", true)] {
        if section.bool(name).is_some_and(|at| at.value) {
            happens.push(Happens::Cut { down, restart });
        }
    }
    happens.extend(read::json_table(&mut section, "settings").map(Happens::Settings));
    if section.bool("swap").is_some_and(|at| at.value) {
        happens.push(Happens::Swap);
    }
    if happens.len() > 1 {
        section
            .complain("several things happen in it", "make a step of each; they may have one `at`");
    }
    let now = now(&mut section);
    let any_order = section.bool("any-order").is_some_and(|at| at.value);
    let may_repeat = section.bool("may-repeat").is_some_and(|at| at.value);
    let expect = section.section("expect").map(expect).unwrap_or_default();
    section.finish();
    let happens = happens.pop().unwrap_or(Happens::Nothing);
    Step { line, title, at, link, happens, now, any_order, may_repeat, expect }
}

fn link(section: &mut Section<'_, '_>, peers: &BTreeMap<String, Peer>) -> String {
    let known: Vec<&str> = peers.keys().map(String::as_str).collect();
    match section.string("link") {
        // That there is no PBX has been said.
        _ if known.is_empty() => String::new(),
        Some(at) => read::one_of(section.document(), at, &known).unwrap_or_default(),
        None => known.first().copied().unwrap_or_default().to_owned(),
    }
}

fn command(mut section: Section<'_, '_>) -> Happens {
    let kind = section.string("kind").map(|at| at.value);
    if kind.is_none() {
        section.complain("it has no kind", "write e.g. kind = \"pause\"");
    }
    let arguments = section.texts("arguments");
    let deadline = read::duration(&mut section, "deadline").map_or(DEADLINE, |at| at.value);
    section.finish();
    Happens::Command { kind: kind.unwrap_or_default(), arguments, deadline }
}

fn now(section: &mut Section<'_, '_>) -> Vec<(String, String, Option<Names>)> {
    let document = section.document();
    let mut now = Vec::new();
    for (table, at) in section.entries("now") {
        let entries = Section::of(document, &at).map(Section::into_entries).unwrap_or_default();
        for (key, at) in entries {
            let fields = match at.value {
                toml::de::DeValue::Boolean(false) => None,
                _ => Some(fields(document, &at)),
            };
            now.push((table.clone(), key, fields));
        }
    }
    now
}

fn fields(document: &crate::document::Document<'_>, at: &Value<'_, '_>) -> Names {
    let entries = Section::of(document, at).map(Section::into_entries).unwrap_or_default();
    let field = |(name, at): (String, Value<'_, '_>)| Some((name, as_string(document, &at)?.value));
    entries.into_iter().filter_map(field).collect()
}

fn expect(mut section: Section<'_, '_>) -> Expect {
    let document = section.document();
    let tells = section.strings("tells").map(|texts| {
        let line = |at: &crate::document::At<String>| match FieldLine::parse(&at.value) {
            Ok(line) => Some(line),
            Err(problem) => {
                document.complain(&at.span, &at.key, problem, "");
                None
            }
        };
        texts.iter().filter_map(line).collect()
    });
    let expect = Expect {
        tells,
        sends: read::lines(&mut section, "sends"),
        refused: read::lines(&mut section, "refused"),
        fails: read::failing(&mut section),
    };
    section.finish();
    expect
}

fn chaos(mut section: Section<'_, '_>) -> Chaos {
    let mut on = |name: &'static str| section.bool(name).is_some_and(|at| at.value);
    let mut chaos = Chaos {
        split: on("split"),
        reorder: on("reorder"),
        duplicate: on("duplicate"),
        cut: on("cut"),
        restart: on("restart"),
        seed: None,
    };
    chaos.seed = section.number("seed", 0..=i64::MAX as u64).map(|at| at.value);
    section.finish();
    chaos
}
