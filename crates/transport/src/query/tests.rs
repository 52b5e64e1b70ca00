//! Tests that a remote source returns the same results as the local one, and that dropped reads end on the node.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pharos_model::fragment::{FragmentForm, FragmentRow, FragmentStats, Note, NoteExtra, PartialSum, Steps};
use pharos_model::{
    Budget, Exemplar, Fragment, FragmentAnswer, FragmentError, Histogram, Labels, Matcher, MemoryAccount, Metadata,
    MetricType, SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView, SystemClock, TenantId, TimeRange,
};
use tokio::runtime::Handle;
use tonic::Status;
use tonic::service::{Routes, RoutesBuilder};
use tower::ServiceExt;

use super::*;
use crate::{Connect, Connection};

/// A network with a single node.
struct Only(Routes);

impl Connect for Only {
    fn connect(&self, address: &str) -> Result<Connection, Status> {
        let (routes, is_there) = (self.0.clone(), address == "node:1");
        Ok(Connection::new(tower::service_fn(move |request: http::Request<tonic::body::Body>| {
            let routes = routes.clone();
            async move {
                match is_there {
                    true => routes.oneshot(request).await.map_err(|never| match never {}),
                    false => Err(Status::unavailable("connection refused")),
                }
            }
        })))
    }
}

/// A source whose selections can be made to wait or to fail.
#[derive(Default)]
struct Fake {
    series: usize,
    samples: usize,
    failure: Option<SelectError>,
    refused: Option<Refused>,
    newer_version: Option<u64>,
    /// Whether a selection waits until its budget is cancelled or out of time.
    waits: bool,
    is_waiting: AtomicBool,
    was_cancelled: AtomicBool,
    fetches: AtomicUsize,
}

struct FakeSet(Vec<Labels>, usize);

fn labels(at: usize) -> Labels {
    Labels::from_pairs([("__name__", "metric".to_string()), ("at", format!("{at:05}"))])
}

impl SeriesSet for FakeSet {
    fn labels(&self) -> &[Labels] {
        &self.0
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        for at in series {
            let t: Vec<i64> = (0..self.1 as i64).filter(|t| range.contains(*t)).collect();
            let v: Vec<f64> = t.iter().map(|t| (*t * at as i64) as f64).collect();
            let h = Arc::new(Histogram { count: at as f64, zero_count: at as f64, ..Histogram::default() });
            let (ht, h) = if at % 3 == 0 && range.contains(7) { (vec![7], vec![h]) } else { (vec![], vec![]) };
            out.push(SeriesView { t: &t, v: &v, ht: &ht, h: &h, ..SeriesView::EMPTY });
        }
        Ok(())
    }
}

impl SeriesSource for Fake {
    fn admit(&self, _: &TenantId, view: &ReadView) -> Result<Admitted, Refused> {
        assert_eq!((view.incarnation, view.version), (2, 9));
        self.refused.clone().map_or(Ok(Admitted { newer_version: self.newer_version }), Err)
    }

    fn completeness(&self, scope: &Scope, lasting: Duration) -> Result<Completeness, SelectError> {
        let shards = scope.shards.as_ref().map_or(0, |shards| shards.len()) as i64;
        let unflushed_from = i64::try_from(lasting.as_millis()).unwrap_or(i64::MAX);
        Ok(Completeness { from: -shards, unflushed_from, version: 12 })
    }

    fn select(
        &self,
        scope: &Scope,
        request: &SelectRequest,
        budget: &Arc<Budget>,
    ) -> Result<Arc<dyn SeriesSet>, SelectError> {
        assert_eq!(scope.tenant.as_str(), "team");
        self.is_waiting.store(true, Ordering::SeqCst);
        if self.waits {
            loop {
                if let Err(error) = budget.check() {
                    self.was_cancelled.store(true, Ordering::SeqCst);
                    return Err(error);
                }
                std::thread::yield_now();
            }
        }
        self.fetches.fetch_add(1, Ordering::SeqCst);
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        request.check_series(self.series)?;
        Ok(Arc::new(FakeSet((0..self.series).map(labels).collect(), self.samples)))
    }

    fn series(
        &self,
        _: &Scope,
        _: &[Matcher],
        _: TimeRange,
        limit: usize,
        _: &Arc<Budget>,
    ) -> Result<Vec<Labels>, SelectError> {
        let most = if limit == 0 { usize::MAX } else { limit };
        Ok((0..self.series.min(most)).map(labels).collect())
    }

