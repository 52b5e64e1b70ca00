//! `sum`, `avg`, `count`, `min`, `max`, `group`, `stddev` and `stdvar`: columns with a few numbers for each group and step.

use std::collections::btree_map::{BTreeMap, Entry};

use pharos_histogram::kahan_inc;

use super::grouping::Groups;
use super::histograms::HistCells;
use super::{note_ignored, result_row};
use crate::eval::cancellation::CancellationCheck;
use crate::eval::row::{Grid, Row};
use crate::eval::shared::Reservation;
use crate::eval::{Eval, Outcome, Sink};
use crate::plan::Aggregate;
use crate::syntax::ast::AggregateOp;

/// A running aggregation with its share of the budget.
pub(super) struct Columns<'s, 'q> {
    totals: Totals,
    expr_pos: usize,
    reservation: Reservation<'s, 'q>,
}

/// The state of an aggregation. A cell is a group at a step.
pub(super) struct Totals {
    op: AggregateOp,
    steps: usize,
    groups: Groups,
    /// The number of floats in a cell. For `count` and `group`, histograms count as well.
    count: Vec<u32>,
    /// The sum, extreme or mean of a cell.
    main: Vec<f64>,
    /// The compensation of the sum, or the sum of squared deviations.
    side: Vec<f64>,
    /// By cell, the means whose sums would have overflowed.
    moving: BTreeMap<usize, f64>,
    hists: HistCells,
}

impl<'s, 'q> Columns<'s, 'q> {
    pub(super) fn new(ev: &Eval<'s, 'q>, aggregate: &Aggregate, steps: usize) -> Self {
        let totals = Totals {
            op: aggregate.op,
            steps,
            groups: Groups::new(&aggregate.grouping, aggregate.without),
            count: Vec::new(),
            main: Vec::new(),
            side: Vec::new(),
            moving: Default::default(),
            hists: HistCells::new(aggregate.op == AggregateOp::Avg),
        };
        Columns { totals, expr_pos: aggregate.expr_pos, reservation: ev.reserve() }
    }

    /// Adds a series.
    pub(super) fn add(&mut self, ev: &Eval<'_, '_>, row: &mut Row) -> Outcome {
        let t = &mut self.totals;
        let (group, new) = t.groups.of(&row.labels, row.drop_name);
        if new {
            self.reservation.grow(t.groups.bytes_of(group) + 20 * t.steps, t.steps)?;
            let cells = t.groups.len() * t.steps;
            t.count.resize(cells, 0);
            t.main.resize(cells, t.initial());
            t.side.resize(cells, 0.0);
        }
        let first = group * t.steps;
        t.floats(first, row);
        if !row.hists.is_empty() {
            t.histograms(ev, first, row, self.expr_pos);
        }
        Ok(())
    }

    /// Drops the share of the budget, so that the state can move to another thread.
    pub(super) fn detach(self) -> Totals {
        self.totals
    }
}

impl Totals {
    fn initial(&self) -> f64 {
        match self.op {
            AggregateOp::Min | AggregateOp::Max => f64::NAN,
            // The only neutral element: 0 would turn a sum of -0 into 0.
            AggregateOp::Sum | AggregateOp::Avg => -0.0,
            _ => 0.0,
        }
    }

    /// Adds the floats of a series, to the cells of its group from `first` on.
    fn floats(&mut self, first: usize, row: &Row) {
        let cells = first..first + self.steps;
        let (count, main, side) =
            (&mut self.count[cells.clone()], &mut self.main[cells.clone()], &mut self.side[cells]);
        match self.op {
            AggregateOp::Sum => each(row, count, |i, v| (main[i], side[i]) = add(v, main[i], side[i])),
            AggregateOp::Avg => {
                let moving = &mut self.moving;
                // The mean needs the count before this value.
                for i in row.present.iter() {
                    mean(moving, first + i, row.values[i], count[i], &mut main[i], &mut side[i]);
                    count[i] += 1;
                }
            }
            AggregateOp::Min => each(row, count, |i, v| {
                if v < main[i] || main[i].is_nan() {
                    main[i] = v;
                }
            }),
            AggregateOp::Max => each(row, count, |i, v| {
                if v > main[i] || main[i].is_nan() {
                    main[i] = v;
                }
            }),
            AggregateOp::Stddev | AggregateOp::Stdvar => {
                for i in row.present.iter() {
                    count[i] += 1;
                    let delta = row.values[i] - main[i];
                    main[i] += delta / f64::from(count[i]);
                    side[i] += delta * (row.values[i] - main[i]);
                }
            }
            _ => each(row, count, |_, _| {}),
        }
    }

