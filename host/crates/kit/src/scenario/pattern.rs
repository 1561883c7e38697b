//! Texts with `*`, frames with `{names}`, and lists of lines in which `...` stands for any.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::time;

/// A text to compare with: `*` stands for anything, `\*` for a star.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Letter(char),
    Any,
    /// Takes one letter or more of one line.
    Name(String),
}

/// What names stand for.
pub type Names = BTreeMap<String, String>;

impl Pattern {
    /// Braces mean nothing.
    pub fn text(text: &str) -> Self {
        Self::parse(text, false)
    }

    /// `{name}` takes what stands there.
    pub fn frame(text: &str) -> Self {
        Self::parse(text, true)
    }

    fn parse(text: &str, with_names: bool) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            rest = &rest[letter.len_utf8()..];
            match letter {
                '\\' if rest.starts_with(['*', '{', '\\']) => {
                    parts.extend(rest.chars().next().map(Part::Letter));
                    rest = &rest[1..];
                }
                '*' => parts.push(Part::Any),
                '{' if with_names && let Some((name, tail)) = name(rest) => {
                    parts.push(Part::Name(name.to_owned()));
                    rest = tail;
                }
                letter => parts.push(Part::Letter(letter)),
            }
        }
        Self { text: text.to_owned(), parts }
    }

    /// Does it fit?
    pub fn is(&self, text: &str) -> bool {
        if self.parts.iter().any(|part| matches!(part, Part::Name(_))) {
            return self.take(text).is_some();
        }
        self.is_glob(text)
    }

    /// Stars only: going back to the last one is enough.
    fn is_glob(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let (mut part, mut star) = (0, None);
        loop {
            let before = rest.clone();
            let letter = rest.next();
            match (self.parts.get(part), letter) {
                (None, None) => return true,
                (Some(Part::Any), _) => {
                    part += 1;
                    rest = before;
                    star = Some((part, rest.clone()));
                    continue;
                }
                (Some(Part::Letter(wanted)), Some(letter)) if *wanted == letter => {
                    part += 1;
                    continue;
                }
                _ => {}
            }
            let Some((behind, from)) = &mut star else { return false };
            if from.next().is_none() {
                return false;
            }
            (part, rest) = (*behind, from.clone());
        }
    }

    /// What its names stand for, if it fits. A name that comes twice must stand for the same.
    pub fn take(&self, text: &str) -> Option<Names> {
        if self.parts.iter().all(|part| !matches!(part, Part::Name(_))) {
            return self.is_glob(text).then(Names::new);
        }
        let letters: Vec<char> = text.chars().collect();
        let mut failed = BTreeSet::new();
        let mut names = Vec::new();
        self.fit(0, &letters, 0, &mut failed, &mut names)?;
        let mut taken = Names::new();
        for (name, from, to) in names {
            let value: String = letters[from..to].iter().collect();
            if taken.insert(name.to_owned(), value.clone()).is_some_and(|before| before != value) {
                return None;
            }
        }
        Some(taken)
    }

    fn fit<'p>(
        &'p self,
        mut part: usize,
        letters: &[char],
        mut at: usize,
        failed: &mut BTreeSet<(usize, usize)>,
        names: &mut Vec<(&'p str, usize, usize)>,
    ) -> Option<()> {
        // Letters one after the other need no recursion: only `*` and names branch.
        loop {
            match self.parts.get(part) {
                None => return (at == letters.len()).then_some(()),
                Some(Part::Letter(letter)) => {
                    if letters.get(at) != Some(letter) {
                        return None;
                    }
                    (part, at) = (part + 1, at + 1);
                }
                Some(Part::Any) if part + 1 == self.parts.len() => return Some(()),
                Some(Part::Any) => {
                    return (at..=letters.len())
                        .find_map(|end| self.fit_once(part + 1, letters, end, failed, names));
                }
                Some(Part::Name(name)) => {
                    for end in at + 1..=letters.len() {
                        if letters[end - 1] == '\n' || letters[end - 1] == '\r' {
                            break;
                        }
                        let before = names.len();
                        names.push((name, at, end));
                        if self.fit_once(part + 1, letters, end, failed, names).is_some() {
                            return Some(());
                        }
                        names.truncate(before);
                    }
                    return None;
                }
            }
        }
    }

    /// What did not fit once does not fit the next time.
    fn fit_once<'p>(
        &'p self,
        part: usize,
        letters: &[char],
        at: usize,
        failed: &mut BTreeSet<(usize, usize)>,
        names: &mut Vec<(&'p str, usize, usize)>,
    ) -> Option<()> {
        if failed.contains(&(part, at)) {
            return None;
        }
        let fits = self.fit(part, letters, at, failed, names);
        if fits.is_none() {
            failed.insert((part, at));
        }
        fits
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// A name in braces; the first brace is gone already.
fn name(text: &str) -> Option<(&str, &str)> {
    let (name, tail) = text.split_once('}')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (!name.is_empty() && name.chars().all(fits)).then_some((name, tail))
}

/// Puts values in the place of names; names without value stay as they are.
pub fn fill(text: &str, names: &Names) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once('{') {
        out.push_str(before);
        match name(tail) {
            Some((name, tail)) if names.contains_key(name) => {
                out.push_str(&names[name]);
                rest = tail;
            }
            _ => {
                out.push('{');
                rest = tail;
            }
        }
    }
    out + rest
}

