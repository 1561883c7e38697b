//! TOML texts that people write: readers ask for what they know, and everything else becomes a complaint with
//! its line and, where one is near, the word that was meant.

use std::{borrow::Cow, cell::RefCell, fmt, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Something wrong in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// Dotted, e.g. `step[2].expect.send`; empty when it is about no key.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

/// `3:1: expect.sned: no such key; did you mean `send`?`
impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, key, message, fix } = self;
        write!(f, "{line}:{column}: ")?;
        if !key.is_empty() {
            write!(f, "{key}: ")?;
        }
        write!(f, "{message}")?;
        if fix.is_empty() { Ok(()) } else { write!(f, "; {fix}") }
    }
}

/// A text, and the complaints about it.
pub struct Document<'t> {
    text: &'t str,
    complaints: RefCell<Vec<Complaint>>,
}

impl<'t> Document<'t> {
    /// Nothing is read yet.
    pub fn new(text: &'t str) -> Self {
        Self { text, complaints: RefCell::default() }
    }

    /// The root table. What is not TOML becomes complaints.
    pub fn parse(&self) -> Spanned<DeTable<'t>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            self.complain(&span, "", format!("not valid TOML: {}", error.message()), "");
        }
        table
    }

    /// Adds a complaint about what stands there.
    pub fn complain(
        &self,
        span: &Range<usize>,
        key: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let (line, column) = self.place(span);
        let complaint = Complaint {
            line,
            column,
            key: key.to_owned(),
            message: message.into(),
            fix: fix.into(),
        };
        let mut complaints = self.complaints.borrow_mut();
        if !complaints.contains(&complaint) {
            complaints.push(complaint);
        }
    }

    /// Line and column, counted from 1.
    pub fn place(&self, span: &Range<usize>) -> (usize, usize) {
        let mut at = span.start.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
        (line, 1 + before[line_start..].chars().count())
    }

    /// All complaints, by their place.
    pub fn finish(self) -> Vec<Complaint> {
        let mut complaints = self.complaints.into_inner();
        complaints.sort_by_key(|complaint| (complaint.line, complaint.column));
        complaints
    }
}

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its dotted key.
    pub key: String,
    /// Its bytes in the text.
    pub span: Range<usize>,
}

impl<T> At<T> {
    /// Another value at the same place.
    pub fn with<U>(&self, value: U) -> At<U> {
        At { value, key: self.key.clone(), span: self.span.clone() }
    }
}

/// A value as it was read.
pub type Value<'d, 't> = At<&'d DeValue<'t>>;

/// One table being read.
pub struct Section<'d, 't> {
    document: &'d Document<'t>,
    table: &'d DeTable<'t>,
    /// Its dotted key; empty for the root.
    pub key: String,
    /// Where it stands.
    pub span: Range<usize>,
    asked: Vec<&'static str>,
}

impl<'d, 't> Section<'d, 't> {
    /// The root of a text.
    pub fn root(document: &'d Document<'t>, table: &'d Spanned<DeTable<'t>>) -> Self {
        Self { document, table: table.get_ref(), key: String::new(), span: 0..0, asked: Vec::new() }
    }

    /// The table that a value is.
    pub fn of(document: &'d Document<'t>, at: &Value<'d, 't>) -> Option<Self> {
        match at.value {
            DeValue::Table(table) => Some(Self {
                document,
                table,
                key: at.key.clone(),
                span: at.span.clone(),
                asked: Vec::new(),
            }),
            other => {
                wrong_type(document, at, "a table such as { key = \"value\" }", other);
                None
            }
        }
    }

    /// The text it is part of.
    pub fn document(&self) -> &'d Document<'t> {
        self.document
    }

    /// Its line, counted from 1.
    pub fn line(&self) -> usize {
        self.document.place(&self.span).0
    }

    /// Complains about the table as a whole.
    pub fn complain(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.document.complain(&self.span, &self.key, message, fix);
    }

    /// The value of a key, which is known from now on.
    pub fn value(&mut self, name: &'static str) -> Option<Value<'d, 't>> {
        self.asked.push(name);
        let (key, value) = self.table.get_key_value(name)?;
        Some(At { value: value.get_ref(), key: self.dotted(name), span: value_span(key, value) })
    }

