//! A TOML text whose every value knows its line: readers ask for what they know, and everything not asked
//! for becomes a complaint.

use std::{cell::RefCell, collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Complaint, Place};

/// Complaints about one file, and where its keys are.
pub(super) struct Document<'t> {
    text: &'t str,
    complaints: RefCell<Vec<Complaint>>,
    warnings: RefCell<Vec<Complaint>>,
    places: RefCell<BTreeMap<String, Place>>,
}

/// What a reading leaves behind.
pub(super) struct Findings {
    pub(super) complaints: Vec<Complaint>,
    pub(super) warnings: Vec<Complaint>,
    pub(super) places: BTreeMap<String, Place>,
}

impl<'t> Document<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            complaints: RefCell::default(),
            warnings: RefCell::default(),
            places: RefCell::default(),
        }
    }

    /// The root table; what is not TOML becomes complaints, and the rest is still read.
    pub(super) fn parse(&self) -> Spanned<DeTable<'t>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let line_start = self.text[..floor_boundary(self.text, span.start)]
                .rfind('\n')
                .map_or(0, |newline| newline + 1);
            let line = self.text[line_start..].lines().next().unwrap_or_default().trim();
            self.complain(
                &span,
                "",
                format!("not valid TOML: {}", error.message()),
                syntax_fix(error.message(), line),
            );
        }
        table
    }

    pub(super) fn complain(&self, span: &Range<usize>, key: &str, message: String, fix: String) {
        let complaint = Complaint { place: self.place(span), key: key.to_owned(), message, fix };
        let mut complaints = self.complaints.borrow_mut();
        // A broken line can be met twice: as a syntax error and as what is missing because of it.
        if !complaints.contains(&complaint) {
            complaints.push(complaint);
        }
    }

    pub(super) fn warn(&self, span: &Range<usize>, key: &str, message: String, fix: String) {
        let complaint = Complaint { place: self.place(span), key: key.to_owned(), message, fix };
        self.warnings.borrow_mut().push(complaint);
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let before = &self.text[..floor_boundary(self.text, span.start)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            line: 1 + before.bytes().filter(|byte| *byte == b'\n').count(),
            column: 1 + before[line_start..].chars().count(),
        }
    }

    fn remember(&self, key: &str, span: &Range<usize>) {
        self.places.borrow_mut().insert(key.to_owned(), self.place(span));
    }

    pub(super) fn finish(self) -> Findings {
        let mut complaints = self.complaints.into_inner();
        complaints.sort_by_key(|complaint| complaint.place);
        Findings {
            complaints,
            warnings: self.warnings.into_inner(),
            places: self.places.into_inner(),
        }
    }
}

fn floor_boundary(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

fn syntax_fix(message: &str, line: &str) -> String {
    if message.contains("duplicate key") {
        "keep one of the two".to_owned()
    } else if line.contains("secret") {
        // Whatever stands there, it is not repeated into a terminal or a log.
        super::secret::REFERENCE_FIX.to_owned()
    } else if let Some((key, value)) = line.split_once('=')
        && !value.trim_start().starts_with(['"', '\'', '[', '{'])
        && !key.trim().is_empty()
    {
        format!(
            "a text needs quotes: {} = \"{}\"",
            key.trim(),
            value.trim().trim_matches('"').escape_default()
        )
    } else {
        "write it as `key = \"value\"`, or a table as `[connectors.name]`".to_owned()
    }
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) key: String,
    pub(super) span: Range<usize>,
}

/// One table being read.
pub(super) struct Section<'d, 't> {
    document: &'d Document<'t>,
    table: &'d DeTable<'t>,
    /// Dotted key of the table; empty for the root.
    pub(super) key: String,
    pub(super) span: Range<usize>,
    asked: Vec<&'static str>,
}

impl<'d, 't> Section<'d, 't> {
    pub(super) fn root(document: &'d Document<'t>, table: &'d Spanned<DeTable<'t>>) -> Self {
        Self { document, table: table.get_ref(), key: String::new(), span: 0..0, asked: Vec::new() }
    }

    /// The value of a key, remembered as known.
    pub(super) fn value(&mut self, name: &'static str) -> Option<At<&'d DeValue<'t>>> {
        self.asked.push(name);
        let (key, value) = self.table.get_key_value(name)?;
        let dotted = self.dotted(key.get_ref());
        // An inline value points at itself, a `[table]` at its header.
        let span = value_span(key, value);
        self.document.remember(&dotted, &span);
        Some(At { value: value.get_ref(), key: dotted, span })
    }

    pub(super) fn string(&mut self, name: &'static str) -> Option<At<String>> {
        let at = self.value(name)?;
        self.document.as_string(&at)
    }

    pub(super) fn bool(&mut self, name: &'static str) -> Option<bool> {
        let at = self.value(name)?;
        match at.value {
            DeValue::Boolean(value) => Some(*value),
            other => {
                self.document.wrong_type(&at, "`true` or `false`, without quotes", other);
                None
            }
        }
    }

