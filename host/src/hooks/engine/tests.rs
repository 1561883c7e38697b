//! What callers can rely on beyond their own desk.

use super::*;
use crate::hooks::inbox;

/// A host that begins anew, with what one before it kept of this leg.
async fn after_a_restart(
    leg: &str,
    store: &HookStore,
    memory: Memory,
    clock: Clock,
    stop: watch::Receiver<bool>,
) {
    let kept = Kept { treatment: "standard".to_owned(), at: clock.now().wall, ..Kept::default() };
    store.keep_state(leg, "standard", &kept::encode(kept), &[]).unwrap();
    // A desk, or the end of the host, would make the engine look; nobody calls and nothing ends.
    let (_inbox, outlet) = inbox();
    let (_plans, plan) = watch::channel(Arc::new(HookPlan::empty()));
    let parts = EngineParts {
        outlet,
        plan,
        store: store.clone(),
        fetcher: Fetcher::default(),
        clock,
        switch: FactsHandle::nowhere(),
        stop,
    };
    work(parts, memory).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_does_not_come_back_is_forgotten_although_nobody_calls() {
    let folder = tempfile::tempdir().unwrap();
    let store = HookStore::open(&folder.path().join("hooks.db")).unwrap();
    let (stop, stopped) = watch::channel(false);
    let clock = Clock::start();
    let memory = Memory::start(store.clone()).unwrap();
    let (it, its_memory) = (store.clone(), memory.clone());
    let engine = tokio::spawn(async move {
        after_a_restart("leg-7", &it, its_memory, clock, stopped).await;
    });
    tokio::time::sleep(KEPT_FOR - Duration::from_secs(1)).await;
    assert_eq!(store.states().unwrap(), ["leg-7"], "they may still come back");
    tokio::time::sleep(Duration::from_secs(2)).await;
    // The thread that writes does things in order: when it answers this, it has forgotten.
    assert_eq!(memory.get("nobody".to_owned(), "nothing".to_owned()).await, Ok(None));
    assert_eq!(store.states().unwrap(), [""; 0]);
    stop.send_replace(true);
    engine.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_to_be_kept_is_on_disk_when_the_hooks_have_stopped() {
    const CALLERS: u64 = 1000;
    let folder = tempfile::tempdir().unwrap();
    let store = HookStore::open(&folder.path().join("hooks.db")).unwrap();
    let (_stop, stopped) = watch::channel(true);
    let memory = Memory::start(store.clone()).unwrap();
    let clock = Clock::start();
    let kept = kept::encode(Kept { at: clock.now().wall, ..Kept::default() });
    for leg in 1..=CALLERS {
        assert!(memory.keep(LegId(leg), "standard".to_owned(), kept.clone()));
    }
    after_a_restart("leg-7", &store, memory, clock, stopped).await;
    assert_eq!(store.states().unwrap().len() as u64, CALLERS);
}
