//! A project: a folder with a `plugin.toml`, from which the plugin's manifest is made.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

pub use plugin_runtime::Kind;
use plugin_runtime::Manifest;
use serde::{Deserialize, Serialize};

use crate::description::Description;
pub use crate::description::{BuildSection, FILE, ProjectError};

/// A plugin somebody is writing.
#[derive(Clone, Debug)]
pub struct Project {
    /// The folder with `plugin.toml`.
    pub root: PathBuf,
    /// What the plugin is.
    pub kind: Kind,
    /// What it is written in.
    pub lang: Lang,
    /// What it says about itself; goes into the component.
    pub manifest: Manifest,
    /// How it is built.
    pub build: BuildSection,
}

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lang {
    /// Rust.
    Rust,
    /// TypeScript.
    Ts,
    /// Python.
    Python,
}

impl Project {
    /// Reads the project in `folder`, or in the next folder above it that has one.
    pub fn find(folder: &Path) -> Result<Self, ProjectError> {
        let absolute = std::path::absolute(folder)
            .map_err(|error| ProjectError::Read(folder.to_owned(), error))?;
        // A name that is wrong must not mean the project around it.
        if !absolute.exists() {
            return Err(ProjectError::NoSuchPlace(absolute));
        }
        let root = absolute.ancestors().find(|above| above.join(FILE).is_file());
        Self::load(root.ok_or(ProjectError::Missing(absolute.clone()))?)
    }

    /// Reads the project in `root`.
    pub fn load(root: &Path) -> Result<Self, ProjectError> {
        let Description { kind: word, lang, build, manifest } = Description::read(root)?;
        let wrong = |problem: String| ProjectError::Manifest { file: root.join(FILE), problem };
        let kind = kind(&word).map_err(|error| wrong(format!("kind: {error}")))?;
        let lang: Lang = lang.parse().map_err(|error| wrong(format!("lang: {error}")))?;
        if build.command.is_some() != build.output.is_some() {
            return Err(wrong("[build] needs both `command` and `output`, or neither".into()));
        }
        let manifest = Manifest::from_json(manifest.to_string().as_bytes())
            .map_err(|error| wrong(error.to_string().replacen("the manifest's ", "", 1)))?;
        Ok(Self { root: root.to_owned(), kind, lang, manifest, build })
    }

    /// Where the built component lies: `build/<id>.wasm`.
    pub fn component(&self) -> PathBuf {
        self.root.join("build").join(format!("{}.wasm", self.manifest.id))
    }

    /// The scenario files, in order: `scenarios/*.toml`.
    pub fn scenarios(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join("scenarios")).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
        files.sort();
        files
    }

    /// The manifest as it goes into the component.
    pub fn manifest_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.manifest).expect("a manifest is plain data")
    }
}

/// All kinds.
pub const KINDS: [Kind; 4] = [Kind::Connector, Kind::Router, Kind::WaitTreatment, Kind::Observer];

/// The kind of that name: `wait-treatment`.
pub fn kind(word: &str) -> Result<Kind, UnknownWord> {
    one_of(word, &KINDS, Kind::code)
}

impl Lang {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rust, Self::Ts, Self::Python];

    /// As it is written: `ts`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Ts => "ts",
            Self::Python => "python",
        }
    }
}

impl fmt::Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A word that names no kind or language; the text lists those there are.
#[derive(Debug, thiserror::Error)]
#[error("`{word}` is none of {known}")]
pub struct UnknownWord {
    word: String,
    known: String,
}

impl FromStr for Lang {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        one_of(word, &Self::ALL, Self::code)
    }
}

fn one_of<T: Copy>(word: &str, all: &[T], code: fn(T) -> &'static str) -> Result<T, UnknownWord> {
    all.iter().copied().find(|&one| code(one) == word).ok_or_else(|| UnknownWord {
        word: word.chars().take(64).collect(),
        known: all.iter().map(|&one| code(one)).collect::<Vec<_>>().join(", "),
    })
}
