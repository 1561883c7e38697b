//! Callers' numbers do not belong into logs, which are mailed around.

use std::fmt::{self, Display, Write};

/// Digits in a row that may be somebody's number; extensions are shorter.
const SHORTEST: usize = 5;
/// What is left of a number, so that two calls can be told apart.
const SHOWN: usize = 2;

/// Text that may hold numbers of callers, for a log: of each only the last two digits are written.
pub(crate) struct Redacted<'t>(pub &'t str);

impl Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(start) = rest.find(|letter: char| letter.is_ascii_digit()) {
            let (before, from) = rest.split_at(start);
            let end = from.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(from.len());
            let (digits, after) = from.split_at(end);
            f.write_str(before)?;
            if digits.len() < SHORTEST {
                f.write_str(digits)?;
            } else {
                let (hidden, shown) = digits.split_at(digits.len() - SHOWN);
                hidden.chars().try_for_each(|_| f.write_char('*'))?;
                f.write_str(shown)?;
            }
            rest = after;
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_number_the_last_two_digits_are_left_and_other_text_stays() {
        let redacted = |text: &str| Redacted(text).to_string();
        assert_eq!(redacted("CallerIDNum: +493012345\\r\\n"), "CallerIDNum: +*******45\\r\\n");
        assert_eq!(redacted("0301234 1001 ü 12345"), "*****34 1001 ü ***45");
        assert_eq!(redacted("Queue: support"), "Queue: support");
        assert_eq!(redacted(""), "");
    }
}
