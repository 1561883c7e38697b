//! From bytes to a plugin that may be started: checked, compiled, linked.

use std::sync::{Arc, PoisonError};

use wasmparser::{
    BinaryReaderError, Parser, Payload, Validator,
    component_types::{ComponentAnyTypeId, ComponentEntityType},
    types::{Types, TypesRef},
};
use wasmtime::component::{Component, InstancePre, Linker};

use crate::{
    bindings::{
        self,
        hooks::exports::jackfield::{
            observer::observer, router::router, treatment::wait_treatment,
        },
    },
    cache::{self, sha256_hex},
    compile::Compiler,
    engine::Shared,
    guest::{self, Failure, GuestState},
    manifest::{MANIFEST_SECTION, Manifest, ManifestError},
};

/// Largest component that is looked at.
pub const MAX_COMPONENT: usize = 64 << 20;

const LOG: &str = "jackfield:log/log";
const CONNECTOR: &str = "jackfield:connector/connector";
const ROUTER: &str = "jackfield:router/router";
const TREATMENT: &str = "jackfield:treatment/wait-treatment";
const OBSERVER: &str = "jackfield:observer/observer";
const STATE: &str = "jackfield:connector/state";
const SETTINGS: &str = "jackfield:settings/settings";
/// The versions of all of them that this host speaks: `0.1.x`.
const TRACK: &str = "0.1.";
/// The version a plugin is told to use.
const VERSION: &str = "0.1.0";
/// A component names the types of its exports by importing these; they hold no functions.
const TYPES_ONLY: [&str; 3] =
    ["jackfield:telephony/facts", "jackfield:connector/types", "jackfield:hooks/types"];

/// A plugin: one component, ready to be started any number of times. Cloning it is cheap.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) manifest: Manifest,
    sha256: String,
    pub(crate) instance: InstancePre<GuestState>,
    kinds: Vec<Kind>,
    pub(crate) connector: Option<bindings::connector::ConnectorIndices>,
    pub(crate) hooks: Hooks,
    pub(crate) state: Option<bindings::state::StateIndices>,
    pub(crate) settings: Option<bindings::settings::SettingsIndices>,
}

/// Where the hooks it has are.
pub(crate) struct Hooks {
    pub(crate) router: Option<router::GuestIndices>,
    pub(crate) treatment: Option<wait_treatment::GuestIndices>,
    pub(crate) observer: Option<observer::GuestIndices>,
}

/// What a plugin can be used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Speaks a PBX's language.
    Connector,
    /// Decides where a call goes.
    Router,
    /// Comforts a caller who waits.
    WaitTreatment,
    /// Sees what happened.
    Observer,
}

impl Kind {
    /// As manifests and people write it: `connector`, `router`, `wait-treatment`, `observer`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Connector => "connector",
            Self::Router => "router",
            Self::WaitTreatment => "wait-treatment",
            Self::Observer => "observer",
        }
    }
}

/// A problem the plugin has with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsProblem {
    /// Dotted path of the setting.
    pub path: String,
    /// The settings can be used all the same.
    pub is_warning: bool,
    /// What is wrong.
    pub message: String,
}

/// The plugin could not look at its settings.
#[derive(Debug, thiserror::Error)]
#[error("the plugin failed to check its settings ({}): {message}", .kind.code())]
pub struct SettingsError {
    /// How it failed.
    pub kind: crate::FailureKind,
    /// In its own words.
    pub message: String,
}

