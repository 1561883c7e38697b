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
    // Where the line at hand begins, and its first colon.
    let (mut line, mut colon) = (start, None);
    for (number, block) in data[start..].chunks(16).enumerate() {
        let base = start + number * 16;
        let Marks { mut colons, mut ends } = marks(block);
        while ends != 0 {
            let bit = ends.trailing_zeros();
            let (before, at) = (colons & ((1 << bit) - 1), base + bit as usize);
            ends &= ends - 1;
            colons &= !before;
            if colon.is_none() && before != 0 {
                colon = Some(base + before.trailing_zeros() as usize);
            }
            // A CR or an LF alone belongs to the value.
            if at == line || data[at - 1] != b'\r' {
                continue;
            }
            let end = at - 1;
            if end == line {
                return Next::Frame(at + 1);
            }
            headers.push(match colon.take() {
                Some(colon) => {
                    let value = &data[colon + 1..end];
                    (&data[line..colon], value.strip_prefix(b" ").unwrap_or(value))
                }
                None => (&data[line..end], b""),
            });
            line = at + 1;
        }
        if colon.is_none() && colons != 0 {
            colon = Some(base + colons.trailing_zeros() as usize);
        }
    }
    if start > 0 && start == data.len() { Next::Blank(start) } else { Next::Incomplete }
}

/// A bit for each byte of a block of at most 16, the lowest for the first.
#[derive(Debug, PartialEq, Eq)]
struct Marks {
    colons: u32,
    /// LF, which ends a line behind a CR.
    ends: u32,
}

fn marks(block: &[u8]) -> Marks {
    match block.try_into() {
        Ok(whole) => marks_of_16(whole),
        Err(_) => {
            let mut whole = [0; 16];
            whole[..block.len()].copy_from_slice(block);
            marks_of_16(&whole)
        }
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
fn marks_of_16(block: &[u8; 16]) -> Marks {
    use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_splat, u64x2};

    let (low, high) = words(block);
    let places = |wanted| u32::from(u8x16_bitmask(u8x16_eq(u64x2(low, high), u8x16_splat(wanted))));
    Marks { colons: places(b':'), ends: places(b'\n') }
}

/// The same by the same means, so that a native build is no slower than it can be.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the compiler wants to know that SSE2 is there")]
fn marks_of_16(block: &[u8; 16]) -> Marks {
    use core::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};

    let (low, high) = words(block);
    // SAFETY: SSE2 is part of every x86-64, and nothing here touches memory.
    let places = |wanted: u8| unsafe {
        let block = _mm_set_epi64x(high as i64, low as i64);
        _mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_set1_epi8(wanted as i8))) as u32
    };
    Marks { colons: places(b':'), ends: places(b'\n') }
}

#[cfg(not(any(all(target_arch = "wasm32", target_feature = "simd128"), target_arch = "x86_64")))]
fn marks_of_16(block: &[u8; 16]) -> Marks {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let places = |word: u64, wanted: u8| {
        let zero_where_equal = word ^ (u64::from(wanted) * 0x0101_0101_0101_0101);
        // The highest bit of each byte that is zero, exactly.
        let zero = !(((zero_where_equal & LOW) + LOW) | zero_where_equal | LOW);
        // The product gathers the lowest bits of eight bytes in its highest byte.
        ((zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
    };
    let (low, high) = words(block);
    let of_both = |wanted| places(low, wanted) | places(high, wanted) << 8;
    Marks { colons: of_both(b':'), ends: of_both(b'\n') }
}

fn words(block: &[u8; 16]) -> (u64, u64) {
    let word = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes"));
    (word(0), word(8))
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
    // Nearly all of it is UTF-8, and checking that is quicker than looking for what is not.
    std::str::from_utf8(value)
        .map_or_else(|_| String::from_utf8_lossy(value).into_owned(), Into::into)
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
    fn every_place_of_a_block_is_seen() {
        for length in 0..=16 {
            for place in 0..length {
                for byte in [b':', b'\n', b';', 0x8a] {
                    let mut block = vec![0xba_u8; length];
                    block[place] = byte;
                    let bit = |wanted: u8| u32::from(byte == wanted) << place;
                    let expected = Marks { colons: bit(b':'), ends: bit(b'\n') };
                    assert_eq!(marks(&block), expected, "{byte} at {place}");
                }
            }
        }
    }

    #[test]
    fn a_frame_is_read_the_same_wherever_its_lines_begin() {
        for length in 0..40 {
            let value = "v".repeat(length);
            let (next, headers) =
                read(format!("A: {value}\r\nKey:{value}:\r\n\r\nrest").as_bytes());
            assert_eq!(next, Next::Frame(2 * length + 14));
            assert_eq!(headers, [pair("A", &value), pair("Key", &format!("{value}:"))]);
        }
    }

    /// Line by line, as plainly as it can be said.
    fn read_plainly(data: &[u8]) -> (Next, Vec<(String, String)>) {
        let text = std::str::from_utf8(data).unwrap();
        let stripped = text.trim_start_matches("\r\n");
        let start = text.len() - stripped.len();
        let Some((frame, _)) = stripped.split_once("\r\n\r\n") else {
            let next = if start > 0 && stripped.is_empty() {
                Next::Blank(start)
            } else {
                Next::Incomplete
            };
            return (next, vec![]);
        };
        let headers = frame.split("\r\n").map(|line| {
            let (key, value) = line.split_once(':').unwrap_or((line, ""));
            pair(key, value.strip_prefix(' ').unwrap_or(value))
        });
        (Next::Frame(start + frame.len() + 4), headers.collect())
    }

    #[test]
    fn any_bytes_are_read_as_line_by_line() {
        let mut seed = 1_u64;
        for round in 0..20_000 {
            let mut data = Vec::new();
            for _ in 0..round % 60 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let pieces: [&[u8]; 8] =
                    [b"\r\n", b"\r\n", b"\r", b"\n", b":", b" ", b"Key", b"a value"];
                data.extend_from_slice(pieces[(seed >> 61) as usize]);
            }
            let (next, headers) = read(&data);
            let (plain, expected) = read_plainly(&data);
            assert_eq!(next, plain, "{:?}", String::from_utf8_lossy(&data));
            if matches!(next, Next::Frame(_)) {
                assert_eq!(headers, expected, "{:?}", String::from_utf8_lossy(&data));
            }
        }
    }
}
