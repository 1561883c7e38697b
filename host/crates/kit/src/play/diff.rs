//! What was expected beside what came.

use std::time::Duration;

/// How a line of a comparison stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// As expected.
    Same,
    /// Expected, and did not come.
    Missing,
    /// Came, and was not expected.
    Unexpected,
    /// Came where anything may.
    Skipped,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffLine {
    /// How it stands.
    pub sign: Sign,
    /// When it came.
    pub at: Option<Duration>,
    /// The text.
    pub text: String,
}

/// Something expected.
pub trait Expected: std::fmt::Display {
    /// Any number of lines.
    fn is_any(&self) -> bool;
    /// Does this line fit?
    fn fits(&self, at: Duration, text: &str) -> bool;
}

/// Most comparisons of two lines; beyond it only the beginning is aligned.
const MAX_CELLS: usize = 4 << 20;

/// None: all is as expected. Else the two beside each other, with as few differences as possible.
pub fn compare<E: Expected>(expected: &[E], got: &[(Duration, String)]) -> Option<Vec<DiffLine>> {
    let (rows, columns) = (expected.len() + 1, got.len() + 1);
    if rows.saturating_mul(columns) > MAX_CELLS {
        return plainly(expected, got);
    }
    // The price of what is left of both: 1 for each line that has no counterpart.
    let mut price = vec![0_u32; rows * columns];
    let mut fits = vec![false; rows * columns];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            let here = row * columns + column;
            let below = |price: &[u32]| (row + 1 < rows).then(|| price[here + columns]);
            let right = |price: &[u32]| (column + 1 < columns).then(|| price[here + 1]);
            let Some(wanted) = expected.get(row) else {
                price[here] = right(&price).map_or(0, |rest| rest + 1);
                continue;
            };
            if wanted.is_any() {
                price[here] =
                    [below(&price), right(&price)].into_iter().flatten().min().unwrap_or(0);
                continue;
            }
            let mut best = below(&price).map_or(u32::MAX, |rest| rest + 1);
            if let Some((at, text)) = got.get(column) {
                best = best.min(right(&price).map_or(u32::MAX, |rest| rest + 1));
                if wanted.fits(*at, text) {
                    fits[here] = true;
                    best = best.min(price[here + columns + 1]);
                }
            }
            price[here] = best;
        }
    }
    if price[0] == 0 {
        return None;
    }
    let (mut row, mut column) = (0, 0);
    let mut lines = Vec::new();
    while row < expected.len() || column < got.len() {
        let here = row * columns + column;
        let came = |sign| {
            let (at, text) = &got[column];
            DiffLine { sign, at: Some(*at), text: text.clone() }
        };
        match expected.get(row) {
            None => {
                lines.push(came(Sign::Unexpected));
                column += 1;
            }
            Some(wanted) if wanted.is_any() => {
                if column < got.len()
                    && price[here + 1] == price[here]
                    && price[here + columns] > price[here]
                {
                    lines.push(came(Sign::Skipped));
                    column += 1;
                } else {
                    row += 1;
                }
            }
            Some(wanted) => {
                if fits[here] && price[here] == price[here + columns + 1] {
                    lines.push(came(Sign::Same));
                    (row, column) = (row + 1, column + 1);
                } else if column < got.len() && price[here] == price[here + 1] + 1 {
                    lines.push(came(Sign::Unexpected));
                    column += 1;
                } else {
                    lines.push(missing(wanted));
                    row += 1;
                }
            }
        }
    }
    Some(lines)
}

fn missing(wanted: &impl Expected) -> DiffLine {
    DiffLine { sign: Sign::Missing, at: None, text: wanted.to_string() }
}

/// For lists too long to be aligned: line by line.
fn plainly<E: Expected>(expected: &[E], got: &[(Duration, String)]) -> Option<Vec<DiffLine>> {
    let same = expected
        .iter()
        .zip(got)
        .take_while(|(wanted, (at, text))| !wanted.is_any() && wanted.fits(*at, text))
        .count();
    if same == expected.len() && same == got.len() {
        return None;
    }
    // An honest word is better than a wrong one: with `...` in a list of that length nothing is sure.
    let rest = got[same..].iter().take(20).map(|(at, text)| DiffLine {
        sign: Sign::Unexpected,
        at: Some(*at),
        text: text.clone(),
    });
    Some(expected[same..].iter().take(20).map(missing).chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::pattern::Line;

    fn shown(expected: &[&str], got: &[&str]) -> String {
        let expected: Vec<Line> = expected.iter().map(|line| Line::parse(line).unwrap()).collect();
        let got: Vec<(Duration, String)> = got
            .iter()
            .enumerate()
            .map(|(second, text)| (Duration::from_secs(second as u64), (*text).to_owned()))
            .collect();
        let Some(lines) = compare(&expected, &got) else { return "as expected".into() };
        let sign = |sign| match sign {
            Sign::Same => ' ',
            Sign::Missing => '-',
            Sign::Unexpected => '+',
            Sign::Skipped => '.',
        };
        lines
            .iter()
            .map(|line| format!("{}{}", sign(line.sign), line.text))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn only_what_differs_has_a_sign() {
        assert_eq!(shown(&["a", "b*"], &["a", "bc"]), "as expected");
        assert_eq!(shown(&["a", "b", "c"], &["a", "x", "c"]), " a +x -b  c");
        assert_eq!(shown(&["a"], &[]), "-a");
        assert_eq!(shown(&[], &["a"]), "+a");
    }

    #[test]
    fn three_dots_are_any_lines() {
        assert_eq!(shown(&["..."], &[]), "as expected");
        assert_eq!(shown(&["a", "...", "c"], &["a", "x", "y", "c"]), "as expected");
        assert_eq!(shown(&["...", "c"], &["a", "c", "d"]), ".a  c +d");
        assert_eq!(shown(&["...", "c", "..."], &["a", "b"]), "-c .a .b");
    }

    #[test]
    fn a_line_with_a_time_must_come_then() {
        assert_eq!(shown(&["a", "@1s b"], &["a", "b"]), "as expected");
        assert_eq!(shown(&["a", "@2s b"], &["a", "b"]), " a +b -@2s b");
    }
}
