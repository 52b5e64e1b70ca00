//! Tests of windows: their bounds, their positions, and series without stale markers.

use pharos_model::STALE_NAN;

use super::*;

fn frame(step: i64, len: usize, range: i64) -> Frame {
    Frame { grid: Grid { start: 100, step, len, instant: false }, time: Reference::default(), range }
}

#[test]
fn a_window_ends_at_its_step_and_starts_a_range_before() {
    let frame = frame(10, 3, 25);
    assert_eq!(frame.end(0), 100);
    assert_eq!(frame.start(0), 75);
    assert_eq!(frame.end(2), 120);
    assert_eq!(frame.start(2), 95);
}

#[test]
fn windows_are_open_on_the_left_and_closed_on_the_right() {
    let t = [75, 76, 100, 101];
    let mut windows = Vec::new();
    frame(10, 1, 25).windows(&t, &mut windows);
    assert_eq!((windows[0].first..windows[0].end).map(|i| t[i]).collect::<Vec<_>>(), [76, 100]);
}

#[test]
fn windows_slide_over_the_samples() {
    let t: Vec<i64> = (0..20).map(|i| i * 10).collect();
    let mut windows = Vec::new();
    frame(20, 4, 30).windows(&t, &mut windows);
    let samples: Vec<Vec<i64>> = windows.iter().map(|w| t[w.first..w.end].to_vec()).collect();
    assert_eq!(samples, [[80, 90, 100], [100, 110, 120], [120, 130, 140], [140, 150, 160]]);
}

#[test]
fn a_window_without_samples_is_empty() {
    let mut cursor = Cursor::default();
    cursor.advance(&[10, 20, 90], 30, 60);
    assert_eq!(cursor.first, cursor.end);
    cursor.advance(&[10, 20, 90], 60, 100);
    assert_eq!(cursor.first..cursor.end, 2..3);
}

#[test]
fn a_cursor_past_the_last_sample_stays_there() {
    let mut cursor = Cursor::default();
    cursor.advance(&[10, 20], 1000, 2000);
    assert_eq!(cursor.first..cursor.end, 2..2);
}

#[test]
fn results_for_equal_timestamps_are_computed_once() {
    let mut cache: PerTimes<i64> = PerTimes::default();
    let mut calls = 0;
    for t in [[1, 2], [1, 2], [1, 3], [1, 3]] {
        let found = cache.of(&t, |out| {
            calls += 1;
            out.extend(t.iter().map(|t| t * 2));
        });
        assert_eq!(found, t.map(|t| t * 2));
    }
    assert_eq!(calls, 2);
}

#[test]
fn results_for_no_timestamps_are_computed_as_well() {
    let mut cache: PerTimes<i64> = PerTimes::default();
    assert_eq!(cache.of(&[], |out| out.push(7)), [7]);
}

#[test]
fn a_series_without_stale_markers_is_not_copied() {
    let t = [1, 2];
    let v = [1.0, f64::NAN];
    let mut fresh = Fresh::default();
    let stripped = fresh.strip(SeriesView { t: &t, v: &v, ..SeriesView::EMPTY });
    assert!(std::ptr::eq(stripped.v, &v[..]));
}

#[test]
fn stale_floats_are_removed_with_their_timestamps() {
    let view = SeriesView { t: &[1, 2, 3], v: &[1.0, STALE_NAN, 3.0], st: &[10, 20, 30], ..SeriesView::EMPTY };
    let mut fresh = Fresh::default();
    let stripped = fresh.strip(view);
    assert_eq!(stripped.t, [1, 3]);
    assert_eq!(stripped.v, [1.0, 3.0]);
    assert_eq!(stripped.st, [10, 30]);
}

#[test]
fn stale_histograms_are_removed_with_their_timestamps() {
    let h = |sum: f64| Arc::new(Histogram { sum, ..Histogram::default() });
    let histograms = [h(STALE_NAN), h(2.0)];
    let view = SeriesView { ht: &[1, 2], h: &histograms, ..SeriesView::EMPTY };
    let mut fresh = Fresh::default();
    let stripped = fresh.strip(view);
    assert_eq!(stripped.ht, [2]);
    assert_eq!(stripped.h[0].sum, 2.0);
}

#[test]
fn samples_between_positions_keep_their_start_timestamps() {
    let view = SeriesView { t: &[1, 2, 3], v: &[1.0, 2.0, 3.0], st: &[7, 8, 9], ..SeriesView::EMPTY };
    let part = samples_between(&view, Cursor { first: 1, end: 3 }, Cursor::default());
    assert_eq!(part.t, [2, 3]);
    assert_eq!(part.st, [8, 9]);
    assert!(part.h.is_empty());
}
