//! Files that others may be reading.

use std::{fs, io::Write, path::Path};

use anyhow::Context;

/// Replaces the file in one step, so that a running host never sees half a plugin. True if it was the same.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(true);
    }
    let folder = path.parent().context("a plugin has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    fs::set_permissions(file.path(), readable_by_all())?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(false)
}

/// Temporary files are private; a plugin need not be.
fn readable_by_all() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o644)
}
