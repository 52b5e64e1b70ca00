//! Functions over the floats of a window: `sum_over_time`, `max_over_time`, `quantile_over_time` and their kin.
//!
//! Each function is defined for one window. Extremes, quantiles and counts of changes also have an implementation for all
//! windows of a series that does not look at every sample of every window; the results are equal.

use std::collections::VecDeque;

use pharos_histogram::kahan_inc;
use pharos_model::SeriesView;

use super::row::Row;
use super::window::{Cursor, slide, slide_through};
use super::{Eval, Outcome};

/// The sum, compensated as in Prometheus.
pub(crate) fn sum(v: &[f64]) -> f64 {
    let (sum, lost) = v.iter().fold((0.0, 0.0), |(sum, lost), x| kahan_inc(*x, sum, lost));
    if sum.is_infinite() { sum } else { sum + lost }
}

/// The mean: the sum divided by the count or, if the sum overflows, a running mean.
pub(crate) fn mean(v: &[f64]) -> f64 {
    let (mut sum, mut lost) = (v[0], 0.0);
    for (i, &x) in v.iter().enumerate().skip(1) {
        let (next, next_lost) = kahan_inc(x, sum, lost);
        if next.is_infinite() {
            return moving_mean(&v[i..], i as f64, sum / i as f64, lost / i as f64);
        }
        (sum, lost) = (next, next_lost);
    }
    let n = v.len() as f64;
    sum / n + lost / n
}

fn moving_mean(rest: &[f64], mut n: f64, mut mean: f64, mut lost: f64) -> f64 {
    for &x in rest {
        n += 1.0;
        let q = (n - 1.0) / n;
        (mean, lost) = kahan_inc(x / n, q * mean, q * lost);
    }
    mean + lost
}

/// The population variance.
pub(crate) fn variance(v: &[f64]) -> f64 {
    let (mut mean, mut squares, mut n) = ((0.0, 0.0), (0.0, 0.0), 0.0);
    for &x in v {
        n += 1.0;
        let delta = x - (mean.0 + mean.1);
        mean = kahan_inc(delta / n, mean.0, mean.1);
        squares = kahan_inc(delta * (x - (mean.0 + mean.1)), squares.0, squares.1);
    }
    (squares.0 + squares.1) / n
}

/// The position of the largest or smallest value, the first or the last of equal ones. NaN is chosen only if there is
/// nothing else.
pub(crate) fn extreme(v: &[f64], largest: bool, last: bool) -> usize {
    let mut best = 0;
    for (i, &x) in v.iter().enumerate().skip(1) {
        let better = if largest { x > v[best] } else { x < v[best] };
        if better || v[best].is_nan() || (last && x == v[best]) {
            best = i;
        }
    }
    best
}

/// Orders floats with NaN first, as Prometheus sorts them.
pub(crate) fn nan_first(a: &f64, b: &f64) -> std::cmp::Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// The quantile `q` of sorted values.
pub(crate) fn quantile_sorted(q: f64, sorted: &[f64]) -> f64 {
    if sorted.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let n = sorted.len() as f64;
    let rank = q * (n - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(n - 1.0);
    let weight = rank - rank.floor();
    if weight == 0.0 {
        // Nothing times an infinite neighbour would not be a number.
        return sorted[lower as usize];
    }
    sorted[lower as usize] * (1.0 - weight) + sorted[upper as usize] * weight
}

/// The quantile `q` of values, which are sorted in place.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    values.sort_unstable_by(nan_first);
    quantile_sorted(q, values)
}

/// The median of the distances from the median.
pub(crate) fn median_deviation(v: &[f64], scratch: &mut Vec<f64>) -> f64 {
    if v.iter().any(|x| x.is_nan()) {
        return f64::NAN;
    }
    scratch.clear();
    scratch.extend_from_slice(v);
    let median = quantile(0.5, scratch);
    scratch.iter_mut().for_each(|x| *x = (*x - median).abs());
    quantile(0.5, scratch)
}

/// Whether two neighbouring values differ. NaN equals NaN.
pub(crate) fn changed(a: f64, b: f64) -> bool {
    a != b && !(a.is_nan() && b.is_nan())
}

/// `max_over_time` or `min_over_time` of all windows. A queue holds the samples that may still become the extreme.
pub(crate) fn extremes(
    ev: &Eval<'_, '_>,
    windows: &[Cursor],
    view: &SeriesView<'_>,
    largest: bool,
    queue: &mut VecDeque<usize>,
    row: &mut Row,
) -> Outcome {
    let v = view.v;
    queue.clear();
    let mut taken = 0;
    slide(ev, windows, row, |_, first, end| {
        // Samples before the first one of this window are in no later window.
        for at in taken.max(first)..end {
            let x = v[at];
            if x.is_nan() {
                continue;
            }
            while queue.back().is_some_and(|&b| if largest { v[b] < x } else { v[b] > x }) {
                queue.pop_back();
            }
            queue.push_back(at);
        }
        taken = end;
        while queue.front().is_some_and(|&f| f < first) {
            queue.pop_front();
        }
        Some(queue.front().map_or(v[first], |&at| v[at]))
    })
}

/// `quantile_over_time` of all windows. The samples of the window are kept sorted while it slides.
pub(crate) fn quantiles(
    ev: &Eval<'_, '_>,
    windows: &[Cursor],
    view: &SeriesView<'_>,
    q: &[f64],
    sorted: &mut Vec<f64>,
    row: &mut Row,
) -> Outcome {
    let v = view.v;
    let (mut have_first, mut have_end) = (0, 0);
    sorted.clear();
    slide_through(ev, windows, row, |step, first, end| {
        let moved = (first - have_first.min(first)) + (end - have_end);
        if first >= have_end || moved * 4 > end - first {
            sorted.clear();
            sorted.extend_from_slice(&v[first..end]);
            sorted.sort_unstable_by(nan_first);
        } else {
            for x in &v[have_first..first] {
                if let Ok(at) = sorted.binary_search_by(|s| nan_first(s, x)) {
                    sorted.remove(at);
                }
            }
            for x in &v[have_end..end] {
                let at = sorted.partition_point(|s| nan_first(s, x).is_lt());
                sorted.insert(at, *x);
            }
        }
        (have_first, have_end) = (first, end);
        Some(quantile_sorted(q[step], sorted))
    })
}

/// Counts the samples of each window for which `differ` holds, in one pass. `differ` compares the sample at its index with
/// the one before it.
pub(crate) fn count_pairs(
    ev: &Eval<'_, '_>,
    windows: &[Cursor],
    view: &SeriesView<'_>,
    found: &mut Vec<u32>,
    row: &mut Row,
    differ: impl Fn(usize) -> bool,
) -> Outcome {
    // found[i]: how many of the first i+1 samples differ from the one before.
    found.clear();
    let mut count = 0;
    found.extend((0..view.v.len()).map(|i| {
        count += u32::from(i > 0 && differ(i));
        count
    }));
    slide(ev, windows, row, |_, first, end| Some(f64::from(found[end - 1] - found[first])))
}

#[cfg(test)]
mod tests;
