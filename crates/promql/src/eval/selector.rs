//! Instant vector selectors: at each step the newest sample within the lookback, unless it is a stale marker.

use pharos_model::{SeriesView, TimeRange, is_stale_nan};

use super::cancellation::CancellationCheck;
use super::row::{Grid, Row};
use super::stats_only::StatsOnly;
use super::window::PerTimes;
use super::{Eval, Outcome, Partition, Sink, extended, read};
use crate::plan::Selector;

/// The property of a sample that becomes the selector's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// The value of the sample itself.
    Value,
    /// The timestamp in seconds, for `timestamp()`.
    Timestamp,
    /// The start timestamp in seconds, for `start_timestamp()`.
    StartTimestamp,
    /// The timestamp in milliseconds, for `info()`. A histogram stays a histogram.
    Milliseconds,
}

/// The time range that an instant selector reads for a grid.
pub(crate) fn time_range(ev: &Eval<'_, '_>, selector: &Selector, grid: Grid) -> TimeRange {
    let after = if selector.smoothed { ev.shared.lookback } else { 0 };
    TimeRange::new(
        selector.time.from(grid.start).saturating_sub(ev.shared.lookback).saturating_add(1),
        selector.time.from(grid.end()).saturating_add(after),
    )
}

/// The series of a selector, or this thread's partition of them, for an evaluation at `steps` steps.
pub(crate) fn series(ev: &Eval<'_, '_>, selector: &Selector, range: TimeRange, steps: usize) -> Outcome<Partition> {
    match ev.partition() {
        Some(part) => Ok(part.clone()),
        None => {
            let set = ev.shared.select(selector, range, steps)?;
            let all = 0..set.labels().len();
            Ok(Partition { set, series: all })
        }
    }
}

/// Bytes per step while a selector is evaluated: its share of the row, and the position of its newest sample.
const STEP_BYTES: usize = 24;

/// Evaluates an instant selector.
pub(crate) fn instant(ev: &Eval<'_, '_>, selector: &Selector, grid: Grid, field: Field, sink: Sink<'_>) -> Outcome {
    let range = time_range(ev, selector, grid);
    let part = series(ev, selector, range, grid.len)?;
    let mut row = Row::default();
    let mut stats_only = StatsOnly::new(selector, grid, ev.shared.lookback);
    let mut positions = PerTimes::default();
    let mut counts = ev.new_counts();
    let mut reservation = ev.reserve();
    reservation.grow(STEP_BYTES * grid.len, 0)?;
    let mut check = CancellationCheck::default();
    read::walk(ev, selector, part, range, |labels, view| {
        check.samples(ev, grid.len)?;
        let view = stats_only.of(view);
        row.reset(labels, grid.len);
        if selector.smoothed {
            extended::smooth(ev, selector, view, grid, &mut row);
        } else if view.ht.is_empty() && field == Field::Value {
            let find = |out: &mut _| newest_positions(view.t, selector, ev.shared.lookback, grid, out);
            newest_floats(view.v, positions.of(view.t, find), &mut row);
        } else {
            newest(view, selector, ev.shared.lookback, grid, field, &mut row);
        }
        counts.add_row(&row);
        if row.is_empty() { Ok(()) } else { sink(&mut row) }
    })?;
    ev.counted(counts);
    Ok(())
}

/// One past the position of each step's newest sample; 0 when there is none within the lookback.
fn newest_positions(t: &[i64], selector: &Selector, lookback: i64, grid: Grid, out: &mut Vec<usize>) {
    let mut next = 0;
    out.extend((0..grid.len).map(|step| {
        let reference = selector.time.from(grid.time(step));
        while next < t.len() && t[next] <= reference {
            next += 1;
        }
        if next > 0 && t[next - 1] > reference - lookback { next } else { 0 }
    }));
}

/// The common case: a series of floats only.
fn newest_floats(v: &[f64], positions: &[usize], row: &mut Row) {
    for (step, &next) in positions.iter().enumerate() {
        if next > 0 && !is_stale_nan(v[next - 1]) {
            row.put(step, v[next - 1]);
        }
    }
}

/// The general case: floats and histograms, any field.
fn newest(view: SeriesView<'_>, selector: &Selector, lookback: i64, grid: Grid, field: Field, row: &mut Row) {
    let (mut float, mut hist) = (0, 0);
    for step in 0..grid.len {
        let reference = selector.time.from(grid.time(step));
        while float < view.t.len() && view.t[float] <= reference {
            float += 1;
        }
        while hist < view.ht.len() && view.ht[hist] <= reference {
            hist += 1;
        }
        let float_t = if float > 0 { view.t[float - 1] } else { i64::MIN };
        let hist_t = if hist > 0 { view.ht[hist - 1] } else { i64::MIN };
        let t = float_t.max(hist_t);
        if t == i64::MIN || t <= reference - lookback {
            continue;
        }
        let is_hist = hist_t > float_t;
        let stale = if is_hist { view.h[hist - 1].is_stale() } else { is_stale_nan(view.v[float - 1]) };
        if stale {
            continue;
        }
        let start = if is_hist { view.hst.get(hist.wrapping_sub(1)) } else { view.st.get(float.wrapping_sub(1)) };
        match field {
            Field::Value | Field::Milliseconds if is_hist => row.hists.push((step as u32, view.h[hist - 1].clone())),
            Field::Value => row.put(step, view.v[float - 1]),
            Field::Timestamp => row.put(step, t as f64 / 1000.0),
            Field::StartTimestamp => row.put(step, start.copied().unwrap_or(0) as f64 / 1000.0),
            Field::Milliseconds => row.put(step, t as f64),
        }
    }
}
