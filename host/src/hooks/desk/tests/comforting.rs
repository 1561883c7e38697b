//! Treatments.

use crate::hooks::{
    desk::bill::{Bill, check, check_with, rules},
    treatment::LONGEST,
};

#[test]
fn a_caller_is_greeted_hears_music_presses_a_key_and_is_handed_over() {
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually then queue:support
        > 0 hours decided treatment:standard, then queue:support
        > 0 ask standard: started
        10 standard plans answer play=welcome,menu music=jazz keys=12 state=menu
        > 10 keep \"menu\"
        > 10 leg-answer
        > 10 leg-listen on=true
        12 done listen
        110 done
        > 110 leg-play media=welcome media=menu
        4000 done
        > 4000 leg-music class=jazz
        4020 done
        > 4020 ask standard: finished, knowing menu
        4021 standard plans keys=12 on
        > 4021 keep \"\"
        9000 key 3
        9100 key 2
        > 9100 ask standard: key 2
        9101 standard plans hand-over=queue:sales +priority=3
        > 9101 keep \"\"
        > 9101 standard decided queue:sales: it hands the caller over
        > 9101 leg-to-queue queue=sales priority=3
        9120 done
        > 9120 forget
        9121 released handed-over",
    );
}

#[test]
fn the_pbx_knows_the_language_before_anything_is_said() {
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually +language=de
        > 0 hours decided treatment:standard
        > 0 leg-set language=de
        > 0 ask standard: started
        5 standard plans say=12 music=
        > 5 keep \"\"
        20 done set
        > 20 leg-say kind=number value=12 language=de",
    );
}

#[test]
fn a_caller_who_chose_a_language_hears_what_follows_in_it() {
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans play=menu keys=12
        > 0 keep \"\"
        > 0 leg-play media=menu
        > 0 leg-listen on=true
        500 key 1
        > 500 ask standard: key 1
        501 standard plans play=welcome +language=de
        > 501 leg-set language=de
        > 501 keep \"\"
        510 done set
        > 510 leg-listen on=false
        900 done
        > 900 leg-play media=welcome",
    );
}

#[test]
fn a_new_plan_replaces_what_has_not_begun_and_lets_what_has_begun_go_on() {
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans play=long play=never wake=1000
        > 0 keep \"\"
        > 0 leg-play media=long
        > 1000 ask standard: woke
        1001 standard plans play=other wait=60000 play=later
        > 1001 keep \"\"
        5000 done
        > 5000 leg-play media=other
        6000 done
        6001 key 1
        > 66000 leg-play media=later
        67000 done
        > 67000 ask standard: finished",
    );
    // A wait, and keys that are gathered, are ours alone: they end at once.
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans wait=3600000 keys=1
        > 0 keep \"\"
        > 0 leg-listen on=true
        100 key 1
        > 100 ask standard: key 1
        101 standard plans play=thanks
        > 101 keep \"\"
        > 101 leg-play media=thanks
        > 101 leg-listen on=false",
    );
    // Whoever leaves does not hear the announcement to its end.
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans play=menu keys=1
        > 0 keep \"\"
        > 0 leg-play media=menu
        > 0 leg-listen on=true
        100 key 1
        > 100 ask standard: key 1
        101 standard plans hand-over=queue:sales
        > 101 keep \"\"
        > 101 standard decided queue:sales: it hands the caller over
        > 101 leg-to-queue queue=sales",
    );
}

#[test]
fn keys_are_gathered_until_there_are_enough_or_no_more_come() {
    let begin = "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 key 9
        0 standard plans collect=3 play=after
        > 0 keep \"\"
        > 0 leg-listen on=true";
    for (pressed, collected, ended_by, at) in [
        ("1000 key 1\n2000 key 2\n3000 key 3", "123", "most", 3000),
        ("1000 key 1\n2000 key #", "1", "end-key", 2000),
        ("1000 key 1\n2500 key 2", "12", "timeout", 4500),
        ("", "", "timeout", 5000),
    ] {
        check(&format!(
            "{begin}
            {pressed}
            > {at} leg-listen on=false
            > {at} ask standard: collected \"{collected}\" ({ended_by})
            {at} standard plans on
            > {at} keep \"\"
            > {at} leg-play media=after"
        ));
    }
}

