use pharos_model::Clock;

use super::*;
use crate::test_cluster::{Cluster, SHARDS, held, in_time, scrape, until};

fn learned(cluster: &Cluster, name: &str) -> u64 {
    cluster.node(name).metrics.catchup.samples.get()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_node_catches_up_during_writes() {
    let mut cluster = Cluster::of(&["A", "B"], 3).await;
    for t in 0..200 {
        cluster.write(&scrape(t * 10)).await;
    }
    cluster.start("C").await;
    cluster.catch_up("C");
    cluster.add_learner("C").await;
    for t in 200..220 {
        cluster.write(&scrape(t * 10)).await;
    }
    cluster.in_sync("C").await;
    assert_eq!(held(cluster.node("C")), held(cluster.node("A")));
    until(|| cluster.node("C").progress().is_empty()).await;
    // And all of it is durable.
    let all = held(cluster.node("A"));
    cluster.stop("C").await;
    cluster.start("C").await;
    assert_eq!(held(cluster.node("C")), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_copies_only_what_it_missed() {
    let mut cluster = Cluster::of(&["A", "B", "C"], 3).await;
    for t in 0..30 {
        cluster.write(&scrape(t * 500)).await;
    }
    cluster.stop("C").await;
    for t in 30..33 {
        cluster.write(&scrape(t * 500)).await;
    }
    assert!(cluster.meta.view().shards.iter().all(|shard| !shard.is_in_sync("C")));
    cluster.start("C").await;
    cluster.catch_up("C");
    cluster.add_learner("C").await;
    cluster.in_sync("C").await;
    assert_eq!(held(cluster.node("C")), held(cluster.node("A")));
    assert_eq!(learned(&cluster, "C"), 3 * 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_missed_a_write_starts_over() {
    let mut cluster = Cluster::of(&["A", "B"], 3).await;
    cluster.write(&scrape(1)).await;
    cluster.start("C").await;
    cluster.add_learner("C").await;
    cluster.network.cut_off.lock().insert("C".into());
    cluster.write(&scrape(2)).await;
    cluster.network.cut_off.lock().remove("C");
    assert!(cluster.meta.view().shards.iter().all(|shard| shard.learns_since("C").is_none()));
    cluster.add_learner("C").await;
    cluster.catch_up("C");
    cluster.in_sync("C").await;
    assert_eq!(held(cluster.node("C")), held(cluster.node("B")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_is_replaced_by_another() {
    let mut cluster = Cluster::of(&["A", "B"], 3).await;
    cluster.write(&scrape(1)).await;
    cluster.start("C").await;
    cluster.network.cut_off.lock().insert("A".into());
    cluster.catch_up("C");
    cluster.add_learner("C").await;
    cluster.in_sync("C").await;
    assert_eq!(held(cluster.node("C")), held(cluster.node("B")));
    assert!(cluster.node("C").metrics.catchup.failures.get() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_fences_writers_with_older_epochs() {
    let mut cluster = Cluster::of(&["A", "B"], 3).await;
    let before = cluster.meta.view();
    cluster.start("C").await;
    cluster.catch_up("C");
    cluster.add_learner("C").await;
    cluster.in_sync("C").await;
    let stale = cluster.try_write_under(&before, &scrape(1)).await.unwrap_err();
    assert!(stale.starts_with("stale"), "{stale}");
    cluster.write(&scrape(2)).await;
    assert_eq!(held(cluster.node("C")), held(cluster.node("A")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_disk_is_reported_and_copied_again() {
    let mut cluster = Cluster::of(&["A", "B", "C"], 3).await;
    cluster.write(&scrape(1)).await;
    cluster.stop("C").await;
    cluster.wipe("C");
    cluster.start("C").await;
    // Epochs increase before it can report what it lost under the previous ones.
    for (shard, node) in (0..SHARDS).zip(["A", "B"].into_iter().cycle()) {
        cluster.propose(Command::SetLeader { shard, node: node.into() }).await;
        let others = if node == "A" { "B" } else { "A" };
        cluster.propose(Command::SetLeader { shard, node: others.into() }).await;
    }
    assert!(!cluster.node("C").is_whole(&cluster.node("C").meta.view(), 0), "it answers for nothing that it lost");
    cluster.catch_up("C");
    cluster.sees(|view| view.shards.iter().all(|shard| !shard.is_in_sync("C"))).await;
    cluster.add_learner("C").await;
    cluster.in_sync("C").await;
    assert_eq!(held(cluster.node("C")), held(cluster.node("A")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_disk_is_reported_even_after_another_restart() {
    let mut cluster = Cluster::of(&["A", "B", "C"], 3).await;
    assert!(!cluster.node("C").head().is_incomplete(), "there was nothing to lose at the first start");
    cluster.write(&scrape(1)).await;
    cluster.stop("C").await;
    cluster.wipe("C");
    cluster.start("C").await;
    cluster.write(&scrape(2)).await;
    cluster.stop("C").await;
    cluster.start("C").await;
    assert_eq!(held(cluster.node("C")).len(), 40, "the log is not empty any more");
    assert!(!cluster.node("C").is_whole(&cluster.node("C").meta.view(), 0), "and answers for nothing");
    cluster.catch_up("C");
    cluster.sees(|view| view.shards.iter().all(|shard| !shard.is_in_sync("C"))).await;
    let node = cluster.node("C").clone();
    until(|| !node.head().is_incomplete()).await;
    drop(node);
    cluster.add_learner("C").await;
    cluster.in_sync("C").await;
    assert_eq!(held(cluster.node("C")), held(cluster.node("A")));
    cluster.stop("C").await;
    cluster.start("C").await;
    assert!(cluster.node("C").is_whole(&cluster.node("C").meta.view(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_moved_away_are_forgotten_after_a_while() {
    let mut cluster = Cluster::of(&["A", "B"], 1).await;
    cluster.write(&scrape(1)).await;
    for shard in 0..SHARDS {
        cluster.propose(Command::RemoveReplica { shard, node: "B".into() }).await;
    }
    cluster.catch_up("B");
    let (node, forgotten) = (cluster.node("B").clone(), &cluster.node("B").metrics.catchup.forgotten);
    // It has seen that it holds nothing, and waits.
    cluster.write(&scrape(2)).await;
    assert_eq!(held(&node).len(), 40);
    assert_eq!(forgotten.get(), 0);
    let moving = async {
        while forgotten.get() < u64::from(SHARDS) {
            cluster.clock.set(cluster.clock.now_ms() + 10_000);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    in_time(moving).await;
    assert_eq!(held(&node).len(), 0);
    assert_eq!(held(cluster.node("A")).len(), 80);
    drop(node);
    cluster.stop("B").await;
    cluster.start("B").await;
    assert_eq!(held(cluster.node("B")).len(), 0);
}
