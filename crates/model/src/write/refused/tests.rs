use proptest::prelude::*;

use crate::hash::shard_of;
use crate::write::HistogramSample;
use crate::{Labels, Sample, TenantId};

use super::*;

const SHARDS: u32 = 3;

/// A batch of series with these numbers of floats and histograms. The time of a sample is its position in its column.
fn batch(series: &[(u8, u8, u8)]) -> WriteBatch {
    let (tenant, mut batch) = (TenantId::default(), WriteBatch::default());
    for (name, floats, histograms) in series {
        let labels = Labels::from_pairs([("__name__", "m"), ("series", &name.to_string())]);
        batch.begin_series(&tenant, |out| out.extend_from_slice(labels.as_bytes()));
        for _ in 0..*floats {
            let t = batch.samples.len() as i64;
            batch.samples.push(Sample { t, v: 0.0, st: 0 });
        }
        for _ in 0..*histograms {
            let t = batch.histograms.len() as i64;
            batch.histograms.push(HistogramSample { t, st: 0, h: Default::default() });
        }
    }
    batch.finish_series();
    batch
}

fn refused(is_histogram: bool, at: u32) -> RefusedSample {
    RefusedSample { sample: SampleIndex { is_histogram, at }, reason: RejectReason::TooOld }
}

/// The kinds and times of all samples.
fn times(batch: &WriteBatch) -> Vec<(bool, i64)> {
    let mut times: Vec<_> = batch.samples.iter().map(|s| (false, s.t)).collect();
    times.extend(batch.histograms.iter().map(|s| (true, s.t)));
    times.sort_unstable();
    times
}

proptest! {
    #[test]
    fn samples_that_are_numbered_by_shard_are_found_again(
        series in proptest::collection::vec((0u8..6, 0u8..4, 0u8..3), 0..20),
        picks in proptest::collection::vec((any::<bool>(), 0u32..40), 0..30),
    ) {
        let batch = batch(&series);
        let exists = |(is_histogram, at): &(bool, u32)| {
            (*at as usize) < if *is_histogram { batch.histograms.len() } else { batch.samples.len() }
        };
        let mut picks: Vec<(bool, u32)> = picks.into_iter().filter(exists).collect();
        picks.sort_unstable();
        picks.dedup();
        let by_shard = batch.refused_by_shard(SHARDS, picks.iter().map(|(h, at)| refused(*h, *at)).collect());
        let mut found = WriteBatch::default();
        for (shard, refused) in &by_shard {
            let of_shard = batch.series().iter().filter(|s| shard_of(s.hash, SHARDS) == *shard);
            let samples: Vec<SampleIndex> = refused.iter().map(|r| r.sample).collect();
            batch.pick(of_shard, &samples, &mut found);
        }
        let expected: Vec<_> = picks.iter().map(|(h, at)| (*h, i64::from(*at))).collect();
        prop_assert_eq!(times(&found), expected);
    }
}

#[test]
fn numbers_beyond_the_last_sample_are_ignored() {
    let batch = batch(&[(1, 2, 1)]);
    let mut found = WriteBatch::default();
    let beyond = [SampleIndex { is_histogram: false, at: 2 }, SampleIndex { is_histogram: true, at: u32::MAX }];
    batch.pick(batch.series().iter(), &beyond, &mut found);
    assert!(found.is_empty());
}

#[test]
fn a_batch_without_rejections_has_none_in_any_shard() {
    assert!(batch(&[(1, 2, 1)]).refused_by_shard(SHARDS, Vec::new()).is_empty());
}