/// A component that cannot be a plugin.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Too large.
    #[error("the file has {0} bytes; a plugin has at most {MAX_COMPONENT}")]
    TooLarge(usize),
    /// No WebAssembly at all.
    #[error("this is not WebAssembly; give the `.wasm` file of a plugin")]
    NotWasm,
    /// An archive.
    #[error(
        "this is a zip archive, and a plugin is one `.wasm` file; unpack it and give the `.wasm` file in it"
    )]
    Archive,
    /// It ends in the middle.
    #[error("the file ends in the middle, after {0} bytes; upload or copy it again")]
    Truncated(usize),
    /// A core module.
    #[error(
        "this is a core WebAssembly module, not a component; make one of it with `cargo xtask plugins` \
         or `wasm-tools component new`"
    )]
    CoreModule,
    /// Damaged, or it uses what this host does not allow.
    #[error("this component is damaged or uses a WebAssembly feature plugins may not use: {0}")]
    Invalid(String),
    /// It wants more than answering with data.
    #[error("it imports `{import}`, but a plugin may import nothing but `{LOG}@{VERSION}`{hint}")]
    UnknownImport {
        /// What it imports.
        import: String,
        /// How to get rid of it; empty when there is no general way.
        hint: String,
    },
    /// It is of no kind.
    #[error(
        "it exports none of `{CONNECTOR}`, `{ROUTER}`, `{TREATMENT}` and `{OBSERVER}` in version {VERSION}, so it \
         is no plugin; it exports: {exports}"
    )]
    NoKind {
        /// What it does export.
        exports: String,
    },
    /// An interface of another time.
    #[error(
        "it is made for `{found}`, but this host speaks {VERSION}; build it with the SDK of this host"
    )]
    WrongVersion {
        /// The interface with its version.
        found: String,
    },
    /// Same names, other types.
    #[error(
        "its interfaces are not those of this host: {0}; build it again with the SDK of this host"
    )]
    Interface(String),
    /// Its manifest is no good.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It traps before anybody asked it anything.
    #[error("it cannot be instantiated ({}): {message}", .kind.code())]
    Instantiate {
        /// How it failed.
        kind: crate::FailureKind,
        /// In its own words.
        message: String,
    },
    /// The compiler did not manage.
    #[error("it cannot be compiled: {0}")]
    Compile(String),
    /// The compiler was stopped.
    #[error(
        "compiling it takes more than {what}, which is more than any plugin should need; ask its author for \
         a smaller one"
    )]
    CompileLimit {
        /// What there was of what.
        what: String,
    },
}

impl Plugin {
    pub(crate) fn load(shared: Arc<Shared>, wasm: &[u8]) -> Result<Self, LoadError> {
        check_header(wasm)?;
        let sha256 = sha256_hex(wasm);
        let kept = shared.cache.as_ref().and_then(|cache| cache.get(&shared.engine, &sha256));
        if kept.is_none() {
            check(wasm)?;
        }
        let exports = Names::read(wasm)?.known_exports()?;
        let manifest = manifest(wasm)?;
        let component = kept.map_or_else(|| compile(&shared, wasm, &sha256), Ok)?;
        let instance = link(&shared, &component)?;
        let misfit = |error: wasmtime::Error| LoadError::Interface(format!("{error:#}"));
        let has = |kind: Kind| exports.kinds.contains(&kind).then_some(&instance);
        let inner = Inner {
            connector: has(Kind::Connector)
                .map(bindings::connector::ConnectorIndices::new)
                .transpose()
                .map_err(misfit)?,
            hooks: Hooks {
                router: has(Kind::Router)
                    .map(router::GuestIndices::new)
                    .transpose()
                    .map_err(misfit)?,
                treatment: has(Kind::WaitTreatment)
                    .map(wait_treatment::GuestIndices::new)
                    .transpose()
                    .map_err(misfit)?,
                observer: has(Kind::Observer)
                    .map(observer::GuestIndices::new)
                    .transpose()
                    .map_err(misfit)?,
            },
            state: exports
                .state
                .then(|| bindings::state::StateIndices::new(&instance))
                .transpose()
                .map_err(misfit)?,
            settings: exports
                .settings
                .then(|| bindings::settings::SettingsIndices::new(&instance))
                .transpose()
                .map_err(misfit)?,
            kinds: exports.kinds,
            shared,
            manifest,
            sha256,
            instance,
        };
        let plugin = Self { inner: Arc::new(inner) };
        guest::probe(&plugin)?;
        Ok(plugin)
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// SHA-256 of the component, lower-case hex.
    pub fn sha256(&self) -> &str {
        &self.inner.sha256
    }

    /// What it can be used as, by its exports.
    pub fn kinds(&self) -> &[Kind] {
        &self.inner.kinds
    }

    /// Can it hand over its state? Without that a crash costs a reconnect.
    pub fn has_snapshot(&self) -> bool {
        self.inner.state.is_some()
    }

    /// Can it check settings beyond their schema?
    pub fn has_settings_check(&self) -> bool {
        self.inner.settings.is_some()
    }

    /// Lets the plugin look at settings, in an instance of their own. Empty: they can be used.
    pub fn validate_settings(&self, settings: &str) -> Result<Vec<SettingsProblem>, SettingsError> {
        let Some(indices) = &self.inner.settings else { return Ok(Vec::new()) };
        guest::validate_settings(self, indices, settings)
            .map_err(|Failure { kind, message }| SettingsError { kind, message })
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("id", &self.inner.manifest.id)
            .field("version", &self.inner.manifest.version)
            .field("sha256", &self.inner.sha256)
            .finish_non_exhaustive()
    }
}

pub(crate) fn check_header(wasm: &[u8]) -> Result<(), LoadError> {
    if wasm.len() > MAX_COMPONENT {
        return Err(LoadError::TooLarge(wasm.len()));
    }
    if wasm.starts_with(b"PK\x03\x04") {
        return Err(LoadError::Archive);
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm);
    }
    if Parser::is_core_wasm(wasm) {
        return Err(LoadError::CoreModule);
    }
    Ok(())
}

