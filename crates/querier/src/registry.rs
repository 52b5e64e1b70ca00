//! The queries that wait, run or are being answered: they can be seen, and each of them can be cancelled.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pharos_model::{Budget, Labels, SelectError, SelectRequest, SeriesBatch, SeriesSet, TenantId, TimeRange};
use pharos_promql::Querier;
use prometheus::IntGaugeVec;
use tokio::sync::Notify;

/// Times of a query, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// At one moment.
    At(i64),
    /// Over a range.
    Range {
        /// First step.
        start: i64,
        /// No step is later.
        end: i64,
        /// Between two steps.
        step: i64,
    },
}

impl Times {
    /// Start, end and step; of a moment, itself twice and 0.
    pub fn as_range(self) -> (i64, i64, i64) {
        match self {
            Times::At(t) => (t, t, 0),
            Times::Range { start, end, step } => (start, end, step),
        }
    }

    /// The number of steps.
    pub fn steps(self) -> i64 {
        match self {
            Times::At(_) => 1,
            Times::Range { start, end, step } => end.saturating_sub(start) / step.max(1) + 1,
        }
    }
}

/// What a query does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits for its turn.
    Queued,
    /// It is evaluated.
    Evaluating,
    /// Its answer is being written.
    Answering,
}

impl Stage {
    /// As it is shown.
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

/// What is known of a query when it begins.
pub struct QueryStart {
    /// Whose it is.
    pub tenant: TenantId,
    /// `query` or `query_range`.
    pub endpoint: &'static str,
    /// Its text.
    pub text: String,
    /// Its times.
    pub times: Times,
    /// When it came, milliseconds since the epoch.
    pub started_ms: i64,
    /// The same on the monotonic clock.
    pub began: Duration,
    /// Its budget.
    pub budget: Arc<Budget>,
}

/// A query under way.
pub struct ActiveQuery {
    /// Its number in this process.
    pub id: u64,
    /// What it is.
    pub start: QueryStart,
    stage: AtomicU8,
    samples_read: AtomicU64,
    cancelled: AtomicBool,
    wake: Notify,
}

impl ActiveQuery {
    /// What it does at the moment.
    pub fn stage(&self) -> Stage {
        Stage::from_number(self.stage.load(Ordering::Relaxed))
    }

    /// Samples that it has read from its sources so far.
    pub fn samples_read(&self) -> u64 {
        self.samples_read.load(Ordering::Relaxed)
    }

    /// Whether it was cancelled through the API.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.start.budget.cancel();
        self.wake.notify_one();
    }
}

/// All queries under way.
pub struct ActiveQueries {
    by_id: Mutex<BTreeMap<u64, Arc<ActiveQuery>>>,
    next_id: AtomicU64,
    stages: IntGaugeVec,
}

impl ActiveQueries {
    /// None yet. The gauges count queries by stage.
    pub fn new(stages: IntGaugeVec) -> Arc<Self> {
        Arc::new(ActiveQueries { by_id: Mutex::default(), next_id: AtomicU64::new(1), stages })
    }

    /// Adds a query; it leaves when what is returned is dropped.
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

    /// The queries of a tenant, or of all, the oldest first.
    pub fn list(&self, tenant: Option<&TenantId>) -> Vec<Arc<ActiveQuery>> {
        let of_tenant = |query: &&Arc<ActiveQuery>| tenant.is_none_or(|tenant| *tenant == query.start.tenant);
        self.lock().values().filter(of_tenant).cloned().collect()
    }

    /// Cancels a query of a tenant, or of any; false when there is none of that number.
    pub fn cancel(&self, tenant: Option<&TenantId>, id: u64) -> bool {
        let query = self.lock().get(&id).cloned();
        let query = query.filter(|query| tenant.is_none_or(|tenant| *tenant == query.start.tenant));
        query.inspect(|query| query.cancel()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<ActiveQuery>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gauge(&self, stage: Stage) -> prometheus::IntGauge {
        self.stages.with_label_values(&[stage.as_str()])
    }
}

/// A query's place among those under way.
pub struct Registered {
    registry: Arc<ActiveQueries>,
    query: Arc<ActiveQuery>,
}

impl Registered {
    /// The query.
    pub fn query(&self) -> &Arc<ActiveQuery> {
        &self.query
    }

    /// Goes on to a stage.
    pub fn enter(&self, stage: Stage) {
        let before = self.query.stage.swap(stage as u8, Ordering::Relaxed);
        self.registry.gauge(Stage::from_number(before)).dec();
        self.registry.gauge(stage).inc();
    }

    /// Resolves when the query is cancelled through the API.
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

/// A source that counts the samples that a query reads from it.
pub struct Counted<Q> {
    /// The source.
    pub querier: Q,
    /// The query.
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
    fn queries_are_seen_and_cancelled_by_their_tenant() {
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
