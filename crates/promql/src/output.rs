//! What an evaluation returns.

use std::fmt;
use std::sync::Arc;

use pharos_model::Budget;

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
    /// The memory of the value.
    pub(crate) memory: ResultMemory,
}

impl QueryOutput {
    /// The memory that the value takes from the query's budget until the output is dropped, bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.0.bytes
    }
}

/// The memory of a result. It takes no part in comparisons of results.
#[derive(Clone)]
pub(crate) struct ResultMemory(Arc<Taken>);

/// Memory that was taken from a budget, returned when this is dropped.
struct Taken {
    budget: Arc<Budget>,
    bytes: u64,
}

impl ResultMemory {
    /// Takes over the duty to return `bytes` that were taken from a budget.
    pub(crate) fn of(budget: Arc<Budget>, bytes: u64) -> Self {
        ResultMemory(Arc::new(Taken { budget, bytes }))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

impl fmt::Debug for ResultMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.bytes)
    }
}

impl PartialEq for ResultMemory {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