#[test]
fn a_step_that_fails_drops_those_after_it_and_the_caller_stays() {
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans answer play=missing music=
        > 0 keep \"\"
        > 0 leg-answer
        100 done
        > 100 leg-play media=missing
        120 fails media-not-found
        > 120 ask standard: step 1 is media-not-found
        121 standard plans music= wake=5000
        > 121 keep \"\"
        > 121 leg-music",
    );
    // The PBX never says what came of it.
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans answer
        > 0 keep \"\"
        > 0 leg-answer
        > 10000 ask standard: step 0 is timed-out
        10000 released hung-up
        > 10000 standard cancelled: hung-up
        > 10000 forget",
    );
}

#[test]
fn a_link_that_breaks_under_a_treatment_costs_a_second() {
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans play=hello music=
        > 0 keep \"\"
        > 0 leg-play media=hello
        500 fails not-connected
        > 1500 leg-play media=hello
        2500 done
        > 2500 leg-music",
    );
}

#[test]
fn a_caller_who_hangs_up_in_an_announcement_is_not_asked_about() {
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans play=hello music=
        > 0 keep \"\"
        > 0 leg-play media=hello
        500 fails interrupted
        501 released hung-up
        > 501 forget
        60000",
    );
}

#[test]
fn steps_go_on_while_lookups_are_answered() {
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans music= play=hello lookups=crm,list
        > 0 look up crm for standard within 10000
        > 0 look up list for standard within 10000
        > 0 keep \"\"
        > 0 leg-music
        10 done
        > 10 leg-play media=hello
        20 list answers 404
        30 crm answers 200
        > 30 ask standard: looked-up, list is 404, crm is 200
        31 standard plans wake=9000 on
        > 31 keep \"\"
        1000 done
        > 1000 ask standard: finished",
    );
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans wait=1 lookups=a,b,c,d,e
        > 0 standard nonsense: it asks for more than 4 lookups at once
        > 0 host fallback queue:main: standard: nonsense
        > 0 leg-to-queue queue=main",
    );
}

#[test]
fn without_another_place_the_caller_goes_where_the_router_said() {
    check(
        "0 offered
        > 0 ask hours
        0 hours treats music then extension:1001
        > 0 hours decided treatment:music, then extension:1001
        > 0 ask music: started
        0 music plans hand-over
        > 0 keep \"\"
        > 0 music decided extension:1001: it ends, and the caller goes where the router said
        > 0 leg-to-extension extension=1001",
    );
    // And when the router said nothing, it is asked.
    check(
        "0 offered
        > 0 ask hours
        0 hours treats music
        > 0 hours decided treatment:music
        > 0 ask music: started
        0 music plans hand-over
        > 0 keep \"\"
        > 0 music decided back to the routers: it ends, and the caller goes where the router said
        > 0 forget
        > 0 ask hours, attempt 2, from treatment finished",
    );
}

#[test]
fn a_treatment_hears_that_nobody_took_the_caller() {
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans hand-over=queue:sales state=x
        > 0 keep \"x\"
        > 0 standard decided queue:sales: it hands the caller over
        > 0 leg-to-queue queue=sales
        10 fails no-such-queue
        > 10 ask standard: came-back no-such-queue, knowing x
        11 standard plans hand-over=queue:support
        > 11 keep \"\"
        > 11 standard decided queue:support: it hands the caller over
        > 11 leg-to-queue queue=support",
    );
}

#[test]
fn whatever_a_treatment_does_wrong_the_caller_goes_where_the_router_said_or_gets_the_fallback() {
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
            0 hours treats usually
            > 0 hours decided treatment:standard
            > 0 ask standard: started
            5 standard {fails}
            > 5 standard {word}
            > 5 host fallback queue:main: standard: {outcome}
            > 5 leg-to-queue queue=main"
        ));
    }
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually then queue:support
        > 0 hours decided treatment:standard, then queue:support
        > 0 ask standard: started
        > 2000 standard late: it did not answer in time
        > 2000 host fallback queue:support: standard: late; the caller goes where the router said
        > 2000 leg-to-queue queue=support
        2010 fails no-such-queue
        > 2010 host fallback queue:main: queue:support did not take the caller: no-such-queue
        > 2010 leg-to-queue queue=main",
    );
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 nobody can ask standard
        > 0 standard late: it was not asked: the worker threads have too much to do
        > 0 host fallback queue:main: standard: late
        > 0 leg-to-queue queue=main",
    );
}

