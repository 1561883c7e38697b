//! Programs and packages that a language's tools are made of: found, judged by their version, installed once for each
//! lock file into a folder that all projects share.

use std::{
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::{
    Progress,
    build::{Options, ensure_folder},
    check::sha256,
};

/// Names another folder for tools that are installed.
const CACHE: &str = "JACKFIELD_PLUGIN_CACHE";

/// A program that a language needs, and what to say when it is not there.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// What is looked for on PATH: `node`.
    pub name: &'static str,
    /// The variable that names another one.
    pub variable: &'static str,
    /// Oldest version that does: major and minor.
    pub least: (u32, u32),
    /// How a person gets it.
    pub fix: &'static str,
}

/// A program that was found, and fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// As it is to be run.
    pub program: OsString,
    /// Its own word, e.g. `20.11.1`.
    pub version: String,
}

/// A program that does not do; the user's to mend.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unfit {
    /// Not there.
    #[error("there is no `{program}`{named}; fix: {fix}")]
    Missing {
        /// What was run.
        program: String,
        /// By which variable it was named, if it was.
        named: String,
        /// How to get it.
        fix: &'static str,
    },
    /// It does not run, or does not say its version.
    #[error("`{program} --version`{named} {problem}; fix: {fix}")]
    Broken {
        /// What was run.
        program: String,
        /// By which variable it was named, if it was.
        named: String,
        /// What came of it.
        problem: String,
        /// How to get one that does.
        fix: &'static str,
    },
    /// Too old.
    #[error("`{program}`{named} is {version}, and {least} or newer is needed; fix: {fix}")]
    Old {
        /// What was run.
        program: String,
        /// By which variable it was named, if it was.
        named: String,
        /// What it is.
        version: String,
        /// What would do.
        least: String,
        /// How to get one that does.
        fix: &'static str,
    },
}

impl Wanted {
    /// Finds it: what the variable names, else the one on PATH.
    pub fn find(self) -> Result<Found, Unfit> {
        let told = std::env::var_os(self.variable).filter(|value| !value.is_empty());
        self.judge(told)
    }

    fn judge(self, told: Option<OsString>) -> Result<Found, Unfit> {
        let named =
            if told.is_some() { format!(" (named by {})", self.variable) } else { String::new() };
        let program = told.unwrap_or_else(|| self.name.into());
        let shown = program.to_string_lossy().into_owned();
        let fix = self.fix;
        let output = Command::new(&program).arg("--version").stdin(Stdio::null()).output();
        let output = match output {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Unfit::Missing { program: shown, named, fix });
            }
            Err(error) => {
                return Err(Unfit::Broken {
                    program: shown,
                    named,
                    problem: format!("cannot be run ({error})"),
                    fix,
                });
            }
        };
        let said =
            String::from_utf8_lossy(&output.stdout).trim().chars().take(80).collect::<String>();
        let Some((version, numbers)) = version(&said).filter(|_| output.status.success()) else {
            let problem = format!("says `{said}` ({})", output.status);
            return Err(Unfit::Broken { program: shown, named, problem, fix });
        };
        if numbers < self.least {
            let least = format!("{}.{}", self.least.0, self.least.1);
            return Err(Unfit::Old { program: shown, named, version, least, fix });
        }
        Ok(Found { program, version })
    }
}

/// `v20.11.1`, `Python 3.11.2`, `10.2.4`: the version, with its first two numbers.
fn version(said: &str) -> Option<(String, (u32, u32))> {
    let version = said.split_whitespace().map(|word| word.trim_start_matches('v'));
    let version =
        version.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    let (major, minor) = (numbers.next()??, numbers.next().flatten().unwrap_or(0));
    Some((version.to_owned(), (major, minor)))
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.program.to_string_lossy(), self.version)
    }
}

/// A folder with tools, known by what they were installed from.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The folder.
    pub folder: PathBuf,
    /// Its name: the language, and a hash of everything that decides what is in it.
    pub key: String,
}

/// The tools that `parts` describe (a lock file, the version of what will run them): from the shared folder, or put
/// there by `install`, which gets an empty folder of its own and leaves nothing behind when it fails.
pub fn installed(
    language: &str,
    parts: &[&[u8]],
    options: &Options,
    progress: &dyn Progress,
    install: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<Installed> {
    let cache = match &options.target_dir {
        Some(folder) => std::path::absolute(folder)?.join("plugin-tools"),
        None => cache_folder(),
    };
    installed_in(&cache, key(language, parts), options.offline, progress, install)
}

fn installed_in(
    cache: &Path,
    key: String,
    offline: bool,
    progress: &dyn Progress,
    install: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<Installed> {
    let folder = cache.join(&key);
    if folder.is_dir() {
        return Ok(Installed { folder, key });
    }
    if offline {
        bail!(
            "the tools of this project are not installed yet, and nothing may be fetched (--offline); fix: build once \
             without it, or set {CACHE} to a folder that has them"
        );
    }
    progress.say(&format!(
        "installing the tools into {} (once for all projects with this lock file)",
        folder.display()
    ));
    ensure_folder(cache)?;
    let begun = tempfile::Builder::new().prefix(".begun-").tempdir_in(cache)?;
    install(begun.path())?;
    // Another build may have been faster; what it installed is the same.
    if let Err(error) = fs::rename(begun.path(), &folder)
        && !folder.is_dir()
    {
        return Err(error).with_context(|| format!("cannot create {}", folder.display()));
    }
    make_readable(&folder)?;
    Ok(Installed { folder, key })
}

/// Temporary folders are their maker's alone; these are for everybody who may enter the cache.
fn make_readable(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot open up {}", folder.display()))
}

fn key(language: &str, parts: &[&[u8]]) -> String {
    let mut all = Vec::new();
    for part in parts {
        all.extend_from_slice(&(part.len() as u64).to_le_bytes());
        all.extend_from_slice(part);
    }
    let machine = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    all.extend_from_slice(machine.as_bytes());
    format!("{language}-{}", &sha256(&all)[..16])
}

fn cache_folder() -> PathBuf {
    let set = |name: &str| {
        std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute())
    };
    let fallback = || set("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache")));
    match set(CACHE) {
        Some(folder) => folder,
        None => fallback().unwrap_or_else(std::env::temp_dir).join("jackfield/plugin-tools"),
    }
}

