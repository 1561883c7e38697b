//! Frames that a caller forged, as a real Asterisk prints them: the number they call from holds line ends.
//!
//! `%0D%0A` in the From user of an unauthenticated INVITE comes out as CR LF in `CallerIDNum`, in the middle of
//! each event about that channel. None of it may become a fact, and the operator must hear of it once.

mod support;

use support::{Fake, Lab, SETTINGS, UNFILTERED};

/// An event about the forger's channel, `number` printed raw where their number is.
fn of_forger(name: &str, class: &str, number: &str, head: &str, tail: &str) -> String {
    format!(
        "Event: {name}\nPrivilege: {class},all\n{head}Channel: PJSIP/trunk-00000009\nChannelState: 4\nChannelStateDesc: Ring\n\
         CallerIDNum: {number}\nCallerIDName: \nConnectedLineNum: <unknown>\nConnectedLineName: <unknown>\nLanguage: en\n\
         AccountCode: \nContext: from-trunk\nExten: 802\nPriority: 1\nUniqueid: 1795290513.9\nLinkedid: 1795290513.9\n{tail}\n"
    )
}

/// What a hostile caller may call from.
fn numbers() -> Vec<(&'static str, String)> {
    let whole = of_forger("Hangup", "call", "1", "", "")
        .replace("PJSIP/trunk-00000009", "PJSIP/1001-00000001");
    let (forged_head, _) = whole.split_once("CallerIDName").expect("it has a name");
    vec![
        ("a header", "5\nX-Inj: 1".into()),
        ("a second id", "5\nUniqueid: 1795290513.1\nLinkedid: 1795290513.1".into()),
        ("an event", "5\n\nEvent: Forged\nPrivilege: call,all\nFoo: ".into()),
        ("a member paused", "5\n\nEvent: QueueMemberPause\nPrivilege: agent,all\nQueue: support\nInterface: PJSIP/1001\nPaused: 1\nFoo: ".into()),
        ("an extension", "5\n\nEvent: DeviceStateChange\nPrivilege: call,all\nDevice: PJSIP/1001\nState: BUSY\n\n".into()),
        ("two events", "5\n\nEvent: DeviceStateChange\nPrivilege: call,all\nDevice: PJSIP/1001\nState: BUSY\n\nEvent: DeviceStateChange\nPrivilege: call,all\nDevice: PJSIP/1002\nState: BUSY".into()),
        ("an event that takes the rest for its own", format!("5\n\n{}", forged_head.trim_end())),
        ("a restart", "5\n\nEvent: FullyBooted\nPrivilege: system,all\nStatus: Fully Booted\n".into()),
        ("an answer", "5\n\nResponse: Success\nActionID: 1\nMessage: Authentication accepted\n\n".into()),
        ("a list item", "5\n\nEvent: QueueMember\nQueue: support\nName: x\nLocation: PJSIP/6666\nStatus: 1\nActionID: 1\n\n".into()),
        ("blank lines", "5\n\n\n\n\n".into()),
        ("an end of the list", "5\nEventList: Complete".into()),
        ("an ActionID", "5\nActionID: x".into()),
        ("the end of a list of its own", "5\n\nEvent: QueueStatusComplete\nEventList: Complete\nListItems: 1\nFoo: ".into()),
        ("an end that takes the rest for its own", "5\n\nEvent: QueueStatusComplete\nEventList: Complete".into()),
        ("an end of channels", "5\n\nEvent: CoreShowChannelsComplete\nActionID: 1\nEventList: Complete\n".into()),
        ("a member that takes the rest for its own", "5\n\nEvent: QueueMember\nQueue: support\nLocation: PJSIP/6666".into()),
        ("a queue that takes the rest for its own", "5\n\nEvent: QueueParams\nQueue: 6666".into()),
        ("a cut entry", "5\n\nEvent: QueueEntry\nQueue: support".into()),
        ("many headers", format!("5\n{}", "A: b\n".repeat(300))),
    ]
}

