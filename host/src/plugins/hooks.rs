//! What shall become of one hook: judged from the config and the components there are, by the same rules as a
//! connector. One that cannot be called is left out, with a reason, and the others go on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use plugin_runtime::{
    Kind, Permission, Secrets,
    hooks::{HookFailure, HookLimits, Observer, Router, Treatment},
};

use super::{InstanceWord, library::Library};
use crate::{
    config::{
        CanaryConfig, Complaint, Config, HookInstanceConfig, HookLimitsConfig, HooksConfig,
        PluginSource, SecretText, nearest, schema,
    },
    connectors::{LoadedPlugin, http_rules, said_of_settings, settings_key},
    hooks::{meter::HookMeter, plan::HookInstance},
};

/// Requests a hook may send within a minute, when the config does not say.
const USUAL_REQUESTS: u32 = 6000;

/// What shall become of a hook.
pub(super) enum HookVerdict {
    /// Somebody has disabled it.
    Off,
    /// It cannot be called like this.
    Bad { word: InstanceWord, complaints: Vec<Complaint>, plugin: Option<LoadedPlugin> },
    /// Its plugin asks for more than is granted or declined.
    Wait { plugin: LoadedPlugin, missing: Vec<Permission> },
    /// It can be called. With complaints: not as it is wanted.
    Run {
        instance: Box<HookInstance>,
        plugin: LoadedPlugin,
        complaints: Vec<Complaint>,
        /// What the plugin says of settings that it uses all the same.
        warnings: Vec<Complaint>,
    },
}

/// What is known of the hook beside what is wanted.
#[derive(Clone)]
pub(super) struct HookBackground {
    /// What is called now.
    pub(super) running: Option<Arc<HookInstance>>,
    /// SHA-256 of what was called last, also before this start of the host.
    pub(super) last: Option<String>,
    /// Of all its versions.
    pub(super) meter: Arc<HookMeter>,
}

/// The three ways in which a hook is named.
pub(super) fn roles(hooks: &HooksConfig, id: &str) -> Vec<(Kind, String)> {
    let at = |list: &[String]| list.iter().position(|known| known == id);
    let order = at(&hooks.order).map(|at| (Kind::Router, format!("hooks.router.order[{at}]")));
    let treatment = (hooks.treatment.as_deref() == Some(id))
        .then(|| (Kind::WaitTreatment, "hooks.treatment.default".to_owned()));
    let run = at(&hooks.observers).map(|at| (Kind::Observer, format!("hooks.observers.run[{at}]")));
    order.into_iter().chain(treatment).chain(run).collect()
}

/// Judges one hook. It reads files, compiles and asks the plugin, so it may take a while.
pub(super) fn judge(
    config: &Config,
    library: &Library,
    hook: &HookInstanceConfig,
    background: &HookBackground,
) -> HookVerdict {
    if hook.enabled == Some(false) {
        return HookVerdict::Off;
    }
    let key = format!("hooks.instances.{}.plugin", hook.id);
    let last = background.last.as_deref();
    let (plugin, trouble) =
        match library.resolve(config, &hook.plugin, hook.version.as_deref(), last) {
            Ok(resolved) => (resolved.plugin, resolved.trouble),
            Err(unusable) => {
                let complaints = vec![config.complaint(&key, unusable.message, unusable.fix)];
                return HookVerdict::Bad { word: unusable.word, complaints, plugin: None };
            }
        };
    let mut complaints: Vec<Complaint> = trouble
        .map(|trouble| {
            let goes_on = plugin.info.name_and_version();
            let message = format!("{}; {goes_on} is used", trouble.message);
            config.complaint(&key, message, trouble.fix)
        })
        .into_iter()
        .collect();
    let missing = missing(hook, &plugin, background);
    if !missing.is_empty() {
        return HookVerdict::Wait { plugin, missing };
    }
    match build(config, hook, &plugin, background) {
        Ok((instance, warnings)) => {
            HookVerdict::Run { instance: Box::new(instance), plugin, complaints, warnings }
        }
        Err(mut found) => {
            complaints.append(&mut found);
            let word = InstanceWord::InvalidSettingsDisabled;
            HookVerdict::Bad { word, complaints, plugin: Some(plugin) }
        }
    }
}

