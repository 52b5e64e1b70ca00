//! The registry of active queries, which lists the queries in flight and cancels them on request.
//!
//! A query is active from its arrival until its response is written.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pharos_model::{Budget, Labels, SelectError, SelectRequest, SeriesBatch, SeriesSet, TenantId, TimeRange};
use pharos_promql::Querier;
use prometheus::IntGaugeVec;
use tokio::sync::Notify;

/// The evaluation times of a query, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The single time of an instant query.
    At(i64),
    /// The steps of a range query.
    Range {
        /// Time of the first step.
        start: i64,
        /// Upper bound of the steps, inclusive.
        end: i64,
        /// Distance between two steps.
        step: i64,
    },
}

impl Times {
    /// Returns start, end and step. An instant query starts and ends at its time and has step 0.
    pub fn as_range(self) -> (i64, i64, i64) {
        match self {
            Times::At(t) => (t, t, 0),
            Times::Range { start, end, step } => (start, end, step),
        }
    }

    /// Returns the number of steps, which is 1 for an instant query.
    pub fn steps(self) -> i64 {
        match self {
            Times::At(_) => 1,
            Times::Range { start, end, step } => end.saturating_sub(start) / step.max(1) + 1,
        }
    }
}

/// The stage that a query has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The query waits for a permit.
    Queued,
    /// The engine evaluates the query.
    Evaluating,
    /// The response is being written.
    Answering,
}

impl Stage {
    /// Returns the name of the stage in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Queued => "queued",
            Stage::Evaluating => "evaluating",
            Stage::Answering => "answering",
        }
    }

    fn from_number(number: u8) -> Self {
        match number {
            0 => Stage::Queued,
            1 => Stage::Evaluating,
            _ => Stage::Answering,
        }
    }
}

/// The facts about a query that are known when it starts.
pub struct QueryStart {
    /// The tenant that sent the query.
    pub tenant: TenantId,
    /// The endpoint: `query` or `query_range`.
    pub endpoint: &'static str,
    /// The text of the query.
    pub text: String,
    /// The evaluation times.
    pub times: Times,
    /// Start on the wall clock, milliseconds since the epoch.
    pub started_ms: i64,
    /// Start on the monotonic clock.
    pub began: Duration,
    /// The budget, which cancelling the query cancels.
    pub budget: Arc<Budget>,
}

/// A query in flight.
pub struct ActiveQuery {
    /// The ID of the query, unique within this process.
    pub id: u64,
    /// The facts from the start of the query.
    pub start: QueryStart,
    stage: AtomicU8,
    samples_read: AtomicU64,
    cancelled: AtomicBool,
    wake: Notify,
}

impl ActiveQuery {
    /// Returns the current stage.
    pub fn stage(&self) -> Stage {
        Stage::from_number(self.stage.load(Ordering::Relaxed))
    }

    /// Returns the number of samples that the query has read so far.
    pub fn samples_read(&self) -> u64 {
        self.samples_read.load(Ordering::Relaxed)
    }

    /// Returns whether the query was cancelled through the API.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.start.budget.cancel();
        self.wake.notify_one();
    }
}

/// All queries in flight.
pub struct ActiveQueries {
    by_id: Mutex<BTreeMap<u64, Arc<ActiveQuery>>>,
    next_id: AtomicU64,
    stages: IntGaugeVec,
}

impl ActiveQueries {
    /// Creates an empty registry. `stages` counts the queries by stage.
    pub fn new(stages: IntGaugeVec) -> Arc<Self> {
        Arc::new(ActiveQueries { by_id: Mutex::default(), next_id: AtomicU64::new(1), stages })
    }

    /// Adds a query. Dropping the returned guard removes it.
    pub fn register(registry: &Arc<Self>, start: QueryStart) -> Registered {
        let query = Arc::new(ActiveQuery {
            id: registry.next_id.fetch_add(1, Ordering::Relaxed),
            start,
            stage: (Stage::Queued as u8).into(),
            samples_read: 0.into(),
            cancelled: false.into(),
            wake: Notify::new(),
        });
        registry.lock().insert(query.id, query.clone());
        registry.gauge(Stage::Queued).inc();
        Registered { registry: registry.clone(), query }
    }

