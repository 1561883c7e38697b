//! Lists the files the kit carries along: templates, the SDK's sources, the WIT files of today and of each release.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = here.join("../../..");
    let mut code = String::new();
    for (name, doc, folder) in [
        ("TEMPLATES", "Templates, by `<lang>/<kind>/<file>`.", here.join("templates")),
        ("SDK", "The Rust SDK's sources.", root.join("plugins/sdk")),
        ("WIT", "The contract.", root.join("wit")),
    ] {
        println!("cargo:rerun-if-changed={}", folder.display());
        let list = listed(&folder)?;
        code += &format!("/// {doc}\npub(crate) const {name}: Files = {list};\n");
    }
    let museum = root.join("tests/museum");
    println!("cargo:rerun-if-changed={}", museum.display());
    code += "/// Each released version of the contract, with its files.\n";
    code += "pub(crate) const RELEASED: &[(&str, Files)] = &[\n";
    let mut versions = Vec::new();
    for entry in fs::read_dir(&museum)? {
        let wit = entry?.path().join("wit");
        if wit.is_dir() {
            versions.push(wit);
        }
    }
    versions.sort();
    for wit in versions {
        let version = wit.parent().and_then(Path::file_name).expect("it was found in a folder");
        code += &format!("    ({:?}, {}),\n", version, listed(&wit)?);
    }
    code += "];\n";
    for (name, file) in [("WORKSPACE", "Cargo.toml"), ("LOCK", "Cargo.lock")] {
        let file = root.join(file);
        println!("cargo:rerun-if-changed={}", file.display());
        code += &format!(
            "/// Of this repository.\npub(crate) const {name}: &str = include_str!({file:?});\n"
        );
    }
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("embedded.rs"), code)
}

/// The folder's files with their content, as a constant is written.
fn listed(folder: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    let mut list = "&[\n".to_owned();
    for file in files {
        let inner = file.strip_prefix(folder).expect("it was found there").to_owned();
        list += &format!("    ({:?}, include_bytes!({:?})),\n", inner, file);
    }
    Ok(list + "]")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    // What tools leave behind while somebody works on a template.
    const LEFT_OVERS: [&str; 4] = ["target", "node_modules", "__pycache__", ".venv"];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if LEFT_OVERS.iter().any(|left_over| name == *left_over) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
