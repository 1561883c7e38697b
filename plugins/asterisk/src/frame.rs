//! AMI's wire format: headers ended by CR LF, a frame ended by an empty line.
//!
//! Nothing is copied: keys and values are slices of what the host handed in.

/// A header's key and value, without the colon and the blanks around it.
pub type Header<'a> = (&'a [u8], &'a [u8]);

/// What stands at the start of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A frame of so many bytes, blank lines before it included.
    Frame(usize),
    /// Only blank lines: so many bytes to skip.
    Blank(usize),
    /// No end in sight yet.
    Incomplete,
}

/// Reads the next frame's headers into `headers`, which is cleared first.
pub fn next<'a>(data: &'a [u8], headers: &mut Vec<Header<'a>>) -> Next {
    headers.clear();
    let mut start = 0;
    while data[start..].starts_with(b"\r\n") {
        start += 2;
    }
    let mut at = start;
    while let Some(end) = line_end(data, at) {
        if end == at {
            return Next::Frame(end + 2);
        }
        headers.push(split(&data[at..end]));
        at = end + 2;
    }
    if start > 0 && start == data.len() { Next::Blank(start) } else { Next::Incomplete }
}

/// Where the CR of the next CR LF is. A CR or an LF alone belongs to the value.
fn line_end(data: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += find(b'\r', &data[at..])?;
        match data.get(at + 1) {
            Some(b'\n') => return Some(at),
            Some(_) => at += 1,
            None => return None,
        }
    }
}

fn split(line: &[u8]) -> Header<'_> {
    // Keys are short: no need for eight bytes at a time.
    match line.iter().position(|&byte| byte == b':') {
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, b""),
    }
}

/// The first `needle`, eight bytes at a time.
fn find(needle: u8, data: &[u8]) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let pattern = u64::from(needle) * LOW;
    let mut chunks = data.chunks_exact(8);
    let mut at = 0;
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("a chunk of eight"));
        let zero_where_equal = word ^ pattern;
        // The lowest set bit marks the first zero byte (the bits above it may be wrong).
        let found = zero_where_equal.wrapping_sub(LOW) & !zero_where_equal & HIGH;
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    chunks.remainder().iter().position(|&byte| byte == needle).map(|rest| at + rest)
}

/// The value of the first header with this key.
pub fn get<'a>(headers: &[Header<'a>], key: &[u8]) -> Option<&'a [u8]> {
    headers.iter().find(|header| header.0 == key).map(|header| header.1)
}

/// As text, bytes that are no UTF-8 replaced; nothing for `<unknown>` and `unknown`.
pub fn text(value: &[u8]) -> String {
    if value == b"<unknown>" || value == b"unknown" {
        return String::new();
    }
    String::from_utf8_lossy(value).into_owned()
}

/// The text of the first header with this key; empty when there is none.
pub fn get_text(headers: &[Header<'_>], key: &[u8]) -> String {
    get(headers, key).map(text).unwrap_or_default()
}

/// The number in the first header with this key; 0 when there is none.
pub fn get_number(headers: &[Header<'_>], key: &[u8]) -> u64 {
    get(headers, key).map(number).unwrap_or_default()
}

/// Digits as a number; 0 for anything else.
pub fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &[u8]) -> (Next, Vec<(String, String)>) {
        let mut headers = Vec::new();
        let next = next(data, &mut headers);
        (next, headers.into_iter().map(|(key, value)| (text(key), text(value))).collect())
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.into(), value.into())
    }

    #[test]
    fn blank_lines_before_a_frame_are_skipped() {
        let (next, headers) = read(b"\r\n\r\nEvent: X\r\nA:b\r\nEmpty: \r\n\r\nEvent");
        assert_eq!(next, Next::Frame(30));
        assert_eq!(headers, [pair("Event", "X"), pair("A", "b"), pair("Empty", "")]);
        assert_eq!(read(b"\r\n").0, Next::Blank(2));
    }

    #[test]
    fn a_frame_without_its_end_waits() {
        let whole = b"Event: X\r\nKey: value\r\n\r\n";
        for cut in 1..whole.len() {
            assert_eq!(read(&whole[..cut]).0, Next::Incomplete, "cut at {cut}");
        }
        assert_eq!(read(whole).0, Next::Frame(whole.len()));
        assert_eq!(read(b"").0, Next::Incomplete);
    }

    #[test]
    fn a_bare_line_feed_or_carriage_return_belongs_to_the_value() {
        let (next, headers) = read(b"Message: a\nb\rc\n\r\n\r\n");
        assert_eq!(next, Next::Frame(19));
        assert_eq!(headers, [pair("Message", "a\nb\rc\n")]);
    }

    #[test]
    fn a_key_may_hold_parentheses_and_a_value_colons() {
        let (_, headers) = read(b"ChanVariable(PJSIP/1001-0000001): X=1:2\r\n\r\n");
        assert_eq!(headers, [pair("ChanVariable(PJSIP/1001-0000001)", "X=1:2")]);
    }

    #[test]
    fn find_is_right_at_every_place() {
        for length in 0..40 {
            for place in 0..length {
                let mut data = vec![0x8d_u8; length];
                data[place] = b'\r';
                assert_eq!(find(b'\r', &data), Some(place));
            }
            assert_eq!(find(b'\r', &vec![0x0c; length]), None);
        }
    }
}
