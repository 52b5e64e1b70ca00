//! Queries under way: who waits ([`queue`]), what runs and how to end it ([`registry`]), and what is written of those that
//! have ended ([`log`]).

pub mod log;
pub mod queue;
pub mod registry;

use std::sync::Arc;
use std::time::Duration;

use pharos_model::{Budget, TenantId};

use crate::Frontend;
use crate::error::{ApiError, ErrorKind};
use queue::{FairQueue, Full, Turn};
use registry::{Registered, Stage};

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

/// What waits for a turn and then runs.
pub(crate) struct Job<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) budget: &'a Arc<Budget>,
    /// Longest wait.
    pub(crate) timeout: Duration,
    /// Its place among the queries that can be seen and cancelled, if it has one.
    pub(crate) registered: Option<&'a Registered>,
}

/// Cancels a query when the handler that waits for it is dropped, because the client went away.
struct CancelOnDrop(Option<Arc<Budget>>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.iter().for_each(|budget| budget.cancel());
    }
}

/// Runs blocking work on a thread for it, once it is its tenant's turn. Returns how long it waited, too.
pub(crate) async fn run<T: Send + 'static>(
    frontend: &Arc<Frontend>,
    job: Job<'_>,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<(T, Duration), ApiError> {
    let mut cancel = CancelOnDrop(Some(job.budget.clone()));
    let waited_from = frontend.clock.monotonic();
    let turn = wait(frontend, &job).await?;
    let waited = frontend.clock.monotonic().saturating_sub(waited_from);
    frontend.metrics.queue_seconds.observe(waited.as_secs_f64());
    if let Some(registered) = job.registered {
        registered.enter(Stage::Evaluating);
    }
    frontend.metrics.running.inc();
    let running = frontend.metrics.running.clone();
    let done = tokio::task::spawn_blocking(move || {
        let result = work();
        running.dec();
        drop(turn);
        result
    });
    let result = done.await.map_err(|e| ApiError::internal(format!("query failed unexpectedly: {e}")))?;
    // It has ended by itself.
    cancel.0 = None;
    Ok((result?, waited))
}

async fn wait(frontend: &Arc<Frontend>, job: &Job<'_>) -> Result<Turn, ApiError> {
    let limits = frontend.config.limits.load();
    let limits = limits.of(job.tenant);
    let waiting = FairQueue::enter(&frontend.queue, job.tenant, limits.max_concurrency, limits.max_queued);
    let waiting = waiting.map_err(|Full { limit }| {
        frontend.metrics.refused.inc();
        let reason = format!("too many queries of tenant {} wait: the limit max_queued_queries is {limit}", job.tenant);
        ApiError::new(ErrorKind::TooManyRequests, reason)
    })?;
    let queued = Gauged::new(&frontend.metrics.queued);
    let cancelled = async {
        match job.registered {
            Some(registered) => registered.cancelled().await,
            None => std::future::pending().await,
        }
    };
    let turn = tokio::select! {
        turn = waiting => turn.ok_or_else(|| ApiError::new(ErrorKind::Unavailable, "the server is stopping")),
        () = tokio::time::sleep(job.timeout) => {
            Err(ApiError::new(ErrorKind::Timeout, "query timed out in query queue"))
        }
        () = cancelled => Err(ApiError::new(ErrorKind::Canceled, "query was canceled in query queue")),
    };
    drop(queued);
    turn
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