    /// A text.
    pub fn string(&mut self, name: &'static str) -> Option<At<String>> {
        let at = self.value(name)?;
        as_string(self.document, &at)
    }

    /// `true` or `false`.
    pub fn bool(&mut self, name: &'static str) -> Option<At<bool>> {
        let at = self.value(name)?;
        match at.value {
            DeValue::Boolean(value) => Some(at.with(*value)),
            other => {
                wrong_type(self.document, &at, "`true` or `false`, without quotes", other);
                None
            }
        }
    }

    /// A whole number within limits.
    pub fn number<N>(
        &mut self,
        name: &'static str,
        limits: std::ops::RangeInclusive<N>,
    ) -> Option<At<N>>
    where
        N: TryFrom<i64> + PartialOrd + fmt::Display,
    {
        let at = self.value(name)?;
        let DeValue::Integer(integer) = at.value else {
            wrong_type(self.document, &at, "a whole number, without quotes", at.value);
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        match number.and_then(|number| N::try_from(number).ok()) {
            Some(number) if limits.contains(&number) => Some(at.with(number)),
            _ => {
                let fix = format!("write a number from {} to {}", limits.start(), limits.end());
                self.document.complain(
                    &at.span,
                    &at.key,
                    format!("{} is out of range", integer.as_str()),
                    fix,
                );
                None
            }
        }
    }

    /// A list of texts; one text is a list of one.
    pub fn strings(&mut self, name: &'static str) -> Option<Vec<At<String>>> {
        let at = self.value(name)?;
        if matches!(at.value, DeValue::String(_)) {
            return Some(as_string(self.document, &at).into_iter().collect());
        }
        let items = self.items(&at, "a list such as [\"one\", \"two\"]")?;
        Some(items.iter().filter_map(|item| as_string(self.document, item)).collect())
    }

    /// A table of this table.
    pub fn section(&mut self, name: &'static str) -> Option<Self> {
        let at = self.value(name)?;
        Self::of(self.document, &at)
    }

    /// A list of tables, as `[[name]]` makes one.
    pub fn sections(&mut self, name: &'static str) -> Vec<Self> {
        let Some(at) = self.value(name) else { return Vec::new() };
        let wanted = format!("a list of tables: each one begins with `[[{}]]`", at.key);
        let items = self.items(&at, &wanted).unwrap_or_default();
        items.iter().filter_map(|item| Self::of(self.document, item)).collect()
    }

    /// The entries of a table whose keys are the author's own names.
    pub fn entries(&mut self, name: &'static str) -> Vec<(String, Value<'d, 't>)> {
        self.section(name).map(Self::into_entries).unwrap_or_default()
    }

    /// All entries of this table; the keys are the author's own names.
    pub fn into_entries(self) -> Vec<(String, Value<'d, 't>)> {
        let entry = |(key, value): (&'d Spanned<Cow<'t, str>>, &'d Spanned<DeValue<'t>>)| {
            let name = key.get_ref().clone().into_owned();
            let at = At {
                value: value.get_ref(),
                key: self.dotted(&name),
                span: value_span(key, value),
            };
            (name, at)
        };
        self.table.iter().map(entry).collect()
    }

    /// A table of texts.
    pub fn texts(&mut self, name: &'static str) -> Vec<(String, String)> {
        let text = |(name, at): (String, Value<'d, 't>)| {
            Some((name, as_string(self.document, &at)?.value))
        };
        let entries = self.entries(name);
        entries.into_iter().filter_map(text).collect()
    }

    /// Any value as JSON.
    pub fn json(&mut self, name: &'static str) -> Option<At<serde_json::Value>> {
        let at = self.value(name)?;
        Some(at.with(as_json(self.document, &at)?))
    }

    /// Complains about every key that nobody asked for.
    pub fn finish(self) {
        for (key, _) in self.table.iter() {
            let name = key.get_ref().as_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let fix = match nearest(name, &self.asked) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("remove it; known here: {}", self.asked.join(", ")),
            };
            self.document.complain(&key.span(), &self.dotted(name), "no such key", fix);
        }
    }

