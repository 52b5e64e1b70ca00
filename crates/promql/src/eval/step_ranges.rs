//! Evaluates a long range in several step ranges, one after the other, so that the memory of operators does not grow with
//! the range.
//!
//! All of PromQL is defined step by step, so the results of step ranges join to the result of the whole range, with a few
//! exceptions: such plans are not split ([`may_split`]). Some outcomes are known only afterwards (an error, or the same
//! annotation from two positions); then the whole range is evaluated at once. Chains are not split either: they hold one
//! series at a time, and their result covers the whole range anyway.

use pharos_model::fragment::Steps;

use super::output::{self, Matrix};
use super::row::Grid;
use super::shared::Reservation;
use super::{Eval, Outcome, Shared, may_divide};
use crate::annotations::Annotations;
use crate::error::QueryError;
use crate::eval::counts::Counts;
use crate::eval::merge::names_differ;
use crate::functions::Function;
use crate::plan::{Aggregate, Binary, Kind, Node, RangeInput, Selector};
use crate::syntax::ast::{AggregateOp, BinaryOp};

/// The minimum length of a step range, in multiples of the time before its first step that is read again for each range.
const MIN_REACHES: i64 = 4;

/// The step ranges in which a plan is evaluated at these times, see [`split`].
pub(crate) fn step_ranges_of(plan: &Node, times: &Steps, max_steps: usize, lookback: i64) -> Vec<Grid> {
    match times.step {
        0 => vec![Grid::single(times.start)],
        step => split(plan, Grid::between(times.start, times.end, step), max_steps, lookback),
    }
}

/// Splits a grid into ranges of at most `max_steps` steps (0 for no limit), or more where such ranges would be too short to pay
/// off. Returns the grid itself if the plan is not to be split.
fn split(plan: &Node, grid: Grid, max_steps: usize, lookback: i64) -> Vec<Grid> {
    if max_steps == 0 || grid.len <= max_steps || plan.kind() != Kind::Vector || may_divide(plan) || !may_split(plan) {
        return vec![grid];
    }
    let reach = reach(plan, lookback).saturating_mul(MIN_REACHES) / grid.step;
    let steps = max_steps.max(usize::try_from(reach).unwrap_or(usize::MAX));
    split_evenly(grid, steps)
}

/// The fewest ranges of at most `max_steps` steps, of nearly equal lengths.
pub(crate) fn split_evenly(grid: Grid, max_steps: usize) -> Vec<Grid> {
    let count = grid.len.div_ceil(max_steps);
    let bound = |i: usize| grid.len * i / count;
    let range = |i: usize| Grid { start: grid.time(bound(i)), len: bound(i + 1) - bound(i), ..grid };
    (0..count).map(range).collect()
}

/// How far before a step samples are read for it, milliseconds. Offsets shift what is read, but do not extend it.
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

/// Whether the results of step ranges join to the result of the whole range.
pub(crate) fn may_split(node: &Node) -> bool {
    let itself = match node {
        Node::Selector(selector) => by_step(selector),
        Node::Range(call) => match &call.input {
            RangeInput::Selector(matrix) => by_step(&matrix.selector),
            RangeInput::Subquery(_) => true,
        },
        Node::Call(call) => match (call.func, call.args.get(1)) {
            // Info series are selected over the whole range.
            (Function::Info, _) => false,
            (Function::LabelReplace | Function::LabelJoin, Some(Node::Text(label))) => !is_metadata(label),
            _ => true,
        },
        Node::Aggregate(aggregate) => keeps_names_apart(aggregate) && has_fixed_parameter(aggregate),
        // The first step of the whole range may decide whether a name is dropped.
        Node::Binary(binary) if binary.op == BinaryOp::Or && names_differ(&binary.lhs, &binary.rhs) => false,
        Node::Binary(binary) => !names_matter(binary),
        _ => true,
    };
    itself && node.children().into_iter().all(may_split)
}

/// Whether a sample is the same from any first step. Hints of histograms without buckets depend on the sample before.
fn by_step(selector: &Selector) -> bool {
    !selector.stats
}

fn is_metadata(label: &str) -> bool {
    label.starts_with("__")
}

/// Whether a group has the same labels whichever of its series are present: one series that drops its name drops that of the
/// group.
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

