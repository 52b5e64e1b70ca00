//! Tests of responses whose clients read slowly, or not at all.

use futures::StreamExt;
use pharos_model::clock::ManualClock;
use pharos_model::memory::MemoryLimits;

use super::*;

fn unsent(limit: u64) -> Arc<Unsent> {
    unsent_at(limit, Arc::new(ManualClock::at(0)))
}

fn unsent_at(responses: u64, clock: Arc<ManualClock>) -> Arc<Unsent> {
    Unsent::new(MemoryAccount::new(MemoryLimits { responses, ..MemoryLimits::unlimited() }), clock)
}

fn begin(unsent: &Arc<Unsent>) -> (Writer, Unread) {
    unsent.begin(&TenantId::default())
}

fn part(bytes: usize) -> Bytes {
    Bytes::from(vec![b' '; bytes])
}

#[tokio::test]
async fn a_small_response_is_complete_before_it_is_sent() {
    let unsent = unsent(100);
    let (writer, mut unread) = begin(&unsent);
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
async fn a_response_ends_with_its_last_part() {
    let unsent = unsent(100);
    let (writer, mut unread) = begin(&unsent);
    writer.send(part(10)).unwrap();
    writer.finish(part(20)).unwrap();
    assert_eq!(unread.first().await, Ok(Some(30)));
    assert_eq!(unread.next().await.unwrap().unwrap().len(), 10);
    assert_eq!(unread.next().await.unwrap().unwrap().len(), 20);
    assert!(unread.next().await.is_none());
}

#[tokio::test]
async fn a_writer_waits_for_a_client_that_is_a_window_behind() {
    let unsent = unsent(u64::MAX);
    let (writer, mut unread) = begin(&unsent);
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
    let unsent = unsent_at(u64::MAX, clock.clone());
    let (writer, _unread) = begin(&unsent);
    writer.send(part(WINDOW)).unwrap();
    clock.advance(STALL_TIMEOUT);
    assert!(writer.send(part(1)).is_err());
}

#[tokio::test]
async fn a_response_without_room_is_refused_with_the_name_of_the_limit() {
    let unsent = unsent(100);
    let (first, _reads_soon) = begin(&unsent);
    first.send(part(90)).unwrap();
    let (second, unread) = begin(&unsent);
    assert!(second.send(part(11)).is_err());
    let refused = unread.first().await.unwrap_err().unwrap();
    assert!(refused.to_string().contains("--web.max-unsent-bytes, 100 bytes"), "{refused}");
    second.complete();
    assert_eq!(unsent.bytes(), 90);
}

#[tokio::test]
async fn the_response_that_has_stalled_for_longest_gives_way() {
    let clock = Arc::new(ManualClock::at(0));
    let unsent = unsent_at(100, clock.clone());
    let (older, mut stalled) = begin(&unsent);
    older.send(part(40)).unwrap();
    older.complete();
    clock.advance(GIVES_WAY_AFTER);
    let (newer, mut waits) = begin(&unsent);
    newer.send(part(40)).unwrap();
    newer.complete();
    clock.advance(GIVES_WAY_AFTER);
    let (writer, mut unread) = begin(&unsent);
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
    let (writer, unread) = begin(&unsent);
    writer.send(part(40)).unwrap();
    drop(unread);
    assert_eq!(unsent.bytes(), 0);
    assert!(writer.send(part(1)).is_err());
    assert_eq!(unsent.bytes(), 0);
}

#[tokio::test]
async fn a_writer_that_fails_aborts_the_response() {
    let unsent = unsent(u64::MAX);
    let (writer, mut unread) = begin(&unsent);
    writer.send(part(PART_BYTES)).unwrap();
    assert_eq!(unread.first().await, Ok(None));
    drop(writer);
    assert!(unread.next().await.unwrap().is_ok());
    assert!(unread.next().await.unwrap().is_err());
}

#[tokio::test]
async fn only_responses_to_a_tenant_make_room_under_its_limit() {
    let clock = Arc::new(ManualClock::at(0));
    let limits = MemoryLimits { of_a_tenant: 100, ..MemoryLimits::unlimited() };
    let unsent = Unsent::new(MemoryAccount::new(limits), clock.clone());
    let tenants = ["a", "b"].map(|name| TenantId::new(name).unwrap());
    let stalled = tenants.each_ref().map(|tenant| {
        let (writer, unread) = unsent.begin(tenant);
        writer.send(part(60)).unwrap();
        writer.complete();
        unread
    });
    clock.advance(GIVES_WAY_AFTER);
    let (size, _unread) = unsent.whole(&tenants[0], part(50)).await.unwrap();
    assert_eq!((size, unsent.bytes()), (50, 60 + 50));
    let [mut of_a, mut of_b] = stalled;
    assert!(of_a.next().await.unwrap().is_err() && of_b.next().await.unwrap().is_ok());
    let refused = unsent.whole(&tenants[0], part(51)).await.err().unwrap();
    assert!(refused.is_of_tenant());
}
