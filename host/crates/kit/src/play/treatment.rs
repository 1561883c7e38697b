//! Playing a scenario of a wait treatment: the kit is the caller, the PBX and the host's desk.
//!
//! The rules are those of the host's desk (`host/src/hooks/treatment.rs`): a recording that plays goes on when a new
//! plan comes, waiting and collecting do not; nothing begins before the plugin has answered `started`, `finished`,
//! `collected`, `failed`, `came-back` and `resumed`; a plan without anything left to happen is a fault.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use plugin_runtime::{
    Plugin,
    hooks::{
        Answer, Cause, Collect, CollectEnd, Collected, FailedStep, HookError, HookFailure, Plan,
        SayKind, Step, Target, Treatment, Waiting,
    },
};

use super::{Place, Played, hooks};
use crate::scenario::{
    Scenario,
    read::{merge, target_text},
    time,
    treatment::{Expect, Happens, Script},
};

/// As the host: a treatment that wants to be asked sooner is asked then.
const SHORTEST_WAKE: Duration = Duration::from_millis(250);
/// As the host: longer nobody is treated.
const LONGEST: Duration = Duration::from_secs(4 * 3600);
/// As the host: lookups under way at once.
const MOST_OPEN_LOOKUPS: usize = 4;
/// As the host: plans at once, and how soon another may follow.
const PLANS: (u32, Duration) = (60, Duration::from_millis(200));
/// Between two keys of a caller.
const KEY_GAP: Duration = Duration::from_millis(300);
/// How long a scenario without `until` goes on after its last step.
const HOUR: Duration = Duration::from_secs(3600);
/// How long a digit is said.
const DIGIT: Duration = Duration::from_millis(500);

pub(super) fn play(plugin: &Plugin, scenario: &Scenario, script: &Script, played: &mut Played) {
    if !hooks::is_kind(plugin, played) {
        return;
    }
    let config = match hooks::config(plugin, scenario) {
        Ok(config) => config,
        Err(error) => return played.fail(&Place::start(), "limits", error.to_string()),
    };
    let log = config.log.clone();
    let hook = match Treatment::start(plugin, config) {
        Ok(hook) => hook,
        Err(failure) => return played.fail(&Place::start(), "the start", failure.to_string()),
    };
    let mut desk = Desk::new(plugin, scenario, script, hook, played);
    desk.causes.push_back(Cause::Started);
    let mut place = Place::start();
    let mut expect = &script.expect;
    for (index, step) in script.steps.iter().enumerate() {
        desk.run_until(step.at);
        desk.judge(&place, expect);
        place = Place::of(index + 1, &step.title, step.line, step.at);
        expect = &step.expect;
        desk.happens(&step.happens);
    }
    let last = script.steps.last().map_or(Duration::ZERO, |step| step.at);
    desk.run_until(script.until.unwrap_or(last + HOUR).max(last));
    if desk.end.is_none() && script.until.is_none() {
        let message = "the caller is still under treatment an hour after the last step; let them hang up, or say `until`";
        desk.played.fail(&place, "ends", message);
    }
    desk.judge(&place, expect);
    let lasted = desk.at;
    played.lasted = lasted;
    played.log = log.lines().into_iter().map(|line| line.text).collect();
}

/// The step that is under way.
enum Running {
    /// The PBX does it.
    Pbx {
        until: Duration,
        step: u32,
        fails: Option<String>,
    },
    Wait {
        until: Duration,
    },
    Collect {
        rules: Collect,
        keys: String,
        until: Duration,
    },
}

/// What was heard and done between two steps.
#[derive(Default)]
struct Window {
    hears: Vec<(Duration, String)>,
    does: Vec<(Duration, String)>,
    failure: Option<(Duration, HookFailure)>,
    problems: Vec<(Duration, String)>,
}

