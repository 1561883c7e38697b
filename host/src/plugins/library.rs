//! Components, ready to start: out of files, the watched folders and the store.
//!
//! Whatever is used is kept: a component that was read from a file is in the store before a connector runs it, so
//! that there is always something to go back to.

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use calls::Actor;
use plugin_runtime::{LoadError, Runtime};

use super::{
    InstanceWord, KeeperError,
    signing::{self, Signing},
    store::{InstallError, Installed, Store, StoreError, Version},
};
use crate::{
    clock::Clock,
    config::{Config, PluginSource},
    connectors::LoadedPlugin,
};

/// Larger files are no plugins.
const MAX_PLUGIN_BYTES: u64 = 64 << 20;
/// Components that stay loaded.
const MAX_LOADED: usize = 32;
/// Files of one folder that are looked at.
const MAX_FILES: usize = 256;

/// All components of one host.
pub(super) struct Library {
    runtime: Runtime,
    pub(super) store: Store,
    clock: Clock,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    /// By SHA-256, the last used last.
    loaded: Vec<LoadedPlugin>,
    /// What a file held when it was last read whole.
    files: BTreeMap<PathBuf, (Stamp, String)>,
}

/// A file that has the same one was not written since, as far as anybody can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl Stamp {
    /// None: there is no such file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        Some(Self { modified: metadata.modified().ok(), bytes: metadata.len() })
    }
}

/// Why a component cannot be used, with the status that it deserves.
#[derive(Clone, Debug)]
pub(super) struct Unusable {
    pub(super) word: InstanceWord,
    pub(super) message: String,
    pub(super) fix: String,
}

/// The version a connector shall run.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) plugin: LoadedPlugin,
    /// Why it is not the one that stands where the config points to.
    pub(super) trouble: Option<Unusable>,
}

