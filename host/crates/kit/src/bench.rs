//! What a plugin costs, beside its limits and beside a plugin of its kind that does nothing, in the same run.

mod empty;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use plugin_runtime::{
    Connector, InstanceConfig, Kind, Limits, Log, Plugin, Runtime,
    hooks::{
        Answer, Call, Cause, Event, HookConfig, HookLimits, Observer, ObserverInput, Router,
        Treatment, Verdict, Waiting,
    },
};
use serde::Serialize;

use crate::{
    peer::ScriptedPbx,
    play,
    rig::{Rig, Unkind},
    scenario::{Scenario, Script, router::Step, time::BOOT},
};

/// Instances made to find out what one costs.
const INSTANCES: usize = 50;
/// Calls before it counts.
const WARM: usize = 200;

/// What was measured of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// As what it was measured.
    pub kind: &'static str,
    /// What one call is, e.g. `route`.
    pub call: &'static str,
    /// With which scenario.
    pub scenario: String,
    /// Of the plugin.
    pub plugin: Costs,
    /// Of one that does nothing.
    pub empty: Costs,
    /// What a call may take, milliseconds.
    pub limit_ms: u32,
    /// What an instance may use.
    pub limit_memory_mib: u32,
}

/// What one plugin costs.
#[derive(Clone, Debug, Serialize)]
pub struct Costs {
    /// Of the component.
    pub bytes: u64,
    /// From bytes to something that can be started, milliseconds.
    pub compile_ms: f64,
    /// A new instance with its `init`, microseconds.
    pub instantiate_us: f64,
    /// A call, microseconds.
    pub call_us: Spread,
    /// Linear memory after all of it.
    pub memory_bytes: u64,
}

