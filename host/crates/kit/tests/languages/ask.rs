//! Asking a plugin as the host would.

use std::time::Duration;

use calls::{Now, Timestamp, fact::RawParty};
use plugin_runtime::{
    Connector, Effect, InstanceConfig, Limits, Log, Plugin,
    hooks::{
        Answer, Call, Cause, Decision, Event, HookConfig, HookLimits, Observer, ObserverAction,
        ObserverInput, Plan, Router, Treatment, Waiting,
    },
};

pub fn now() -> Now {
    Now { monotonic: Duration::from_secs(1), wall: Timestamp(1_795_435_200_000_000_000) }
}

/// Deadlines are for plugins on their own; here everything else is being built beside them.
pub fn config(settings: &str) -> HookConfig {
    let limits =
        HookLimits { route_ms: 2000, treatment_ms: 2000, step_ms: 2000, ..HookLimits::default() };
    HookConfig {
        id: "test".into(),
        settings: settings.into(),
        grants: Vec::new(),
        limits,
        log: Log::new("test"),
    }
}

pub fn call(e164: &str) -> Call {
    Call {
        id: "call-1".into(),
        connector: "hq".into(),
        dialled: "500".into(),
        caller: RawParty { number: e164.into(), ..RawParty::default() },
        caller_e164: e164.into(),
        attempt: 1,
        ..Call::default()
    }
}

pub fn route(plugin: &Plugin, settings: &str, calls: &[Call]) -> Vec<Decision> {
    let mut router = Router::start(plugin, config(settings)).unwrap();
    calls.iter().map(|call| router.route(now(), call, &[]).unwrap()).collect()
}

/// What it plans for one caller to whom all this happens.
pub fn treat(plugin: &Plugin, settings: &str, causes: &[Cause]) -> Vec<Plan> {
    let mut treatment = Treatment::start(plugin, config(settings)).unwrap();
    let (mut plans, mut state) = (Vec::new(), Vec::new());
    for cause in causes {
        let waiting = Waiting { call: call("+4930123456"), ..Waiting::default() };
        let plan = treatment.next(now(), &waiting, &state, cause, &[]).unwrap();
        state.clone_from(&plan.state);
        plans.push(plan);
    }
    plans
}

/// An observer, told one thing after the other.
pub struct Watching(Observer);

impl Watching {
    pub fn start(plugin: &Plugin, settings: &str) -> Self {
        Self(Observer::start(plugin, config(settings)).unwrap())
    }

    pub fn event(&mut self, seq: u64, kind: &str, json: &str) -> Vec<ObserverAction> {
        self.step(ObserverInput::Event(Event {
            seq,
            kind: kind.into(),
            at: now().wall,
            call: "call-1".into(),
            json: json.into(),
        }))
    }

    pub fn answer(&mut self, id: &str, status: u16, body: &str) -> Vec<ObserverAction> {
        let answer = Answer { id: id.into(), status, body: body.into(), ..Answer::default() };
        self.step(ObserverInput::Answer(answer))
    }

    fn step(&mut self, input: ObserverInput) -> Vec<ObserverAction> {
        self.0.step(now(), &[input]).unwrap()
    }
}

/// A connector with one link that is up.
pub struct Connected {
    connector: Connector,
    link: &'static str,
}

impl Connected {
    pub fn start(plugin: &Plugin, link: &'static str) -> (Self, Vec<Effect>) {
        let config = InstanceConfig {
            id: "test".into(),
            settings: "{}".into(),
            links: vec![(link.into(), "tcp://127.0.0.1:7700".into())],
            grants: vec![format!("link:{link}")],
            limits: Limits { step_ms: 2000, ..Limits::default() },
        };
        let (mut connector, begun) = Connector::start(plugin, config, now()).unwrap();
        assert!(begun.incidents.is_empty(), "{:?}", begun.incidents);
        let up = plugin_runtime::Input::LinkUp {
            link: link.into(),
            peer: "test".into(),
            nonce: [7; 32],
        };
        let outcome = connector.handle(vec![up], now());
        assert!(outcome.incidents.is_empty(), "{:?}", outcome.incidents);
        (Self { connector, link }, outcome.effects)
    }

    pub fn receive(&mut self, text: &str) -> Vec<Effect> {
        let data = text.into();
        let input = plugin_runtime::Input::Received { link: self.link.into(), data };
        let outcome = self.connector.handle(vec![input], now());
        assert!(outcome.incidents.is_empty(), "{:?}", outcome.incidents);
        outcome.effects
    }
}
