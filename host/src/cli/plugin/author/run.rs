//! `jackfield plugin run`: a project on a running host, built and installed again after each save.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::http::Method;
use clap::Args;
use kit::{
    component,
    project::{Kind, Project},
    watch::Watch,
};
use serde_json::Value;

use super::{OnStderr, ProjectArgs};
use crate::cli::{
    client::{Client, HostArgs, Sent, Trouble, segment},
    complain,
    report::{self, list, text},
    say,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct RunArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// Build and install once, and end.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    host: HostArgs,
}

/// How soon a save is noticed.
const LOOK: Duration = Duration::from_millis(300);
/// Looks between two questions for log lines.
const LOGS_EVERY: u32 = 3;

pub(super) async fn run(args: &RunArgs) -> Result<(), Trouble> {
    let project = read_project(args)?;
    let client = Client::new(&args.host)?;
    let mut watch = Watch::new(&project);
    let id = project.manifest.id.clone();
    // A host that is not there, or does not know us, is told before anything is built.
    let before = instances(&client, &id).await?.into_iter().find_map(|it| it.running);
    // From the beginning: a Ctrl-C during a build is one too.
    let mut stop = tokio::spawn(tokio::signal::ctrl_c());
    let first = tokio::select! {
        _ = &mut stop => None,
        first = put(&client, project, args) => Some(first),
    };
    let Some(first) = first else {
        ended(&id, None, before.as_deref());
        return Ok(());
    };
    if args.once {
        return first.map(drop);
    }
    let mut live = None;
    take(first, &mut live);
    watch.built();
    let mut told = BTreeSet::new();
    say("\nwatching; save a file and it is built and installed again. Ctrl-C ends this.");
    let mut looks = 0_u32;
    loop {
        tokio::select! {
            _ = &mut stop => break,
            () = tokio::time::sleep(LOOK) => {}
        }
        let changed = watch.changed();
        if let Some(file) = changed.first() {
            let more = if changed.len() > 1 {
                format!(" and {} more", changed.len() - 1)
            } else {
                String::new()
            };
            say(&format!("\n{} was saved{more}", shown(file)));
            let put = async {
                let project = read_project(args)?;
                put(&client, project, args).await
            };
            tokio::select! {
                _ = &mut stop => break,
                put = put => take(put, &mut live),
            }
            watch.built();
        }
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(LOGS_EVERY) {
            for instance in live.iter().flat_map(|live| &live.instances) {
                logs(&client, instance, &mut told).await;
            }
        }
    }
    ended(&id, live.as_ref(), before.as_deref());
    Ok(())
}

/// What does not build now may build after the next save; until then the host has the version before.
fn take(put: Result<Live, Trouble>, live: &mut Option<Live>) {
    match put {
        Ok(now) => *live = Some(now),
        Err(trouble) => {
            complain(&trouble.text);
            if let Some(Live { name, .. }) = live {
                complain(&format!("{name} goes on; the next save is tried again"));
            }
        }
    }
}

fn ended(id: &str, live: Option<&Live>, before: Option<&str>) {
    let now = match live {
        Some(live) => format!("the host goes on with {}", live.name),
        None => "nothing was installed".to_owned(),
    };
    let back = match before {
        Some(version) => format!(
            "; `jackfield plugin use {id} {version}` brings back the version that ran before"
        ),
        None => String::new(),
    };
    say(&format!("\n{now}{back}"));
}

fn read_project(args: &RunArgs) -> Result<Project, Trouble> {
    args.project.project().map_err(|error| Trouble::usage(error.to_string()))
}

/// The version that the host has.
struct Live {
    /// `vip-desk 0.1.0-dev.1763805600000`.
    name: String,
    instances: Vec<Instance>,
}

/// An instance of the plugin on the host.
struct Instance {
    id: String,
    /// `connectors` or `hooks`.
    group: &'static str,
    /// The version it runs.
    running: Option<String>,
}

