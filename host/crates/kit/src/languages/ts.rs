//! Plugins in TypeScript: checked by `tsc --strict`, bundled, and put into a component with QuickJS, without WASI.
//!
//! The project pins its tools in package-lock.json, by hash. They are installed once for each lock file into a folder
//! that all projects share, and appear in the project as `node_modules`, so that editors and `npm test` find them too.
//! No script of a package is run at installation.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use super::{
    Compiled, Language, run,
    tools::{Found, Installed, Wanted, explain_network, installed, link_tree},
    vendored,
};
use crate::{
    Progress, Silent,
    build::{Options, ensure_folder},
    project::{Kind, Lang, Project},
};

const NODE: Wanted = Wanted {
    name: "node",
    variable: "JACKFIELD_PLUGIN_NODE",
    least: (20, 0),
    fix: "install Node.js 20 or newer (Debian 13: `apt install nodejs npm`; elsewhere: nodejs.org), or set JACKFIELD_PLUGIN_NODE",
};

const NPM: Wanted = Wanted {
    name: "npm",
    variable: "JACKFIELD_PLUGIN_NPM",
    least: (8, 0),
    fix: "install npm (Debian: `apt install npm`; it comes with Node.js from nodejs.org), or set JACKFIELD_PLUGIN_NPM",
};

/// In a `node_modules` that we made: which tools it has.
const MARK: &str = ".jackfield-tools";

/// TypeScript, WASI-free.
#[derive(Debug)]
pub struct TypeScript;

impl Language for TypeScript {
    fn lang(&self) -> Lang {
        Lang::Ts
    }

    fn compile(
        &self,
        project: &Project,
        options: &Options,
        progress: &dyn Progress,
    ) -> anyhow::Result<Compiled> {
        let node = NODE.find()?;
        prepare(project, options, &node, progress)?;
        vendored::restore(project, &sdk(), progress)?;
        let script = script(project, "sdk/build.mjs")?;
        let folder = project.root.join("build");
        ensure_folder(&folder)?;
        let output = folder.join(".component.wasm");
        let mut build = Command::new(&node.program);
        build.arg(script).arg(&output).current_dir(&project.root);
        run(&mut build, "node sdk/build.mjs", progress)?;
        let component = fs::read(&output)
            .with_context(|| format!("sdk/build.mjs left no {}", output.display()))?;
        fs::remove_file(&output)?;
        Ok(Compiled { component, tools: format!("{node}, componentize-qjs of package-lock.json") })
    }

    fn unit_tests(&self, project: &Project, options: &Options) -> anyhow::Result<Command> {
        let node = NODE.find()?;
        prepare(project, options, &node, &Silent)?;
        vendored::restore(project, &sdk(), &Silent)?;
        let mut command = Command::new(&node.program);
        command.arg(script(project, "sdk/test.mjs")?).current_dir(&project.root);
        Ok(command)
    }

    fn generated(&self, kind: Kind) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        Ok([sdk(), vendored::shared(kind)].concat())
    }

    fn left_overs(&self) -> &'static [&'static str] {
        &["node_modules"]
    }
}

fn sdk() -> Vec<(String, Vec<u8>)> {
    [vendored::folder("ts/sdk/", "sdk/"), vendored::wit()].concat()
}

fn script(project: &Project, name: &str) -> anyhow::Result<PathBuf> {
    let path = project.root.join(name);
    ensure!(
        path.is_file(),
        "there is no {}; fix: take the folder sdk/ of a new project (`jackfield plugin new --lang ts`), or give [build] a \
         command and its output",
        path.display()
    );
    Ok(path)
}

/// Sees to it that the project has the `node_modules` of its lock file.
fn prepare(
    project: &Project,
    options: &Options,
    node: &Found,
    progress: &dyn Progress,
) -> anyhow::Result<()> {
    let modules = project.root.join("node_modules");
    let mark = modules.join(MARK);
    let marked = match fs::read_to_string(&mark) {
        Ok(marked) => Some(marked),
        Err(_) if modules.is_dir() => return ensure_complete(&modules),
        Err(_) => None,
    };
    let tools = install(project, options, node, progress)?;
    if marked.as_deref() == Some(&tools.key) && ensure_complete(&modules).is_ok() {
        return Ok(());
    }
    let failed = |error: io::Error| {
        anyhow::Error::new(error).context(format!("cannot make {}", modules.display()))
    };
    if modules.exists() {
        fs::remove_dir_all(&modules).map_err(failed)?;
    }
    link_tree(&tools.folder.join("node_modules"), &modules).map_err(failed)?;
    // Last: a half-made folder has none and is made again.
    fs::write(&mark, &tools.key).map_err(failed)?;
    Ok(())
}

