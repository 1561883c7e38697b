//! A manager interface that replays a recorded Asterisk. A fake, for the demo and the benches: it checks the
//! login as Asterisk does, answers each request with what the real one answered, and plays the live events
//! in their recorded rhythm, again and again with fresh ids.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use md5::{Digest, Md5};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use super::recording::{Exchange, Recording, header, take_frames};

/// A listening peer. Dropping it does not end sessions that are already open.
pub struct Peer {
    address: SocketAddr,
}

/// How a peer plays.
#[derive(Clone)]
pub struct Script {
    /// What to play.
    pub recording: Arc<Recording>,
    /// The secret that the digest must be made of.
    pub secret: String,
    /// 1.0 is the recorded rhythm, 2.0 twice as fast.
    pub speed: f64,
    /// Silence between two rounds.
    pub pause: Duration,
}

impl Peer {
    /// Listens on a free port of the loopback interface.
    pub async fn start(script: Script) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Session::new(script.clone()).run(stream));
            }
        });
        Ok(Self { address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The answering half of a replaying Asterisk, without sockets.
pub struct Answers {
    recording: Arc<Recording>,
    secret: String,
    /// How many times each kind of request was answered.
    answered: BTreeMap<String, usize>,
    asked: Vec<u8>,
    logged_in: bool,
}

/// What to do after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Wait for the next request.
    Go,
    /// The login just succeeded: live events may come.
    Play,
    /// Hang up.
    Close,
}

impl Answers {
    /// Answers as `recording` did, to whoever knows `secret`.
    pub fn new(recording: Arc<Recording>, secret: &str) -> Self {
        Self {
            recording,
            secret: secret.to_owned(),
            answered: BTreeMap::new(),
            asked: Vec::new(),
            logged_in: false,
        }
    }

    /// Takes bytes of the client and appends the answers to `out`.
    pub fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Next {
        self.asked.extend_from_slice(bytes);
        if self.asked.len() > MAX_REQUEST {
            return Next::Close;
        }
        let mut next = Next::Go;
        for request in take_frames(&mut self.asked) {
            match self.answer(&request, out) {
                Next::Go => {}
                then => next = then,
            }
        }
        next
    }

    fn answer(&mut self, request: &[u8], out: &mut Vec<u8>) -> Next {
        let action = header(request, "Action").unwrap_or_default().to_ascii_lowercase();
        let id = header(request, "ActionID").unwrap_or_default();
        match action.as_str() {
            "login" => {
                let digested = format!("{}{}", self.recording.challenge, self.secret);
                let expected = md5_hex(digested.as_bytes());
                if header(request, "Key").as_deref() != Some(&expected) {
                    respond(out, "Error", &id, "Authentication failed");
                    return Next::Close;
                }
                self.logged_in = true;
            }
            "challenge" => {}
            "logoff" => {
                respond(out, "Goodbye", &id, "Thanks for all the fish.");
                return Next::Close;
            }
            _ if !self.logged_in => {
                respond(out, "Error", &id, "Permission denied");
                return Next::Go;
            }
            _ => {}
        }
        match self.recorded(&action) {
            Some(exchange) => {
                for frame in &exchange.answer {
                    out.extend_from_slice(&with_action_id(frame, &id));
                }
            }
            None if action == "ping" => respond(out, "Success", &id, "Pong"),
            None => respond(out, "Error", &id, "Not in this recording: use a real Asterisk for it"),
        }
        if action == "login" { Next::Play } else { Next::Go }
    }

    /// The recorded answer to the n-th request of this kind; the last one again when there are no more.
    fn recorded(&mut self, action: &str) -> Option<Exchange> {
        let of_this_kind: Vec<&Exchange> = self
            .recording
            .exchanges
            .iter()
            .filter(|exchange| exchange.action == action && !exchange.answer.is_empty())
            .collect();
        let count = self.answered.entry(action.to_owned()).or_default();
        let found = of_this_kind.get(*count).or(of_this_kind.last()).copied().cloned();
        *count += 1;
        found
    }
}

struct Session {
    script: Script,
    answers: Answers,
}

impl Session {
    fn new(script: Script) -> Self {
        Self { answers: Answers::new(Arc::clone(&script.recording), &script.secret), script }
    }

    async fn run(mut self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.write_all(&self.script.recording.banner).await?;
        let recording = Arc::clone(&self.script.recording);
        let mut chunk = vec![0; 16 * 1024];
        // The next live frame, its round, and when it is due; nothing before the login.
        let mut next: Option<(usize, u64, Instant)> = None;
        loop {
            let due = next.map_or_else(|| Instant::now() + IDLE, |(_, _, due)| due);
            tokio::select! {
                received = stream.read(&mut chunk) => {
                    let length = received?;
                    let mut answer = Vec::new();
                    let then = self.answers.receive(&chunk[..length], &mut answer);
                    stream.write_all(&answer).await?;
                    match then {
                        _ if length == 0 => return Ok(()),
                        Next::Go => {}
                        Next::Play => next = self.due(0, 0, Instant::now()),
                        Next::Close => return Ok(()),
                    }
                }
                () = tokio::time::sleep_until(due) => {
                    let Some((index, round, due)) = next else { continue };
                    let (_, frame) = &recording.live[index];
                    // A second boot would be a restart.
                    if round == 0 || header(frame, "Event").as_deref() != Some("FullyBooted") {
                        stream.write_all(&renumbered(frame, round)).await?;
                    }
                    next = if index + 1 < recording.live.len() {
                        self.due(index + 1, round, due)
                    } else {
                        self.due(0, round + 1, due + self.script.pause)
                    };
                }
            }
        }
    }

    /// When frame `index` is due, if the one before it was due at `before`.
    fn due(&self, index: usize, round: u64, before: Instant) -> Option<(usize, u64, Instant)> {
        let live = &self.script.recording.live;
        let (at, _) = live.get(index)?;
        let gap = match index {
            0 => Duration::ZERO,
            _ => at.saturating_sub(live[index - 1].0),
        };
        Some((index, round, before + gap.div_f64(self.script.speed)))
    }
}

/// No request of a manager client is longer.
const MAX_REQUEST: usize = 64 * 1024;
/// How long to sleep when there is nothing to play.
const IDLE: Duration = Duration::from_secs(3600);

fn respond(out: &mut Vec<u8>, response: &str, id: &str, message: &str) {
    out.extend(
        format!("Response: {response}\r\nActionID: {id}\r\nMessage: {message}\r\n\r\n").bytes(),
    );
}

/// Lower-case hex of an MD5 digest, as AMI's login wants it.
pub fn md5_hex(text: &[u8]) -> String {
    Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The frame with the asker's `ActionID` in place of the recorded one.
fn with_action_id(frame: &[u8], id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(frame.len());
    for line in frame.split_inclusive(|byte| *byte == b'\n') {
        if line.len() > ACTION_ID.len() && line[..ACTION_ID.len()].eq_ignore_ascii_case(ACTION_ID) {
            out.extend(format!("ActionID: {id}\r\n").bytes());
        } else {
            out.extend_from_slice(line);
        }
    }
    out
}

const ACTION_ID: &[u8] = b"ActionID:";

/// The frame with every channel id (`1795290513.2`) moved on, so that each round has calls of its own.
pub fn renumbered(frame: &[u8], round: u64) -> Vec<u8> {
    if round == 0 {
        return frame.to_vec();
    }
    let mut out = Vec::with_capacity(frame.len());
    for line in frame.split_inclusive(|byte| *byte == b'\n') {
        let key = line.split(|byte| *byte == b':').next().unwrap_or_default();
        match UNIQUE_IDS.iter().any(|name| key.ends_with(name)) {
            true => out.extend(renumbered_line(line, round)),
            false => out.extend_from_slice(line),
        }
    }
    out
}

/// Ends of the headers that hold a channel's id, e.g. `DestUniqueid`.
const UNIQUE_IDS: &[&[u8]] = &[b"niqueid", b"inkedid", b"LocalOneUniqueid", b"LocalTwoUniqueid"];

fn renumbered_line(line: &[u8], round: u64) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    match text.rsplit_once('.') {
        Some((before, after)) if after.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("{before}.{round}0{after}").into_bytes()
        }
        _ => line.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_ids_of_its_own() {
        let frame = b"Event: Hangup\r\nUniqueid: pbx-1795290513.2\r\nLinkedid: 1795290513.12\r\nTimestamp: 1.5\r\n\r\n";
        let moved = String::from_utf8(renumbered(frame, 3)).expect("text");
        assert!(moved.contains("Uniqueid: pbx-1795290513.302\r\n"), "{moved}");
        assert!(moved.contains("Linkedid: 1795290513.3012\r\n"), "{moved}");
        assert!(moved.contains("Timestamp: 1.5\r\n"), "{moved}");
        assert_eq!(renumbered(frame, 0), frame);
    }

    #[test]
    fn an_answer_carries_the_id_of_who_asked() {
        let frame = b"Response: Success\r\nActionID: recorded\r\n\r\n";
        assert_eq!(with_action_id(frame, "mine"), b"Response: Success\r\nActionID: mine\r\n\r\n");
    }
}
