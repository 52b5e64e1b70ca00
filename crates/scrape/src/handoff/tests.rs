mod simulation;

use std::time::Duration;

use pharos_model::Clock;

use super::*;
use crate::cache::TrackedSeries;
use crate::targets::Placement;
use crate::targets::tests::{resolved, target};
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

/// A target of job `j`.
fn target_of(job: &str) -> Target {
    target(&resolved(&format!("job_name: {job}\nrelabel_configs: [{{regex: zone|instance, action: labeldrop}}]")))
}

fn take(fixture: &Fixture, job: &str, is_first_scrape: bool) -> bool {
    !fixture.handoffs.take(&target_of(job), is_first_scrape).is_empty()
}

/// A record of a target with one series, which was not scraped at `next_ms`.
fn record(next_ms: i64) -> HandoffRecord {
    let canonical = Labels::from_pairs([("__name__", "m"), ("job", "j")]).as_bytes().to_vec();
    let hash = pharos_model::series_hash(&Default::default(), &canonical);
    HandoffRecord {
        labels: target_of("j").labels,
        url: "http://h:1/metrics".into(),
        placement: Placement { owner: 7, slot: 7 },
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
    assert!(!take(&fixture, "j", true));
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
    assert!(take(&fixture, "j", true));
    assert!(!take(&fixture, "j", true));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(fixture.lines().is_empty(), "a loop that took the record writes the markers");
}

#[tokio::test(start_paused = true)]
async fn targets_are_told_apart_by_their_labels() {
    let fixture = Fixture::new();
    fixture.handoffs.receive(record(START_MS)).unwrap();
    assert!(!take(&fixture, "other", true));
    assert!(take(&fixture, "j", true));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_scraped_already_takes_only_its_own_records() {
    let fixture = Fixture::new();
    fixture.handoffs.receive(record(START_MS)).unwrap();
    assert!(!take(&fixture, "j", false), "the record is of another target with the same labels");
    let placement = target_of("j").placement();
    fixture.handoffs.receive(HandoffRecord { placement, ..record(START_MS) }).unwrap();
    assert_eq!(fixture.handoffs.take(&target_of("j"), false).len(), 1);
    assert!(take(&fixture, "j", true), "the other one is still there");
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
    assert!(take(&fixture, "j", true));
    assert_eq!(fixture.handoffs.received_bytes.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_after_a_stop() {
    let fixture = Fixture::new();
    fixture.handoffs.receive(record(START_MS)).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    fixture.handoffs.shared.stop();
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
    assert!(!take(&fixture, "j", true));
}
