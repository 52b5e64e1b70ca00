use std::collections::BTreeMap;

use pharos_model::RejectReason;
use proptest::prelude::*;

use super::*;

fn refused(at: u32, reason: RejectReason) -> RefusedSample {
    RefusedSample { sample: SampleIndex { is_histogram: at % 2 == 1, at }, reason }
}

fn verdict(samples: &BTreeSet<u32>) -> Vec<RefusedSample> {
    let mut verdict: Vec<_> = samples.iter().map(|at| refused(*at, RejectReason::TooOld)).collect();
    verdict.sort_unstable();
    verdict
}

fn verdicts() -> impl Strategy<Value = BTreeSet<u32>> {
    proptest::collection::btree_set(0u32..12, 0..8)
}

proptest! {
    #[test]
    fn a_repaired_replica_has_the_verdict_of_the_leader(leader in verdicts(), others in proptest::collection::vec(verdicts(), 0..4)) {
        let names: Vec<String> = (0..others.len()).map(|n| n.to_string()).collect();
        let (decided, verdicts) = (verdict(&leader), others.iter().map(verdict).collect::<Vec<_>>());
        let known = names.iter().map(String::as_str).zip(verdicts.iter().map(Vec::as_slice));
        let Some(repair) = Disagreement::of(&decided, known, |_| true) else {
            prop_assert!(others.iter().all(|other| *other == leader));
            return Ok(());
        };
        prop_assert_eq!(repair.nodes.len(), others.len());
        for other in &others {
            let mut repaired = other.clone();
            repair.force.iter().for_each(|sample| _ = repaired.remove(&sample.at));
            repaired.extend(repair.retract.iter().map(|sample| sample.at));
            prop_assert_eq!(&repaired, &leader);
        }
    }

    #[test]
    fn a_corrected_verdict_is_the_final_one(counted in verdicts(), decided in verdicts()) {
        let mut corrected: BTreeMap<u32, ()> = counted.iter().map(|at| (*at, ())).collect();
        for correction in corrections(Some(&Some(verdict(&counted))), &verdict(&decided)) {
            match correction {
                Correction::Rejected(refused) => prop_assert!(corrected.insert(refused.sample.at, ()).is_none()),
                Correction::Accepted(refused) => prop_assert!(corrected.remove(&refused.sample.at).is_some()),
            }
        }
        prop_assert!(corrected.keys().eq(decided.iter()));
    }
}

#[test]
fn the_reason_makes_no_difference() {
    let (mine, other) = ([refused(1, RejectReason::TooOld)], [refused(1, RejectReason::MaxSeries)]);
    let others = [("b", &other[..])].into_iter();
    assert!(Disagreement::of(&mine, others, |_| true).is_none());
    assert!(corrections(Some(&Some(mine.to_vec())), &other).is_empty());
}
