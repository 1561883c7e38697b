//! Reads settings, and remembers the path of everything that is wrong with them.
//!
//! The host has checked them by the manifest's schema already. This is the second look: it trusts nothing, so that
//! a plugin started without that check refuses absurd settings in words instead of crashing.

use std::{cell::RefCell, fmt::Display, ops::RangeInclusive};

use jackfield_sdk::{Problem, hooks::Error};
use serde_json::Value;

/// More problems help nobody.
const MOST_PROBLEMS: usize = 50;

/// The longest settings that are read.
const MOST_BYTES: usize = 1 << 20;

/// A value in the settings, its path, and where problems are put.
pub struct Reader<'a> {
    value: &'a Value,
    path: String,
    problems: &'a RefCell<Vec<Problem>>,
}

/// Reads whole settings: what `read` makes of them, or everything that is wrong.
pub fn settings<T>(text: &str, read: impl FnOnce(&Reader<'_>) -> T) -> Result<T, Vec<Problem>> {
    let whole = |message: String| vec![Problem::new("", message)];
    if text.len() > MOST_BYTES {
        return Err(whole(format!("are longer than {} KiB; make them shorter", MOST_BYTES / 1024)));
    }
    // The parser's own bound of the depth is enough here: settings come from the admin's config.
    let value: Value =
        serde_json::from_str(text).map_err(|error| whole(format!("are no JSON: {error}")))?;
    let problems = RefCell::default();
    let reader = Reader { value: &value, path: String::new(), problems: &problems };
    if !value.is_object() {
        reader.complain("must be a table");
    }
    let settings = read(&reader);
    let problems = problems.into_inner();
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// The first of them as an error of `init`.
pub fn refusal(problems: &[Problem]) -> Error {
    let said = problems.first().map_or_else(String::new, |first| match first.path.as_str() {
        "" => format!("the settings {}", first.message),
        path => format!("{path}: {}", first.message),
    });
    let more = match problems.len() {
        0 | 1 => String::new(),
        many => format!(" (and {} more)", many - 1),
    };
    Error::new("bad-settings", said + &more)
}

impl<'a> Reader<'a> {
    /// The value itself.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// Its path, e.g. `rules[2].to`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Something is wrong with this value.
    pub fn complain(&self, message: impl Into<String>) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < MOST_PROBLEMS {
            problems.push(Problem::new(&self.path, message));
        }
    }

    /// Something is wrong with a setting in this table.
    pub fn complain_of(&self, name: &str, message: impl Into<String>) {
        self.at(name, self.value).complain(message);
    }

    /// Every other setting is a mistake.
    pub fn only(&self, known: &[&str]) {
        for name in self.value.as_object().into_iter().flat_map(|table| table.keys()) {
            if !known.contains(&name.as_str()) {
                let message = format!("is unknown here; known are: {}", known.join(", "));
                self.complain_of(&one_line(name), message);
            }
        }
    }

    /// A setting in this table, when it is there.
    pub fn get(&self, name: &str) -> Option<Self> {
        self.value.get(name).map(|value| self.at(name, value))
    }

    /// The entries of a list in this table; empty when it is not there.
    pub fn list(&self, name: &str, most: usize) -> Vec<Self> {
        self.get(name).map(|it| it.items(most)).unwrap_or_default()
    }

    /// The entries of this list.
    pub fn items(&self, most: usize) -> Vec<Self> {
        let Value::Array(items) = self.value else {
            self.complain("must be a list in brackets");
            return Vec::new();
        };
        if items.len() > most {
            self.complain(format!("has {} entries; at most {most} are possible", items.len()));
            return Vec::new();
        }
        let one = |(index, value)| Self {
            value,
            path: format!("{}[{index}]", self.path),
            problems: self.problems,
        };
        items.iter().enumerate().map(one).collect()
    }

    /// The names and values of a table in this table; empty when it is not there.
    pub fn table(&self, name: &str, most: usize) -> Vec<(String, Self)> {
        self.get(name).map(|it| it.entries(most)).unwrap_or_default()
    }

    /// The names and values of this table.
    pub fn entries(&self, most: usize) -> Vec<(String, Self)> {
        let Value::Object(table) = self.value else {
            self.complain("must be a table in braces");
            return Vec::new();
        };
        if table.len() > most {
            self.complain(format!("has {} entries; at most {most} are possible", table.len()));
            return Vec::new();
        }
        table.iter().map(|(name, value)| (name.clone(), self.at(&one_line(name), value))).collect()
    }

    /// This value as a text of one line.
    pub fn text(&self) -> Option<String> {
        match self.value {
            Value::String(text) if text.len() > 2000 => {
                self.complain("is longer than 2000 bytes");
                None
            }
            Value::String(text) if text.contains(char::is_control) => {
                self.complain("must be one line without control characters");
                None
            }
            Value::String(text) => Some(text.clone()),
            _ => {
                self.complain("must be a text in quotes");
                None
            }
        }
    }

    /// A text in this table.
    pub fn text_of(&self, name: &str) -> Option<String> {
        self.get(name).and_then(|it| it.text())
    }

    /// A text or a list of texts in this table.
    pub fn texts_of(&self, name: &str, most: usize) -> Vec<String> {
        self.get(name).map(|it| it.texts(most)).unwrap_or_default()
    }

    /// A text or a list of texts.
    pub fn texts(&self, most: usize) -> Vec<String> {
        match self.value {
            Value::String(_) => self.text().into_iter().collect(),
            _ => self.items(most).iter().filter_map(Self::text).collect(),
        }
    }

    /// A whole number in this table.
    pub fn number_of<N>(&self, name: &str, range: RangeInclusive<N>) -> Option<N>
    where
        N: TryFrom<i64> + PartialOrd + Display + Copy,
    {
        let it = self.get(name)?;
        let number = it.value.as_i64().and_then(|number| N::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            it.complain(format!(
                "must be a whole number from {} to {}",
                range.start(),
                range.end()
            ));
        }
        number
    }

    /// `true` or `false` in this table.
    pub fn flag_of(&self, name: &str) -> Option<bool> {
        let it = self.get(name)?;
        let flag = it.value.as_bool();
        if flag.is_none() {
            it.complain("must be true or false");
        }
        flag
    }

    /// The same place with another value, e.g. the name of a setting that is itself a number.
    pub fn holding<'b>(&self, value: &'b Value) -> Reader<'b>
    where
        'a: 'b,
    {
        Reader { value, path: self.path.clone(), problems: self.problems }
    }

    fn at(&self, name: &str, value: &'a Value) -> Self {
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        Self { value, path, problems: self.problems }
    }
}

