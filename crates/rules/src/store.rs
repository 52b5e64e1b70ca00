//! What rules read and write: the traits that a server, or a test, implements.

use pharos_promql::VectorSample;
use pharos_promql::syntax::ast::Expr;

/// Answers the queries of rules. Its method blocks.
pub trait RuleQueries {
    /// Evaluates an expression, whose text is `text`, to an instant vector. A scalar is a sample without labels.
    /// `lookback_ms` replaces the default of the engine.
    ///
    /// # Errors
    /// The reason why the expression cannot be evaluated, or why the result may be incomplete.
    fn query(
        &self,
        expr: &Expr,
        text: &str,
        t_ms: i64,
        lookback_ms: Option<i64>,
    ) -> Result<Vec<VectorSample>, QueryFailure>;
}

/// Why a query of a rule has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct QueryFailure {
    /// The reason.
    pub reason: String,
    /// Whether the query may succeed a moment later.
    pub is_temporary: bool,
}

impl<T: Into<String>> From<T> for QueryFailure {
    /// A failure that will last.
    fn from(reason: T) -> Self {
        QueryFailure { reason: reason.into(), is_temporary: false }
    }
}

/// The storage of a group: answers queries and takes samples. Its methods block.
pub trait RuleStore: RuleQueries {
    /// Appends samples.
    ///
    /// # Errors
    /// The reason why a sample was not accepted.
    fn append(&mut self, samples: &[VectorSample]) -> Result<(), String>;
}
