//! `plugin pack`: one folder with all that is handed on: the component, its manifest, its SHA-256, how to sign it.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;

use crate::{check, file, project::Project};

/// What was packed.
#[derive(Clone, Debug, Serialize)]
pub struct Packed {
    /// `dist/<id>-<version>`.
    pub folder: PathBuf,
    /// What `plugin install` takes.
    pub component: PathBuf,
    /// SHA-256 of the component, lower-case hex.
    pub sha256: String,
    /// How to try it on a host of one's own, unsigned.
    pub install: String,
    /// How to sign it with minisign.
    pub sign: String,
}

/// Packs the built component of a project into `dist/<id>-<version>`.
///
/// A version that was packed with other bytes is refused: whoever has it would not know which one they have.
pub fn pack(project: &Project) -> anyhow::Result<Packed> {
    let built = project.component();
    let wasm = std::fs::read(&built).with_context(|| {
        format!("cannot read {}; fix: `jackfield plugin build`", built.display())
    })?;
    check::conforms(&wasm, project)?;
    let name = format!("{}-{}", project.manifest.id, project.manifest.version);
    let folder = project.root.join("dist").join(&name);
    let component = folder.join(format!("{name}.wasm"));
    let sha256 = check::sha256(&wasm);
    if let Ok(before) = std::fs::read(&component)
        && before != wasm
    {
        bail!(
            "{} was packed before, with other bytes ({}); fix: count `version` in plugin.toml up, or delete {} if \
             nobody has it",
            project.manifest.version,
            &check::sha256(&before)[..12],
            folder.display()
        );
    }
    file::write(&component, &wasm)?;
    let manifest = format!("{:#}\n", serde_json::to_value(&project.manifest)?);
    file::write(&folder.join("manifest.json"), manifest.as_bytes())?;
    // As `sha256sum -c` reads it.
    file::write(&folder.join("SHA256"), format!("{sha256}  {name}.wasm\n").as_bytes())?;
    let typed = quoted(&shown(&component));
    let install = format!("jackfield plugin install {typed}");
    let sign = format!("minisign -Sm {typed}");
    file::write(&folder.join("README.md"), readme(project, &name, &sha256).as_bytes())?;
    Ok(Packed { folder, component, sha256, install, sign })
}

fn readme(project: &Project, name: &str, sha256: &str) -> String {
    let manifest = &project.manifest;
    let permissions: String = manifest
        .permissions()
        .into_iter()
        .map(|it| format!("| `{}` | {} |\n", it.grant, it.reason))
        .collect();
    let asks = if permissions.is_empty() {
        "It asks for nothing.\n".to_owned()
    } else {
        format!("| it asks for | because |\n| --- | --- |\n{permissions}")
    };
    format!(
        "# {} {}\n\n{}\n\nA {} for Jackfield, by {}. Licence: {}.\n\n{asks}\n\
         ```\nsha256sum -c SHA256\njackfield plugin inspect {name}.wasm\njackfield plugin install {name}.wasm\n```\n\n\
         SHA-256: `{sha256}`\n\n\
         The author signs it with `minisign -Sm {name}.wasm` and ships {name}.wasm.minisig beside it, which `install`\n\
         takes by itself. `manifest.json` is for reading; what counts is the copy inside the component.\n",
        manifest.name,
        manifest.version,
        manifest.description,
        project.kind.code(),
        manifest.author,
        manifest.license,
    )
}

fn shown(path: &Path) -> String {
    match std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned))
    {
        Some(inner) => inner.display().to_string(),
        None => path.display().to_string(),
    }
}

/// As a shell takes it for one word.
fn quoted(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@%,:=".contains(&byte);
    match path.bytes().all(plain) && !path.starts_with('-') {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_shell_takes_every_path_for_one_word() {
        for (path, typed) in [
            ("dist/desk-0.1.0/desk-0.1.0.wasm", "dist/desk-0.1.0/desk-0.1.0.wasm"),
            ("of ada/my plugins/a.wasm", "'of ada/my plugins/a.wasm'"),
            ("ada's/a.wasm", r"'ada'\''s/a.wasm'"),
            ("$HOME/a.wasm", "'$HOME/a.wasm'"),
        ] {
            assert_eq!(quoted(path), typed);
        }
    }
}