/// Builds and installs it: those who use the plugin take it up by themselves.
async fn put(client: &Client, project: Project, args: &RunArgs) -> Result<Live, Trouble> {
    let options = args.project.tools.options();
    let kind = project.kind;
    let (wasm, version, took) = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let built = kit::build::build(&project, &options, &OnStderr)?;
        // A host keeps versions apart by their names, and this one lasts until the next save.
        let version = format!("{}-dev.{}", project.manifest.version, since_epoch());
        let mut manifest = project.manifest.clone();
        manifest.version = version.clone();
        let wasm = std::fs::read(&built.path)?;
        let wasm = component::with_manifest(&wasm, &serde_json::to_vec(&manifest)?)?;
        Ok((wasm, (manifest.id, version), built.took))
    })
    .await
    .map_err(|panic| Trouble::failed(format!("the build ended unexpectedly: {panic}")))?
    .map_err(|error| Trouble::failed(format!("{error:#}")))?;
    let (id, version) = version;
    let size = crate::cli::table::bytes(wasm.len() as u64);
    say(&format!("{id} {version}: built in {:.1} s, {size}", took.as_secs_f64()));
    let body = Sent::Component { wasm, signature: None };
    let installed = client.ask(Method::POST, "/v1/plugins", body).await?;
    say(&report::lines(&installed));
    let instances = instances(client, &id).await?;
    if instances.is_empty() {
        let place = match kind {
            Kind::Connector => "[connectors.NAME]",
            Kind::Router => "[hooks.instances.NAME], its NAME to `order` in [hooks.router]",
            Kind::WaitTreatment => {
                "[hooks.instances.NAME], its NAME to `default` in [hooks.treatment]"
            }
            Kind::Observer => "[hooks.instances.NAME], its NAME to `run` in [hooks.observers]",
        };
        say(&format!(
            "nothing in the host's config uses `{id}` yet; fix: add `plugin = \"{id}\"` in {place}, then \
             `jackfield reload`"
        ));
    }
    for instance in &instances {
        wanted_grants(client, instance).await?;
        if instance.running.as_ref() != Some(&version) {
            let Instance { id, running, .. } = instance;
            complain(&match running {
                Some(before) => format!("{id} does not run it, and goes on with {before}"),
                None => format!("{id} does not run"),
            });
        }
    }
    Ok(Live { name: format!("{id} {version}"), instances })
}

/// Who on the host uses the plugin.
async fn instances(client: &Client, plugin: &str) -> Result<Vec<Instance>, Trouble> {
    let mut found = Vec::new();
    for (group, path) in [("connectors", "/v1/connectors?limit=1000"), ("hooks", "/v1/hooks")] {
        for item in list(&client.get(path).await?["items"]) {
            let of = if group == "connectors" { &item["lifecycle"] } else { item };
            if [&of["plugin"], &of["running"]["plugin"]].into_iter().any(|it| text(it) == plugin) {
                let running = of["running"]["version"].as_str().map(str::to_owned);
                found.push(Instance { id: text(&item["id"]), group, running });
            }
        }
    }
    Ok(found)
}

/// What the new version asks for and was not granted: it does not run before.
async fn wanted_grants(client: &Client, instance: &Instance) -> Result<(), Trouble> {
    let Instance { id, group, .. } = instance;
    let (missing, fix) = if *group == "connectors" {
        let path = format!("/v1/connectors/{}/permissions", segment(id));
        let answer = client.get(&path).await?;
        let asked = list(&answer["permissions"]).iter();
        let missing = asked.filter(|it| it["state"] == "missing").map(|it| text(&it["grant"]));
        let missing: Vec<String> = missing.collect();
        let fix = format!(
            "jackfield plugin permissions {id} says why; jackfield plugin grant {id} {}",
            missing.join(" ")
        );
        (missing, fix)
    } else {
        let answer = client.get(&format!("/v1/hooks/{}", segment(id))).await?;
        let missing: Vec<String> = list(&answer["waiting"]["missing"]).iter().map(text).collect();
        let fix =
            format!("add them to `grants` in [hooks.instances.{id}], then `jackfield reload`");
        (missing, fix)
    };
    if !missing.is_empty() {
        say(&format!("{id} waits until it is granted {}\n  fix: {fix}", missing.join(", ")));
    }
    Ok(())
}

/// Lines that were not shown yet.
async fn logs(client: &Client, instance: &Instance, told: &mut BTreeSet<String>) {
    let path = format!("/v1/{}/{}/logs", instance.group, segment(&instance.id));
    // The host may be restarting; the next question tells.
    let Ok(answer) = client.get(&path).await else { return };
    let now: Vec<String> =
        list(&answer["items"]).iter().map(|line| log_line(&instance.id, line)).collect();
    for line in now.iter().filter(|line| !told.contains(*line)) {
        say(line);
    }
    let prefix = format!("{} ", instance.id);
    told.retain(|line| !line.starts_with(&prefix));
    told.extend(now);
}

fn log_line(instance: &str, line: &Value) -> String {
    format!("{instance} {} {:<5} {}", text(&line["at"]), text(&line["level"]), text(&line["text"]))
}

fn shown(file: &Path) -> String {
    let here = std::env::current_dir().ok();
    let inner = here.and_then(|here| file.strip_prefix(here).ok().map(Path::to_owned));
    inner.unwrap_or_else(|| file.to_owned()).display().to_string()
}

fn since_epoch() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(0)
}
