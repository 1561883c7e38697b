//! Scenarios of routers: one call that is decided in each step.

use calls::Timestamp;
use plugin_runtime::hooks::Call;

use super::{
    Clock, Head, When,
    pattern::{Line, Pattern},
    read::{self, Failing, Replies, TargetPattern},
};
use crate::document::Section;

/// One call.
#[derive(Clone, Debug)]
pub struct Step {
    /// Of the file.
    pub line: usize,
    /// For the report.
    pub title: String,
    /// When it is decided.
    pub when: When,
    /// The call.
    pub call: Call,
    /// What comes of lookups.
    pub answers: Replies,
    /// What it must say.
    pub expect: Expect,
}

/// What a decision must be. What is not named is not looked at.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// Where to.
    pub verdict: Option<Verdict>,
    /// The priority it sets.
    pub priority: Option<Pattern>,
    /// The language it sets.
    pub language: Option<Pattern>,
    /// Channel variables it sets.
    pub variables: Vec<(String, Option<Pattern>)>,
    /// Facts it finds out.
    pub facts: Vec<(String, Option<Pattern>)>,
    /// All lookups it asks for.
    pub lookups: Option<Vec<Line>>,
    /// What it stores; none is a key it removes.
    pub stores: Vec<(String, Option<Pattern>)>,
    /// Its sentence.
    pub reason: Option<Pattern>,
    /// How often it is asked.
    pub rounds: Option<u32>,
}

/// The heart of it.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// No opinion.
    Pass,
    /// There.
    Send(TargetPattern),
    /// Under treatment first.
    Treat {
        /// By whom.
        treatment: Option<Pattern>,
        /// Where to afterwards.
        then: Option<TargetPattern>,
        /// For the treatment.
        facts: Vec<(String, Option<Pattern>)>,
    },
    /// It fails.
    Fails(Failing),
}

/// Reads the steps.
pub(super) fn steps(root: &mut Section<'_, '_>, head: &Head) -> Vec<Step> {
    let base = root
        .section("call")
        .map_or_else(read::usual_call, |section| read::call(section, &read::usual_call()));
    let mut last = head.clock.begin();
    root.sections("step").into_iter().map(|section| step(section, &base, head, &mut last)).collect()
}

fn step(mut section: Section<'_, '_>, base: &Call, head: &Head, last: &mut Timestamp) -> Step {
    let line = section.line();
    let title = section.string("title").map(|at| at.value).unwrap_or_default();
    let when = when(&mut section, &head.clock, last);
    let call = match section.section("call") {
        Some(call) => read::call(call, base),
        None => base.clone(),
    };
    let answers = read::replies(&mut section, "answers");
    let expect = section.section("expect").map(expect).unwrap_or_default();
    section.finish();
    Step { line, title, when, call, answers, expect }
}

fn when(section: &mut Section<'_, '_>, clock: &Clock, last: &mut Timestamp) -> When {
    let at = read::duration(section, "at");
    let civil = section.string("clock");
    if at.is_some() && civil.is_some() {
        section.complain("it has both `at` and `clock`", "keep one of the two");
    }
    let mut when = When(*last);
    if let Some(at) = at {
        when = When(Timestamp(clock.begin().0.saturating_add(super::nanos(at.value))));
    } else if let Some(civil) = civil {
        match clock.moment(&civil.value) {
            // Calls of a year may come in any order.
            Ok(moment) => when = When(moment),
            Err(problem) => section.document().complain(&civil.span, &civil.key, problem, ""),
        }
    }
    *last = when.0;
    when
}

fn expect(mut section: Section<'_, '_>) -> Expect {
    let document = section.document();
    let mut verdicts = Vec::new();
    if section.bool("pass").is_some_and(|at| at.value) {
        verdicts.push(Verdict::Pass);
    }
    if let Some(at) = section.value("send") {
        verdicts.extend(read::target_pattern(document, &at).map(Verdict::Send));
    }
    if let Some(mut treat) = section.section("treat") {
        let treatment = read::pattern(&mut treat, "treatment");
        let then = treat.value("then").and_then(|at| read::target_pattern(document, &at));
        let facts = read::patterns(&mut treat, "facts");
        treat.finish();
        verdicts.push(Verdict::Treat { treatment, then, facts });
    }
    verdicts.extend(read::failing(&mut section).map(Verdict::Fails));
    if verdicts.len() > 1 {
        section.complain(
            "it expects several verdicts",
            "keep one of `pass`, `send`, `treat` and `fails`",
        );
    }
    let expect = Expect {
        verdict: verdicts.pop(),
        priority: read::pattern(&mut section, "priority"),
        language: read::pattern(&mut section, "language"),
        variables: read::patterns(&mut section, "variables"),
        facts: read::patterns(&mut section, "facts"),
        lookups: read::lines(&mut section, "lookups"),
        stores: read::patterns(&mut section, "stores"),
        reason: read::pattern(&mut section, "reason"),
        rounds: section.number("rounds", 1..=100_u32).map(|at| at.value),
    };
    section.finish();
    expect
}
