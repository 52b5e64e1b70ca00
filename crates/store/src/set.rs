//! The selected series of one block as a [`SeriesSet`]. The calling thread waits while the runtime reads.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

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
        wait(&self.runtime, self.budget.as_ref(), self.selection.fetch(series, range, out))
    }
}

/// Interval at which a wait for the object store checks whether its query has ended.
const BUDGET_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Waits for a read. With a budget, the read is charged to it and ends with it, even if the object store never answers.
pub(crate) fn wait<T>(
    runtime: &Handle,
    budget: Option<&Arc<Budget>>,
    read: impl Future<Output = Result<T, BlockError>>,
) -> Result<T, SelectError> {
    let Some(budget) = budget else { return runtime.block_on(read).map_err(select_error) };
    runtime.block_on(async {
        let mut read = pin!(accounted(budget.clone(), read));
        loop {
            match tokio::time::timeout(BUDGET_CHECK_INTERVAL, &mut read).await {
                Ok(done) => return done.map_err(select_error),
                Err(_) => budget.check()?,
            }
        }
    })
}

/// Converts an error of a block into that of a query. Logs damage, which does not pass by itself.
pub(crate) fn select_error(error: BlockError) -> SelectError {
    if let BlockError::Damaged { .. }
    | BlockError::Meta { .. }
    | BlockError::Store(object_store::Error::NotFound { .. }) = error
    {
        tracing::error!(
            %error,
            "block cannot be read, so queries over its time fail; repair its files, or run \
             `pharos cluster block quarantine TENANT BLOCK` to answer without its samples"
        );
    }
    match error {
        BlockError::TooManySeries(limit) => SelectError::Series { limit },
        other => SelectError::Storage(other.to_string()),
    }
}
