//! Recordings on disk: what led to crashes, and captures. The newest of each connector are kept.
//!
//! They hold callers' numbers, so their folder is private, like the journal's.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use calls::Timestamp;
use plugin_runtime::{Recording, Secrets, WriteOptions};

use super::{RecordingFile, RecordingKind};

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
) -> io::Result<PathBuf> {
    private_folder(folder)?;
    let mut file = tempfile::Builder::new().prefix(".part-").tempfile_in(folder)?;
    write(recording, secrets, file.as_file_mut())?;
    file.as_file().sync_all()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("{connector}.{:020}.{}.jsonl", now.as_nanos(), kind.code());
    let path = folder.join(name);
    file.persist(&path).map_err(|error| error.error)?;
    trim(folder, connector);
    Ok(path)
}

fn write(recording: &Recording, secrets: &Secrets, to: &mut fs::File) -> io::Result<()> {
    let options = WriteOptions { redact: None, secrets: Some(secrets) };
    let mut to = io::BufWriter::new(to);
    recording.write(&mut to, &options).map_err(io::Error::other)?;
    io::Write::flush(&mut to)
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