    fn names(
        &self,
        _: &Scope,
        label: Option<&str>,
        matchers: &[Matcher],
        _: TimeRange,
        _: &Arc<Budget>,
    ) -> Result<Vec<String>, SelectError> {
        match label {
            Some(label) => Ok((0..self.series).map(|at| format!("{label}{at}")).collect()),
            None => Ok(matchers.iter().map(|m| m.to_string()).collect()),
        }
    }

    fn exemplars(
        &self,
        _: &Scope,
        _: &[Matcher],
        range: TimeRange,
        _: &Arc<Budget>,
    ) -> Result<Vec<SeriesExemplars>, SelectError> {
        let exemplar = Exemplar { labels: Labels::from_pairs([("trace", "x")]), value: 1.5, t: range.start };
        Ok((0..self.series)
            .map(|at| SeriesExemplars { labels: labels(at), exemplars: vec![exemplar.clone()] })
            .collect())
    }

    fn metadata(&self, _: &Scope) -> Result<Vec<(String, Metadata)>, SelectError> {
        let known = Metadata { kind: MetricType::Counter, unit: "s".into(), help: "Helps.".into() };
        Ok((0..self.series).map(|at| (format!("family{at}"), known.clone())).collect())
    }

    fn evaluate(&self, _: &Scope, fragment: &Fragment, _: &Arc<Budget>) -> Result<FragmentAnswer, FragmentError> {
        let row = |i: usize| FragmentRow {
            labels: labels(i),
            first: Some(labels(i + 1)),
            rank: i as u32,
            present: vec![0b10111],
            values: vec![1.5, 2.5, i as f64, 0.0, -0.0],
            hists: vec![(3, Arc::new(Histogram { count: i as f64, ..Histogram::default() }))],
            sum: i
                .is_multiple_of(2)
                .then(|| Box::new(PartialSum { lost: vec![0.5, 0.25, 0.0, 0.0, 1.0], ..PartialSum::default() })),
        };
        let note = Note { text: format!("{fragment:?}"), pos: 3, extra: NoteExtra::Count(2) };
        let stats = FragmentStats { samples_read: 5, queryable_by_step: vec![1, 2], ..FragmentStats::default() };
        Ok(FragmentAnswer { rows: (0..self.series).map(row).collect(), names_go: true, notes: vec![note], stats })
    }
}

fn scope() -> Scope {
    let shards = Some(Arc::new([1, 3].into_iter().collect()));
    Scope { tenant: TenantId::new("team").unwrap(), shards, complete_from: None }
}

/// The remote view of a source.
fn remote(fake: &Arc<Fake>, address: &str) -> RemoteSource {
    let mut routes = RoutesBuilder::default();
    let services = QueryServices {
        ingester: Some(fake.clone()),
        store: None,
        clock: Arc::new(SystemClock::new()),
        memory: MemoryAccount::unlimited(),
        limits: ReadLimits::default(),
    };
    services.add_to(&mut routes);
    let view = ReadView { incarnation: 2, version: 9, epochs: (0..8).map(|shard| (shard, 5)).collect(), deletions: 4 };
    RemoteSource::new(Arc::new(Only(routes.routes())), address, SourceRole::Ingester, view, Handle::current())
}

fn fake(series: usize, samples: usize) -> Arc<Fake> {
    Arc::new(Fake { series, samples, ..Fake::default() })
}

fn fragment() -> Fragment {
    let steps = Steps { start: 1, end: 9, step: 2 };
    Fragment {
        query: "sum(x)".into(),
        place: 0..6,
        form: FragmentForm::Partial,
        times: Steps { step: 0, ..steps },
        steps,
        lookback_ms: 300_000,
        max_samples: 10,
        max_series: 11,
        type_and_unit_labels: true,
        use_start_timestamps: true,
        samples_per_step: true,
    }
}

fn request(max_series: usize) -> SelectRequest {
    SelectRequest { matchers: vec![Matcher::equal("a", "b")], range: TimeRange::new(0, 1 << 40), max_series }
}

fn budget(bytes: u64) -> Arc<Budget> {
    Arc::new(Budget::new(Arc::new(SystemClock::new()), Duration::from_secs(60), bytes))
}

fn shown(batch: &SeriesBatch) -> Vec<String> {
    (0..batch.len()).map(|at| format!("{:?}", batch.view(at))).collect()
}

