use std::ops::Range;

use pharos_model::{Labels, Metadata, Sample};

use super::*;

fn batch(series: Range<u32>) -> WriteBatch {
    let tenant = TenantId::default();
    let mut batch = WriteBatch::default();
    for series in series {
        let labels = Labels::from_pairs([("__name__", "m"), ("series", &series.to_string())]);
        batch.begin_series(&tenant, |out| out.extend_from_slice(labels.as_bytes()));
        batch.samples.push(Sample { t: 1, v: 1.0, st: 0 });
    }
    batch.finish_series();
    batch
}

/// Encodes series as a single shard.
fn write(encoder: &Encoder, series: Range<u32>) -> EncodedShard {
    let batch = batch(series);
    let split = encoder.split(&batch, 1);
    encoder.encode(&TenantId::default(), &batch, &split).remove(0)
}

#[test]
fn a_dictionary_keeps_its_series() {
    let encoder = Encoder::new(Openings::default());
    let first = write(&encoder, 0..100);
    let second = write(&encoder, 0..3);
    assert_eq!(second.generation(), first.generation());
    assert_eq!(second.series(), 100);
}

#[test]
fn an_opened_stream_restarts_the_dictionaries_with_the_series_in_use() {
    let openings = Openings::default();
    let encoder = Encoder::new(openings.clone());
    let before = write(&encoder, 0..100);
    openings.add();
    let after = write(&encoder, 0..3);
    assert!(after.generation() > before.generation());
    assert_eq!(after.series(), 3);
}

#[test]
fn an_opened_stream_restarts_the_dictionaries_once() {
    let openings = Openings::default();
    let encoder = Encoder::new(openings.clone());
    openings.add();
    write(&encoder, 0..3);
    assert_eq!(write(&encoder, 3..4).series(), 4);
}

#[test]
fn tenants_have_dictionaries_of_their_own() {
    let encoder = Encoder::new(Openings::default());
    write(&encoder, 0..100);
    let batch = batch(0..3);
    let other = TenantId::new("other").unwrap();
    let encoded = encoder.encode(&other, &batch, &encoder.split(&batch, 1));
    assert_eq!(encoded[0].series(), 3);
}

#[test]
fn every_series_is_in_the_shard_of_its_hash() {
    let batch = batch(0..100);
    let split = Encoder::new(Openings::default()).split(&batch, 4);
    for (shard, positions) in split.series.iter().enumerate() {
        for &position in positions {
            assert_eq!(shard_of(batch.series()[position as usize].hash, 4) as usize, shard);
        }
    }
    assert_eq!(split.series.iter().map(Vec::len).sum::<usize>(), 100);
}

#[test]
fn shards_without_data_are_left_out() {
    let split = Encoder::new(Openings::default()).split(&batch(0..1), 64);
    assert_eq!(split.shards().count(), 1);
}

#[test]
fn metadata_belongs_to_the_shard_of_its_family() {
    let mut batch = WriteBatch::default();
    batch.metadata.push(("family".into(), Metadata::default()));
    let split = Encoder::new(Openings::default()).split(&batch, 64);
    let shard = shard_of(pharos_model::hash::name_hash("family"), 64);
    assert_eq!(split.shards().collect::<Vec<_>>(), [shard]);
}

#[test]
fn a_cluster_without_shards_has_nothing_to_send() {
    let split = Encoder::new(Openings::default()).split(&batch(0..3), 0);
    assert_eq!(split.shards().count(), 0);
}