/// Somebody's own `node_modules` does as well as ours when it has the tools.
fn ensure_complete(modules: &Path) -> anyhow::Result<()> {
    for tool in ["componentize-qjs", "esbuild", "typescript"] {
        ensure!(
            modules.join(tool).join("package.json").is_file(),
            "{} has no {tool}; fix: run `npm ci` in the project, or delete node_modules and build again",
            modules.display()
        );
    }
    Ok(())
}

fn install(
    project: &Project,
    options: &Options,
    node: &Found,
    progress: &dyn Progress,
) -> anyhow::Result<Installed> {
    let read = |name: &str| {
        let path = project.root.join(name);
        fs::read(&path).with_context(|| {
            format!(
                "cannot read {}; fix: take it from a new project (`jackfield plugin new --lang ts`), or run `npm install`",
                path.display()
            )
        })
    };
    let (package, lock) = (read("package.json")?, read("package-lock.json")?);
    // Its own settings, such as another registry, hold for the project only.
    let npmrc = fs::read(project.root.join(".npmrc")).ok();
    let major = node.version.split('.').next().unwrap_or_default();
    let parts = [&package, &lock, npmrc.as_deref().unwrap_or_default(), major.as_bytes()];
    installed("node", &parts, options, progress, |folder| {
        let npm = NPM.find()?;
        fs::write(folder.join("package.json"), &package)?;
        fs::write(folder.join("package-lock.json"), &lock)?;
        if let Some(npmrc) = &npmrc {
            fs::write(folder.join(".npmrc"), npmrc)?;
        }
        let mut ci = Command::new(&npm.program);
        ci.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]);
        ci.current_dir(folder);
        if let Some(path) = beside(&node.program) {
            ci.env("PATH", path);
        }
        run(&mut ci, "npm ci", progress)
            .map_err(|error| explain_network(error, "npm's registry"))?;
        ensure_complete(&folder.join("node_modules")).map_err(|error| {
            error.context("npm installed something else than the project needs")
        })?;
        Ok(())
    })
}

/// npm is a script for node: the node that was named comes first on its PATH.
fn beside(node: &std::ffi::OsStr) -> Option<std::ffi::OsString> {
    let folder = Path::new(node).parent().filter(|folder| folder.is_absolute())?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path)))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lock file that new projects get.
    const LOCK: &str = include_str!("../../templates/ts/common/package-lock.json");

    #[test]
    fn every_tool_is_pinned_by_a_hash_and_no_host_is_named() {
        let lock: serde_json::Value = serde_json::from_str(LOCK).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        assert!(packages.len() > 4);
        for (path, package) in packages.iter().filter(|(path, _)| !path.is_empty()) {
            let hash = package["integrity"].as_str().unwrap_or_default();
            assert!(hash.starts_with("sha512-"), "{path} has no hash");
            assert!(package.get("resolved").is_none(), "{path} names where it comes from");
            assert!(
                package.get("hasInstallScript").is_none() || path.ends_with("/esbuild"),
                "{path}"
            );
        }
        assert!(!LOCK.contains("://"), "a host is named");
        let pins = &packages[""]["devDependencies"];
        let exact = |pin: &serde_json::Value| {
            pin.as_str().is_some_and(|pin| pin.starts_with(|c: char| c.is_ascii_digit()))
        };
        assert!(pins.as_object().unwrap().values().all(exact), "{pins}");
    }

    #[test]
    fn a_node_modules_of_the_authors_own_is_used_when_it_has_the_tools() {
        let folder = tempfile::tempdir().unwrap();
        let error = ensure_complete(folder.path()).unwrap_err().to_string();
        assert!(error.contains("has no componentize-qjs; fix: run `npm ci`"), "{error}");
    }
}
