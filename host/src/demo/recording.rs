//! A recorded conversation between a manager client and a real Asterisk.
//!
//! The file is a list of chunks: a line `### HH:MM:SS.micros S->C N` (or `C->S N`), then N raw bytes.
//! Lines that begin with `# ` or `### .. NOTE` are comments.

use std::time::Duration;

/// What the client asked and what the server said, taken apart.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The server's first line.
    pub banner: Vec<u8>,
    /// The number of the recorded challenge.
    pub challenge: String,
    /// Every request with the frames that answered it, in order.
    pub exchanges: Vec<Exchange>,
    /// Frames nobody asked for, with the time since the recording's login.
    pub live: Vec<(Duration, Vec<u8>)>,
}

/// One request and its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Value of its `Action` header, in lower case.
    pub action: String,
    /// The recorded `ActionID`.
    pub action_id: String,
    /// The answering frames, each with its empty line.
    pub answer: Vec<Vec<u8>>,
}

/// Why a file is not a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A chunk header that does not read `### HH:MM:SS.micros DIRECTION LENGTH`.
    #[error("byte {at}: a chunk must begin with `### HH:MM:SS.micros S->C LENGTH`")]
    Header {
        /// Offset in the file.
        at: usize,
    },
    /// The file ends inside a chunk.
    #[error("byte {at}: the chunk says {length} bytes, the file ends before")]
    Short {
        /// Offset in the file.
        at: usize,
        /// What the header said.
        length: usize,
    },
    /// No login by challenge in it.
    #[error(
        "the recording holds no `Challenge` answer: record a session that logs in by MD5 challenge"
    )]
    NoChallenge,
}

struct Chunk<'a> {
    at: Duration,
    from_server: bool,
    bytes: &'a [u8],
}

impl Recording {
    /// Reads a recording.
    pub fn parse(file: &[u8]) -> Result<Self, RecordingError> {
        let chunks = chunks(file)?;
        let mut recording = Recording {
            banner: Vec::new(),
            challenge: String::new(),
            exchanges: Vec::new(),
            live: Vec::new(),
        };
        let mut pending: Vec<u8> = Vec::new();
        let mut asked: Vec<u8> = Vec::new();
        let mut started = None;
        for chunk in chunks {
            if !chunk.from_server {
                asked.extend_from_slice(chunk.bytes);
                for frame in take_frames(&mut asked) {
                    recording.exchanges.push(Exchange {
                        action: header(&frame, "Action").unwrap_or_default().to_ascii_lowercase(),
                        action_id: header(&frame, "ActionID").unwrap_or_default(),
                        answer: Vec::new(),
                    });
                }
                continue;
            }
            pending.extend_from_slice(chunk.bytes);
            if recording.banner.is_empty() {
                let Some(end) = find(&pending, b"\r\n") else { continue };
                recording.banner = pending.drain(..end + 2).collect();
            }
            for frame in take_frames(&mut pending) {
                let started = *started.get_or_insert(chunk.at);
                recording.sort_in(frame, chunk.at.saturating_sub(started));
            }
        }
        if recording.challenge.is_empty() {
            return Err(RecordingError::NoChallenge);
        }
        Ok(recording)
    }

    /// How long its live part is.
    pub fn length(&self) -> Duration {
        self.live.last().map_or(Duration::ZERO, |(at, _)| *at)
    }

    fn sort_in(&mut self, frame: Vec<u8>, at: Duration) {
        let answered = header(&frame, "ActionID")
            .and_then(|id| self.exchanges.iter_mut().rfind(|exchange| exchange.action_id == id));
        match answered {
            Some(exchange) => {
                if exchange.action == "challenge"
                    && let Some(challenge) = header(&frame, "Challenge")
                {
                    self.challenge = challenge;
                }
                exchange.answer.push(frame);
            }
            None => self.live.push((at, frame)),
        }
    }
}

/// The value of a header in a frame.
pub(super) fn header(frame: &[u8], name: &str) -> Option<String> {
    frame.split(|byte| *byte == b'\n').find_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (key, value) = (&line[..colon], &line[colon + 1..]);
        key.eq_ignore_ascii_case(name.as_bytes())
            .then(|| String::from_utf8_lossy(value).trim().to_owned())
    })
}

