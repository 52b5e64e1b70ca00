//! Samples on their way to a query: some series at a time, in columns.
//!
//! Floats and histograms of a series are kept apart, each with its own timestamps in ascending order without
//! duplicates. Several series may point at the same timestamps (all series of one scrape share them in a block).

use std::ops::Range;
use std::sync::Arc;

use pharos_histogram::Histogram;

/// The samples of some series. Reused between fetches: [`SeriesBatch::clear`] keeps the memory.
#[derive(Default, Debug, Clone)]
pub struct SeriesBatch {
    /// Timestamps of floats, milliseconds.
    pub t: Vec<i64>,
    /// Values of floats; stale markers included.
    pub v: Vec<f64>,
    /// Start timestamps of floats, for the series that have any.
    pub st: Vec<i64>,
    /// Timestamps of histograms.
    pub ht: Vec<i64>,
    /// Histograms; a stale marker is a histogram whose sum is the stale NaN.
    pub h: Vec<Arc<Histogram>>,
    /// Start timestamps of histograms, for the series that have any.
    pub hst: Vec<i64>,
    /// One entry a series.
    pub series: Vec<SeriesColumns>,
}

/// Where the samples of one series are in a [`SeriesBatch`].
#[derive(Default, Debug, Clone, PartialEq, Eq)]
pub struct SeriesColumns {
    /// Its timestamps in `t`.
    pub t: Range<usize>,
    /// Its first value in `v`; there are as many as timestamps.
    pub v: usize,
    /// Its first start timestamp in `st`, when it has any.
    pub st: Option<usize>,
    /// Its histogram timestamps in `ht`.
    pub ht: Range<usize>,
    /// Its first histogram in `h`.
    pub h: usize,
    /// Its first histogram start timestamp in `hst`, when it has any.
    pub hst: Option<usize>,
}

/// The samples of one series.
#[derive(Clone, Copy, Debug)]
pub struct SeriesView<'a> {
    /// Timestamps of floats.
    pub t: &'a [i64],
    /// Values of floats.
    pub v: &'a [f64],
    /// Start timestamps of floats: empty, or one a float with 0 for unknown.
    pub st: &'a [i64],
    /// Timestamps of histograms.
    pub ht: &'a [i64],
    /// Histograms.
    pub h: &'a [Arc<Histogram>],
    /// Start timestamps of histograms: empty, or one a histogram with 0 for unknown.
    pub hst: &'a [i64],
}

impl SeriesBatch {
    /// Forgets the series and keeps the memory.
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

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The samples of a series.
    pub fn view(&self, series: usize) -> SeriesView<'_> {
        let c = &self.series[series];
        let (n, hn) = (c.t.len(), c.ht.len());
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

    /// The number of samples, floats and histograms.
    pub fn samples(&self) -> usize {
        self.series.iter().map(|c| c.t.len() + c.ht.len()).sum()
    }

    /// The bytes that the columns hold, for a query's budget.
    pub fn bytes(&self) -> usize {
        8 * (self.t.capacity() + self.v.capacity() + self.st.capacity() + self.ht.capacity() + self.hst.capacity())
            + self.h.iter().map(|h| h.bytes()).sum::<usize>()
            + self.series.capacity() * size_of::<SeriesColumns>()
    }
}

impl SeriesView<'_> {
    /// A series without samples.
    pub const EMPTY: SeriesView<'static> = SeriesView { t: &[], v: &[], st: &[], ht: &[], h: &[], hst: &[] };
}
