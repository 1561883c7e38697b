//! Playing a scenario of an observer: events, a web that answers or does not, and a store.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use calls::Timestamp;
use plugin_runtime::{
    Plugin,
    hooks::{
        Answer, Event, HookConfig, HookError, HookFailure, Lookup, MAX_OPEN_LOOKUPS, Observer,
        ObserverAction, ObserverInput, Question, WantedEvents,
    },
};
use serde_json::{Value, json};

use super::{Place, Played, hooks};
use crate::scenario::{
    Scenario, nanos,
    observer::{Events, Expect, Happens, Rule, Script},
    time::BOOT,
};

/// Most inputs in one step, as in the host.
const MAX_BATCH: usize = 64;
/// Steps at one moment; more is an endless conversation.
const MAX_AT_ONCE: u32 = 100_000;
/// How long the last step lasts at most.
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn play(plugin: &Plugin, scenario: &Scenario, script: &Script, played: &mut Played) {
    if !hooks::is_kind(plugin, played) {
        return;
    }
    let config = match hooks::config(plugin, scenario) {
        Ok(config) => config,
        Err(error) => return played.fail(&Place::start(), "limits", error.to_string()),
    };
    let observer = match Observer::start(plugin, config.clone()) {
        Ok(observer) => observer,
        Err(failure) => return played.fail(&Place::start(), "the start", failure.to_string()),
    };
    let log = config.log.clone();
    let wanted = WantedEvents::of(observer.wishes());
    let mut journal = Journal {
        plugin,
        config,
        begin: scenario.clock.begin(),
        web: &script.web,
        observer: Some(observer),
        wanted,
        kept: hooks::Kept::of(scenario),
        at: Duration::ZERO,
        due: BTreeMap::new(),
        numbers: 0,
        seq: 0,
        acked: 0,
        events: VecDeque::new(),
        open: 0,
        wake: None,
        at_once: 0,
        window: Window::default(),
        played,
    };
    let mut place = Place::start();
    let mut expect = Expect::default();
    for (index, step) in script.steps.iter().enumerate() {
        journal.run_until(step.at);
        journal.judge(&place, &expect);
        place = Place::of(index + 1, &step.title, step.line, step.at);
        expect = step.expect.clone();
        journal.happens(&step.happens);
    }
    let last = script.steps.last().map_or(Duration::ZERO, |step| step.at);
    match script.until {
        Some(until) => journal.run_until(until.max(last)),
        None => journal.run_to_rest(last + DAY),
    }
    journal.judge(&place, &expect);
    journal.played.lasted = journal.at;
    journal.played.log = log.lines().into_iter().map(|line| line.text).collect();
}

/// Between two steps.
#[derive(Default)]
struct Window {
    does: Vec<(Duration, String)>,
    bodies: Vec<(Duration, String)>,
    requests: u64,
    failure: Option<(Duration, HookFailure)>,
    problems: Vec<String>,
}

enum Due {
    Inputs(Vec<ObserverInput>),
    Answer(Answer),
    /// So many events of a kind are still to come.
    Events(Events, u64),
}

struct Journal<'a> {
    plugin: &'a Plugin,
    config: HookConfig,
    begin: Timestamp,
    web: &'a [Rule],
    /// None: it does not start any more.
    observer: Option<Observer>,
    /// As the host does, it is told no others.
    wanted: WantedEvents,
    kept: hooks::Kept,
    at: Duration,
    due: BTreeMap<(Duration, u64), Due>,
    numbers: u64,
    /// The last event's.
    seq: u64,
    acked: u64,
    /// Those not acknowledged, for when it begins anew.
    events: VecDeque<Event>,
    open: usize,
    wake: Option<Duration>,
    at_once: u32,
    window: Window,
    played: &'a mut Played,
}

