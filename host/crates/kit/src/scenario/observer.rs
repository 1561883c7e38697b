//! Scenarios of observers: events that are committed, and a web that answers or does not.

use std::{ops::RangeInclusive, time::Duration};

use serde_json::Value;

use super::{
    Head,
    pattern::{Line, Pattern},
    read::{self, Failing, Reply},
};
use crate::document::Section;

/// What happens.
#[derive(Clone, Debug)]
pub struct Script {
    /// What answers requests: the first that fits.
    pub web: Vec<Rule>,
    /// In order of time.
    pub steps: Vec<Step>,
    /// When it is over in any case.
    pub until: Option<Duration>,
}

/// How requests are answered.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `POST https://hook.example.org/*`.
    pub request: Pattern,
    /// From then on.
    pub from: Duration,
    /// Until then.
    pub until: Option<Duration>,
    /// The answer.
    pub reply: Reply,
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
    /// What.
    pub happens: Happens,
    /// Until the next step.
    pub expect: Expect,
}

/// What can happen.
#[derive(Clone, Debug)]
pub enum Happens {
    /// Time goes by.
    Nothing,
    /// Events are committed.
    Events(Events),
    /// Events up to this number are gone.
    Lost(u64),
    /// The host stops and begins anew.
    Crash,
}

/// One event, or many alike.
#[derive(Clone, Debug)]
pub struct Events {
    /// E.g. `call.ended`.
    pub kind: String,
    /// The call; `*` is the event's number.
    pub call: String,
    /// What the stream has beside it; `*` in texts is the event's number.
    pub data: Value,
    /// The number of the first one, if it does not follow the one before.
    pub seq: Option<u64>,
    /// How many.
    pub count: u32,
    /// The time between two.
    pub every: Duration,
}

/// What must come of it.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// Every line.
    pub does: Option<Vec<Line>>,
    /// The last `ack`.
    pub acked: Option<u64>,
    /// How many requests.
    pub requests: Option<RangeInclusive<u64>>,
    /// Requests carry the events of each call in order.
    pub order: bool,
    /// Keys of the store; none is a key that is not there.
    pub stored: Vec<(String, Option<Pattern>)>,
    /// Bodies of the requests.
    pub bodies: Option<Vec<Line>>,
    /// The observer fails.
    pub fails: Option<Failing>,
}

/// Reads it all.
pub(super) fn script(root: &mut Section<'_, '_>, head: &Head) -> Script {
    let web = root.sections("http").into_iter().map(rule).collect();
    let mut last = Duration::ZERO;
    let steps = root.sections("step").into_iter().map(|section| step(section, &mut last)).collect();
    Script { web, steps, until: head.until }
}

fn rule(mut section: Section<'_, '_>) -> Rule {
    let request = read::pattern(&mut section, "request").unwrap_or(Pattern::text("*"));
    let from = read::duration(&mut section, "from").map_or(Duration::ZERO, |at| at.value);
    let until = read::duration(&mut section, "until").map(|at| at.value);
    let reply = read::reply(&mut section);
    section.finish();
    Rule { request, from, until, reply }
}

fn step(mut section: Section<'_, '_>, last: &mut Duration) -> Step {
    let line = section.line();
    let title = section.string("title").map(|at| at.value).unwrap_or_default();
    let at = super::at(&mut section, last);
    let mut happens = Vec::new();
    happens.extend(section.section("event").map(|event| Happens::Events(events(event, false))));
    happens.extend(section.section("events").map(|event| Happens::Events(events(event, true))));
    happens.extend(section.number("lost", 1..=i64::MAX as u64).map(|at| Happens::Lost(at.value)));
    if section.bool("crash").is_some_and(|at| at.value) {
        happens.push(Happens::Crash);
    }
    if happens.len() > 1 {
        section
            .complain("several things happen in it", "make a step of each; they may have one `at`");
    }
    let expect = section.section("expect").map(expect).unwrap_or_default();
    section.finish();
    Step { line, title, at, happens: happens.pop().unwrap_or(Happens::Nothing), expect }
}

fn events(mut section: Section<'_, '_>, many: bool) -> Events {
    let kind = section.string("kind").map(|at| at.value);
    if kind.is_none() {
        section.complain("it has no kind", "write e.g. kind = \"call.ended\"");
    }
    let call = section.string("call").map(|at| at.value).unwrap_or_default();
    let data = section.json("data").map_or(Value::Null, |at| at.value);
    let seq = section.number("seq", 1..=i64::MAX as u64).map(|at| at.value);
    let mut events =
        Events { kind: kind.unwrap_or_default(), call, data, seq, count: 1, every: Duration::ZERO };
    if many {
        events.count = section.number("count", 1..=1_000_000_u32).map_or(1, |at| at.value);
        events.every = read::duration(&mut section, "every").map_or(Duration::ZERO, |at| at.value);
    }
    section.finish();
    events
}

fn expect(mut section: Section<'_, '_>) -> Expect {
    let expect = Expect {
        does: read::lines(&mut section, "does"),
        acked: section.number("acked", 0..=i64::MAX as u64).map(|at| at.value),
        requests: requests(&mut section),
        order: section.bool("order").is_some_and(|at| at.value),
        stored: read::patterns(&mut section, "stored"),
        bodies: read::lines(&mut section, "bodies"),
        fails: read::failing(&mut section),
    };
    section.finish();
    expect
}

/// `3` or `"1..50"`.
fn requests(section: &mut Section<'_, '_>) -> Option<RangeInclusive<u64>> {
    let at = section.value("requests")?;
    let text = match at.value {
        toml::de::DeValue::Integer(integer) => integer.as_str().to_owned(),
        _ => crate::document::as_string(section.document(), &at)?.value,
    };
    let (from, to) = text.split_once("..").unwrap_or((&text, &text));
    match (from.trim().parse(), to.trim_start_matches('=').trim().parse()) {
        (Ok(from), Ok(to)) if from <= to => Some(from..=to),
        _ => {
            let fix = "write a number, e.g. 3, or from and to, e.g. \"1..50\"";
            section.document().complain(&at.span, &at.key, format!("`{text}` is no count"), fix);
            None
        }
    }
}
