//! Logging in, staying in, commands, and what happens when the PBX does not play along.

mod support;

use std::time::Duration;

use jackfield_asterisk::Asterisk;
use jackfield_sdk::{Connector, mock::Seen};
use support::{Fake, Lab, SETTINGS};

#[test]
fn a_login_answers_the_challenge_and_tells_the_pbx_then_its_picture() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    assert_eq!(
        lab.told(),
        [
            "pbx Asterisk 22.10.1 queues,calls,extensions,members,pause",
            "resync all begins",
            "  has extension 1001 PJSIP/1001 registered",
            "  has extension 1002 PJSIP/1002 unregistered",
            "  has queue sales rrmemory within 30 weight 0",
            "  has queue support rrmemory within 20 weight 1",
            "  has member support PJSIP/1001 ext 1001 static penalty 0 idle calls 1",
            "  has member support PJSIP/1002 ext 1002 static penalty 0 unavailable calls 0",
            "resync ends",
        ]
    );
    // The account may filter, so only what is used is let through.
    assert_eq!(lab.fake.heard.matches("Action: Filter").count(), 5);
    assert!(!lab.fake.heard.contains("s3cret-host"));
}

#[test]
fn an_account_without_system_is_logged_in_by_asking() {
    let fake = Fake {
        fully_booted: false,
        actions: "QueueStatus: x  (Priv: <none>)\nQueuePause: x  (Priv: agent,all)\n",
        ..Fake::default()
    };
    let mut lab = Lab::ready(SETTINGS, fake);
    assert_eq!(lab.told(), [] as [String; 0]);
    lab.advance(1000);
    let told = lab.told();
    assert_eq!(told[0], "pbx Asterisk 22.10.1 queues,pause");
    assert_eq!(told.last().map(String::as_str), Some("resync ends"));
    assert!(!lab.fake.heard.contains("Action: Filter"));
    // It may have been loading still: one more look.
    lab.advance(6000);
    assert_eq!(lab.told().iter().filter(|line| line.starts_with("resync ends")).count(), 1);
}

#[test]
fn a_wrong_password_is_not_tried_again_soon() {
    let mut lab = Lab::new(SETTINGS, Fake::default());
    lab.host.set_secret("ami", "wrong");
    lab.connect();
    let told = lab.told();
    assert!(
        told[0].starts_with("close slow: the PBX refused the login of `jackfield`"),
        "{told:?}"
    );
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("login-refused"), "{told:?}");
}

#[test]
fn what_is_no_ami_is_left_alone() {
    let mut lab = Lab::new(SETTINGS, Fake::default());
    lab.host.link_up("ami");
    lab.receive("HTTP/1.1 400 Bad Request\n\n");
    assert!(lab.told()[0].starts_with("close slow: what answers there is no AMI"));
}

#[test]
fn a_message_without_end_during_the_login_is_told_as_what_it_is() {
    let mut lab = Lab::new(SETTINGS, Fake::default());
    lab.host.link_up("ami");
    lab.receive("Asterisk Call Manager/11.0.0\n");
    lab.receive("Response: Success\nMessage: ");
    for _ in 0..3 {
        lab.receive(&"x".repeat(32 * 1024));
    }
    let told = lab.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("close slow: it sent a message of more than 64 KiB"), "{told:?}");
}

#[test]
fn a_pbx_that_says_nothing_is_closed_after_ten_seconds() {
    let mut lab = Lab::new(SETTINGS, Fake::default());
    lab.host.link_up("ami");
    lab.host.advance(Duration::from_millis(9_999));
    assert_eq!(lab.told(), [] as [String; 0]);
    lab.host.advance(Duration::from_millis(1));
    assert!(lab.told()[0].starts_with("close normal: it accepted the connection and said nothing"));
}

#[test]
fn silence_is_pinged_and_a_missing_answer_closes() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    lab.told();
    lab.host.advance(Duration::from_secs(15));
    let sent = String::from_utf8(lab.host.take_sent("ami")).unwrap();
    assert!(sent.starts_with("Action: Ping\r\n"), "{sent}");
    lab.host.advance(Duration::from_secs(10));
    assert_eq!(lab.told(), ["close normal: the PBX did not answer a ping within 10 s"]);
}

#[test]
fn a_list_that_never_ends_closes_the_link_and_its_bracket_stays_open() {
    let mut lab = Lab::new(SETTINGS, Fake::default());
    lab.fake.answers.push(("QueueStatus", "Response: Success\nEventList: start\n"));
    lab.connect();
    lab.told();
    lab.advance(31_000);
    assert_eq!(lab.told(), ["close normal: the PBX did not complete its lists within 30 s"]);
}

