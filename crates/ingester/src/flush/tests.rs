//! Fair turns: what fails or hangs for one tenant or window holds up nobody else.

use std::time::Duration;

use object_store::path::Path;
use pharos_model::{Sample, WriteBatch};

use super::*;
use crate::test_cluster::{Cluster, START, WINDOW, batch_of, flushed, held, in_time, labels, scrape, unflushed, until};
use crate::test_objects::Fault;

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

async fn write_as(cluster: &Cluster, tenant: &TenantId, samples: &[(u32, i64, f64)]) {
    let (_, commit) = cluster.node("A").head().append(tenant, &batch_of(tenant, samples)).unwrap();
    commit.await.unwrap();
}

fn unflushed_of(cluster: &Cluster, tenant: &TenantId) -> u64 {
    cluster.node("A").head().windows(tenant).iter().map(|w| w.unflushed_samples).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_cannot_be_flushed_stops_nobody_else() {
    let tenants = ["a", "b", "c", "d", "e", "f"].map(tenant);
    for bad in [&tenants[0], &tenants[5]] {
        let cluster = Cluster::of(&["A"], 1).await;
        for tenant in &tenants {
            write_as(&cluster, tenant, &scrape(1)).await;
        }
        cluster.end_window();
        cluster.objects.set_for_tenant(bad.as_str(), Fault::Fail);
        let failed = cluster.node("A").flush_due().await;
        assert!(matches!(failed, Err(FlushError::Block { .. })), "{failed:?}");
        for tenant in &tenants {
            assert_eq!(cluster.blocks_of(tenant).len(), usize::from(tenant != bad), "{tenant}");
        }
        assert_eq!(unflushed_of(&cluster, bad), 40);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_cannot_be_flushed_stops_no_other_window() {
    let cluster = Cluster::of(&["A"], 1).await;
    let only = TenantId::default();
    write_as(&cluster, &only, &scrape(1)).await;
    write_as(&cluster, &only, &scrape(WINDOW + 1)).await;
    cluster.clock.set(START + 3 * WINDOW);
    // The first upload fails whenever it is tried, by the name of its block.
    let first = Arc::new(Mutex::new(None::<String>));
    cluster.objects.set(move |path: &Path| {
        let block = path.as_ref().split('/').nth(2).unwrap_or_default().to_string();
        if *first.lock().get_or_insert(block.clone()) == block { Fault::Fail } else { Fault::None }
    });
    cluster.node("A").flush_due().await.unwrap_err();
    assert_eq!(unflushed_of(&cluster, &only), 80, "the tenant backs off");
    cluster.node("A").flush_due().await.unwrap();
    assert_eq!(unflushed_of(&cluster, &only), 40, "the other window comes first");
    cluster.clock.advance(Duration::from_secs(1));
    cluster.node("A").flush_due().await.unwrap();
    assert_eq!(unflushed_of(&cluster, &only), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_upload_holds_up_neither_other_tenants_nor_drops() {
    let cluster = Cluster::of(&["A"], 1).await;
    let [hangs, other, old] = ["a", "b", "c"].map(tenant);
    write_as(&cluster, &old, &scrape(1)).await;
    cluster.end_window();
    cluster.node("A").flush_due().await.unwrap();
    for tenant in [&hangs, &other] {
        write_as(&cluster, tenant, &scrape(1)).await;
    }
    cluster.objects.set_for_tenant("a", Fault::Hang);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(run(cluster.node("A").clone(), stopped));
    cluster.clock.advance(Duration::from_secs(120));
    until(|| cluster.blocks_of(&other).len() == 1).await;
    until(|| cluster.node("A").head().windows(&old).iter().all(|w| w.flushed_samples == 0)).await;
    assert_eq!(unflushed_of(&cluster, &hangs), 40);
    cluster.objects.set_all(Fault::None);
    until(|| unflushed_of(&cluster, &hangs) == 0).await;
    stop.send_replace(true);
    in_time(running).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_catches_up_while_an_upload_hangs() {
    let mut cluster = Cluster::of(&["A"], 2).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    cluster.objects.set_all(Fault::Hang);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(run(cluster.node("A").clone(), stopped));
    until(|| cluster.objects.hanging() > 0).await;
    cluster.write(&scrape(2)).await;
    cluster.start("B").await;
    cluster.catch_up("B");
    cluster.add_learner("B").await;
    cluster.in_sync("B").await;
    assert_eq!(held(cluster.node("B")), held(cluster.node("A")));
    assert_eq!(cluster.blocks().len(), 0);
    stop.send_replace(true);
    in_time(running).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_samples_leave_memory_while_the_object_store_is_away() {
    let mut cluster = Cluster::of(&["A"], 1).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    cluster.tick("A").await;
    cluster.write(&scrape(2 * WINDOW + 1)).await;
    cluster.objects.set_all(Fault::Fail);
    cluster.clock.set(START + 4 * WINDOW);
    cluster.node("A").flush_due().await.unwrap_err();
    assert_eq!(cluster.counts("A"), unflushed(40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_of_more_than_a_million_samples_is_flushed_and_read_back() {
    let mut cluster = Cluster::with_window(&["A"], 1, 7_200_000).await;
    let (only, n) = (TenantId::default(), 1_000_001i64);
    let mut batch = WriteBatch::default();
    batch.begin_series(&only, |out| out.extend_from_slice(labels(1).as_bytes()));
    batch.samples.extend((0..n).map(|t| Sample { t: START + t, v: (t % 100) as f64, st: 0 }));
    batch.finish_series();
    let (_, commit) = cluster.node("A").head().append(&only, &batch).unwrap();
    commit.await.unwrap();
    cluster.clock.set(START + 3 * 7_200_000);
    cluster.tick("A").await;
    let stored = cluster.in_blocks(&only).await;
    assert_eq!(stored.len(), n as usize);
    assert_eq!(stored[&(1, n - 1)], ((n - 1) % 100) as f64);
    assert_eq!(cluster.counts("A"), flushed(n as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_flushes_every_tenant_that_it_can() {
    let cluster = Cluster::of(&["A"], 1).await;
    let tenants = ["a", "b", "c"].map(tenant);
    for tenant in &tenants {
        write_as(&cluster, tenant, &scrape(1)).await;
    }
    cluster.objects.set_for_tenant("b", Fault::Fail);
    cluster.node("A").flush_all().await.unwrap_err();
    let blocks = tenants.iter().map(|tenant| cluster.blocks_of(tenant).len());
    assert_eq!(blocks.collect::<Vec<_>>(), [1, 0, 1]);
}