impl Library {
    pub(super) fn new(runtime: Runtime, store: Store, clock: Clock) -> Self {
        Self { runtime, store, clock, shelf: Mutex::default() }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Only what was read whole is in it.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a component from a file, verifies, compiles and keeps it. One that is known costs next to nothing.
    pub(super) fn file(&self, path: &Path) -> Result<LoadedPlugin, Unusable> {
        let stamp = Stamp::of(path);
        if let Some(stamp) = stamp {
            let known = self.shelf().files.get(path).filter(|(seen, _)| *seen == stamp).cloned();
            if let Some((_, sha256)) = known
                && let Some(plugin) = self.loaded(&sha256)
            {
                return Ok(plugin);
            }
        }
        let unreadable = |error: std::io::Error| Unusable {
            word: InstanceWord::InvalidInstallationDisabled,
            message: format!("cannot read {}: {error}", path.display()),
            fix: "put the component of a plugin there, or set [plugins] dir".to_owned(),
        };
        let mut wasm = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_PLUGIN_BYTES + 1).read_to_end(&mut wasm))
            .map_err(unreadable)?;
        let signature = signing::beside(path).map_err(unreadable)?;
        let source = path.display().to_string();
        let Installed { plugin, warning, is_new, .. } = self
            .store
            .install(
                &self.runtime,
                &wasm,
                signature.as_deref(),
                &source,
                &Actor::Config,
                self.clock.now().wall,
            )
            .map_err(Unusable::from)?;
        if let Some(warning) = warning.filter(|_| is_new) {
            tracing::warn!(file = source, "{warning}");
        }
        let plugin = LoadedPlugin::of(plugin, path);
        // Written while it was read: then it is another one the next time.
        if let Some(stamp) = stamp.filter(|stamp| Some(*stamp) == Stamp::of(path)) {
            self.shelf().files.insert(path.to_owned(), (stamp, plugin.info.sha256.clone()));
        }
        self.put(plugin.clone());
        Ok(plugin)
    }

    /// Takes a component that somebody sent.
    pub(super) fn install(
        &self,
        wasm: &[u8],
        signature: Option<&str>,
        source: &str,
        actor: &Actor,
    ) -> Result<Installed, InstallError> {
        let now = self.clock.now().wall;
        let installed = self.store.install(&self.runtime, wasm, signature, source, actor, now)?;
        self.put(LoadedPlugin::of(installed.plugin.clone(), Path::new(source)));
        Ok(installed)
    }

    /// A kept component.
    pub(super) fn kept(&self, sha256: &str) -> Result<LoadedPlugin, Unusable> {
        if let Some(plugin) = self.loaded(sha256) {
            return Ok(plugin);
        }
        let plugin = self.store.load(&self.runtime, sha256).map_err(Unusable::from)?;
        let plugin = LoadedPlugin::of(plugin, Path::new("store"));
        self.put(plugin.clone());
        Ok(plugin)
    }

    /// Which signatures count from now on: also for what is loaded already.
    pub(super) fn trust(&self, signing: &Signing) {
        if self.store.set_signing(signing.clone()) {
            *self.shelf() = Shelf::default();
        }
    }

    /// Compiles what this config would use.
    pub(super) fn warm(&self, config: &Config) {
        self.trust(&config.plugins.signing);
        for connector in &config.connectors {
            // What is wrong with it is said where it is used.
            let _ = self.resolve(config, &connector.plugin, connector.version.as_deref(), None);
        }
        for hook in &config.hooks.instances {
            let _ = self.resolve(config, &hook.plugin, hook.version.as_deref(), None);
        }
    }

    /// Writes something down in the audit log.
    pub(super) fn note(
        &self,
        actor: &Actor,
        action: &str,
        subject: &str,
        detail: &serde_json::Value,
    ) -> Result<(), StoreError> {
        self.store.change(self.clock.now().wall, |it| it.audit(actor, action, subject, detail))
    }

    fn loaded(&self, sha256: &str) -> Option<LoadedPlugin> {
        self.shelf().loaded.iter().find(|known| known.info.sha256 == sha256).cloned()
    }

    fn put(&self, plugin: LoadedPlugin) {
        let mut shelf = self.shelf();
        shelf.loaded.retain(|known| known.info.sha256 != plugin.info.sha256);
        shelf.loaded.push(plugin);
        if shelf.loaded.len() > MAX_LOADED {
            shelf.loaded.remove(0);
        }
    }

    /// Forgets what is loaded of a version that is not kept any more.
    pub(super) fn forget(&self, sha256: &str) {
        let mut shelf = self.shelf();
        shelf.loaded.retain(|known| known.info.sha256 != sha256);
        shelf.files.retain(|_, (_, known)| known != sha256);
    }

    /// The version that a connector or a hook shall run. `last` is the one that it ran last.
    pub(super) fn resolve(
        &self,
        config: &Config,
        source: &PluginSource,
        version: Option<&str>,
        last: Option<&str>,
    ) -> Result<Resolved, Unusable> {
        let wanted = match source {
            PluginSource::File(file) => self.file(file),
            PluginSource::Id(id) => self.by_id(config, id, version),
        };
        let kept = self.store.versions().map_err(Unusable::from)?;
        let rejected = |sha256: &str| {
            kept.iter().find(|it| it.sha256 == sha256).and_then(|it| it.rejected.clone())
        };
        let trouble = match wanted {
            Ok(plugin) => match rejected(&plugin.info.sha256) {
                None => return Ok(Resolved { plugin, trouble: None }),
                // It failed elsewhere; here somebody wants exactly it, and it has proved itself.
                Some(_) if version.is_some() && last == Some(plugin.info.sha256.as_str()) => {
                    return Ok(Resolved { plugin, trouble: None });
                }
                Some(why) => Unusable {
                    word: InstanceWord::InvalidInstallationDisabled,
                    message: format!("{} was rolled back: {why}", plugin.info.name_and_version()),
                    fix: "use another version, or `jackfield plugin use` to try this one again"
                        .to_owned(),
                },
            },
            Err(unusable) => unusable,
        };
        // Rather an older one that works than none.
        let before = last.filter(|sha256| rejected(sha256).is_none());
        let before = before.filter(|sha256| kept.iter().any(|it| it.sha256 == *sha256));
        let id = match source {
            PluginSource::Id(id) => Some(id.as_str()),
            PluginSource::File(_) => None,
        };
        let newest = || {
            let fits = |it: &&Version| Some(it.plugin.as_str()) == id && it.rejected.is_none();
            // A pinned version is that one or the last that ran.
            kept.iter().find(fits).filter(|_| version.is_none()).map(|it| it.sha256.as_str())
        };
        match before.or_else(newest).map(|sha256| self.kept(sha256)) {
            Some(Ok(plugin)) => Ok(Resolved { plugin, trouble: Some(trouble) }),
            _ => Err(trouble),
        }
    }

    fn by_id(
        &self,
        config: &Config,
        id: &str,
        version: Option<&str>,
    ) -> Result<LoadedPlugin, Unusable> {
        if let Some(version) = version {
            let found = match self.store.find(id, version) {
                Err(StoreError::NoVersion { .. }) => {
                    self.read_folders(config, id);
                    self.store.find(id, version)
                }
                found => found,
            };
            return self.kept(&found.map_err(Unusable::from)?.sha256);
        }
        if let Some(sha256) = self.store.selection(id).map_err(Unusable::from)?.used {
            return self.kept(&sha256);
        }
        if let Some(file) = in_folders(config, id) {
            return self.file(&file);
        }
        let newest = self.store.versions().map_err(Unusable::from)?;
        let newest = newest.into_iter().find(|it| it.plugin == id && it.rejected.is_none());
        match newest {
            Some(version) => self.kept(&version.sha256),
            None => Err(Unusable {
                word: InstanceWord::InvalidInstallationDisabled,
                message: crate::connectors::find(
                    &PluginSource::Id(id.to_owned()),
                    &config.plugin_dirs(),
                )
                .err()
                .unwrap_or_else(|| format!("there is no plugin {id:?}")),
                fix: "install it with `jackfield plugin install FILE` (one of your own: `jackfield plugin run` in its folder; one of Jackfield's, out of its sources: `cargo xtask plugins`), write the path of its .wasm file, or set [plugins] dir".to_owned(),
            }),
        }
    }

    /// Keeps what lies in the folders, as far as it is good.
    fn read_folders(&self, config: &Config, id: &str) {
        for file in in_folders(config, id).into_iter().chain(watched_files(config)) {
            if let Err(unusable) = self.file(&file) {
                tracing::warn!(file = %file.display(), "{}; fix: {}", unusable.message, unusable.fix);
            }
        }
    }
}

