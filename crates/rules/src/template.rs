//! Templates of labels and annotations: Go's templates with Prometheus's functions.
//!
//! The language is [`pharos_gocompat::template`]. This module adds the data of an alert and the functions of
//! Prometheus's template reference.

mod functions;
mod humanize;
mod objects;

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_gocompat::template::{self, Record, Value};
use pharos_model::Labels;
use pharos_promql::{SampleValue, VectorSample};

use functions::RuleFunctions;
use objects::HistogramObject;

/// Short names of the data, which stand before each template of a rule.
const SHORT_NAMES: &str =
    "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// Answers the queries of templates.
pub type QueryFn<'a> = &'a dyn Fn(&str) -> Result<Vec<VectorSample>, String>;

/// Why a template cannot be expanded, in the words of Go's templates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text cannot be parsed.
    #[error("error parsing template {name}: {reason}")]
    Parse {
        /// The name of the template, derived from the alert's.
        name: String,
        /// The place and the reason.
        reason: String,
    },
    /// The execution failed.
    #[error("error executing template {name}: {reason}")]
    Execute {
        /// The name of the template, derived from the alert's.
        name: String,
        /// The place and the reason.
        reason: String,
    },
}

impl TemplateError {
    /// The place and the reason, without the name.
    pub fn reason(&self) -> &str {
        match self {
            TemplateError::Parse { reason, .. } | TemplateError::Execute { reason, .. } => reason,
        }
    }
}

/// What a template's functions may ask of the evaluation that expands it.
pub struct TemplateContext<'a> {
    /// The evaluation's time, milliseconds.
    pub t_ms: i64,
    /// The URL under which users reach this server.
    pub external_url: &'a str,
    /// Answers `query`.
    pub query: QueryFn<'a>,
}

/// The template of a label or an annotation of an alerting rule.
#[derive(Debug)]
pub struct Template {
    name: String,
    template: template::Template,
}

impl Template {
    /// Parses a template of the alert `alert`.
    ///
    /// # Errors
    /// The text is not a template.
    pub fn of_alert(alert: &str, text: &str) -> Result<Self, TemplateError> {
        let name = format!("__alert_{alert}");
        match template::Template::parse(&name, format!("{SHORT_NAMES}{text}"), &functions::is_known) {
            Ok(template) => Ok(Template { name, template }),
            Err(error) => Err(TemplateError::Parse { name, reason: error.to_string() }),
        }
    }

    /// Expands the template.
    ///
    /// # Errors
    /// A function failed, a value has the wrong type, or the expansion exceeds a limit.
    pub fn expand(&self, data: &Value, context: &TemplateContext<'_>) -> Result<String, TemplateError> {
        let expanded = self.template.execute(data, &RuleFunctions(context));
        expanded.map_err(|error| TemplateError::Execute { name: self.name.clone(), reason: error.to_string() })
    }
}

/// The data of an alert's templates.
pub fn alert_data(
    labels: &Labels,
    external_labels: Arc<BTreeMap<String, String>>,
    external_url: &str,
    value: &SampleValue,
) -> Value {
    Value::Record(Arc::new(Record {
        type_name: "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }",
        fields: vec![
            ("Labels", label_map(labels)),
            ("ExternalLabels", Value::Texts(external_labels)),
            ("ExternalURL", Value::text(external_url)),
            ("Value", sample_value(value)),
        ],
    }))
}

/// The path and query of the page that shows an expression as a table.
pub fn table_link(expression: &str) -> String {
    format!("/graph?g0.expr={}&g0.tab=1", template::escape_query(expression))
}

fn label_map(labels: &Labels) -> Value {
    Value::Texts(Arc::new(labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()))
}

fn sample_value(value: &SampleValue) -> Value {
    match value {
        SampleValue::Float(v) => Value::Float(*v),
        SampleValue::Histogram(h) => Value::Object(Arc::new(HistogramObject(h.clone()))),
    }
}

#[cfg(test)]
mod tests;
