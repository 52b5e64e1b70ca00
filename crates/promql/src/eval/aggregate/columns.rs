//! `sum`, `avg`, `count`, `min`, `max`, `group`, `stddev` and `stdvar`: columns with a few numbers for each group and step.

use std::collections::btree_map::{BTreeMap, Entry};
use std::ops::Range;

use pharos_histogram::kahan_inc;
use pharos_model::fragment::{FragmentRow, PartialSum, Terms};

use super::grouping::Groups;
use super::histograms::HistCells;
use super::{note_ignored, result_row};
use crate::eval::cancellation::CancellationCheck;
use crate::eval::row::{Grid, Row};
use crate::eval::shared::Reservation;
use crate::eval::sums::{self, add};
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
    /// For a sum that is merged with others.
    bounds: Option<Bounds>,
}

/// What is known about the terms of partial sums.
#[derive(Default)]
struct Bounds {
    /// By group.
    terms: Vec<Terms>,
    /// By cell, the sum of its terms that are infinite or NaN.
    special: BTreeMap<usize, f64>,
}

/// Whether series of other threads or nodes belong to the same groups.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All series are added here, in their order.
    All,
    /// Others have further series.
    Part,
}

impl<'s, 'q> Columns<'s, 'q> {
    pub(super) fn new(ev: &Eval<'s, 'q>, aggregate: &Aggregate, steps: usize, extent: Extent) -> Self {
        let is_partial_sum = extent == Extent::Part && aggregate.op == AggregateOp::Sum;
        let totals = Totals {
            op: aggregate.op,
            steps,
            groups: Groups::new(&aggregate.grouping, aggregate.without),
            count: Vec::new(),
            main: Vec::new(),
            side: Vec::new(),
            moving: Default::default(),
            hists: HistCells::new(aggregate.op == AggregateOp::Avg),
            bounds: is_partial_sum.then(Bounds::default),
        };
        Columns { totals, expr_pos: aggregate.expr_pos, reservation: ev.reserve() }
    }

