//! The one engine of the process, its settings, and its clock.

use std::{
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::Duration,
};

use wasmtime::{Config, Engine};

use crate::{
    cache::Cache,
    compile::Compiler,
    load::{self, LoadError, Plugin},
};

/// How often guests are looked at; deadlines are counted in these.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Deep enough for any parser we know, shallow enough for a thread's stack.
const MAX_WASM_STACK: usize = 512 << 10;

/// Runs plugins. Cloning it is cheap and gives the same engine.
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

/// The runtime cannot work here.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The engine does not run on this machine.
    #[error("the WASM engine does not start: {0}")]
    Engine(String),
    /// The thread that enforces deadlines does not start.
    #[error("the thread that enforces plugins' deadlines does not start: {0}")]
    Ticker(#[source] io::Error),
    /// The folder for compiled plugins cannot be used.
    #[error("the folder for compiled plugins, {}, cannot be used: {source}", .folder.display())]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Runtime {
    /// Starts an engine. Compiled plugins are kept in `cache`, a folder for this host alone; without
    /// one they are compiled at each load. Components are compiled in this process.
    pub fn new(cache: Option<&Path>) -> Result<Self, RuntimeError> {
        Self::with_compiler(cache, Compiler::Here)
    }

    /// The same, with components compiled where `compiler` says.
    pub fn with_compiler(cache: Option<&Path>, compiler: Compiler) -> Result<Self, RuntimeError> {
        let engine =
            Engine::new(&config()).map_err(|error| RuntimeError::Engine(format!("{error:#}")))?;
        let cache = cache
            .map(|folder| {
                Cache::open(folder, &engine)
                    .map_err(|source| RuntimeError::Cache { folder: folder.to_owned(), source })
            })
            .transpose()?;
        let ticker = Ticker::start(engine.clone()).map_err(RuntimeError::Ticker)?;
        Ok(Self {
            shared: Arc::new(Shared {
                engine,
                cache,
                compiler,
                compiling: Mutex::default(),
                _ticker: ticker,
            }),
        })
    }

    /// Is this something that could be a component at all? A first look, without believing anything.
    pub fn look_at(wasm: &[u8]) -> Result<(), LoadError> {
        load::check_header(wasm)
    }

    /// Checks, compiles and links a component.
    ///
    /// Compiling takes about a second per MB, so call it off the hot path; at most 64 MiB are taken.
    /// With a warm cache it is hashed and linked: some milliseconds per MB.
    pub fn load(&self, wasm: &[u8]) -> Result<Plugin, LoadError> {
        Plugin::load(self.shared.clone(), wasm)
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("cache", &self.shared.cache).finish_non_exhaustive()
    }
}

/// What plugins and connectors keep alive: without the ticker no deadline would ever pass.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) cache: Option<Cache>,
    pub(crate) compiler: Compiler,
    /// One at a time: a compiler takes every processor, and much memory.
    pub(crate) compiling: Mutex<()>,
    _ticker: Ticker,
}

pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(MAX_WASM_STACK)
        .memory_init_cow(true)
        // A recording replays the same on every machine.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .wasm_backtrace_max_frames(NonZeroUsize::new(20));
    config
}

/// The thread that makes time pass for guests. It ends when this is dropped.
struct Ticker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: Engine) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("wasm-ticker".into()).spawn(move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has nothing to tell us any more.
            let _ = thread.join();
        }
    }
}
