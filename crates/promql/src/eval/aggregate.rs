//! Aggregations. Their memory grows with the number of groups times steps, not with the number of series.

mod columns;
mod count_values;
mod grouping;
mod histograms;
mod quantile;
mod select;

use pharos_model::fragment::FragmentRow;

use super::row::{Grid, Row};
use super::{Eval, Outcome, Sink, parallel};
use crate::error::QueryError;
use crate::plan::{Aggregate, Node};
use crate::syntax::ast::AggregateOp;
use columns::{Columns, Extent, Totals};
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
    if matches!(aggregate.op, AggregateOp::Avg | AggregateOp::Stddev | AggregateOp::Stdvar) {
        // The rounding of these depends on the order of all series.
        let mut columns = Columns::new(ev, aggregate, grid.len, Extent::All);
        ev.stream(&aggregate.expr, grid, &mut |row| columns.add(ev, row))?;
        return columns.detach().emit(ev, aggregate, grid, sink);
    }
    let gather = |ev: &Eval<'_, '_>, extent: Extent| {
        let mut columns = Columns::new(ev, aggregate, grid.len, extent);
        ev.vector(&aggregate.expr, grid, &mut |row| columns.add(ev, row))?;
        Ok(columns.detach())
    };
    let Some(partitions) = parallel::divide(ev, &aggregate.expr, grid)? else {
        return gather(ev, Extent::All)?.emit(ev, aggregate, grid, sink);
    };
    let series = partitions.iter().map(|partition| partition.series.len()).sum();
    let whole = super::Partition { set: partitions[0].set.clone(), series: 0..series };
    if partitions.len() > 1
        && let Some(mut all) = merged(ev, parallel::each_partition(ev, partitions, |ev| gather(ev, Extent::Part))?)?
        && all.settle()
    {
        return all.emit(ev, aggregate, grid, sink);
    }
    // All series are added in their order.
    let mut all = parallel::each_partition(ev, vec![whole], |ev| gather(ev, Extent::All))?.into_iter();
    all.try_for_each(|columns| columns.emit(ev, aggregate, grid, sink))
}

/// Merges the states of threads. `None` when the result depends on the order of all series.
fn merged(ev: &Eval<'_, '_>, parts: Vec<Totals>) -> Outcome<Option<Totals>> {
    if !parts.iter().all(Totals::is_mergeable) {
        return Ok(None);
    }
    let mut parts = parts.into_iter();
    let Some(mut first) = parts.next() else { return Ok(None) };
    parts.try_for_each(|part| first.absorb(ev, part))?;
    Ok(Some(first))
}

/// The partial sums of the groups of a `sum`, with whether the names of their series are dropped. `None` when they cannot be
/// merged with those of other nodes.
pub(crate) fn partial_sums(
    ev: &Eval<'_, '_>,
    aggregate: &Aggregate,
    grid: Grid,
) -> Outcome<Option<Vec<(FragmentRow, bool)>>> {
    let gather = |ev: &Eval<'_, '_>| {
        let mut columns = Columns::new(ev, aggregate, grid.len, Extent::Part);
        ev.vector(&aggregate.expr, grid, &mut |row| columns.add(ev, row))?;
        Ok(columns.detach())
    };
    let parts = match parallel::divide(ev, &aggregate.expr, grid)? {
        Some(partitions) => parallel::each_partition(ev, partitions, gather)?,
        None => vec![gather(ev)?],
    };
    merged(ev, parts)?.map(|all| all.into_partial_sums(ev)).transpose()
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
fn result_row(groups: &Groups, group: usize, len: usize) -> Row {
    let mut row = Row::default();
    row.reset(&groups.labels[group], len);
    row.drop_name = groups.drop_name[group];
    (row.first, row.rank) = (Some(groups.first[group].clone()), groups.rank[group]);
    row
}
