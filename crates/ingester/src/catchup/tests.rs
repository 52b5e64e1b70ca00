use pharos_cluster::{CatalogueCommand, Command, MemberState};
use pharos_model::wire::append::AppendEncoder;
use pharos_model::{Clock, TenantId};
use pharos_transport::ingest_v1::CopyResponse;

use super::*;
use crate::test_cluster::{Cluster, SHARDS, batch, held, in_time, scrape, until};

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

/// A cluster whose last replica in sync, A, has lost its disk. B is stopped and has an older copy.
async fn one_that_lost_its_disk() -> Cluster {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&scrape(1)).await;
    cluster.stop("B").await;
    cluster.write(&scrape(2)).await;
    cluster.stop("A").await;
    cluster.wipe("A");
    cluster.start("A").await;
    cluster.catch_up("A");
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_in_sync_node_gives_way_to_an_older_replica_when_its_disk_is_lost() {
    let mut cluster = one_that_lost_its_disk().await;
    cluster.write(&scrape(3)).await;
    let a = cluster.node("A").clone();
    assert!(!a.is_whole(&a.meta.view(), 0), "it answers for nothing that it lost");
    assert!(a.head().is_incomplete());
    cluster.start("B").await;
    cluster.catch_up("B");
    cluster.add_learner("B").await;
    cluster.in_sync("B").await;
    cluster.sees(|view| view.shards.iter().all(|shard| !shard.is_in_sync("A"))).await;
    until(|| !a.head().is_incomplete()).await;
    cluster.add_learner("A").await;
    cluster.in_sync("A").await;
    let left = [scrape(1), scrape(3)].concat();
    assert_eq!(held(cluster.node("A")).len(), left.len());
    assert_eq!(held(cluster.node("A")), held(cluster.node("B")));
    assert!(a.is_whole(&a.meta.view(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_added_after_the_loss_waits_for_an_older_one() {
    let mut cluster = one_that_lost_its_disk().await;
    cluster.start("B").await;
    cluster.start("C").await;
    cluster.catch_up("C");
    cluster.add_learner("C").await;
    cluster.write(&scrape(3)).await;
    let c = cluster.node("C").clone();
    until(|| c.metrics.catchup.failures.get() > 0).await;
    cluster.catch_up("B");
    cluster.add_learner("B").await;
    cluster.in_sync("C").await;
    assert_eq!(held(&c), held(cluster.node("B")), "C has what only B had");
    assert!(held(&c).contains(&scrape(1)[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_added_after_the_loss_waits_for_an_older_one_that_is_away() {
    let mut cluster = one_that_lost_its_disk().await;
    cluster.propose(Command::SetMemberState { node: "B".into(), state: MemberState::Down, at_ms: 0 }).await;
    cluster.start("C").await;
    cluster.catch_up("C");
    cluster.add_learner("C").await;
    let c = cluster.node("C").clone();
    until(|| c.metrics.catchup.failures.get() > 0).await;
    assert!(cluster.meta.view().shards.iter().all(|shard| !shard.is_in_sync("C")));
    // It does not come back.
    cluster.propose(Command::RemoveMember { node: "B".into(), force: true, at_ms: 0 }).await;
    until(|| {
        cluster.clock.advance(SOURCE_BACKOFF);
        cluster.meta.view().shards.iter().all(|shard| shard.is_in_sync("C"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_log_answers_again_once_no_other_replica_is_left() {
    let cluster = one_that_lost_its_disk().await;
    let a = cluster.node("A").clone();
    assert!(!a.is_whole(&a.meta.view(), 0));
    cluster.propose(Command::RemoveMember { node: "B".into(), force: true, at_ms: 0 }).await;
    until(|| a.is_whole(&a.meta.view(), 0)).await;
    until(|| !a.head().is_incomplete()).await;
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

/// A batch of a copy with these samples, which its source read after a deletion.
fn copied(samples: &[(u32, i64, f64)], deletions: u64) -> CopyResponse {
    let (batch, mut encoder, mut bytes) = (batch(samples), AppendEncoder::default(), Vec::new());
    for (number, series) in (0u32..).zip(batch.series()) {
        encoder.series(batch.labels_of(series));
        batch.samples_of(series).iter().for_each(|s| encoder.sample(number, s));
    }
    encoder.finish(&mut bytes);
    let tenant = TenantId::default().as_str().to_string();
    CopyResponse { tenant, batch: bytes.into(), position: None, deletions: Some(deletions), flushed: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_batch_is_older_than_the_deletions_that_its_source_did_not_know() {
    let cluster = Cluster::of(&["A", "B"], 2).await;
    let (tenant, b) = (TenantId::default(), cluster.node("B").clone());
    let copy = copy::Copy {
        ingester: b.clone(),
        source: "A".into(),
        address: "A".into(),
        shards: BTreeMap::new(),
        positions: copy::Positions::default(),
        lost_at_source: Mutex::default(),
    };
    cluster.delete(3, 10).await;
    let first = b.head().last_deletion(&tenant);
    // An interrupted copy continues with what was in flight when the deletion came.
    copy.append(&tenant, &copied(&scrape(1), 0), 0).await.unwrap();
    assert_eq!(held(&b).len(), 39);
    copy.append(&tenant, &copied(&[(3, 2, 2.0)], first), first).await.unwrap();
    assert_eq!(held(&b).len(), 40, "the source had applied the deletion");
    // The source is ahead.
    let second = cluster.record_deletion(4, 10).await;
    copy.append(&tenant, &copied(&[(4, 5, 5.0)], second), second).await.unwrap();
    assert_eq!(b.head().last_deletion(&tenant), second);
    assert_eq!(held(&b).len(), 40, "one is deleted, one is new");
    // What could be deleted is not known any more.
    let forget = CatalogueCommand::ForgetDeletions { tenant: tenant.as_str().into(), applied: second };
    cluster.propose(forget).await;
    let refused = copy.append(&tenant, &copied(&[(3, 6, 6.0)], first), first).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("before deletion {second}, which was forgotten")), "{refused}");
}
