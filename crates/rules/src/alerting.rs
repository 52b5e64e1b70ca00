//! Alerting rules and the states of their alerts.
//!
//! An alert is pending while its condition holds for less than `for`, then it fires, and it stays known for a while after
//! it was resolved. States change only in [`AlertingRule::update`], which takes the time and the result of the expression.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_model::{Labels, LabelsBuilder, Limit, METRIC_NAME};
use pharos_promql::{SampleValue, VectorSample};

use crate::error::RuleError;
use crate::file::{RuleSpec, Texts};
use crate::template::{Template, TemplateContext, alert_data};

/// The label that has the name of an alert.
pub const ALERT_NAME: &str = "alertname";
/// How long a resolved alert stays known, so that nobody misses its end, milliseconds.
const RESOLVED_RETENTION_MS: i64 = 15 * 60_000;

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
}

/// An alerting rule with its alerts.
#[derive(Debug)]
pub struct AlertingRule {
    /// The rule of the file, with the labels of its group.
    pub spec: RuleSpec,
    external_labels: Arc<Texts>,
    labels: Vec<(String, LabelText)>,
    annotations: Vec<(String, LabelText)>,
    alerts: BTreeMap<Labels, Alert>,
}

/// The text of a label or an annotation.
#[derive(Debug)]
enum LabelText {
    Text(String),
    Template(Template),
    /// A template that cannot be parsed, and the text that replaces it.
    Broken(String),
}

impl LabelText {
    fn new(alert: &str, text: &str) -> Self {
        if !text.contains("{{") {
            return LabelText::Text(text.to_string());
        }
        match Template::of_alert(alert, text) {
            Ok(template) => LabelText::Template(template),
            Err(error) => LabelText::Broken(failed(&error)),
        }
    }
}

fn failed(error: &impl std::fmt::Display) -> String {
    format!("<error expanding template: {error}>")
}

impl AlertingRule {
    /// A rule of a group that has labels of its own. Labels of the rule take precedence. Templates see the external labels.
    pub fn new(mut spec: RuleSpec, group_labels: &Texts, external_labels: Arc<Texts>) -> Self {
        spec.labels = group_labels.iter().chain(&spec.labels).map(|(n, v)| (n.clone(), v.clone())).collect();
        let templates =
            |texts: &Texts| texts.iter().map(|(name, text)| (name.clone(), LabelText::new(&spec.name, text))).collect();
        let labels = templates(&spec.labels);
        let annotations = templates(&spec.annotations);
        AlertingRule { labels, annotations, spec, external_labels, alerts: BTreeMap::new() }
    }

    /// The alerts that are pending or firing.
    pub fn active(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().filter(|alert| alert.resolved_at_ms.is_none())
    }

    /// All alerts, including those that were resolved recently.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values()
    }

    /// The most urgent state of the alerts.
    pub fn state(&self) -> AlertState {
        self.alerts.values().map(|alert| alert.state).max().unwrap_or(AlertState::Inactive)
    }

    /// Updates the alerts with the result of the expression at `t_ms`. Returns the samples of `ALERTS` and
    /// `ALERTS_FOR_STATE`, whose time is `offset_ms` earlier. `limit` bounds the number of active alerts.
    ///
    /// # Errors
    /// Two alerts have the same labels, in which case nothing changes, or there are too many, in which case all alerts are
    /// dropped.
    pub fn update(
        &mut self,
        t_ms: i64,
        offset_ms: i64,
        result: &[VectorSample],
        context: &TemplateContext<'_>,
        limit: Limit,
    ) -> Result<Vec<VectorSample>, RuleError> {
        let found = self.found(t_ms, result, context)?;
        for (labels, alert) in &found {
            match self.alerts.get_mut(labels).filter(|known| known.state != AlertState::Inactive) {
                Some(known) => {
                    known.value = alert.value;
                    known.annotations.clone_from(&alert.annotations);
                }
                None => {
                    self.alerts.insert(labels.clone(), alert.clone());
                }
            }
        }
        self.alerts.retain(|labels, alert| found.contains_key(labels) || alert.is_kept(t_ms));
        let mut active = 0;
        let mut samples = Vec::new();
        for (labels, alert) in &mut self.alerts {
            if !alert.step(&self.spec, t_ms, found.contains_key(labels)) {
                continue;
            }
            active += 1;
            samples.extend(alert.samples(&self.spec, t_ms.saturating_sub(offset_ms)));
        }
        if limit.is_exceeded_by(active) {
            self.alerts.clear();
            return Err(RuleError::TooManyAlerts { limit: limit.or_max(), found: active });
        }
        Ok(samples)
    }

    /// The alerts of a result, each in the state of a new one.
    fn found(
        &self,
        t_ms: i64,
        result: &[VectorSample],
        context: &TemplateContext<'_>,
    ) -> Result<BTreeMap<Labels, Alert>, RuleError> {
        let mut found = BTreeMap::new();
        for sample in result {
            let data = alert_data(&sample.labels, self.external_labels.clone(), context.external_url, &sample.value);
            let expand = |text: &LabelText| match text {
                LabelText::Text(text) | LabelText::Broken(text) => text.clone(),
                LabelText::Template(template) => template.expand(&data, context).unwrap_or_else(|error| failed(&error)),
            };
            let mut labels = LabelsBuilder::from_labels(&sample.labels);
            labels.remove(METRIC_NAME);
            for (name, text) in &self.labels {
                labels.set(name, &expand(text));
            }
            let labels = labels.set(ALERT_NAME, &self.spec.name).build();
            let annotations = self.annotations.iter().map(|(name, text)| (name.clone(), expand(text))).collect();
            let value = match &sample.value {
                SampleValue::Float(v) => *v,
                SampleValue::Histogram(_) => 0.0,
            };
            let alert = Alert {
                state: AlertState::Pending,
                labels: labels.clone(),
                annotations,
                value,
                active_at_ms: t_ms,
                fired_at_ms: None,
                resolved_at_ms: None,
                keep_firing_since_ms: None,
            };
            if found.insert(labels, alert).is_some() {
                return Err(RuleError::DuplicateAlerts);
            }
        }
        Ok(found)
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
                self.keep_firing_since_ms = None;
            }
            _ => {}
        }
        true
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
                labels.set("alertstate", state.as_str());
            }
            VectorSample { labels: labels.build(), t: t_ms, value: SampleValue::Float(value) }
        };
        let since = self.active_at_ms.div_euclid(1000) as f64;
        [sample("ALERTS", Some(self.state), 1.0), sample("ALERTS_FOR_STATE", None, since)]
    }
}

#[cfg(test)]
mod tests;
