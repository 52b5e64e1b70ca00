//! Reads over a cluster of fake nodes: every sample once, even when nodes fail, hang, refuse or are unreachable.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pharos_cluster::{
    CatalogueCommand, ClusterState, Command, Member, MemberState, Placement, Role, Settings, Unproven, View,
};
use pharos_model::{Labels, Matcher, SelectError, SelectRequest, SeriesBatch, ShardSet, TimeRange};
use pharos_promql::Querier;
use pharos_testkit::{blocking, budget};
use pharos_transport::Scope;
use pharos_transport::query::{
    NewerView, Read, ReadCompleteness, ReadError, ReadExemplars, ReadMetadata, ReadNames, ReadSeries,
};

use super::fakes::*;
use super::node::{LocalNode, Node};
use super::nodes::read_view;
use crate::fanout::TenantQuerier;
use crate::{DispatchMetrics, StaleReads};

const DAY: i64 = 86_400_000;

/// Series of three days with a sample each hour.
fn series() -> Vec<Series> {
    let of = |i: usize| {
        let labels = Labels::from_pairs([("__name__", "x".to_string()), ("i", format!("{i:03}"))]);
        (labels, (0..72).map(|h| (h * 3_600_000, Value::Float((i * 1000) as f64 + h as f64))).collect())
    };
    (0..60).map(of).collect()
}

/// The last six hours are in ingesters only, the twelve hours before in both.
fn cluster() -> FakeCluster {
    FakeCluster::new(&series(), 2, 54 * 3_600_000, 66 * 3_600_000)
}

type Found = Vec<(Labels, Vec<(i64, f64)>)>;

fn read(querier: &dyn Querier, range: TimeRange) -> Result<Found, SelectError> {
    let request = SelectRequest { matchers: Vec::new(), range, max_series: 0 };
    let set = querier.select(&request, &budget())?;
    let mut batch = SeriesBatch::default();
    let middle = set.labels().len() / 2;
    set.fetch(0..middle, range, &mut batch)?;
    set.fetch(middle..set.labels().len(), range, &mut batch)?;
    let samples = |at: usize| {
        let view = batch.view(at);
        view.t.iter().copied().zip(view.v.iter().copied()).collect()
    };
    Ok(set.labels().iter().enumerate().map(|(at, labels)| (labels.clone(), samples(at))).collect())
}

/// Reads through a frontend and compares with all samples.
async fn check(cluster: &FakeCluster, identity: &str) {
    let fanout = cluster.frontend(identity);
    check_with(cluster, &fanout).await;
}