struct Desk<'a> {
    plugin: &'a Plugin,
    scenario: &'a Scenario,
    script: &'a Script,
    hook: Treatment,
    waiting: Waiting,
    kept: hooks::Kept,
    at: Duration,
    state: Vec<u8>,
    steps: VecDeque<(u32, Step)>,
    running: Option<Running>,
    unfinished: bool,
    keys: String,
    wake_at: Option<Duration>,
    causes: VecDeque<Cause>,
    /// Answers on their way.
    open: BTreeMap<(Duration, u64), Answer>,
    answers: Vec<Answer>,
    numbers: u64,
    /// Keys the caller is about to press.
    presses: VecDeque<(Duration, char)>,
    hangs_up: Option<Duration>,
    plans: (u32, Duration),
    end: Option<String>,
    ended_at: Duration,
    window: Window,
    played: &'a mut Played,
}

impl<'a> Desk<'a> {
    fn new(
        plugin: &'a Plugin,
        scenario: &'a Scenario,
        script: &'a Script,
        hook: Treatment,
        played: &'a mut Played,
    ) -> Self {
        Self {
            plugin,
            scenario,
            script,
            hook,
            waiting: script.waiting.clone(),
            kept: hooks::Kept::of(scenario),
            at: Duration::ZERO,
            state: Vec::new(),
            steps: VecDeque::new(),
            running: None,
            unfinished: false,
            keys: String::new(),
            wake_at: None,
            causes: VecDeque::new(),
            open: BTreeMap::new(),
            answers: Vec::new(),
            numbers: 0,
            presses: VecDeque::new(),
            hangs_up: None,
            plans: (PLANS.0, Duration::ZERO),
            end: None,
            ended_at: Duration::ZERO,
            window: Window::default(),
            played,
        }
    }

    fn happens(&mut self, happens: &Happens) {
        match happens {
            Happens::Nothing => {}
            Happens::Keys(keys) => {
                for (number, key) in (0_u32..).zip(keys) {
                    self.presses.push_back((self.at + KEY_GAP * number, *key));
                }
            }
            Happens::HangsUp => self.hangs_up = Some(self.at),
            Happens::Told(cause) => {
                if let Cause::CameBack(_) = cause {
                    // The hand-over failed: the caller is back.
                    self.end = None;
                    self.steps.clear();
                    self.running = None;
                    self.unfinished = false;
                }
                if let Cause::Resumed = cause {
                    self.steps.clear();
                    self.running = None;
                    self.unfinished = false;
                    self.open.clear();
                    self.wake_at = None;
                }
                self.causes.push_back(cause.clone());
            }
        }
    }

    fn run_until(&mut self, end: Duration) {
        loop {
            self.proceed();
            if self.end.is_some() {
                break;
            }
            let Some(next) = self.next().filter(|next| *next <= end) else { break };
            self.at = next.max(self.at);
            self.timeout();
        }
        if self.end.is_none() {
            self.at = self.at.max(end);
        }
    }

    fn next(&self) -> Option<Duration> {
        let running = self.running.as_ref().map(|running| match running {
            Running::Pbx { until, .. }
            | Running::Wait { until }
            | Running::Collect { until, .. } => *until,
        });
        let answer = self.open.first_key_value().map(|((at, _), _)| *at);
        let press = self.presses.front().map(|(at, _)| *at);
        [running, answer, press, self.wake_at, self.hangs_up, Some(LONGEST)]
            .into_iter()
            .flatten()
            .min()
    }

