//! Writes `ts.parquet`: timestamp vectors, each stored once.
//!
//! Series of one target have equal vectors; a series that began later or ended earlier has a section of one. Equal vectors are
//! found by hash, sections by their first or last timestamp. The memory for this is bounded: once it is exhausted, vectors
//! may be stored again, which costs only space.

use std::collections::HashMap;
use std::sync::Arc;

use parquet::data_type::{Int32Type, Int64Type};
use xxhash_rust::xxh3::xxh3_64;

use super::columns::{ListColumn, write_scalars};
use super::file::FileWriter;
use crate::error::BlockError;
use crate::schema;

/// Timestamps after which a row group is written.
const MAX_GROUP_TIMESTAMPS: usize = 1 << 20;
/// Timestamps that are remembered to find equal vectors.
const MAX_REMEMBERED: usize = 8 << 20;
/// Vectors that are remembered for each first or last timestamp.
const MAX_CANDIDATES: usize = 4;

/// Where the timestamps of a series are stored: a vector and an offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VectorRef {
    pub(crate) ts_id: i32,
    pub(crate) ts_off: i32,
}

/// The number of a vector and its timestamps.
type StoredVector = (i32, Arc<[i64]>);

pub(crate) struct TsFile {
    file: FileWriter,
    ids: Vec<i32>,
    vectors: ListColumn<i64>,
    next: i32,
    by_hash: HashMap<u64, StoredVector>,
    by_edge: HashMap<i64, Vec<StoredVector>>,
    remembered: usize,
}

impl TsFile {
    pub(crate) fn new() -> Result<Self, BlockError> {
        Ok(TsFile {
            file: FileWriter::new(schema::ts_schema()?, schema::ts_properties()?)?,
            ids: Vec::new(),
            vectors: ListColumn::new(false),
            next: 0,
            by_hash: HashMap::new(),
            by_edge: HashMap::new(),
            remembered: 0,
        })
    }

    /// Finds a vector or stores it. It must not be empty and must ascend.
    pub(crate) fn store(&mut self, t: &[i64]) -> Result<VectorRef, BlockError> {
        let hash = hash_of(t);
        if let Some((ts_id, known)) = self.by_hash.get(&hash)
            && known[..] == *t
        {
            return Ok(VectorRef { ts_id: *ts_id, ts_off: 0 });
        }
        if let Some(found) = self.find_section(t) {
            return Ok(found);
        }
        let ts_id = self.next;
        self.next = self.next.checked_add(1).ok_or_else(|| BlockError::Input("too many timestamp vectors".into()))?;
        self.remember(hash, ts_id, t);
        self.ids.push(ts_id);
        self.vectors.push(t);
        if self.vectors.len() >= MAX_GROUP_TIMESTAMPS {
            self.flush()?;
        }
        Ok(VectorRef { ts_id, ts_off: 0 })
    }

    fn find_section(&self, t: &[i64]) -> Option<VectorRef> {
        let edges = [t[0], t[t.len() - 1]];
        edges.iter().filter_map(|edge| self.by_edge.get(edge)).flatten().find_map(|(ts_id, known)| {
            let from = known.binary_search(&t[0]).ok()?;
            let section = known.get(from..from + t.len())?;
            (section == t).then_some(VectorRef { ts_id: *ts_id, ts_off: from as i32 })
        })
    }

    fn remember(&mut self, hash: u64, ts_id: i32, t: &[i64]) {
        if self.remembered + t.len() > MAX_REMEMBERED {
            self.by_hash.clear();
            self.by_edge.clear();
            self.remembered = 0;
        }
        let known: Arc<[i64]> = Arc::from(t);
        for edge in [t[0], t[t.len() - 1]] {
            let list = self.by_edge.entry(edge).or_default();
            if list.len() < MAX_CANDIDATES {
                list.push((ts_id, known.clone()));
            }
        }
        self.by_hash.insert(hash, (ts_id, known));
        self.remembered += t.len();
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        self.file.group(|group| {
            write_scalars::<Int32Type, _>(group, &mut self.ids)?;
            self.vectors.write::<Int64Type, _>(group)
        })
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> usize {
        self.file.bytes()
    }

    pub(crate) fn finish(mut self) -> Result<FileWriter, BlockError> {
        self.flush()?;
        Ok(self.file)
    }
}

fn hash_of(t: &[i64]) -> u64 {
    // Five timestamps and the length tell almost all vectors apart, and a hit is compared in full.
    let mut seed = [0u8; 48];
    let picks = [t[0], t[t.len() / 2], t[t.len() - 1], t[t.len() / 3], t[t.len() * 3 / 4], t.len() as i64];
    for (slot, pick) in seed.chunks_exact_mut(8).zip(picks) {
        slot.copy_from_slice(&pick.to_le_bytes());
    }
    xxh3_64(&seed)
}

#[cfg(test)]
mod tests;
