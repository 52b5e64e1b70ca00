//! Time ranges and windows. All times are milliseconds since the Unix epoch, negative before it.

use std::ops::Range;

/// A closed range of time. Both ends belong to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct TimeRange {
    /// The first millisecond.
    pub start: i64,
    /// The last millisecond.
    pub end: i64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: TimeRange = TimeRange { start: i64::MIN, end: i64::MAX };

    /// A range without a millisecond.
    pub const EMPTY: TimeRange = TimeRange { start: 0, end: -1 };

    /// The range from `start` to `end`, both included. It is empty if `end` is before `start`.
    pub fn new(start: i64, end: i64) -> Self {
        TimeRange { start, end }
    }

    /// Whether a time belongs to the range.
    pub fn contains(&self, t: i64) -> bool {
        self.start <= t && t <= self.end
    }

    /// Whether the ranges have a millisecond in common.
    pub fn overlaps(&self, other: &TimeRange) -> bool {
        self.start <= other.end && other.start <= self.end && !self.is_empty() && !other.is_empty()
    }

    /// Whether no millisecond belongs to the range.
    pub fn is_empty(&self) -> bool {
        self.end < self.start
    }

    /// The milliseconds that belong to both ranges.
    pub fn intersect(&self, other: &TimeRange) -> TimeRange {
        TimeRange { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    /// The positions of the times in an ascending list that belong to the range.
    pub fn positions(&self, times: &[i64]) -> Range<usize> {
        let start = times.partition_point(|t| *t < self.start);
        start..times.partition_point(|t| *t <= self.end).max(start)
    }
}

/// The start of the window that contains `t`. Windows are `width` milliseconds long and aligned to the epoch.
pub fn window_start(t: i64, width: i64) -> i64 {
    t.saturating_sub(t.rem_euclid(width.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_aligned_also_before_the_epoch() {
        assert_eq!(window_start(7_199_999, 7_200_000), 0);
        assert_eq!(window_start(7_200_000, 7_200_000), 7_200_000);
        assert_eq!(window_start(-1, 7_200_000), -7_200_000);
        assert_eq!(window_start(i64::MIN, 7_200_000), i64::MIN);
    }

    #[test]
    fn a_window_is_never_of_zero_width() {
        assert_eq!(window_start(5, 0), 5);
        assert_eq!(window_start(5, -3), 5);
    }

    #[test]
    fn both_ends_belong_to_a_range() {
        let range = TimeRange::new(0, 10);
        assert!(range.contains(0) && range.contains(10));
        assert!(!range.contains(-1) && !range.contains(11));
    }

    #[test]
    fn ranges_overlap_when_they_share_a_millisecond() {
        let range = TimeRange::new(0, 10);
        let next = TimeRange::new(10, 20);
        assert!(range.overlaps(&next) && next.overlaps(&range));
        assert!(!range.overlaps(&TimeRange::new(11, 20)));
    }

    #[test]
    fn an_empty_range_overlaps_nothing() {
        for empty in [TimeRange::EMPTY, TimeRange::new(6, 5)] {
            assert!(empty.is_empty());
            assert!(!TimeRange::ALL.overlaps(&empty) && !empty.overlaps(&TimeRange::ALL));
        }
        assert!(!TimeRange::ALL.is_empty() && !TimeRange::new(5, 5).is_empty());
    }

    #[test]
    fn a_range_has_the_positions_of_its_times() {
        let times = [-5, 0, 10, 10, 20];
        assert_eq!(TimeRange::new(0, 10).positions(&times), 1..4);
        assert_eq!(TimeRange::ALL.positions(&times), 0..5);
        assert_eq!(TimeRange::new(11, 19).positions(&times), 4..4);
        assert!(TimeRange::new(10, -5).positions(&times).is_empty());
        assert_eq!(TimeRange::ALL.positions(&[]), 0..0);
    }

    #[test]
    fn ranges_intersect() {
        assert_eq!(TimeRange::new(0, 10).intersect(&TimeRange::new(5, 20)), TimeRange::new(5, 10));
        assert!(TimeRange::new(0, 4).intersect(&TimeRange::new(5, 20)).is_empty());
        assert_eq!(TimeRange::ALL.intersect(&TimeRange::new(5, 20)), TimeRange::new(5, 20));
        assert!(TimeRange::EMPTY.intersect(&TimeRange::ALL).is_empty());
    }
}
