//! What stays with a call of each hook's word: what was said, and on which facts.

use calls::event::{HookOutcome, Party};
use plugin_runtime::hooks::{Answer, Call, HookFailure};

/// Facts of one word.
const MOST_FACTS: usize = 40;
/// Bytes of one value.
const LONGEST_VALUE: usize = 256;
/// Bytes of a sentence.
const LONGEST_REASON: usize = 512;

/// The outcome and the sentence of a failure. Where in the guest it was is for the log.
pub(super) fn of_failure(failure: &HookFailure) -> (HookOutcome, String) {
    let sentence = match failure {
        HookFailure::Trapped(trace) => format!("it trapped: {}", cause(trace)),
        other => other.to_string(),
    };
    (HookOutcome::from(failure.code()), shortened(&sentence, LONGEST_REASON))
}

/// The cause at the end of a trace, else its first line.
fn cause(trace: &str) -> &str {
    let last = trace.rsplit_once("Caused by:").map_or(trace, |(_, cause)| cause);
    last.trim().lines().next().unwrap_or_default().trim()
}

/// A sentence of a hook.
pub(super) fn reason(text: &str) -> String {
    shortened(text, LONGEST_REASON)
}

/// What a hook was told about the call, as far as it is worth knowing afterwards.
pub(super) fn facts(call: &Call, answers: &[Answer]) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    let mut tell = |name: String, value: &str| {
        if !value.is_empty() && facts.len() < MOST_FACTS {
            facts.push((name, shortened(value, LONGEST_VALUE)));
        }
    };
    tell("dialled".to_owned(), &call.dialled);
    tell("caller".to_owned(), number(call));
    tell("entry".to_owned(), &call.entry);
    tell("returned-from".to_owned(), &call.returned_from);
    tell("outcome".to_owned(), &call.outcome);
    tell("language".to_owned(), &call.language);
    if let Some(priority) = call.priority {
        tell("priority".to_owned(), &priority.to_string());
    }
    for answer in answers {
        let value = match &answer.error {
            None => answer.status.to_string(),
            Some(error) => error.message.clone(),
        };
        tell(format!("answer.{}", answer.id), &value);
    }
    for (name, value) in &call.facts {
        tell(format!("fact.{name}"), value);
    }
    for (name, value) in &call.variables {
        tell(format!("variable.{name}"), value);
    }
    facts
}

/// As other events show the caller.
fn number(call: &Call) -> &str {
    match call.caller_e164.as_str() {
        "" => &call.caller.number,
        e164 => e164,
    }
}

/// A time in microseconds.
pub(super) fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The caller as hooks see them.
pub(super) fn raw_party(party: &Party) -> calls::fact::RawParty {
    calls::fact::RawParty {
        number: party.raw.clone(),
        name: party.name.clone().unwrap_or_default(),
        presentation: party.presentation,
    }
}

fn shortened(text: &str, most: usize) -> String {
    match text
        .char_indices()
        .map(|(at, char)| at + char.len_utf8())
        .take_while(|end| *end <= most)
        .last()
    {
        _ if text.len() <= most => text.to_owned(),
        Some(end) => format!("{}...", &text[..end]),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trap_is_told_by_its_cause_without_the_way_there() {
        let trace = "error while executing at wasm backtrace:\n    0: 0x1 - a!b\n\nCaused by:\n    wasm trap: unreachable";
        let sentence = |trace: &str| of_failure(&HookFailure::Trapped(trace.to_owned())).1;
        assert_eq!(sentence(trace), "it trapped: wasm trap: unreachable");
        assert_eq!(sentence("no memory left"), "it trapped: no memory left");
    }

    #[test]
    fn a_panic_is_told_in_the_guests_own_words() {
        let trace = "error while executing at wasm backtrace:\n    0: 0x1 - a!b\n\nCaused by:\n    wasm trap: unreachable\n\nCaused by:\n    panicked at src/lib.rs:17:23: no rule";
        let failure = HookFailure::Trapped(trace.to_owned());
        let told = of_failure(&failure);
        assert_eq!(
            told,
            (HookOutcome::Trapped, "it trapped: panicked at src/lib.rs:17:23: no rule".to_owned())
        );
    }
}
