//! What readers see of the keeper's work without waiting for it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use calls::ConnectorId;
use plugin_runtime::{Recording, Secrets};
use tokio::sync::{mpsc, oneshot};

use super::{
    HookView, InstanceView, InstanceWord, KeeperError, PluginView, hook_views::SeenHook,
    keeper::PATIENCE, library::Library,
};
use crate::{
    config::Config,
    connectors::Control,
    hooks::store::HookStore,
    status::{StatusBoard, StatusWord},
};

pub(super) struct Shared {
    pub(super) library: Arc<Library>,
    board: StatusBoard,
    pub(super) hook_store: HookStore,
    state: Mutex<Seen>,
}

struct Seen {
    config: Arc<Config>,
    plugins: Arc<Vec<PluginView>>,
    instances: Arc<Vec<InstanceView>>,
    hooks: Arc<Vec<SeenHook>>,
    running: BTreeMap<String, Handle>,
}

/// The way to a running connector past the keeper: for what changes nothing.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) controls: mpsc::Sender<Control>,
    pub(super) secrets: Secrets,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(
        library: Arc<Library>,
        config: Arc<Config>,
        board: StatusBoard,
        hook_store: HookStore,
    ) -> Self {
        let state = Mutex::new(Seen {
            config,
            plugins: Arc::default(),
            instances: Arc::default(),
            hooks: Arc::default(),
            running: BTreeMap::new(),
        });
        Self { library, board, hook_store, state }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Views are plain data: whoever panicked left at worst old ones.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.seen().config)
    }

    pub(super) fn set_config(&self, config: Arc<Config>) {
        self.seen().config = config;
    }

    pub(super) fn show(
        &self,
        plugins: Vec<PluginView>,
        instances: Vec<InstanceView>,
        hooks: Vec<SeenHook>,
        running: BTreeMap<String, Handle>,
    ) {
        let mut seen = self.seen();
        seen.plugins = Arc::new(plugins);
        seen.instances = Arc::new(instances);
        seen.hooks = Arc::new(hooks);
        seen.running = running;
    }

    pub(super) fn plugins(&self) -> Arc<Vec<PluginView>> {
        Arc::clone(&self.seen().plugins)
    }

    /// With what changes by the second.
    pub(super) fn hooks(&self) -> Vec<HookView> {
        let hooks = Arc::clone(&self.seen().hooks);
        hooks.iter().map(SeenHook::live).collect()
    }

    pub(super) fn hook_log(&self, id: &str) -> Option<Vec<plugin_runtime::LogLine>> {
        let hooks = Arc::clone(&self.seen().hooks);
        hooks.iter().find(|hook| hook.view.id == id).map(|hook| hook.meter.log().lines())
    }

    pub(super) fn handle(&self, connector: &str) -> Option<Handle> {
        self.seen().running.get(connector).cloned()
    }

    /// With what changes by the second taken from the status board.
    pub(super) fn instances(&self) -> Vec<InstanceView> {
        let instances = Arc::clone(&self.seen().instances);
        instances.iter().map(|view| self.live(view)).collect()
    }

    pub(super) fn instance(&self, connector: &str) -> Option<InstanceView> {
        let instances = Arc::clone(&self.seen().instances);
        instances.iter().find(|view| view.id == connector).map(|view| self.live(view))
    }

    fn live(&self, view: &InstanceView) -> InstanceView {
        let mut view = view.clone();
        view.recordings = super::recordings::list(&self.recordings(), &view.id);
        let Some(status) = self.board.get(&view.id.as_str().into()) else { return view };
        view.link_status = Some(status.word);
        view.restarts = status.restarts;
        view.probation = status.probation;
        view.shadow = status.shadow;
        view.links = status.links;
        view.usage = status.usage;
        view.swaps = status.swaps;
        view.capturing = status.capturing;
        let newer = |error: &crate::status::LastError| {
            view.last_error.as_ref().is_none_or(|known| known.at <= error.at)
        };
        if let Some(error) = status.last_error.filter(newer) {
            view.last_error = Some(error);
        }
        // Enabled, and its plugin does not work: it is tried again, later and later.
        if view.status.is_enabled() && status.word == StatusWord::Failed {
            view.status = InstanceWord::ErrorDisabled;
            view.reason = status.reason;
            view.since = status.since;
        }
        view
    }

    pub(super) fn log(&self, connector: &str) -> Option<Vec<plugin_runtime::LogLine>> {
        let status = self.board.get(&connector.into())?;
        Some(status.log.map(|log| log.lines()).unwrap_or_default())
    }

    /// The folder of recordings.
    pub(super) fn recordings(&self) -> PathBuf {
        super::recordings::folder(&self.config().journal.path)
    }

    /// Writes what led to a crash, on a thread of its own.
    pub(super) fn keep_crash(&self, connector: &ConnectorId, bundle: Recording) {
        let (folder, id) = (self.recordings(), connector.to_string());
        let secrets = self.handle(&id).map(|handle| handle.secrets).unwrap_or_default();
        tokio::task::spawn_blocking(move || {
            let kind = super::RecordingKind::Crash;
            match super::recordings::keep(&folder, &id, kind, &bundle, &secrets, false) {
                Ok(path) => {
                    tracing::warn!(connector = id, file = %path.display(), "what led to the crash is kept")
                }
                Err(error) => {
                    tracing::error!(connector = id, %error, "what led to the crash could not be kept")
                }
            }
        });
    }
}

/// Asks a connector for something, and waits for its answer, for a while.
pub(super) async fn order<T>(
    controls: &mpsc::Sender<Control>,
    id: &str,
    control: impl FnOnce(oneshot::Sender<T>) -> Control,
) -> Result<T, KeeperError> {
    let busy = || KeeperError::Busy { connector: id.to_owned() };
    let (answer, answered) = oneshot::channel();
    controls.try_send(control(answer)).map_err(|_| busy())?;
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) | Err(_) => Err(busy()),
    }
}
