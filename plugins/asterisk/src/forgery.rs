//! Which frames can be believed.
//!
//! A caller can put line ends into the number they call from, and Asterisk prints them raw: the event is
//! cut there, whatever the caller wrote follows as if the PBX had said it, and the event's rest comes last.
//! What they cannot do is know our ActionIDs, or undo the cut. So a frame is believed only when
//! - it is the answer to an ActionID of ours, or
//! - it begins as every event of this session does, and each channel in it is told in full: the fourteen
//!   keys of a channel always come together, in one order, with the number in their middle.
//!
//! After a frame that is not believed nothing is, until a ping with an ActionID nobody can guess was
//! answered: that answer begins at a true frame border. The pictures of the PBX that follow mend the rest.

use crate::frame::Header;

/// The keys of a channel, always together and in this order (after a prefix such as `Dest`).
const CHANNEL: [&[u8]; 14] = [
    b"Channel",
    b"ChannelState",
    b"ChannelStateDesc",
    b"CallerIDNum",
    b"CallerIDName",
    b"ConnectedLineNum",
    b"ConnectedLineName",
    b"Language",
    b"AccountCode",
    b"Context",
    b"Exten",
    b"Priority",
    b"Uniqueid",
    b"Linkedid",
];

/// Events of one channel: these begin with it.
const OF_A_CHANNEL: [&[u8]; 25] = [
    b"AgentCalled",
    b"AgentComplete",
    b"AgentConnect",
    b"AgentRingNoAnswer",
    b"AsyncAGIEnd",
    b"AsyncAGIExec",
    b"AsyncAGIStart",
    b"DTMFBegin",
    b"DTMFEnd",
    b"Hangup",
    b"HangupRequest",
    b"Hold",
    b"MusicOnHoldStart",
    b"MusicOnHoldStop",
    b"NewCallerid",
    b"NewConnectedLine",
    b"Newchannel",
    b"Newexten",
    b"Newstate",
    b"QueueCallerAbandon",
    b"QueueCallerJoin",
    b"QueueCallerLeave",
    b"SoftHangupRequest",
    b"Unhold",
    b"VarSet",
];

/// An event has at most so many headers.
const MAX_HEADERS: usize = 256;

/// How the events of this session begin, behind `Event` and `Privilege`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shape {
    timestamp: bool,
    system: Option<String>,
}

/// An event that is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live<'a> {
    /// Its class, e.g. `call`.
    pub class: &'a [u8],
    /// When the PBX says it was, nanoseconds since the Unix epoch.
    pub at: Option<u64>,
    /// Index of the first header behind the beginning.
    pub body: usize,
    /// Index of the channel without a prefix.
    pub channel: Option<usize>,
    /// Index of the channel `Dest...`.
    pub dest: Option<usize>,
}

/// Checks an event that is not part of an answer; `shape` is learnt from the first one.
pub fn check<'a>(
    headers: &[Header<'a>],
    shape: &mut Option<Shape>,
) -> Result<Live<'a>, &'static str> {
    if headers.len() > MAX_HEADERS {
        return Err("it has more headers than any event");
    }
    let &[(b"Event", name), (b"Privilege", privilege), ref rest @ ..] = headers else {
        return Err("it does not begin as an event");
    };
    let class = class(privilege).ok_or("its privilege is none")?;
    let (found, at) = beginning(rest);
    // The event at login alone lacks the time and the system's name.
    if name != b"FullyBooted" {
        match shape {
            Some(known) if *known != found => return Err("it does not begin as the others do"),
            Some(_) => {}
            None => *shape = Some(found.clone()),
        }
    }
    let body = 2 + usize::from(found.timestamp) + usize::from(found.system.is_some());
    let (channel, dest) = blocks(headers, body)?;
    let is_complete =
        is_global(name, headers, body) || is_of_a_caller_gone(name, headers, body, dest);
    if channel != Some(body) && OF_A_CHANNEL.contains(&name) && !is_complete {
        return Err("it names no channel");
    }
    if name == b"Cdr" && !headers.iter().any(|header| header.0 == b"UserField") {
        return Err("it ends too early");
    }
    if class == b"security" && !headers.iter().any(|header| header.0 == b"RemoteAddress") {
        return Err("it ends too early");
    }
    Ok(Live { class, at, body, channel, dest })
}