/// What takes long, and is done before a component is compiled: one whose compiled form is kept has passed it.
/// Whoever makes it stricter counts [`CHECKS`](cache::CHECKS) up.
fn check(wasm: &[u8]) -> Result<(), LoadError> {
    let types = Validator::new().validate_all(wasm).map_err(|error| invalid(&error, wasm.len()))?;
    Names::read(wasm)?.check_imports(&types)
}

fn invalid(error: &BinaryReaderError, length: usize) -> LoadError {
    // wasmparser has no public type for it; a test holds this text in place.
    if error.message().contains("unexpected end") {
        return LoadError::Truncated(length);
    }
    LoadError::Invalid(error.to_string())
}

fn compile(shared: &Shared, wasm: &[u8], sha256: &str) -> Result<Component, LoadError> {
    let engine = &shared.engine;
    let kept = || shared.cache.as_ref().and_then(|cache| cache.get(engine, sha256));
    if let Some(component) = kept() {
        return Ok(component);
    }
    let _one = shared.compiling.lock().unwrap_or_else(PoisonError::into_inner);
    // Somebody else may have had the same wish.
    if let Some(component) = kept() {
        return Ok(component);
    }
    let failed = |error: wasmtime::Error| LoadError::Compile(format!("{error:#}"));
    let compiled = match &shared.compiler {
        Compiler::Here => engine.precompile_component(wasm).map_err(failed)?,
        Compiler::Child(child) => child.compile(wasm)?,
    };
    if let Some(cache) = &shared.cache {
        cache.put(sha256, &compiled);
    }
    cache::deserialize(engine, &compiled).map_err(failed)
}

fn link(shared: &Shared, component: &Component) -> Result<InstancePre<GuestState>, LoadError> {
    let mut linker = Linker::new(&shared.engine);
    bindings::connector::jackfield::log::log::add_to_linker::<_, guest::HasState>(
        &mut linker,
        |state| state,
    )
    .and_then(|()| linker.instantiate_pre(component))
    .map_err(|error| LoadError::Interface(format!("{error:#}")))
}

/// The interfaces it has.
struct Exports {
    /// At least one.
    kinds: Vec<Kind>,
    state: bool,
    settings: bool,
}

