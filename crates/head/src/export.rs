//! Copies shards to another node, as batches to append there: everything that is not flushed, or all that is in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::vec::IntoIter;

use pharos_model::write::HistogramSample;
use pharos_model::{Exemplar, Labels, Metadata, Sample, SeriesHash, ShardSet, TenantId, TimeRange, WriteBatch};

use crate::head::Head;
use crate::series::{SampleRun, Series, float_samples};
use crate::time_digests::Intervals;
use crate::window::FlushedWindows;

/// Iterates over the samples of some shards of a tenant in batches; see [`Head::export`].
pub struct Export {
    flushed: FlushedWindows,
    /// Samples in these intervals are skipped.
    excluded: Intervals,
    /// Whether flushed samples that are still in memory are exported, too.
    with_flushed: bool,
    max_bytes: usize,
    metadata: IntoIter<(String, Metadata)>,
    exemplars: HashMap<Labels, Vec<Exemplar>>,
    /// By ascending hash, then by number.
    series: std::iter::Peekable<IntoIter<Arc<Series>>>,
    /// The rest of a series that did not fit into the last batch.
    rest: Option<PartialSeries>,
    /// All series up to this hash are in the batches so far.
    done: Option<SeriesHash>,
}

/// The samples of a series that no batch contains yet.
struct PartialSeries {
    series: Arc<Series>,
    floats: IntoIter<Sample>,
    histograms: IntoIter<HistogramSample>,
    exemplars: Vec<Exemplar>,
}

impl Head {
    /// Exports all unflushed samples of some shards of a tenant with their exemplars, and all metadata, in batches of about
    /// `max_bytes` bytes. Series come by ascending hash, starting above `after`, each with its samples in order. Samples
    /// appended concurrently may or may not be included; samples flushed or deleted concurrently may be missing. Pass the
    /// batches to [`Head::append_copy`] of the other head. Metadata is exported only without `after`.
    pub fn export(&self, tenant: &TenantId, shards: &ShardSet, after: Option<SeriesHash>, max_bytes: usize) -> Export {
        let mut export = Export {
            flushed: FlushedWindows::new(self.schedule.clone()),
            excluded: Intervals::default(),
            with_flushed: false,
            max_bytes: max_bytes.max(1),
            metadata: Vec::new().into_iter(),
            exemplars: HashMap::new(),
            series: Vec::new().into_iter().peekable(),
            rest: None,
            done: after,
        };
        let Some(tenant) = self.tenants.get(tenant) else { return export };
        if after.is_none() {
            let state = tenant.append.lock();
            let mut metadata: Vec<_> = state.metadata.iter().map(|(family, m)| (family.clone(), m.clone())).collect();
            metadata.sort_by(|a, b| a.0.cmp(&b.0));
            export.metadata = metadata.into_iter();
        }
        export.flushed = tenant.flushed.read().clone();
        let is_wanted = |series: &Series| shards.contains(series.shard.into()) && Some(series.hash) > after;
        let found = tenant.exemplars.lock().select(TimeRange::ALL, |series, _| is_wanted(series));
        export.exemplars = found.into_iter().map(|s| (s.labels, s.exemplars)).collect();
        let mut series = tenant.series_of(shards);
        series.retain(|s| is_wanted(s));
        series.sort_unstable_by_key(|s| (s.hash, s.id));
        export.series = series.into_iter().peekable();
        export
    }
}

impl Export {
    /// Skips the samples in intervals that the other head holds already.
    pub fn excluding(mut self, intervals: Intervals) -> Self {
        self.excluded = intervals;
        self
    }

    /// Exports flushed samples that are still in memory, too.
    pub fn with_flushed(mut self) -> Self {
        self.with_flushed = true;
        self
    }

    /// The hash up to which all series are in the batches so far. Another export can resume after it.
    pub fn position(&self) -> Option<SeriesHash> {
        self.done
    }