/// A name as part of a path.
fn one_line(name: &str) -> String {
    crate::json::one_line(name, 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let read = |it: &Reader<'_>| {
            it.only(&["name", "tries", "fast", "list"]);
            it.text_of("name");
            it.number_of("tries", 1_u32..=9);
            it.flag_of("fast");
            it.list("list", 2).iter().for_each(|it| {
                it.text_of("name");
            });
        };
        let problems = settings(text, read).err().unwrap_or_default();
        problems.into_iter().map(|it| format!("{}: {}", it.path, it.message)).collect()
    }

    #[test]
    fn every_problem_has_its_path() {
        assert_eq!(
            said(r#"{"name":1,"tries":10,"fast":"yes","list":[{"name":"a\nb"}],"x":0}"#),
            [
                "x: is unknown here; known are: name, tries, fast, list",
                "name: must be a text in quotes",
                "tries: must be a whole number from 1 to 9",
                "fast: must be true or false",
                "list[0].name: must be one line without control characters",
            ]
        );
        assert_eq!(said(r#"{"name":"a","tries":9,"fast":true,"list":[{}]}"#), [""; 0]);
    }

    #[test]
    fn what_is_no_table_is_refused_in_words() {
        assert_eq!(said("[]"), [": must be a table"]);
        assert!(said("").join("").starts_with(": are no JSON"));
        assert!(said(&"[".repeat(100_000)).join("").starts_with(": are no JSON"));
        assert_eq!(said(&" ".repeat(2 << 20)), [": are longer than 1024 KiB; make them shorter"]);
        assert_eq!(said(r#"{"list":[1,2,3]}"#), ["list: has 3 entries; at most 2 are possible"]);
    }
}
