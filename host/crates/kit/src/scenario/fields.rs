//! Lines that name fields, as the facts of connectors are written: `leg-started id=17 party.number=555*`.

use std::{fmt, time::Duration};

use super::{pattern::Pattern, time};

/// An expected line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldLine {
    /// Any number of lines.
    Any,
    /// A line with these words and at least these fields.
    Fits {
        /// Since the beginning.
        at: Option<Duration>,
        /// E.g. `has leg-started`.
        words: Vec<Pattern>,
        /// Names, and what they must be.
        fields: Vec<(String, Pattern)>,
        /// As it was written.
        text: String,
    },
}

impl FieldLine {
    /// `...`, or words and fields, perhaps with `@time` before them.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "..." {
            return Ok(Self::Any);
        }
        let mut at = None;
        let mut rest = text;
        if let Some(timed) = text.strip_prefix('@') {
            let (moment, tail) = timed.split_once(' ').unwrap_or((timed, ""));
            at = Some(time::duration(moment)?);
            rest = tail;
        }
        let tokens = Tokens::parse(rest)?;
        if tokens.words.is_empty() {
            return Err(format!("`{text}` names no fact; write e.g. \"leg-started id=17\""));
        }
        Ok(Self::Fits {
            at,
            words: tokens.words.iter().map(|word| Pattern::text(word)).collect(),
            fields: tokens
                .fields
                .into_iter()
                .map(|(name, value)| (name, Pattern::text(&value)))
                .collect(),
            text: text.to_owned(),
        })
    }

    /// Does a line that was told fit?
    pub fn is(&self, told: &str) -> bool {
        let Self::Fits { words, fields, .. } = self else { return true };
        let Ok(told) = Tokens::parse(told) else { return false };
        words.len() == told.words.len()
            && words.iter().zip(&told.words).all(|(pattern, word)| pattern.is(word))
            && fields.iter().all(|(name, pattern)| {
                let value = told.fields.iter().find(|(field, _)| field == name);
                pattern.is(value.map_or("", |(_, value)| value))
            })
    }
}

impl fmt::Display for FieldLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("..."),
            Self::Fits { text, .. } => f.write_str(text),
        }
    }
}

/// A line taken apart.
struct Tokens {
    words: Vec<String>,
    fields: Vec<(String, String)>,
}

impl Tokens {
    fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Self { words: Vec::new(), fields: Vec::new() };
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let end = rest.find([' ', '=']).unwrap_or(rest.len());
            let (name, tail) = rest.split_at(end);
            match tail.strip_prefix('=') {
                Some(tail) => {
                    let (value, tail) = value(tail)
                        .ok_or_else(|| format!("`{text}` has a quote that does not end"))?;
                    tokens.fields.push((name.to_owned(), value));
                    rest = tail.trim_start();
                }
                None => {
                    tokens.words.push(name.to_owned());
                    rest = tail.trim_start();
                }
            }
        }
        Ok(tokens)
    }
}

/// A value up to the next space, or in quotes.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(' ').unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                // A star that is one stays so for the pattern.
                '*' => value.push_str("\\*"),
                other => value.push(other),
            },
            letter => value.push(letter),
        }
    }
    None
}

/// A line with fields being written; fields without value are left out.
pub struct Writer {
    line: String,
}

impl Writer {
    /// Begins with these words.
    pub fn new(words: &str) -> Self {
        Self { line: words.to_owned() }
    }

    /// A field.
    pub fn field(mut self, name: &str, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        if value.is_empty() {
            return self;
        }
        let bare = !value.contains([' ', '"', '\\', '\n', '\r']);
        self.line.push_str(&format!(" {name}="));
        if bare {
            self.line.push_str(&value);
        } else {
            self.line.push('"');
            for letter in value.chars() {
                match letter {
                    '\n' => self.line.push_str("\\n"),
                    '\r' => self.line.push_str("\\r"),
                    '"' | '\\' => self.line.extend(['\\', letter]),
                    letter => self.line.push(letter),
                }
            }
            self.line.push('"');
        }
        self
    }

    /// Fields with names of their own.
    pub fn fields(self, prefix: &str, fields: &[(String, String)]) -> Self {
        fields
            .iter()
            .fold(self, |line, (name, value)| line.field(&format!("{prefix}{name}"), value))
    }

    /// The line.
    pub fn done(self) -> String {
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_not_named_do_not_matter() {
        let line = FieldLine::parse("leg-started id=17 party.name=\"Ada *\"").unwrap();
        assert!(line.is("leg-started id=17 device=PJSIP/1 party.name=\"Ada L\""));
        assert!(!line.is("leg-started id=18 party.name=\"Ada L\""));
        assert!(!line.is("has leg-started id=17 party.name=\"Ada L\""));
        assert!(!line.is("leg-started id=17"));
        assert!(FieldLine::parse("leg-ended id=17 cause.q850=").unwrap().is("leg-ended id=17"));
        assert!(FieldLine::parse("").is_err());
        assert!(FieldLine::parse("leg-started id=\"17").is_err());
    }

    #[test]
    fn what_was_written_is_read_again() {
        let told =
            Writer::new("notice").field("message", "a \"b\" \\ c\nd").field("fix", "").done();
        assert_eq!(told, r#"notice message="a \"b\" \\ c\nd""#);
        assert!(FieldLine::parse(&told).unwrap().is(&told));
    }
}
