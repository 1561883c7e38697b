//! Where this program compiles plugins: the binary in a child process of its own, tests of the library in theirs.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use clap::Args;
use plugin_runtime::{CompileChild, Compiler, Compiling, Runtime, RuntimeError};

use crate::serve;

/// The hidden command a child is started with.
pub const COMMAND: &str = "compile-plugin";
/// Enough for the largest component that is taken.
const MEMORY_MIB: u32 = 2048;
const CPU_SECS: u32 = 300;
const WALL_SECS: u32 = 300;

static COMPILER: OnceLock<Compiler> = OnceLock::new();

/// What the child is told.
#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    /// Memory it may use.
    #[arg(long)]
    memory_mib: u32,
    /// Processor time it may use.
    #[arg(long)]
    cpu_secs: u32,
}

/// From now on this process compiles in children. Only for programs whose `main` is [`crate::cli::main`]: others
/// would start themselves again and not know what to do.
pub(crate) fn use_children() {
    // Once said, it stays so.
    let _ = COMPILER.set(Compiler::Child(CompileChild {
        exe: this_program(),
        arguments: vec![
            COMMAND.into(),
            "--memory-mib".into(),
            MEMORY_MIB.to_string().into(),
            "--cpu-secs".into(),
            CPU_SECS.to_string().into(),
        ],
        memory_mib: MEMORY_MIB,
        cpu_secs: CPU_SECS,
        wall_secs: WALL_SECS,
        progress: io::stderr().is_terminal().then(|| Arc::new(tell) as _),
    }));
}

/// The same program even if its file was replaced by a newer one since.
fn this_program() -> PathBuf {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() {
        return running;
    }
    std::env::current_exe().unwrap_or_else(|_| "jackfield".into())
}

/// The engine for plugins, with compiled ones kept where this user keeps caches, if that is possible.
pub fn runtime() -> Result<Runtime, RuntimeError> {
    let compiler = || COMPILER.get().cloned().unwrap_or_default();
    let cache = serve::cache_folder();
    match Runtime::with_compiler(cache.as_deref(), compiler()) {
        Err(error @ RuntimeError::Cache { .. }) => {
            tracing::warn!(%error, "compiled plugins cannot be kept; they are compiled at every start");
            Runtime::with_compiler(None, compiler())
        }
        other => other,
    }
}

/// The child's whole life.
pub(crate) fn run_child(args: &ChildArgs) -> anyhow::Result<()> {
    let (input, output) = (io::stdin().lock(), io::stdout().lock());
    plugin_runtime::compile_as_child(args.memory_mib, args.cpu_secs, input, output)
        .map_err(anyhow::Error::msg)
}

/// One line on a terminal, written over and over.
fn tell(news: Compiling) {
    let line = match news {
        Compiling::Running { bytes, elapsed } => {
            format!(
                "\r\x1b[Kcompiling a plugin of {} KiB: {} s",
                bytes.div_ceil(1024),
                elapsed.as_secs()
            )
        }
        Compiling::Ended => "\r\x1b[K".to_owned(),
    };
    let _ = io::stderr().write_all(line.as_bytes());
}
