//! What `cargo metadata` knows about this repository: its folders and its guests.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use kit::cargo::is_cdylib;
use serde_json::Value;

/// The checkout this tool works on.
pub struct Workspace {
    pub root: PathBuf,
    /// Cargo's target folder; `CARGO_TARGET_DIR` is honoured by cargo itself.
    pub target: PathBuf,
    pub guests: Vec<Guest>,
}

/// A package, or one of its examples, that is built into a WebAssembly component.
#[derive(Debug, PartialEq, Eq)]
pub struct Guest {
    pub package: String,
    /// A plugin for tests, never shipped: an example of the package.
    pub example: Option<String>,
    /// Built like a plugin for users, which takes longer: always if it is one; a plugin for tests if its package
    /// says so (`package.metadata.jackfield.as-shipped`), because something measures it.
    pub as_shipped: bool,
    /// Where its sources are; its `plugin.toml` is the manifest, if it has one.
    pub folder: PathBuf,
}

impl Guest {
    /// The plugin's name: `asterisk` for the package `jackfield-asterisk`.
    pub fn name(&self) -> &str {
        let package = self.package.strip_prefix("jackfield-").unwrap_or(&self.package);
        self.example.as_deref().unwrap_or(package)
    }
}

impl Workspace {
    pub fn load() -> anyhow::Result<Self> {
        let output = Command::new(cargo())
            .args(["metadata", "--no-deps", "--format-version=1"])
            .output()
            .context("cannot run cargo")?;
        ensure!(
            output.status.success(),
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let folder = |key: &str| {
            metadata[key].as_str().map(PathBuf::from).with_context(|| format!("no {key} in it"))
        };
        let root = folder("workspace_root")?;
        let guests = guests(&metadata, &root);
        Ok(Self { target: folder("target_directory")?, root, guests })
    }

    /// Where built plugins land.
    pub fn plugins(&self) -> PathBuf {
        self.target.join("plugins")
    }

    /// Where plugins for tests land: where nobody looks who was not told.
    pub fn test_plugins(&self) -> PathBuf {
        self.plugins().join("test")
    }
}

/// The cargo that started us, else the one on PATH.
pub fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

fn guests(metadata: &Value, root: &Path) -> Vec<Guest> {
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let mut guests: Vec<Guest> =
        packages.iter().flat_map(|package| guests_of(package, root)).collect();
    guests.sort_by(|a, b| (&a.package, &a.example).cmp(&(&b.package, &b.example)));
    guests
}

fn guests_of(package: &Value, root: &Path) -> Vec<Guest> {
    let Some(name) = package["name"].as_str() else { return Vec::new() };
    let manifest = package["manifest_path"].as_str().map(Path::new);
    let folder = manifest.and_then(Path::parent).unwrap_or(root).to_owned();
    if is_guest(package, root) {
        return vec![Guest { package: name.to_owned(), example: None, as_shipped: true, folder }];
    }
    if !manifest.is_some_and(|manifest| manifest.starts_with(root.join("tests/guests"))) {
        return Vec::new();
    }
    let as_shipped = package["metadata"]["jackfield"]["as-shipped"].as_array();
    let targets = package["targets"].as_array().map_or(&[][..], Vec::as_slice);
    let examples = targets.iter().filter(|target| target["kind"][0] == "example");
    examples
        .filter(|target| is_cdylib(target))
        .filter_map(|target| target["name"].as_str())
        .map(|example| Guest {
            package: name.to_owned(),
            example: Some(example.to_owned()),
            as_shipped: as_shipped.is_some_and(|names| names.iter().any(|name| name == example)),
            folder: folder.clone(),
        })
        .collect()
}

fn is_guest(package: &Value, root: &Path) -> bool {
    let Some(manifest) = package["manifest_path"].as_str().map(Path::new) else { return false };
    if manifest.starts_with(root.join("plugins")) {
        let targets = package["targets"].as_array().map_or(&[][..], Vec::as_slice);
        return targets.iter().any(is_cdylib);
    }
    manifest.starts_with(root.join("examples"))
        && package["metadata"]["jackfield"]["kind"].is_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn guests_are_cdylibs_of_plugins_and_declared_examples() {
        let package = |name: &str, manifest: &str, kind: &str, metadata: Value| {
            json!({ "name": name, "manifest_path": manifest, "metadata": metadata,
                    "targets": [{ "crate_types": [kind, "rlib"] }] })
        };
        let declared = json!({ "jackfield": { "kind": "router" } });
        let metadata = json!({ "packages": [
            package("jackfield-sdk", "/repo/plugins/sdk/Cargo.toml", "lib", Value::Null),
            package("jackfield-asterisk", "/repo/plugins/asterisk/Cargo.toml", "cdylib", Value::Null),
            package("office-hours", "/repo/examples/office-hours/Cargo.toml", "cdylib", declared),
            package("tool", "/repo/examples/tool/Cargo.toml", "cdylib", Value::Null),
            package("jackfield", "/repo/host/Cargo.toml", "cdylib", Value::Null),
            { "name": "bad-ones", "manifest_path": "/repo/tests/guests/Cargo.toml",
              "metadata": { "jackfield": { "as-shipped": ["measured"] } }, "targets": [
                { "kind": ["lib"], "name": "bad_ones", "crate_types": ["lib"] },
                { "kind": ["example"], "name": "mad", "crate_types": ["cdylib"] },
                { "kind": ["example"], "name": "measured", "crate_types": ["cdylib"] },
                { "kind": ["example"], "name": "tool", "crate_types": ["bin"] },
            ]},
        ]});
        let found = guests(&metadata, Path::new("/repo"));
        let names: Vec<&str> = found.iter().map(Guest::name).collect();
        assert_eq!(names, ["mad", "measured", "asterisk", "office-hours"]);
        let as_shipped: Vec<bool> = found.iter().map(|guest| guest.as_shipped).collect();
        assert_eq!(as_shipped, [false, true, true, true]);
    }
}
