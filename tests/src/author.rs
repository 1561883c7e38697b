//! Plugins of `examples/`, built with `jackfield plugin build` as their authors do it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::world::{command, target};

/// What a build leaves behind in a project; a fresh copy has none of it.
const MADE: [&str; 8] =
    ["build", "node_modules", "sdk", "wit", "stubs", "jackfield", "target", "__pycache__"];

/// A built example. Its folder is gone with it.
#[derive(Debug)]
pub struct Example {
    /// The component.
    pub component: PathBuf,
    _folder: TempDir,
}

impl Example {
    /// Builds a fresh copy of an example that needs these programs; `None`, said aloud, when this machine has not got
    /// them (with `CI` set: an error).
    pub fn built(name: &str, programs: &[&str], fix: &str) -> Result<Option<Example>> {
        for program in programs {
            let tried = Command::new(program).arg("--version").output();
            if !tried.is_ok_and(|output| output.status.success()) {
                ensure!(std::env::var_os("CI").is_none(), "no {program}: {fix}");
                println!("SKIPPED: no {program} ({fix})");
                return Ok(None);
            }
        }
        let folder = tempfile::tempdir()?;
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        copy(&examples.join(name), folder.path())?;
        let tools = target().join("test-cache");
        fs::create_dir_all(&tools)?;
        let output = command(folder.path())
            .args(["plugin", "build"])
            // Tools that the project pins are fetched once for all tests.
            .env("XDG_CACHE_HOME", fs::canonicalize(tools)?)
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(output.status.success(), "`jackfield plugin build` of {name}: {said}");
        println!("{said}");
        let component = folder.path().join("build").join(format!("{name}.wasm"));
        ensure!(component.is_file(), "no {}", component.display());
        Ok(Some(Example { component, _folder: folder }))
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if MADE.iter().any(|made| entry.file_name() == *made) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
