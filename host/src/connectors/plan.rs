//! From the config to what can be started: plugins found and loaded, settings checked by their schema, links
//! resolved by the manifest. All that is wrong comes at once, with its line in the config.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use calls::ConnectorId;
use plugin_runtime::{
    InstanceConfig, Limits, LinkRequest, Plugin, Runtime, Secrets, SettingsProblem,
};

use crate::{
    config::{
        Complaint, Config, ConnectorConfig, LimitsConfig, NumberRules, PluginSource, SecretText,
        Transport, nearest, schema,
    },
    links::{Target, tls},
    status::PluginInfo,
};

/// Larger files are no plugins.
const MAX_PLUGIN_BYTES: u64 = 64 * 1024 * 1024;

/// A connector that can be started.
#[derive(Clone, Debug)]
pub struct Plan {
    /// As in the config.
    pub id: ConnectorId,
    /// The loaded component.
    pub plugin: LoadedPlugin,
    /// What the instance is told.
    pub instance: InstanceConfig,
    /// Where its links go.
    pub links: Vec<PlannedLink>,
    /// Put in at the socket.
    pub secrets: Secrets,
    /// The same as texts, by name, to be masked in what the PBX says.
    pub secret_texts: BTreeMap<String, SecretText>,
    /// How numbers are read: as configured, or as the plugin's settings are by default.
    pub numbers: NumberRules,
    /// What its plugin says of settings that it uses all the same.
    pub warnings: Vec<Complaint>,
}

impl Plan {
    /// The same links, to the same peers: a running connector can take it up without dialling.
    pub fn has_links_of(&self, other: &Self) -> bool {
        let peers = |plan: &Self| -> Vec<_> {
            let link = |link: &PlannedLink| {
                let Target { url, port, .. } = &*link.target;
                (link.name.clone(), url.clone(), *port, link.ca.clone(), link.required)
            };
            plan.links.iter().map(link).collect()
        };
        peers(self) == peers(other)
    }

    /// The plugin's instance would be told and allowed the same, and the same secrets.
    pub fn is_instance_of(&self, other: &Self) -> bool {
        self.instance == other.instance && self.secret_texts == other.secret_texts
    }
}

/// A component and what is known about it.
#[derive(Clone)]
pub struct LoadedPlugin {
    /// Ready to start.
    pub plugin: Plugin,
    /// For people.
    pub info: PluginInfo,
}

impl LoadedPlugin {
    /// A component that was read from there.
    pub fn of(plugin: Plugin, file: &Path) -> Self {
        let info = PluginInfo {
            manifest: plugin.manifest().clone(),
            sha256: plugin.sha256().to_owned(),
            file: file.to_owned(),
            has_snapshot: plugin.has_snapshot(),
        };
        Self { plugin, info }
    }
}

impl std::fmt::Debug for LoadedPlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.info.name_and_version())
    }
}

/// A link of a connector.
#[derive(Clone, Debug)]
pub struct PlannedLink {
    /// As the manifest calls it.
    pub name: String,
    /// Where it goes.
    pub target: Arc<Target>,
    /// PEM file with the only certificates that are trusted for it.
    pub ca: Option<PathBuf>,
    /// Without it nothing is seen.
    pub required: bool,
}

impl Plan {
    /// Where its PBX is: the place of the link without which nothing is seen.
    pub fn place(&self) -> Option<String> {
        self.links.iter().find(|link| link.required).map(|link| link.target.place())
    }
}

/// Loads a component from a file.
pub fn load(runtime: &Runtime, file: &Path) -> Result<LoadedPlugin, String> {
    use std::io::Read;

    let mut wasm = Vec::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(MAX_PLUGIN_BYTES + 1).read_to_end(&mut wasm))
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let plugin = runtime.load(&wasm).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(LoadedPlugin::of(plugin, file))
}

/// The file of a plugin; the error lists where it was looked for.
pub fn find(source: &PluginSource, dirs: &[PathBuf]) -> Result<PathBuf, String> {
    match source {
        PluginSource::File(file) => Ok(file.clone()),
        PluginSource::Id(id) => {
            let candidates: Vec<PathBuf> =
                dirs.iter().map(|dir| dir.join(format!("{id}.wasm"))).collect();
            candidates.iter().find(|file| file.is_file()).cloned().ok_or_else(|| {
                let list: Vec<String> =
                    candidates.iter().map(|file| file.display().to_string()).collect();
                format!("there is no plugin {id:?}; looked for {}", list.join(", "))
            })
        }
    }
}

