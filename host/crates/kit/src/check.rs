//! `plugin check`: everything a host would refuse a plugin for, and what its admin would ask, before it is shipped.

mod schema;

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{anyhow, bail, ensure};
use plugin_runtime::{Kind, MANIFEST_SECTION, MAX_COMPONENT, Manifest, Permission, Runtime};
use serde::Serialize;
use sha2::{Digest, Sha256};
use wasmparser::Parser;

use crate::{
    component,
    contract::{self, Contract, Surface},
    project::{Lang, Project},
};

/// What is found about one component.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The file that was looked at.
    pub file: PathBuf,
    /// Its size.
    pub bytes: usize,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// `id version`, when it has a manifest.
    pub plugin: Option<String>,
    /// What it can be used as, by its exports.
    pub kinds: Vec<&'static str>,
    /// What it can do besides: `snapshot`, `settings check`.
    pub abilities: Vec<&'static str>,
    /// Each released version of the contract, the oldest first.
    pub contracts: Vec<ReleasedContract>,
    /// What it asks for.
    pub permissions: Vec<Permission>,
    /// In the order they were looked at.
    pub findings: Vec<Finding>,
}

/// A released version of the contract, and whether the component was built for what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReleasedContract {
    /// `0.1.0`.
    pub version: String,
    /// Its imports and exports mean what this version means by them.
    pub fits: bool,
    /// What is not as this version has it.
    pub difference: Option<String>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Is it good?
    pub level: Level,
    /// What was looked at: `imports`.
    pub about: &'static str,
    /// What was found.
    pub text: String,
    /// What to do about it; empty when nothing.
    pub fix: String,
}

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// A host takes it, and somebody will be sorry.
    Warning,
    /// A host refuses it.
    Error,
}

/// What to look at besides the component itself.
#[derive(Default)]
pub struct Question<'a> {
    /// Its project: what it is meant to be, and in which language the fix has to be.
    pub project: Option<&'a Project>,
    /// The version before: what would an update mean?
    pub against: Option<&'a [u8]>,
    /// To load it, as a host does, and to start it once. Without it nothing is compiled.
    pub runtime: Option<&'a Runtime>,
}

/// Larger ones are slow to install and to start.
const LARGE: usize = 24 << 20;

/// Looks at everything.
pub fn check(file: PathBuf, wasm: &[u8], question: &Question<'_>) -> Report {
    let mut report = Report {
        file,
        bytes: wasm.len(),
        sha256: sha256(wasm),
        plugin: None,
        kinds: Vec::new(),
        abilities: Vec::new(),
        contracts: Vec::new(),
        permissions: Vec::new(),
        findings: Vec::new(),
    };
    report.size();
    let Some(surface) = report.surface(wasm) else { return report };
    let lang = question.project.map(|project| project.lang);
    report.imports(&surface, lang);
    report.exports(&surface, question.project);
    report.contract(wasm, &surface);
    let manifest = report.manifest(wasm);
    if let Some(manifest) = &manifest {
        report.settings(manifest);
        report.permissions(manifest);
        if let Some(project) = question.project {
            report.freshness(manifest, project);
        }
    }
    if let Some(older) = question.against {
        report.update(manifest.as_ref(), &surface, older);
    }
    if let Some(runtime) = question.runtime.filter(|_| !report.failed()) {
        report.loads(runtime, wasm);
    }
    report
}

/// Refuses a component that no host would load: what can be told without running or compiling it.
pub fn conforms(wasm: &[u8], project: &Project) -> anyhow::Result<()> {
    let report =
        check(PathBuf::new(), wasm, &Question { project: Some(project), ..Question::default() });
    let errors: Vec<String> = report
        .findings
        .iter()
        .filter(|finding| finding.level == Level::Error)
        .map(|Finding { about, text, fix, .. }| match fix.as_str() {
            "" => format!("{about}: {text}"),
            fix => format!("{about}: {text}; fix: {fix}"),
        })
        .collect();
    ensure!(errors.is_empty(), "no host would take what was built:\n  {}", errors.join("\n  "));
    Ok(())
}

