//! Range functions over series that have native histograms, possibly mixed with floats.

use std::sync::Arc;

use pharos_histogram::{CompensatedHistogram, HistogramError, MeanHistogram};
use pharos_model::{CounterReset, Histogram, Labels, SeriesView};

use super::Outcome;
use super::cancellation::CancellationCheck;
use super::over_time;
use super::rate::{Edges, start_overlap, start_reset};
use super::row::Row;
use super::window::{Cursor, Window, samples_between};
use super::window_kernel::WindowKernel;
use crate::annotations::Annotations;
use crate::functions::{RangeFn, Rate};

/// A float or a histogram.
pub(crate) enum Point {
    Float(f64),
    Hist(Arc<Histogram>),
}

pub(crate) const MIXED_TYPES: &str = "encountered a mix of histograms and floats for metric name";
pub(crate) const MIXED_SCHEMAS: &str =
    "vector contains a mix of histograms with exponential and custom buckets schemas for metric name";
pub(crate) const NOT_A_COUNTER: &str = "this native histogram metric is not a counter:";
pub(crate) const NOT_A_GAUGE: &str = "this native histogram metric is not a gauge:";

/// The info that an operation had to reconcile different custom bounds.
pub(crate) fn reconciled(operation: &str) -> String {
    format!("mismatched custom buckets were reconciled during {operation}")
}

/// The warning that counter reset hints contradict each other.
pub(crate) fn collision(operation: &str) -> String {
    format!("conflicting counter resets during histogram {operation}")
}

/// The work of processing a histogram, in float samples.
const HISTOGRAM_WORK: usize = 64;

/// Computes all windows of a series that has histograms.
pub(crate) fn series(
    kernel: &WindowKernel<'_, '_, '_>,
    labels: &Labels,
    view: &SeriesView<'_>,
    row: &mut Row,
) -> Outcome {
    let frame = kernel.frame;
    let (mut floats, mut hists) = (Cursor::default(), Cursor::default());
    let mut check = CancellationCheck::default();
    for step in 0..frame.grid.len {
        let end = frame.end(step);
        floats.advance(view.t, end - frame.range, end);
        hists.advance(view.ht, end - frame.range, end);
        let samples = samples_between(view, floats, hists);
        check.samples(kernel.ev, samples.t.len() + HISTOGRAM_WORK * samples.h.len())?;
        if samples.t.is_empty() && samples.ht.is_empty() {
            continue;
        }
        match of_window(kernel, labels, &kernel.window(step, samples)) {
            Some(Point::Float(value)) => row.put(step, value),
            Some(Point::Hist(h)) => row.hists.push((step as u32, h)),
            None => {}
        }
    }
    Ok(())
}

fn of_window(kernel: &WindowKernel<'_, '_, '_>, labels: &Labels, w: &Window<'_>) -> Option<Point> {
    let s = &w.samples;
    let no_floats = s.t.is_empty();
    let mixed = !no_floats && !s.ht.is_empty();
    match kernel.func {
        RangeFn::Rate(_) | RangeFn::Sum | RangeFn::Avg if mixed => {
            kernel.warn_metric(MIXED_TYPES, labels);
            None
        }
        RangeFn::Rate(kind) => rate(kernel, kind, labels, w),
        RangeFn::Instant { counter } => instant(kernel, counter, labels, w),
        RangeFn::Sum | RangeFn::Avg if no_floats => aggregate(kernel, labels, s.h),
        RangeFn::Count => Some(Point::Float((s.t.len() + s.ht.len()) as f64)),
        RangeFn::Present => Some(Point::Float(1.0)),
        RangeFn::First => Some(if no_floats || s.ht.first().is_some_and(|h| *h <= s.t[0]) {
            Point::Hist(s.h[0].clone())
        } else {
            Point::Float(s.v[0])
        }),
        RangeFn::Last => Some(match (s.t.last(), s.ht.last()) {
            (Some(t), Some(h)) if h < t => Point::Float(s.v[s.v.len() - 1]),
            (Some(_), None) => Point::Float(s.v[s.v.len() - 1]),
            _ => Point::Hist(s.h[s.h.len() - 1].clone()),
        }),
        RangeFn::FirstTime => {
            let first = s.t.first().into_iter().chain(s.ht.first()).min()?;
            Some(Point::Float(*first as f64 / 1000.0))
        }
        RangeFn::LastTime => {
            let last = s.t.last().into_iter().chain(s.ht.last()).max()?;
            Some(Point::Float(*last as f64 / 1000.0))
        }
        RangeFn::Changes | RangeFn::Resets => Some(Point::Float(count_pairs(kernel.func, s))),
        _ if no_floats => None,
        RangeFn::Quantile => {
            kernel.note_quantile(w.step);
            floats_of_mixed(kernel, labels, w)
        }
        _ => floats_of_mixed(kernel, labels, w),
    }
}