async fn check_with(cluster: &FakeCluster, fanout: &crate::Fanout) {
    for range in
        [TimeRange::new(0, 72 * 3_600_000), TimeRange::new(60 * 3_600_000, i64::MAX), TimeRange::new(DAY / 2, DAY)]
    {
        let (querier, all) = (fanout.of_tenant(tenant()).await.unwrap(), cluster.all.clone());
        blocking(move || {
            let whole = read(&all, range).unwrap();
            let found = read(&querier, range).unwrap();
            assert_eq!(found.len(), whole.len());
            for (found, whole) in found.iter().zip(&whole) {
                assert_eq!(found, whole, "{range:?}");
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shard_and_store_range_is_read_from_one_node() {
    let cluster = cluster();
    let fanout = cluster.frontend("f1");
    let querier = fanout.of_tenant(tenant()).await.unwrap();
    blocking(move || read(&querier, TimeRange::new(0, 72 * 3_600_000)).unwrap()).await;
    let mut shards: Vec<u32> = Vec::new();
    let mut time = 0;
    for (name, source) in &cluster.sources {
        for (asked, range) in source.asked.lock().iter() {
            match asked {
                Some(asked) => shards.extend(asked.iter()),
                None => time += range.end - range.start + 1,
            }
        }
        let asked = source.asked.lock().len();
        assert!(name.starts_with('s') || asked == 1, "one request a node: {name} {asked}");
        let versions: Vec<u64> = source.views.lock().iter().map(|view| view.version).collect();
        assert!(versions.iter().all(|version| *version == cluster.views.borrow().version), "{versions:?}");
    }
    shards.sort_unstable();
    assert_eq!(shards, (0..12).collect::<Vec<_>>());
    assert_eq!(time, 54 * 3_600_000, "stores read the time that ingesters may lack, once");
    check(&cluster, "f1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_replica_is_preferred() {
    let cluster = cluster();
    check(&cluster, "i1").await;
    let of_other = |name: &str| -> ShardSet {
        let asked = cluster.sources[name].asked.lock();
        asked.iter().filter_map(|(shards, _)| shards.clone()).fold(ShardSet::new(), |a, b| a.union(&b))
    };
    let local = of_other("i1");
    assert_eq!(local.len(), 8, "two thirds of the shards are here");
    assert!(of_other("i2").is_disjoint(&local) && of_other("i3").is_disjoint(&local));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_fail_over_to_other_nodes() {
    for fault in [Fault::Fails, Fault::Refuses, Fault::FailsToFetch, Fault::Hangs, Fault::HangsToFetch] {
        for node in ["i2", "s1"] {
            let cluster = cluster();
            cluster.set_fault(node, fault);
            check(&cluster, "f1").await;
        }
    }
    let cluster = cluster();
    cluster.network.cut_off("i3:7946");
    cluster.network.cut_off("s2:7946");
    check(&cluster, "f1").await;
    assert_eq!(cluster.answers()["i3"] + cluster.answers()["s2"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_counted_by_their_outcome() {
    let counts = |cluster: &FakeCluster| {
        let DispatchMetrics { asked, hedged, overtaken, refused, unanswered, missing, .. } = &cluster.metrics;
        assert!(
            asked.get() >= 3 + unanswered.get() + refused.get(),
            "a failed read is counted, and so is the one that replaces it"
        );
        assert_eq!(missing.get(), 0);
        [hedged, overtaken, refused, unanswered].map(|counter| counter.get() > 0)
    };
    for (fault, expected) in [
        (Fault::Refuses, [false, false, true, false]),
        (Fault::Fails, [false, false, false, true]),
        (Fault::Hangs, [true, true, false, false]),
    ] {
        let cluster = cluster();
        cluster.set_fault("i2", fault);
        check(&cluster, "f1").await;
        let counts = counts(&cluster);
        // On a busy machine any read may be hedged.
        let as_expected = counts[2..] == expected[2..] && counts[..2] >= expected[..2];
        assert!(as_expected, "{fault:?}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_failed_is_read_last_for_a_while() {
    let cluster = cluster();
    let fanout = cluster.frontend("f1");
    cluster.set_fault("i2", Fault::Fails);
    check_with(&cluster, &fanout).await;
    cluster.set_fault("i2", Fault::None);
    check_with(&cluster, &fanout).await;
    assert_eq!(cluster.answers()["i2"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_replica_a_read_fails_and_names_the_shards() {
    let cluster = FakeCluster::new(&series(), 1, 54 * 3_600_000, 66 * 3_600_000);
    cluster.set_fault("i2", Fault::Fails);
    let fanout = cluster.frontend("f1");
    let range = TimeRange::new(60 * 3_600_000, 72 * 3_600_000);
    let querier = fanout.of_tenant(tenant()).await.unwrap();
    let error = blocking(move || read(&querier, range).unwrap_err()).await.to_string();
    assert!(error.starts_with("no replica of shards 1,4,7,10 can answer") && error.contains("disk broken"), "{error}");
    let querier = fanout.of_tenant(tenant()).await.unwrap().partial(true);
    let (found, querier): (Found, TenantQuerier) = blocking(move || (read(&querier, range).unwrap(), querier)).await;
    let warnings = querier.warnings();
    assert!(warnings.iter().any(|w| w.contains("shards 1,4,7,10")), "{warnings:?}");
    let whole = blocking({
        let all = cluster.all.clone();
        move || read(&all, range).unwrap()
    })
    .await;
    let recent: Vec<_> = found.iter().filter(|(_, s)| s.last().is_some_and(|(t, _)| *t == 71 * 3_600_000)).collect();
    assert!(!recent.is_empty() && recent.len() < whole.len(), "{} of {}", recent.len(), whole.len());
    assert!(fanout.of_tenant(tenant()).await.unwrap().warnings().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_store_older_samples_are_unavailable() {
    let cluster = cluster();
    cluster.network.cut_off("s1:7946");
    cluster.network.cut_off("s2:7946");
    let fanout = cluster.frontend("f1");
    let querier = fanout.of_tenant(tenant()).await.unwrap();
    let error = blocking(move || read(&querier, TimeRange::new(0, DAY)).unwrap_err()).await.to_string();
    assert!(error.contains("no store can answer") && error.contains("is unreachable"), "{error}");
    let querier = fanout.of_tenant(tenant()).await.unwrap();
    let recent = TimeRange::new(54 * 3_600_000, 72 * 3_600_000);
    assert_eq!(blocking(move || read(&querier, recent).unwrap()).await.len(), 60, "stores are not read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_is_retried_under_a_newer_view_when_all_replicas_refuse() {
    let cluster = Arc::new(FakeCluster::new(&series(), 2, i64::MIN, 66 * 3_600_000));
    for node in ["i1", "i2", "i3"] {
        cluster.set_fault(node, Fault::Refuses);
    }
    let fanout = cluster.frontend("f1");
    let querier = fanout.of_tenant(tenant()).await.unwrap();
    let range = TimeRange::new(0, DAY);
    let dispatcher = tokio::spawn(blocking(move || read(&querier, range)));
    let refused = cluster.clone();
    blocking(move || {
        while refused.sources["i1"].views.lock().len() < 2 {
            std::thread::yield_now()
        }
    })
    .await;
    for node in ["i1", "i2", "i3"] {
        cluster.set_fault(node, Fault::None);
    }
    cluster.change(&Command::SetMemberState { node: "f1".into(), state: MemberState::Draining, at_ms: 1 });
    let found = dispatcher.await.unwrap();
    assert_eq!(found.map(|found| found.len()).map_err(|e| e.to_string()), Ok(60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_is_repeated_under_the_view_that_a_node_names() {
    let cluster = Arc::new(cluster());
    let fanout = cluster.frontend("f1");
    let old = cluster.views.borrow().version;
    *cluster.sources["i3"].newest_view.lock() = Some(old + 1);
    let querier = fanout.of_tenant(tenant()).await.unwrap();
    let reading = tokio::spawn(blocking(move || read(&querier, TimeRange::new(60 * 3_600_000, 72 * 3_600_000))));
    let asked = cluster.clone();
    blocking(move || {
        while asked.sources["i3"].views.lock().is_empty() {
            std::thread::yield_now();
        }
    })
    .await;
    cluster.change(&Command::SetMemberState { node: "f1".into(), state: MemberState::Draining, at_ms: 1 });
    assert_eq!(reading.await.unwrap().map(|found| found.len()).map_err(|e| e.to_string()), Ok(60));
    for node in ["i1", "i2", "i3"] {
        let last = cluster.sources[node].views.lock().last().map(|view| view.version);
        assert_eq!(last, Some(old + 1), "{node} is read again under the newer view");
    }
}

/// Reads while the view is not proved yet, changes the cluster, and lets the proof end. Returns how often each ingester was read.
async fn read_while_the_cluster_changes(command: &Command) -> Vec<usize> {
    let cluster = Arc::new(cluster());
    let fanout = cluster.frontend("f1");
    cluster.proving.send_replace(false);
    let querier = fanout.of_tenant(tenant()).await.unwrap();
    let reading = tokio::spawn(blocking(move || read(&querier, TimeRange::new(60 * 3_600_000, 72 * 3_600_000))));
    let asked = cluster.clone();
    let is_read = move |node: &str| !asked.sources[node].views.lock().is_empty();
    blocking(move || {
        while !["i1", "i2", "i3"].into_iter().all(&is_read) {
            std::thread::yield_now();
        }
    })
    .await;
    assert!(!reading.is_finished(), "no response leaves before the view is proved");
    cluster.change(command);
    cluster.proving.send_replace(true);
    assert_eq!(reading.await.unwrap().map(|found| found.len()).map_err(|e| e.to_string()), Ok(60));
    ["i1", "i2", "i3"].iter().map(|node| cluster.sources[*node].views.lock().len()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_under_a_view_that_turns_out_to_be_old_is_repeated() {
    let (tenant, selector) = (tenant().as_str().to_string(), "{i=\"none\"}".to_string());
    let deletion = CatalogueCommand::Delete { tenant, selector, start: 0, end: 1, id: "d".into() };
    let reads = read_while_the_cluster_changes(&deletion.into()).await;
    assert_eq!(reads, [3, 3, 3], "completeness twice, then the series");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_is_not_repeated_if_nothing_changed_that_it_depends_on() {
    let draining = Command::SetMemberState { node: "f1".into(), state: MemberState::Draining, at_ms: 1 };
    assert_eq!(read_while_the_cluster_changes(&draining).await, [2, 2, 2], "completeness, then the series");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_series_of_all_nodes_are_merged() {
    let cluster = cluster();
    cluster.set_fault("i3", Fault::Fails);
    let fanout = cluster.frontend("f1");
    let querier = fanout.of_tenant(tenant()).await.unwrap().within(budget());
    blocking(move || {
        let range = TimeRange::new(0, 72 * 3_600_000);
        let everything = [Vec::new()];
        let names: BTreeSet<String> = querier.label_names(&[], range).unwrap().into_iter().collect();
        assert_eq!(names, ["__name__", "i"].map(String::from).into());
        assert_eq!(querier.label_values("i", &[], range).unwrap().len(), 60);
        assert_eq!(querier.series(&everything, range, 0).unwrap().len(), 60);
        assert_eq!(querier.series(&everything, range, 7).unwrap().len(), 7);
        assert_eq!(querier.exemplars(&everything, range).unwrap().len(), 60);
        assert_eq!(querier.metadata().unwrap().len(), 1);
    })
    .await;
}

/// A plan relies on the completeness of the replicas that are read first. A replica that stands in for one of them and has
/// fewer samples must not pass for complete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_fewer_samples_does_not_stand_in_for_one_with_more() {
    let whole_range = TimeRange::new(0, 72 * 3_600_000);
    for fault in [Fault::FailsToSelect, Fault::Hangs] {
        let cluster = cluster();
        let fanout = cluster.frontend("f1");
        cluster.fall_behind(&fanout, "i2", 60 * 3_600_000).await;
        cluster.set_fault("i1", fault);
        let refused = cluster.metrics.refused.get();
        let (querier, all) = (fanout.of_tenant(tenant()).await.unwrap(), cluster.all.clone());
        blocking(move || {
            // Stores have what i2 lacks.
            assert_eq!(read(&querier, whole_range).unwrap(), read(&all, whole_range).unwrap(), "{fault:?}");
            let series = querier.series(&[Vec::new()], whole_range, 0).unwrap();
            assert_eq!(series.len(), 60);
        })
        .await;
        assert!(cluster.metrics.refused.get() > refused, "{fault:?}: i2 refuses a plan that relies on what i1 has");
        assert!(cluster.answers()["i2"] > 0, "{fault:?}: i2 answers another plan");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lacks_older_samples_answers_for_later_time() {
    let cluster = cluster();
    let fanout = cluster.frontend("f1");
    cluster.fall_behind(&fanout, "i2", 60 * 3_600_000).await;
    cluster.set_fault("i1", Fault::FailsToSelect);
    let range = TimeRange::new(60 * 3_600_000, 72 * 3_600_000);
    let (querier, all) = (fanout.of_tenant(tenant()).await.unwrap(), cluster.all.clone());
    blocking(move || assert_eq!(read(&querier, range).unwrap(), read(&all, range).unwrap())).await;
    assert_eq!(cluster.metrics.refused.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_selection_fails_when_the_other_replicas_have_fewer_samples() {
    for partial in [false, true] {
        // More samples than come along with a selection.
        let dense = |(labels, _): Series| (labels, (0..4320).map(|m| (m * 60_000, Value::Float(m as f64))).collect());
        let series: Vec<Series> = series().into_iter().map(dense).collect();
        let cluster = FakeCluster::new(&series, 2, 54 * 3_600_000, 66 * 3_600_000);
        let fanout = cluster.frontend("f1");
        cluster.fall_behind(&fanout, "i2", 60 * 3_600_000).await;
        cluster.set_fault("i1", Fault::FailsToFetchMore);
        let querier = fanout.of_tenant(tenant()).await.unwrap().partial(partial);
        let error = blocking(move || read(&querier, TimeRange::new(0, 72 * 3_600_000)).unwrap_err()).await.to_string();
        assert!(error.contains("disk unavailable"), "{error}");
    }
}

/// A role of a node, as that node reads it.
fn local(cluster: &FakeCluster, node: &str) -> Node {
    let view = read_view(&cluster.views.borrow(), &tenant(), [1, 3].into_iter());
    Node::Local(LocalNode { source: cluster.sources[node].clone(), view, newer: NewerView::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_source_that_is_not_in_sync_refuses() {
    let cluster = cluster();
    cluster.set_fault("i2", Fault::Refuses);
    let node = local(&cluster, "i2");
    let (matchers, range): (Arc<[Matcher]>, _) = (Vec::new().into(), TimeRange::ALL);
    assert_refuses(&node, SelectRequest { matchers: Vec::new(), range, max_series: 0 }).await;
    assert_refuses(&node, ReadCompleteness { lasting: Duration::ZERO }).await;
    assert_refuses(&node, ReadSeries { matchers: matchers.clone(), range, limit: 0 }).await;
    assert_refuses(&node, ReadNames { label: None, matchers: matchers.clone(), range }).await;
    assert_refuses(&node, ReadExemplars { matchers, range }).await;
    assert_refuses(&node, ReadMetadata).await;
}

async fn assert_refuses<R: Read>(node: &Node, read: R) {
    let scope = Scope { shards: Some(Arc::new([1, 3].into_iter().collect())), ..Scope::all(tenant()) };
    let error = node.clone().read(scope, read, budget()).await.err();
    assert!(matches!(&error, Some(ReadError::Refused(refused)) if refused.shards == ShardSet::of(1)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_source_refuses_as_remote_ones_do() {
    let cluster = cluster();
    *cluster.sources["i2"].lacks_before.lock() = 60 * 3_600_000;
    let node = local(&cluster, "i2");
    let shards = Some(Arc::new([1, 3].into_iter().collect()));
    let ask = async |required_from| {
        let scope = Scope { shards: shards.clone(), ..Scope::all(tenant()) }.requiring_from(required_from);
        let request = SelectRequest { matchers: Vec::new(), range: TimeRange::ALL, max_series: 0 };
        node.clone().read(scope, request, budget()).await.map(|_| ())
    };
    for required_from in [None, Some(60 * 3_600_000), Some(i64::MAX)] {
        assert!(ask(required_from).await.is_ok(), "{required_from:?}");
    }
    let error = ask(Some(54 * 3_600_000)).await.unwrap_err();
    let ReadError::Refused(refused) = error else { panic!("{error:?}") };
    assert_eq!(refused.complete.map(|complete| complete.from), Some(60 * 3_600_000));
    // A node that promises nothing refuses every plan.
    *cluster.sources["i2"].lacks_before.lock() = i64::MAX;
    let error = ask(Some(54 * 3_600_000)).await.unwrap_err();
    assert!(matches!(&error, ReadError::Refused(refused) if refused.complete.is_none()), "{error:?}");
    assert_eq!(cluster.answers()["i2"], 3);
}

/// The samples of the first day of `tests::series`, which one of the two stores reads alone.
async fn read_first_day(cluster: &FakeCluster, fanout: &crate::Fanout) -> Result<(), SelectError> {
    let (querier, all) = (fanout.of_tenant(tenant()).await.unwrap(), cluster.all.clone());
    let range = TimeRange::new(0, DAY - 1);
    blocking(move || {
        assert_eq!(read(&querier, range)?, read(&all, range)?);
        Ok(())
    })
    .await
}

/// The store that reads the first day, and the other one.
async fn stores_of_first_day(cluster: &FakeCluster) -> [String; 2] {
    read_first_day(cluster, &cluster.frontend("f1")).await.unwrap();
    let is_first = |name: &str| cluster.sources[name].fetches.begun.load(Ordering::SeqCst) > 0;
    let (first, other) = if is_first("s1") { ("s1", "s2") } else { ("s2", "s1") };
    assert!(!is_first(other), "one store reads a day");
    [first.into(), other.into()]
}

fn fetches(cluster: &FakeCluster, node: &str) -> usize {
    cluster.sources[node].fetches.begun.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_come_from_another_store_when_one_is_slow_and_its_work_ends() {
    let cluster = cluster();
    let [slow, other] = stores_of_first_day(&cluster).await;
    cluster.set_fault(&slow, Fault::HangsToFetch);
    let before = [fetches(&cluster, &slow), fetches(&cluster, &other)];
    read_first_day(&cluster, &cluster.frontend("f1")).await.unwrap();
    // The set is read in two halves. The first half is fetched from both stores, the second one from the winner alone.
    assert_eq!(fetches(&cluster, &slow) - before[0], 1);
    assert_eq!(fetches(&cluster, &other) - before[1], 2);
    let ended = cluster.sources[&slow].fetches.clone();
    blocking(move || {
        while ended.ended.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_store_is_tried_twice() {
    let cluster = cluster();
    for store in ["s1", "s2"] {
        cluster.set_fault(store, Fault::FailsToFetch);
    }
    let error = read_first_day(&cluster, &cluster.frontend("f1")).await.unwrap_err().to_string();
    assert!(error.contains("disk unavailable"), "{error}");
    assert_eq!((fetches(&cluster, "s1"), fetches(&cluster, "s2")), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_block_is_named_at_once_and_read_by_no_other_store() {
    let cluster = cluster();
    let [first, other] = stores_of_first_day(&cluster).await;
    let before = fetches(&cluster, &other);
    cluster.set_fault(&first, Fault::IsDamaged);
    let error = read_first_day(&cluster, &cluster.frontend("f1")).await.unwrap_err();
    assert!(matches!(&error, SelectError::Damaged(text) if text == "block 7 is damaged"), "{error:?}");
    assert_eq!(fetches(&cluster, &other), before);
}

/// Reads a range, and returns how many requests to nodes that took.
async fn requests_of(cluster: &FakeCluster, fanout: &crate::Fanout, range: TimeRange) -> u64 {
    let before = cluster.metrics.asked.get();
    let (querier, all) = (fanout.of_tenant(tenant()).await.unwrap(), cluster.all.clone());
    blocking(move || assert_eq!(read(&querier, range).unwrap(), read(&all, range).unwrap())).await;
    cluster.metrics.asked.get() - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_of_recent_time_asks_each_ingester_once() {
    let cluster = cluster();
    let fanout = cluster.frontend("f1");
    let recent = TimeRange::new(60 * 3_600_000, 72 * 3_600_000);
    assert_eq!(requests_of(&cluster, &fanout, recent).await, 6, "ingesters tell what they have, and are read");
    assert_eq!(requests_of(&cluster, &fanout, recent).await, 3, "ingesters check what the first read has found");
    let fetches: usize = ["i1", "i2", "i3"].iter().map(|node| fetches(&cluster, node)).sum();
    assert!(fetches >= 6, "samples come along with the selections: {fetches}");
    assert_eq!(cluster.metrics.refused.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingesters_that_have_less_than_a_moment_ago_are_noticed() {
    let cluster = cluster();
    let fanout = cluster.frontend("f1");
    let recent = TimeRange::new(60 * 3_600_000, 72 * 3_600_000);
    requests_of(&cluster, &fanout, recent).await;
    for node in ["i1", "i2", "i3"] {
        *cluster.sources[node].lacks_before.lock() = 62 * 3_600_000;
    }
    requests_of(&cluster, &fanout, recent).await;
    assert!(cluster.metrics.refused.get() > 0, "what was expected is checked");
    assert!(cluster.answers()["s1"] + cluster.answers()["s2"] > 0, "stores have what left memory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_under_an_unproven_view_has_a_warning() {
    let cluster = cluster();
    let fanout = cluster.frontend("f1");
    assert!(fanout.of_tenant(tenant()).await.unwrap().warnings().is_empty());
    let reason = "no leader is known".to_string();
    *cluster.unproven.lock() = Some(Unproven { as_of_ms: Some(1_700_000_000_000), reason });
    for partial in [false, true] {
        let querier = fanout.of_tenant(tenant()).await.unwrap().partial(partial);
        let warnings = blocking(move || {
            assert_eq!(read(&querier, TimeRange::new(0, DAY)).unwrap().len(), 60);
            querier.warnings()
        });
        let expected = "as of 2023-11-14T22:13:20.000Z; later samples may be missing: no leader is known";
        assert_eq!(warnings.await, [expected], "partial: {partial}");
    }
    assert_eq!(cluster.metrics.unproven.get(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_under_an_unproven_view_fails_if_stale_reads_are_refused() {
    let cluster = cluster();
    *cluster.stale_reads.lock() = StaleReads::Refuse;
    let fanout = cluster.frontend("f1");
    assert!(fanout.of_tenant(tenant()).await.is_ok());
    *cluster.unproven.lock() = Some(Unproven { as_of_ms: Some(1), reason: "no leader is known".into() });
    let error = fanout.of_tenant(tenant()).await.err().unwrap().to_string();
    assert!(error.contains("cannot confirm") && error.ends_with(": no leader is known"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_never_seen_the_cluster_answers_nothing() {
    let cluster = cluster();
    cluster.views.send_replace(View::default());
    *cluster.unproven.lock() = Some(Unproven { as_of_ms: None, reason: "no leader is known".into() });
    assert!(cluster.frontend("f1").of_tenant(tenant()).await.is_err());
}

/// In an old view, shards that have been placed since look as if they had never been written to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unplaced_shards_of_an_unproven_view_are_missing() {
    let cluster = cluster();
    let mut state = ClusterState::clone(cluster.views.borrow().state());
    Arc::make_mut(&mut state.shards)[5] = Arc::default();
    cluster.views.send_replace(View::new(Arc::new(state)));
    let fanout = cluster.frontend("f1");
    let recent = TimeRange::new(60 * 3_600_000, 72 * 3_600_000);
    let querier = fanout.of_tenant(tenant()).await.unwrap();
    assert!(blocking(move || read(&querier, recent).is_ok()).await, "nothing was ever written to shard 5");
    *cluster.unproven.lock() = Some(Unproven { as_of_ms: Some(1), reason: "no leader is known".into() });
    let querier = fanout.of_tenant(tenant()).await.unwrap();
    let error = blocking(move || read(&querier, recent).unwrap_err()).await.to_string();
    assert!(error.starts_with("no replica of shard 5 can answer"), "{error}");
}

/// The roles of the only node that holds samples: under an old view, others may hold them by now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_takes_itself_for_the_only_one_only_under_a_proved_view() {
    let mut state = ClusterState::default();
    let settings = Settings { cluster: "c".into(), shards: SHARDS, replication_factor: 1 };
    state.apply(&Command::Bootstrap { settings }).unwrap();
    let roles = [Role::Ingester, Role::Store].into();
    let member = Member { id: "i1".into(), roles, weight: 100, state: MemberState::Active, ..Member::default() };
    state.apply(&Command::Join { member, at_ms: 0 }).unwrap();
    let placements = (0..SHARDS).map(|shard| Placement { shard, nodes: vec!["i1".into()] }).collect();
    state.apply(&Command::PlaceShards { placements }).unwrap();
    let cluster = cluster();
    cluster.views.send_replace(View::new(Arc::new(state)));
    let fanout = cluster.frontend_with("i1", [Role::Ingester, Role::Store]);
    let recent = TimeRange::new(60 * 3_600_000, 72 * 3_600_000);
    // The source of the process is asked whether it may answer, although it is the only one (hole H7).
    cluster.set_fault("i1", Fault::Refuses);
    let querier = fanout.of_tenant(tenant()).await.unwrap();
    let error = blocking(move || read(&querier, recent).unwrap_err()).await.to_string();
    assert!(error.contains("i1 is not in sync"), "{error}");
    cluster.set_fault("i1", Fault::None);
    let asked = |fanout: crate::Fanout| async move {
        let querier = fanout.of_tenant(tenant()).await.unwrap();
        blocking(move || read(&querier, recent).unwrap()).await;
    };
    asked(fanout.clone()).await;
    assert_eq!(cluster.metrics.asked.get(), 0, "its roles are read directly");
    *cluster.unproven.lock() = Some(Unproven { as_of_ms: Some(1), reason: "no leader is known".into() });
    asked(fanout).await;
    assert!(cluster.metrics.asked.get() > 0, "its roles are read as those of a cluster");
}