/// Names of what a component imports and exports.
struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Names {
    fn read(wasm: &[u8]) -> Result<Self, LoadError> {
        let damaged = |error: BinaryReaderError| LoadError::Invalid(error.to_string());
        let mut names = Self { imports: Vec::new(), exports: Vec::new() };
        for_each_payload(wasm, |depth, payload| {
            match payload {
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        names.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        names.exports.push(export?.name.name.to_owned());
                    }
                }
                _ => {}
            }
            Ok(())
        })
        .map_err(damaged)?;
        Ok(names)
    }

    fn check_imports(&self, types: &Types) -> Result<(), LoadError> {
        for import in &self.imports {
            let (interface, version) = split_version(import);
            let allowed = interface == LOG
                || (TYPES_ONLY.contains(&interface) && is_types_only(types.as_ref(), import));
            if !allowed {
                return Err(LoadError::UnknownImport {
                    import: import.clone(),
                    hint: hint(import).to_owned(),
                });
            }
            if !version.starts_with(TRACK) {
                return Err(LoadError::WrongVersion { found: import.clone() });
            }
        }
        Ok(())
    }

    fn known_exports(&self) -> Result<Exports, LoadError> {
        let mut kinds = Vec::new();
        for (kind, interface) in [
            (Kind::Connector, CONNECTOR),
            (Kind::Router, ROUTER),
            (Kind::WaitTreatment, TREATMENT),
            (Kind::Observer, OBSERVER),
        ] {
            if self.has(interface)? {
                kinds.push(kind);
            }
        }
        if kinds.is_empty() {
            let exports =
                if self.exports.is_empty() { "nothing".into() } else { self.exports.join(", ") };
            return Err(LoadError::NoKind { exports });
        }
        Ok(Exports { kinds, state: self.has(STATE)?, settings: self.has(SETTINGS)? })
    }

    fn has(&self, interface: &str) -> Result<bool, LoadError> {
        let Some(export) = self.exports.iter().find(|export| split_version(export).0 == interface)
        else {
            return Ok(false);
        };
        if split_version(export).1.starts_with(TRACK) {
            return Ok(true);
        }
        Err(LoadError::WrongVersion { found: export.clone() })
    }
}

fn split_version(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

fn is_types_only(types: TypesRef<'_>, import: &str) -> bool {
    let Some(item) = types.component_item_for_import(import) else { return false };
    let ComponentEntityType::Instance(instance) = item.ty else { return false };
    types[instance].exports.values().all(|item| match item.ty {
        ComponentEntityType::Type { created, .. } => {
            !matches!(created, ComponentAnyTypeId::Resource(_))
        }
        _ => false,
    })
}

/// How toolchains leave WASI out, each tried.
fn hint(import: &str) -> &'static str {
    if !import.starts_with("wasi:") {
        return "";
    }
    ". Build it without WASI: Rust for the target wasm32-unknown-unknown; JavaScript with \
     `--backend-qjs-stub-wasi --backend-qjs-disable-async` (QuickJS) or `--disable all` (StarlingMonkey); \
     Python with `componentize-py -s`"
}

/// The manifest on the component itself, or else in the one core module that has it.
fn manifest(wasm: &[u8]) -> Result<Manifest, LoadError> {
    let mut outer = Vec::new();
    let mut inner = Vec::new();
    for_each_payload(wasm, |depth, payload| {
        if let Payload::CustomSection(section) = payload
            && section.name() == MANIFEST_SECTION
        {
            if depth == 0 { &mut outer } else { &mut inner }.push(section.data());
        }
        Ok(())
    })
    .map_err(|error| LoadError::Invalid(error.to_string()))?;
    let found = if outer.is_empty() { inner } else { outer };
    match found[..] {
        [json] => Ok(Manifest::from_json(json)?),
        [] => Err(ManifestError::Missing.into()),
        _ => Err(ManifestError::Several(found.len()).into()),
    }
}

/// Walks a component; depth 0 is the component itself.
fn for_each_payload<'a>(
    wasm: &'a [u8],
    mut visit: impl FnMut(usize, Payload<'a>) -> wasmparser::Result<()>,
) -> wasmparser::Result<()> {
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        match &payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => visit(depth, payload)?,
        }
    }
    Ok(())
}
