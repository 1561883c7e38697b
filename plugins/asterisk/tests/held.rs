//! Callers who are held, without a PBX: a recorded stay with its instructions, and what goes wrong.
//!
//! `transcripts/held/<name>.ami` is what a real Asterisk told (`+ms` lines say when) and which instructions it was given
//! then (`> kind`, arguments behind tabs); `<name>.facts` is what must be told. `tests/tests/held.rs` of the repository
//! writes such a recording.

#[path = "held/stage.rs"]
mod stage;
mod support;

use jackfield_sdk::{Fact, mock::Seen};
use stage::*;
use support::{Lab, SETTINGS, line};

#[test]
fn a_recorded_stay_tells_its_facts_and_how_each_instruction_ended() {
    assert_eq!(replayed(0, false), expected("talked.facts"));
}

#[test]
fn neither_the_pieces_of_its_bytes_nor_a_swap_after_each_step_change_anything() {
    let whole = expected("talked.facts");
    assert_eq!(replayed(7, false), whole);
    assert_eq!(replayed(1000, true), whole);
}

#[test]
fn a_split_anywhere_in_a_frame_changes_nothing() {
    let whole = start(&["main", "720", "queue", "TIMEOUT", "TARIFF=gold"]);
    let bytes = whole.replace('\n', "\r\n").into_bytes();
    for split in 0..=bytes.len() {
        let mut lab = ready(SETTINGS);
        lab.host.receive("ami", &bytes[..split]);
        lab.host.swap().expect("in mid-frame too");
        lab.host.receive("ami", &bytes[split..]);
        let told = lab.host.take_seen();
        let Some(Seen::Fact(_, Fact::LegOffered(offered))) = told.last() else {
            panic!("{told:?}")
        };
        assert_eq!((offered.entry.as_str(), offered.dialled.as_str()), ("main", "720"));
        assert_eq!(
            (offered.returned_from.as_str(), offered.outcome.as_str()),
            ("queue", "timed-out")
        );
        assert!(offered.facts.contains(&("variable.TARIFF".into(), "gold".into())));
    }
}

#[test]
fn a_leg_is_known_before_it_is_offered() {
    let mut lab = ready(SETTINGS);
    lab.receive(&start(&["main", "720", "", ""]));
    let told = lab.told();
    assert!(told[0].starts_with("leg #1 "), "{told:?}");
    assert!(told[1].starts_with("offered"), "{told:?}");
}

#[test]
fn an_environment_that_a_caller_wrote_into_is_not_believed() {
    let forged = "5\nagi_calleridname: x\nagi_callingpres: 0\nagi_callingani2: 0\nagi_callington: 0\nagi_callingtns: 0\nagi_dnid: 720\nagi_rdnis: unknown\nagi_context: jackfield\nagi_extension: held\nagi_priority: 3\nagi_enhanced: 0.0\nagi_accountcode: \nagi_threadid: 1\nagi_arg_1: vip";
    for number in [forged, "5\nagi_arg_1: vip", "5\n\n"] {
        let mut lab = ready(SETTINGS);
        let env = env(number, &["main", "720", "", ""]);
        lab.receive(&event("AsyncAGIStart", "agi", &format!("Env: {env}\n")));
        let told = lab.told();
        assert!(told.iter().any(|line| line.starts_with("notice forged-input")), "{told:?}");
        assert!(told.iter().all(|line| !line.starts_with("offered")), "{told:?}");
    }
    // Longer than any, and no percent-encoding.
    for env in ["a".repeat(10_000), "%4".into(), "%zz".into()] {
        let mut lab = ready(SETTINGS);
        lab.receive(&event("AsyncAGIStart", "agi", &format!("Env: {env}\n")));
        assert!(lab.told().iter().all(|line| !line.starts_with("offered")));
    }
}

