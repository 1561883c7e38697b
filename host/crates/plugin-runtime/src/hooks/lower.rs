//! What hooks are given, as they are given it: borrowed, nothing is copied but lists of pairs.

use std::time::Duration;

use calls::fact::{Presentation, RawParty};

use super::{
    Answer, Attributes, Call, Cause, CivilTime, Event, HookError, ObserverInput, Target, Waiting,
};
use crate::bindings::{
    borrowed_facts::Party,
    hooks::{
        exports::jackfield::{
            observer::observer,
            treatment::wait_treatment::{self, Collected, FailedStep},
        },
        jackfield::hooks::types as wit,
    },
};

/// Pairs of texts, borrowed.
pub(super) struct Pairs<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Pairs<'a> {
    pub(super) fn of(list: &'a Attributes) -> Self {
        Self(list.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
    }

    pub(super) fn list(&'a self) -> &'a [(&'a str, &'a str)] {
        &self.0
    }
}

/// The lists of a call.
pub(super) struct CallLists<'a> {
    variables: Pairs<'a>,
    times: Vec<wit::CivilTime<'a>>,
    facts: Pairs<'a>,
}

impl<'a> CallLists<'a> {
    pub(super) fn of(call: &'a Call) -> Self {
        Self {
            variables: Pairs::of(&call.variables),
            times: call.times.iter().map(time).collect(),
            facts: Pairs::of(&call.facts),
        }
    }

    pub(super) fn call(&'a self, call: &'a Call) -> wit::Call<'a> {
        wit::Call {
            id: &call.id,
            connector: &call.connector,
            entry: &call.entry,
            dialled: &call.dialled,
            caller: party(&call.caller),
            caller_e164: &call.caller_e164,
            returned_from: &call.returned_from,
            outcome: &call.outcome,
            attempt: call.attempt,
            age_ms: millis(call.age),
            priority: call.priority,
            language: &call.language,
            variables: self.variables.list(),
            times: &self.times,
            facts: self.facts.list(),
        }
    }
}

/// Answers, and their headers.
pub(super) struct AnswerLists<'a>(Vec<(&'a Answer, Pairs<'a>)>);

impl<'a> AnswerLists<'a> {
    pub(super) fn of(answers: impl IntoIterator<Item = &'a Answer>) -> Self {
        Self(answers.into_iter().map(|answer| (answer, Pairs::of(&answer.headers))).collect())
    }

    pub(super) fn answers(&'a self) -> Vec<wit::Answer<'a>> {
        self.0.iter().map(|(answer, headers)| one_answer(answer, headers)).collect()
    }
}

fn one_answer<'a>(answer: &'a Answer, headers: &'a Pairs<'a>) -> wit::Answer<'a> {
    wit::Answer {
        id: &answer.id,
        status: answer.status,
        headers: headers.list(),
        body: &answer.body,
        error: answer.error.as_ref().map(failure),
    }
}

fn failure(error: &HookError) -> wit::Failure<'_> {
    wit::Failure { code: &error.code, message: &error.message, retryable: error.retryable }
}

/// The lists of a wait.
pub(super) struct WaitingLists<'a> {
    call: CallLists<'a>,
    facts: Pairs<'a>,
    then: Pairs<'a>,
}

impl<'a> WaitingLists<'a> {
    pub(super) fn of(waiting: &'a Waiting) -> Self {
        let then = match &waiting.then {
            Some(Target::Queue(queue)) => Pairs::of(&queue.facts),
            Some(Target::Extension(extension)) => Pairs::of(&extension.facts),
            Some(Target::Dialplan(place)) => Pairs::of(&place.facts),
            Some(Target::HangUp(end)) => Pairs::of(&end.facts),
            Some(Target::ContinueInDialplan) | None => Pairs(Vec::new()),
        };
        Self { call: CallLists::of(&waiting.call), facts: Pairs::of(&waiting.facts), then }
    }

    pub(super) fn waiting(&'a self, waiting: &'a Waiting) -> wait_treatment::Waiting<'a> {
        wait_treatment::Waiting {
            call: self.call.call(&waiting.call),
            waited_ms: millis(waiting.waited),
            then: waiting.then.as_ref().map(|then| target(then, self.then.list())),
            facts: self.facts.list(),
            position: waiting.position,
            estimate_secs: waiting.estimate_secs,
        }
    }
}