    fn items(&self, at: &Value<'d, 't>, wanted: &str) -> Option<Vec<Value<'d, 't>>> {
        let DeValue::Array(array) = at.value else {
            wrong_type(self.document, at, wanted, at.value);
            return None;
        };
        let item = |(index, item): (usize, &'d Spanned<DeValue<'t>>)| At {
            value: item.get_ref(),
            key: format!("{}[{}]", at.key, index + 1),
            span: item.span(),
        };
        Some(array.iter().enumerate().map(item).collect())
    }

    fn dotted(&self, name: &str) -> String {
        let bare = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let name = if bare { name.to_owned() } else { format!("{name:?}") };
        if self.key.is_empty() { name } else { format!("{}.{name}", self.key) }
    }
}

/// A text; anything else is complained about.
pub fn as_string(document: &Document<'_>, at: &Value<'_, '_>) -> Option<At<String>> {
    match at.value {
        DeValue::String(text) => Some(at.with(text.clone().into_owned())),
        other => {
            wrong_type(document, at, "a text in quotes", other);
            None
        }
    }
}

/// Any value as JSON; dates become texts.
pub fn as_json(document: &Document<'_>, at: &Value<'_, '_>) -> Option<serde_json::Value> {
    let below = |key: String, item: &Spanned<DeValue<'_>>| {
        as_json(document, &At { value: item.get_ref(), key, span: item.span() })
    };
    Some(match at.value {
        DeValue::String(text) => text.clone().into_owned().into(),
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Integer(integer) => {
            let Ok(number) = i64::from_str_radix(integer.as_str(), integer.radix()) else {
                let fix = "write a smaller one, or a text in quotes";
                document.complain(&at.span, &at.key, "this number is too large", fix);
                return None;
            };
            number.into()
        }
        DeValue::Float(float) => match float.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => number.into(),
            _ => {
                wrong_type(document, at, "a finite number", at.value);
                return None;
            }
        },
        DeValue::Datetime(datetime) => datetime.to_string().into(),
        DeValue::Array(array) => array
            .iter()
            .enumerate()
            .map(|(index, item)| below(format!("{}[{}]", at.key, index + 1), item))
            .collect::<Option<Vec<_>>>()?
            .into(),
        DeValue::Table(table) => {
            let mut object = serde_json::Map::new();
            for (name, item) in table.iter() {
                let name = name.get_ref().clone().into_owned();
                let value = below(format!("{}.{name}", at.key), item)?;
                object.insert(name, value);
            }
            object.into()
        }
    })
}

/// Complains that something else is wanted here.
pub fn wrong_type(document: &Document<'_>, at: &Value<'_, '_>, wanted: &str, found: &DeValue<'_>) {
    let kind = match found {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    document.complain(&at.span, &at.key, format!("{kind} stands here"), format!("write {wanted}"));
}

/// An inline value points at itself, a `[table]` at its header.
fn value_span<T>(key: &Spanned<T>, value: &Spanned<DeValue<'_>>) -> Range<usize> {
    match value.get_ref() {
        DeValue::Table(_) => key.span(),
        _ => value.span(),
    }
}

/// The known word that was most likely meant.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
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
    fn a_key_nobody_asked_for_names_its_line_and_the_word_that_was_meant() {
        let document = Document::new("kind = \"router\"\n[expect]\nreson = \"x\"\nfoo = 1\n");
        let table = document.parse();
        let mut root = Section::root(&document, &table);
        assert_eq!(root.string("kind").map(|at| at.value).as_deref(), Some("router"));
        let mut expect = root.section("expect").expect("there is one");
        assert!(expect.string("reason").is_none());
        expect.finish();
        root.finish();
        let complaints: Vec<String> = document.finish().iter().map(ToString::to_string).collect();
        assert_eq!(
            complaints,
            [
                "3:1: expect.reson: no such key; did you mean `reason`?",
                "4:1: expect.foo: no such key; remove it; known here: reason",
            ]
        );
    }

    #[test]
    fn what_is_not_toml_is_told_with_its_line() {
        let document = Document::new("kind = \"router\"\nsettings = {\n");
        document.parse();
        let complaints = document.finish();
        assert!(complaints[0].message.starts_with("not valid TOML"), "{complaints:?}");
        assert!(complaints[0].line >= 2, "{complaints:?}");
    }
}
