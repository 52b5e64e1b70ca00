//! Time ranges and windows. All times are milliseconds since the Unix epoch, negative before it.

/// A closed range of time: both ends belong to it, in milliseconds since the epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct TimeRange {
    /// First millisecond.
    pub start: i64,
    /// Last millisecond.
    pub end: i64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: TimeRange = TimeRange { start: i64::MIN, end: i64::MAX };

    /// The range from `start` to `end`, both included; empty when `end < start`.
    pub fn new(start: i64, end: i64) -> Self {
        TimeRange { start, end }
    }

    /// Whether a time belongs to the range.
    pub fn contains(&self, t: i64) -> bool {
        self.start <= t && t <= self.end
    }

    /// Whether two ranges share a millisecond.
    pub fn overlaps(&self, other: &TimeRange) -> bool {
        self.start <= other.end && other.start <= self.end && !self.is_empty() && !other.is_empty()
    }

    /// Whether no millisecond belongs to the range.
    pub fn is_empty(&self) -> bool {
        self.end < self.start
    }

    /// The milliseconds that belong to both.
    pub fn intersect(&self, other: &TimeRange) -> TimeRange {
        TimeRange { start: self.start.max(other.start), end: self.end.min(other.end) }
    }
}

/// The start of the window of `width` milliseconds, aligned to the epoch, that holds `t`.
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
    fn overlap_is_symmetric_and_empty_ranges_overlap_nothing() {
        let a = TimeRange::new(0, 10);
        assert!(a.overlaps(&TimeRange::new(10, 20)) && TimeRange::new(10, 20).overlaps(&a));
        assert!(!a.overlaps(&TimeRange::new(11, 20)));
        assert!(!a.overlaps(&TimeRange::new(6, 5)));
    }
}
