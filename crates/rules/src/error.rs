//! Why an evaluation of a rule fails. The texts are those of Prometheus.

use crate::store::QueryFailure;

/// Why an evaluation of a rule failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The query failed.
    #[error("{0}")]
    Query(QueryFailure),
    /// What an earlier process knew cannot be read. The rule is not evaluated, because that would hide it.
    #[error("restoring the state of the rule: {0}")]
    Restore(QueryFailure),
    /// The store did not accept the samples.
    #[error("{0}")]
    Append(String),
    /// Two samples of a recording rule have the same labels.
    #[error("vector contains metrics with the same labelset after applying rule labels")]
    DuplicateSeries,
    /// Two alerts of an alerting rule have the same labels.
    #[error("vector contains metrics with the same labelset after applying alert labels")]
    DuplicateAlerts,
    /// A recording rule produces more series than the group's limit.
    #[error("exceeded limit of {limit} with {found} series")]
    TooManySeries {
        /// The limit of the group.
        limit: usize,
        /// The number that the evaluation produced.
        found: usize,
    },
    /// An alerting rule has more active alerts than the group's limit.
    #[error("exceeded limit of {limit} with {found} alerts")]
    TooManyAlerts {
        /// The limit of the group.
        limit: usize,
        /// The number that the evaluation produced.
        found: usize,
    },
}

impl RuleError {
    /// Whether the evaluation may succeed a moment later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, RuleError::Query(failure) | RuleError::Restore(failure) if failure.is_temporary)
    }
}
