//! What callers hear, and where they end: a small PBX on a virtual clock plays the plans.

use std::collections::VecDeque;

use jackfield_sdk::hooks::{
    Answer, Answers, Call, Cause, Config, FailedStep, Failure, Now, Plan, Question, Step, Target,
    WaitTreatment, Waiting,
};
use jackfield_standard_treatment::{StandardTreatment, state::State};
use serde_json::{Value, json};

/// A recording takes so long.
const PLAYS_MS: u64 = 2000;

struct Line {
    treatment: StandardTreatment,
    waiting: Waiting,
    state: Vec<u8>,
    now: u64,
    steps: VecDeque<(u32, Step)>,
    /// The step under way, and when it is over.
    busy: Option<(u32, u64)>,
    keys: String,
    wake_at: Option<u64>,
    lookup_at: Option<u64>,
    lookup: Answer,
    lookup_takes: u64,
    missing: Vec<&'static str>,
    /// The place does not take the caller so often.
    refuses: u32,
    /// Keys the caller will press.
    presses: VecDeque<(u64, char)>,
    heard: Vec<String>,
    changed: Vec<String>,
    ended: Option<String>,
    longest_state: usize,
    calls: u32,
}

impl Line {
    fn new(settings: &Value) -> Self {
        let config = Config::new("standard", settings.to_string());
        let treatment =
            StandardTreatment::init(config).unwrap_or_else(|error| panic!("{}", error.message));
        let waiting = Waiting { then: Some(Target::queue("support")), ..Waiting::default() };
        Self {
            treatment,
            waiting,
            state: Vec::new(),
            now: 0,
            steps: VecDeque::new(),
            busy: None,
            keys: String::new(),
            wake_at: None,
            lookup_at: None,
            lookup: Answer::new("lookup", 404, ""),
            lookup_takes: 500,
            missing: Vec::new(),
            refuses: 0,
            presses: VecDeque::new(),
            heard: Vec::new(),
            changed: Vec::new(),
            ended: None,
            longest_state: 0,
            calls: 0,
        }
    }

    fn fact(mut self, name: &str, value: &str) -> Self {
        self.waiting.facts.push((name.into(), value.into()));
        self
    }

    fn press(mut self, secs: u64, key: char) -> Self {
        self.presses.push_back((secs * 1000, key));
        self
    }

    /// Until the caller is gone, or a day has passed.
    fn run(mut self) -> Self {
        self.call(&Cause::Started);
        while self.ended.is_none() && self.now < 24 * 3_600_000 {
            self.turn();
        }
        self
    }

    fn turn(&mut self) {
        if self.busy.is_none()
            && let Some((index, step)) = self.steps.pop_front()
        {
            return self.begin(index, step);
        }
        let presses = self.presses.front().map(|(at, _)| *at);
        let busy = self.busy.map(|(_, at)| at);
        let Some(at) = [busy, self.wake_at, self.lookup_at, presses].into_iter().flatten().min()
        else {
            self.ended = Some("nothing will ever happen".into());
            return;
        };
        self.now = self.now.max(at);
        if presses == Some(at) {
            let (_, key) = self.presses.pop_front().expect("it was looked at");
            if self.keys.contains(key) {
                self.call(&Cause::Key(key.into()));
            }
        } else if self.lookup_at == Some(at) {
            self.lookup_at = None;
            self.call(&Cause::LookedUp);
        } else if busy == Some(at) {
            self.busy = None;
            if self.steps.is_empty() {
                self.call(&Cause::Finished);
            }
        } else {
            self.wake_at = None;
            self.call(&Cause::Woke);
        }
    }

    fn begin(&mut self, index: u32, step: Step) {
        let takes = match step {
            Step::Answer => {
                self.hear("answer");
                0
            }
            Step::Play(media) => {
                if self.missing.contains(&media[0].as_str()) {
                    self.steps.clear();
                    let failed = FailedStep {
                        step: index,
                        error: Failure::new("media-not-found", &media[0]),
                    };
                    return self.call(&Cause::Failed(failed));
                }
                self.hear(&media[0]);
                PLAYS_MS
            }
            Step::Music(class) => {
                self.hear(if class.is_empty() { "music" } else { &class });
                0
            }
            Step::Wait(ms) => u64::from(ms),
            Step::HandOver(target) if self.refuses > 0 => {
                self.refuses -= 1;
                self.hear(&format!("{:?} full", place(target.as_ref())));
                return self.call(&Cause::CameBack("queue full".into()));
            }
            Step::HandOver(target) => {
                self.ended = Some(place(target.as_ref()));
                return;
            }
            other => panic!("{other:?}"),
        };
        self.busy = Some((index, self.now + takes));
    }

