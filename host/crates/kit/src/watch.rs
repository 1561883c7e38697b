//! Which files of a project were saved since the last look. A look reads names and times, no contents.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{languages::language, project::Project};

/// More files than any project has that somebody wrote.
const MAX_FILES: usize = 10_000;
const MAX_DEPTH: usize = 16;

/// The files of a project as they were at the last look.
#[derive(Debug)]
pub struct Watch {
    roots: Vec<PathBuf>,
    left_overs: Vec<&'static str>,
    seen: BTreeMap<PathBuf, (SystemTime, u64)>,
}

impl Watch {
    /// Begins with the files as they are.
    pub fn new(project: &Project) -> Self {
        let further = project.build.watch.iter().map(|path| project.root.join(path));
        let mut left_overs = vec!["build", "dist", ".git"];
        left_overs.extend(language(project.lang).left_overs());
        let roots = std::iter::once(project.root.clone()).chain(further).collect();
        let mut watch = Self { roots, left_overs, seen: BTreeMap::new() };
        watch.changed();
        watch
    }

    /// The files that are new, gone or saved since the last look, in order.
    pub fn changed(&mut self) -> Vec<PathBuf> {
        let mut now = BTreeMap::new();
        for root in &self.roots {
            self.look(root, 0, &mut now);
        }
        let before = std::mem::replace(&mut self.seen, now);
        let other = self.seen.iter().filter(|(path, file)| before.get(*path) != Some(file));
        let gone = before.keys().filter(|path| !self.seen.contains_key(*path));
        let mut changed: Vec<PathBuf> = other.map(|(path, _)| path).chain(gone).cloned().collect();
        changed.sort();
        changed
    }

    fn look(&self, path: &Path, depth: usize, files: &mut BTreeMap<PathBuf, (SystemTime, u64)>) {
        let Ok(about) = fs::symlink_metadata(path) else { return };
        if about.is_file() && files.len() < MAX_FILES {
            let saved = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            files.insert(path.to_owned(), (saved, about.len()));
        }
        if !about.is_dir() || depth > MAX_DEPTH {
            return;
        }
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            // Editors write their own files beside those they edit.
            let is_editors = name.to_str().is_some_and(|name| {
                name.ends_with('~') || name.ends_with(".swp") || name.starts_with(".#")
            });
            if !is_editors && !self.left_overs.iter().any(|left_over| name == *left_over) {
                self.look(&entry.path(), depth + 1, files);
            }
        }
    }
}
