//! The alerts of a rule and their states.
//!
//! An alert is pending while its condition holds for less than `for`, then it fires, and it stays known for a while after
//! it was resolved. States change only in [`Alerts::update`], which takes the time and what the expression found, and by
//! [`Alerts::restore`].

mod stored;

use std::collections::BTreeMap;

pub use stored::StoredAlert;

use pharos_model::{Labels, LabelsBuilder, Limit, METRIC_NAME};
use pharos_promql::{SampleValue, VectorSample};

use crate::error::RuleError;
use crate::file::{RuleSpec, Texts};

/// The label that has the name of an alert.
pub const ALERT_NAME: &str = "alertname";
/// The label that has the state of an alert.
pub const ALERT_STATE: &str = "alertstate";
/// The metric of active alerts.
pub const ALERTS: &str = "ALERTS";
/// The metric that says since when the conditions of alerts hold, seconds since the epoch.
pub const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";

/// How long a resolved alert stays known, so that nobody misses its end, milliseconds.
const RESOLVED_RETENTION_MS: i64 = 15 * 60_000;
/// How many evaluations may continue an alert of an earlier process. The first ones may lack samples that are not scraped yet.
const RESTORING_EVALUATIONS: u32 = 2;
/// How many times an alert may fail to be evaluated or sent before its receiver considers it resolved.
const VALID_FOR: i64 = 4;

/// The state of an alert, from the least to the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// The condition does not hold.
    Inactive,
    /// The condition holds, but not for long enough.
    Pending,
    /// The alert fires.
    Firing,
}

impl AlertState {
    /// The state as the label `alertstate` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
        }
    }
}

/// An alert. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The state.
    pub state: AlertState,
    /// The labels, which identify the alert.
    pub labels: Labels,
    /// The annotations with their templates expanded.
    pub annotations: Texts,
    /// The value of the expression at the last evaluation, 0 for a histogram.
    pub value: f64,
    /// When the condition began to hold.
    pub active_at_ms: i64,
    /// When the alert began to fire.
    pub fired_at_ms: Option<i64>,
    /// When the alert was resolved.
    pub resolved_at_ms: Option<i64>,
    /// When the condition stopped to hold, while `keep_firing_for` keeps the alert firing.
    pub keep_firing_since_ms: Option<i64>,
    /// The evaluation after which it was sent last.
    pub sent_at_ms: Option<i64>,
    /// When a receiver that hears nothing more considers it resolved.
    pub valid_until_ms: i64,
}

/// The alerts of one rule.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    by_labels: BTreeMap<Labels, Alert>,
    /// What an earlier process knew of alerts whose condition has not been found to hold since.
    stored: BTreeMap<Labels, StoredAlert>,
    /// The number of evaluations for which `stored` is still needed.
    restoring: u32,
}

/// What an evaluation of a rule found.
#[derive(Debug)]
pub struct FoundAlerts(pub(crate) BTreeMap<Labels, Alert>);

impl Alerts {
    /// The alerts that are pending or firing, ascending by labels.
    pub fn active(&self) -> impl Iterator<Item = &Alert> {
        self.by_labels.values().filter(|alert| alert.resolved_at_ms.is_none())
    }

    /// All alerts, including those that were resolved recently.
    pub fn all(&self) -> impl Iterator<Item = &Alert> {
        self.by_labels.values()
    }

    /// The most urgent state of the alerts.
    pub fn state(&self) -> AlertState {
        self.by_labels.values().map(|alert| alert.state).max().unwrap_or(AlertState::Inactive)
    }

    /// Continues what an earlier process or another node knew. Alerts that it evaluated until now go on as they were;
    /// others do when their condition is found to hold.
    pub fn restore(&mut self, stored: BTreeMap<Labels, StoredAlert>) {
        for (labels, alert) in &stored {
            if alert.is_current {
                self.by_labels.entry(labels.clone()).or_insert_with(|| alert.as_it_was(labels));
            }
        }
        self.stored = stored;
        self.restoring = RESTORING_EVALUATIONS;
    }

