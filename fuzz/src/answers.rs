//! Answers between nodes: bytes that claim to be samples, label sets or columns are an error, or they can be read and encoded again.
//!
//! The first byte decides as which of them the rest is read.

use std::sync::Arc;

use pharos_model::fragment::{FragmentRow, PartialSum};
use pharos_model::wire::{Malformed, columns};
use pharos_model::{Histogram, Labels, SeriesBatch, SeriesView, Span};
use pharos_transport::query::{read_batch, read_labels, write_batch, write_labels};

/// The limit on decoded label sets, in bytes.
const MAX_LABEL_BYTES: usize = 16 << 20;

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 3 {
        0 => samples(bytes),
        1 => labels(bytes),
        _ => rows(bytes),
    }
}

/// The first byte is the number of steps.
fn rows(data: &[u8]) {
    let Some((steps, bytes)) = data.split_first() else { return };
    let read = |bytes: &[u8]| columns::decode(bytes, usize::from(*steps), |_| Ok::<_, Malformed>(()));
    let Ok(found) = read(bytes) else { return };
    let mut again = Vec::new();
    columns::encode(&found, &mut again);
    // NaN differs from itself.
    assert_eq!(
        format!("{:?}", read(&again)),
        format!("{:?}", Ok::<_, Malformed>(found)),
        "rows change when they are read again"
    );
}

fn samples(bytes: &[u8]) {
    let mut batch = SeriesBatch::default();
    let Ok(rows) = read_batch(bytes, &mut batch) else { return };
    assert_eq!(rows, batch.len(), "there are as many series as rows");
    let shown = |batch: &SeriesBatch| (0..batch.len()).map(|at| format!("{:?}", batch.view(at))).collect::<Vec<_>>();
    let Ok(again) = write_batch(&batch, 0..rows) else { return };
    let mut back = SeriesBatch::default();
    assert!(read_batch(&again, &mut back).is_ok(), "a batch that was read can be written and read again");
    assert_eq!(shown(&back), shown(&batch), "a batch changes when it is written and read again");
}

fn labels(bytes: &[u8]) {
    let mut found = Vec::new();
    let mut taken = 0;
    let read = read_labels(bytes, &mut found, |bytes| {
        taken += bytes;
        if taken > MAX_LABEL_BYTES { Err(Malformed("too much")) } else { Ok(()) }
    });
    if read.is_err() {
        return;
    }
    let mut back: Vec<Labels> = Vec::new();
    let again = write_labels(&found);
    let read = read_labels(&again, &mut back, |_| Ok::<_, Malformed>(()));
    assert!(read.is_ok() && back == found, "label sets change when they are written and read again");
}

/// Valid inputs: batches of all kinds of samples, and label sets.
pub fn seeds() -> Vec<Vec<u8>> {
    let histogram = |count: f64| {
        Arc::new(Histogram {
            count,
            sum: count,
            positive_spans: vec![Span { offset: 1, length: 2 }],
            positive_buckets: vec![count, 0.5],
            ..Histogram::default()
        })
    };
    let t = [10, 20, 30];
    let v = [1.5, f64::NAN, 3.0];
    let h = [histogram(1.0), histogram(2.5)];
    let floats = SeriesView { t: &t, v: &v, ..SeriesView::EMPTY };
    let started = SeriesView { st: &[5, 5, 25], ..floats };
    let histograms = SeriesView { ht: &[40, 50], h: &h, hst: &[1, 2], ..SeriesView::EMPTY };
    let of = |views: &[SeriesView<'_>]| {
        let mut batch = SeriesBatch::default();
        views.iter().for_each(|view| batch.push(*view));
        let coded = write_batch(&batch, 0..batch.len()).unwrap_or_default();
        [vec![0], coded].concat()
    };
    let sets = ["a", "ab", "b"].map(|name| Labels::from_pairs([("__name__", "up"), ("job", name)]));
    vec![
        of(&[floats, floats, SeriesView::EMPTY]),
        of(&[started, floats, histograms]),
        of(&[]),
        [vec![1], write_labels(&sets)].concat(),
        [vec![2, 3], encoded(&h)].concat(),
    ]
}

/// The columns of a row of partial sums over three steps, which also has histograms.
fn encoded(h: &[Arc<Histogram>]) -> Vec<u8> {
    let sum = PartialSum { lost: vec![0.25, 0.0, 0.5], special: vec![(2, f64::INFINITY)], ..PartialSum::default() };
    let row = FragmentRow {
        present: vec![0b101],
        values: vec![1.5, 0.0, 3.0],
        hists: (1..).zip(h.iter().cloned()).collect(),
        sum: Some(Box::new(sum)),
        ..FragmentRow::default()
    };
    let mut out = Vec::new();
    columns::encode(&[row], &mut out);
    out
}