/// SHA-256, lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The manifest a component carries.
pub fn manifest_of(wasm: &[u8]) -> anyhow::Result<Manifest> {
    let outer = component::custom_sections(wasm, MANIFEST_SECTION)?;
    match outer[..] {
        [json] => Ok(Manifest::from_json(json)?),
        [] => bail!("it carries no manifest"),
        _ => bail!("it carries {} manifests", outer.len()),
    }
}

impl Report {
    /// Would a host refuse it?
    pub fn failed(&self) -> bool {
        self.worst() == Level::Error
    }

    /// The worst that was found.
    pub fn worst(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    fn say(
        &mut self,
        level: Level,
        about: &'static str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.findings.push(Finding { level, about, text: text.into(), fix: fix.into() });
    }

    fn size(&mut self) {
        let mib = |bytes: usize| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let bytes = self.bytes;
        if bytes > MAX_COMPONENT {
            let text =
                format!("{} is more than the {} a host takes", mib(bytes), mib(MAX_COMPONENT));
            self.say(Level::Error, "size", text, "leave something out");
        } else if bytes > LARGE {
            let text = format!("{}: slow to install, and it needs much memory", mib(bytes));
            self.say(Level::Warning, "size", text, "leave out what it does not use");
        } else {
            self.say(Level::Ok, "size", format!("{bytes} bytes"), "");
        }
    }

    fn surface(&mut self, wasm: &[u8]) -> Option<Surface> {
        if !wasm.starts_with(b"\0asm") {
            self.say(
                Level::Error,
                "format",
                "this is not WebAssembly",
                "give the .wasm file of a plugin",
            );
            return None;
        }
        if Parser::is_core_wasm(wasm) {
            let text = "this is a core module, not a component";
            self.say(Level::Error, "format", text, "give what `jackfield plugin build` made");
            return None;
        }
        let valid = wasmparser::Validator::new().validate_all(wasm).map_err(|error| anyhow!(error));
        match valid.and_then(|_| Surface::of(wasm)) {
            Ok(surface) => {
                self.say(Level::Ok, "format", "a valid component", "");
                Some(surface)
            }
            Err(error) => {
                let text = format!("it is damaged or uses what plugins may not use: {error:#}");
                self.say(Level::Error, "format", text, "build it again");
                None
            }
        }
    }

    fn imports(&mut self, surface: &Surface, lang: Option<Lang>) {
        let mut fine = true;
        for import in &surface.imports {
            let (interface, _) = contract::split(&import.name);
            if interface != contract::LOG && !import.types_only {
                fine = false;
                let text = format!(
                    "it imports `{}`; a plugin may import nothing but {}",
                    import.name,
                    contract::LOG
                );
                let fix = if import.name.starts_with("wasi:") { without_wasi(lang) } else { "" };
                self.say(Level::Error, "imports", text, fix);
            }
        }
        if fine {
            self.say(
                Level::Ok,
                "imports",
                "nothing but log lines: it can only answer with data",
                "",
            );
        }
    }

    fn exports(&mut self, surface: &Surface, project: Option<&Project>) {
        /// What the tools for TypeScript and for Python put into each component, for themselves.
        const OF_TOOLS: [&str; 2] = ["init", "exports"];
        let kinds = surface.kinds();
        self.kinds = kinds.iter().map(|kind| kind.code()).collect();
        self.abilities = surface.abilities();
        for export in &surface.exports {
            let (interface, _) = contract::split(export);
            if !contract::known(interface) && !OF_TOOLS.contains(&interface) {
                let text = format!("it exports `{export}`, which no host calls");
                self.say(Level::Warning, "exports", text, "");
            }
        }
        if kinds.is_empty() {
            let exports = match surface.exports.join(", ") {
                none if none.is_empty() => "nothing".to_owned(),
                some => some,
            };
            let text = format!(
                "it is no connector, router, wait treatment or observer; it exports {exports}"
            );
            self.say(
                Level::Error,
                "exports",
                text,
                "register what it is, e.g. `register_router!(Mine, settings)`",
            );
            return;
        }
        let also = if self.abilities.is_empty() {
            String::new()
        } else {
            format!(", with {}", self.abilities.join(" and "))
        };
        self.say(Level::Ok, "exports", format!("{}{also}", self.kinds.join(", ")), "");
        if let Some(project) = project.filter(|project| !kinds.contains(&project.kind)) {
            let text = format!(
                "plugin.toml says it is a {}, and the binary says {}",
                project.kind.code(),
                self.kinds.join(", ")
            );
            self.say(
                Level::Error,
                "exports",
                text,
                "change `kind` in plugin.toml, or what the sources register",
            );
        }
        if kinds.contains(&Kind::Connector) && !self.abilities.contains(&"snapshot") {
            let text = "it hands over no state: a crash or an update costs the connection";
            self.say(Level::Warning, "exports", text, "implement `snapshot`");
        }
    }

    fn contract(&mut self, wasm: &[u8], surface: &Surface) {
        let Some(ours) = Contract::ours().version() else { return };
        let track = ours.rsplit_once('.').map_or(ours.as_str(), |(track, _)| track);
        for (version, contract) in Contract::released() {
            let difference = contract.fits(wasm, surface).err().map(|error| format!("{error:#}"));
            let version = version.to_owned();
            self.contracts.push(ReleasedContract {
                version,
                fits: difference.is_none(),
                difference,
            });
        }
        let fix = "build it with the SDK of this version of Jackfield";
        if let Err(error) = Contract::ours().fits(wasm, surface) {
            let other: Vec<&str> =
                surface.needs().filter(|name| contract::split(name).1 != ours).collect();
            let text = if other.is_empty() {
                format!("its types are not those of {ours}: {error:#}")
            } else {
                format!("it is made for {}, and this host speaks {ours}", other.join(", "))
            };
            self.say(Level::Error, "contract", text, fix);
            return;
        }
        let fitting = self.contracts.iter().find(|released| released.fits);
        match fitting.map(|released| released.version.clone()) {
            Some(released) => {
                let text = format!("{released}, frozen: loads in every later {track} host");
                self.say(Level::Ok, "contract", text, "");
            }
            None => {
                let text = format!("{ours} as this host has it, and no release yet: it may change");
                let fix = "wait for the release before you hand it on";
                self.say(Level::Warning, "contract", text, fix);
            }
        }
    }

    fn manifest(&mut self, wasm: &[u8]) -> Option<Manifest> {
        match manifest_of(wasm) {
            Ok(manifest) => {
                let plugin = format!("{} {}", manifest.id, manifest.version);
                self.say(Level::Ok, "manifest", format!("{plugin}, API {}", manifest.api), "");
                if manifest.author == "You" {
                    let text = "the author is still `You`";
                    self.say(
                        Level::Warning,
                        "manifest",
                        text,
                        "write who you are into plugin.toml",
                    );
                }
                self.plugin = Some(plugin);
                Some(manifest)
            }
            Err(error) => {
                let fix = "build it with `jackfield plugin build`, which makes it of plugin.toml";
                self.say(Level::Error, "manifest", error.to_string(), fix);
                None
            }
        }
    }

    fn settings(&mut self, manifest: &Manifest) {
        let problems = schema::problems(&manifest.settings);
        if problems.is_empty() {
            let count = manifest.settings["properties"].as_object().map_or(0, serde_json::Map::len);
            self.say(Level::Ok, "settings", format!("{count} described by the schema"), "");
        }
        for schema::Problem { level, path, text, fix } in problems {
            self.say(level, "settings", format!("{path}: {text}"), fix);
        }
    }

    fn permissions(&mut self, manifest: &Manifest) {
        self.permissions = manifest.permissions();
        let asked: Vec<&str> = self.permissions.iter().map(|it| it.grant.as_str()).collect();
        let text = match asked.as_slice() {
            [] => "asks for nothing".to_owned(),
            asked => format!("asks for {}", asked.join(", ")),
        };
        self.say(Level::Ok, "permissions", text, "");
        let silent = self.permissions.iter().filter(|it| it.reason.is_empty());
        let silent: Vec<String> = silent.map(|it| it.grant.clone()).collect();
        for grant in silent {
            let text = format!("{grant} has no reason, and an admin is asked to grant it");
            self.say(
                Level::Warning,
                "permissions",
                text,
                "say why in plugin.toml, in one sentence: `reason = \"...\"`",
            );
        }
    }

    fn freshness(&mut self, manifest: &Manifest, project: &Project) {
        if *manifest != project.manifest {
            let text = "plugin.toml or the schema changed since it was built";
            self.say(Level::Error, "manifest", text, "`jackfield plugin build`");
        }
    }

    fn update(&mut self, manifest: Option<&Manifest>, surface: &Surface, older: &[u8]) {
        let about = "update";
        let before = manifest_of(older).and_then(|manifest| Ok((manifest, Surface::of(older)?)));
        let (before, older_surface) = match before {
            Ok(before) => before,
            Err(error) => {
                let text = format!("the version before cannot be read: {error:#}");
                self.say(Level::Error, about, text, "give the .wasm file of a plugin to --against");
                return;
            }
        };
        let Some(manifest) = manifest else { return };
        let begin = self.findings.len();
        if manifest.id != before.id {
            let text =
                format!("it is `{}`, not `{}`: another plugin, no update", manifest.id, before.id);
            self.say(Level::Error, about, text, "keep the id in plugin.toml");
        }
        if manifest.version == before.version && sha256(older) != self.sha256 {
            let text = format!("both call themselves {}", manifest.version);
            self.say(Level::Error, about, text, "count `version` in plugin.toml up");
        }
        let had: BTreeSet<String> = before.permissions().into_iter().map(|it| it.grant).collect();
        for asked in manifest.permissions().into_iter().filter(|it| !had.contains(&it.grant)) {
            let text = format!(
                "{} is asked for anew: instances stay with {} until their admin grants it",
                asked.grant, before.version
            );
            self.say(Level::Warning, about, text, "say so in your release notes");
        }
        for kind in older_surface.kinds().iter().filter(|kind| !surface.kinds().contains(kind)) {
            let text = format!(
                "it is no {} any more, and instances that use it as one are left without",
                kind.code()
            );
            self.say(Level::Error, about, text, "keep it, or give the plugin another id");
        }
        for lost in older_surface.abilities().iter().filter(|it| !surface.abilities().contains(it))
        {
            self.say(Level::Warning, about, format!("it has no {lost} any more"), "");
        }
        for (path, text) in schema::narrowed(&before.settings, &manifest.settings) {
            let fix = "give it a default instead, or say so in your release notes";
            self.say(Level::Warning, about, format!("{path}: {text}"), fix);
        }
        if self.findings.len() == begin {
            self.say(
                Level::Ok,
                about,
                format!("asks for nothing that {} did not", before.version),
                "",
            );
        }
    }

    fn loads(&mut self, runtime: &Runtime, wasm: &[u8]) {
        match runtime.load(wasm) {
            Ok(_) => self.say(Level::Ok, "load", "this host loads and starts it", ""),
            Err(error) => self.say(Level::Error, "load", error.to_string(), ""),
        }
    }
}

/// How each language leaves WASI out.
fn without_wasi(lang: Option<Lang>) -> &'static str {
    match lang {
        Some(Lang::Rust) => "build it for wasm32-unknown-unknown, as `jackfield plugin build` does",
        Some(Lang::Ts) => {
            "componentize with --backend-qjs-stub-wasi --backend-qjs-disable-async, as `jackfield plugin build` does"
        }
        Some(Lang::Python) => {
            "componentize with `componentize-py ... componentize -s`, as `jackfield plugin build` does"
        }
        None => {
            "build it without WASI: Rust for wasm32-unknown-unknown; JavaScript with --backend-qjs-stub-wasi \
             --backend-qjs-disable-async; Python with `componentize-py -s`"
        }
    }
}

/// A foreign word in a message.
fn plain(text: &str) -> String {
    text.chars().take(64).filter(|c| !c.is_control()).collect()
}
