//! Grants queries the right to run, one thread each, and says why when it doesn't.
//!
//! A query waits in the fair [`queue`](crate::queue) until it gets a permit, times out or is cancelled. Work that was admitted
//! keeps its permit until it returns, also when nobody waits for the result any more: its budget is cancelled then, so that
//! it returns soon.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pharos_model::{Budget, Clock, TenantId};

use crate::limits::LimitsByTenant;
use crate::metrics::QueryMetrics;
use crate::queue::{FairQueue, Full, Party, Turn};
use crate::registry::{Registered, Stage};

/// Why a query was not run, or did not return.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// As many queries of the tenant wait as its limit allows.
    #[error("too many queries of {party} wait: the limit max_queued_queries is {limit}")]
    QueueFull {
        /// Whose queue is full.
        party: Party,
        /// Its `max_queued_queries`.
        limit: usize,
    },
    /// The query got no permit within its timeout.
    #[error("query timed out in query queue")]
    TimedOut,
    /// The query was cancelled through the API while it waited.
    #[error("query was canceled in query queue")]
    Canceled,
    /// The queue is gone, because the process stops.
    #[error("the server is stopping")]
    Stopping,
    /// The work panicked.
    #[error("query failed unexpectedly: {0}")]
    Panicked(String),
}

/// Blocking work that waits for a permit.
pub struct Job<'a> {
    /// Whose permit it takes.
    pub tenant: &'a TenantId,
    /// Cancelled when the caller stops waiting.
    pub budget: &'a Arc<Budget>,
    /// Longest wait for a permit.
    pub timeout: Duration,
    /// Its entry in the registry, for queries that can be listed and cancelled.
    pub registered: Option<&'a Registered>,
}

/// The permit of work that was admitted, returned when it is dropped.
pub struct Admitted {
    /// How long the work waited for it.
    pub waited: Duration,
    _turn: Turn,
}

/// Whether a tenant has samples or limits of its own. Asked for every query.
pub type IsKnown = Arc<dyn Fn(&TenantId) -> bool + Send + Sync>;

/// Admits blocking work, within the limits of its tenant and of the process.
#[derive(Clone)]
pub struct Admission {
    queue: Arc<FairQueue>,
    limits: Arc<ArcSwap<LimitsByTenant>>,
    is_known: IsKnown,
    clock: Arc<dyn Clock>,
    metrics: QueryMetrics,
}

impl Admission {
    /// Admits `max_concurrency` jobs at a time, and of each tenant as many as `limits` allow. Tenants that are not known count as
    /// one.
    pub fn new(
        max_concurrency: usize,
        limits: Arc<ArcSwap<LimitsByTenant>>,
        is_known: IsKnown,
        clock: Arc<dyn Clock>,
        metrics: QueryMetrics,
    ) -> Self {
        Admission { queue: FairQueue::new(max_concurrency), limits, is_known, clock, metrics }
    }

    /// The party as which a tenant takes turns.
    pub fn party(&self, tenant: &TenantId) -> Party {
        if (self.is_known)(tenant) { Party::Tenant(tenant.clone()) } else { Party::Unknown }
    }

    /// Runs blocking work on a thread of its own as soon as its tenant has a permit. Returns the result of the work and its
    /// permit, for those who still have to write the result.
    ///
    /// # Errors
    /// The work's own, or an [`AdmissionError`] when it was not run to its end.
    pub async fn run<T, E>(
        &self,
        job: Job<'_>,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<(T, Admitted), E>
    where
        T: Send + 'static,
        E: From<AdmissionError> + Send + 'static,
    {
        // This future is dropped when the client goes away.
        let cancel = job.budget.cancel_on_drop();
        let waited_from = self.clock.monotonic();
        let turn = self.wait(&job).await?;
        let waited = self.clock.monotonic().saturating_sub(waited_from);
        self.metrics.queue_seconds.observe(waited.as_secs_f64());
        if let Some(registered) = job.registered {
            registered.enter(Stage::Evaluating);
        }
        self.metrics.running.inc();
        let running = self.metrics.running.clone();
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            running.dec();
            result.map(|result| (result, Admitted { waited, _turn: turn }))
        });
        let result = done.await.map_err(|e| AdmissionError::Panicked(e.to_string()))?;
        cancel.disarm();
        result
    }

    async fn wait(&self, job: &Job<'_>) -> Result<Turn, AdmissionError> {
        let limits = self.limits.load();
        let limits = limits.of(job.tenant);
        let party = self.party(job.tenant);
        let waiting = FairQueue::enter(&self.queue, &party, limits.max_concurrency, limits.max_queued);
        let waiting = waiting.map_err(|Full { limit }| {
            self.metrics.refused.inc();
            AdmissionError::QueueFull { party, limit }
        })?;
        let queued = Gauged::new(&self.metrics.queued);
        let cancelled = async {
            match job.registered {
                Some(registered) => registered.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let turn = tokio::select! {
            // Usually there is a permit at once, and no timer is needed.
            biased;
            turn = waiting => turn.ok_or(AdmissionError::Stopping),
            () = tokio::time::sleep(job.timeout) => Err(AdmissionError::TimedOut),
            () = cancelled => Err(AdmissionError::Canceled),
        };
        drop(queued);
        turn
    }
}

/// Adds one to a gauge while it lives.
struct Gauged(prometheus::IntGauge);

impl Gauged {
    fn new(gauge: &prometheus::IntGauge) -> Self {
        gauge.inc();
        Gauged(gauge.clone())
    }
}

impl Drop for Gauged {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use pharos_model::SystemClock;

    use super::*;
    use crate::limits::QueryLimits;

    #[tokio::test]
    async fn tenants_that_are_not_known_have_one_queue_together() {
        let defaults = QueryLimits { max_queued: 1, ..QueryLimits::default() };
        let limits = Arc::new(ArcSwap::from_pointee(LimitsByTenant { defaults, ..LimitsByTenant::default() }));
        let metrics = QueryMetrics::register(&prometheus::Registry::new()).unwrap();
        let is_known: IsKnown = Arc::new(|tenant| tenant.as_str() == "known");
        let admission = Admission::new(1, limits, is_known, Arc::new(SystemClock::new()), metrics);
        let budget = Arc::new(Budget::unlimited());
        let tenants = ["known", "invented-1", "invented-2"].map(|name| TenantId::new(name).unwrap());
        let job = |tenant| Job { tenant, budget: &budget, timeout: Duration::from_secs(60), registered: None };
        let idle = || Ok::<_, AdmissionError>(());
        let (_done, running) = admission.run(job(&tenants[0]), idle).await.unwrap();
        let mut waiting = Box::pin(admission.run(job(&tenants[1]), idle));
        assert!((&mut waiting).now_or_never().is_none());
        let refused = admission.run(job(&tenants[2]), idle).await.err();
        assert_eq!(refused, Some(AdmissionError::QueueFull { party: Party::Unknown, limit: 1 }));
        drop(running);
        assert!(waiting.await.is_ok());
    }
}
