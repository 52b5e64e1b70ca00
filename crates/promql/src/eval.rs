//! The evaluator: computes a plan over a grid of steps.
//!
//! Series flow one at a time, each with all of its steps ([`row::Row`]), from the selectors through the sinks of the
//! operators above. Operators that have to hold series (joins, aggregations) take the memory from the query's budget.

mod aggregate;
mod binary;
mod bitmap;
mod cancellation;
mod counts;
mod extended;
mod extension;
mod functions;
mod hist_window;
mod integral;
mod merge;
mod output;
mod over_time;
mod parallel;
mod precomputed;
mod range_call;
mod rate;
mod read;
mod regression;
mod result_cache;
mod row;
mod scalar;
mod selector;
mod shared;
mod shared_node;
mod stats_only;
mod step_ranges;
mod sums;
mod track;
mod value;
mod vector_matching;
mod window;
mod window_kernel;

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::SeriesSet;

pub(crate) use aggregate::Groups;
#[cfg(test)]
pub(crate) use output::run_in;
pub(crate) use output::{FragmentTask, NoValue, run, run_fragment};
pub(crate) use parallel::may_divide;
pub(crate) use row::Grid;
pub(crate) use shared::Shared;
pub(crate) use step_ranges::may_split;
#[cfg(test)]
pub(crate) use step_ranges::split_evenly;
pub(crate) use step_ranges::step_ranges_of;
pub(crate) use sums::{add, settled, together};
pub(crate) use track::Tracker;
pub use value::{MatrixSeries, SampleValue, Value, VectorSample};

use crate::annotations::Annotations;
use crate::error::QueryError;
use crate::plan::Node;
use cancellation::CancellationCheck;
use counts::Counts;
use row::Row;

/// Receives the series of an operator one after the other, and may modify them.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(&mut Row) -> Result<(), QueryError>;

/// The result of a step of the evaluation.
pub(crate) type Outcome<T = ()> = Result<T, QueryError>;

/// The share of a selection that one thread evaluates.
#[derive(Clone)]
pub(crate) struct Partition {
    /// All series of the only selector below.
    pub(crate) set: Arc<dyn SeriesSet>,
    /// The positions of this thread's series.
    pub(crate) series: Range<usize>,
}

/// One thread's evaluation of a query.
pub(crate) struct Eval<'s, 'q> {
    /// The state that all threads share.
    pub(crate) shared: &'s Shared<'q>,
    notes: RefCell<Annotations>,
    counts: RefCell<Counts>,
    /// The operator that is running, if operators are measured.
    operator: Cell<Option<&'s track::Slot>>,
    partition: Option<Partition>,
}

impl<'s, 'q> Eval<'s, 'q> {
    /// Creates an evaluation of everything or of one partition, with these initial counts.
    pub(crate) fn new(shared: &'s Shared<'q>, partition: Option<Partition>, counts: Counts) -> Self {
        Eval { shared, notes: RefCell::default(), counts: RefCell::new(counts), operator: Cell::new(None), partition }
    }

    /// An empty memory reservation for the running operator.
    pub(crate) fn reserve(&self) -> shared::Reservation<'s, 'q> {
        self.shared.reserve_for(self.operator.get())
    }

    /// A zero count, by step if the evaluation counts by step.
    pub(crate) fn new_counts(&self) -> Counts {
        let steps = self.counts.borrow().steps.len();
        Counts::new(steps > 0, steps)
    }

    /// Adds the count of an operator that has finished.
    pub(crate) fn counted(&self, counts: Counts) {
        self.counts.borrow_mut().absorb(counts);
    }

    /// Adds a count at each of `len` steps.
    pub(crate) fn counted_everywhere(&self, count: u64, len: usize) {
        self.counts.borrow_mut().add_everywhere(count, len);
    }

    /// Runs `work` with a separate count and returns the total.
    pub(crate) fn counting_apart<T>(&self, work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, u64)> {
        let before = self.counts.take();
        let result = work();
        let counts = self.counts.replace(before);
        Ok((result?, counts.total))
    }

    /// Runs `work` with separate annotations and counts and returns them.
    pub(crate) fn apart<T>(&self, work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, Annotations, Counts)> {
        let before = self.counts.replace(self.new_counts());
        let result = self.ahead(work);
        let counts = self.counts.replace(before);
        let (result, notes) = result?;
        Ok((result, notes, counts))
    }

    /// Takes the counts so far.
    pub(crate) fn take_counts(&self) -> Counts {
        self.counts.take()
    }

    /// Lets `add` modify the annotations.
    pub(crate) fn note(&self, add: impl FnOnce(&mut Annotations)) {
        add(&mut self.notes.borrow_mut());
    }

    /// Takes the annotations so far.
    pub(crate) fn take_notes(&self) -> Annotations {
        self.notes.take()
    }

    /// Runs `work` ahead of its turn and returns its annotations. The caller adds them where the work would normally run. Order
    /// matters: of equal annotations only the last position is shown.
    pub(crate) fn ahead<T>(&self, work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, Annotations)> {
        let before = self.take_notes();
        let result = work();
        let notes = self.notes.replace(before);
        Ok((result?, notes))
    }

    /// The partition to evaluate, if the selection is divided among threads.
    pub(crate) fn partition(&self) -> Option<&Partition> {
        self.partition.as_ref()
    }

