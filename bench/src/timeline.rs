//! The times of a fleet's samples.

/// Evenly spaced sample times that end at a multiple of the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    /// Time of the last sample in Unix seconds.
    pub(crate) end: i64,
    /// Seconds between two samples; at least 1.
    pub(crate) interval: u64,
    /// Number of samples.
    pub(crate) steps: u64,
}

impl Timeline {
    /// A timeline whose last sample is at `end`, rounded down to the interval.
    pub(crate) fn ending_at(end: i64, interval: u64, steps: u64) -> Self {
        let interval = interval.max(1);
        Timeline { end: end.div_euclid(interval as i64) * interval as i64, interval, steps }
    }

    /// Time of the first sample in Unix seconds.
    pub(crate) fn start(&self) -> i64 {
        self.end - (self.steps as i64 - 1) * self.interval as i64
    }

    /// Time of a sample in milliseconds.
    pub(crate) fn timestamp_ms(&self, step: u64) -> i64 {
        (self.start() + (step * self.interval) as i64) * 1000
    }
}

/// The current time in Unix seconds.
#[expect(clippy::disallowed_methods, reason = "a load generator writes samples with the current time")]
pub(crate) fn now() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.map_or(0, |time| time.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_rounded_down_to_the_interval() {
        assert_eq!(Timeline::ending_at(1_000_014, 15, 4).end, 1_000_005);
        assert_eq!(Timeline::ending_at(1_000_005, 15, 4).end, 1_000_005);
    }

    #[test]
    fn the_last_step_is_at_the_end() {
        let timeline = Timeline::ending_at(600, 15, 4);
        assert_eq!(timeline.start(), 555);
        assert_eq!(timeline.timestamp_ms(0), 555_000);
        assert_eq!(timeline.timestamp_ms(3), 600_000);
    }

    #[test]
    fn one_step_starts_where_it_ends() {
        let timeline = Timeline::ending_at(600, 15, 1);
        assert_eq!(timeline.start(), timeline.end);
    }
}