    fn histograms(&mut self, ev: &Eval<'_, '_>, first: usize, row: &Row, pos: usize) {
        let ignored = match self.op {
            AggregateOp::Min => "min",
            AggregateOp::Max => "max",
            AggregateOp::Stddev => "stddev",
            AggregateOp::Stdvar => "stdvar",
            AggregateOp::Sum | AggregateOp::Avg => {
                for (step, h) in &row.hists {
                    let cell = first + *step as usize;
                    self.hists.add(cell, h, &row.labels, self.count[cell] > 0, pos);
                }
                return;
            }
            _ => {
                row.hists.iter().for_each(|(step, _)| self.count[first + *step as usize] += 1);
                return;
            }
        };
        note_ignored(ev, ignored, pos);
    }

    /// Merges the state of a thread that aggregated later series. False when the result depends on the order of all series.
    pub(super) fn absorb(&mut self, ev: &Eval<'_, '_>, other: Totals) -> Outcome<bool> {
        if !(self.hists.is_empty() && other.hists.is_empty() && self.moving.is_empty() && other.moving.is_empty()) {
            return Ok(false);
        }
        let mut check = CancellationCheck::default();
        for theirs in 0..other.groups.len() {
            check.row(ev, self.steps)?;
            let (mine, new) = self.groups.of(&other.groups.labels[theirs], other.groups.drop_name[theirs]);
            let from = theirs * self.steps..(theirs + 1) * self.steps;
            if new {
                self.count.extend_from_slice(&other.count[from.clone()]);
                self.main.extend_from_slice(&other.main[from.clone()]);
                self.side.extend_from_slice(&other.side[from]);
                continue;
            }
            for (cell, from) in (mine * self.steps..).zip(from) {
                if !self.absorb_cell(cell, (other.count[from], other.main[from], other.side[from])) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn absorb_cell(&mut self, cell: usize, (count, main, side): (u32, f64, f64)) -> bool {
        if count == 0 {
            return true;
        }
        let (n, m) = (f64::from(self.count[cell]), f64::from(count));
        self.count[cell] += count;
        let (mine, mine_side) = (&mut self.main[cell], &mut self.side[cell]);
        match self.op {
            AggregateOp::Sum | AggregateOp::Avg => {
                (*mine, *mine_side) = add(main, *mine, *mine_side + side);
                return self.op == AggregateOp::Sum || mine.is_finite() || mine.is_nan();
            }
            AggregateOp::Min if main < *mine || mine.is_nan() => *mine = main,
            AggregateOp::Max if main > *mine || mine.is_nan() => *mine = main,
            AggregateOp::Stddev | AggregateOp::Stdvar => {
                let delta = main - *mine;
                *mine += delta * m / (n + m);
                *mine_side += side + delta * delta * n * m / (n + m);
            }
            _ => {}
        }
        true
    }

    /// Passes the groups to `sink`.
    pub(super) fn emit(mut self, ev: &Eval<'_, '_>, aggregate: &Aggregate, grid: Grid, sink: Sink<'_>) -> Outcome {
        let mut reservation = ev.reserve();
        reservation.grow(20 * self.count.len(), self.count.len())?;
        ev.note(|n| n.absorb(self.hists.take_notes()));
        let mut check = CancellationCheck::default();
        for group in 0..self.groups.len() {
            check.row(ev, grid.len)?;
            let mut row = result_row(&self.groups.labels[group], self.groups.drop_name[group], grid.len);
            for step in 0..grid.len {
                let cell = group * grid.len + step;
                if self.count[cell] > 0 && !self.hists.has(cell) {
                    row.put(step, self.value(cell));
                } else if let Some(h) = self.hists.finish(ev, cell, self.count[cell] > 0, aggregate.expr_pos) {
                    row.hists.push((step as u32, h));
                }
            }
            if !row.is_empty() {
                sink(&mut row)?;
            }
        }
        Ok(())
    }

    fn value(&self, cell: usize) -> f64 {
        let (n, main, side) = (f64::from(self.count[cell]), self.main[cell], self.side[cell]);
        match self.op {
            AggregateOp::Sum => main + side,
            AggregateOp::Avg => match self.moving.get(&cell) {
                Some(mean) => mean + side,
                None => main / n + side / n,
            },
            AggregateOp::Count => n,
            AggregateOp::Group => 1.0,
            AggregateOp::Stdvar => side / n,
            AggregateOp::Stddev => (side / n).sqrt(),
            _ => main,
        }
    }
}

/// Calls `f(step, value)` for each float and counts it.
#[inline]
fn each(row: &Row, count: &mut [u32], mut f: impl FnMut(usize, f64)) {
    if row.present.is_full() {
        // Without the bitmap, the loop is vectorised.
        count.iter_mut().for_each(|c| *c += 1);
        row.values.iter().enumerate().for_each(|(i, v)| f(i, *v));
        return;
    }
    for i in row.present.iter() {
        count[i] += 1;
        f(i, row.values[i]);
    }
}

/// A compensated (Kahan-Neumaier) addition without branches.
#[inline]
fn add(value: f64, sum: f64, lost: f64) -> (f64, f64) {
    let total = sum + value;
    let (large, small) = if sum.abs() >= value.abs() { (sum, value) } else { (value, sum) };
    let lost = lost + ((large - total) + small);
    (total, if total.is_infinite() { 0.0 } else { lost })
}

/// Adds a value to a mean, which is kept as a sum until that overflows, and as a moving mean from then on.
fn mean(moving: &mut BTreeMap<usize, f64>, cell: usize, value: f64, before: u32, sum: &mut f64, lost: &mut f64) {
    let n = f64::from(before) + 1.0;
    let mean = match moving.entry(cell) {
        Entry::Occupied(mean) => mean.into_mut(),
        Entry::Vacant(vacant) => {
            let (total, total_lost) = add(value, *sum, *lost);
            if before == 0 || !total.is_infinite() {
                (*sum, *lost) = (total, total_lost);
                return;
            }
            *lost /= n - 1.0;
            vacant.insert(*sum / (n - 1.0))
        }
    };
    let q = (n - 1.0) / n;
    (*mean, *lost) = kahan_inc(value / n, q * *mean, q * *lost);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_keep_what_rounding_loses() {
        let (sum, lost) = [1e100, 1.0, -1e100].into_iter().fold((0.0, 0.0), |(sum, lost), v| add(v, sum, lost));
        assert_eq!(sum + lost, 1.0);
    }

    #[test]
    fn an_infinite_sum_has_no_compensation() {
        assert_eq!(add(f64::INFINITY, 1.0, 0.5), (f64::INFINITY, 0.0));
    }

    /// The mean of values in one cell, and whether it became a moving one.
    fn mean_of(values: &[f64]) -> (f64, bool) {
        let mut moving = BTreeMap::new();
        let (mut sum, mut lost) = (-0.0, 0.0);
        for (before, value) in values.iter().enumerate() {
            mean(&mut moving, 0, *value, before as u32, &mut sum, &mut lost);
        }
        let n = values.len() as f64;
        match moving.get(&0) {
            Some(mean) => (mean + lost, true),
            None => (sum / n + lost / n, false),
        }
    }

    #[test]
    fn means_are_sums_until_these_overflow() {
        assert_eq!(mean_of(&[1.0, 2.0, 6.0]), (3.0, false));
        assert_eq!(mean_of(&[1e308, 1e308, 1e308]), (1e308, true));
    }

    #[test]
    fn a_mean_of_infinities_is_infinite() {
        assert_eq!(mean_of(&[f64::INFINITY]), (f64::INFINITY, false));
        assert!(mean_of(&[f64::INFINITY, f64::NEG_INFINITY]).0.is_nan());
    }
}