/// Evaluates a function that ignores histograms, and annotates that it did.
fn floats_of_mixed(kernel: &WindowKernel<'_, '_, '_>, labels: &Labels, w: &Window<'_>) -> Option<Point> {
    if !w.samples.ht.is_empty() {
        kernel.note_ignored(labels);
    }
    kernel.of_floats(w).map(Point::Float)
}

/// `resets` or `changes` over floats and histograms in the order of time.
pub(crate) fn count_pairs(func: RangeFn, s: &SeriesView<'_>) -> f64 {
    let (mut float, mut hist) = (0, 0);
    let mut before: Option<(Option<f64>, usize, i64, i64)> = None;
    let mut count = 0;
    while float < s.t.len() || hist < s.ht.len() {
        let take_float = hist >= s.ht.len() || (float < s.t.len() && s.t[float] < s.ht[hist]);
        let now = if take_float {
            float += 1;
            (Some(s.v[float - 1]), 0, s.t[float - 1], s.st.get(float - 1).copied().unwrap_or(0))
        } else {
            hist += 1;
            (None, hist - 1, s.ht[hist - 1], s.hst.get(hist - 1).copied().unwrap_or(0))
        };
        if let Some(before) = before {
            let began = func == RangeFn::Resets && start_reset(before.3, before.2, now.3, now.2);
            let differ = match (before.0, now.0) {
                (Some(a), Some(b)) if func == RangeFn::Resets => b < a || began,
                (Some(a), Some(b)) => over_time::changed(a, b),
                (None, None) if func == RangeFn::Resets => began || s.h[now.1].detect_reset(&s.h[before.1]),
                (None, None) => !s.h[now.1].same_as(&s.h[before.1]),
                _ => true,
            };
            count += u32::from(differ);
        }
        before = Some(now);
    }
    f64::from(count)
}

/// `sum_over_time` or `avg_over_time` of histograms; there is at least one.
fn aggregate(kernel: &WindowKernel<'_, '_, '_>, labels: &Labels, h: &[Arc<Histogram>]) -> Option<Point> {
    let has = |hint| h.iter().any(|h| h.counter_reset == hint);
    let mut bounds_differ = false;
    let result: Result<Histogram, HistogramError> = if kernel.func == RangeFn::Sum {
        let mut sum = CompensatedHistogram::new(&h[0]);
        h[1..].iter().try_for_each(|h| sum.add(h).map(|c| bounds_differ |= c.bounds_reconciled)).map(|()| sum.finish())
    } else {
        let mut mean = MeanHistogram::new(&h[0]);
        h[1..]
            .iter()
            .try_for_each(|h| mean.add(h).map(|c| bounds_differ |= c.bounds_reconciled))
            .map(|()| mean.finish())
    };
    let Ok(result) = result else {
        kernel.warn_metric(MIXED_SCHEMAS, labels);
        return None;
    };
    kernel.ev.note(|n| {
        if has(CounterReset::Reset) && has(CounterReset::NotReset) {
            n.warn(collision("aggregation"), kernel.pos);
        }
        if bounds_differ {
            n.info(reconciled("aggregation"), kernel.pos);
        }
    });
    Some(Point::Hist(Arc::new(result)))
}

