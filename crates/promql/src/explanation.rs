//! The shape in which a plan is shown: a tree of operators with their particulars and, when they ran, what they did.

use std::time::Duration;

/// An operator of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanNode {
    /// What it is: `aggregate`, `range function`, `selector`, `join`…
    pub operator: &'static str,
    /// Its particulars, by name: `("by", "job")`.
    pub details: Vec<(&'static str, String)>,
    /// What was moved to this operator from elsewhere in the expression, or is asked of the source of samples, by name.
    pub pushed: Vec<(&'static str, String)>,
    /// What it did, when the plan was run with [`QueryOptions::analyze`](crate::QueryOptions::analyze).
    pub actual: Option<OperatorStats>,
    /// The operators that it takes its input from.
    pub children: Vec<PlanNode>,
}

/// What an operator did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorStats {
    /// Series that it handed on; where a long range is evaluated in slices, once for each slice.
    pub series: u64,
    /// Samples that it handed on.
    pub samples: u64,
    /// Samples that it read from its source; zero for all but selectors.
    pub samples_read: u64,
    /// Time of itself and of what is below it, over all threads. Evaluations that overlap in time add up.
    pub wall: Duration,
    /// Most bytes of the query's budget that it held itself at a time.
    pub peak_bytes: u64,
    /// Bytes that sources read for it from files or objects, as far as they say; zero for all but selectors.
    pub bytes_read: u64,
    /// Requests in which they read them.
    pub requests: u64,
}

/// The plan of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The expression as it was written, with times and durations resolved and constants folded.
    pub logical: PlanNode,
    /// What is evaluated: rewritten, with what is pushed where and what is shared.
    pub physical: PlanNode,
}
