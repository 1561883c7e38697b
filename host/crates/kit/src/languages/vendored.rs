//! What a project in TypeScript or Python gets a copy of: the SDK, and the contract it was written against.

use std::{collections::BTreeSet, fs};

use anyhow::Context;
use plugin_runtime::Kind;

use crate::{
    Progress,
    embedded::{TEMPLATES, WIT},
    project::Project,
};

/// Everything below `from` in the templates, as files below `to`.
pub fn folder(from: &str, to: &str) -> Vec<(String, Vec<u8>)> {
    let inside =
        TEMPLATES.iter().filter_map(|(path, content)| Some((path.strip_prefix(from)?, content)));
    inside.map(|(path, content)| (format!("{to}{path}"), content.to_vec())).collect()
}

/// The contract as the tools of other languages want it: the worlds, and beside them each package they use.
pub fn wit() -> Vec<(String, Vec<u8>)> {
    let place = |path: &str| match path.strip_prefix("sdk/") {
        Some(worlds) => format!("wit/{worlds}"),
        None => format!("wit/deps/{path}"),
    };
    WIT.iter().map(|(path, content)| (place(path), content.to_vec())).collect()
}

/// What is the same in every language, so that there is one of it: the settings' schema and the scenarios.
pub fn shared(kind: Kind) -> Vec<(String, Vec<u8>)> {
    let mut files = folder(&format!("rust/{}/", kind.code()), "");
    files.retain(|(path, _)| path == "settings.schema.json" || path.starts_with("scenarios/"));
    files
}

/// Puts the folders of `files` that the project does not have into it: they may be left out of version control.
pub fn restore(
    project: &Project,
    files: &[(String, Vec<u8>)],
    progress: &dyn Progress,
) -> anyhow::Result<()> {
    let folders: BTreeSet<_> =
        files.iter().filter_map(|(path, _)| path.split('/').next()).collect();
    for folder in folders.into_iter().filter(|folder| !project.root.join(folder).exists()) {
        progress.say(&format!("the project has no {folder}/: it gets this program's"));
        for (path, content) in
            files.iter().filter(|(path, _)| path.split('/').next() == Some(folder))
        {
            let path = project.root.join(path);
            let parent = path.parent().context("a file has a folder")?;
            fs::create_dir_all(parent)
                .and_then(|()| fs::write(&path, content))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}
