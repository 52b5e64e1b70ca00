//! Proofs that a view is current: they include everything that was agreed on before, or fail.

use super::*;
use crate::{ProveView, Unproven};

async fn proved(meta: &Meta) -> View {
    in_time(async {
        loop {
            if let Ok(view) = meta.prove().await {
                return view;
            }
        }
    })
    .await
}

/// Views of followers lag behind the view of the leader.
#[tokio::test(flavor = "multi_thread")]
async fn a_proved_view_includes_everything_that_was_agreed_on_before() {
    let cluster = Cluster::of_three().await;
    let followers = ["F", "G", "H"].map(|name| follower(&cluster, name));
    for follower in &followers {
        in_time(follower.ready()).await;
    }
    for n in 0..30 {
        let proposer = ["A", "B", "C"][n % 3];
        in_time(cluster.node(proposer).propose(delete(n))).await.unwrap();
        let nodes = cluster.nodes.values().map(AsRef::as_ref).chain(&followers);
        let proofs = nodes.map(|meta| async move { deletions(&proved(meta).await) });
        let seen = futures::future::join_all(proofs).await;
        assert!(seen.iter().all(|seen| *seen == n + 1), "{seen:?} after {}", n + 1);
    }
    for follower in followers {
        follower.shutdown().await;
    }
}

/// A leader that is cut off does not know that another one was elected.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_majority_proves_nothing_and_answers_no_heartbeats() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let cut_off = cluster.node(&leader);
    let before_ms = cut_off.clock().now_ms();
    proved(cut_off).await;
    cluster.network.set_cut_off(&address(&leader), true);
    let since = cut_off.clock().monotonic();
    let Err(Unproven { as_of_ms: Some(as_of_ms), .. }) = in_time(cut_off.prove()).await else {
        panic!("it cannot know what the others agree on, but knows since when");
    };
    assert!((before_ms..=cut_off.clock().now_ms()).contains(&as_of_ms));
    assert!(*cut_off.contact().borrow() <= Some(since), "its own heartbeats do not vouch for its view");
    // The others elect another leader.
    let other = cluster.nodes.keys().find(|name| **name != leader).unwrap();
    in_time(cluster.node(other).propose(delete(0))).await.unwrap();
    assert_eq!(deletions(&proved(cluster.node(other)).await), 1);
    let unproven = in_time(cut_off.prove()).await.unwrap_err();
    assert_eq!(deletions(&cut_off.view()), 0, "{unproven}");
    cluster.network.set_cut_off(&address(&leader), false);
    assert_eq!(deletions(&proved(cut_off).await), 1);
}

/// A new leader may have commands of its predecessors in its log that it has not applied yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_proves_only_views_with_all_that_was_committed() {
    let mut cluster = Cluster::of_three().await;
    for n in 0..40 {
        in_time(cluster.node("A").propose(delete(n))).await.unwrap();
    }
    for name in ["A", "B", "C"] {
        cluster.stop(name).await;
    }
    for name in ["A", "B", "C"] {
        cluster.start(name, BootstrapMode::Expect(3), &["A", "B", "C"]).await;
    }
    for name in ["A", "B", "C"] {
        assert_eq!(deletions(&proved(cluster.node(name)).await), 40, "{name}");
    }
}

/// A follower may follow the node that hangs, and its view ages meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_meta_node_that_hangs_holds_up_no_proof() {
    let cluster = Cluster::of_three().await;
    let follower = follower(&cluster, "F");
    in_time(follower.ready()).await;
    let leader = cluster.leader().await;
    for hanging in ["A", "B", "C"].into_iter().filter(|name| *name != leader) {
        cluster.network.set_hanging(&address(hanging), true);
        let before = deletions(&follower.view());
        in_time(cluster.node(&leader).propose(delete(before))).await.unwrap();
        let view = in_time(follower.prove()).await.expect("another meta node answers");
        assert_eq!(deletions(&view), before + 1);
        cluster.network.set_hanging(&address(hanging), false);
    }
    follower.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_fail_while_no_meta_node_answers_and_succeed_afterwards() {
    let cluster = Cluster::of_three().await;
    let follower = follower(&cluster, "F");
    in_time(follower.ready()).await;
    cluster.network.set_cut_off(&address("F"), true);
    let first = in_time(follower.prove()).await.unwrap_err();
    assert_eq!(first.as_of_ms, None, "it has never proved a view");
    cluster.network.set_cut_off(&address("F"), false);
    proved(&follower).await;
    cluster.network.set_cut_off(&address("F"), true);
    assert!(in_time(follower.prove()).await.unwrap_err().as_of_ms.is_some());
    follower.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_proof_is_known_although_its_callers_left() {
    let cluster = Cluster::of_three().await;
    let follower = follower(&cluster, "F");
    in_time(follower.ready()).await;
    cluster.network.set_cut_off(&address("F"), true);
    // No caller stays until a proof has failed, so only a recorded failure can answer one.
    let short = || tokio::time::timeout(Duration::from_millis(50), follower.prove());
    let answered = in_time(async {
        loop {
            if let Ok(answer) = short().await {
                return answer;
            }
        }
    });
    answered.await.unwrap_err();
    follower.shutdown().await;
}

#[tokio::test]
async fn a_cluster_of_one_needs_no_proof() {
    let folder = tempfile::tempdir().unwrap();
    let meta = Meta::open(folder.path(), "A").await.unwrap();
    let version = meta.propose(delete(0)).await.unwrap().view.version;
    assert_eq!(meta.prove().await.map(|view| view.version), Ok(version));
    meta.shutdown().await;
    assert_eq!(meta.prove().await.map(|view| view.version), Ok(version), "Raft is not asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_leaves_passes_leadership_on_so_that_proofs_go_on() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    in_time(cluster.node(&leader).leave(&leader)).await.unwrap();
    assert!(!cluster.node(&leader).status().leads);
    assert_ne!(cluster.leader().await, leader);
    for (name, meta) in &cluster.nodes {
        in_time(meta.prove()).await.unwrap_or_else(|unproven| panic!("{name}: {unproven}"));
    }
}
