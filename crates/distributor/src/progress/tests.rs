use std::sync::Arc;

use pharos_cluster::{ClusterState, Learner, Settings, Shard};
use pharos_model::RejectReason;
use pharos_model::write::SampleIndex;

use super::*;

/// A view of one shard with a replication factor of three.
fn view(epoch: u64, in_sync: &[&str], learners: &[&str]) -> View {
    let names = |nodes: &[&str]| nodes.iter().map(|n| n.to_string()).collect::<Vec<_>>();
    let shard = Shard {
        epoch,
        replicas: names(&[in_sync, learners].concat()),
        in_sync: names(in_sync),
        leader: in_sync.first().map(|n| n.to_string()),
        learners: learners.iter().map(|n| Learner { node: n.to_string(), since: epoch }).collect(),
        led_since: epoch,
    };
    let settings = Settings { cluster: "c".into(), shards: 1, replication_factor: 3 };
    let state =
        ClusterState { settings: Some(settings), shards: Arc::new(vec![Arc::new(shard)]), ..Default::default() };
    View::new(Arc::new(state))
}

/// The answer of a replica that knows a newer epoch of the shard.
fn stale(epoch: u64) -> Appended {
    Appended { stale: vec![(0, epoch)], ..Appended::default() }
}

fn float(at: u32) -> SampleIndex {
    SampleIndex { is_histogram: false, at }
}

/// The answer of a replica that rejected these floats.
fn rejected(floats: &[u32]) -> Appended {
    let refused = floats.iter().map(|at| RefusedSample { sample: float(*at), reason: RejectReason::TooOld });
    let refused: Vec<_> = refused.collect();
    let by_shard = if refused.is_empty() { BTreeMap::new() } else { BTreeMap::from([(0, refused)]) };
    Appended { refused: Some(by_shard), ..Appended::default() }
}

/// A write for which the replicas have given these answers.
fn answered(view: &View, answers: &[(&str, Appended)]) -> Progress {
    let mut progress = Progress::new([0]);
    answer(&mut progress, view, answers);
    progress
}

/// Answers the requests that are to be sent.
fn answer(progress: &mut Progress, view: &View, answers: &[(&str, Appended)]) {
    let requests = send(progress, view);
    assert_eq!(requests.len(), answers.len());
    answers.iter().for_each(|(node, answer)| progress.appended(node, &requests[*node], answer));
}

/// The repairs that are due.
fn repairs(progress: &mut Progress, view: &View) -> Repairs {
    match progress.next(view, 0) {
        Next::Repair(repairs) => repairs,
        other => panic!("{other:?}"),
    }
}

fn repair(progress: &mut Progress, repairs: &Repairs) {
    repairs.requests.iter().for_each(|(node, targets)| progress.repaired(node, targets, &[]));
}