impl Journal<'_> {
    fn happens(&mut self, happens: &Happens) {
        match happens {
            Happens::Nothing => {}
            Happens::Events(events) => {
                if let Some(seq) = events.seq {
                    self.seq = seq.saturating_sub(1);
                }
                self.later(Duration::ZERO, Due::Events(events.clone(), 0));
            }
            Happens::Lost(seq) => {
                self.played.happened(self.at, "host", format!("events up to {seq} are gone"));
                self.seq = self.seq.max(*seq);
                self.later(Duration::ZERO, Due::Inputs(vec![ObserverInput::Lost(*seq)]));
            }
            Happens::Crash => self.crash(),
        }
    }

    /// A new instance, and the events since the last `ack` again.
    fn crash(&mut self) {
        self.played.happened(self.at, "host", "stops and begins anew");
        self.due.retain(|_, due| matches!(due, Due::Events(..)));
        (self.open, self.wake) = (0, None);
        match Observer::start(self.plugin, self.config.clone()) {
            Ok(observer) => {
                self.wanted = WantedEvents::of(observer.wishes());
                self.observer = Some(observer);
            }
            Err(failure) => {
                self.observer = None;
                self.window.failure.get_or_insert((self.at, failure));
            }
        }
        let again: Vec<ObserverInput> =
            self.events.iter().cloned().map(ObserverInput::Event).collect();
        for batch in again.chunks(MAX_BATCH) {
            self.later(Duration::ZERO, Due::Inputs(batch.to_vec()));
        }
    }

    fn later(&mut self, after: Duration, due: Due) {
        self.numbers += 1;
        self.due.insert((self.at.saturating_add(after), self.numbers), due);
    }

    fn next(&self) -> Option<Duration> {
        let due = self.due.first_key_value().map(|((at, _), _)| *at);
        [due, self.wake].into_iter().flatten().min()
    }

    fn run_until(&mut self, end: Duration) {
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.one(next);
            if self.at_once > MAX_AT_ONCE {
                let message =
                    format!("more than {MAX_AT_ONCE} steps at one moment: it never comes to rest");
                return self.window.problems.push(message);
            }
        }
        self.at = self.at.max(end);
        self.at_once = 0;
    }

    /// Until nothing is due any more.
    fn run_to_rest(&mut self, most: Duration) {
        while let Some(next) = self.next().filter(|next| *next <= most) {
            self.one(next);
            if self.at_once > MAX_AT_ONCE {
                let message =
                    format!("more than {MAX_AT_ONCE} steps at one moment: it never comes to rest");
                return self.window.problems.push(message);
            }
        }
    }

    fn one(&mut self, at: Duration) {
        if at > self.at {
            (self.at, self.at_once) = (at, 0);
        }
        self.at_once += 1;
        if self.wake.is_some_and(|wake| wake <= self.at) {
            self.wake = None;
            return self.step(vec![ObserverInput::Wake]);
        }
        let Some((_, due)) = self.due.pop_first() else { return };
        match due {
            Due::Inputs(inputs) => self.step(inputs),
            Due::Answer(answer) => {
                self.open = self.open.saturating_sub(1);
                self.played.happened(self.at, "web", hooks::answer_line(&answer));
                self.step(vec![ObserverInput::Answer(answer)]);
            }
            Due::Events(events, done) => self.events_come(&events, done),
        }
    }

    /// Those that come at one moment come together, as from a journal.
    fn events_come(&mut self, events: &Events, done: u64) {
        let left = u64::from(events.count) - done;
        let now = if events.every.is_zero() { left.min(MAX_BATCH as u64) } else { 1 };
        let mut inputs = Vec::new();
        let is_wanted = self.wanted.takes(&events.kind);
        for _ in 0..now {
            self.seq += 1;
            let event = event(events, self.seq, self.begin.0.saturating_add(nanos(self.at)));
            if events.count == 1 {
                let mut text = format!("event {} {} {}", event.seq, event.kind, event.call);
                text.truncate(text.trim_end().len());
                text += if is_wanted { "" } else { " (it does not want these)" };
                self.played.happened(self.at, "host", text);
            }
            if !is_wanted {
                continue;
            }
            self.events.push_back(event.clone());
            inputs.push(ObserverInput::Event(event));
        }
        if left > now {
            self.later(events.every, Due::Events(events.clone(), done + now));
        }
        if !inputs.is_empty() {
            self.step(inputs);
        }
    }

    fn step(&mut self, inputs: Vec<ObserverInput>) {
        let Some(observer) = &mut self.observer else { return };
        let now = hooks::now(self.begin, self.at);
        match observer.step(now, &inputs) {
            Ok(actions) => {
                for action in actions {
                    self.action(action);
                }
            }
            Err(failure) => {
                self.played.happened(self.at, "plugin", failure.to_string());
                let at = self.at;
                self.window.failure.get_or_insert((at, failure));
                // As the host does: it begins anew from the last `ack`, once, and is then left alone.
                self.due.retain(|_, due| matches!(due, Due::Events(..)));
                (self.open, self.wake, self.observer) = (0, None, None);
            }
        }
    }

    fn action(&mut self, action: ObserverAction) {
        let line = match action {
            ObserverAction::Ack(seq) => {
                if seq < self.acked || seq > self.seq {
                    let problem = format!(
                        "it acknowledges {seq}, and the events were {} to {}",
                        self.acked + 1,
                        self.seq
                    );
                    self.window.problems.push(problem);
                }
                self.acked = self.acked.max(seq.min(self.seq));
                while self.events.pop_front_if(|event| event.seq <= self.acked).is_some() {}
                format!("ack {seq}")
            }
            ObserverAction::Lookup(lookup) => return self.look_up(&lookup),
            ObserverAction::Store(store) => {
                self.kept.store(&store);
                hooks::store_line(&store)
            }
            ObserverAction::WakeAt(at) => {
                self.wake = at.map(|at| at.saturating_sub(BOOT).max(self.at));
                return;
            }
        };
        self.does(line);
    }

    fn does(&mut self, line: String) {
        self.played.happened(self.at, "plugin", line.clone());
        self.window.does.push((self.at, line));
    }

    fn look_up(&mut self, lookup: &Lookup) {
        self.does(format!("lookup {}", hooks::lookup_line(lookup)));
        for header in hooks::secret_headers(lookup) {
            self.played.happened(self.at, "plugin", format!("  with {header}"));
        }
        self.open += 1;
        if self.open > MAX_OPEN_LOOKUPS {
            let problem = format!("more than {MAX_OPEN_LOOKUPS} lookups are unanswered");
            self.window.problems.push(problem);
        }
        let found = match &lookup.question {
            Question::Stored(_) => {
                hooks::look_up(lookup, &BTreeMap::new(), &self.kept, self.plugin.manifest())
            }
            Question::Http(request) => {
                self.window.requests += 1;
                let body = String::from_utf8_lossy(&request.body).into_owned();
                self.window.bodies.push((self.at, body));
                let line = format!("{} {}", request.method, request.url);
                let fits = |rule: &&Rule| {
                    rule.request.is(&line)
                        && rule.from <= self.at
                        && rule.until.is_none_or(|until| self.at < until)
                };
                match (
                    hooks::not_asked_for(&request.url, self.plugin.manifest()),
                    self.web.iter().find(fits),
                ) {
                    (Some(problem), _) => Err(problem),
                    (None, Some(rule)) => {
                        let most = request.timeout.unwrap_or(Duration::from_secs(5));
                        Ok(hooks::answer(&lookup.id, &rule.reply, most))
                    }
                    (None, None) => Err(format!(
                        "it asks `{line}`, and no [[http]] fits; add one with request = \"{} *\"",
                        request.method
                    )),
                }
            }
        };
        match found {
            Ok(found) => self.later(found.after, Due::Answer(found.answer)),
            Err(problem) => {
                let answer = Answer::failed(
                    lookup.id.clone(),
                    HookError::new("not-scripted", problem.clone()),
                );
                self.window.problems.push(problem);
                self.later(Duration::ZERO, Due::Answer(answer));
            }
        }
    }

    fn judge(&mut self, place: &Place, expect: &Expect) {
        let window = std::mem::take(&mut self.window);
        let played = &mut *self.played;
        match (&window.failure, &expect.fails) {
            (Some((at, failure)), expected) => {
                let (code, message) = hooks::failure(failure);
                let place = Place { at: *at, ..place.clone() };
                if played.plugin_failed(&place, expected.as_ref(), code, &message) {
                    self.observer = Observer::start(self.plugin, self.config.clone()).ok();
                }
            }
            (None, Some(failing)) => {
                let message = format!("it works; expected was that it {}", failing.code);
                played.fail(place, "fails", message);
            }
            (None, None) => {}
        }
        let mut problems = window.problems;
        problems.dedup();
        for problem in problems.into_iter().take(8) {
            played.fail(place, "the plugin", problem);
        }
        if let Some(does) = &expect.does {
            played.compare(place, "does", does, &window.does);
        }
        if let Some(bodies) = &expect.bodies {
            played.compare(place, "bodies", bodies, &window.bodies);
        }
        if let Some(acked) = expect.acked
            && acked != self.acked
        {
            let message = format!("the last `ack` is {}; expected was {acked}", self.acked);
            played.fail(place, "acked", message);
        }
        if let Some(wanted) = &expect.requests
            && !wanted.contains(&window.requests)
        {
            let message = format!(
                "there were {} requests; expected were {}",
                window.requests,
                if wanted.start() == wanted.end() {
                    wanted.start().to_string()
                } else {
                    format!("{} to {}", wanted.start(), wanted.end())
                }
            );
            played.fail(place, "requests", message);
        }
        if expect.order
            && let Err(problem) = in_order(&window.bodies)
        {
            played.fail(place, "order", problem);
        }
        self.kept.judge(place, "stored", &expect.stored, played);
    }
}