    fn timeout(&mut self) {
        if self.hangs_up.take_if(|at| *at <= self.at).is_some() {
            return self.ends("caller hung up".to_owned());
        }
        if self.at >= LONGEST {
            let message = format!("it keeps the caller for {} hours", LONGEST.as_secs() / 3600);
            return self.stuck(message);
        }
        if let Some((_, key)) = self.presses.pop_front_if(|(at, _)| *at <= self.at) {
            return self.key(key);
        }
        if self.wake_at.take_if(|at| *at <= self.at).is_some() {
            self.causes.push_back(Cause::Woke);
        }
        while let Some(entry) = self.open.first_entry()
            && entry.key().0 <= self.at
        {
            let answer = entry.remove();
            let line = format!("answered {}", hooks::answer_line(&answer));
            self.played.happened(self.at, "web", hooks::answer_line(&answer));
            self.window.does.push((self.at, line));
            self.answers.push(answer);
            if self.open.is_empty() {
                self.causes.push_back(Cause::LookedUp);
            }
        }
        match &mut self.running {
            Some(Running::Wait { until }) if *until <= self.at => self.running = None,
            Some(Running::Collect { until, .. }) if *until <= self.at => {
                self.collected(CollectEnd::Timeout);
            }
            Some(Running::Pbx { until, step, fails }) if *until <= self.at => {
                let (step, fails) = (*step, fails.take());
                self.running = None;
                if let Some(message) = fails {
                    self.played.happened(self.at, "pbx", message.clone());
                    self.steps.clear();
                    self.unfinished = false;
                    let error = HookError::new("media-not-found", message);
                    self.causes.push_back(Cause::Failed(FailedStep { step, error }));
                }
            }
            _ => {}
        }
    }

    fn key(&mut self, key: char) {
        self.played.happened(self.at, "caller", format!("presses {key}"));
        if let Some(Running::Collect { rules, keys, until }) = &mut self.running {
            let ends = rules.end_keys.contains(key);
            if !ends {
                keys.push(key);
                *until = self.at + rules.between;
            }
            if ends {
                self.collected(CollectEnd::EndKey);
            } else if keys.chars().count() >= rules.most as usize {
                self.collected(CollectEnd::Most);
            }
        } else if self.keys.contains(key) {
            self.causes.push_back(Cause::Key(key));
        }
    }

    fn collected(&mut self, ended_by: CollectEnd) {
        if let Some(Running::Collect { keys, .. }) = self.running.take() {
            self.causes.push_back(Cause::Collected(Collected { keys, ended_by }));
        }
    }

    /// Asks what must be asked, begins what can begin.
    fn proceed(&mut self) {
        loop {
            if self.end.is_some() {
                return;
            }
            if let Some(cause) = self.causes.pop_front() {
                self.ask(&cause);
                continue;
            }
            if self.running.is_some() {
                return;
            }
            if let Some((index, step)) = self.steps.pop_front() {
                self.begin(index, step);
                continue;
            }
            if std::mem::take(&mut self.unfinished) {
                self.causes.push_back(Cause::Finished);
                continue;
            }
            if self.keys.is_empty() && self.wake_at.is_none() && self.open.is_empty() {
                self.stuck("its plan has no step, key, wake-up or lookup left".to_owned());
            }
            return;
        }
    }

    fn ask(&mut self, cause: &Cause) {
        let called = format!("called {}", cause_word(cause));
        self.played.happened(self.at, "host", called.clone());
        self.window.does.push((self.at, called));
        let now = hooks::now(self.scenario.clock.begin(), self.at);
        let zones = self.hook.wishes().time_zones.clone();
        self.waiting.call.times = self.scenario.clock.shows(now.wall, &zones);
        self.waiting.call.age = self.script.waiting.call.age + self.at;
        self.waiting.waited = self.at;
        let answers = std::mem::take(&mut self.answers);
        match self.hook.next(now, &self.waiting, &self.state, cause, &answers) {
            Ok(plan) => self.follow(plan),
            Err(failure) => {
                self.played.happened(self.at, "plugin", failure.to_string());
                let at = self.at;
                self.window.failure.get_or_insert((at, failure));
                // The host sends the caller on where the admin says.
                self.ends("fallback".to_owned());
            }
        }
    }