fn target<'a>(target: &'a Target, facts: &'a [(&'a str, &'a str)]) -> wit::TargetParam<'a> {
    match target {
        Target::Queue(queue) => wit::TargetParam::Queue(wit::QueueTargetParam {
            name: &queue.name,
            priority: queue.priority,
            timeout_secs: secs(queue.timeout),
            facts,
        }),
        Target::Extension(extension) => wit::TargetParam::Extension(wit::ExtensionTargetParam {
            number: &extension.number,
            timeout_secs: secs(extension.timeout),
            facts,
        }),
        Target::Dialplan(place) => wit::TargetParam::Dialplan(wit::DialplanTargetParam {
            context: &place.context,
            extension: &place.extension,
            priority: place.priority,
            facts,
        }),
        Target::ContinueInDialplan => wit::TargetParam::ContinueInDialplan,
        Target::HangUp(end) => {
            wit::TargetParam::HangUp(wit::HangUpTargetParam { q850: end.q850, facts })
        }
    }
}

/// `key` and `changed` are what a cause of that kind holds.
pub(super) fn cause<'a>(
    cause: &'a Cause,
    key: &'a str,
    changed: &'a Pairs<'a>,
) -> wait_treatment::Cause<'a> {
    match cause {
        Cause::Started => wait_treatment::Cause::Started,
        Cause::Woke => wait_treatment::Cause::Woke,
        Cause::Key(_) => wait_treatment::Cause::Key(key),
        Cause::Collected(collected) => wait_treatment::Cause::Collected(Collected {
            keys: &collected.keys,
            ended_by: collected.ended_by.code(),
        }),
        Cause::Finished => wait_treatment::Cause::Finished,
        Cause::Failed(failed) => wait_treatment::Cause::Failed(FailedStep {
            step: failed.step,
            error: failure(&failed.error),
        }),
        Cause::LookedUp => wait_treatment::Cause::LookedUp,
        Cause::CameBack(why) => wait_treatment::Cause::CameBack(why),
        Cause::Resumed => wait_treatment::Cause::Resumed,
        Cause::Changed(_) => wait_treatment::Cause::Changed(changed.list()),
    }
}

/// What an observer is told; `answers` holds the answers among the inputs, in order.
pub(super) fn inputs<'a>(
    inputs: &'a [ObserverInput],
    answers: &'a AnswerLists<'a>,
) -> Vec<observer::Input<'a>> {
    let mut answers = answers.answers().into_iter();
    let input = |input: &'a ObserverInput| {
        Some(match input {
            ObserverInput::Event(event) => observer::Input::Event(one_event(event)),
            ObserverInput::Answer(_) => observer::Input::Answer(answers.next()?),
            ObserverInput::Wake => observer::Input::Wake,
            ObserverInput::Lost(seq) => observer::Input::Lost(*seq),
        })
    };
    inputs.iter().filter_map(input).collect()
}

fn one_event(event: &Event) -> observer::Event<'_> {
    observer::Event {
        seq: event.seq,
        kind: &event.kind,
        at_ns: event.at.0,
        call: &event.call,
        json: &event.json,
    }
}

fn party(party: &RawParty) -> Party<'_> {
    let presentation = match party.presentation {
        Presentation::Allowed => "allowed",
        Presentation::Restricted => "restricted",
        Presentation::Unavailable => "unavailable",
    };
    Party { number: &party.number, name: &party.name, presentation }
}

fn time(time: &CivilTime) -> wit::CivilTime<'_> {
    wit::CivilTime {
        zone: &time.zone,
        year: time.year,
        month: time.month,
        day: time.day,
        weekday: time.weekday,
        hour: time.hour,
        minute: time.minute,
        second: time.second,
        dst: time.dst,
        utc_offset_minutes: time.utc_offset_minutes,
    }
}

pub(super) fn now(now: calls::Now) -> wit::Now {
    let monotonic_ns = u64::try_from(now.monotonic.as_nanos()).unwrap_or(u64::MAX);
    wit::Now { monotonic_ns, wall_ns: now.wall.0 }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// 0 is the usual time, so a time that is not 0 does not become it.
fn secs(time: Option<Duration>) -> u32 {
    let secs = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1);
    time.map_or(0, secs)
}
