//! The selected series of blocks as a [`SeriesSet`]. The calling thread waits while the runtime reads.

use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryFutureExt, TryStreamExt, stream};
use pharos_block::{BlockError, BlockSelection, accounted};
use pharos_model::{Budget, EmptySet, Labels, SelectError, SeriesBatch, SeriesSet, TimeRange, Union};
use pharos_transport::query::within;
use tokio::runtime::Handle;

use crate::mask::Visible;

/// Number of blocks that one read has requests for at a time. It bounds the fetched samples that wait to be merged, too.
pub(crate) const MAX_CONCURRENT_BLOCKS: usize = 16;

/// The series that a selector matched in a block, without deleted samples.
pub(crate) struct BlockSeries {
    pub(crate) selection: BlockSelection,
    /// What deletions leave of them, if there are any.
    pub(crate) visible: Option<Visible>,
}

impl BlockSeries {
    pub(crate) fn labels(&self) -> &[Labels] {
        self.visible.as_ref().map_or(self.selection.labels(), Visible::labels)
    }

    async fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), BlockError> {
        let Some(visible) = &self.visible else { return self.selection.fetch(series, range, out).await };
        let mut all = SeriesBatch::default();
        self.selection.fetch(visible.positions(series.clone()), range, &mut all).await?;
        visible.append(series, &all, out);
        Ok(())
    }
}

/// The series that a selector matched in blocks, in rising order of authority. The blocks are read side by side.
struct BlocksSet {
    union: Union,
    blocks: Vec<BlockSeries>,
    runtime: Handle,
    budget: Arc<Budget>,
}

/// The union of the series of blocks, which come in rising order of authority. Reads are charged to `budget` and end with it.
pub(crate) fn union(mut blocks: Vec<BlockSeries>, runtime: Handle, budget: Arc<Budget>) -> Arc<dyn SeriesSet> {
    blocks.retain(|block| !block.labels().is_empty());
    if blocks.is_empty() {
        return Arc::new(EmptySet);
    }
    let union = Union::of(&blocks.iter().map(BlockSeries::labels).collect::<Vec<_>>());
    Arc::new(BlocksSet { union, blocks, runtime, budget })
}

impl BlocksSet {
    async fn merge(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), BlockError> {
        let fetch = |(at, block)| {
            let own = self.union.of_set(at, &series);
            async move {
                let mut fetched = SeriesBatch::default();
                if !own.is_empty() {
                    BlockSeries::fetch(block, own, range, &mut fetched).await?;
                }
                Ok::<_, BlockError>((at, fetched))
            }
        };
        let mut merger = self.union.merger(series.clone(), out);
        let mut fetches = stream::iter(self.blocks.iter().enumerate()).map(fetch).buffered(MAX_CONCURRENT_BLOCKS);
        while let Some((at, fetched)) = fetches.try_next().await? {
            merger.add(at, &fetched);
        }
        merger.finish();
        Ok(())
    }
}

impl SeriesSet for BlocksSet {
    fn labels(&self) -> &[Labels] {
        self.union.labels()
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        match &self.blocks[..] {
            [block] => wait(&self.runtime, &self.budget, block.fetch(series, range, out)),
            _ => wait(&self.runtime, &self.budget, self.merge(series, range, out)),
        }
    }
}

/// Waits for a read, which is charged to the budget and ends with it, even if the object store never answers.
pub(crate) fn wait<T>(
    runtime: &Handle,
    budget: &Arc<Budget>,
    read: impl Future<Output = Result<T, BlockError>>,
) -> Result<T, SelectError> {
    budget.check()?;
    let read = accounted(budget.clone(), read.map_err(select_error));
    runtime.block_on(within(budget, read))
}

/// Converts an error of a block into that of a query. Logs damage, which does not pass by itself.
fn select_error(error: BlockError) -> SelectError {
    if error.is_permanent() {
        tracing::error!(
            %error,
            "block cannot be read, so queries over its time fail; repair its files, or run \
             `pharos cluster block quarantine TENANT BLOCK` to answer without its samples"
        );
    }
    error.into()
}
