//! Which rustc builds the guests: the first of several places that has a WebAssembly library.
//!
//! [`choose`] decides from a description of the machine and touches nothing; [`find`] carries the
//! decision out, writes what happened into the description, and asks again.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::{Progress, debian};

/// What Rust guests are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// A compiler that can build guests, and what it must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The compiler.
    pub rustc: PathBuf,
    /// What it calls itself: `rustc 1.97.1 (...)`.
    pub version: String,
    /// The linker, where the compiler does not bring its own.
    pub linker: Option<PathBuf>,
    /// No prebuilt standard library, but its source: cargo builds it first.
    pub build_std: bool,
}

/// What may be done to get a toolchain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Nothing may be fetched over the network.
    pub offline: bool,
    /// On Debian, packages of a toolchain may be fetched into the user's cache folder: 200 MB.
    pub fetch: bool,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.version, self.rustc.display())?;
        if let Some(linker) = &self.linker {
            write!(f, ", linker {}", linker.display())?;
        }
        if self.build_std {
            write!(f, ", building the standard library from source")?;
        }
        Ok(())
    }
}

/// Finds a toolchain, getting one if the machine has none and `reach` allows it.
pub fn find(reach: Reach, progress: &dyn Progress) -> anyhow::Result<Toolchain> {
    let mut machine = Machine::probe(reach);
    loop {
        match choose(&machine) {
            Choice::Use(toolchain) => return Ok(toolchain),
            Choice::AddRustupTarget => match add_rustup_target(progress) {
                Ok(()) => {
                    machine.path = probe_path();
                    machine.rustup = Attempt::Done;
                }
                Err(error) => {
                    progress.say(&format!("rustup could not help: {error:#}"));
                    machine.rustup = Attempt::No(format!("{error:#}"));
                }
            },
            Choice::Download => match download(reach, progress) {
                Ok(rustc) => {
                    machine.private = Probe::of(&rustc);
                    machine.download = Attempt::Done;
                }
                Err(error) => machine.download = Attempt::No(format!("{error:#}")),
            },
            Choice::Nothing(tried) => bail!(
                "no Rust toolchain with a WebAssembly standard library. Tried:\n{}\nFix: \
                 `rustup target add {TARGET}`; or on Debian 13 and later `apt install rustc \
                 libstd-rust-dev-wasm32 lld`; or set {OVERRIDE} to a rustc that has it",
                tried.iter().map(|line| format!("  - {line}")).collect::<Vec<_>>().join("\n")
            ),
        }
    }
}

/// Fetches the private toolchain of Debian's packages, if it is not there; answers its rustc.
pub fn fetch(progress: &dyn Progress) -> anyhow::Result<PathBuf> {
    download(Reach { offline: false, fetch: true }, progress)
}

/// Names a rustc that is used without looking further.
const OVERRIDE: &str = "JACKFIELD_PLUGIN_RUSTC";
const NO_DOWNLOAD: &str = "JACKFIELD_NO_DOWNLOAD";

/// What there is on this machine, as far as building guests goes.
#[derive(Debug)]
struct Machine {
    configured: Option<Probe>,
    path: Probe,
    private: Probe,
    rustup: Attempt,
    download: Attempt,
}

/// What was found where a compiler might be.
#[derive(Debug, Clone)]
enum Probe {
    /// No compiler that runs; the text says why.
    Absent(String),
    Compiler(Compiler),
}

#[derive(Debug, Clone)]
struct Compiler {
    rustc: PathBuf,
    version: String,
    library: Library,
    linker: Linker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Library {
    Prebuilt,
    Source,
    Missing,
}

#[derive(Debug, Clone)]
enum Linker {
    /// `rust-lld` in the compiler's own sysroot; rustc finds it.
    Own,
    Elsewhere(PathBuf),
    Missing,
}

/// Something that could be done to get a toolchain.
#[derive(Debug)]
enum Attempt {
    Possible,
    Done,
    /// Impossible, forbidden or failed; the text says which.
    No(String),
}

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Use(Toolchain),
    AddRustupTarget,
    Download,
    Nothing(Vec<String>),
}

