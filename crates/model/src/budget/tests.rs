use super::*;
use crate::clock::ManualClock;

fn budget(clock: &Arc<ManualClock>) -> Budget {
    Budget::new(clock.clone(), Duration::from_secs(1), 100)
}

#[test]
fn memory_is_bounded() {
    let budget = budget(&Arc::default());
    assert!(budget.take(60).is_ok());
    assert!(matches!(budget.take(60), Err(SelectError::Memory { limit: 100 })));
    assert_eq!(budget.used_bytes(), 60, "nothing was taken");
    assert!(budget.take(40).is_ok());
    assert_eq!(budget.max_bytes(), 100);
}

#[test]
fn memory_that_is_given_back_can_be_taken_again() {
    let budget = budget(&Arc::default());
    budget.take(100).unwrap();
    budget.give_back(60);
    assert!(budget.take(60).is_ok());
}

#[test]
fn the_peak_includes_what_was_refused() {
    let budget = budget(&Arc::default());
    budget.take(60).unwrap();
    budget.give_back(60);
    assert_eq!(budget.peak_bytes(), 60);
    budget.take(120).unwrap_err();
    assert_eq!(budget.peak_bytes(), 120);
}

#[test]
fn a_query_ends_after_its_timeout() {
    let clock = Arc::new(ManualClock::at(0));
    let budget = budget(&clock);
    clock.set(400);
    assert_eq!(budget.remaining(), Duration::from_millis(600));
    clock.set(1000);
    assert!(budget.check().is_ok());
    clock.set(1001);
    assert_eq!(budget.remaining(), Duration::ZERO);
    assert_eq!(budget.check().unwrap_err().to_string(), "query timed out after 1s");
}

#[test]
fn a_query_that_was_cancelled_ends() {
    let budget = budget(&Arc::default());
    assert!(budget.check().is_ok());
    budget.cancel();
    assert_eq!(budget.check().unwrap_err().to_string(), "query was canceled");
}

#[test]
fn a_budget_may_be_unlimited() {
    let budget = Budget::unlimited();
    assert_eq!(budget.remaining(), Duration::MAX);
    assert!(budget.take(1 << 60).is_ok() && budget.check().is_ok());
}

#[test]
fn parts_share_the_limits() {
    let whole = Arc::new(budget(&Arc::default()));
    let part = whole.part();
    part.take(70).unwrap();
    assert_eq!(whole.used_bytes(), 70);
    assert!(whole.part().take(40).is_err());
    whole.cancel();
    assert!(part.check().is_err());
}

#[test]
fn reads_count_for_the_part_and_for_the_whole() {
    let whole = Arc::new(Budget::unlimited());
    let part = whole.part();
    part.count_read(10);
    part.count_reads(5, 2);
    whole.part().count_read(1);
    assert_eq!(part.reads(), (15, 3));
    assert_eq!(whole.reads(), (16, 4));
}

#[test]
fn a_dropped_guard_cancels_the_query_unless_it_was_disarmed() {
    let budget = Arc::new(Budget::unlimited());
    budget.cancel_on_drop().disarm();
    assert!(budget.check().is_ok());
    drop(budget.cancel_on_drop());
    assert!(matches!(budget.check(), Err(SelectError::Cancelled)));
}
