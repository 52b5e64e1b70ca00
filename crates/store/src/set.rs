//! The series of one block as a [`SeriesSet`]: the asking thread waits while the runtime reads.

use std::ops::Range;

use pharos_block::{BlockError, BlockSelection};
use pharos_model::{Labels, SelectError, SeriesBatch, SeriesSet, TimeRange};
use tokio::runtime::Handle;

/// What a selector matched in a block.
pub(crate) struct BlockSet {
    pub(crate) selection: BlockSelection,
    pub(crate) runtime: Handle,
}

impl SeriesSet for BlockSet {
    fn labels(&self) -> &[Labels] {
        self.selection.labels()
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        self.runtime.block_on(self.selection.fetch(series, range, out)).map_err(select_error)
    }
}

/// A block's error as a query sees it.
pub(crate) fn select_error(error: BlockError) -> SelectError {
    match error {
        BlockError::TooManySeries(limit) => SelectError::Series { limit },
        other => SelectError::Storage(other.to_string()),
    }
}