/// Events of each call come in order, those that come again aside.
fn in_order(bodies: &[(Duration, String)]) -> Result<(), String> {
    let mut known: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for (_, body) in bodies {
        let value: Value = serde_json::from_str(body)
            .map_err(|_| format!("the body of a request is no JSON: {body}"))?;
        let events = match value {
            Value::Array(events) => events,
            // A body may hold its events in a list of its own.
            Value::Object(mut object) if object.get("events").is_some_and(Value::is_array) => {
                match object.remove("events") {
                    Some(Value::Array(events)) => events,
                    _ => Vec::new(),
                }
            }
            event => vec![event],
        };
        for event in events {
            let (Some(seq), Some(call)) = (event["seq"].as_u64(), event["call"].as_str()) else {
                return Err(format!("the body of a request has no `seq` and `call`: {body}"));
            };
            let known = known.entry(call.to_owned()).or_default();
            let newest = known.last().copied().unwrap_or(0);
            if seq < newest && !known.contains(&seq) {
                return Err(format!("event {seq} of call {call} came after event {newest}"));
            }
            known.insert(seq);
        }
    }
    Ok(())
}

fn event(events: &Events, seq: u64, at: u64) -> Event {
    let number = seq.to_string();
    let call = events.call.replace('*', &number);
    let mut json = match filled(&events.data, &number) {
        Value::Object(object) => object,
        Value::Null => serde_json::Map::new(),
        other => serde_json::Map::from_iter([("data".to_owned(), other)]),
    };
    json.insert("seq".into(), json!(seq));
    json.insert("type".into(), json!(events.kind));
    if !call.is_empty() {
        json.insert("call".into(), json!(call));
    }
    let at = Timestamp(at);
    Event { seq, kind: events.kind.clone(), at, call, json: Value::Object(json).to_string() }
}

fn filled(value: &Value, number: &str) -> Value {
    match value {
        Value::String(text) => text.replace('*', number).into(),
        Value::Array(items) => items.iter().map(|item| filled(item, number)).collect(),
        Value::Object(object) => {
            let filled = object.iter().map(|(key, item)| (key.clone(), filled(item, number)));
            Value::Object(filled.collect())
        }
        other => other.clone(),
    }
}
