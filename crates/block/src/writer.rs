//! Writes a block from series in label order. It holds the compressed files, one row group of each, and the labels as codes in
//! memory.

mod columns;
mod data;
mod extras;
mod file;
mod series;
mod ts;

use std::collections::BTreeMap;

use bytes::Bytes;
use pharos_model::{Exemplar, Labels, METRIC_NAME, Metadata, SeriesHash, SeriesView, TenantId};
use ulid::Ulid;

use crate::error::BlockError;
use crate::filter::LabelFilter;
use crate::meta::{BlockMeta, DATA, EXEMPLARS, HISTOGRAMS, META_KEY, SERIES, TS};
use crate::schema::{self, MAX_ROW_SAMPLES};
use data::{DataFile, SampleRow};
use extras::{ExemplarFile, HistogramFile};
use series::{SeriesRow, SeriesTable};
use ts::TsFile;

/// The timestamps of a longer series are stored as several vectors, because a reader decodes a vector as a whole. Whole rows
/// refer to one vector each.
const MAX_VECTOR_SAMPLES: usize = 500 * MAX_ROW_SAMPLES;

/// The identity and extent of a block that is to be written.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// The name of the block.
    pub id: Ulid,
    /// The owner of the samples.
    pub tenant: TenantId,
    /// First millisecond of the window.
    pub window_start: i64,
    /// First millisecond after the window.
    pub window_end: i64,
    /// See [`BlockMeta::sequence`].
    pub sequence: u64,
    /// See [`BlockMeta::deletions_seen`].
    pub deletions_seen: u64,
    /// How many shards the cluster has.
    pub shards_total: u32,
    /// The shards that the block covers; `None` for the shards of the series that are pushed.
    pub shards: Option<Vec<u32>>,
    /// The step of a downsampled block, in milliseconds; 0 for raw samples.
    pub resolution: i64,
    /// The blocks that this one is made from.
    pub sources: Vec<Ulid>,
    /// Labels that become columns of `data.parquet`, besides the metric name, so that SQL needs no join for them.
    pub promoted: Vec<String>,
    /// Whether the block is in [`TenantId::folder`], which programs before layout version 2 do not find, or in
    /// [`TenantId::legacy_folder`]. Default: true.
    pub escaped_folder: bool,
}

impl WriterOptions {
    /// Options for a block of raw samples of `[window_start, window_end)`.
    pub fn new(id: Ulid, tenant: TenantId, window_start: i64, window_end: i64) -> Self {
        WriterOptions {
            id,
            tenant,
            window_start,
            window_end,
            sequence: 0,
            deletions_seen: 0,
            shards_total: 64,
            shards: None,
            resolution: 0,
            sources: Vec::new(),
            promoted: vec!["job".into(), "instance".into()],
            escaped_folder: true,
        }
    }
}

/// A complete block in memory, ready to be uploaded.
#[derive(Clone, Debug)]
pub struct FinishedBlock {
    /// The metadata for the catalogue.
    pub meta: BlockMeta,
    /// Names and contents, in the order of their upload.
    pub files: Vec<(String, Bytes)>,
}

/// Writes the series of a block one by one.
pub struct BlockWriter {
    options: WriterOptions,
    data: DataFile,
    ts: TsFile,
    series: SeriesTable,
    histograms: Option<HistogramFile>,
    exemplars: Option<ExemplarFile>,
    last: Option<Labels>,
    min_t: i64,
    max_t: i64,
    samples: u64,
    histogram_count: u64,
    exemplar_count: u64,
}

impl BlockWriter {
    /// Begins a block. Fails when its window is empty or there are no shards.
    pub fn new(options: WriterOptions) -> Result<Self, BlockError> {
        if options.window_end <= options.window_start || options.shards_total == 0 {
            return Err(BlockError::Input(format!(
                "window {}..{} is empty or {} shards are too few",
                options.window_start, options.window_end, options.shards_total
            )));
        }
        let mut promoted = vec![METRIC_NAME.to_string()];
        for label in &options.promoted {
            let taken: Vec<&str> = schema::data::NAMES.into_iter().chain(promoted.iter().map(String::as_str)).collect();
            if schema::is_column_name(label, &taken) {
                promoted.push(label.clone());
            }
        }
        Ok(BlockWriter {
            data: DataFile::new(promoted)?,
            ts: TsFile::new()?,
            series: SeriesTable::default(),
            histograms: None,
            exemplars: None,
            last: None,
            min_t: i64::MAX,
            max_t: i64::MIN,
            samples: 0,
            histogram_count: 0,
            exemplar_count: 0,
            options,
        })
    }

    /// Appends a series. Labels must exceed those of the previous series, and timestamps must ascend without duplicates.
    pub fn push(
        &mut self,
        labels: &Labels,
        hash: SeriesHash,
        metadata: Option<&Metadata>,
        samples: SeriesView<'_>,
    ) -> Result<(), BlockError> {
        if let Some(last) = self.last.as_ref().filter(|last| *last >= labels) {
            return Err(BlockError::Input(format!("series {labels} comes after {last}")));
        }
        check(labels, samples)?;
        let sid = i32::try_from(self.series.len()).map_err(|_| BlockError::Input("too many series".into()))?;
        let rows = self.push_floats(sid, labels, samples)?;
        self.push_histograms(sid, samples)?;
        let edges = |t: &[i64]| t.first().copied().zip(t.last().copied());
        let mut first_t = i64::MAX;
        let mut last_t = i64::MIN;
        for (first, last) in [edges(samples.t), edges(samples.ht)].into_iter().flatten() {
            first_t = first_t.min(first);
            last_t = last_t.max(last);
        }
        self.min_t = self.min_t.min(first_t);
        self.max_t = self.max_t.max(last_t);
        let histograms = row_count(labels, samples.ht.len())?;
        self.series.push(labels, metadata, SeriesRow { hash, rows, histograms, exemplars: 0, first_t, last_t });
        self.last = Some(labels.clone());
        Ok(())
    }

