//! Tests of responses whose clients read slowly, or not at all.

use futures::StreamExt;
use pharos_model::clock::ManualClock;

use super::*;

fn unsent(limit: usize) -> Arc<Unsent> {
    Unsent::new(limit, Arc::new(ManualClock::at(0)))
}

fn part(bytes: usize) -> Bytes {
    Bytes::from(vec![b' '; bytes])
}

#[tokio::test]
async fn a_small_response_is_complete_before_it_is_sent() {
    let unsent = unsent(100);
    let (writer, mut unread) = unsent.begin();
    writer.send(part(10)).unwrap();
    writer.complete();
    assert_eq!(unread.first().await, Ok(Some(10)));
    assert_eq!(unsent.bytes(), 10);
    assert_eq!(unread.next().await.unwrap().unwrap().len(), 10);
    // The compression layer polls again after the end.
    assert!(unread.next().await.is_none());
    assert!(unread.next().await.is_none());
    assert_eq!(unsent.bytes(), 0);
}

#[tokio::test]
async fn a_writer_waits_for_a_client_that_is_a_window_behind() {
    let unsent = unsent(usize::MAX);
    let (writer, mut unread) = unsent.begin();
    let writing = tokio::task::spawn_blocking(move || {
        for _ in 0..3 {
            writer.send(part(WINDOW)).unwrap();
        }
        writer.complete();
    });
    for _ in 0..3 {
        assert!(unsent.bytes() <= WINDOW);
        assert_eq!(unread.next().await.unwrap().unwrap().len(), WINDOW);
    }
    assert!(unread.next().await.is_none());
    writing.await.unwrap();
}

#[test]
fn a_writer_gives_a_stalled_client_up() {
    let clock = Arc::new(ManualClock::at(0));
    let unsent = Unsent::new(usize::MAX, clock.clone());
    let (writer, _unread) = unsent.begin();
    writer.send(part(WINDOW)).unwrap();
    clock.advance(STALL_TIMEOUT);
    assert!(writer.send(part(1)).is_err());
}

#[tokio::test]
async fn a_response_without_room_is_refused_with_the_name_of_the_limit() {
    let unsent = unsent(100);
    let (first, _reads_soon) = unsent.begin();
    first.send(part(90)).unwrap();
    let (second, unread) = unsent.begin();
    assert!(second.send(part(11)).is_err());
    let refused = unread.first().await.unwrap_err().unwrap();
    assert!(refused.to_string().contains("--web.max-unsent-bytes of 100"), "{refused}");
    second.complete();
    assert_eq!(unsent.bytes(), 90);
}

#[tokio::test]
async fn the_response_that_has_stalled_for_longest_gives_way() {
    let clock = Arc::new(ManualClock::at(0));
    let unsent = Unsent::new(100, clock.clone());
    let (older, mut stalled) = unsent.begin();
    older.send(part(40)).unwrap();
    older.complete();
    clock.advance(GIVES_WAY_AFTER);
    let (newer, mut waits) = unsent.begin();
    newer.send(part(40)).unwrap();
    newer.complete();
    clock.advance(GIVES_WAY_AFTER);
    let (writer, mut unread) = unsent.begin();
    writer.send(part(50)).unwrap();
    writer.complete();
    assert!(stalled.next().await.unwrap().is_err(), "the client must not take a part for the whole");
    assert!(waits.next().await.unwrap().is_ok());
    assert!(unread.next().await.unwrap().is_ok());
    assert_eq!(unsent.bytes(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_writer_and_frees_the_bytes() {
    let unsent = unsent(100);
    let (writer, unread) = unsent.begin();
    writer.send(part(40)).unwrap();
    drop(unread);
    assert_eq!(unsent.bytes(), 0);
    assert!(writer.send(part(1)).is_err());
    assert_eq!(unsent.bytes(), 0);
}

#[tokio::test]
async fn a_writer_that_fails_aborts_the_response() {
    let unsent = unsent(usize::MAX);
    let (writer, mut unread) = unsent.begin();
    writer.send(part(PART_BYTES)).unwrap();
    assert_eq!(unread.first().await, Ok(None));
    drop(writer);
    assert!(unread.next().await.unwrap().is_ok());
    assert!(unread.next().await.unwrap().is_err());
}
