//! Where the evaluator's samples come from.

use pharos_model::{Budget, SelectError, SelectRequest, SeriesSet};
use std::sync::Arc;

/// A source of series for one tenant. Blocks; the evaluator calls it from threads that may block.
pub trait Querier: Send + Sync {
    /// The series that a selector matches.
    fn select(&self, request: &SelectRequest, budget: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError>;
}

impl<F> Querier for F
where
    F: Fn(&SelectRequest, &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> + Send + Sync,
{
    fn select(&self, request: &SelectRequest, budget: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        self(request, budget)
    }
}