/// Takes the complete frames, each with its empty line, off the front of `bytes`.
pub(super) fn take_frames(bytes: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(end) = find(bytes, b"\r\n\r\n") {
        let frame: Vec<u8> = bytes.drain(..end + 4).collect();
        // Asterisk puts a stray empty line behind some answers.
        let blank = frame.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if blank < frame.len() {
            frames.push(frame[blank..].to_vec());
        }
    }
    frames
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn chunks(file: &[u8]) -> Result<Vec<Chunk<'_>>, RecordingError> {
    let mut chunks = Vec::new();
    let mut at = 0;
    while at < file.len() {
        let line_end = find(&file[at..], b"\n").map_or(file.len(), |end| at + end);
        let line = String::from_utf8_lossy(&file[at..line_end]);
        let body = (line_end + 1).min(file.len());
        if line.starts_with("# ") || line.contains(" NOTE ") || line.trim().is_empty() {
            at = body;
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["###", time, direction, length] = words[..] else {
            return Err(RecordingError::Header { at });
        };
        let (Some(time), Ok(length)) = (time_of_day(time), length.parse::<usize>()) else {
            return Err(RecordingError::Header { at });
        };
        let bytes = file.get(body..body + length).ok_or(RecordingError::Short { at, length })?;
        chunks.push(Chunk { at: time, from_server: direction == "S->C", bytes });
        at = body + length;
    }
    Ok(chunks)
}

fn time_of_day(text: &str) -> Option<Duration> {
    let mut parts = text.split(':');
    let hours: u64 = parts.next()?.parse().ok()?;
    let minutes: u64 = parts.next()?.parse().ok()?;
    let (secs, micros) = parts.next()?.split_once('.')?;
    let secs: u64 = secs.parse().ok()?;
    let micros: u64 = micros.parse().ok()?;
    (parts.next().is_none() && hours < 24 && minutes < 60 && secs < 60 && micros < 1_000_000).then(
        || Duration::from_secs(hours * 3600 + minutes * 60 + secs) + Duration::from_micros(micros),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(chunks: &[(&str, &str, &str)]) -> Vec<u8> {
        let mut file = b"# a comment\n".to_vec();
        for (time, direction, text) in chunks {
            let text = text.replace('\n', "\r\n");
            file.extend(format!("### {time} {direction} {}\n{text}", text.len()).into_bytes());
        }
        file
    }

    #[test]
    fn answers_go_to_their_requests_and_the_rest_is_live() {
        let file = recorded(&[
            ("10:00:00.000000", "S->C", "Asterisk Call Manager/11.0.0\n"),
            ("10:00:00.100000", "C->S", "Action: Challenge\nActionID: a\n\n"),
            ("10:00:00.200000", "S->C", "Response: Success\nActionID: a\nChallenge: 42\n\n"),
            ("10:00:01.200000", "S->C", "Event: Newchannel\nUniqueid: 1.1\n\nEvent: Hang"),
            ("10:00:02.200000", "S->C", "up\nUniqueid: 1.1\n\n"),
        ]);
        let recording = Recording::parse(&file).expect("well formed");
        assert_eq!(recording.banner, b"Asterisk Call Manager/11.0.0\r\n");
        assert_eq!(recording.challenge, "42");
        assert_eq!(recording.exchanges.len(), 1);
        assert_eq!(recording.exchanges[0].answer.len(), 1);
        let times: Vec<_> = recording.live.iter().map(|(at, _)| at.as_millis()).collect();
        assert_eq!(times, [1000, 2000]);
    }

    #[test]
    fn a_broken_file_says_where() {
        let short = b"### 10:00:00.000000 S->C 99\nabc".to_vec();
        assert!(matches!(Recording::parse(&short), Err(RecordingError::Short { at: 0, .. })));
        let nonsense = b"hello\n".to_vec();
        assert!(matches!(Recording::parse(&nonsense), Err(RecordingError::Header { at: 0 })));
        assert!(matches!(Recording::parse(b""), Err(RecordingError::NoChallenge)));
    }
}
