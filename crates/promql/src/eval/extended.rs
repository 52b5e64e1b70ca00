//! `anchored` and `smoothed` selectors, whose windows use samples from outside of them.
//!
//! `anchored` extends a window to the last sample at or before its start. `smoothed` interpolates values at both ends.

use std::sync::Arc;

use pharos_model::{CounterReset, Histogram, Labels, SeriesView};

use super::cancellation::CancellationCheck;
use super::extension::Extension;
use super::hist_window::{
    self, MIXED_SCHEMAS, MIXED_TYPES, NOT_A_COUNTER, NOT_A_GAUGE, Point, named, note_combined, reconciled,
};
use super::row::{Grid, Row};
use super::window::{Cursor, Fresh, Window, samples_between};
use super::window_kernel::WindowKernel;
use super::{Eval, Outcome};
use crate::annotations::Annotations;
use crate::functions::{RangeFn, Rate};
use crate::plan::Selector;

/// Computes all windows of one series.
pub(crate) fn series(
    kernel: &WindowKernel<'_, '_, '_>,
    extension: Extension,
    labels: &Labels,
    view: SeriesView<'_>,
    row: &mut Row,
) -> Outcome {
    let mut check = CancellationCheck::default();
    let (before, after) = extension.reach(kernel.ev.shared.lookback);
    let (mut floats, mut hists) = (Cursor::default(), Cursor::default());
    for step in 0..kernel.frame.grid.len {
        let (start, end) = (kernel.frame.start(step), kernel.frame.end(step));
        floats.advance(view.t, start - before, end + after);
        hists.advance(view.ht, start - before, end + after);
        let samples = samples_between(&view, floats, hists);
        check.samples(kernel.ev, samples.t.len() + samples.ht.len())?;
        if samples.t.is_empty() && samples.ht.is_empty() {
            continue;
        }
        match of_window(kernel, extension, labels, &kernel.window(step, samples)) {
            Some(Point::Float(value)) => row.put(step, value),
            Some(Point::Hist(h)) => row.hists.push((step as u32, h)),
            None => {}
        }
    }
    Ok(())
}

fn of_window(
    kernel: &WindowKernel<'_, '_, '_>,
    extension: Extension,
    labels: &Labels,
    w: &Window<'_>,
) -> Option<Point> {
    let smoothed = extension == Extension::Smoothed;
    let s = &w.samples;
    match kernel.func {
        RangeFn::Rate(_) if !s.t.is_empty() && !s.ht.is_empty() => {
            kernel.warn_metric(MIXED_TYPES, labels);
            None
        }
        RangeFn::Rate(kind) if s.ht.is_empty() => float_rate(kernel, kind, smoothed, w).map(Point::Float),
        RangeFn::Rate(kind) => {
            let mut notes = Annotations::default();
            let result = hist_rate(kernel, kind, smoothed, labels, w, &mut notes);
            kernel.ev.note(|n| n.absorb(notes));
            result.map(|h| Point::Hist(Arc::new(h)))
        }
        _ => {
            let (floats, hists) = anchor(s, w.start)?;
            Some(Point::Float(hist_window::count_pairs(kernel.func, &samples_between(s, floats, hists))))
        }
    }
}

/// The positions from the last sample at or before `start` on; `None` when no sample follows `start`.
fn anchor(s: &SeriesView<'_>, start: i64) -> Option<(Cursor, Cursor)> {
    let (f, h) = (s.t.partition_point(|t| *t <= start), s.ht.partition_point(|t| *t <= start));
    if f >= s.t.len() && h >= s.ht.len() {
        return None;
    }
    let from_float = f > 0 && (h == 0 || s.t[f - 1] >= s.ht[h - 1]);
    let from_hist = h > 0 && !from_float;
    let floats = Cursor { first: f - usize::from(from_float), end: s.t.len() };
    let hists = Cursor { first: h - usize::from(from_hist), end: s.ht.len() };
    Some((floats, hists))
}

/// The positions of the samples that determine the ends of a window, among times that reach beyond it.
fn bounds(t: &[i64], start: i64, end: i64, smoothed: bool) -> Option<(usize, usize)> {
    let mut last = t.len().checked_sub(1)?;
    let first = t[..last].partition_point(|t| *t <= start).saturating_sub(1);
    if smoothed {
        last = t[..last].partition_point(|t| *t < end);
    }
    (t[last] > start && !(smoothed && t[first] > end)).then_some((first, last))
}

/// Interpolates between samples `i` and `i + 1`. After a reset, a counter starts from zero.
fn between(t: &[i64], v: &[f64], i: usize, at: i64, counter: bool) -> f64 {
    let (from, to) = (if counter && v[i + 1] < v[i] { 0.0 } else { v[i] }, v[i + 1]);
    from + (to - from) * (at - t[i]) as f64 / (t[i + 1] - t[i]) as f64
}

