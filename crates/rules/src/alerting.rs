//! Alerting rules: what they are, and which alerts a result of their expression stands for.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_model::{LabelsBuilder, METRIC_NAME};
use pharos_promql::{SampleValue, VectorSample};

use crate::alerts::{ALERT_NAME, Alert, AlertState, FoundAlerts};
use crate::error::RuleError;
use crate::file::{RuleSpec, Texts};
use crate::template::{Template, TemplateContext, alert_data};

/// An alerting rule.
#[derive(Debug)]
pub struct AlertingRule {
    /// The rule of the file, with the labels of its group.
    pub spec: RuleSpec,
    external_labels: Arc<Texts>,
    labels: Vec<(String, LabelText)>,
    annotations: Vec<(String, LabelText)>,
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
        AlertingRule { labels, annotations, spec, external_labels }
    }

    /// The alerts of a result of the expression, each in the state of a new one.
    ///
    /// # Errors
    /// Two alerts have the same labels.
    pub fn found(
        &self,
        t_ms: i64,
        result: &[VectorSample],
        context: &TemplateContext<'_>,
    ) -> Result<FoundAlerts, RuleError> {
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
                sent_at_ms: None,
                valid_until_ms: 0,
            };
            if found.insert(labels, alert).is_some() {
                return Err(RuleError::DuplicateAlerts);
            }
        }
        Ok(FoundAlerts(found))
    }
}
