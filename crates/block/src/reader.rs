//! Reads a block with range requests: footers and the series table once, then only the pages with rows that are needed.

mod account;
mod cache;
mod cursor;
mod extras;
mod fetch;
pub(crate) mod file;
mod files;
mod pages;
mod plan;
mod ranges;
mod row_headers;
mod select;
mod table;
mod timestamps;

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use pharos_model::{Labels, Matcher, TimeRange};

pub use account::accounted;
pub use cache::BlockCache;
use files::{BlockFiles, FileId, SelectedSeries};
pub use select::BlockSelection;
use table::SeriesTable;

use crate::error::BlockError;
use crate::meta::{BlockMeta, FORMAT_VERSION};

/// A block that is open for reading. Cheap to clone.
#[derive(Clone)]
pub struct BlockReader {
    files: BlockFiles,
}

impl BlockReader {
    /// Opens the block in folder `prefix` and reads the footers of its main files, unless they are cached.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        prefix: Path,
        meta: Arc<BlockMeta>,
        cache: Arc<BlockCache>,
    ) -> Result<Self, BlockError> {
        if meta.version == 0 || meta.version > FORMAT_VERSION {
            let reason = format!("layout version {} is unknown", meta.version);
            return Err(BlockError::Meta { block: meta.id.to_string(), reason });
        }
        let files = BlockFiles::new(store, prefix, meta, cache);
        let footers = [FileId::Data, FileId::Series, FileId::Ts].map(|id| files.file(id));
        futures::future::try_join_all(footers).await?;
        Ok(BlockReader { files })
    }

    /// The metadata of the block.
    pub fn meta(&self) -> &BlockMeta {
        &self.files.meta
    }

    /// The series that satisfy all matchers and may have samples in `range`. Fails with [`BlockError::TooManySeries`] when
    /// there are more than `max_series`; 0 for no limit.
    pub async fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        max_series: usize,
    ) -> Result<BlockSelection, BlockError> {
        let (table, sids) = self.matching(matchers, range).await?;
        if max_series > 0 && sids.len() > max_series {
            return Err(BlockError::TooManySeries(max_series));
        }
        let mut scratch = Vec::new();
        let labels: Vec<Labels> = sids.iter().map(|sid| table.labels(*sid, &mut scratch)).collect();
        if !labels.is_sorted_by(|a, b| a < b) {
            return Err(BlockError::damaged(self.files.path(FileId::Series).as_ref(), "series are out of order"));
        }
        let selected = SelectedSeries { files: self.files.clone(), table, sids: sids.into() };
        Ok(BlockSelection::new(selected, labels))
    }

    /// The label names of the series that [`BlockReader::select`] would return, ascending.
    pub async fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>, BlockError> {
        let (table, sids) = self.matching(matchers, range).await?;
        Ok(table.label_names(&sids))
    }

    /// The values of a label in the series that [`BlockReader::select`] would return, ascending.
    pub async fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<String>, BlockError> {
        let (table, sids) = self.matching(matchers, range).await?;
        Ok(table.label_values(name, &sids))
    }

    async fn matching(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<(Arc<SeriesTable>, Vec<u32>), BlockError> {
        let table = self.files.table().await?;
        let mut sids = Vec::new();
        if self.files.meta.may_match(matchers, range) {
            sids = table.select(matchers);
            let time = |sid: usize| TimeRange::new(table.first_t[sid], table.last_t[sid]);
            sids.retain(|sid| time(*sid as usize).overlaps(&range));
        }
        Ok((table, sids))
    }
}
