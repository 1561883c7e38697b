//! What monitoring reads: the text format of Prometheus (version 0.0.4).

use std::fmt::Write;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{
    ApiState,
    extract::{Holder, None, Params, Read},
    instances::stat::{Gauge, gauges},
};
use crate::{
    plugins::{HookView, InstanceView},
    status::{ConnectorStatus, LinkWord, StatusWord},
};

/// Figures for monitoring, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "system", security(("bearer" = ["read"])),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(
    _: Holder<Read>,
    State(api): State<ApiState>,
    _: Params<None>,
) -> Response {
    let text = text(
        *api.publisher.committed().borrow(),
        &api.status.all(),
        &api.keeper.instances(),
        &api.keeper.hooks(),
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn text(
    as_of: u64,
    connectors: &[ConnectorStatus],
    instances: &[InstanceView],
    hooks: &[HookView],
) -> String {
    let mut page = Page(String::new());
    let info = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    page.family("jackfield_info", "gauge", "Which version runs", [(info, 1.0)]);
    let events = [(String::new(), as_of as f64)];
    page.family("jackfield_events_total", "counter", "Events committed to the journal", events);
    page.of_connectors(connectors);
    page.of_instances(instances);
    page.of_hooks(hooks);
    page.0
}

struct Page(String);

type Sample = (String, f64);
/// Name, help, and where the value is.
type Figure<T> = (&'static str, &'static str, fn(&T) -> u64);

impl Page {
    fn family(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    fn of_connectors(&mut self, connectors: &[ConnectorStatus]) {
        let each = |value: &dyn Fn(&ConnectorStatus) -> f64| -> Vec<Sample> {
            connectors.iter().map(|it| (connector(it.id.as_str()), value(it))).collect()
        };
        let connected = each(&|it| f64::from(it.word == StatusWord::Connected));
        self.family("jackfield_connector_connected", "gauge", "It sees its PBX live", connected);
        let alive = each(&|it| f64::from(it.alive));
        self.family("jackfield_connector_alive", "gauge", "Its thread runs", alive);
        let links = connectors.iter().flat_map(|it| {
            it.links.iter().map(|link| {
                let labels =
                    format!("{},link=\"{}\"", connector(it.id.as_str()), escaped(&link.name));
                (labels, f64::from(link.state == LinkWord::Up))
            })
        });
        self.family("jackfield_link_up", "gauge", "The link is connected", links);
        let counters: [Figure<ConnectorStatus>; 8] = [
            ("received_bytes", "Bytes from the PBX", |it| it.counters.bytes_in),
            ("sent_bytes", "Bytes to the PBX", |it| it.counters.bytes_out),
            ("facts", "Facts told by the plugin", |it| it.counters.facts),
            ("commands", "Commands handed to the plugin", |it| it.counters.commands),
            ("reconnects", "Connections after the first of each link", |it| it.counters.reconnects),
            ("failed_dials", "Dials that did not succeed", |it| it.counters.failed_dials),
            ("masked_secrets", "Secrets masked in what the PBX said", |it| {
                it.counters.masked_secrets
            }),
            ("quarantined_bytes", "Bytes the plugin could not take", |it| {
                it.counters.quarantined_bytes
            }),
        ];
        for (name, help, value) in counters {
            let name = format!("jackfield_connector_{name}_total");
            self.family(&name, "counter", help, each(&|it| value(it) as f64));
        }
    }

    fn of_instances(&mut self, instances: &[InstanceView]) {
        let status = instances
            .iter()
            .map(|it| (format!("{},status=\"{}\"", connector(&it.id), it.status.code()), 1.0));
        self.family("jackfield_plugin_status", "gauge", "In the words of Rocket.Chat Apps", status);
        let running = instances.iter().filter_map(|it| {
            let running = it.running.as_ref()?;
            let labels = format!(
                "{},plugin=\"{}\",version=\"{}\",sha256=\"{}\"",
                connector(&it.id),
                escaped(&running.plugin),
                escaped(&running.version),
                escaped(&running.sha256),
            );
            Some((labels, 1.0))
        });
        self.family("jackfield_plugin_info", "gauge", "Which version runs", running);
        let each = |value: &dyn Fn(&InstanceView) -> f64| -> Vec<Sample> {
            instances.iter().map(|it| (connector(&it.id), value(it))).collect()
        };
        let counters: [Figure<InstanceView>; 11] = [
            ("steps", "Steps that returned", |it| it.usage.steps),
            ("traps", "Steps that failed", |it| it.usage.traps),
            ("quarantined", "Inputs taken out because the plugin failed on them", |it| {
                it.usage.quarantined
            }),
            ("cold_starts", "Times the state was lost", |it| it.usage.cold_starts),
            ("restarts", "Starts after the first", |it| it.restarts),
            ("snapshots", "Snapshots taken", |it| it.usage.snapshots),
            ("swaps", "Versions or configurations that took over", |it| it.swaps.done),
            ("cold_swaps", "Of them, those without the state before", |it| it.swaps.cold),
            ("rollbacks", "Swaps undone", |it| it.swaps.rolled_back),
            ("log_lines_dropped", "Log lines beyond the rate", |it| it.usage.log_lines_dropped),
            ("refused_effects", "Effects that were not granted or made no sense", |it| {
                it.usage.refused
            }),
        ];
        for (name, help, value) in counters {
            let name = format!("jackfield_plugin_{name}_total");
            self.family(&name, "counter", help, each(&|it| value(it) as f64));
        }
        let times: [Figure<InstanceView>; 4] = [
            ("last_step", "Duration of the last step", |it| it.usage.last_step_us),
            ("max_step", "Duration of the longest step", |it| it.usage.max_step_us),
            ("last_swap_pause", "Pause of the last swap", |it| it.swaps.last_pause_us),
            ("max_swap_pause", "Longest pause of a swap", |it| it.swaps.max_pause_us),
        ];
        for (name, help, value) in times {
            let name = format!("jackfield_plugin_{name}_seconds");
            self.family(&name, "gauge", help, each(&|it| value(it) as f64 / 1e6));
        }
        let probation = each(&|it| f64::from(it.probation.is_some()));
        self.family(
            "jackfield_plugin_on_probation",
            "gauge",
            "A swap can still be undone by itself",
            probation,
        );
        let of_gauges = |value: fn(&Gauge) -> Option<u64>| {
            instances.iter().flat_map(move |it| {
                gauges(&it.limits, &it.usage).into_iter().filter_map(move |gauge| {
                    let labels = format!(
                        "{},limit=\"{}\",unit=\"{}\"",
                        connector(&it.id),
                        gauge.name,
                        gauge.unit
                    );
                    Some((labels, value(&gauge)? as f64))
                })
            })
        };
        let limits = of_gauges(|gauge| Some(gauge.limit));
        self.family("jackfield_plugin_limit", "gauge", "What the plugin may use", limits);
        let used = of_gauges(|gauge| gauge.used);
        self.family("jackfield_plugin_limit_used", "gauge", "What it uses of it", used);
    }
}

impl Page {
    fn of_hooks(&mut self, hooks: &[HookView]) {
        let hook = |it: &HookView| format!("hook=\"{}\"", escaped(&it.id));
        let status =
            hooks.iter().map(|it| (format!("{},status=\"{}\"", hook(it), it.status.code()), 1.0));
        self.family("jackfield_hook_status", "gauge", "In the words of Rocket.Chat Apps", status);
        let running = hooks.iter().filter_map(|it| {
            let running = it.running.as_ref()?;
            let (plugin, version) = (escaped(&running.plugin), escaped(&running.version));
            Some((format!("{},plugin=\"{plugin}\",version=\"{version}\"", hook(it)), 1.0))
        });
        self.family("jackfield_hook_info", "gauge", "Which version is called", running);
        let outcomes = hooks.iter().flat_map(|it| {
            it.figures.outcomes.iter().map(move |(word, count)| {
                (format!("hook=\"{}\",outcome=\"{word}\"", escaped(&it.id)), *count as f64)
            })
        });
        self.family("jackfield_hook_calls_total", "counter", "Calls into hooks", outcomes);
        let times = hooks.iter().flat_map(|it| {
            let labels = |quantile: &str| format!("{},quantile=\"{quantile}\"", hook(it));
            let p50 = it.figures.p50.map(|time| (labels("0.5"), time.as_secs_f64()));
            let p99 = it.figures.p99.map(|time| (labels("0.99"), time.as_secs_f64()));
            p50.into_iter().chain(p99).collect::<Vec<_>>()
        });
        self.family("jackfield_hook_call_seconds", "gauge", "Time of the last calls", times);
        let observes = |it: &&HookView| it.roles.iter().any(|role| role == "observer");
        let observers = || hooks.iter().filter(observes);
        let behind = observers().map(|it| (hook(it), it.figures.lag.events as f64));
        self.family("jackfield_hook_lag_events", "gauge", "Events it has not dealt with", behind);
        let age = observers().map(|it| (hook(it), it.figures.lag.age.as_secs_f64()));
        self.family("jackfield_hook_lag_seconds", "gauge", "Age of the oldest of them", age);
        let canaries = hooks.iter().filter_map(|it| {
            let canary = it.canary.as_ref()?;
            let version = escaped(&canary.version);
            Some((format!("{},version=\"{version}\"", hook(it)), f64::from(canary.percent)))
        });
        self.family(
            "jackfield_hook_canary_percent",
            "gauge",
            "Calls it gets, in percent",
            canaries,
        );
    }
}

fn connector(id: &str) -> String {
    format!("connector=\"{}\"", escaped(id))
}

/// Label values come from manifests too.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
