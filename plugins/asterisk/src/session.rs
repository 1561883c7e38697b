//! One AMI session: from the banner to being logged in, our ActionIDs, and signs of life.

use std::collections::BTreeMap;

use jackfield_sdk::{Action, Part, SecretPart};
use serde::{Deserialize, Serialize};

use crate::{forgery::Shape, out::Out};

/// The only link, as the manifest names it.
pub const LINK: &str = "ami";

const SECOND_NS: u64 = 1_000_000_000;

/// How long the PBX may take for each step until we are logged in.
const LOGIN_NS: u64 = 10 * SECOND_NS;

/// How long the answer to a ping may take.
const PONG_NS: u64 = 10 * SECOND_NS;

/// After the login, how long we wait to be told that Asterisk has booted before we ask.
const BOOT_POLL_NS: u64 = SECOND_NS;

/// Bytes of one value: Asterisk takes no line of 1,024.
pub const LONGEST_VALUE: usize = 900;

/// How far we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// No connection.
    #[default]
    Down,
    /// Connected; Asterisk speaks first.
    Banner,
    /// Asked for a challenge.
    Challenge,
    /// Answered it.
    Login,
    /// Logged in; Asterisk may still be loading.
    Booting,
    /// Everything can be asked.
    Live,
    /// We closed it and wait for the host to say so.
    Closing,
}

/// What an answer will be to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// Challenge.
    Challenge,
    /// Login.
    Login,
    /// CoreStatus, to see whether it has booted.
    Booted,
    /// ListCommands.
    ListCommands,
    /// CoreSettings.
    CoreSettings,
    /// CoreStatus.
    CoreStatus,
    /// Filter; nothing depends on it.
    Filter,
    /// Ping.
    Ping,
    /// A list of a resync.
    List(crate::resync::List),
    /// The action of a command.
    Command(u64),
    /// GetConfig for a probe.
    ProbeConfig(u64),
    /// The last action of a probe.
    ProbeEnd(u64),
    /// ShowDialPlan for a probe.
    ProbeDialplan(u64),
    /// Getvar of the fallback queue for a probe.
    ProbeFallback(u64),
    /// An AGI command on this leg; how it ended is told by an event.
    Agi(String),
    /// Another action for a caller who is held: the leg, and what for.
    Held(String, crate::held::For),
    /// Getvar of the emergency numbers for a probe.
    ProbeEmergency(u64),
}

/// A session; made anew for each connection.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Session {
    /// How far we are.
    pub phase: Phase,
    epoch: u64,
    /// Hex of the host's random bytes: what makes our ActionIDs unguessable.
    nonce: String,
    last_id: u64,
    /// By the number in the ActionID.
    asked: BTreeMap<u64, Asked>,
    /// Until when the present phase must be over.
    deadline: u64,
    /// When to ping.
    ping_at: u64,
    /// Until when a ping must be answered.
    pong_by: Option<u64>,
    /// Nothing is believed until this ping is answered.
    pub distrust: Option<u64>,
    /// How events of this session begin.
    pub shape: Option<Shape>,
    /// FullyBooted was seen.
    pub fully_booted: bool,
    /// Event classes seen.
    pub classes: std::collections::BTreeSet<String>,
    /// The actions this account may use, with their privileges.
    pub actions: BTreeMap<String, String>,
    /// The wall clock of the PBX minus ours, nanoseconds, by the answer to a ping.
    pub clock_off: Option<i64>,
}

impl Session {
    /// A link is up.
    pub fn up(epoch: u64, nonce: &[u8], out: &Out<'_>) -> Self {
        let nonce = nonce.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self {
            phase: Phase::Banner,
            epoch,
            nonce,
            deadline: out.mono() + LOGIN_NS,
            ..Self::default()
        }
    }

    /// Does this input belong to the present connection?
    pub fn is_of(&self, epoch: u64) -> bool {
        self.phase != Phase::Down && self.epoch == epoch
    }

    /// Sends an action; its headers come without the ActionID.
    pub fn ask(
        &mut self,
        asked: Asked,
        action: &str,
        headers: &[(&str, &str)],
        out: &mut Out<'_>,
    ) -> u64 {
        let (id, text) = self.begin(asked, action, headers);
        out.push(Action::send(LINK, self.epoch, text + "\r\n"));
        id
    }

    /// Sends an AGI command to a channel; the ActionID is its CommandID too.
    pub fn ask_agi(
        &mut self,
        asked: Asked,
        channel: &str,
        command: &str,
        out: &mut Out<'_>,
    ) -> u64 {
        let headers = [("Channel", channel), ("Command", command)];
        let (id, text) = self.begin(asked, "AGI", &headers);
        let nonce = &self.nonce;
        out.push(Action::send(
            LINK,
            self.epoch,
            format!("{text}CommandID: {nonce}-{id:x}\r\n\r\n"),
        ));
        id
    }

    fn begin(&mut self, asked: Asked, action: &str, headers: &[(&str, &str)]) -> (u64, String) {
        self.last_id += 1;
        let id = self.last_id;
        self.asked.insert(id, asked);
        let mut text = format!("Action: {action}\r\nActionID: {}-{id:x}\r\n", self.nonce);
        for (key, value) in headers {
            // Every value was checked where it came in; this is the last fence.
            debug_assert!(is_one_line(value), "{key} is one line");
            let value: String =
                value.chars().filter(|letter| !matches!(letter, '\r' | '\n' | '\0')).collect();
            text.push_str(&format!("{key}: {value}\r\n"));
        }
        (id, text)
    }