    fn follow(&mut self, plan: Plan) {
        if !self.may_plan() {
            return self.stuck("it makes new plans without end".to_owned());
        }
        let does = |this: &mut Self, line: String| {
            this.played.happened(this.at, "plugin", line.clone());
            this.window.does.push((this.at, line));
        };
        if self.open.len() + plan.lookups.len() > MOST_OPEN_LOOKUPS {
            return self
                .stuck(format!("it asks for more than {MOST_OPEN_LOOKUPS} lookups at once"));
        }
        for lookup in &plan.lookups {
            does(self, format!("lookup {}", hooks::lookup_line(lookup)));
            let manifest = self.plugin.manifest();
            match hooks::look_up(lookup, &self.script.answers, &self.kept, manifest) {
                Ok(found) => {
                    self.numbers += 1;
                    self.open.insert((self.at + found.after, self.numbers), found.answer);
                }
                Err(problem) => return self.stuck(problem),
            }
        }
        for line in hooks::patch_lines(&plan.patch) {
            does(self, line);
        }
        let patch = plan.patch;
        let call = &mut self.waiting.call;
        call.priority = patch.priority.or(call.priority);
        call.language = patch.language.unwrap_or(std::mem::take(&mut call.language));
        merge(&mut call.variables, patch.variables);
        merge(&mut call.facts, patch.facts);
        for store in &plan.stores {
            does(self, hooks::store_line(store));
            self.kept.store(store);
        }
        if !plan.reason.is_empty() {
            does(self, format!("reason {}", plan.reason));
        }
        if plan.keys != self.keys {
            let keys = if plan.keys.is_empty() { "no key" } else { &plan.keys };
            does(self, format!("listens {keys}"));
        }
        self.state = plan.state;
        self.keys = plan.keys;
        self.wake_at = plan.wake.map(|wake| self.at + wake.max(SHORTEST_WAKE));
        if let Some(steps) = plan.steps {
            // What the PBX does already goes on; what only the host does is over.
            self.running.take_if(|running| !matches!(running, Running::Pbx { .. }));
            self.unfinished = !steps.is_empty();
            self.steps = (0..).zip(steps).collect();
        }
    }

    fn may_plan(&mut self) -> bool {
        let (left, since) = &mut self.plans;
        while *left < PLANS.0 && *since + PLANS.1 <= self.at {
            *left += 1;
            *since += PLANS.1;
        }
        if *left == PLANS.0 {
            *since = self.at;
        }
        if *left == 0 {
            return false;
        }
        *left -= 1;
        true
    }

    fn begin(&mut self, step: u32, what: Step) {
        let pbx = |until| Running::Pbx { until, step, fails: None };
        let running = match what {
            Step::Answer => {
                self.hears("answer".to_owned());
                pbx(self.at)
            }
            Step::Play(media) => return self.begin_media(step, media),
            Step::Say(say) => {
                self.hears(format!("say {} {}", say.kind.code(), say.value));
                let words = match say.kind {
                    SayKind::Number => 2,
                    SayKind::Digits => u32::try_from(say.value.chars().count()).unwrap_or(u32::MAX),
                };
                pbx(self.at + DIGIT * words)
            }
            Step::Music(class) => {
                let class = if class.is_empty() { "default" } else { &class };
                self.hears(format!("music {class}"));
                pbx(self.at)
            }
            Step::Silence => {
                self.hears("silence".to_owned());
                pbx(self.at)
            }
            Step::Wait(wait) => {
                self.hears(format!("wait {}", time::shown(wait)));
                Running::Wait { until: self.at + wait }
            }
            Step::Collect(rules) => {
                self.hears(format!("collect {}", rules.most));
                let until = self.at + rules.timeout;
                Running::Collect { rules, keys: String::new(), until }
            }
            Step::HandOver(target) => return self.hand_over(target),
        };
        self.running = Some(running);
    }

