//! A PBX that hands callers over, and what is said with it about them.

use std::{collections::BTreeMap, fs, path::Path};

use super::support::{Fake, Lab, SETTINGS, UNFILTERED};

pub const HOLDING: &str = "QueueStatus: x  (Priv: <none>)\nCoreShowChannels: x  (Priv: system,reporting,all)\nDeviceStateList: x  (Priv: call,reporting,all)\nExtensionStateList: x  (Priv: call,reporting,all)\nAGI: x  (Priv: agi,all)\nSetvar: x  (Priv: call,all)\nGetvar: x  (Priv: call,reporting,all)\nAbsoluteTimeout: x  (Priv: call,all)\nRedirect: x  (Priv: call,all)\nHangup: x  (Priv: call,all)\nFilter: x  (Priv: system,all)\n";

pub const DONE: &str = "Response: Success\nMessage: done\n";

pub fn fake() -> Fake {
    let answers = ["AGI", "Setvar", "AbsoluteTimeout", "Redirect", "Hangup"];
    let mut fake = Fake { actions: HOLDING, ..Fake::default() };
    fake.answers = answers.into_iter().map(|action| (action, DONE)).collect();
    fake
}

pub fn ready(settings: &str) -> Lab {
    let mut lab = Lab::ready(settings, fake());
    lab.told();
    lab.fake.heard.clear();
    lab
}

pub const LEG: &str = "1795288810.1";
pub const CHANNEL: &str = "PJSIP/trunk-00000001";

/// An event of the caller, in the template's `held`.
pub fn event(name: &str, class: &str, more: &str) -> String {
    event_of("5551234", name, class, more)
}

pub fn event_of(number: &str, name: &str, class: &str, more: &str) -> String {
    format!(
        "Event: {name}\nPrivilege: {class},all\nChannel: {CHANNEL}\nChannelState: 6\nChannelStateDesc: Up\nCallerIDNum: {number}\nCallerIDName: n\nConnectedLineNum: <unknown>\nConnectedLineName: <unknown>\nLanguage: en\nAccountCode: \nContext: jackfield\nExten: held\nPriority: 3\nUniqueid: {LEG}\nLinkedid: {LEG}\n{more}\n"
    )
}

/// An `Env` as Asterisk writes it.
pub fn env(number: &str, arguments: &[&str]) -> String {
    let mut lines = format!(
        "agi_request: async\nagi_channel: {CHANNEL}\nagi_language: en\nagi_type: PJSIP\nagi_uniqueid: {LEG}\nagi_version: 22.10.1\nagi_callerid: {number}\nagi_calleridname: n\nagi_callingpres: 0\nagi_callingani2: 0\nagi_callington: 0\nagi_callingtns: 0\nagi_dnid: 720\nagi_rdnis: unknown\nagi_context: jackfield\nagi_extension: held\nagi_priority: 3\nagi_enhanced: 0.0\nagi_accountcode: \nagi_threadid: 1\n"
    );
    for (index, argument) in arguments.iter().enumerate() {
        lines += &format!("agi_arg_{}: {argument}\n", index + 1);
    }
    lines.push('\n');
    lines
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

pub fn start(arguments: &[&str]) -> String {
    event("AsyncAGIStart", "agi", &format!("Env: {}\n", env("5551234", arguments)))
}

/// A caller who is held, in a lab that has told of it.
pub fn held() -> Lab {
    let mut lab = ready(SETTINGS);
    lab.receive(&start(&["main", "720", "", ""]));
    lab.answer();
    let told = lab.told();
    assert!(told.last().is_some_and(|last| last.starts_with("offered")), "{told:?}");
    lab
}

/// The CommandID of the last AGI command for each channel.
pub fn command_ids(heard: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for action in heard.split("\r\n\r\n").filter(|action| action.contains("Action: AGI\r\n")) {
        let value = |key: &str| {
            let mut lines = action.lines();
            lines.find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned()
        };
        found.insert(value("Channel: "), value("CommandID: "));
    }
    found
}

/// The AGI commands and other actions that were sent, without what is the same in all.
pub fn sent(lab: &mut Lab) -> Vec<String> {
    lab.answer();
    let heard = std::mem::take(&mut lab.fake.heard);
    let actions = heard.split("\r\n\r\n").filter(|action| !action.is_empty());
    actions
        .map(|action| {
            let lines = action.lines().filter(|line| {
                !["ActionID: ", "CommandID: ", "Channel: "].iter().any(|key| line.starts_with(key))
            });
            lines
                .map(|line| line.split_once(": ").map_or(line, |(_, value)| value))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

/// The AGI command that was sent last ends with this result.
pub fn executed(lab: &mut Lab, result: &str) {
    lab.answer();
    let id = command_ids(&lab.fake.heard).remove(CHANNEL).expect("a command was sent");
    let result = result.replace(' ', "%20").replace('=', "%3D");
    lab.receive(&event("AsyncAGIExec", "agi", &format!("Result: {result}%0A\nCommandId: {id}\n")));
    lab.answer();
}

pub fn expected(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/held").join(name);
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter(|line| !line.starts_with("//") && !line.is_empty())
        .map(Into::into)
        .collect()
}

/// The result of an AGI command, as if it were the last of ours on that channel.
pub fn as_ours(frame: &str, ids: &BTreeMap<String, String>) -> String {
    let Some(result) = frame.strip_prefix("Event: AsyncAGIExec\n") else { return frame.into() };
    let channel =
        result.lines().find_map(|line| line.strip_prefix("Channel: ")).expect("a channel");
    let (before, _) = result.split_once("CommandId: ").expect("the last key");
    format!("Event: AsyncAGIExec\n{before}CommandId: {}\n", ids[channel])
}

/// Plays a recording: instructions are given when they were, and their AGI commands get the results of then.
pub fn replayed(pieces: usize, swapping: bool) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/held/talked.ami");
    let recording = fs::read_to_string(path).expect("the recording is there");
    let mut lab = ready(UNFILTERED);
    lab.fake.answers.push(("Getvar", "Response: Success\nVariable: x\nValue: 1\n"));
    lab.pieces = pieces;
    if swapping {
        lab.host.swap_at_every_step();
    }
    let (mut at, mut frame) = (0, String::new());
    for text in recording.lines() {
        if let Some(ms) = text.strip_prefix('+').and_then(|ms| ms.parse::<u64>().ok()) {
            lab.advance(ms - at.min(ms));
            at = ms;
        } else if let Some(instruction) = text.strip_prefix("> ") {
            let mut parts = instruction.split('\t');
            let kind = parts.next().expect("a kind");
            let arguments: Vec<(&str, &str)> =
                parts.filter_map(|part| part.split_once('=')).collect();
            lab.host.command(kind, &arguments);
            lab.answer();
        } else if text.is_empty() {
            let told = std::mem::take(&mut frame);
            let told = as_ours(&told, &command_ids(&lab.fake.heard));
            lab.receive(&format!("{told}\n"));
            lab.answer();
        } else {
            frame.push_str(text);
            frame.push('\n');
        }
    }
    lab.advance(3000);
    lab.told()
}

/// What the lists show of the caller.
pub fn shown(application: &str, data: &str) -> String {
    let item = event("CoreShowChannel", "x", "").replace("Privilege: x,all\n", "ACTIONID\n");
    item.trim_end().to_owned()
        + &format!(
            "\nApplication: {application}\nApplicationData: {data}\nDuration: 00:00:01\nBridgeId: \n"
        )
}

pub fn offers(told: &[String]) -> Vec<String> {
    told.iter().filter(|line| line.contains("offered ")).cloned().collect()
}
