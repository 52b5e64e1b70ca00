//! Alerting rules: which alerts are pending and which fire. States change only by [`AlertingRule::update`], which is given
//! the time and the result of the expression.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_model::{Labels, LabelsBuilder, METRIC_NAME};
use pharos_promql::{SampleValue, VectorSample};

use crate::file::{RuleSpec, Texts};
use crate::group::RuleError;
use crate::template::{Template, TemplateContext, alert_data};

/// The label with an alert's name.
pub const ALERT_NAME: &str = "alertname";
/// How long a resolved alert is kept, so that its end is not missed, milliseconds.
const RESOLVED_RETENTION_MS: i64 = 15 * 60_000;

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// Its condition does not hold.
    Inactive,
    /// Its condition holds, not long enough yet.
    Pending,
    /// It fires.
    Firing,
}

impl AlertState {
    /// As in the label `alertstate`.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
        }
    }
}

/// One alert. Times are milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Where it stands.
    pub state: AlertState,
    /// What identifies it.
    pub labels: Labels,
    /// Annotations, expanded.
    pub annotations: Texts,
    /// The expression's value when it was last evaluated; of a histogram, 0.
    pub value: f64,
    /// Since when its condition holds.
    pub active_at_ms: i64,
    /// Since when it fires.
    pub fired_at_ms: Option<i64>,
    /// When it ended.
    pub resolved_at_ms: Option<i64>,
    /// Since when it fires only because of `keep_firing_for`.
    pub keep_firing_since_ms: Option<i64>,
}

/// An alerting rule and its alerts.
#[derive(Debug)]
pub struct AlertingRule {
    /// What the file says, with the labels of the group added.
    pub spec: RuleSpec,
    external_labels: Arc<Texts>,
    labels: Vec<(String, Expanded)>,
    annotations: Vec<(String, Expanded)>,
    alerts: BTreeMap<Labels, Alert>,
}

/// A text or a template.
#[derive(Debug)]
enum Expanded {
    Text(String),
    Template(Template),
    /// It cannot be parsed; this stands in its place.
    Broken(String),
}

impl Expanded {
    fn new(alert: &str, text: &str) -> Self {
        if !text.contains("{{") {
            return Expanded::Text(text.to_string());
        }
        match Template::of_alert(alert, text) {
            Ok(template) => Expanded::Template(template),
            Err(error) => Expanded::Broken(failed(&error)),
        }
    }
}

fn failed(error: &impl std::fmt::Display) -> String {
    format!("<error expanding template: {error}>")
}

impl AlertingRule {
    /// A rule of a group with these labels. External labels are for templates.
    pub fn new(mut spec: RuleSpec, group_labels: &Texts, external_labels: Arc<Texts>) -> Self {
        spec.labels = group_labels.iter().chain(&spec.labels).map(|(n, v)| (n.clone(), v.clone())).collect();
        let templates =
            |texts: &Texts| texts.iter().map(|(name, text)| (name.clone(), Expanded::new(&spec.name, text))).collect();
        let (labels, annotations) = (templates(&spec.labels), templates(&spec.annotations));
        AlertingRule { labels, annotations, spec, external_labels, alerts: BTreeMap::new() }
    }

    /// The alerts that are pending or fire.
    pub fn active(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().filter(|alert| alert.resolved_at_ms.is_none())
    }

    /// All alerts, also those that ended a short while ago.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values()
    }

    /// The furthest state of its alerts.
    pub fn state(&self) -> AlertState {
        self.alerts.values().map(|alert| alert.state).max().unwrap_or(AlertState::Inactive)
    }

    /// Takes the result of the expression at a time and returns the samples of `ALERTS` and `ALERTS_FOR_STATE`, which lie
    /// `offset_ms` before it. `limit` is the most alerts, 0 for any number.
    ///
    /// # Errors
    /// Two alerts have the same labels, which changes nothing; or there are too many, which ends all.
    pub fn update(
        &mut self,
        t_ms: i64,
        offset_ms: i64,
        result: &[VectorSample],
        around: &TemplateContext<'_>,
        limit: usize,
    ) -> Result<Vec<VectorSample>, RuleError> {
        let found = self.found(t_ms, result, around)?;
        for (labels, alert) in &found {
            match self.alerts.get_mut(labels).filter(|known| known.state != AlertState::Inactive) {
                Some(known) => {
                    (known.value, known.annotations) = (alert.value, alert.annotations.clone());
                }
                None => {
                    self.alerts.insert(labels.clone(), alert.clone());
                }
            }
        }
        let (hold_ms, keep_ms) = (self.spec.hold_ms, self.spec.keep_firing_ms);
        self.alerts.retain(|labels, alert| found.contains_key(labels) || alert.is_kept(t_ms));
        let mut active = 0;
        let mut samples = Vec::new();
        for (labels, alert) in &mut self.alerts {
            if !alert.step(t_ms, found.contains_key(labels), hold_ms, keep_ms) {
                continue;
            }
            active += 1;
            samples.extend(alert.samples(&self.spec, t_ms.saturating_sub(offset_ms)));
        }
        if limit > 0 && active > limit {
            self.alerts.clear();
            return Err(RuleError::TooManyAlerts { limit, found: active });
        }
        Ok(samples)
    }

    /// The alerts of a result, as they are when they are new.
    fn found(
        &self,
        t_ms: i64,
        result: &[VectorSample],
        around: &TemplateContext<'_>,
    ) -> Result<BTreeMap<Labels, Alert>, RuleError> {
        let mut found = BTreeMap::new();
        for sample in result {
            let data = alert_data(&sample.labels, self.external_labels.clone(), around.external_url, &sample.value);
            let expand = |text: &Expanded| match text {
                Expanded::Text(text) | Expanded::Broken(text) => text.clone(),
                Expanded::Template(template) => template.expand(&data, around).unwrap_or_else(|error| failed(&error)),
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
    /// Whether an alert whose condition does not hold is remembered.
    fn is_kept(&self, t_ms: i64) -> bool {
        let ended_long_ago = self.resolved_at_ms.is_some_and(|at| t_ms - at > RESOLVED_RETENTION_MS);
        self.state != AlertState::Pending && !ended_long_ago
    }

    /// Moves on to a time; returns whether it is pending or fires then.
    fn step(&mut self, t_ms: i64, holds: bool, hold_ms: i64, keep_firing_ms: i64) -> bool {
        if holds {
            self.keep_firing_since_ms = None;
        } else {
            let mut goes_on = false;
            if self.state == AlertState::Firing && keep_firing_ms > 0 {
                let since = *self.keep_firing_since_ms.get_or_insert(t_ms);
                goes_on = t_ms - since < keep_firing_ms;
            }
            if !goes_on {
                if self.state != AlertState::Inactive {
                    self.state = AlertState::Inactive;
                    self.resolved_at_ms = Some(t_ms);
                }
                return false;
            }
        }
        let long_enough = t_ms - self.active_at_ms >= hold_ms;
        match self.state {
            AlertState::Pending if long_enough => {
                self.state = AlertState::Firing;
                self.fired_at_ms = Some(t_ms);
            }
            // `for` became longer.
            AlertState::Firing if !long_enough => {
                self.state = AlertState::Pending;
                (self.fired_at_ms, self.keep_firing_since_ms) = (None, None);
            }
            _ => {}
        }
        true
    }

    /// Its samples of `ALERTS` and `ALERTS_FOR_STATE`.
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