#[test]
fn nothing_that_could_mean_more_to_the_pbx_is_sent() {
    let mut lab = held();
    let long = "x".repeat(513);
    let bad = [
        ("leg-play", "media", "a\r\nAction: Originate"),
        ("leg-play", "media", "a,noanswer"),
        ("leg-play", "media", "a b"),
        ("leg-play", "media", "../../etc/passwd"),
        ("leg-play", "media", "/var/spool/asterisk/voicemail/x"),
        ("leg-play", "media", "http://example.org/a"),
        ("leg-music", "class", "a\" EXEC System x"),
        ("leg-to-queue", "queue", "support,t,,,1"),
        ("leg-to-queue", "queue", "support&sales"),
        ("leg-to-queue", "queue", "${SHELL(x)}"),
        ("leg-to-extension", "extension", "1001&PJSIP/1002"),
        ("leg-to-extension", "extension", "1001,60,t"),
        ("leg-to-dialplan", "context", "a,b"),
        ("leg-set", "variable.SHELL(x)", "1"),
        ("leg-set", "variable.JACKFIELD_QUEUE", "x"),
        ("leg-set", "variable.__QUEUESTATUS", "TIMEOUT"),
        ("leg-set", "variable.A", "1\nAction: Ping"),
        ("leg-set", "variable.A", &long),
        ("leg-set", "variable.__MONITOR_EXEC", "rm"),
        ("leg-set", "variable.MixMonitor_Filename", "x"),
        ("leg-set", "variable.TRANSFER_CONTEXT", "outbound"),
        ("leg-set", "variable.__FORWARD_CONTEXT", "outbound"),
        ("leg-set", "variable.GOTO_ON_BLINDXFR", "outbound^1^1"),
        ("leg-set", "variable.QUEUE_PRIO", "9"),
        ("leg-set", "language", "de/../en"),
        ("leg-hang-up", "q850", "-1"),
        ("leg-lease", "secs", "99999999"),
        ("leg-listen", "on", "maybe"),
        ("leg-dance", "class", ""),
    ];
    for (kind, name, value) in bad {
        let mut arguments = vec![("leg", LEG), (name, value)];
        if kind == "leg-to-dialplan" {
            arguments.push(("extension", "1"));
        }
        lab.host.command(kind, &arguments);
        let told = lab.told();
        assert_eq!(told.len(), 1, "{kind} {value}: {told:?}");
        assert!(told[0].contains(" rejected "), "{kind} {value}: {told:?}");
    }
    assert_eq!(sent(&mut lab), [] as [&str; 0]);
}

#[test]
fn music_comes_back_after_an_announcement_and_not_after_silence() {
    let mut lab = held();
    lab.host.command("leg-music", &[("leg", LEG), ("class", "jazz")]);
    executed(&mut lab, "200 result=0");
    lab.host.command("leg-play", &[("leg", LEG), ("media", "hello"), ("media", "there")]);
    executed(&mut lab, "200 result=0");
    executed(&mut lab, "200 result=1 (SUCCESS)");
    assert_eq!(lab.told(), ["command 1 done", "command 2 done"]);
    executed(&mut lab, "200 result=0");
    assert_eq!(
        sent(&mut lab),
        [
            "AGI SET MUSIC ON jazz",
            "AGI EXEC Playback hello&there,noanswer",
            "AGI GET VARIABLE PLAYBACKSTATUS",
            "AGI SET MUSIC ON jazz",
        ]
    );
    lab.host.command("leg-silence", &[("leg", LEG)]);
    executed(&mut lab, "200 result=0");
    lab.host.command("leg-play", &[("leg", LEG), ("media", "nowhere")]);
    executed(&mut lab, "200 result=0");
    executed(&mut lab, "200 result=1 (FAILED)");
    let told = lab.told();
    assert_eq!(told[0], "command 3 done");
    assert!(told[1].starts_with("command 4 failed media-not-found"), "{told:?}");
    assert_eq!(sent(&mut lab).last().map(String::as_str), Some("AGI GET VARIABLE PLAYBACKSTATUS"));
}

