//! `jackfield plugin run`: a project on a running host, built and installed again after each save.

mod news;

use std::{
    collections::{BTreeMap, BTreeSet},
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

use self::news::{Ending, Instance, News, tell};
use super::{OnStderr, ProjectArgs};
use crate::{
    cli::{
        client::{Client, HostArgs, Sent, Trouble, segment},
        report::{list, text},
    },
    plugins::store::draft_of,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct RunArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// Build and install once, and end; with exit code 1 when nothing took it up.
    #[arg(long)]
    once: bool,
    /// One JSON object a line instead of sentences, each with its `event`.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

/// How soon a save is noticed.
const LOOK: Duration = Duration::from_millis(300);
/// Looks between two questions for log lines.
const LOGS_EVERY: u32 = 3;
/// For the last question to the host: somebody waits for their prompt.
const LAST_LOOK: Duration = Duration::from_secs(2);

pub(super) async fn run(args: &RunArgs) -> Result<(), Trouble> {
    let project = read_project(args)?;
    let mut watch = Watch::new(&project);
    let id = project.manifest.id.clone();
    let mut session = Session::new(args, id)?;
    // A host that is not there, or does not know us, is told before anything is built.
    session.look().await?;
    session.before = session.instances.clone();
    session.skip_logs().await?;
    // From the beginning: a Ctrl-C during a build is one too.
    let mut stop = tokio::spawn(tokio::signal::ctrl_c());
    let first = tokio::select! {
        _ = &mut stop => None,
        first = session.put(project) => Some(first),
    };
    let Some(first) = first else {
        session.end().await;
        return Ok(());
    };
    if args.once {
        let first = first.and_then(|()| session.is_taken_up());
        if args.json
            && let Err(trouble) = &first
        {
            session.failed(trouble);
        }
        return first;
    }
    first.unwrap_or_else(|trouble| session.failed(&trouble));
    watch.built();
    session.tell(&News::Watching);
    let mut looks = 0_u32;
    loop {
        tokio::select! {
            _ = &mut stop => break,
            () = tokio::time::sleep(LOOK) => {}
        }
        let changed = watch.changed();
        if !changed.is_empty() {
            session.tell(&News::Saved { files: &changed });
            let put = async { session.put(read_project(args)?).await };
            let put = tokio::select! {
                _ = &mut stop => break,
                put = put => put,
            };
            // What does not build now may build after the next save; until then the host has the version before.
            put.unwrap_or_else(|trouble| session.failed(&trouble));
            watch.built();
        }
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(LOGS_EVERY) {
            session.logs().await;
        }
    }
    session.end().await;
    Ok(())
}

fn read_project(args: &RunArgs) -> Result<Project, Trouble> {
    args.project.project().map_err(|error| Trouble::usage(error.to_string()))
}

/// A project and the host that it is put on.
struct Session<'a> {
    args: &'a RunArgs,
    client: Client,
    /// The plugin's.
    id: String,
    /// Who on the host uses the plugin, as far as the host was asked.
    instances: Vec<Instance>,
    /// The same, before anything was done.
    before: Vec<Instance>,
    /// The last version that the host said it has.
    installed: Option<String>,
    /// A version that was sent, and whose answer did not come yet.
    sent: Option<String>,
    /// Why the version that was put there last does not run, where it does not.
    refusals: Vec<String>,
    /// The last log lines of each instance that were told, or are older than this.
    told: BTreeMap<String, BTreeSet<String>>,
}

impl<'a> Session<'a> {
    fn new(args: &'a RunArgs, id: String) -> Result<Self, Trouble> {
        Ok(Self {
            args,
            client: Client::new(&args.host)?,
            id,
            instances: Vec::new(),
            before: Vec::new(),
            installed: None,
            sent: None,
            refusals: Vec::new(),
            told: BTreeMap::new(),
        })
    }

    fn tell(&self, news: &News<'_>) {
        tell(news, self.args.json);
    }

    /// Builds and installs it: those who use the plugin take it up by themselves.
    async fn put(&mut self, project: Project) -> Result<(), Trouble> {
        let options = self.args.project.tools.options();
        let kind = project.kind;
        let (wasm, version, took) = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let built = kit::build::build(&project, &options, &OnStderr)?;
            // A host keeps versions apart by their names, and this one lasts until the next save.
            let version = draft_of(&project.manifest.version, since_epoch());
            let mut manifest = project.manifest.clone();
            manifest.version.clone_from(&version);
            let wasm = std::fs::read(&built.path)?;
            let wasm = component::with_manifest(&wasm, &serde_json::to_vec(&manifest)?)?;
            Ok((wasm, version, built.took))
        })
        .await
        .map_err(|panic| Trouble::failed(format!("the build ended unexpectedly: {panic}")))?
        .map_err(|error| Trouble::failed(format!("{error:#}")))?;
        self.tell(&News::Built {
            plugin: &self.id,
            version: &version,
            secs: took.as_secs_f64(),
            bytes: wasm.len(),
        });
        self.sent = Some(version.clone());
        let body = Sent::Component { wasm, signature: None };
        let changes = match self.client.ask(Method::POST, "/v1/plugins", body).await {
            Ok(changes) => changes,
            Err(trouble) => {
                if trouble.is_final {
                    self.sent = None;
                }
                return Err(trouble);
            }
        };
        self.sent = None;
        self.installed = Some(version.clone());
        // What was known of them was true of the version before.
        self.instances.clear();
        self.tell(&News::Installed { plugin: &self.id, version: &version, changes: &changes });
        self.taken_up(&version, kind, &changes).await.map_err(|trouble| Trouble {
            text: format!(
                "{} {version} is installed; what became of it is not known: {}",
                self.id, trouble.text
            ),
            ..trouble
        })
    }

    /// Who has taken the version up, and what keeps the others from it.
    async fn taken_up(
        &mut self,
        version: &str,
        kind: Kind,
        changes: &Value,
    ) -> Result<(), Trouble> {
        self.look().await?;
        self.refusals.clear();
        if self.instances.is_empty() {
            let place = match kind {
                Kind::Connector => "[connectors.NAME]",
                Kind::Router => "[hooks.instances.NAME], its NAME to `order` in [hooks.router]",
                Kind::WaitTreatment => {
                    "[hooks.instances.NAME], its NAME to `default` in [hooks.treatment]"
                }
                Kind::Observer => "[hooks.instances.NAME], its NAME to `run` in [hooks.observers]",
            };
            let fix = format!("add `plugin = \"{}\"` in {place}, then `jackfield reload`", self.id);
            self.tell(&News::Unused { plugin: &self.id, fix: &fix });
            self.refusals.push(format!("nothing in the host's config uses it; fix: {fix}"));
        }
        let mut refusals = Vec::new();
        for instance in &self.instances {
            let is_new = instance.running.as_deref() == Some(version);
            let (missing, why) = match is_new {
                true => (Vec::new(), String::new()),
                false => self.obstacle(instance, changes).await?,
            };
            self.tell(&News::Running { instance, is_new, missing: &missing, why: &why });
            if !is_new && !instance.is_off {
                refusals.push(instance.does_not_run(&why));
            }
        }
        let runs = |instance: &Instance| instance.running.as_deref() == Some(version);
        if refusals.is_empty() && !self.instances.iter().any(runs) {
            refusals.extend(self.instances.iter().map(|it| it.does_not_run("it is disabled")));
        }
        self.refusals.append(&mut refusals);
        Ok(())
    }

    /// Grants that a version waits for, and what keeps it from running in this instance, with the fix.
    async fn obstacle(
        &self,
        instance: &Instance,
        changes: &Value,
    ) -> Result<(Vec<String>, String), Trouble> {
        let (missing, fix) = wanted_grants(&self.client, instance).await?;
        if !missing.is_empty() {
            let why = format!("it waits until it is granted {}; fix: {fix}", missing.join(", "));
            return Ok((missing, why));
        }
        let section = match instance.group {
            "connectors" => format!("connectors.{}.", instance.id),
            _ => format!("hooks.instances.{}.", instance.id),
        };
        let pins = ["plugin", "version"].map(|key| format!("{section}{key}"));
        let complaints = list(&changes["complaints"]).iter();
        let complaints = complaints.filter(|it| text(&it["key"]).starts_with(&section));
        // Others are no reason: it would run with them.
        let warnings = list(&changes["warnings"]).iter();
        let mut of_it = complaints.chain(warnings.filter(|it| pins.contains(&text(&it["key"]))));
        let why = of_it.next().map(|it| match text(&it["fix"]) {
            fix if fix.is_empty() => text(&it["message"]),
            fix => format!("{}; fix: {fix}", text(&it["message"])),
        });
        Ok((missing, why.unwrap_or_else(|| instance.reason.clone())))
    }

    /// An error if the version that was put there last does not run everywhere.
    fn is_taken_up(&self) -> Result<(), Trouble> {
        if self.refusals.is_empty() {
            return Ok(());
        }
        let version = self.installed.as_deref().unwrap_or_default();
        let refusals = self.refusals.join("\n  ");
        let text = format!("{} {version} is installed and not taken up:\n  {refusals}", self.id);
        Err(Trouble { is_final: true, ..Trouble::failed(text) })
    }

    /// Asks the host who uses the plugin, and what runs.
    async fn look(&mut self) -> Result<(), Trouble> {
        self.instances = instances(&self.client, &self.id).await?;
        Ok(())
    }

    fn failed(&self, trouble: &Trouble) {
        // Of a host that was cut off in the middle nothing is known.
        let known = self.instances.iter().filter(|_| self.sent.is_none());
        let running = known.filter_map(|instance| instance.running.as_deref()).next();
        let goes_on = running.map(|version| format!("{} {version}", self.id));
        self.tell(&News::Failed { message: &trouble.text, goes_on: goes_on.as_deref() });
    }

    async fn end(&mut self) {
        // It may have gone on since; if it does not answer, what it said last is the best there is.
        let _ = tokio::time::timeout(LAST_LOOK, self.look()).await;
        let runs =
            |version: &String| self.instances.iter().any(|it| it.running.as_ref() == Some(version));
        if self.sent.as_ref().is_some_and(runs) {
            self.installed = self.sent.take();
        }
        let before = self.before.iter().find_map(|before| {
            let now = self.instances.iter().find(|now| now.id == before.id);
            let changes =
                self.sent.is_some() || now.is_none_or(|now| now.running != before.running);
            before.running.clone().filter(|_| changes)
        });
        self.tell(&News::Ended(&Ending {
            plugin: self.id.clone(),
            installed: self.installed.clone(),
            sent: self.sent.clone(),
            instances: self.instances.clone(),
            before,
        }));
    }

    /// What was logged before this began is not told.
    async fn skip_logs(&mut self) -> Result<(), Trouble> {
        for instance in &self.instances {
            let lines = self.client.get(&instance.logs()).await?;
            let lines = list(&lines["items"]).iter().map(Value::to_string).collect();
            self.told.insert(instance.id.clone(), lines);
        }
        Ok(())
    }

    /// Lines that were not told yet.
    async fn logs(&mut self) {
        if self.instances.is_empty() {
            // Somebody may have begun to use it.
            let _ = self.look().await;
        }
        for instance in &self.instances {
            let Instance { id, group, .. } = instance;
            // The host may be restarting; the next question tells.
            let Ok(answer) = self.client.get(&instance.logs()).await else { continue };
            let lines = list(&answer["items"]);
            let told = self.told.entry(id.clone()).or_default();
            for line in lines.iter().filter(|line| !told.contains(&line.to_string())) {
                let of = |name: &str| line[name].as_str().unwrap_or_default();
                let (at, level, text) = (of("at"), of("level"), of("text"));
                tell(&News::Log { instance: id, group, at, level, text }, self.args.json);
            }
            *told = lines.iter().map(Value::to_string).collect();
        }
    }
}

