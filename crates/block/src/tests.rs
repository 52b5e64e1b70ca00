//! Tests over whole blocks: whatever is written is read back, and whatever is damaged is refused.

mod damage;
mod extras;
mod fleet;
mod golden;
mod model;
mod round_trip;
mod select;

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use pharos_model::{Exemplar, Histogram, Labels, Metadata, SeriesBatch, SeriesView, TenantId, TimeRange, series_hash};
use ulid::Ulid;

use crate::{BlockCache, BlockMeta, BlockReader, BlockWriter, FinishedBlock, WriterOptions, upload};

/// One series of a test.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestSeries {
    pub(crate) labels: Labels,
    pub(crate) t: Vec<i64>,
    pub(crate) v: Vec<f64>,
    pub(crate) st: Vec<i64>,
    pub(crate) ht: Vec<i64>,
    pub(crate) h: Vec<Arc<Histogram>>,
    pub(crate) hst: Vec<i64>,
    pub(crate) exemplars: Vec<Exemplar>,
    pub(crate) metadata: Option<Metadata>,
}

impl TestSeries {
    pub(crate) fn floats(labels: &[(&str, &str)], t: Vec<i64>, v: Vec<f64>) -> Self {
        TestSeries { labels: Labels::from_pairs(labels.iter().copied()), t, v, ..TestSeries::default() }
    }

    pub(crate) fn view(&self) -> SeriesView<'_> {
        SeriesView { t: &self.t, v: &self.v, st: &self.st, ht: &self.ht, h: &self.h, hst: &self.hst }
    }
}

pub(crate) fn options() -> WriterOptions {
    WriterOptions { sequence: 7, ..WriterOptions::new(Ulid(42), TenantId::default(), 0, 7_200_000) }
}

/// Sorts series and writes a block of them.
pub(crate) fn write(options: WriterOptions, series: &mut [TestSeries]) -> FinishedBlock {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    let tenant = options.tenant.clone();
    let mut writer = BlockWriter::new(options).unwrap();
    for one in series.iter() {
        let hash = series_hash(&tenant, one.labels.as_bytes());
        writer.push(&one.labels, hash, one.metadata.as_ref(), one.view()).unwrap();
        writer.push_exemplars(&one.exemplars).unwrap();
    }
    writer.finish().unwrap()
}

/// Runs a future to completion.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Uploads a block to a store in memory and opens it.
pub(crate) async fn reader(block: &FinishedBlock) -> BlockReader {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    upload(store.as_ref(), &block.meta.folder(), block).await.unwrap();
    open(store, &block.meta).await
}

pub(crate) async fn open(store: Arc<dyn ObjectStore>, meta: &BlockMeta) -> BlockReader {
    let cache = Arc::new(BlockCache::new(64 << 20));
    BlockReader::open(store, meta.folder(), Arc::new(meta.clone()), cache).await.unwrap()
}

/// Reads all series of a block with their samples in a range.
pub(crate) async fn read_all(reader: &BlockReader, range: TimeRange) -> (Vec<Labels>, SeriesBatch) {
    let selection = reader.select(&[], range, 0).await.unwrap();
    let mut batch = SeriesBatch::default();
    selection.fetch(0..selection.len(), range, &mut batch).await.unwrap();
    (selection.labels().to_vec(), batch)
}

pub(crate) fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Compares histograms, doubles by their bits.
pub(crate) fn same_histogram(a: &Histogram, b: &Histogram) -> bool {
    let numbers = |h: &Histogram| bits(&[h.zero_threshold, h.zero_count, h.count, h.sum]);
    let lists = |h: &Histogram| [bits(&h.positive_buckets), bits(&h.negative_buckets), bits(&h.custom_values)];
    let rest =
        |h: &Histogram| (h.counter_reset, h.integer, h.schema, h.positive_spans.clone(), h.negative_spans.clone());
    numbers(a) == numbers(b) && lists(a) == lists(b) && rest(a) == rest(b)
}

/// Asserts that a batch holds exactly the samples of some series in a range.
pub(crate) fn assert_samples(series: &[TestSeries], batch: &SeriesBatch, range: TimeRange) {
    assert_eq!(batch.len(), series.len());
    for (at, one) in series.iter().enumerate() {
        let got = batch.view(at);
        let kept: Vec<usize> = (0..one.t.len()).filter(|i| range.contains(one.t[*i])).collect();
        let pick = |of: &[i64]| kept.iter().map(|i| of[*i]).collect::<Vec<_>>();
        assert_eq!(got.t, pick(&one.t), "timestamps of {}", one.labels);
        let values: Vec<f64> = kept.iter().map(|i| one.v[*i]).collect();
        assert_eq!(bits(got.v), bits(&values), "values of {}", one.labels);
        if one.st.iter().any(|st| *st != 0) && !got.st.is_empty() {
            assert_eq!(got.st, pick(&one.st), "start timestamps of {}", one.labels);
        } else {
            assert!(got.st.is_empty() && kept.iter().all(|i| one.st.get(*i).is_none_or(|st| *st == 0)));
        }
        let kept: Vec<usize> = (0..one.ht.len()).filter(|i| range.contains(one.ht[*i])).collect();
        assert_eq!(got.ht, kept.iter().map(|i| one.ht[*i]).collect::<Vec<_>>(), "histograms of {}", one.labels);
        assert!(got.h.iter().zip(&kept).all(|(h, i)| same_histogram(h, &one.h[*i])), "histograms of {}", one.labels);
        let hst: Vec<i64> = kept.iter().map(|i| one.hst.get(*i).copied().unwrap_or(0)).collect();
        assert!(got.hst == hst || (got.hst.is_empty() && hst.iter().all(|st| *st == 0)));
    }
}
