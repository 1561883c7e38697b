//! JSON that others wrote: read only while it is small and flat enough for a guest's time and stack.

use serde_json::Value;

/// The longest text that is read.
pub const MOST_BYTES: usize = 64 * 1024;

/// Deeper than anything sensible, and far from the end of a guest's stack.
const MOST_DEPTH: usize = 32;

/// Reads it; the error says in a few words what it is instead.
pub fn read(text: &[u8]) -> Result<Value, String> {
    if text.len() > MOST_BYTES {
        return Err(format!("{} bytes, more than {} KiB", text.len(), MOST_BYTES / 1024));
    }
    if is_deep(text) {
        return Err(format!("nested deeper than {MOST_DEPTH}"));
    }
    serde_json::from_slice(text).map_err(|_| "no JSON".to_owned())
}

/// Counts brackets outside of texts. What is no JSON may be misjudged; the parser refuses it anyway.
fn is_deep(text: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MOST_DEPTH {
            return true;
        }
    }
    false
}

/// A value as people write it in a text: texts without quotes, `true`, `12`; none for lists, tables and null.
pub fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Without control characters, which would break a line or a header, and cut to so many characters.
pub fn one_line(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_break_a_guest_is_not_read() {
        assert_eq!(read(b"{\"a\":[1]}"), Ok(serde_json::json!({ "a": [1] })));
        assert_eq!(read(b"<html>"), Err("no JSON".into()));
        assert_eq!(read(b""), Err("no JSON".into()));
        assert_eq!(read(&b"[".repeat(60_000)), Err("nested deeper than 32".into()));
        assert_eq!(read(&b" ".repeat(1 << 20)), Err("1048576 bytes, more than 64 KiB".into()));
    }

    #[test]
    fn brackets_in_texts_do_not_count() {
        let text = format!("\"{}\"", "[\\\"{".repeat(100));
        assert!(read(text.as_bytes()).is_ok());
    }
}
