//! Sets of phone numbers: whole ones, beginnings such as `+4930*`, and callers who show none.

use std::collections::BTreeSet;

use crate::reader::Reader;

/// The longest number; E.164 has 15 digits.
const LONGEST: usize = 32;

/// Most numbers in all of one set.
pub const MOST: usize = 20_000;

/// A set of numbers. Looking one up takes a few steps however large it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    whole: BTreeSet<String>,
    beginnings: BTreeSet<String>,
    longest_beginning: usize,
    anonymous: bool,
}

impl Numbers {
    /// Reads a text or a list of texts.
    pub fn read(it: &Reader<'_>) -> Self {
        let mut numbers = Self::default();
        if it.value().is_string() {
            numbers.add(it);
        } else {
            it.items(MOST).iter().for_each(|it| numbers.add(it));
        }
        numbers
    }

    /// Reads a set in a table, when it is there.
    pub fn of_setting(it: &Reader<'_>, name: &str) -> Option<Self> {
        it.get(name).map(|it| Self::read(&it))
    }

    /// Is the number in the set? It may be written in several ways, e.g. as it came and in E.164; one that fits is
    /// enough. No number at all is an anonymous caller.
    pub fn contain(&self, written: &[&str]) -> bool {
        let mut shown = written.iter().filter(|number| !number.is_empty()).peekable();
        if shown.peek().is_none() {
            return self.anonymous;
        }
        shown.any(|number| self.has(&spoken(number)))
    }

    /// The longest beginning in the set that a number has.
    pub fn beginning_of(&self, number: &str) -> Option<&str> {
        let most = self.longest_beginning.min(number.len());
        (0..=most)
            .rev()
            .filter_map(|length| number.get(..length))
            .find_map(|part| self.beginnings.get(part))
            .map(String::as_str)
    }

    fn has(&self, number: &str) -> bool {
        self.whole.contains(number) || self.beginning_of(number).is_some()
    }

    fn add(&mut self, it: &Reader<'_>) {
        let Some(text) = it.text() else { return };
        if text == "anonymous" {
            self.anonymous = true;
            return;
        }
        let (number, is_beginning) = match text.strip_suffix('*') {
            Some(beginning) => (spoken(beginning), true),
            None => (spoken(&text), false),
        };
        let digits = number.strip_prefix('+').unwrap_or(&number);
        let fine =
            !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || "*#".contains(c));
        if number.len() > LONGEST || !(fine || (is_beginning && digits.is_empty())) {
            it.complain(format!(
                "{text:?} is no number; write e.g. \"+49 30 123456\", \"1001\", \"+4930*\" for all that begin so, or \
                 \"anonymous\""
            ));
            return;
        }
        if is_beginning {
            self.longest_beginning = self.longest_beginning.max(number.len());
            self.beginnings.insert(number);
        } else {
            self.whole.insert(number);
        }
    }
}

/// Without what people write between digits. What a caller sends may be anything of any length.
fn spoken(number: &str) -> String {
    number.chars().filter(|c| !" -()./".contains(*c)).take(LONGEST * 2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    fn numbers(value: serde_json::Value) -> Numbers {
        settings(&serde_json::json!({ "n": value }).to_string(), |it| {
            Numbers::of_setting(it, "n").unwrap()
        })
        .unwrap()
    }

    #[test]
    fn a_number_is_found_however_it_is_written() {
        let set = numbers(serde_json::json!(["+49 (30) 123-456", "1001", "+43*", "+4366*"]));
        for (written, is_in) in [
            (&["+4930123456"][..], true),
            (&["030123456", "+4930123456"], true),
            (&["030123456", ""], false),
            (&["10 01"], true),
            (&["10011"], false),
            (&["+43"], true),
            (&["+4312345678"], true),
            (&["+42"], false),
            (&[""], false),
            (&[], false),
        ] {
            assert_eq!(set.contain(written), is_in, "{written:?}");
        }
        assert_eq!(set.beginning_of("+43662"), Some("+4366"));
        assert_eq!(set.beginning_of("+4312"), Some("+43"));
        assert_eq!(set.beginning_of("+"), None);
    }

    #[test]
    fn a_caller_without_a_number_is_anonymous() {
        let set = numbers(serde_json::json!("anonymous"));
        assert!(set.contain(&["", ""]));
        assert!(!set.contain(&["1"]));
        assert!(!numbers(serde_json::json!(["*"])).contain(&[""]));
        assert!(numbers(serde_json::json!(["*"])).contain(&["x"]));
    }

    #[test]
    fn hostile_numbers_are_looked_up_like_any_other() {
        let set = numbers(serde_json::json!(["+4*", "5"]));
        for hostile in ["é€𝄞+4", "\r\nAction: Originate", "+4\u{0}", &"9".repeat(100_000), "+4é"]
        {
            set.contain(&[hostile]);
        }
        assert!(set.contain(&["+4é"]));
    }

    #[test]
    fn what_is_no_number_is_a_problem_with_its_path() {
        let absurd = ["", "+", "call me", "1a", "++49", "1+2", &"1".repeat(33), "**x*"];
        for (index, text) in absurd.iter().enumerate() {
            let list: Vec<&str> = std::iter::repeat_n("1", index).chain([*text]).collect();
            let text = serde_json::json!({ "n": list }).to_string();
            let problems = settings(&text, |it| Numbers::of_setting(it, "n")).unwrap_err();
            assert_eq!(problems[0].path, format!("n[{index}]"), "{text}");
        }
    }
}