    /// One recording after the other; the first that is missing ends it.
    fn begin_media(&mut self, step: u32, media: Vec<String>) {
        let mut until = self.at;
        let mut fails = None;
        for name in media {
            if self.script.media.missing.contains(&name) {
                fails = Some(format!("the PBX has no recording `{name}`"));
                break;
            }
            self.played.happened(until, "caller", format!("hears play {name}"));
            self.window.hears.push((until, format!("play {name}")));
            let lengths = &self.script.media.lengths;
            let length = lengths.iter().find(|(known, _)| *known == name);
            until += length.map_or(self.script.media.usual, |(_, length)| *length);
        }
        self.running = Some(Running::Pbx { until, step, fails });
    }

    fn hears(&mut self, line: String) {
        self.played.happened(self.at, "caller", format!("hears {line}"));
        self.window.hears.push((self.at, line));
    }

    fn hand_over(&mut self, target: Option<Target>) {
        let end = match (&target, &self.waiting.then) {
            (Some(target), _) => format!("hand-over {}", target_text(target)),
            (None, Some(then)) => format!("hand-over as routed ({})", target_text(then)),
            (None, None) => "hand-over as routed".to_owned(),
        };
        self.ends(end);
    }

    fn ends(&mut self, end: String) {
        self.played.happened(self.at, "caller", end.clone());
        self.end = Some(end);
        self.ended_at = self.at;
        self.presses.clear();
    }

    /// The host would send the caller on, and tell the admin.
    fn stuck(&mut self, message: String) {
        self.window.problems.push((self.at, message));
        self.ends("fallback".to_owned());
    }

    fn judge(&mut self, place: &Place, expect: &Expect) {
        let window = std::mem::take(&mut self.window);
        let played = &mut *self.played;
        match (&window.failure, &expect.fails) {
            (Some((at, failure)), expected) => {
                let (code, message) = hooks::failure(failure);
                let place = Place { at: *at, ..place.clone() };
                played.plugin_failed(&place, expected.as_ref(), code, &message);
            }
            (None, Some(failing)) => {
                let message = format!("it works; expected was that it {}", failing.code);
                played.fail(place, "fails", message);
            }
            (None, None) => {}
        }
        for (at, problem) in window.problems {
            played.fail(&Place { at, ..place.clone() }, "the plugin", problem);
        }
        if let Some(hears) = &expect.hears {
            played.compare(place, "hears", hears, &window.hears);
        }
        // Others are allowed between them.
        let mut does = vec![crate::scenario::pattern::Line::Any];
        for line in &expect.does {
            does.extend([line.clone(), crate::scenario::pattern::Line::Any]);
        }
        played.compare(place, "does", &does, &window.does);
        if let Some(ends) = &expect.ends {
            match &self.end {
                Some(end) if ends.is(end) => {}
                Some(end) => {
                    let message = format!(
                        "the caller ends by `{end}` at {}; expected was `{ends}`",
                        time::shown(self.ended_at)
                    );
                    played.fail(place, "ends", message);
                }
                None => {
                    let message =
                        format!("the caller is still under treatment; expected was `{ends}`");
                    played.fail(place, "ends", message);
                }
            }
        }
    }
}

fn cause_word(cause: &Cause) -> String {
    match cause {
        Cause::Started => "started".to_owned(),
        Cause::Woke => "woke".to_owned(),
        Cause::Key(key) => format!("key {key}"),
        Cause::Collected(Collected { keys, ended_by }) => {
            format!("collected {keys} ({})", ended_by.code())
        }
        Cause::Finished => "finished".to_owned(),
        Cause::Failed(step) => format!("failed {} {}", step.step, step.error.code),
        Cause::LookedUp => "looked-up".to_owned(),
        Cause::CameBack(why) => format!("came-back {why}"),
        Cause::Resumed => "resumed".to_owned(),
        Cause::Changed(facts) => {
            let names: BTreeSet<&str> = facts.iter().map(|(name, _)| name.as_str()).collect();
            format!("changed {}", names.into_iter().collect::<Vec<_>>().join(" "))
        }
    }
}
