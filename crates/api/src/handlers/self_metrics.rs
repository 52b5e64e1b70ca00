//! `status/self_metrics`: the metrics of this process as JSON, in the form that protobuf's JSON mapping gives to metric families.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use pharos_model::{MatchOp, Matcher};
use prometheus::proto::{Histogram, Metric, MetricFamily, MetricType, Summary};
use serde_json::{Map, Value, json};

use super::respond;
use crate::Api;
use crate::error::ApiError;
use crate::params::Params;

/// Handles `GET /api/v1/status/self_metrics`.
pub(super) async fn self_metrics(State(api): State<Arc<Api>>, params: Params) -> Response {
    let pattern = params.get("metric_name_pattern").filter(|pattern| !pattern.is_empty());
    let compiled = pattern.map(|pattern| Matcher::new(MatchOp::Regex, "__name__", pattern)).transpose();
    match compiled {
        Ok(pattern) => {
            let families = api.services.metric_families();
            let is_asked = |family: &&MetricFamily| pattern.as_ref().is_none_or(|p| p.matches(family.name()));
            respond::success(families.iter().filter(is_asked).map(family_json).collect::<Vec<_>>())
        }
        Err(error) => ApiError::bad_data(format!("invalid metric_name_pattern: {error}")).into_response(),
    }
}

fn family_json(family: &MetricFamily) -> Value {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => "COUNTER",
        MetricType::GAUGE => "GAUGE",
        MetricType::SUMMARY => "SUMMARY",
        MetricType::HISTOGRAM => "HISTOGRAM",
        MetricType::UNTYPED => "UNTYPED",
    };
    let metrics: Vec<Value> = family.get_metric().iter().map(|metric| metric_json(metric, kind)).collect();
    json!({"name": family.name(), "help": family.help(), "type": kind, "metric": metrics})
}

fn metric_json(metric: &Metric, kind: &str) -> Value {
    let mut object = Map::new();
    let labels = metric.get_label().iter().map(|pair| json!({"name": pair.name(), "value": pair.value()}));
    let labels: Vec<Value> = labels.collect();
    if !labels.is_empty() {
        object.insert("label".into(), labels.into());
    }
    let value = match kind {
        "COUNTER" => json!({"value": number(metric.get_counter().get_value())}),
        "GAUGE" => json!({"value": number(metric.get_gauge().get_value())}),
        "SUMMARY" => summary_json(metric.get_summary()),
        "HISTOGRAM" => histogram_json(metric.get_histogram()),
        _ => return object.into(),
    };
    object.insert(kind.to_lowercase(), value);
    object.into()
}

fn histogram_json(histogram: &Histogram) -> Value {
    let bucket = |count: u64, bound: f64| json!({"cumulativeCount": count.to_string(), "upperBound": number(bound)});
    let buckets = histogram.get_bucket().iter().map(|b| bucket(b.cumulative_count(), b.upper_bound()));
    json!({
        "sampleCount": histogram.get_sample_count().to_string(),
        "sampleSum": number(histogram.get_sample_sum()),
        "bucket": buckets.collect::<Vec<_>>(),
    })
}

fn summary_json(summary: &Summary) -> Value {
    let quantiles = summary.get_quantile().iter();
    let quantiles = quantiles.map(|q| json!({"quantile": number(q.quantile()), "value": number(q.value())}));
    json!({
        "sampleCount": summary.sample_count().to_string(),
        "sampleSum": number(summary.sample_sum()),
        "quantile": quantiles.collect::<Vec<_>>(),
    })
}

/// A double in protobuf's JSON mapping.
fn number(value: f64) -> Value {
    match value {
        _ if value.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        // As Go prints it: whole numbers have no fraction.
        _ if value.fract() == 0.0 && value.abs() < 1e15 => (value as i64).into(),
        _ => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Counter, GaugeVec, HistogramOpts, Opts, Registry};

    use super::*;

    #[test]
    fn families_are_in_the_json_of_protobuf() {
        let registry = Registry::new();
        let counter = Counter::new("c_total", "Counts.").unwrap();
        counter.inc_by(2.5);
        let gauge = GaugeVec::new(Opts::new("g", "Gauges."), &["a"]).unwrap();
        gauge.with_label_values(&["x"]).set(f64::INFINITY);
        gauge.with_label_values(&["y"]).set(3.0);
        let options = HistogramOpts::new("h_seconds", "Times.").buckets(vec![0.5, 1.0]);
        let histogram = prometheus::Histogram::with_opts(options).unwrap();
        histogram.observe(0.75);
        registry.register(Box::new(counter)).unwrap();
        registry.register(Box::new(gauge)).unwrap();
        registry.register(Box::new(histogram)).unwrap();
        let shown: Vec<Value> = registry.gather().iter().map(family_json).collect();
        assert_eq!(
            Value::from(shown),
            json!([
                {"name": "c_total", "help": "Counts.", "type": "COUNTER", "metric": [{"counter": {"value": 2.5}}]},
                {"name": "g", "help": "Gauges.", "type": "GAUGE", "metric": [
                    {"label": [{"name": "a", "value": "x"}], "gauge": {"value": "Infinity"}},
                    {"label": [{"name": "a", "value": "y"}], "gauge": {"value": 3}},
                ]},
                {"name": "h_seconds", "help": "Times.", "type": "HISTOGRAM", "metric": [{"histogram": {
                    "sampleCount": "1", "sampleSum": 0.75,
                    "bucket": [
                        {"cumulativeCount": "0", "upperBound": 0.5},
                        {"cumulativeCount": "1", "upperBound": 1},
                    ],
                }}]},
            ])
        );
    }
}
