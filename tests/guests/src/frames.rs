//! AMI messages as they lie in what a link delivers, told apart without the connector's own parser.

/// What AMI says first; no empty line ends it.
const BANNER: &[u8] = b"Asterisk Call Manager/";
const END: &[u8] = b"\r\n\r\n";

/// One complete message, its last empty line included.
#[derive(Clone, Copy)]
pub struct Frame<'a>(&'a [u8]);

impl Frame<'_> {
    /// `Hangup` of `Event: Hangup`; empty for a response.
    pub fn event(&self) -> &str {
        let first = self.0.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let name = first.strip_prefix(b"Event: ").unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }

    /// Part of the answer to an action, a list's item for one.
    pub fn is_answer(&self) -> bool {
        find(self.0, b"\r\nActionID: ").is_some()
    }
}

/// The complete messages among these bytes; what is not complete comes again.
pub fn of(data: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let mut rest = data;
    if rest.starts_with(BANNER) {
        let end = find(rest, b"\r\n").map_or(rest.len(), |at| at + 2);
        rest = &rest[end..];
    }
    std::iter::from_fn(move || {
        while let Some(blank) = rest.strip_prefix(b"\r\n") {
            rest = blank;
        }
        let (frame, tail) = rest.split_at(find(rest, END)? + END.len());
        rest = tail;
        Some(Frame(frame))
    })
}

fn find(data: &[u8], wanted: &[u8]) -> Option<usize> {
    data.windows(wanted.len()).position(|window| window == wanted)
}