/// The hook as its older version would be called: while a newer one waits.
pub(super) fn judge_as_it_runs(
    config: &Config,
    library: &Library,
    hook: &HookInstanceConfig,
    background: &HookBackground,
    waiting: &LoadedPlugin,
) -> Option<HookInstance> {
    let running = background.running.as_ref().map(|it| it.plugin.sha256().to_owned());
    let older = running.or_else(|| background.last.clone());
    let plugin = library.kept(&older.filter(|it| *it != waiting.info.sha256)?).ok()?;
    build(config, hook, &plugin, background).ok().map(|(instance, _)| instance)
}

/// The version to be tried on some calls, as an instance of its own.
pub(super) fn candidate(
    config: &Config,
    library: &Library,
    hook: &HookInstanceConfig,
    wish: &CanaryConfig,
    runs: &HookInstance,
    background: &HookBackground,
) -> Result<HookInstance, Complaint> {
    let key = format!("hooks.instances.{}.canary", hook.id);
    let complain = |message: String, fix: String| config.complaint(&key, message, fix);
    let id = match &hook.plugin {
        PluginSource::Id(id) => PluginSource::Id(id.clone()),
        PluginSource::File(_) => PluginSource::Id(runs.plugin.manifest().id.clone()),
    };
    let resolved = library
        .resolve(config, &id, Some(&wish.version), None)
        .map_err(|unusable| complain(unusable.message, unusable.fix))?;
    if let Some(trouble) = resolved.trouble {
        return Err(complain(trouble.message, trouble.fix));
    }
    let plugin = resolved.plugin;
    if plugin.info.sha256 == runs.plugin.sha256() {
        let message = format!("{} is called for all calls already", plugin.info.name_and_version());
        return Err(complain(message, "end the canary".to_owned()));
    }
    let missing = missing(hook, &plugin, background);
    if let Some(permission) = missing.first() {
        let message = format!("{} asks for {}", plugin.info.name_and_version(), permission.grant);
        let fix = format!("add \"{}\" to the hook's grants, or to its declined", permission.grant);
        return Err(complain(message, fix));
    }
    let built = build(config, hook, &plugin, background).map(|(instance, _)| instance);
    built.map_err(|complaints| {
        let first = complaints.into_iter().next();
        first.map_or_else(
            || complain("it cannot be used".to_owned(), "use another version".to_owned()),
            |it| complain(format!("{}: {}", it.key, it.message), it.fix),
        )
    })
}

/// Permissions somebody must speak about first.
fn missing(
    hook: &HookInstanceConfig,
    plugin: &LoadedPlugin,
    background: &HookBackground,
) -> Vec<Permission> {
    let sha256 = plugin.info.sha256.as_str();
    // What was called like this may go on like this: an answer that is taken back only takes away.
    let is_known = background.last.as_deref() == Some(sha256)
        || background.running.as_ref().is_some_and(|it| it.plugin.sha256() == sha256);
    if is_known {
        return Vec::new();
    }
    // Where nobody has named a host or set a secret there is nothing to allow.
    let has_object = |it: &Permission| match it.grant.split_once(':') {
        Some(("http", "*")) => false,
        Some(("secret", name)) => hook.secrets.contains_key(name),
        _ => true,
    };
    let said =
        |it: &Permission| it.is_answered_by(&hook.grants) || it.is_answered_by(&hook.declined);
    plugin
        .info
        .manifest
        .permissions()
        .into_iter()
        .filter(|it| has_object(it) && !said(it))
        .collect()
}

