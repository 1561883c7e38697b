//! An Asterisk that plays a recorded conversation, and answers pictures of what it has at each moment.
//!
//! The events are real, recorded from an Asterisk 22 (`plugins/asterisk/tests/transcripts`). What it has is followed from
//! them; the lists are written as that Asterisk writes them. It believes every login: that is tried elsewhere.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use calls::Timestamp;
use kit::{
    peer::{Heard, Pbx, Said},
    rig::Setup,
};
use plugin_runtime::{InstanceConfig, Limits, Plugin};

/// Settings under which the PBX is taken as it is, noise included.
const SETTINGS: &str = r#"{"username":"jackfield","filters":false}"#;
/// The recordings are of this day.
const BEGIN: Timestamp = Timestamp(1_795_288_810_000_000_000);
/// What every event about a channel says of it, in this order.
const CHANNEL: [&str; 13] = [
    "Channel",
    "ChannelState",
    "ChannelStateDesc",
    "CallerIDNum",
    "CallerIDName",
    "ConnectedLineNum",
    "ConnectedLineName",
    "Language",
    "AccountCode",
    "Context",
    "Exten",
    "Priority",
    "Uniqueid",
];
const MEMBER: [&str; 13] = [
    "StateInterface",
    "Membership",
    "Penalty",
    "CallsTaken",
    "LastCall",
    "LastPause",
    "LoginTime",
    "InCall",
    "Status",
    "Paused",
    "PausedReason",
    "Wrapuptime",
    "MemberName",
];

/// One message: its headers in order.
pub type Frame = Vec<(String, String)>;

/// A command: kind, names and values.
pub type Given = (String, Vec<(String, String)>);

/// What was recorded.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    pub name: String,
    /// What came at each moment.
    pub turns: Vec<(Duration, Vec<Frame>)>,
    /// The instructions that were given, by the number of the moment.
    pub given: BTreeMap<usize, Given>,
}

/// Of callers whom the PBX keeps, and of those whom it hands over.
pub fn transcripts() -> Vec<Transcript> {
    let folder = super::root().join("plugins/asterisk/tests/transcripts");
    let mut files: Vec<PathBuf> = [folder.clone(), folder.join("held")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("the folder is there"))
        .map(|entry| entry.expect("a file").path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "ami"))
        .collect();
    files.sort();
    files.iter().map(|file| Transcript::read(file)).collect()
}

