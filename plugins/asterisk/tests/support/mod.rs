//! A fake AMI server that answers what the connector asks while it logs in and resyncs, and the replay of
//! recorded events behind it. Only for tests of this crate; the real thing is tested end to end.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::time::Duration;

use jackfield_asterisk::Asterisk;
use jackfield_sdk::{
    Fact,
    mock::{MockHost, Seen},
};

pub const SETTINGS: &str = r#"{"username":"jackfield"}"#;

/// Settings under which the PBX is taken as it is, noise included.
pub const UNFILTERED: &str = r#"{"username":"jackfield","filters":false}"#;

/// A host and its fake PBX.
pub struct Lab {
    pub host: MockHost<Asterisk>,
    pub fake: Fake,
    /// Bytes are handed over in pieces of this size; 0: as they come.
    pub pieces: usize,
}

/// What the fake answers.
pub struct Fake {
    /// Items of the lists, by action; `\n` for CR LF, frames parted by empty lines.
    pub lists: Vec<(&'static str, String)>,
    /// Actions of ListCommands beside the harmless ones.
    pub actions: &'static str,
    /// Tells that it has booted.
    pub fully_booted: bool,
    /// Answers to other actions: name and the answer's headers after the ActionID; empty: none comes.
    pub answers: Vec<(&'static str, &'static str)>,
    /// Everything it was sent.
    pub heard: String,
    pub unread: String,
}

const FULL: &str = "QueueAdd: x  (Priv: agent,all)\nQueueRemove: x  (Priv: agent,all)\nQueuePause: x  (Priv: agent,all)\nCoreShowChannels: x  (Priv: system,reporting,all)\nDeviceStateList: x  (Priv: call,reporting,all)\nExtensionStateList: x  (Priv: call,reporting,all)\nQueueStatus: x  (Priv: <none>)\nFilter: x  (Priv: system,all)\n";

impl Default for Fake {
    fn default() -> Self {
        Self {
            lists: vec![("QueueStatus", QUEUES.into()), ("ExtensionStateList", HINTS.into())],
            actions: FULL,
            fully_booted: true,
            answers: Vec::new(),
            heard: String::new(),
            unread: String::new(),
        }
    }
}

const QUEUES: &str = "\
Event: QueueParams\nQueue: support\nMax: 0\nStrategy: rrmemory\nCalls: 0\nHoldtime: 0\nTalkTime: 0\nCompleted: 0\nAbandoned: 0\nServiceLevel: 20\nServicelevelPerf: 0.0\nServicelevelPerf2: 0.0\nWeight: 1\nACTIONID\n
Event: QueueMember\nQueue: support\nName: Agent One\nLocation: PJSIP/1001\nStateInterface: PJSIP/1001\nMembership: static\nPenalty: 0\nCallsTaken: 1\nLastCall: 1795288731\nLastPause: 0\nLoginTime: 1795288611\nInCall: 0\nStatus: 1\nPaused: 0\nPausedReason: \nWrapuptime: 0\nACTIONID\n
Event: QueueMember\nQueue: support\nName: Agent Two\nLocation: PJSIP/1002\nStateInterface: PJSIP/1002\nMembership: static\nPenalty: 0\nCallsTaken: 0\nLastCall: 0\nLastPause: 0\nLoginTime: 1795288611\nInCall: 0\nStatus: 5\nPaused: 0\nPausedReason: \nWrapuptime: 0\nACTIONID\n
Event: QueueParams\nQueue: sales\nMax: 0\nStrategy: rrmemory\nCalls: 0\nHoldtime: 0\nTalkTime: 0\nCompleted: 0\nAbandoned: 0\nServiceLevel: 30\nServicelevelPerf: 0.0\nServicelevelPerf2: 0.0\nWeight: 0\nACTIONID\n";

const HINTS: &str = "\
Event: ExtensionStatus\nACTIONID\nExten: 1001\nContext: internal\nHint: PJSIP/1001\nStatus: 0\nStatusText: Idle\n
Event: ExtensionStatus\nACTIONID\nExten: 1002\nContext: internal\nHint: PJSIP/1002\nStatus: 4\nStatusText: Unavailable\n";

impl Lab {
    /// Logged in and resynced.
    pub fn ready(settings: &str, fake: Fake) -> Self {
        let mut lab = Self::new(settings, fake);
        lab.connect();
        lab
    }

    pub fn new(settings: &str, fake: Fake) -> Self {
        let mut host = MockHost::start(settings).expect("the settings are good");
        host.set_secret("ami", "s3cret-host");
        // The recordings are of this day.
        host.set_wall(1_795_288_810_000_000_000);
        Self { host, fake, pieces: 0 }
    }

    pub fn connect(&mut self) {
        self.host.link_up("ami");
        self.receive("Asterisk Call Manager/11.0.0\n");
        self.answer();
    }

    /// Text with `\n` for CR LF.
    pub fn receive(&mut self, text: &str) {
        let bytes = text.replace('\n', "\r\n").into_bytes();
        if self.pieces == 0 {
            self.host.receive("ami", &bytes);
        } else {
            self.host.receive_in_pieces("ami", &bytes, self.pieces);
        }
    }