/// Plans every connector of the config.
pub fn plan(config: &Config, runtime: &Runtime) -> Result<Vec<Plan>, Vec<Complaint>> {
    let dirs = config.plugin_dirs();
    let mut loaded: BTreeMap<PathBuf, LoadedPlugin> = BTreeMap::new();
    let mut complaints = Vec::new();
    let mut plans = Vec::new();
    for connector in &config.connectors {
        let mut planning = Planning::of(config, connector);
        let plugin = planning.plugin(runtime, &dirs, &mut loaded);
        if let Some(plugin) = plugin
            && let Some(plan) = planning.finish(plugin)
        {
            plans.push(plan);
        }
        complaints.append(&mut planning.complaints);
    }
    if complaints.is_empty() {
        Ok(plans)
    } else {
        complaints.sort_by_key(|complaint| complaint.place);
        Err(complaints)
    }
}

/// Plans one connector, which need not be as the config has it; places of complaints are the config's.
pub fn plan_one(
    config: &Config,
    connector: &ConnectorConfig,
    plugin: LoadedPlugin,
) -> Result<Plan, Vec<Complaint>> {
    let mut planning = Planning::of(config, connector);
    planning.finish(plugin).ok_or(planning.complaints)
}

struct Planning<'c> {
    config: &'c Config,
    connector: &'c ConnectorConfig,
    complaints: Vec<Complaint>,
    warnings: Vec<Complaint>,
}

impl<'c> Planning<'c> {
    fn of(config: &'c Config, connector: &'c ConnectorConfig) -> Self {
        Self { config, connector, complaints: Vec::new(), warnings: Vec::new() }
    }

    fn complain(&mut self, key: &str, message: impl Into<String>, fix: impl Into<String>) {
        let key = format!("connectors.{}.{key}", self.connector.id);
        self.complaints.push(self.config.complaint(&key, message, fix));
    }

    fn plugin(
        &mut self,
        runtime: &Runtime,
        dirs: &[PathBuf],
        loaded: &mut BTreeMap<PathBuf, LoadedPlugin>,
    ) -> Option<LoadedPlugin> {
        let file = match find(&self.connector.plugin, dirs) {
            Ok(file) => file,
            Err(message) => {
                self.complain(
                    "plugin",
                    message,
                    "build it with `cargo xtask plugins`, write the path of its .wasm file, or set [plugins] dir",
                );
                return None;
            }
        };
        if let Some(known) = loaded.get(&file) {
            return Some(known.clone());
        }
        match load(runtime, &file) {
            Ok(plugin) => {
                loaded.insert(file, plugin.clone());
                Some(plugin)
            }
            Err(message) => {
                self.complain("plugin", message, "give the component of a plugin for this host");
                None
            }
        }
    }

