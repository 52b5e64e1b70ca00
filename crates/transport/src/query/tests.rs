//! Tests that a remote source returns the same results as the local one, and that dropped reads end on the node.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pharos_model::fragment::{FragmentResult, FragmentStats, Note, NoteExtra, Steps};
use pharos_model::{
    Budget, Exemplar, Fragment, FragmentAnswer, FragmentError, Histogram, Labels, Matcher, Metadata, MetricType,
    SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView, SystemClock, TenantId, TimeRange,
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
            let (ht, h) = if at % 3 == 0 { (vec![7], vec![h]) } else { (vec![], vec![]) };
            out.push(SeriesView { t: &t, v: &v, ht: &ht, h: &h, ..SeriesView::EMPTY });
        }
        Ok(())
    }
}

impl SeriesSource for Fake {
    fn admit(&self, _: &TenantId, view: &ReadView) -> Result<(), Refused> {
        assert_eq!((view.incarnation, view.version), (2, 9));
        self.refused.clone().map_or(Ok(()), Err)
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

    fn series(&self, _: &Scope, _: &[Matcher], _: TimeRange, limit: usize) -> Result<Vec<Labels>, SelectError> {
        let most = if limit == 0 { usize::MAX } else { limit };
        Ok((0..self.series.min(most)).map(labels).collect())
    }

    fn label_names(&self, _: &Scope, matchers: &[Matcher], _: TimeRange) -> Result<Vec<String>, SelectError> {
        Ok(matchers.iter().map(|m| m.to_string()).collect())
    }

    fn label_values(&self, _: &Scope, name: &str, _: &[Matcher], _: TimeRange) -> Result<Vec<String>, SelectError> {
        Ok((0..self.series).map(|at| format!("{name}{at}")).collect())
    }

    fn exemplars(&self, _: &Scope, _: &[Matcher], range: TimeRange) -> Result<Vec<SeriesExemplars>, SelectError> {
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
        let set = FakeSet((0..self.series).map(labels).collect(), self.samples);
        let mut samples = SeriesBatch::default();
        set.fetch(0..self.series, TimeRange::ALL, &mut samples)?;
        let full = FragmentResult { labels: set.0, samples, names_go: true };
        let note = Note { text: format!("{fragment:?}"), pos: 3, extra: NoteExtra::Count(2) };
        let stats = FragmentStats { samples_read: 5, queryable_by_step: vec![1, 2], ..FragmentStats::default() };
        Ok(FragmentAnswer { results: vec![full, FragmentResult::default()], notes: vec![note], stats })
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
        limits: ReadLimits::default(),
    };
    services.add_to(&mut routes);
    let view = ReadView { incarnation: 2, version: 9, epochs: (0..8).map(|shard| (shard, 5)).collect(), deletions: 4 };
    RemoteSource::new(Arc::new(Only(routes.routes())), address, SourceRole::Ingester, view, Handle::current())
}

fn fake(series: usize, samples: usize) -> Arc<Fake> {
    Arc::new(Fake { series, samples, ..Fake::default() })
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
    let far = remote(&source, "node:1");
    blocking(move || {
        let budget = budget(u64::MAX);
        let set = SeriesSource::select(&far, &scope(), &request(0), &budget).unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remote_reads_equal_local_ones() {
    let near = fake(3000, 3);
    let far = remote(&near, "node:1");
    blocking(move || {
        let (scope, matchers, range) = (scope(), [Matcher::equal("a", "b")], TimeRange::new(-5, 5));
        assert!(far.series(&scope, &matchers, range, 0).unwrap() == near.series(&scope, &matchers, range, 0).unwrap());
        assert_eq!(far.series(&scope, &matchers, range, 2).unwrap().len(), 2);
        assert_eq!(far.label_names(&scope, &matchers, range).unwrap(), ["a=\"b\""]);
        let values = far.label_values(&scope, "n", &matchers, range).unwrap();
        assert_eq!(values, near.label_values(&scope, "n", &matchers, range).unwrap());
        assert_eq!(far.exemplars(&scope, &matchers, range).unwrap(), near.exemplars(&scope, &matchers, range).unwrap());
        assert_eq!(far.metadata(&scope).unwrap(), near.metadata(&scope).unwrap());
        let complete = far.completeness(&scope, Duration::from_secs(3)).unwrap();
        assert_eq!(complete, Completeness { from: -2, unflushed_from: 3000, version: 12 });
        assert_eq!(far.completeness(&scope, Duration::MAX).unwrap().unflushed_from, i64::MAX);
        let steps = Steps { start: 1, end: 9, step: 2 };
        let fragment = Fragment {
            query: "sum(x)".into(),
            place: 0..6,
            expressions: vec!["sum(x)".into(), "count(x)".into()],
            times: steps,
            steps: Steps { step: 0, ..steps },
            lookback_ms: 300_000,
            max_samples: 10,
            max_series: 11,
            type_and_unit_labels: true,
            use_start_timestamps: true,
            samples_per_step: true,
        };
        let (a, b) = (
            far.evaluate(&scope, &fragment, &budget(u64::MAX)).unwrap(),
            near.evaluate(&scope, &fragment, &budget(u64::MAX)).unwrap(),
        );
        assert_eq!((a.notes, a.stats), (b.notes, b.stats));
        for (a, b) in a.results.iter().zip(&b.results) {
            assert!(a.labels == b.labels && a.names_go == b.names_go && shown(&a.samples) == shown(&b.samples));
        }
    })
    .await;
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
        let error = RemoteSource::select(&far, &scope(), &request(0), &budget(u64::MAX)).await.err().unwrap();
        assert_eq!(error.into_select_error().to_string(), failure.to_string());
    }
    let far = remote(&failing(None, Some(refused.clone())), "node:1");
    let error = RemoteSource::select(&far, &scope(), &request(0), &budget(u64::MAX)).await.err().unwrap();
    assert!(matches!(&error, ReadError::Refused(r) if *r == refused), "{error:?}");
    let far = remote(&fake(5, 5), "node:1");
    let error = RemoteSource::select(&far, &scope(), &request(4), &budget(u64::MAX)).await.err().unwrap();
    assert!(matches!(error.into_select_error(), SelectError::Series { limit: 4 }));
    let away = remote(&fake(5, 5), "elsewhere:1");
    let error = RemoteSource::select(&away, &scope(), &request(0), &budget(u64::MAX)).await.err().unwrap();
    assert!(error.is_retryable() && error.to_string().contains("elsewhere:1"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_on_both_sides() {
    let far = remote(&fake(4000, 50), "node:1");
    let small = budget(1_200_000);
    let set = RemoteSource::select(&far, &scope(), &request(0), &small).await.unwrap();
    let error = set.fetch_parts(0..4000, TimeRange::ALL, &mut SeriesBatch::default()).await.err().unwrap();
    assert!(matches!(error.into_select_error(), SelectError::Memory { .. }));
    let none = budget(10_000);
    let error = RemoteSource::select(&far, &scope(), &request(0), &none).await.err().unwrap();
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
            async move { RemoteSource::select(&far, &scope(), &request(0), &budget).await.map(|_| ()) }
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
    let error = RemoteSource::select(&store, &scope(), &request(0), &budget(u64::MAX)).await.err().unwrap();
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
        assert!(RemoteSource::select(&far, &scope, &request(0), &budget(u64::MAX)).await.is_ok(), "{required_from:?}");
    }
    let selected = near.fetches.load(Ordering::SeqCst);
    let scope = scope().requiring_from(Some(-3));
    let (matchers, range) = ([Matcher::equal("a", "b")], TimeRange::new(-5, 5));
    for error in [
        RemoteSource::select(&far, &scope, &request(0), &budget(u64::MAX)).await.err().unwrap(),
        far.read_series(&scope, &matchers, range, 0, &budget(u64::MAX)).await.unwrap_err(),
        far.read_names(&scope, None, &matchers, range, &budget(u64::MAX)).await.unwrap_err(),
        near.covers(&scope, Duration::from_secs(1)).unwrap_err(),
    ] {
        let ReadError::Refused(refused) = &error else { panic!("{error:?}") };
        assert_eq!(Some(&refused.shards), scope.shards.as_deref());
        assert_eq!(refused.complete.map(|complete| (complete.from, complete.version)), Some((-2, 12)));
        assert!(refused.reason.contains("shards 1,3 are complete only from -2, not from -3"), "{}", refused.reason);
    }
    assert_eq!(near.fetches.load(Ordering::SeqCst), selected, "nothing was selected");
}
