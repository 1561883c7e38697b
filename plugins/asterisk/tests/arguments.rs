//! Which arguments of commands are taken.

mod support;

use support::{Fake, Lab, SETTINGS};

#[test]
fn a_resync_of_a_part_is_refused_and_says_what_is_possible() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    lab.told();
    lab.host.command("resync", &[("scope", "queues")]);
    lab.answer();
    let told = lab.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("command 1 rejected not-supported: "), "{told:?}");
    lab.host.command("resync", &[("scope", "all")]);
    lab.answer();
    assert_eq!(lab.told().last().map(String::as_str), Some("command 2 done"));
}

#[test]
fn the_longest_argument_the_host_takes_is_sent() {
    let mut lab = Lab::ready(SETTINGS, Fake::default());
    lab.told();
    lab.host.command("pause", &[("interface", "PJSIP/1001"), ("reason", &"x".repeat(900))]);
    lab.host.command("pause", &[("interface", "PJSIP/1001"), ("reason", &"x".repeat(901))]);
    lab.answer();
    lab.advance(2_000);
    let told = lab.told();
    assert!(told.contains(&"command 1 done".to_owned()), "{told:?}");
    assert!(
        told.iter().any(|line| line.starts_with("command 2 rejected bad-argument")),
        "{told:?}"
    );
}