    fn finish(&mut self, plugin: LoadedPlugin) -> Option<Plan> {
        let manifest = plugin.info.manifest.clone();
        self.check_settings(&plugin);
        self.check_grants(&manifest.links);
        let mut links = Vec::new();
        for name in self.connector.links.keys() {
            // It is configured, and the plugin is not to have it.
            if self.is_declined(name) {
                continue;
            }
            match manifest.link(name) {
                Some(request) => links.extend(self.link(name, request)),
                None => {
                    let known: Vec<&str> =
                        manifest.links.iter().map(|link| link.name.as_str()).collect();
                    let fix = match nearest(name, &known) {
                        Some(meant) => format!("did you mean links.{meant}?"),
                        None => format!("the plugin's links are: {}", known.join(", ")),
                    };
                    self.complain(&format!("links.{name}"), "the plugin has no such link", fix);
                }
            }
        }
        for request in manifest.links.iter().filter(|request| request.required) {
            if self.is_declined(&request.name) {
                self.complain(
                    "declined",
                    format!(
                        "\"link:{}\" is declined, and the plugin cannot work without it",
                        request.name
                    ),
                    format!(
                        "grant it: grants = [\"link:{}\"], or use another plugin",
                        request.name
                    ),
                );
            } else if !self.connector.links.contains_key(&request.name) {
                self.complain(
                    &format!("links.{}", request.name),
                    "is missing, and the plugin cannot work without it",
                    format!(
                        "add links.{} = \"{}://host\"",
                        request.name,
                        request.transports.first().map_or("tls", String::as_str)
                    ),
                );
            }
        }
        for request in manifest.links.iter().filter(|request| !request.secrets.is_empty()) {
            let name = &request.name;
            if self.connector.links.contains_key(name) && !self.connector.secrets.contains_key(name)
            {
                self.complain(
                    &format!("secrets.{name}"),
                    format!("is missing: the plugin logs in on the link {name} with it"),
                    format!("add secrets.{name} = {{ env = \"NAME\" }} or {{ file = \"path\" }}"),
                );
            }
        }
        self.complaints.is_empty().then(|| Plan {
            id: self.connector.id.clone(),
            instance: InstanceConfig {
                id: self.connector.id.to_string(),
                settings: self.connector.settings.to_string(),
                links: links.iter().map(|link| (link.name.clone(), link.target.peer())).collect(),
                grants: self.connector.grants.clone(),
                limits: limits(&self.connector.limits),
            },
            plugin,
            links,
            secrets: self
                .connector
                .secrets
                .iter()
                .map(|(name, secret)| (name.clone(), secret.expose().to_owned()))
                .collect(),
            secret_texts: self.connector.secrets.clone(),
            numbers: numbers(&self.connector.numbers, &manifest.settings),
            warnings: std::mem::take(&mut self.warnings),
        })
    }

    fn is_declined(&self, link: &str) -> bool {
        let grant = format!("link:{link}");
        self.connector.declined.contains(&grant) && !self.connector.grants.contains(&grant)
    }

    fn check_settings(&mut self, plugin: &LoadedPlugin) {
        let problems = schema::check(&self.connector.settings, &plugin.info.manifest.settings);
        let fits_schema = problems.is_empty();
        for problem in problems {
            self.complain(&settings_key(&problem.path), problem.message, problem.fix);
        }
        if !fits_schema {
            return;
        }
        match plugin.plugin.validate_settings(&self.connector.settings.to_string()) {
            Ok(problems) => {
                let section = format!("connectors.{}", self.connector.id);
                let name = &plugin.info.manifest.name;
                let (wrong, warned) = said_of_settings(self.config, &section, name, problems);
                self.complaints.extend(wrong);
                self.warnings.extend(warned);
            }
            Err(error) => self.complain(
                "settings",
                error.to_string(),
                "report it to the plugin's author; the settings themselves may be good",
            ),
        }
    }

    fn check_grants(&mut self, requests: &[LinkRequest]) {
        for (index, grant) in self.connector.grants.iter().enumerate() {
            if let Some(("link" | "plain", name)) = grant.split_once(':')
                && !requests.iter().any(|request| request.name == name)
            {
                let known: Vec<&str> =
                    requests.iter().map(|request| request.name.as_str()).collect();
                self.complain(
                    &format!("grants[{index}]"),
                    format!("the plugin has no link {name:?}"),
                    format!("its links are: {}", known.join(", ")),
                );
            }
        }
        for name in self.connector.links.keys() {
            if requests.iter().any(|request| &request.name == name)
                && !self.connector.grants.contains(&format!("link:{name}"))
                && !self.is_declined(name)
            {
                self.complain(
                    "grants",
                    format!("the plugin may not use links.{name}"),
                    format!("allow it: grants = [\"link:{name}\"]"),
                );
            }
        }
    }

    fn link(&mut self, name: &str, request: &LinkRequest) -> Option<PlannedLink> {
        let link = self.connector.links.get(name)?;
        let transport = link.url.transport;
        let key = format!("links.{name}");
        if !request.transports.iter().any(|known| known == transport.scheme()) {
            self.complain(
                &key,
                format!("the plugin cannot use {}:// here", transport.scheme()),
                format!("write one of: {}", request.transports.join("://, ") + "://"),
            );
            return None;
        }
        let tls = match transport {
            Transport::Tcp => None,
            Transport::Tls => match tls::client_config(link.ca.as_deref()) {
                Ok(config) => Some(config),
                Err(error) => {
                    let key = if link.ca.is_some() { format!("{key}.ca") } else { key };
                    self.complain(
                        &key,
                        error.to_string(),
                        "name a PEM file with the certificate of the PBX or of its authority",
                    );
                    return None;
                }
            },
        };
        let port = link
            .url
            .port
            .or_else(|| request.default_port.get(transport.scheme()).copied())
            .unwrap_or(transport.usual_port());
        Some(PlannedLink {
            name: name.to_owned(),
            target: Arc::new(Target { url: link.url.clone(), port, tls }),
            ca: link.ca.clone(),
            required: request.required,
        })
    }
}