#[test]
fn commands_end_by_the_pbxs_answer() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    lab.told();
    let seat = [("queue", "support"), ("interface", "PJSIP/1003")];
    lab.host.command(
        "member-add",
        &[
            seat[0],
            seat[1],
            ("name", "Three"),
            ("penalty", "2"),
            ("paused", "true"),
            ("reason", "lunch"),
        ],
    );
    lab.answer();
    lab.host.command("pause", &[("interface", "PJSIP/1001"), ("reason", "lunch")]);
    lab.host.command("unpause", &[("interface", "PJSIP/1001"), ("queue", "support")]);
    lab.answer();
    // This PBX does as it is told, but tells of none of it.
    lab.advance(2_000);
    lab.fake
        .answers
        .push(("QueueRemove", "Response: Error\nMessage: Unable to remove interface: Not there\n"));
    lab.fake
        .answers
        .push(("QueueAdd", "Response: Error\nMessage: Unable to add interface: Already there\n"));
    lab.host.command("member-remove", &seat);
    lab.host.command("member-add", &seat);
    lab.answer();
    assert_eq!(
        lab.told(),
        ["command 3 done", "command 1 done", "command 2 done", "command 4 done", "command 5 done"]
    );
    for line in [
        "Penalty: 2\r\nMemberName: Three\r\nPaused: true\r\nReason: lunch",
        "Interface: PJSIP/1001\r\nPaused: true\r\nReason: lunch",
        "Interface: PJSIP/1001\r\nPaused: false\r\nQueue: support",
    ] {
        assert!(lab.fake.heard.contains(line), "{line}");
    }
    lab.fake.answers.retain(|(action, _)| *action != "QueueRemove");
    lab.fake.answers.push(("QueueRemove", "Response: Error\nMessage: Member not dynamic\n"));
    lab.host.command("member-remove", &seat);
    lab.answer();
    assert!(lab.told()[0].starts_with(
        "command 6 failed member-not-dynamic: PJSIP/1003 is a member of support by queues.conf"
    ));
}

#[test]
fn a_command_is_done_when_what_it_did_is_seen() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    lab.told();
    let seat = [("queue", "support"), ("interface", "PJSIP/1003")];
    let member = |event: &str, paused: u8| {
        format!(
            "Event: {event}\nPrivilege: agent,all\nQueue: support\nMemberName: Agent Three\nInterface: PJSIP/1003\nStateInterface: PJSIP/1003\nMembership: dynamic\nPenalty: 0\nCallsTaken: 0\nLastCall: 0\nLastPause: 0\nLoginTime: 1795288925\nInCall: 0\nStatus: 1\nPaused: {paused}\nPausedReason: \nRinginuse: 0\nWrapuptime: 0\n\n"
        )
    };
    for (number, kind, event) in [
        (1, "member-add", member("QueueMemberAdded", 0)),
        (2, "pause", member("QueueMemberPause", 1)),
        (3, "unpause", member("QueueMemberPause", 0)),
        (4, "member-remove", member("QueueMemberRemoved", 0)),
    ] {
        lab.host.command(kind, &seat);
        lab.answer();
        assert_eq!(lab.told(), [""; 0], "{kind}: the PBX said yes, and nothing is seen");
        lab.receive(&event);
        let told = lab.told();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[1], format!("command {number} done"), "after the fact: {told:?}");
    }
    // What is so already is done at once.
    lab.host.command("unpause", &[("queue", "support"), ("interface", "PJSIP/1001")]);
    lab.answer();
    assert_eq!(lab.told(), ["command 5 done"]);
}

#[test]
fn a_value_that_would_start_a_line_of_its_own_is_rejected() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    lab.told();
    lab.fake.heard.clear();
    let long = "x".repeat(1000);
    for value in ["a\r\nAction: Command", "a\nb", "a\rb", "a\0b", long.as_str()] {
        lab.host.command("pause", &[("interface", value)]);
    }
    lab.host.command("pause", &[]);
    lab.host.command("member-add", &[("interface", "PJSIP/1"), ("queue", "q"), ("penalty", "-1")]);
    lab.host.command("dance", &[]);
    lab.answer();
    let told = lab.told();
    assert_eq!(told.len(), 8);
    assert!(told[..7].iter().all(|line| line.contains(" rejected bad-argument: ")), "{told:?}");
    assert!(told[7].contains("rejected not-supported"));
    assert_eq!(lab.fake.heard, "");
}

