//! Is what was built newer than all it was built of? A look reads times, no contents.

use std::{fs, path::Path, time::SystemTime};

use crate::project::Project;

/// Folders that hold what was made, or what makes nothing.
const NOT_SOURCES: [&str; 9] = [
    "build",
    "dist",
    "target",
    "node_modules",
    ".git",
    ".venv",
    "__pycache__",
    "scenarios",
    "test",
];
const MAX_DEPTH: usize = 12;

/// Nothing of the project was saved since it was built.
pub fn is_fresh(project: &Project) -> bool {
    let built = fs::metadata(project.component()).and_then(|about| about.modified());
    let Ok(built) = built else { return false };
    let further = project.build.watch.iter().map(|path| project.root.join(path));
    std::iter::once(project.root.clone()).chain(further).all(|root| is_older(&root, built, 0))
}

fn is_older(path: &Path, built: SystemTime, depth: usize) -> bool {
    let Ok(about) = fs::symlink_metadata(path) else { return true };
    if about.is_file() {
        return about.modified().is_ok_and(|saved| saved < built);
    }
    if !about.is_dir() || depth > MAX_DEPTH {
        return true;
    }
    fs::read_dir(path).into_iter().flatten().flatten().all(|entry| {
        let name = entry.file_name();
        NOT_SOURCES.iter().any(|other| name == *other) || is_older(&entry.path(), built, depth + 1)
    })
}
