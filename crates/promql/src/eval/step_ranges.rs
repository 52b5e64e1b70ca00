//! Long ranges in slices of time, one after the other, so that what operators keep does not grow with the range.
//!
//! A slice gives what the whole would give at its steps, because all of PromQL is defined by the step, but for a few things: those
//! plans are not sliced ([`may_split`]), and what can only be told afterwards (an error, the same annotation from two places) has
//! the whole evaluated at once. Nor is a chain sliced: it holds one series at a time, and its result is the whole range anyway.

use pharos_model::fragment::Steps;

use super::output::{self, Matrix};
use super::row::Grid;
use super::{Eval, Outcome, Shared, may_divide};
use crate::annotations::Annotations;
use crate::error::QueryError;
use crate::eval::counts::Counts;
use crate::eval::merge::names_differ;
use crate::functions::Function;
use crate::plan::{Aggregate, Binary, Kind, Node, RangeInput, Selector};
use crate::syntax::ast::{AggregateOp, BinaryOp};

/// How much longer a slice is than what its first step looks back to, which is read again for each slice.
const MIN_REACHES: i64 = 4;

/// The slices in which a plan is evaluated at these times, see [`split`].
pub(crate) fn step_ranges_of(plan: &Node, times: &Steps, most: usize, lookback: i64) -> Vec<Grid> {
    match times.step {
        0 => vec![Grid::single(times.start)],
        step => split(plan, Grid::between(times.start, times.end, step), most, lookback),
    }
}

/// The slices in which a plan is evaluated over a grid, of at most `most` steps (0 for any number) where that is not too short to be
/// worth it. One when it is not to be sliced.
fn split(plan: &Node, grid: Grid, most: usize, lookback: i64) -> Vec<Grid> {
    if most == 0 || grid.len <= most || plan.kind() != Kind::Vector || may_divide(plan) || !may_split(plan) {
        return vec![grid];
    }
    let reach = reach(plan, lookback).saturating_mul(MIN_REACHES) / grid.step;
    let steps = most.max(usize::try_from(reach).unwrap_or(usize::MAX));
    split_evenly(grid, steps)
}

/// As few slices as there can be of at most `most` steps, of nearly equal lengths.
pub(crate) fn split_evenly(grid: Grid, most: usize) -> Vec<Grid> {
    let count = grid.len.div_ceil(most);
    let bound = |i: usize| grid.len * i / count;
    let slice = |i: usize| Grid { start: grid.time(bound(i)), len: bound(i + 1) - bound(i), ..grid };
    (0..count).map(slice).collect()
}

/// The longest time before a step that is looked at for it, milliseconds. Offsets only move it.
fn reach(node: &Node, lookback: i64) -> i64 {
    let inner = node.children().into_iter().map(|child| reach(child, lookback)).max().unwrap_or(0);
    match node {
        Node::Selector(_) => lookback,
        Node::Range(call) => match &call.input {
            RangeInput::Selector(matrix) => inner.max(matrix.range.saturating_add(lookback)),
            RangeInput::Subquery(subquery) => subquery.range.saturating_add(inner),
        },
        _ => inner,
    }
}

/// Whether slices of a plan give what the whole gives.
pub(crate) fn may_split(node: &Node) -> bool {
    let itself = match node {
        Node::Selector(selector) => by_step(selector),
        Node::Range(call) => match &call.input {
            RangeInput::Selector(matrix) => by_step(&matrix.selector),
            RangeInput::Subquery(_) => true,
        },
        Node::Call(call) => match (call.func, call.args.get(1)) {
            // Info series are looked for over the whole range.
            (Function::Info, _) => false,
            (Function::LabelReplace | Function::LabelJoin, Some(Node::Text(label))) => !is_metadata(label),
            _ => true,
        },
        Node::Aggregate(aggregate) => keeps_names_apart(aggregate) && has_fixed_parameter(aggregate),
        // Whether a name is dropped may be decided by the first step of the whole.
        Node::Binary(binary) if binary.op == BinaryOp::Or && names_differ(&binary.lhs, &binary.rhs) => false,
        Node::Binary(binary) => !names_matter(binary),
        _ => true,
    };
    itself && node.children().into_iter().all(may_split)
}

/// Whether samples are seen the same from any first step. Counter resets between slim histograms are not.
fn by_step(selector: &Selector) -> bool {
    !selector.stats
}

fn is_metadata(label: &str) -> bool {
    label.starts_with("__")
}