#[test]
fn a_plan_after_which_nothing_would_happen_is_nonsense() {
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually then queue:support
        > 0 hours decided treatment:standard, then queue:support
        > 0 ask standard: started
        0 standard plans music=
        > 0 keep \"\"
        > 0 leg-music
        10 done
        > 10 ask standard: finished
        11 standard plans on
        > 11 keep \"\"
        > 11 standard nonsense: its plan has no step, key, wake-up or lookup left
        > 11 host fallback queue:support: standard: nonsense; the caller goes where the router said
        > 11 leg-to-queue queue=support",
    );
}

#[test]
fn ten_thousand_plans_are_not_made() {
    let mut bill = treated();
    let mut plans = 0;
    while bill.last().contains("ask standard") && plans < 10_000 {
        plans += 1;
        bill.input(&format!("{plans} standard plans wait=0"));
        bill.input(&format!("{plans}"));
    }
    assert!((60..100).contains(&plans), "{plans} plans");
    assert!(bill.last().ends_with("leg-to-queue queue=main"));
    let why = "standard nonsense: it makes new plans without end";
    assert!(bill.done().iter().any(|line| line.ends_with(why)));
}

#[test]
fn a_treatment_that_wakes_at_once_for_ever_is_woken_four_times_a_second_until_its_time_is_over() {
    let mut bill = treated();
    bill.input("0 standard plans wake=0 on");
    let mut at = 0;
    let mut plan = |bill: &mut Bill, after: u64, wake: u64| {
        at += after;
        bill.input(&format!("{at}"));
        assert_eq!(bill.last(), format!("> {at} ask standard: woke"));
        bill.input(&format!("{at} standard plans wake={wake} on"));
    };
    for _ in 0..240 {
        plan(&mut bill, 250, 0);
    }
    plan(&mut bill, 250, 3_600_000);
    for _ in 0..3 {
        plan(&mut bill, 3_600_000, 3_600_000);
    }
    let end = LONGEST.as_millis();
    bill.input(&format!("{end}"));
    assert_eq!(bill.last(), format!("> {end} leg-to-queue queue=main"));
}

#[test]
fn a_caller_who_hammers_on_keys_ends_nothing() {
    let mut bill = treated();
    bill.input("0 standard plans wait=3600000 keys=1");
    let mut asked = 0;
    for at in 1..2000 {
        bill.input(&format!("{at} key 1"));
        if bill.last() == format!("> {at} ask standard: key 1") {
            asked += 1;
            bill.input(&format!("{at} standard plans keys=1 on"));
        }
    }
    assert!((10..100).contains(&asked), "{asked}");
    assert!(!bill.done().iter().any(|line| line.contains("nonsense")));
}

#[test]
fn a_host_that_begins_anew_goes_on_with_the_treatment() {
    check(
        "0 offered
        > 0 ask hours
        0 hours passes +language=de +CRM=7
        > 0 hours passed
        > 0 ask vip, in de, CRM 7
        0 vip treats usually then queue:support
        > 0 vip decided treatment:standard, then queue:support
        > 0 leg-set variable.CRM=7 language=de
        > 0 ask standard: started
        10 done set
        20 standard plans music= wake=60000 state=waiting
        > 20 keep \"waiting\"
        > 20 leg-music
        30 done
        > 30 ask standard: finished, knowing waiting
        31 standard plans wake=60000 state=waiting on
        > 31 keep \"waiting\"
        5000 restart
        6000 offered
        > 6000 leg-listen on=false
        > 6000 ask standard: resumed after 6000 ms, knowing waiting
        6001 standard plans play=sorry state=again
        > 6001 keep \"again\"
        > 6001 leg-play media=sorry
        7000 done
        > 7000 ask standard: finished, knowing again
        7001 standard plans hand-over
        > 7001 keep \"\"
        > 7001 standard decided queue:support: it ends, and the caller goes where the router said
        > 7001 leg-to-queue queue=support",
    );
    // Whoever comes from elsewhere meanwhile is decided about.
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans music= wake=60000
        > 0 keep \"\"
        > 0 leg-music
        5000 restart
        6000 offered from=queue outcome=timed-out
        > 6000 forget
        > 6000 ask hours, from queue timed-out",
    );
}

