//! Samples that one replica has and blocks lack get into blocks, whatever happened to the others.

use std::time::Duration;

use object_store::ObjectStoreExt;
use pharos_cluster::{CatalogueCommand, Command, RemovalReason};
use pharos_model::{Clock, TenantId};
use ulid::Ulid;

use super::*;
use crate::test_cluster::{Cluster, SHARDS, START, WINDOW, flushed, held, scrape, unflushed};
use crate::test_objects::Fault;

/// Series, time and value of what is in blocks, as `scrape` gives it.
async fn in_blocks(cluster: &Cluster) -> Vec<(u32, i64, f64)> {
    cluster.in_blocks(&TenantId::default()).await.into_iter().map(|((series, t), v)| (series, t, v)).collect()
}

fn sorted(mut samples: Vec<(u32, i64, f64)>) -> Vec<(u32, i64, f64)> {
    samples.sort_by_key(|(series, t, _)| (*series, *t));
    samples
}

/// How long a replica that differs from blocks waits.
fn patience(cluster: &Cluster, name: &str) -> Duration {
    cluster.node(name).config.forget_after + Duration::from_millis(WINDOW as u64)
}

/// The wait of a replica that differs from blocks passes.
async fn wait(cluster: &mut Cluster, name: &str) {
    cluster.clock.advance(patience(cluster, name));
    cluster.tick(name).await;
}

