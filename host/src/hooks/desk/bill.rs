//! A caller's way as text: what happened and when, and what the desk wanted done.
//!
//! ```text
//! 0 offered                      what happens, at a millisecond
//! > 0 ask vip                    what is done, and when
//! 1 vip sends queue:support
//! > 1 vip decided queue:support
//! > 1 leg-to-queue queue=support
//! ```

use std::collections::BTreeMap;

use calls::{
    CallId, LegId,
    event::{Held, Party},
    fact::Presentation,
};
use plugin_runtime::hooks::{
    Collect, DialplanTarget, ExtensionTarget, HookError, HttpRequest, Question, QueueTarget, Say,
    SayKind, Step, Treat, Verdict,
};

use super::*;

/// Where every script's wall clock begins: any moment will do.
const WALL: u64 = 1_795_312_800_000_000_000;

pub struct Bill {
    rules: Rules,
    desk: Option<Desk>,
    at: Duration,
    attempt: u32,
    /// The last question to each hook, and the numbers of lookups by their ids.
    jobs: BTreeMap<String, u64>,
    lookups: BTreeMap<String, u64>,
    /// Instructions not over yet.
    open: Vec<(u64, &'static str)>,
    kept: Option<Kept>,
    lines: Vec<String>,
    /// What the record has of each word: its name, sentence and facts.
    pub record: Vec<String>,
}

/// Routers `hours` and `vip`, treatments `standard` and `music`; nobody decides: queue `main`. The context `ivr` is open.
/// No lease.
pub fn rules() -> Rules {
    let hook = |instance: &str| Hook {
        instance: instance.to_owned(),
        plugin: format!("{instance} 0.1.0"),
    };
    let router = |instance: &str| Router { hook: hook(instance), left_out: None };
    Rules {
        routers: vec![router("hours"), router("vip")],
        treatments: ["standard", "music"].map(|id| (id.to_owned(), hook(id))).into(),
        usual_treatment: "standard".to_owned(),
        fallback: Target::queue("main"),
        emergency: vec!["110".to_owned(), "112".to_owned()],
        contexts: ["ivr".to_owned()].into(),
        decision: Duration::from_millis(2000),
        lease: Duration::ZERO,
    }
}

/// Runs the script's inputs and compares everything that is done with the script.
pub fn check(script: &str) {
    check_with(rules(), script);
}

pub fn check_with(rules: Rules, script: &str) -> Bill {
    let mut bill = Bill::new(rules);
    bill.check(script);
    bill
}

impl Bill {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            desk: None,
            at: Duration::ZERO,
            attempt: 0,
            jobs: BTreeMap::new(),
            lookups: BTreeMap::new(),
            open: Vec::new(),
            kept: None,
            lines: Vec::new(),
            record: Vec::new(),
        }
    }

    pub fn check(&mut self, script: &str) {
        let script: Vec<&str> =
            script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        self.lines.clear();
        for line in &script {
            if !line.starts_with('>') {
                self.input(line);
            }
        }
        let (expected, got) = (script.join("\n"), self.lines.join("\n"));
        assert_eq!(
            got, expected,
            "\n--- what happened:\n{got}\n--- what was promised:\n{expected}\n"
        );
    }

    /// Like the script's lines; what is done is in [`Bill::done`].
    pub fn input(&mut self, line: &str) {
        let (at, what) = line.split_once(' ').unwrap_or((line, ""));
        self.advance(Duration::from_millis(at.parse().expect(line)));
        self.lines.push(line.to_owned());
        let words: Vec<&str> = what.split_whitespace().collect();
        let Some(event) = self.event(&words) else { return self.collect() };
        let now = self.now();
        self.desk.as_mut().expect("offered").handle(event, now);
        self.collect();
    }

    pub fn done(&self) -> &[String] {
        &self.lines
    }

    fn desk(&mut self) -> &mut Desk {
        self.desk.as_mut().expect("offered")
    }

    /// The last thing that was done.
    pub fn last(&self) -> &str {
        self.lines.iter().rfind(|line| line.starts_with('>')).map_or("", String::as_str)
    }

    /// Is an instruction of this kind under way?
    pub fn is_open(&self, kind: &str) -> bool {
        self.open.iter().any(|(_, open)| *open == kind)
    }

    /// The admin's contexts, for those who come from now on.
    pub fn open_contexts<const N: usize>(&mut self, contexts: [&str; N]) {
        self.rules.contexts = contexts.map(str::to_owned).into();
    }

    /// As if it had been another one that the host before had, and this one has not.
    pub fn rename_kept_treatment(&mut self, name: &str) {
        self.kept.as_mut().expect("kept").treatment = name.to_owned();
    }

    /// The host begins anew: only what was kept is left.
    fn restart(&mut self) {
        self.desk = None;
        self.attempt = 0;
        self.open.clear();
    }

    fn now(&self) -> Now {
        let wall = WALL + u64::try_from(self.at.as_nanos()).expect("a short script");
        Now { monotonic: self.at, wall: Timestamp(wall) }
    }

    fn advance(&mut self, to: Duration) {
        while let Some(desk) = &mut self.desk
            && let Some(due) = desk.poll_timeout().filter(|due| *due <= to)
        {
            self.at = self.at.max(due);
            let now = self.now();
            self.desk().handle_timeout(now);
            self.collect();
        }
        self.at = to;
    }

    fn event(&mut self, words: &[&str]) -> Option<Event> {
        Some(match words {
            [] => return None,
            ["restart"] => {
                self.restart();
                return None;
            }
            ["offered", options @ ..] => {
                let offered = Box::new(self.offered(options));
                let rules = Arc::new(self.rules());
                if self.desk.is_none() {
                    let kept = self.kept.clone();
                    let now = self.now();
                    self.desk = Some(Desk::open(*offered, rules, kept, now));
                    return None;
                }
                Event::Offered { offered, rules }
            }
            ["released", reason] => Event::Released { reason: (*reason).to_owned() },
            ["key", key] => Event::Key(key.chars().next().expect("a key")),
            ["nobody", "can", "ask", hook] => Event::NotAsked { job: self.jobs[*hook] },
            ["done"] => self.end(None, CommandEnd::Done, None),
            ["done", kind] => self.end(Some(kind), CommandEnd::Done, None),
            ["fails", code, kind @ ..] => {
                let retryable = *code == "not-connected";
                let problem =
                    Problem { code: (*code).into(), message: format!("it is {code}"), retryable };
                self.end(kind.first().copied(), CommandEnd::Failed, Some(problem))
            }
            [lookup, "answers", status] => Event::LookedUp {
                number: self.lookups[*lookup],
                answer: Answer { status: status.parse().expect("a status"), ..Answer::default() },
            },
            [lookup, "has", "no", "answer"] => Event::LookedUp {
                number: self.lookups[*lookup],
                answer: Answer::failed(
                    "",
                    HookError::retryable("timed-out", "no answer within 1500 ms"),
                ),
            },
            [hook, "plans", plan @ ..] => Event::Planned {
                job: self.jobs[*hook],
                by: format!("{hook} 0.1.0"),
                said: Ok(plan_of(plan)),
            },
            [hook, said @ ..] => {
                let job = self.jobs[*hook];
                let by = format!("{hook} 0.1.0");
                let failure = match said {
                    ["traps"] => Some(HookFailure::Trapped("unreachable".into())),
                    ["panics", words @ ..] => Some(HookFailure::Trapped(words.join(" "))),
                    ["is", "late"] => Some(HookFailure::Late { after: Duration::from_millis(5) }),
                    ["refuses"] => Some(HookFailure::Refused(HookError::new("no-list", "no list"))),
                    ["talks", "nonsense"] => Some(HookFailure::Nonsense("a `&`".into())),
                    _ => None,
                };
                let is_treatment = self.rules.treatments.contains_key(*hook);
                match failure {
                    Some(failure) if is_treatment => Event::Planned { job, by, said: Err(failure) },
                    Some(failure) => Event::Routed { job, by, said: Err(failure) },
                    None => Event::Routed { job, by, said: Ok(decision_of(said)) },
                }
            }
        })
    }

    fn end(&mut self, kind: Option<&str>, end: CommandEnd, problem: Option<Problem>) -> Event {
        let aside = ["leg-lease", "leg-listen"];
        let at = self.open.iter().rposition(|(_, open)| match kind {
            Some(kind) => open.strip_prefix("leg-") == Some(kind),
            None => !aside.contains(open),
        });
        let (number, _) = self.open.remove(at.expect("an instruction under way"));
        Event::Done { number, end, problem }
    }

    fn rules(&self) -> Rules {
        let Rules {
            routers,
            treatments,
            usual_treatment,
            fallback,
            emergency,
            contexts,
            decision,
            lease,
        } = &self.rules;
        Rules {
            routers: routers.clone(),
            treatments: treatments.clone(),
            usual_treatment: usual_treatment.clone(),
            fallback: fallback.clone(),
            emergency: emergency.clone(),
            contexts: contexts.clone(),
            decision: *decision,
            lease: *lease,
        }
    }

    fn offered(&mut self, options: &[&str]) -> Offered {
        self.attempt += 1;
        let mut held = Held {
            entry: String::new(),
            dialled: "500".to_owned(),
            returned_from: String::new(),
            outcome: String::new(),
            attempt: self.attempt,
            facts: Vec::new(),
        };
        for option in options {
            let (name, value) = option.split_once('=').expect(option);
            match name {
                "dialled" => held.dialled = value.to_owned(),
                "from" => held.returned_from = value.to_owned(),
                "outcome" => held.outcome = value.to_owned(),
                name => held.facts.push((name.to_owned(), value.to_owned())),
            }
        }
        Offered {
            call: CallId(1),
            leg: LegId(2),
            native: "170.1".into(),
            connector: "hq".into(),
            caller: Party {
                raw: "030123456".to_owned(),
                e164: Some("+4930123456".to_owned()),
                extension: None,
                name: None,
                presentation: Presentation::Allowed,
            },
            held,
        }
    }

    fn collect(&mut self) {
        let at = self.at.as_millis();
        while let Some(action) = self.desk.as_mut().and_then(Desk::poll_action) {
            let line = self.line(action);
            self.lines.push(format!("> {at} {line}"));
        }
    }

    fn line(&mut self, action: Action) -> String {
        match action {
            Action::Route { job, instance, call, answers } => {
                self.jobs.insert(instance.clone(), job);
                let mut line = format!("ask {instance}");
                if call.attempt > 1 {
                    line += &format!(", attempt {}", call.attempt);
                }
                if !call.returned_from.is_empty() {
                    line += &format!(", from {} {}", call.returned_from, call.outcome);
                }
                if let Some(priority) = call.priority {
                    line += &format!(", priority {priority}");
                }
                if !call.language.is_empty() {
                    line += &format!(", in {}", call.language);
                }
                for (name, value) in call.variables.iter().chain(&call.facts) {
                    line += &format!(", {name} {value}");
                }
                line + &told(&answers)
            }
            Action::Treat { job, instance, waiting, state, cause, answers, .. } => {
                self.jobs.insert(instance.clone(), job);
                let cause = match cause {
                    Cause::Started => "started".to_owned(),
                    Cause::Woke => "woke".to_owned(),
                    Cause::Key(key) => format!("key {key}"),
                    Cause::Collected(it) => {
                        format!("collected {:?} ({})", it.keys, it.ended_by.code())
                    }
                    Cause::Finished => "finished".to_owned(),
                    Cause::Failed(step) => format!("step {} is {}", step.step, step.error.code),
                    Cause::LookedUp => "looked-up".to_owned(),
                    Cause::CameBack(why) => format!("came-back {why}"),
                    Cause::Resumed => format!("resumed after {} ms", waiting.waited.as_millis()),
                    Cause::Changed(_) => "changed".to_owned(),
                };
                let mut line = format!("ask {instance}: {cause}");
                if !state.is_empty() {
                    line += &format!(", knowing {}", String::from_utf8_lossy(&state));
                }
                line + &told(&answers)
            }
            Action::LookUp { number, instance, question, within } => {
                self.lookups.insert(question.id.clone(), number);
                format!("look up {} for {instance} within {}", question.id, within.as_millis())
            }
            Action::Instruct { number, instruction } => {
                self.open.push((number, instruction.kind));
                let arguments = instruction.arguments.iter().map(|(n, v)| format!(" {n}={v}"));
                format!("{}{}", instruction.kind, arguments.collect::<String>())
            }
            Action::Store { instance, stores } => {
                let keys: Vec<_> = stores.iter().map(|store| store.key.as_str()).collect();
                format!("store {} for {instance}", keys.join(", "))
            }
            Action::Keep(kept) => {
                self.kept = kept.map(|kept| *kept);
                match &self.kept {
                    Some(kept) => format!("keep {:?}", String::from_utf8_lossy(&kept.state)),
                    None => "forget".to_owned(),
                }
            }
            Action::Word(word) => {
                let who = if word.instance.is_empty() { "host" } else { &word.instance };
                let verdict = match word.verdict.as_str() {
                    "" => String::new(),
                    verdict => format!(" {verdict}"),
                };
                let reason = match word.reason.as_str() {
                    "" => String::new(),
                    reason => format!(": {reason}"),
                };
                let facts = word.facts.iter().map(|(name, value)| format!(" {name}={value}"));
                let facts: String = facts.collect();
                self.record.push(format!("{who}{reason}{facts}"));
                format!("{who} {}{verdict}{reason}", word.outcome)
            }
        }
    }
}