/// `rate`, `increase` or `delta` of a window with floats or histograms, not both.
fn rate(kernel: &WindowKernel<'_, '_, '_>, kind: Rate, labels: &Labels, w: &Window<'_>) -> Option<Point> {
    let s = &w.samples;
    if s.ht.is_empty() {
        return float_rate(kernel, kind, labels, w).map(Point::Float);
    }
    let mut notes = Annotations::default();
    let increase = if s.h.len() > 1 {
        let found = increase(kernel, kind, labels, s, &mut notes);
        if found.is_none() {
            kernel.ev.note(|n| n.absorb(notes));
            return None;
        }
        found
    } else {
        None
    };
    let edges = Edges {
        start: w.start,
        end: w.end,
        first_t: s.ht[0],
        last_t: s.ht[s.ht.len() - 1],
        intervals: s.ht.len() - 1,
        first_st: if kind.counter { s.hst.first().copied().unwrap_or(0) } else { 0 },
    };
    let share = increase.as_ref().filter(|i| i.count > 0.0 && s.h[0].count >= 0.0).map(|i| s.h[0].count / i.count);
    let Some(extrapolation) = edges.factor(kind.counter, share) else {
        kernel.ev.note(|n| n.absorb(notes));
        return None;
    };
    let mut result = match increase {
        Some(mut increase) if extrapolation.began => {
            let added = increase.add(&s.h[0]);
            note_combined(kernel, labels, "addition", added.map(|c| c.bounds_reconciled), &mut notes)
                .then_some(increase)?
        }
        Some(increase) => increase,
        None => (*s.h[0]).clone(),
    };
    kernel.ev.note(|n| n.absorb(notes));
    let divisor = if kind.per_second { kernel.frame.range as f64 / 1000.0 } else { 1.0 };
    result.mul(extrapolation.factor / divisor);
    Some(Point::Hist(Arc::new(result)))
}

/// The rate of a window of floats in a series that has histograms elsewhere.
fn float_rate(kernel: &WindowKernel<'_, '_, '_>, kind: Rate, labels: &Labels, w: &Window<'_>) -> Option<f64> {
    let mut frame = kernel.frame;
    frame.grid = super::row::Grid::single(w.step_t);
    let mut row = Row::default();
    row.reset(labels, 1);
    let found = &mut Default::default();
    // If the query was cancelled, the next window ends it.
    let overlaps = super::rate::extrapolated(kernel.ev, kind, &frame, &w.samples, found, &mut row).unwrap_or(0);
    if overlaps > 0 {
        kernel.note_overlap(labels, overlaps);
    }
    row.present.get(0).then(|| row.values[0])
}

/// Annotates the outcome of adding or subtracting histograms; false when they are incompatible.
pub(crate) fn note_combined(
    kernel: &WindowKernel<'_, '_, '_>,
    labels: &Labels,
    operation: &str,
    bounds_reconciled: Result<bool, HistogramError>,
    notes: &mut Annotations,
) -> bool {
    match bounds_reconciled {
        Ok(true) => notes.info(reconciled(operation), kernel.pos),
        Ok(false) => {}
        Err(_) => notes.warn(named(MIXED_SCHEMAS, labels), kernel.pos),
    }
    bounds_reconciled.is_ok()
}

pub(crate) fn named(text: &str, labels: &Labels) -> String {
    format!("{text} {}", pharos_gocompat::GoQuoted(labels.metric_name()))
}