    fn hear(&mut self, what: &str) {
        self.heard.push(format!("{}s {what}", self.now / 1000));
    }

    fn call(&mut self, cause: &Cause) {
        self.calls += 1;
        assert!(self.calls < 10_000, "it never comes to an end: {:?}", self.heard);
        self.waiting.waited_ms = self.now;
        let answers = match cause {
            Cause::LookedUp => Answers::from([self.lookup.clone()]),
            _ => Answers::none(),
        };
        let now = Now { monotonic_ns: self.now * 1_000_000, ..Now::default() };
        let plan = self
            .treatment
            .next(now, &self.waiting, &self.state, cause, &answers)
            .unwrap_or_else(|error| panic!("{}", error.message));
        self.take(plan);
    }

    fn take(&mut self, plan: Plan) {
        self.longest_state = self.longest_state.max(plan.state.len());
        self.state = plan.state;
        if let Some(steps) = plan.steps {
            assert!(!steps.is_empty() && steps.len() <= 64);
            self.steps = (0..).zip(steps).collect();
            // What is under way is cut short by what comes.
            self.busy = None;
        }
        self.keys = plan.keys;
        self.wake_at = plan.wake_ms.map(|ms| self.now + u64::from(ms));
        for lookup in plan.lookups {
            assert!(matches!(lookup.question, Question::Http(_)));
            self.lookup_at = Some(self.now + self.lookup_takes);
        }
        for (name, value) in plan.patch.variables.into_iter().chain(plan.patch.facts) {
            self.changed.push(format!("{name}={value}"));
        }
        if let Some(language) = plan.patch.language {
            self.changed.push(format!("language={language}"));
        }
        assert!(plan.reason.len() <= 400 && !plan.reason.contains(char::is_control));
    }
}

fn place(target: Option<&Target>) -> String {
    match target {
        None => "as routed".into(),
        Some(Target::Queue(queue)) => format!("queue {}", queue.name),
        Some(Target::HangUp(end)) => format!("hang-up {}", end.q850),
        Some(other) => format!("{other:?}"),
    }
}

/// Heard, and where it ended.
fn check(line: Line, heard: &[&str], ended: &str) {
    let line = line.run();
    assert_eq!(line.heard, heard);
    assert_eq!(line.ended.as_deref(), Some(ended));
    assert!(line.longest_state < 600, "{} bytes", line.longest_state);
}

fn menu() -> Value {
    json!({
        "greeting": "welcome",
        "menu": "main",
        "menus": {
            "main": {
                "prompt": { "de": "menu-de", "*": "menu" },
                "keys": { "1": "queue:sales", "2": { "language": "de" }, "3": "menu:more", "4": "go-on", "9": "repeat",
                          "*": { "to": "queue:vip", "variables": { "STAR": "1" } } },
                "wrong": "wrong", "nothing": "no-key", "rounds": 3, "timeout_secs": 5, "otherwise": "queue:rest",
            },
            "more": { "prompt": "more", "keys": { "1": "hang-up" }, "rounds": 1 },
        },
    })
}

#[test]
fn a_caller_is_greeted_told_what_must_be_said_and_handed_over() {
    let settings = json!({ "greeting": ["welcome", "hours"], "consent": "recorded" });
    check(
        Line::new(&settings),
        &["0s answer", "0s welcome", "2s hours", "4s recorded"],
        "as routed",
    );
    check(Line::new(&json!({})), &["0s answer"], "as routed");
    check(
        Line::new(&json!({ "answer": false, "greeting": "welcome" })),
        &["0s welcome"],
        "as routed",
    );
    let quiet = Line::new(&settings).fact("greeting", "no");
    check(quiet, &["0s answer", "0s recorded"], "as routed");
}

#[test]
fn who_does_not_agree_says_so_by_a_key() {
    let settings = json!({ "consent": { "notice": "recorded", "decline_key": "9", "variable": "RECORD", "wait_secs": 3 } });
    let line = Line::new(&settings).run();
    assert_eq!(
        (line.changed, line.ended.as_deref()),
        (vec!["RECORD=yes".into()], Some("as routed"))
    );
    let line = Line::new(&settings).press(1, '5').press(3, '9').run();
    assert_eq!((line.changed, line.now), (vec!["RECORD=no".to_owned()], 3000));
}