/// Whether a group is the same whichever of its series are there: one that drops its name takes it from the others.
fn keeps_names_apart(aggregate: &Aggregate) -> bool {
    let new = match &aggregate.param {
        Some(Node::Text(label)) if aggregate.op == AggregateOp::CountValues => Some(label),
        _ => None,
    };
    !aggregate.grouping.iter().chain(new).any(|label| is_metadata(label))
}

fn names_matter(binary: &Binary) -> bool {
    binary.matching.labels.iter().chain(&binary.matching.include).any(|label| is_metadata(label))
}

/// Of a parameter that varies, the extremes of all steps are annotated, and of an invariant aggregation that of the first step is taken.
fn has_fixed_parameter(aggregate: &Aggregate) -> bool {
    matches!(aggregate.param, None | Some(Node::Number(_) | Node::Text(_)))
}

/// What came of a plan.
pub(crate) struct Joined {
    /// The series.
    pub(crate) series: Matrix,
    /// What was annotated.
    pub(crate) notes: Annotations,
    /// What was counted.
    pub(crate) counts: Counts,
}

/// Evaluates a vector slice by slice. Nothing when only the whole at once can say what the exact result is.
pub(crate) fn evaluate(
    shared: &Shared<'_>,
    plan: &Node,
    slices: &[Grid],
    samples_per_step: bool,
) -> Outcome<Option<Joined>> {
    let mut found = Joined { series: Vec::new(), notes: Annotations::default(), counts: Counts::default() };
    let mut reservation = shared.reserve_for(None);
    for slice in slices {
        let ev = Eval::new(shared, None, Counts::new(samples_per_step, slice.len));
        let series = match output::matrix(&ev, plan, *slice) {
            Err(QueryError::Execution(_)) => return Ok(None),
            outcome => outcome?,
        };
        let samples = |s: &output::MatrixSeries| s.floats.len() + s.histograms.len();
        let held: usize = series.iter().map(samples).sum();
        reservation.grow(output::BYTES_OF_SAMPLE * held + size_of::<output::MatrixSeries>() * series.len(), held)?;
        found.series.extend(series);
        found.counts.append(ev.take_counts());
        if !found.notes.merge(ev.take_notes()) {
            return Ok(None);
        }
        shared.end_step_range();
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use crate::syntax::parse;

    const MINUTE: i64 = 60_000;

    #[test]
    fn slices_cover_the_range_and_are_longer_than_what_they_look_back_to() {
        let lengths = |query: &str, steps: i64| {
            let times = Steps { start: MINUTE, end: MINUTE * steps, step: MINUTE };
            let plan = plan::build(&parse(query).unwrap(), &times).unwrap();
            let grid = Grid::between(times.start, times.end, times.step);
            let slices = split(&plan, grid, 100, 5 * MINUTE);
            let mut next = grid.start;
            for slice in &slices {
                assert_eq!(slice.start, next);
                next = slice.end() + MINUTE;
            }
            assert_eq!(next, grid.end() + MINUTE);
            slices.into_iter().map(|slice| slice.len).collect::<Vec<_>>()
        };
        assert_eq!(lengths("sum(x)", 100), [100]);
        assert_eq!(lengths("sum(x)", 101), [50, 51]);
        assert_eq!(lengths("sum(rate(x[5m]))", 300), [100, 100, 100]);
        assert_eq!(lengths("sum(rate(x[35m]))", 300), [150, 150]);
        assert_eq!(lengths("sum(max_over_time(rate(x[5m])[1h:1m] offset 1w))", 300), [150, 150]);
        assert_eq!(lengths("sum(rate(x[1d]))", 300), [300]);
        for whole in [
            "x",
            "-rate(x[5m])",
            "scalar(sum(x))",
            "sum(label_replace(x, \"__name__\", \"$1\", \"b\", \"(.*)\"))",
            "rate(x[5m]) or x",
            "sum(info(x))",
            "sum by (__name__) (x)",
            "x + on (__name__) y",
            "sum(histogram_count(x))",
            "sum(x) + topk(scalar(y), x @ 5)",
            "quantile(scalar(y), x)",
        ] {
            assert_eq!(lengths(whole, 300), [300], "{whole}");
        }
        for query in [
            "sum(x) + topk(5, x @ 5)",
            "sum(label_replace(x, \"a\", \"$1\", \"b\", \"(.*)\"))",
            "sum(rate(x[5m])) or x",
        ] {
            assert_eq!(lengths(query, 300).len(), 3, "{query}");
        }
    }
}