#[test]
fn a_command_without_a_link_fails_and_one_cut_off_is_unknown() {
    let mut lab = Lab::new(SETTINGS, Fake::default());
    lab.host.command("pause", &[("interface", "PJSIP/1001")]);
    assert!(lab.told()[0].starts_with("command 1 failed not-connected"));
    lab.connect();
    lab.told();
    lab.host.command("pause", &[("interface", "PJSIP/1001")]);
    lab.host.link_closed("ami", "reset");
    assert!(lab.told()[0].starts_with("command 2 unknown link-lost"));
}

#[test]
fn a_gap_or_a_command_makes_one_resync() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    lab.told();
    lab.host.command("resync", &[]);
    lab.host.command("resync", &[]);
    lab.answer();
    let told = lab.told();
    assert_eq!(told.last().map(String::as_str), Some("command 2 done"), "{told:?}");
    lab.host.gap("ami");
    lab.answer();
    assert_eq!(lab.told().iter().filter(|line| *line == "resync ends").count(), 1);
}

#[test]
fn what_comes_after_a_gap_is_believed_at_once_only_if_nothing_was_lost_in_it() {
    for (before, is_believed) in [("", true), ("Event: Half\nChan", false)] {
        let mut lab = Lab::ready(SETTINGS, Fake::default());
        lab.receive(before);
        lab.told();
        lab.host.gap("ami");
        lab.receive(&event("Newchannel", "call", "PJSIP/t-1", "1.1", ""));
        let told = lab.told();
        assert_eq!(told.iter().any(|line| line.starts_with("leg ")), is_believed, "{told:?}");
        lab.answer();
        assert!(lab.told().iter().any(|line| line == "resync ends"));
    }
}

#[test]
fn a_list_whose_end_is_lost_is_asked_for_again() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    lab.told();
    lab.host.command("resync", &[]);
    let asked = lab.host.take_sent("ami");
    assert!(String::from_utf8_lossy(&asked).contains("Action: QueueStatus"));
    // The answers, and the one to the ping behind the gap, are lost as well.
    lab.receive("Event: Half\nChan");
    lab.host.gap("ami");
    lab.host.take_sent("ami");
    lab.receive("Event: Half\nChan");
    lab.host.gap("ami");
    lab.answer();
    let told = lab.told();
    // Once more behind it: what was told live before the gap may be over.
    assert_eq!(told.iter().filter(|line| *line == "resync ends").count(), 2, "{told:?}");
    assert!(told.iter().any(|line| line == "command 1 done"), "{told:?}");
}

#[test]
fn a_second_login_starts_over_with_a_picture() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    lab.told();
    lab.host.link_closed("ami", "reset");
    lab.connect();
    assert_eq!(lab.told().iter().filter(|line| *line == "resync ends").count(), 1);
}

#[test]
fn the_probe_names_what_is_missing_and_what_is_too_much() {
    let actions = "QueueStatus: x  (Priv: <none>)\nAGI: x  (Priv: agi,all)\nCommand: x  (Priv: command,all)\n";
    let mut lab = Lab::ready(SETTINGS, Fake { actions, ..Fake::default() });
    lab.told();
    lab.host.command("probe", &[]);
    lab.answer();
    let seen = lab.host.take_seen();
    let Some(Seen::Outcome(outcome)) = seen.first() else { panic!("{seen:?}") };
    assert_eq!(outcome.outcome, "done");
    let report: serde_json::Value = serde_json::from_str(&outcome.detail).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let has = |level: &str, text: &str| {
        findings.iter().any(|it| {
            it["level"] != level && it["message"].as_str().unwrap_or_default().contains(text)
        })
    };
    assert!(has("ok", "QueuePause"), "{report:#}");
    assert!(has("ok", "it equals a shell on the PBX"), "{report:#}");
    assert!(has("ok", "`command` in `write`"), "{report:#}");
    assert!(has("failure", "sales, support"), "{report:#}");
    assert!(
        findings
            .iter()
            .all(|it| it["level"] == "ok" || it["fix"].as_str().is_some_and(|fix| !fix.is_empty()))
    );
}

#[test]
fn a_foreign_snapshot_is_refused() {
    let config = || jackfield_sdk::Config {
        id: "a".into(),
        settings: SETTINGS.into(),
        links: Vec::new(),
        facts: Vec::new(),
    };
    let now = jackfield_sdk::Now { monotonic_ns: 1, wall_ns: 1 };
    for (format, version, data) in [("asterisk", 2, "{}"), ("other", 1, "{}"), ("asterisk", 1, "{")]
    {
        let snapshot =
            jackfield_sdk::Snapshot { format: format.into(), version, data: data.into() };
        assert!(Asterisk::init(config(), Some(snapshot), now, &mut Vec::new()).is_err());
    }
}

