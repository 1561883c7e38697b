//! The chain of routers.

use std::time::Duration;

use crate::hooks::desk::bill::{Bill, check, check_with, rules};

#[test]
fn the_first_router_that_decides_wins() {
    check(
        "0 offered
        > 0 ask hours
        1 hours passes
        > 1 hours passed
        > 1 ask vip
        2 vip sends queue:support because VIP
        > 2 vip decided queue:support: VIP
        > 2 leg-to-queue queue=support
        30 done
        31 released handed-over",
    );
    check(
        "0 offered
        > 0 ask hours
        1 hours sends hang-up:21
        > 1 hours decided hang-up:21
        > 1 leg-hang-up q850=21",
    );
}

#[test]
fn what_a_router_changes_is_seen_by_the_next_and_told_to_the_pbx() {
    check(
        "0 offered language=en variable.TARIFF=gold
        > 0 ask hours, in en, TARIFF gold
        1 hours passes +priority=5 +TARIFF=silver +fact.vip=yes +CRM=7 store=seen
        > 1 hours passed
        > 1 store seen for hours
        > 1 ask vip, priority 5, in en, TARIFF silver, CRM 7, vip yes
        2 vip sends queue:support/30 +priority=9
        > 2 vip decided queue:support
        > 2 leg-to-queue queue=support priority=9 timeout-secs=30 variable.TARIFF=silver variable.CRM=7",
    );
    // To other places the PBX hears it first.
    check(
        "0 offered
        > 0 ask hours
        1 hours sends extension:1001/20 +language=de +CRM=7
        > 1 hours decided extension:1001
        > 1 leg-set variable.CRM=7 language=de
        20 done
        > 20 leg-to-extension extension=1001 timeout-secs=20",
    );
    // And when it does not want to hear it, the caller goes all the same.
    check(
        "0 offered
        > 0 ask hours
        1 hours sends dialplan:ivr +CRM=7
        > 1 hours decided dialplan:ivr,s,1
        > 1 leg-set variable.CRM=7
        20 fails refused
        > 20 leg-to-dialplan context=ivr extension=s priority=1",
    );
}

#[test]
fn a_router_that_needs_to_know_more_is_asked_again_with_all_answers() {
    check(
        "0 offered
        > 0 ask hours
        0 hours needs crm,list because unknown
        > 0 look up crm for hours within 1500
        > 0 look up list for hours within 1500
        > 0 hours needs lookup crm, list: unknown
        100 list answers 404
        120 crm answers 200
        > 120 ask hours, list is 404, crm is 200
        120 hours needs more
        > 120 look up more for hours within 1410
        > 120 hours needs lookup more
        140 more has no answer
        > 140 ask hours, list is 404, crm is 200, more failed: no answer within 1500 ms
        141 hours passes
        > 141 hours passed
        > 141 ask vip",
    );
}

#[test]
fn a_router_that_asks_for_lookups_for_ever_gets_four() {
    check(
        "0 offered
        > 0 ask hours
        0 hours needs a,b,c
        > 0 look up a for hours within 1500
        > 0 look up b for hours within 1500
        > 0 look up c for hours within 1500
        > 0 hours needs lookup a, b, c
        1 a answers 200
        1 b answers 200
        1 c answers 200
        > 1 ask hours, a is 200, b is 200, c is 200
        2 hours needs d,e
        > 2 hours nonsense: it asks for more than 4 lookups in one decision
        > 2 host fallback queue:main: hours: nonsense
        > 2 leg-to-queue queue=main",
    );
    check(
        "0 offered
        > 0 ask hours
        0 hours needs a
        > 0 look up a for hours within 1500
        > 0 hours needs lookup a
        1 a answers 200
        > 1 ask hours, a is 200
        2 hours needs a
        > 2 hours nonsense: it asks twice for the lookup `a`
        > 2 host fallback queue:main: hours: nonsense
        > 2 leg-to-queue queue=main",
    );
}