/// The values at the start and the end of a window.
fn ends(t: &[i64], v: &[f64], at: (usize, usize), window: (i64, i64), smoothed: bool, counter: bool) -> (f64, f64) {
    let (first, last) = at;
    let left = if smoothed && t[first] < window.0 { between(t, v, first, window.0, counter) } else { v[first] };
    let cut = smoothed && last > 0 && t[last] > window.1;
    (left, if cut { between(t, v, last - 1, window.1, counter) } else { v[last] })
}

fn float_rate(kernel: &WindowKernel<'_, '_, '_>, kind: Rate, smoothed: bool, w: &Window<'_>) -> Option<f64> {
    let (t, v) = (w.samples.t, w.samples.v);
    let (mut first, mut last) = bounds(t, w.start, w.end, smoothed)?;
    let (left, right) = ends(t, v, (first, last), (w.start, w.end), smoothed, kind.counter);
    let mut result = right - left;
    if kind.counter {
        // Interpolation has already accounted for resets at the ends.
        first += usize::from(t[first] <= w.start);
        let end = last + 1 - usize::from(t[last] >= w.end);
        last = end.max(first);
        let mut correction = 0.0;
        let mut previous = left;
        for &value in v[first..last].iter().chain([&right]) {
            if value < previous {
                correction += previous;
            }
            previous = value;
        }
        result += correction;
    }
    Some(if kind.per_second { result / (kernel.frame.range as f64 / 1000.0) } else { result })
}

/// The floats of a window with a sample at each of its ends.
pub(crate) fn floats(t: &[i64], v: &[f64], window: (i64, i64), extension: Extension) -> Vec<(i64, f64)> {
    let smoothed = extension == Extension::Smoothed;
    if t.is_empty() {
        return Vec::new();
    }
    let mut last = t.len() - 1;
    let first = t[..last].partition_point(|t| *t <= window.0).saturating_sub(1);
    if smoothed {
        last = t[..last].partition_point(|t| *t < window.1);
    }
    if t[last] <= window.0 {
        return Vec::new();
    }
    let (left, right) = ends(t, v, (first, last), window, smoothed, false);
    let inner = (first..=last).filter(|i| t[*i] > window.0 && t[*i] < window.1).map(|i| (t[i], v[i]));
    std::iter::once((window.0, left)).chain(inner).chain([(window.1, right)]).collect()
}

/// Interpolates between two histograms; `None` when they are incompatible.
fn hist_between(
    pair: [(&Histogram, i64); 2],
    at: i64,
    counter: bool,
    pos: usize,
    notes: &mut Annotations,
) -> Option<Histogram> {
    let [(from, from_t), (to, to_t)] = pair;
    if at == from_t || at == to_t {
        return Some(if at == from_t { from.clone() } else { to.clone() });
    }
    let fraction = (at - from_t) as f64 / (to_t - from_t) as f64;
    let mut result = to.clone();
    if counter && to.detect_reset(from) {
        result.mul(fraction);
        return Some(result);
    }
    if result.sub(from).ok()?.bounds_reconciled {
        notes.info(reconciled("subtraction"), pos);
    }
    result.mul(fraction);
    if result.add(from).ok()?.bounds_reconciled {
        notes.info(reconciled("addition"), pos);
    }
    Some(result)
}

fn hist_rate(
    kernel: &WindowKernel<'_, '_, '_>,
    kind: Rate,
    smoothed: bool,
    labels: &Labels,
    w: &Window<'_>,
    notes: &mut Annotations,
) -> Option<Histogram> {
    let (t, h, pos) = (w.samples.ht, w.samples.h, kernel.pos);
    let (first, last) = bounds(t, w.start, w.end, smoothed)?;
    let gauge = |h: &Histogram| h.counter_reset == CounterReset::Gauge;
    for one in &h[first..=last] {
        if one.has_custom_buckets() != h[first].has_custom_buckets() {
            notes.warn(named(MIXED_SCHEMAS, labels), pos);
            return None;
        }
        if kind.counter && gauge(one) {
            notes.warn(named(NOT_A_COUNTER, labels), pos);
        }
    }
    let mut at = |i: usize, at: i64| {
        let pair = [(&*h[i], t[i]), (&*h[i + 1], t[i + 1])];
        let found = hist_between(pair, at, kind.counter, pos, notes);
        if found.is_none() {
            notes.warn(named(MIXED_SCHEMAS, labels), pos);
        }
        found
    };
    let left = if smoothed && t[first] < w.start { at(first, w.start)? } else { (*h[first]).clone() };
    let cut = smoothed && last > 0 && t[last] > w.end;
    let right = if cut { at(last - 1, w.end)? } else { (*h[last]).clone() };
    let gauges = gauge(&left) && gauge(&right);
    if !kind.counter && !gauges {
        notes.warn(named(NOT_A_GAUGE, labels), pos);
    }
    let mut result = right.clone();
    let subtracted = result.sub(&left).map(|c| c.bounds_reconciled);
    if !note_combined(kernel, labels, "subtraction", subtracted, notes) {
        return None;
    }
    if kind.counter {
        let mut add = |to: &mut Histogram, other: &Histogram| {
            let added = to.add(other).map(|c| c.bounds_reconciled);
            note_combined(kernel, labels, "addition", added, notes).then_some(())
        };
        // The losses are summed up separately, like Prometheus does: the order of additions affects the last digits.
        let lost = hist_resets(t, h, (first, last), (&left, &right), w.start, smoothed);
        if let Some((one, others)) = lost.split_first() {
            let mut sum = (*one).clone();
            others.iter().try_for_each(|other| add(&mut sum, other))?;
            add(&mut result, &sum)?;
        }
    }
    if kind.per_second {
        result.div(kernel.frame.range as f64 / 1000.0);
    }
    result.counter_reset = CounterReset::Gauge;
    result.compact(0);
    Some(result)
}

