//! Rejected samples on the wire: by shard and reason, as the numbers of floats and histograms.

use std::collections::BTreeMap;

use pharos_model::RejectReason;
use pharos_model::write::{RefusedByShard, RefusedSample, SampleIndex};

use crate::ingest_v1 as wire;

/// Encodes rejected samples.
pub fn refused_to(refused: &RefusedByShard) -> Vec<wire::ShardRefusals> {
    let of_shard = |(shard, refused): (&u32, &Vec<RefusedSample>)| {
        let mut by_reason: BTreeMap<RejectReason, wire::Refusals> = BTreeMap::new();
        for RefusedSample { sample, reason } in refused {
            let refusals = by_reason.entry(*reason).or_default();
            let numbers = if sample.is_histogram { &mut refusals.histograms } else { &mut refusals.floats };
            numbers.push(sample.at);
        }
        let named = |(reason, refusals)| wire::Refusals { reason: RejectReason::as_str(reason).into(), ..refusals };
        wire::ShardRefusals { shard: *shard, refusals: by_reason.into_iter().map(named).collect() }
    };
    refused.iter().map(of_shard).collect()
}

/// Decodes rejected samples. A reason that this version does not know becomes [`RejectReason::InvalidLabels`].
pub(super) fn refused_from(wire: Vec<wire::ShardRefusals>) -> RefusedByShard {
    let mut by_shard = RefusedByShard::new();
    for wire::ShardRefusals { shard, refusals } in wire {
        let of_shard = by_shard.entry(shard).or_default();
        for wire::Refusals { reason, floats, histograms } in refusals {
            let reason = RejectReason::parse(&reason).unwrap_or(RejectReason::InvalidLabels);
            let mut add = |is_histogram: bool, numbers: Vec<u32>| {
                let sample = |at| RefusedSample { sample: SampleIndex { is_histogram, at }, reason };
                of_shard.extend(numbers.into_iter().map(sample));
            };
            add(false, floats);
            add(true, histograms);
        }
        of_shard.sort_unstable();
        of_shard.dedup_by_key(|refused| refused.sample);
    }
    by_shard
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REASONS: [RejectReason; 3] =
        [RejectReason::TooOld, RejectReason::DuplicateTimestamp, RejectReason::MaxSeries];

    proptest! {
        #[test]
        fn rejected_samples_round_trip(samples in proptest::collection::btree_map(
            (0u32..4, any::<bool>(), any::<u32>()), 0usize..3, 0..40)) {
            let mut refused = RefusedByShard::new();
            for ((shard, is_histogram, at), reason) in samples {
                let sample = SampleIndex { is_histogram, at };
                refused.entry(shard).or_default().push(RefusedSample { sample, reason: REASONS[reason] });
            }
            prop_assert_eq!(refused_from(refused_to(&refused)), refused);
        }
    }

    #[test]
    fn an_unknown_reason_still_names_its_samples() {
        let refusals = vec![wire::Refusals { reason: "unknown".into(), floats: vec![3], histograms: vec![] }];
        let refused = refused_from(vec![wire::ShardRefusals { shard: 7, refusals }]);
        assert_eq!(refused[&7][0].sample, SampleIndex { is_histogram: false, at: 3 });
    }
}
