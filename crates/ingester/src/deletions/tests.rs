use pharos_model::Clock;

use super::*;
use crate::test_cluster::{Cluster, SHARDS, START, WINDOW, held, scrape, until};
use pharos_cluster::Command;

/// Deletes a series up to a time.
async fn delete(cluster: &Cluster, series: u32, end: i64) {
    let ingester = cluster.node("A").clone();
    let matchers = [Matcher::equal("series", series.to_string())];
    let range = TimeRange::new(i64::MIN, START + end);
    let work = move || ingester.delete(&TenantId::default(), &matchers, range);
    tokio::task::spawn_blocking(work).await.unwrap().unwrap();
}

fn of_series(ingester: &Ingester, series: u32) -> Vec<i64> {
    held(ingester).into_iter().filter(|(of, ..)| *of == series).map(|(_, t, _)| t).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ingester_deletes_once_and_not_again_after_a_restart() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.catch_up("B");
    cluster.write(&scrape(1)).await;
    delete(&cluster, 3, 10).await;
    assert!(of_series(cluster.node("A"), 3).is_empty());
    until(|| of_series(cluster.node("B"), 3).is_empty()).await;
    assert_eq!(held(cluster.node("B")).len(), 39);
    // What comes after it stays, also where it lies within its range.
    cluster.write(&scrape(2)).await;
    for name in ["A", "B"] {
        cluster.stop(name).await;
        cluster.start(name).await;
        assert_eq!(of_series(cluster.node(name), 3), [2]);
    }
    // Who was away carries it out before anything else.
    cluster.stop("B").await;
    delete(&cluster, 3, 10).await;
    delete(&cluster, 4, 10).await;
    cluster.start("B").await;
    assert_eq!(of_series(cluster.node("B"), 3), Vec::<i64>::new());
    assert_eq!(of_series(cluster.node("B"), 4), Vec::<i64>::new());
    cluster.write(&scrape(5)).await;
    cluster.stop("B").await;
    cluster.start("B").await;
    assert_eq!(of_series(cluster.node("B"), 4), [5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_learner_keeps_samples_from_after_a_deletion() {
    let mut cluster = Cluster::of(&["A"], 2).await;
    cluster.write(&scrape(1)).await;
    delete(&cluster, 3, 1000).await;
    cluster.write(&scrape(2)).await;
    cluster.start("B").await;
    cluster.catch_up("B");
    cluster.add_learner("B").await;
    cluster.in_sync("B").await;
    assert_eq!(held(cluster.node("B")), held(cluster.node("A")));
    cluster.stop("B").await;
    cluster.start("B").await;
    assert_eq!(of_series(cluster.node("B"), 3), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_block_restores_deleted_samples() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&scrape(1)).await;
    for shard in 0..SHARDS {
        cluster.propose(Command::SetLeader { shard, node: "B".into() }).await;
    }
    // B has not heard of it when it flushes.
    delete(&cluster, 3, 10).await;
    assert_eq!(held(cluster.node("B")).len(), 40);
    cluster.end_window();
    cluster.tick("B").await;
    let blocks = cluster.blocks();
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].samples, 39);
    cluster.clock.set(cluster.clock.now_ms() + WINDOW);
}
