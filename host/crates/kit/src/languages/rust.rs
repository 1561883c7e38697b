//! Plugins in Rust: cargo with a compiler that has a WebAssembly library, then a component made in process.

mod vendored;

use std::{path::Path, process::Command};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{Compiled, Language, run};
use crate::{
    Progress, build,
    build::Options,
    cargo::{Cargo, cargo, core_module},
    component,
    project::{Kind, Lang, Project},
    toolchain,
};

/// Rust.
#[derive(Debug)]
pub struct Rust;

impl Language for Rust {
    fn lang(&self) -> Lang {
        Lang::Rust
    }

    fn compile(
        &self,
        project: &Project,
        options: &Options,
        progress: &dyn Progress,
    ) -> anyhow::Result<Compiled> {
        let manifest = project.root.join("Cargo.toml");
        ensure!(
            manifest.is_file(),
            "there is no {}; fix: a plugin in Rust is a cargo package, see `jackfield plugin new --lang rust`",
            manifest.display()
        );
        let toolchain = toolchain::find(options.reach(), progress)?;
        // Never the folder of native builds: another rustc there would rebuild everything at each turn.
        let target = options.target(project).join("plugin");
        build::ensure_folder(&target)?;
        let mut cargo = Cargo {
            toolchain: &toolchain,
            target: &target,
            root: &project.root,
            called: None,
            offline: options.offline,
        }
        .command();
        cargo.args(["build", "--message-format=json-render-diagnostics", "--lib", "--profile"]);
        cargo.arg(project.build.profile.as_deref().unwrap_or("release"));
        cargo.arg("--manifest-path").arg(&manifest);
        let messages = run(&mut cargo, "cargo build", progress)?;
        let is_it =
            |artifact: &Value| artifact["manifest_path"].as_str().map(Path::new) == Some(&manifest);
        let core = core_module(&messages, is_it).with_context(|| {
            format!(
                "cargo made no .wasm; fix: in {}, [lib] needs crate-type = [\"cdylib\", \"rlib\"]",
                manifest.display()
            )
        })?;
        let core =
            std::fs::read(&core).with_context(|| format!("cannot read {}", core.display()))?;
        let component = component::from_core_module(&core)?;
        Ok(Compiled { component, tools: toolchain.to_string() })
    }

    fn unit_tests(&self, project: &Project, options: &Options) -> anyhow::Result<Command> {
        let mut command = Command::new(cargo());
        command.arg("test").arg("--manifest-path").arg(project.root.join("Cargo.toml"));
        command.arg("--target-dir").arg(options.target(project));
        if options.offline {
            command.arg("--offline");
        }
        Ok(command)
    }

    fn generated(&self, _: Kind) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        vendored::sdk()
    }

    fn left_overs(&self) -> &'static [&'static str] {
        &["target", "vendor"]
    }
}