    /// The number of an ActionID of ours.
    pub fn own(&self, action_id: &[u8]) -> Option<u64> {
        let tail = action_id.strip_prefix(self.nonce.as_bytes())?.strip_prefix(b"-")?;
        if self.nonce.is_empty() {
            return None;
        }
        u64::from_str_radix(std::str::from_utf8(tail).ok()?, 16).ok()
    }

    /// What was asked with this number; it stays asked.
    pub fn asked(&self, id: u64) -> Option<&Asked> {
        self.asked.get(&id)
    }

    /// What was asked with this number is answered.
    pub fn answered(&mut self, id: u64) -> Option<Asked> {
        self.asked.remove(&id)
    }

    /// Items of the lists asked for are items of nothing from now on.
    pub fn forget_lists(&mut self) {
        self.asked.retain(|_, asked| !matches!(asked, Asked::List(_)));
    }

    /// Anything came in: the PBX lives.
    pub fn heard(&mut self, keepalive_secs: u32, out: &Out<'_>) {
        self.ping_at = out.mono() + u64::from(keepalive_secs) * SECOND_NS;
    }

    /// The banner came: ask for a challenge.
    pub fn challenge(&mut self, out: &mut Out<'_>) {
        self.phase = Phase::Challenge;
        self.deadline = out.mono() + LOGIN_NS;
        self.ask(Asked::Challenge, "Challenge", &[("AuthType", "MD5")], out);
    }

    /// Answers the challenge; the host fills the key in.
    pub fn login(&mut self, username: &str, challenge: &[u8], out: &mut Out<'_>) {
        self.phase = Phase::Login;
        self.deadline = out.mono() + LOGIN_NS;
        let (_, text) =
            self.begin(Asked::Login, "Login", &[("AuthType", "MD5"), ("Username", username)]);
        let key = SecretPart {
            name: LINK.into(),
            form: "md5-hex".into(),
            prefix: challenge.to_vec(),
            suffix: Vec::new(),
        };
        let parts = vec![
            Part::Literal((text + "Key: ").into_bytes()),
            Part::Secret(key),
            Part::Literal(b"\r\n\r\n".to_vec()),
        ];
        out.push(Action::send_parts(LINK, self.epoch, parts));
    }

    /// Logged in: wait for the boot, which this account may not be told of.
    pub fn logged_in(&mut self, out: &Out<'_>) {
        self.phase = Phase::Booting;
        self.deadline = out.mono() + BOOT_POLL_NS;
    }

    /// Sends a ping.
    pub fn ping(&mut self, out: &mut Out<'_>) -> u64 {
        self.pong_by.get_or_insert(out.mono() + PONG_NS);
        self.ask(Asked::Ping, "Ping", &[], out)
    }

    /// A ping was answered.
    pub fn pong(&mut self) {
        self.pong_by = None;
    }

    /// Nothing is to come now but answers of a few lines.
    pub fn is_logging_in(&self) -> bool {
        matches!(self.phase, Phase::Challenge | Phase::Login)
    }

    /// Closes the link.
    pub fn close(&mut self, reason: impl Into<String>, retry: &str, out: &mut Out<'_>) {
        if !matches!(self.phase, Phase::Down | Phase::Closing) {
            self.phase = Phase::Closing;
            out.push(Action::close(LINK, reason, retry));
        }
    }

    /// When something here must happen.
    pub fn wake_at(&self) -> Option<u64> {
        match self.phase {
            Phase::Down | Phase::Closing => None,
            Phase::Banner | Phase::Challenge | Phase::Login | Phase::Booting => Some(self.deadline),
            Phase::Live => Some(self.pong_by.unwrap_or(self.ping_at)),
        }
    }

    /// Does what is due.
    pub fn timed_out(&mut self, out: &mut Out<'_>) {
        let now = out.mono();
        match self.phase {
            Phase::Banner | Phase::Challenge | Phase::Login if self.deadline <= now => {
                let said = match self.phase {
                    Phase::Banner => {
                        "it accepted the connection and said nothing for 10 s: is this really an AMI port?"
                    }
                    Phase::Challenge => "it did not answer the challenge request within 10 s",
                    _ => "it did not answer the login within 10 s",
                };
                self.close(said, "normal", out);
            }
            Phase::Booting if self.pong_by.is_some_and(|by| by <= now) => {
                self.close("it let us in and then did not answer for 10 s", "normal", out);
            }
            Phase::Booting if self.deadline <= now => {
                self.deadline = now + BOOT_POLL_NS;
                self.pong_by.get_or_insert(now + PONG_NS);
                self.ask(Asked::Booted, "CoreStatus", &[], out);
            }
            Phase::Live => match self.pong_by {
                Some(by) if by <= now => {
                    self.close("the PBX did not answer a ping within 10 s", "normal", out);
                }
                None if self.ping_at <= now => {
                    self.ping(out);
                }
                _ => {}
            },
            _ => {}
        }
    }
}

/// May this be sent as a value? Line ends would start headers and actions of their own, NUL ends the line.
pub fn is_one_line(value: &str) -> bool {
    value.len() <= LONGEST_VALUE && !value.contains(['\r', '\n', '\0'])
}
