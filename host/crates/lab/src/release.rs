//! Getting Asterisk's files: an unpacked Debian package tree, or an Asterisk already installed.
//!
//! `mmdebstrap --variant=extract` downloads the dependency closure and only unpacks it: no
//! maintainer script runs and the host's dpkg database is not touched. Programs of the tree are
//! run with the tree's own loader, so neither a chroot nor root is needed and no
//! `LD_LIBRARY_PATH` leaks into their children.
//!
//! Writing configuration and running Asterisk is in [`crate::pbx`].

use std::{
    env, fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The Asterisk releases that can be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Release {
    /// The newest long-term release, from Debian sid. Sid moves: never assert an exact version.
    Asterisk22,
    /// The oldest release still found in the field, from Debian 11.
    Asterisk16,
}

impl Release {
    /// A short name, fit for a folder.
    pub fn name(self) -> &'static str {
        match self {
            Release::Asterisk22 => "asterisk22",
            Release::Asterisk16 => "asterisk16",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Release::Asterisk22 => "sid",
            Release::Asterisk16 => "bullseye",
        }
    }

    /// Whether apt may accept a Release file past its Valid-Until.
    ///
    /// Frozen mirrors of sid outlive its short validity. Only freshness is given up, signatures
    /// are still verified.
    fn accepts_stale_index(self) -> bool {
        self == Release::Asterisk22
    }
}

/// The files of one Asterisk and where things are in them.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Folder of the tree; `/` for an installed Asterisk.
    root: PathBuf,
    asterisk: PathBuf,
    modules: PathBuf,
    /// Sounds, music on hold and XML documentation.
    shared: PathBuf,
    /// How programs of the tree are started. `None`: as usual.
    loader: Option<Loader>,
}

#[derive(Debug, Clone)]
struct Loader {
    path: PathBuf,
    library_path: String,
    /// Since glibc 2.33. Asterisk's `core restart` executes its own argv\[0\].
    knows_argv0: bool,
}

/// Why there is no tree.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The one program needed on the host.
    #[error("mmdebstrap is not installed: run `apt-get install mmdebstrap`")]
    NoMmdebstrap,
    /// Without root, mmdebstrap needs sub-uids.
    #[error(
        "only root can unpack here: run `apt-get install uidmap`, and `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER`"
    )]
    NoSubUids,
    /// Signatures cannot be checked.
    #[error("no Debian keys in {0}: run `apt-get install debian-archive-keyring`")]
    NoKeyring(&'static str),
    /// mmdebstrap said no.
    #[error("mmdebstrap could not unpack {suite} from {mirror}:\n{last_words}")]
    Mmdebstrap {
        /// Debian suite asked for.
        suite: &'static str,
        /// Debian mirror asked.
        mirror: String,
        /// The end of what it printed.
        last_words: String,
    },
    /// The folder holds no (complete) Asterisk.
    #[error("{what} is missing in {}: remove that folder and unpack it again", root.display())]
    Incomplete {
        /// The folder looked into.
        root: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// No Asterisk on this machine.
    #[error(
        "no Asterisk is installed: run `apt-get install asterisk`, or `apt-get install mmdebstrap` to have one unpacked aside"
    )]
    NotInstalled,
    /// A folder cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

const MARKER: &str = ".lab-tree";
const KEYRINGS: &str = "/usr/share/keyrings";
const PACKAGES: &str = "asterisk,asterisk-modules,asterisk-core-sounds-en-gsm,asterisk-moh-opsound-wav,sip-tester,openssl";

