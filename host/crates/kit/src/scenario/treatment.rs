//! Scenarios of wait treatments: a caller who hears, presses keys and leaves.

use std::{collections::BTreeSet, time::Duration};

use plugin_runtime::hooks::{Cause, Waiting};

use super::{
    Head,
    pattern::{Line, Pattern},
    read::{self, Failing, Replies},
};
use crate::document::Section;

/// What happens.
#[derive(Clone, Debug)]
pub struct Script {
    /// The caller, and what is known of the wait when it begins.
    pub waiting: Waiting,
    /// What comes of lookups.
    pub answers: Replies,
    /// How long recordings last.
    pub media: Media,
    /// Until the first step.
    pub expect: Expect,
    /// In order of time.
    pub steps: Vec<Step>,
    /// When the caller has waited long enough.
    pub until: Option<Duration>,
}

/// Recordings of the PBX.
#[derive(Clone, Debug)]
pub struct Media {
    /// By name.
    pub lengths: Vec<(String, Duration)>,
    /// Those not named.
    pub usual: Duration,
    /// Those it does not have.
    pub missing: BTreeSet<String>,
}

/// Something that happens to the caller.
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
    /// The caller presses keys.
    Keys(Vec<char>),
    /// The caller hangs up.
    HangsUp,
    /// The treatment is told of something.
    Told(Cause),
}

/// What the caller must hear, and more.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// In order; exactly these.
    pub hears: Option<Vec<Line>>,
    /// Where the caller ends.
    pub ends: Option<Pattern>,
    /// Other lines, in order, others between them allowed.
    pub does: Vec<Line>,
    /// The treatment fails.
    pub fails: Option<Failing>,
}

/// Reads it all.
pub(super) fn script(root: &mut Section<'_, '_>, head: &Head) -> Script {
    let document = root.document();
    let call = root
        .section("call")
        .map_or_else(read::usual_call, |section| read::call(section, &read::usual_call()));
    let mut waiting = Waiting { call, ..Waiting::default() };
    if let Some(mut section) = root.section("waiting") {
        waiting.then = section.value("then").and_then(|at| read::target(document, &at));
        waiting.facts = section.texts("facts");
        waiting.position = section.number("position", 1..=100_000_u32).map(|at| at.value);
        waiting.estimate_secs = section.number("estimate-secs", 0..=86_400_u32).map(|at| at.value);
        section.finish();
    }
    let answers = read::replies(root, "answers");
    let media = media(root);
    let first = root.section("expect").map(expect).unwrap_or_default();
    let mut last = Duration::ZERO;
    let steps = root.sections("step").into_iter().map(|section| step(section, &mut last)).collect();
    Script { waiting, answers, media, expect: first, steps, until: head.until }
}

fn media(root: &mut Section<'_, '_>) -> Media {
    let mut media =
        Media { lengths: Vec::new(), usual: Duration::from_secs(2), missing: BTreeSet::new() };
    let document = root.document();
    let Some(at) = root.value("media") else { return media };
    if let Some(mut section) = Section::of(document, &at) {
        media.usual = read::duration(&mut section, "usual").map_or(media.usual, |at| at.value);
        let missing = section.strings("missing").unwrap_or_default();
        media.missing = missing.into_iter().map(|at| at.value).collect();
    }
    // The other keys are the names of recordings.
    let names = Section::of(document, &at).map(Section::into_entries).unwrap_or_default();
    for (name, at) in names {
        if name != "usual" && name != "missing" {
            let time = crate::document::as_string(document, &at)
                .and_then(|at| read::as_duration(document, &at));
            media.lengths.extend(time.map(|at| (name, at.value)));
        }
    }
    media
}

fn step(mut section: Section<'_, '_>, last: &mut Duration) -> Step {
    let line = section.line();
    let title = section.string("title").map(|at| at.value).unwrap_or_default();
    let at = super::at(&mut section, last);
    let mut happens = Vec::new();
    for name in ["key", "keys"] {
        if let Some(at) = section.string(name) {
            if at.value.is_empty() || !at.value.chars().all(is_key) {
                let fix = "a phone has 0-9, *, # and A-D";
                section.document().complain(&at.span, &at.key, "these are no keys", fix);
            }
            happens.push(Happens::Keys(at.value.chars().collect()));
        }
    }
    if section.bool("hangs-up").is_some_and(|at| at.value) {
        happens.push(Happens::HangsUp);
    }
    if let Some(at) = section.string("came-back") {
        happens.push(Happens::Told(Cause::CameBack(at.value)));
    }
    if section.bool("resumed").is_some_and(|at| at.value) {
        happens.push(Happens::Told(Cause::Resumed));
    }
    let changed = section.texts("changed");
    if !changed.is_empty() {
        happens.push(Happens::Told(Cause::Changed(changed)));
    }
    if happens.len() > 1 {
        section
            .complain("several things happen in it", "make a step of each; they may have one `at`");
    }
    let expect = section.section("expect").map(expect).unwrap_or_default();
    section.finish();
    Step { line, title, at, happens: happens.pop().unwrap_or(Happens::Nothing), expect }
}

fn is_key(letter: char) -> bool {
    letter.is_ascii_digit() || matches!(letter, '*' | '#' | 'A'..='D')
}

fn expect(mut section: Section<'_, '_>) -> Expect {
    let expect = Expect {
        hears: read::lines(&mut section, "hears"),
        ends: read::pattern(&mut section, "ends"),
        does: read::lines(&mut section, "does").unwrap_or_default(),
        fails: read::failing(&mut section),
    };
    section.finish();
    expect
}
