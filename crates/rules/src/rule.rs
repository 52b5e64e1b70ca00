//! A rule of a group with its state: its alerts, the series that it wrote last, and the outcome of its last evaluation.
//!
//! An evaluation has two halves. [`GroupRule::evaluate`] asks the queries and advances the alerts; it blocks. What it
//! returns is written by the caller, who tells [`GroupRule::wrote`] about it. The state is locked for moments only, so it
//! can be shown while the rule is evaluated.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::{Labels, Limit, STALE_NAN};
use pharos_promql::syntax;
use pharos_promql::{SampleValue, VectorSample};

use crate::alerting::AlertingRule;
use crate::alerts::{Alert, Alerts};
use crate::error::RuleError;
use crate::file::RuleSpec;
use crate::recording::RecordingRule;
use crate::restore::{self, Moment, RestorePolicy};
use crate::store::RuleQueries;
use crate::template::TemplateContext;

/// What a rule does.
#[derive(Debug)]
pub enum Rule {
    /// A rule whose result becomes series.
    Recording(RecordingRule),
    /// A rule whose result becomes alerts.
    Alerting(AlertingRule),
}

/// The settings of one evaluation. Times and durations are milliseconds.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The time of the evaluation.
    pub t_ms: i64,
    /// The interval of the group.
    pub interval_ms: i64,
    /// How long before `t_ms` the expression is evaluated.
    pub offset_ms: i64,
    /// The most series or active alerts.
    pub limit: Limit,
    /// The URL under which users reach this server.
    pub external_url: String,
    /// How state is restored that the rule does not have yet; none to begin without.
    pub restore: Option<RestorePolicy>,
}

impl Evaluation {
    /// The time at which the expression is evaluated, and that of the samples.
    pub fn at_ms(&self) -> i64 {
        self.t_ms.saturating_sub(self.offset_ms)
    }
}

/// What an evaluation wants to have written.
#[derive(Debug)]
pub struct RuleWrite {
    /// The samples of the result.
    pub samples: Vec<VectorSample>,
    /// The stale markers of series that the rule does not produce any more.
    pub stale: Vec<VectorSample>,
}

/// Whether a rule works.
#[derive(Clone, Debug, Default)]
pub struct RuleStatus {
    /// The outcome of the last evaluation; none before the first one.
    pub outcome: Option<Result<(), RuleError>>,
    /// When the last evaluation began, milliseconds since the epoch.
    pub evaluated_at_ms: Option<i64>,
    /// How long the last evaluation took.
    pub duration: Duration,
}

/// A rule with its state.
#[derive(Debug)]
pub struct GroupRule {
    rule: Rule,
    state: Mutex<State>,
    /// Whether no other rule of the server could write the same series.
    is_alone: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    alerts: Alerts,
    /// The series that the last evaluation wrote.
    series: BTreeSet<Labels>,
    status: RuleStatus,
    /// Whether the state is complete: it was restored, taken over, or there was nothing to restore.
    is_known: bool,
}

/// The stale marker of a series.
pub(crate) fn stale(labels: &Labels, at_ms: i64) -> VectorSample {
    VectorSample { labels: labels.clone(), t: at_ms, value: SampleValue::Float(STALE_NAN) }
}

impl GroupRule {
    /// A rule that was never evaluated.
    pub fn new(rule: Rule) -> Self {
        GroupRule { rule, state: Mutex::default(), is_alone: AtomicBool::new(false) }
    }

    /// What the rule does.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The rule of the file, with the labels of its group.
    pub fn spec(&self) -> &RuleSpec {
        match &self.rule {
            Rule::Recording(rule) => &rule.spec,
            Rule::Alerting(rule) => &rule.spec,
        }
    }

    /// Whether it works.
    pub fn status(&self) -> RuleStatus {
        self.state.lock().status.clone()
    }

    /// A copy of its alerts. Rules that record have none.
    pub fn alerts(&self) -> Alerts {
        self.state.lock().alerts.clone()
    }

    /// Evaluates the expression and advances the alerts. Returns the samples of the result. Blocks.
    ///
    /// # Errors
    /// A query failed, the result has duplicates, or it exceeds the limit.
    pub fn evaluate(&self, evaluation: &Evaluation, queries: &dyn RuleQueries) -> Result<Vec<VectorSample>, RuleError> {
        self.restore(evaluation, queries)?;
        let spec = self.spec();
        let result = queries.query(&spec.expr, &spec.text, evaluation.at_ms(), None).map_err(RuleError::Query)?;
        match &self.rule {
            Rule::Recording(rule) => rule.samples(result, evaluation.limit),
            Rule::Alerting(rule) => {
                let query = |text: &str| {
                    let expr = syntax::parse(text).map_err(|error| error.to_string())?;
                    queries.query(&expr, text, evaluation.t_ms, None).map_err(|failure| failure.reason)
                };
                let (t_ms, external_url) = (evaluation.t_ms, evaluation.external_url.as_str());
                let found = rule.found(t_ms, &result, &TemplateContext { t_ms, external_url, query: &query })?;
                self.state.lock().alerts.update(spec, t_ms, evaluation.offset_ms, found, evaluation.limit)
            }
        }
    }