fn told(answers: &[Answer]) -> String {
    let answers = answers.iter().map(|answer| match &answer.error {
        None => format!(", {} is {}", answer.id, answer.status),
        Some(error) => format!(", {} failed: {}", answer.id, error.message),
    });
    answers.collect()
}

pub fn lookup(id: &str) -> Lookup {
    let request = HttpRequest {
        method: "GET".to_owned(),
        url: "https://crm.example.org/".to_owned(),
        headers: Vec::new(),
        secret_headers: Vec::new(),
        body: Vec::new(),
        timeout: None,
    };
    Lookup { id: id.to_owned(), question: Question::Http(request), facts: Vec::new() }
}

fn target(text: &str) -> Target {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    let (name, secs) = rest.split_once('/').unwrap_or((rest, ""));
    let timeout = secs.parse().ok().map(Duration::from_secs);
    match kind {
        "queue" => {
            Target::Queue(QueueTarget { name: name.into(), timeout, ..QueueTarget::default() })
        }
        "extension" => Target::Extension(ExtensionTarget {
            number: name.into(),
            timeout,
            ..ExtensionTarget::default()
        }),
        "dialplan" => Target::Dialplan(DialplanTarget {
            context: rest.into(),
            extension: "s".into(),
            priority: 1,
            facts: Vec::new(),
        }),
        "continue" => Target::ContinueInDialplan,
        "hang-up" => Target::hang_up(rest.parse().expect("a cause")),
        _ => panic!("no target: {text}"),
    }
}