#[test]
fn every_kind_of_failure_has_its_own_word_and_ends_in_the_fallback() {
    for (fails, word) in [
        ("traps", "trapped: it trapped: unreachable"),
        ("is late", "late: it was late: not done after 5 ms"),
        ("refuses", "refused: it refused: no list (no-list)"),
        ("talks nonsense", "nonsense: it answered nonsense: a `&`"),
    ] {
        let outcome = word.split(':').next().unwrap();
        check(&format!(
            "0 offered
            > 0 ask hours
            1 hours passes
            > 1 hours passed
            > 1 ask vip
            4 vip {fails}
            > 4 vip {word}
            > 4 host fallback queue:main: vip: {outcome}
            > 4 leg-to-queue queue=main"
        ));
    }
}

#[test]
fn when_nobody_decides_the_admin_has() {
    check(
        "0 offered
        > 0 ask hours
        1 hours passes
        > 1 hours passed
        > 1 ask vip
        2 vip passes
        > 2 vip passed
        > 2 host fallback queue:main: no router decided
        > 2 leg-to-queue queue=main",
    );
    let mut none = rules();
    none.routers.clear();
    check_with(
        none,
        "0 offered
        > 0 host fallback queue:main: no router is configured
        > 0 leg-to-queue queue=main",
    );
}

#[test]
fn a_router_that_cannot_be_asked_is_a_router_that_failed() {
    let mut rules = rules();
    rules.routers[1].left_out = Some("its plugin is not there".to_owned());
    check_with(
        rules,
        "0 offered
        > 0 ask hours
        1 hours passes
        > 1 hours passed
        > 1 vip refused: its plugin is not there
        > 1 host fallback queue:main: vip: refused
        > 1 leg-to-queue queue=main",
    );
    check(
        "0 offered
        > 0 ask hours
        0 nobody can ask hours
        > 0 hours late: it was not asked: the worker threads have too much to do
        > 0 host fallback queue:main: hours: late
        > 0 leg-to-queue queue=main",
    );
}

#[test]
fn a_decision_has_one_end_in_time_and_what_comes_later_is_not_heard() {
    check(
        "0 offered
        > 0 ask hours
        1900 hours passes
        > 1900 hours passed
        > 1900 ask vip
        > 2000 vip late: it did not answer in time
        > 2000 host fallback queue:main: vip: late
        > 2000 leg-to-queue queue=main
        2001 vip sends queue:support
        2020 done
        2030 vip traps",
    );
    // A lookup host that hangs.
    check(
        "0 offered
        > 0 ask hours
        0 hours needs crm
        > 0 look up crm for hours within 1500
        > 0 hours needs lookup crm
        > 2000 hours late: its lookups took too long
        > 2000 host fallback queue:main: hours: late
        > 2000 leg-to-queue queue=main
        2500 crm answers 200",
    );
}

#[test]
fn a_hang_up_ends_a_decision() {
    check(
        "0 offered
        > 0 ask hours
        0 hours needs crm
        > 0 look up crm for hours within 1500
        > 0 hours needs lookup crm
        40 released hung-up
        > 40 hours cancelled: hung-up
        50 crm answers 200
        60 released ended
        9000",
    );
}

#[test]
fn an_answer_to_another_question_is_not_heard() {
    check(
        "0 offered
        > 0 ask hours
        1 hours passes
        > 1 hours passed
        > 1 ask vip
        2 hours sends queue:support
        3 vip passes
        > 3 vip passed
        > 3 host fallback queue:main: no router decided
        > 3 leg-to-queue queue=main",
    );
}

#[test]
fn an_emergency_call_asks_nobody_and_waits_for_nothing() {
    check(
        "0 offered dialled=110
        > 0 host bypassed continue-in-dialplan: 110 is an emergency number: nobody is asked
        > 0 leg-continue
        20 done continue",
    );
    // Also when the PBX does not take it at once, and never into the fallback.
    let mut rules = rules();
    rules.lease = Duration::from_secs(45);
    check_with(
        rules,
        "0 offered dialled=112
        > 0 host bypassed continue-in-dialplan: 112 is an emergency number: nobody is asked
        > 0 leg-continue
        20 fails refused continue
        > 20 leg-lease secs=45
        > 2020 leg-continue
        2040 done continue",
    );
}

