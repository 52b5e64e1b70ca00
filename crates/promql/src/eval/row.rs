//! Rows, which flow between operators: one series with all of its steps, floats in a column and histograms apart.

use std::sync::Arc;

use pharos_model::fragment::FragmentRow;
use pharos_model::{Histogram, Labels};

use super::bitmap::Bitmap;

/// The steps of an evaluation: `start + i * step` for `i < len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// The time of the first step, milliseconds.
    pub(crate) start: i64,
    /// The distance between steps, milliseconds; at least 1.
    pub(crate) step: i64,
    /// The number of steps.
    pub(crate) len: usize,
    /// Whether this is an instant. A range may have a single step, too.
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
    /// The labels of the series. The name is still there when `drop_name` is set.
    pub(crate) labels: Labels,
    /// Whether the result, or an aggregation, drops the name.
    pub(crate) drop_name: bool,
    /// One float for each step; meaningful only at the steps of `present`.
    pub(crate) values: Vec<f64>,
    /// The steps with a float.
    pub(crate) present: Bitmap,
    /// The steps with a histogram, ascending.
    pub(crate) hists: Vec<(u32, Arc<Histogram>)>,
    /// The first series of the group, if an aggregation yielded the row.
    pub(crate) first: Option<Labels>,
    /// The place among several groups that begin with the same series.
    pub(crate) rank: u32,
}

impl Row {
    /// Empties the row for another series over `len` steps and keeps its memory.
    pub(crate) fn reset(&mut self, labels: &Labels, len: usize) {
        self.labels = labels.clone();
        self.drop_name = false;
        (self.first, self.rank) = (None, 0);
        self.values.resize(len, 0.0);
        self.present.reset(len);
        self.hists.clear();
    }

    /// Sets the float at a step.
    pub(crate) fn put(&mut self, step: usize, value: f64) {
        self.values[step] = value;
        self.present.set(step);
    }

    /// Whether no step has a sample.
    pub(crate) fn is_empty(&self) -> bool {
        self.hists.is_empty() && self.present.is_empty()
    }

    /// The steps with a sample.
    pub(crate) fn occupied(&self) -> Bitmap {
        let mut all = self.present.clone();
        self.hists.iter().for_each(|(step, _)| all.set(*step as usize));
        all
    }

    /// Removes the samples at steps that are not in `mask`.
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

    /// The row as the value of a fragment has it.
    pub(crate) fn into_fragment_row(self) -> FragmentRow {
        let Row { labels, first, rank, present, values, hists, .. } = self;
        FragmentRow { labels, first, rank, present: present.into_words(), values, hists, sum: None }
    }

    /// The memory of a row of floats over `len` steps, bytes.
    pub(crate) fn bytes_over(len: usize) -> usize {
        size_of::<Self>() + 8 * len + Bitmap::bytes_over(len)
    }

    /// The memory that the row holds, bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.values.capacity() * 8
            + self.present.bytes()
            + self.hists.iter().map(|(_, h)| 16 + h.bytes()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_includes_both_ends() {
        let grid = Grid::between(10, 30, 10);
        assert_eq!(grid.len, 3);
        assert_eq!(grid.end(), 30);
        assert!(!grid.instant);
    }

    #[test]
    fn a_grid_ends_at_the_last_step_before_the_end() {
        let grid = Grid::between(10, 39, 10);
        assert_eq!(grid.len, 3);
        assert_eq!(grid.end(), 30);
    }

    #[test]
    fn a_grid_that_ends_before_it_starts_is_empty() {
        assert_eq!(Grid::between(10, 9, 10).len, 0);
    }

    #[test]
    fn a_row_counts_floats_and_histograms() {
        let mut row = Row::default();
        row.reset(&Labels::empty(), 4);
        assert!(row.is_empty());
        row.put(0, 1.0);
        row.hists.push((2, Arc::default()));
        assert_eq!(row.samples(), 2);
        assert_eq!(row.occupied().iter().collect::<Vec<_>>(), [0, 2]);
        assert!(row.hist(2).is_some());
        assert!(row.hist(0).is_none());
    }

    #[test]
    fn masking_removes_floats_and_histograms() {
        let mut row = Row::default();
        row.reset(&Labels::empty(), 4);
        row.put(0, 1.0);
        row.put(1, 2.0);
        row.hists.push((2, Arc::default()));
        row.hists.push((3, Arc::default()));
        let mut mask = Bitmap::new(4);
        mask.set(1);
        mask.set(3);
        row.mask(&mask);
        assert_eq!(row.occupied(), mask);
    }

    #[test]
    fn resetting_a_row_forgets_its_samples() {
        let mut row = Row { drop_name: true, ..Row::default() };
        row.reset(&Labels::empty(), 2);
        row.put(1, 1.0);
        row.reset(&Labels::empty(), 2);
        assert!(row.is_empty());
        assert!(!row.drop_name);
    }
}
