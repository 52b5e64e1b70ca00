//! The answer to a query.

use crate::eval::Value;
use crate::explanation::PlanNode;
use crate::stats::QueryStats;

/// The answer to a query.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryOutput {
    /// The value.
    pub value: Value,
    /// Annotations that begin with `PromQL warning: `, sorted, with positions.
    pub warnings: Vec<String>,
    /// Annotations that begin with `PromQL info: `, sorted, with positions.
    pub infos: Vec<String>,
    /// What it took.
    pub stats: QueryStats,
    /// What was evaluated and what each operator did, with [`QueryOptions::analyze`].
    pub plan: Option<PlanNode>,
}
