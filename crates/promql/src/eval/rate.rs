//! `rate`, `increase`, `delta`, `irate` and `idelta` over floats.
//!
//! Counter resets are found in one pass over a series. Each window then adds up the resets within it, in the order in which
//! Prometheus does, so that results are equal to the bit.

use pharos_model::SeriesView;

use super::cancellation::CancellationCheck;
use super::row::Row;
use super::window::{Cursor, Frame, PerTimes, Window};
use super::{Eval, Outcome};
use crate::functions::Rate;

/// Whether a start timestamp says that a counter was reset between two samples.
pub(crate) fn start_reset(previous_st: i64, previous_t: i64, st: i64, t: i64) -> bool {
    if previous_st == st || st == 0 || st >= t || st < previous_t {
        return false;
    }
    // Where it points at the sample before, it is a delta, unless that sample's own start is unknown or impossible.
    st > previous_t || (previous_st <= previous_t && previous_st != 0 && previous_st != previous_t)
}

/// Whether a sample claims to have begun before the previous one, though the previous one began at another time.
pub(crate) fn start_overlap(previous_st: i64, previous_t: i64, st: i64) -> bool {
    st != 0 && st < previous_t && st != previous_st
}

/// The findings of the pass over a series, with memory that is reused from one series to the next.
#[derive(Default)]
pub(crate) struct Found {
    resets: Vec<usize>,
    overlaps: Vec<usize>,
    shapes: PerTimes<Shape>,
}

impl Found {
    /// Finds the samples before which the counter was reset.
    fn scan(&mut self, view: &SeriesView<'_>) {
        self.resets.clear();
        self.overlaps.clear();
        let v = view.v;
        if view.st.is_empty() {
            // Most series have no reset: look whether there is one before looking where.
            let dropped = v.windows(2).fold(false, |any, pair| any | (pair[1] < pair[0]));
            if dropped {
                self.resets.extend((1..v.len()).filter(|&i| v[i] < v[i - 1]));
            }
            return;
        }
        for i in 1..v.len() {
            let (t, st) = (view.t, view.st);
            if v[i] < v[i - 1] || start_reset(st[i - 1], t[i - 1], st[i], t[i]) {
                self.resets.push(i);
            }
            if start_overlap(st[i - 1], t[i - 1], st[i]) {
                self.overlaps.push(i);
            }
        }
    }
}

/// Computes `rate`, `increase` or `delta` for a series of floats. Returns how many windows had overlapping starts.
pub(crate) fn extrapolated(
    ev: &Eval<'_, '_>,
    kind: Rate,
    frame: &Frame,
    view: &SeriesView<'_>,
    found: &mut Found,
    row: &mut Row,
) -> Outcome<u64> {
    if kind.counter {
        found.scan(view);
    } else {
        found.resets.clear();
        found.overlaps.clear();
    }
    if kind.counter && !view.st.is_empty() {
        return with_starts(ev, kind, frame, view, found, row);
    }
    let shapes = found.shapes.of(view.t, |out| shapes(kind, frame, view.t, out));
    let (v, mut next_reset, mut check) = (view.v, 0, CancellationCheck::default());
    for (step, shape) in shapes.iter().enumerate() {
        let Shape { first, end, .. } = *shape;
        if end == 0 {
            continue;
        }
        let mut increase = v[end - 1] - v[first];
        while next_reset < found.resets.len() && found.resets[next_reset] <= first {
            next_reset += 1;
        }
        if next_reset < found.resets.len() {
            check.samples(ev, end - first)?;
        }
        for &at in found.resets[next_reset..].iter().take_while(|at| **at < end) {
            increase += v[at - 1];
        }
        let scale = if kind.counter { shape.counter_scale(increase, v[first], frame, view.t) } else { shape.scale };
        row.put(step, increase * scale);
    }
    Ok(0)
}

/// What of a window's rate depends on timestamps only.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// First sample.
    first: usize,
    /// One past the last sample; 0 when there are less than two.
    end: usize,
    /// Time between first and last sample, seconds.
    sampled: f64,
    /// Time to extrapolate to before the first sample, unless the zero point is nearer, seconds.
    to_start: f64,
    /// What the increase is multiplied by, unless the zero point is nearer.
    scale: f64,
    /// What the factor is divided by.
    divisor: f64,
    /// The window's last millisecond.
    window_end: i64,
}

impl Shape {
    /// What the increase of a counter is multiplied by.
    #[inline]
    fn counter_scale(&self, increase: f64, first_value: f64, frame: &Frame, t: &[i64]) -> f64 {
        // Far from its zero point, a counter needs no division. The margin is for rounding; NaN is never far.
        let far = first_value * self.sampled >= self.to_start * increase * (1.0 + 1e-9);
        if far || !(increase > 0.0 && first_value >= 0.0) {
            return self.scale;
        }
        let edges = Edges::of(frame, self.window_end, t, self.first, self.end, 0);
        edges.factor(true, Some(first_value / increase)).map_or(self.scale, |found| found.factor / self.divisor)
    }
}

fn divisor(kind: Rate, frame: &Frame) -> f64 {
    if kind.per_second { frame.range as f64 / 1000.0 } else { 1.0 }
}