    /// A whole number within limits.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        limits: std::ops::RangeInclusive<u32>,
    ) -> Option<u32> {
        let at = self.value(name)?;
        let DeValue::Integer(integer) = at.value else {
            self.document.wrong_type(&at, "a whole number, without quotes", at.value);
            return None;
        };
        match u32::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if limits.contains(&number) => Some(number),
            _ => {
                self.document.complain(
                    &at.span,
                    &at.key,
                    format!("{} is out of range", integer.as_str()),
                    format!("write a number from {} to {}", limits.start(), limits.end()),
                );
                None
            }
        }
    }

    pub(super) fn strings(&mut self, name: &'static str) -> Option<Vec<At<String>>> {
        let at = self.value(name)?;
        let DeValue::Array(array) = at.value else {
            self.document.wrong_type(&at, "a list such as [\"one\", \"two\"]", at.value);
            return None;
        };
        Some(
            array
                .iter()
                .enumerate()
                .filter_map(|(index, item)| {
                    self.document.as_string(&At {
                        value: item.get_ref(),
                        key: format!("{}[{index}]", at.key),
                        span: item.span(),
                    })
                })
                .collect(),
        )
    }

    /// A table of this table.
    pub(super) fn section(&mut self, name: &'static str) -> Option<Section<'d, 't>> {
        let at = self.value(name)?;
        self.document.as_section(&at)
    }

    /// The entries of a table whose keys are the admin's own names.
    pub(super) fn entries(&mut self, name: &'static str) -> Vec<(String, At<&'d DeValue<'t>>)> {
        self.section(name).map(|section| section.into_entries()).unwrap_or_default()
    }

    fn into_entries(self) -> Vec<(String, At<&'d DeValue<'t>>)> {
        self.table
            .iter()
            .map(|(key, value)| {
                let dotted = self.dotted(key.get_ref());
                let span = value_span(key, value);
                self.document.remember(&dotted, &span);
                (
                    key.get_ref().clone().into_owned(),
                    At { value: value.get_ref(), key: dotted, span },
                )
            })
            .collect()
    }

    /// Complains about every key that nobody asked for.
    pub(super) fn finish(self) {
        for (key, value) in self.table.iter() {
            let name = key.get_ref().as_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let fix = match nearest(name, &self.asked) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("remove it; known here: {}", self.asked.join(", ")),
            };
            self.document.complain(
                &key_span(key, value),
                &self.dotted(name),
                "no such key".to_owned(),
                fix,
            );
        }
    }

    pub(super) fn dotted(&self, name: &str) -> String {
        let bare = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let name = if bare { name.to_owned() } else { format!("{name:?}") };
        if self.key.is_empty() { name } else { format!("{}.{name}", self.key) }
    }
}

impl<'t> Document<'t> {
    pub(super) fn as_string(&self, at: &At<&DeValue<'t>>) -> Option<At<String>> {
        match at.value {
            DeValue::String(text) => Some(At {
                value: text.clone().into_owned(),
                key: at.key.clone(),
                span: at.span.clone(),
            }),
            other => {
                self.wrong_type(at, "a text in quotes", other);
                None
            }
        }
    }

    pub(super) fn as_section<'d>(&'d self, at: &At<&'d DeValue<'t>>) -> Option<Section<'d, 't>> {
        match at.value {
            DeValue::Table(table) => Some(Section {
                document: self,
                table,
                key: at.key.clone(),
                span: at.span.clone(),
                asked: Vec::new(),
            }),
            other => {
                self.wrong_type(at, "a table such as { key = \"value\" }", other);
                None
            }
        }
    }

    pub(super) fn wrong_type(&self, at: &At<&DeValue<'t>>, wanted: &str, found: &DeValue<'t>) {
        let kind = match found {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.complain(&at.span, &at.key, format!("{kind} stands here"), format!("write {wanted}"));
    }

    /// A value as JSON, for settings; every key's place is kept.
    pub(super) fn as_json(&self, at: &At<&DeValue<'t>>) -> Option<serde_json::Value> {
        use serde_json::Value;
        Some(match at.value {
            DeValue::String(text) => Value::String(text.clone().into_owned()),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Integer(integer) => {
                match i64::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(number) => Value::from(number),
                    Err(_) => {
                        self.complain(
                            &at.span,
                            &at.key,
                            "this number is too large".to_owned(),
                            "write a smaller one, or a text in quotes".to_owned(),
                        );
                        return None;
                    }
                }
            }
            DeValue::Float(float) => match float.as_str().parse::<f64>().ok().map(Value::from) {
                Some(number @ Value::Number(_)) => number,
                _ => {
                    self.wrong_type(at, "a finite number", at.value);
                    return None;
                }
            },
            // JSON has no dates; their text is what a schema can look at.
            DeValue::Datetime(datetime) => Value::String(datetime.to_string()),
            DeValue::Array(array) => Value::Array(
                array
                    .iter()
                    .enumerate()
                    .filter_map(|(index, item)| {
                        let key = format!("{}[{index}]", at.key);
                        self.remember(&key, &item.span());
                        self.as_json(&At { value: item.get_ref(), key, span: item.span() })
                    })
                    .collect(),
            ),
            DeValue::Table(_) => Value::Object(
                self.as_section(at)?
                    .into_entries()
                    .into_iter()
                    .filter_map(|(name, item)| Some((name, self.as_json(&item)?)))
                    .collect(),
            ),
        })
    }
}

fn value_span<T>(key: &Spanned<T>, value: &Spanned<DeValue<'_>>) -> Range<usize> {
    match value.get_ref() {
        DeValue::Table(_) => key.span(),
        _ => value.span(),
    }
}

fn key_span<T>(key: &Spanned<T>, _value: &Spanned<DeValue<'_>>) -> Range<usize> {
    key.span()
}

/// The known word that the admin most likely meant.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(word.len()) / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be changed, put in, taken out or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    // A key can be as long as the file; nobody mistypes that much.
    let one: Vec<char> = one.chars().take(64).collect();
    let other: Vec<char> = other.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut best = (row[j] + usize::from(a != b)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_finds_its_neighbour_and_a_strange_one_none() {
        let known = ["listen", "cors", "tls", "allow_plaintext"];
        assert_eq!(nearest("lisen", &known), Some("listen"));
        assert_eq!(nearest("lsiten", &known), Some("listen"));
        assert_eq!(nearest("allow_plain_text", &known), Some("allow_plaintext"));
        assert_eq!(nearest("database", &known), None);
        assert_eq!(nearest("", &known), None);
    }
}
