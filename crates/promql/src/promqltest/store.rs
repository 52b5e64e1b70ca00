//! An in-memory store of arbitrary samples.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use pharos_model::{
    Budget, Histogram, Labels, SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView, TimeRange,
};

use crate::querier::Querier;

/// Series with all of their samples, in order of time.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    series: BTreeMap<Labels, Arc<Samples>>,
}

/// The samples of one series.
#[derive(Clone, Debug, Default)]
struct Samples {
    t: Vec<i64>,
    v: Vec<f64>,
    st: Vec<i64>,
    ht: Vec<i64>,
    h: Vec<Arc<Histogram>>,
    hst: Vec<i64>,
}

impl MemoryStore {
    /// Removes all series.
    pub fn clear(&mut self) {
        self.series.clear();
    }

    /// Adds floats to a series: time, value, and start timestamp or 0, in milliseconds. A sample replaces an earlier one at the
    /// same time.
    pub fn add_floats(&mut self, labels: &Labels, samples: impl IntoIterator<Item = (i64, f64, i64)>) {
        let series = Arc::make_mut(self.series.entry(labels.clone()).or_default());
        for (t, v, st) in samples {
            match position(&series.t, t) {
                Ok(at) => (series.v[at], series.st[at]) = (v, st),
                Err(at) => {
                    series.t.insert(at, t);
                    series.v.insert(at, v);
                    series.st.insert(at, st);
                }
            }
        }
    }

    /// Adds native histograms to a series, like [`MemoryStore::add_floats`]. Their counter reset hints are set by
    /// [`MemoryStore::finish_load`].
    pub fn add_histograms(&mut self, labels: &Labels, samples: impl IntoIterator<Item = (i64, Arc<Histogram>, i64)>) {
        let series = Arc::make_mut(self.series.entry(labels.clone()).or_default());
        for (t, h, st) in samples {
            match position(&series.ht, t) {
                Ok(at) => (series.h[at], series.hst[at]) = (h, st),
                Err(at) => {
                    series.ht.insert(at, t);
                    series.h.insert(at, h);
                    series.hst.insert(at, st);
                }
            }
        }
    }

    /// Sets the counter reset hints that a store would derive if it started a new chunk at every reset. Call this when a load
    /// is complete.
    pub fn finish_load(&mut self) {
        for series in self.series.values_mut().filter(|s| !s.h.is_empty()) {
            Arc::make_mut(series).set_hints();
        }
    }
}

fn position(times: &[i64], t: i64) -> Result<usize, usize> {
    match times.last() {
        Some(last) if *last >= t => times.binary_search(&t),
        _ => Err(times.len()),
    }
}

impl Samples {
    fn set_hints(&mut self) {
        let mut before: Option<(i64, Arc<Histogram>)> = None;
        for (t, h) in self.ht.iter().zip(&mut self.h) {
            let float_between = |since: i64| {
                let next = self.t.partition_point(|at| *at <= since);
                self.t.get(next).is_some_and(|at| at < t)
            };
            let known = before.as_ref().filter(|(since, _)| !float_between(*since));
            let hint = h.hint_when_read(known.map(|(_, last)| &**last));
            if !h.is_stale() && h.counter_reset != hint {
                Arc::make_mut(h).counter_reset = hint;
            }
            before = Some((*t, h.clone()));
        }
    }

    fn view(&self, range: TimeRange) -> SeriesView<'_> {
        let (floats, histograms) = (range.positions(&self.t), range.positions(&self.ht));
        let starts = |st: &'_ [i64]| st.iter().any(|st| *st != 0);
        SeriesView {
            t: &self.t[floats.clone()],
            v: &self.v[floats.clone()],
            st: if starts(&self.st) { &self.st[floats] } else { &[] },
            ht: &self.ht[histograms.clone()],
            h: &self.h[histograms.clone()],
            hst: if starts(&self.hst) { &self.hst[histograms] } else { &[] },
        }
    }
}

impl Querier for MemoryStore {
    fn select(&self, request: &SelectRequest, _: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        let matched = |labels: &Labels| {
            request.matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or("")))
        };
        let found = self.series.iter().filter(|(labels, _)| matched(labels));
        let (labels, samples): (Vec<_>, Vec<_>) = found.map(|(l, s)| (l.clone(), s.clone())).unzip();
        request.check_series(labels.len())?;
        Ok(Arc::new(MemorySet { labels, samples }))
    }
}

/// The series of a selection.
struct MemorySet {
    labels: Vec<Labels>,
    samples: Vec<Arc<Samples>>,
}

impl SeriesSet for MemorySet {
    fn labels(&self) -> &[Labels] {
        &self.labels
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        for samples in &self.samples[series] {
            out.push(samples.view(range));
        }
        Ok(())
    }
}
