//! Windows that slide over the samples of one series: for each step those in `(reference - range, reference]`.

use std::sync::Arc;

use pharos_model::{Histogram, SeriesView, is_stale_nan};

use super::cancellation::{CHECK_INTERVAL, CancellationCheck};
use super::counts::{Counts, weight};
use super::row::{Grid, Row};
use super::{Eval, Outcome};
use crate::plan::Reference;

/// The windows of a range vector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// The steps of the evaluation.
    pub(crate) grid: Grid,
    /// The reference time of each step.
    pub(crate) time: Reference,
    /// The length of each window, milliseconds.
    pub(crate) range: i64,
}

impl Frame {
    /// The last millisecond of a step's window.
    pub(crate) fn end(&self, step: usize) -> i64 {
        self.time.from(self.grid.time(step))
    }

    /// The millisecond before a step's window.
    pub(crate) fn start(&self, step: usize) -> i64 {
        self.end(step).saturating_sub(self.range)
    }

    /// The windows of all steps, as positions in `t`.
    pub(crate) fn windows(&self, t: &[i64], out: &mut Vec<Cursor>) {
        let mut cursor = Cursor::default();
        out.extend((0..self.grid.len).map(|step| {
            let end = self.end(step);
            cursor.advance(t, end.saturating_sub(self.range), end);
            cursor
        }));
    }
}

/// Calls `f(step, first, end)` for each window that has samples, with their positions, and puts the result into `row`.
/// Checks for cancellation on the assumption that `f` is cheap.
#[inline]
pub(crate) fn slide(
    ev: &Eval<'_, '_>,
    windows: &[Cursor],
    row: &mut Row,
    mut f: impl FnMut(usize, usize, usize) -> Option<f64>,
) -> Outcome {
    for (block, first_step) in windows.chunks(CHECK_INTERVAL).zip((0..).step_by(CHECK_INTERVAL)) {
        if first_step > 0 {
            ev.shared.check()?;
        }
        for (step, window) in (first_step..).zip(block) {
            if window.first < window.end
                && let Some(value) = f(step, window.first, window.end)
            {
                row.put(step, value);
            }
        }
    }
    Ok(())
}

/// Like [`slide`], for functions that look at every sample of each window.
#[inline]
pub(crate) fn slide_through(
    ev: &Eval<'_, '_>,
    windows: &[Cursor],
    row: &mut Row,
    mut f: impl FnMut(usize, usize, usize) -> Option<f64>,
) -> Outcome {
    let mut check = CancellationCheck::default();
    for (step, window) in windows.iter().enumerate() {
        check.samples(ev, window.end - window.first)?;
        if window.first < window.end
            && let Some(value) = f(step, window.first, window.end)
        {
            row.put(step, value);
        }
    }
    Ok(())
}

/// Caches what depends on the timestamps of a series only. Series of one scrape share their timestamps, so this is computed
/// once for many series.
pub(crate) struct PerTimes<T> {
    t: Vec<i64>,
    known: bool,
    found: Vec<T>,
}

impl<T> Default for PerTimes<T> {
    fn default() -> Self {
        PerTimes { t: Vec::new(), known: false, found: Vec::new() }
    }
}

impl<T> PerTimes<T> {
    /// The result of `find` for these timestamps. It is not called again while they stay the same.
    #[inline]
    pub(crate) fn of(&mut self, t: &[i64], find: impl FnOnce(&mut Vec<T>)) -> &[T] {
        if !self.known || self.t != t {
            self.t.clear();
            self.t.extend_from_slice(t);
            self.found.clear();
            find(&mut self.found);
            self.known = true;
        }
        &self.found
    }
}

/// The positions of a window. They only move forward.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor {
    /// The position of the first sample.
    pub(crate) first: usize,
    /// One past the position of the last sample.
    pub(crate) end: usize,
}

impl Cursor {
    /// Moves to the samples in `(after, until]`.
    #[inline]
    pub(crate) fn advance(&mut self, t: &[i64], after: i64, until: i64) {
        while self.end < t.len() && t[self.end] <= until {
            self.end += 1;
        }
        while self.first < self.end && t[self.first] <= after {
            self.first += 1;
        }
    }
}

/// A window with its samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    /// The samples in the window.
    pub(crate) samples: SeriesView<'a>,
    /// The millisecond before the window.
    pub(crate) start: i64,
    /// The last millisecond of the window.
    pub(crate) end: i64,
    /// The position of the step in the grid.
    pub(crate) step: usize,
    /// The time of the step.
    pub(crate) step_t: i64,
}

/// The samples of a series between positions of its floats and of its histograms.
pub(crate) fn samples_between<'a>(view: &SeriesView<'a>, floats: Cursor, hists: Cursor) -> SeriesView<'a> {
    let (f, h) = (floats.first..floats.end, hists.first..hists.end);
    SeriesView {
        t: &view.t[f.clone()],
        v: &view.v[f.clone()],
        st: if view.st.is_empty() { &[] } else { &view.st[f] },
        ht: &view.ht[h.clone()],
        h: &view.h[h.clone()],
        hst: if view.hst.is_empty() { &[] } else { &view.hst[h] },
    }
}

/// Buffers for a series without its stale markers.
#[derive(Default)]
pub(crate) struct Fresh {
    t: Vec<i64>,
    v: Vec<f64>,
    st: Vec<i64>,
    ht: Vec<i64>,
    h: Vec<Arc<Histogram>>,
    hst: Vec<i64>,
}

impl Fresh {
    /// The series without stale markers. It is copied only if it has any.
    pub(crate) fn strip<'a>(&'a mut self, view: SeriesView<'a>) -> SeriesView<'a> {
        let mut out = view;
        if view.v.iter().fold(false, |any, v| any | is_stale_nan(*v)) {
            let keep = |i: &usize| !is_stale_nan(view.v[*i]);
            gather(&mut self.t, view.t, keep);
            gather(&mut self.st, view.st, keep);
            self.v.clear();
            self.v.extend(view.v.iter().filter(|v| !is_stale_nan(**v)));
            (out.t, out.v, out.st) = (&self.t, &self.v, &self.st);
        }
        if view.h.iter().any(|h| h.is_stale()) {
            let keep = |i: &usize| !view.h[*i].is_stale();
            gather(&mut self.ht, view.ht, keep);
            gather(&mut self.hst, view.hst, keep);
            self.h.clear();
            self.h.extend(view.h.iter().filter(|h| !h.is_stale()).cloned());
            (out.ht, out.h, out.hst) = (&self.ht, &self.h, &self.hst);
        }
        out
    }
}

fn gather(out: &mut Vec<i64>, from: &[i64], keep: impl Fn(&usize) -> bool) {
    out.clear();
    out.extend((0..from.len()).filter(keep).map(|i| from[i]));
}

impl Counts {
    /// Adds the samples of all windows over a series.
    pub(crate) fn add_windows(&mut self, frame: &Frame, t: &[i64], ht: &[i64], h: &[Arc<Histogram>]) {
        let (mut floats, mut hists) = (Cursor::default(), Cursor::default());
        for step in 0..frame.grid.len {
            let (start, end) = (frame.start(step), frame.end(step));
            floats.advance(t, start, end);
            hists.advance(ht, start, end);
            let weights = h[hists.first..hists.end].iter().map(|h| weight(h)).sum::<u64>();
            self.add_at(step, (floats.end - floats.first) as u64 + weights);
        }
    }
}

#[cfg(test)]
mod tests;