/// The hook with this component, and what its plugin warns of.
pub(super) fn build(
    config: &Config,
    hook: &HookInstanceConfig,
    plugin: &LoadedPlugin,
    background: &HookBackground,
) -> Result<(HookInstance, Vec<Complaint>), Vec<Complaint>> {
    let mut building =
        Building { config, hook, plugin, complaints: Vec::new(), warnings: Vec::new() };
    building.check_kinds();
    building.check_settings();
    building.check_secrets();
    if !building.complaints.is_empty() {
        return Err(building.complaints);
    }
    let granted = |name: &String| hook.grants.contains(&format!("secret:{name}"));
    let secret_texts = hook.secrets.iter().filter(|(name, _)| granted(name));
    let secret_texts: BTreeMap<String, SecretText> =
        secret_texts.map(|(name, text)| (name.clone(), text.clone())).collect();
    let mut secrets = Secrets::new();
    for (name, text) in &secret_texts {
        secrets.insert(name.clone(), text.expose().to_owned());
    }
    let hosts = plugin.info.manifest.http_hosts(&hook.grants);
    let instance = HookInstance {
        id: hook.id.clone(),
        plugin: plugin.plugin.clone(),
        label: format!("{} {}", plugin.info.manifest.id, plugin.info.manifest.version),
        settings: hook.settings.to_string(),
        grants: hook.grants.clone(),
        limits: limits(&hook.limits),
        http_per_minute: hook.limits.http_per_minute.unwrap_or(USUAL_REQUESTS),
        secrets,
        secret_texts,
        rules: http_rules(&hosts, &hook.grants),
        canary: None,
        meter: Arc::clone(&background.meter),
    };
    let known = background.running.as_ref().is_some_and(|running| running.is_same(&instance));
    if !known && let Err((kind, failure)) = try_out(&instance) {
        let what = format!("{} does not start as a {}: {failure}", instance.label, kind.code());
        building.complain("settings", what, "change the settings, or use another version");
        return Err(building.complaints);
    }
    Ok((instance, building.warnings))
}

/// Starts a guest for each hook the plugin has: better it fails here than when somebody calls.
fn try_out(instance: &HookInstance) -> Result<(), (Kind, HookFailure)> {
    for kind in instance.plugin.kinds() {
        let started = match kind {
            Kind::Router => Router::start(&instance.plugin, instance.config()).map(drop),
            Kind::WaitTreatment => Treatment::start(&instance.plugin, instance.config()).map(drop),
            Kind::Observer => Observer::start(&instance.plugin, instance.config()).map(drop),
            Kind::Connector => Ok(()),
        };
        started.map_err(|failure| (*kind, failure))?;
    }
    Ok(())
}

struct Building<'c> {
    config: &'c Config,
    hook: &'c HookInstanceConfig,
    plugin: &'c LoadedPlugin,
    complaints: Vec<Complaint>,
    warnings: Vec<Complaint>,
}

