//! Compiling components, in a child process under limits: a compiler that a hostile component drives into the
//! ground takes nobody with it.
//!
//! The child is this same program started again. It gets the component on its standard input, an empty
//! environment and no files, answers on its standard output, and its answer is taken only if it is whole:
//!
//! ```text
//! magic | SHA-256 of the component | compiled form | SHA-256 of the compiled form
//! ```

use std::{
    ffi::OsString,
    fmt,
    io::{self, Read, Write},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use wasmtime::Engine;

use crate::{
    engine,
    load::{LoadError, MAX_COMPONENT},
};

const MAGIC: &[u8; 16] = b"jackfield-cwasm\x01";
const HASH: usize = 32;
/// Compiled code is a few times larger than the component.
const MAX_COMPILED: usize = 16 * MAX_COMPONENT;
/// What a child has to say about its failure.
const MAX_COMPLAINT: u64 = 8 << 10;
/// How often the parent looks at the clock.
const LOOK: Duration = Duration::from_millis(20);
/// How often it tells how far it is.
const TELL: Duration = Duration::from_millis(250);

/// Where components are compiled.
#[derive(Clone, Debug, Default)]
pub enum Compiler {
    /// In this process, without limits: for tests of libraries, and for components of one's own.
    #[default]
    Here,
    /// In a process of its own.
    Child(CompileChild),
}

/// A process that compiles one component and ends.
#[derive(Clone)]
pub struct CompileChild {
    /// This program.
    pub exe: PathBuf,
    /// What makes it call [`compile_as_child`] with the limits below.
    pub arguments: Vec<OsString>,
    /// Memory it may use.
    pub memory_mib: u32,
    /// Processor time it may use.
    pub cpu_secs: u32,
    /// How long anybody waits for it.
    pub wall_secs: u32,
    /// Told what it is about, for a line on a terminal.
    pub progress: Option<Progress>,
}

/// Somebody who wants to know how compiling goes.
pub type Progress = Arc<dyn Fn(Compiling) + Send + Sync>;

/// How compiling goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiling {
    /// It takes its time.
    Running {
        /// Size of the component.
        bytes: usize,
        /// Since the beginning.
        elapsed: Duration,
    },
    /// It is over, well or not. Said only when something was said before.
    Ended,
}

impl fmt::Debug for CompileChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompileChild")
            .field("exe", &self.exe)
            .field("memory_mib", &self.memory_mib)
            .field("cpu_secs", &self.cpu_secs)
            .field("wall_secs", &self.wall_secs)
            .finish_non_exhaustive()
    }
}

impl CompileChild {
    /// The compiled form of a component that was found valid.
    pub(crate) fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, LoadError> {
        let started = |error: io::Error| {
            LoadError::Compile(format!(
                "the process that compiles it does not start ({}: {error})",
                self.exe.display()
            ))
        };
        let mut child = Command::new(&self.exe)
            .args(&self.arguments)
            // Secrets may be in the environment.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(started)?;
        let (input, output, errors) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let ended = thread::scope(|scope| {
            let fed = scope.spawn(move || input.map(|mut input| input.write_all(wasm)));
            let answer = scope.spawn(move || read_up_to(output, MAX_COMPILED as u64));
            let complaint = scope.spawn(move || read_up_to(errors, MAX_COMPLAINT));
            let ended = self.wait(&mut child, wasm.len());
            // A child that ended early has not read everything; that is not what is wrong.
            drop(fed.join());
            let whole =
                |read: thread::ScopedJoinHandle<'_, Vec<u8>>| read.join().unwrap_or_default();
            ended.map(|status| (status, whole(answer), whole(complaint)))
        });
        let (status, answer, complaint) = ended?;
        if status.success() {
            return unframe(&answer, wasm).map(<[u8]>::to_vec).ok_or_else(|| {
                LoadError::Compile("the process that compiles it gave no whole answer".to_owned())
            });
        }
        Err(self.explain(status, &String::from_utf8_lossy(&complaint)))
    }

    fn wait(&self, child: &mut Child, bytes: usize) -> Result<ExitStatus, LoadError> {
        let (began, mut told) = (Instant::now(), Duration::ZERO);
        let most = Duration::from_secs(self.wall_secs.into());
        let ended = loop {
            match child.try_wait() {
                Ok(Some(status)) => break Ok(status),
                Ok(None) if began.elapsed() >= most => {
                    break Err(self.limit(format!("{} s", self.wall_secs)));
                }
                Ok(None) => thread::sleep(LOOK),
                Err(error) => break Err(LoadError::Compile(error.to_string())),
            }
            let elapsed = began.elapsed();
            if elapsed >= told + TELL {
                told = elapsed;
                self.tell(Compiling::Running { bytes, elapsed });
            }
        };
        if told > Duration::ZERO {
            self.tell(Compiling::Ended);
        }
        if ended.is_err() {
            // Whatever became of it, nobody waits for it any more.
            let _ = child.kill();
            let _ = child.wait();
        }
        ended
    }

    fn tell(&self, news: Compiling) {
        if let Some(progress) = &self.progress {
            progress(news);
        }
    }

    fn limit(&self, what: String) -> LoadError {
        LoadError::CompileLimit { what }
    }