    /// Adds a series.
    pub(super) fn add(&mut self, ev: &Eval<'_, '_>, row: &mut Row) -> Outcome {
        let t = &mut self.totals;
        let (group, new) = t.groups.of(&row.labels, row.drop_name);
        if new {
            self.reservation.grow(t.groups.bytes_of(group), t.steps)?;
            let (cells, initial) = (t.groups.len() * t.steps, t.initial());
            self.reservation.resize(&mut t.count, cells, 0)?;
            self.reservation.resize(&mut t.main, cells, initial)?;
            self.reservation.resize(&mut t.side, cells, 0.0)?;
        }
        let first = group * t.steps;
        if let Some(bounds) = &mut t.bounds {
            bounds.add(group, first, row);
        }
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

    /// Merges the state of a thread that aggregated later series.
    pub(super) fn absorb(&mut self, ev: &Eval<'_, '_>, other: Totals) -> Outcome {
        let mut check = CancellationCheck::default();
        for theirs in 0..other.groups.len() {
            check.row(ev, self.steps)?;
            let (mine, new) = self.groups.of(&other.groups.labels[theirs], other.groups.drop_name[theirs]);
            let from = theirs * self.steps..(theirs + 1) * self.steps;
            if let (Some(bounds), Some(others)) = (&mut self.bounds, &other.bounds) {
                bounds.absorb(mine, mine * self.steps, others, theirs, from.clone());
            }
            if new {
                self.groups.first[mine] = other.groups.first[theirs].clone();
                self.count.extend_from_slice(&other.count[from.clone()]);
                self.main.extend_from_slice(&other.main[from.clone()]);
                self.side.extend_from_slice(&other.side[from]);
                continue;
            }
            for (cell, from) in (mine * self.steps..).zip(from) {
                self.absorb_cell(cell, (other.count[from], other.main[from], other.side[from]));
            }
        }
        Ok(())
    }

    fn absorb_cell(&mut self, cell: usize, (count, main, side): (u32, f64, f64)) {
        if count == 0 {
            return;
        }
        self.count[cell] += count;
        let mine = &mut self.main[cell];
        match self.op {
            AggregateOp::Sum => {
                let lost = &mut self.side[cell];
                (*mine, *lost) = add(main, *mine, *lost + side);
            }
            AggregateOp::Min if main < *mine || mine.is_nan() => *mine = main,
            AggregateOp::Max if main > *mine || mine.is_nan() => *mine = main,
            _ => {}
        }
    }

    /// Whether no group has histograms, whose aggregation depends on the order of all series.
    pub(super) fn is_mergeable(&self) -> bool {
        self.hists.is_empty()
    }

    /// Replaces merged sums by their values. False when one of them depends on the order of all series.
    pub(super) fn settle(&mut self) -> bool {
        let Some(bounds) = self.bounds.take() else { return true };
        for (cell, (sum, lost)) in self.main.iter_mut().zip(&mut self.side).enumerate() {
            if self.count[cell] > 0 {
                let terms = &bounds.terms[cell / self.steps];
                match sums::settled(terms, *sum, *lost, bounds.special.get(&cell).copied()) {
                    Some(value) => (*sum, *lost) = (value, 0.0),
                    None => return false,
                }
            }
        }
        true
    }

    /// The partial sums of all groups, with whether the names of their series are dropped.
    pub(super) fn into_partial_sums(self, ev: &Eval<'_, '_>) -> Outcome<Vec<(FragmentRow, bool)>> {
        let Bounds { terms, special } = self.bounds.unwrap_or_default();
        let mut check = CancellationCheck::default();
        let mut rows = Vec::with_capacity(self.groups.len());
        for (group, terms) in terms.into_iter().enumerate() {
            check.row(ev, self.steps)?;
            let cells = group * self.steps..(group + 1) * self.steps;
            let mut row = result_row(&self.groups, group, self.steps);
            for (step, count) in self.count[cells.clone()].iter().enumerate() {
                if *count > 0 {
                    row.put(step, self.main[cells.start + step]);
                }
            }
            if row.is_empty() {
                continue;
            }
            let special =
                special.range(cells.clone()).map(|(cell, value)| ((cell - cells.start) as u32, *value)).collect();
            let sum = PartialSum { lost: self.side[cells].to_vec(), terms, special };
            let drop_name = row.drop_name;
            rows.push((FragmentRow { sum: Some(Box::new(sum)), ..row.into_fragment_row() }, drop_name));
        }
        Ok(rows)
    }

    /// The memory of the groups and of their cells, bytes.
    fn bytes(&self) -> usize {
        let cells = 4 * self.count.capacity() + 8 * (self.main.capacity() + self.side.capacity());
        cells + (0..self.groups.len()).map(|group| self.groups.bytes_of(group)).sum::<usize>()
    }

    /// Passes the groups to `sink`.
    pub(super) fn emit(mut self, ev: &Eval<'_, '_>, aggregate: &Aggregate, grid: Grid, sink: Sink<'_>) -> Outcome {
        let mut reservation = ev.reserve();
        reservation.grow(self.bytes(), self.count.len())?;
        ev.note(|n| n.absorb(self.hists.take_notes()));
        let mut check = CancellationCheck::default();
        for group in 0..self.groups.len() {
            check.row(ev, grid.len)?;
            let mut row = result_row(&self.groups, group, grid.len);
            for step in 0..grid.len {
                let cell = group * grid.len + step;
                if self.count[cell] > 0 && !self.hists.has(cell) {
                    row.put(step, self.value(cell));
                } else if let Some(h) = self.hists.finish(ev, cell, self.count[cell] > 0, aggregate.expr_pos) {
                    row.hists.push((step as u32, h));
                }
            }
            if !row.is_empty() || ev.shared.keeps_empty_groups {
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

impl Bounds {
    /// Adds the floats of a series, to the cells of its group from `first` on.
    fn add(&mut self, group: usize, first: usize, row: &Row) {
        let (terms, all_finite) = sums::terms_of(row);
        self.grow(group, terms);
        if !all_finite {
            let special = row.present.iter().filter(|step| !row.values[*step].is_finite());
            special.for_each(|step| self.add_special(first + step, row.values[step]));
        }
    }

    fn grow(&mut self, group: usize, terms: Terms) {
        if group == self.terms.len() {
            self.terms.push(Terms::default());
        }
        self.terms[group] = sums::together(self.terms[group], terms);
    }

    fn add_special(&mut self, cell: usize, value: f64) {
        *self.special.entry(cell).or_insert(0.0) += value;
    }

    /// Adds those of another thread's group, whose cells are `theirs`.
    fn absorb(&mut self, group: usize, first: usize, other: &Bounds, of_group: usize, theirs: Range<usize>) {
        self.grow(group, other.terms[of_group]);
        for (cell, value) in other.special.range(theirs.clone()) {
            self.add_special(first + cell - theirs.start, *value);
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
