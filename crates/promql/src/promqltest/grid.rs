//! Generated series that share their timestamps, as one scrape's do: a source for tests and benchmarks of many series.

use std::ops::Range;
use std::sync::Arc;

use pharos_model::{
    Budget, Labels, METRIC_NAME, MatchOp, SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView, TimeRange,
};

use crate::querier::Querier;

/// Series in order of labels with a float at each of the same timestamps.
#[derive(Clone, Debug)]
pub struct GridSeries {
    labels: Vec<Labels>,
    times: Vec<i64>,
    /// The values of the first series, then those of the second, and so on.
    values: Vec<f64>,
}

impl GridSeries {
    /// Series with samples at `times`, which must ascend (milliseconds). `value` is called with the series' position in
    /// `labels` and the sample's position in `times`.
    pub fn new(labels: Vec<Labels>, times: Vec<i64>, value: impl Fn(usize, usize) -> f64) -> Self {
        let mut series: Vec<(usize, Labels)> = labels.into_iter().enumerate().collect();
        series.sort_by(|a, b| a.1.cmp(&b.1));
        let of_series = |(series, _): &(usize, Labels)| {
            let series = *series;
            (0..times.len()).map(|sample| value(series, sample)).collect::<Vec<_>>()
        };
        let values = series.iter().flat_map(of_series).collect();
        GridSeries { labels: series.into_iter().map(|(_, labels)| labels).collect(), times, values }
    }

    /// `count` series of a metric, told apart by the label `i`, with one sample each.
    pub fn single_samples(name: &str, count: usize, t: i64, value: impl Fn(usize) -> f64) -> Self {
        let labels = |i: usize| Labels::from_pairs([(METRIC_NAME, name.to_string()), ("i", format!("{i:07}"))]);
        GridSeries::new((0..count).map(labels).collect(), vec![t], |series, _| value(series))
    }
}

impl SeriesSet for GridSeries {
    fn labels(&self) -> &[Labels] {
        &self.labels
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        let read = range.positions(&self.times);
        for at in series {
            let values = &self.values[at * self.times.len()..];
            out.push(SeriesView { t: &self.times[read.clone()], v: &values[read.clone()], ..SeriesView::EMPTY });
        }
        Ok(())
    }
}

/// A store of generated series. It knows metrics by name only: other matchers are ignored.
#[derive(Clone, Debug, Default)]
pub struct GridStore {
    metrics: Vec<(String, Arc<GridSeries>)>,
}

impl GridStore {
    /// The same store with another metric.
    #[must_use]
    pub fn with_metric(mut self, name: &str, series: GridSeries) -> Self {
        self.metrics.push((name.to_string(), Arc::new(series)));
        self
    }
}

impl Querier for GridStore {
    fn select(&self, request: &SelectRequest, _: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        let name = request.matchers.iter().find(|m| m.name == METRIC_NAME && m.op == MatchOp::Equal);
        let found = name.and_then(|name| self.metrics.iter().find(|(known, _)| *known == name.value));
        match found {
            Some((_, series)) => Ok(series.clone()),
            None => Ok(Arc::new(GridSeries { labels: Vec::new(), times: Vec::new(), values: Vec::new() })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> GridSeries {
        let labels = ["b", "a"].map(|k| Labels::from_pairs([(METRIC_NAME, "m"), ("k", k)]));
        GridSeries::new(labels.to_vec(), vec![10, 20, 30], |series, sample| (100 * series + sample) as f64)
    }

    fn values(series: &GridSeries, range: TimeRange) -> Vec<Vec<f64>> {
        let mut batch = SeriesBatch::default();
        series.fetch(0..series.labels.len(), range, &mut batch).unwrap();
        (0..series.labels.len()).map(|at| batch.view(at).v.to_vec()).collect()
    }

    #[test]
    fn grid_series_are_sorted_and_keep_their_values() {
        let grid = grid();
        assert_eq!(grid.labels[0].get("k"), Some("a"));
        assert_eq!(values(&grid, TimeRange::ALL), [[100.0, 101.0, 102.0], [0.0, 1.0, 2.0]]);
    }

    #[test]
    fn grid_series_are_cut_to_the_range_both_ends_included() {
        assert_eq!(values(&grid(), TimeRange::new(11, 30)), [[101.0, 102.0], [1.0, 2.0]]);
        assert_eq!(values(&grid(), TimeRange::new(10, 10)), [[100.0], [0.0]]);
        assert!(values(&grid(), TimeRange::new(31, 40)).iter().all(Vec::is_empty));
    }

    #[test]
    fn a_grid_store_finds_metrics_by_name() {
        let store = GridStore::default().with_metric("m", grid());
        let series = |name: &str| {
            let matchers = vec![pharos_model::Matcher::new(MatchOp::Equal, METRIC_NAME, name).unwrap()];
            let request = SelectRequest { matchers, range: TimeRange::ALL, max_series: 0 };
            store.select(&request, &Arc::new(Budget::unlimited())).unwrap().labels().len()
        };
        assert_eq!(series("m"), 2);
        assert_eq!(series("other"), 0);
    }
}
