//! When a target is scraped: at a moment of the interval that its hash chooses, the same after every restart.

/// How far a scrape may be late and still get the timestamp that was planned, milliseconds; at most 1 % of the interval.
const TOLERANCE_MS: i64 = 2;

/// The first scrape at or after `now_ms`.
pub(crate) fn first_scrape(now_ms: i64, interval_ms: i64, hash: u64) -> i64 {
    let interval_ms = interval_ms.max(1);
    let offset = (hash % interval_ms as u64) as i64;
    let this_round = now_ms - now_ms.rem_euclid(interval_ms) + offset;
    if this_round < now_ms { this_round + interval_ms } else { this_round }
}

/// The timestamp of the scrape that was planned for `planned_ms` and begins at `now_ms`, and when the next one is.
pub(crate) fn scrape_time(planned_ms: i64, now_ms: i64, interval_ms: i64) -> (i64, i64) {
    let interval_ms = interval_ms.max(1);
    let skipped = (now_ms - planned_ms).max(0) / interval_ms;
    let planned_ms = planned_ms + skipped * interval_ms;
    let tolerance = TOLERANCE_MS.min(interval_ms / 100);
    let t = if now_ms - planned_ms <= tolerance { planned_ms } else { now_ms };
    (t, planned_ms + interval_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn timestamps_are_aligned_within_the_tolerance() {
        assert_eq!(scrape_time(1000, 1002, 1000), (1000, 2000));
        assert_eq!(scrape_time(1000, 1003, 1000), (1003, 2000));
        assert_eq!(scrape_time(1000, 1001, 100), (1000, 1100), "1 % of 100 ms");
        assert_eq!(scrape_time(1000, 1002, 100), (1002, 1100));
        assert_eq!(scrape_time(1000, 4001, 1000), (4000, 5000), "ticks were skipped");
    }

    proptest! {
        #[test]
        fn scrapes_keep_their_place_in_the_interval(now in 0i64..1 << 45, interval in 1i64..100_000, hash: u64) {
            let first = first_scrape(now, interval, hash);
            prop_assert!(now <= first && first < now + interval);
            prop_assert_eq!(first.rem_euclid(interval) as u64, hash % interval as u64);
            prop_assert_eq!(first_scrape(first, interval, hash), first);
        }
    }
}