fn shapes(kind: Rate, frame: &Frame, t: &[i64], out: &mut Vec<Shape>) {
    let divisor = divisor(kind, frame);
    let mut cursor = Cursor::default();
    out.extend((0..frame.grid.len).map(|step| {
        let window_end = frame.end(step);
        cursor.advance(t, window_end.saturating_sub(frame.range), window_end);
        let Cursor { first, end } = cursor;
        let none = Shape { first, end: 0, sampled: 0.0, to_start: 0.0, scale: 0.0, divisor, window_end };
        if end - first < 2 {
            return none;
        }
        match Edges::of(frame, window_end, t, first, end, 0).factor(false, None) {
            None => none,
            Some(Extrapolation { factor, sampled, to_start, .. }) => {
                Shape { first, end, sampled, to_start, scale: factor / divisor, divisor, window_end }
            }
        }
    }));
}

/// Counters whose samples have start timestamps.
fn with_starts(
    ev: &Eval<'_, '_>,
    kind: Rate,
    frame: &Frame,
    view: &SeriesView<'_>,
    found: &mut Found,
    row: &mut Row,
) -> Outcome<u64> {
    let mut check = CancellationCheck::default();
    let (mut next_reset, mut overlapping, mut cursor) = (0, 0, Cursor::default());
    let divisor = divisor(kind, frame);
    for step in 0..frame.grid.len {
        let window_end = frame.end(step);
        cursor.advance(view.t, window_end.saturating_sub(frame.range), window_end);
        let Cursor { first, end } = cursor;
        if first == end {
            continue;
        }
        check.samples(ev, end - first)?;
        let mut increase = view.v[end - 1] - view.v[first];
        while next_reset < found.resets.len() && found.resets[next_reset] <= first {
            next_reset += 1;
        }
        for &at in found.resets[next_reset..].iter().take_while(|at| **at < end) {
            increase += view.v[at - 1];
        }
        if found.overlaps.iter().any(|at| first < *at && *at < end) {
            overlapping += 1;
        }
        let edges = Edges::of(frame, window_end, view.t, first, end, view.st[first]);
        let value = view.v[first];
        let share = (increase > 0.0 && value >= 0.0).then(|| value / increase);
        if let Some(found) = edges.factor(true, share) {
            let increase = if found.began { increase + value } else { increase };
            row.put(step, increase * (found.factor / divisor));
        }
    }
    Ok(overlapping)
}

/// What extrapolation needs to know of a window.
pub(crate) struct Edges {
    /// The millisecond before the window.
    pub(crate) start: i64,
    /// Its last millisecond.
    pub(crate) end: i64,
    /// Its first sample's time.
    pub(crate) first_t: i64,
    /// Its last sample's time.
    pub(crate) last_t: i64,
    /// Samples less one.
    pub(crate) intervals: usize,
    /// The first sample's start timestamp, 0 when unknown.
    pub(crate) first_st: i64,
}

/// By how much an increase must be multiplied to stand for its whole window.
pub(crate) struct Extrapolation {
    /// The factor.
    pub(crate) factor: f64,
    /// Whether the series began within the window, so that its first value is part of the increase.
    pub(crate) began: bool,
    /// Time between first and last sample, seconds.
    pub(crate) sampled: f64,
    /// How far it extrapolates to before the first sample, seconds.
    pub(crate) to_start: f64,
}

impl Edges {
    /// The edges of a window with the samples `first..end` of `t`.
    #[inline]
    fn of(frame: &Frame, window_end: i64, t: &[i64], first: usize, end: usize, first_st: i64) -> Self {
        Edges {
            start: window_end - frame.range,
            end: window_end,
            first_t: t[first],
            last_t: t[end - 1],
            intervals: end - 1 - first,
            first_st,
        }
    }

    /// The factor; `zero_share` is the first value in terms of the increase, when it can bound the extrapolation.
    /// Nothing when there are too few samples.
    #[inline]
    pub(crate) fn factor(&self, counter: bool, zero_share: Option<f64>) -> Option<Extrapolation> {
        let mut to_start = (self.first_t - self.start) as f64 / 1000.0;
        let mut to_end = (self.end - self.last_t) as f64 / 1000.0;
        let mut sampled = (self.last_t - self.first_t) as f64 / 1000.0;
        let average = if self.intervals > 0 { sampled / self.intervals as f64 } else { 0.0 };
        let threshold = average * 1.1;
        let st = self.first_st;
        let began = counter && st != 0 && st > self.start && st < self.first_t;
        if began {
            to_start = 0.0;
            sampled = (self.last_t - st) as f64 / 1000.0;
        } else if self.intervals == 0 {
            return None;
        } else {
            if to_start >= threshold {
                to_start = average / 2.0;
            }
            if let (true, Some(share)) = (counter, zero_share) {
                let to_zero = sampled * share;
                if to_zero < to_start {
                    to_start = to_zero;
                }
            }
        }
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        let factor = if sampled != 0.0 { (sampled + to_start + to_end) / sampled } else { 1.0 };
        Some(Extrapolation { factor, began, sampled, to_start })
    }
}

/// `irate` (of counters) or `idelta` over the last two floats of a window.
pub(crate) fn instant(counter: bool, w: &Window<'_>) -> Option<f64> {
    let s = &w.samples;
    let n = s.t.len();
    if n < 2 {
        return None;
    }
    let (t0, t1, v0, v1) = (s.t[n - 2], s.t[n - 1], s.v[n - 2], s.v[n - 1]);
    let reset = counter && (v1 < v0 || (!s.st.is_empty() && start_reset(s.st[n - 2], t0, s.st[n - 1], t1)));
    let increase = if reset { v1 } else { v1 - v0 };
    Some(if counter { increase / ((t1 - t0) as f64 / 1000.0) } else { increase })
}
