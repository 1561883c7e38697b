//! `cargo xtask museum`: for each released WIT version the contract's files, and plugins as they were built against it.
//!
//! The files are what `cargo xtask wit-diff` compares with; the plugins are loaded and run by the tests for ever.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::bindings;
use crate::workspace::Workspace;

/// Copies the built plugins into the museum, under the version of wit/sdk.
pub fn keep(workspace: &Workspace) -> anyhow::Result<()> {
    let (resolve, sdk) = bindings::load(&workspace.root.join("wit"))?;
    let version = resolve.packages[sdk].name.version.as_ref().context("wit/sdk has no version")?;
    let folder = museum(workspace).join(version.to_string());
    keep_in(&folder, &workspace.plugins(), &workspace.root.join("wit"))?;
    print(&folder)
}

/// Shows what the museum has.
pub fn list(workspace: &Workspace) -> anyhow::Result<()> {
    let museum = museum(workspace);
    let mut versions = if museum.exists() { entries(&museum)? } else { Vec::new() };
    versions.retain(|path| path.is_dir());
    if versions.is_empty() {
        println!("the museum is empty: the first version is kept when WIT 0.1.0 is tagged");
    }
    versions.iter().try_for_each(|version| print(version))
}

/// The kept copies of wit/, oldest version first.
pub fn contracts(workspace: &Workspace) -> anyhow::Result<Vec<PathBuf>> {
    let museum = museum(workspace);
    let versions = if museum.exists() { entries(&museum)? } else { Vec::new() };
    Ok(versions.into_iter().map(|version| version.join("wit")).filter(|wit| wit.is_dir()).collect())
}

fn museum(workspace: &Workspace) -> PathBuf {
    workspace.root.join("tests/museum")
}

/// All of them or nothing: half a version would be refused as kept already.
fn keep_in(folder: &Path, built: &Path, wit: &Path) -> anyhow::Result<()> {
    ensure!(
        !folder.exists(),
        "{} is kept already, and a released version never changes",
        folder.display()
    );
    let plugins = if built.exists() { plugins(built)? } else { Vec::new() };
    ensure!(
        !plugins.is_empty(),
        "no plugins in {}: run `cargo xtask plugins` first",
        built.display()
    );
    let museum = folder.parent().context("a version has a folder around it")?;
    fs::create_dir_all(museum)?;
    let copy = tempfile::TempDir::new_in(museum)?;
    for plugin in plugins {
        let name = plugin.file_name().context("a plugin has a name")?;
        fs::copy(&plugin, copy.path().join(name))?;
    }
    for package in entries(wit)?.into_iter().filter(|path| path.is_dir()) {
        let kept =
            copy.path().join("wit").join(package.file_name().context("a package has a name")?);
        fs::create_dir_all(&kept)?;
        for file in entries(&package)? {
            fs::copy(&file, kept.join(file.file_name().context("a file has a name")?))?;
        }
    }
    // Temporary folders are private; the museum is not.
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755))?;
    fs::rename(copy.path(), folder)?;
    // It was moved away; nothing is left to delete.
    let _ = copy.keep();
    Ok(())
}

fn print(folder: &Path) -> anyhow::Result<()> {
    let version = folder.file_name().unwrap_or_default().display();
    for plugin in plugins(folder)? {
        let name = plugin.file_name().unwrap_or_default().display().to_string();
        println!("{version}  {name:<28} {:>8} bytes", plugin.metadata()?.len());
    }
    Ok(())
}

/// The components in a folder, not those below it.
fn plugins(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut plugins = entries(folder)?;
    plugins.retain(|path| path.is_file() && path.extension().is_some_and(|it| it == "wasm"));
    Ok(plugins)
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_kept_once_without_those_for_tests() {
        let root = tempfile::tempdir().unwrap();
        let (built, version) = (root.path().join("plugins"), root.path().join("museum/0.1.0"));
        fs::create_dir_all(built.join("test")).unwrap();
        for file in ["b.wasm", "a.wasm", "a.wasm.minisig", "test/mad.wasm"] {
            fs::write(built.join(file), file).unwrap();
        }
        let wit = root.path().join("wit");
        fs::create_dir_all(wit.join("log")).unwrap();
        fs::write(wit.join("log/log.wit"), "package t:log;").unwrap();
        fs::write(wit.join("reference.md"), "a page").unwrap();
        keep_in(&version, &built, &wit).unwrap();
        assert_eq!(plugins(&version).unwrap(), ["a.wasm", "b.wasm"].map(|name| version.join(name)));
        assert_eq!(entries(&version).unwrap().len(), 3);
        assert_eq!(entries(&version.join("wit")).unwrap(), [version.join("wit/log")]);
        assert_eq!(fs::read_to_string(version.join("wit/log/log.wit")).unwrap(), "package t:log;");
        assert_eq!(version.metadata().unwrap().permissions().mode() & 0o777, 0o755);

        fs::write(built.join("a.wasm"), "newer").unwrap();
        let refused = keep_in(&version, &built, &wit).unwrap_err().to_string();
        assert!(refused.ends_with("is kept already, and a released version never changes"));
        assert_eq!(fs::read_to_string(version.join("a.wasm")).unwrap(), "a.wasm");
    }

    #[test]
    fn without_built_plugins_no_version_is_made() {
        let root = tempfile::tempdir().unwrap();
        let version = root.path().join("museum/0.1.0");
        let refused =
            keep_in(&version, &root.path().join("plugins"), root.path()).unwrap_err().to_string();
        assert!(refused.ends_with("run `cargo xtask plugins` first"), "{refused}");
        assert!(!version.exists());
    }
}