    /// Returns the queries of `tenant`, or of all tenants if it is `None`, oldest first.
    pub fn list(&self, tenant: Option<&TenantId>) -> Vec<Arc<ActiveQuery>> {
        let of_tenant = |query: &&Arc<ActiveQuery>| tenant.is_none_or(|tenant| *tenant == query.start.tenant);
        self.lock().values().filter(of_tenant).cloned().collect()
    }

    /// Cancels the query `id` of `tenant`, or of any tenant if it is `None`. Returns `false` if there is no such query.
    pub fn cancel(&self, tenant: Option<&TenantId>, id: u64) -> bool {
        let query = self.lock().get(&id).cloned();
        let query = query.filter(|query| tenant.is_none_or(|tenant| *tenant == query.start.tenant));
        query.inspect(|query| query.cancel()).is_some()
    }

    /// Cancels all queries, because the process is about to end.
    pub fn cancel_all(&self) {
        self.lock().values().for_each(|query| query.cancel());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<ActiveQuery>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gauge(&self, stage: Stage) -> prometheus::IntGauge {
        self.stages.with_label_values(&[stage.as_str()])
    }
}

/// A guard that keeps a query in the registry.
pub struct Registered {
    registry: Arc<ActiveQueries>,
    query: Arc<ActiveQuery>,
}

impl Registered {
    /// Returns the registered query.
    pub fn query(&self) -> &Arc<ActiveQuery> {
        &self.query
    }

    /// Moves the query to a stage.
    pub fn enter(&self, stage: Stage) {
        let before = self.query.stage.swap(stage as u8, Ordering::Relaxed);
        self.registry.gauge(Stage::from_number(before)).dec();
        self.registry.gauge(stage).inc();
    }

    /// Waits until the query is cancelled through the API.
    pub async fn cancelled(&self) {
        self.query.wake.notified().await;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.query.id);
        self.registry.gauge(self.query.stage()).dec();
    }
}

/// A querier that counts the samples that a query reads from another one.
pub struct Counted<Q> {
    /// The querier that is read.
    pub querier: Q,
    /// The query that the samples count towards.
    pub query: Arc<ActiveQuery>,
}

impl<Q: Querier> Querier for Counted<Q> {
    fn select(&self, request: &SelectRequest, budget: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        let set = self.querier.select(request, budget)?;
        Ok(Arc::new(CountedSet { set, query: self.query.clone() }))
    }
}

struct CountedSet {
    set: Arc<dyn SeriesSet>,
    query: Arc<ActiveQuery>,
}

impl SeriesSet for CountedSet {
    fn labels(&self) -> &[Labels] {
        self.set.labels()
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        let before = out.samples();
        self.set.fetch(series, range, out)?;
        self.query.samples_read.fetch_add((out.samples() - before) as u64, Ordering::Relaxed);
        Ok(())
    }

    fn prefetch(&self, series: Range<usize>, range: TimeRange) {
        self.set.prefetch(series, range);
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Opts;

    use super::*;

    #[test]
    fn queries_are_listed_and_cancelled_by_their_tenant() {
        let stages = IntGaugeVec::new(Opts::new("stages", "By stage."), &["stage"]).unwrap();
        let registry = ActiveQueries::new(stages.clone());
        let (a, b) = (TenantId::new("a").unwrap(), TenantId::new("b").unwrap());
        let start = |tenant: &TenantId| QueryStart {
            tenant: tenant.clone(),
            endpoint: "query",
            text: "up".into(),
            times: Times::At(0),
            started_ms: 0,
            began: Duration::ZERO,
            budget: Arc::new(Budget::unlimited()),
        };
        let of_a = ActiveQueries::register(&registry, start(&a));
        let of_b = ActiveQueries::register(&registry, start(&b));
        let id = of_a.query().id;
        assert_eq!((registry.list(Some(&a)).len(), registry.list(None).len()), (1, 2));
        assert!(!registry.cancel(Some(&b), id) && !of_a.query().is_cancelled());
        assert!(registry.cancel(Some(&a), id) && of_a.query().is_cancelled());
        assert!(of_a.query().start.budget.check().is_err() && of_b.query().start.budget.check().is_ok());
        of_a.enter(Stage::Evaluating);
        let count = |stage: &str| stages.with_label_values(&[stage]).get();
        assert_eq!((count("queued"), count("evaluating")), (1, 1));
        drop((of_a, of_b));
        assert_eq!((count("queued"), count("evaluating"), registry.list(None).len()), (0, 0, 0));
        assert!(!registry.cancel(None, id));
    }
}
