//! One bounded cache for all blocks: footers, series tables, row heads, timestamp vectors and pages.

use std::sync::Arc;

use bytes::Bytes;
use moka::sync::Cache;

use super::file::ParquetFile;
use super::heads::GroupHeads;
use super::table::SeriesTable;

/// What is cached, by block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) block: u128,
    pub(crate) part: Part,
}

/// A part of a block. Files are numbered by [`super::FileId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Footer(u8),
    Series,
    Heads(u32),
    Ts(u32),
    Page(u8, u64),
}

#[derive(Clone)]
pub(crate) enum Value {
    Footer(Arc<ParquetFile>),
    Series(Arc<SeriesTable>),
    Heads(Arc<GroupHeads>),
    Ts(Arc<[i64]>),
    Page(Bytes),
}

impl Value {
    fn bytes(&self) -> usize {
        match self {
            Value::Footer(file) => file.memory(),
            Value::Series(table) => table.memory(),
            Value::Heads(heads) => heads.memory(),
            Value::Ts(t) => t.len() * 8,
            Value::Page(bytes) => bytes.len(),
        }
    }
}

/// Memory for what blocks are asked for again, shared by all blocks of a process.
pub struct BlockCache {
    cache: Cache<Key, Value>,
}

impl BlockCache {
    /// A cache of at most `max_bytes` bytes.
    pub fn new(max_bytes: u64) -> Self {
        let weigh = |_: &Key, value: &Value| u32::try_from(value.bytes() + 128).unwrap_or(u32::MAX);
        BlockCache { cache: Cache::builder().max_capacity(max_bytes).weigher(weigh).build() }
    }

    pub(crate) fn get(&self, block: u128, part: Part) -> Option<Value> {
        self.cache.get(&Key { block, part })
    }

    pub(crate) fn insert(&self, block: u128, part: Part, value: Value) {
        self.cache.insert(Key { block, part }, value);
    }

    /// Bytes held; exact only when the cache has settled.
    pub fn bytes(&self) -> u64 {
        self.cache.weighted_size()
    }

    /// Applies pending evictions, so that [`BlockCache::bytes`] is exact.
    pub fn settle(&self) {
        self.cache.run_pending_tasks();
    }
}
