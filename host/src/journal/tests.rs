use calls::{Body, Event, Timestamp};

use super::*;
use crate::{
    api::tests::world::{self, caller, gone, leg, options},
    publish::Read,
};

fn open(folder: &std::path::Path) -> (Journal, Recovered) {
    Journal::open(&options(folder), Zones::from("Europe/Berlin")).unwrap()
}

/// Real events: a queue with callers who come and go.
fn traffic(rounds: usize) -> (Vec<Event>, calls::State) {
    let mut core = world::core(calls::State::default());
    core.facts("hq", vec![world::queue("support")]);
    for round in 0..rounds {
        let native = format!("c{round}");
        core.facts("hq", vec![leg(&native), caller(&native, 1)]);
        core.facts("hq", gone(&native));
    }
    (core.events(), core.board.state().clone())
}

async fn write(journal: &Journal, events: Vec<Event>) {
    let last = events.last().unwrap().seq;
    let writer = journal.writer();
    writer.append(events).await.unwrap();
    writer.committed().wait_for(|committed| *committed >= last).await.unwrap();
}

#[tokio::test]
async fn a_reopened_journal_has_the_same_state_and_figures() {
    let folder = tempfile::tempdir().unwrap();
    let (events, state) = traffic(50);
    let last = events.last().unwrap().seq;
    let queue = state.queues().next().unwrap().id;
    let (journal, _) = open(folder.path());
    write(&journal, events.clone()).await;
    let before = journal.publisher().model().figures.today(queue, Timestamp(world::EVENING));
    assert_eq!(before.as_ref().unwrap().abandoned, 50);
    // Once by all events, once by the checkpoint that closing writes.
    for _ in 0..2 {
        drop(journal_copy(folder.path(), last, &state, queue, &before));
    }
    journal.close();
    let (journal, recovered) = open(folder.path());
    assert_eq!((recovered.last, recovered.replayed), (last, 0));
    assert_eq!(recovered.state, state);
    let after = journal.publisher().model().figures.today(queue, Timestamp(world::EVENING));
    assert_eq!(after, before);
}

/// As after a `kill -9`: the files as they are now, opened elsewhere.
fn journal_copy(
    folder: &std::path::Path,
    last: u64,
    state: &calls::State,
    queue: calls::QueueId,
    figures: &Option<crate::figures::DayFigures>,
) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["journal.db", "journal.db-wal"] {
        std::fs::copy(folder.join(name), copy.path().join(name)).unwrap();
    }
    let (journal, recovered) = open(copy.path());
    assert_eq!((recovered.last, recovered.replayed), (last, last));
    assert_eq!(recovered.state, *state);
    let found = journal.publisher().model().figures.today(queue, Timestamp(world::EVENING));
    assert_eq!(found, *figures);
    drop(journal);
    copy
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_says_so_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    let writer = journal.writer();
    writer.limit_pages(1);
    let (events, state) = traffic(200);
    let last = events.last().unwrap().seq;
    writer.append(events).await.unwrap();
    let mut health = writer.watch_health();
    let failing = health.wait_for(|health| *health != Health::Ok).await.unwrap().clone();
    assert!(
        matches!(&failing, Health::Failing { error, .. } if error.contains("full")),
        "{failing:?}"
    );
    assert_eq!(*writer.committed().borrow(), 0);
    writer.limit_pages(1_000_000);
    writer.committed().wait_for(|committed| *committed == last).await.unwrap();
    health.wait_for(|health| *health == Health::Ok).await.unwrap();
    assert_eq!(journal.publisher().model().state, state);
    journal.close();
    assert_eq!(open(folder.path()).1.state, state);
}

#[tokio::test]
async fn a_full_queue_makes_append_wait() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    let writer = journal.writer();
    writer.limit_pages(1);
    let (sample, _) = traffic(1);
    let event = |seq| Event { seq, ..sample[0].clone() };
    let full: Vec<_> = (1..=writer::MAX_QUEUED as u64).map(event).collect();
    writer.append(full).await.unwrap();
    let one_more = writer.append(vec![event(writer::MAX_QUEUED as u64 + 1)]);
    tokio::pin!(one_more);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(one_more.as_mut().poll(&mut context).is_pending());
    writer.limit_pages(1_000_000);
    one_more.await.unwrap();
}