    /// Answers everything that was asked, and what is asked because of that.
    pub fn answer(&mut self) {
        loop {
            let sent = self.host.take_sent("ami");
            if sent.is_empty() {
                return;
            }
            let reply = self.fake.reply(&String::from_utf8(sent).expect("actions are text"));
            self.receive(&reply);
        }
    }

    /// Replays a recording: the connector's own questions are answered at once.
    pub fn replay(&mut self, recording: &str) {
        let mut at = 0;
        let mut frames = String::new();
        for line in recording.lines() {
            if let Some(ms) = line.strip_prefix('+').and_then(|ms| ms.parse::<u64>().ok()) {
                self.receive(&std::mem::take(&mut frames));
                self.answer();
                self.advance(ms - at);
                at = ms;
            } else {
                frames.push_str(line);
                frames.push('\n');
            }
        }
        self.receive(&frames);
        self.answer();
        self.advance(3000);
    }

    pub fn advance(&mut self, ms: u64) {
        // In small steps, so that pings are answered in time.
        for _ in 0..ms / 1000 {
            self.host.advance(Duration::from_secs(1));
            self.answer();
        }
        self.host.advance(Duration::from_millis(ms % 1000));
        self.answer();
    }

    /// What was told since the last time, one line each.
    pub fn told(&mut self) -> Vec<String> {
        self.host.take_seen().iter().map(line).collect()
    }
}

impl Fake {
    fn reply(&mut self, sent: &str) -> String {
        self.heard.push_str(sent);
        self.unread.push_str(sent);
        let mut reply = String::new();
        while let Some((action, rest)) = self.unread.split_once("\r\n\r\n") {
            let action = action.to_owned();
            self.unread = rest.to_owned();
            reply.push_str(&self.reply_to(&action));
        }
        reply
    }

