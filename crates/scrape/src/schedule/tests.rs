use proptest::prelude::*;

use super::*;

fn time(timestamp: i64, next_slot: i64) -> ScrapeTime {
    ScrapeTime { timestamp, next_slot }
}

#[test]
fn a_scrape_within_the_tolerance_gets_its_slots_timestamp() {
    assert_eq!(scrape_time(1000, 1002, 1000), time(1000, 2000));
}

#[test]
fn a_scrape_beyond_the_tolerance_gets_the_current_time() {
    assert_eq!(scrape_time(1000, 1003, 1000), time(1003, 2000));
}

#[test]
fn the_tolerance_is_at_most_one_percent_of_the_interval() {
    assert_eq!(scrape_time(1000, 1001, 100), time(1000, 1100));
    assert_eq!(scrape_time(1000, 1002, 100), time(1002, 1100));
}

#[test]
fn slots_that_passed_are_skipped() {
    assert_eq!(scrape_time(1000, 4001, 1000), time(4000, 5000));
}

#[test]
fn a_clock_that_is_behind_does_not_skip_slots() {
    assert_eq!(scrape_time(1000, 900, 1000), time(1000, 2000));
}

#[test]
fn an_interval_of_zero_counts_as_one_millisecond() {
    assert_eq!(first_slot(5, 0, 7), 5);
    assert_eq!(scrape_time(5, 5, 0), time(5, 6));
}

#[test]
fn after_a_step_back_the_next_slot_is_half_an_interval_or_more_after_the_last_scrape() {
    let seconds = Duration::from_secs;
    assert_eq!(after_step_back(100_000, 10_000, seconds(1)), 104_000);
    assert_eq!(after_step_back(100_000, 10_000, seconds(10)), 100_000);
    assert_eq!(after_step_back(100_000, 10_000, Duration::MAX), 100_000);
}

proptest! {
    #[test]
    fn slots_keep_their_place_in_the_interval(now in 0i64..1 << 45, interval in 1i64..100_000, hash: u64) {
        let first = first_slot(now, interval, hash);
        prop_assert!(now <= first && first < now + interval);
        prop_assert_eq!(first.rem_euclid(interval) as u64, hash % interval as u64);
        prop_assert_eq!(first_slot(first, interval, hash), first);
    }
}
