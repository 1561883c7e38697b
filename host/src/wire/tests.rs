use std::collections::BTreeSet;

use calls::{Body as B, CallId, LegId, Timestamp, event, fact};

use super::*;

#[test]
fn every_event_reads_back_as_itself() {
    for body in samples() {
        let event = around(body);
        let json = Event::from(&event).to_json();
        assert_eq!(read_event(SCHEMA, &json).expect(&json), event, "{json}");
    }
}

#[test]
fn the_samples_show_every_type_there_is() {
    let shown: BTreeSet<_> = samples().iter().map(type_of).collect();
    assert_eq!(shown, TYPES.iter().copied().collect());
    for body in samples() {
        let json = serde_json::to_value(Event::from(&around(body.clone()))).unwrap();
        assert_eq!(json["type"], type_of(&body));
        assert!(json["data"].is_object(), "{json}");
    }
}

#[test]
fn the_page_of_the_api_names_every_type_and_no_other() {
    let page = include_str!("../../docs/api.md");
    let (_, types) = page.split_once("### Types\n").expect("the heading");
    let rows = types.lines().skip_while(|line| !line.starts_with('|')).skip(2);
    let mut named = BTreeSet::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cell = row.split('|').nth(1).expect("a first cell");
        let mut group = "";
        // `call.started`, `.ended`: the second is of the same group.
        for word in cell.split('`').skip(1).step_by(2) {
            match word.strip_prefix('.') {
                Some(rest) => named.insert(format!("{group}.{rest}")),
                None => {
                    group = word.split('.').next().expect("a word");
                    named.insert(word.to_owned())
                }
            };
        }
    }
    let all = TYPES.iter().map(|kind| (*kind).to_owned()).collect();
    assert_eq!(named, all);
}

#[test]
fn a_left_caller_looks_like_this() {
    let event = around(B::CallerLeft {
        exit: fact::QueueExit::Abandoned,
        evidence: "hangup".into(),
        waited_ms: 1500,
        offered: true,
    });
    assert_eq!(
        Event::from(&event).to_json(),
        r#"{"seq":7,"call_seq":2,"at":"2026-11-21T20:00:00.123456Z","at_pbx":"2026-11-21T20:00:00.000000Z","connector":"hq","call":"call-1","leg":"leg-2","agent":"anna","queue":"queue-3","entry":"entry-4","extension":"ext-5","command":"cmd-6","inferred":false,"actor":{"kind":"pbx","plugin":"asterisk 0.1.0"},"type":"caller.left","data":{"exit":"abandoned","evidence":"hangup","waited_ms":1500,"offered":true}}"#
    );
}

#[test]
fn a_row_of_a_newer_version_says_so() {
    let newer = read_event(SCHEMA + 1, "{}").unwrap_err().to_string();
    assert!(newer.contains("run the newer jackfield"), "{newer}");
}

#[test]
fn a_foreign_row_is_an_error_not_a_panic() {
    for text in ["", "{}", "[]", r#"{"seq":1}"#, "\u{0}"] {
        assert!(read_event(SCHEMA, text).is_err(), "{text}");
    }
    let json = Event::from(&around(B::AgentRemoved)).to_json();
    assert!(read_event(SCHEMA, &json.replace("call-1", "1")).is_err());
    assert!(read_event(SCHEMA, &json.replace("2026-", "1926-")).is_err());
}

fn around(body: B) -> calls::Event {
    calls::Event {
        seq: 7,
        call_seq: Some(2),
        at: Timestamp(1_795_291_200_123_456_000),
        at_pbx: Some(Timestamp(1_795_291_200_000_000_000)),
        connector: Some("hq".into()),
        about: event::About {
            call: Some(CallId(1)),
            leg: Some(LegId(2)),
            agent: Some("anna".into()),
            queue: Some(calls::QueueId(3)),
            entry: Some(calls::EntryId(4)),
            extension: Some(calls::ExtensionId(5)),
            command: Some(calls::CommandId(6)),
        },
        inferred: false,
        actor: calls::Actor::Pbx { plugin: "asterisk 0.1.0".into() },
        body,
    }
}

