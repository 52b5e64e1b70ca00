//! The selected series of one block as a [`SeriesSet`]. The calling thread waits while the runtime reads.

use std::ops::Range;
use std::sync::Arc;

use pharos_block::{BlockError, BlockSelection, accounted};
use pharos_model::{Budget, Labels, SelectError, SeriesBatch, SeriesSet, TimeRange};
use tokio::runtime::Handle;

/// The series that a selector matched in a block.
pub(crate) struct BlockSet {
    pub(crate) selection: BlockSelection,
    pub(crate) runtime: Handle,
    /// The budget that reads are charged to.
    pub(crate) budget: Option<Arc<Budget>>,
}

impl SeriesSet for BlockSet {
    fn labels(&self) -> &[Labels] {
        self.selection.labels()
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        let fetch = self.selection.fetch(series, range, out);
        let fetched = match &self.budget {
            Some(budget) => self.runtime.block_on(accounted(budget.clone(), fetch)),
            None => self.runtime.block_on(fetch),
        };
        fetched.map_err(select_error)
    }
}

/// Converts an error of a block into that of a query.
pub(crate) fn select_error(error: BlockError) -> SelectError {
    match error {
        BlockError::TooManySeries(limit) => SelectError::Series { limit },
        other => SelectError::Storage(other.to_string()),
    }
}
