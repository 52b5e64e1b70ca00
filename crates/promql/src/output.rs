//! What an evaluation returns.

use crate::eval::Value;
use crate::explanation::PlanNode;
use crate::stats::QueryStats;

/// The answer to a query.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryOutput {
    /// The value of the expression.
    pub value: Value,
    /// Annotations that begin with `PromQL warning: `, sorted, with their line and column.
    pub warnings: Vec<String>,
    /// Annotations that begin with `PromQL info: `, sorted, with their line and column.
    pub infos: Vec<String>,
    /// The work that was done.
    pub stats: QueryStats,
    /// The plan with measurements of each operator, with
    /// [`QueryOptions::analyze`](crate::QueryOptions::analyze).
    pub plan: Option<PlanNode>,
}
