//! The comparison of what a server returned with what was written.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::Row;
use crate::fleet::Series;
use crate::timeline::Timeline;

/// Numbers of samples, as they are printed.
#[derive(Serialize, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Samples that were written.
    expected: u64,
    /// Written, but not returned.
    missing: u64,
    /// Returned with another value.
    wrong: u64,
    /// Returned, but never written.
    extra: u64,
    /// Returned more than once.
    duplicate: u64,
}

impl Outcome {
    /// Whether the server returned exactly what was written.
    pub(crate) fn is_exact(&self) -> bool {
        self.missing + self.wrong + self.extra + self.duplicate == 0
    }

    /// Adds the numbers of another comparison.
    pub(super) fn add(&mut self, other: Outcome) {
        self.expected += other.expected;
        self.missing += other.missing;
        self.wrong += other.wrong;
        self.extra += other.extra;
        self.duplicate += other.duplicate;
    }
}

/// Samples that a server returned: values by time in milliseconds, for each label set.
#[derive(Debug, Default)]
pub(super) struct ReadBack {
    series: BTreeMap<Vec<(String, String)>, BTreeMap<i64, f64>>,
    duplicate: u64,
}

impl ReadBack {
    /// Adds the points of a response that are later than `after_ms`. A server whose range selectors include their start
    /// returns points that belong to the previous span.
    pub(super) fn add(&mut self, rows: &[Row], after_ms: i64) {
        for row in rows {
            let labels = row.metric.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            let points = self.series.entry(labels).or_default();
            for (at, value) in row.points().filter(|(at, _)| *at > after_ms) {
                self.duplicate += u64::from(points.insert(at, value).is_some());
            }
        }
    }

    /// Counts the differences between a host and what was returned of it.
    pub(super) fn compare(mut self, host: &[Series], timeline: &Timeline) -> Outcome {
        let mut outcome = Outcome { duplicate: self.duplicate, ..Outcome::default() };
        for series in host {
            let mut points = self.series.remove(&series.labels).unwrap_or_default();
            for step in 0..timeline.steps {
                outcome.expected += 1;
                match points.remove(&timeline.timestamp_ms(step)) {
                    Some(value) if value == series.value(step) => {}
                    Some(_) => outcome.wrong += 1,
                    None => outcome.missing += 1,
                }
            }
            outcome.extra += points.len() as u64;
        }
        outcome.extra += self.series.values().map(|points| points.len() as u64).sum::<u64>();
        outcome
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fleet;

    const TIMELINE: Timeline = Timeline { end: 600, interval: 15, steps: 3 };

    /// The first two series of a host.
    fn host() -> Vec<Series> {
        fleet::host(0)[..2].to_vec()
    }

    /// A row with a series' values at some steps, plus `offset`.
    fn row(series: &Series, steps: &[u64], offset: f64) -> Row {
        let metric: BTreeMap<_, _> = series.labels.iter().cloned().collect();
        let point = |step: &u64| {
            json!([TIMELINE.timestamp_ms(*step) as f64 / 1000.0, (series.value(*step) + offset).to_string()])
        };
        let values: Vec<_> = steps.iter().map(point).collect();
        serde_json::from_value(json!({"metric": metric, "values": values})).unwrap()
    }

    fn compare(rows: &[Row]) -> Outcome {
        let mut found = ReadBack::default();
        found.add(rows, 0);
        found.compare(&host(), &TIMELINE)
    }

    #[test]
    fn what_was_written_is_exact() {
        let outcome = compare(&[row(&host()[0], &[0, 1, 2], 0.0), row(&host()[1], &[0, 1, 2], 0.0)]);
        assert_eq!(outcome, Outcome { expected: 6, ..Outcome::default() });
        assert!(outcome.is_exact());
    }

    #[test]
    fn nothing_is_six_samples_short() {
        let outcome = compare(&[]);
        assert_eq!(outcome, Outcome { expected: 6, missing: 6, ..Outcome::default() });
        assert!(!outcome.is_exact());
    }

    #[test]
    fn a_lost_sample_is_missing() {
        let outcome = compare(&[row(&host()[0], &[0, 2], 0.0), row(&host()[1], &[0, 1, 2], 0.0)]);
        assert_eq!(outcome, Outcome { expected: 6, missing: 1, ..Outcome::default() });
    }

    #[test]
    fn another_value_is_wrong() {
        let outcome = compare(&[row(&host()[0], &[0, 1, 2], 1.0), row(&host()[1], &[0, 1, 2], 0.0)]);
        assert_eq!(outcome, Outcome { expected: 6, wrong: 3, ..Outcome::default() });
    }

    #[test]
    fn a_sample_at_another_time_is_extra() {
        let outcome = compare(&[row(&host()[0], &[0, 1, 2, 3], 0.0), row(&host()[1], &[0, 1, 2], 0.0)]);
        assert_eq!(outcome, Outcome { expected: 6, extra: 1, ..Outcome::default() });
    }

    #[test]
    fn an_unknown_series_is_extra() {
        let unknown = &fleet::host(0)[7];
        let rows = [row(&host()[0], &[0, 1, 2], 0.0), row(&host()[1], &[0, 1, 2], 0.0), row(unknown, &[0, 1], 0.0)];
        assert_eq!(compare(&rows), Outcome { expected: 6, extra: 2, ..Outcome::default() });
    }

    #[test]
    fn a_sample_that_is_returned_twice_is_a_duplicate() {
        let rows = [row(&host()[0], &[0, 1, 2], 0.0), row(&host()[0], &[1], 0.0), row(&host()[1], &[0, 1, 2], 0.0)];
        assert_eq!(compare(&rows), Outcome { expected: 6, duplicate: 1, ..Outcome::default() });
    }

    #[test]
    fn points_of_the_previous_span_are_left_to_its_query() {
        let mut found = ReadBack::default();
        found.add(&[row(&host()[0], &[0, 1, 2], 0.0)], TIMELINE.timestamp_ms(0));
        let outcome = found.compare(&host()[..1], &TIMELINE);
        assert_eq!(outcome, Outcome { expected: 3, missing: 1, ..Outcome::default() });
    }

    #[test]
    fn outcomes_add_up() {
        let mut sum = compare(&[]);
        sum.add(compare(&[row(&host()[0], &[0, 1, 2], 0.0)]));
        assert_eq!(sum, Outcome { expected: 12, missing: 9, ..Outcome::default() });
    }
}
