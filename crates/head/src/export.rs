//! Copying shards to another node: everything that no block holds yet, as batches to append there.

use std::collections::HashMap;
use std::sync::Arc;
use std::vec::IntoIter;

use pharos_model::write::HistogramSample;
use pharos_model::{Exemplar, Labels, Metadata, Sample, SeriesHash, ShardSet, TenantId, TimeRange, WriteBatch};

use crate::cut::place;
use crate::head::Head;
use crate::series::{Part, Series, float_samples};
use crate::slices::SameSlices;
use crate::window::FlushMap;

/// The unflushed samples of some shards of a tenant, as an iterator of batches; see [`Head::export`].
pub struct Export {
    flush: FlushMap,
    /// What is left out.
    without: SameSlices,
    max_bytes: usize,
    metadata: IntoIter<(String, Metadata)>,
    exemplars: HashMap<Labels, Vec<Exemplar>>,
    /// By ascending hash.
    series: std::iter::Peekable<IntoIter<Arc<Series>>>,
    /// What is left of the series that the last batch ended in.
    rest: Option<Rest>,
    done: Option<SeriesHash>,
}

/// A series on its way.
struct Rest {
    series: Arc<Series>,
    floats: IntoIter<Sample>,
    histograms: IntoIter<HistogramSample>,
    exemplars: Vec<Exemplar>,
}

impl Head {
    /// Everything that is not flushed of some shards of a tenant, with its exemplars, and all metadata: batches of about
    /// `max_bytes`, series by ascending hash behind `after`, each with its samples in order. What is appended
    /// meanwhile may or may not be in it; what is flushed or deleted meanwhile may be missing. Append them with [`Head::append_copy`].
    pub fn export(&self, tenant: &TenantId, shards: &ShardSet, after: Option<SeriesHash>, max_bytes: usize) -> Export {
        let mut export = Export {
            flush: FlushMap::new(self.config.window_ms),
            without: SameSlices::default(),
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
        export.flush = tenant.flush.read().clone();
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
    /// Leaves out what the other head has already.
    pub fn without(mut self, same: SameSlices) -> Self {
        self.without = same;
        self
    }

    /// Up to which hash everything was in the batches so far: where another export may go on.
    pub fn position(&self) -> Option<SeriesHash> {
        self.done
    }

    /// Reads what a series has that is not flushed.
    fn read(&mut self, series: Arc<Series>) -> Rest {
        let (mut floats, mut histograms) = (Vec::new(), Vec::new());
        series.data.lock().parts(|part| {
            let (t, epoch) = place(part);
            if self.flush.is_flushed(t, series.shard, epoch) {
                return;
            }
            match part {
                Part::Chunk(chunk) if chunk.kind == crate::chunk::ChunkKind::Histogram => {
                    chunk.histograms(|s| histograms.push(s));
                }
                Part::Chunk(chunk) => floats.extend(float_samples(chunk)),
                Part::Late(late) => {
                    floats.extend_from_slice(&late.floats);
                    histograms.extend_from_slice(&late.histograms);
                }
            }
        });
        floats.retain(|s| !self.without.contains(series.shard, s.t));
        histograms.retain(|s| !self.without.contains(series.shard, s.t));
        floats.sort_unstable_by_key(|s| s.t);
        histograms.sort_unstable_by_key(|s| s.t);
        let has_samples = !floats.is_empty() || !histograms.is_empty();
        let exemplars = self.exemplars.remove(&series.labels).filter(|_| has_samples).unwrap_or_default();
        Rest { series, floats: floats.into_iter(), histograms: histograms.into_iter(), exemplars }
    }

    /// Moves as much of a series into the batch as fits; gives back what does not.
    fn put(&self, mut rest: Rest, batch: &mut WriteBatch, bytes: &mut usize) -> Option<Rest> {
        if rest.floats.len() + rest.histograms.len() == 0 {
            return None;
        }
        batch.begin_known_series(rest.series.labels.as_bytes(), rest.series.hash);
        *bytes += rest.series.labels.as_bytes().len() + 64;
        // However small a batch may be, it takes us further.
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
        let (mut batch, mut bytes) = (WriteBatch::default(), 0);
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
            let another_of_hash = self.series.peek().is_some_and(|next| next.hash == hash);
            if self.rest.is_none() && !another_of_hash {
                self.done = Some(hash);
            }
        }
        (!batch.is_empty()).then_some(batch)
    }
}