    fn push_floats(&mut self, sid: i32, labels: &Labels, samples: SeriesView<'_>) -> Result<i32, BlockError> {
        let known_st = samples.st.iter().any(|st| *st != 0);
        for begin in (0..samples.t.len()).step_by(MAX_VECTOR_SAMPLES) {
            let end = samples.t.len().min(begin + MAX_VECTOR_SAMPLES);
            let vector = self.ts.store(&samples.t[begin..end])?;
            for from in (begin..end).step_by(MAX_ROW_SAMPLES) {
                let to = end.min(from + MAX_ROW_SAMPLES);
                let row = SampleRow {
                    sid,
                    first_t: samples.t[from],
                    ts_id: vector.ts_id,
                    ts_off: vector.ts_off + (from - begin) as i32,
                    values: &samples.v[from..to],
                    st: if known_st { &samples.st[from..to] } else { &[] },
                };
                self.data.push(labels, &row)?;
            }
        }
        self.samples += samples.t.len() as u64;
        row_count(labels, samples.t.len().div_ceil(MAX_ROW_SAMPLES))
    }

    fn push_histograms(&mut self, sid: i32, samples: SeriesView<'_>) -> Result<(), BlockError> {
        for (at, (t, h)) in samples.ht.iter().zip(samples.h).enumerate() {
            let file = match &mut self.histograms {
                Some(file) => file,
                None => self.histograms.insert(HistogramFile::new()?),
            };
            file.push(sid, *t, samples.hst.get(at).copied().unwrap_or(0), h)?;
        }
        self.histogram_count += samples.ht.len() as u64;
        Ok(())
    }

    /// Appends exemplars of the series that was pushed last. Fails before the first series.
    pub fn push_exemplars(&mut self, exemplars: &[Exemplar]) -> Result<(), BlockError> {
        if exemplars.is_empty() {
            return Ok(());
        }
        let sid = self.series.len() as i32 - 1;
        let Some(row) = self.series.last_mut() else {
            return Err(BlockError::Input("exemplars before the first series".into()));
        };
        row.exemplars += exemplars.len() as i32;
        let file = match &mut self.exemplars {
            Some(file) => file,
            None => self.exemplars.insert(ExemplarFile::new()?),
        };
        exemplars.iter().try_for_each(|exemplar| file.push(sid, exemplar))?;
        self.exemplar_count += exemplars.len() as u64;
        Ok(())
    }

    /// How many bytes of compressed samples there are so far, by which a caller limits the size of a block.
    pub fn bytes(&self) -> usize {
        self.data.bytes() + self.ts.bytes()
    }

    /// Completes the block and returns its files.
    pub fn finish(self) -> Result<FinishedBlock, BlockError> {
        let options = self.options;
        let mut meta = BlockMeta {
            version: BlockMeta::version_for(&options.tenant, options.escaped_folder),
            id: options.id,
            tenant: options.tenant,
            window_start: options.window_start,
            window_end: options.window_end,
            min_t: self.min_t,
            max_t: self.max_t,
            shards: options.shards.unwrap_or_else(|| self.series.shards(options.shards_total)),
            shards_total: options.shards_total,
            sequence: options.sequence,
            deletions_seen: options.deletions_seen,
            resolution: options.resolution,
            sources: options.sources,
            series: self.series.len() as u64,
            samples: self.samples,
            histograms: self.histogram_count,
            exemplars: self.exemplar_count,
            files: BTreeMap::new(),
            filter: if self.series.len() == 0 { LabelFilter::default() } else { self.series.filter() },
        };
        let footer = String::from_utf8_lossy(&meta.to_bytes()).into_owned();
        let mut writers = vec![(TS, self.ts.finish()?), (SERIES, self.series.finish(options.shards_total)?)];
        if let Some(histograms) = self.histograms {
            writers.push((HISTOGRAMS, histograms.finish()?));
        }
        if let Some(exemplars) = self.exemplars {
            writers.push((EXEMPLARS, exemplars.finish()?));
        }
        // The data file comes last: its footer holds the metadata from which a catalogue is rebuilt.
        writers.push((DATA, self.data.finish()?));
        let mut files = Vec::new();
        for (name, writer) in writers {
            let (file, bytes) = writer.finish((name == DATA).then(|| (META_KEY, footer.clone())))?;
            meta.files.insert(name.to_string(), file);
            files.push((name.to_string(), bytes));
        }
        Ok(FinishedBlock { meta, files })
    }
}

/// The number of rows of a series in a file, as the series table stores it.
fn row_count(labels: &Labels, rows: usize) -> Result<i32, BlockError> {
    i32::try_from(rows).map_err(|_| BlockError::Input(format!("series {labels} has {rows} rows")))
}

fn check(labels: &Labels, s: SeriesView<'_>) -> Result<(), BlockError> {
    let ascending = |t: &[i64]| t.is_sorted_by(|a, b| a < b);
    let fits = |n: usize, st: &[i64]| st.is_empty() || st.len() == n;
    let shapes = s.t.len() == s.v.len() && s.ht.len() == s.h.len() && fits(s.t.len(), s.st) && fits(s.ht.len(), s.hst);
    if !shapes {
        return Err(BlockError::Input(format!("columns of series {labels} differ in length")));
    }
    if !ascending(s.t) || !ascending(s.ht) {
        return Err(BlockError::Input(format!("timestamps of series {labels} do not ascend")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
