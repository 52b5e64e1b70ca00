//! Reads over a cluster of fake nodes: everything once, also when nodes fail, hang, refuse or are away.

use std::collections::BTreeSet;
use std::sync::Arc;

use pharos_cluster::{Command, MemberState};
use pharos_model::{Labels, SelectError, SelectRequest, SeriesBatch, ShardSet, TimeRange};
use pharos_promql::Querier;
use pharos_transport::Scope;
use pharos_transport::query::AskError;

use super::fakes::*;
use super::node::Node;
use crate::AskMetrics;
use crate::fanout::TenantQuerier;

const DAY: i64 = 86_400_000;

/// Series over three days, a sample each hour.
fn series() -> Vec<Series> {
    let of = |i: usize| {
        let labels = Labels::from_pairs([("__name__", "x".to_string()), ("i", format!("{i:03}"))]);
        (labels, (0..72).map(|h| (h * 3_600_000, Value::Float((i * 1000) as f64 + h as f64))).collect())
    };
    (0..60).map(of).collect()
}

/// The last six hours are in ingesters only, twelve in both.
fn cluster() -> FakeCluster {
    FakeCluster::new(&series(), 2, 54 * 3_600_000, 66 * 3_600_000)
}

type Read = Vec<(Labels, Vec<(i64, f64)>)>;