/// Runs blocking calls on a blocking thread, like the engine.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_selection_equals_the_local_one() {
    let source = fake(7000, 40);
    let budget = budget(u64::MAX);
    let set = Arc::new(remote(&source, "node:1").select(&scope(), &request(0), &budget).await.unwrap());
    blocking(move || {
        let near = FakeSet((0..7000).map(labels).collect(), 40);
        assert!(set.labels() == near.labels());
        set.prefetch(10..20, TimeRange::new(5, 9));
        for (series, range) in [
            (0..7000, TimeRange::ALL),
            (10..20, TimeRange::new(5, 9)),
            (6999..7000, TimeRange::ALL),
            (3..3, TimeRange::ALL),
        ] {
            let (mut a, mut b) = (SeriesBatch::default(), SeriesBatch::default());
            set.fetch(series.clone(), range, &mut a).unwrap();
            near.fetch(series, range, &mut b).unwrap();
            assert_eq!(shown(&a), shown(&b));
        }
        let threads: Vec<_> = (0..4)
            .map(|at| {
                let set = set.clone();
                std::thread::spawn(move || {
                    let mut out = SeriesBatch::default();
                    set.fetch(at * 100..at * 100 + 100, TimeRange::ALL, &mut out).unwrap();
                    out.view(1).v[1]
                })
            })
            .collect();
        let seen: Vec<f64> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert_eq!(seen, [1.0, 101.0, 201.0, 301.0]);
        assert!(budget.used_bytes() > 0 && budget.reads().0 > 7000 * 40 * 8);
        set.prefetch(0..5, TimeRange::ALL);
        drop(set);
        assert_eq!(budget.used_bytes(), 0, "everything is given back");
    })
    .await;
}

