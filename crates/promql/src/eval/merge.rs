//! Merges rows that belong to the same series.
//!
//! Most operators yield one row for each series. `or` and joins may yield several rows with equal labels at different steps.
//! An operator that looks at more than one step must see them as one series. Metric names count as labels here, even if
//! they will be dropped: as in Prometheus, the first step of a series decides whether its name is dropped.

use hashbrown::HashMap;
use pharos_model::Labels;

use super::Outcome;
use super::row::Row;
use crate::error::same_labels;
use crate::functions::MetricName;
use crate::plan::{Node, RangeInput};
use crate::syntax::ast::{AggregateOp, BinaryOp};

/// Merges rows with equal labels, in the order of their first rows. Fails when two of them have a sample at the same step.
/// `check` is called for each row.
pub(crate) fn merge_rows(rows: Vec<Row>, mut check: impl FnMut() -> Outcome) -> Outcome<Vec<Row>> {
    let mut seen: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    let mut merged: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        check()?;
        let at = *seen.entry(row.labels.clone()).or_insert(merged.len());
        match merged.get_mut(at) {
            Some(earlier) => merge_into(earlier, row)?,
            None => merged.push(row),
        }
    }
    Ok(merged)
}

fn merge_into(into: &mut Row, other: Row) -> Outcome {
    let mine = into.occupied();
    let theirs = other.occupied();
    if mine.intersects(&theirs) {
        return Err(same_labels());
    }
    if theirs.iter().next() < mine.iter().next() && !theirs.is_empty() || mine.is_empty() {
        into.drop_name = other.drop_name;
    }
    for step in other.present.iter() {
        into.put(step, other.values[step]);
    }
    into.hists.extend(other.hists);
    into.hists.sort_by_key(|(step, _)| *step);
    Ok(())
}

/// Whether a node may yield several rows with equal labels.
pub(crate) fn may_repeat(node: &Node) -> bool {
    match node {
        Node::Negate(inner) | Node::Invariant(inner) => may_repeat(inner),
        Node::Shared(shared) => may_repeat(&shared.expr),
        Node::Aggregate(a) => chooses(a.op) && may_repeat(&a.expr),
        Node::Call(call) if call.func.is_by_series() => may_repeat(&call.args[0]),
        Node::Call(call) => call.func.metric_name() != MetricName::Absent,
        Node::Binary(b) => match (b.lhs.is_scalar(), b.rhs.is_scalar(), b.op) {
            (true, ..) => may_repeat(&b.rhs),
            (_, true, _) | (_, _, BinaryOp::And | BinaryOp::Unless) => may_repeat(&b.lhs),
            _ => true,
        },
        // A range function over a subquery merges the rows that it reads.
        _ => false,
    }
}

fn chooses(op: AggregateOp) -> bool {
    matches!(op, AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio)
}

/// What may happen to the names of a node's series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Names {
    kept: bool,
    dropped: bool,
}

const NONE: Names = Names { kept: false, dropped: false };
const KEPT: Names = Names { kept: true, dropped: false };
const DROPPED: Names = Names { kept: false, dropped: true };
const EITHER: Names = Names { kept: true, dropped: true };