#[test]
fn a_number_is_said_in_the_language_that_was_asked_for() {
    let mut lab = held();
    let say = [("leg", LEG), ("kind", "number"), ("value", "42"), ("language", "de")];
    lab.host.command("leg-say", &say);
    for _ in 0..3 {
        executed(&mut lab, "200 result=1");
    }
    assert_eq!(
        sent(&mut lab),
        [
            "AGI SET VARIABLE CHANNEL(language) \"de\"",
            "AGI EXEC SayNumber 42",
            "AGI SET VARIABLE CHANNEL(language) \"en\"",
        ]
    );
    assert_eq!(lab.told(), ["command 1 done"]);
}

#[test]
fn keys_are_told_only_while_somebody_listens() {
    let mut lab = held();
    let key = |digit: &str, way: &str| {
        event("DTMFEnd", "dtmf", &format!("Digit: {digit}\nDurationMs: 120\nDirection: {way}\n"))
    };
    lab.receive(&key("4", "Received"));
    assert_eq!(lab.told(), [] as [&str; 0]);
    lab.host.command("leg-listen", &[("leg", LEG), ("on", "true")]);
    lab.receive(&key("#", "Received"));
    lab.receive(&key("5", "Sent"));
    lab.receive(&key("x", "Received"));
    lab.host.command("leg-listen", &[("leg", LEG), ("on", "false")]);
    lab.receive(&key("6", "Received"));
    assert_eq!(lab.told(), ["command 1 done", &format!("key {LEG} #"), "command 2 done"]);
}

#[test]
fn a_caller_who_hangs_up_ends_what_runs_and_what_waits_once_each() {
    for swapping in [false, true] {
        let mut lab = held();
        if swapping {
            lab.host.swap_at_every_step();
        }
        for _ in 0..3 {
            lab.host.command("leg-play", &[("leg", LEG), ("media", "hello")]);
        }
        lab.answer();
        lab.receive(&event("HangupRequest", "call", "Cause: 16\n"));
        executed(&mut lab, "200 result=-1");
        lab.receive(&event("AsyncAGIEnd", "agi", ""));
        lab.receive(&event("Hangup", "call", "Cause: 16\nCause-txt: Normal Clearing\n"));
        let told = lab.told();
        let gone = |id| format!("command {id} failed hung-up: the caller is gone");
        assert_eq!(told[..3], [gone(1), gone(2), gone(3)]);
        assert_eq!(told[3], format!("released {LEG} \"hung-up\""));
        assert!(told[4].starts_with("leg #1 ended"), "{told:?}");
        assert_eq!(lab.host.pending_commands().count(), 0);
        assert_eq!(sent(&mut lab).len(), 1, "what waited was never sent");
    }
}

#[test]
fn a_hand_over_sets_its_variables_and_then_redirects() {
    let mut lab = held();
    lab.host.command("leg-play", &[("leg", LEG), ("media", "hello")]);
    lab.answer();
    lab.fake.heard.clear();
    let queue = [
        ("leg", LEG),
        ("queue", "support"),
        ("priority", "5"),
        ("timeout-secs", "20"),
        ("variable.A", "1"),
    ];
    lab.host.command("leg-to-queue", &queue);
    assert_eq!(
        sent(&mut lab),
        [
            "Setvar A 1",
            "Setvar QUEUE_PRIO 5",
            "Setvar JACKFIELD_QUEUE support",
            "Setvar JACKFIELD_TIMEOUT 20",
            "Redirect jackfield queue 1",
        ]
    );
    lab.host.command("leg-music", &[("leg", LEG)]);
    lab.receive(&event("AsyncAGIEnd", "agi", ""));
    assert_eq!(
        lab.told(),
        [
            "command 2 done",
            "command 3 failed not-held: the caller waits for no instructions now",
            "command 1 failed interrupted: the caller went on before it was done",
            &format!("released {LEG} \"handed-over\""),
        ]
    );
    // Out of the queue again.
    lab.receive(&start(&["main", "720", "queue", "LEAVEEMPTY"]));
    assert_eq!(lab.told(), [format!("offered {LEG} \"main\" \"720\" \"queue\" \"leave-empty\"")]);
}