#[test]
fn a_place_that_does_not_exist_is_the_fallback_and_not_a_circle() {
    for problem in ["no-such-queue", "no-such-extension", "no-such-place"] {
        check(&format!(
            "0 offered
            > 0 ask hours
            1 hours sends queue:typo
            > 1 hours decided queue:typo
            > 1 leg-to-queue queue=typo
            20 fails {problem}
            > 20 hours nonsense: queue:typo: it is {problem} ({problem})
            > 20 host fallback queue:main: queue:typo did not take the caller: {problem}
            > 20 leg-to-queue queue=main"
        ));
    }
}

#[test]
fn a_dialplan_that_leads_to_no_queue_is_no_nonsense_of_a_router() {
    check(
        "0 offered
        > 0 ask hours
        1 hours sends queue:main
        > 1 hours decided queue:main
        > 1 leg-to-queue queue=main
        20 fails no-template
        > 20 host fallback queue:main: queue:main did not take the caller: no-template
        > 20 leg-to-queue queue=main",
    );
}

#[test]
fn a_treatment_that_does_not_exist_is_nonsense() {
    check(
        "0 offered
        > 0 ask hours
        1 hours treats jazz
        > 1 hours nonsense: there is no treatment `jazz`
        > 1 host fallback queue:main: hours: nonsense
        > 1 leg-to-queue queue=main",
    );
    let mut without = rules();
    without.usual_treatment.clear();
    check_with(
        without,
        "0 offered
        > 0 ask hours
        1 hours treats usually
        > 1 hours nonsense: it wants the usual treatment, and none is configured
        > 1 host fallback queue:main: hours: nonsense
        > 1 leg-to-queue queue=main",
    );
}

/// `count` patches from that number on.
fn patches(kind: &str, from: u32, count: u32) -> String {
    let patches: Vec<_> = (from..from + count).map(|at| format!("+{kind}V{at}=x")).collect();
    patches.join(" ")
}

#[test]
fn hooks_cannot_put_the_world_on_a_call() {
    // The same name again is no more than it was.
    let (first, fits) = (patches("", 0, 20), patches("", 10, 21));
    let mut bill = Bill::new(rules());
    for line in ["0 offered", &format!("1 hours passes {first}")] {
        bill.input(line);
    }
    bill.input(&format!("2 vip sends queue:support {fits}"));
    let told = bill.last();
    assert_eq!(told.matches("variable.V").count(), 31, "{told}");
    for (kind, most) in [("", 31), ("fact.", 64)] {
        let mut bill = Bill::new(rules());
        bill.input("0 offered");
        bill.input(&format!("1 hours passes {}", patches(kind, 0, 20)));
        bill.input(&format!("2 vip sends queue:support {}", patches(kind, 20, most - 19)));
        let done = bill.done().join("\n");
        let sentence = format!(
            "there are {} {}",
            most + 1,
            if kind.is_empty() { "variables" } else { "facts" }
        );
        assert!(
            done.contains("> 2 vip nonsense: with this ") && done.contains(&sentence),
            "{done}"
        );
        assert!(done.contains("> 2 host fallback queue:main: vip: nonsense"), "{done}");
        assert_eq!(done.matches("variable.V20=").count(), 0, "{done}");
    }
    // Few, and long.
    let long = format!("+A={} +B={}", "x".repeat(9000), "x".repeat(9000));
    check(&format!(
        "0 offered
        > 0 ask hours
        1 hours passes {long}
        > 1 hours nonsense: with this there are 2 variables of 18002 bytes on the call; at most 31 of 16384 bytes
        > 1 host fallback queue:main: hours: nonsense
        > 1 leg-to-queue queue=main"
    ));
}