/// The requests that are to be sent.
fn send(progress: &mut Progress, view: &View) -> BTreeMap<String, Vec<ShardTarget>> {
    match progress.next(view, 0) {
        Next::Send(requests) => requests,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_write_is_done_when_in_sync_replicas_and_learners_have_it() {
    let view = view(7, &["a", "b"], &["c"]);
    let mut progress = Progress::new([0]);
    let requests = send(&mut progress, &view);
    assert_eq!(requests.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    for (node, targets) in &requests {
        assert_ne!(progress.next(&view, 0), Next::Done);
        progress.appended(node, targets, &Appended::default());
    }
    assert_eq!(progress.next(&view, 0), Next::Done);
}

#[test]
fn a_failed_replica_holds_up_the_write_until_it_is_out_of_sync() {
    let before = view(7, &["a", "b", "c"], &[]);
    let mut progress = Progress::new([0]);
    let requests = send(&mut progress, &before);
    progress.appended("b", &requests["b"], &Appended::default());
    progress.appended("c", &requests["c"], &Appended::default());
    // The previous view still has it in sync, so the write goes to it again.
    assert_eq!(send(&mut progress, &before).keys().collect::<Vec<_>>(), ["a"]);
    // The new view does not need it. The others confirm the new epoch, and the new leader counts.
    let after = view(8, &["b", "c"], &[]);
    let again = send(&mut progress, &after);
    assert_eq!(again.keys().collect::<Vec<_>>(), ["b", "c"]);
    assert!(again["b"][0].counted && !again["c"][0].counted);
    progress.appended("b", &again["b"], &Appended::default());
    progress.appended("c", &again["c"], &Appended::default());
    assert_eq!(progress.next(&after, 0), Next::Done);
}

#[test]
fn a_write_waits_for_enough_in_sync_replicas() {
    let next = Progress::new([0]).next(&view(7, &["a"], &["b"]), 0);
    assert_eq!(next, Next::Wait("shard 0 has 1 in-sync replicas, writes need 2".into()));
}

#[test]
fn a_write_without_shards_is_done() {
    assert_eq!(Progress::new([]).next(&view(7, &["a"], &[]), 0), Next::Done);
}

#[test]
fn a_write_waits_for_the_bootstrap() {
    let next = Progress::new([0]).next(&View::new(Arc::default()), 0);
    assert_eq!(next, Next::Wait("the cluster is not bootstrapped yet".into()));
}

#[test]
fn one_replica_counts_the_samples() {
    let requests = send(&mut Progress::new([0]), &view(7, &["a", "b"], &["c"]));
    let counting: Vec<&String> =
        requests.iter().filter(|(_, targets)| targets[0].counted).map(|(node, _)| node).collect();
    assert_eq!(counting, ["a"], "the leader");
}

#[test]
fn a_new_leader_does_not_count_samples_again() {
    let before = view(7, &["a", "b"], &[]);
    let mut progress = Progress::new([0]);
    let requests = send(&mut progress, &before);
    progress.appended("a", &requests["a"], &Appended::default());
    let again = send(&mut progress, &view(8, &["b", "a"], &[]));
    assert!(again.values().flatten().all(|target| !target.counted), "{again:?}");
}

#[test]
fn a_confirmation_for_an_earlier_epoch_does_not_count() {
    let mut progress = Progress::new([0]);
    let requests = send(&mut progress, &view(7, &["a", "b"], &[]));
    progress.appended("a", &requests["a"], &Appended::default());
    assert_eq!(send(&mut progress, &view(8, &["a", "b"], &[])).len(), 2);
}

#[test]
fn learners_are_written_to_but_not_in_sync() {
    let view = view(7, &["a"], &["b"]);
    let targets = [ShardTarget { shard: 0, epoch: 7, counted: false }];
    assert!(is_written_to(&view, "b", 0));
    assert!(!is_in_sync(&view, "b", &targets));
    assert!(is_in_sync(&view, "a", &targets));
    assert!(!is_written_to(&view, "c", 0));
    assert!(!is_written_to(&view, "a", 1), "there is no such shard");
}

#[test]
fn a_write_waits_for_a_view_with_the_epoch_that_replicas_know() {
    let old = view(7, &["a", "b"], &[]);
    let mut progress = Progress::new([0]);
    let requests = send(&mut progress, &old);
    progress.appended("a", &requests["a"], &stale(9));
    progress.appended("b", &requests["b"], &stale(9));
    assert!(matches!(progress.next(&old, 0), Next::Wait(_)));
    assert_eq!(send(&mut progress, &view(9, &["a", "b"], &["c"])).len(), 3);
}

#[test]
fn a_failed_learner_does_not_hold_up_the_write_once_it_is_removed() {
    let before = view(7, &["a", "b"], &["c"]);
    let mut progress = Progress::new([0]);
    let requests = send(&mut progress, &before);
    progress.appended("a", &requests["a"], &Appended::default());
    progress.appended("b", &requests["b"], &Appended::default());
    assert_eq!(send(&mut progress, &before).len(), 1, "the learner is not reported yet");
    // It was reported and has ceased to be a learner. The others confirm the new epoch: one may have lost its disk meanwhile.
    let after = view(8, &["a", "b"], &[]);
    let again = send(&mut progress, &after);
    assert_eq!(again.keys().collect::<Vec<_>>(), ["a", "b"]);
    again.iter().for_each(|(node, targets)| progress.appended(node, targets, &Appended::default()));
    assert_eq!(progress.next(&after, 0), Next::Done);
}

#[test]
fn unchanged_shards_are_reported_again_under_their_new_epoch() {
    let reported = [(0, 7)];
    let again = |epoch, in_sync: &[&str], unchanged: &[u32]| {
        report_again(&view(epoch, in_sync, &[]), "a", &reported, unchanged)
    };
    assert_eq!(again(8, &["a", "b"], &[0]), [(0, 8)]);
    assert_eq!(again(8, &["b"], &[0]), [], "it is out of sync");
    assert_eq!(again(8, &["a", "b"], &[]), [], "it was removed, and is back");
    assert_eq!(again(7, &["a"], &[0]), [], "the last in-sync replica stays");
}

#[test]
fn replicas_that_agree_need_no_repair() {
    let view = view(7, &["a", "b"], &["c"]);
    let same = || rejected(&[1, 4]);
    let mut progress = answered(&view, &[("a", same()), ("b", same()), ("c", same())]);
    assert_eq!(progress.next(&view, 0), Next::Done);
}

#[test]
fn what_the_leader_accepted_is_forced_on_all_others() {
    let view = view(7, &["a", "b"], &["c"]);
    let mut progress = answered(&view, &[("a", rejected(&[4])), ("b", rejected(&[1, 4])), ("c", rejected(&[2, 4]))]);
    let due = repairs(&mut progress, &view);
    assert_eq!(due.requests.keys().collect::<Vec<_>>(), ["b", "c"]);
    assert!(due.requests.values().flatten().all(|target| target.epoch == 7 && !target.counted));
    assert_eq!(due.force[&0], [float(1), float(2)]);
    assert!(due.retract.is_empty());
    repair(&mut progress, &due);
    assert_eq!(progress.next(&view, 0), Next::Done);
}

#[test]
fn what_the_leader_rejected_is_retracted_from_all_others() {
    let view = view(7, &["a", "b"], &["c"]);
    let mut progress = answered(&view, &[("a", rejected(&[1, 4])), ("b", rejected(&[1, 4])), ("c", rejected(&[4]))]);
    let due = repairs(&mut progress, &view);
    assert_eq!(due.requests.keys().collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(due.retract[&0], [float(1)]);
    assert!(due.force.is_empty());
    repair(&mut progress, &due);
    assert_eq!(progress.next(&view, 0), Next::Done);
}

#[test]
fn a_learner_never_decides() {
    let view = view(7, &["c", "d"], &["a", "b"]);
    let learners = [("a", rejected(&[0])), ("b", rejected(&[0]))];
    let mut progress = answered(&view, &[[("c", rejected(&[])), ("d", rejected(&[]))], learners].concat());
    assert_eq!(repairs(&mut progress, &view).force[&0], [float(0)]);
}

#[test]
fn a_write_is_not_done_before_every_replica_agrees() {
    let view = view(7, &["a", "b", "c"], &[]);
    let mut progress = answered(&view, &[("a", rejected(&[])), ("b", rejected(&[1])), ("c", rejected(&[]))]);
    let due = repairs(&mut progress, &view);
    progress.repaired("b", &due.requests["b"], &[]);
    assert_eq!(repairs(&mut progress, &view).requests.keys().collect::<Vec<_>>(), ["c"]);
}

#[test]
fn a_replica_that_cannot_be_repaired_holds_up_the_write_until_it_is_out_of_sync() {
    let before = view(7, &["a", "b", "c"], &[]);
    let mut progress = answered(&before, &[("a", rejected(&[])), ("b", rejected(&[1])), ("c", rejected(&[]))]);
    let due = repairs(&mut progress, &before);
    progress.repaired("c", &due.requests["c"], &[]);
    let after = view(8, &["a", "c"], &[]);
    answer(&mut progress, &after, &[("a", rejected(&[])), ("c", rejected(&[]))]);
    assert_eq!(progress.next(&after, 0), Next::Done);
}

#[test]
fn a_stale_repair_starts_the_shard_over_and_another_leader_decides() {
    let before = view(7, &["a", "b", "c"], &[]);
    let mut progress = answered(&before, &[("a", rejected(&[])), ("b", rejected(&[1])), ("c", rejected(&[]))]);
    let due = repairs(&mut progress, &before);
    progress.repaired("b", &due.requests["b"], &[(0, 8)]);
    progress.repaired("c", &due.requests["c"], &[]);
    assert!(matches!(progress.next(&before, 0), Next::Wait(_)));
    let after = view(8, &["b", "a", "c"], &[]);
    answer(&mut progress, &after, &[("a", rejected(&[])), ("b", rejected(&[1])), ("c", rejected(&[]))]);
    let due = repairs(&mut progress, &after);
    assert_eq!(due.requests.keys().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(due.retract[&0], [float(1)]);
    repair(&mut progress, &due);
    assert_eq!(progress.next(&after, 0), Next::Done);
    let refused = RefusedSample { sample: float(1), reason: RejectReason::TooOld };
    assert_eq!(progress.corrections(), [Correction::Rejected(refused)], "it was counted as accepted");
}

#[test]
fn a_leader_that_has_lost_samples_of_its_shard_decides_nothing() {
    let view = view(7, &["a", "b"], &["c"]);
    let lost = |answer: Appended| Appended { undecided: vec![0], ..answer };
    let mut progress = answered(&view, &[("a", lost(rejected(&[1]))), ("b", rejected(&[1])), ("c", rejected(&[]))]);
    let Next::Wait(reason) = progress.next(&view, 0) else { panic!("it neither retracts nor forces anything") };
    assert!(reason.contains("the leader of shard 0 has lost samples"), "{reason}");
    let mut progress = answered(&view, &[("a", lost(rejected(&[1]))), ("b", rejected(&[1])), ("c", rejected(&[1]))]);
    assert_eq!(progress.next(&view, 0), Next::Done, "all agree");
    let mut progress = answered(&view, &[("a", rejected(&[1])), ("b", lost(rejected(&[]))), ("c", rejected(&[]))]);
    let repairs = repairs(&mut progress, &view);
    assert_eq!(repairs.requests.keys().collect::<Vec<_>>(), ["c"], "what it has lost it copies later");
}

#[test]
fn replicas_of_older_versions_are_not_repaired() {
    let view = view(7, &["a", "b"], &["c"]);
    let unnamed = Appended::default;
    let mut progress = answered(&view, &[("a", rejected(&[1])), ("b", unnamed()), ("c", rejected(&[1]))]);
    assert_eq!(progress.next(&view, 0), Next::Done);
    assert!(!progress.has_unnamed_verdicts());
    let mut progress = answered(&view, &[("a", unnamed()), ("b", rejected(&[1])), ("c", rejected(&[]))]);
    assert_eq!(progress.next(&view, 0), Next::Done);
    assert!(progress.has_unnamed_verdicts(), "what any of them rejected is rejected");
}

/// Sends what is asked for under a tenant's newest deletion, and answers for all nodes but some.
fn send_after(progress: &mut Progress, view: &View, deletion: u64, silent: &[&str]) -> Vec<String> {
    let Next::Send(requests) = progress.next(view, deletion) else { panic!("nothing is to be sent") };
    for (node, targets) in requests.iter().filter(|(node, _)| !silent.contains(&node.as_str())) {
        progress.appended(node, targets, &Appended::default());
    }
    requests.into_keys().collect()
}

#[test]
fn samples_lie_on_the_same_side_of_a_deletion_on_all_replicas() {
    let view = view(7, &["a", "b"], &["c"]);
    let mut progress = Progress::new([0]);
    assert_eq!(send_after(&mut progress, &view, 3, &["b"]), ["a", "b", "c"]);
    assert_eq!(progress.deletions(), Some(3));
    // One has applied a deletion that the view has not.
    progress.deletion_known(4);
    let waits = Next::Wait("the view has deletion 3 of the tenant, a replica has applied 4".into());
    assert_eq!(progress.next(&view, 3), waits);
    // Those that have taken the samples before it take them again.
    assert_eq!(send_after(&mut progress, &view, 4, &[]), ["a", "b", "c"]);
    assert_eq!(progress.deletions(), Some(4));
    assert_eq!(progress.next(&view, 4), Next::Done);
}

#[test]
fn a_deletion_that_no_replica_has_applied_yet_does_not_hold_up_a_write() {
    let view = view(7, &["a", "b"], &[]);
    let mut progress = Progress::new([0]);
    send_after(&mut progress, &view, 3, &["b"]);
    assert_eq!(send_after(&mut progress, &view, 5, &[]), ["b"]);
    assert_eq!(progress.deletions(), Some(3));
    assert_eq!(progress.next(&view, 5), Next::Done);
}

#[test]
fn a_barrier_needs_every_replica_that_there_is() {
    let degraded = view(7, &["a"], &["b"]);
    let mut progress = Progress::barrier([0]);
    assert_eq!(send_after(&mut progress, &degraded, 3, &["b"]), ["a", "b"]);
    assert_eq!(send_after(&mut progress, &degraded, 3, &[]), ["b"]);
    assert_eq!(progress.next(&degraded, 3), Next::Done);
    assert_eq!(Progress::barrier([0]).next(&view(7, &[], &[]), 3), Next::Done);
}
