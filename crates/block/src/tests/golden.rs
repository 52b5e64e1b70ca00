//! The format of blocks is stable: a block written by an earlier build is read.

use bytes::Bytes;

use super::*;

const META: &[u8] = include_bytes!("golden/meta.json");
const FILES: [(&str, &[u8]); 5] = [
    ("data.parquet", include_bytes!("golden/data.parquet")),
    ("exemplars.parquet", include_bytes!("golden/exemplars.parquet")),
    ("histograms.parquet", include_bytes!("golden/histograms.parquet")),
    ("series.parquet", include_bytes!("golden/series.parquet")),
    ("ts.parquet", include_bytes!("golden/ts.parquet")),
];

/// A series of every coding, with stale markers, start timestamps, histograms, exemplars and metadata.
fn golden_series() -> [TestSeries; 5] {
    let t: Vec<i64> = (0..20).map(|i| i * 15_000).collect();
    let one = |name: &str, value: fn(i64) -> f64| {
        let v = (0..20).map(value).collect();
        TestSeries::floats(&[("__name__", name), ("job", "golden"), ("rare", "é")], t.clone(), v)
    };
    let histogram = Histogram {
        sum: 1.5,
        count: 3.0,
        positive_spans: vec![pharos_model::Span { offset: 1, length: 2 }],
        positive_buckets: vec![1.0, 2.0],
        ..Histogram::default()
    };
    let metadata = Metadata { help: "A help.".into(), unit: "s".into(), ..Metadata::default() };
    [
        TestSeries { metadata: Some(metadata), ..one("constant", |_| 4096.5) },
        TestSeries { st: vec![5; 20], ..one("decimal", |i| i as f64 / 100.0) },
        one("double", |i| (i as f64).sqrt()),
        TestSeries {
            ht: vec![1, 2],
            h: vec![Arc::new(histogram.clone()), Arc::new(histogram)],
            hst: vec![0, 1],
            ..one("nothing", |_| f64::INFINITY)
        },
        TestSeries {
            exemplars: vec![Exemplar { labels: Labels::from_pairs([("trace_id", "x")]), value: 1.0, t: 5 }],
            ..one("stale", |i| if i == 7 { pharos_model::STALE_NAN } else { i as f64 })
        },
    ]
}

fn golden_block() -> FinishedBlock {
    let files = FILES.map(|(name, bytes)| (name.to_string(), Bytes::from_static(bytes)));
    FinishedBlock { meta: BlockMeta::from_bytes(META).unwrap(), files: files.to_vec() }
}

#[test]
fn samples_of_an_earlier_build_are_read() {
    run(async {
        let reader = reader(&golden_block()).await;
        let (labels, batch) = read_all(&reader, TimeRange::ALL).await;
        let series = golden_series();
        assert_eq!(labels, series.iter().map(|one| one.labels.clone()).collect::<Vec<_>>());
        assert_samples(&series, &batch, TimeRange::ALL);
    });
}

#[test]
fn metadata_and_exemplars_of_an_earlier_build_are_read() {
    run(async {
        let selection = reader(&golden_block()).await.select(&[], TimeRange::ALL, 0).await.unwrap();
        let found = selection.exemplars(0..selection.len(), TimeRange::ALL).await.unwrap();
        assert_eq!(found.len(), 1);
        for (at, one) in golden_series().iter().enumerate() {
            assert_eq!(selection.metadata(at), one.metadata);
            assert_eq!(found.iter().any(|(of, _)| *of == at), !one.exemplars.is_empty());
        }
    });
}

#[test]
fn the_footers_of_an_earlier_build_are_read() {
    run(async {
        let block = golden_block();
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        upload(store.as_ref(), &block.meta.folder(), &block).await.unwrap();
        let rebuilt = BlockMeta::read_from_bucket(store.as_ref(), &block.meta.folder()).await.unwrap();
        assert_eq!(rebuilt, block.meta);
    });
}
