//! Four words for four failures, and what comes after each.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use plugin_runtime::{
    Connector, Kind, StartError,
    hooks::{
        Call, Cause, Decision, HookConfig, HookError, HookFailure, HookLimits, Observer,
        ObserverAction, ObserverInput, Patch, Router, Target, Treatment, Verdict, Waiting,
    },
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use super::{
    GROWS, LOOPS, TRAPS, TRAPS_THE_SECOND_TIME, answer, answers::Answers, config, load, observer,
    router, treatment,
};
use crate::guests;

fn vip() -> Decision {
    Decision {
        verdict: Verdict::Send(Target::queue("vip")),
        patch: Patch::default(),
        stores: vec![],
        reason: "a VIP".into(),
        facts: vec![],
    }
}

fn to_vip() -> serde_json::Value {
    json!({ "verdict": { "send": { "queue": { "name": "vip" } } }, "reason": "a VIP" })
}

#[test]
fn kinds_come_from_the_exports() {
    let plugin = router(&[to_vip()]);
    assert_eq!(plugin.kinds(), [Kind::Router, Kind::WaitTreatment, Kind::Observer]);
    assert_eq!(guests::lines().kinds(), [Kind::Connector]);
}

#[test]
fn a_plugin_is_not_used_as_what_it_is_not() {
    let Err(HookFailure::Refused(error)) = Router::start(&guests::lines(), config()) else {
        panic!("a connector routes")
    };
    assert!(error.message.contains("`tiny` is no router"), "{error}");
    let error = Connector::start(&router(&[to_vip()]), guests::config(), answer(0)).err().unwrap();
    assert!(matches!(error, StartError::NoConnector { .. }), "{error}");
    assert!(error.to_string().contains("router, wait-treatment, observer"), "{error}");
}

#[test]
fn after_a_trap_the_next_call_gets_a_new_instance() {
    let plugin = router(&[to_vip()]);
    let mut router = Router::start(&plugin, config()).unwrap();
    let mut ask = |number| router.route(answer(number), &Call::default(), &[]);
    // The second call of an instance traps, so the third is the first of a new one.
    assert_eq!(ask(TRAPS_THE_SECOND_TIME), Ok(vip()));
    let failure = ask(TRAPS_THE_SECOND_TIME).unwrap_err();
    assert!(
        matches!(&failure, HookFailure::Trapped(text) if text.contains("unreachable")),
        "{failure}"
    );
    assert_eq!(failure.code(), "trapped");
    assert_eq!(ask(TRAPS_THE_SECOND_TIME), Ok(vip()));
    let usage = router.usage();
    assert_eq!((usage.calls, usage.traps, usage.restarts), (2, 1, 1));
}