/// Says what a package manager means when there is no network, in front of its own words.
pub fn explain_network(error: anyhow::Error, of: &str) -> anyhow::Error {
    const SIGNS: [&str; 10] = [
        "ENOTFOUND",
        "EAI_AGAIN",
        "ECONNREFUSED",
        "ECONNRESET",
        "ETIMEDOUT",
        "ENETUNREACH",
        "ENOTCACHED",
        "Temporary failure in name resolution",
        "Connection refused",
        "Max retries exceeded",
    ];
    let text = format!("{error:#}");
    if !SIGNS.iter().any(|sign| text.contains(sign)) {
        return error;
    }
    error.context(format!(
        "{of} could not be reached; fix: look at the network and the proxy settings, or set {CACHE} to a folder that has the \
         tools from another machine of this kind"
    ))
}

/// Makes `copy` the same as `original` without taking up room: files are hard links where that works.
pub fn link_tree(original: &Path, copy: &Path) -> io::Result<()> {
    fs::create_dir_all(copy)?;
    for entry in fs::read_dir(original)? {
        let entry = entry?;
        let (from, to) = (entry.path(), copy.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            link_tree(&from, &to)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&from)?, &to)?;
        } else if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::Silent;

    const NODE: Wanted = Wanted {
        name: "node",
        variable: "JACKFIELD_PLUGIN_NODE",
        least: (20, 0),
        fix: "install node",
    };

    fn program(folder: &Path, script: &str) -> OsString {
        let path = folder.join("program");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.into()
    }

    #[test]
    fn versions_are_read_as_node_npm_and_python_say_them() {
        let read = |said| version(said).map(|(text, numbers)| format!("{text} {numbers:?}"));
        assert_eq!(read("v20.11.1").as_deref(), Some("20.11.1 (20, 11)"));
        assert_eq!(read("Python 3.11.2").as_deref(), Some("3.11.2 (3, 11)"));
        assert_eq!(read("10").as_deref(), Some("10 (10, 0)"));
        assert_eq!(read("hello"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn a_program_is_missing_broken_too_old_or_fits() {
        let folder = tempfile::tempdir().unwrap();
        let judge = |script: &str| NODE.judge(Some(program(folder.path(), script)));
        assert_eq!(judge("echo v20.0.0").unwrap().version, "20.0.0");
        let said = |script: &str| judge(script).unwrap_err().to_string();
        let old = said("echo v18.19.0");
        assert!(
            old.contains("is 18.19.0, and 20.0 or newer is needed; fix: install node"),
            "{old}"
        );
        assert!(old.contains("(named by JACKFIELD_PLUGIN_NODE)"), "{old}");
        assert!(said("exit 3").contains("exit status: 3"), "{}", said("exit 3"));
        assert!(said("echo nothing").contains("says `nothing`"));
        let missing = NODE.judge(Some("/nowhere/node".into())).unwrap_err().to_string();
        assert!(missing.starts_with("there is no `/nowhere/node` (named by"), "{missing}");
    }

    #[test]
    fn what_a_lock_file_names_has_a_folder_of_its_own() {
        assert_eq!(key("node", &[b"a", b"b"]), key("node", &[b"a", b"b"]));
        assert_ne!(key("node", &[b"a", b"b"]), key("node", &[b"ab", b""]));
        assert!(key("python", &[b""]).starts_with("python-"));
    }

    #[test]
    fn no_network_is_said_in_front_of_what_the_package_manager_says() {
        let npm = anyhow::anyhow!("npm error code EAI_AGAIN\nnpm error request to ... failed");
        let text = format!("{:#}", explain_network(npm, "npm's registry"));
        assert!(text.starts_with("npm's registry could not be reached; fix: "), "{text}");
        assert!(text.ends_with("request to ... failed"), "{text}");
        let other = explain_network(anyhow::anyhow!("EINTEGRITY"), "npm's registry");
        assert_eq!(other.to_string(), "EINTEGRITY");
    }

    #[test]
    fn tools_are_installed_once_and_a_failure_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let installs = Cell::new(0);
        let get = |offline: bool, fails: bool| {
            installed_in(cache.path(), "node-1".into(), offline, &Silent, |folder| {
                installs.set(installs.get() + 1);
                fs::write(folder.join("tool"), "x")?;
                if fails { Err(anyhow::anyhow!("no network")) } else { Ok(()) }
            })
        };
        let offline = get(true, false).unwrap_err().to_string();
        assert!(offline.contains("not installed yet, and nothing may be fetched"), "{offline}");
        assert_eq!(get(false, true).unwrap_err().to_string(), "no network");
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0, "something was left behind");
        let folder = get(false, false).unwrap().folder;
        get(true, true).unwrap();
        assert_eq!(installs.get(), 2);

        let copy = cache.path().join("copy");
        link_tree(&folder, &copy).unwrap();
        assert_eq!(fs::read_to_string(copy.join("tool")).unwrap(), "x");
    }
}