#[test]
fn a_caller_waits_with_the_priority_they_were_handed_over_with() {
    for swapping in [false, true] {
        let mut lab = held();
        if swapping {
            lab.host.swap_at_every_step();
        }
        let mut joins = |arguments: &[(&str, &str)]| {
            lab.host.command("leg-to-queue", arguments);
            lab.answer();
            lab.receive(&event("AsyncAGIEnd", "agi", ""));
            let join = "Queue: support\nPosition: 1\nCount: 1\n";
            lab.receive(&event("QueueCallerJoin", "agent", join));
            let told = lab.told().pop();
            lab.receive(&event(
                "QueueCallerLeave",
                "agent",
                "Queue: support\nPosition: 1\nCount: 0\n",
            ));
            lab.receive(&start(&["main", "720", "queue", "TIMEOUT"]));
            lab.told();
            told.expect("they joined")
        };
        let joined = "caller support #1 joined at 1 waited 0";
        let (leg, queue) = (("leg", LEG), ("queue", "support"));
        assert_eq!(joins(&[leg, queue, ("priority", "5")]), format!("{joined} priority 5"));
        assert_eq!(joins(&[leg, queue, ("priority", "-2")]), format!("{joined} priority -2"));
        // Without one the channel's is taken away.
        assert_eq!(joins(&[leg, queue]), joined);
    }
}

#[test]
fn a_queue_that_the_pbx_does_not_have_keeps_the_caller() {
    let mut lab = held();
    lab.fake.answers.push(("Getvar", "Response: Success\nVariable: x\nValue: 0\n"));
    lab.host.command("leg-to-queue", &[("leg", LEG), ("queue", "nowhere")]);
    assert_eq!(sent(&mut lab), ["Getvar QUEUE_EXISTS(nowhere)"]);
    assert_eq!(lab.told(), ["command 1 failed no-such-queue: the PBX has no queue named nowhere"]);
    lab.host.command("leg-continue", &[("leg", LEG)]);
    assert_eq!(sent(&mut lab), ["Redirect jackfield continue 1"]);
}

#[test]
fn what_the_pbx_refuses_is_said_and_the_caller_stays() {
    let mut lab = held();
    lab.fake.answers.retain(|(action, _)| *action != "Redirect" && *action != "AGI");
    lab.fake.answers.push(("Redirect", "Response: Error\nMessage: Permission denied\n"));
    lab.fake.answers.push(("AGI", "Response: Error\nMessage: Permission denied\n"));
    for kind in ["leg-continue", "leg-answer"] {
        lab.host.command(kind, &[("leg", LEG)]);
        lab.answer();
        let told = lab.told();
        assert!(told[0].contains("failed permission-denied"), "{told:?}");
        assert!(told[0].contains("`agi`"), "{told:?}");
    }
    lab.host.command("leg-listen", &[("leg", LEG), ("on", "true")]);
    assert_eq!(lab.told(), ["command 3 done"]);
}

