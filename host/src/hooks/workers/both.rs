//! Both versions of a hook on trial, asked the same: whose word counts, and how they compare.

use plugin_runtime::hooks::{HookFailure, Plan, Step, Verdict};

use super::{Answered, Ask};
use crate::hooks::canary::{Canary, Heard};

/// Whom to ask of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    New,
    Old,
}

/// The new version's word counts, and what came of comparing it; when it gives none, the old one's does.
pub(super) fn try_out(
    canary: &Canary,
    ask: &Ask,
    mut said: impl FnMut(Version) -> Answered,
) -> (Answered, Option<Heard>) {
    let new = said(Version::New);
    let failed = match new.failure() {
        None => None,
        Some(HookFailure::Late { .. }) => Some(Heard::Late),
        Some(failure) => Some(Heard::Failed(failure.to_string())),
    };
    if let Some(failed) = failed {
        canary.note(failed);
        return (said(Version::Old), None);
    }
    let heard = match ask {
        // A treatment's state is of its own version: only its beginning can be compared.
        Ask::Treat { state, .. } if !state.is_empty() => Heard::Alone,
        _ => compared(ask, &new, &said(Version::Old)),
    };
    canary.note(heard.clone());
    (new, Some(heard))
}

/// What came of asking both versions. Sentences may be worded anew.
fn compared(ask: &Ask, new: &Answered, old: &Answered) -> Heard {
    let other = |new: String, old: String| match new == old {
        true => Heard::Other(format!("{new}, and not the same one as before")),
        false => Heard::Other(format!("{new} instead of {old}")),
    };
    match (new, old) {
        (Answered::Route(Ok(new)), Answered::Route(Ok(old))) => {
            let is_behind_lookups =
                matches!(ask, Ask::Route { answers, .. } if !answers.is_empty());
            match new.verdict == old.verdict && new.patch == old.patch {
                true => Heard::Same,
                // It would have looked up something else.
                false if is_behind_lookups && matches!(old.verdict, Verdict::Need(_)) => {
                    Heard::Alone
                }
                false => other(verdict(&new.verdict), verdict(&old.verdict)),
            }
        }
        (Answered::Treat(Ok(new)), Answered::Treat(Ok(old))) => {
            match new.steps == old.steps && new.keys == old.keys && new.patch == old.patch {
                true => Heard::Same,
                false => other(steps(new), steps(old)),
            }
        }
        _ => Heard::Alone,
    }
}

/// By kind only: no address, header or digit of a caller gets into a report.
fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Need(lookups) => {
            let ids: Vec<&str> = lookups.iter().map(|lookup| lookup.id.as_str()).collect();
            format!("need {}", ids.join(" "))
        }
        Verdict::Send(target) => target.to_string(),
        Verdict::Treat(treat) => {
            let then = treat.then.as_ref().map(|then| format!(", then {then}"));
            format!("treatment:{}{}", treat.treatment, then.unwrap_or_default())
        }
    }
}

