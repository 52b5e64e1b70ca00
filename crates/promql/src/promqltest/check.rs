//! Comparison of answers with what a script expects.

use pharos_gocompat::GoFloat;
use pharos_model::{Histogram, Labels};

use super::expect::{EvalCommand, Expectation};
use super::series::SeriesValue;
use crate::eval::{MatrixSeries, SampleValue, Value, VectorSample};
use crate::quantile::almost_equal;

/// Relative tolerance of values.
const EPSILON: f64 = 1e-6;

/// Checks the annotations of an answer.
pub(super) fn check_annotations(eval: &EvalCommand, warnings: &[String], infos: &[String]) -> Result<(), String> {
    if eval.any_warning && warnings.is_empty() {
        return Err("expected a warning, got none".into());
    }
    if eval.any_info && infos.is_empty() {
        return Err("expected an info, got none".into());
    }
    check_kind("warning", &eval.warnings, eval.no_warnings, warnings)?;
    check_kind("info", &eval.infos, eval.no_infos, infos)
}

fn check_kind(kind: &str, expected: &[Expectation], none: bool, found: &[String]) -> Result<(), String> {
    if none && !found.is_empty() {
        return Err(format!("unexpected {kind}s: {found:?}"));
    }
    if expected.is_empty() {
        return Ok(());
    }
    if let Some(missing) = expected.iter().find(|e| !found.iter().any(|text| e.matches(text))) {
        return Err(format!("expected {kind} {missing}, found {found:?}"));
    }
    match found.iter().find(|text| !expected.iter().any(|e| e.matches(text))) {
        Some(surplus) => Err(format!("unexpected {kind} {surplus:?}")),
        None => Ok(()),
    }
}

/// Checks a value. `times` are the start, end and step of the expected samples.
pub(super) fn check_value(eval: &EvalCommand, value: &Value, times: (i64, i64, i64)) -> Result<(), String> {
    let expected = &eval.result;
    match value {
        Value::String(_, text) => match expected.string.as_deref().unwrap_or_default() {
            string if string == text => Ok(()),
            string => Err(format!("expected string {string:?}, got {text:?}")),
        },
        Value::Scalar(_, v) => match expected.scalar {
            Some(scalar) if almost_equal(scalar, *v, EPSILON) => Ok(()),
            Some(scalar) => Err(format!("expected scalar {scalar}, got {v}")),
            None => Err(format!("expected a vector or a matrix, got scalar {v}")),
        },
        Value::Vector(_) | Value::Matrix(_) if expected.scalar.is_some() => {
            Err(format!("expected scalar {}, got {value:?}", expected.scalar.unwrap_or_default()))
        }
        Value::Vector(vector) => check_vector(eval, vector),
        Value::Matrix(_) if eval.ordered => Err("expected an ordered result, got a matrix".into()),
        Value::Matrix(matrix) => check_matrix(eval, matrix, times),
    }
}

fn check_vector(eval: &EvalCommand, vector: &[VectorSample]) -> Result<(), String> {
    for (at, sample) in vector.iter().enumerate() {
        let labels = &sample.labels;
        let position = eval.result.series.iter().position(|(known, _)| known == labels);
        let Some(position) = position else {
            return Err(format!("unexpected series {labels} with {}", show(&sample.value)));
        };
        if eval.ordered && position != at {
            return Err(format!("expected {labels} at position {}, it is at {}", position + 1, at + 1));
        }
        let expected = eval.result.series[position].1.first().unwrap_or(&SeriesValue::Omitted);
        if !same_value(expected, &sample.value) {
            return Err(format!("expected {} for {labels}, got {}", show_expected(expected), show(&sample.value)));
        }
    }
    let found = vector.iter().map(|sample| &sample.labels);
    check_missing(eval, found)
}

fn check_missing<'a>(eval: &EvalCommand, found: impl Iterator<Item = &'a Labels> + Clone) -> Result<(), String> {
    match eval.result.series.iter().find(|(labels, _)| !found.clone().any(|known| known == labels)) {
        Some((labels, values)) => {
            let values: Vec<_> = values.iter().map(show_expected).collect();
            Err(format!("expected series {labels} with {}, not found", values.join(" ")))
        }
        None => Ok(()),
    }
}