/// The life of the forger's call: every event carries their number.
fn life(number: &str, head: &str) -> String {
    [
        of_forger("Newchannel", "call", number, head, ""),
        of_forger("VarSet", "dialplan", number, head, "Variable: SIPDOMAIN\nValue: 127.0.0.1\n"),
        of_forger("Newstate", "call", number, head, ""),
        of_forger(
            "QueueCallerJoin",
            "agent",
            number,
            head,
            "Queue: sales\nPosition: 1\nCount: 1\n",
        ),
        of_forger("HangupRequest", "call", number, head, ""),
        of_forger(
            "QueueCallerAbandon",
            "agent",
            number,
            head,
            "Queue: sales\nPosition: 1\nOriginalPosition: 1\nHoldTime: 1\n",
        ),
        of_forger(
            "QueueCallerLeave",
            "agent",
            number,
            head,
            "Queue: sales\nPosition: 1\nCount: 0\n",
        ),
        of_forger("Hangup", "call", number, head, "Cause: 16\nCause-txt: Normal Clearing\n"),
    ]
    .concat()
}

fn check(what: &str, lab: &mut Lab) {
    let told = lab.told();
    let notices =
        told.iter().filter(|line| line.starts_with("notice forged-input security")).count();
    assert_eq!(notices, 1, "{what}: {told:#?}");
    let resyncs = told.iter().filter(|line| *line == "resync ends").count();
    assert_eq!(resyncs, 1, "{what}: {told:#?}");
    let others: Vec<&String> = told
        .iter()
        .filter(|line| {
            !line.starts_with("notice forged-input")
                && !line.starts_with("resync ")
                && !line.starts_with("  has ")
        })
        .collect();
    assert!(others.is_empty(), "{what}: {others:#?}");
    assert!(
        !told.iter().any(|line| line.contains("6666") || line.contains("#9 ")),
        "{what}: {told:#?}"
    );
}

#[test]
fn no_forged_frame_becomes_a_fact_with_a_stock_manager_conf() {
    for (what, number) in numbers() {
        for at_once in [true, false] {
            let mut lab = Lab::ready(SETTINGS, Fake::default());
            lab.told();
            if at_once {
                lab.receive(&life(&number, ""));
            } else {
                lab.pieces = 64;
                lab.receive(&life(&number, ""));
            }
            lab.advance(5000);
            check(what, &mut lab);
        }
    }
}

#[test]
fn nor_with_time_stamps_and_a_system_name() {
    let head = "Timestamp: 1795288890.000001\nSystemName: pbx22\n";
    for (what, number) in numbers() {
        let mut lab = Lab::ready(UNFILTERED, Fake::default());
        lab.receive(&format!("Event: PeerStatus\nPrivilege: system,all\n{head}ChannelType: PJSIP\nPeer: PJSIP/1001\nPeerStatus: Reachable\n\n"));
        lab.told();
        lab.receive(&life(&number, head));
        lab.advance(5000);
        check(what, &mut lab);
    }
}

#[test]
fn the_next_honest_call_is_seen_in_full() {
    for (what, number) in numbers() {
        let mut lab = Lab::ready(SETTINGS, Fake::default());
        lab.receive(&life(&number, ""));
        lab.advance(5000);
        lab.told();
        lab.receive(&of_forger("Newchannel", "call", "5551234", "", "").replace(".9", ".10"));
        let told = lab.told();
        assert_eq!(told.len(), 1, "{what}: {told:?}");
        assert!(told[0].starts_with("leg #10 from-device PJSIP/trunk"), "{what}: {told:?}");
    }
}