/// One expected line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Any number of lines.
    Any,
    /// A line that fits, perhaps at a time.
    Fits {
        /// Since the beginning.
        at: Option<Duration>,
        /// The text.
        pattern: Pattern,
    },
}

impl Line {
    /// `...`, or a text, perhaps with `@time` before it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "..." {
            return Ok(Self::Any);
        }
        let Some(timed) = text.strip_prefix('@') else {
            return Ok(Self::Fits { at: None, pattern: Pattern::text(text) });
        };
        let (at, text) = timed.split_once(' ').unwrap_or((timed, ""));
        let at = time::duration(at)?;
        Ok(Self::Fits { at: Some(at), pattern: Pattern::text(text.trim_start()) })
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("..."),
            Self::Fits { at: None, pattern } => write!(f, "{pattern}"),
            Self::Fits { at: Some(at), pattern } => write!(f, "@{} {pattern}", time::shown(*at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_anything_and_a_name_takes_what_stands_there() {
        assert!(Pattern::text("*VIP*").is("a VIP calls"));
        assert!(Pattern::text("*").is(""));
        assert!(Pattern::text(r"5\*").is("5*"));
        assert!(!Pattern::text(r"5\*").is("55"));
        assert!(!Pattern::text("a*b").is("a b c"));
        assert!(Pattern::text("{x}").is("{x}"));
        let taken = Pattern::frame("LOGIN {user} {digest}").take("LOGIN jack 0af").unwrap();
        assert_eq!(fill("WELCOME {user}, {nobody}", &taken), "WELCOME jack, {nobody}");
        assert!(Pattern::frame("{a}-{a}").take("x-x").is_some());
        assert!(Pattern::frame("{a}-{a}").take("x-y").is_none());
        let action = "Action: QueueStatus\r\nActionID: ab-1\r\n";
        let id = Pattern::frame("Action: QueueStatus*ActionID: {id}\r\n*").take(action).unwrap();
        assert_eq!(id["id"], "ab-1");
    }

    #[test]
    fn a_pattern_of_stars_takes_no_time() {
        let many = "*a".repeat(30) + "b";
        assert!(!Pattern::text(&many).is(&"a".repeat(2000)));
        assert!(Pattern::text(&many).is(&("a".repeat(2000) + "b")));
    }

    #[test]
    fn a_line_may_say_when() {
        let line = Line::parse("@1m30s play sorry").unwrap();
        assert_eq!(line.to_string(), "@1m30s play sorry");
        assert_eq!(Line::parse(" ... ").unwrap(), Line::Any);
        assert!(Line::parse("@soon play").is_err());
    }
}
