use super::*;

fn floats<'a>(t: &'a [i64], v: &'a [f64]) -> SeriesView<'a> {
    SeriesView { t, v, ..SeriesView::EMPTY }
}

#[test]
fn series_are_viewed_as_they_were_pushed() {
    let mut batch = SeriesBatch::default();
    batch.push(floats(&[1, 2], &[1.0, 2.0]));
    batch.push(SeriesView::EMPTY);
    batch.push(floats(&[3], &[3.0]));
    assert_eq!(batch.len(), 3);
    assert_eq!(batch.samples(), 3);
    assert_eq!(batch.view(0).v, [1.0, 2.0]);
    assert!(batch.view(1).t.is_empty() && batch.view(1).ht.is_empty());
    assert_eq!(batch.view(2).t, [3]);
}

#[test]
fn start_timestamps_are_kept_for_series_that_have_any() {
    let mut batch = SeriesBatch::default();
    batch.push(SeriesView { st: &[7], ..floats(&[1], &[1.0]) });
    batch.push(floats(&[2], &[2.0]));
    assert_eq!(batch.view(0).st, [7]);
    assert!(batch.view(1).st.is_empty());
    assert_eq!(batch.st.len(), 1);
}

#[test]
fn histograms_have_columns_of_their_own() {
    let histogram = Arc::new(Histogram { count: 3.0, ..Histogram::default() });
    let mut batch = SeriesBatch::default();
    batch.push(SeriesView { ht: &[5], h: std::slice::from_ref(&histogram), hst: &[4], ..floats(&[1], &[1.0]) });
    let view = batch.view(0);
    assert_eq!(view.t, [1]);
    assert_eq!(view.ht, [5]);
    assert_eq!(view.hst, [4]);
    assert!(Arc::ptr_eq(&view.h[0], &histogram));
    assert_eq!(batch.samples(), 2);
}

#[test]
fn series_may_share_timestamps() {
    let mut batch = SeriesBatch::default();
    batch.push(floats(&[1, 2], &[1.0, 2.0]));
    batch.v.extend([3.0, 4.0]);
    batch.series.push(SeriesColumns { v: 2, ..batch.series[0].clone() });
    assert_eq!(batch.view(1).t, [1, 2]);
    assert_eq!(batch.view(1).v, [3.0, 4.0]);
}

#[test]
fn a_batch_that_was_cleared_keeps_its_memory() {
    let mut batch = SeriesBatch::default();
    batch.push(floats(&[1, 2], &[1.0, 2.0]));
    let bytes = batch.bytes();
    assert!(bytes >= 32);
    batch.clear();
    assert!(batch.is_empty());
    assert_eq!(batch.samples(), 0);
    assert_eq!(batch.bytes(), bytes);
}

#[test]
fn a_view_within_a_range_has_its_samples_of_both_kinds() {
    let h: Vec<Arc<Histogram>> = (0..2).map(|_| Arc::default()).collect();
    let all = SeriesView { t: &[1, 2, 3], v: &[1.0, 2.0, 3.0], st: &[0, 1, 2], ht: &[4, 6], h: &h, hst: &[] };
    let part = all.within(TimeRange::new(2, 4));
    assert_eq!((part.t, part.v, part.st), (&[2, 3][..], &[2.0, 3.0][..], &[1, 2][..]));
    assert_eq!((part.ht, part.h.len(), part.hst), (&[4][..], 1, &[][..]));
    let nothing = all.within(TimeRange::new(9, 8));
    assert!(nothing.t.is_empty() && nothing.h.is_empty());
}
