//! Playing a scenario of a router: each step is one decision, lookups included.

use std::time::Duration;

use plugin_runtime::{
    Plugin,
    hooks::{Answer, Call, Decision, HookFailure, MAX_LOOKUPS, Patch, Router, Treat},
};

use super::{Place, Played, hooks};
use crate::scenario::{
    Scenario,
    pattern::Pattern,
    read::target_text,
    router::{Expect, Step, Verdict},
};
use plugin_runtime::hooks::Verdict as Said;

/// More rounds than this no host allows.
const MAX_ROUNDS: u32 = 16;

pub(super) fn play(plugin: &Plugin, scenario: &Scenario, steps: &[Step], played: &mut Played) {
    if !hooks::is_kind(plugin, played) {
        return;
    }
    let config = match hooks::config(plugin, scenario) {
        Ok(config) => config,
        Err(error) => return played.fail(&Place::start(), "limits", error.to_string()),
    };
    let log = config.log.clone();
    let router = match Router::start(plugin, config) {
        Ok(router) => router,
        Err(failure) => return played.fail(&Place::start(), "the start", failure.to_string()),
    };
    let kept = hooks::Kept::of(scenario);
    let mut desk = Desk { plugin, scenario, router, kept, played };
    for (index, step) in steps.iter().enumerate() {
        desk.decide(index + 1, step);
    }
    desk.played.log = log.lines().into_iter().map(|line| line.text).collect();
}

struct Desk<'a> {
    plugin: &'a Plugin,
    scenario: &'a Scenario,
    router: Router,
    kept: hooks::Kept,
    played: &'a mut Played,
}

/// All rounds of one decision.
#[derive(Default)]
struct Rounds {
    count: u32,
    lookups: Vec<(Duration, String)>,
    answers: Vec<Answer>,
    took: Duration,
}

impl Desk<'_> {
    fn decide(&mut self, number: usize, step: &Step) {
        let begin = self.scenario.clock.begin();
        let at = Duration::from_nanos(step.when.0.0.saturating_sub(begin.0));
        let place = Place::of(number, &step.title, step.line, at);
        self.played.happened(at, "caller", format!("calls {}", step.call.dialled));
        let mut rounds = Rounds::default();
        let decision = self.rounds(step, at, &place, &mut rounds);
        let after = at + rounds.took;
        self.played.lasted = self.played.lasted.max(after);
        match decision {
            Some(Ok(decision)) => {
                self.note(after, &decision);
                self.judge(&place, &step.expect, &decision, &rounds);
                for store in &decision.stores {
                    self.kept.store(store);
                }
            }
            Some(Err(failure)) => {
                let (code, message) = hooks::failure(&failure);
                self.played.happened(after, "plugin", failure.to_string());
                let expected = match &step.expect.verdict {
                    Some(Verdict::Fails(failing)) => Some(failing),
                    _ => None,
                };
                self.played.plugin_failed(&place, expected, code, &message);
            }
            // Why there is none has been told.
            None => {}
        }
    }

    /// Asks until there is a verdict. None: the script does not go so far.
    fn rounds(
        &mut self,
        step: &Step,
        at: Duration,
        place: &Place,
        rounds: &mut Rounds,
    ) -> Option<Result<Decision, HookFailure>> {
        loop {
            rounds.count += 1;
            let call = self.call(step, rounds.took);
            let begin = step.when.0;
            let now = hooks::now(begin, rounds.took);
            let now = calls::Now { monotonic: now.monotonic + at, ..now };
            let decision = match self.router.route(now, &call, &rounds.answers) {
                Ok(decision) => decision,
                Err(failure) => return Some(Err(failure)),
            };
            let Said::Need(lookups) = &decision.verdict else { return Some(Ok(decision)) };
            if rounds.count >= MAX_ROUNDS || rounds.lookups.len() + lookups.len() > MAX_LOOKUPS {
                let text = format!(
                    "it asks for lookups again and again; a decision has at most {MAX_LOOKUPS}"
                );
                return Some(Err(HookFailure::Nonsense(text)));
            }
            let mut longest = Duration::ZERO;
            for lookup in lookups {
                let (line, then) = (hooks::lookup_line(lookup), at + rounds.took);
                self.played.happened(then, "plugin", format!("looks up {line}"));
                rounds.lookups.push((then, line));
                let manifest = self.plugin.manifest();
                match hooks::look_up(lookup, &step.answers, &self.kept, manifest) {
                    Ok(found) => {
                        longest = longest.max(found.after);
                        let line = hooks::answer_line(&found.answer);
                        self.played.happened(then + found.after, "web", line);
                        rounds.answers.push(found.answer);
                    }
                    Err(problem) => {
                        self.played.fail(place, "lookups", problem);
                        return None;
                    }
                }
            }
            rounds.took += longest;
        }
    }

    fn call(&self, step: &Step, waited: Duration) -> Call {
        let now = calls::Timestamp(step.when.0.0 + crate::scenario::nanos(waited));
        let zones = &self.router.wishes().time_zones;
        let times = self.scenario.clock.shows(now, zones);
        Call { times, age: step.call.age + waited, ..step.call.clone() }
    }

    fn note(&mut self, at: Duration, decision: &Decision) {
        let lines = [verdict_line(&decision.verdict)]
            .into_iter()
            .chain(hooks::patch_lines(&decision.patch))
            .chain(decision.stores.iter().map(hooks::store_line))
            .chain((!decision.reason.is_empty()).then(|| format!("reason {}", decision.reason)));
        for line in lines {
            self.played.happened(at, "plugin", line);
        }
    }

    fn judge(&mut self, place: &Place, expect: &Expect, decision: &Decision, rounds: &Rounds) {
        let played = &mut *self.played;
        let Patch { priority, language, variables, facts } = &decision.patch;
        match &expect.verdict {
            None => {}
            Some(verdict) => {
                if !is_verdict(verdict, &decision.verdict) {
                    let reason = match decision.reason.as_str() {
                        "" => String::new(),
                        reason => format!(", because: {reason}"),
                    };
                    let message = format!(
                        "it said `{}`{reason}; expected was `{}`",
                        verdict_line(&decision.verdict),
                        expected_line(verdict)
                    );
                    played.fail(place, "the verdict", message);
                } else if let (Verdict::Treat { facts, .. }, Said::Treat(treat)) =
                    (verdict, &decision.verdict)
                {
                    named(place, "treat.facts", facts, &treat.facts, played);
                }
            }
        }
        let number = priority.map(|priority| priority.to_string());
        one(place, "priority", expect.priority.as_ref(), number.as_deref(), played);
        one(place, "language", expect.language.as_ref(), language.as_deref(), played);
        one(place, "reason", expect.reason.as_ref(), Some(&decision.reason), played);
        named(place, "variables", &expect.variables, variables, played);
        named(place, "facts", &expect.facts, facts, played);
        if let Some(lookups) = &expect.lookups {
            played.compare(place, "lookups", lookups, &rounds.lookups);
        }
        if let Some(wanted) = expect.rounds
            && wanted != rounds.count
        {
            let message = format!("it was asked {} times; expected were {wanted}", rounds.count);
            played.fail(place, "rounds", message);
        }
        for (key, pattern) in &expect.stores {
            let store = decision.stores.iter().rev().find(|store| store.key == *key);
            let message = match (store, pattern) {
                (None, _) => format!("it does not touch `{key}`"),
                (Some(store), pattern) => {
                    let value = store.value.as_ref().map(|it| String::from_utf8_lossy(it));
                    hooks::expect_key(
                        place,
                        "stores",
                        key,
                        pattern.as_ref(),
                        value.as_deref(),
                        played,
                    );
                    continue;
                }
            };
            played.fail(place, "stores", message);
        }
    }
}

