use std::sync::Arc;

use pharos_cluster::{ClusterState, Learner, Settings, Shard};

use super::*;

/// A view of one shard with three copies wanted.
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

fn send(progress: &mut Progress, view: &View) -> BTreeMap<String, Vec<ShardTarget>> {
    match progress.next(view) {
        Next::Send(requests) => requests,
        other => panic!("{other:?}"),
    }
}

#[test]
fn done_when_all_in_sync_and_learners_have_it_and_one_counted() {
    let view = view(7, &["a", "b"], &["c"]);
    let mut progress = Progress::new([0]);
    let requests = send(&mut progress, &view);
    assert_eq!(requests.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(requests.values().flatten().filter(|target| target.counted).count(), 1);
    for (node, targets) in &requests {
        assert_ne!(progress.next(&view), Next::Done);
        progress.appended(node, targets, &[]);
    }
    assert_eq!(progress.next(&view), Next::Done);
}

#[test]
fn a_failed_replica_is_waited_for_until_it_is_out_of_sync() {
    let before = view(7, &["a", "b", "c"], &[]);
    let mut progress = Progress::new([0]);
    let requests = send(&mut progress, &before);
    progress.appended("b", &requests["b"], &[]);
    progress.appended("c", &requests["c"], &[]);
    // The old view still has it in sync: it is asked again.
    assert_eq!(send(&mut progress, &before).keys().collect::<Vec<_>>(), ["a"]);
    // Under the new view it is not needed. The others say again that they have it, and nobody has counted: the new leader does.
    let after = view(8, &["b", "c"], &[]);
    let again = send(&mut progress, &after);
    assert_eq!(again.keys().collect::<Vec<_>>(), ["b", "c"]);
    assert!(again["b"][0].counted && !again["c"][0].counted);
    progress.appended("b", &again["b"], &[]);
    progress.appended("c", &again["c"], &[]);
    assert_eq!(progress.next(&after), Next::Done);
}

#[test]
fn too_few_in_sync_is_no_write() {
    assert!(matches!(Progress::new([0]).next(&view(7, &["a"], &["b"])), Next::Wait(_)));
    assert_eq!(Progress::new([]).next(&view(7, &["a"], &[])), Next::Done);
}

#[test]
fn a_stale_epoch_waits_for_the_view() {
    let old = view(7, &["a", "b"], &[]);
    let mut progress = Progress::new([0]);
    let requests = send(&mut progress, &old);
    progress.appended("a", &requests["a"], &[(0, 9)]);
    progress.appended("b", &requests["b"], &[(0, 9)]);
    assert!(matches!(progress.next(&old), Next::Wait(_)));
    assert_eq!(send(&mut progress, &view(9, &["a", "b"], &["c"])).len(), 3);
}

#[test]
fn a_learner_that_fails_is_not_waited_for_when_it_learns_no_more() {
    let before = view(7, &["a", "b"], &["c"]);
    let mut progress = Progress::new([0]);
    let requests = send(&mut progress, &before);
    progress.appended("a", &requests["a"], &[]);
    progress.appended("b", &requests["b"], &[]);
    assert_eq!(send(&mut progress, &before).len(), 1, "the learner is not reported yet");
    // It was, and learns no more; of the others one lost its disk in between and came back, as far as anybody knows.
    let after = view(8, &["a", "b"], &[]);
    let again = send(&mut progress, &after);
    assert_eq!(again.keys().collect::<Vec<_>>(), ["a", "b"]);
    again.iter().for_each(|(node, targets)| progress.appended(node, targets, &[]));
    assert_eq!(progress.next(&after), Next::Done);
}

#[test]
fn what_meta_left_as_it_was_is_reported_again_under_its_new_epoch() {
    let reported = [(0, 7)];
    let again = |epoch, in_sync: &[&str], unchanged: &[u32]| {
        report_again(&view(epoch, in_sync, &[]), "a", &reported, unchanged)
    };
    assert_eq!(again(8, &["a", "b"], &[0]), [(0, 8)]);
    assert_eq!(again(8, &["b"], &[0]), [], "it is out of sync");
    assert_eq!(again(8, &["a", "b"], &[]), [], "it was taken out, and is back");
    assert_eq!(again(7, &["a"], &[0]), [], "the last one stays");
}
