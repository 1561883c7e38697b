//! `plugin.toml`: what a project says about its plugin, and the manifest that is made of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What a project's file is called.
pub const FILE: &str = "plugin.toml";

/// A `plugin.toml` that could be read. What it says is not judged yet.
#[derive(Debug)]
pub struct Description {
    /// `wait-treatment`.
    pub kind: String,
    /// `rust`.
    pub lang: String,
    /// How it is built.
    pub build: BuildSection,
    /// The manifest as it goes into the component.
    pub manifest: Value,
}

impl Description {
    /// Reads the one in `root`, and the schema of the settings that it names.
    pub fn read(root: &Path) -> Result<Self, ProjectError> {
        let file = root.join(FILE);
        let text = fs::read_to_string(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ProjectError::Missing(root.to_owned()),
            _ => ProjectError::Read(file.clone(), error),
        })?;
        let written: Written = toml::from_str(&text).map_err(|error| ProjectError::Syntax {
            file,
            problem: error.to_string().trim().to_owned(),
        })?;
        let settings = match &written.settings {
            Some(path) => schema(&root.join(path))?,
            None => json!({ "type": "object" }),
        };
        let manifest = written.manifest(settings);
        Ok(Self { kind: written.kind, lang: written.lang, build: written.build, manifest })
    }
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
    /// The place that was named is none.
    #[error("there is no {0}; fix: name the folder of a project, or go there and name none")]
    NoSuchPlace(PathBuf),
    /// It cannot be read.
    #[error("cannot read {0}: {1}; fix: it must be a text file in UTF-8 that you may read")]
    Read(PathBuf, std::io::Error),
    /// It is not TOML, or has keys that are unknown or missing.
    #[error(
        "{file}: {problem}\n  fix: mend that line; what `jackfield plugin new` writes has every key that is needed"
    )]
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
    fn manifest(&self, settings: Value) -> Value {
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
        if self.hooks.is_none() && self.kind != "connector" {
            manifest.insert("hooks".into(), json!([{ "kind": self.kind }]));
        }
        Value::Object(manifest)
    }
}