/// The order: override, PATH, private folder, rustup, building the library, download.
fn choose(machine: &Machine) -> Choice {
    if let Some(configured) = &machine.configured {
        return match configured.ready().or_else(|_| configured.after_building()) {
            Ok(toolchain) => Choice::Use(toolchain),
            Err(reason) => Choice::Nothing(vec![format!("{OVERRIDE}: {reason}")]),
        };
    }
    let mut tried = Vec::new();
    for (place, probe) in
        [("rustc on PATH", &machine.path), ("private toolchain", &machine.private)]
    {
        match probe.ready() {
            Ok(toolchain) => return Choice::Use(toolchain),
            Err(reason) => tried.push(format!("{place}: {reason}")),
        }
    }
    match &machine.rustup {
        Attempt::Possible => return Choice::AddRustupTarget,
        Attempt::Done => {
            tried.push("rustup: added the target, without effect on PATH's rustc".into())
        }
        Attempt::No(reason) => tried.push(format!("rustup: {reason}")),
    }
    match machine.path.after_building() {
        Ok(toolchain) => return Choice::Use(toolchain),
        Err(reason) => tried.push(format!("building the standard library: {reason}")),
    }
    match &machine.download {
        Attempt::Possible => return Choice::Download,
        Attempt::Done => tried.push("download: done, but it does not work here".into()),
        Attempt::No(reason) => tried.push(format!("download: {reason}")),
    }
    Choice::Nothing(tried)
}

impl Probe {
    fn ready(&self) -> Result<Toolchain, String> {
        self.with_library(Library::Prebuilt, &format!("has no {TARGET} library"))
    }

    fn after_building(&self) -> Result<Toolchain, String> {
        self.with_library(Library::Source, "has no source of the library (rust-src)")
    }

    fn with_library(&self, library: Library, otherwise: &str) -> Result<Toolchain, String> {
        let compiler = match self {
            Self::Absent(reason) => return Err(reason.clone()),
            Self::Compiler(compiler) => compiler,
        };
        let named = format!("{} ({})", compiler.rustc.display(), compiler.version);
        if compiler.library != library {
            return Err(format!("{named} {otherwise}"));
        }
        let linker = match &compiler.linker {
            Linker::Own => None,
            Linker::Elsewhere(linker) => Some(linker.clone()),
            Linker::Missing => {
                return Err(format!("{named} has no linker: rust-lld, wasm-ld or lld (apt: lld)"));
            }
        };
        Ok(Toolchain {
            rustc: compiler.rustc.clone(),
            version: compiler.version.clone(),
            linker,
            build_std: library == Library::Source,
        })
    }
}

impl Machine {
    fn probe(reach: Reach) -> Self {
        Self {
            configured: std::env::var_os(OVERRIDE)
                .filter(|rustc| !rustc.is_empty())
                .map(|rustc| Probe::of(Path::new(&rustc))),
            path: probe_path(),
            private: probe_private(),
            rustup: if !succeeds("rustup", "--version") {
                Attempt::No("not installed".into())
            } else if reach.offline {
                Attempt::No("could add the target, but nothing may be fetched (--offline)".into())
            } else {
                Attempt::Possible
            },
            download: probe_download(reach),
        }
    }
}

fn probe_path() -> Probe {
    Probe::of(Path::new("rustc"))
}

fn probe_private() -> Probe {
    match debian::rustc_in(&private_folder()) {
        rustc if rustc.is_file() => Probe::of(&rustc),
        rustc => Probe::Absent(format!("{} does not exist", rustc.display())),
    }
}

fn probe_download(reach: Reach) -> Attempt {
    if reach.offline {
        return Attempt::No("nothing may be fetched (--offline)".into());
    }
    if !reach.fetch {
        return Attempt::No(
            "not asked for; `--fetch-toolchain` gets Debian's packages, 200 MB, into your cache folder".into(),
        );
    }
    if std::env::var_os(NO_DOWNLOAD).is_some_and(|value| !value.is_empty() && value != "0") {
        return Attempt::No(format!("{NO_DOWNLOAD} is set"));
    }
    if !succeeds("apt-get", "--version") || !succeeds("dpkg", "--version") {
        return Attempt::No("only done on Debian-like machines (apt-get and dpkg)".into());
    }
    Attempt::Possible
}

