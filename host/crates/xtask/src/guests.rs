//! `cargo xtask plugins`: every guest from source to `<target>/plugins/<name>.wasm`, those for tests to
//! `<target>/plugins/test/<name>.wasm`.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::component;
use crate::toolchain::{self, TARGET, Toolchain};
use crate::workspace::{Guest, Workspace, cargo, is_cdylib};

/// Builds all guests, or only those named.
pub fn build(workspace: &Workspace, only: &[String]) -> anyhow::Result<()> {
    let guests = select(&workspace.guests, only)?;
    if guests.is_empty() {
        println!("no guests in this workspace");
        return Ok(());
    }
    let toolchain = toolchain::find()?;
    println!("guests: {toolchain}");
    fs::create_dir_all(workspace.test_plugins())?;
    for guest in guests {
        let started = Instant::now();
        let core = compile(workspace, &toolchain, guest)
            .with_context(|| format!("cannot build {}", guest.name()))?;
        let component = component::from_core_module(&fs::read(&core)?)
            .with_context(|| format!("{} cannot be a plugin", guest.name()))?;
        let folder =
            if guest.example.is_some() { workspace.test_plugins() } else { workspace.plugins() };
        let path = folder.join(format!("{}.wasm", guest.name()));
        let news = write(&path, &component)?;
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

/// Runs cargo for one guest; answers where its core module is.
fn compile(workspace: &Workspace, toolchain: &Toolchain, guest: &Guest) -> anyhow::Result<PathBuf> {
    let mut command = Command::new(cargo());
    match &guest.example {
        None => command.args(["build", "--profile=plugin", "--lib"]),
        Some(example) => command.args(["build", "--profile=test-plugin", "--example", example]),
    };
    command
        .args(["--quiet", "--target", TARGET])
        .args(["--message-format=json-render-diagnostics", "--package", &guest.package])
        // Ours is the rust-version of the host; guests may be built by an older compiler.
        .arg("--ignore-rust-version")
        // Never the host's folder: another rustc there would rebuild everything at each turn.
        .arg("--target-dir")
        .arg(workspace.target.join("guests"))
        .current_dir(&workspace.root)
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(workspace))
        .env("RUSTC", &toolchain.rustc)
        // A wrapper is tuned to the host's compiler; an empty value also overrides config files.
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "")
        .stdout(Stdio::piped());
    if let Some(linker) = &toolchain.linker {
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    if toolchain.build_std {
        command.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=std,panic_abort");
    }
    let output = command.spawn()?.wait_with_output()?;
    ensure!(output.status.success(), "cargo build failed, see above");
    core_module(&String::from_utf8(output.stdout)?, guest)
        .with_context(|| format!("cargo made no .wasm of {}: is it a cdylib?", guest.package))
}

fn rust_flags(workspace: &Workspace) -> OsString {
    let mut flags: Vec<OsString> =
        ["-Ctarget-feature=+simd128", "-Clink-arg=-zstack-size=65536"].map(Into::into).into();
    // The same source gives the same bytes wherever it is built, and no one's home is shipped.
    let mut remap = |from: &Path, to: &str| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push(to);
        flags.push(flag);
    };
    if let Some(home) = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(cargo_home) {
        remap(&home, "=/cargo");
    }
    remap(&workspace.root, "=/jackfield");
    flags.join(&OsString::from("\u{1f}"))
}

fn cargo_home() -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(".cargo"))
}

/// Finds the guest's own `.wasm` in cargo's messages.
fn core_module(messages: &str, guest: &Guest) -> Option<PathBuf> {
    let package = guest.package.as_str();
    let of_package = |message: &Value| {
        // `path+file:///repo/plugins/asterisk#jackfield-asterisk@0.1.0`, without the name when it
        // is the folder's.
        let id = message["package_id"].as_str().unwrap_or_default();
        let (path, tail) = id.rsplit_once('#').unwrap_or_default();
        tail.split('@').next() == Some(package) || path.rsplit('/').next() == Some(package)
    };
    let is_it = |message: &Value| {
        of_package(message)
            && guest.example.as_ref().is_none_or(|name| message["target"]["name"] == **name)
    };
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && is_cdylib(&message["target"]))
        .filter(is_it)
        .filter_map(|message| message["filenames"].as_array().cloned())
        .flatten()
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

/// Replaces the file in one step, so that a running host never sees half a plugin.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<&'static str> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok("  (unchanged)");
    }
    let folder = path.parent().context("a plugin has a folder")?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    fs::set_permissions(file.path(), readable_by_all())?;
    file.persist(path)?;
    Ok("")
}

/// Temporary files are private; a plugin need not be.
fn readable_by_all() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(package: &str, example: Option<&str>) -> Guest {
        Guest { package: package.into(), example: example.map(Into::into) }
    }

    #[test]
    fn the_guests_own_module_is_picked_from_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","package_id":"registry+x#serde@1.0.0","target":{"crate_types":["lib"]},"filenames":["/t/libserde.rlib"]}
{"reason":"compiler-artifact","package_id":"path+file:///r/plugins/asterisk#jackfield-asterisk@0.1.0","target":{"crate_types":["cdylib","rlib"]},"filenames":["/t/a.wasm","/t/liba.rlib"]}
{"reason":"compiler-artifact","package_id":"path+file:///r/examples/hours#0.1.0","target":{"crate_types":["cdylib"]},"filenames":["/t/hours.wasm"]}
{"reason":"compiler-artifact","package_id":"path+file:///r/tests/guests#0.1.0","target":{"name":"next","crate_types":["cdylib"]},"filenames":["/t/next.wasm"]}
{"reason":"compiler-artifact","package_id":"path+file:///r/tests/guests#0.1.0","target":{"name":"mad","crate_types":["cdylib"]},"filenames":["/t/mad.wasm"]}
{"reason":"build-finished","success":true}"#;
        let module = |package, example| core_module(messages, &guest(package, example));
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
