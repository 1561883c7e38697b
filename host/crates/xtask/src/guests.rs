//! `cargo xtask plugins`: every guest from source to `<target>/plugins/<name>.wasm`, those for tests to
//! `<target>/plugins/test/<name>.wasm`.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use kit::cargo::{Cargo, core_module};
use kit::component;
use kit::description::{Description, FILE};
use kit::file::write;
use kit::toolchain::{self, Reach, Toolchain};
use serde_json::Value;

use crate::workspace::{Guest, Workspace};

/// Builds all guests, or only those named.
pub fn build(workspace: &Workspace, only: &[String]) -> anyhow::Result<()> {
    let guests = select(&workspace.guests, only)?;
    if guests.is_empty() {
        println!("no guests in this workspace");
        return Ok(());
    }
    let toolchain = find_toolchain()?;
    println!("guests: {toolchain}");
    fs::create_dir_all(workspace.test_plugins())?;
    for guest in guests {
        let started = Instant::now();
        let core = compile(workspace, &toolchain, guest)
            .with_context(|| format!("cannot build {}", guest.name()))?;
        let mut component = component::from_core_module(&fs::read(&core)?)
            .with_context(|| format!("{} cannot be a plugin", guest.name()))?;
        if guest.example.is_none() && guest.folder.join(FILE).is_file() {
            let manifest = Description::read(&guest.folder)?.manifest.to_string();
            component = component::with_manifest(&component, manifest.as_bytes())?;
        }
        let folder =
            if guest.example.is_some() { workspace.test_plugins() } else { workspace.plugins() };
        let path = folder.join(format!("{}.wasm", guest.name()));
        let news = if write(&path, &component)? { "  (unchanged)" } else { "" };
        println!(
            "{:<20} {:>8} bytes  {:>6.2} s  {}{news}",
            guest.name(),
            component.len(),
            started.elapsed().as_secs_f64(),
            path.display(),
        );
    }
    Ok(())
}

fn select<'a>(guests: &'a [Guest], only: &[String]) -> anyhow::Result<Vec<&'a Guest>> {
    for name in only {
        if !guests.iter().any(|guest| guest.name() == name || guest.package == *name) {
            let known: Vec<&str> = guests.iter().map(Guest::name).collect();
            bail!("no plugin named {name}; there are: {}", known.join(", "));
        }
    }
    let wanted = |guest: &&Guest| {
        only.is_empty() || only.iter().any(|name| guest.name() == name || guest.package == *name)
    };
    Ok(guests.iter().filter(wanted).collect())
}

/// `cargo xtask toolchain`.
pub fn show_toolchain(fetch: bool) -> anyhow::Result<()> {
    if fetch {
        println!("private toolchain: {}", toolchain::fetch(&say)?.display());
    }
    println!("guests are built with {}", find_toolchain()?);
    Ok(())
}

fn find_toolchain() -> anyhow::Result<Toolchain> {
    toolchain::find(Reach { offline: false, fetch: true }, &say)
}

fn say(line: &str) {
    println!("{line}");
}

/// Runs cargo for one guest; answers where its core module is.
fn compile(workspace: &Workspace, toolchain: &Toolchain, guest: &Guest) -> anyhow::Result<PathBuf> {
    let target = workspace.target.join("guests");
    let cargo = Cargo {
        toolchain,
        target: &target,
        root: &workspace.root,
        called: Some("/jackfield"),
        offline: false,
    };
    let mut command = cargo.command();
    match &guest.example {
        None => command.args(["build", "--lib"]),
        Some(example) => command.args(["build", "--example", example]),
    };
    command
        .args(["--profile", if guest.as_shipped { "plugin" } else { "test-plugin" }])
        .args(["--quiet", "--message-format=json-render-diagnostics"])
        .args(["--package", &guest.package])
        // Ours is the rust-version of the host; guests may be built by an older compiler.
        .arg("--ignore-rust-version")
        .stdout(Stdio::piped());
    let output = command.spawn()?.wait_with_output()?;
    ensure!(output.status.success(), "cargo build failed, see above");
    core_module(&String::from_utf8(output.stdout)?, |artifact| is_of(artifact, guest))
        .with_context(|| format!("cargo made no .wasm of {}: is it a cdylib?", guest.package))
}

/// Is a message of cargo's about this guest?
fn is_of(artifact: &Value, guest: &Guest) -> bool {
    let package = guest.package.as_str();
    // `path+file:///repo/plugins/asterisk#jackfield-asterisk@0.1.0`, without the name when it is the
    // folder's.
    let id = artifact["package_id"].as_str().unwrap_or_default();
    let (path, tail) = id.rsplit_once('#').unwrap_or_default();
    let of_package =
        tail.split('@').next() == Some(package) || path.rsplit('/').next() == Some(package);
    of_package && guest.example.as_ref().is_none_or(|name| artifact["target"]["name"] == **name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(package: &str, example: Option<&str>) -> Guest {
        Guest {
            package: package.into(),
            example: example.map(Into::into),
            as_shipped: example.is_none(),
            folder: "/".into(),
        }
    }

    #[test]
    fn the_guests_own_module_is_picked_from_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","package_id":"registry+x#serde@1.0.0","target":{"crate_types":["lib"]},"filenames":["/t/libserde.rlib"]}
{"reason":"compiler-artifact","package_id":"path+file:///r/plugins/asterisk#jackfield-asterisk@0.1.0","target":{"crate_types":["cdylib","rlib"]},"filenames":["/t/a.wasm","/t/liba.rlib"]}
{"reason":"compiler-artifact","package_id":"path+file:///r/examples/hours#0.1.0","target":{"crate_types":["cdylib"]},"filenames":["/t/hours.wasm"]}
{"reason":"compiler-artifact","package_id":"path+file:///r/tests/guests#0.1.0","target":{"name":"next","crate_types":["cdylib"]},"filenames":["/t/next.wasm"]}
{"reason":"compiler-artifact","package_id":"path+file:///r/tests/guests#0.1.0","target":{"name":"mad","crate_types":["cdylib"]},"filenames":["/t/mad.wasm"]}
{"reason":"build-finished","success":true}"#;
        let module =
            |package, example| core_module(messages, |it| is_of(it, &guest(package, example)));
        assert_eq!(module("jackfield-asterisk", None), Some("/t/a.wasm".into()));
        assert_eq!(module("hours", None), Some("/t/hours.wasm".into()));
        assert_eq!(module("serde", None), None);
        assert_eq!(module("guests", Some("mad")), Some("/t/mad.wasm".into()));
    }

    #[test]
    fn a_plugin_is_named_with_or_without_the_prefix_and_a_typo_lists_them() {
        let guests = ["jackfield-asterisk", "hours"].map(|name| guest(name, None));
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(ToString::to_string).collect();
            select(&guests, &only)
                .map(|chosen| chosen.iter().map(|guest| guest.name()).collect::<Vec<_>>().join(" "))
                .map_err(|error| error.to_string())
        };
        assert_eq!(names(&[]).unwrap(), "asterisk hours");
        assert_eq!(names(&["jackfield-asterisk"]).unwrap(), "asterisk");
        assert_eq!(
            names(&["asterix"]).unwrap_err(),
            "no plugin named asterix; there are: asterisk, hours"
        );
    }
}