#[test]
fn a_forger_who_waits_in_a_queue_does_not_get_into_its_picture() {
    let entry = "Event: QueueEntry\nQueue: sales\nPosition: 1\nChannel: PJSIP/trunk-00000009\nUniqueid: 1795290513.9\nCallerIDNum: NUMBER\nCallerIDName: \nConnectedLineNum: unknown\nConnectedLineName: unknown\nWait: 3\nPriority: 0\nACTIONID\n\n";
    let honest = entry
        .replace("Position: 1", "Position: 2")
        .replace("00000009", "00000010")
        .replace(".9", ".10")
        .replace("NUMBER", "5");
    let channel = of_forger(
        "CoreShowChannel",
        "call",
        "NUMBER",
        "",
        "Application: Queue\nApplicationData: sales\nDuration: 00:00:01\nBridgeId: \n",
    )
    .replace("Privilege: call,all\n", "ACTIONID\n");
    let honest_channel =
        channel.replace(".9", ".10").replace("00000009", "00000010").replace("NUMBER", "5");
    let takes_rest = "5\n\nEvent: QueueEntry\nQueue: support\nPosition: 1\nChannel: PJSIP/x-1\nUniqueid: 1.666\nCallerIDNum: 6";
    for (what, number) in numbers()
        .into_iter()
        .chain([("an entry that takes the rest for its own", takes_rest.to_owned())])
    {
        let mut fake = Fake::default();
        fake.lists[0].1.push_str(&format!(
            "\n{}{}",
            entry.replace("NUMBER", &number),
            honest.trim_end()
        ));
        fake.lists[0].1.push('\n');
        fake.lists.push((
            "CoreShowChannels",
            format!(
                "{}{}",
                channel.replace("NUMBER", &number),
                honest_channel.trim_end().to_owned() + "\n"
            ),
        ));
        let mut lab = Lab::ready(SETTINGS, fake);
        let told = lab.told();
        assert!(
            told.iter().any(|line| line == "  has caller sales #10 joined at 2 waited 3"),
            "{what}: {told:#?}"
        );
        assert!(
            !told
                .iter()
                .any(|line| line.contains("#9 ") || line.contains("#666") || line.contains("6666")),
            "{what}: {told:#?}"
        );
        assert_eq!(
            told.iter().filter(|line| line.starts_with("notice forged-input")).count(),
            1,
            "{what}: {told:#?}"
        );
    }
}

#[test]
fn nothing_is_gone_from_a_picture_that_a_caller_spoiled_until_a_clean_one() {
    let entry = "\nEvent: QueueEntry\nQueue: support\nPosition: 1\nChannel: PJSIP/trunk-00000009\nUniqueid: 1795290513.9\nCallerIDNum: NUMBER\nCallerIDName: \nConnectedLineNum: unknown\nConnectedLineName: unknown\nWait: 3\nPriority: 0\nACTIONID\n";
    for (what, number) in numbers() {
        let mut lab = Lab::ready(SETTINGS, Fake::default());
        let queues = lab.fake.lists[0].1.clone();
        let (support, _) = queues.split_once("\nEvent: QueueMember").expect("members");
        // The seats of `support` and all of `sales` are not told any more, and a forger waits.
        lab.fake.lists[0].1 = format!("{support}{}", entry.replace("NUMBER", &number));
        lab.told();
        lab.host.command("resync", &[]);
        lab.answer();
        let told = lab.told();
        for kept in ["queue sales", "member support PJSIP/1001", "member support PJSIP/1002"] {
            assert!(told.iter().any(|line| line.contains(kept)), "{what}: {kept}: {told:#?}");
        }
        assert!(!told.iter().any(|line| line.contains("#9 ")), "{what}: {told:#?}");
        // They leave: the look that follows is believed.
        lab.fake.lists[0].1 = support.to_owned();
        lab.advance(5000);
        let told = lab.told();
        assert!(told.iter().any(|line| line == "resync ends"), "{what}: {told:#?}");
        assert!(!told.iter().any(|line| line.contains("PJSIP/1001 ext")), "{what}: {told:#?}");
        assert!(!told.iter().any(|line| line.contains("queue sales")), "{what}: {told:#?}");
        lab.advance(20_000);
        assert_eq!(lab.told(), [] as [String; 0], "{what}: and no further ones");
    }
}

#[test]
fn however_many_channels_forge_there_is_one_look_in_five_seconds() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    lab.advance(6000);
    lab.told();
    let mut looks = 0;
    for at in 0..100 {
        let forged = life("5\nX-Inj: 1", "").replace("00000009", &format!("{at:08}"));
        lab.receive(&forged);
        lab.answer();
        lab.advance(100);
        looks += lab.told().iter().filter(|line| *line == "resync ends").count();
    }
    assert!((1..=3).contains(&looks), "{looks} looks in 10 s");
}

#[test]
fn a_frame_without_an_end_is_skipped_and_reported() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    lab.told();
    lab.receive(&format!(
        "Event: Newchannel\nPrivilege: call,all\nChannel: PJSIP/x-1\nFoo: {}",
        "x".repeat(10 << 20)
    ));
    assert!(lab.host.unread("ami").len() < 100_000);
    lab.receive("\n\n");
    lab.advance(5000);
    check("endless", &mut lab);
}
