//! What callers can rely on, whatever hooks do.

use super::bill::check;

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
}
