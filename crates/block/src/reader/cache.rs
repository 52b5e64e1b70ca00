//! One bounded cache for all blocks: footers, series tables, row headers, timestamp vectors and pages.

use std::sync::Arc;

use bytes::Bytes;
use moka::sync::Cache;

use super::file::ParquetFile;
use super::row_headers::GroupHeaders;
use super::table::SeriesTable;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    pub(crate) block: u128,
    pub(crate) item: CacheItem,
}

/// An item of a block that can be cached. Files are numbered as in [`super::FileId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CacheItem {
    Footer(u8),
    Series,
    RowHeaders(u32),
    Ts(u32),
    Page(u8, u64),
}

#[derive(Clone)]
pub(crate) enum Cached {
    Footer(Arc<ParquetFile>),
    Series(Arc<SeriesTable>),
    RowHeaders(Arc<GroupHeaders>),
    Ts(Arc<[i64]>),
    Page(Bytes),
}

impl Cached {
    fn bytes(&self) -> usize {
        match self {
            Cached::Footer(file) => file.memory(),
            Cached::Series(table) => table.memory(),
            Cached::RowHeaders(headers) => headers.memory(),
            Cached::Ts(t) => t.len() * 8,
            Cached::Page(bytes) => bytes.len(),
        }
    }
}

/// A bounded cache of footers, series tables, row headers, timestamp vectors and pages, shared by all blocks of a process.
pub struct BlockCache {
    cache: Cache<CacheKey, Cached>,
}

impl BlockCache {
    /// Creates a cache of at most `max_bytes` bytes.
    pub fn new(max_bytes: u64) -> Self {
        let weigh = |_: &CacheKey, value: &Cached| u32::try_from(value.bytes() + 128).unwrap_or(u32::MAX);
        BlockCache { cache: Cache::builder().max_capacity(max_bytes).weigher(weigh).build() }
    }

    pub(crate) fn get(&self, block: u128, item: CacheItem) -> Option<Cached> {
        self.cache.get(&CacheKey { block, item })
    }

    pub(crate) fn insert(&self, block: u128, item: CacheItem, value: Cached) {
        self.cache.insert(CacheKey { block, item }, value);
    }

    /// The size of the cached items in bytes, exact only after [`BlockCache::settle`].
    pub fn bytes(&self) -> u64 {
        self.cache.weighted_size()
    }

    /// Applies pending evictions.
    pub fn settle(&self) {
        self.cache.run_pending_tasks();
    }
}

#[cfg(test)]
mod tests;