    /// Reads the samples of a series.
    fn read(&mut self, series: Arc<Series>) -> PartialSeries {
        let mut floats = Vec::new();
        let mut histograms = Vec::new();
        series.data.lock().for_each_run(|run| {
            if !self.with_flushed && self.flushed.is_flushed(run.window_t(), series.shard, run.generation()) {
                return;
            }
            match run {
                SampleRun::Chunk(chunk) if chunk.kind == crate::chunk::ChunkKind::Histogram => {
                    chunk.histograms(|s| histograms.push(s));
                }
                SampleRun::Chunk(chunk) => floats.extend(float_samples(chunk)),
                SampleRun::Late(late) => {
                    floats.extend_from_slice(&late.floats);
                    histograms.extend_from_slice(&late.histograms);
                }
            }
        });
        let is_wanted = |t: i64| !self.excluded.contains(series.shard, t);
        floats.retain(|s| is_wanted(s.t));
        histograms.retain(|s| is_wanted(s.t));
        floats.sort_unstable_by_key(|s| s.t);
        histograms.sort_unstable_by_key(|s| s.t);
        let has_samples = !floats.is_empty() || !histograms.is_empty();
        let exemplars = self.exemplars.remove(&series.labels).filter(|_| has_samples).unwrap_or_default();
        PartialSeries { series, floats: floats.into_iter(), histograms: histograms.into_iter(), exemplars }
    }

    /// Moves as much of a series into the batch as fits and returns the rest.
    fn put(&self, mut rest: PartialSeries, batch: &mut WriteBatch, bytes: &mut usize) -> Option<PartialSeries> {
        if rest.floats.len() + rest.histograms.len() == 0 {
            return None;
        }
        batch.begin_known_series(rest.series.labels.as_bytes(), rest.series.hash);
        *bytes += rest.series.labels.as_bytes().len() + 64;
        // At least one sample a batch, however small batches are: the export always makes progress.
        let max_bytes = self.max_bytes.max(*bytes + 1);
        while *bytes < max_bytes
            && let Some(s) = rest.floats.next()
        {
            *bytes += size_of::<Sample>();
            batch.samples.push(s);
        }
        while *bytes < max_bytes
            && let Some(s) = rest.histograms.next()
        {
            *bytes += size_of::<HistogramSample>() + s.h.bytes();
            batch.histograms.push(s);
        }
        let is_whole = rest.floats.len() + rest.histograms.len() == 0;
        if is_whole {
            for exemplar in std::mem::take(&mut rest.exemplars) {
                *bytes += size_of::<Exemplar>() + exemplar.labels.as_bytes().len();
                batch.exemplars.push(exemplar);
            }
        }
        batch.finish_series();
        (!is_whole).then_some(rest)
    }

    fn put_metadata(&mut self, batch: &mut WriteBatch, bytes: &mut usize) {
        while *bytes < self.max_bytes
            && let Some((family, metadata)) = self.metadata.next()
        {
            *bytes += size_of_val(&metadata) + family.len() + metadata.unit.len() + metadata.help.len();
            batch.metadata.push((family, metadata));
        }
    }
}

impl Iterator for Export {
    type Item = WriteBatch;

    fn next(&mut self) -> Option<WriteBatch> {
        let mut batch = WriteBatch::default();
        let mut bytes = 0;
        self.put_metadata(&mut batch, &mut bytes);
        while bytes < self.max_bytes {
            let next = match self.rest.take() {
                Some(rest) => rest,
                None => match self.series.next() {
                    Some(series) => self.read(series),
                    None => break,
                },
            };
            let hash = next.series.hash;
            self.rest = self.put(next, &mut batch, &mut bytes);
            let hash_continues = self.series.peek().is_some_and(|next| next.hash == hash);
            if self.rest.is_none() && !hash_continues {
                self.done = Some(hash);
            }
        }
        (!batch.is_empty()).then_some(batch)
    }
}
