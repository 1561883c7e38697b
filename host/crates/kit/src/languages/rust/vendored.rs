//! The SDK as a project carries it: nothing of Jackfield is published, so its sources travel in this program.

use anyhow::Context;
use toml::{Table, Value};

use crate::embedded::{LOCK, SDK, WORKSPACE};

/// Where it lies in a project.
const FOLDER: &str = "vendor/jackfield-sdk";
/// What a project in Rust depends on; their versions are pinned to those this program was built with.
const PINNED: [&str; 5] = ["md-5", "serde", "serde_json", "toml", "wit-bindgen"];

/// The SDK's files with a manifest that stands alone, and a `Cargo.lock` with the versions this program knows to work.
pub(super) fn sdk() -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for (inner, content) in SDK {
        let content = match *inner {
            "Cargo.toml" => manifest(std::str::from_utf8(content)?, WORKSPACE)?.into_bytes(),
            _ => content.to_vec(),
        };
        files.push((format!("{FOLDER}/{inner}"), content));
    }
    files.push(("Cargo.lock".into(), lock(LOCK).into_bytes()));
    Ok(files)
}

/// The SDK's `Cargo.toml` with everything it inherits from the workspace written out.
fn manifest(package: &str, workspace: &str) -> anyhow::Result<String> {
    let mut package: Table = toml::from_str(package)?;
    let workspace: Table = toml::from_str(workspace)?;
    let shared = workspace.get("workspace").context("there is a workspace")?;
    package.remove("lints");
    package.remove("dev-dependencies");
    package.remove("bench");
    inherit(&mut package, &shared["package"], &shared["dependencies"])?;
    let mut text = String::from(
        "# The Jackfield SDK, as `jackfield plugin new` wrote it. Replace the folder to update.\n",
    );
    write_table(&mut text, &[], &package);
    Ok(text)
}

fn inherit(table: &mut Table, package: &Value, dependencies: &Value) -> anyhow::Result<()> {
    for (key, value) in table.iter_mut() {
        let Some(inner) = value.as_table_mut() else { continue };
        if inner.get("workspace").and_then(Value::as_bool) == Some(true) {
            let from = if dependencies.get(key).is_some() { dependencies } else { package };
            let base = from.get(key).with_context(|| format!("the workspace has no {key}"))?;
            let mut full = match base {
                Value::Table(full) => full.clone(),
                version if inner.len() > 1 => {
                    Table::from_iter([("version".into(), version.clone())])
                }
                version => {
                    *value = version.clone();
                    continue;
                }
            };
            inner.remove("workspace");
            full.extend(inner.clone());
            *value = Value::Table(full);
        } else {
            inherit(inner, package, dependencies)?;
        }
    }
    Ok(())
}

/// Sections for tables of tables, `key = value` for the rest.
fn write_table(text: &mut String, path: &[&str], table: &Table) {
    let is_section = |depth: usize, value: &Value| {
        value.is_table()
            && (depth == 0
                || value.as_table().is_some_and(|inner| inner.values().all(Value::is_table)))
    };
    let plain: Vec<_> = table.iter().filter(|(_, value)| !is_section(path.len(), value)).collect();
    if !plain.is_empty() {
        if !path.is_empty() {
            let keys: Vec<String> = path.iter().map(|key| bare_or_quoted(key)).collect();
            text.push_str(&format!("\n[{}]\n", keys.join(".")));
        }
        for (key, value) in plain {
            text.push_str(&format!("{} = {}\n", bare_or_quoted(key), inline(value)));
        }
    }
    for (key, value) in table.iter().filter(|(_, value)| is_section(path.len(), value)) {
        let inner = value.as_table().expect("sections are tables");
        let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
        write_table(text, &path, inner);
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::Table(table) => {
            let pairs = table
                .iter()
                .map(|(key, value)| format!("{} = {}", bare_or_quoted(key), inline(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(yes) => yes.to_string(),
        Value::Datetime(time) => time.to_string(),
    }
}

fn bare_or_quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { quoted(key) }
}

fn quoted(text: &str) -> String {
    // JSON's escapes are TOML's.
    serde_json::Value::from(text).to_string()
}

/// The part of a lock file that [`PINNED`] needs. Cargo adds the project's own packages to it.
fn lock(full: &str) -> String {
    let (head, packages) = full.split_once("[[package]]").unwrap_or((full, ""));
    let packages: Vec<&str> = packages.split("[[package]]").map(str::trim).collect();
    let field = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
        Some(line.trim_matches('"').to_owned())
    };
    let called = |package: &str, wanted: &str| {
        let mut words = wanted.split(' ');
        field(package, "name").as_deref() == words.next()
            && words
                .next()
                .is_none_or(|version| field(package, "version").as_deref() == Some(version))
    };
    let mut wanted: Vec<String> = PINNED.map(Into::into).into();
    let mut kept = Vec::new();
    while let Some(name) = wanted.pop() {
        for (index, package) in packages.iter().enumerate() {
            let published = field(package, "source").is_some();
            if published && !kept.contains(&index) && called(package, &name) {
                kept.push(index);
                let dependencies =
                    package.lines().skip_while(|line| !line.starts_with("dependencies = ["));
                let names = dependencies.skip(1).take_while(|line| !line.starts_with(']'));
                wanted
                    .extend(names.map(|line| line.trim().trim_matches(&['"', ','][..]).to_owned()));
            }
        }
    }
    kept.sort_unstable();
    let packages = kept.into_iter().map(|index| format!("[[package]]\n{}\n\n", packages[index]));
    format!("{head}{}", packages.collect::<String>()).trim_end().to_owned() + "\n"
}