/// The caller waits until the trap is told. With `RUST_BACKTRACE`, which an admin may well have set, errors carry the
/// host's own stack, and to find the names in it takes hundreds of milliseconds in a binary as large as the host.
#[test]
fn a_trap_is_told_in_a_moment_where_backtraces_are_wanted() {
    const CHILD: &str = "JACKFIELD_TEST_TRAPS_HERE";
    if std::env::var_os(CHILD).is_none() {
        // The variable counts for a whole process, and only from its beginning.
        let name = "hooks::failures::a_trap_is_told_in_a_moment_where_backtraces_are_wanted";
        let child = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .envs([("RUST_BACKTRACE", "1"), (CHILD, "1")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}{child:?}");
        return;
    }
    let mut router = Router::start(&router(&[to_vip()]), config()).unwrap();
    // Its own time: the machine that runs tests may be busy.
    let computed = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let began = computed();
    let failure = router.route(answer(TRAPS), &Call::default(), &[]).unwrap_err();
    let took = computed() - began;
    let HookFailure::Trapped(text) = failure else { panic!("{failure}") };
    assert!(text.contains("wasm backtrace") && text.contains("unreachable"), "{text}");
    assert!(!text.contains("Stack backtrace"), "{text}");
    assert!(took < Duration::from_millis(20), "{took:?}");
}

#[test]
fn a_loop_is_late_after_its_own_time_and_the_next_call_is_answered() {
    let plugin = router(&[to_vip()]);
    let limits = HookLimits { route_ms: 20, ..HookLimits::default() };
    let mut router = Router::start(&plugin, HookConfig { limits, ..config() }).unwrap();
    let began = Instant::now();
    let failure = router.route(answer(LOOPS), &Call::default(), &[]).unwrap_err();
    assert_eq!(failure, HookFailure::Late { after: Duration::from_millis(20) });
    assert!(began.elapsed() >= Duration::from_millis(19), "{:?}", began.elapsed());
    assert_eq!(router.usage().memory_bytes, 0, "it has no instance now");
    // 20 ms of computing are enough on any machine.
    assert_eq!(router.route(answer(0), &Call::default(), &[]), Ok(vip()));
}

#[test]
fn one_that_takes_all_memory_traps_and_says_how_much_there_was() {
    let plugin = router(&[to_vip()]);
    let limits = HookLimits { memory_mib: 4, ..config().limits };
    let mut router = Router::start(&plugin, HookConfig { limits, ..config() }).unwrap();
    let failure = router.route(answer(GROWS), &Call::default(), &[]).unwrap_err();
    assert!(matches!(&failure, HookFailure::Trapped(text) if text.contains("4 MiB")), "{failure}");
    assert_eq!(router.route(answer(0), &Call::default(), &[]), Ok(vip()));
}

#[test]
fn an_error_is_a_refusal_and_the_instance_goes_on() {
    let refusal = json!({ "err": { "code": "no-data", "message": "the list\u{1b}[31m is empty", "retryable": true } });
    let plugin =
        load(Answers { route: vec![refusal, json!({ "ok": to_vip() })], ..Answers::default() });
    let mut router = Router::start(&plugin, config()).unwrap();
    let failure = router.route(answer(0), &Call::default(), &[]).unwrap_err();
    let message = "the list [31m is empty".into();
    let expected = HookError { code: "no-data".into(), message, retryable: true };
    assert_eq!(failure, HookFailure::Refused(expected));
    assert_eq!(router.route(answer(1), &Call::default(), &[]), Ok(vip()));
    assert_eq!(router.usage().restarts, 0);
}

#[test]
fn an_answer_of_too_many_bytes_is_nonsense() {
    let facts: Vec<_> = (0..64).map(|at| json!([format!("f{at}"), "x".repeat(4000)])).collect();
    let plugin = router(&[json!({ "patch": { "facts": facts } }), to_vip()]);
    let limits = HookLimits { bytes_per_call: 100_000, ..config().limits };
    let mut router = Router::start(&plugin, HookConfig { limits, ..config() }).unwrap();
    let failure = router.route(answer(0), &Call::default(), &[]).unwrap_err();
    let expected = "an answer that takes more than 100000 bytes";
    assert_eq!(failure, HookFailure::Nonsense(expected.into()));
    assert_eq!(router.route(answer(1), &Call::default(), &[]), Ok(vip()));
}

#[test]
fn an_init_that_refuses_or_wishes_nonsense_starts_nothing() {
    let start = |init| {
        let plugin = load(Answers { init: Some(init), ..Answers::default() });
        Router::start(&plugin, config()).err().map(|failure| failure.to_string())
    };
    let refused = start(json!({ "err": { "code": "bad-settings", "message": "name a queue" } }));
    assert_eq!(refused.as_deref(), Some("it refused: name a queue (bad-settings)"));
    let zones = ["UTC"; 9];
    let many = start(json!({ "ok": { "time-zones": zones } }));
    assert_eq!(many.as_deref(), Some("it answered nonsense: 9 time zones; at most 8"));
    let odd = start(json!({ "ok": { "time-zones": ["../etc/passwd?"] } })).unwrap();
    assert!(odd.contains("IANA name"), "{odd}");
    let plugin = load(Answers {
        init: Some(json!({ "ok": { "time-zones": ["Europe/Berlin"] } })),
        ..Answers::default()
    });
    assert_eq!(Router::start(&plugin, config()).unwrap().wishes().time_zones, ["Europe/Berlin"]);
}

#[test]
fn treatments_and_observers_fail_with_the_same_words() {
    let mut treatment = Treatment::start(&treatment(&[json!({})]), config()).unwrap();
    let mut next =
        |number| treatment.next(answer(number), &Waiting::default(), b"", &Cause::Key('1'), &[]);
    assert_eq!(next(TRAPS).unwrap_err().code(), "trapped");
    assert_eq!(next(0).unwrap().steps, None);
    let mut observer = Observer::start(&observer(&[json!([{ "wake-at": 7 }])]), config()).unwrap();
    assert_eq!(observer.step(answer(TRAPS), &[ObserverInput::Wake]).unwrap_err().code(), "trapped");
    let woken = observer.step(answer(0), &[ObserverInput::Wake]).unwrap();
    assert_eq!(woken, [ObserverAction::WakeAt(Some(Duration::from_nanos(7)))]);
}
