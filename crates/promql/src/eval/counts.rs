//! Counts the samples that the steps of a query look at, as Prometheus does for its statistics.
//!
//! An operator keeps its own count while it runs, and adds it to the evaluation's count when it is done, never from within a
//! sink. The count of a subquery or of an invariant subexpression can then be separated by swapping the evaluation's count.

use pharos_model::Histogram;

use super::row::Row;

/// The number of samples looked at, in total and, if requested, by step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// The total over all steps.
    pub(crate) total: u64,
    /// The number at each step; empty unless requested.
    pub(crate) steps: Vec<u64>,
}

impl Counts {
    /// Zero, for `len` steps if counts by step are requested.
    pub(crate) fn new(by_step: bool, len: usize) -> Self {
        Counts { total: 0, steps: if by_step { vec![0; len] } else { Vec::new() } }
    }

    /// Adds `n` at a step.
    pub(crate) fn add_at(&mut self, step: usize, n: u64) {
        self.total += n;
        if let Some(at) = self.steps.get_mut(step) {
            *at += n;
        }
    }

    /// Adds the samples of a selector's row, one for each step that has one.
    pub(crate) fn add_row(&mut self, row: &Row) {
        self.total += row.present.count() as u64;
        if !self.steps.is_empty() {
            row.present.iter().for_each(|step| self.steps[step] += 1);
        }
        for (step, h) in &row.hists {
            self.add_at(*step as usize, weight(h));
        }
    }

    /// Adds another count over the same steps. If it has no counts by step, only its total is added.
    pub(crate) fn absorb(&mut self, other: Counts) {
        self.total += other.total;
        self.steps.iter_mut().zip(other.steps).for_each(|(a, b)| *a += b);
    }

    /// Appends a count over the following steps.
    pub(crate) fn append(&mut self, other: Counts) {
        self.total += other.total;
        self.steps.extend(other.steps);
    }

    /// Adds `n` at each of `len` steps.
    pub(crate) fn add_everywhere(&mut self, n: u64, len: usize) {
        self.total += n * len as u64;
        self.steps.iter_mut().for_each(|at| *at += n);
    }
}

/// Bytes that Prometheus needs for a histogram without buckets.
const BARE_HISTOGRAM: usize = 168;
/// Bytes that Prometheus needs for a float sample.
const FLOAT_SAMPLE: usize = 16;

/// The number of float samples that a histogram counts as: its size in Prometheus's memory, in float samples.
pub(crate) fn weight(h: &Histogram) -> u64 {
    let parts = h.positive_spans.len()
        + h.negative_spans.len()
        + h.positive_buckets.len()
        + h.negative_buckets.len()
        + h.custom_values.len();
    ((BARE_HISTOGRAM + 8 * parts + 8) / FLOAT_SAMPLE) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_step_are_kept_on_request_only() {
        let mut total = Counts::new(false, 3);
        total.add_at(1, 5);
        assert_eq!(total.total, 5);
        assert!(total.steps.is_empty());
        let mut by_step = Counts::new(true, 3);
        by_step.add_at(1, 5);
        assert_eq!(by_step.steps, [0, 5, 0]);
    }

    #[test]
    fn counts_are_absorbed_step_by_step() {
        let mut counts = Counts { total: 3, steps: vec![1, 2] };
        counts.absorb(Counts { total: 30, steps: vec![10, 20] });
        assert_eq!(counts.total, 33);
        assert_eq!(counts.steps, [11, 22]);
    }

    #[test]
    fn counts_of_following_steps_are_appended() {
        let mut counts = Counts { total: 3, steps: vec![1, 2] };
        counts.append(Counts { total: 4, steps: vec![4] });
        assert_eq!(counts.total, 7);
        assert_eq!(counts.steps, [1, 2, 4]);
    }

    #[test]
    fn a_count_everywhere_is_multiplied() {
        let mut counts = Counts::new(true, 3);
        counts.add_everywhere(2, 3);
        assert_eq!(counts.total, 6);
        assert_eq!(counts.steps, [2, 2, 2]);
    }

    #[test]
    fn a_histogram_counts_by_its_size() {
        assert_eq!(weight(&Histogram::default()), 11);
        let buckets = Histogram { positive_buckets: vec![1.0; 20], ..Histogram::default() };
        assert_eq!(weight(&buckets), 21);
    }
}