/// A global variable was set: there is no channel.
fn is_global(name: &[u8], headers: &[Header<'_>], body: usize) -> bool {
    name == b"VarSet"
        && headers
            .get(body)
            .is_some_and(|header| *header == (b"Channel", b"none") || header.0 == b"Variable")
}

/// The caller's channel was gone before Asterisk wrote the event: it has all its other keys and nothing else.
///
/// A caller cannot write that: it is longer than the 79 bytes that Asterisk takes of a number.
fn is_of_a_caller_gone(
    name: &[u8],
    headers: &[Header<'_>],
    body: usize,
    dest: Option<usize>,
) -> bool {
    let keys: &[&[u8]] = match name {
        b"AgentComplete" => {
            &[b"Queue", b"Interface", b"MemberName", b"HoldTime", b"TalkTime", b"Reason"]
        }
        b"AgentRingNoAnswer" => &[b"Queue", b"Interface", b"MemberName", b"RingTime"],
        _ => return false,
    };
    let rest = match dest {
        None => body,
        Some(at) if at == body => body + CHANNEL.len(),
        Some(_) => return false,
    };
    headers[rest..]
        .iter()
        .map(|header| header.0)
        .filter(|key| !may_repeat(key))
        .eq(keys.iter().copied())
}

/// `call,all` is of class `call`.
fn class(privilege: &[u8]) -> Option<&[u8]> {
    let class = privilege.strip_suffix(b",all")?;
    let word = class.split(|&byte| byte == b',').next()?;
    (!word.is_empty() && class.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b','))
        .then_some(word)
}

fn beginning(rest: &[Header<'_>]) -> (Shape, Option<u64>) {
    let (at, rest) = match rest {
        [(b"Timestamp", at), rest @ ..] => (Some(*at), rest),
        rest => (None, rest),
    };
    let system = match rest {
        [(b"SystemName", name), ..] => Some(String::from_utf8_lossy(name).into_owned()),
        _ => None,
    };
    (Shape { timestamp: at.is_some(), system }, at.and_then(nanoseconds))
}

/// `1795288814.184189` in nanoseconds.
pub fn nanoseconds(stamp: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(stamp).ok()?;
    let (seconds, micros) = text.split_once('.')?;
    if micros.len() != 6 {
        return None;
    }
    let seconds: u64 = seconds.parse().ok()?;
    let micros: u64 = micros.parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(micros * 1000)
}

/// Finds the channels, each in full; no key outside of them comes twice.
fn blocks(
    headers: &[Header<'_>],
    body: usize,
) -> Result<(Option<usize>, Option<usize>), &'static str> {
    let (mut channel, mut dest) = (None, None);
    let mut keys = Keys::default();
    let mut at = body;
    let repeats = matches!(headers[0].1, b"TestEvent" | b"UserEvent");
    while at < headers.len() {
        let key = headers[at].0;
        if let Some(prefix) = starts_block(headers, at) {
            whole(&headers[at..], prefix)?;
            match prefix {
                b"" if channel.is_none() => channel = Some(at),
                b"Dest" if dest.is_none() => dest = Some(at),
                b"" | b"Dest" => return Err("it has a channel twice"),
                _ => {}
            }
            for header in &headers[at..at + CHANNEL.len()] {
                keys.is_new(header.0);
            }
            at += CHANNEL.len();
            continue;
        }
        if !repeats && !may_repeat(key) {
            if is_channel_key(key) && channel.is_some() {
                return Err("it has a key of a channel outside of it");
            }
            if !keys.is_new(key) && headers[body..at].iter().any(|header| header.0 == key) {
                return Err("it has a key twice");
            }
        }
        at += 1;
    }
    Ok((channel, dest))
}

/// The prefix of the channel that starts here: its state follows its name.
fn starts_block<'a>(headers: &[Header<'a>], at: usize) -> Option<&'a [u8]> {
    let prefix = headers[at].0.strip_suffix(b"Channel")?;
    let follower = headers.get(at + 1)?.0;
    (follower.strip_prefix(prefix)? == b"ChannelState").then_some(prefix)
}

