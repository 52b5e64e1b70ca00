//! The source of the samples that a query reads.

use pharos_model::{Budget, SelectError, SelectRequest, SeriesSet};
use std::sync::Arc;

/// A source of the series of one tenant. Calls may block; the evaluator makes them on threads that may block.
pub trait Querier: Send + Sync {
    /// The series that a request matches, to be read within the limits of `budget`.
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
