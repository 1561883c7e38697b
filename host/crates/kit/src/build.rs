//! `plugin build`: from a project's sources to a component that a host takes.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde::Serialize;

use crate::{
    Progress, check, component, contract, file,
    languages::{self, Compiled, language},
    project::Project,
    toolchain::Reach,
};

/// How to build.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Fetch nothing over the network.
    pub offline: bool,
    /// Fetch a private Rust toolchain if there is none (Debian).
    pub fetch_toolchain: bool,
    /// Where tools keep what they need again, instead of a folder inside the project.
    pub target_dir: Option<PathBuf>,
}

/// What was built.
#[derive(Clone, Debug, Serialize)]
pub struct Built {
    /// The component.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: usize,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// The tools that made it.
    pub tools: String,
    /// The bytes are those of the time before.
    pub unchanged: bool,
    /// How long it took.
    #[serde(serialize_with = "secs")]
    pub took: Duration,
}

/// Compiles, puts the manifest in, checks what a host would check without running it, and writes
/// [`Project::component`].
pub fn build(
    project: &Project,
    options: &Options,
    progress: &dyn Progress,
) -> anyhow::Result<Built> {
    let started = Instant::now();
    contract::project_parses(&project.root)?;
    let Compiled { component, tools } = compile(project, options, progress)?;
    let component = component::with_manifest(&component, &project.manifest_json())?;
    check::conforms(&component, project)?;
    let path = project.component();
    let unchanged = file::write(&path, &component)?;
    Ok(Built {
        path,
        bytes: component.len(),
        sha256: check::sha256(&component),
        tools,
        unchanged,
        took: started.elapsed(),
    })
}

fn compile(
    project: &Project,
    options: &Options,
    progress: &dyn Progress,
) -> anyhow::Result<Compiled> {
    match (&project.build.command, &project.build.output) {
        (Some(command), Some(output)) => by_command(project, command, output, progress),
        _ => language(project.lang).compile(project, options, progress),
    }
}

/// `[build] command`: whatever it leaves behind is a component, or a core module that describes one.
fn by_command(
    project: &Project,
    command: &[String],
    output: &Path,
    progress: &dyn Progress,
) -> anyhow::Result<Compiled> {
    let Some((program, arguments)) = command.split_first() else {
        bail!("[build] command is empty; fix: name a program, or take the line out");
    };
    let shown = command.join(" ");
    let mut run = std::process::Command::new(program);
    run.args(arguments).current_dir(&project.root);
    languages::run(&mut run, &shown, progress)?;
    let output = project.root.join(output);
    let wasm = fs::read(&output)
        .with_context(|| format!("`{shown}` left no {} behind", output.display()))?;
    let component = component::from_either(&wasm)?;
    Ok(Compiled { component, tools: shown })
}

impl Options {
    /// What may be done to get a Rust toolchain.
    pub fn reach(&self) -> Reach {
        Reach { offline: self.offline, fetch: self.fetch_toolchain }
    }

    /// Where tools keep what they need again: as told, by `CARGO_TARGET_DIR`, or `target` in the project.
    pub fn target(&self, project: &Project) -> PathBuf {
        let told = self.target_dir.clone().or_else(|| {
            std::env::var_os("CARGO_TARGET_DIR").filter(|it| !it.is_empty()).map(PathBuf::from)
        });
        match told {
            Some(folder) => std::path::absolute(&folder).unwrap_or(folder),
            None => project.root.join("target"),
        }
    }
}

fn secs<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(took.as_secs_f64())
}

/// A folder to build in must be writable, and the sentence about it short.
pub(crate) fn ensure_folder(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    ensure!(folder.is_dir(), "{} is no folder", folder.display());
    Ok(())
}