#[test]
fn an_answer_that_got_lost_is_found_out_by_one_behind_it() {
    let mut lab = held();
    lab.host.command("leg-play", &[("leg", LEG), ("media", "hello")]);
    lab.answer();
    // Bytes are lost, and the answer with them; the look at everything that follows shows the caller in the same place.
    let mut place = event("CoreShowChannel", "x", "").replace("Privilege: x,all\n", "ACTIONID\n");
    place = place.trim_end().to_owned()
        + "\nApplication: Playback\nApplicationData: hello,noanswer\nDuration: 00:00:01\nBridgeId: \n";
    lab.fake.lists.push(("CoreShowChannels", place));
    lab.host.receive("ami", b"Event: AsyncAGIExec\r\n");
    lab.host.gap("ami");
    lab.receive("rest: of it\n\n");
    lab.answer();
    lab.advance(6000);
    assert!(lab.fake.heard.contains("Command: NOOP"));
    assert!(lab.told().iter().all(|line| !line.starts_with("command")));
    executed(&mut lab, "200 result=0");
    let told = lab.told();
    assert!(told[0].starts_with("command 1 unknown answer-lost"), "{told:?}");
    lab.fake.heard.clear();
    lab.host.command("leg-music", &[("leg", LEG)]);
    assert_eq!(sent(&mut lab), ["AGI SET MUSIC ON"], "the next one runs");
}

#[test]
fn who_was_held_before_the_link_broke_is_offered_again_by_what_the_list_shows() {
    for (application, data) in [("AGI", "agi:async,main,720,,"), ("Playback", "hello,noanswer")] {
        let mut lab = held();
        lab.host.command("leg-play", &[("leg", LEG), ("media", "hello")]);
        lab.answer();
        let item = event("CoreShowChannel", "x", "").replace("Privilege: x,all\n", "ACTIONID\n");
        let item = item.trim_end().to_owned()
            + &format!(
                "\nApplication: {application}\nApplicationData: {data}\nDuration: 00:00:01\nBridgeId: \n"
            );
        lab.fake.lists.push(("CoreShowChannels", item));
        lab.fake
            .answers
            .push(("Getvar", "Response: Success\nVariable: x\nValue: main,720,,,,,,\n"));
        lab.host.link_closed("ami", "cut");
        let told = lab.told();
        assert!(told[0].starts_with("command 1 unknown link-lost"), "{told:?}");
        lab.connect();
        let told = lab.told();
        assert_eq!(offers(&told), [format!("  has offered {LEG} \"main\" \"720\" \"\" \"\"")]);
        assert!(told.iter().any(|line| line.starts_with("resync all begins")));
    }
}

#[test]
fn a_picture_names_who_is_held_before_it_ends_and_what_they_were_offered_with() {
    let mut lab = ready(SETTINGS);
    lab.receive(&start(&["main", "720", "queue", "TIMEOUT"]));
    lab.answer();
    lab.told();
    let item = format!("  has offered {LEG} \"main\" \"720\" \"queue\" \"timed-out\"");
    // In AsyncAGI, in an announcement, and in a picture that cannot be believed in full.
    for (application, data) in [("AGI", "agi:async,main,720,queue,TIMEOUT"), ("Playback", "hello")]
    {
        lab.fake.lists = vec![("CoreShowChannels", shown(application, data))];
        lab.host.command("resync", &[]);
        lab.answer();
        let told = lab.told();
        assert_eq!(offers(&told), std::slice::from_ref(&item), "{told:?}");
        let at = |start: &str| told.iter().position(|line| line.starts_with(start));
        assert!(at("  has leg") < at("  has offered"), "{told:?}");
        assert!(at("  has offered") < at("resync ends"), "{told:?}");
        assert!(at("released").is_none(), "{told:?}");
    }
    lab.host.command("resync", &[]);
    lab.receive("Nonsense: of a caller\n\n");
    lab.answer();
    let told = lab.told();
    assert!(offers(&told).contains(&item), "{told:?}");
    assert!(!told.iter().any(|line| line.starts_with("released")), "{told:?}");
}