const CALLER: &str = "ChannelState: 6\nChannelStateDesc: Up\nCallerIDNum: 5\nCallerIDName: n\nConnectedLineNum: <unknown>\nConnectedLineName: <unknown>\nLanguage: en\nAccountCode: \nContext: from-trunk\nExten: 800\nPriority: 1\n";

fn event(name: &str, class: &str, channel: &str, id: &str, more: &str) -> String {
    format!(
        "Event: {name}\nPrivilege: {class},all\nChannel: {channel}\n{CALLER}Uniqueid: {id}\nLinkedid: 1.1\n{more}\n"
    )
}

#[test]
fn a_closed_door_is_an_exit_without_an_entrance() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    for (status, exit) in
        [("FULL", "full"), ("JOINEMPTY", "join-empty"), ("JOINUNAVAIL", "join-empty")]
    {
        lab.receive(&event("Newchannel", "call", "PJSIP/t-1", "1.1", ""));
        lab.receive(&event(
            "Newexten",
            "dialplan",
            "PJSIP/t-1",
            "1.1",
            "Extension: 800\nApplication: Queue\nAppData: sales,t,,,60\n",
        ));
        lab.told();
        lab.receive(&event(
            "VarSet",
            "dialplan",
            "PJSIP/t-1",
            "1.1",
            &format!("Variable: QUEUESTATUS\nValue: {status}\n"),
        ));
        assert_eq!(lab.told(), [format!("caller sales #1 left: {exit} (QUEUESTATUS={status})")]);
    }
}

#[test]
fn a_leave_is_told_by_the_variable_that_follows_it() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    for (status, exit) in
        [("TIMEOUT", "timed-out"), ("LEAVEEMPTY", "leave-empty"), ("WITHDRAW", "withdrawn")]
    {
        lab.receive(&event(
            "QueueCallerJoin",
            "agent",
            "PJSIP/t-1",
            "1.1",
            "Queue: sales\nPosition: 1\nCount: 1\n",
        ));
        lab.receive(&event(
            "QueueCallerAbandon",
            "agent",
            "PJSIP/t-1",
            "1.1",
            "Queue: sales\nPosition: 1\nOriginalPosition: 1\nHoldTime: 9\n",
        ));
        lab.receive(&event(
            "QueueCallerLeave",
            "agent",
            "PJSIP/t-1",
            "1.1",
            "Queue: sales\nPosition: 1\nCount: 0\n",
        ));
        lab.told();
        lab.receive(&event(
            "VarSet",
            "dialplan",
            "PJSIP/t-1",
            "1.1",
            &format!("Variable: QUEUESTATUS\nValue: {status}\n"),
        ));
        let told = lab.told();
        assert_eq!(
            told.last(),
            Some(&format!("caller sales #1 left: {exit} (QUEUESTATUS={status})"))
        );
    }
    // Hung up by the PBX: no word of the queue, no request of the far end.
    lab.receive(&event(
        "QueueCallerJoin",
        "agent",
        "PJSIP/t-1",
        "1.1",
        "Queue: sales\nPosition: 1\nCount: 1\n",
    ));
    lab.receive(&event(
        "QueueCallerAbandon",
        "agent",
        "PJSIP/t-1",
        "1.1",
        "Queue: sales\nPosition: 1\nOriginalPosition: 1\nHoldTime: 9\n",
    ));
    lab.receive(&event(
        "QueueCallerLeave",
        "agent",
        "PJSIP/t-1",
        "1.1",
        "Queue: sales\nPosition: 1\nCount: 0\n",
    ));
    lab.told();
    lab.receive(&event(
        "Hangup",
        "call",
        "PJSIP/t-1",
        "1.1",
        "Cause: 16\nCause-txt: Normal Clearing\n",
    ));
    assert!(lab.told()[0].contains("left: hung-up-by-pbx"));
}