fn download(reach: Reach, progress: &dyn Progress) -> anyhow::Result<PathBuf> {
    if let Attempt::No(reason) = probe_download(reach) {
        bail!(reason);
    }
    let folder = private_folder();
    debian::fetch(&folder, progress)?;
    Ok(debian::rustc_in(&folder))
}

fn private_folder() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
        .or_else(|| Some(std::env::home_dir()?.join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    cache.join("jackfield/wasm-rust")
}

impl Probe {
    fn of(rustc: &Path) -> Self {
        Compiler::probe(rustc).map_or_else(
            |error| Self::Absent(format!("{}: {error:#}", rustc.display())),
            Self::Compiler,
        )
    }
}

impl Compiler {
    fn probe(rustc: &Path) -> anyhow::Result<Self> {
        let ask = |arguments: &[&str]| -> anyhow::Result<String> {
            let output = Command::new(rustc).args(arguments).stderr(Stdio::null()).output()?;
            ensure!(output.status.success(), "{} failed", arguments.join(" "));
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        };
        let about = ask(&["-vV"])?;
        let line = |key: &str| about.lines().find_map(|line| line.strip_prefix(key));
        let sysroot = PathBuf::from(ask(&["--print=sysroot"])?);
        // This succeeds for a target that is not installed, too: the folder's content decides.
        let library = PathBuf::from(ask(&["--print=target-libdir", "--target", TARGET])?);
        let host = line("host: ").context("rustc names no host")?;
        let own_linker = sysroot.join("lib/rustlib").join(host).join("bin/rust-lld");
        Ok(Self {
            rustc: rustc.to_owned(),
            version: about.lines().next().unwrap_or_default().to_owned(),
            library: if holds_std(&library) {
                Library::Prebuilt
            } else if sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file() {
                Library::Source
            } else {
                Library::Missing
            },
            linker: if own_linker.is_file() { Linker::Own } else { linker_for(rustc) },
        })
    }
}

fn holds_std(folder: &Path) -> bool {
    names_in(folder).any(|name| name.starts_with("libstd-") && name.ends_with(".rlib"))
}

/// A linker beside the compiler, else on PATH: plain names before the newest versioned one.
fn linker_for(rustc: &Path) -> Linker {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = rustc
        .parent()
        .filter(|folder| folder.is_absolute())
        .map(Path::to_owned)
        .into_iter()
        .chain(std::env::split_paths(&path))
        .collect();
    for name in ["rust-lld", "wasm-ld", "lld"] {
        let versioned =
            |file: &str| file.strip_prefix(name)?.strip_prefix('-')?.parse::<u32>().ok();
        let plain = folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file());
        let newest = || {
            let found = folders.iter().flat_map(|folder| {
                names_in(folder).filter_map(|file| Some((versioned(&file)?, folder.join(&file))))
            });
            found.max_by_key(|(version, _)| *version).map(|(_, file)| file)
        };
        if let Some(linker) = plain.or_else(newest) {
            return Linker::Elsewhere(linker);
        }
    }
    Linker::Missing
}

