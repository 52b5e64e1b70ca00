//! Which samples go into which request.

use std::ops::Range;

use crate::timeline::Timeline;

/// How a fleet is divided among workers and requests.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Number of series of the fleet.
    pub(super) series: usize,
    pub(super) workers: usize,
    pub(super) timeline: Timeline,
    /// Samples per request; at least one series is sent in any case.
    pub(super) samples_per_request: u64,
    /// Samples of one series per request.
    pub(super) samples_per_series: u64,
}

/// The samples of one request: all these steps of all these series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Batch {
    /// Positions in the fleet.
    pub(super) series: Range<usize>,
    pub(super) steps: Range<u64>,
}

impl Batch {
    /// Number of samples.
    pub(super) fn samples(&self) -> u64 {
        self.series.len() as u64 * (self.steps.end - self.steps.start)
    }
}

impl Plan {
    /// The requests of a worker in time order. Workers own disjoint series, so the samples of a series stay in order.
    pub(super) fn batches(&self, worker: usize) -> impl Iterator<Item = Batch> {
        let owned = self.owned(worker);
        let per_series = self.samples_per_series.max(1);
        let starts = (0..self.timeline.steps).step_by(per_series as usize);
        starts.flat_map(move |start| {
            let steps = start..(start + per_series).min(self.timeline.steps);
            let width = (self.samples_per_request / (steps.end - steps.start)).max(1) as usize;
            let end = owned.end;
            let batch = move |first| Batch { series: first..(first + width).min(end), steps: steps.clone() };
            owned.clone().step_by(width).map(batch)
        })
    }

    /// The series of a worker; none when there are more workers than series.
    fn owned(&self, worker: usize) -> Range<usize> {
        let share = self.series.div_ceil(self.workers.max(1));
        let first = (worker * share).min(self.series);
        first..(first + share).min(self.series)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn plan(series: usize, workers: usize, steps: u64) -> Plan {
        let timeline = Timeline::ending_at(600, 15, steps);
        Plan { series, workers, timeline, samples_per_request: 4, samples_per_series: 1 }
    }

    #[test]
    fn a_request_holds_as_many_series_as_fit() {
        let batches: Vec<_> = plan(10, 1, 1).batches(0).collect();
        let series: Vec<_> = batches.iter().map(|batch| batch.series.clone()).collect();
        assert_eq!(series, [0..4, 4..8, 8..10]);
        assert_eq!(batches[0].samples(), 4);
        assert_eq!(batches[2].samples(), 2);
    }

    #[test]
    fn more_samples_of_a_series_leave_space_for_fewer_series() {
        let plan = Plan { samples_per_series: 2, ..plan(4, 1, 3) };
        let batches: Vec<_> = plan.batches(0).collect();
        let expected = [
            Batch { series: 0..2, steps: 0..2 },
            Batch { series: 2..4, steps: 0..2 },
            Batch { series: 0..4, steps: 2..3 },
        ];
        assert_eq!(batches, expected);
    }

    #[test]
    fn a_request_holds_a_series_even_if_its_samples_are_too_many() {
        let plan = Plan { samples_per_series: 100, ..plan(2, 1, 10) };
        assert!(plan.batches(0).all(|batch| batch.series.len() == 1 && batch.samples() == 10));
    }

    #[test]
    fn workers_without_series_send_nothing() {
        assert_eq!(plan(2, 5, 3).batches(4).count(), 0);
    }

    proptest! {
        #[test]
        fn every_sample_is_sent_once_and_in_order(
            series in 1..40_usize, workers in 1..9_usize, steps in 1..12_u64, batch in 1..30_u64, per_series in 1..15_u64,
        ) {
            let plan = Plan { samples_per_request: batch, samples_per_series: per_series, ..plan(series, workers, steps) };
            let mut sent = BTreeSet::new();
            for worker in 0..workers {
                let mut newest = 0;
                for batch in plan.batches(worker) {
                    prop_assert!(batch.steps.start >= newest);
                    newest = batch.steps.start;
                    for sample in batch.series.flat_map(|series| batch.steps.clone().map(move |step| (series, step))) {
                        prop_assert!(sent.insert(sample), "{sample:?} is sent twice");
                    }
                }
            }
            prop_assert_eq!(sent.len() as u64, series as u64 * steps);
        }
    }
}
