use std::sync::atomic::{AtomicI64, Ordering};

use pharos_model::clock::ManualClock;

use super::*;

/// A node's clock, whose wall clock is off by some time.
struct Skewed(ManualClock, AtomicI64);

impl Skewed {
    fn by(offset_ms: i64) -> Arc<Self> {
        Arc::new(Skewed(ManualClock::at(1_000_000), AtomicI64::new(offset_ms)))
    }
}

impl Clock for Skewed {
    fn now_ms(&self) -> i64 {
        self.0.now_ms() + self.1.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep_until(&self, deadline: Duration) -> Sleep {
        self.0.sleep_until(deadline)
    }
}

/// The answer of a leader whose monotonic clock is 400 s behind the node's, and 600 s behind the cluster's time.
fn answer(received: i64, answered: i64) -> HeartbeatAnswer {
    HeartbeatAnswer {
        clock: 7,
        received_ms: (received - 400_000) as u64,
        answered_ms: (answered - 400_000) as u64,
        time_ms: Some(400_000),
        ..HeartbeatAnswer::default()
    }
}

#[test]
fn a_node_whose_clock_is_behind_takes_the_clusters_time() {
    let local = Skewed::by(-10_000);
    let clock = ClusterClock::new(local.clone());
    let steps = clock.steps();
    assert_eq!((clock.now_ms(), clock.offset_ms()), (990_000, None));
    let sent = local.monotonic();
    local.0.advance(Duration::from_millis(30));
    let report = clock.learn(sent, &answer(1_000_010, 1_000_020)).unwrap();
    assert_eq!(report, Report { clock: 7, wall_ms: 390_000 });
    assert!(steps.has_changed().unwrap());
    assert_eq!((clock.now_ms(), clock.offset_ms()), (1_000_030, Some(-10_000)));
    local.1.store(60_000, Ordering::Relaxed);
    assert_eq!(clock.now_ms(), 1_000_030, "a step of the wall clock changes nothing");
    assert_eq!(clock.offset_ms(), Some(60_000));
}

#[test]
fn a_difference_within_the_error_moves_nothing() {
    let local = Skewed::by(-1000);
    let clock = ClusterClock::new(local.clone());
    let sent = local.monotonic();
    local.0.advance(Duration::from_millis(2000));
    clock.learn(sent, &answer(1_001_000, 1_001_000)).unwrap();
    assert_eq!(
        (clock.now_ms(), clock.offset_ms()),
        (1_001_000, Some(0)),
        "the answer may have been on its way for all of this time"
    );
}

#[test]
fn clocks_that_agree_are_left_alone() {
    let local = Skewed::by(40);
    let clock = ClusterClock::new(local.clone());
    clock.learn(local.monotonic(), &answer(1_000_000, 1_000_000)).unwrap();
    assert_eq!((clock.now_ms(), clock.offset_ms()), (1_000_040, Some(0)));
}

#[test]
fn an_older_leader_says_nothing_of_its_clock() {
    let local = Skewed::by(-10_000);
    let clock = ClusterClock::new(local.clone());
    assert_eq!(clock.learn(local.monotonic(), &HeartbeatAnswer::default()), None);
    assert_eq!(clock.now_ms(), 990_000);
}

#[test]
fn impossible_numbers_of_a_leader_move_nothing() {
    let clock = ClusterClock::new(Skewed::by(0));
    let hostile = HeartbeatAnswer { clock: 1, received_ms: u64::MAX, time_ms: Some(i64::MIN), ..Default::default() };
    assert_eq!(clock.learn(Duration::ZERO, &hostile), None);
    assert_eq!(clock.now_ms(), 1_000_000);
}
