use std::sync::Arc;

use pharos_cluster::{ClusterState, Learner, Settings, Shard};

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
        progress.appended(node, targets, &[]);
    }
    assert_eq!(progress.next(&view, 0), Next::Done);
}

#[test]
fn a_failed_replica_holds_up_the_write_until_it_is_out_of_sync() {
    let before = view(7, &["a", "b", "c"], &[]);
    let mut progress = Progress::new([0]);
    let requests = send(&mut progress, &before);
    progress.appended("b", &requests["b"], &[]);
    progress.appended("c", &requests["c"], &[]);
    // The previous view still has it in sync, so the write goes to it again.
    assert_eq!(send(&mut progress, &before).keys().collect::<Vec<_>>(), ["a"]);
    // The new view does not need it. The others confirm the new epoch, and the new leader counts.
    let after = view(8, &["b", "c"], &[]);
    let again = send(&mut progress, &after);
    assert_eq!(again.keys().collect::<Vec<_>>(), ["b", "c"]);
    assert!(again["b"][0].counted && !again["c"][0].counted);
    progress.appended("b", &again["b"], &[]);
    progress.appended("c", &again["c"], &[]);
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
    progress.appended("a", &requests["a"], &[]);
    let again = send(&mut progress, &view(8, &["b", "a"], &[]));
    assert!(again.values().flatten().all(|target| !target.counted), "{again:?}");
}

#[test]
fn a_confirmation_for_an_earlier_epoch_does_not_count() {
    let mut progress = Progress::new([0]);
    let requests = send(&mut progress, &view(7, &["a", "b"], &[]));
    progress.appended("a", &requests["a"], &[]);
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
    progress.appended("a", &requests["a"], &[(0, 9)]);
    progress.appended("b", &requests["b"], &[(0, 9)]);
    assert!(matches!(progress.next(&old, 0), Next::Wait(_)));
    assert_eq!(send(&mut progress, &view(9, &["a", "b"], &["c"])).len(), 3);
}

#[test]
fn a_failed_learner_does_not_hold_up_the_write_once_it_is_removed() {
    let before = view(7, &["a", "b"], &["c"]);
    let mut progress = Progress::new([0]);
    let requests = send(&mut progress, &before);
    progress.appended("a", &requests["a"], &[]);
    progress.appended("b", &requests["b"], &[]);
    assert_eq!(send(&mut progress, &before).len(), 1, "the learner is not reported yet");
    // It was reported and has ceased to be a learner. The others confirm the new epoch: one may have lost its disk meanwhile.
    let after = view(8, &["a", "b"], &[]);
    let again = send(&mut progress, &after);
    assert_eq!(again.keys().collect::<Vec<_>>(), ["a", "b"]);
    again.iter().for_each(|(node, targets)| progress.appended(node, targets, &[]));
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

/// Sends what is asked for under a tenant's newest deletion, and answers for all nodes but some.
fn send_after(progress: &mut Progress, view: &View, deletion: u64, silent: &[&str]) -> Vec<String> {
    let Next::Send(requests) = progress.next(view, deletion) else { panic!("nothing is to be sent") };
    for (node, targets) in requests.iter().filter(|(node, _)| !silent.contains(&node.as_str())) {
        progress.appended(node, targets, &[]);
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
