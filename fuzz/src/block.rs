//! Damaged blocks: whatever the files contain, a read returns samples or an error.
//!
//! An input is a list of changes to a valid block. Each consists of a file number (one byte), an offset (three bytes), a
//! length (one byte) and the new bytes. Checksums are not verified in this build (`cfg(fuzzing)`), so that the changes reach
//! the decoders.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use pharos_block::{BlockCache, BlockError, BlockMeta, BlockReader, BlockWriter, FinishedBlock, WriterOptions, upload};
use pharos_model::{
    Exemplar, Histogram, Labels, Matcher, Metadata, MetricType, SeriesBatch, SeriesView, Span, TenantId, TimeRange,
    series_hash,
};

fn block() -> &'static FinishedBlock {
    static BLOCK: OnceLock<FinishedBlock> = OnceLock::new();
    BLOCK.get_or_init(|| {
        let tenant = TenantId::default();
        let options = WriterOptions::new(ulid::Ulid(42), tenant.clone(), 0, 7_200_000);
        let mut writer = BlockWriter::new(options).expect("a writer");
        let histogram = Histogram {
            sum: 1.5,
            count: 3.0,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_buckets: vec![1.0, 2.0],
            ..Histogram::default()
        };
        let h = Arc::new(histogram);
        let h = [h.clone(), h];
        let metadata = Metadata { kind: MetricType::Gauge, help: "help".into(), unit: "s".into() };
        for i in 0..24i64 {
            let number = format!("{i:02}");
            let labels =
                Labels::from_pairs([("__name__", "m"), ("i", &number), ("job", if i % 2 == 0 { "a" } else { "b" })]);
            let t: Vec<i64> = (0..60).map(|s| s * 1000 + i / 10).collect();
            let v: Vec<f64> = (0..60)
                .map(|s| match i % 4 {
                    0 => 5.0,
                    1 => (s * i) as f64 * 0.25,
                    2 => (s as f64 * 0.37).sin(),
                    _ if s == 30 => pharos_model::STALE_NAN,
                    _ => s as f64,
                })
                .collect();
            let st: Vec<i64> = (0..60).map(|s| s / 30).collect();
            let st = if i % 5 == 0 { &st[..] } else { &[] };
            let (ht, h) = if i % 6 == 0 { (&[1i64, 2][..], &h[..]) } else { (&[][..], &[][..]) };
            let view = SeriesView { t: &t, v: &v, st, ht, h, hst: &[] };
            writer.push(&labels, series_hash(&tenant, labels.as_bytes()), Some(&metadata), view).expect("a series");
            if i % 8 == 0 {
                let labels = Labels::from_pairs([("trace_id", "x")]);
                writer.push_exemplars(&[Exemplar { labels, value: 1.0, t: 5 }]).expect("an exemplar");
            }
        }
        writer.finish().expect("a block")
    })
}

/// Reads all series, exemplars and label values.
async fn read_everything(store: Arc<dyn ObjectStore>, meta: &BlockMeta) -> Result<(), BlockError> {
    let cache = Arc::new(BlockCache::new(1 << 20));
    let reader = BlockReader::open(store.clone(), meta.folder(), Arc::new(meta.clone()), cache).await?;
    let matcher = |name: &str, value: &str| Matcher::new(pharos_model::MatchOp::Equal, name, value);
    for matchers in [Vec::new(), matcher("job", "a").into_iter().collect()] {
        let selection = reader.select(&matchers, TimeRange::ALL, 0).await?;
        let mut batch = SeriesBatch::default();
        selection.fetch(0..selection.len(), TimeRange::ALL, &mut batch).await?;
        batch.clear();
        selection.fetch(0..selection.len(), TimeRange::new(10_000, 12_000), &mut batch).await?;
        selection.exemplars(0..selection.len(), TimeRange::ALL).await?;
        (0..selection.len()).for_each(|at| drop(selection.metadata(at)));
    }
    reader.label_names(&[], TimeRange::ALL).await?;
    reader.label_values("job", &[], TimeRange::ALL).await?;
    BlockMeta::read_from_bucket(store.as_ref(), &meta.folder()).await?;
    Ok(())
}

/// Runs one input.
pub fn run(mut data: &[u8]) {
    let mut block = block().clone();
    let mut files: Vec<Vec<u8>> = block.files.iter().map(|(_, bytes)| bytes.to_vec()).collect();
    while let Some((change, rest)) = data.split_at_checked(5) {
        let (bytes, rest) = rest.split_at(usize::from(change[4]).min(rest.len()));
        data = rest;
        let at = usize::from(change[0]) % files.len();
        let file = &mut files[at];
        let offset = u32::from_le_bytes([change[1], change[2], change[3], 0]) as usize % file.len();
        let end = (offset + bytes.len()).min(file.len());
        file[offset..end].copy_from_slice(&bytes[..end - offset]);
    }
    block.files.iter_mut().zip(files).for_each(|((_, bytes), changed)| *bytes = Bytes::from(changed));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        upload(store.as_ref(), &block.meta.folder(), &block).await.expect("memory");
        let _ = read_everything(store, &block.meta).await;
    });
}

/// Valid inputs: pieces of the block at their own places, so that a mutant changes what is there.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![Vec::new()];
    for (number, (_, bytes)) in block().files.iter().enumerate() {
        let footer = bytes.len().saturating_sub(3000);
        let places = (0..bytes.len()).step_by(bytes.len() / 4 + 1).chain((footer..bytes.len()).step_by(250));
        for offset in places {
            let end = (offset + 250).min(bytes.len());
            let mut seed = vec![number as u8];
            seed.extend(&(offset as u32).to_le_bytes()[..3]);
            seed.push((end - offset) as u8);
            seed.extend(&bytes[offset..end]);
            seeds.push(seed);
        }
    }
    seeds
}