/// The response of a node to a read, which must equal that of the same source in this process.
async fn same<R: Read<Found: std::fmt::Debug>>(near: &Arc<Fake>, read: R) -> R::Found {
    let budget = budget(u64::MAX);
    let found = read.remote(&remote(near, "node:1"), &scope(), &budget).await.unwrap();
    assert_eq!(format!("{found:?}"), format!("{:?}", read.local(near.as_ref(), &scope(), &budget).unwrap()));
    assert_eq!(budget.used_bytes(), 0, "everything is given back");
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remote_reads_equal_local_ones() {
    let near = fake(3000, 3);
    let (matchers, range) = (Arc::from([Matcher::equal("a", "b")]), TimeRange::new(-5, 5));
    let series = |limit| ReadSeries { matchers: Arc::clone(&matchers), range, limit };
    assert_eq!(same(&near, series(0)).await.len(), 3000);
    assert_eq!(same(&near, series(2)).await.len(), 2);
    let names = |label: Option<&str>| ReadNames { label: label.map(Into::into), matchers: matchers.clone(), range };
    assert_eq!(same(&near, names(None)).await, ["a=\"b\""]);
    assert_eq!(same(&near, names(Some("n"))).await.len(), 3000);
    assert_eq!(same(&near, ReadExemplars { matchers: matchers.clone(), range }).await.len(), 3000);
    assert_eq!(same(&near, ReadMetadata).await.len(), 3000);
    let complete = same(&near, ReadCompleteness { lasting: Duration::from_secs(3) }).await;
    assert_eq!(complete, Completeness { from: -2, unflushed_from: 3000, version: 12 });
    assert_eq!(same(&near, ReadCompleteness { lasting: Duration::MAX }).await.unflushed_from, i64::MAX);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_fragment_has_the_value_of_the_local_one() {
    let near = fake(3000, 3);
    let fragment = Arc::new(fragment());
    let a = fragment.remote(&remote(&near, "node:1"), &scope(), &budget(u64::MAX)).await.unwrap();
    let b = fragment.local(near.as_ref(), &scope(), &budget(u64::MAX)).unwrap();
    assert_eq!((a.notes, a.stats), (b.notes, b.stats));
    assert!(a.names_go && a.rows.len() > 1);
    assert_eq!(a.rows, b.rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_selection_ends_on_the_node_and_fails_its_fetches() {
    let source = fake(3000, 100);
    let far = remote(&source, "node:1");
    let budget = budget(u64::MAX);
    let set = far.select(&scope(), &request(0), &budget).await.unwrap();
    set.close();
    let error = set.fetch_parts(0..3000, TimeRange::ALL, &mut SeriesBatch::default()).await.err().unwrap();
    assert!(error.is_retryable() && error.to_string().contains("closed"), "{error}");
    drop(set);
    assert_eq!(budget.used_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_response_names_a_newer_view() {
    let near = Arc::new(Fake { series: 5, samples: 5, newer_version: Some(12), ..Fake::default() });
    let (matchers, range) = (Arc::from([Matcher::equal("a", "b")]), TimeRange::ALL);
    let names = ReadNames { label: None, matchers: Arc::clone(&matchers), range };
    assert_eq!(named_by(&near, names).await, 12);
    assert_eq!(named_by(&near, ReadSeries { matchers: matchers.clone(), range, limit: 0 }).await, 12);
    assert_eq!(named_by(&near, ReadExemplars { matchers, range }).await, 12);
    assert_eq!(named_by(&near, ReadMetadata).await, 12);
    assert_eq!(named_by(&near, ReadCompleteness { lasting: Duration::ZERO }).await, 12);
    assert_eq!(named_by(&near, Arc::new(fragment())).await, 12);
    let newer = NewerView::default();
    let far = remote(&near, "node:1").reporting_to(newer.clone());
    far.select(&scope(), &request(0), &budget(u64::MAX)).await.unwrap();
    assert_eq!(newer.version(), 12);
}

/// The newer version that the response to a read names.
async fn named_by<R: Read>(near: &Arc<Fake>, read: R) -> u64 {
    let newer = NewerView::default();
    let far = remote(near, "node:1").reporting_to(newer.clone());
    assert!(read.remote(&far, &scope(), &budget(u64::MAX)).await.is_ok());
    newer.version()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_keep_their_reason() {
    let failing = |failure: Option<SelectError>, refused: Option<Refused>| {
        Arc::new(Fake { series: 5, samples: 5, failure, refused, ..Fake::default() })
    };
    let reason = "shard 3 is not in sync".into();
    let refused = Refused { shards: [3].into_iter().collect(), reason, complete: None };
    for failure in [SelectError::Memory { limit: 5 }, SelectError::Storage("disk".into()), SelectError::Cancelled] {
        let far = remote(&failing(Some(failure.clone()), None), "node:1");
        let error = far.select(&scope(), &request(0), &budget(u64::MAX)).await.err().unwrap();
        assert_eq!(error.into_select_error().to_string(), failure.to_string());
    }
    let far = remote(&failing(None, Some(refused.clone())), "node:1");
    let error = far.select(&scope(), &request(0), &budget(u64::MAX)).await.err().unwrap();
    assert!(matches!(&error, ReadError::Refused(r) if *r == refused), "{error:?}");
    let far = remote(&fake(5, 5), "node:1");
    let error = far.select(&scope(), &request(4), &budget(u64::MAX)).await.err().unwrap();
    assert!(matches!(error.into_select_error(), SelectError::Series { limit: 4 }));
    let away = remote(&fake(5, 5), "elsewhere:1");
    let error = away.select(&scope(), &request(0), &budget(u64::MAX)).await.err().unwrap();
    assert!(error.is_retryable() && error.to_string().contains("elsewhere:1"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_on_both_sides() {
    let far = remote(&fake(4000, 50), "node:1");
    let small = budget(1_200_000);
    let set = far.select(&scope(), &request(0), &small).await.unwrap();
    let error = set.fetch_parts(0..4000, TimeRange::ALL, &mut SeriesBatch::default()).await.err().unwrap();
    assert!(matches!(error.into_select_error(), SelectError::Memory { .. }));
    let none = budget(10_000);
    let error = far.select(&scope(), &request(0), &none).await.err().unwrap();
    assert!(matches!(error.into_select_error(), SelectError::Memory { .. }));
    drop(set);
    assert_eq!((small.used_bytes(), none.used_bytes()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_read_ends_on_the_node() {
    for by_budget in [false, true] {
        let slow = Arc::new(Fake { waits: true, ..Fake::default() });
        let (far, budget) = (remote(&slow, "node:1"), budget(u64::MAX));
        let asking = tokio::spawn({
            let budget = budget.clone();
            async move { far.select(&scope(), &request(0), &budget).await.map(|_| ()) }
        });
        let reached = |flag: fn(&Fake) -> &AtomicBool| {
            let slow = slow.clone();
            blocking(move || {
                while !flag(&slow).load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            })
        };
        reached(|fake| &fake.is_waiting).await;
        if by_budget {
            budget.cancel();
            let error = asking.await.unwrap().err().unwrap();
            assert!(matches!(error.into_select_error(), SelectError::Cancelled));
        } else {
            asking.abort();
        }
        reached(|fake| &fake.was_cancelled).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_that_a_node_does_not_have_are_refused() {
    let near = fake(5, 5);
    let far = remote(&near, "node:1");
    let store = RemoteSource { role: SourceRole::Store, ..far };
    let error = store.select(&scope(), &request(0), &budget(u64::MAX)).await.err().unwrap();
    assert!(matches!(&error, ReadError::Refused(refused) if refused.shards.is_empty()), "{error:?}");
    assert_eq!(near.fetches.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_less_complete_data_refuses_reads() {
    // Both shards together are complete from -2, each of them alone from -1.
    let near = fake(5, 5);
    let far = remote(&near, "node:1");
    for required_from in [None, Some(-2), Some(0), Some(i64::MAX)] {
        let scope = scope().requiring_from(required_from);
        assert!(far.select(&scope, &request(0), &budget(u64::MAX)).await.is_ok(), "{required_from:?}");
    }
    let selected = near.fetches.load(Ordering::SeqCst);
    let scope = scope().requiring_from(Some(-3));
    let (matchers, range) = (Arc::from([Matcher::equal("a", "b")]), TimeRange::new(-5, 5));
    let series = ReadSeries { matchers: Arc::clone(&matchers), range, limit: 0 };
    let names = ReadNames { label: None, matchers, range };
    for error in [
        far.select(&scope, &request(0), &budget(u64::MAX)).await.err().unwrap(),
        series.remote(&far, &scope, &budget(u64::MAX)).await.unwrap_err(),
        names.remote(&far, &scope, &budget(u64::MAX)).await.unwrap_err(),
        near.covers(&scope, Duration::from_secs(1)).unwrap_err(),
    ] {
        let ReadError::Refused(refused) = &error else { panic!("{error:?}") };
        assert_eq!(Some(&refused.shards), scope.shards.as_deref());
        assert_eq!(refused.complete.map(|complete| (complete.from, complete.version)), Some((-2, 12)));
        assert!(refused.reason.contains("shards 1,3 are complete only from -2, not from -3"), "{}", refused.reason);
    }
    assert_eq!(near.fetches.load(Ordering::SeqCst), selected, "nothing was selected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_selection_comes_with_its_samples_in_one_response() {
    let source = fake(100, 20);
    let budget = budget(u64::MAX);
    let set = remote(&source, "node:1").select(&scope(), &request(0), &budget).await.unwrap();
    assert!(set.has_inline(&(0..100)));
    let (_, responses) = budget.reads();
    assert_eq!(responses, 1);
    let near = FakeSet((0..100).map(labels).collect(), 20);
    for (series, range) in [(0..100, TimeRange::ALL), (7..30, TimeRange::new(5, 9)), (99..100, TimeRange::new(30, 40))]
    {
        let (mut a, mut b) = (SeriesBatch::default(), SeriesBatch::default());
        set.fetch_parts(series.clone(), range, &mut a).await.unwrap();
        near.fetch(series, range, &mut b).unwrap();
        assert_eq!(shown(&a), shown(&b));
    }
    assert_eq!(budget.reads(), (budget.reads().0, responses), "nothing else was sent");
    drop(set);
    assert_eq!(budget.used_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_selection_comes_with_its_first_samples() {
    let source = fake(3000, 100);
    let set = remote(&source, "node:1").select(&scope(), &request(0), &budget(u64::MAX)).await.unwrap();
    assert!(set.has_inline(&(0..16)) && !set.has_inline(&(0..3000)));
    let (mut a, mut b) = (SeriesBatch::default(), SeriesBatch::default());
    set.fetch_parts(5..900, TimeRange::ALL, &mut a).await.unwrap();
    FakeSet((0..3000).map(labels).collect(), 100).fetch(5..900, TimeRange::ALL, &mut b).unwrap();
    assert_eq!(shown(&a), shown(&b));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_reads_samples_only_when_they_are_fetched() {
    let source = fake(5, 5);
    let far = remote(&source, "node:1");
    let store = RemoteSource { role: SourceRole::Store, ..far };
    let mut routes = RoutesBuilder::default();
    let (clock, limits) = (Arc::new(SystemClock::new()), ReadLimits::default());
    QueryServices { ingester: None, store: Some(source), clock, memory: MemoryAccount::unlimited(), limits }
        .add_to(&mut routes);
    let store = RemoteSource { connect: Arc::new(Only(routes.routes())), ..store };
    let set = store.select(&scope(), &request(0), &budget(u64::MAX)).await.unwrap();
    assert!(!set.has_inline(&(0..1)));
}
