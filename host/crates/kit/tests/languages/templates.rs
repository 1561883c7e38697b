//! Every template, in both languages: begun, built, unit-tested, loaded, and asked.

use calls::fact::Fact;
use kit::{project::Lang, template};
use plugin_runtime::{
    Effect, Kind, Part,
    hooks::{Cause, FailedStep, HookError, ObserverAction, QueueTarget, Step, Target, Verdict},
};

use crate::{
    ask::{Connected, Watching, call, route, treat},
    built,
    helpers::stubs_are_fresh,
    may_run,
};

fn begun(kind: Kind, lang: Lang) -> Option<plugin_runtime::Plugin> {
    if !may_run(lang) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("mine");
    template::begin("my-plugin", kind, lang, &root).unwrap();
    let plugin = built(&root);
    if lang == Lang::Python {
        stubs_are_fresh(&root, kind);
    }
    Some(plugin)
}

fn a_router_routes(lang: Lang) {
    let Some(plugin) = begun(Kind::Router, lang) else { return };
    let settings = r#"{"vip":["+4930123456"],"queue":"vip"}"#;
    let decisions = route(&plugin, settings, &[call("+4930123456"), call("+493099")]);
    let Verdict::Send(Target::Queue(QueueTarget { name, .. })) = &decisions[0].verdict else {
        panic!("{decisions:?}")
    };
    assert_eq!((name.as_str(), decisions[0].reason.as_str()), ("vip", "on the VIP list"));
    assert_eq!(decisions[0].patch.variables, [("VIP".to_owned(), "yes".to_owned())]);
    assert_eq!(decisions[1].verdict, Verdict::Pass);
    let problems = plugin.validate_settings(r#"{"vip":["030"],"queue":"vip"}"#).unwrap();
    assert_eq!(problems[0].path, "vip.0");
}

fn a_treatment_comforts(lang: Lang) {
    let Some(plugin) = begun(Kind::WaitTreatment, lang) else { return };
    let settings = r#"{"greeting":"welcome","keys":{"1":"sales"}}"#;
    let failed = FailedStep { step: 1, error: HookError::new("media-not-found", "welcome") };
    let causes = [Cause::Started, Cause::Failed(failed), Cause::Key('9'), Cause::Key('1')];
    let plans = treat(&plugin, settings, &causes);
    let steps = plans[0].steps.as_ref().unwrap();
    assert_eq!(steps[..2], [Step::Answer, Step::Play(vec!["welcome".into()])]);
    assert_eq!(plans[0].keys, "1");
    assert_eq!(plans[1].steps.as_ref().unwrap()[0], Step::Music(String::new()));
    assert_eq!(plans[2].steps, None);
    let handed_over = [Step::HandOver(Some(Target::queue("sales")))];
    assert_eq!(plans[3].steps.as_deref(), Some(&handed_over[..]));
}

fn an_observer_keeps(lang: Lang) {
    let Some(plugin) = begun(Kind::Observer, lang) else { return };
    let mut watching = Watching::start(&plugin, r#"{"keep":10}"#);
    let actions = watching.event(17, "call.ended", r#"{"seq":17}"#);
    let [ObserverAction::Store(store), ObserverAction::Ack(17)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(
        (store.key.as_str(), store.value.as_deref()),
        ("ended.7", Some(&b"{\"seq\":17}"[..]))
    );
    assert_eq!(watching.event(18, "call.started", "{}"), [ObserverAction::Ack(18)]);
}

fn a_connector_tells(lang: Lang) {
    let Some(plugin) = begun(Kind::Connector, lang) else { return };
    assert!(plugin.has_snapshot());
    let (mut connected, effects) = Connected::start(&plugin, "line");
    let sent = effects.iter().filter_map(|effect| match effect {
        Effect::Send { parts, .. } => Some(parts),
        _ => None,
    });
    let sent: Vec<u8> = sent
        .flatten()
        .flat_map(|part| if let Part::Literal(bytes) = part { bytes.clone() } else { Vec::new() })
        .collect();
    assert_eq!(sent, b"HELLO jackfield\nLIST\n");
    let effects = connected.receive("HAS 16 up 5550000\nEND\nRING 17 555");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::ResyncEnd { .. })), "{effects:?}");
    // The rest of the line: what was not consumed comes again.
    let effects = connected.receive("1234\n");
    let facts: Vec<_> = effects
        .iter()
        .filter_map(|effect| if let Effect::Fact { fact, .. } = effect { Some(fact) } else { None })
        .collect();
    let [Fact::LegStarted(leg)] = facts[..] else { panic!("{effects:?}") };
    assert_eq!(leg.party.number, "5551234");
}

#[test]
fn a_router_in_typescript_routes() {
    a_router_routes(Lang::Ts);
}

#[test]
fn a_treatment_in_typescript_comforts() {
    a_treatment_comforts(Lang::Ts);
}

#[test]
fn an_observer_in_typescript_keeps() {
    an_observer_keeps(Lang::Ts);
}

#[test]
fn a_connector_in_typescript_tells() {
    a_connector_tells(Lang::Ts);
}

#[test]
fn a_router_in_python_routes() {
    a_router_routes(Lang::Python);
}

#[test]
fn a_treatment_in_python_comforts() {
    a_treatment_comforts(Lang::Python);
}

#[test]
fn an_observer_in_python_keeps() {
    an_observer_keeps(Lang::Python);
}

#[test]
fn a_connector_in_python_tells() {
    a_connector_tells(Lang::Python);
}
