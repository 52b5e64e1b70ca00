//! Flushing in a cluster: leaders ship, others find what they have in blocks, and neither changes of leaders nor crashes lose
//! anything.

use std::sync::Arc;

use object_store::ObjectStoreExt;
use pharos_model::{Clock, Sample, TenantId, WriteBatch};
use pharos_transport::query::ReadError;
use pharos_transport::{Scope, SeriesSource};

use super::*;
use crate::Ingester;
use crate::test_cluster::{Cluster, SHARDS, START, WINDOW, batch, flushed, held, scrape, unflushed};

/// The sum of what blocks hold, over all shards.
fn digest_of(blocks: &[Arc<BlockEntry>]) -> ShardDigest {
    let mut sum = ShardDigest::default();
    blocks.iter().flat_map(|block| &block.digests).for_each(|digest| sum.absorb(digest.held));
    sum
}

/// The digest of samples.
fn digest(samples: &[(u32, i64, f64)]) -> ShardDigest {
    let batch: WriteBatch = batch(samples);
    let mut digest = ShardDigest::default();
    for series in batch.series() {
        let add = |s: &Sample| digest.add(series.hash, s.t, s.v.to_bits());
        batch.samples_of(series).iter().for_each(add);
    }
    digest
}

fn complete_from(ingester: &Ingester) -> i64 {
    let scope = Scope::all(TenantId::default());
    ingester.completeness(&scope, std::time::Duration::from_secs(1)).unwrap().from
}

/// Cuts the first window on a node and uploads it, as `ship` does up to the commit.
async fn uploaded(cluster: &Cluster, name: &str) -> PendingCommit {
    let (ingester, view) = (cluster.node(name), cluster.meta.view());
    let cut = ingester.head.cut(&TenantId::default(), START, &ingester.led_in(&view));
    ingester.head.commit().await.unwrap();
    let command = upload(ingester, &view, &cut, !cluster.blocks().is_empty()).await.unwrap();
    PendingCommit { command, number: cut.number(), shards: cut.shards().clone(), uploaded: ingester.clock.monotonic() }
}

/// Ships shards of the first window that a node led in a view.
async fn ship_under(ingester: &Arc<Ingester>, view: &View) -> Shipped {
    let tenant = TenantId::default();
    let of = ingester.flush_of(&tenant);
    let at = Flushing { ingester, tenant: &tenant, known: of.known() };
    ship(&at, view, START, ingester.led_in(view), false, &mut PendingCommits::new()).await.unwrap()
}

/// Leaves a commit of the first window unanswered.
async fn leave_pending(ingester: &Ingester, block: PendingCommit) {
    ingester.flush_of(&TenantId::default()).work.lock().await.pending.insert(START, block);
}

/// The command that commits the cut of a window, after it was uploaded; none when there is nothing to ship.
pub(crate) async fn uploaded_window(cluster: &Cluster, name: &str, window: i64) -> Option<Command> {
    let (ingester, view) = (cluster.node(name), cluster.meta.view());
    let led = ingester.led_in(&view);
    let known = ingester.head.windows(&TenantId::default()).into_iter().find(|w| w.start == window)?;
    let covered = WindowBlocks::of(view.catalogue.tenant(TenantId::default().as_str()), &known).covered();
    let (main, late) = (led.difference(&covered), led.intersection(&covered));
    let shards = if known.unflushed().is_disjoint(&main) { late } else { main };
    if known.unflushed().is_disjoint(&shards) {
        return None;
    }
    let delta = !shards.is_disjoint(&covered);
    let cut = ingester.head.cut(&TenantId::default(), window, &shards);
    ingester.head.commit().await.unwrap();
    upload(ingester, &view, &cut, delta).await
}

async fn upload(ingester: &Arc<Ingester>, view: &View, cut: &WindowCut, delta: bool) -> Option<Command> {
    let written = block::write(ingester, cut).unwrap();
    if written.block.meta.series == 0 {
        return None;
    }
    pharos_block::upload(&*ingester.objects, &written.block.meta.folder(), &written.block).await.unwrap();
    Some(Command::ShipBlocks {
        node: ingester.config.identity.clone(),
        cut: cut.shards().iter().map(|shard| (shard, view.epoch(shard))).collect(),
        tenant: TenantId::default().as_str().into(),
        blocks: vec![block::entry(ingester, cut, &written, delta, &BTreeMap::new())],
        deletions: cut.deletions(),
        as_replica: false,
    })
}

