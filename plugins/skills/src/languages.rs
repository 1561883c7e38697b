//! Which language a caller speaks, by what is known before anybody asked them.

use jackfield_bundled::{Numbers, Reader};
use jackfield_sdk::hooks::Call;

/// Where the language comes from. What stands earlier here counts more: what hooks before this one set, a channel
/// variable (a menu of the dialplan, say), the way in, the CRM, the caller's country, the usual one.
#[derive(Debug, Default)]
pub struct Languages {
    variable: String,
    /// Ways in and dialled numbers, with their language.
    entries: Vec<(String, String)>,
    dialled: Vec<(Numbers, String)>,
    /// The CRM's field.
    pub field: String,
    /// Beginnings of callers' numbers; the longest that fits counts.
    prefixes: Vec<(Numbers, String)>,
    usual: String,
}

/// What is known before the CRM is asked.
pub enum Language {
    /// This.
    Known(String),
    /// What the CRM says, or else this.
    Unless(String),
}

impl Languages {
    /// Reads `languages`.
    pub fn read(it: &Reader<'_>) -> Self {
        it.only(&["variable", "entries", "dialled", "field", "prefixes", "default"]);
        let variable = it.text_of("variable").unwrap_or_default();
        if !variable.is_empty() && !is_variable(&variable) {
            it.complain_of("variable", format!("{variable:?} is no channel variable"));
        }
        let by_number = |name: &str| {
            let read = |(number, it): (String, Reader<'_>)| {
                let quoted = serde_json::Value::from(number);
                let numbers = Numbers::read(&it.holding(&quoted));
                Some((numbers, language(&it)?))
            };
            it.table(name, 500).into_iter().filter_map(read).collect()
        };
        let entries = it.table("entries", 500).into_iter();
        Self {
            variable,
            entries: entries.filter_map(|(name, it)| Some((name, language(&it)?))).collect(),
            dialled: by_number("dialled"),
            field: it.text_of("field").unwrap_or_default(),
            prefixes: by_number("prefixes"),
            usual: it.get("default").and_then(|it| language(&it)).unwrap_or_default(),
        }
    }

    /// The caller's language; `field` says whether the CRM knows it, or has not been asked.
    pub fn of(&self, call: &Call) -> Language {
        let variable = (!self.variable.is_empty()).then(|| call.variable(&self.variable)).flatten();
        let entry = self.entries.iter().find(|(name, _)| *name == call.entry);
        let dialled = self.dialled.iter().find(|(numbers, _)| numbers.contain(&[&call.dialled]));
        let sure = [
            Some(call.language.as_str()),
            variable.filter(|value| is_language(value)),
            entry.map(|(_, language)| language.as_str()),
            dialled.map(|(_, language)| language.as_str()),
        ];
        if let Some(language) = sure.into_iter().flatten().find(|language| !language.is_empty()) {
            return Language::Known(language.to_owned());
        }
        let number =
            if call.caller_e164.is_empty() { &call.caller.number } else { &call.caller_e164 };
        let longest = |(numbers, language): &(Numbers, String)| {
            let length = if numbers.contain(&[number]) {
                Some(numbers.beginning_of(number).map_or(usize::MAX, str::len))
            } else {
                None
            };
            length.map(|length| (length, language.clone()))
        };
        let by_country = self.prefixes.iter().filter_map(longest).max_by_key(|(length, _)| *length);
        let likely = by_country.map_or_else(|| self.usual.clone(), |(_, language)| language);
        if self.field.is_empty() { Language::Known(likely) } else { Language::Unless(likely) }
    }
}

/// A language in the settings.
pub fn language(it: &Reader<'_>) -> Option<String> {
    let text = it.text()?;
    if !is_language(&text) {
        it.complain(format!(
            "{text:?} is no language; write e.g. \"de\" or \"pt_BR\", as the PBX has it"
        ));
        return None;
    }
    Some(text)
}

/// What the PBX takes as a language.
pub fn is_language(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    (1..=20).contains(&text.len()) && text.chars().all(fine)
}

/// What the PBX takes as the name of a channel variable.
pub fn is_variable(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let bare = name.trim_start_matches('_');
    let is_ours = bare.to_ascii_uppercase().starts_with("JACKFIELD_");
    bare.starts_with(|c: char| c.is_ascii_alphabetic())
        && !is_ours
        && name.len() <= 64
        && name.chars().all(fine)
}
