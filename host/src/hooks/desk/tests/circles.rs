//! Callers who come back, places that do not take them, leases.

use std::time::Duration;

use crate::hooks::desk::bill::{Bill, check, check_with, rules};

fn with_lease() -> crate::hooks::desk::Rules {
    let mut rules = rules();
    rules.lease = Duration::from_secs(45);
    rules
}

#[test]
fn a_caller_who_comes_back_from_a_queue_is_decided_anew_with_what_is_known() {
    check(
        "0 offered
        > 0 ask hours
        1 hours sends queue:support/60 +priority=5 +language=de +CRM=7
        > 1 hours decided queue:support
        > 1 leg-set variable.CRM=7 language=de
        10 done
        > 10 leg-to-queue queue=support priority=5 timeout-secs=60
        20 done
        21 released handed-over
        60000 offered from=queue outcome=timed-out
        > 60000 ask hours, attempt 2, from queue timed-out, priority 5, in de, CRM 7
        60001 hours sends extension:1001
        > 60001 hours decided extension:1001
        > 60001 leg-to-extension extension=1001
        60010 done
        60011 released handed-over
        80000 offered from=extension outcome=no-answer
        > 80000 ask hours, attempt 3, from extension no-answer, priority 5, in de, CRM 7",
    );
}

#[test]
fn a_place_that_does_not_take_the_caller_is_told_to_the_routers() {
    check(
        "0 offered
        > 0 ask hours
        1 hours sends extension:1001
        > 1 hours decided extension:1001
        > 1 leg-to-extension extension=1001
        20 fails refused
        > 20 ask hours, attempt 2, from extension refused
        21 hours sends queue:support
        > 21 hours decided queue:support
        > 21 leg-to-queue queue=support",
    );
    // One that says nothing.
    check(
        "0 offered
        > 0 ask hours
        0 hours sends queue:support
        > 0 hours decided queue:support
        > 0 leg-to-queue queue=support
        > 10000 ask hours, attempt 2, from queue timed-out
        10000 released handed-over
        > 10000 hours cancelled: handed-over",
    );
}

#[test]
fn a_link_that_is_down_for_a_moment_is_waited_for() {
    check(
        "0 offered
        > 0 ask hours
        0 hours sends queue:support
        > 0 hours decided queue:support
        > 0 leg-to-queue queue=support
        0 fails not-connected
        > 1000 leg-to-queue queue=support
        1000 fails not-connected
        > 2000 leg-to-queue queue=support
        2010 done",
    );
}

#[test]
fn what_hooks_set_is_told_again_when_the_hand_over_is_tried_again() {
    check(
        "0 offered
        > 0 ask hours
        0 hours sends queue:support +CRM=7
        > 0 hours decided queue:support
        > 0 leg-to-queue queue=support variable.CRM=7
        0 fails not-connected
        > 1000 leg-to-queue queue=support variable.CRM=7
        1010 done",
    );
    check(
        "0 offered
        > 0 ask hours
        0 hours sends extension:1001 +CRM=7
        > 0 hours decided extension:1001
        > 0 leg-set variable.CRM=7
        0 fails not-connected
        > 0 leg-to-extension extension=1001
        0 fails not-connected
        > 1000 leg-set variable.CRM=7
        1010 done
        > 1010 leg-to-extension extension=1001
        1020 done",
    );
}

#[test]
fn a_caller_who_is_gone_is_not_sent_after() {
    check(
        "0 offered
        > 0 ask hours
        0 hours sends queue:support
        > 0 hours decided queue:support
        > 0 leg-to-queue queue=support
        10 fails hung-up
        11 released hung-up
        50000",
    );
}