/// A and B hold a scrape, and B alone one more sample. A has shipped.
async fn differing() -> Cluster {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&scrape(1)).await;
    cluster.write_to("B", &[(1, 7, 7.0)]).await;
    cluster.end_window();
    cluster.tick("A").await;
    cluster.tick("B").await;
    assert!(cluster.counts("B").unflushed > 1 && cluster.counts("A").unflushed == 0, "its shard does not match");
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_one_replica_has_is_shipped_and_nothing_else() {
    let mut cluster = differing().await;
    // A sample that everyone has comes while B waits.
    cluster.write(&[(1, 8, 8.0)]).await;
    wait(&mut cluster, "B").await;
    assert_eq!(cluster.counts("B").unflushed, 1, "what came later is not compared yet");
    let blocks = cluster.blocks();
    assert_eq!(blocks.len(), 2);
    assert!(blocks[1].delta && blocks[1].samples == 1 && blocks[1].cut.as_ref().unwrap().ingester == "B");
    for name in ["A", "B"] {
        cluster.tick(name).await;
        assert_eq!(cluster.counts(name).unflushed, 0, "{name}");
    }
    assert_eq!(in_blocks(&cluster).await, sorted([scrape(1), vec![(1, 7, 7.0), (1, 8, 8.0)]].concat()));
    assert_eq!(cluster.blocks().iter().map(|block| block.samples).sum::<u64>(), 42, "nothing twice");
    cluster.clock.set(cluster.clock.now_ms() + 2 * WINDOW);
    cluster.tick("B").await;
    assert_eq!(held(cluster.node("B")), []);
    assert_eq!(cluster.node("B").metrics.difference_samples.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_ships_what_the_leader_has_lost() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    // As if A had lost it with its log and did not know.
    cluster.write_to("B", &scrape(1)).await;
    cluster.end_window();
    cluster.tick("A").await;
    cluster.tick("B").await;
    wait(&mut cluster, "B").await;
    assert_eq!(cluster.blocks().len(), 0, "the leader still has time to ship");
    cluster.clock.advance(Duration::from_millis(WINDOW as u64));
    cluster.tick("B").await;
    assert_eq!(in_blocks(&cluster).await, sorted(scrape(1)));
    assert!(cluster.blocks().iter().all(|block| block.delta));
    assert_eq!(cluster.counts("B"), flushed(40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_the_same_difference_finds_it_by_its_digest() {
    let mut cluster = Cluster::of(&["A", "B", "C"], 3).await;
    cluster.write(&scrape(1)).await;
    for name in ["B", "C"] {
        cluster.write_to(name, &[(1, 7, 7.0)]).await;
    }
    cluster.end_window();
    for name in ["A", "B", "C"] {
        cluster.tick(name).await;
    }
    wait(&mut cluster, "B").await;
    cluster.tick("C").await;
    assert_eq!(cluster.counts("C").unflushed, 0);
    assert_eq!(cluster.node("C").metrics.differing.get(), 0, "no block was read");
    assert_eq!(cluster.blocks().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_stay_while_the_block_that_may_have_them_cannot_be_read() {
    let mut cluster = differing().await;
    let unmatched = cluster.counts("B").unflushed;
    let b = cluster.node("B").clone();
    cluster.clock.advance(patience(&cluster, "B"));
    cluster.objects.set_all(Fault::Fail);
    let error = b.flush_due().await.unwrap_err();
    assert!(matches!(error, FlushError::Unreadable { .. }), "{error}");
    assert_eq!(cluster.counts("B").unflushed, unmatched);
    // A flipped bit is found by the checksums.
    cluster.objects.set_all(Fault::None);
    let folder = pharos_block::BlockMeta::from_bytes(cluster.blocks()[0].meta.as_bytes()).unwrap().folder();
    let path = folder.join("data.parquet");
    let whole = cluster.objects.inner.get(&path).await.unwrap().bytes().await.unwrap();
    let mut damaged = whole.to_vec();
    let half = damaged.len() / 2;
    damaged[4..half].iter_mut().for_each(|byte| *byte ^= 1);
    cluster.objects.inner.put(&path, damaged.into()).await.unwrap();
    cluster.clock.advance(Duration::from_secs(10));
    let error = b.flush_due().await.unwrap_err();
    assert!(matches!(error, FlushError::Unreadable { .. }) && error.to_string().contains("damaged"), "{error}");
    assert_eq!(cluster.counts("B").unflushed, unmatched);
    cluster.objects.inner.put(&path, whole.into()).await.unwrap();
    cluster.clock.advance(Duration::from_secs(10));
    drop(b);
    cluster.tick("B").await;
    assert_eq!(cluster.counts("B").unflushed, 0);
    assert_eq!(in_blocks(&cluster).await, sorted([scrape(1), vec![(1, 7, 7.0)]].concat()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_a_deletion_masks_in_its_block_is_shipped_again() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    for name in ["A", "B"] {
        cluster.tick(name).await;
        assert_eq!(cluster.counts(name), flushed(40));
    }
    cluster.delete(3, 1000).await;
    // The same sample, written after the deletion; the leader has lost it.
    cluster.write_to("B", &[(3, 1, 4.0)]).await;
    cluster.tick("B").await;
    wait(&mut cluster, "B").await;
    let blocks = cluster.blocks();
    assert_eq!(blocks.iter().map(|block| block.samples).collect::<Vec<_>>(), [40, 1]);
    assert_eq!(cluster.counts("B").unflushed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_out_of_sync_ships_nothing() {
    let mut cluster = differing().await;
    let unmatched = cluster.counts("B").unflushed;
    for shard in 0..SHARDS {
        let shards = vec![(shard, cluster.meta.view().epoch(shard))];
        cluster.propose(Command::ReportFailed { node: "B".into(), shards, reporter: "B".into() }).await;
    }
    wait(&mut cluster, "B").await;
    wait(&mut cluster, "B").await;
    assert_eq!(cluster.blocks().len(), 1);
    assert_eq!(cluster.counts("B").unflushed, unmatched);
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_whose_block_is_not_listed_any_more_stay_in_memory_and_are_shipped_again() {
    let mut cluster = Cluster::of(&["A"], 1).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    cluster.tick("A").await;
    assert_eq!(cluster.blocks().len(), 1);
    let (id, tenant) = (cluster.blocks()[0].id.clone(), TenantId::default().as_str().to_string());
    let (ids, at_ms, reason) = (vec![id], cluster.clock.now_ms(), RemovalReason::Quarantine);
    cluster.propose(CatalogueCommand::RemoveBlocks { tenant, ids, at_ms, reason }).await;
    assert_eq!(cluster.blocks().len(), 0);
    let a = cluster.node("A").clone();
    cluster.clock.advance(a.config.grace);
    cluster.tick("A").await;
    assert_eq!(cluster.counts("A"), flushed(40), "nobody meant to remove its samples");
    assert_eq!(a.metrics.missing_windows.get(), 1);
    wait(&mut cluster, "A").await;
    assert_eq!(in_blocks(&cluster).await, sorted(scrape(1)));
    assert_eq!(cluster.counts("A"), flushed(40));
    cluster.clock.advance(a.config.grace);
    cluster.tick("A").await;
    assert_eq!(held(&a), []);
    assert_eq!(a.metrics.missing_windows.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_leave_memory_when_retention_has_removed_their_block() {
    let mut cluster = Cluster::of(&["A"], 1).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    cluster.tick("A").await;
    let (ids, tenant) = (vec![cluster.blocks()[0].id.clone()], TenantId::default().as_str().to_string());
    cluster
        .propose(CatalogueCommand::RemoveBlocks {
            tenant,
            ids,
            at_ms: cluster.clock.now_ms(),
            reason: RemovalReason::Retention,
        })
        .await;
    cluster.tick("A").await;
    assert_eq!(held(cluster.node("A")), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_over_a_block_of_another_width_gets_into_a_block() {
    let mut cluster = Cluster::of(&["A"], 1).await;
    // As if windows had been half as wide until now.
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    cluster.tick("A").await;
    let narrow = BlockEntry {
        id: Ulid::from_parts(7, 7).to_string(),
        window_start: START + WINDOW,
        window_end: START + WINDOW + WINDOW / 2,
        min_t: START + WINDOW,
        max_t: START + WINDOW,
        ..BlockEntry::clone(&cluster.blocks()[0])
    };
    let (tenant, blocks) = (TenantId::default().as_str().to_string(), vec![narrow]);
    cluster.propose(CatalogueCommand::CommitBlocks { tenant, blocks, flushed_until: None }).await;
    cluster.write(&scrape(WINDOW + WINDOW / 2 + 1)).await;
    cluster.clock.advance(Duration::from_millis(2 * WINDOW as u64));
    for _ in 0..3 {
        cluster.clock.advance(Duration::from_secs(60));
        cluster.tick("A").await;
    }
    assert_eq!(cluster.node("A").metrics.refused.get(), 0);
    let blocks = cluster.blocks();
    assert_eq!(blocks.len(), 3, "{blocks:?}");
    assert!(blocks[2].delta && blocks[2].samples == 40);
    assert_eq!(cluster.counts("A").unflushed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_dated_a_year_ahead_keeps_nothing_in_memory() {
    let mut cluster = Cluster::of(&["A"], 1).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    let year = Duration::from_secs(365 * 86_400);
    let mut command = crate::flush::ship::tests::uploaded_window(&cluster, "A", START).await.unwrap();
    let Command::ShipBlocks { blocks, .. } = &mut command else { panic!("{command:?}") };
    blocks[0].id = Ulid::from_parts(cluster.clock.now_ms() as u64 + year.as_millis() as u64, 7).to_string();
    cluster.propose(command).await;
    cluster.tick("A").await;
    assert_eq!(cluster.counts("A"), flushed(40));
    cluster.clock.advance(cluster.node("A").config.grace);
    cluster.tick("A").await;
    assert_eq!(held(cluster.node("A")), []);
    assert_eq!(cluster.counts("A"), unflushed(0));
}