    /// Reads what an earlier process or another node knew, before the first evaluation.
    fn restore(&self, evaluation: &Evaluation, queries: &dyn RuleQueries) -> Result<(), RuleError> {
        let Some(policy) = evaluation.restore else { return Ok(()) };
        if self.state.lock().is_known {
            return Ok(());
        }
        let is_alone = self.is_alone.load(Ordering::Relaxed);
        let moment = Moment { at_ms: evaluation.at_ms(), interval_ms: evaluation.interval_ms, is_alone };
        let series = restore::written_series(self.spec(), queries, moment)?;
        let alerts = match &self.rule {
            Rule::Recording(_) => None,
            Rule::Alerting(rule) => Some(restore::stored_alerts(&rule.spec, queries, moment, policy)?),
        };
        let mut state = self.state.lock();
        state.series = series;
        if let Some(alerts) = alerts {
            state.alerts.restore(alerts);
        }
        state.is_known = true;
        Ok(())
    }

    /// The time of the newest sample that the rule wrote within `lookback_ms` before a moment; none if it wrote none, or if
    /// another rule could have written it.
    pub(crate) fn newest_sample(
        &self,
        queries: &dyn RuleQueries,
        at_ms: i64,
        lookback_ms: i64,
    ) -> Result<Option<i64>, RuleError> {
        match self.is_alone.load(Ordering::Relaxed) {
            true => restore::newest_sample(self.spec(), queries, at_ms, lookback_ms),
            false => Ok(None),
        }
    }

    /// The alerts to send after the evaluation at `t_ms`.
    pub fn alerts_due(&self, t_ms: i64, interval_ms: i64, resend_delay_ms: i64) -> Vec<Alert> {
        self.state.lock().alerts.due(t_ms, interval_ms, resend_delay_ms)
    }

    /// What is to be written: the samples of an evaluation, and stale markers for series that they leave out.
    pub fn write_of(&self, mut samples: Vec<VectorSample>, evaluation: &Evaluation) -> RuleWrite {
        let at_ms = evaluation.at_ms();
        samples.iter_mut().for_each(|sample| sample.t = at_ms);
        let series: BTreeSet<&Labels> = samples.iter().map(|sample| &sample.labels).collect();
        let state = self.state.lock();
        let vanished = state.series.iter().filter(|labels| !series.contains(labels));
        let stale = vanished.map(|labels| stale(labels, at_ms)).collect();
        RuleWrite { samples, stale }
    }

    /// Remembers what was written.
    pub fn wrote(&self, write: RuleWrite) {
        let mut state = self.state.lock();
        state.series = write.samples.into_iter().map(|sample| sample.labels).collect();
        state.is_known = true;
    }

    /// Sets the outcome of an evaluation.
    pub fn set_outcome(&self, outcome: Result<(), RuleError>) {
        self.state.lock().status.outcome = Some(outcome);
    }

    /// Sets when the last evaluation began, milliseconds since the epoch, and how long it took.
    pub fn set_timing(&self, evaluated_at_ms: i64, duration: Duration) {
        let mut state = self.state.lock();
        state.status.evaluated_at_ms = Some(evaluated_at_ms);
        state.status.duration = duration;
    }

    /// Forgets the state: another node evaluates the rule from now on.
    pub fn forget(&self) {
        *self.state.lock() = State::default();
    }

    /// The series that the last evaluation wrote.
    pub(crate) fn series(&self) -> Vec<Labels> {
        self.state.lock().series.iter().cloned().collect()
    }

    /// Takes the series that the last evaluation wrote.
    pub(crate) fn take_series(&self) -> BTreeSet<Labels> {
        std::mem::take(&mut self.state.lock().series)
    }

    /// Whether the last evaluation wrote the series.
    pub(crate) fn writes(&self, labels: &Labels) -> bool {
        self.state.lock().series.contains(labels)
    }

    /// Takes over alerts and series.
    pub(crate) fn continue_from(&self, earlier: &GroupRule) {
        let earlier = earlier.state.lock();
        let mut state = self.state.lock();
        state.alerts = earlier.alerts.clone();
        state.series = earlier.series.clone();
        state.is_known = earlier.is_known;
    }

    pub(crate) fn set_alone(&self, is_alone: bool) {
        self.is_alone.store(is_alone, Ordering::Relaxed);
    }
}
