//! Keys that callers press, hidden: they are in no file.
//!
//! The one key that is the value of something called `digit`, as AMI, ARI and others name it, becomes `0`. So does each
//! key in what a hook had done with a caller who may have pressed it: in variables for the PBX and in digits to speak.
//! What a PBX tells of a channel's variables by itself is not known to be keys.

use crate::bindings::types::Input;

/// Instructions for a leg that the PBX handed over begin so.
const INSTRUCTION: &str = "leg-";
/// Names of what they set begin so.
const VARIABLE: &str = "variable.";

/// `Digit: 5`, `digit=#`, `"digit":"A"`: which key it was is hidden.
pub(super) fn hide_keys(text: &mut [u8]) {
    const NAME: &[u8] = b"digit";
    hide_spoken(text);
    let mut at = 0;
    while let Some(found) =
        text[at..].windows(NAME.len()).position(|it| it.eq_ignore_ascii_case(NAME))
    {
        at += found + NAME.len();
        let rest = &text[at..];
        let between = rest.iter().take_while(|byte| b":= \"'".contains(byte)).count();
        let (between, rest) = rest.split_at(between);
        if let [b'0'..=b'9' | b'A'..=b'D' | b'*' | b'#', rest @ ..] = rest
            && between.iter().any(|byte| b":=".contains(byte))
            && !rest.first().is_some_and(u8::is_ascii_alphanumeric)
        {
            at += between.len();
            text[at] = b'0';
        }
    }
}

/// `EXEC SayDigits 4711`, as Asterisk is told and tells it, also with `%20` for the space.
fn hide_spoken(text: &mut [u8]) {
    const NAME: &[u8] = b"saydigits";
    let mut at = 0;
    while let Some(found) =
        text[at..].windows(NAME.len()).position(|it| it.eq_ignore_ascii_case(NAME))
    {
        at += found + NAME.len();
        at += match &text[at..] {
            [b'%', b'2', b'0', ..] => 3,
            [b' ' | b'(' | b'"', ..] => 1,
            _ => continue,
        };
        let keys = text[at..].iter().take_while(|it| matches!(it, b'0'..=b'9' | b'*' | b'#'));
        let end = at + keys.count();
        text[at..end].fill(b'0');
        at = end;
    }
}

/// Hides keys in what is to be set or spoken; was there one?
pub(super) fn hide_commanded(input: &mut Input) -> bool {
    let Input::Command(command) = input else { return false };
    if !command.kind.starts_with(INSTRUCTION) {
        return false;
    }
    let speaks_digits = command.arguments.iter().any(|(name, it)| name == "kind" && it == "digits");
    let mut any = false;
    for (name, value) in &mut command.arguments {
        if !(name.starts_with(VARIABLE) || (speaks_digits && name == "value")) {
            continue;
        }
        let hidden = value.replace(|it: char| matches!(it, '1'..='9' | '*' | '#'), "0");
        any |= *value != hidden;
        *value = hidden;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::{Input, hide_commanded, hide_keys};
    use crate::bindings::types::Command;

    #[test]
    fn keys_are_hidden_in_what_is_set_and_spoken_and_nowhere_else() {
        let command = |kind: &str, arguments: &[(&str, &str)]| {
            let arguments = arguments.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect();
            Input::Command(Command { id: 7, kind: kind.to_owned(), arguments, deadline_ns: 9 })
        };
        let told = |input: &Input| format!("{input:?}");
        for (kind, before, after) in [
            ("leg-set", ("variable.PIN", "47*1#"), ("variable.PIN", "00000")),
            ("leg-to-queue", ("variable.CARD", "card 12"), ("variable.CARD", "card 00")),
            ("leg-to-queue", ("priority", "12"), ("priority", "12")),
            ("dial", ("variable.PIN", "4711"), ("variable.PIN", "4711")),
        ] {
            let mut input = command(kind, &[("leg", "c-17"), before]);
            assert_eq!(hide_commanded(&mut input), before != after);
            assert_eq!(told(&input), told(&command(kind, &[("leg", "c-17"), after])));
        }
        let mut spoken = command("leg-say", &[("kind", "digits"), ("value", "4711")]);
        assert!(hide_commanded(&mut spoken));
        assert_eq!(
            told(&spoken),
            told(&command("leg-say", &[("kind", "digits"), ("value", "0000")]))
        );
        assert!(!hide_commanded(&mut command("leg-say", &[("kind", "number"), ("value", "4")])));
    }

    #[test]
    fn a_key_is_hidden_where_it_is_called_a_digit_and_only_there() {
        for (text, hidden) in [
            (
                "Event: DTMFEnd\r\nDigit: 5\r\nDurationMs: 5\r\n",
                "Event: DTMFEnd\r\nDigit: 0\r\nDurationMs: 5\r\n",
            ),
            ("{\"digit\":\"#\",\"n\":7}", "{\"digit\":\"0\",\"n\":7}"),
            ("DTMF-Digit: D\nDTMF-Duration: 2", "DTMF-Digit: 0\nDTMF-Duration: 2"),
            ("digit=*", "digit=0"),
            (
                "Command: EXEC SayDigits 47*1#\r\nCommandId: 47\r\n",
                "Command: EXEC SayDigits 00000\r\nCommandId: 47\r\n",
            ),
            ("EXEC%20SayDigits%204711%0A", "EXEC%20SayDigits%200000%0A"),
            ("SayDigits", "SayDigits"),
            (
                "Digit: 12\nDigits: 5\na Digit 5 a digit A\nDigit:\n5 digit",
                "Digit: 12\nDigits: 5\na Digit 5 a digit A\nDigit:\n5 digit",
            ),
        ] {
            let mut bytes = text.as_bytes().to_vec();
            hide_keys(&mut bytes);
            assert_eq!(String::from_utf8(bytes).unwrap(), hidden);
        }
    }
}