    fn reply_to(&self, action: &str) -> String {
        let value = |key: &str| {
            let prefix = format!("{key}: ");
            action
                .split("\r\n")
                .find_map(|line| line.strip_prefix(prefix.as_str()))
                .unwrap_or_default()
                .to_owned()
        };
        let id = format!("ActionID: {}\n", value("ActionID"));
        let name = value("Action");
        if let Some((_, answer)) = self.answers.iter().find(|(action, _)| *action == name) {
            if answer.is_empty() {
                return String::new();
            }
            let (first, rest) = answer.split_once('\n').unwrap_or((answer, ""));
            return format!("{first}\n{id}{rest}\n");
        }
        if let Some((_, items)) = self.lists.iter().find(|(action, _)| *action == name) {
            let items = items.replace("ACTIONID\n", &id);
            return format!(
                "Response: Success\n{id}EventList: start\nMessage: follows\n\n{items}\nEvent: {name}Complete\n{id}EventList: Complete\nListItems: 1\n\n"
            );
        }
        match name.as_str() {
            "Challenge" => format!("Response: Success\n{id}Challenge: 213904017\n\n"),
            "Login" => {
                let good = value("Key") == "df7e5f79a9973a76477b691d549ae4ec";
                match (good, self.fully_booted) {
                    (false, _) => {
                        format!("Response: Error\n{id}Message: Authentication failed\n\n")
                    }
                    (true, false) => {
                        format!("Response: Success\n{id}Message: Authentication accepted\n\n")
                    }
                    (true, true) => format!(
                        "Response: Success\n{id}Message: Authentication accepted\n\nEvent: FullyBooted\nPrivilege: system,all\nUptime: 203\nLastReload: 203\nStatus: Fully Booted\n\n"
                    ),
                }
            }
            "ListCommands" => format!("Response: Success\n{id}{}\n", self.actions),
            "CoreSettings" => format!(
                "Response: Success\n{id}AMIversion: 11.0.0\nAsteriskVersion: 22.10.1\nSystemName: pbx22\n\n"
            ),
            "CoreStatus" => format!(
                "Response: Success\n{id}CoreStartupDate: 2026-11-21\nCoreStartupTime: 19:16:50\n\n"
            ),
            "Ping" => {
                format!("Response: Success\n{id}Ping: Pong\nTimestamp: 1795288814.385029\n\n")
            }
            "Filter" | "QueueAdd" | "QueueRemove" | "QueuePause" => {
                format!("Response: Success\n{id}Message: done\n\n")
            }
            "CoreShowChannels" | "DeviceStateList" => format!(
                "Response: Success\n{id}EventList: start\nMessage: follows\n\nEvent: {name}Complete\n{id}EventList: Complete\nListItems: 0\n\n"
            ),
            _ => format!(
                "Response: Error\n{id}Message: Invalid/unknown command: {name}. Use Action: ListCommands to show available commands.\n\n"
            ),
        }
    }
}

/// A fact as one line.
pub fn line(seen: &Seen) -> String {
    match seen {
        Seen::Fact(_, fact) => fact_line(fact),
        Seen::ResyncBegin(_, scope) => format!("resync {scope} begins"),
        Seen::ResyncItem(_, fact) => format!("  has {}", fact_line(fact)),
        Seen::ResyncEnd(_) => "resync ends".into(),
        Seen::Outcome(outcome) => match &outcome.error {
            None => format!("command {} {}", outcome.id, outcome.outcome),
            Some(error) => format!(
                "command {} {} {}: {}",
                outcome.id, outcome.outcome, error.code, error.message
            ),
        },
        Seen::Close(_, reason, retry) => format!("close {retry}: {reason}"),
        Seen::Other(action) => format!("{action:?}"),
    }
}

/// Uniqueids without the system's name and start: `.6` of `pbx22-1795288879.6`.
fn leg(id: &str) -> String {
    id.rsplit_once('.').map_or(id.to_owned(), |(_, number)| format!("#{number}"))
}

fn optional(id: &Option<String>) -> String {
    id.as_deref().map_or("-".into(), leg)
}

pub fn fact_line(fact: &Fact) -> String {
    match fact {
        Fact::Pbx(pbx) => {
            format!("pbx {} {} {}", pbx.product, pbx.version, pbx.capabilities.join(","))
        }
        Fact::LegStarted(it) => format!(
            "leg {} {} {} of {} ext {} {} number {} name {:?} dialled {}",
            leg(&it.id),
            it.direction,
            it.device,
            optional(&it.related),
            it.extension.as_deref().unwrap_or("-"),
            it.state,
            it.party.number,
            it.party.name,
            it.dialled
        ),
        Fact::LegState(it) => format!("leg {} {}", leg(&it.leg), it.state),
        Fact::LegParty(it) => {
            format!("leg {} is {} {:?}", leg(&it.leg), it.party.number, it.party.name)
        }
        Fact::LegPeers(it) => {
            format!(
                "leg {} with [{}]",
                leg(&it.leg),
                it.peers.iter().map(|id| leg(id)).collect::<Vec<_>>().join(" ")
            )
        }
        Fact::LegEnded(it) => {
            format!(
                "leg {} ended {} sip {} by {:?}",
                leg(&it.leg),
                it.cause.q850,
                it.cause.sip,
                it.ended_by
            )
        }
        Fact::Transfer(it) => {
            format!(
                "transfer {} by {} of {} to {} {}",
                it.kind,
                leg(&it.transferer),
                optional(&it.transferee),
                it.target,
                it.outcome
            )
        }
        Fact::Queue(it) => format!(
            "queue {} {} within {} weight {}",
            it.name, it.strategy, it.service_level_secs, it.weight
        ),
        Fact::QueueRemoved(name) => format!("queue {name} removed"),
        Fact::Member(it) => format!(
            "member {} {} ext {} {} penalty {} {}{} calls {}{}",
            it.queue,
            it.interface,
            it.extension.as_deref().unwrap_or("-"),
            it.membership,
            it.penalty,
            it.state,
            if it.paused { format!(" paused {:?}", it.pause_reason) } else { String::new() },
            it.calls_taken,
            if it.in_call { " in-call" } else { "" },
        ),
        Fact::MemberRemoved(it) => format!("member {} {} removed", it.queue, it.interface),
        Fact::CallerJoined(it) => format!(
            "caller {} {} joined at {} waited {}{}",
            it.queue,
            leg(&it.leg),
            it.position,
            it.waited_ms / 1000,
            if it.priority == 0 { String::new() } else { format!(" priority {}", it.priority) },
        ),
        Fact::CallerLeft(it) => {
            format!("caller {} {} left: {} ({})", it.queue, leg(&it.leg), it.exit, it.evidence)
        }
        Fact::OfferStarted(it) => format!(
            "offer {} {} to {} leg {}",
            it.queue,
            leg(&it.leg),
            it.interface,
            optional(&it.member_leg)
        ),
        Fact::OfferEnded(it) => format!(
            "offer {} {} to {} ended: {} after {}",
            it.queue,
            leg(&it.leg),
            it.interface,
            it.outcome,
            it.rang_ms
        ),
        Fact::ServiceStarted(it) => format!(
            "service {} {} by {} leg {} waited {} rang {}",
            it.queue,
            leg(&it.leg),
            it.interface,
            optional(&it.member_leg),
            it.waited_ms / 1000,
            it.rang_ms / 1000
        ),
        Fact::ServiceEnded(it) => format!(
            "service {} {} by {} ended by {} after {}",
            it.queue,
            leg(&it.leg),
            it.interface,
            it.ended_by,
            it.talked_ms / 1000
        ),
        Fact::Extension(it) => format!("extension {} {} {}", it.number, it.device, it.state),
        Fact::ExtensionRemoved(number) => format!("extension {number} removed"),
        Fact::Notice(it) => format!("notice {} {}: {}", it.code, it.severity, it.message),
        Fact::LegOffered(it) => format!(
            "offered {} {:?} {:?} {:?} {:?}",
            it.leg, it.entry, it.dialled, it.returned_from, it.outcome
        ),
        Fact::LegReleased(it) => format!("released {} {:?}", it.leg, it.reason),
        Fact::LegKey(it) => format!("key {} {}", it.leg, it.key),
        Fact::Other(it) => format!("other {}", it.kind),
    }
}
