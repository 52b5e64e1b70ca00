//! The functions of whole series equal those of single windows.

use std::sync::Arc;

use super::*;
use crate::error::QueryError;
use crate::eval::Shared;
use crate::eval::counts::Counts;
use crate::eval::row::Grid;
use crate::eval::window::Frame;
use crate::options::EngineOptions;
use crate::plan::Reference;
use crate::promqltest::MemoryStore;
use pharos_model::{Budget, Labels};
use proptest::prelude::*;

fn windows(t: &[i64], steps: usize, step: i64, range: i64) -> Vec<Cursor> {
    let mut windows = Vec::new();
    Frame { grid: Grid { start: 0, step, len: steps, instant: false }, time: Reference::default(), range }
        .windows(t, &mut windows);
    windows
}

fn by_window(windows: &[Cursor], view: &SeriesView<'_>, f: impl Fn(&[f64]) -> f64) -> Row {
    let mut row = Row::default();
    row.reset(&Labels::empty(), windows.len());
    for (step, window) in windows.iter().enumerate().filter(|(_, window)| window.first < window.end) {
        row.put(step, f(&view.v[window.first..window.end]));
    }
    row
}

/// Does `work` with an evaluation within a budget.
fn evaluating<T>(budget: Budget, work: impl FnOnce(&Eval<'_, '_>) -> T) -> T {
    let store = MemoryStore::default();
    let shared = Shared::new(&store, Arc::new(budget), &EngineOptions::default(), 300_000, None);
    work(&Eval::new(&shared, None, Counts::default()))
}

fn assert_same(a: &Row, b: &Row) {
    assert_eq!(a.present, b.present);
    for step in a.present.iter() {
        assert!(
            a.values[step] == b.values[step] || (a.values[step].is_nan() && b.values[step].is_nan()),
            "step {step}: {} and {}",
            a.values[step],
            b.values[step]
        );
    }
}

fn samples() -> impl Strategy<Value = (Vec<i64>, Vec<f64>)> {
    let value = prop_oneof![Just(f64::NAN), Just(f64::INFINITY), (-5i32..5).prop_map(f64::from), -1e3..1e3f64];
    proptest::collection::vec((1i64..30, value), 1..80).prop_map(|pairs| {
        let mut t = 0;
        pairs
            .into_iter()
            .map(|(gap, v)| {
                t += gap;
                (t, v)
            })
            .unzip()
    })
}

proptest! {
    #[test]
    fn sliding_equals_recomputing((t, v) in samples(), step in 1i64..60, range in 1i64..120, q in -0.1f64..1.1) {
        let view = SeriesView { t: &t, v: &v, ..SeriesView::EMPTY };
        let windows = windows(&t, 60, step, range);
        let slid = |compute: &dyn Fn(&Eval<'_, '_>, &mut Row) -> Outcome| {
            let mut row = Row::default();
            row.reset(&Labels::empty(), 60);
            evaluating(Budget::unlimited(), |ev| compute(ev, &mut row)).unwrap();
            row
        };
        for largest in [true, false] {
            let row = slid(&|ev, row| extremes(ev, &windows, &view, largest, &mut VecDeque::new(), row));
            assert_same(&row, &by_window(&windows, &view, |w| w[extreme(w, largest, false)]));
        }
        let row = slid(&|ev, row| quantiles(ev, &windows, &view, &[q; 60], &mut Vec::new(), row));
        assert_same(&row, &by_window(&windows, &view, |w| quantile(q, &mut w.to_vec())));
        let row = slid(&|ev, row| count_pairs(ev, &windows, &view, &mut Vec::new(), row, |i| changed(v[i - 1], v[i])));
        let changes = by_window(&windows, &view, |w| w.windows(2).filter(|p| changed(p[0], p[1])).count() as f64);
        assert_same(&row, &changes);
    }
}

#[test]
fn many_windows_of_one_series_are_left_when_the_query_ends() {
    let (t, v) = ([0, 1], [1.0, 2.0]);
    let view = SeriesView { t: &t, v: &v, ..SeriesView::EMPTY };
    let windows = vec![Cursor { first: 0, end: 2 }; 5 << 20];
    let mut row = Row::default();
    row.reset(&Labels::empty(), windows.len());
    let budget = Budget::unlimited();
    budget.cancel();
    let outcome = evaluating(budget, |ev| slide(ev, &windows, &mut row, |_, a, b| Some(view.v[a..b].len() as f64)));
    assert_eq!(outcome, Err(QueryError::Canceled));
    assert!(row.present.count() < windows.len());
}

#[test]
fn sums_are_compensated_and_means_do_not_overflow() {
    assert_eq!(sum(&[1e100, 1.0, -1e100]), 1.0);
    assert_eq!(sum(&[f64::INFINITY, 1.0]), f64::INFINITY);
    assert_eq!(mean(&[f64::MAX, f64::MAX]), f64::MAX);
    assert_eq!(variance(&[2.0, 4.0]), 1.0);
    assert_eq!(median_deviation(&[1.0, 2.0, 4.0], &mut Vec::new()), 1.0);
}