/// One value of every variant, and both of those whose type depends on the value.
pub(crate) fn samples() -> Vec<B> {
    let at = Timestamp(1_795_291_200_000_000_000);
    let party = event::Party {
        raw: "030 1234567".into(),
        e164: Some("+49301234567".into()),
        extension: None,
        name: Some("Zoë \"Z\" O'Neil\r\n".into()),
        presentation: fact::Presentation::Restricted,
    };
    let cause = event::Cause {
        code: event::CauseCode::Normal,
        raw: fact::RawCause { q850: 16, sip: 200, text: "Normal Clearing".into() },
    };
    let member = fact::Member {
        queue: "support".into(),
        interface: "PJSIP/1001".into(),
        state_interface: "PJSIP/1001".into(),
        extension: Some("1001".into()),
        name: "Anna".into(),
        membership: fact::Membership::Dynamic,
        penalty: 1,
        paused: true,
        pause_reason: "lunch".into(),
        state: fact::MemberState::InUse,
        in_call: false,
        calls_taken: 3,
        last_call: Some(at),
    };
    let seat = fact::MemberRef { queue: "support".into(), interface: "PJSIP/1001".into() };
    let wish = event::DesiredMember {
        state_interface: "PJSIP/1001".into(),
        name: "Anna".into(),
        penalty: 0,
        dynamic: true,
        paused: Some(String::new()),
    };
    let leg_state = |state| B::LegState { state };
    vec![
        B::ConnectorConnected {
            pbx: fact::Pbx {
                product: "Asterisk".into(),
                version: "22.10.0".into(),
                system_name: String::new(),
                started_at: Some(at),
                capabilities: vec!["pause".into()],
            },
            place: "pbx.example.org:5038".into(),
        },
        B::PbxChanged {
            pbx: fact::Pbx {
                product: "Asterisk".into(),
                version: "22.10.0".into(),
                system_name: String::new(),
                started_at: Some(at),
                capabilities: vec!["pause".into()],
            },
        },
        B::ConnectorDisconnected { reason: "closed".into() },
        B::ObservationGap { from: Timestamp(0), to: at },
        B::Resynced { scope: "all".into(), corrections: 2 },
        B::ExtensionChanged(fact::Extension {
            number: "1001".into(),
            device: "PJSIP/1001".into(),
            name: String::new(),
            state: fact::ExtensionState::Other("asleep".into()),
        }),
        B::ExtensionRemoved { number: "1001".into() },
        B::QueueChanged(fact::QueueSettings {
            name: "support".into(),
            strategy: "ringall".into(),
            max_length: 0,
            service_level_secs: 20,
            wrap_up_secs: 5,
            weight: 0,
        }),
        B::QueueRemoved { name: "support".into() },
        B::MemberAdded(member.clone()),
        B::MemberChanged(member.clone()),
        B::MemberPaused(member.clone()),
        B::MemberUnpaused(member),
        B::MemberRemoved(seat.clone()),
        B::MemberDesired { member: seat.clone(), wish: Some(wish) },
        B::MemberDesired { member: seat, wish: None },
        B::CallerJoined { position: 1, priority: -1, joined_at: at, party: party.clone() },
        B::CallerMoved { position: 2 },
        B::CallerLeft {
            exit: fact::QueueExit::TimedOut,
            evidence: "QUEUESTATUS".into(),
            waited_ms: 1,
            offered: false,
        },
        B::OfferStarted { interface: "PJSIP/1001".into(), member_leg: Some(LegId(9)) },
        B::OfferEnded {
            interface: "PJSIP/1001".into(),
            outcome: fact::OfferOutcome::Declined,
            rang_ms: 12,
        },
        B::ServiceStarted {
            interface: "PJSIP/1001".into(),
            member_leg: None,
            waited_ms: 9,
            rang_secs: 1,
        },
        B::ServiceEnded {
            interface: "PJSIP/1001".into(),
            ended_by: fact::ServiceEnd::Caller,
            talked_ms: u64::MAX,
        },
        B::CallStarted { caller: party.clone(), dialled: "1001".into() },
        B::CallMerged { into: CallId(77) },
        B::CallEnded { outcome: event::Outcome::Answered, cause: cause.clone() },
        B::LegStarted {
            native: "1.1".into(),
            direction: fact::LegDirection::ToDevice,
            device: "PJSIP/1001".into(),
            extension: None,
            state: fact::LegState::Started,
            party: party.clone(),
            dialled: String::new(),
        },
        B::LegMoved { from: CallId(1) },
        leg_state(fact::LegState::Alerting),
        leg_state(fact::LegState::Answered),
        leg_state(fact::LegState::Held),
        leg_state(fact::LegState::Resumed),
        leg_state(fact::LegState::Other("parked".into())),
        B::LegParty { party },
        B::LegPeers { with: vec![LegId(1), LegId(2)] },
        B::LegPeers { with: vec![] },
        B::LegEnded { cause, ended_by: "far-end".into() },
        B::LegOffered(calls::event::Held {
            entry: "sales".into(),
            dialled: "500".into(),
            returned_from: "queue".into(),
            outcome: "timed-out".into(),
            attempt: 2,
            facts: vec![("language".into(), "de".into())],
        }),
        B::LegReleased { reason: "handed-over".into() },
        B::CallDecided(calls::event::HookWord {
            hook: calls::event::Hook::Router,
            instance: "vip".into(),
            plugin: "skills 0.1.0".into(),
            attempt: 2,
            outcome: calls::event::HookOutcome::Decided,
            verdict: "queue:vip".into(),
            reason: "on the list".into(),
            facts: vec![("rule".into(), "vip".into())],
            took_us: 120,
        }),
        B::Transferred {
            kind: "attended".into(),
            transferer: LegId(1),
            transferee: Some(LegId(2)),
            target: "1002".into(),
            outcome: "done".into(),
        },
        B::AgentChanged(event::Agent {
            id: "anna".into(),
            name: "Anna".into(),
            external: [("rocketchat_user_id".to_owned(), "u1".to_owned())].into(),
            devices: vec![event::Device { connector: "hq".into(), extension: "1001".into() }],
            from_config: true,
        }),
        B::AgentRemoved,
        B::AgentStatus { status: event::AgentStatus::OnBreak, reason: "lunch".into() },
        B::AgentState { state: event::AgentState::WrapUp },
        B::CommandAccepted {
            kind: "pause".into(),
            arguments: vec![("queue".into(), "support".into())],
            idempotency_key: Some("k".into()),
            deadline: at,
        },
        B::CommandSent,
        B::CommandEnded {
            end: event::CommandEnd::Failed,
            problem: Some(event::Problem {
                code: "no-such-member".into(),
                message: "no".into(),
                retryable: false,
            }),
            detail: "{}".into(),
        },
        B::Notice(fact::Notice {
            code: "unmapped".into(),
            severity: fact::Severity::Warning,
            message: "m".into(),
            fix: "f".into(),
        }),
        B::Other { kind: "k".into(), facts: vec![("a".into(), "b".into())] },
    ]
}

#[test]
fn a_cause_without_a_sip_status_tells_the_one_that_says_the_same() {
    let rows = [((17, 0), Some(486)), ((17, 603), None), ((16, 0), None), ((0, 0), None)];
    for ((q850, sip), equivalent) in rows {
        let raw = fact::RawCause { q850, sip, text: String::new() };
        let cause = event::Cause { code: event::CauseCode::Unknown, raw };
        let mut json = serde_json::to_value(super::Cause::from(&cause)).unwrap();
        assert_eq!(json.get("sip_equivalent").and_then(|it| it.as_u64()), equivalent);
        // Whatever stands there when it is read back.
        json["sip_equivalent"] = "nonsense".into();
        let read: super::Cause = serde_json::from_value(json).unwrap();
        assert_eq!(event::Cause::from(read), cause);
    }
}