fn names_in(folder: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

fn succeeds(program: &str, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A machine without a network must not make the user wait for rustup's own retries.
const RUSTUP_LIMIT: Duration = Duration::from_secs(30);

fn add_rustup_target(progress: &dyn Progress) -> anyhow::Result<()> {
    progress.say(&format!("running: rustup target add {TARGET}"));
    let mut rustup = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .spawn()
        .context("cannot run rustup")?;
    let give_up_at = Instant::now() + RUSTUP_LIMIT;
    loop {
        if let Some(status) = rustup.try_wait()? {
            ensure!(status.success(), "`rustup target add {TARGET}` failed");
            return Ok(());
        }
        if Instant::now() > give_up_at {
            rustup.kill()?;
            rustup.wait()?;
            bail!("`rustup target add {TARGET}` was not done within {RUSTUP_LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing but a native rustc on PATH; tests change what they are about.
    fn bare() -> Machine {
        Machine {
            configured: None,
            path: compiler("/bin/rustc", Library::Missing),
            private: Probe::Absent("/cache/bin/rustc does not exist".into()),
            rustup: Attempt::No("not installed".into()),
            download: Attempt::No("JACKFIELD_NO_DOWNLOAD is set".into()),
        }
    }

    fn compiler(rustc: &str, library: Library) -> Probe {
        Probe::Compiler(Compiler {
            rustc: rustc.into(),
            version: "rustc 1.2.3".into(),
            library,
            linker: Linker::Own,
        })
    }

    fn check(machine: &Machine, expected: &str) {
        let chosen = match choose(machine) {
            Choice::Use(toolchain) if toolchain.build_std => {
                format!("build-std with {}", toolchain.rustc.display())
            }
            Choice::Use(toolchain) => toolchain.rustc.display().to_string(),
            Choice::AddRustupTarget => "rustup".into(),
            Choice::Download => "download".into(),
            Choice::Nothing(tried) => tried.join("\n"),
        };
        assert_eq!(chosen, expected);
    }

    #[test]
    fn the_override_wins_over_everything() {
        let configured = Some(compiler("/mine/rustc", Library::Prebuilt));
        let path = compiler("/bin/rustc", Library::Prebuilt);
        check(&Machine { configured, path, ..bare() }, "/mine/rustc");
    }

    #[test]
    fn a_useless_override_is_an_error_and_nothing_else_is_tried() {
        let configured = Some(compiler("/mine/rustc", Library::Missing));
        check(
            &Machine { configured, rustup: Attempt::Possible, ..bare() },
            "JACKFIELD_PLUGIN_RUSTC: /mine/rustc (rustc 1.2.3) has no source of the library \
             (rust-src)",
        );
    }

    #[test]
    fn a_rustc_on_path_with_the_target_comes_first() {
        let path = compiler("/bin/rustc", Library::Prebuilt);
        let private = compiler("/cache/rustc", Library::Prebuilt);
        check(&Machine { path, private, rustup: Attempt::Possible, ..bare() }, "/bin/rustc");
    }

    #[test]
    fn the_private_toolchain_saves_asking_rustup() {
        let private = compiler("/cache/rustc", Library::Prebuilt);
        check(&Machine { private, rustup: Attempt::Possible, ..bare() }, "/cache/rustc");
    }

    #[test]
    fn rustup_is_asked_before_building_and_downloading() {
        let path = compiler("/bin/rustc", Library::Source);
        let download = Attempt::Possible;
        let machine = Machine { path, rustup: Attempt::Possible, download, ..bare() };
        check(&machine, "rustup");
    }

    #[test]
    fn the_librarys_source_saves_a_download() {
        let path = compiler("/bin/rustc", Library::Source);
        check(
            &Machine { path, download: Attempt::Possible, ..bare() },
            "build-std with /bin/rustc",
        );
    }

    #[test]
    fn a_download_comes_last() {
        let rustup = Attempt::No("offline".into());
        check(&Machine { rustup, download: Attempt::Possible, ..bare() }, "download");
    }

    #[test]
    fn with_nothing_at_all_every_place_is_listed() {
        check(
            &bare(),
            "rustc on PATH: /bin/rustc (rustc 1.2.3) has no wasm32-unknown-unknown library\n\
             private toolchain: /cache/bin/rustc does not exist\n\
             rustup: not installed\n\
             building the standard library: /bin/rustc (rustc 1.2.3) has no source of the library \
             (rust-src)\n\
             download: JACKFIELD_NO_DOWNLOAD is set",
        );
    }

    #[test]
    fn a_library_without_a_linker_is_passed_over() {
        let Probe::Compiler(mut found) = compiler("/bin/rustc", Library::Prebuilt) else {
            panic!()
        };
        found.linker = Linker::Missing;
        let private = compiler("/cache/rustc", Library::Prebuilt);
        check(&Machine { path: Probe::Compiler(found), private, ..bare() }, "/cache/rustc");
    }

    #[test]
    fn what_was_tried_is_not_tried_again() {
        let machine = Machine { rustup: Attempt::Done, download: Attempt::Done, ..bare() };
        assert!(matches!(choose(&machine), Choice::Nothing(tried) if tried.len() == 5));
    }
}
