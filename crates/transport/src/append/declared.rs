//! The receiving end of a stream of appends: remembers the declared series and decodes chunks into batches.
//!
//! The bytes come from another process and are not trusted. The receiver validates labels, computes hashes itself, and
//! bounds references and sizes.

use std::collections::HashMap;

use pharos_model::hash::{SeriesHash, series_hash, shard_of};
use pharos_model::labels::check_canonical;
use pharos_model::wire::append::{AppendVisitor, read_append};
use pharos_model::wire::{Malformed, Reader};
use pharos_model::write::HistogramSample;
use pharos_model::{Exemplar, Metadata, Sample, TenantId, WriteBatch};

use crate::ingest_v1::ShardChunk;

/// Maximum size of the declarations of one stream, bytes.
const MAX_BYTES: usize = 2 << 30;
/// Approximate overhead of a declared series besides its labels, bytes.
const SERIES_BYTES: usize = 48;

/// The reason why the receiver ends a stream of appends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeclaredError {
    /// A chunk is malformed. No correct sender writes such bytes.
    #[error("shard {shard}: {reason}")]
    Malformed {
        /// The shard of the chunk.
        shard: u32,
        /// Description of the defect.
        reason: String,
    },
    /// The stream declares more series than it may. The sender opens another stream and declares the series in use.
    #[error("the series declared on this stream take more than {MAX_BYTES} bytes")]
    TooMany,
}

/// The series that were declared on a stream.
#[derive(Default)]
pub struct Declared {
    tables: HashMap<TenantId, HashMap<u32, Table>>,
    bytes: usize,
}

/// The declared series of a tenant and shard, indexed by number.
#[derive(Default)]
struct Table {
    generation: u32,
    series: Vec<(SeriesHash, Box<[u8]>)>,
}

impl Declared {
    /// Records the declarations of a chunk.
    ///
    /// The caller must pass every chunk of the stream, in order, including chunks whose samples it discards.
    ///
    /// # Errors
    /// The chunk is malformed, or the declarations of the stream take too many bytes.
    pub fn declare(&mut self, tenant: &TenantId, shards: u32, chunk: &ShardChunk) -> Result<(), DeclaredError> {
        if !self.tables.contains_key(tenant) {
            self.tables.insert(tenant.clone(), HashMap::new());
        }
        let Some(tables) = self.tables.get_mut(tenant) else { return Ok(()) };
        let table = tables.entry(chunk.shard).or_default();
        if table.generation != chunk.generation {
            self.bytes -= table.series.iter().map(|(_, labels)| labels.len() + SERIES_BYTES).sum::<usize>();
            *table = Table { generation: chunk.generation, series: Vec::new() };
        }
        let malformed = |reason: &str| DeclaredError::Malformed { shard: chunk.shard, reason: reason.into() };
        if chunk.first as usize != table.series.len() {
            let reason = format!("declares series {} where {} comes next", chunk.first, table.series.len());
            return Err(malformed(&reason));
        }
        let mut reader = Reader::new(&chunk.declared);
        while !reader.is_empty() {
            let canonical = reader.prefixed().map_err(|e| malformed(e.0))?;
            check_canonical(canonical).map_err(|e| malformed(&e.to_string()))?;
            let hash = series_hash(tenant, canonical);
            if shard_of(hash, shards) != chunk.shard {
                return Err(malformed("a series of another shard"));
            }
            self.bytes += canonical.len() + SERIES_BYTES;
            table.series.push((hash, canonical.into()));
        }
        if self.bytes > MAX_BYTES { Err(DeclaredError::TooMany) } else { Ok(()) }
    }

    /// Appends the samples of a chunk to a batch. The caller must pass the chunk to [`Declared::declare`] first.
    ///
    /// # Errors
    /// The samples are malformed or refer to a series that was not declared.
    pub fn read(&self, tenant: &TenantId, chunk: &ShardChunk, batch: &mut WriteBatch) -> Result<(), DeclaredError> {
        let table = self.tables.get(tenant).and_then(|tables| tables.get(&chunk.shard));
        let series = table.map_or(&[][..], |table| &table.series);
        let mut visitor = Visitor { series, batch, last: None };
        read_append(Reader::new(&chunk.samples), &mut visitor)
            .map_err(|e| DeclaredError::Malformed { shard: chunk.shard, reason: e.0.into() })?;
        batch.finish_series();
        Ok(())
    }
}

