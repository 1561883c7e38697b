//! Lists the files the kit carries along: templates, the SDK's sources, the WIT files.

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
        let mut files = Vec::new();
        collect(&folder, &mut files)?;
        files.sort();
        code += &format!("/// {doc}\npub(crate) const {name}: &[(&str, &[u8])] = &[\n");
        for file in files {
            let inner = file.strip_prefix(&folder).expect("it was found there").to_owned();
            code += &format!("    ({:?}, include_bytes!({:?})),\n", inner, file);
        }
        code += "];\n";
    }
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