/// `+priority=7 +language=de +fact.NAME=VALUE +NAME=VALUE`
fn patch_of(words: &[&str]) -> Patch {
    let mut patch = Patch::default();
    for word in words.iter().filter_map(|word| word.strip_prefix('+')) {
        let (name, value) = word.split_once('=').expect(word);
        match name {
            "priority" => patch.priority = value.parse().ok(),
            "language" => patch.language = Some(value.to_owned()),
            name => match name.strip_prefix("fact.") {
                Some(name) => patch.facts.push((name.to_owned(), value.to_owned())),
                None => patch.variables.push((name.to_owned(), value.to_owned())),
            },
        }
    }
    patch
}

fn decision_of(words: &[&str]) -> Decision {
    let reason = words.iter().position(|word| *word == "because");
    let (words, reason) = words.split_at(reason.unwrap_or(words.len()));
    let stores = words.iter().filter_map(|word| word.strip_prefix("store=")).map(|key| Store {
        key: key.to_owned(),
        value: Some(Vec::new()),
        facts: Vec::new(),
    });
    let verdict = match words {
        ["passes", ..] => Verdict::Pass,
        ["needs", ids, ..] => Verdict::Need(ids.split(',').map(lookup).collect()),
        ["sends", to, ..] => Verdict::Send(target(to)),
        ["treats", with, "then", then, ..] => Verdict::Treat(Treat {
            treatment: with.replace("usually", ""),
            then: Some(target(then)),
            facts: Vec::new(),
        }),
        ["treats", with, ..] => {
            Verdict::Treat(Treat { treatment: with.replace("usually", ""), ..Treat::default() })
        }
        _ => panic!("no decision: {words:?}"),
    };
    Decision {
        verdict,
        patch: patch_of(words),
        stores: stores.collect(),
        reason: reason.get(1..).unwrap_or_default().join(" "),
        facts: Vec::new(),
    }
}

