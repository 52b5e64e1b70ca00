//! Divides a large selection among threads.
//!
//! A chain is a plan with a single selector at its bottom, below operators that treat each series by itself. Its series are
//! partitioned in their order; each thread evaluates one partition, and the results are concatenated in that order.

use std::ops::Range;
use std::sync::mpsc::sync_channel;

use super::counts::Counts;
use super::extension::Extension;
use super::row::{Grid, Row};
use super::shared::Reservation;
use super::window::Frame;
use super::{Eval, Outcome, Partition, Sink, selector};
use crate::annotations::Annotations;
use crate::plan::{Node, RangeInput, RangeSelector, Selector};

/// A selection of fewer series is not worth a thread.
const MIN_SERIES: usize = 64;
/// The work of reading a series, in steps of evaluating it. Chunks are decoded from their beginning.
const READ_STEPS: usize = 40;
/// Less work than this, in steps times series, takes less than a millisecond and is not worth a thread.
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

/// The partitions in which to evaluate a chain, at least one. `None` when the node is not a chain, or a partition is being
/// evaluated already.
pub(crate) fn divide(ev: &Eval<'_, '_>, node: &Node, grid: Grid) -> Outcome<Option<Vec<Partition>>> {
    if ev.partition().is_some() {
        return Ok(None);
    }
    let all = match bottom(node) {
        None => return Ok(None),
        Some(Bottom::Instant(s)) => selector::series(ev, s, selector::time_range(ev, s, grid), grid.len)?,
        Some(Bottom::Range(s)) => {
            let frame = Frame { grid, time: s.selector.time, range: s.range };
            selector::series(ev, &s.selector, frame.read(ev, Extension::of(&s.selector)), grid.len)?
        }
    };
    let series = all.series.len();
    let work = series.saturating_mul(grid.len.saturating_add(READ_STEPS));
    let worth = series >= MIN_SERIES && work >= MIN_WORK;
    let threads = if worth { ev.shared.threads.min(series / (MIN_SERIES / 2)) } else { 1 };
    let bounds = |i: usize| series * i / threads;
    Ok(Some((0..threads).map(|i| Partition { set: all.set.clone(), series: bounds(i)..bounds(i + 1) }).collect()))
}

