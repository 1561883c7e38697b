//! What the store cannot do, and why a component is not installed.

use std::{io, path::PathBuf};

use plugin_runtime::LoadError;

use super::Version;
use crate::plugins::signing::SignatureProblem;

/// The store cannot do that.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "fields are named in the messages")]
pub enum StoreError {
    /// Another process has it.
    #[error("plugin store {}: another jackfield has it open; fix: stop that one", folder.display())]
    InUse { folder: PathBuf },
    /// Others may look into it.
    #[error("plugin store {}: {problem}; fix: chmod 700 {}, as the user that runs jackfield", folder.display(), folder.display())]
    NotPrivate { folder: PathBuf, problem: String },
    /// Files.
    #[error("plugin store: {}: {source}; fix: {}; nothing was kept", path.display(), fix_of(source))]
    File { path: PathBuf, source: io::Error },
    /// The database.
    #[error("plugin store {}: {source}; fix: {}; nothing was kept", path.display(), fix_of_database(source))]
    Database { path: PathBuf, source: rusqlite::Error },
    /// Made by a newer version.
    #[error("plugin store {}: made by a newer jackfield (layout {found}, this one knows {known}); fix: run the newer jackfield", path.display())]
    NewerLayout { path: PathBuf, found: u32, known: u32 },
    /// A row that says nothing.
    #[error(
        "plugin store: what it keeps about {what} cannot be read: {problem}; fix: restore a backup of its folder"
    )]
    Unreadable { what: String, problem: String },
    /// No such version.
    #[error(
        "plugin {plugin} has no version {wanted:?} here; fix: use one of these, or install it: {}",
        or_none(known)
    )]
    NoVersion { plugin: String, wanted: String, known: Vec<String> },
    /// Several; the one installed last comes first.
    #[error(
        "plugin {plugin} has {} builds that are {wanted:?}: {}; fix: name one by the beginning of its SHA-256",
        builds.len(), super::choose::listed(builds, |_| String::new())
    )]
    Ambiguous { plugin: String, wanted: String, builds: Vec<Version> },
    /// Others could be meant.
    #[error(
        "what the latest version of plugin {plugin} is can be understood in two ways: {problem}; fix: name one by its version or its SHA-256"
    )]
    NoLatest { plugin: String, problem: String },
    /// A kept file is not what was kept.
    #[error("plugin {plugin} {version}: its kept file {} is damaged or was exchanged; fix: install it again", path.display())]
    Damaged { plugin: String, version: String, path: PathBuf },
    /// Not allowed any more.
    #[error("plugin {plugin} {version}: {problem}")]
    Signature { plugin: String, version: String, problem: SignatureProblem },
    /// It does not load any more.
    #[error("plugin {plugin} {version}: {problem}")]
    Load { plugin: String, version: String, problem: LoadError },
    /// More than is kept.
    #[error("{what}: at most {most} are kept; fix: remove some first")]
    TooMany { what: String, most: usize },
    /// Not a name for a file.
    #[error(
        "{what} {name:?} cannot be a name here; fix: use 1 to 64 letters, digits, `-`, `_` and `.`, not beginning with `.`"
    )]
    BadName { what: &'static str, name: String },
    /// A secret that is none, or is not kept well.
    #[error("secret {name:?} of connector {connector}: {problem}; fix: {fix}")]
    Secret { connector: String, name: String, problem: String, fix: String },
    /// A secret where none belongs.
    #[error(
        "connector {connector}: secrets are not kept with its other settings; this is a fault of jackfield, please report it"
    )]
    SecretInOverlay { connector: String },
}

/// A component that is not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It is no plugin, or cannot be compiled.
    #[error("{source_name}: {problem}")]
    NotAPlugin {
        /// Where it came from, or its name.
        source_name: String,
        /// Why.
        problem: LoadError,
    },
    /// Its signature.
    #[error("{source_name}: {problem}")]
    Signature {
        /// Where it came from.
        source_name: String,
        /// What is wrong with it.
        problem: SignatureProblem,
    },
    /// It cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn fix_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on the disk and try again"
        }
        io::ErrorKind::PermissionDenied => "make it writable for the user that runs jackfield",
        _ => "check the disk and the folder's rights",
    }
}

fn fix_of_database(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => "make room on the disk and try again",
        _ => "check the disk; if the file is damaged, restore a backup of its folder",
    }
}

fn or_none(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
