//! A project: a folder with a `plugin.toml`, from which the plugin's manifest is made.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

pub use plugin_runtime::Kind;
use plugin_runtime::Manifest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What a project's file is called.
pub const FILE: &str = "plugin.toml";

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

/// `[build]` of `plugin.toml`; all of it has defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildSection {
    /// Rust: the cargo profile, `release` unless given.
    pub profile: Option<String>,
    /// A command to run in the project's folder instead of the language's own tools. It leaves `output` behind.
    pub command: Option<Vec<String>>,
    /// What `command` makes, relative to the project: a component, or a core module with a component type.
    pub output: Option<PathBuf>,
    /// Further files and folders of which a change means a new build, relative to the project.
    #[serde(default)]
    pub watch: Vec<PathBuf>,
}

/// A folder that is no project, or one with a mistake in its `plugin.toml`. The user's to mend.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// Nothing here.
    #[error(
        "there is no {FILE} in {0} or a folder above it; fix: go to your plugin's folder, or begin one with \
         `jackfield plugin new --kind router --lang rust NAME`"
    )]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("{0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// It is not TOML, or has keys that are unknown or missing.
    #[error("{file}: {problem}")]
    Syntax {
        /// Which file.
        file: PathBuf,
        /// What is wrong, with the line.
        problem: String,
    },
    /// The schema of the settings.
    #[error("{file}: {problem}; fix: write a JSON Schema object, e.g. {{ \"type\": \"object\" }}")]
    Schema {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// What it says cannot be a manifest.
    #[error("{file}: {problem}")]
    Manifest {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl Project {
    /// Reads the project in `folder`, or in the next folder above it that has one.
    pub fn find(folder: &Path) -> Result<Self, ProjectError> {
        let absolute = std::path::absolute(folder)
            .map_err(|error| ProjectError::Read(folder.to_owned(), error))?;
        let root = absolute.ancestors().find(|above| above.join(FILE).is_file());
        Self::load(root.ok_or(ProjectError::Missing(absolute.clone()))?)
    }

    /// Reads the project in `root`.
    pub fn load(root: &Path) -> Result<Self, ProjectError> {
        let file = root.join(FILE);
        let text = fs::read_to_string(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ProjectError::Missing(root.to_owned()),
            _ => ProjectError::Read(file.clone(), error),
        })?;
        let written: Written = toml::from_str(&text).map_err(|error| ProjectError::Syntax {
            file: file.clone(),
            problem: error.to_string().trim().to_owned(),
        })?;
        let wrong = |problem: String| ProjectError::Manifest { file: file.clone(), problem };
        let kind = kind(&written.kind).map_err(|error| wrong(format!("kind: {error}")))?;
        let lang: Lang = written.lang.parse().map_err(|error| wrong(format!("lang: {error}")))?;
        let settings = match &written.settings {
            Some(path) => schema(&root.join(path))?,
            None => json!({ "type": "object" }),
        };
        if written.build.command.is_some() != written.build.output.is_some() {
            return Err(wrong("[build] needs both `command` and `output`, or neither".into()));
        }
        let json = written.manifest(kind, settings).to_string();
        let manifest = Manifest::from_json(json.as_bytes())
            .map_err(|error| wrong(error.to_string().replacen("the manifest's ", "", 1)))?;
        Ok(Self { root: root.to_owned(), kind, lang, manifest, build: written.build })
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

fn schema(file: &Path) -> Result<Value, ProjectError> {
    let text = fs::read(file).map_err(|error| ProjectError::Read(file.to_owned(), error))?;
    let wrong = |problem: String| ProjectError::Schema { file: file.to_owned(), problem };
    let value: Value =
        serde_json::from_slice(&text).map_err(|error| wrong(format!("not JSON: {error}")))?;
    if !value.is_object() {
        return Err(wrong("it is no JSON object".into()));
    }
    Ok(value)
}

/// `plugin.toml` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: String,
    lang: String,
    #[serde(default)]
    build: BuildSection,
    /// The file with the JSON Schema of the settings.
    settings: Option<PathBuf>,
    // What follows goes into the manifest as it is, and is checked there.
    id: Value,
    version: Value,
    name: Value,
    author: Value,
    license: Value,
    description: Value,
    api: Option<Value>,
    links: Option<Value>,
    http: Option<Value>,
    secrets: Option<Value>,
    hooks: Option<Value>,
}

impl Written {
    fn manifest(&self, kind: Kind, settings: Value) -> Value {
        let mut manifest = Map::new();
        for (name, value) in [
            ("id", Some(&self.id)),
            ("version", Some(&self.version)),
            ("name", Some(&self.name)),
            ("author", Some(&self.author)),
            ("license", Some(&self.license)),
            ("description", Some(&self.description)),
            ("settings", Some(&settings)),
            ("api", self.api.as_ref()),
            ("links", self.links.as_ref()),
            ("http", self.http.as_ref()),
            ("secrets", self.secrets.as_ref()),
            ("hooks", self.hooks.as_ref()),
        ] {
            if let Some(value) = value {
                manifest.insert(name.into(), value.clone());
            }
        }
        // A hook wants to be called as what it is; it need not say so.
        if self.hooks.is_none() && kind != Kind::Connector {
            manifest.insert("hooks".into(), json!([{ "kind": kind.code() }]));
        }
        Value::Object(manifest)
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
