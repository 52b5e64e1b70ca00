//! What flows between operators: one series at a time, all steps of it, floats in a column and histograms apart.

use std::sync::Arc;

use pharos_model::{Histogram, Labels};

use super::bitmap::Bitmap;

/// The steps of an evaluation: `start + i * step` for `i < len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// First step, milliseconds.
    pub(crate) start: i64,
    /// Distance, milliseconds, at least 1.
    pub(crate) step: i64,
    /// How many.
    pub(crate) len: usize,
    /// Whether it is a moment, not a range that may hold one step only.
    pub(crate) instant: bool,
}

impl Grid {
    /// The steps from `start` to `end`.
    pub(crate) fn between(start: i64, end: i64, step: i64) -> Self {
        let step = step.max(1);
        let len = if end < start { 0 } else { (end.saturating_sub(start) / step) as usize + 1 };
        Grid { start, step, len, instant: start == end }
    }

    /// One step.
    pub(crate) fn single(t: i64) -> Self {
        Grid { start: t, step: 1, len: 1, instant: true }
    }

    /// The time of a step.
    pub(crate) fn time(&self, step: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(step as i64))
    }

    /// The time of the last step.
    pub(crate) fn end(&self) -> i64 {
        self.time(self.len.saturating_sub(1))
    }
}

/// One series over all steps of a grid. At a step it has a float, a histogram or nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// The series, with its name also when `drop_name` is set.
    pub(crate) labels: Labels,
    /// Whether the name goes away at the end (or in an aggregation).
    pub(crate) drop_name: bool,
    /// Floats, one a step; meaningful where `present`.
    pub(crate) values: Vec<f64>,
    /// The steps with a float.
    pub(crate) present: Bitmap,
    /// The steps with a histogram, ascending.
    pub(crate) hists: Vec<(u32, Arc<Histogram>)>,
}

impl Row {
    /// Becomes an empty series over `len` steps, keeping its memory.
    pub(crate) fn reset(&mut self, labels: &Labels, len: usize) {
        self.labels = labels.clone();
        self.drop_name = false;
        self.values.resize(len, 0.0);
        self.present.reset(len);
        self.hists.clear();
    }

    /// Puts a float at a step.
    pub(crate) fn put(&mut self, step: usize, value: f64) {
        self.values[step] = value;
        self.present.set(step);
    }

    /// Whether there is no sample at any step.
    pub(crate) fn is_empty(&self) -> bool {
        self.hists.is_empty() && self.present.is_empty()
    }

    /// The steps with a sample.
    pub(crate) fn occupied(&self) -> Bitmap {
        let mut all = self.present.clone();
        self.hists.iter().for_each(|(step, _)| all.set(*step as usize));
        all
    }

    /// Keeps the samples at the steps of `mask` only.
    pub(crate) fn mask(&mut self, mask: &Bitmap) {
        self.present.intersect(mask);
        self.hists.retain(|(step, _)| mask.get(*step as usize));
    }

    /// The histogram at a step.
    pub(crate) fn hist(&self, step: usize) -> Option<&Arc<Histogram>> {
        self.hists.binary_search_by_key(&(step as u32), |(s, _)| *s).ok().map(|at| &self.hists[at].1)
    }

    /// The number of samples.
    pub(crate) fn samples(&self) -> usize {
        self.present.count() + self.hists.len()
    }

    /// The bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.values.capacity() * 8
            + self.present.bytes()
            + self.hists.iter().map(|(_, h)| 16 + h.bytes()).sum::<usize>()
    }
}
