//! The store's folder: components and secrets, written whole or not at all, for this user only.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use plugin_runtime::MAX_COMPONENT;

use super::StoreError;
use crate::config::{SecretText, UnusableSecret, secret_from_file};

pub(super) struct Files {
    folder: PathBuf,
    /// Another store's folder, of which components are read too.
    lent: Option<PathBuf>,
    /// The stand-in for a full disk: longer files do not fit.
    #[cfg(test)]
    pub(super) room: std::sync::atomic::AtomicU64,
}

/// A secret that cannot be read or kept.
pub(super) enum SecretProblem {
    Unusable(UnusableSecret),
    Store(StoreError),
}

impl SecretProblem {
    pub(super) fn of(self, connector: &str, name: &str) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Unusable(UnusableSecret { message, fix }) => StoreError::Secret {
                connector: connector.to_owned(),
                name: name.to_owned(),
                problem: message,
                fix,
            },
        }
    }
}

impl Files {
    /// Opens or makes the folder, and takes it for this process alone.
    pub(super) fn open(folder: &Path) -> Result<(Self, File), StoreError> {
        let folders = [folder, &folder.join("components"), &folder.join("secrets")];
        for folder in folders {
            make(folder).map_err(|source| StoreError::File { path: folder.to_owned(), source })?;
        }
        let path = folder.join("lock");
        let failed = |source| StoreError::File { path: path.clone(), source };
        let lock = crate::journal::private_file(&path).map_err(failed)?;
        for folder in folders {
            check_private(folder, &lock)?;
        }
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse { folder: folder.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let files = Self {
            folder: folder.to_owned(),
            lent: None,
            #[cfg(test)]
            room: u64::MAX.into(),
        };
        Ok((files, lock))
    }

    /// Components that are not here are read from that store's folder.
    pub(super) fn lend(&mut self, folder: &Path) {
        self.lent = Some(folder.to_owned());
    }

    /// Removes what no row refers to.
    pub(super) fn sweep(&self, known: &BTreeSet<String>) -> Result<(), StoreError> {
        for folder in ["components", "secrets"] {
            let path = self.folder.join(folder);
            let failed = |source| StoreError::File { path: path.clone(), source };
            for entry in fs::read_dir(&path).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
                if !known.contains(&name) {
                    tracing::info!(file = %entry.path().display(), "swept away what was left half done");
                    fs::remove_file(entry.path()).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn component_path(&self, sha256: &str) -> PathBuf {
        component_in(&self.folder, sha256)
    }

    /// A kept component as it is on the disk; whoever uses it checks its hash.
    pub(super) fn component(&self, sha256: &str) -> Result<(PathBuf, Vec<u8>), StoreError> {
        let mut path = self.component_path(sha256);
        if let Some(lent) = self.lent.as_ref().filter(|_| !path.exists()) {
            path = component_in(lent, sha256);
        }
        let mut wasm = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(MAX_COMPONENT as u64 + 1).read_to_end(&mut wasm))
            .map_err(|source| StoreError::File { path: path.clone(), source })?;
        Ok((path, wasm))
    }

    pub(super) fn write_component(&self, sha256: &str, wasm: &[u8]) -> Result<PathBuf, StoreError> {
        let path = self.component_path(sha256);
        self.write(&path, wasm)?;
        Ok(path)
    }

    pub(super) fn secret_path(&self, file: &str) -> PathBuf {
        self.folder.join("secrets").join(file)
    }

    pub(super) fn secret(&self, file: &str) -> Result<SecretText, SecretProblem> {
        secret_from_file(&self.secret_path(file)).map_err(SecretProblem::Unusable)
    }

    pub(super) fn write_secret(
        &self,
        file: &str,
        secret: &SecretText,
    ) -> Result<PathBuf, SecretProblem> {
        secret.check().map_err(SecretProblem::Unusable)?;
        let path = self.secret_path(file);
        self.write(&path, secret.expose().as_bytes()).map_err(SecretProblem::Store)?;
        Ok(path)
    }

    /// Under another name first; after the return it is on the disk.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        let written = self.write_new(&temporary, bytes).and_then(|()| {
            fs::rename(&temporary, path)?;
            sync_folder(path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written.map_err(|source| StoreError::File { path: path.to_owned(), source })
    }

    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        // Half a file of a time before this one may lie there.
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        #[cfg(test)]
        if bytes.len() as u64 > self.room.load(std::sync::atomic::Ordering::Relaxed) {
            file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write_all(bytes)?;
        file.sync_all()
    }
}

fn component_in(folder: &Path, sha256: &str) -> PathBuf {
    folder.join("components").join(format!("{sha256}.wasm"))
}

fn make(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// `own` is a file this process has made.
#[cfg(unix)]
fn check_private(folder: &Path, own: &File) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt;

    let failed = |source| StoreError::File { path: folder.to_owned(), source };
    let (metadata, own) = (fs::metadata(folder).map_err(failed)?, own.metadata().map_err(failed)?);
    let mode = metadata.mode() & 0o777;
    let problem = if metadata.uid() != own.uid() {
        format!("it belongs to user {}, not to this one ({})", metadata.uid(), own.uid())
    } else if mode & 0o077 != 0 {
        format!("others can look into it (mode {mode:o})")
    } else {
        return Ok(());
    };
    Err(StoreError::NotPrivate { folder: folder.to_owned(), problem })
}

#[cfg(not(unix))]
fn check_private(_folder: &Path, _own: &File) -> Result<(), StoreError> {
    Ok(())
}

/// The name of a new file is on the disk only when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    let _ = path;
    Ok(())
}
