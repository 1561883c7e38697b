//! Plugins in Python: CPython itself in a component, by componentize-py, without WASI.
//!
//! The project pins its tools in requirements.txt, by hash. They are installed once for each such file into a folder
//! that all projects share; nothing is installed into the machine's Python.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};

use super::{
    Compiled, Language, run,
    tools::{Found, Installed, Wanted, explain_network, installed},
    vendored,
};
use crate::{
    Progress, Silent,
    build::{Options, ensure_folder},
    project::{Kind, Lang, Project},
};

const PYTHON: Wanted = Wanted {
    name: "python3",
    variable: "JACKFIELD_PLUGIN_PYTHON",
    least: (3, 11),
    fix: "install Python 3.11 or newer (Debian: `apt install python3 python3-pip`), or set JACKFIELD_PLUGIN_PYTHON",
};

/// Reads the sources, imports them natively, then makes the component; says what is wrong in a few lines.
const BUILD: &str = include_str!("python/build.py");

/// Python, WASI-free.
#[derive(Debug)]
pub struct Python;

impl Language for Python {
    fn lang(&self) -> Lang {
        Lang::Python
    }

    fn compile(
        &self,
        project: &Project,
        options: &Options,
        progress: &dyn Progress,
    ) -> anyhow::Result<Compiled> {
        let python = PYTHON.find()?;
        vendored::restore(project, &sdk(project.kind), progress)?;
        for needed in ["plugin.py", "jackfield/component.py"] {
            let path = project.root.join(needed);
            ensure!(
                path.is_file(),
                "there is no {}; fix: take it from a new project (`jackfield plugin new --lang python`), or give [build] a \
                 command and its output",
                path.display()
            );
        }
        let tools = install(project, options, &python, progress)?;
        let folder = project.root.join("build");
        ensure_folder(&folder)?;
        let output = folder.join(".component.wasm");
        let mut build = Command::new(&python.program);
        build.args(["-B", "-c", BUILD]).arg(project.kind.code()).arg(&output);
        build.current_dir(&project.root);
        build.env("PYTHONPATH", tools.folder.join("site"));
        // What else is installed or configured here must not find its way into the component.
        for name in ["VIRTUAL_ENV", "PYTHONHOME", "PYTHONSTARTUP"] {
            build.env_remove(name);
        }
        progress.say("putting Python into the component (10 to 30 s)");
        run(&mut build, "componentize-py", progress)?;
        let component = fs::read(&output)
            .with_context(|| format!("componentize-py left no {}", output.display()))?;
        fs::remove_file(&output)?;
        Ok(Compiled { component, tools: format!("{python}, componentize-py of requirements.txt") })
    }

    fn unit_tests(&self, project: &Project, _: &Options) -> anyhow::Result<Command> {
        let python = PYTHON.find()?;
        vendored::restore(project, &sdk(project.kind), &Silent)?;
        let mut command = Command::new(&python.program);
        command.args(["-B", "-m", "unittest", "discover", "-s", "tests", "-t", "."]);
        command.current_dir(&project.root);
        Ok(command)
    }

    fn generated(&self, kind: Kind) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        Ok([sdk(kind), vendored::shared(kind)].concat())
    }

    fn left_overs(&self) -> &'static [&'static str] {
        &["__pycache__", ".venv"]
    }
}

fn sdk(kind: Kind) -> Vec<(String, Vec<u8>)> {
    let stubs = format!("python/stubs/{}/", kind.code());
    [vendored::folder("python/sdk/", ""), vendored::folder(&stubs, "stubs/"), vendored::wit()]
        .concat()
}

fn install(
    project: &Project,
    options: &Options,
    python: &Found,
    progress: &dyn Progress,
) -> anyhow::Result<Installed> {
    let path = project.root.join("requirements.txt");
    let requirements = fs::read(&path).with_context(|| {
        format!(
            "cannot read {}; fix: take it from a new project (`jackfield plugin new --lang python`)",
            path.display()
        )
    })?;
    let version: String = python.version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let parts: [&[u8]; 2] = [&requirements, version.as_bytes()];
    installed("python", &parts, options, progress, |folder| {
        let list = folder.join("requirements.txt");
        fs::write(&list, &requirements)?;
        let mut pip = pip(python, folder, progress)?;
        pip.args([
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            "--no-compile",
        ]);
        pip.args(["--only-binary", ":all:", "--require-hashes", "--target"]);
        pip.arg(folder.join("site")).arg("-r").arg(&list).current_dir(folder);
        run(&mut pip, "pip install", progress)
            .map_err(|error| explain_network(error, "Python's package index"))?;
        Ok(())
    })
}

/// The machine's pip, or one of a venv made for the occasion.
fn pip(python: &Found, folder: &Path, progress: &dyn Progress) -> anyhow::Result<Command> {
    if runs(&python.program, &["-m", "pip", "--version"]) {
        let mut pip = Command::new(&python.program);
        pip.args(["-m", "pip"]);
        return Ok(pip);
    }
    let venv = folder.join("venv");
    let mut make = Command::new(&python.program);
    make.args(["-m", "venv"]).arg(&venv);
    if let Err(error) = run(&mut make, "python3 -m venv", progress) {
        bail!(
            "`{python}` has no pip, and cannot make a venv either; fix: `apt install python3-pip` (or python3-venv), or \
             set {} to a Python that has one of them\n{error:#}",
            PYTHON.variable
        );
    }
    let program: PathBuf = venv.join("bin/python3");
    let mut pip = Command::new(OsString::from(program));
    pip.args(["-m", "pip"]);
    Ok(pip)
}

fn runs(program: &OsString, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    /// What new projects get.
    const REQUIREMENTS: &str = include_str!("../../templates/python/common/requirements.txt");

    #[test]
    fn every_tool_is_pinned_by_hashes_and_no_host_is_named() {
        assert!(!REQUIREMENTS.contains("://") && !REQUIREMENTS.contains("--index-url"));
        let joined = REQUIREMENTS.replace("\\\n", " ");
        let lines = joined.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let mut packages = 0;
        for line in lines {
            packages += 1;
            assert!(line.contains("==") && line.contains("--hash=sha256:"), "{line}");
        }
        assert!(packages > 0);
    }
}
