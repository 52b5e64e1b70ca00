//! The format of test files, which is promtool's.

use std::collections::BTreeMap;

use pharos_config::PromDuration;
use serde::{Deserialize, Deserializer};
use serde_saphyr::Error;

/// A test file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TestFile {
    #[serde(deserialize_with = "or_default")]
    pub(super) rule_files: Vec<String>,
    /// Default 1m.
    evaluation_interval: PromDuration,
    #[serde(deserialize_with = "or_default")]
    pub(super) group_eval_order: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) tests: Vec<TestGroup>,
    pub(super) fuzzy_compare: bool,
}

/// Input series and the tests that use them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TestGroup {
    /// Time between two input samples. Default: the evaluation interval.
    pub(super) interval: PromDuration,
    #[serde(deserialize_with = "or_default")]
    pub(super) input_series: Vec<InputSeries>,
    #[serde(deserialize_with = "or_default")]
    pub(super) alert_rule_test: Vec<AlertTest>,
    #[serde(deserialize_with = "or_default")]
    pub(super) promql_expr_test: Vec<ExprTest>,
    #[serde(deserialize_with = "or_default")]
    pub(super) external_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) external_url: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
    /// Milliseconds since the epoch.
    #[serde(deserialize_with = "timestamp")]
    pub(super) start_timestamp: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct InputSeries {
    pub(super) series: String,
    pub(super) values: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AlertTest {
    pub(super) eval_time: PromDuration,
    #[serde(deserialize_with = "or_default")]
    pub(super) alertname: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) exp_alerts: Vec<ExpectedAlert>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExpectedAlert {
    #[serde(deserialize_with = "or_default")]
    pub(super) exp_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) exp_annotations: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExprTest {
    pub(super) expr: String,
    pub(super) eval_time: PromDuration,
    #[serde(deserialize_with = "or_default")]
    pub(super) exp_samples: Vec<ExpectedSample>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExpectedSample {
    #[serde(deserialize_with = "or_default")]
    pub(super) labels: String,
    pub(super) value: f64,
    /// The expected histogram in series notation; empty when a float is expected.
    #[serde(deserialize_with = "or_default")]
    pub(super) histogram: String,
}

impl TestFile {
    /// Parses a file. Errors name line and field in promtool's words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(TestFile::default());
        }
        serde_saphyr::from_str_with_options(text, crate::config::yaml_options()).map_err(|error| explain(&error))
    }

    pub(super) fn eval_interval_ms(&self) -> i64 {
        match self.evaluation_interval.as_millis() as i64 {
            0 => 60_000,
            ms => ms,
        }
    }
}

fn explain(error: &Error) -> String {
    let error = error.without_snippet();
    let line = error.location().map_or(0, |location| location.line());
    match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            let of = match () {
                () if expected.contains(&"tests") => "main.unitTestFile",
                () if expected.contains(&"input_series") => "main.testGroup",
                () if expected.contains(&"series") => "main.series",
                () if expected.contains(&"alertname") => "main.alertTestCase",
                () if expected.contains(&"exp_labels") => "main.alert",
                () if expected.contains(&"expr") => "main.promqlTestCase",
                () => "main.sample",
            };
            format!("yaml: unmarshal errors:\n  line {line}: field {field} not found in type {of}")
        }
        Error::Message { msg, .. } => msg.clone(),
        other => format!("yaml: line {line}: {}", other.to_string().replace('\n', " ")),
    }
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Parses seconds since the epoch or RFC 3339 into milliseconds.
fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(0) };
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok((seconds * 1000.0).round() as i64);
    }
    let moment = text.parse::<jiff::Timestamp>();
    let unknown = |_| serde::de::Error::custom(format!("cannot parse {text:?} to a valid timestamp"));
    moment.map(|moment| moment.as_millisecond()).map_err(unknown)
}
