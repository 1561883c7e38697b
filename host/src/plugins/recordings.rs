//! Recordings on disk: what led to crashes, and captures. The newest of each connector are kept.
//!
//! They hold callers' numbers, so their folder is private, like the journal's.

use std::{
    fs,
    io::{self, Seek, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use calls::Timestamp;
use plugin_runtime::{Recording, Secrets, WriteError, WriteOptions};

use super::{KeeperError, RecordingFile, RecordingKind};

/// Of one connector.
const MAX_FILES: usize = 20;
/// Of one connector, all files together.
const MAX_BYTES: u64 = 64 << 20;

/// Where the recordings of a host with that journal are.
pub(super) fn folder(journal: &Path) -> PathBuf {
    let mut path = journal.as_os_str().to_owned();
    path.push(".recordings");
    path.into()
}

/// Writes one, and lets the oldest go.
pub(super) fn keep(
    folder: &Path,
    connector: &str,
    kind: RecordingKind,
    recording: &Recording,
    secrets: &Secrets,
    redact: bool,
) -> Result<PathBuf, WriteError> {
    private_folder(folder)?;
    let mut file = tempfile::Builder::new().prefix(".part-").tempfile_in(folder)?;
    write(recording, secrets, redact, file.as_file_mut())?;
    file.as_file().sync_all()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("{connector}.{:020}.{}.jsonl", now.as_nanos(), kind.code());
    let path = folder.join(name);
    file.persist(&path).map_err(|error| error.error)?;
    trim(folder, connector);
    Ok(path)
}

/// Writes one to a file nobody else has, to be read from its beginning.
pub(super) fn unnamed(
    recording: &Recording,
    secrets: &Secrets,
    redact: bool,
) -> Result<fs::File, WriteError> {
    let mut file = tempfile::tempfile()?;
    write(recording, secrets, redact, &mut file)?;
    file.rewind()?;
    Ok(file)
}

fn write(
    recording: &Recording,
    secrets: &Secrets,
    redact: bool,
    to: &mut fs::File,
) -> Result<(), WriteError> {
    let redact = redact.then(fresh).transpose()?;
    let mut to = io::BufWriter::new(to);
    recording.write(&mut to, &WriteOptions { redact, secrets: Some(secrets) })?;
    Ok(to.flush()?)
}

/// For this one file.
fn fresh() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Why there is no file, for whoever asked for it.
pub(super) fn refused(error: &WriteError) -> KeeperError {
    let message = error.to_string();
    let fix = match error {
        WriteError::Io(_) => {
            let fix =
                "make room on that disk, and see that the folder beside the journal can be written";
            return KeeperError::Install { message, fix: fix.to_owned(), ours: true };
        }
        WriteError::NotRedacted(_) => "ask for it without redaction, and do not pass it on",
        WriteError::HoldsSecret { .. } => "take the secret out of the settings",
        WriteError::NoComponent => "ask again while the connector runs",
    };
    KeeperError::Conflict { message, fix: fix.to_owned() }
}

fn trim(folder: &Path, connector: &str) {
    let mut bytes = 0;
    for (index, file) in list(folder, connector).into_iter().enumerate() {
        bytes += file.size;
        // The newest stays, however large.
        if index > 0 && (index >= MAX_FILES || bytes > MAX_BYTES) {
            let _ = fs::remove_file(file.path);
        }
    }
}

/// Those of one connector, newest first.
pub(super) fn list(folder: &Path, connector: &str) -> Vec<RecordingFile> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<RecordingFile> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let rest = name.strip_prefix(connector)?.strip_prefix('.')?;
            let (number, kind) = rest.strip_suffix(".jsonl")?.split_once('.')?;
            let kind = match kind {
                "crash" => RecordingKind::Crash,
                "capture" => RecordingKind::Capture,
                _ => return None,
            };
            let at = Timestamp(number.parse().ok()?);
            let size = entry.metadata().ok()?.len();
            Some(RecordingFile { name, path: entry.path(), size, at, kind })
        })
        .collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.at));
    files
}

fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