impl Transcript {
    pub fn read(file: &std::path::Path) -> Self {
        let text = fs::read_to_string(file).expect("it is text");
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let mut turns: Vec<(Duration, Vec<Frame>, Option<Given>)> = Vec::new();
        let mut frame = Frame::new();
        for line in text.lines().chain([""]) {
            if let Some(ms) = line.strip_prefix('+').and_then(|ms| ms.parse().ok()) {
                // Time for the first picture, before anything happens.
                turns.push((Duration::from_secs(12) + Duration::from_millis(ms), Vec::new(), None));
            } else if let Some(instruction) = line.strip_prefix("> ") {
                let mut parts = instruction.split('\t');
                let kind = parts.next().unwrap_or_default().to_owned();
                let arguments = parts.filter_map(|part| part.split_once('='));
                let arguments =
                    arguments.map(|(name, value)| (name.into(), value.into())).collect();
                let turn = turns.last_mut().expect("a time comes first");
                turn.2 = Some((kind, arguments));
            } else if line.is_empty() {
                let done = std::mem::take(&mut frame);
                if let Some((_, frames, _)) = turns.last_mut().filter(|_| !done.is_empty()) {
                    frames.push(done);
                }
            } else {
                let (key, value) = line.split_once(':').unwrap_or((line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                frame.push((key.to_owned(), value.to_owned()));
            }
        }
        turns.retain(|(_, frames, given)| !frames.is_empty() || given.is_some());
        let mut transcript = Self { name, ..Self::default() };
        for (number, (at, frames, given)) in turns.into_iter().enumerate() {
            transcript.turns.push((at, frames));
            transcript.given.extend(given.map(|given| (number, given)));
        }
        transcript
    }

    /// What came before this instruction, and no instructions.
    pub fn before(&self, kind: &str) -> Self {
        let end = self.given.iter().find(|(_, (given, _))| given == kind);
        let (end, _) = end.expect("it was given");
        let turns = self.turns[..*end].to_vec();
        Self { name: format!("{} before {kind}", self.name), turns, given: BTreeMap::new() }
    }
}

pub fn setup(plugin: &Plugin) -> Setup {
    let config = InstanceConfig {
        id: "try".into(),
        settings: SETTINGS.into(),
        links: vec![("ami".into(), "tcp://ami.test".into())],
        grants: vec!["link:ami".into()],
        limits: Limits::default(),
    };
    let secrets = vec![("ami".to_owned(), "s3cret-host".to_owned())];
    Setup { plugin: plugin.clone(), config, secrets, begin: BEGIN }
}

/// The PBX.
#[derive(Clone, Default)]
pub struct Asterisk {
    turns: Vec<(Duration, Vec<Frame>)>,
    channels: BTreeMap<String, Frame>,
    bridges: BTreeMap<String, String>,
    queues: BTreeMap<String, ()>,
    members: BTreeMap<(String, String), Frame>,
    entries: BTreeMap<(String, String), Frame>,
    devices: BTreeMap<String, String>,
    hints: BTreeMap<String, (String, String)>,
    /// Channels in AsyncAGI, and the arguments with which they are there.
    held: BTreeMap<String, String>,
    /// What was played last to each channel that is held.
    played: BTreeMap<String, String>,
    unread: String,
}

impl Asterisk {
    pub fn new(transcript: &Transcript) -> Self {
        let mut pbx = Self { turns: transcript.turns.clone(), ..Self::default() };
        for queue in ["support", "sales"] {
            pbx.queues.insert(queue.into(), ());
        }
        for (_, frames) in &transcript.turns {
            for frame in frames {
                if let Some(queue) = get(frame, "Queue") {
                    pbx.queues.insert(queue.to_owned(), ());
                }
            }
        }
        for (interface, name, status) in
            [("PJSIP/1001", "Agent One", "1"), ("PJSIP/1002", "Agent Two", "5")]
        {
            let mut member = Frame::new();
            for (key, value) in MEMBER.iter().zip([
                interface, "static", "0", "0", "0", "0", "0", "0", status, "0", "", "0", name,
            ]) {
                member.push(((*key).to_owned(), value.to_owned()));
            }
            pbx.members.insert(("support".into(), interface.into()), member);
        }
        for (number, hint, status) in [("1001", "PJSIP/1001", "0"), ("1002", "PJSIP/1002", "4")] {
            pbx.hints.insert(number.into(), (hint.into(), status.into()));
        }
        pbx
    }

    fn follow(&mut self, frame: &Frame) {
        let text = |key: &str| get(frame, key).unwrap_or_default().to_owned();
        let id = text("Uniqueid");
        match text("Event").as_str() {
            "AsyncAGIStart" => {
                self.held.insert(id.clone(), arguments(&text("Env")));
            }
            "AsyncAGIEnd" | "Hangup" => {
                self.held.remove(&id);
            }
            _ => {}
        }
        // An `OriginateResponse` names a channel, and says nothing of it.
        let is_channel = get(frame, "ChannelState").is_some() && !id.is_empty();
        match text("Event").as_str() {
            "Newchannel" => {
                self.channels.insert(id, channel(frame));
            }
            "Hangup" => {
                self.channels.remove(&id);
                self.bridges.remove(&id);
            }
            "BridgeEnter" => {
                self.bridges.insert(id, text("BridgeUniqueid"));
            }
            "BridgeLeave" => {
                self.bridges.remove(&id);
            }
            "QueueCallerJoin" => {
                let mut entry = channel(frame);
                entry.push(("Position".into(), text("Position")));
                self.entries.insert((text("Queue"), id), entry);
            }
            "QueueCallerLeave" => {
                self.entries.remove(&(text("Queue"), id));
            }
            "QueueMemberRemoved" => {
                self.members.remove(&(text("Queue"), text("Interface")));
            }
            "QueueMemberStatus"
            | "QueueMemberAdded"
            | "QueueMemberPause"
            | "QueueMemberPenalty"
            | "QueueMemberRinginuse" => {
                let field = |key: &&str| ((*key).to_owned(), text(key));
                let member = MEMBER.iter().map(field).collect();
                self.members.insert((text("Queue"), text("Interface")), member);
            }
            "DeviceStateChange" => {
                self.devices.insert(text("Device"), text("State"));
            }
            "ExtensionStatus" => {
                self.hints.insert(text("Exten"), (text("Hint"), text("Status")));
            }
            _ if is_channel && self.channels.contains_key(&id) => {
                self.channels.insert(id, channel(frame));
            }
            _ => {}
        }
    }

    fn list(&self, action: &str, id: &str) -> Vec<Frame> {
        let frame = |fields: &[(&str, &str)]| -> Frame {
            fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let mut items = Vec::new();
        match action {
            "CoreShowChannels" => {
                for (unique, channel) in &self.channels {
                    let mut item = frame(&[("Event", "CoreShowChannel"), ("ActionID", id)]);
                    item.extend(channel.iter().cloned());
                    let bridge = self.bridges.get(unique).map_or("", String::as_str);
                    let held = self.held.get(unique);
                    item.extend(frame(&[
                        ("Application", if held.is_some() { "AGI" } else { "" }),
                        ("ApplicationData", held.map_or("", String::as_str)),
                        ("Duration", "00:00:01"),
                        ("BridgeId", bridge),
                    ]));
                    items.push(item);
                }
            }
            "QueueStatus" => {
                for queue in self.queues.keys() {
                    items.push(frame(&[
                        ("Event", "QueueParams"),
                        ("Queue", queue),
                        ("Max", "0"),
                        ("Strategy", "rrmemory"),
                        ("Calls", "0"),
                        ("Holdtime", "0"),
                        ("TalkTime", "0"),
                        ("Completed", "0"),
                        ("Abandoned", "0"),
                        ("ServiceLevel", "20"),
                        ("ServicelevelPerf", "0.0"),
                        ("ServicelevelPerf2", "0.0"),
                        ("Weight", "0"),
                        ("ActionID", id),
                    ]));
                    for ((_, interface), member) in
                        self.members.iter().filter(|((of, _), _)| of == queue)
                    {
                        let value = |key| get(member, key).unwrap_or_default();
                        let mut item = frame(&[
                            ("Event", "QueueMember"),
                            ("Queue", queue),
                            ("Name", value("MemberName")),
                            ("Location", interface),
                        ]);
                        item.extend(member.iter().filter(|(key, _)| key != "MemberName").cloned());
                        item.push(("ActionID".into(), id.into()));
                        items.push(item);
                    }
                    for ((_, unique), entry) in
                        self.entries.iter().filter(|((of, _), _)| of == queue)
                    {
                        let value = |key| get(entry, key).unwrap_or_default();
                        items.push(frame(&[
                            ("Event", "QueueEntry"),
                            ("Queue", queue),
                            ("Position", value("Position")),
                            ("Channel", value("Channel")),
                            ("Uniqueid", unique),
                            ("CallerIDNum", value("CallerIDNum")),
                            ("CallerIDName", value("CallerIDName")),
                            ("ConnectedLineNum", value("ConnectedLineNum")),
                            ("ConnectedLineName", value("ConnectedLineName")),
                            ("Wait", "1"),
                            ("Priority", "0"),
                            ("ActionID", id),
                        ]));
                    }
                }
            }
            "DeviceStateList" => {
                for (device, state) in &self.devices {
                    items.push(frame(&[
                        ("Event", "DeviceStateChange"),
                        ("ActionID", id),
                        ("Device", device),
                        ("State", state),
                    ]));
                }
            }
            "ExtensionStateList" => {
                for (number, (hint, status)) in &self.hints {
                    items.push(frame(&[
                        ("Event", "ExtensionStatus"),
                        ("ActionID", id),
                        ("Exten", number),
                        ("Context", "internal"),
                        ("Hint", hint),
                        ("Status", status),
                        ("StatusText", ""),
                    ]));
                }
            }
            _ => {}
        }
        let end = match action {
            "ExtensionStateList" => "ExtensionStateListComplete".to_owned(),
            action => format!("{action}Complete"),
        };
        let count = items.len().to_string();
        items.insert(
            0,
            frame(&[
                ("Response", "Success"),
                ("ActionID", id),
                ("EventList", "start"),
                ("Message", "follows"),
            ]),
        );
        items.push(frame(&[
            ("Event", end.as_str()),
            ("ActionID", id),
            ("EventList", "Complete"),
            ("ListItems", count.as_str()),
        ]));
        items
    }

    fn reply(&mut self, request: &str) -> String {
        let value = |key: &str| {
            let prefix = format!("{key}: ");
            let lines = request.split("\r\n");
            lines
                .into_iter()
                .find_map(|line| line.strip_prefix(prefix.as_str()))
                .unwrap_or_default()
        };
        let (action, id) = (value("Action"), value("ActionID"));
        let success = |more: &str| format!("Response: Success\r\nActionID: {id}\r\n{more}\r\n");
        match action {
            "Challenge" => success("Challenge: 213904017\r\n"),
            "Login" => {
                success("Message: Authentication accepted\r\n")
                    + "Event: FullyBooted\r\nPrivilege: system,all\r\nUptime: 203\r\nLastReload: 203\r\nStatus: Fully Booted\r\n\r\n"
            }
            "ListCommands" => success(
                "QueueAdd: x  (Priv: agent,all)\r\nQueueRemove: x  (Priv: agent,all)\r\nQueuePause: x  (Priv: agent,all)\r\n\
                 CoreShowChannels: x  (Priv: system,reporting,all)\r\nDeviceStateList: x  (Priv: call,reporting,all)\r\n\
                 ExtensionStateList: x  (Priv: call,reporting,all)\r\nQueueStatus: x  (Priv: <none>)\r\n\
                 AGI: x  (Priv: agi,all)\r\nSetvar: x  (Priv: call,all)\r\nGetvar: x  (Priv: call,reporting,all)\r\n\
                 AbsoluteTimeout: x  (Priv: call,all)\r\nRedirect: x  (Priv: call,all)\r\nHangup: x  (Priv: call,all)\r\n",
            ),
            "CoreSettings" => {
                success("AMIversion: 11.0.0\r\nAsteriskVersion: 22.10.1\r\nSystemName: pbx22\r\n")
            }
            "CoreStatus" => success("CoreStartupDate: 2026-11-21\r\nCoreStartupTime: 19:16:50\r\n"),
            "Ping" => success("Ping: Pong\r\nTimestamp: 1795288814.385029\r\n"),
            "Filter" | "QueueAdd" | "QueueRemove" | "QueuePause" => success("Message: done\r\n"),
            "CoreShowChannels" | "QueueStatus" | "DeviceStateList" | "ExtensionStateList" => {
                self.list(action, id).iter().map(written).collect()
            }
            "AGI" | "Setvar" | "Getvar" | "AbsoluteTimeout" | "Redirect" | "Hangup" => {
                let mut channels = self.channels.iter();
                let found = channels.find(|(_, it)| get(it, "Channel") == Some(value("Channel")));
                let Some((unique, _)) = found else {
                    return format!(
                        "Response: Error\r\nActionID: {id}\r\nMessage: No such channel\r\n\r\n"
                    );
                };
                let unique = unique.clone();
                let (command, command_id) =
                    (value("Command").to_owned(), value("CommandID").to_owned());
                let is_held = self.held.contains_key(&unique);
                match action {
                    "AGI" if !is_held => {
                        format!(
                            "Response: Error\r\nActionID: {id}\r\nMessage: Failed to add AGI command to queue\r\n\r\n"
                        )
                    }
                    "AGI" => {
                        success("Message: Added AGI command to queue\r\n")
                            + &self.execute(&unique, &command, &command_id)
                    }
                    "Getvar" if value("Variable") == "JACKFIELD_OFFER" => {
                        let offer = self.held.get(&unique).and_then(|held| held.split_once(','));
                        let offer = offer.map_or("", |(_, offer)| offer);
                        success(&format!("Variable: JACKFIELD_OFFER\r\nValue: {offer}\r\n"))
                    }
                    // There is every queue and every place.
                    "Getvar" => success("Variable: x\r\nValue: 1\r\n"),
                    "Redirect" | "Hangup" => {
                        success("Message: done\r\n") + &self.leaves(&unique, action == "Hangup")
                    }
                    _ => success("Message: done\r\n"),
                }
            }
            other => format!(
                "Response: Error\r\nActionID: {id}\r\nMessage: Invalid/unknown command: {other}. Use Action: ListCommands to show available commands.\r\n\r\n"
            ),
        }
    }
}

/// Callers who are held.
impl Asterisk {
    /// Runs an AGI command to its end.
    fn execute(&mut self, unique: &str, command: &str, command_id: &str) -> String {
        let result = match command {
            "GET VARIABLE PLAYBACKSTATUS" => {
                let played = self.played.get(unique).map_or("", String::as_str);
                if played.contains("nowhere") { "1%20(FAILED)" } else { "1%20(SUCCESS)" }
            }
            command => {
                if command.starts_with("EXEC Playback") {
                    self.played.insert(unique.into(), command.into());
                }
                "0"
            }
        };
        let result = format!("200%20result%3D{result}%0A");
        self.event("AsyncAGIExec", "agi", unique, &[("Result", &result), ("CommandId", command_id)])
    }

    /// A caller who is held goes elsewhere, or home.
    fn leaves(&mut self, unique: &str, hangs_up: bool) -> String {
        let mut said = String::new();
        if self.held.remove(unique).is_some() {
            said += &self.event("AsyncAGIEnd", "agi", unique, &[]);
        }
        if hangs_up {
            let cause = [("Cause", "16"), ("Cause-txt", "Normal Clearing")];
            said += &self.event("Hangup", "call", unique, &cause);
            self.channels.remove(unique);
            self.bridges.remove(unique);
        }
        said
    }

    fn event(&self, name: &str, class: &str, unique: &str, more: &[(&str, &str)]) -> String {
        let mut event: Frame =
            vec![("Event".into(), name.into()), ("Privilege".into(), format!("{class},all"))];
        event.extend(self.channels.get(unique).cloned().unwrap_or_default());
        event.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        written(&event)
    }
}

impl Pbx for Asterisk {
    fn connected(&mut self, _link: &str, _at: Duration) -> Vec<Said> {
        let bytes = b"Asterisk Call Manager/11.0.0\r\n".to_vec();
        vec![Said { bytes, ..Said::default() }]
    }

    fn gone(&mut self, _link: &str) {
        self.unread.clear();
    }

    fn hear(&mut self, _link: &str, bytes: &[u8], _at: Duration) -> Heard {
        self.unread.push_str(&String::from_utf8_lossy(bytes));
        let mut heard = Heard::default();
        while let Some((request, rest)) = self.unread.split_once("\r\n\r\n") {
            let (request, rest) = (request.to_owned(), rest.to_owned());
            self.unread = rest;
            let bytes = self.reply(&request).into_bytes();
            heard.said.push(Said { bytes, ..Said::default() });
            heard.frames.push(request);
        }
        heard
    }

    fn turn(&mut self, number: usize, _at: Duration) -> Vec<(String, Said)> {
        let Some((_, mut frames)) = self.turns.get(number).cloned() else { return Vec::new() };
        // How instructions ended is answered to those that are given now; and who went with one has gone.
        frames.retain(|frame| {
            let is = |name| get(frame, "Event") == Some(name);
            let id = get(frame, "Uniqueid").unwrap_or_default();
            let has_gone = is("AsyncAGIEnd") && !self.held.contains_key(id);
            !is("AsyncAGIExec") && !has_gone
        });
        if frames.is_empty() {
            return Vec::new();
        }
        frames.iter().for_each(|frame| self.follow(frame));
        let bytes = frames.iter().map(written).collect::<String>().into_bytes();
        vec![("ami".to_owned(), Said { bytes, ..Said::default() })]
    }

    fn restart(&mut self) {
        self.channels.clear();
        self.bridges.clear();
        self.entries.clear();
        self.held.clear();
        self.played.clear();
    }

    fn complaints(&mut self, _at: Duration) -> Vec<String> {
        Vec::new()
    }
}

pub fn get<'f>(frame: &'f Frame, key: &str) -> Option<&'f str> {
    frame.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}

/// What CoreShowChannels shows of a caller whose `AsyncAGIStart` came with this `Env`.
fn arguments(env: &str) -> String {
    let env = env.replace("%0A", "\n").replace("%3A", ":").replace("%20", " ");
    let lines = env.lines().filter(|line| line.starts_with("agi_arg_"));
    let arguments: Vec<&str> =
        lines.map(|line| line.split_once(": ").map_or("", |(_, value)| value)).collect();
    format!("agi:async,{}", arguments.join(","))
}

/// What an event says of its channel.
fn channel(frame: &Frame) -> Frame {
    let mut channel: Frame = CHANNEL
        .iter()
        .map(|key| ((*key).to_owned(), get(frame, key).unwrap_or_default().to_owned()))
        .collect();
    channel.push(("Linkedid".into(), get(frame, "Linkedid").unwrap_or_default().to_owned()));
    channel
}

pub fn written(frame: &Frame) -> String {
    let mut text: String = frame.iter().map(|(key, value)| format!("{key}: {value}\r\n")).collect();
    text.push_str("\r\n");
    text
}