#[test]
fn a_key_chooses_also_before_the_prompt_is_over() {
    check(Line::new(&menu()).press(3, '1'), &["0s answer", "0s welcome", "2s menu"], "queue sales");
    check(Line::new(&menu()).press(6, '4'), &["0s answer", "0s welcome", "2s menu"], "as routed");
    let line = Line::new(&menu()).press(3, '*').run();
    assert_eq!(line.changed, ["STAR=1"]);
    assert_eq!(line.ended.as_deref(), Some("queue vip"));
}

#[test]
fn a_wrong_key_and_no_key_are_told_and_after_three_rounds_it_goes_on() {
    check(
        Line::new(&menu()).press(3, '7'),
        &["0s answer", "0s welcome", "2s menu", "3s wrong", "5s menu", "12s no-key", "14s menu"],
        "queue rest",
    );
}

#[test]
fn a_key_may_lead_to_another_menu_or_language() {
    check(
        Line::new(&menu()).press(3, '2').press(4, '9').press(5, '3').press(6, '1'),
        &["0s answer", "0s welcome", "2s menu", "3s menu-de", "4s menu-de", "5s more"],
        "hang-up 16",
    );
    let line = Line::new(&menu()).press(3, '2').press(4, '1').run();
    assert_eq!(line.changed, ["language=de"]);
}

#[test]
fn the_router_may_name_the_menu_or_none() {
    check(Line::new(&menu()).fact("menu", "none"), &["0s answer", "0s welcome"], "as routed");
    let line = Line::new(&menu()).fact("menu", "more");
    check(line, &["0s answer", "0s welcome", "2s more"], "as routed");
}

