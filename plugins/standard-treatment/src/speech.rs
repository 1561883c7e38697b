//! What is played, in the caller's language.

use jackfield_bundled::{
    Reader, json,
    place::{recordings, recordings_at},
};

/// Recordings, perhaps others for some languages. Empty: nothing is played.
#[derive(Clone, Debug, Default)]
pub struct Speech {
    usual: Vec<String>,
    by_language: Vec<(String, Vec<String>)>,
}

impl Speech {
    /// Reads it: a recording, a list of them, or a table by language with `*` for all others.
    pub fn of_setting(it: &Reader<'_>, name: &str) -> Self {
        it.get(name).map(|it| Self::read(&it)).unwrap_or_default()
    }

    /// Reads it where it stands.
    pub fn read(it: &Reader<'_>) -> Self {
        if !it.value().is_object() {
            return Self { usual: recordings_at(it), by_language: Vec::new() };
        }
        let mut speech = Self { usual: recordings(it, "*"), by_language: Vec::new() };
        for (language, it) in it.entries(50) {
            if language != "*" {
                let language = json::one_line(&language, 20);
                speech.by_language.push((language, recordings_at(&it)));
            }
        }
        speech
    }

    /// The recordings of router facts: names apart by commas.
    pub fn of_fact(text: &str) -> Vec<String> {
        let names = text.split(',').map(str::trim);
        // They come from another plugin: what is no name is not played.
        names
            .filter(|name| jackfield_bundled::place::is_recording(name))
            .take(16)
            .map(str::to_owned)
            .collect()
    }

    /// What a caller of this language hears.
    pub fn heard_in(&self, language: &str) -> &[String] {
        let of = |wanted: &str| self.by_language.iter().find(|(language, _)| language == wanted);
        // `pt_BR` without recordings of its own hears those of `pt`.
        let short = language.split(['_', '-']).next().unwrap_or_default();
        of(language).or_else(|| of(short)).map_or(&self.usual, |(_, names)| names)
    }

    /// Is there nothing to play for anybody?
    pub fn is_empty(&self) -> bool {
        self.usual.is_empty() && self.by_language.iter().all(|(_, names)| names.is_empty())
    }
}