/// Who on the host uses the plugin.
async fn instances(client: &Client, plugin: &str) -> Result<Vec<Instance>, Trouble> {
    let mut found = Vec::new();
    for (group, path) in [("connectors", "/v1/connectors?limit=1000"), ("hooks", "/v1/hooks")] {
        for item in list(&client.get(path).await?["items"]) {
            let of = if group == "connectors" { &item["lifecycle"] } else { item };
            if [&of["plugin"], &of["running"]["plugin"]].into_iter().any(|it| text(it) == plugin) {
                let running = of["running"]["version"].as_str().map(str::to_owned);
                let is_off = of["status"] == "manually_disabled";
                let (id, reason) = (text(&item["id"]), text(&of["reason"]));
                found.push(Instance { id, group, running, is_off, reason });
            }
        }
    }
    Ok(found)
}

/// What the new version asks for and was not granted, which keeps it from running, and the fix.
async fn wanted_grants(
    client: &Client,
    instance: &Instance,
) -> Result<(Vec<String>, String), Trouble> {
    let Instance { id, group, .. } = instance;
    if *group == "connectors" {
        let path = format!("/v1/connectors/{}/permissions", segment(id));
        let answer = client.get(&path).await?;
        let asked = list(&answer["permissions"]).iter();
        let missing = asked.filter(|it| it["state"] == "missing").map(|it| text(&it["grant"]));
        let missing: Vec<String> = missing.collect();
        let fix = format!(
            "jackfield plugin permissions {id} says why; jackfield plugin grant {id} {}",
            missing.join(" ")
        );
        return Ok((missing, fix));
    }
    let answer = client.get(&format!("/v1/hooks/{}", segment(id))).await?;
    let missing = list(&answer["waiting"]["missing"]).iter().map(text).collect();
    let fix = format!("add them to `grants` in [hooks.instances.{id}], then `jackfield reload`");
    Ok((missing, fix))
}

fn since_epoch() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(0)
}