    fn explain(&self, status: ExitStatus, complaint: &str) -> LoadError {
        // The allocator's words, the system's, and those of threads without room for a stack.
        let short = ["memory allocation of", "Cannot allocate memory", "thread pool has not been"];
        if short.iter().any(|words| complaint.contains(words)) {
            return self.limit(format!("{} MiB of memory", self.memory_mib));
        }
        #[cfg(unix)]
        {
            use std::os::unix::process::ExitStatusExt;

            use rustix::process::Signal;
            if status.signal() == Some(Signal::XCPU.as_raw()) {
                return self.limit(format!("{} s of processor time", self.cpu_secs));
            }
            if status.signal() == Some(Signal::KILL.as_raw()) {
                return LoadError::Compile(
                    "the process that compiles it was killed, most likely because this machine has too little \
                     memory; free some and try again"
                        .to_owned(),
                );
            }
        }
        let said = complaint.trim();
        let said: String = said.chars().filter(|c| !c.is_control() || *c == '\n').collect();
        let said = if said.is_empty() { "it said nothing" } else { &said };
        LoadError::Compile(format!("the process that compiles it ended with {status}: {said}"))
    }
}

/// What the child does: limits itself, compiles what stands on `input`, and answers on `output`.
///
/// The engine is that of [`Runtime`](crate::Runtime) in the same program, so its settings are those of the parent.
pub fn compile_as_child(
    memory_mib: u32,
    cpu_secs: u32,
    input: impl Read,
    mut output: impl Write,
) -> Result<(), String> {
    limit_self(memory_mib, cpu_secs).map_err(|error| format!("cannot limit itself: {error}"))?;
    let mut wasm = Vec::new();
    let read = input.take(MAX_COMPONENT as u64 + 1).read_to_end(&mut wasm);
    read.map_err(|error| format!("cannot read the component: {error}"))?;
    if wasm.len() > MAX_COMPONENT {
        return Err(format!("more than {MAX_COMPONENT} bytes"));
    }
    let engine = Engine::new(&engine::config()).map_err(|error| format!("{error:#}"))?;
    let compiled = engine.precompile_component(&wasm).map_err(|error| format!("{error:#}"))?;
    let frame: [&[u8]; 4] = [MAGIC, &Sha256::digest(&wasm), &compiled, &Sha256::digest(&compiled)];
    frame
        .into_iter()
        .try_for_each(|part| output.write_all(part))
        .and_then(|()| output.flush())
        .map_err(|error| format!("cannot answer: {error}"))
}

#[cfg(unix)]
fn limit_self(memory_mib: u32, cpu_secs: u32) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};

    let bytes = u64::from(memory_mib) << 20;
    let both = |most| Rlimit { current: Some(most), maximum: Some(most) };
    // What is written to; address space would also count what allocators only reserve.
    setrlimit(Resource::Data, both(bytes))?;
    setrlimit(
        Resource::Cpu,
        Rlimit { current: Some(cpu_secs.into()), maximum: Some(u64::from(cpu_secs) + 1) },
    )?;
    setrlimit(Resource::Core, both(0))?;
    // It has nothing to write but its answer.
    setrlimit(Resource::Fsize, both(0))?;
    Ok(())
}

#[cfg(not(unix))]
fn limit_self(_memory_mib: u32, _cpu_secs: u32) -> io::Result<()> {
    Ok(())
}

fn read_up_to(from: Option<impl Read>, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        // What came before an error is judged by its hash.
        let _ = from.by_ref().take(most).read_to_end(&mut bytes);
        let _ = io::copy(&mut from, &mut io::sink());
    }
    bytes
}

/// The compiled form in an answer, if that is whole and for this component.
fn unframe<'a>(answer: &'a [u8], wasm: &[u8]) -> Option<&'a [u8]> {
    let (made_of, rest) = answer.strip_prefix(MAGIC)?.split_at_checked(HASH)?;
    let (compiled, hash) = rest.split_at_checked(rest.len().checked_sub(HASH)?)?;
    let whole = *made_of == *Sha256::digest(wasm) && *hash == *Sha256::digest(compiled);
    whole.then_some(compiled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(made_of: &[u8], compiled: &[u8]) -> Vec<u8> {
        [MAGIC, &Sha256::digest(made_of)[..], compiled, &Sha256::digest(compiled)].concat()
    }

    #[test]
    fn only_a_whole_answer_about_this_component_is_taken() {
        let good = answer(b"wasm", b"compiled");
        assert_eq!(unframe(&good, b"wasm"), Some(&b"compiled"[..]));
        assert_eq!(unframe(&good, b"other"), None);
        for length in 0..good.len() {
            assert_eq!(unframe(&good[..length], b"wasm"), None, "{length}");
        }
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 1;
            assert_eq!(unframe(&damaged, b"wasm"), None, "{at}");
        }
        assert_eq!(unframe(&[b"warning: hello\n", &good[..]].concat(), b"wasm"), None);
    }

    #[test]
    fn a_program_that_is_no_compiler_is_named() {
        let child = |exe: &str, arguments: &[&str], wall_secs| CompileChild {
            exe: exe.into(),
            arguments: arguments.iter().map(OsString::from).collect(),
            memory_mib: 1,
            cpu_secs: 1,
            wall_secs,
            progress: None,
        };
        let error = |child: CompileChild| child.compile(b"wasm").unwrap_err().to_string();
        assert!(error(child("/nowhere/jackfield", &[], 1)).contains("/nowhere/jackfield"));
        let script = |script| error(child("/bin/sh", &["-c", script], 10));
        assert!(script("true").contains("no whole answer"));
        assert!(script("echo oops >&2; exit 3").contains("exit status: 3: oops"));
        assert!(script("kill -XCPU $$").contains("more than 1 s of processor time"));
        assert!(error(child("/bin/sh", &["-c", "exec sleep 60"], 0)).contains("more than 0 s"));
    }
}
