//! What `test`, `bench` and `conform` are about: a component and scenarios, of a project or given one by one.

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use kit::{
    Progress, build, fresh,
    project::{FILE, Project},
    scenario::{self, Kind, Mistakes, Scenario},
};
use plugin_runtime::Plugin;

use super::{OnStderr, ToolArgs};
use crate::{connectors::load, plugins::compile};

/// Work that takes longer is told of.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, Args)]
pub(super) struct SubjectArgs {
    /// A project's folder, or scenario files of it; with --component, scenario files or a folder with some.
    #[arg(default_value = ".", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Try this component instead of the project's; nothing is built.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Only scenarios with this in their file's name or title.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Build even if nothing was saved since the last time.
    #[arg(long, conflicts_with = "component")]
    build: bool,
    #[command(flatten)]
    tools: ToolArgs,
}

/// A loaded component with what it is tried with.
pub(super) struct Subject {
    pub plugin: Plugin,
    pub file: PathBuf,
    pub scenarios: Vec<Scenario>,
    /// Files that were left out by the filter.
    pub left_out: usize,
}

/// Scenario files with mistakes in them: nothing is tried.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub(super) struct BadScenarios(pub Vec<Mistakes>);

/// There is nothing to try.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NothingToTry(pub String);

impl SubjectArgs {
    /// Builds if needed, loads, reads the scenarios.
    pub fn load(&self) -> anyhow::Result<Subject> {
        let (file, files) = match &self.component {
            Some(component) => (component.clone(), self.scenario_files()?),
            None => self.of_project()?,
        };
        let runtime = compile::runtime()?;
        let line = format!("compiling {}, which is done once", file.display());
        let loaded = told_if_long(PATIENCE, || OnStderr.say(&line), || load(&runtime, &file));
        let plugin = loaded.map_err(anyhow::Error::msg)?.plugin;
        let usual = match plugin.kinds() {
            [kind] => Some(*kind),
            _ => None,
        };
        let total = files.len();
        let scenarios = self.read(files, usual)?;
        let left_out = total - scenarios.len();
        Ok(Subject { plugin, file, scenarios, left_out })
    }

    fn of_project(&self) -> anyhow::Result<(PathBuf, Vec<PathBuf>)> {
        if let Some(missing) = self.paths.iter().find(|path| !path.exists()) {
            let text = format!(
                "there is no {}; fix: name scenario files of the project, or its folder",
                missing.display()
            );
            return Err(NothingToTry(text).into());
        }
        let is_file = |path: &&PathBuf| path.is_file();
        let given: Vec<PathBuf> = self.paths.iter().filter(is_file).cloned().collect();
        let first = self.paths.first().map_or(Path::new("."), PathBuf::as_path);
        let folder = if first.is_file() { first.parent().unwrap_or(first) } else { first };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let project = Project::find(folder)?;
        if self.build || !fresh::is_fresh(&project) {
            build::build(&project, &self.tools.options(), &OnStderr)?;
        }
        let files = if given.is_empty() { project.scenarios() } else { given };
        if files.is_empty() {
            let folder = project.root.join("scenarios");
            let text = format!(
                "there is no scenario in {}; fix: write one, e.g. as a new project has it (`jackfield plugin new`)",
                folder.display()
            );
            return Err(NothingToTry(text).into());
        }
        Ok((project.component(), files))
    }

    fn scenario_files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for path in &self.paths {
            let within = path.join("scenarios");
            let path = if within.is_dir() { &within } else { path };
            let found = scenario::files(path)
                .with_context(|| format!("cannot look for scenarios in {}", path.display()))?;
            files.extend(found.into_iter().filter(|file| !file.ends_with(FILE)));
        }
        if files.is_empty() {
            let text = "there is no scenario; name .toml files, or a folder with some".to_owned();
            return Err(NothingToTry(text).into());
        }
        Ok(files)
    }

    fn read(&self, files: Vec<PathBuf>, usual: Option<Kind>) -> anyhow::Result<Vec<Scenario>> {
        let (mut scenarios, mut bad) = (Vec::new(), Vec::new());
        for file in files {
            match Scenario::load(&file, usual) {
                Ok(scenario) => scenarios.push(scenario),
                Err(mistakes) => bad.push(mistakes),
            }
        }
        if !bad.is_empty() {
            return Err(BadScenarios(bad).into());
        }
        if let Some(filter) = &self.filter {
            scenarios.retain(|scenario| {
                let name = scenario.file.file_name().unwrap_or_default().to_string_lossy();
                name.contains(filter.as_str()) || scenario.title.contains(filter.as_str())
            });
            if scenarios.is_empty() {
                let text = format!("no scenario has `{filter}` in its name or title");
                return Err(NothingToTry(text).into());
            }
        }
        Ok(scenarios)
    }
}

/// Works, and tells once when it takes long.
fn told_if_long<T>(patience: Duration, tell: impl Fn() + Send, work: impl FnOnce() -> T) -> T {
    let (done, waits) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if waits.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
                tell();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_long_is_told_of() {
        let (tell, told) = mpsc::sync_channel(1);
        let tell = || tell.send(()).expect("somebody listens");
        // Done only when it was told.
        let long =
            told_if_long(Duration::ZERO, tell, || told.recv_timeout(Duration::from_secs(60)));
        assert_eq!(long, Ok(()));
        let (tell, told) = mpsc::sync_channel(1);
        let tell = || tell.send(()).expect("somebody listens");
        told_if_long(Duration::from_secs(60), tell, || ());
        assert!(told.try_recv().is_err());
    }
}
