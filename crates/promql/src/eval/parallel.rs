//! Dividing a heavy selection among threads.
//!
//! A chain is a plan with one selector at its bottom and operators above it that treat each series by itself. Its
//! series can be divided in their order, each part evaluated by a thread, and the results put together in that order.

use std::ops::Range;
use std::sync::mpsc::sync_channel;

use super::counts::Counts;
use super::row::{Grid, Row};
use super::shared::Reservation;
use super::window::Frame;
use super::{Eval, Outcome, Partition, Sink, extended, selector};
use crate::annotations::Annotations;
use crate::plan::{Node, RangeInput, RangeSelector, Selector};

/// Fewer series than this are not worth a thread.
const MIN_SERIES: usize = 64;
/// To read a series is about as much work as to evaluate this many steps of it: chunks are decoded from their beginning.
const STEPS_OF_READING: usize = 40;
/// Less work than this, in steps of series, is not worth a thread: it is done in less than a millisecond.
const MIN_WORK: usize = 10_000;

/// The bottom of a chain.
enum Bottom<'n> {
    Instant(&'n Selector),
    Range(&'n RangeSelector),
}

fn bottom(node: &Node) -> Option<Bottom<'_>> {
    let rest_is_constant = |args: &[Node]| args.iter().all(|a| !a.reads_samples());
    match node {
        Node::Selector(selector) => Some(Bottom::Instant(selector)),
        Node::Range(call) if call.func.is_by_series() && rest_is_constant(&call.args) => match &call.input {
            RangeInput::Selector(selector) => Some(Bottom::Range(selector)),
            RangeInput::Subquery(_) => None,
        },
        Node::Negate(inner) => bottom(inner),
        Node::Call(call) if call.func.is_by_series() && rest_is_constant(&call.args[1..]) => bottom(&call.args[0]),
        Node::Binary(binary) => match (binary.lhs.is_scalar(), binary.rhs.is_scalar()) {
            (true, false) if !binary.lhs.reads_samples() => bottom(&binary.rhs),
            (false, true) if !binary.rhs.reads_samples() => bottom(&binary.lhs),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a node is a chain that can be divided among threads.
pub(crate) fn may_divide(node: &Node) -> bool {
    bottom(node).is_some()
}

/// The parts in which a chain shall be evaluated, at least one; nothing when the node is no chain, or a part of a
/// selection is being evaluated already.
pub(crate) fn divide(ev: &Eval<'_, '_>, node: &Node, grid: Grid) -> Outcome<Option<Vec<Partition>>> {
    if ev.partition().is_some() {
        return Ok(None);
    }
    let part = match bottom(node) {
        None => return Ok(None),
        Some(Bottom::Instant(s)) => selector::series(ev, s, selector::time_range(ev, s, grid), grid.len)?,
        Some(Bottom::Range(s)) => {
            let frame = Frame { grid, time: s.selector.time, range: s.range };
            selector::series(ev, &s.selector, frame.read(ev, extended::Extension::of(&s.selector)), grid.len)?
        }
    };
    let series = part.series.len();
    let work = series.saturating_mul(grid.len.saturating_add(STEPS_OF_READING));
    let worth = series >= MIN_SERIES && work >= MIN_WORK;
    let threads = if worth { ev.shared.threads.min(series / (MIN_SERIES / 2)) } else { 1 };
    let bounds = |i: usize| series * i / threads;
    Ok(Some((0..threads).map(|i| Partition { set: part.set.clone(), series: bounds(i)..bounds(i + 1) }).collect()))
}

/// Runs `work` for each part, on a thread of its own when there are several; the results are in the parts' order.
/// Annotations of the workers become those of `ev`.
pub(crate) fn each_partition<T: Send>(
    ev: &Eval<'_, '_>,
    parts: Vec<Partition>,
    work: impl Fn(&Eval<'_, '_>) -> Outcome<T> + Sync,
) -> Outcome<Vec<T>> {
    let (shared, operator, counts) = (ev.shared, ev.operator.get(), ev.new_counts());
    let run = |part: Partition| {
        let worker = Eval::new(shared, Some(part), counts.clone());
        worker.operator.set(operator);
        work(&worker).map(|result| (result, worker.take_notes(), worker.take_counts()))
    };
    let mut parts = parts.into_iter();
    let first = parts.next();
    let outcomes: Vec<Outcome<_>> = std::thread::scope(|scope| {
        let handles: Vec<_> = parts.map(|part| scope.spawn(|| run(part))).collect();
        let mine = first.map(run);
        let joined = handles.into_iter().map(|handle| match handle.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        mine.into_iter().chain(joined).collect()
    });
    let mut results = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        let (result, notes, counts) = outcome?;
        ev.note(|n| n.absorb(notes));
        ev.counted(counts);
        results.push(result);
    }
    Ok(results)
}

/// Points (series times steps) that a block of a stream should have.
const BLOCK_POINTS: usize = 128 << 10;
/// Fewest and most series of a block.
const BLOCK_SERIES: (usize, usize) = (32, 512);

/// Some series of a stream, computed by a thread.
struct Block<'s, 'q> {
    rows: Vec<Row>,
    notes: Annotations,
    counts: Counts,
    _reservation: Reservation<'s, 'q>,
}

/// Hands the series of a vector to `sink` in their order, as [`Eval::vector`] does; those of a heavy chain are computed
/// by several threads, a block at a time, while this one takes them.
pub(crate) fn stream(ev: &Eval<'_, '_>, node: &Node, grid: Grid, sink: Sink<'_>) -> Outcome {
    let Some(mut parts) = divide(ev, node, grid)? else { return ev.vector(node, grid, sink) };
    let threads = parts.len();
    if threads < 2 {
        let Some(part) = parts.pop() else { return Ok(()) };
        let worker = Eval::new(ev.shared, Some(part), ev.new_counts());
        worker.operator.set(ev.operator.get());
        let outcome = worker.vector(node, grid, sink);
        ev.note(|n| n.absorb(worker.take_notes()));
        ev.counted(worker.take_counts());
        return outcome;
    }
    let (set, end) = (parts[0].set.clone(), parts[threads - 1].series.end);
    let width = (BLOCK_POINTS / grid.len).clamp(BLOCK_SERIES.0, BLOCK_SERIES.1);
    let blocks: Vec<Range<usize>> = (0..end).step_by(width).map(|at| at..end.min(at + width)).collect();
    let (shared, operator, counts) = (ev.shared, ev.operator.get(), ev.new_counts());
    let compute = |series: &Range<usize>| -> Outcome<Block<'_, '_>> {
        let worker = Eval::new(shared, Some(Partition { set: set.clone(), series: series.clone() }), counts.clone());
        worker.operator.set(operator);
        let (mut rows, mut reservation) = (Vec::with_capacity(series.len()), worker.reserve());
        worker.vector(node, grid, &mut |row| {
            reservation.grow(row.bytes(), row.samples())?;
            rows.push(std::mem::take(row));
            Ok(())
        })?;
        let (notes, counts) = (worker.take_notes(), worker.take_counts());
        Ok(Block { rows, notes, counts, _reservation: reservation })
    };
    std::thread::scope(|scope| {
        let (blocks, compute) = (&blocks, &compute);
        let work = |thread: usize| {
            let (sender, receiver) = sync_channel(1);
            scope.spawn(move || {
                for series in blocks.iter().skip(thread).step_by(threads) {
                    let outcome = compute(series);
                    let failed = outcome.is_err();
                    // Nobody listens any more when the query has failed elsewhere.
                    if sender.send(outcome).is_err() || failed {
                        return;
                    }
                }
            });
            receiver
        };
        let receivers: Vec<_> = (0..threads).map(work).collect();
        for block in 0..blocks.len() {
            // A thread that is gone without an outcome has panicked, which the scope passes on.
            let Ok(outcome) = receivers[block % threads].recv() else { break };
            let mut block = outcome?;
            ev.note(|n| n.absorb(std::mem::take(&mut block.notes)));
            ev.counted(std::mem::take(&mut block.counts));
            block.rows.iter_mut().try_for_each(&mut *sink)?;
        }
        Ok(())
    })
}
