//! The form in which a plan is shown: a tree of operators with their properties and, if they ran, their measurements.

use std::time::Duration;

/// An operator of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanNode {
    /// The kind of operator: `aggregate`, `range function`, `selector`, `join` and so on.
    pub operator: &'static str,
    /// Properties by name: `("by", "job")`.
    pub details: Vec<(&'static str, String)>,
    /// Properties that rewrites have added: what was moved here from elsewhere in the expression, and what the source of
    /// samples is asked to do.
    pub pushed: Vec<(&'static str, String)>,
    /// Measurements, if the plan was run with [`QueryOptions::analyze`](crate::QueryOptions::analyze).
    pub actual: Option<OperatorStats>,
    /// The operators that yield its input.
    pub children: Vec<PlanNode>,
}

/// Measurements of an operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorStats {
    /// Series yielded. If a long range is evaluated in parts, a series counts once for each part.
    pub series: u64,
    /// Samples yielded.
    pub samples: u64,
    /// Samples read from the source; zero for all operators but selectors.
    pub samples_read: u64,
    /// Time spent in the operator and its children, added up over all threads.
    pub wall: Duration,
    /// The largest part of the query's memory budget that the operator held itself.
    pub peak_bytes: u64,
    /// Bytes that sources report to have read from files or objects; zero for all operators but selectors.
    pub bytes_read: u64,
    /// Requests in which sources read those bytes.
    pub requests: u64,
}

/// The plan of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The expression as written, with times and durations resolved and constants folded.
    pub logical: PlanNode,
    /// What is evaluated, after all rewrites.
    pub physical: PlanNode,
}