/// Decodes a batch of a copied shard, which has declarations and samples in one buffer and numbers series from 0.
pub fn read_copy(tenant: &TenantId, bytes: &[u8]) -> Result<WriteBatch, Malformed> {
    struct Copied<'a> {
        tenant: &'a TenantId,
        series: Vec<(SeriesHash, Box<[u8]>)>,
        batch: WriteBatch,
        last: Option<u32>,
    }
    impl Copied<'_> {
        fn with<R>(&mut self, work: impl FnOnce(&mut Visitor<'_>) -> R) -> R {
            let mut visitor = Visitor { series: &self.series, batch: &mut self.batch, last: self.last };
            let result = work(&mut visitor);
            self.last = visitor.last;
            result
        }
    }
    impl AppendVisitor for Copied<'_> {
        fn series(&mut self, canonical: &[u8]) -> Result<(), Malformed> {
            check_canonical(canonical).map_err(|_| Malformed("bad labels of a series"))?;
            self.series.push((series_hash(self.tenant, canonical), canonical.into()));
            Ok(())
        }
        fn sample(&mut self, series: u32, s: &Sample) -> Result<(), Malformed> {
            self.with(|v| v.sample(series, s))
        }
        fn wants(&self, _: u32) -> Result<bool, Malformed> {
            Ok(true)
        }
        fn histogram(&mut self, series: u32, s: HistogramSample) -> Result<(), Malformed> {
            self.with(|v| v.histogram(series, s))
        }
        fn exemplar(&mut self, series: u32, e: Exemplar) -> Result<(), Malformed> {
            self.with(|v| v.exemplar(series, e))
        }
        fn metadata(&mut self, family: String, metadata: Metadata) {
            self.batch.metadata.push((family, metadata));
        }
    }
    let mut copied = Copied { tenant, series: Vec::new(), batch: WriteBatch::default(), last: None };
    read_append(Reader::new(bytes), &mut copied)?;
    copied.batch.finish_series();
    Ok(copied.batch)
}

/// Fills a batch from encoded samples.
struct Visitor<'a> {
    series: &'a [(SeriesHash, Box<[u8]>)],
    batch: &'a mut WriteBatch,
    /// The number of the series that the batch has open.
    last: Option<u32>,
}

impl Visitor<'_> {
    #[inline]
    fn open(&mut self, series: u32) -> Result<(), Malformed> {
        if self.last != Some(series) {
            let (hash, labels) =
                self.series.get(series as usize).ok_or(Malformed("names a series that was not declared"))?;
            self.batch.begin_known_series(labels, *hash);
            self.last = Some(series);
        }
        Ok(())
    }
}

impl AppendVisitor for Visitor<'_> {
    fn series(&mut self, _: &[u8]) -> Result<(), Malformed> {
        Err(Malformed("declares a series among samples"))
    }

    fn sample(&mut self, series: u32, s: &Sample) -> Result<(), Malformed> {
        self.open(series)?;
        self.batch.samples.push(*s);
        Ok(())
    }

    fn wants(&self, _: u32) -> Result<bool, Malformed> {
        Ok(true)
    }

    fn histogram(&mut self, series: u32, s: HistogramSample) -> Result<(), Malformed> {
        self.open(series)?;
        self.batch.histograms.push(s);
        Ok(())
    }

    fn exemplar(&mut self, series: u32, e: Exemplar) -> Result<(), Malformed> {
        self.open(series)?;
        self.batch.exemplars.push(e);
        Ok(())
    }

    fn metadata(&mut self, family: String, metadata: Metadata) {
        self.batch.metadata.push((family, metadata));
    }
}
