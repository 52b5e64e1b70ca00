//! Aggregations. Their memory grows with the number of groups times steps, not with the number of series.

mod columns;
mod count_values;
mod grouping;
mod histograms;
mod quantile;
mod select;

use super::row::{Grid, Row};
use super::{Eval, Outcome, Sink, parallel};
use crate::error::QueryError;
use crate::plan::{Aggregate, Node};
use crate::syntax::ast::AggregateOp;
use columns::Columns;
pub(crate) use grouping::Groups;

/// Evaluates an aggregation.
pub(crate) fn evaluate(ev: &Eval<'_, '_>, aggregate: &Aggregate, grid: Grid, sink: Sink<'_>) -> Outcome {
    match aggregate.op {
        AggregateOp::CountValues => count_values::evaluate(ev, aggregate, grid, sink),
        AggregateOp::Quantile => quantile::evaluate(ev, aggregate, grid, sink),
        AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio => {
            select::evaluate(ev, aggregate, grid, sink)
        }
        _ => columns(ev, aggregate, grid, sink),
    }
}

/// Evaluates the aggregations that keep a few numbers for each group and step.
fn columns(ev: &Eval<'_, '_>, aggregate: &Aggregate, grid: Grid, sink: Sink<'_>) -> Outcome {
    let gather = |ev: &Eval<'_, '_>| {
        let mut columns = Columns::new(ev, aggregate, grid.len);
        ev.vector(&aggregate.expr, grid, &mut |row| columns.add(ev, row))?;
        Ok(columns.detach())
    };
    let Some(partitions) = parallel::divide(ev, &aggregate.expr, grid)? else {
        return gather(ev)?.emit(ev, aggregate, grid, sink);
    };
    let series = partitions.iter().map(|partition| partition.series.len()).sum();
    let whole = super::Partition { set: partitions[0].set.clone(), series: 0..series };
    let mut results = parallel::each_partition(ev, partitions, gather)?.into_iter();
    let Some(mut first) = results.next() else { return Ok(()) };
    let mut in_any_order = true;
    for other in results {
        in_any_order = in_any_order && first.absorb(ev, other)?;
    }
    if in_any_order {
        return first.emit(ev, aggregate, grid, sink);
    }
    // The result of histograms, and of means that overflow, depends on the order of all series.
    let mut again = parallel::each_partition(ev, vec![whole], gather)?.into_iter();
    again.try_for_each(|columns| columns.emit(ev, aggregate, grid, sink))
}

/// The parameter of an aggregation at all steps.
fn parameter(ev: &Eval<'_, '_>, aggregate: &Aggregate, grid: Grid) -> Outcome<Vec<f64>> {
    match &aggregate.param {
        Some(param) => ev.scalar(param, grid),
        None => Err(QueryError::Execution("the aggregation has no parameter".into())),
    }
}

/// The string parameter of `count_values`.
fn label_parameter(aggregate: &Aggregate) -> Outcome<&str> {
    match &aggregate.param {
        Some(Node::Text(label)) if !label.is_empty() => Ok(label),
        Some(Node::Text(label)) => Err(QueryError::Execution(format!("invalid label name {label:?}"))),
        _ => Err(QueryError::Execution("the aggregation has no label parameter".into())),
    }
}

/// Annotates that an aggregation ignored histograms.
fn note_ignored(ev: &Eval<'_, '_>, name: &str, pos: usize) {
    ev.note(|n| n.info(format!("ignored histogram in {name} aggregation"), pos));
}

/// An empty row for the results of a group.
fn result_row(labels: &pharos_model::Labels, drop_name: bool, len: usize) -> Row {
    let mut row = Row::default();
    row.reset(labels, len);
    row.drop_name = drop_name;
    row
}
