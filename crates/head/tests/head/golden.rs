//! The format of the log is stable: a log written by an earlier build is read, and this build writes the same bytes.

use std::path::Path;
use std::sync::Arc;

use pharos_head::{Head, HeadConfig};
use pharos_model::write::HistogramSample;
use pharos_model::{
    Exemplar, Histogram, Labels, Matcher, Metadata, MetricType, Sample, SelectRequest, SeriesBatch, TimeRange,
    WriteBatch,
};

use crate::support::*;

/// Two series of floats, with exemplars unless they are late, one of histograms, and metadata.
fn golden_batch(t: i64, is_late: bool) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for series in [1, 2] {
        batch.begin_series(&tenant(), |out| out.extend_from_slice(labels(series).as_bytes()));
        batch.samples.push(Sample { t, v: t as f64 / f64::from(series), st: t / 2 });
        if !is_late {
            batch.exemplars.push(Exemplar { labels: Labels::from_pairs([("trace", "x")]), value: 1.5, t });
        }
    }
    batch.begin_series(&tenant(), |out| out.extend_from_slice(labels(3).as_bytes()));
    let h = Arc::new(Histogram { sum: t as f64, count: 3.0, zero_count: 3.0, ..Histogram::default() });
    batch.histograms.push(HistogramSample { t, st: 0, h });
    batch.finish_series();
    batch.metadata.push(("m".into(), Metadata { kind: MetricType::Gauge, unit: "s".into(), help: "A help.".into() }));
    batch
}

/// Every kind of record: appends, a cut, a flush, an eviction, a deletion and a forgotten shard, which series 1 and 7 share.
fn write_golden(head: &Head) {
    for t in [1000, 2000, 3000, 2 * HOUR + 1000] {
        head.append(&tenant(), &golden_batch(t, false)).unwrap().1.wait().unwrap();
    }
    append(head, &[(7, 2 * HOUR + 1000, 7.0)]);
    let cut = head.cut(&tenant(), 0, &all_shards());
    // Each record in a round of writes of its own, which is visible in the log.
    head.commit().wait().unwrap();
    head.mark_flushed(&cut).wait().unwrap();
    head.evict_flushed(&tenant(), 0, &all_shards()).unwrap();
    head.commit().wait().unwrap();
    head.append(&tenant(), &golden_batch(1500, true)).unwrap().1.wait().unwrap();
    head.delete(&tenant(), &[Matcher::equal("instance", "2")], TimeRange::new(0, 1500), 9).unwrap().wait().unwrap();
    head.forget_shards(Some(&tenant()), &shards_of(7)).unwrap().wait().unwrap();
}

fn shards_of(series: u32) -> pharos_model::ShardSet {
    let hash = pharos_model::series_hash(&tenant(), labels(series).as_bytes());
    [pharos_model::hash::shard_of(hash, 64)].into_iter().collect()
}

/// Logs of the same operations, by version.
const VERSION_2: &[u8] = include_bytes!("golden/version-2/00000001.wal");
const VERSION_3: &[u8] = include_bytes!("golden/version-3/00000001.wal");

fn golden_config() -> HeadConfig {
    HeadConfig { segment_bytes: 1 << 20, ..config() }
}

/// Heads that read the log of each version.
fn golden_heads() -> impl Iterator<Item = Head> {
    [VERSION_2, VERSION_3].into_iter().map(|bytes| {
        let fs = MemFs::default();
        fs.set_file(Path::new("/wal/00000001.wal"), bytes);
        try_open(&fs, golden_config()).unwrap()
    })
}

fn float(series: u32, t: i64) -> ((Labels, i64), u64) {
    ((labels(series), t), (t as f64 / f64::from(series)).to_bits())
}

#[test]
fn samples_of_earlier_builds_are_read() {
    let late = 2 * HOUR + 1000;
    for head in golden_heads() {
        assert_eq!(read_all(&head), Samples::from([float(2, late)]));
    }
}

#[test]
fn histograms_of_earlier_builds_are_read() {
    for head in golden_heads() {
        let matchers = vec![Matcher::equal("instance", "3")];
        let request = SelectRequest { matchers, range: TimeRange::ALL, max_series: 0 };
        let set = head.select(&tenant(), &request, None).unwrap();
        let mut out = SeriesBatch::default();
        set.fetch(0..1, TimeRange::ALL, &mut out).unwrap();
        assert_eq!(out.view(0).ht, [1500, 2 * HOUR + 1000]);
        assert_eq!(out.view(0).h[0].sum, 1500.0);
    }
}

#[test]
fn metadata_and_exemplars_of_earlier_builds_are_read() {
    for head in golden_heads() {
        assert_eq!(head.metadata(&tenant())["m"].help, "A help.");
        let found = head.exemplars(&tenant(), &[vec![Matcher::equal("instance", "2")]], TimeRange::ALL, None);
        let times: Vec<_> = found[0].exemplars.iter().map(|e| e.t).collect();
        // The one at 1000 went in the deletion.
        assert_eq!(times, [2000, 3000, 2 * HOUR + 1000]);
    }
}

#[test]
fn cuts_and_deletions_of_earlier_builds_are_read() {
    for head in golden_heads() {
        assert_eq!(head.last_deletion(&tenant()), 9);
        let window = head.windows(&tenant()).remove(0);
        assert_eq!(window.start, 0);
        assert_eq!(window.newest_cut, 1);
        assert_eq!(window.flushed_cut(0), 1);
        assert_eq!(window.unflushed_samples, 1, "the histogram that came after the cut");
    }
}

#[test]
fn this_build_writes_the_same_bytes() {
    let fs = MemFs::default();
    let head = try_open(&fs, golden_config()).unwrap();
    write_golden(&head);
    drop(head);
    let (path, bytes) = fs.files().remove(0);
    assert_eq!(path, Path::new("/wal/00000001.wal"));
    assert!(bytes == VERSION_3, "the format of the log has changed: {bytes:?}");
}
