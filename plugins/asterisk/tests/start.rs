//! When the PBX started: the host puts members back when that changes, so it must not change without a start.

mod support;

use jackfield_sdk::{Fact, mock::Seen};
use support::{Fake, Lab, SETTINGS};

/// What was told last.
fn started_at(lab: &mut Lab) -> Option<u64> {
    let told = lab.host.take_seen().into_iter().rev().find_map(|seen| match seen {
        Seen::Fact(_, Fact::Pbx(pbx)) => Some(pbx.started_at_ns),
        _ => None,
    });
    told.expect("the PBX was told")
}

fn again(lab: &mut Lab) -> Option<u64> {
    lab.host.link_closed("ami", "reset");
    lab.connect();
    lab.advance(2000);
    started_at(lab)
}

#[test]
fn the_same_start_is_told_the_same_whatever_else_is_known() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    let first = started_at(&mut lab);
    assert!(first.is_some());
    // The uptime is not told this time: the account lost `system` for events.
    lab.fake.fully_booted = false;
    assert_eq!(again(&mut lab), first);
    lab.fake.fully_booted = true;
    assert_eq!(again(&mut lab), first);
    // The host's clock steps by hours.
    lab.host.set_wall(1_795_288_810_000_000_000 - 7_200_000_000_000);
    assert_eq!(again(&mut lab), first);
    lab.fake.answers.push((
        "CoreStatus",
        "Response: Success\nCoreStartupDate: 2026-11-21\nCoreStartupTime: 19:20:00\n",
    ));
    assert_ne!(again(&mut lab), first);
}

#[test]
fn nothing_of_the_session_before_is_told_of_the_next() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    assert!(started_at(&mut lab).is_some());
    lab.fake.answers.push(("CoreStatus", "Response: Error\nMessage: Permission denied\n"));
    assert_eq!(again(&mut lab), None);
}