/// A parameter that varies is annotated with the extremes of all steps, and an invariant aggregation takes the parameter of the
/// first step.
fn has_fixed_parameter(aggregate: &Aggregate) -> bool {
    matches!(aggregate.param, None | Some(Node::Number(_) | Node::Text(_)))
}

/// The joined results of step ranges.
pub(crate) struct Joined<'s, 'q> {
    pub(crate) series: Matrix,
    /// The memory of the series.
    pub(crate) held: Reservation<'s, 'q>,
    pub(crate) notes: Annotations,
    /// Samples looked at.
    pub(crate) counts: Counts,
}

/// Evaluates a vector range by range. Returns `None` when the exact result can only be told from the whole range.
pub(crate) fn evaluate<'s, 'q>(
    shared: &'s Shared<'q>,
    plan: &Node,
    ranges: &[Grid],
    samples_per_step: bool,
) -> Outcome<Option<Joined<'s, 'q>>> {
    let held = shared.reserve_for(None);
    let mut found = Joined { series: Vec::new(), held, notes: Annotations::default(), counts: Counts::default() };
    for range in ranges {
        let ev = Eval::new(shared, None, Counts::new(samples_per_step, range.len));
        let (series, of_range) = match output::matrix(&ev, plan, *range) {
            Err(QueryError::Execution(_)) => return Ok(None),
            outcome => outcome?,
        };
        found.held.absorb(of_range);
        let len = found.series.len() + series.len();
        found.held.make_room(&mut found.series, len)?;
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

    /// The lengths of the step ranges of a query over `steps` minutes, checked to cover them.
    fn lengths(query: &str, steps: i64) -> Vec<usize> {
        let times = Steps { start: MINUTE, end: MINUTE * steps, step: MINUTE };
        let plan = plan::build(&parse(query).unwrap(), &times).unwrap();
        let grid = Grid::between(times.start, times.end, times.step);
        let ranges = split(&plan, grid, 100, 5 * MINUTE);
        let mut next = grid.start;
        for range in &ranges {
            assert_eq!(range.start, next);
            next = range.end() + MINUTE;
        }
        assert_eq!(next, grid.end() + MINUTE);
        ranges.into_iter().map(|range| range.len).collect()
    }

    #[test]
    fn step_ranges_are_of_nearly_equal_lengths() {
        assert_eq!(lengths("sum(x)", 100), [100]);
        assert_eq!(lengths("sum(x)", 101), [50, 51]);
        assert_eq!(lengths("sum(rate(x[5m]))", 300), [100, 100, 100]);
    }

    #[test]
    fn step_ranges_are_longer_than_what_they_look_back_to() {
        assert_eq!(lengths("sum(rate(x[35m]))", 300), [150, 150]);
        assert_eq!(lengths("sum(max_over_time(rate(x[5m])[1h:1m] offset 1w))", 300), [150, 150]);
        assert_eq!(lengths("sum(rate(x[1d]))", 300), [300]);
    }

    #[test]
    fn chains_and_scalars_are_not_split() {
        for query in ["x", "-rate(x[5m])", "abs(x) * 2", "scalar(sum(x))"] {
            assert_eq!(lengths(query, 300), [300], "{query}");
        }
    }

    #[test]
    fn plans_that_depend_on_the_whole_range_are_not_split() {
        for query in [
            "sum(label_replace(x, \"__name__\", \"$1\", \"b\", \"(.*)\"))",
            "rate(x[5m]) or x",
            "sum(info(x))",
            "sum by (__name__) (x)",
            "x + on (__name__) y",
            "sum(histogram_count(x))",
            "sum(x) + topk(scalar(y), x @ 5)",
            "quantile(scalar(y), x)",
        ] {
            assert_eq!(lengths(query, 300), [300], "{query}");
        }
    }

    #[test]
    fn other_plans_are_split() {
        for query in [
            "sum(x) + topk(5, x @ 5)",
            "sum(label_replace(x, \"a\", \"$1\", \"b\", \"(.*)\"))",
            "sum(rate(x[5m])) or x",
        ] {
            assert_eq!(lengths(query, 300).len(), 3, "{query}");
        }
    }

    #[test]
    fn an_instant_query_is_a_single_step() {
        let times = Steps { start: 7, end: 7, step: 0 };
        let plan = plan::build(&parse("sum(x)").unwrap(), &times).unwrap();
        assert_eq!(step_ranges_of(&plan, &times, 1, MINUTE), [Grid::single(7)]);
    }
}