/// The histograms that were lost to counter resets between the ends of a window.
fn hist_resets<'a>(
    t: &[i64],
    h: &'a [Arc<Histogram>],
    at: (usize, usize),
    ends: (&'a Histogram, &Histogram),
    start: i64,
    smoothed: bool,
) -> Vec<&'a Histogram> {
    let (mut first, mut previous) = (at.0 + 1, ends.0);
    if smoothed && t[at.0] < start && h[at.0 + 1].detect_reset(&h[at.0]) {
        // The interpolation at the left end spans this reset.
        previous = &h[at.0 + 1];
        first += 1;
    }
    if first > at.1 {
        return Vec::new();
    }
    let mut lost = Vec::new();
    for now in &h[first..at.1] {
        if now.detect_reset(previous) {
            lost.push(previous);
        }
        previous = now;
    }
    if ends.1.detect_reset(previous) {
        lost.push(previous);
    }
    lost
}

/// Evaluates a `smoothed` instant selector, which interpolates between the samples around each step.
pub(crate) fn smooth(ev: &Eval<'_, '_>, selector: &Selector, view: SeriesView<'_>, grid: Grid, row: &mut Row) {
    let mut fresh = Fresh::default();
    let view = fresh.strip(view);
    let lookback = ev.shared.lookback;
    let (mut floats, mut hists) = (Cursor::default(), Cursor::default());
    for step in 0..grid.len {
        let at = selector.time.from(grid.time(step));
        floats.advance(view.t, at - lookback, at + lookback);
        hists.advance(view.ht, at - lookback, at + lookback);
        let s = samples_between(&view, floats, hists);
        if !s.t.is_empty() && !s.ht.is_empty() {
            let text = named(MIXED_TYPES, &row.labels);
            ev.note(|n| n.warn(text, selector.pos));
            continue;
        }
        let times = if s.ht.is_empty() { s.t } else { s.ht };
        let next = times.partition_point(|t| *t < at);
        let exact = times.get(next) == Some(&at);
        if next == 0 && !exact {
            continue;
        }
        if s.ht.is_empty() {
            let value = if exact {
                s.v[next]
            } else if next < s.t.len() {
                between(s.t, s.v, next - 1, at, false)
            } else {
                s.v[next - 1]
            };
            row.put(step, value);
        } else if let Some(h) = smooth_hist(ev, selector, &s, next, at, &row.labels) {
            row.hists.push((step as u32, Arc::new(h)));
        }
    }
}

fn smooth_hist(
    ev: &Eval<'_, '_>,
    selector: &Selector,
    s: &SeriesView<'_>,
    next: usize,
    at: i64,
    labels: &Labels,
) -> Option<Histogram> {
    if s.ht.get(next) == Some(&at) {
        return Some((*s.h[next]).clone());
    }
    let (before, before_t) = (&*s.h[next - 1], s.ht[next - 1]);
    let Some(after) = s.h.get(next) else {
        return Some(Histogram { counter_reset: CounterReset::Unknown, ..before.clone() });
    };
    let mut notes = Annotations::default();
    let counter = before.counter_reset != CounterReset::Gauge || after.counter_reset != CounterReset::Gauge;
    let found = if before.has_custom_buckets() == after.has_custom_buckets() {
        hist_between([(before, before_t), (after, s.ht[next])], at, counter, selector.pos, &mut notes)
    } else {
        None
    };
    if found.is_none() {
        notes.warn(named(MIXED_SCHEMAS, labels), selector.pos);
    }
    ev.note(|n| n.absorb(notes));
    found
}