/// What a node says to a question that counts on everything from a timestamp on.
fn covers(ingester: &Ingester, required_from: Option<i64>) -> Result<(), ReadError> {
    let shards = Some(Arc::new(ShardSet::all(SHARDS)));
    let scope = Scope { shards, ..Scope::all(TenantId::default()) }.requiring_from(required_from);
    ingester.covers(&scope, std::time::Duration::from_secs(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_refuses_queries_that_rely_on_more_than_it_has() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    for name in ["B", "A", "B"] {
        cluster.tick(name).await;
    }
    for name in ["A", "B"] {
        for required_from in [None, Some(i64::MIN), Some(START)] {
            assert!(covers(cluster.node(name), required_from).is_ok(), "{name} has everything");
        }
    }
    // The grace period ends on A, and B is still to let go: it has the samples, and does not promise that they stay.
    cluster.clock.set(cluster.clock.now_ms() + 2 * WINDOW);
    cluster.tick("A").await;
    let from = complete_from(cluster.node("A"));
    assert!(from > START && from < i64::MAX, "{from}");
    for name in ["A", "B"] {
        for required_from in [None, Some(from), Some(from + 1), Some(START + WINDOW), Some(i64::MAX)] {
            assert!(covers(cluster.node(name), required_from).is_ok(), "{name} {required_from:?}");
        }
        for required_from in [i64::MIN, START, from - 1] {
            let error = covers(cluster.node(name), Some(required_from)).unwrap_err();
            let ReadError::Refused(refused) = error else { panic!("{error:?}") };
            assert_eq!(refused.shards, ShardSet::all(SHARDS));
            assert_eq!(refused.complete.map(|complete| complete.from), Some(from));
            assert!(refused.reason.ends_with(&format!("not from {required_from}")), "{}", refused.reason);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_flush_and_replicas_drop_after_the_grace_period() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&scrape(1)).await;
    cluster.write(&scrape(2)).await;
    cluster.end_window();
    for name in ["B", "A", "B"] {
        cluster.tick(name).await;
    }
    let blocks = cluster.blocks();
    assert_eq!(blocks.len(), 1);
    assert_eq!(digest_of(&blocks), digest(&[scrape(1), scrape(2)].concat()));
    for name in ["A", "B"] {
        assert_eq!(cluster.counts(name), flushed(80));
        assert_eq!(complete_from(cluster.node(name)), i64::MIN, "all of the block is in memory");
    }
    // Late samples become a delta.
    cluster.write(&scrape(3)).await;
    cluster.clock.set(cluster.clock.now_ms() + WINDOW / 4);
    for name in ["B", "A", "B"] {
        cluster.tick(name).await;
        assert_eq!(complete_from(cluster.node(name)), i64::MIN);
    }
    let blocks = cluster.blocks();
    assert_eq!(blocks.len(), 2);
    assert!(blocks[1].delta);
    assert_eq!(blocks[1].samples, 40);
    assert_eq!(cluster.counts("A"), flushed(120));
    assert_eq!(cluster.counts("B"), flushed(120));
    cluster.clock.set(cluster.clock.now_ms() + WINDOW);
    for name in ["A", "B"] {
        cluster.tick(name).await;
        assert_eq!(held(cluster.node(name)), []);
        assert!(complete_from(cluster.node(name)) > START);
    }
    assert_eq!(cluster.blocks().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_leaders_of_a_window_flush_their_own_shards() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.propose(Command::SetLeader { shard: 1, node: "B".into() }).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    for name in ["A", "B", "A"] {
        cluster.tick(name).await;
    }
    let blocks = cluster.blocks();
    assert_eq!(blocks.len(), 2);
    assert_eq!(digest_of(&blocks), digest(&scrape(1)));
    assert!(blocks.iter().all(|block| !block.delta) && blocks[1].shards == [1]);
    assert_eq!(cluster.counts("A"), flushed(40));
    assert_eq!(cluster.counts("B"), flushed(40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_by_a_replaced_leader_is_discarded() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    let before = cluster.meta.view();
    cluster.lead("B").await;
    let a = cluster.node("A").clone();
    let refused = ship_under(&a, &before).await;
    assert!(matches!(refused, Shipped::Refused(Refusal::NotLeader { .. })), "{refused:?}");
    assert_eq!(cluster.blocks().len(), 0);
    assert_eq!(cluster.counts("A"), unflushed(40));
    // Nor when it leads again: the other may have shipped in between.
    cluster.lead("A").await;
    assert!(matches!(ship_under(&a, &before).await, Shipped::Refused(_)));
    assert_eq!(cluster.blocks().len(), 0);
    assert_eq!(a.metrics.refused.get(), 2);
    cluster.lead("B").await;
    for name in ["A", "B", "A"] {
        cluster.tick(name).await;
    }
    assert_eq!(digest_of(&cluster.blocks()), digest(&scrape(1)));
    assert_eq!(cluster.counts("A"), flushed(40));
    assert_eq!(cluster.counts("B"), flushed(40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_commit_and_mark_flushes_nothing_twice() {
    let mut cluster = Cluster::of(&["A"], 1).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    let block = uploaded(&cluster, "A").await;
    cluster.propose(block.command).await;
    cluster.write(&scrape(2)).await;
    cluster.stop("A").await;
    cluster.start("A").await;
    cluster.clock.set(cluster.clock.now_ms() + WINDOW / 4);
    cluster.tick("A").await;
    let blocks = cluster.blocks();
    assert_eq!(blocks.len(), 2, "only what was not in the first");
    assert_eq!(blocks[1].samples, 40, "only what was not in the first");
    assert_eq!(digest_of(&blocks), digest(&[scrape(1), scrape(2)].concat()));
    assert_eq!(cluster.counts("A"), flushed(80));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_upload_and_commit_leaves_garbage_only() {
    let mut cluster = Cluster::of(&["A"], 1).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    drop(uploaded(&cluster, "A").await);
    cluster.stop("A").await;
    cluster.start("A").await;
    cluster.clock.set(cluster.clock.now_ms() + WINDOW / 4);
    cluster.tick("A").await;
    assert_eq!(cluster.blocks().len(), 1);
    assert_eq!(digest_of(&cluster.blocks()), digest(&scrape(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_commit_is_repeated_before_another_cut() {
    let mut cluster = Cluster::of(&["A"], 1).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    // It took effect, and nobody knows.
    let block = uploaded(&cluster, "A").await;
    cluster.propose(block.command.clone()).await;
    leave_pending(cluster.node("A"), block).await;
    cluster.tick("A").await;
    assert_eq!(cluster.blocks().len(), 1);
    assert_eq!(cluster.counts("A"), flushed(40));
    // It did not, and is sent again, before anything else is.
    cluster.write(&scrape(2)).await;
    let block = uploaded(&cluster, "A").await;
    leave_pending(cluster.node("A"), block).await;
    cluster.write(&scrape(3)).await;
    cluster.clock.set(cluster.clock.now_ms() + WINDOW / 4);
    cluster.tick("A").await;
    let blocks = cluster.blocks();
    assert_eq!(digest_of(&blocks), digest(&[scrape(1), scrape(2), scrape(3)].concat()));
    assert_eq!(blocks.len(), 3);
    assert_eq!(cluster.counts("A"), flushed(120));
    let flush = cluster.node("A").flush_of(&TenantId::default());
    assert!(flush.work.lock().await.pending.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_repeated_late_is_made_only_of_files_that_are_still_there() {
    for lost in [false, true] {
        let mut cluster = Cluster::of(&["A"], 1).await;
        cluster.write(&scrape(1)).await;
        cluster.end_window();
        let block = uploaded(&cluster, "A").await;
        let Command::ShipBlocks { blocks, .. } = &block.command else { panic!("{:?}", block.command) };
        let (id, meta) = (blocks[0].id.clone(), BlockMeta::from_bytes(blocks[0].meta.as_bytes()).unwrap());
        leave_pending(cluster.node("A"), block).await;
        cluster.clock.advance(TRUSTED_UPLOAD_AGE);
        if lost {
            // Garbage collection took it for abandoned.
            cluster.objects.inner.delete(&meta.folder().join("series.parquet")).await.unwrap();
        }
        cluster.tick("A").await;
        let blocks = cluster.blocks();
        assert_eq!(blocks.len(), 1);
        assert_eq!(blocks[0].id == id, !lost);
        assert_eq!(cluster.in_blocks(&TenantId::default()).await.len(), 40, "and it can be read");
        assert_eq!(cluster.counts("A"), flushed(40));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_flushes_nothing_that_its_predecessor_flushed() {
    let mut cluster = Cluster::of(&["A", "B", "C"], 3).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    cluster.tick("A").await;
    cluster.stop("A").await;
    cluster.lead("B").await;
    for name in ["B", "C"] {
        cluster.tick(name).await;
        assert_eq!(cluster.counts(name), flushed(40));
    }
    assert_eq!(cluster.blocks().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_flushes_what_it_cannot_match_and_claims_nothing_that_it_lacks() {
    let mut cluster = Cluster::of(&["A", "B"], 3).await;
    cluster.write(&scrape(1)).await;
    cluster.end_window();
    for name in ["A", "B"] {
        cluster.tick(name).await;
    }
    cluster.clock.advance(Duration::from_secs(600));
    for name in ["A", "B"] {
        cluster.tick(name).await;
        assert_eq!(held(cluster.node(name)), [], "the window has left memory");
    }
    // C learns when there is only the block, and gets late samples.
    cluster.start("C").await;
    cluster.catch_up("C");
    cluster.add_learner("C").await;
    cluster.in_sync("C").await;
    cluster.write(&scrape(2)).await;
    assert_eq!(held(cluster.node("C")).len(), 40);
    assert!(complete_from(cluster.node("C")) > START, "it has nothing of the block");
    cluster.lead("C").await;
    cluster.clock.set(cluster.clock.now_ms() + WINDOW / 4);
    for name in ["A", "C", "A", "B"] {
        cluster.tick(name).await;
    }
    let blocks = cluster.blocks();
    assert_eq!(blocks.len(), 2);
    assert_eq!(digest_of(&blocks), digest(&[scrape(1), scrape(2)].concat()));
    for name in ["A", "B", "C"] {
        assert_eq!(cluster.counts(name), flushed(40));
        assert!(complete_from(cluster.node(name)) > START);
    }
}