fn whole(headers: &[Header<'_>], prefix: &[u8]) -> Result<(), &'static str> {
    let is = |key: &[u8], tail: &[u8]| {
        key.len() == prefix.len() + tail.len() && key.ends_with(tail) && key.starts_with(prefix)
    };
    let complete = headers.len() >= CHANNEL.len()
        && headers.iter().zip(CHANNEL).all(|(header, tail)| is(header.0, tail));
    if complete { Ok(()) } else { Err("a channel in it is not told in full") }
}

fn may_repeat(key: &[u8]) -> bool {
    const OF_CHANNEL: &[u8] = b"ChanVariable";
    // `ChanVariable`, `DestChanVariable`, `ChanVariable(PJSIP/1001-0000001)`: all have a V.
    let place = key.iter().position(|&byte| byte == b'V');
    place.is_some()
        && (key == b"Variable" || key.windows(OF_CHANNEL.len()).any(|part| part == OF_CHANNEL))
}

/// Keys seen, not exactly: most keys are known to be new without looking at all those before them.
#[derive(Default)]
struct Keys([u64; 4]);

impl Keys {
    /// False: it may have been here before.
    fn is_new(&mut self, key: &[u8]) -> bool {
        let end = |byte: Option<&u8>| byte.copied().unwrap_or_default();
        let hash = end(key.first())
            .wrapping_mul(31)
            .wrapping_add(end(key.last()).wrapping_mul(7))
            .wrapping_add(key.len() as u8);
        let (word, bit) = (&mut self.0[usize::from(hash >> 6)], 1 << (hash & 63));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

/// Keys that only a channel has. `Channel`, `Context`, `Exten` and `Priority` mean other things elsewhere.
fn is_channel_key(key: &[u8]) -> bool {
    matches!(
        key,
        b"ChannelState"
            | b"CallerIDNum"
            | b"CallerIDName"
            | b"ConnectedLineNum"
            | b"Uniqueid"
            | b"Linkedid"
    )
}

/// Is the channel of this list item, starting at `at`, told in full?
pub fn item_is_whole(headers: &[Header<'_>], at: usize) -> bool {
    headers.get(at..).is_some_and(|rest| whole(rest, b"").is_ok())
}

/// The keys of a waiting caller in a list: all of them, in this order, the ActionID last.
pub fn entry_is_whole(headers: &[Header<'_>]) -> bool {
    const KEYS: [&[u8]; 12] = [
        b"Event",
        b"Queue",
        b"Position",
        b"Channel",
        b"Uniqueid",
        b"CallerIDNum",
        b"CallerIDName",
        b"ConnectedLineNum",
        b"ConnectedLineName",
        b"Wait",
        b"Priority",
        b"ActionID",
    ];
    headers.len() == KEYS.len() && headers.iter().zip(KEYS).all(|(header, key)| header.0 == key)
}

/// Has it a key that among the items of a queue list only a waiting caller has? All those behind their number.
pub fn has_an_entrys_key(headers: &[Header<'_>]) -> bool {
    headers.iter().any(|header| {
        matches!(
            header.0,
            b"CallerIDNum"
                | b"CallerIDName"
                | b"ConnectedLineNum"
                | b"ConnectedLineName"
                | b"Wait"
                | b"Priority"
        )
    })
}

/// Is this an end of a list and nothing else?
pub fn is_end_of_list(headers: &[Header<'_>]) -> bool {
    headers.contains(&(b"EventList".as_slice(), b"Complete".as_slice()))
        && headers
            .iter()
            .all(|header| matches!(header.0, b"Event" | b"ActionID" | b"EventList" | b"ListItems"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;

    const CALLER: &str = "Channel: PJSIP/t-1\r\nChannelState: 4\r\nChannelStateDesc: Ring\r\nCallerIDNum: 5\r\nCallerIDName: n\r\nConnectedLineNum: <unknown>\r\nConnectedLineName: <unknown>\r\nLanguage: en\r\nAccountCode: \r\nContext: c\r\nExten: 800\r\nPriority: 1\r\nUniqueid: 1.2\r\nLinkedid: 1.2\r\n";

    fn checked(text: &str) -> Result<(), &'static str> {
        let mut headers = Vec::new();
        frame::next(text.as_bytes(), &mut headers);
        check(&headers, &mut None).map(|_| ())
    }

    #[test]
    fn a_stock_event_is_believed() {
        assert_eq!(
            checked(&format!("Event: Newchannel\r\nPrivilege: call,all\r\n{CALLER}\r\n")),
            Ok(())
        );
        assert_eq!(
            checked("Event: PeerStatus\r\nPrivilege: system,all\r\nPeer: PJSIP/1\r\n\r\n"),
            Ok(())
        );
    }

    #[test]
    fn the_end_of_a_conversation_may_come_after_its_callers_channel() {
        let begin = "Event: AgentComplete\r\nPrivilege: agent,all\r\n";
        let rest = "Queue: q\r\nInterface: PJSIP/1\r\nMemberName: m\r\nHoldTime: 1\r\nTalkTime: 2\r\nReason: agent\r\n";
        let dest: String = CALLER.lines().map(|line| format!("Dest{line}\r\n")).collect();
        assert_eq!(checked(&format!("{begin}{dest}{rest}\r\n")), Ok(()));
        assert_eq!(checked(&format!("{begin}{rest}\r\n")), Ok(()));
        assert!(checked(&format!("{begin}{rest}CallerIDName: n\r\n\r\n")).is_err());
        assert!(checked(&format!("{begin}Queue: q\r\nReason: agent\r\n\r\n")).is_err());
    }

    #[test]
    fn a_cut_channel_is_not() {
        for keys in 1..14 {
            let cut: String = CALLER.split_inclusive("\r\n").take(keys).collect();
            let event = format!("Event: Newchannel\r\nPrivilege: call,all\r\n{cut}\r\n");
            assert!(checked(&event).is_err(), "after {keys} keys");
        }
    }

    #[test]
    fn a_header_put_into_a_channel_is_seen_wherever_it_is() {
        let lines: Vec<&str> = CALLER.split_inclusive("\r\n").collect();
        for place in 1..14 {
            let (before, after) = lines.split_at(place);
            for forged in ["X-Inj: 1\r\n", "Uniqueid: 9.9\r\n", "Channel: PJSIP/x-1\r\n"] {
                let event = format!(
                    "Event: Hangup\r\nPrivilege: call,all\r\n{}{forged}{}Cause: 16\r\n\r\n",
                    before.concat(),
                    after.concat()
                );
                assert!(checked(&event).is_err(), "{forged} at {place}");
            }
        }
    }

    #[test]
    fn a_channels_key_behind_it_is_a_forgery() {
        let event =
            format!("Event: Hangup\r\nPrivilege: call,all\r\n{CALLER}Uniqueid: 9.9\r\n\r\n");
        assert!(checked(&event).is_err());
    }

    #[test]
    fn an_event_must_begin_as_the_others_of_its_session() {
        let stamped = "Event: PeerStatus\r\nPrivilege: system,all\r\nTimestamp: 1795288814.184189\r\nSystemName: a\r\nPeer: x\r\n\r\n";
        let mut headers = Vec::new();
        frame::next(stamped.as_bytes(), &mut headers);
        let mut shape = None;
        assert_eq!(check(&headers, &mut shape).unwrap().at, Some(1_795_288_814_184_189_000));
        let plain = "Event: PeerStatus\r\nPrivilege: system,all\r\nPeer: x\r\n\r\n";
        frame::next(plain.as_bytes(), &mut headers);
        assert!(check(&headers, &mut shape).is_err());
    }
}
