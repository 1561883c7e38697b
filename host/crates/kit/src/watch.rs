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
/// What tools write while they build.
const LOCKS: [&str; 2] = ["Cargo.lock", "package-lock.json"];

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

    /// After a build: what tools have written by themselves meanwhile is no save.
    pub fn built(&mut self) {
        let mut now = BTreeMap::new();
        for root in &self.roots {
            self.look(root, 0, &mut now);
        }
        self.seen.extend(now.into_iter().filter(|(path, _)| {
            LOCKS.iter().any(|lock| path.file_name().is_some_and(|name| name == *lock))
        }));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        project::{Kind, Lang},
        template,
    };

    #[test]
    fn a_save_is_seen_once_and_what_tools_and_editors_write_never() {
        let folder = tempfile::tempdir().unwrap();
        template::begin("watched", Kind::Router, Lang::Rust, folder.path()).unwrap();
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
        let mut watch = Watch::new(&Project::load(folder.path()).unwrap());
        assert_eq!(watch.changed(), [] as [PathBuf; 0]);

        // The author saves while cargo writes its lock.
        write("Cargo.lock", "# longer than before, or shorter");
        write("src/more.rs", "// more");
        watch.built();
        assert_eq!(watch.changed(), [folder.path().join("src/more.rs")]);
        assert_eq!(watch.changed(), [] as [PathBuf; 0]);

        fs::create_dir_all(folder.path().join("target/debug")).unwrap();
        for file in ["target/debug/x", "src/.#lib.rs", "src/lib.rs~", "src/.lib.rs.swp"] {
            write(file, "x");
        }
        assert_eq!(watch.changed(), [] as [PathBuf; 0]);

        // By hand it is a save like any other.
        write("Cargo.lock", "# updated");
        fs::remove_file(folder.path().join("src/more.rs")).unwrap();
        let changed = ["Cargo.lock", "src/more.rs"].map(|file| folder.path().join(file));
        assert_eq!(watch.changed(), changed);
    }
}