#[test]
fn music_plays_while_the_lookup_runs_and_announcements_come_in_turn_with_music_again() {
    let settings = json!({
        "greeting": "welcome",
        "lookup": { "url": "https://crm.example.org/{number}", "auth": "bearer", "fields": { "name": "/name" },
                    "variables": { "name": "CUSTOMER" } },
        "hold": { "music": "jazz", "announcements": ["wait", { "de": "web-de", "*": "web" }], "announce_secs": 10 },
    });
    let mut line = Line::new(&settings);
    line.lookup = Answer::new("lookup", 200, r#"{"name":"Ada\r\n"}"#);
    line.lookup_takes = 25_000;
    let line = line.run();
    assert_eq!(
        line.heard,
        ["0s answer", "0s welcome", "2s jazz", "12s wait", "14s jazz", "22s web", "24s jazz"]
    );
    assert_eq!(line.changed, ["CUSTOMER=Ada", "lookup-name=Ada"]);
    assert_eq!((line.ended.as_deref(), line.now), (Some("as routed"), 25_000));
    // A quick one is not waited for, and one that fails changes nothing.
    let mut line = Line::new(&settings);
    line.lookup = Answer::new("lookup", 200, vec![b'['; 1 << 20]);
    check(line, &["0s answer", "0s welcome"], "as routed");
    let mut line = Line::new(&settings);
    line.lookup_takes = u64::MAX / 2;
    let line = line.run();
    assert_eq!(line.now, 300_000, "a lookup that never ends holds nobody for ever");
}

#[test]
fn a_place_that_does_not_take_the_caller_is_tried_again_with_an_apology() {
    let settings = json!({ "apology": "sorry", "hold": { "again_secs": 15 } });
    let mut line = Line::new(&settings);
    line.refuses = 2;
    check(
        line,
        &[
            "0s answer",
            "0s \"as routed\" full",
            "0s sorry",
            "2s music",
            "15s \"as routed\" full",
            "15s music",
        ],
        "as routed",
    );
}

#[test]
fn who_waits_too_long_goes_to_the_overflow_and_who_is_refused_there_is_not_left_in_silence() {
    let settings = json!({
        "apology": "sorry", "hold": { "again_secs": 40, "at_most_secs": 60 },
        "overflow": { "message": "busy", "to": "queue:overflow" },
    });
    let mut line = Line::new(&settings);
    line.refuses = 2;
    let line = line.run();
    assert_eq!(line.heard.last().map(String::as_str), Some("60s busy"));
    assert_eq!(line.ended.as_deref(), Some("queue overflow"));
    let mut line = Line::new(&settings);
    line.refuses = 1000;
    let mut line = line.run();
    // Even the end was refused: it is asked for again, and again the call ends.
    line.refuses = 0;
    assert!(line.ended.is_some());
}

#[test]
fn when_nobody_is_there_the_routers_message_is_heard_and_the_call_ends_as_it_says() {
    let settings = json!({ "greeting": "welcome", "closed": "closed", "menu": "m",
        "menus": { "m": { "prompt": "p", "keys": { "1": "go-on" } } } });
    let line =
        Line::new(&settings).fact("closed", "holiday").fact("message", "custom/xmas, custom/bye");
    check(line, &["0s answer", "0s custom/xmas", "2s custom/bye"], "as routed");
    let mut line = Line::new(&settings).fact("closed", "hours");
    line.waiting.then = None;
    check(line, &["0s answer", "0s closed"], "hang-up 16");
    // What is no name of a recording is not played.
    let line = Line::new(&settings).fact("closed", "x").fact("message", "../etc/passwd,a&b,\r\n");
    check(line, &["0s answer", "0s closed"], "as routed");
}

#[test]
fn a_recording_that_is_missing_costs_nothing_but_itself() {
    let settings = json!({ "greeting": ["a", "b", "c"], "consent": "d" });
    let mut line = Line::new(&settings);
    line.missing = vec!["a", "c", "d"];
    check(line, &["0s answer", "0s b"], "as routed");
    let mut line = Line::new(&menu()).press(3, '1');
    line.missing = vec!["welcome", "menu", "no-key"];
    check(line, &["0s answer"], "queue sales");
    let mut line = Line::new(&settings);
    line.missing = vec!["a", "b", "c", "d"];
    check(line, &["0s answer"], "as routed");
}

#[test]
fn after_a_restart_of_the_host_nobody_is_greeted_twice() {
    let settings = json!({ "greeting": "welcome", "consent": "recorded" });
    let treatment = StandardTreatment::init(Config::new("t", settings.to_string())).unwrap();
    let next = |state: &[u8], cause: Cause| {
        let waiting = Waiting::default();
        treatment.next(Now::default(), &waiting, state, &cause, &Answers::none()).unwrap()
    };
    // Nobody knows whether it was answered; answering twice is nothing.
    let plan = next(&State::default().write(), Cause::Resumed);
    assert_eq!(plan.steps, Some(vec![Step::Answer]));
    let plan = next(&plan.state, Cause::Finished);
    assert_eq!(plan.steps, Some(vec![Step::play("recorded")]));
    // What must be said is said in full.
    let plan = next(&plan.state, Cause::Resumed);
    assert_eq!(plan.steps, Some(vec![Step::play("recorded")]));
}

#[test]
fn states_of_other_versions_are_read() {
    // As 0.1.0 wrote them, and as some later version may.
    for (state, steps) in [
        (&br#"{"v":1,"at":"consent","from":0}"#[..], vec![Step::play("recorded")]),
        (
            br#"{"v":2,"at":"consent","from":0,"again":"for-fun","mood":"fine"}"#,
            vec![Step::play("recorded")],
        ),
        (br#"{"v":9,"at":"karaoke","song":7}"#, vec![Step::HandOver(None)]),
        (b"", vec![Step::HandOver(None)]),
        (b"\xff\x00garbage", vec![Step::HandOver(None)]),
        (&[b'['; 16 << 10], vec![Step::HandOver(None)]),
        (br#"{"v":1,"at":"menu","menu":"gone"}"#, vec![Step::HandOver(None)]),
        (br#"{"v":1,"at":"leave","chosen":["gone","1"]}"#, vec![Step::HandOver(None)]),
    ] {
        let settings = json!({ "greeting": "welcome", "consent": "recorded" }).to_string();
        let treatment = StandardTreatment::init(Config::new("t", settings)).unwrap();
        let plan = treatment
            .next(Now::default(), &Waiting::default(), state, &Cause::Resumed, &Answers::none())
            .unwrap();
        assert_eq!(plan.steps, Some(steps), "{}", String::from_utf8_lossy(state));
    }
}

#[test]
fn whatever_happens_in_whatever_order_the_caller_ends_somewhere() {
    // SplitMix64; the seed is in the message of a failure.
    fn roll(seed: &mut u64, sides: u64) -> u64 {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
    let mut settings = menu();
    settings["consent"] = json!({ "notice": "recorded", "decline_key": "5", "variable": "OK" });
    settings["lookup"] =
        json!({ "url": "https://crm.example.org/{number}", "fields": { "a": "/a" } });
    settings["hold"] = json!({ "announcements": ["x"], "announce_secs": 5, "at_most_secs": 120 });
    settings["apology"] = "sorry".into();
    for seed in 0..500 {
        let mut dice = seed;
        let mut line = Line::new(&settings);
        line.refuses = u32::try_from(roll(&mut dice, 8)).unwrap();
        line.lookup_takes = roll(&mut dice, 200_000);
        line.missing = ["welcome", "recorded", "menu", "sorry", "x", "wrong"]
            .into_iter()
            .filter(|_| roll(&mut dice, 3) == 0)
            .collect();
        let mut at = 0;
        for _ in 0..roll(&mut dice, 20) {
            at += roll(&mut dice, 4000);
            let key = "0123456789*#".as_bytes()[usize::try_from(roll(&mut dice, 12)).unwrap()];
            line.presses.push_back((at, char::from(key)));
        }
        let line = line.run();
        assert!(
            line.ended.as_ref().is_some_and(|it| !it.contains("nothing")),
            "seed {seed}: {:?}",
            line.heard
        );
        assert!(line.now < 400_000, "seed {seed}: {} ms", line.now);
    }
}

#[test]
fn absurd_settings_are_refused_and_the_path_is_named() {
    let menus = |menu: Value| json!({ "menu": "m", "menus": { "m": menu } });
    for (settings, part) in [
        (json!({ "greeting": "a b" }), "greeting: \"a b\" is no name of a recording"),
        (json!({ "greeting": { "de": "../x" } }), "greeting.de: \"../x\" is no name"),
        (json!({ "menu": "x" }), "menu: \"x\" is not among `menus`; there are: none"),
        (
            json!({ "menus": { "m": { "prompt": "p", "keys": { "1": "repeat" } } } }),
            "menu: is missing",
        ),
        (menus(json!({ "keys": { "1": "repeat" } })), "menus.m.prompt: is missing"),
        (menus(json!({ "prompt": "p" })), "menus.m.keys: has no key"),
        (menus(json!({ "prompt": "p", "keys": { "10": "repeat" } })), "menus.m.keys.10: is no key"),
        (
            menus(json!({ "prompt": "p", "keys": { "1": "queue:a&b" } })),
            "menus.m.keys.1: \"queue:a&b\" has a name",
        ),
        (
            menus(json!({ "prompt": "p", "keys": { "1": "menu:x" } })),
            "menus.m.keys.1: \"x\" is not among `menus`",
        ),
        (
            menus(json!({ "prompt": "p", "keys": { "1": { "to": "busy", "repeat": true } } })),
            "does several things",
        ),
        (
            menus(json!({ "prompt": "p", "keys": { "1": "repeat" }, "rounds": 0 })),
            "menus.m.rounds: must be",
        ),
        (
            menus(
                json!({ "prompt": "p", "keys": { "1": { "variables": { "JACKFIELD_X": "1" } } } }),
            ),
            "variables.JACKFIELD_X: is no channel",
        ),
        (json!({ "consent": {} }), "consent.notice: is missing"),
        (
            json!({ "consent": { "notice": "n", "decline_key": "x" } }),
            "consent.decline_key: \"x\" is no key",
        ),
        (
            json!({ "consent": { "notice": "n", "decline_key": "9" } }),
            "consent.variable: is missing",
        ),
        (json!({ "hold": { "music": "../x" } }), "hold.music: \"../x\" is no class"),
        (json!({ "hold": { "at_least_secs": 400 } }), "hold.at_least_secs: is longer"),
        (json!({ "hold": { "announce_secs": -1 } }), "hold.announce_secs: must be"),
        (json!({ "overflow": { "to": "moon" } }), "overflow.to: \"moon\" is no place"),
        (
            json!({ "lookup": { "url": "https://a/", "fields": { "a": "/a" }, "variables": { "b": "B" } } }),
            "lookup.variables.b: is not among `fields`",
        ),
        (json!({ "language": "x y" }), "language: \"x y\" is no language"),
        (json!({ "greting": "x" }), "greting: is unknown here"),
        (json!(null), ": must be a table"),
    ] {
        let said: Vec<String> = StandardTreatment::validate(&settings.to_string())
            .into_iter()
            .map(|problem| format!("{}: {}", problem.path, problem.message))
            .collect();
        assert!(said.join("\n").contains(part), "{settings}: {said:?}");
    }
}

#[test]
fn hostile_callers_hear_what_others_hear() {
    for text in ["", "\r\nAction: Originate", "\u{0}\u{202e}é", &"9".repeat(100_000)] {
        let mut line = Line::new(&menu()).press(3, '1');
        line.waiting.call = Call {
            caller_e164: text.into(),
            language: text.into(),
            dialled: text.into(),
            variables: vec![(text.into(), text.into())],
            ..Call::default()
        };
        line.waiting.facts = vec![("menu".into(), "main".into()), (text.into(), text.into())];
        check(line, &["0s answer", "0s welcome", "2s menu"], "queue sales");
    }
}
