//! Templates of labels and annotations: Go's text templates with Prometheus's functions.
//!
//! Actions, pipelines, variables, `if`, `with`, `range`, `define`, `template` and `block`, comparisons, `printf` and the
//! functions of Prometheus's template reference are there. Nesting, steps and output are bounded.

mod exec;
mod functions;
mod go;
mod humanize;
mod lex;
mod parse;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_model::Labels;
use pharos_promql::{SampleValue, VectorSample};

pub use value::{Data, Record};

/// Nanoseconds as Go prints a duration: `1h2m3.5s`.
pub fn go_duration(ns: i64) -> String {
    go::duration(ns)
}

/// How deep actions may nest.
const MAX_NESTING: usize = 100;
/// How deep templates may call each other.
const MAX_CALLS: usize = 100;
/// Nodes that one expansion may execute.
const MAX_STEPS: usize = 1_000_000;
/// Bytes that one expansion may write.
const MAX_OUTPUT: usize = 1 << 20;

/// What comes before each template of a rule: short names of the data.
const SHORT_NAMES: &str =
    "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// Answers the queries of templates.
pub type QueryFn<'a> = &'a dyn Fn(&str) -> Result<Vec<VectorSample>, String>;

/// Why a template cannot be expanded, in the words of Go's templates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It cannot be parsed.
    #[error("error parsing template {name}: {reason}")]
    Parse {
        /// The template.
        name: String,
        /// Line and reason.
        reason: String,
    },
    /// It failed.
    #[error("error executing template {name}: {reason}")]
    Execute {
        /// The template.
        name: String,
        /// Line, column, node and reason.
        reason: String,
    },
}

impl TemplateError {
    /// What is wrong, without the lead.
    pub fn reason(&self) -> &str {
        match self {
            TemplateError::Parse { reason, .. } | TemplateError::Execute { reason, .. } => reason,
        }
    }
}

/// What a template may ask of its surroundings.
pub struct Surroundings<'a> {
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
    text: String,
    parsed: parse::Parsed,
}

impl Template {
    /// Parses a template of the alert `alert`.
    ///
    /// # Errors
    /// What Go's parser would say.
    pub fn of_alert(alert: &str, text: &str) -> Result<Self, TemplateError> {
        let name = format!("__alert_{alert}");
        let text = format!("{SHORT_NAMES}{text}");
        match parse::parse(&text) {
            Ok(parsed) => Ok(Template { name, text, parsed }),
            Err((offset, reason)) => {
                let line = text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1;
                let reason = format!("template: {name}:{line}: {reason}");
                Err(TemplateError::Parse { name, reason })
            }
        }
    }

    /// Expands the template.
    ///
    /// # Errors
    /// What Go's executor would say.
    pub fn expand(&self, data: &Data, around: &Surroundings<'_>) -> Result<String, TemplateError> {
        exec::run(&self.parsed, &self.name, &self.text, data, around)
            .map_err(|reason| TemplateError::Execute { name: self.name.clone(), reason })
    }
}

/// The data of an alert's templates.
pub fn alert_data(
    labels: &Labels,
    external_labels: Arc<BTreeMap<String, String>>,
    external_url: &str,
    value: &SampleValue,
) -> Data {
    Data::Record(Arc::new(Record {
        type_name: "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }",
        fields: vec![
            ("Labels", label_map(labels)),
            ("ExternalLabels", Data::Texts(external_labels)),
            ("ExternalURL", Data::text(external_url)),
            ("Value", sample_value(value)),
        ],
    }))
}

fn label_map(labels: &Labels) -> Data {
    Data::Texts(Arc::new(labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()))
}

fn sample_value(value: &SampleValue) -> Data {
    match value {
        SampleValue::Float(v) => Data::Float(*v),
        SampleValue::Histogram(h) => Data::Histogram(h.clone()),
    }
}

#[cfg(test)]
mod tests;
