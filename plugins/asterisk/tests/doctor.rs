//! What the doctor says about the dialplan's emergency numbers.

#[path = "held/stage.rs"]
#[allow(dead_code, reason = "only the PBX of it is used here")]
mod stage;
mod support;

use jackfield_sdk::mock::Seen;
use serde_json::Value;
use stage::fake;
use support::{Lab, SETTINGS};

const ACTIONS: &str = "QueueStatus: x  (Priv: <none>)\nGetvar: x  (Priv: call,reporting,all)\nShowDialPlan: x  (Priv: config,reporting,all)\n";
const TEMPLATE: &str = include_str!("../dialplan.conf");

/// The finding about emergency numbers: its level, message and fix.
fn found(actions: &'static str, pbx: &'static str, config: &str) -> Option<[String; 3]> {
    let mut fake = fake();
    fake.actions = actions;
    fake.answers.push(("Getvar", pbx));
    let (_, version) = TEMPLATE.split_once("version,1,NoOp(").expect("it has a version");
    let (version, _) = version.split_once(')').expect("it ends");
    fake.lists.push((
        "ShowDialPlan",
        format!("Event: ListDialplan\nACTIONID\nListContext: jackfield\nExtension: version\nPriority: 1\nApplication: NoOp\nAppData: {version}\n"),
    ));
    let mut lab = Lab::ready(SETTINGS, fake);
    lab.told();
    lab.host.command("probe", &[("hooks", "true"), ("emergency", config)]);
    lab.answer();
    let seen = lab.host.take_seen();
    let report = seen.iter().find_map(|seen| match seen {
        Seen::Outcome(outcome) => Some(outcome.detail.clone()),
        _ => None,
    });
    let report: Value = serde_json::from_str(&report.expect("an outcome")).expect("it is JSON");
    let findings = report["findings"].as_array().expect("findings").iter();
    let mut about = findings.filter(|finding| finding["check"] == "emergency-numbers");
    let finding = about.next()?;
    assert_eq!(about.next(), None);
    Some(["level", "message", "fix"].map(|key| finding[key].as_str().unwrap_or_default().into()))
}

#[test]
fn the_dialplans_emergency_numbers_are_compared_with_the_configs() {
    let both = "Response: Success\nVariable: x\nValue: 112|110\n";
    let one = "Response: Success\nVariable: x\nValue: 110| 112\n";
    let none = "Response: Success\nVariable: x\nValue: \n";
    for (pbx, config, level, message) in [
        (both, "110|112", "ok", "go on in the dialplan"),
        (both, "112", "warning", "names 110"),
        (one, "110|112", "failure", "lacks 112 "),
        (none, "110|112", "failure", "lacks 110, 112 "),
        (both, "110|112|*5", "failure", "lacks *5 "),
    ] {
        let [found_level, said, fix] = found(ACTIONS, pbx, config).expect("a finding");
        assert_eq!(found_level, level, "{said}");
        assert!(said.contains(message), "{said}");
        let line = format!("JACKFIELD_EMERGENCY={config}`");
        assert!(level == "ok" || fix.contains(&line), "{fix}");
    }
    assert_eq!(found(ACTIONS, none, ""), None);
}

#[test]
fn without_the_right_to_ask_the_line_is_printed_all_the_same() {
    let may_look =
        "QueueStatus: x  (Priv: <none>)\nShowDialPlan: x  (Priv: config,reporting,all)\n";
    let [level, message, fix] = found(may_look, "", "110|112").expect("a finding");
    assert_eq!(level, "warning", "{message}");
    assert!(fix.contains("JACKFIELD_EMERGENCY=110|112`"), "{fix}");
}
