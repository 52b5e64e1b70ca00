//! A sample ends the same on all replicas: as the leader of its shard decided.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_block::{BlockCache, BlockMeta, BlockReader};
use pharos_head::{SettingsByTenant, TenantLimits, TenantSettings};
use pharos_model::clock::ManualClock;
use pharos_model::{SeriesBatch, TimeRange};
use pharos_transport::append::{Action, Replica, ShardTarget, Shipment};

use crate::test_cluster::{
    Cluster, Point, START, WINDOW, batch, encode, flushed, held, in_time, scrape, shards_of, until, write_targets,
};

const V1: Point = (1, 10, 1.0);
const V2: Point = (1, 10, 2.0);

impl Cluster {
    /// Writes once and returns how many samples were rejected.
    async fn write_once(&self, samples: &[Point]) -> usize {
        self.try_write_under(&self.meta.view(), samples).await.unwrap().rejected.len()
    }

    fn conflicts(&self, name: &str) -> u64 {
        self.node(name).metrics.catchup.conflicts.get()
    }

    /// Sends samples to one replica, as a second step of a write.
    async fn repair(&self, name: &str, samples: &[Point], action: Action) {
        let (view, batch) = (self.meta.view(), batch(samples));
        let targets = write_targets(&view, &shards_of(&batch)).remove(name).unwrap();
        self.send(&view, name, &batch, action, &targets).await.unwrap();
    }
}

