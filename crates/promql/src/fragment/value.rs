//! Values of fragments: in memory, and as they travel between nodes.

use std::sync::Arc;

use pharos_model::fragment::{FragmentResult, Note};
use pharos_model::{Histogram, SeriesBatch, SeriesView};

use crate::eval::MatrixSeries;
use crate::syntax::ast::Pos;

/// The value of a fragment over the steps of its query.
#[derive(Clone, Debug, Default)]
pub struct FragmentValue {
    /// Its series. Metric names are still there even if the operation drops them.
    pub series: Vec<MatrixSeries>,
    /// Whether the operation drops the metric names.
    pub names_go: bool,
    /// Annotations.
    pub notes: Vec<Note>,
    /// The number of samples that its steps looked at.
    pub queryable_samples: u64,
    /// That number by time of step; empty unless the query counts by step.
    pub queryable_by_step: Vec<(i64, u64)>,
}

/// A fragment whose value is already known, because other nodes evaluated it.
#[derive(Clone, Debug)]
pub struct Precomputed {
    /// The fragment's position in the query.
    pub pos: Pos,
    /// Its value over the steps of the query.
    pub value: FragmentValue,
    /// Names and values that a displayed plan shows for the fragment.
    pub details: Vec<(&'static str, String)>,
}

impl FragmentValue {
    /// The approximate memory that it holds, bytes.
    pub fn bytes(&self) -> u64 {
        let of = |s: &MatrixSeries| {
            let histograms: usize = s.histograms.iter().map(|(_, h): &(i64, Arc<Histogram>)| 16 + h.bytes()).sum();
            size_of::<MatrixSeries>() + s.labels.as_bytes().len() + 16 * s.floats.len() + histograms
        };
        self.series.iter().map(of).sum::<usize>() as u64
    }

    /// Adds the value at further steps, which must not overlap the steps it already has.
    pub fn extend(&mut self, other: FragmentValue) {
        self.names_go |= other.names_go;
        self.notes.extend(other.notes);
        self.queryable_samples += other.queryable_samples;
        self.queryable_by_step.extend(other.queryable_by_step);
        if self.series.is_empty() {
            self.series = other.series;
            return;
        }
        self.series.extend(other.series);
        self.series.sort_by(|a, b| a.labels.cmp(&b.labels));
        self.series.dedup_by(|later, earlier| {
            let same = later.labels == earlier.labels;
            if same {
                earlier.floats.append(&mut later.floats);
                earlier.histograms.append(&mut later.histograms);
            }
            same
        });
        for series in &mut self.series {
            series.floats.sort_by_key(|(t, _)| *t);
            series.histograms.sort_by_key(|(t, _)| *t);
        }
    }
}

/// Encodes series for the wire.
pub fn to_result(series: Vec<MatrixSeries>, names_go: bool) -> FragmentResult {
    let mut labels = Vec::with_capacity(series.len());
    let mut samples = SeriesBatch::default();
    for one in series {
        let (t, v): (Vec<i64>, Vec<f64>) = one.floats.into_iter().unzip();
        let (ht, h): (Vec<i64>, Vec<Arc<Histogram>>) = one.histograms.into_iter().unzip();
        samples.push(SeriesView { t: &t, v: &v, ht: &ht, h: &h, ..SeriesView::EMPTY });
        labels.push(one.labels);
    }
    FragmentResult { labels, samples, names_go }
}

/// Decodes series from the wire.
pub fn from_result(result: FragmentResult) -> Vec<MatrixSeries> {
    let FragmentResult { labels, samples, .. } = result;
    let series = labels.into_iter().enumerate().map(|(at, labels)| {
        let view = samples.view(at);
        MatrixSeries {
            labels,
            floats: view.t.iter().copied().zip(view.v.iter().copied()).collect(),
            histograms: view.ht.iter().copied().zip(view.h.iter().cloned()).collect(),
        }
    });
    series.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pharos_model::Labels;

    fn series(name: &str, times: &[i64]) -> MatrixSeries {
        let floats = times.iter().map(|t| (*t, *t as f64)).collect();
        MatrixSeries {
            labels: Labels::from_pairs([("__name__", name)]),
            floats,
            histograms: vec![(99, Arc::default())],
        }
    }

    fn value(series: Vec<MatrixSeries>) -> FragmentValue {
        FragmentValue { series, queryable_samples: 1, queryable_by_step: vec![(0, 1)], ..FragmentValue::default() }
    }

    #[test]
    fn series_survive_the_wire() {
        let all = vec![series("a", &[1, 2]), series("b", &[])];
        let result = to_result(all.clone(), true);
        assert!(result.names_go);
        assert_eq!(from_result(result), all);
    }

    #[test]
    fn values_at_other_steps_are_merged_by_series() {
        let mut all = value(vec![MatrixSeries { histograms: Vec::new(), ..series("b", &[3]) }]);
        all.extend(value(vec![series("a", &[1]), series("b", &[1, 2])]));
        assert_eq!(all.series, [series("a", &[1]), series("b", &[1, 2, 3])]);
        assert_eq!(all.queryable_samples, 2);
        assert_eq!(all.queryable_by_step, [(0, 1), (0, 1)]);
    }

    #[test]
    fn an_empty_value_takes_over_the_series_as_they_are_ordered() {
        let mut all = FragmentValue::default();
        all.extend(value(vec![series("b", &[1]), series("a", &[1])]));
        assert_eq!(all.series, [series("b", &[1]), series("a", &[1])]);
    }

    #[test]
    fn memory_grows_with_samples() {
        let one = value(vec![series("a", &[1])]).bytes();
        let two = value(vec![series("a", &[1, 2])]).bytes();
        assert_eq!(two - one, 16);
    }
}
