mod simulation;

use std::time::Duration;

use pharos_model::Clock;

use super::*;
use crate::cache::TrackedSeries;
use crate::tests::{Recorder, START_MS, TokioClock, shared_with};

const INTERVAL_MS: i64 = 10_000;

struct Fixture {
    recorder: Arc<Recorder>,
    clock: Arc<TokioClock>,
    handoffs: Arc<Handoffs>,
}

impl Fixture {
    fn new() -> Self {
        let recorder = Arc::new(Recorder::default());
        let clock = TokioClock::new();
        let handoffs = Handoffs::new(shared_with(&recorder, clock.clone()));
        Fixture { recorder, clock, handoffs }
    }

    fn lines(&self) -> Vec<String> {
        self.recorder.take().into_iter().flatten().collect()
    }
}

fn labels() -> Labels {
    Labels::from_pairs([("job", "j")])
}

/// A record of a target with one series, which was not scraped at `next_ms`.
fn record(next_ms: i64) -> HandoffRecord {
    let canonical = Labels::from_pairs([("__name__", "m"), ("job", "j")]).as_bytes().to_vec();
    let hash = pharos_model::series_hash(&Default::default(), &canonical);
    HandoffRecord {
        labels: labels(),
        url: "http://h:1/metrics".into(),
        hash: 7,
        interval_ms: INTERVAL_MS,
        next_ms,
        extra: false,
        series: vec![TrackedSeries { canonical: canonical.into(), hash, is_histogram: false }],
        hops: 1,
        epoch: 0,
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_no_loop_takes_ends_in_stale_markers() {
    let fixture = Fixture::new();
    fixture.handoffs.receive(record(START_MS)).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let lines = fixture.lines();
    assert_eq!(lines.len(), 1 + 5, "the series and its report: {lines:?}");
    assert!(lines.iter().all(|line| line.ends_with(" stale @0")), "{lines:?}");
    assert!(fixture.handoffs.take(&labels()).is_none());
}

#[tokio::test(start_paused = true)]
async fn stale_markers_wait_for_a_loop_that_may_still_come() {
    let fixture = Fixture::new();
    fixture.handoffs.receive(record(START_MS)).unwrap();
    tokio::time::sleep(Duration::from_millis(INTERVAL_MS as u64)).await;
    assert!(fixture.lines().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_record_is_taken_once() {
    let fixture = Fixture::new();
    fixture.handoffs.receive(record(START_MS)).unwrap();
    assert!(fixture.handoffs.take(&labels()).is_some());
    assert!(fixture.handoffs.take(&labels()).is_none());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(fixture.lines().is_empty(), "a loop that took the record writes the markers");
}

#[tokio::test(start_paused = true)]
async fn targets_are_told_apart_by_their_labels() {
    let fixture = Fixture::new();
    fixture.handoffs.receive(record(START_MS)).unwrap();
    assert!(fixture.handoffs.take(&Labels::from_pairs([("job", "other")])).is_none());
    assert!(fixture.handoffs.take(&labels()).is_some());
}

#[tokio::test(start_paused = true)]
async fn records_beyond_the_memory_limit_are_refused() {
    let fixture = Fixture::new();
    fixture.handoffs.received_bytes.store(MAX_RECEIVED_BYTES, Ordering::Relaxed);
    let error = fixture.handoffs.receive(record(START_MS)).unwrap_err();
    assert!(error.contains("the limit is 268435456"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn taking_a_record_frees_its_memory() {
    let fixture = Fixture::new();
    fixture.handoffs.receive(record(START_MS)).unwrap();
    assert_eq!(fixture.handoffs.received_bytes.load(Ordering::Relaxed), record(START_MS).bytes());
    fixture.handoffs.take(&labels()).unwrap();
    assert_eq!(fixture.handoffs.received_bytes.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_after_a_stop() {
    let fixture = Fixture::new();
    fixture.handoffs.receive(record(START_MS)).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    fixture.handoffs.stop();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(fixture.lines().is_empty());
    assert_eq!(fixture.clock.now_ms(), START_MS + 61_000);
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_newer_epoch_is_dropped_without_markers() {
    let fixture = Fixture::new();
    fixture.handoffs.receive(HandoffRecord { epoch: 9, ..record(START_MS) }).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(fixture.lines().is_empty(), "the sender knows that another agent owns the target");
    assert!(fixture.handoffs.take(&labels()).is_none());
}