    /// Passes the series of a vector, over all steps of a grid, to `sink`.
    pub(crate) fn vector(&self, node: &Node, grid: Grid, sink: Sink<'_>) -> Outcome {
        if grid.len == 0 {
            return Ok(());
        }
        self.shared.check()?;
        let tracked = self.shared.tracker.as_ref().and_then(|tracker| Some((tracker, tracker.slot(node)?)));
        match tracked {
            None => self.evaluate(node, grid, sink),
            Some(tracked) => self.measured(tracked, node, grid, sink),
        }
    }

    /// Evaluates an operator and measures it. Its time includes its children, but not what is done with its rows.
    fn measured(
        &self,
        (tracker, slot): (&'s Tracker, &'s track::Slot),
        node: &Node,
        grid: Grid,
        sink: Sink<'_>,
    ) -> Outcome {
        let before = self.operator.replace(Some(slot));
        let started = tracker.now();
        let mut outside = Duration::ZERO;
        let outcome = self.evaluate(node, grid, &mut |row| {
            slot.passed_on(row);
            let paused = tracker.now();
            self.operator.set(before);
            let outcome = sink(row);
            self.operator.set(Some(slot));
            outside += tracker.now().saturating_sub(paused);
            outcome
        });
        slot.took(tracker.now().saturating_sub(started).saturating_sub(outside));
        self.operator.set(before);
        outcome
    }

    fn evaluate(&self, node: &Node, grid: Grid, sink: Sink<'_>) -> Outcome {
        match node {
            Node::Selector(selector) => selector::instant(self, selector, grid, selector::Field::Value, sink),
            Node::Range(call) => range_call::evaluate(self, call, grid, sink),
            Node::Call(call) => functions::vector(self, call, grid, sink),
            Node::Aggregate(aggregate) => aggregate::evaluate(self, aggregate, grid, sink),
            Node::Binary(binary) => binary::vector(self, binary, grid, sink),
            Node::Negate(inner) => self.vector(inner, grid, &mut |row| {
                row.drop_name = true;
                row.values.iter_mut().for_each(|v| *v = -*v);
                for (_, h) in &mut row.hists {
                    Arc::make_mut(h).mul(-1.0);
                }
                sink(row)
            }),
            Node::Invariant(inner) => self.repeated(inner, grid, sink),
            Node::Shared(shared) => shared_node::evaluate(self, shared, grid, sink),
            Node::Precomputed(precomputed) => precomputed::evaluate(self, precomputed, grid, sink),
            Node::Number(_) | Node::Text(_) | Node::Matrix(_) | Node::Subquery(_) => {
                Err(QueryError::Execution("the expression is not an instant vector".into()))
            }
        }
    }

    /// Evaluates at the first step and repeats the result at all other steps.
    fn repeated(&self, inner: &Node, grid: Grid, sink: Sink<'_>) -> Outcome {
        let mut out = Row::default();
        let mut repeat = |row: &mut Row| {
            if row.is_empty() {
                return Ok(());
            }
            out.reset(&row.labels, grid.len);
            out.drop_name = row.drop_name;
            out.first = row.first.take();
            match row.hists.first() {
                Some((_, h)) => out.hists.extend((0..grid.len as u32).map(|step| (step, h.clone()))),
                None => {
                    out.values.fill(row.values[0]);
                    out.present.fill();
                }
            }
            sink(&mut out)
        };
        let ((), count) = self.counting_apart(|| self.vector(inner, Grid::single(grid.start), &mut repeat))?;
        self.counted_everywhere(count, grid.len);
        Ok(())
    }

    /// Like [`Eval::vector`], on several threads where that is faster. Used by operators that consume every series.
    pub(crate) fn stream(&self, node: &Node, grid: Grid, sink: Sink<'_>) -> Outcome {
        if grid.len == 0 { Ok(()) } else { parallel::stream(self, node, grid, sink) }
    }

    /// The values of a scalar at all steps.
    pub(crate) fn scalar(&self, node: &Node, grid: Grid) -> Outcome<Vec<f64>> {
        scalar::evaluate(self, node, grid)
    }

    /// Passes series that were held in memory to `sink`.
    pub(crate) fn hand_on(&self, rows: &mut [Row], sink: Sink<'_>) -> Outcome {
        let mut check = CancellationCheck::default();
        rows.iter_mut().try_for_each(|row| {
            check.row(self, row.values.len())?;
            sink(row)
        })
    }

    /// All series of a vector, held in memory.
    pub(crate) fn collect(&self, node: &Node, grid: Grid) -> Outcome<Collected<'_, 'q>> {
        let mut rows = Vec::new();
        let mut reservation = self.reserve();
        self.stream(node, grid, &mut |row| {
            if !row.is_empty() {
                let row = std::mem::take(row);
                reservation.grow(row.bytes() - size_of::<Row>() + row.labels.as_bytes().len(), row.samples())?;
                reservation.push(&mut rows, row)?;
            }
            Ok(())
        })?;
        Ok(Collected { rows, _reservation: reservation })
    }
}

/// Series held in memory, with their share of the budget.
pub(crate) struct Collected<'s, 'q> {
    /// The series, in the order in which the operator yielded them.
    pub(crate) rows: Vec<Row>,
    _reservation: shared::Reservation<'s, 'q>,
}
