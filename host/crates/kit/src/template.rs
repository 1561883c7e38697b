//! `plugin new`: a project that builds, out of files this program carries along.
//!
//! A template is the folder `templates/<lang>/common` with `templates/<lang>/<kind>` over it. Names ending in `.tpl`
//! lose that ending, names beginning with `dot-` begin with `.` instead, and in names and texts `{{id}}` and its like
//! are replaced (see [`Words`]). What is made rather than kept comes from
//! [`Language::generated`](crate::languages::Language::generated).

mod names;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    embedded::TEMPLATES,
    languages::language,
    project::{Kind, Lang},
};

/// What is put into a template's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// `{{id}}`: `vip-desk`.
    pub id: String,
    /// `{{package}}`: what cargo calls it, `vip-desk`.
    pub package: String,
    /// `{{type}}`: `VipDesk`, a name that nothing else in the sources has.
    pub type_name: String,
    /// `{{name}}`: `Vip desk`.
    pub name: String,
    /// `{{kind}}`: `wait-treatment`.
    pub kind: String,
}

/// A project that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its folder.
    pub root: PathBuf,
    /// What was written, inside the folder, in order.
    pub files: Vec<String>,
}

/// A project that was not begun; nothing was overwritten.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// It cannot be an id.
    #[error(
        "`{0}` cannot be a plugin's name: use up to 64 lower-case letters, digits and `-`, beginning with a letter; \
         fix: e.g. `vip-desk`"
    )]
    Name(String),
    /// The folder has something in it.
    #[error(
        "{0} exists and is not empty; nothing is overwritten; fix: name another folder, or empty this one"
    )]
    Exists(PathBuf),
    /// It is no folder.
    #[error("{0} exists and is no folder; fix: name another one")]
    NoFolder(PathBuf),
    /// There is no template.
    #[error("there is no template of a {kind} in {lang}; there are: {known}")]
    NoTemplate {
        /// What was asked for.
        kind: &'static str,
        /// In what.
        lang: &'static str,
        /// What there is.
        known: String,
    },
    /// The folder cannot be written.
    #[error(
        "cannot write {0}: {1}; fix: go to a folder that you may write to, or name one: `plugin new ... NAME FOLDER`"
    )]
    Write(PathBuf, std::io::Error),
    /// What is made rather than kept could not be made.
    #[error("{0:#}")]
    Generate(anyhow::Error),
}

/// Begins a project in `root`, which must not exist or be empty.
pub fn begin(name: &str, kind: Kind, lang: Lang, root: &Path) -> Result<Begun, NewError> {
    let words = Words::of(name, kind, lang)?;
    let files = files(&words, kind, lang)?;
    let root = &std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    if fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(NewError::Exists(root.to_owned()));
    }
    if root.exists() && !root.is_dir() {
        return Err(NewError::NoFolder(root.to_owned()));
    }
    for (inner, content) in &files {
        let path = root.join(inner);
        let failed = |error| NewError::Write(path.clone(), error);
        let folder = path.parent().unwrap_or(root);
        fs::create_dir_all(folder).map_err(failed)?;
        fs::write(&path, content).map_err(failed)?;
    }
    Ok(Begun { root: root.to_owned(), files: files.into_keys().collect() })
}

/// The kinds and languages there are templates of.
pub fn known() -> Vec<(Lang, Kind)> {
    let pairs = Lang::ALL
        .into_iter()
        .flat_map(|lang| crate::project::KINDS.into_iter().map(move |kind| (lang, kind)));
    pairs.filter(|(lang, kind)| of(*lang, kind.code()).next().is_some()).collect()
}

fn files(words: &Words, kind: Kind, lang: Lang) -> Result<BTreeMap<String, Vec<u8>>, NewError> {
    if of(lang, kind.code()).next().is_none() {
        let known = known().into_iter().map(|(lang, kind)| format!("{} in {lang}", kind.code()));
        return Err(NewError::NoTemplate {
            kind: kind.code(),
            lang: lang.code(),
            known: known.collect::<Vec<_>>().join(", "),
        });
    }
    let mut files = BTreeMap::new();
    for (inner, content) in of(lang, "common").chain(of(lang, kind.code())) {
        let content = match std::str::from_utf8(content) {
            Ok(text) => words.fill(text).into_bytes(),
            Err(_) => content.to_vec(),
        };
        files.insert(words.fill(&real_name(inner)), content);
    }
    let generated = language(lang).generated(kind).map_err(NewError::Generate)?;
    files.extend(generated);
    Ok(files)
}

/// The files of `templates/<lang>/<folder>`.
fn of(lang: Lang, folder: &str) -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let prefix = format!("{}/{folder}/", lang.code());
    TEMPLATES
        .iter()
        .filter_map(move |(path, content)| Some((path.strip_prefix(&prefix)?, *content)))
}

/// `dot-gitignore` is `.gitignore`, `Cargo.toml.tpl` is `Cargo.toml`.
fn real_name(inner: &str) -> String {
    let inner = inner.strip_suffix(".tpl").unwrap_or(inner);
    let parts = inner.split('/').map(|part| match part.strip_prefix("dot-") {
        Some(rest) => format!(".{rest}"),
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

impl Words {
    fn of(id: &str, kind: Kind, lang: Lang) -> Result<Self, NewError> {
        let fits = id.len() <= 64
            && id.starts_with(|c: char| c.is_ascii_lowercase())
            && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !id.ends_with('-')
            && !id.contains("--");
        if !fits {
            return Err(NewError::Name(id.chars().take(80).filter(|c| !c.is_control()).collect()));
        }
        let sources = of(lang, kind.code())
            .filter(|(inner, _)| inner.ends_with(".rs"))
            .filter_map(|(_, content)| std::str::from_utf8(content).ok());
        Ok(Self {
            id: id.to_owned(),
            package: names::package(id),
            type_name: names::type_name(id, sources),
            name: capital(&id.replace('-', " ")),
            kind: kind.code().to_owned(),
        })
    }

    fn fill(&self, text: &str) -> String {
        [
            ("{{id}}", &self.id),
            ("{{package}}", &self.package),
            ("{{type}}", &self.type_name),
            ("{{name}}", &self.name),
            ("{{kind}}", &self.kind),
        ]
        .into_iter()
        .fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
    }
}

/// With a capital letter in front.
fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    first.to_ascii_uppercase() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_what_each_place_needs() {
        let words = Words::of("vip-desk-2", Kind::WaitTreatment, Lang::Rust).unwrap();
        assert_eq!(
            words.fill("{{id}} {{package}} {{type}} {{name}} {{kind}} {{other}}"),
            "vip-desk-2 vip-desk-2 VipDesk2 Vip desk 2 wait-treatment {{other}}"
        );
        assert_eq!(real_name("dot-cargo/Cargo.toml.tpl"), ".cargo/Cargo.toml");
    }

    #[test]
    fn a_name_that_cannot_be_an_id_is_refused_with_one_that_can() {
        for name in ["", "Vip", "9lives", "a_b", "a/b", "-a", "a-", "a--b", "ä", "a\u{1b}[2J"] {
            let error = Words::of(name, Kind::Router, Lang::Rust).unwrap_err().to_string();
            assert!(error.contains("e.g. `vip-desk`") && !error.contains('\u{1b}'), "{error}");
        }
    }
}