fn check_matrix(eval: &EvalCommand, matrix: &[MatrixSeries], times: (i64, i64, i64)) -> Result<(), String> {
    for series in matrix {
        let labels = &series.labels;
        let samples = samples(series);
        let Some((_, values)) = eval.result.series.iter().find(|(known, _)| known == labels) else {
            return Err(format!("unexpected series {labels} with {}", show_samples(&samples)));
        };
        let (start, end, step) = times;
        let expected: Vec<(i64, &SeriesValue)> = values
            .iter()
            .enumerate()
            .map(|(at, value)| (start.saturating_add(step.saturating_mul(at as i64)), value))
            .filter(|(_, value)| **value != SeriesValue::Omitted)
            .collect();
        if let Some((t, _)) = expected.iter().find(|(t, _)| *t > end) {
            return Err(format!("a value of {labels} is expected at {t} ms, after the end of the query"));
        }
        let same = expected.len() == samples.len()
            && expected.iter().zip(&samples).all(|((t, e), (at, v))| t == at && same_value(e, v));
        if !same {
            let expected: Vec<_> = expected.iter().map(|(t, value)| format!("{}@{t}", show_expected(value))).collect();
            return Err(format!("expected {} for {labels}, got {}", expected.join(" "), show_samples(&samples)));
        }
    }
    check_missing(eval, matrix.iter().map(|series| &series.labels))
}

/// The floats and histograms of a series, in order of time.
fn samples(series: &MatrixSeries) -> Vec<(i64, SampleValue)> {
    let floats = series.floats.iter().map(|(t, v)| (*t, SampleValue::Float(*v)));
    let histograms = series.histograms.iter().map(|(t, h)| (*t, SampleValue::Histogram(h.clone())));
    let mut samples: Vec<_> = floats.chain(histograms).collect();
    samples.sort_by_key(|(t, _)| *t);
    samples
}

fn same_value(expected: &SeriesValue, value: &SampleValue) -> bool {
    match (expected, value) {
        (SeriesValue::Float(e), SampleValue::Float(v)) => almost_equal(*e, *v, EPSILON),
        (SeriesValue::Histogram(e, hint), SampleValue::Histogram(h)) => same_histogram(e, h, *hint),
        _ => false,
    }
}

fn same_histogram(expected: &Histogram, h: &Histogram, check_hint: bool) -> bool {
    let (mut expected, mut h) = (expected.clone(), h.clone());
    expected.compact(0);
    h.compact(0);
    let same = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| almost_equal(*a, *b, EPSILON));
    expected.schema == h.schema
        && expected.zero_threshold == h.zero_threshold
        && same(&[expected.count, expected.sum, expected.zero_count], &[h.count, h.sum, h.zero_count])
        && (!h.has_custom_buckets() || expected.custom_values == h.custom_values)
        && expected.positive_spans == h.positive_spans
        && expected.negative_spans == h.negative_spans
        && same(&expected.positive_buckets, &h.positive_buckets)
        && same(&expected.negative_buckets, &h.negative_buckets)
        && (!check_hint || expected.counter_reset == h.counter_reset)
}

fn show(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(v) => GoFloat(*v).to_string(),
        SampleValue::Histogram(h) => show_histogram(h),
    }
}

fn show_expected(value: &SeriesValue) -> String {
    match value {
        SeriesValue::Omitted => "_".into(),
        SeriesValue::Float(v) => GoFloat(*v).to_string(),
        SeriesValue::Histogram(h, _) => show_histogram(h),
    }
}

fn show_histogram(h: &Histogram) -> String {
    let Histogram { schema, zero_threshold, counter_reset, .. } = h;
    format!("{{{{schema:{schema} z_bucket_w:{zero_threshold} {counter_reset:?} {h}}}}}")
}

fn show_samples(samples: &[(i64, SampleValue)]) -> String {
    let samples: Vec<_> = samples.iter().map(|(t, value)| format!("{}@{t}", show(value))).collect();
    samples.join(" ")
}