    /// Updates the alerts with what was found at `t_ms`. Returns the samples of `ALERTS` and `ALERTS_FOR_STATE`, whose time
    /// is `offset_ms` earlier. `limit` bounds the number of active alerts.
    ///
    /// # Errors
    /// There are too many, in which case all alerts are dropped.
    pub fn update(
        &mut self,
        spec: &RuleSpec,
        t_ms: i64,
        offset_ms: i64,
        found: FoundAlerts,
        limit: Limit,
    ) -> Result<Vec<VectorSample>, RuleError> {
        let FoundAlerts(found) = found;
        for (labels, alert) in &found {
            match self.by_labels.get_mut(labels).filter(|known| known.state != AlertState::Inactive) {
                Some(known) => {
                    known.value = alert.value;
                    known.annotations.clone_from(&alert.annotations);
                }
                None => {
                    let mut alert = alert.clone();
                    if let Some(stored) = self.stored.remove(labels) {
                        stored.continue_as(&mut alert, spec.hold_ms, t_ms);
                    }
                    self.by_labels.insert(labels.clone(), alert);
                }
            }
        }
        self.restoring = self.restoring.saturating_sub(1);
        if self.restoring == 0 {
            self.stored.clear();
        }
        self.by_labels.retain(|labels, alert| found.contains_key(labels) || alert.is_kept(t_ms));
        let mut active = 0;
        let mut samples = Vec::new();
        for (labels, alert) in &mut self.by_labels {
            if !alert.step(spec, t_ms, found.contains_key(labels)) {
                continue;
            }
            active += 1;
            samples.extend(alert.samples(spec, t_ms.saturating_sub(offset_ms)));
        }
        if limit.is_exceeded_by(active) {
            self.by_labels.clear();
            return Err(RuleError::TooManyAlerts { limit: limit.or_max(), found: active });
        }
        Ok(samples)
    }

    /// The alerts to send after the evaluation at `t_ms`: those that began to fire or were resolved since they were sent
    /// last, and those that were sent longer ago than `resend_delay_ms`.
    pub fn due(&mut self, t_ms: i64, interval_ms: i64, resend_delay_ms: i64) -> Vec<Alert> {
        let mut due = Vec::new();
        for alert in self.by_labels.values_mut().filter(|alert| alert.is_due(t_ms, resend_delay_ms)) {
            alert.sent_at_ms = Some(t_ms);
            alert.valid_until_ms = t_ms.saturating_add(interval_ms.max(resend_delay_ms).saturating_mul(VALID_FOR));
            due.push(alert.clone());
        }
        due
    }
}

impl Alert {
    /// Whether an alert whose condition does not hold stays known.
    fn is_kept(&self, t_ms: i64) -> bool {
        let is_outdated = self.resolved_at_ms.is_some_and(|at| t_ms - at > RESOLVED_RETENTION_MS);
        self.state != AlertState::Pending && !is_outdated
    }

    /// Advances the alert to a time at which its condition holds or not. Returns whether it is active then.
    fn step(&mut self, spec: &RuleSpec, t_ms: i64, holds: bool) -> bool {
        if holds {
            self.keep_firing_since_ms = None;
        } else {
            let mut keeps_firing = false;
            if self.state == AlertState::Firing && spec.keep_firing_ms > 0 {
                let since = *self.keep_firing_since_ms.get_or_insert(t_ms);
                keeps_firing = t_ms - since < spec.keep_firing_ms;
            }
            if !keeps_firing {
                if self.state != AlertState::Inactive {
                    self.state = AlertState::Inactive;
                    self.resolved_at_ms = Some(t_ms);
                }
                return false;
            }
        }
        let long_enough = t_ms - self.active_at_ms >= spec.hold_ms;
        match self.state {
            AlertState::Pending if long_enough => {
                self.state = AlertState::Firing;
                self.fired_at_ms = Some(t_ms);
            }
            // `for` was extended by a new configuration.
            AlertState::Firing if !long_enough => {
                self.state = AlertState::Pending;
                self.fired_at_ms = None;
                self.sent_at_ms = None;
                self.keep_firing_since_ms = None;
            }
            _ => {}
        }
        true
    }

    /// Whether the alert is to be sent after the evaluation at `t_ms`.
    fn is_due(&self, t_ms: i64, resend_delay_ms: i64) -> bool {
        let Some(sent_at_ms) = self.sent_at_ms else { return self.state != AlertState::Pending };
        match self.state {
            AlertState::Pending => false,
            _ if self.resolved_at_ms.is_some_and(|at| at > sent_at_ms) => true,
            _ => sent_at_ms.saturating_add(resend_delay_ms) < t_ms,
        }
    }

    /// The samples of `ALERTS` and `ALERTS_FOR_STATE` for this alert.
    fn samples(&self, spec: &RuleSpec, t_ms: i64) -> [VectorSample; 2] {
        let sample = |metric: &str, state: Option<AlertState>, value: f64| {
            let mut labels = LabelsBuilder::from_labels(&Labels::from_pairs(&spec.labels));
            for (name, value) in self.labels.iter() {
                labels.set(name, value);
            }
            labels.set(METRIC_NAME, metric).set(ALERT_NAME, &spec.name);
            if let Some(state) = state {
                labels.set(ALERT_STATE, state.as_str());
            }
            VectorSample { labels: labels.build(), t: t_ms, value: SampleValue::Float(value) }
        };
        let since = self.active_at_ms.div_euclid(1000) as f64;
        [sample(ALERTS, Some(self.state), 1.0), sample(ALERTS_FOR_STATE, None, since)]
    }
}

#[cfg(test)]
mod tests;
