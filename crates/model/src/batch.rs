//! The batch of the read path: some series with their samples, in columns.
//!
//! The floats and histograms of a series are separate columns, each with its own timestamps, ascending and without
//! duplicates. Several series may share a range of timestamps, as all series of a scrape do in a block.

use std::ops::Range;
use std::sync::Arc;

use pharos_histogram::Histogram;

use crate::time::TimeRange;

/// The samples of some series. [`SeriesBatch::clear`] keeps the memory, so that fetches reuse it.
#[derive(Default, Debug, Clone)]
pub struct SeriesBatch {
    /// Timestamps of floats, milliseconds.
    pub t: Vec<i64>,
    /// Values of floats, including stale markers.
    pub v: Vec<f64>,
    /// Start timestamps of floats, for the series that have any.
    pub st: Vec<i64>,
    /// Timestamps of histograms, milliseconds.
    pub ht: Vec<i64>,
    /// Histograms; a stale marker is a histogram whose sum is the stale NaN.
    pub h: Vec<Arc<Histogram>>,
    /// Start timestamps of histograms, for the series that have any.
    pub hst: Vec<i64>,
    /// Where the samples of each series are.
    pub series: Vec<SeriesColumns>,
}

/// Where the samples of one series are in a [`SeriesBatch`].
#[derive(Default, Debug, Clone, PartialEq, Eq)]
pub struct SeriesColumns {
    /// The range of its timestamps in `t`.
    pub t: Range<usize>,
    /// The index of its first value in `v`. There are as many values as timestamps.
    pub v: usize,
    /// The index of its first start timestamp in `st`, if it has any.
    pub st: Option<usize>,
    /// The range of its histogram timestamps in `ht`.
    pub ht: Range<usize>,
    /// The index of its first histogram in `h`.
    pub h: usize,
    /// The index of its first histogram start timestamp in `hst`, if it has any.
    pub hst: Option<usize>,
}

/// The samples of one series, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct SeriesView<'a> {
    /// Timestamps of floats, milliseconds, ascending.
    pub t: &'a [i64],
    /// Values of floats, including stale markers.
    pub v: &'a [f64],
    /// Start timestamps of floats: none, or one for each float, where 0 is unknown.
    pub st: &'a [i64],
    /// Timestamps of histograms, milliseconds, ascending.
    pub ht: &'a [i64],
    /// Histograms, including stale markers.
    pub h: &'a [Arc<Histogram>],
    /// Start timestamps of histograms: none, or one for each histogram, where 0 is unknown.
    pub hst: &'a [i64],
}

impl SeriesBatch {
    /// Removes all series. The memory stays allocated.
    pub fn clear(&mut self) {
        self.t.clear();
        self.v.clear();
        self.st.clear();
        self.ht.clear();
        self.h.clear();
        self.hst.clear();
        self.series.clear();
    }

    /// The number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether the batch has no series.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The samples of the series at a position.
    pub fn view(&self, series: usize) -> SeriesView<'_> {
        let c = &self.series[series];
        let n = c.t.len();
        let hn = c.ht.len();
        SeriesView {
            t: &self.t[c.t.clone()],
            v: &self.v[c.v..c.v + n],
            st: c.st.map_or(&[], |at| &self.st[at..at + n]),
            ht: &self.ht[c.ht.clone()],
            h: &self.h[c.h..c.h + hn],
            hst: c.hst.map_or(&[], |at| &self.hst[at..at + hn]),
        }
    }

    /// Appends a series by copying its samples.
    pub fn push(&mut self, series: SeriesView<'_>) {
        let columns = SeriesColumns {
            t: self.t.len()..self.t.len() + series.t.len(),
            v: self.v.len(),
            st: (!series.st.is_empty()).then_some(self.st.len()),
            ht: self.ht.len()..self.ht.len() + series.ht.len(),
            h: self.h.len(),
            hst: (!series.hst.is_empty()).then_some(self.hst.len()),
        };
        self.t.extend_from_slice(series.t);
        self.v.extend_from_slice(series.v);
        self.st.extend_from_slice(series.st);
        self.ht.extend_from_slice(series.ht);
        self.h.extend_from_slice(series.h);
        self.hst.extend_from_slice(series.hst);
        self.series.push(columns);
    }

    /// The number of floats and histograms of all series.
    pub fn samples(&self) -> usize {
        self.series.iter().map(|c| c.t.len() + c.ht.len()).sum()
    }

    /// The memory that the columns hold, bytes. A query's budget counts it.
    pub fn bytes(&self) -> usize {
        8 * (self.t.capacity() + self.v.capacity() + self.st.capacity() + self.ht.capacity() + self.hst.capacity())
            + self.h.iter().map(|h| h.bytes()).sum::<usize>()
            + self.series.capacity() * size_of::<SeriesColumns>()
    }
}

impl SeriesView<'_> {
    /// A series without samples.
    pub const EMPTY: SeriesView<'static> = SeriesView { t: &[], v: &[], st: &[], ht: &[], h: &[], hst: &[] };

    /// The samples in a range.
    pub fn within(self, range: TimeRange) -> Self {
        fn part<T>(all: &[T], part: Range<usize>) -> &[T] {
            if all.is_empty() { all } else { &all[part] }
        }
        let (floats, histograms) = (range.positions(self.t), range.positions(self.ht));
        SeriesView {
            t: part(self.t, floats.clone()),
            v: part(self.v, floats.clone()),
            st: part(self.st, floats),
            ht: part(self.ht, histograms.clone()),
            h: part(self.h, histograms.clone()),
            hst: part(self.hst, histograms),
        }
    }
}

#[cfg(test)]
mod tests;
