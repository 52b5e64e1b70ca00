//! How many samples the steps of a query look at, as Prometheus counts them for its statistics.
//!
//! An operator counts for itself while it runs and adds its count to the evaluation's when it is done, never from within
//! a sink: what runs inside a subquery or an invariant part can then be taken out by exchanging the evaluation's count.

use pharos_model::Histogram;

use super::row::Row;
use super::window::{Cursor, Frame};

/// Samples looked at, in total and, when wanted, by step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// In total.
    pub(crate) total: u64,
    /// By step; empty when that is not wanted.
    pub(crate) steps: Vec<u64>,
}

impl Counts {
    /// Nothing yet, over `len` steps if counts by step are wanted.
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

    /// Adds the samples of a selector's row, one a step.
    pub(crate) fn add_row(&mut self, row: &Row) {
        self.total += row.present.count() as u64;
        if !self.steps.is_empty() {
            row.present.iter().for_each(|step| self.steps[step] += 1);
        }
        for (step, h) in &row.hists {
            self.add_at(*step as usize, weight(h));
        }
    }

    /// Adds the samples of all windows over a series.
    pub(crate) fn add_windows(&mut self, frame: &Frame, t: &[i64], ht: &[i64], h: &[std::sync::Arc<Histogram>]) {
        let (mut floats, mut hists) = (Cursor::default(), Cursor::default());
        for step in 0..frame.grid.len {
            let (start, end) = (frame.start(step), frame.end(step));
            floats.advance(t, start, end);
            hists.advance(ht, start, end);
            let weights = h[hists.first..hists.end].iter().map(|h| weight(h)).sum::<u64>();
            self.add_at(step, (floats.end - floats.first) as u64 + weights);
        }
    }

    /// Adds all of another count over the same steps, or, when that has none by step, its total.
    pub(crate) fn absorb(&mut self, other: Counts) {
        self.total += other.total;
        self.steps.iter_mut().zip(other.steps).for_each(|(a, b)| *a += b);
    }

    /// Adds a count over the steps behind those of this one.
    pub(crate) fn append(&mut self, other: Counts) {
        self.total += other.total;
        self.steps.extend(other.steps);
    }

    /// Adds a total at each of `len` steps.
    pub(crate) fn add_everywhere(&mut self, n: u64, len: usize) {
        self.total += n * len as u64;
        self.steps.iter_mut().for_each(|at| *at += n);
    }
}

/// Bytes of a histogram without buckets in Prometheus's memory.
const BARE_HISTOGRAM: usize = 168;
/// Bytes of a sample of a float there.
const FLOAT_SAMPLE: usize = 16;

/// For how many floats a histogram counts.
pub(crate) fn weight(h: &Histogram) -> u64 {
    let parts = h.positive_spans.len()
        + h.negative_spans.len()
        + h.positive_buckets.len()
        + h.negative_buckets.len()
        + h.custom_values.len();
    ((BARE_HISTOGRAM + 8 * parts + 8) / FLOAT_SAMPLE) as u64
}