/// The file of a plugin in the folders, if it is there.
pub(super) fn in_folders(config: &Config, id: &str) -> Option<PathBuf> {
    config
        .plugin_dirs()
        .into_iter()
        .map(|dir| dir.join(format!("{id}.wasm")))
        .find(|file| file.is_file())
}

/// Components in `[plugins] dir`, in order.
pub(super) fn watched_files(config: &Config) -> Vec<PathBuf> {
    let Some(dir) = &config.plugins.dir else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .take(MAX_FILES)
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "wasm"))
        .collect();
    files.sort();
    files
}

/// A text of the form `problem; fix: what to do`.
pub(super) fn split_fix(text: &str) -> (String, String) {
    match text.split_once("; fix: ") {
        Some((message, fix)) => (message.to_owned(), fix.to_owned()),
        None => (text.to_owned(), "give the component of a plugin for this host".to_owned()),
    }
}

fn unusable(error: &dyn std::error::Error, compiler: bool) -> Unusable {
    let (message, fix) = split_fix(&error.to_string());
    let word = if compiler {
        InstanceWord::CompilerErrorDisabled
    } else {
        InstanceWord::InvalidInstallationDisabled
    };
    Unusable { word, message, fix }
}

impl From<InstallError> for Unusable {
    fn from(error: InstallError) -> Self {
        let compiler =
            matches!(&error, InstallError::NotAPlugin { problem: LoadError::Compile(_), .. });
        unusable(&error, compiler)
    }
}

impl From<StoreError> for Unusable {
    fn from(error: StoreError) -> Self {
        let compiler = matches!(&error, StoreError::Load { problem: LoadError::Compile(_), .. });
        unusable(&error, compiler)
    }
}

impl From<InstallError> for KeeperError {
    fn from(error: InstallError) -> Self {
        match error {
            InstallError::Store(error) => error.into(),
            error => {
                let (message, fix) = split_fix(&error.to_string());
                Self::Install { message, fix, ours: false }
            }
        }
    }
}

impl From<StoreError> for KeeperError {
    fn from(error: StoreError) -> Self {
        let (message, fix) = split_fix(&error.to_string());
        match error {
            StoreError::NoVersion { plugin, wanted, .. } => {
                Self::NotFound { what: format!("version {wanted:?} of plugin {plugin}"), fix }
            }
            StoreError::Ambiguous { .. }
            | StoreError::NoLatest { .. }
            | StoreError::TooMany { .. }
            | StoreError::BadName { .. } => Self::Conflict { message, fix },
            StoreError::Signature { .. } | StoreError::Load { .. } | StoreError::Damaged { .. } => {
                Self::Install { message, fix, ours: false }
            }
            _ => Self::Install { message, fix, ours: true },
        }
    }
}
