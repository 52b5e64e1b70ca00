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