impl Building<'_> {
    fn complain(&mut self, key: &str, message: impl Into<String>, fix: impl Into<String>) {
        let key = format!("hooks.instances.{}.{key}", self.hook.id);
        self.complaints.push(self.config.complaint(&key, message, fix));
    }

    fn check_kinds(&mut self) {
        let kinds: Vec<Kind> = self
            .plugin
            .plugin
            .kinds()
            .iter()
            .copied()
            .filter(|it| *it != Kind::Connector)
            .collect();
        let name = self.plugin.info.name_and_version();
        if kinds.is_empty() {
            self.complain(
                "plugin",
                format!("{name} is a connector, not a hook"),
                "name a plugin that is a router, a wait-treatment or an observer",
            );
            return;
        }
        for (kind, key) in roles(&self.config.hooks, &self.hook.id) {
            if !kinds.contains(&kind) {
                let has: Vec<&str> = kinds.iter().map(|kind| kind.code()).collect();
                let message = format!("{name} is no {}, it is: {}", kind.code(), has.join(", "));
                let fix = format!("remove {:?} there, or give it another plugin", self.hook.id);
                self.complaints.push(self.config.complaint(&key, message, fix));
            }
        }
    }

    fn check_settings(&mut self) {
        let manifest = &self.plugin.info.manifest;
        let problems = schema::check(&self.hook.settings, &manifest.settings);
        let fits_schema = problems.is_empty();
        for problem in problems {
            self.complain(&settings_key(&problem.path), problem.message, problem.fix);
        }
        if !fits_schema {
            return;
        }
        match self.plugin.plugin.validate_settings(&self.hook.settings.to_string()) {
            Ok(problems) => {
                let section = format!("hooks.instances.{}", self.hook.id);
                let (wrong, warned) =
                    said_of_settings(self.config, &section, &manifest.name, problems);
                self.complaints.extend(wrong);
                self.warnings.extend(warned);
                self.check_contexts();
            }
            Err(error) => self.complain(
                "settings",
                error.to_string(),
                "report it to the plugin's author; the settings themselves may be good",
            ),
        }
    }

    /// A place in the settings that leads into a context which the admin has not named.
    fn check_contexts(&mut self) {
        let mut places = BTreeSet::new();
        each_context(&self.hook.settings, &mut |context| {
            if !self.config.hooks.contexts.contains(context) {
                places.insert(context.to_owned());
            }
        });
        for context in places {
            let key = format!("hooks.instances.{}.settings", self.hook.id);
            let warning = self.config.complaint(
                &key,
                format!("they name a place in the context {context:?}, into which no hook sends callers: those get the fallback"),
                format!("add {context:?} to `contexts` of [hooks] if what it reaches is for every caller"),
            );
            self.warnings.push(warning);
        }
    }

    /// What is granted must be there, and what is there must be asked for.
    fn check_secrets(&mut self) {
        let asked: BTreeSet<String> = self
            .plugin
            .info
            .manifest
            .permissions()
            .into_iter()
            .filter_map(|it| it.grant.strip_prefix("secret:").map(str::to_owned))
            .collect();
        let names: Vec<&str> = asked.iter().map(String::as_str).collect();
        let meant = |name: &str| match (nearest(name, &names), names.is_empty()) {
            (Some(meant), _) => format!("did you mean {meant:?}?"),
            (None, true) => "remove it; the plugin asks for no secret".to_owned(),
            (None, false) => format!("the plugin's secrets are: {}", names.join(", ")),
        };
        let granted = self.hook.grants.iter().enumerate();
        let granted: Vec<(usize, String)> = granted
            .filter_map(|(at, grant)| Some((at, grant.strip_prefix("secret:")?.to_owned())))
            .collect();
        for (at, name) in &granted {
            if !asked.contains(name) {
                let message = format!("the plugin asks for no secret {name:?}");
                self.complain(&format!("grants[{at}]"), message, meant(name));
            } else if !self.hook.secrets.contains_key(name) {
                self.complain(
                    &format!("secrets.{name}"),
                    "is missing: the plugin may use it",
                    format!("add secrets.{name} = {{ env = \"NAME\" }} or {{ file = \"path\" }}"),
                );
            }
        }
        for name in self.hook.secrets.keys().filter(|name| !asked.contains(*name)) {
            let message = "the plugin asks for no such secret";
            self.complain(&format!("secrets.{name}"), message, meant(name));
        }
    }
}

fn limits(config: &HookLimitsConfig) -> HookLimits {
    let usual = HookLimits::default();
    HookLimits {
        memory_mib: config.memory_mib.unwrap_or(usual.memory_mib),
        route_ms: config.route_ms.unwrap_or(usual.route_ms),
        treatment_ms: config.treatment_ms.unwrap_or(usual.treatment_ms),
        step_ms: config.step_ms.unwrap_or(usual.step_ms),
        bytes_per_call: config.bytes_per_call.unwrap_or(usual.bytes_per_call),
        actions_per_step: config.actions_per_step.unwrap_or(usual.actions_per_step),
        log_lines_per_sec: config.log_lines_per_sec.unwrap_or(usual.log_lines_per_sec),
    }
}

/// The contexts of texts such as `dialplan:CONTEXT,EXTENSION,PRIORITY`.
fn each_context(settings: &serde_json::Value, found: &mut dyn FnMut(&str)) {
    match settings {
        serde_json::Value::String(text) => {
            let place = text.strip_prefix("dialplan:").and_then(|place| place.split_once(','));
            if let Some((context, _)) = place {
                found(context);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|it| each_context(it, found)),
        serde_json::Value::Object(keys) => keys.values().for_each(|it| each_context(it, found)),
        _ => {}
    }
}
