//! Keys that callers press, hidden: the one key that is the value of something called `digit`, as AMI, ARI and others
//! name it, becomes `0`. What a plugin keeps of them, or was told to do with them, is not known to be keys.

/// `Digit: 5`, `digit=#`, `"digit":"A"`: which key it was is hidden.
pub(super) fn hide_keys(text: &mut [u8]) {
    const NAME: &[u8] = b"digit";
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

#[cfg(test)]
mod tests {
    use super::hide_keys;

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