#[test]
fn a_picture_waits_for_what_a_found_caller_came_with_and_not_for_ever() {
    for answers in [true, false] {
        let mut lab = Lab::new(SETTINGS, fake());
        lab.fake.lists.push(("CoreShowChannels", shown("Playback", "hello")));
        let offer = "Response: Success\nVariable: x\nValue: main,720,queue,TIMEOUT,,,,\n";
        lab.fake.answers.push(("Getvar", if answers { offer } else { "" }));
        lab.connect();
        let ends = |told: &[String]| told.iter().any(|line| line.starts_with("resync ends"));
        let mut told = lab.told();
        assert_eq!(ends(&told), answers, "{told:?}");
        if answers {
            let item = format!("  has offered {LEG} \"main\" \"720\" \"queue\" \"timed-out\"");
            assert_eq!(offers(&told), [item]);
            continue;
        }
        lab.advance(6000);
        told = lab.told();
        assert!(ends(&told), "{told:?}");
        assert!(offers(&told).is_empty(), "{told:?}");
    }
}

#[test]
fn who_listens_and_hears_music_does_so_after_the_link_broke() {
    let mut lab = held();
    lab.host.command("leg-listen", &[("leg", LEG), ("on", "true")]);
    lab.host.command("leg-music", &[("leg", LEG), ("class", "jazz")]);
    executed(&mut lab, "200 result=0");
    lab.host.link_closed("ami", "cut");
    lab.fake.lists.push(("CoreShowChannels", shown("AGI", "agi:async,main,720,,")));
    lab.connect();
    lab.told();
    lab.receive(&event("DTMFEnd", "dtmf", "Digit: 4\nDurationMs: 90\nDirection: Received\n"));
    assert_eq!(lab.told(), [format!("key {LEG} 4")]);
    lab.fake.heard.clear();
    lab.host.command("leg-say", &[("leg", LEG), ("kind", "digits"), ("value", "1")]);
    executed(&mut lab, "200 result=0");
    assert_eq!(sent(&mut lab), ["AGI EXEC SayDigits 1", "AGI SET MUSIC ON jazz"]);
}

#[test]
fn until_the_picture_shows_who_is_still_held_nothing_is_done_to_them() {
    let mut lab = held();
    lab.host.link_closed("ami", "cut");
    // What they came with is never told, so that the picture waits.
    lab.fake.answers.push(("Getvar", ""));
    lab.fake.lists.push(("CoreShowChannels", shown("Playback", "hello")));
    lab.connect();
    lab.told();
    lab.fake.heard.clear();
    let instructions = [("leg-lease", "secs", "45"), ("leg-to-queue", "queue", "support")];
    for (index, (kind, name, value)) in instructions.into_iter().enumerate() {
        lab.host.command(kind, &[("leg", LEG), (name, value)]);
        let told = lab.told();
        let failed = format!("command {} failed not-connected", index + 1);
        assert!(told[0].starts_with(&failed), "{told:?}");
    }
    assert_eq!(sent(&mut lab), [] as [&str; 0]);
}

#[test]
fn who_went_on_while_the_link_was_down_is_released() {
    let mut lab = held();
    lab.host.link_closed("ami", "cut");
    let item = event("CoreShowChannel", "x", "").replace("Privilege: x,all\n", "ACTIONID\n");
    let item = item.trim_end().replace("Exten: held", "Exten: T")
        + "\nApplication: Queue\nApplicationData: fallback,t\nDuration: 00:00:01\nBridgeId: \n";
    lab.fake.lists.push(("CoreShowChannels", item));
    lab.connect();
    let told = lab.told();
    assert!(told.contains(&format!("released {LEG} \"went-on\"")), "{told:?}");
}

#[test]
fn an_instruction_for_nobody_or_without_a_link_fails() {
    let mut lab = ready(SETTINGS);
    lab.host.command("leg-answer", &[("leg", "1.1")]);
    lab.host.link_closed("ami", "cut");
    lab.host.command("leg-answer", &[("leg", "1.1")]);
    let told: Vec<String> = lab.host.take_seen().iter().map(line).collect();
    assert!(told[0].starts_with("command 1 failed not-held"), "{told:?}");
    assert!(told[1].starts_with("command 2 failed not-connected"), "{told:?}");
}