/// Runs `work` for each partition, on a thread of its own if there are several. The results, and the annotations that `ev`
/// receives, are in the order of the partitions.
pub(crate) fn each_partition<'s, 'q, T: Send>(
    ev: &Eval<'s, 'q>,
    partitions: Vec<Partition>,
    work: impl Fn(&Eval<'s, 'q>) -> Outcome<T> + Sync,
) -> Outcome<Vec<T>> {
    let (shared, operator, counts) = (ev.shared, ev.operator.get(), ev.new_counts());
    let run = |partition: Partition| {
        let worker = Eval::new(shared, Some(partition), counts.clone());
        worker.operator.set(operator);
        work(&worker).map(|result| (result, worker.take_notes(), worker.take_counts()))
    };
    let mut partitions = partitions.into_iter();
    let first = partitions.next();
    let outcomes: Vec<Outcome<_>> = std::thread::scope(|scope| {
        let handles: Vec<_> = partitions.map(|partition| scope.spawn(|| run(partition))).collect();
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

/// The points (series times steps) that a block of a stream should have.
const BLOCK_POINTS: usize = 128 << 10;
/// Bounds on the series of a block.
const MIN_BLOCK_SERIES: usize = 32;
const MAX_BLOCK_SERIES: usize = 512;

/// Consecutive series of a stream, computed by one thread.
struct Block<'s, 'q> {
    rows: Vec<Row>,
    notes: Annotations,
    counts: Counts,
    _reservation: Reservation<'s, 'q>,
}

/// Passes the series of a vector to `sink` in their order, like [`Eval::vector`]. Several threads compute the series of a
/// large chain, block by block, while this thread consumes them.
pub(crate) fn stream(ev: &Eval<'_, '_>, node: &Node, grid: Grid, sink: Sink<'_>) -> Outcome {
    let Some(mut partitions) = divide(ev, node, grid)? else { return ev.vector(node, grid, sink) };
    let threads = partitions.len();
    if threads < 2 {
        let Some(partition) = partitions.pop() else { return Ok(()) };
        let worker = Eval::new(ev.shared, Some(partition), ev.new_counts());
        worker.operator.set(ev.operator.get());
        let outcome = worker.vector(node, grid, sink);
        ev.note(|n| n.absorb(worker.take_notes()));
        ev.counted(worker.take_counts());
        return outcome;
    }
    let set = partitions[0].set.clone();
    let end = partitions[threads - 1].series.end;
    // However few series there are, each thread has some, and this one begins to consume before the last are computed.
    let width = (BLOCK_POINTS / grid.len).clamp(MIN_BLOCK_SERIES, MAX_BLOCK_SERIES).min(end.div_ceil(2 * threads));
    let blocks: Vec<Range<usize>> = (0..end).step_by(width).map(|at| at..end.min(at + width)).collect();
    let (shared, operator, counts) = (ev.shared, ev.operator.get(), ev.new_counts());
    let compute = |series: &Range<usize>| -> Outcome<Block<'_, '_>> {
        let worker = Eval::new(shared, Some(Partition { set: set.clone(), series: series.clone() }), counts.clone());
        worker.operator.set(operator);
        let mut rows = Vec::with_capacity(series.len());
        let mut reservation = worker.reserve();
        worker.vector(node, grid, &mut |row| {
            reservation.grow(row.bytes(), row.samples())?;
            rows.push(std::mem::take(row));
            Ok(())
        })?;
        Ok(Block { rows, notes: worker.take_notes(), counts: worker.take_counts(), _reservation: reservation })
    };
    std::thread::scope(|scope| {
        let (blocks, compute) = (&blocks, &compute);
        let work = |thread: usize| {
            let (sender, receiver) = sync_channel(1);
            scope.spawn(move || {
                for series in blocks.iter().skip(thread).step_by(threads) {
                    let outcome = compute(series);
                    let failed = outcome.is_err();
                    // The receiver is gone when the query has failed elsewhere.
                    if sender.send(outcome).is_err() || failed {
                        return;
                    }
                }
            });
            receiver
        };
        let receivers: Vec<_> = (0..threads).map(work).collect();
        for block in 0..blocks.len() {
            // A thread that ended without an outcome has panicked, and the scope propagates that.
            let Ok(outcome) = receivers[block % threads].recv() else { break };
            let mut block = outcome?;
            ev.note(|n| n.absorb(std::mem::take(&mut block.notes)));
            ev.counted(std::mem::take(&mut block.counts));
            block.rows.iter_mut().try_for_each(&mut *sink)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use crate::syntax::parse;

    fn is_chain(query: &str) -> bool {
        let times = pharos_model::fragment::Steps { start: 0, end: 0, step: 0 };
        may_divide(&plan::build(&parse(query).unwrap(), &times).unwrap())
    }

    #[test]
    fn chains_treat_each_series_by_itself() {
        for query in ["m", "rate(m[5m])", "-m", "abs(m)", "2 * rate(m[5m]) + 1", "clamp(m, 0, 1)", "m > 3"] {
            assert!(is_chain(query), "{query}");
        }
    }

    #[test]
    fn what_looks_at_several_series_is_not_a_chain() {
        for query in [
            "sum(m)",
            "m + m",
            "topk(2, m)",
            "absent(m)",
            "absent_over_time(m[5m])",
            "sort(m)",
            "label_replace(m, \"a\", \"b\", \"\", \"\")",
            "histogram_quantile(0.9, m)",
            "max_over_time(m[5m:1m])",
        ] {
            assert!(!is_chain(query), "{query}");
        }
    }

    #[test]
    fn an_argument_that_reads_samples_ends_a_chain() {
        assert!(!is_chain("m * scalar(n)"));
        assert!(!is_chain("clamp_max(m, scalar(n))"));
        assert!(!is_chain("quantile_over_time(scalar(n), m[5m])"));
    }
}