fn plan_of(words: &[&str]) -> Plan {
    let mut plan = Plan { patch: patch_of(words), ..Plan::default() };
    let mut steps = Vec::new();
    let ms = |text: &str| Duration::from_millis(text.parse().expect(text));
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        steps.push(match name {
            "keys" => {
                plan.keys = value.to_owned();
                continue;
            }
            "wake" => {
                plan.wake = Some(ms(value));
                continue;
            }
            "state" => {
                plan.state = value.into();
                continue;
            }
            "lookups" => {
                plan.lookups = value.split(',').map(lookup).collect();
                continue;
            }
            "because" => {
                plan.reason = value.to_owned();
                continue;
            }
            "on" => {
                plan.steps = None;
                return plan;
            }
            name if name.starts_with('+') => continue,
            "answer" => Step::Answer,
            "play" => Step::Play(value.split(',').map(str::to_owned).collect()),
            "say" => Step::Say(Say { kind: SayKind::Number, value: value.to_owned() }),
            "music" => Step::Music(value.to_owned()),
            "silence" => Step::Silence,
            "wait" => Step::Wait(ms(value)),
            "collect" => Step::Collect(Collect {
                most: value.parse().expect("a number"),
                timeout: Duration::from_secs(5),
                between: Duration::from_secs(2),
                end_keys: "#".to_owned(),
                facts: Vec::new(),
            }),
            "hand-over" if value.is_empty() => Step::HandOver(None),
            "hand-over" => Step::HandOver(Some(target(value))),
            _ => panic!("no step: {word}"),
        });
    }
    plan.steps = Some(steps);
    plan
}