/// By kind only.
fn steps(plan: &Plan) -> String {
    let kind = |step: &Step| match step {
        Step::Answer => "answer",
        Step::Play(_) => "play",
        Step::Say(_) => "say",
        Step::Music(_) => "music",
        Step::Silence => "silence",
        Step::Collect(_) => "collect",
        Step::Wait(_) => "wait",
        Step::HandOver(_) => "hand over",
    };
    match &plan.steps {
        None => "the earlier plan".to_owned(),
        Some(steps) if steps.is_empty() => "no steps".to_owned(),
        Some(steps) => steps.iter().map(kind).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use plugin_runtime::hooks::{
        Answer, Cause, Decision, HookError, HttpRequest, Lookup, Question, Target,
    };

    use super::*;
    use crate::hooks::{
        canary::{Budgets, Tally},
        tests::instance,
    };

    fn decision(verdict: Verdict) -> Answered {
        let (patch, stores, reason) = Default::default();
        Answered::Route(Ok(Decision { verdict, patch, stores, reason, facts: Vec::new() }))
    }

    fn need(id: &str) -> Answered {
        let request = HttpRequest {
            method: "GET".to_owned(),
            url: "https://crm.example.org/?caller=4930123456".to_owned(),
            headers: Vec::new(),
            secret_headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
        };
        let question = Question::Http(request);
        decision(Verdict::Need(vec![Lookup { id: id.to_owned(), question, facts: Vec::new() }]))
    }

    fn send(queue: &str) -> Answered {
        decision(Verdict::Send(Target::queue(queue)))
    }

    fn plan(steps: Vec<Step>) -> Answered {
        Answered::Treat(Ok(Plan { steps: Some(steps), ..Plan::default() }))
    }

    fn route(answers: &[&str]) -> Ask {
        let answers = answers.iter().map(|id| Answer { id: (*id).to_owned(), ..Answer::default() });
        Ask::Route { call: Box::default(), answers: answers.collect() }
    }

    fn treat(state: &[u8]) -> Ask {
        Ask::Treat {
            waiting: Box::default(),
            state: state.to_vec(),
            wrote: "tiny 2.0.0".to_owned(),
            cause: Cause::Started,
            answers: Vec::new(),
        }
    }

    /// Whose word counts, and what the trial has counted, after each version said its own.
    fn tried(ask: &Ask, new: Answered, old: Answered) -> (Version, Tally) {
        let budgets = Budgets { traps: 9, late: 9, differences_percent: 100 };
        let canary = Canary::new(instance("2.0.0"), 100, budgets, |_| {});
        let (mut new, mut old) = (Some(new), Some(old));
        let (_, heard) = try_out(&canary, ask, |version| {
            let said = if version == Version::New { new.take() } else { old.take() };
            said.expect("nobody is asked twice")
        });
        let counts = if heard.is_some() { Version::New } else { Version::Old };
        let tally = canary.tally().clone();
        (counts, tally)
    }

    #[test]
    fn a_canary_that_traps_or_is_late_is_noted_and_the_old_versions_word_counts() {
        for (failure, traps, late) in [
            (HookFailure::Trapped("unreachable".to_owned()), 1, 0),
            (HookFailure::Refused(HookError::new("moody", "not today")), 1, 0),
            (HookFailure::Nonsense("a `&`".to_owned()), 1, 0),
            (HookFailure::Late { after: Duration::from_millis(5) }, 0, 1),
        ] {
            let asks = [
                (route(&[]), Answered::Route(Err(failure.clone())), send("support")),
                (route(&["crm"]), Answered::Route(Err(failure.clone())), send("support")),
                (treat(b""), Answered::Treat(Err(failure.clone())), plan(vec![Step::Answer])),
                (treat(b"x"), Answered::Treat(Err(failure.clone())), plan(vec![Step::Answer])),
            ];
            for (ask, new, old) in asks {
                let (counts, tally) = tried(&ask, new, old);
                assert_eq!((counts, tally.asked), (Version::Old, 1), "{failure}");
                assert_eq!(
                    (tally.traps, tally.late, tally.compared),
                    (traps, late, 0),
                    "{failure}"
                );
            }
        }
    }

    #[test]
    fn a_canary_is_compared_at_the_first_question_behind_lookups_and_at_a_treatments_beginning() {
        let trapped = || Answered::Route(Err(HookFailure::Trapped(String::new())));
        // How many could be compared, and how many were others.
        let rows = [
            (route(&[]), send("support"), send("support"), (1, 0)),
            (route(&[]), send("sales"), send("support"), (1, 1)),
            (route(&[]), need("crm"), send("support"), (1, 1)),
            (route(&[]), need("crm"), need("vip"), (1, 1)),
            (route(&[]), send("sales"), need("vip"), (1, 1)),
            (route(&[]), send("sales"), trapped(), (0, 0)),
            (route(&["crm"]), send("support"), send("support"), (1, 0)),
            (route(&["crm"]), send("sales"), send("support"), (1, 1)),
            (route(&["crm"]), need("vip"), send("support"), (1, 1)),
            (route(&["crm"]), need("vip"), need("vip"), (1, 0)),
            // The old version would have looked up something else: nobody knows what it says then.
            (route(&["crm"]), send("sales"), need("vip"), (0, 0)),
            (treat(b""), plan(vec![Step::Answer]), plan(vec![Step::Answer]), (1, 0)),
            (treat(b""), plan(vec![Step::Answer]), plan(vec![Step::Silence]), (1, 1)),
            (treat(b"x"), plan(vec![Step::Answer]), plan(vec![Step::Silence]), (0, 0)),
        ];
        for (row, (ask, new, old, expected)) in rows.into_iter().enumerate() {
            let (counts, tally) = tried(&ask, new, old);
            assert_eq!((counts, tally.asked), (Version::New, 1), "row {row}");
            assert_eq!((tally.compared, tally.differences), expected, "row {row}");
            assert_eq!((tally.traps, tally.late), (0, 0), "row {row}");
        }
    }

    #[test]
    fn a_difference_of_a_canary_names_kinds_and_ids_and_no_address() {
        let (_, tally) = tried(&route(&[]), need("crm"), need("vip"));
        assert_eq!(tally.last_difference, "need crm instead of need vip");
    }
}
