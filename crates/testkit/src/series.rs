//! Series in memory, and reading them back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use pharos_histogram::Histogram;
use pharos_model::{Labels, Matcher, SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView, TimeRange};

/// Series with their samples, ascending by labels.
#[derive(Clone, Debug, Default)]
pub struct MemorySeries {
    series: BTreeMap<Labels, Samples>,
}

/// The samples of a series, each kind ascending in time.
#[derive(Clone, Debug, Default)]
struct Samples {
    floats: BTreeMap<i64, f64>,
    histograms: BTreeMap<i64, Arc<Histogram>>,
}

impl Samples {
    fn is_within(&self, range: TimeRange) -> bool {
        let mut times = self.floats.keys().chain(self.histograms.keys());
        times.any(|t| range.contains(*t))
    }
}

impl MemorySeries {
    /// No series.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds floats to a series: timestamp and value.
    pub fn floats(mut self, labels: Labels, samples: impl IntoIterator<Item = (i64, f64)>) -> Self {
        self.series.entry(labels).or_default().floats.extend(samples);
        self
    }

    /// Adds histograms to a series: timestamp and value.
    pub fn histograms(mut self, labels: Labels, samples: impl IntoIterator<Item = (i64, Arc<Histogram>)>) -> Self {
        self.series.entry(labels).or_default().histograms.extend(samples);
        self
    }

    /// The labels of the series that all matchers match and that have samples in the range.
    pub fn labels(&self, matchers: &[Matcher], range: TimeRange) -> Vec<Labels> {
        self.matching(matchers, range).map(|(labels, _)| labels.clone()).collect()
    }

    /// The series that all matchers match and that have samples in the range, with all their samples.
    pub fn select(&self, request: &SelectRequest) -> Arc<dyn SeriesSet> {
        let matching = self.matching(&request.matchers, request.range);
        let (labels, samples) = matching.map(|(labels, samples)| (labels.clone(), samples.clone())).unzip();
        Arc::new(MemorySet { labels, samples })
    }

    fn matching(&self, matchers: &[Matcher], range: TimeRange) -> impl Iterator<Item = (&Labels, &Samples)> {
        self.series.iter().filter(move |(labels, samples)| {
            let matches = |m: &Matcher| m.matches(labels.get(&m.name).unwrap_or(""));
            samples.is_within(range) && matchers.iter().all(matches)
        })
    }
}

struct MemorySet {
    labels: Vec<Labels>,
    samples: Vec<Samples>,
}

impl SeriesSet for MemorySet {
    fn labels(&self) -> &[Labels] {
        &self.labels
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        for Samples { floats, histograms } in &self.samples[series] {
            let floats = floats.iter().filter(|(t, _)| range.contains(**t));
            let (t, v): (Vec<i64>, Vec<f64>) = floats.map(|(t, v)| (*t, *v)).unzip();
            let histograms = histograms.iter().filter(|(t, _)| range.contains(**t));
            let (ht, h): (Vec<i64>, Vec<_>) = histograms.map(|(t, h)| (*t, h.clone())).unzip();
            out.push(SeriesView { t: &t, v: &v, ht: &ht, h: &h, ..SeriesView::EMPTY });
        }
        Ok(())
    }
}

/// A series with its floats: timestamp and value.
pub type FloatSeries = (Labels, Vec<(i64, f64)>);

/// Fetches the floats of all series of a set.
///
/// # Errors
/// The set's own.
pub fn floats_of(set: &dyn SeriesSet, range: TimeRange) -> Result<Vec<FloatSeries>, SelectError> {
    let mut batch = SeriesBatch::default();
    set.fetch(0..set.labels().len(), range, &mut batch)?;
    let floats = |at: usize| {
        let view = batch.view(at);
        view.t.iter().copied().zip(view.v.iter().copied()).collect()
    };
    Ok(set.labels().iter().enumerate().map(|(at, labels)| (labels.clone(), floats(at))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str) -> Labels {
        Labels::from_pairs([("__name__", name)])
    }

    fn select(series: &MemorySeries, matchers: Vec<Matcher>, range: TimeRange) -> Vec<FloatSeries> {
        let set = series.select(&SelectRequest { matchers, range, max_series: 0 });
        floats_of(&*set, range).unwrap()
    }

    #[test]
    fn series_are_selected_by_matchers_in_the_order_of_their_labels() {
        let series = MemorySeries::new().floats(labels("b"), [(1, 1.0)]).floats(labels("a"), [(1, 2.0)]);
        let all = select(&series, Vec::new(), TimeRange::ALL);
        assert_eq!(all, [(labels("a"), vec![(1, 2.0)]), (labels("b"), vec![(1, 1.0)])]);
        let one = select(&series, vec![Matcher::equal("__name__", "b")], TimeRange::ALL);
        assert_eq!(one, [(labels("b"), vec![(1, 1.0)])]);
    }

    #[test]
    fn series_without_samples_in_the_range_are_not_selected() {
        let series = MemorySeries::new().floats(labels("a"), [(1, 1.0), (9, 3.0)]);
        assert!(select(&series, Vec::new(), TimeRange::new(2, 8)).is_empty());
        assert_eq!(select(&series, Vec::new(), TimeRange::new(2, 9)), [(labels("a"), vec![(9, 3.0)])]);
    }

    #[test]
    fn histograms_stand_beside_floats() {
        let histogram = Arc::new(Histogram { count: 3.0, ..Histogram::default() });
        let series = MemorySeries::new().floats(labels("a"), [(1, 1.0)]).histograms(labels("a"), [(2, histogram)]);
        let request = SelectRequest { matchers: Vec::new(), range: TimeRange::ALL, max_series: 0 };
        let mut batch = SeriesBatch::default();
        series.select(&request).fetch(0..1, TimeRange::ALL, &mut batch).unwrap();
        assert_eq!(batch.view(0).t, [1]);
        assert_eq!(batch.view(0).ht, [2]);
    }
}
