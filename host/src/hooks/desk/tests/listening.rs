//! Keys that a treatment wants to hear.

use std::time::Duration;

use crate::hooks::desk::{
    Rules,
    bill::{check, check_with, rules},
};

#[test]
fn a_menu_hears_keys_although_the_link_was_down_when_it_began() {
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans wake=60000 keys=12
        > 0 keep \"\"
        > 0 leg-listen on=true
        100 fails not-connected listen
        > 1100 leg-listen on=true
        1100 fails not-connected listen
        > 2100 leg-listen on=true
        2110 done listen
        9000 key 2
        > 9000 ask standard: key 2",
    );
    // Until the caller is gone.
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans wait=60000 keys=12
        > 0 keep \"\"
        > 0 leg-listen on=true
        100 fails hung-up listen
        5000 released hung-up
        > 5000 forget
        60000",
    );
}

#[test]
fn keys_that_nobody_wants_any_more_are_not_asked_for_again() {
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans wait=60000 keys=12 wake=500
        > 0 keep \"\"
        > 0 leg-listen on=true
        100 fails not-connected listen
        > 500 ask standard: woke
        500 standard plans wait=9000
        > 500 keep \"\"
        3000",
    );
    // And those that were wanted meanwhile are.
    check(
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        0 standard plans collect=1 wait=60000
        > 0 keep \"\"
        > 0 leg-listen on=true
        10 done listen
        20 key 1
        > 20 leg-listen on=false
        > 20 ask standard: collected \"1\" (most)
        30 fails not-connected listen
        40 standard plans wait=60000 keys=1
        > 40 keep \"\"
        3000",
    );
}

#[test]
fn a_pbx_that_never_listens_is_told_forty_times_and_then_with_each_renewal_of_the_lease() {
    let mut bill = check_with(
        with_lease(),
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        > 0 leg-lease secs=45
        0 standard plans wait=3600000 keys=12
        > 0 keep \"\"
        > 0 leg-listen on=true",
    );
    for second in 0..600 {
        bill.input(&format!("{}", second * 1000));
        if bill.is_open("leg-listen") {
            bill.input(&format!("{} fails not-connected listen", second * 1000));
        }
    }
    let told = bill.done().iter().filter(|line| line.ends_with("leg-listen on=true")).count();
    assert!((60..100).contains(&told), "{told}");
}

#[test]
fn a_connector_that_began_anew_hears_with_the_next_renewal_of_the_lease_that_keys_are_wanted() {
    check_with(
        with_lease(),
        "0 offered
        > 0 ask hours
        0 hours treats usually
        > 0 hours decided treatment:standard
        > 0 ask standard: started
        > 0 leg-lease secs=45
        0 standard plans wait=20000 keys=12
        > 0 keep \"\"
        > 0 leg-listen on=true
        10 done listen
        > 15000 leg-lease secs=45
        > 15000 leg-listen on=true
        15010 done listen
        > 20000 ask standard: finished
        20001 standard plans wait=60000
        > 20001 keep \"\"
        > 20001 leg-listen on=false
        > 30000 leg-lease secs=45
        44000",
    );
}

fn with_lease() -> Rules {
    Rules { lease: Duration::from_secs(45), ..rules() }
}
