//! The feed alone: order, acknowledgements, failures.

use super::*;
use crate::{hooks::observers::feed::Feed, journal::Published};

const S: Duration = Duration::from_secs(1);

fn published(count: u64) -> Vec<Arc<Published>> {
    let event = |seq: u64| Published {
        seq,
        kind: if seq.is_multiple_of(10) { "call.ended" } else { "leg.changed" }.into(),
        connector: None,
        queue: None,
        agent: None,
        call: Some(format!("call-{seq}").into()),
        json: format!(r#"{{"seq":{seq},"at":"2026-11-22T09:00:00Z"}}"#).into(),
    };
    (1..=count).map(|seq| Arc::new(event(seq))).collect()
}

/// Reads what it wants of the journal.
fn fill(feed: &mut Feed, journal: &[Arc<Published>]) {
    while let Some((after, limit)) = feed.hungry() {
        let next: Vec<_> =
            journal.iter().filter(|it| it.seq > after).take(limit).cloned().collect();
        if next.is_empty() {
            return;
        }
        feed.take(&next);
    }
}

#[test]
fn every_event_is_given_once_and_in_order_while_nothing_fails() {
    let journal = published(1000);
    let mut feed = Feed::new(0);
    let mut given = Vec::new();
    loop {
        fill(&mut feed, &journal);
        let Some(inputs) = feed.next_step(S) else { break };
        given.extend(seqs(&inputs));
        feed.stepped(vec![ack(*given.last().unwrap())], S);
        feed.committed();
    }
    assert_eq!(given, (1..=1000).collect::<Vec<_>>());
    assert!(feed.is_quiet());
    assert_eq!(feed.lag(1000, Timestamp(0)).events, 0);
}

#[test]
fn after_a_failure_everything_since_the_last_ack_comes_again_in_order_one_at_a_time() {
    let journal = published(10);
    let mut feed = Feed::new(0);
    fill(&mut feed, &journal);
    let inputs = feed.next_step(S).unwrap();
    feed.stepped(vec![ack(3)], S);
    feed.committed();
    assert_eq!(seqs(&inputs).len(), 10);
    let said = feed.failed(&inputs, &HookFailure::Trapped("boom".to_owned()), S);
    assert_eq!(said, "it trapped: boom, at one of the events 1 to 10; again in 1 s");
    fill(&mut feed, &journal);
    assert!(feed.next_step(S).is_none(), "not before its pause is over");
    assert_eq!(feed.poll_timeout(S), Some(2 * S));
    let mut given = Vec::new();
    while let Some(inputs) = feed.next_step(2 * S) {
        assert_eq!(inputs.len(), 1);
        given.extend(seqs(&inputs));
        if given.last() == Some(&7) {
            let said = feed.failed(&inputs, &HookFailure::Trapped("boom".to_owned()), 2 * S);
            assert_eq!(said, "it trapped: boom, at event 7 (leg.changed); again in 2 s");
            break;
        }
        feed.stepped(Vec::new(), 2 * S);
        feed.committed();
    }
    assert_eq!(given, [4, 5, 6, 7]);
}

#[test]
fn one_that_always_fails_at_the_same_event_is_tried_later_and_later_up_to_a_minute() {
    let journal = published(3);
    let mut feed = Feed::new(0);
    let mut now = S;
    let mut pauses = Vec::new();
    for _ in 0..9 {
        fill(&mut feed, &journal);
        // The events before it go well, and change nothing about the pause.
        while let Some(inputs) = feed.next_step(now) {
            if seqs(&inputs).contains(&3) {
                feed.failed(&inputs, &HookFailure::Late { after: S }, now);
                break;
            }
            feed.stepped(Vec::new(), now);
            feed.committed();
        }
        let again = feed.poll_timeout(now).unwrap();
        pauses.push((again - now).as_secs());
        now = again;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn what_was_never_given_cannot_be_acknowledged_and_nothing_goes_back() {
    let journal = published(5);
    let mut feed = Feed::new(2);
    fill(&mut feed, &journal);
    feed.next_step(S).unwrap();
    assert_eq!(feed.stepped(vec![ack(99), ack(4), ack(3), ack(1)], S).ack, Some(4));
    feed.committed();
    assert_eq!(feed.stepped(vec![ack(4), ack(2)], S).ack, None);
}

#[test]
fn answers_for_a_guest_that_is_gone_are_nobodys() {
    let journal = published(2);
    let mut feed = Feed::new(0);
    fill(&mut feed, &journal);
    let inputs = feed.next_step(S).unwrap();
    feed.stepped(vec![post("a")], S);
    let (life, asked) = feed.committed();
    assert_eq!(asked.len(), 1);
    feed.failed(&inputs, &HookFailure::Trapped(String::new()), S);
    feed.answered(life, Answer::failed("a", plugin_runtime::hooks::HookError::new("gone", "")));
    let again = feed.next_step(3 * S);
    assert!(again.is_none_or(|inputs| seqs(&inputs).len() == inputs.len()));
}

#[test]
fn more_lookups_than_may_be_open_are_answered_at_once() {
    let mut feed = Feed::new(0);
    fill(&mut feed, &published(1));
    feed.next_step(S).unwrap();
    feed.stepped((0..70).map(|n| post(&n.to_string())).collect(), S);
    let (_, asked) = feed.committed();
    assert_eq!(asked.len(), 64);
    let inputs = feed.next_step(S).unwrap();
    assert_eq!(inputs.len(), 6);
    assert!(matches!(&inputs[0], ObserverInput::Answer(answer) if answer.id == "64"
        && answer.error.as_ref().is_some_and(|it| it.message.contains("64 lookups"))));
}

#[test]
fn what_an_observer_does_not_want_it_is_not_told_and_its_cursor_passes_by() {
    let wishes = |words: &str| plugin_runtime::hooks::Wishes {
        facts: vec![("events".to_owned(), words.to_owned())],
        ..Default::default()
    };
    let journal = published(995);
    for (words, first) in [("call.ended", 10), ("queue.*, call.*", 10), ("leg.*", 1), ("", 1)] {
        let mut feed = Feed::new(0);
        feed.wants(super::super::feed::Wanted::of(&wishes(words)));
        fill(&mut feed, &journal);
        assert_eq!(seqs(&feed.next_step(S).unwrap())[0], first, "{words:?}");
    }
    let mut feed = Feed::new(0);
    feed.wants(super::super::feed::Wanted::of(&wishes("call.ended")));
    fill(&mut feed, &journal);
    let given = seqs(&feed.next_step(S).unwrap());
    assert_eq!(given, (1..=99).map(|n| n * 10).collect::<Vec<_>>());
    assert_eq!(feed.stepped(vec![ack(990)], S).ack, Some(995), "nothing is left before 995");
    feed.committed();
    assert_eq!(feed.lag(995, Timestamp(0)).events, 0);
    assert_eq!(feed.idle_commit(S), None, "not for each event");
    let mut never = Feed::new(0);
    never.wants(super::super::feed::Wanted::of(&wishes("agent.*")));
    fill(&mut never, &published(1000));
    assert_eq!(never.idle_commit(S).and_then(|it| it.ack), Some(1000));
}

#[test]
fn one_that_acknowledges_nothing_is_not_told_for_ever() {
    let journal = published(10_000);
    let mut feed = Feed::new(0);
    let mut given = 0;
    loop {
        fill(&mut feed, &journal);
        let Some(inputs) = feed.next_step(S) else { break };
        given += inputs.len();
        feed.stepped(Vec::new(), S);
        feed.committed();
    }
    assert_eq!(given, 4096);
    assert_eq!(feed.lag(10_000, Timestamp(0)).events, 10_000);
}

#[test]
fn a_wake_up_comes_when_it_was_asked_for_and_never_without_a_pause() {
    let mut feed = Feed::new(0);
    fill(&mut feed, &published(1));
    feed.next_step(S).unwrap();
    feed.stepped(vec![ObserverAction::WakeAt(Some(5 * S)), ack(1)], S);
    feed.committed();
    assert_eq!(feed.next_step(4 * S), None);
    assert_eq!(feed.poll_timeout(4 * S), Some(5 * S));
    assert_eq!(feed.next_step(5 * S), Some(vec![ObserverInput::Wake]));
    feed.stepped(vec![ObserverAction::WakeAt(Some(Duration::ZERO))], 5 * S);
    feed.committed();
    assert_eq!(feed.next_step(5 * S), None);
    assert!(feed.next_step(5 * S + Duration::from_millis(10)).is_some());
}

#[test]
fn while_the_disk_is_full_nothing_is_given_and_nothing_is_asked() {
    let journal = published(300);
    let mut feed = Feed::new(0);
    fill(&mut feed, &journal);
    feed.next_step(S).unwrap();
    let commit = feed.stepped(vec![ack(5), store("dead/5"), post("x")], S).clone();
    feed.not_committed(S);
    assert_eq!((feed.next_step(S), feed.to_write(S)), (None, None));
    assert_eq!(feed.to_write(2 * S), Some(&commit), "the same again");
    let (_, asked) = feed.committed();
    assert_eq!(asked.len(), 1);
    assert_eq!(seqs(&feed.next_step(2 * S).unwrap())[0], 129);
}

#[test]
fn events_that_are_gone_are_said_before_those_after_them() {
    let journal = published(50);
    let mut feed = Feed::new(3);
    feed.lose(40);
    fill(&mut feed, &journal);
    let inputs = feed.next_step(S).unwrap();
    assert_eq!(inputs[0], ObserverInput::Lost(40));
    assert_eq!(seqs(&inputs), (41..=50).collect::<Vec<_>>());
    assert_eq!(feed.stepped(vec![ack(40)], S).ack, Some(40));
}