#[test]
fn keys_are_in_no_record_wherever_a_treatment_puts_them() {
    let mut bill = Bill::new(rules());
    for line in [
        "0 offered variable.LINE=3",
        "0 hours passes +TIER=2",
        "0 vip treats usually",
        "1 done set",
        "1 standard plans collect=4 keys= +fact.rule=7 because=rule-7",
        "2 key 4",
        "3 key 7",
        "4 key 1",
        "5 key 1",
        "6 standard plans hand-over +PIN=4711 +fact.pin=DE-4711 +TIER=2 because=it-is-4711",
    ] {
        bill.input(line);
    }
    let record = bill.record.join("\n");
    assert!(!record.contains("4711"), "{record}");
    for told in [
        "standard: rule-7 because=started dialled=500 caller=+4930123456",
        "standard: it-is-**** because=collected 4 keys",
        "fact.rule=7 fact.pin=DE-****",
        // What it set is its own word now, whoever set it before; what the PBX told stays as it is.
        "variable.LINE=3 variable.TIER=* variable.PIN=****",
    ] {
        assert!(record.contains(told), "{told} in\n{record}");
    }
    // The hooks and the PBX are told all of it.
    assert!(bill.done().join("\n").contains("PIN 4711, rule 7, pin DE-4711"), "{:?}", bill.done());
    // A refusal is a sentence, too. And a host that begins anew knows what it must not tell.
    for line in
        ["10 hours treats usually", "11 standard plans wake=9000", "12 restart", "13 offered"]
    {
        bill.input(line);
    }
    bill.record.clear();
    bill.input("14 standard refuses");
    let record = bill.record.join("\n");
    assert!(record.contains("variable.PIN=****") && record.contains("fact.rule=7"), "{record}");
}

#[test]
fn keys_are_not_in_the_sentence_about_a_plan_that_makes_no_sense() {
    let mut bill = Bill::new(rules());
    for line in [
        "0 offered",
        "0 hours treats usually",
        "1 standard plans keys=4",
        "2 key 4",
        "3 standard plans wait=1 lookups=pin-4711,pin-4711",
    ] {
        bill.input(line);
    }
    let record = bill.record.join("\n");
    assert!(record.contains("asks twice for the lookup `pin-****`"), "{record}");
}

#[test]
fn keys_are_not_in_the_words_of_a_panic() {
    let mut bill = Bill::new(rules());
    for line in ["0 offered", "0 hours treats usually", "1 standard plans keys=4", "2 key 4"] {
        bill.input(line);
    }
    bill.input("3 standard panics no entry for 4711");
    let record = bill.record.join("\n");
    assert!(record.contains("no entry for ****") && !record.contains("4711"), "{record}");
}

#[test]
fn what_was_kept_of_a_caller_goes_when_nobody_goes_on_with_it() {
    for (back, treatment) in
        [("offered from=queue outcome=timed-out", "standard"), ("offered", "gone")]
    {
        let mut bill = Bill::new(rules());
        for line in ["0 offered", "0 hours treats usually", "1 standard plans wake=9000"] {
            bill.input(line);
        }
        bill.rename_kept_treatment(treatment);
        bill.input("2 restart");
        bill.input(&format!("3 {back}"));
        let done = bill.done().join("\n");
        assert!(done.contains("> 3 forget\n> 3 ask hours"), "{done}");
    }
}

#[test]
fn what_a_treatment_says_stays_with_the_call_once() {
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans wake=1000 because=busy on
        > 0 standard decided: busy
        > 0 keep \"\"
        > 1000 ask standard: woke
        1000 standard plans wake=1000 because=busy on
        > 1000 keep \"\"",
    );
}

/// A caller whose treatment has just begun.
fn treated() -> Bill {
    let begin = "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started";
    check_with(rules(), begin)
}