/// How times are spread, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// Half of them took less.
    pub p50: f64,
    /// 99 of 100 took less.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |part: f64| {
            let index = (times.len().saturating_sub(1)) as f64 * part;
            times.get(index.round() as usize).map_or(0.0, |time| time.as_secs_f64() * 1e6)
        };
        Self { count: times.len(), p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

/// Measures a plugin with the first scenario of each kind it is.
pub fn bench(
    component: &Path,
    scenarios: &[Scenario],
    calls: usize,
) -> anyhow::Result<Vec<Figures>> {
    let wasm =
        std::fs::read(component).with_context(|| format!("cannot read {}", component.display()))?;
    // Without a cache, so that compiling is measured, and in this process.
    let runtime = Runtime::new(None)?;
    let (plugin, compile) = load(&runtime, &wasm)?;
    let mut figures = Vec::new();
    for kind in plugin.kinds() {
        let Some(scenario) = scenarios.iter().find(|scenario| scenario.kind() == *kind) else {
            continue;
        };
        let links: Vec<(String, u32)> = plugin
            .manifest()
            .links
            .iter()
            .map(|link| (link.name.clone(), link.max_frame))
            .collect();
        let nothing = empty::component(*kind, &links)?;
        let (empty, empty_compile) = load(&runtime, &nothing).context("the empty plugin")?;
        let measure = |plugin: &Plugin, bytes: usize, compile: Duration| -> anyhow::Result<Costs> {
            let measured = match &scenario.script {
                Script::Router(steps) => router(plugin, scenario, steps, calls)?,
                Script::Treatment(script) => treatment(plugin, scenario, &script.waiting, calls)?,
                Script::Observer(_) => observer(plugin, scenario, calls)?,
                Script::Connector(_) => connector(plugin, scenario, calls)?,
            };
            let Measured { instantiate, calls, memory } = measured;
            Ok(Costs {
                bytes: bytes as u64,
                compile_ms: compile.as_secs_f64() * 1e3,
                instantiate_us: Spread::of(instantiate).p50,
                call_us: Spread::of(calls),
                memory_bytes: memory,
            })
        };
        // The empty one first, so that what is measured last is not measured warm only.
        let empty = measure(&empty, nothing.len(), empty_compile)?;
        let costs = measure(&plugin, wasm.len(), compile)?;
        let (hook, steps) = (HookLimits::default(), Limits::default());
        let (call, limit_ms) = match kind {
            Kind::Router => ("route", hook.route_ms),
            Kind::WaitTreatment => ("next", hook.treatment_ms),
            Kind::Observer => ("step", hook.step_ms),
            Kind::Connector => ("step", steps.step_ms),
        };
        figures.push(Figures {
            kind: kind.code(),
            call,
            scenario: scenario.title.clone(),
            plugin: costs,
            empty,
            limit_ms,
            limit_memory_mib: steps.memory_mib,
        });
    }
    if figures.is_empty() {
        bail!("no scenario is of a kind that the plugin is; write one in scenarios/");
    }
    Ok(figures)
}

fn load(runtime: &Runtime, wasm: &[u8]) -> anyhow::Result<(Plugin, Duration)> {
    let began = Instant::now();
    let plugin = runtime.load(wasm)?;
    Ok((plugin, began.elapsed()))
}

struct Measured {
    instantiate: Vec<Duration>,
    calls: Vec<Duration>,
    memory: u64,
}

fn config(plugin: &Plugin, scenario: &Scenario) -> HookConfig {
    let grants = plugin.manifest().permissions().into_iter().map(|asked| asked.grant).collect();
    let limits = HookLimits::default();
    let settings = scenario.settings.clone();
    HookConfig { id: "bench".into(), settings, grants, limits, log: Log::new("bench") }
}

/// Makes instances, and keeps the last one.
fn instances<T>(
    mut start: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<(Vec<Duration>, T)> {
    let mut times = Vec::new();
    loop {
        let began = Instant::now();
        let instance = start()?;
        times.push(began.elapsed());
        if times.len() == INSTANCES {
            return Ok((times, instance));
        }
    }
}

/// Times of a call, the first ones left out.
fn times(
    calls: usize,
    mut call: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(calls);
    for number in 0..WARM + calls {
        let began = Instant::now();
        call(number)?;
        let took = began.elapsed();
        if number >= WARM {
            times.push(took);
        }
    }
    Ok(times)
}

fn now(scenario: &Scenario) -> calls::Now {
    calls::Now { monotonic: BOOT, wall: scenario.clock.begin() }
}

fn router(
    plugin: &Plugin,
    scenario: &Scenario,
    steps: &[Step],
    calls: usize,
) -> anyhow::Result<Measured> {
    let (instantiate, mut router) =
        instances(|| Ok(Router::start(plugin, config(plugin, scenario))?))?;
    let now = now(scenario);
    let zones = router.wishes().time_zones.clone();
    // Each call with the answers it gets in its scenario: a decision's last round is its longest.
    let mut given: Vec<(Call, Vec<Answer>)> = Vec::new();
    for step in steps {
        let times = scenario.clock.shows(step.when.0, &zones);
        let call = Call { times, ..step.call.clone() };
        let mut answers = Vec::new();
        for _ in 0..4 {
            // What fails in its scenario cannot be measured.
            let Ok(decision) = router.route(now, &call, &answers) else { break };
            let Verdict::Need(lookups) = decision.verdict else {
                given.push((call, answers));
                break;
            };
            answers.extend(lookups.iter().filter_map(|lookup| {
                let reply = step.answers.get(&lookup.id).or_else(|| step.answers.get("*"))?;
                Some(Answer {
                    id: lookup.id.clone(),
                    status: reply.status,
                    headers: reply.headers.clone(),
                    body: reply.body.clone(),
                    error: reply.error.clone(),
                })
            }));
        }
    }
    if given.is_empty() {
        bail!("no call of `{}` can be decided", scenario.title);
    }
    let calls = times(calls, |number| {
        let (call, answers) = &given[number % given.len()];
        router.route(now, call, answers)?;
        Ok(())
    })?;
    Ok(Measured { instantiate, calls, memory: router.usage().memory_bytes })
}

fn treatment(
    plugin: &Plugin,
    scenario: &Scenario,
    waiting: &Waiting,
    calls: usize,
) -> anyhow::Result<Measured> {
    let (instantiate, mut treatment) =
        instances(|| Ok(Treatment::start(plugin, config(plugin, scenario))?))?;
    let now = now(scenario);
    let mut waiting = waiting.clone();
    waiting.call.times = scenario.clock.shows(now.wall, &treatment.wishes().time_zones);
    let calls = times(calls, |_| {
        treatment.next(now, &waiting, &[], &Cause::Started, &[])?;
        Ok(())
    })?;
    Ok(Measured { instantiate, calls, memory: treatment.usage().memory_bytes })
}

fn observer(plugin: &Plugin, scenario: &Scenario, calls: usize) -> anyhow::Result<Measured> {
    let (instantiate, mut observer) =
        instances(|| Ok(Observer::start(plugin, config(plugin, scenario))?))?;
    let now = now(scenario);
    let mut open = Vec::new();
    let calls = times(calls, |number| {
        let seq = number as u64 + 1;
        let call = format!("call-{seq}");
        let json = format!(
            r#"{{"seq":{seq},"type":"call.ended","call":"{call}","data":{{"cause":"normal"}}}}"#
        );
        let event = Event { seq, kind: "call.ended".into(), at: now.wall, call, json };
        // What it asked for in the step before is answered in this one.
        let answers = std::mem::take(&mut open)
            .into_iter()
            .map(|id| ObserverInput::Answer(Answer { id, status: 204, ..Answer::default() }));
        let inputs: Vec<ObserverInput> = answers.chain([ObserverInput::Event(event)]).collect();
        for action in observer.step(now, &inputs)? {
            if let plugin_runtime::hooks::ObserverAction::Lookup(lookup) = action {
                open.push(lookup.id);
            }
        }
        Ok(())
    })?;
    Ok(Measured { instantiate, calls, memory: observer.usage().memory_bytes })
}

/// Its scenario is played again and again.
fn connector(plugin: &Plugin, scenario: &Scenario, calls: usize) -> anyhow::Result<Measured> {
    let Script::Connector(script) = &scenario.script else { bail!("no connector") };
    let setup = play::setup(plugin, scenario, script)?;
    let now = now(scenario);
    let (instantiate, _) = instances(|| {
        let config = InstanceConfig { ..setup.config.clone() };
        let (connector, _) = Connector::start(plugin, config, now)?;
        Ok(connector)
    })?;
    let script = Arc::new(script.clone());
    let (mut times, mut memory) = (Vec::new(), 0);
    let most = Instant::now() + Duration::from_secs(20);
    while times.len() < WARM + calls && Instant::now() < most {
        let pbx = Box::new(ScriptedPbx::new(Arc::clone(&script)));
        let mut rig = Rig::start(setup.clone(), pbx, Unkind::default())?;
        for (number, step) in script.steps.iter().enumerate() {
            rig.run_until(step.at);
            rig.turn(number);
        }
        rig.settle();
        times.extend(rig.timings());
        memory = rig.usage().memory_bytes;
    }
    let warm = WARM.min(times.len() / 2);
    Ok(Measured { instantiate, calls: times.split_off(warm), memory })
}