fn one(
    place: &Place,
    what: &str,
    wanted: Option<&Pattern>,
    value: Option<&str>,
    played: &mut Played,
) {
    let Some(wanted) = wanted else { return };
    match value {
        Some(value) if wanted.is(value) => {}
        Some(value) => {
            played.fail(place, what, format!("it is `{value}`; expected was `{wanted}`"));
        }
        None => played.fail(place, what, format!("it sets none; expected was `{wanted}`")),
    }
}

fn named(
    place: &Place,
    what: &str,
    wanted: &[(String, Option<Pattern>)],
    got: &[(String, String)],
    played: &mut Played,
) {
    for (name, pattern) in wanted {
        // Later ones win.
        let value = got.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        hooks::expect_key(place, what, name, pattern.as_ref(), value, played);
    }
}

fn is_verdict(wanted: &Verdict, said: &Said) -> bool {
    match (wanted, said) {
        (Verdict::Pass, Said::Pass) => true,
        (Verdict::Send(wanted), Said::Send(target)) => wanted.is(target),
        (Verdict::Treat { treatment, then, .. }, Said::Treat(treat)) => {
            treatment.as_ref().is_none_or(|wanted| wanted.is(&treat.treatment))
                && then
                    .as_ref()
                    .is_none_or(|wanted| treat.then.as_ref().is_some_and(|then| wanted.is(then)))
        }
        _ => false,
    }
}

fn verdict_line(verdict: &Said) -> String {
    match verdict {
        Said::Pass => "pass".to_owned(),
        Said::Need(_) => "need".to_owned(),
        Said::Send(target) => format!("send {}", target_text(target)),
        Said::Treat(Treat { treatment, then, .. }) => {
            let by = if treatment.is_empty() { String::new() } else { format!(" by {treatment}") };
            let then =
                then.as_ref().map_or(String::new(), |then| format!(", then {}", target_text(then)));
            format!("treat{by}{then}")
        }
    }
}

fn expected_line(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Send(target) => format!("send {target}"),
        Verdict::Treat { treatment, then, .. } => {
            let by = treatment.as_ref().map_or(String::new(), |it| format!(" by {it}"));
            let then = then.as_ref().map_or(String::new(), |it| format!(", then {it}"));
            format!("treat{by}{then}")
        }
        Verdict::Fails(failing) => format!("fails {}", failing.code),
    }
}