/// What the config does not say, the plugin's schema says by its `default`.
fn numbers(config: &NumberRules, schema: &serde_json::Value) -> NumberRules {
    let usual = |name: &str| schema["properties"][name]["default"].as_str();
    NumberRules {
        country: config.country.clone().or_else(|| {
            usual("country").filter(|code| crate::parties::is_country(code)).map(str::to_owned)
        }),
        extensions: config
            .extensions
            .clone()
            .or_else(|| schema::pattern(usual("extensions")?).ok()),
    }
}

/// What a plugin says of its settings: what is wrong with them, and what it warns of and uses all the same.
pub(crate) fn said_of_settings(
    config: &Config,
    section: &str,
    plugin: &str,
    problems: Vec<SettingsProblem>,
) -> (Vec<Complaint>, Vec<Complaint>) {
    let (warned, wrong): (Vec<_>, Vec<_>) = problems.into_iter().partition(|it| it.is_warning);
    let complaint = |SettingsProblem { path, message, .. }, fix: String| {
        config.complaint(&format!("{section}.{}", settings_key(&path)), message, fix)
    };
    let wrong = wrong.into_iter().map(|it| complaint(it, format!("change it as {plugin} asks")));
    let fix = || format!("change it as {plugin} asks, or leave it: it is used as it is");
    let warned = warned.into_iter().map(|it| complaint(it, fix()));
    (wrong.collect(), warned.collect())
}

/// The key in the config of a setting by its dotted path.
pub(crate) fn settings_key(path: &str) -> String {
    if path.is_empty() { "settings".to_owned() } else { format!("settings.{path}") }
}

fn limits(config: &LimitsConfig) -> Limits {
    let usual = Limits::default();
    Limits {
        memory_mib: config.memory_mib.unwrap_or(usual.memory_mib),
        step_ms: config.step_ms.unwrap_or(usual.step_ms),
        snapshot_kib: config.snapshot_kib.unwrap_or(usual.snapshot_kib),
        effects_per_step: config.effects_per_step.unwrap_or(usual.effects_per_step),
        bytes_per_step: config.bytes_per_step.unwrap_or(usual.bytes_per_step),
        log_lines_per_sec: config.log_lines_per_sec.unwrap_or(usual.log_lines_per_sec),
        recoveries_per_minute: config.recoveries_per_minute.unwrap_or(usual.recoveries_per_minute),
        http_per_minute: config.http_per_minute.unwrap_or(usual.http_per_minute),
        recording_kib: config.recording_kib.unwrap_or(usual.recording_kib),
        recording_minutes: config.recording_minutes.unwrap_or(usual.recording_minutes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_warns_of_refuses_nothing_and_has_its_line_and_its_fix() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("jackfield.toml");
        let text = "[hooks.instances.vip]\nplugin = \"skills\"\n\n[hooks.instances.vip.settings]\nskills = []\nlists = {}\n";
        std::fs::write(&file, text).expect("written");
        let config = Config::load(&file).expect("it is good");
        let problem = |path: &str, is_warning| SettingsProblem {
            path: path.to_owned(),
            message: "is empty".to_owned(),
            is_warning,
        };
        let problems = vec![problem("skills", true), problem("lists", false)];
        let (wrong, warned) = said_of_settings(&config, "hooks.instances.vip", "Skills", problems);
        let told = |list: Vec<Complaint>| {
            let line = |it: &Complaint| {
                format!("{}: {}: {}; {}", it.place.line, it.key, it.message, it.fix)
            };
            list.iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(
            told(wrong),
            ["6: hooks.instances.vip.settings.lists: is empty; change it as Skills asks"]
        );
        let warning = "5: hooks.instances.vip.settings.skills: is empty; change it as Skills asks, or leave it: it is used as it is";
        assert_eq!(told(warned), [warning]);
    }
}
