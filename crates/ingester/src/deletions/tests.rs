use pharos_model::{Budget, Clock, WriteBatch};
use pharos_transport::Ingest;
use pharos_transport::append::{Action, Appended, ShardTarget};
use pharos_transport::query::ReadView;
use pharos_transport::{Scope, SeriesSource};

use super::*;
use crate::test_cluster::{Cluster, SHARDS, START, WINDOW, batch, flushed, held, in_time, scrape, unflushed, until};
use crate::test_objects::Fault;

fn of_series(ingester: &Ingester, series: u32) -> Vec<i64> {
    held(ingester).into_iter().filter(|(of, ..)| *of == series).map(|(_, t, _)| t).collect()
}

/// The times of a series that blocks show.
fn masked(cluster: &Cluster) -> Vec<bool> {
    let view = cluster.meta.view();
    let known = view.catalogue.tenant(TenantId::default().as_str()).unwrap();
    known.blocks.iter().map(|block| known.is_masked(block)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ingester_deletes_once_and_not_again_after_a_restart() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.catch_up("B");
    cluster.write(&scrape(1)).await;
    cluster.delete(3, 10).await;
    for name in ["A", "B"] {
        assert!(of_series(cluster.node(name), 3).is_empty());
        assert_eq!(held(cluster.node(name)).len(), 39);
    }
    // What comes after it stays, also where it lies within its range.
    cluster.write(&scrape(2)).await;
    for name in ["A", "B"] {
        cluster.stop(name).await;
        cluster.start(name).await;
        assert_eq!(of_series(cluster.node(name), 3), [2]);
    }
    // A node that was away applies it before anything else.
    cluster.stop("B").await;
    cluster.delete(3, 10).await;
    cluster.delete(4, 10).await;
    cluster.start("B").await;
    assert_eq!(of_series(cluster.node("B"), 3), Vec::<i64>::new());
    assert_eq!(of_series(cluster.node("B"), 4), Vec::<i64>::new());
    cluster.write_to("B", &scrape(5)).await;
    cluster.stop("B").await;
    cluster.start("B").await;
    assert_eq!(of_series(cluster.node("B"), 4), [5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_applies_deletions_without_a_write() {
    let mut cluster = Cluster::of(&["A"], 1).await;
    cluster.catch_up("A");
    cluster.write(&scrape(1)).await;
    cluster.record_deletion(3, 10).await;
    until(|| of_series(cluster.node("A"), 3).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_after_a_deletion_stays_on_every_replica() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&scrape(1)).await;
    // No ingester has applied it when the next write comes, which repeats a sample and adds one.
    cluster.record_deletion(3, 10).await;
    cluster.write(&[(3, 1, 4.0), (3, 2, 5.0)]).await;
    for name in ["A", "B"] {
        assert_eq!(of_series(cluster.node(name), 3), [1, 2]);
        cluster.catch_up(name);
    }
    cluster.delete(9, 10).await;
    for name in ["A", "B"] {
        assert_eq!(of_series(cluster.node(name), 3), [1, 2], "the deletion came before them");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_from_before_a_deletion_is_not_taken_after_it() {
    let cluster = Cluster::of(&["A", "B"], 2).await;
    let before = cluster.meta.view();
    cluster.delete(3, 10).await;
    let stale = cluster.try_write_under(&before, &[(3, 1, 1.0)]).await.unwrap_err();
    assert!(stale.starts_with("stale: deletion"), "{stale}");
    for name in ["A", "B"] {
        assert!(held(cluster.node(name)).is_empty());
    }
    cluster.write(&[(3, 1, 1.0)]).await;
    assert_eq!(of_series(cluster.node("B"), 3), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_does_not_learn_of_a_deletion_refuses_the_write() {
    let cluster = Cluster::of(&["A"], 1).await;
    let number = 1 + cluster.record_deletion(3, 10).await;
    let (tenant, batch) = (TenantId::default(), batch(&scrape(1)));
    let targets = [];
    let (deletions, action) = (Some(number), Action::Append);
    let write = crate::replica::Write { tenant: &tenant, batch: &batch, targets: &targets, deletions, action };
    assert!(cluster.node("A").take_in_order(write).await.is_ok(), "it is asked for no shard");
    let late = cluster.node("A").deletions.reach(&tenant, number);
    let error = in_time(late).await.unwrap_err().to_string();
    assert!(error.contains(&format!("up to {}, not yet {number}", number - 1)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_do_not_wait_for_a_flush() {
    let cluster = Cluster::of(&["A"], 1).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    cluster.objects.set_all(Fault::Hang);
    let a = cluster.node("A").clone();
    let flushing = tokio::spawn(async move { a.flush_due().await });
    until(|| cluster.objects.hanging() > 0).await;
    in_time(cluster.delete(3, 10)).await;
    flushing.abort();
    assert_eq!(held(cluster.node("A")).len(), 39);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_alone_deletes_before_it_answers() {
    let cluster = Cluster::of(&["A"], 1).await;
    let (a, tenant) = (cluster.node("A").clone(), TenantId::default());
    Ingest::append(&*a, &tenant, &batch(&scrape(1))).await.unwrap();
    let number = cluster.record_deletion(3, 10).await;
    a.settle(&tenant, number).await.unwrap();
    Ingest::append(&*a, &tenant, &batch(&scrape(2))).await.unwrap();
    assert_eq!(of_series(&a, 3), [2]);
    assert_eq!(held(&a).len(), 79);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_samples_written_again_after_a_deletion_are_flushed_again() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    for name in ["A", "B"] {
        cluster.tick(name).await;
        assert_eq!(cluster.counts(name), flushed(40));
    }
    for series in 0..40 {
        cluster.delete(series, 10).await;
    }
    assert_eq!(masked(&cluster), [true]);
    cluster.write(&scrape(1)).await;
    for name in ["B", "A", "B"] {
        cluster.tick(name).await;
    }
    // Its digest equals the masked block, which contains none of it.
    for name in ["A", "B"] {
        assert_eq!(cluster.counts(name), unflushed(40));
    }
    cluster.clock.set(cluster.clock.now_ms() + WINDOW / 2);
    for name in ["A", "B"] {
        cluster.tick(name).await;
        assert_eq!(cluster.counts(name), flushed(40));
    }
    assert_eq!(masked(&cluster), [true, false]);
    assert_eq!(cluster.blocks()[1].samples, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_was_cut_before_a_deletion_is_masked_by_it() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&scrape(1)).await;
    // The leader has not heard of it when it flushes.
    let number = cluster.record_deletion(3, 10).await;
    cluster.end_window();
    cluster.tick("A").await;
    assert_eq!(masked(&cluster), [true]);
    assert_eq!(cluster.blocks()[0].deletions_seen, Some(0));
    cluster.delete(4, 10).await;
    cluster.write(&scrape(2)).await;
    cluster.clock.set(cluster.clock.now_ms() + WINDOW / 2);
    cluster.tick("A").await;
    assert_eq!(masked(&cluster), [true, false]);
    let seen = cluster.blocks()[1].deletions_seen.unwrap();
    assert!(seen > number);
    let meta = pharos_block::BlockMeta::from_bytes(cluster.blocks()[1].meta.as_bytes()).unwrap();
    assert_eq!(meta.deletions_seen, seen, "the block itself says so, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_do_not_hold_up_flushing() {
    let mut cluster = Cluster::of(&["A"], 1).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    let ship = crate::flush::ship::tests::uploaded_window(&cluster, "A", START).await.unwrap();
    cluster.delete(3, 10).await;
    // The block was uploaded before the deletion, and is committed after it.
    cluster.propose(ship).await;
    assert_eq!(masked(&cluster), [true]);
    cluster.tick("A").await;
    assert_eq!(cluster.counts("A"), flushed(39));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_learner_keeps_samples_from_after_a_deletion() {
    let mut cluster = Cluster::of(&["A"], 2).await;
    cluster.write(&scrape(1)).await;
    cluster.delete(3, 1000).await;
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
async fn a_copy_deletes_nothing_that_was_written_after_the_deletion() {
    let mut cluster = Cluster::of(&["A"], 2).await;
    for t in 0..50 {
        cluster.write(&scrape(t)).await;
    }
    cluster.start("B").await;
    cluster.catch_up("B");
    cluster.add_learner("B").await;
    // While it copies.
    for series in 0..20 {
        cluster.delete(series, 1000).await;
        cluster.write(&[(series, 7, 7.0)]).await;
    }
    cluster.in_sync("B").await;
    for name in ["A", "B"] {
        assert!((0..20).all(|series| of_series(cluster.node(name), series) == [7]), "{name}");
    }
    assert_eq!(held(cluster.node("B")), held(cluster.node("A")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_missed_a_forgotten_deletion_drops_what_it_copies_again() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&scrape(1)).await;
    cluster.stop("B").await;
    cluster.delete(3, 10).await;
    let tenant = TenantId::default();
    let applied = cluster.node("A").head().last_deletion(&tenant);
    cluster.propose(CatalogueCommand::ForgetDeletions { tenant: tenant.as_str().into(), applied }).await;
    assert!(cluster.meta.view().catalogue.tenant(tenant.as_str()).unwrap().deletions.is_empty());
    cluster.start("B").await;
    assert!(held(cluster.node("B")).is_empty());
    cluster.catch_up("B");
    cluster.add_learner("B").await;
    cluster.in_sync("B").await;
    assert_eq!(held(cluster.node("B")).len(), 39);
    assert_eq!(held(cluster.node("B")), held(cluster.node("A")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_in_sync_node_whose_log_may_have_lost_a_forgotten_deletion_drops_what_it_copies_again() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.stop("B").await;
    cluster.wipe("B");
    cluster.start("B").await;
    cluster.write(&scrape(1)).await;
    assert_eq!(held(cluster.node("B")).len(), 40);
    let applied = cluster.record_deletion(3, 10).await;
    let tenant = TenantId::default();
    cluster.propose(CatalogueCommand::ForgetDeletions { tenant: tenant.as_str().into(), applied }).await;
    cluster.stop("B").await;
    cluster.start("B").await;
    let view = cluster.meta.view();
    assert!(view.shards.iter().all(|shard| shard.is_in_sync("B")) && cluster.node("B").head().is_incomplete());
    assert!(held(cluster.node("B")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_knows_a_higher_number_than_the_catalogue_raises_it() {
    let mut cluster = Cluster::of(&["A"], 1).await;
    cluster.write(&scrape(1)).await;
    let (a, tenant) = (cluster.node("A").clone(), TenantId::default());
    // The catalogue was restored from before deletion 50.
    a.head().delete(&tenant, &[], TimeRange::EMPTY, 50).unwrap().wait().unwrap();
    assert_eq!(cluster.meta.view().catalogue.newest_deletion(tenant.as_str()), 0);
    drop(a);
    cluster.catch_up("A");
    cluster.sees(|view| view.catalogue.newest_deletion(tenant.as_str()) == 50).await;
    cluster.write(&scrape(2)).await;
    cluster.delete(3, 10).await;
    assert!(of_series(cluster.node("A"), 3).is_empty(), "a new deletion is not taken for an old one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_knows_a_deletion_does_not_see_what_it_deleted() {
    let cluster = Cluster::of(&["A"], 1).await;
    cluster.write(&scrape(1)).await;
    let number = cluster.record_deletion(3, 10).await;
    let (a, tenant) = (cluster.node("A").clone(), TenantId::default());
    let view = cluster.meta.view();
    let epochs = (0..SHARDS).map(|shard| (shard, view.epoch(shard))).collect();
    let asked = ReadView { deletions: number, epochs, ..ReadView::default() };
    let read = move || {
        a.admit(&tenant, &asked).unwrap();
        let budget = Arc::new(Budget::unlimited());
        let found = a.series(&Scope::all(tenant.clone()), &[], TimeRange::ALL, 0, &budget).unwrap().len();
        let unknown = ReadView { deletions: number + 1, ..asked };
        (found, a.admit(&tenant, &unknown).unwrap_err())
    };
    let (found, refused) = tokio::task::spawn_blocking(read).await.unwrap();
    assert_eq!(found, 39);
    assert_eq!(refused.shards, ShardSet::all(SHARDS));
    assert!(refused.reason.contains(&format!("up to {number}, not yet {}", number + 1)), "{}", refused.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_barrier_applies_deletions_and_appends_nothing() {
    let cluster = Cluster::of(&["A"], 1).await;
    cluster.write(&scrape(1)).await;
    let nothing = WriteBatch::default();
    let number = cluster.record_deletion(3, 10).await;
    let (tenant, targets) = (TenantId::default(), [ShardTarget { shard: 0, epoch: u64::MAX, counted: true }]);
    let (deletions, action) = (Some(number), Action::Append);
    let write = crate::replica::Write { tenant: &tenant, batch: &nothing, targets: &targets, deletions, action };
    let (appended, commit) = cluster.node("A").take_in_order(write).await.unwrap();
    assert_eq!(appended, Appended { refused: Some(Default::default()), ..Appended::default() });
    commit.unwrap().await.unwrap();
    assert_eq!(cluster.node("A").head().last_deletion(&tenant), number);
}