#[tokio::test]
async fn a_writer_that_dies_is_noticed_by_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    let writer = journal.writer();
    writer.end_early();
    writer.ended().await;
    assert!(matches!(writer.health(), Health::Failing { error, .. } if error.contains("restart")));
    let (events, _) = traffic(1);
    assert_eq!(writer.append(events).await, Err(AppendError::Closed));
}

#[tokio::test]
async fn a_number_that_is_not_the_next_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    let (events, _) = traffic(1);
    let error = journal.writer().append(events[1..].to_vec()).await.unwrap_err();
    assert_eq!(error, AppendError::NotDense { expected: 1, got: 2 });
}

#[tokio::test]
async fn what_is_trimmed_is_in_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (events, state) = traffic(6_000);
    let last = events.last().unwrap().seq;
    assert!(last > 20_000, "enough for a checkpoint");
    let retention = Retention { keep_bytes: 1 << 20, ..Retention::default() };
    let options = JournalOptions { retention, ..options(folder.path()) };
    let (journal, _) = Journal::open(&options, Zones::default()).unwrap();
    write(&journal, events).await;
    journal.close();
    let first = publisher_first(folder.path());
    assert!(first > 1, "something was trimmed");
    let (journal, recovered) = open(folder.path());
    assert_eq!((recovered.state, recovered.last, recovered.first), (state, last, first));
    let publisher = journal.publisher();
    assert!(matches!(publisher.read(0, 10).await.unwrap(), Read::TooOld));
    assert!(matches!(publisher.read(last + 1, 10).await.unwrap(), Read::Ahead));
    let Read::Events(events) = publisher.read(first - 1, 10).await.unwrap() else { panic!() };
    assert_eq!(events[0].seq, first);
}

fn publisher_first(folder: &std::path::Path) -> u64 {
    Store::new(folder.join("journal.db")).first().unwrap().unwrap()
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_journal_is_for_its_user_only() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    write(&journal, traffic(1).0).await;
    for name in ["journal.db", "journal.db-wal"] {
        let mode = folder.path().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn two_hosts_cannot_write_one_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (_journal, _) = open(folder.path());
    let second = Journal::open(&options(folder.path()), Zones::default()).err().unwrap();
    assert!(second.to_string().contains("another jackfield"), "{second}");
}

#[tokio::test]
async fn a_newer_or_damaged_journal_says_what_to_do() {
    let cases = [
        ("PRAGMA user_version = 9", "newer jackfield"),
        ("UPDATE events SET schema = 9 WHERE seq = 3", "newer jackfield"),
        ("DELETE FROM events WHERE seq = 3", "event 3 is missing"),
        ("UPDATE events SET body = '{' WHERE seq = 3", "event 3"),
    ];
    for (damage, says) in cases {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = open(folder.path());
        write(&journal, traffic(2).0).await;
        journal.close();
        let file = rusqlite::Connection::open(folder.path().join("journal.db")).unwrap();
        file.execute_batch(&format!("DELETE FROM checkpoint; {damage};")).unwrap();
        drop(file);
        let error = Journal::open(&options(folder.path()), Zones::default()).err().unwrap();
        assert!(error.to_string().contains(says), "{damage}: {error}");
    }
}

#[tokio::test]
async fn a_call_is_found_by_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path());
    let (events, _) = traffic(3);
    let started = |event: &&Event| matches!(event.body, Body::CallStarted { .. });
    let call = events.iter().filter(started).nth(1).unwrap().about.call.unwrap();
    write(&journal, events).await;
    let found = journal.publisher().of_call(call, 0, 100).await.unwrap();
    assert!(found.len() > 3);
    assert!(found.iter().all(|event| *event.call.as_deref().unwrap() == *call.to_string()));
}

/// Rows of every schema ever released. Never change a line; add new ones.
#[test]
fn old_rows_can_be_read() {
    for line in include_str!("museum.jsonl").lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let schema = u32::try_from(row["schema"].as_u64().unwrap()).unwrap();
        let event = crate::wire::read_event(schema, &row["event"].to_string());
        event.unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}