impl Tree {
    /// Unpacks `release` into `dest`, about a minute and 300 MB; instant when it is there already.
    ///
    /// `progress` hears lines for people. Several processes may ask for the same folder: one
    /// unpacks, the others wait. `dest` appears complete or not at all.
    pub fn unpack(
        release: Release,
        dest: &Path,
        mut progress: impl FnMut(&str),
    ) -> Result<Tree, TreeError> {
        if dest.join(MARKER).exists() {
            return Tree::open(dest);
        }
        let dest = std::path::absolute(dest).map_err(cannot_write(dest))?;
        let parent = dest.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(cannot_write(parent))?;
        let lock_path = sibling(&dest, "lock");
        let lock = fs::File::create(&lock_path).map_err(cannot_write(&lock_path))?;
        if lock.try_lock().is_err() {
            progress("waiting for another process that unpacks the same tree");
            lock.lock().map_err(cannot_write(&lock_path))?;
        }
        if !dest.join(MARKER).exists() {
            let partial = sibling(&dest, "partial");
            remove_tree(&partial)?;
            remove_tree(&dest)?;
            mmdebstrap(release, &partial, &mut progress)?;
            // A maintainer script would make this link; without it every prompt is missing.
            let sounds = partial.join("usr/share/asterisk/sounds");
            link("en_US_f_Allison", &sounds.join("en"))?;
            let marker = partial.join(MARKER);
            fs::write(&marker, release.name()).map_err(cannot_write(&marker))?;
            fs::rename(&partial, &dest).map_err(cannot_write(&dest))?;
        }
        Tree::open(&dest)
    }

    /// The tree that [`Tree::unpack`] made earlier.
    pub fn open(root: &Path) -> Result<Tree, TreeError> {
        let named = root.to_owned();
        let root = fs::canonicalize(root)
            .map_err(|_| TreeError::Incomplete { root: named, what: "everything" })?;
        let missing = |what| TreeError::Incomplete { root: root.clone(), what };
        let triple = format!("{}-linux-gnu", env::consts::ARCH);
        let libraries: Vec<PathBuf> = [format!("lib/{triple}"), format!("usr/lib/{triple}")]
            .iter()
            .chain([&"usr/lib".to_owned()])
            .map(|folder| root.join(folder))
            .filter(|folder| folder.is_dir())
            .collect();
        let path = libraries.iter().find_map(|l| find_loader(l)).ok_or(missing("the loader"))?;
        let library_path =
            libraries.iter().map(|l| l.display().to_string()).collect::<Vec<_>>().join(":");
        let knows_argv0 = Command::new(&path)
            .arg("--help")
            .output()
            .is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--argv0"));
        let asterisk = root.join("usr/sbin/asterisk");
        if !asterisk.exists() {
            return Err(missing("usr/sbin/asterisk"));
        }
        Ok(Tree {
            modules: find_modules(&root).ok_or(missing("asterisk/modules"))?,
            shared: root.join("usr/share/asterisk"),
            asterisk,
            loader: Some(Loader { path, library_path, knows_argv0 }),
            root,
        })
    }

    /// The Asterisk installed on this machine.
    pub fn installed() -> Result<Tree, TreeError> {
        let root = PathBuf::from("/");
        let asterisk = find_program("asterisk").ok_or(TreeError::NotInstalled)?;
        let modules = find_modules(&root).ok_or(TreeError::NotInstalled)?;
        let shared = ["/usr/share/asterisk", "/var/lib/asterisk"]
            .into_iter()
            .map(PathBuf::from)
            .find(|folder| folder.join("sounds").is_dir())
            .ok_or(TreeError::NotInstalled)?;
        Ok(Tree { root, asterisk, modules, shared, loader: None })
    }

    /// The tree for a test, kept in `cache` between runs; `None` when this machine cannot have one.
    ///
    /// Says so loudly, and panics where the environment has `CI`: there, a skipped test is a lie.
    pub fn for_tests(release: Release, cache: &Path) -> Option<Tree> {
        let tree = Tree::unpack(release, &cache.join(release.name()), |line| eprintln!("{line}"));
        match tree {
            Ok(tree) => Some(tree),
            Err(error) if env::var_os("CI").is_some() => {
                panic!("this test needs {}: {error}", release.name())
            }
            Err(error) => {
                eprintln!("\n!!! SKIPPED, NOT PASSED: needs {}: {error}\n", release.name());
                None
            }
        }
    }