#[test]
fn circles_end_in_the_fallback_and_circles_of_that_in_the_dialplan() {
    let mut bill = Bill::new(rules());
    let mut sent = Vec::new();
    for turn in 0..14 {
        let at = turn * 10;
        let from = if turn == 0 { "" } else { " from=queue outcome=join-empty" };
        bill.input(&format!("{at} offered{from}"));
        if bill.last().contains("ask hours") {
            bill.input(&format!("{} hours sends queue:support", at + 1));
        }
        let (_, leg) = bill.last().split_once(" leg-").expect("an instruction");
        sent.push(leg.to_owned());
        bill.input(&format!("{} released handed-over", at + 2));
    }
    assert_eq!(sent[..8], ["to-queue queue=support"; 8]);
    assert_eq!(sent[8..12], ["to-queue queue=main"; 4]);
    assert_eq!(sent[12..], ["continue"; 2]);
}

#[test]
fn somebody_who_is_routed_anew_each_minute_is_in_no_circle() {
    let mut bill = Bill::new(rules());
    for minute in 0..300 {
        let at = minute * 60_000;
        bill.input(&format!("{at} offered from=queue outcome=timed-out"));
        assert!(bill.last().contains("ask hours"), "{minute}");
        bill.input(&format!("{at} hours sends queue:support"));
        bill.input(&format!("{at} released handed-over"));
    }
}

#[test]
fn when_even_the_fallback_fails_the_caller_goes_on_and_at_last_the_lease_runs_out() {
    check_with(
        with_lease(),
        "0 offered
        > 0 ask hours
        1 hours traps
        > 1 hours trapped: it trapped: unreachable
        > 1 host fallback queue:main: hours: trapped
        > 1 leg-to-queue queue=main
        2 fails no-such-queue
        > 2 host fallback continue-in-dialplan: the fallback queue:main did not take the caller: no-such-queue
        > 2 leg-continue
        3 fails refused continue
        > 3 leg-lease secs=45
        > 2003 leg-to-queue queue=main
        2004 fails no-such-queue to-queue
        > 2004 leg-lease secs=45
        > 4004 leg-to-queue queue=main
        4005 fails no-such-queue to-queue
        > 4005 leg-lease secs=45
        > 6005 leg-to-queue queue=main
        6006 fails no-such-queue to-queue
        > 6006 leg-lease secs=45
        > 8006 leg-to-queue queue=main
        8007 fails no-such-queue to-queue
        > 8007 leg-lease secs=45
        > 10007 leg-to-queue queue=main
        10008 fails no-such-queue to-queue
        > 10008 leg-lease secs=45
        600000",
    );
}

#[test]
fn a_lease_is_renewed_while_the_caller_is_here_and_no_longer() {
    check_with(
        with_lease(),
        "0 offered
        > 0 ask hours
        500 hours treats usually
        > 500 hours decided treatment:standard
        > 500 ask standard: started
        > 500 leg-lease secs=45
        600 standard plans music= wake=3600000
        > 600 keep \"\"
        > 600 leg-music
        610 done
        > 610 ask standard: finished
        611 standard plans wake=3600000 on
        > 611 keep \"\"
        > 15500 leg-lease secs=45
        > 30500 leg-lease secs=45
        31000 released hung-up
        > 31000 forget
        100000",
    );
}

#[test]
fn a_quick_decision_needs_no_lease_of_ours_and_a_slow_one_gets_it() {
    check_with(
        with_lease(),
        "0 offered
        > 0 ask hours
        0 hours needs crm
        > 0 look up crm for hours within 1500
        > 0 hours needs lookup crm
        > 1000 leg-lease secs=45
        1200 crm answers 200
        > 1200 ask hours, crm is 200
        1201 hours sends queue:support
        > 1201 hours decided queue:support
        > 1201 leg-to-queue queue=support
        1210 done
        100000",
    );
}

#[test]
fn whoever_goes_on_in_the_dialplan_is_not_cut_off_by_a_lease() {
    check_with(
        with_lease(),
        "0 offered
        > 0 ask hours
        1 hours sends continue
        > 1 hours decided continue-in-dialplan
        > 1 leg-continue
        20 done continue
        100000",
    );
}

#[test]
fn an_offer_of_somebody_who_is_here_begins_anew() {
    check(
        "0 offered
        > 0 ask hours
        10 offered
        > 10 hours cancelled: offered again
        > 10 ask hours, attempt 2",
    );
}
