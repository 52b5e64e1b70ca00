//! `and`, `or` and `unless`: filter one side by the steps at which its match group is present on the other side.

use hashbrown::HashMap;
use pharos_model::Labels;

use crate::annotations::Annotations;
use crate::eval::bitmap::Bitmap;
use crate::eval::cancellation::CancellationCheck;
use crate::eval::merge::{merge_rows, names_differ};
use crate::eval::row::{Grid, Row};
use crate::eval::shared::{Reservation, entry_bytes};
use crate::eval::vector_matching::{LabelFilter, RawLabels};
use crate::eval::{Eval, Outcome, Sink};
use crate::plan::{Binary, Node};

/// The steps at which match groups have a sample.
struct Presence<'s, 'q> {
    /// The memory of the steps.
    held: Reservation<'s, 'q>,
    filter: LabelFilter,
    steps: HashMap<Box<[u8]>, Bitmap>,
    key: Vec<u8>,
}

impl<'s, 'q> Presence<'s, 'q> {
    fn new(ev: &Eval<'s, 'q>, binary: &Binary) -> Self {
        Presence {
            held: ev.reserve(),
            filter: LabelFilter::of(&binary.matching),
            steps: HashMap::new(),
            key: Vec::new(),
        }
    }

    fn find(&mut self, row: &Row) -> Option<&mut Bitmap> {
        self.key.clear();
        self.filter.append(RawLabels::of(&row.labels), &mut self.key);
        self.steps.get_mut(&self.key[..])
    }

    /// Adds a series.
    fn add(&mut self, row: &Row) -> Outcome {
        let steps = row.occupied();
        if let Some(known) = self.find(row) {
            known.unite(&steps);
            return Ok(());
        }
        self.held.grow(entry_bytes::<Box<[u8]>, Bitmap>() + steps.bytes() + self.key.len(), 0)?;
        self.steps.insert(self.key.as_slice().into(), steps);
        Ok(())
    }

    /// The presence of all series of a node.
    fn of(ev: &Eval<'s, 'q>, binary: &Binary, node: &Node, grid: Grid) -> Outcome<Self> {
        let mut presence = Self::new(ev, binary);
        ev.stream(node, grid, &mut |row| presence.add(row))?;
        Ok(presence)
    }

    /// The presence of all series of the right side, which is evaluated before the left side.
    fn of_right(ev: &Eval<'s, 'q>, binary: &Binary, grid: Grid) -> Outcome<(Self, Annotations)> {
        let found = ev.ahead(|| Self::of(ev, binary, &binary.rhs, grid));
        found.map_err(|error| super::left_first(ev, &binary.lhs, grid, error))
    }
}

/// `lhs and rhs`
pub(super) fn and(ev: &Eval<'_, '_>, binary: &Binary, grid: Grid, sink: Sink<'_>) -> Outcome {
    let (mut right, notes) = Presence::of_right(ev, binary, grid)?;
    ev.stream(&binary.lhs, grid, &mut |row| {
        let Some(steps) = right.find(row) else { return Ok(()) };
        row.mask(steps);
        if row.is_empty() { Ok(()) } else { sink(row) }
    })?;
    ev.note(|n| n.absorb(notes));
    Ok(())
}

/// `lhs unless rhs`
pub(super) fn unless(ev: &Eval<'_, '_>, binary: &Binary, grid: Grid, sink: Sink<'_>) -> Outcome {
    let (mut right, notes) = Presence::of_right(ev, binary, grid)?;
    ev.stream(&binary.lhs, grid, &mut |row| except(&mut right, row, sink))?;
    ev.note(|n| n.absorb(notes));
    Ok(())
}

/// `lhs or rhs`
pub(super) fn or(ev: &Eval<'_, '_>, binary: &Binary, grid: Grid, sink: Sink<'_>) -> Outcome {
    if grid.len > 1 && names_differ(&binary.lhs, &binary.rhs) {
        return or_merged(ev, binary, grid, sink);
    }
    let mut left = Presence::new(ev, binary);
    ev.stream(&binary.lhs, grid, &mut |row| {
        left.add(row)?;
        sink(row)
    })?;
    ev.stream(&binary.rhs, grid, &mut |row| except(&mut left, row, sink))
}

/// `lhs or rhs` where both sides may have the same series, and only one of them drops its name. The side that has the first step
/// decides, which is known only at the end.
fn or_merged(ev: &Eval<'_, '_>, binary: &Binary, grid: Grid, sink: Sink<'_>) -> Outcome {
    let mut left = Presence::new(ev, binary);
    let mut reservation = ev.reserve();
    let mut rows = Vec::new();
    ev.stream(&binary.lhs, grid, &mut |row| {
        left.add(row)?;
        hold(&mut reservation, &mut rows, row)
    })?;
    ev.stream(&binary.rhs, grid, &mut |row| except(&mut left, row, &mut |row| hold(&mut reservation, &mut rows, row)))?;
    // The index of the rows, and another list of them.
    reservation.grow((entry_bytes::<Labels, usize>() + size_of::<Row>()) * rows.len(), 0)?;
    let mut check = CancellationCheck::default();
    let mut merged = merge_rows(rows, || check.row(ev, grid.len))?;
    ev.hand_on(&mut merged, sink)
}

/// Keeps a row.
fn hold(reservation: &mut Reservation<'_, '_>, rows: &mut Vec<Row>, row: &mut Row) -> Outcome {
    reservation.grow(row.bytes() - size_of::<Row>() + row.labels.as_bytes().len(), row.samples())?;
    reservation.push(rows, std::mem::take(row))
}

/// Passes on the steps of a series at which its match group is not in `presence`.
fn except(presence: &mut Presence<'_, '_>, row: &mut Row, sink: Sink<'_>) -> Outcome {
    if let Some(steps) = presence.find(row) {
        let mut rest = row.occupied();
        rest.subtract(steps);
        row.mask(&rest);
    }
    if row.is_empty() { Ok(()) } else { sink(row) }
}