/// The increase over at least two histograms, as a compacted gauge; `None` when they are incompatible.
fn increase(
    kernel: &WindowKernel<'_, '_, '_>,
    kind: Rate,
    labels: &Labels,
    s: &SeriesView<'_>,
    notes: &mut Annotations,
) -> Option<Histogram> {
    let h = s.h;
    let pos = kernel.pos;
    let last = &h[h.len() - 1];
    let gauge = |h: &Histogram| h.counter_reset == CounterReset::Gauge;
    let began = |i: usize| !s.hst.is_empty() && start_reset(s.hst[i - 1], s.ht[i - 1], s.hst[i], s.ht[i]);
    let incompatible = |notes: &mut Annotations| {
        *notes = Annotations::default();
        notes.warn(named(MIXED_SCHEMAS, labels), pos);
        None
    };
    if kind.counter && h.iter().any(|h| gauge(h)) {
        notes.warn(named(NOT_A_COUNTER, labels), pos);
    }
    // After a reset between the first two histograms, the first one is irrelevant, and so is its layout.
    let forget_first = kind.counter && (began(1) || h[1].detect_reset(&h[0]));
    let blank = Histogram { schema: h[1].schema, custom_values: h[1].custom_values.clone(), ..Histogram::default() };
    let first = if forget_first { &blank } else { &*h[0] };
    let custom = first.has_custom_buckets();
    let middle = if kind.counter { &h[1..h.len() - 1] } else { &[] };
    if last.has_custom_buckets() != custom || middle.iter().any(|h| h.has_custom_buckets() != custom) {
        return incompatible(notes);
    }
    let schema = middle.iter().map(|h| h.schema).fold(last.schema.min(first.schema), i32::min);
    let mut result = last.at_schema(schema);
    match result.sub(first) {
        Ok(combined) if combined.bounds_reconciled => notes.info(reconciled("subtraction"), pos),
        Ok(_) => {}
        Err(_) => return incompatible(notes),
    }
    if kind.counter {
        let mut previous = first;
        let mut overlapped = false;
        for (i, now) in h.iter().enumerate().skip(1) {
            if !overlapped && !s.hst.is_empty() && start_overlap(s.hst[i - 1], s.ht[i - 1], s.hst[i]) {
                kernel.note_overlap(labels, 1);
                overlapped = true;
            }
            if began(i) || now.detect_reset(previous) {
                match result.add(previous) {
                    Ok(combined) if combined.bounds_reconciled => notes.info(reconciled("addition"), pos),
                    Ok(_) => {}
                    Err(_) => return incompatible(notes),
                }
            }
            previous = now;
        }
    } else if !gauge(&h[0]) || !gauge(last) {
        notes.warn(named(NOT_A_GAUGE, labels), pos);
    }
    result.counter_reset = CounterReset::Gauge;
    result.compact(0);
    Some(result)
}

/// `irate` or `idelta` over the last two samples, whichever they are.
fn instant(kernel: &WindowKernel<'_, '_, '_>, counter: bool, labels: &Labels, w: &Window<'_>) -> Option<Point> {
    let s = &w.samples;
    let (nf, nh) = (s.t.len(), s.ht.len());
    if nf + nh < 2 {
        return None;
    }
    // Which of the last two samples are histograms.
    let newest_is_hist = nf == 0 || (nh > 0 && s.ht[nh - 1] > s.t[nf - 1]);
    let both_hists = newest_is_hist && nh > 1 && (nf == 0 || s.ht[nh - 2] > s.t[nf - 1]);
    let both_floats = !newest_is_hist && nf > 1 && (nh == 0 || s.t[nf - 2] > s.ht[nh - 1]);
    if both_floats {
        return kernel.of_floats(w).map(Point::Float);
    }
    if !both_hists {
        kernel.warn_metric(MIXED_TYPES, labels);
        return None;
    }
    let (earlier, later) = (&s.h[nh - 2], &s.h[nh - 1]);
    let gauges = [earlier, later].map(|h| h.counter_reset == CounterReset::Gauge);
    if counter && gauges.contains(&true) {
        kernel.warn_metric(NOT_A_COUNTER, labels);
    }
    if !counter && gauges.contains(&false) {
        kernel.warn_metric(NOT_A_GAUGE, labels);
    }
    let began = !s.hst.is_empty() && start_reset(s.hst[nh - 2], s.ht[nh - 2], s.hst[nh - 1], s.ht[nh - 1]);
    let mut result = (**later).clone();
    if !counter || !(began || later.detect_reset(earlier)) {
        match result.sub(earlier) {
            Ok(combined) if combined.bounds_reconciled => {
                kernel.ev.note(|n| n.info(reconciled("subtraction"), kernel.pos));
            }
            Ok(_) => {}
            Err(_) => {
                kernel.warn_metric(MIXED_SCHEMAS, labels);
                return None;
            }
        }
    }
    result.counter_reset = CounterReset::Gauge;
    result.compact(0);
    if counter {
        result.div((s.ht[nh - 1] - s.ht[nh - 2]) as f64 / 1000.0);
    }
    Some(Point::Hist(Arc::new(result)))
}