fn names(node: &Node) -> Names {
    match node {
        Node::Selector(_) => KEPT,
        Node::Negate(_) => DROPPED,
        Node::Invariant(inner) => names(inner),
        Node::Shared(shared) => names(&shared.expr),
        Node::Range(call) => match (call.func.metric_name(), &call.input) {
            (MetricName::Absent, _) => NONE,
            (MetricName::Kept, RangeInput::Selector(_)) => KEPT,
            (MetricName::Kept, RangeInput::Subquery(s)) => names(&s.expr),
            (MetricName::Dropped, _) => DROPPED,
            (MetricName::Varies, _) => EITHER,
        },
        Node::Call(call) => match call.func.metric_name() {
            MetricName::Absent => NONE,
            MetricName::Kept => names(&call.args[0]),
            MetricName::Dropped => DROPPED,
            MetricName::Varies => EITHER,
        },
        Node::Aggregate(a) if chooses(a.op) => names(&a.expr),
        Node::Aggregate(a) => {
            let named = a.op == AggregateOp::CountValues || a.grouping.iter().any(|label| label.starts_with("__"));
            if named && !a.without { EITHER } else { NONE }
        }
        Node::Binary(b) => match (b.lhs.is_scalar(), b.rhs.is_scalar(), b.op) {
            (_, _, BinaryOp::And | BinaryOp::Unless) => names(&b.lhs),
            (_, _, BinaryOp::Or) => {
                let (l, r) = (names(&b.lhs), names(&b.rhs));
                Names { kept: l.kept || r.kept, dropped: l.dropped || r.dropped }
            }
            _ => EITHER,
        },
        // Another node evaluated it, so either is possible.
        Node::Precomputed(_) => EITHER,
        Node::Number(_) | Node::Text(_) | Node::Matrix(_) | Node::Subquery(_) => NONE,
    }
}

/// Whether one side may drop the name of a series that the other side keeps.
pub(crate) fn names_differ(lhs: &Node, rhs: &Node) -> bool {
    let (l, r) = (names(lhs), names(rhs));
    l.kept && r.dropped || l.dropped && r.kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::QueryError;

    fn row(name: &str, drop_name: bool, samples: &[(usize, f64)]) -> Row {
        let mut row = Row::default();
        row.reset(&Labels::from_pairs([("__name__", name)]), 4);
        row.drop_name = drop_name;
        samples.iter().for_each(|(step, value)| row.put(*step, *value));
        row
    }

    #[test]
    fn the_first_step_decides_whether_the_name_is_dropped() {
        let rows =
            vec![row("a", true, &[(1, 1.0)]), row("b", true, &[(0, 5.0)]), row("a", false, &[(0, 2.0), (3, 3.0)])];
        let merged = merge_rows(rows, || Ok(())).unwrap();
        assert_eq!(merged.len(), 2);
        assert!(!merged[0].drop_name);
        assert!(merged[1].drop_name);
    }

    #[test]
    fn rows_with_equal_labels_are_merged_at_the_place_of_the_first() {
        let rows =
            vec![row("a", true, &[(1, 1.0)]), row("b", true, &[(0, 5.0)]), row("a", false, &[(0, 2.0), (3, 3.0)])];
        let merged = merge_rows(rows, || Ok(())).unwrap();
        let names: Vec<_> = merged.iter().map(|row| row.labels.metric_name().to_string()).collect();
        assert_eq!(names, ["a", "b"]);
        let values: Vec<_> = merged[0].present.iter().map(|step| (step, merged[0].values[step])).collect();
        assert_eq!(values, [(0, 2.0), (1, 1.0), (3, 3.0)]);
    }

    #[test]
    fn two_samples_of_a_series_at_one_step_are_an_error() {
        let rows = vec![row("a", true, &[(1, 1.0)]), row("a", true, &[(1, 2.0)])];
        assert_eq!(merge_rows(rows, || Ok(())).err(), Some(same_labels()));
    }

    #[test]
    fn merging_can_be_cancelled() {
        let rows = vec![row("a", true, &[(1, 1.0)])];
        assert_eq!(merge_rows(rows, || Err(QueryError::Canceled)).err(), Some(QueryError::Canceled));
    }

    #[test]
    fn an_empty_row_does_not_decide_about_the_name() {
        let rows = vec![row("a", true, &[]), row("a", false, &[(2, 1.0)])];
        assert!(!merge_rows(rows, || Ok(())).unwrap()[0].drop_name);
        let rows = vec![row("a", true, &[(2, 1.0)]), row("a", false, &[])];
        assert!(merge_rows(rows, || Ok(())).unwrap()[0].drop_name);
    }
}
