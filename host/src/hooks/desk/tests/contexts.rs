//! Places of the dialplan: hooks reach those that the admin has opened to them.

use crate::hooks::desk::bill::{Bill, check, rules};

#[test]
fn a_router_sends_nobody_into_a_context_that_the_admin_has_not_opened() {
    let sentence = "context-not-allowed: dialplan:outbound,s,1 is in the context `outbound`; if hooks may send callers \
                    there, add \"outbound\" to [hooks] contexts";
    for said in ["sends dialplan:outbound", "treats usually then dialplan:outbound"] {
        check(&format!(
            "0 offered
            > 0 ask hours
            1 hours {said} +CRM=7
            > 1 hours nonsense: {sentence}
            > 1 host fallback queue:main: hours: nonsense
            > 1 leg-to-queue queue=main"
        ));
    }
    check(
        "0 offered
        > 0 ask hours
        1 hours sends dialplan:ivr
        > 1 hours decided dialplan:ivr,s,1
        > 1 leg-to-dialplan context=ivr extension=s priority=1",
    );
}

#[test]
fn without_any_context_callers_go_on_in_the_dialplan_and_to_queues_and_extensions() {
    for (place, instruction) in [
        ("continue", "leg-continue"),
        ("queue:support", "leg-to-queue queue=support"),
        ("extension:1001", "leg-to-extension extension=1001"),
        ("hang-up:21", "leg-hang-up q850=21"),
    ] {
        let mut bill = Bill::new(rules());
        bill.open_contexts([]);
        bill.input("0 offered");
        bill.input(&format!("1 hours sends {place}"));
        assert_eq!(bill.last(), format!("> 1 {instruction}"));
    }
    let mut bill = Bill::new(rules());
    bill.open_contexts([]);
    bill.input("0 offered");
    bill.input("1 hours sends dialplan:ivr");
    assert_eq!(bill.last(), "> 1 leg-to-queue queue=main");
}

#[test]
fn a_treatment_hands_nobody_over_into_a_context_that_the_admin_has_not_opened() {
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually then queue:support
        > 0 hours decided treatment:standard, then queue:support
        > 0 ask standard: started
        1 standard plans answer hand-over=dialplan:outbound
        > 1 standard nonsense: context-not-allowed: dialplan:outbound,s,1 is in the context `outbound`; if hooks may send \
         callers there, add \"outbound\" to [hooks] contexts
        > 1 host fallback queue:support: standard: nonsense; the caller goes where the router said
        > 1 leg-to-queue queue=support",
    );
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        1 standard plans hand-over=dialplan:ivr
        > 1 keep \"\"
        > 1 standard decided dialplan:ivr,s,1: it hands the caller over
        > 1 leg-to-dialplan context=ivr extension=s priority=1",
    );
}

#[test]
fn a_place_that_was_closed_while_the_host_was_away_is_decided_about_anew() {
    for (is_closed, asked) in [(false, "ask standard: resumed"), (true, "ask hours")] {
        let mut bill = Bill::new(rules());
        bill.input("0 offered");
        bill.input("0 hours treats usually then dialplan:ivr");
        bill.input("1 standard plans wake=9000");
        if is_closed {
            bill.open_contexts([]);
        }
        bill.input("2 restart");
        bill.input("3 offered");
        assert!(bill.last().starts_with(&format!("> 3 {asked}")), "{}", bill.last());
    }
}