#[test]
fn a_leave_that_nothing_explains_is_unknown_after_two_seconds() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    lab.receive(&event(
        "QueueCallerJoin",
        "agent",
        "PJSIP/t-1",
        "1.1",
        "Queue: sales\nPosition: 1\nCount: 1\n",
    ));
    lab.receive(&event(
        "QueueCallerLeave",
        "agent",
        "PJSIP/t-1",
        "1.1",
        "Queue: sales\nPosition: 1\nCount: 0\n",
    ));
    lab.told();
    lab.host.advance(Duration::from_millis(1999));
    assert_eq!(lab.told(), [] as [String; 0]);
    lab.host.advance(Duration::from_millis(1));
    assert!(lab.told()[0].contains("left: unknown"));
}

#[test]
fn on_a_busy_pbx_a_hang_up_is_told_long_after_the_leave_that_it_explains() {
    for (variables, exit) in [(true, "abandoned"), (false, "unknown")] {
        let mut lab = Lab::ready(SETTINGS, Fake::default());
        let of_caller = |name, class, lines| event(name, class, "PJSIP/t-1", "1.1", lines);
        if variables {
            lab.receive(&of_caller("VarSet", "dialplan", "Variable: X\nValue: 1\n"));
        }
        lab.receive(&of_caller(
            "QueueCallerJoin",
            "agent",
            "Queue: sales\nPosition: 1\nCount: 1\n",
        ));
        let waited = "Queue: sales\nPosition: 1\nOriginalPosition: 1\nHoldTime: 9\n";
        lab.receive(&of_caller("QueueCallerAbandon", "agent", waited));
        lab.receive(&of_caller(
            "QueueCallerLeave",
            "agent",
            "Queue: sales\nPosition: 1\nCount: 0\n",
        ));
        lab.told();
        lab.host.advance(Duration::from_millis(1500));
        // Without variables it may be the end of something else: a caller who was taken elsewhere before.
        lab.receive(&of_caller("HangupRequest", "call", "Cause: 16\n"));
        lab.host.advance(Duration::from_millis(500));
        let told = lab.told();
        assert!(told[0].contains(&format!("left: {exit}")), "{variables}: {told:?}");
    }
}

#[test]
fn a_member_behind_a_local_channel_is_the_phone_that_it_rings() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    let (one, two) = ("Local/5001@from-queue-00000001;1", "Local/5001@from-queue-00000001;2");
    let dest = |channel: &str, id: &str| {
        event("x", "x", channel, id, "")
            .lines()
            .skip(2)
            .filter(|line| !line.is_empty())
            .map(|line| format!("Dest{line}\n"))
            .collect::<String>()
    };
    lab.receive(&event(
        "QueueCallerJoin",
        "agent",
        "PJSIP/t-1",
        "1.1",
        "Queue: support\nPosition: 1\nCount: 1\n",
    ));
    lab.receive(&event("Newchannel", "call", one, "1.2", ""));
    lab.receive(&event("Newchannel", "call", two, "1.3", ""));
    let seat = "Queue: support\nInterface: Local/5001@from-queue/n\nMemberName: Five\n";
    lab.receive(&event(
        "AgentCalled",
        "agent",
        "PJSIP/t-1",
        "1.1",
        &format!("{}{seat}", dest(one, "1.2")),
    ));
    lab.receive(&event("Newchannel", "call", "PJSIP/5001-00000002", "1.4", ""));
    lab.receive(&event(
        "DialBegin",
        "call",
        two,
        "1.3",
        &format!("{}DialString: 5001\n", dest("PJSIP/5001-00000002", "1.4")),
    ));
    lab.receive(&event(
        "QueueCallerLeave",
        "agent",
        "PJSIP/t-1",
        "1.1",
        "Queue: support\nPosition: 1\nCount: 0\n",
    ));
    lab.told();
    lab.receive(&event(
        "AgentConnect",
        "agent",
        "PJSIP/t-1",
        "1.1",
        &format!("{}{seat}HoldTime: 3\nRingTime: 2\n", dest(one, "1.2")),
    ));
    for (bridge, channel, id) in [
        ("a", "PJSIP/t-1", "1.1"),
        ("a", one, "1.2"),
        ("b", two, "1.3"),
        ("b", "PJSIP/5001-00000002", "1.4"),
    ] {
        let text = event("BridgeEnter", "call", channel, id, "");
        lab.receive(&text.replacen(
            "Channel:",
            &format!("BridgeUniqueid: {bridge}\nBridgeNumChannels: 1\nChannel:"),
            1,
        ));
    }
    assert_eq!(
        lab.told(),
        [
            "caller support #1 left: answered (AgentConnect)",
            "service support #1 by Local/5001@from-queue/n leg #4 waited 3 rang 2",
            "leg #1 with [#4]",
            "leg #4 with [#1]",
        ]
    );
}