fn read(querier: &dyn Querier, range: TimeRange) -> Result<Read, SelectError> {
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
        let (querier, all) = (fanout.of_tenant(tenant()), cluster.all.clone());
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
async fn every_shard_and_slice_is_asked_of_one_node() {
    let cluster = cluster();
    let fanout = cluster.frontend("f1");
    let querier = fanout.of_tenant(tenant());
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
    assert_eq!(time, 54 * 3_600_000, "stores are asked for what ingesters may lack, once");
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
async fn other_nodes_answer_for_those_that_do_not() {
    for mood in [Mood::Fails, Mood::Refuses, Mood::FailsToFetch, Mood::Hangs, Mood::HangsToFetch] {
        for node in ["i2", "s1"] {
            let cluster = cluster();
            cluster.set_mood(node, mood);
            check(&cluster, "f1").await;
        }
    }
    let cluster = cluster();
    cluster.network.away.lock().extend(["i3:7946".to_string(), "s2:7946".to_string()]);
    check(&cluster, "f1").await;
    assert_eq!(cluster.answers()["i3"] + cluster.answers()["s2"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_are_counted_by_what_became_of_them() {
    let counts = |cluster: &FakeCluster| {
        let AskMetrics { asked, hedged, overtaken, refused, unanswered, missing } = &cluster.metrics;
        assert!(asked.get() >= 3 + unanswered.get() + refused.get(), "who gives no answer was asked, and others");
        assert_eq!(missing.get(), 0);
        [hedged, overtaken, refused, unanswered].map(|counter| counter.get() > 0)
    };
    for (mood, expected) in [
        (Mood::Refuses, [false, false, true, false]),
        (Mood::Fails, [false, false, false, true]),
        (Mood::Hangs, [true, true, false, false]),
    ] {
        let cluster = cluster();
        cluster.set_mood("i2", mood);
        check(&cluster, "f1").await;
        let counts = counts(&cluster);
        // On a busy machine any question may be hedged.
        let as_expected = counts[2..] == expected[2..] && counts[..2] >= expected[..2];
        assert!(as_expected, "{mood:?}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gave_no_answer_is_asked_last_for_a_while() {
    let cluster = cluster();
    let fanout = cluster.frontend("f1");
    cluster.set_mood("i2", Mood::Fails);
    check_with(&cluster, &fanout).await;
    cluster.set_mood("i2", Mood::Well);
    check_with(&cluster, &fanout).await;
    assert_eq!(cluster.answers()["i2"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_replica_a_query_fails_and_names_the_shard() {
    let cluster = FakeCluster::new(&series(), 1, 54 * 3_600_000, 66 * 3_600_000);
    cluster.set_mood("i2", Mood::Fails);
    let fanout = cluster.frontend("f1");
    let range = TimeRange::new(60 * 3_600_000, 72 * 3_600_000);
    let querier = fanout.of_tenant(tenant());
    let error = blocking(move || read(&querier, range).unwrap_err()).await.to_string();
    assert!(
        error.starts_with("shards 1,4,7,10 have no replica that can answer") && error.contains("disk broken"),
        "{error}"
    );
    let querier = fanout.of_tenant(tenant()).partial(true);
    let (found, querier): (Read, TenantQuerier) = blocking(move || (read(&querier, range).unwrap(), querier)).await;
    let warnings = querier.warnings();
    assert!(warnings.iter().any(|w| w.contains("shards 1,4,7,10")), "{warnings:?}");
    let whole = blocking({
        let all = cluster.all.clone();
        move || read(&all, range).unwrap()
    })
    .await;
    let recent: Vec<_> = found.iter().filter(|(_, s)| s.last().is_some_and(|(t, _)| *t == 71 * 3_600_000)).collect();
    assert!(!recent.is_empty() && recent.len() < whole.len(), "{} of {}", recent.len(), whole.len());
    assert!(fanout.of_tenant(tenant()).warnings().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_store_older_time_is_missing() {
    let cluster = cluster();
    cluster.network.away.lock().extend(["s1:7946".to_string(), "s2:7946".to_string()]);
    let fanout = cluster.frontend("f1");
    let querier = fanout.of_tenant(tenant());
    let error = blocking(move || read(&querier, TimeRange::new(0, DAY)).unwrap_err()).await.to_string();
    assert!(error.contains("no store that can answer") && error.contains("no way to"), "{error}");
    let querier = fanout.of_tenant(tenant());
    let recent = TimeRange::new(54 * 3_600_000, 72 * 3_600_000);
    assert_eq!(blocking(move || read(&querier, recent).unwrap()).await.len(), 60, "stores are not asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_view_helps_where_all_refuse() {
    let cluster = Arc::new(FakeCluster::new(&series(), 2, i64::MIN, 66 * 3_600_000));
    for node in ["i1", "i2", "i3"] {
        cluster.set_mood(node, Mood::Refuses);
    }
    let fanout = cluster.frontend("f1");
    let querier = fanout.of_tenant(tenant());
    let range = TimeRange::new(0, DAY);
    let asking = tokio::spawn(blocking(move || read(&querier, range)));
    let refused = cluster.clone();
    blocking(move || {
        while refused.sources["i1"].views.lock().len() < 2 {
            std::thread::yield_now()
        }
    })
    .await;
    for node in ["i1", "i2", "i3"] {
        cluster.set_mood(node, Mood::Well);
    }
    cluster.change(&Command::SetMemberState { node: "f1".into(), state: MemberState::Draining, at_ms: 1 });
    let found = asking.await.unwrap();
    assert_eq!(found.map(|found| found.len()).map_err(|e| e.to_string()), Ok(60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_series_are_of_all_nodes() {
    let cluster = cluster();
    cluster.set_mood("i3", Mood::Fails);
    let fanout = cluster.frontend("f1");
    let querier = fanout.of_tenant(tenant()).within(budget());
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

/// A query counts on what the replicas say of which it asks first; one that answers instead, and has less, must not be taken
/// for whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_has_less_than_the_first_does_not_answer_in_its_place() {
    let whole_range = TimeRange::new(0, 72 * 3_600_000);
    for mood in [Mood::FailsToSelect, Mood::Hangs] {
        let cluster = cluster();
        let fanout = cluster.frontend("f1");
        cluster.fall_behind(&fanout, "i2", 60 * 3_600_000).await;
        cluster.set_mood("i1", mood);
        let refused = cluster.metrics.refused.get();
        let (querier, all) = (fanout.of_tenant(tenant()), cluster.all.clone());
        blocking(move || {
            // Both read; stores have what i2 lacks.
            assert_eq!(read(&querier, whole_range).unwrap(), read(&all, whole_range).unwrap(), "{mood:?}");
            let series = querier.series(&[Vec::new()], whole_range, 0).unwrap();
            assert_eq!(series.len(), 60);
        })
        .await;
        assert!(cluster.metrics.refused.get() > refused, "{mood:?}: i2 is asked with what i1 has, and refuses");
        assert!(cluster.answers()["i2"] > 0, "{mood:?}: and answers another plan");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_lacks_is_no_matter_for_later_time() {
    let cluster = cluster();
    let fanout = cluster.frontend("f1");
    cluster.fall_behind(&fanout, "i2", 60 * 3_600_000).await;
    cluster.set_mood("i1", Mood::FailsToSelect);
    let range = TimeRange::new(60 * 3_600_000, 72 * 3_600_000);
    let (querier, all) = (fanout.of_tenant(tenant()), cluster.all.clone());
    blocking(move || assert_eq!(read(&querier, range).unwrap(), read(&all, range).unwrap())).await;
    assert_eq!(cluster.metrics.refused.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_selection_that_breaks_off_fails_when_the_others_have_less() {
    for partial in [false, true] {
        let cluster = cluster();
        let fanout = cluster.frontend("f1");
        cluster.fall_behind(&fanout, "i2", 60 * 3_600_000).await;
        cluster.set_mood("i1", Mood::FailsToFetch);
        let querier = fanout.of_tenant(tenant()).partial(partial);
        let error = blocking(move || read(&querier, TimeRange::new(0, 72 * 3_600_000)).unwrap_err()).await.to_string();
        assert!(error.contains("disk away"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_this_process_refuses_as_others_do() {
    let cluster = cluster();
    *cluster.sources["i2"].lacks_before.lock() = 60 * 3_600_000;
    let node = Node::Local(cluster.sources["i2"].clone());
    let shards = Some(Arc::new([1, 3].into_iter().collect()));
    let ask = async |counted_on| {
        let scope = Scope { shards: shards.clone(), ..Scope::all(tenant()) }.counting_on(counted_on);
        let request = SelectRequest { matchers: Vec::new(), range: TimeRange::ALL, max_series: 0 };
        node.select(scope, request, budget()).await.map(|_| ())
    };
    for counted_on in [None, Some(60 * 3_600_000), Some(i64::MAX)] {
        assert!(ask(counted_on).await.is_ok(), "{counted_on:?}");
    }
    let error = ask(Some(54 * 3_600_000)).await.unwrap_err();
    let AskError::Refused(refused) = error else { panic!("{error:?}") };
    assert_eq!(refused.complete.map(|complete| complete.from), Some(60 * 3_600_000));
    // No plan makes a node answer that can promise nothing.
    *cluster.sources["i2"].lacks_before.lock() = i64::MAX;
    let error = ask(Some(54 * 3_600_000)).await.unwrap_err();
    assert!(matches!(&error, AskError::Refused(refused) if refused.complete.is_none()), "{error:?}");
    assert_eq!(cluster.answers()["i2"], 3);
}
