use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_cluster::{ClusterState, Learner, Shard};

use super::*;
use crate::test_cluster::{SHARDS, batch, shards_of};

const ME: &str = "A";

/// The values of the samples that are copied.
fn copied(decided: &Decided, samples: &[(u32, i64, f64)]) -> Vec<f64> {
    let batch = batch(samples);
    decided.without(&batch, SHARDS).unwrap_or(batch).samples.iter().map(|s| s.v).collect()
}

fn shard(series: u32) -> u32 {
    shards_of(&batch(&[(series, 0, 0.0)])).iter().next().unwrap()
}

fn decide(decided: &mut Decided, action: Action, epoch: u64, sample: (u32, i64, f64)) {
    decided.remember(&batch(&[sample]), action, (shard(sample.0), epoch), SHARDS).unwrap();
}

fn view(epoch: u64, learns_since: Option<u64>) -> View {
    let learners = learns_since.map(|since| Learner { node: ME.into(), since }).into_iter().collect();
    let shard = Arc::new(Shard { epoch, learners, ..Shard::default() });
    let shards = Arc::new(vec![shard; SHARDS as usize]);
    View::new(Arc::new(ClusterState { shards, ..ClusterState::default() }))
}

#[test]
fn nothing_is_copied_over_a_forced_sample() {
    let mut decided = Decided::default();
    decide(&mut decided, Action::Force, 3, (1, 10, 2.0));
    assert_eq!(copied(&decided, &[(1, 10, 1.0), (1, 11, 3.0), (2, 10, 4.0)]), [3.0, 4.0]);
}

#[test]
fn a_retracted_value_is_not_copied_but_another_one_is() {
    let mut decided = Decided::default();
    decide(&mut decided, Action::Retract, 3, (1, 10, 2.0));
    assert_eq!(copied(&decided, &[(1, 10, 2.0), (1, 11, 2.0)]), [2.0]);
    assert_eq!(copied(&decided, &[(1, 10, 1.0)]), [1.0]);
}

#[test]
fn decisions_before_the_learning_began_are_forgotten() {
    let mut decided = Decided::default();
    decide(&mut decided, Action::Force, 3, (1, 10, 2.0));
    decided.begin(&BTreeMap::from([(shard(1), 3)]));
    assert_eq!(copied(&decided, &[(1, 10, 1.0)]).len(), 0);
    decided.begin(&BTreeMap::from([(shard(1), 4)]));
    assert_eq!(copied(&decided, &[(1, 10, 1.0)]), [1.0]);
}

#[test]
fn decisions_are_kept_until_the_view_knows_that_the_learning_is_over() {
    let mut decided = Decided::default();
    decide(&mut decided, Action::Force, 3, (1, 10, 2.0));
    for view in [view(2, None), view(5, Some(2))] {
        decided.keep_learned(ME, &view);
        assert_eq!(copied(&decided, &[(1, 10, 1.0)]).len(), 0);
    }
    decided.keep_learned(ME, &view(3, None));
    assert_eq!(copied(&decided, &[(1, 10, 1.0)]), [1.0]);
}

#[test]
fn decisions_are_bounded() {
    let mut decided = Decided::default();
    let samples: Vec<_> = (0..=MAX_DECISIONS as i64).map(|t| (1, t, 0.0)).collect();
    let refused = decided.remember(&batch(&samples), Action::Force, (shard(1), 3), SHARDS);
    assert!(refused.unwrap_err().to_string().contains("the limit is 200000"));
}
