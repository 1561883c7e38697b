//! Compiled components kept on disk.
//!
//! Loading one is as dangerous as loading a shared library, so: only files this host wrote, in a folder
//! only it can write, and only if they still have the hash noted beside them when they were written.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use sha2::{Digest, Sha256};
use wasmtime::{Engine, component::Component};

use crate::secret::hex;

/// What is kept was checked by these rules, in this number's version.
pub(crate) const CHECKS: u32 = 1;

/// The folder with compiled components.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    /// Compiled code fits only the engine version and settings it was made with.
    engine: u64,
}

impl Cache {
    /// Opens the folder, making it when there is none.
    pub(crate) fn open(folder: &Path, engine: &Engine) -> io::Result<Self> {
        make_private(folder)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        CHECKS.hash(&mut hasher);
        Ok(Self { folder: folder.to_owned(), engine: hasher.finish() })
    }

    /// The compiled form of the component with that hash; none when it is missing, damaged, or of
    /// another engine.
    pub(crate) fn get(&self, engine: &Engine, sha256: &str) -> Option<Component> {
        let path = self.path(sha256);
        let compiled = read_own(&path)?;
        let noted = String::from_utf8(read_own(&noted_at(&path))?).ok()?;
        if noted.trim() != sha256_hex(&compiled) {
            tracing::warn!(file = %path.display(), "compiled plugin is damaged; compiling it again");
            return None;
        }
        deserialize(engine, &compiled)
            .inspect_err(|error| tracing::warn!(file = %path.display(), %error, "compiled plugin does not fit"))
            .ok()
    }

    /// Keeps a compiled component. Failing costs only time at the next start.
    pub(crate) fn put(&self, sha256: &str, compiled: &[u8]) {
        let path = self.path(sha256);
        // In this order: a compiled file without its hash, or with an older one, is not used.
        let written = write_atomically(&path, compiled)
            .and_then(|()| write_atomically(&noted_at(&path), sha256_hex(compiled).as_bytes()));
        if let Err(error) = written {
            tracing::warn!(file = %path.display(), %error, "compiled plugin could not be kept");
        }
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}-{:016x}.cwasm", self.engine))
    }
}

/// A component out of its compiled form: what this program, or its like in a child process, has made.
pub(crate) fn deserialize(engine: &Engine, compiled: &[u8]) -> wasmtime::Result<Component> {
    #[expect(
        unsafe_code,
        reason = "the bytes are those this host's own compiler made: hashed by the cache, or fresh from it"
    )]
    // SAFETY: `precompile_component` made these bytes: they come from a private folder with their hash beside
    // them, or from the compiler with their hash behind them; wasmtime checks version and settings itself.
    unsafe {
        Component::deserialize(engine, compiled)
    }
}

/// SHA-256 as lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)).into_iter().map(char::from).collect()
}

fn noted_at(path: &Path) -> PathBuf {
    path.with_extension("cwasm.sha256")
}

fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let unique = format!("{}-{}.tmp", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let temporary = path.with_extension(unique);
    let mut file = new_private(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(unix)]
fn new_private(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;

    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn new_private(path: &Path) -> io::Result<fs::File> {
    fs::File::create_new(path)
}

/// A file that this user wrote and nobody else can: the folder may have been open to others once.
#[cfg(unix)]
fn read_own(path: &Path) -> Option<Vec<u8>> {
    use std::{io::Read, os::unix::fs::MetadataExt};

    let mut file = fs::File::open(path).ok()?;
    // Of the open file: no other can be put in its place any more.
    let metadata = file.metadata().ok()?;
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user || metadata.mode() & 0o022 != 0 {
        tracing::warn!(file = %path.display(), "compiled plugin was not written by this user alone; compiling it again");
        return None;
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(not(unix))]
fn read_own(path: &Path) -> Option<Vec<u8>> {
    fs::read(path).ok()
}

#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};

    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let metadata = fs::metadata(folder)?;
    let user = rustix::process::geteuid().as_raw();
    // Whoever owns it can give themselves the right to write.
    if metadata.uid() != user {
        return Err(io::Error::other(format!(
            "{} belongs to user {}, not to this one ({user}); name a folder of this user, e.g. in JACKFIELD_CACHE_DIR",
            folder.display(),
            metadata.uid()
        )));
    }
    let mode = metadata.permissions().mode();
    if mode & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "others can write to it (mode {:o}); run `chmod 700 {}`",
        mode & 0o777,
        folder.display()
    )))
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_of_somebody_else_is_not_used() {
        let own = tempfile::tempdir().unwrap();
        make_private(own.path()).unwrap();
        let foreign = if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(own.path(), Some(1), None).unwrap();
            own.path()
        } else {
            Path::new("/")
        };
        let error = make_private(foreign).unwrap_err().to_string();
        assert!(error.contains("belongs to user"), "{error}");
    }

    #[test]
    fn a_folder_others_can_write_to_is_not_used() {
        let own = tempfile::tempdir().unwrap();
        fs::set_permissions(own.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = make_private(own.path()).unwrap_err().to_string();
        assert!(error.contains("others can write"), "{error}");
    }
}
