//! One evaluation of a group: its rules in order, or those that do not depend on each other concurrently.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_promql::VectorSample;
use pharos_rules::{Alert, Evaluation, GroupRule, RestorePolicy, RuleError};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::components::{OutgoingAlert, RulerComponents, RulerConfig};
use crate::group::RunningGroup;
use crate::metrics::RulerMetrics;
use crate::write;

/// The wait before a query that may succeed later is repeated.
const QUERY_RETRY: Duration = Duration::from_millis(500);

/// How far back the last evaluation of a group is looked for at least, milliseconds.
const LOST_LOOKBACK_MS: i64 = 60_000;

/// What all groups share.
pub(crate) struct Shared {
    pub(crate) config: RulerConfig,
    pub(crate) components: RulerComponents,
    pub(crate) metrics: RulerMetrics,
    concurrent: Option<Arc<Semaphore>>,
    stop: watch::Sender<bool>,
    /// The number of groups that are being evaluated.
    in_flight: watch::Sender<usize>,
}

/// Counts as a group that is being evaluated until it is dropped.
pub(crate) struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.send_modify(|count| *count -= 1);
    }
}

impl Shared {
    pub(crate) fn new(config: RulerConfig, components: RulerComponents, metrics: RulerMetrics) -> Arc<Self> {
        let concurrent =
            config.max_concurrent_evals.map(|max| Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))));
        let (stop, in_flight) = (watch::Sender::new(false), watch::Sender::new(0));
        Arc::new(Shared { config, components, metrics, concurrent, stop, in_flight })
    }

    /// Ends all loops after the rules that they evaluate: the process stops.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until the process stops.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // Cannot fail: the sender lives as long as `self`.
        let _stopped = stop.wait_for(|stop| *stop).await;
    }

    /// Begins the evaluation of a group, which ends when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.send_modify(|count| *count += 1);
        InFlight(self.clone())
    }

    /// Waits until no group is being evaluated.
    pub(crate) async fn await_idle(&self) {
        let mut in_flight = self.in_flight.subscribe();
        // Cannot fail: the sender lives as long as `self`.
        let _idle = in_flight.wait_for(|count| *count == 0).await;
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    fn restore_policy(&self) -> RestorePolicy {
        RestorePolicy {
            outage_tolerance_ms: milliseconds(self.config.outage_tolerance),
            grace_period_ms: milliseconds(self.config.grace_period),
        }
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Evaluates the rules of a group for a slot.
pub(crate) async fn iterate(shared: &Arc<Shared>, group: &Arc<RunningGroup>, slot_ms: i64) {
    let evaluation = Evaluation { restore: Some(shared.restore_policy()), ..group.rules.evaluation(slot_ms) };
    let key: Arc<str> = group.key().into();
    let task = RuleTask { shared: shared.clone(), group: group.clone(), evaluation: Arc::new(evaluation), key };
    let samples = match &shared.concurrent {
        Some(permits) if !group.batches.is_empty() => in_batches(&task, permits).await,
        _ => in_order(&task, 0..group.rules.rules().len()).await,
    };
    if shared.is_stopped() {
        return;
    }
    task.end_abandoned().await;
    let durations = group.rules.rules().iter().map(|rule| rule.status().duration);
    shared.metrics.evaluated(&task.key, samples, durations.sum());
}

/// When a group was evaluated last before a slot, by this ruler or another one, as its series say.
pub(crate) async fn evaluated_before(
    shared: &Arc<Shared>,
    group: &Arc<RunningGroup>,
    slot_ms: i64,
) -> Result<Option<i64>, String> {
    let (asked, answer) = (group.clone(), Arc::new(Mutex::new(None)));
    let slot = answer.clone();
    let work = Box::new(move |queries: &dyn pharos_rules::RuleQueries| {
        let lookback_ms = asked.rules.interval_ms.saturating_mul(3).max(LOST_LOOKBACK_MS);
        *slot.lock() = Some(asked.rules.evaluated_before(slot_ms, lookback_ms, queries));
    });
    let ran = tokio::select! {
        biased;
        ran = shared.components.engine.run(&group.tenant, work) => ran,
        () = shared.stopped() => return Ok(None),
    };
    ran.map_err(|failure| failure.to_string())?;
    let answer = answer.lock().take();
    answer.unwrap_or(Ok(None)).map_err(|error| error.to_string())
}

/// Evaluates rules one after another. Returns the number of their samples.
async fn in_order(task: &RuleTask, rules: impl Iterator<Item = usize>) -> usize {
    let mut samples = 0;
    for at in rules {
        if task.shared.is_stopped() {
            break;
        }
        samples += task.clone().evaluate(at).await;
    }
    samples
}

/// Evaluates batches one after another, and the rules of a batch concurrently as far as permits are left.
async fn in_batches(task: &RuleTask, permits: &Arc<Semaphore>) -> usize {
    let mut samples = 0;
    for batch in &task.group.batches {
        let mut running = JoinSet::new();
        for &at in batch {
            match permits.clone().try_acquire_owned() {
                Ok(permit) if batch.len() > 1 => {
                    let task = task.clone();
                    running.spawn(async move {
                        let samples = task.evaluate(at).await;
                        drop(permit);
                        samples
                    });
                }
                _ => samples += in_order(task, std::iter::once(at)).await,
            }
        }
        while let Some(done) = running.join_next().await {
            samples += done.unwrap_or_else(|error| {
                tracing::error!(group = &*task.key, %error, "the evaluation of a rule panicked");
                0
            });
        }
    }
    samples
}

/// The evaluation of a group for one slot.
#[derive(Clone)]
struct RuleTask {
    shared: Arc<Shared>,
    group: Arc<RunningGroup>,
    evaluation: Arc<Evaluation>,
    /// The name of the group in metrics.
    key: Arc<str>,
}

impl RuleTask {
    /// Evaluates a rule and keeps its outcome. Returns the number of its samples.
    async fn evaluate(self, at: usize) -> usize {
        let Some(rule) = self.group.rules.rules().get(at).cloned() else { return 0 };
        let clock = &self.shared.components.clock;
        let began = clock.monotonic();
        let began_ms = clock.now_ms();
        let outcome = self.attempt(&rule).await;
        let duration = clock.monotonic().saturating_sub(began);
        self.shared.metrics.rule_evaluated(&self.key, duration, outcome.is_ok());
        rule.set_timing(began_ms, duration);
        if let Err(error) = &outcome
            && !self.shared.is_stopped()
        {
            let (tenant, file, group) = (&self.group.tenant, &self.group.file, &self.group.rules.name);
            tracing::warn!(%tenant, file, group, rule = rule.spec().name, index = at, %error, "could not evaluate a rule");
        }
        let samples = *outcome.as_ref().unwrap_or(&0);
        rule.set_outcome(outcome.map(|_| ()));
        samples
    }

    async fn attempt(&self, rule: &Arc<GroupRule>) -> Result<usize, RuleError> {
        let samples = self.query(rule).await?;
        let count = samples.len();
        self.send_alerts(rule);
        let components = &self.shared.components;
        let (ingest, clock, tenant) = (&*components.ingest, &*components.clock, &self.group.tenant);
        let until_ms = self.evaluation.t_ms.saturating_add(self.evaluation.interval_ms);
        let is_stopped = || self.shared.is_stopped();
        let write = rule.write_of(samples, &self.evaluation);
        let outcome = write::write(ingest, clock, tenant, &write.samples, until_ms, is_stopped)
            .await
            .map_err(RuleError::Append)?;
        // Markers of series that another rule has taken over are rejected.
        write::write(ingest, clock, tenant, &write.stale, until_ms, is_stopped).await.map_err(RuleError::Append)?;
        rule.wrote(write);
        write::rejection(&outcome).map_or(Ok(count), |reason| Err(RuleError::Append(reason)))
    }

    /// Evaluates the expression and advances the alerts. A query that may succeed later is repeated once within the
    /// interval.
    async fn query(&self, rule: &Arc<GroupRule>) -> Result<Vec<VectorSample>, RuleError> {
        match self.query_once(rule).await {
            Err(error) if error.is_temporary() && self.has_time_for_another_query() => {
                self.shared.components.clock.sleep(QUERY_RETRY).await;
                self.query_once(rule).await
            }
            outcome => outcome,
        }
    }

    fn has_time_for_another_query(&self) -> bool {
        let late_ms = self.shared.components.clock.now_ms().saturating_sub(self.evaluation.t_ms);
        !self.shared.is_stopped() && late_ms.saturating_add(milliseconds(QUERY_RETRY)) < self.evaluation.interval_ms
    }

    async fn query_once(&self, rule: &Arc<GroupRule>) -> Result<Vec<VectorSample>, RuleError> {
        let result = Arc::new(Mutex::new(None));
        let (rule, evaluation, slot) = (rule.clone(), self.evaluation.clone(), result.clone());
        let work = Box::new(move |queries: &dyn pharos_rules::RuleQueries| {
            *slot.lock() = Some(rule.evaluate(&evaluation, queries));
        });
        let running = self.shared.components.engine.run(&self.group.tenant, work);
        let ran = tokio::select! {
            biased;
            ran = running => ran,
            // Dropping the query cancels it.
            () = self.shared.stopped() => Err("the server is stopping".into()),
        };
        ran.map_err(RuleError::Query)?;
        let evaluated = result.lock().take();
        evaluated.unwrap_or_else(|| Err(RuleError::Query("the evaluation was abandoned".into())))
    }

    fn send_alerts(&self, rule: &GroupRule) {
        let Evaluation { t_ms, interval_ms, external_url, .. } = &*self.evaluation;
        let due = rule.alerts_due(*t_ms, *interval_ms, milliseconds(self.shared.config.resend_delay));
        if due.is_empty() {
            return;
        }
        let expression = rule.spec().expr.to_string();
        let generator_url = format!("{external_url}{}", pharos_rules::template::table_link(&expression));
        let alerts: Vec<OutgoingAlert> = due.into_iter().map(|alert| outgoing(alert, &generator_url)).collect();
        self.shared.components.alerts.send(&self.group.tenant, &alerts);
    }

    /// Writes stale markers for series of rules that the group no longer has.
    async fn end_abandoned(&self) {
        let stale = self.group.rules.abandoned(self.evaluation.at_ms(), |_| false);
        let components = &self.shared.components;
        let until_ms = self.evaluation.t_ms.saturating_add(self.evaluation.interval_ms);
        let (ingest, clock, tenant) = (&*components.ingest, &*components.clock, &self.group.tenant);
        match write::write(ingest, clock, tenant, &stale, until_ms, || self.shared.is_stopped()).await {
            Ok(_) => self.group.rules.forget_abandoned(),
            Err(error) => {
                tracing::warn!(
                    group = &*self.key,
                    error,
                    "could not end the series of removed rules; retrying with the next evaluation"
                );
            }
        }
    }
}

fn outgoing(alert: Alert, generator_url: &str) -> OutgoingAlert {
    OutgoingAlert {
        starts_at_ms: alert.fired_at_ms.unwrap_or(alert.active_at_ms),
        ends_at_ms: alert.resolved_at_ms.unwrap_or(alert.valid_until_ms),
        labels: alert.labels,
        annotations: alert.annotations,
        generator_url: generator_url.to_string(),
    }
}
