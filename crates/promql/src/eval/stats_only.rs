//! Histograms without their buckets, for selectors of which only count and sum are needed.
//!
//! A counter reset that only the buckets reveal becomes a hint. As in Prometheus, resets are detected between histograms that
//! are visited one after the other. Samples between two windows are not visited, so nothing is known about the first
//! histogram after such a gap.

use std::sync::Arc;

use pharos_model::{CounterReset, Histogram, SeriesView};

use super::row::Grid;
use crate::plan::{Reference, Selector};

/// The samples that a selector visits: those in `[reference - span, reference]` for each step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visits {
    /// The steps of the evaluation.
    pub(crate) grid: Grid,
    /// The reference time of each step.
    pub(crate) time: Reference,
    /// How far each step looks back, milliseconds.
    pub(crate) span: i64,
}

impl Visits {
    /// The times at which samples are visited again after some were skipped, ascending.
    fn gaps(&self, view: &SeriesView<'_>) -> Vec<i64> {
        if self.time.at.is_some() || self.grid.step <= self.span {
            return Vec::new();
        }
        let behind = |times: &[i64], t: i64| times.get(times.partition_point(|at| *at < t)).copied();
        let mut gaps = Vec::new();
        for step in 1..self.grid.len {
            let visited = self.time.from(self.grid.time(step - 1));
            let from = self.time.from(self.grid.time(step)).saturating_sub(self.span);
            let Some(next) = [view.t, view.ht].into_iter().filter_map(|times| behind(times, visited)).min() else {
                break;
            };
            if next < from {
                gaps.push(from);
            }
        }
        gaps
    }
}

/// Strips the buckets of histograms, if the selector needs only count and sum.
pub(crate) struct StatsOnly {
    visits: Option<Visits>,
    h: Vec<Arc<Histogram>>,
}

impl StatsOnly {
    /// For a selector whose steps look back over `span` milliseconds.
    pub(crate) fn new(selector: &Selector, grid: Grid, span: i64) -> Self {
        let visits = Visits { grid, time: selector.time, span };
        StatsOnly { visits: selector.stats.then_some(visits), h: Vec::new() }
    }

    /// The series with its histograms stripped, if the selector needs only count and sum.
    pub(crate) fn of<'a>(&'a mut self, view: SeriesView<'a>) -> SeriesView<'a> {
        let Some(visits) = self.visits.filter(|_| !view.h.is_empty()) else { return view };
        let gaps = visits.gaps(&view);
        let mut gaps = gaps.iter().peekable();
        self.h.clear();
        let mut last: Option<&Histogram> = None;
        for (h, t) in view.h.iter().zip(view.ht) {
            while gaps.next_if(|from| *from <= t).is_some() {
                last = None;
            }
            if h.is_stale() {
                self.h.push(h.clone());
                continue;
            }
            let counter_reset = match (h.counter_reset, last) {
                (CounterReset::Unknown, Some(last)) if h.detect_reset(last) => CounterReset::Reset,
                (CounterReset::Unknown, Some(_)) => CounterReset::NotReset,
                (hint, _) => hint,
            };
            let (schema, count, sum) = (h.schema, h.count, h.sum);
            self.h.push(Arc::new(Histogram { counter_reset, schema, count, sum, ..Histogram::default() }));
            last = Some(h);
        }
        SeriesView { h: &self.h, ..view }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_between_windows_are_not_visited() {
        let t: Vec<i64> = (0..10).map(|i| i * 10).collect();
        let h: Vec<Arc<Histogram>> =
            (0..10).map(|i| Arc::new(Histogram { count: f64::from(i), ..Histogram::default() })).collect();
        let view = SeriesView { ht: &t, h: &h, ..SeriesView::EMPTY };
        let unknown = |step: i64, span: i64| {
            let grid = Grid { start: 0, step, len: 4, instant: false };
            let mut stats_only =
                StatsOnly { visits: Some(Visits { grid, time: Reference::default(), span }), h: Vec::new() };
            let h = stats_only.of(view).h;
            (0..10).filter(|i| h[*i].counter_reset == CounterReset::Unknown).collect::<Vec<_>>()
        };
        assert_eq!(unknown(10, 10), [0]);
        // Steps at 0, 30, 60 and 90 look back to 15, 45 and 75: the samples at 20, 50 and 80 are the first after gaps.
        assert_eq!(unknown(30, 15), [0, 2, 5, 8]);
        // The sample at the start of a window is visited, and no sample is skipped between those at 0 and 10.
        assert_eq!(unknown(30, 20), [0, 1, 4, 7]);
        assert_eq!(unknown(30, 30), [0]);
    }
}