/// The samples of all live blocks. Of two at one timestamp the one committed later wins.
async fn in_blocks(cluster: &Cluster) -> Vec<Point> {
    let mut all = BTreeMap::new();
    for entry in cluster.blocks() {
        let meta = BlockMeta::from_bytes(entry.meta.as_bytes()).unwrap();
        let (folder, cache) = (meta.folder(), Arc::new(BlockCache::new(0)));
        let reader = BlockReader::open(cluster.objects.clone(), folder, Arc::new(meta), cache).await.unwrap();
        let selection = reader.select(&[], TimeRange::ALL, 0).await.unwrap();
        let mut out = SeriesBatch::default();
        selection.fetch(0..selection.len(), TimeRange::ALL, &mut out).await.unwrap();
        for (at, labels) in selection.labels().iter().enumerate() {
            let series: u32 = labels.get("series").unwrap().parse().unwrap();
            let view = out.view(at);
            all.extend(view.t.iter().zip(view.v).map(|(t, v)| ((series, t - START), *v)));
        }
    }
    all.into_iter().map(|((series, t), v)| (series, t, v)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_value_never_replaces_an_acknowledged_one() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&[V1]).await;
    cluster.start("C").await;
    cluster.add_learner("C").await;
    assert_eq!(cluster.write_once(&[V2]).await, 1, "those in sync hold another value");
    assert_eq!(held(cluster.node("C")), [], "a learner keeps nothing that those in sync rejected");
    cluster.catch_up("C");
    cluster.in_sync("C").await;
    assert_eq!(held(cluster.node("C")), [V1]);
    assert_eq!(cluster.conflicts("C"), 0);
    cluster.lead("C").await;
    cluster.end_window();
    cluster.tick("C").await;
    assert_eq!(in_blocks(&cluster).await, [V1]);
    for name in ["A", "B"] {
        cluster.tick(name).await;
        assert_eq!(cluster.counts(name), flushed(1), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_replaces_what_a_learner_took_from_a_sender_that_died() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&[V1, (2, 10, 5.0)]).await;
    cluster.start("C").await;
    cluster.add_learner("C").await;
    cluster.write_to("C", &[V2, (2, 10, 5.0)]).await;
    cluster.catch_up("C");
    cluster.in_sync("C").await;
    assert_eq!(held(cluster.node("C")), [V1, (2, 10, 5.0)]);
    assert_eq!(cluster.conflicts("C"), 1, "this test planted one");
    cluster.lead("C").await;
    cluster.end_window();
    cluster.tick("C").await;
    assert_eq!(in_blocks(&cluster).await, [V1, (2, 10, 5.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_replaces_a_value_that_differs_from_the_shipped_one() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&[V1, (2, 10, 5.0)]).await;
    cluster.end_window();
    cluster.tick("A").await;
    cluster.start("C").await;
    cluster.add_learner("C").await;
    // A sender dies before those in sync have rejected its values.
    cluster.write_to("C", &[V2, (2, 10, 5.0), (3, 10, 6.0)]).await;
    cluster.catch_up("C");
    cluster.in_sync("C").await;
    assert_eq!(held(cluster.node("C")), [V1, (2, 10, 5.0), (3, 10, 6.0)]);
    assert_eq!(cluster.conflicts("C"), 1, "this test planted one");
    cluster.lead("C").await;
    cluster.clock.advance(std::time::Duration::from_secs(600));
    cluster.tick("C").await;
    assert!(in_blocks(&cluster).await.contains(&V1));
}

/// It was away while the value was written and shipped.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_has_just_caught_up_refuses_another_value_than_the_shipped_one() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&[V1]).await;
    cluster.end_window();
    cluster.tick("A").await;
    cluster.start("C").await;
    cluster.add_learner("C").await;
    cluster.catch_up("C");
    cluster.in_sync("C").await;
    cluster.lead("C").await;
    assert_eq!(cluster.write_once(&[V2]).await, 1);
    for name in ["A", "B", "C"] {
        assert_eq!(held(cluster.node(name)), [V1], "{name}");
    }
    cluster.clock.advance(std::time::Duration::from_secs(600));
    for name in ["A", "B", "C"] {
        cluster.tick(name).await;
    }
    assert!(in_blocks(&cluster).await.iter().all(|point| *point == V1));
}

/// Has A ship what it holds, and waits until it holds nothing any more.
async fn ship_and_evict(cluster: &mut Cluster) {
    cluster.end_window();
    for _ in 0..2 {
        cluster.tick("A").await;
        cluster.clock.advance(std::time::Duration::from_secs(600));
    }
    assert_eq!(held(cluster.node("A")), []);
}

/// Lets time pass until a node is in sync: it waits until every write that may be under way has ended.
async fn in_sync_later(cluster: &Cluster, name: &str) {
    until(|| {
        cluster.clock.advance(std::time::Duration::from_secs(60));
        cluster.meta.view().shards.iter().all(|shard| shard.is_in_sync(name))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_gives_up_another_value_than_the_one_that_was_shipped_and_evicted() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&[V1]).await;
    cluster.start("C").await;
    cluster.add_learner("C").await;
    // A write that reaches no leader, of a value that all others would refuse.
    cluster.write_to("C", &[V2]).await;
    ship_and_evict(&mut cluster).await;
    cluster.catch_up("C");
    in_sync_later(&cluster, "C").await;
    assert_eq!(held(cluster.node("C")), []);
    cluster.lead("C").await;
    cluster.tick("C").await;
    assert_eq!(in_blocks(&cluster).await, [V1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_keeps_what_the_source_has_lost_with_its_disk() {
    let mut cluster = Cluster::of(&["A"], 1).await;
    cluster.write(&[V1]).await;
    ship_and_evict(&mut cluster).await;
    cluster.start("C").await;
    cluster.add_learner("C").await;
    // It takes the place of the value that is in a block only.
    cluster.write(&[V2]).await;
    cluster.stop("A").await;
    cluster.wipe("A");
    cluster.start("A").await;
    cluster.catch_up("A");
    cluster.catch_up("C");
    in_sync_later(&cluster, "C").await;
    assert_eq!(held(cluster.node("C")), [V2]);
    cluster.lead("C").await;
    cluster.tick("C").await;
    assert_eq!(in_blocks(&cluster).await, [V2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_restarts_keeps_what_a_copy_replaced() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&[V1]).await;
    cluster.start("C").await;
    cluster.add_learner("C").await;
    cluster.write_to("C", &[V2]).await;
    cluster.catch_up("C");
    cluster.in_sync("C").await;
    cluster.stop("C").await;
    cluster.start("C").await;
    assert_eq!(held(cluster.node("C")), [V1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_value_that_the_leader_accepted_first_wins() {
    let cluster = Cluster::of(&["A", "B", "C"], 3).await;
    // A sender dies before all have its value.
    cluster.write_to("B", &[V2]).await;
    assert_eq!(cluster.write_once(&[V1]).await, 0);
    for name in ["A", "B", "C"] {
        assert_eq!(held(cluster.node(name)), [V1], "{name}");
    }
    // It is sent again.
    assert_eq!(cluster.write_once(&[V2]).await, 1);
    assert_eq!(cluster.write_once(&[V1]).await, 0);
    for name in ["A", "B", "C"] {
        assert_eq!(held(cluster.node(name)), [V1], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_agree_when_the_leader_alone_has_a_value_of_a_sender_that_died() {
    let cluster = Cluster::of(&["A", "B", "C"], 3).await;
    cluster.write_to("A", &[V1]).await;
    assert_eq!(cluster.write_once(&[V2]).await, 1);
    assert_eq!(["B", "C"].map(|name| held(cluster.node(name))), [[], []].map(Vec::<Point>::from));
    assert_eq!(cluster.write_once(&[V1]).await, 0);
    assert_eq!(["A", "B", "C"].map(|name| held(cluster.node(name))), [[V1], [V1], [V1]].map(Vec::from));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_leader_decides_what_its_predecessor_left_open() {
    let cluster = Cluster::of(&["A", "B", "C"], 3).await;
    cluster.write_to("A", &[V1]).await;
    cluster.write_to("B", &[V2]).await;
    cluster.lead("B").await;
    assert_eq!(cluster.write_once(&[V2]).await, 0);
    for name in ["A", "B", "C"] {
        assert_eq!(held(cluster.node(name)), [V2], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_is_too_old_for_some_replicas_ends_as_at_the_leader() {
    let cluster = Cluster::of(&["A", "B"], 2).await;
    // Behind the out-of-order window, and behind the hour that samples in order of their series may be late.
    let (new, old) = ((1, 0, 1.0), (2, -11 * WINDOW - 3_600_000, 1.0));
    cluster.write_to("B", &[new]).await;
    assert_eq!(cluster.write_once(&[old]).await, 0);
    assert_eq!(["A", "B"].map(|name| held(cluster.node(name)).contains(&old)), [true, true]);

    let cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write_to("A", &[new]).await;
    assert_eq!(cluster.write_once(&[old]).await, 1);
    assert_eq!(["A", "B"].map(|name| held(cluster.node(name)).contains(&old)), [false, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_beyond_the_limit_of_some_replicas_ends_as_at_the_leader() {
    let series = |sample: Point| -> Vec<Point> { (0..8).map(|series| (series, sample.1, sample.2)).collect() };
    for (limited, rejected) in [("B", 0), ("A", 7)] {
        let cluster = Cluster::of(&["A", "B"], 2).await;
        let limits = TenantLimits { max_series: 1, ..TenantLimits::default() };
        let defaults = TenantSettings { limits, out_of_order_window_ms: 10 * WINDOW, max_exemplars: 0 };
        cluster.node(limited).head().set_settings(SettingsByTenant { defaults, own: Default::default() });
        assert_eq!(cluster.write_once(&series(V1)).await, rejected);
        let samples = ["A", "B"].map(|name| held(cluster.node(name)));
        assert_eq!(samples[0].len(), 8 - rejected);
        assert_eq!(samples[0], samples[1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_in_the_future_of_some_replicas_ends_as_at_the_leader() {
    const DAY: i64 = 86_400_000;
    let ahead = (1, 2 * DAY, 1.0);
    for (leader, rejected) in [("A", 1), ("B", 0)] {
        let mut cluster = Cluster::of(&["A"], 1).await;
        cluster.clock = Arc::new(ManualClock::at(START + 2 * DAY));
        cluster.start("B").await;
        cluster.add_learner("B").await;
        cluster.catch_up("B");
        cluster.in_sync("B").await;
        cluster.lead(leader).await;
        assert_eq!(cluster.write_once(&[ahead]).await, rejected, "{leader} leads");
        assert_eq!(["A", "B"].map(|name| held(cluster.node(name)).len()), [1 - rejected; 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_forced_over_a_shipped_one_is_shipped_again() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    cluster.write(&[V1]).await;
    cluster.end_window();
    cluster.tick("A").await;
    cluster.tick("B").await;
    assert_eq!(cluster.counts("B"), flushed(1));
    cluster.repair("B", &[V2], Action::Force).await;
    cluster.repair("B", &[V2], Action::Retract).await;
    assert_eq!(held(cluster.node("B")), [], "a value that was forced is not flushed and can be retracted");
    cluster.repair("B", &[V2], Action::Force).await;
    cluster.lead("B").await;
    cluster.clock.advance(std::time::Duration::from_secs(600));
    cluster.tick("B").await;
    assert_eq!(in_blocks(&cluster).await, [V2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_with_different_values_end_with_one_value_on_all_replicas() {
    let cluster = Arc::new(Cluster::of(&["A", "B", "C"], 3).await);
    for round in 0..10 {
        let send = |sender: usize| {
            let cluster = cluster.clone();
            tokio::spawn(async move {
                let samples: Vec<Point> = (0..40).map(|series| (series, round, sender as f64)).collect();
                let view = cluster.meta.view();
                let written = cluster.try_write_in_order(&view, &samples, |nodes| nodes.rotate_left(sender)).await;
                written.unwrap().accepted
            })
        };
        let senders = [0, 1, 2].map(send);
        let mut accepted = Vec::new();
        for sender in senders {
            accepted.extend(in_time(sender).await.unwrap());
        }
        accepted.sort_by_key(|(series, ..)| *series);
        let series: Vec<u32> = accepted.iter().map(|(series, ..)| *series).collect();
        assert_eq!(series, (0..40).collect::<Vec<_>>(), "each sample is acknowledged once");
        for name in ["A", "B", "C"] {
            let of_round: Vec<_> = held(cluster.node(name)).into_iter().filter(|(_, t, _)| *t == round).collect();
            assert_eq!(of_round, accepted, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_does_not_bring_back_what_was_overruled_meanwhile() {
    let mut cluster = Cluster::of(&["A", "B"], 2).await;
    let (kept, gone) = ((1, 10, 3.0), (2, 10, 4.0));
    // The source has read these before the leader's decision reaches it.
    cluster.write_to("A", &[V1, gone]).await;
    cluster.start("C").await;
    cluster.add_learner("C").await;
    cluster.write_to("C", &[V1, gone]).await;
    cluster.repair("C", &[kept], Action::Force).await;
    cluster.repair("C", &[gone], Action::Retract).await;
    cluster.catch_up("C");
    cluster.in_sync("C").await;
    assert_eq!(held(cluster.node("C")), [kept]);
    assert_eq!(cluster.conflicts("C"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_are_forced_and_retracted_in_process_and_by_grpc() {
    let cluster = Cluster::of(&["A", "B"], 2).await;
    let client = cluster.client("A");
    let replicas: [&dyn Replica; 2] = [&client, &**cluster.node("B")];
    let (first, second) = (scrape(1), scrape(1).into_iter().map(|(s, t, v)| (s, t, v + 1.0)).collect::<Vec<_>>());
    let epoch = cluster.meta.view().epoch(0);
    for (replica, name) in replicas.into_iter().zip(["A", "B"]) {
        let tenant = pharos_model::TenantId::default();
        let send = async |samples: &[Point], action, epoch| {
            let batch = batch(samples);
            let targets: Vec<_> =
                shards_of(&batch).iter().map(|shard| ShardTarget { shard, epoch, counted: false }).collect();
            let (deletions, shards) = (None, encode(&batch));
            let shipment = Shipment { action, tenant: &tenant, batch: &batch, deletions, shards };
            replica.append(&shipment, &targets).await.unwrap()
        };
        let refused = |appended: pharos_transport::append::Appended| -> usize {
            appended.refused.unwrap().values().map(Vec::len).sum()
        };
        assert_eq!(refused(send(&first, Action::Append, epoch).await), 0);
        assert_eq!(refused(send(&second, Action::Append, epoch).await), 40);
        assert_eq!(send(&second, Action::Force, epoch - 1).await.stale.len(), 4);
        assert_eq!(held(cluster.node(name)), first);
        assert_eq!(refused(send(&second, Action::Force, epoch).await), 0);
        assert_eq!(held(cluster.node(name)), second);
        send(&first, Action::Retract, epoch).await;
        assert_eq!(send(&second, Action::Retract, epoch - 1).await.stale.len(), 4);
        assert_eq!(held(cluster.node(name)), second);
        send(&second, Action::Retract, epoch).await;
        assert_eq!(held(cluster.node(name)), []);
    }
}