    /// Folder of the tree; `/` for an installed Asterisk.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn asterisk(&self) -> &Path {
        &self.asterisk
    }

    pub(crate) fn modules(&self) -> &Path {
        &self.modules
    }

    pub(crate) fn shared(&self) -> &Path {
        &self.shared
    }

    /// sipp, from the tree or from the machine.
    pub(crate) fn sipp(&self) -> Option<Command> {
        let ours = self.root.join("usr/bin/sipp");
        if self.loader.is_some() && ours.exists() {
            let mut words = self.command_line(&ours, None).into_iter();
            let mut command = Command::new(words.next()?);
            command.args(words);
            return Some(command);
        }
        find_program("sipp").map(Command::new)
    }

    /// The words that start a program of this tree. `argv0`: what it shall believe its name to be.
    pub(crate) fn command_line(&self, program: &Path, argv0: Option<&Path>) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(loader) = &self.loader {
            words.push(loader.path.display().to_string());
            if let Some(argv0) = argv0.filter(|_| loader.knows_argv0) {
                words.extend(["--argv0".to_owned(), argv0.display().to_string()]);
            }
            words.extend(["--library-path".to_owned(), loader.library_path.clone()]);
        }
        words.push(program.display().to_string());
        words
    }
}

fn mmdebstrap(
    release: Release,
    dest: &Path,
    progress: &mut impl FnMut(&str),
) -> Result<(), TreeError> {
    find_program("mmdebstrap").ok_or(TreeError::NoMmdebstrap)?;
    let keys = fs::read_dir(KEYRINGS).into_iter().flatten().flatten();
    if !keys.into_iter().any(|k| k.file_name().to_string_lossy().starts_with("debian-archive")) {
        return Err(TreeError::NoKeyring(KEYRINGS));
    }
    let is_root = rustix::process::geteuid().is_root();
    if !is_root && find_program("newuidmap").is_none() {
        return Err(TreeError::NoSubUids);
    }
    let mirror = debian_mirror();
    progress(&format!("unpacking {} of Debian {} from {mirror}", release.name(), release.suite()));

    let mut command = Command::new("mmdebstrap");
    command.arg("--variant=extract");
    command.arg(if is_root { "--mode=root" } else { "--mode=unshare" });
    command.arg("--aptopt=APT::Install-Recommends \"false\"");
    command.arg("--aptopt=Acquire::Languages \"none\"");
    if release.accepts_stale_index() {
        command.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    }
    for unwanted in ["doc", "man", "locale"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{unwanted}/*"));
    }
    command.arg(format!("--include={PACKAGES}")).arg(format!("--keyring={KEYRINGS}"));
    command.arg(release.suite()).arg(dest).arg(&mirror);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());

    let failed = |last_words: String| TreeError::Mmdebstrap {
        suite: release.suite(),
        mirror: mirror.clone(),
        last_words,
    };
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let mut lines = Vec::new();
    for line in child.stderr.take().into_iter().flat_map(|pipe| BufReader::new(pipe).lines()) {
        let line = line.unwrap_or_default();
        if let Some(news) = line.strip_prefix("I: ") {
            progress(news);
        }
        lines.push(line);
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(failed(lines[lines.len().saturating_sub(12)..].join("\n"))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The mirror this machine itself uses, so that a closed network's own mirror is found.
fn debian_mirror() -> String {
    let mut files = vec![
        PathBuf::from("/etc/apt/sources.list.d/debian.sources"),
        PathBuf::from("/etc/apt/sources.list"),
    ];
    let others = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut others: Vec<PathBuf> = others.map(|entry| entry.path()).collect();
    others.sort();
    files.extend(others);
    files
        .iter()
        .filter_map(|file| {
            let text = fs::read_to_string(file).ok()?;
            match file.extension()?.to_str()? {
                "sources" => mirror_of_deb822(&text),
                "list" => mirror_of_one_line(&text),
                _ => None,
            }
        })
        .next()
        .unwrap_or_else(|| "http://deb.debian.org/debian".to_owned())
}

/// deb822: stanzas of `Key: value` (sources.list(5)).
fn mirror_of_deb822(text: &str) -> Option<String> {
    text.split("\n\n").find_map(|stanza| {
        let value = |key: &str| {
            stanza.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap_or("")
        };
        if value("Enabled").trim() == "no" {
            return None;
        }
        let uri = value("URIs").split_whitespace().next()?;
        let suites = value("Suites").split_whitespace();
        let components = value("Components").split_whitespace();
        is_main_archive(uri, suites, components).then(|| uri.to_owned())
    })
}

/// One line: `deb [options] uri suite component...` (sources.list(5)).
fn mirror_of_one_line(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_whitespace();
        let uri = words.next()?;
        let suite = words.next()?;
        is_main_archive(uri, [suite].into_iter(), words).then(|| uri.to_owned())
    })
}

fn is_main_archive<'a>(
    uri: &str,
    mut suites: impl Iterator<Item = &'a str>,
    mut components: impl Iterator<Item = &'a str>,
) -> bool {
    const SUITES: [&str; 10] = [
        "bullseye",
        "bookworm",
        "trixie",
        "forky",
        "duke",
        "sid",
        "unstable",
        "testing",
        "stable",
        "oldstable",
    ];
    ["http://", "https://", "file:"].iter().any(|scheme| uri.starts_with(scheme))
        && suites.any(|suite| SUITES.contains(&suite))
        && components.any(|component| component == "main")
}

fn find_loader(libraries: &Path) -> Option<PathBuf> {
    let mut loaders: Vec<PathBuf> = fs::read_dir(libraries)
        .ok()?
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("ld-") && name.contains(".so")
        })
        .map(|entry| entry.path())
        // In trees before the /usr merge the well-known name is an absolute link out of the tree.
        .filter(|path| path.symlink_metadata().is_ok_and(|found| found.is_file()))
        .collect();
    loaders.sort();
    loaders.into_iter().next()
}

fn find_modules(root: &Path) -> Option<PathBuf> {
    let triple = format!("usr/lib/{}-linux-gnu/asterisk/modules", env::consts::ARCH);
    [triple.as_str(), "usr/lib/asterisk/modules", "usr/lib64/asterisk/modules"]
        .into_iter()
        .map(|folder| root.join(folder))
        .find(|folder| folder.join("app_queue.so").exists())
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// `<path>.<suffix>`, in the same folder so that a rename stays on one file system.
fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn remove_tree(path: &Path) -> Result<(), TreeError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot_write(path)(error)),
        _ => Ok(()),
    }
}

fn link(target: &str, at: &Path) -> Result<(), TreeError> {
    match std::os::unix::fs::symlink(target, at) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(cannot_write(at)(error)),
        _ => Ok(()),
    }
}

fn cannot_write(path: &Path) -> impl FnOnce(io::Error) -> TreeError {
    let path = path.to_owned();
    |source| TreeError::Write { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_archive_is_found_in_deb822() {
        let text = "Types: deb\n# a comment\nURIs: http://mirror.test/security\nSuites: bookworm-security\nComponents: main\n\nTypes: deb\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\nComponents: main\n";
        assert_eq!(mirror_of_deb822(text).as_deref(), Some("http://mirror.test/debian"));
    }

    #[test]
    fn the_main_archive_is_found_in_one_line_format() {
        let text = "# deb http://old.test/debian sid main\ndeb https://tools.test/apt tools main\ndeb [signed-by=/k.gpg arch=amd64] http://mirror.test/debian bookworm main contrib\n";
        assert_eq!(mirror_of_one_line(text).as_deref(), Some("http://mirror.test/debian"));
    }
}
