//! The OpenMetrics text format, versions 0.0.1 and 1.0.0: stricter than Prometheus's, with units, exemplars and `# EOF`.
//!
//! A `_created` line says when the metric before it started. It is a series like any other, and its value becomes the start
//! timestamp of the preceding samples of the same metric.

use std::ops::Range;

use pharos_model::{Exemplar, LabelsBuilder, MetricType};

use super::float::{excerpt, parse_seconds, parse_value, seconds_to_millis};
use super::series::{Dialect, SeriesText, read_exemplar_labels, series_end, unescape};
use super::sink::{
    ExpositionError, MetadataField, NO_TIMESTAMP, SampleIndex, SampleInfo, SeriesKey, Sink, valid_lines,
};
use super::text::{SyntaxError, expected_end, family_name};

/// Parses a body in the OpenMetrics text format.
pub fn parse_openmetrics(body: &[u8], sink: &mut impl Sink) -> Result<(), ExpositionError> {
    let (text, invalid) = valid_lines(body);
    let mut parser =
        OpenMetricsParser { text, kind: MetricType::Unknown, run: Vec::new(), labels: LabelsBuilder::default() };
    let mut at = 0;
    let locate = |(offset, reason): SyntaxError| ExpositionError::at(body, offset, reason);
    loop {
        if at == text.len()
            && let Some(error) = invalid
        {
            return Err(error);
        }
        match &text.as_bytes()[at..] {
            b"# EOF" | b"# EOF\n" => return Ok(()),
            rest if rest.starts_with(b"# EOF\n") => return Err(locate((at + 6, "unexpected data after # EOF".into()))),
            b"" => return Err(locate((at, "data does not end with # EOF".into()))),
            rest if rest.starts_with(b"#") => at = parser.metadata(at, sink).map_err(locate)?,
            _ => at = parser.sample(at, sink).map_err(locate)?,
        }
    }
}

/// A sample whose start timestamp may still follow in a `_created` line.
struct Unstarted {
    series: Range<usize>,
    index: SampleIndex,
}

struct OpenMetricsParser<'a> {
    text: &'a str,
    kind: MetricType,
    /// The samples since the last `_created` or `# TYPE` line.
    run: Vec<Unstarted>,
    labels: LabelsBuilder,
}

impl OpenMetricsParser<'_> {
    fn metadata(&mut self, at: usize, sink: &mut impl Sink) -> Result<usize, SyntaxError> {
        let bytes = self.text.as_bytes();
        let word = bytes.get(at..at + 7).unwrap_or_default();
        if !matches!(word, b"# HELP " | b"# TYPE " | b"# UNIT ") {
            return Err((at, "expected HELP, TYPE, UNIT or EOF after '# '".into()));
        }
        let (family, family_end) = family_name(self.text, at + 7)?;
        let end = memchr::memchr(b'\n', &bytes[family_end..]).map(|i| family_end + i);
        let end = end.ok_or_else(|| (at, "data does not end with # EOF".to_string()))?;
        let text = match bytes[family_end] {
            b' ' => &self.text[family_end + 1..end],
            b'\n' => return Err((family_end, "expected text in metadata".into())),
            _ => return Err((family_end, "expected a blank after the metric name".into())),
        };
        let error = |reason| Err((family_end + 1, reason));
        match word[2] {
            b'T' => {
                let kind = MetricType::parse(text).filter(|_| text != "untyped");
                let Some(kind) = kind else {
                    return error(format!("invalid metric type {:?}", excerpt(text)));
                };
                self.kind = kind;
                self.run.clear();
                sink.metadata(&family, MetadataField::Kind(kind));
            }
            b'U' => {
                let has_suffix = family.strip_suffix(text).is_some_and(|stem| stem.ends_with('_'));
                if !text.is_empty() && !has_suffix {
                    return error(format!("unit {text:?} not a suffix of metric {family:?}"));
                }
                sink.metadata(&family, MetadataField::Unit(text));
            }
            _ if text.contains('\\') => sink.metadata(&family, MetadataField::Help(&unescape(text, true))),
            _ => sink.metadata(&family, MetadataField::Help(text)),
        }
        Ok(end + 1)
    }

    fn sample(&mut self, at: usize, sink: &mut impl Sink) -> Result<usize, SyntaxError> {
        let bytes = self.text.as_bytes();
        let (series_end, is_expected) = match expected_end(bytes, at, sink.expected()) {
            Some(end) => (end, true),
            None => (series_end(bytes, at, Dialect::OpenMetrics)?, false),
        };
        let value_end = self.token(series_end, "expected a value after the metric")?;
        let v = parse_value(&self.text[series_end + 1..value_end]).map_err(|reason| (series_end, reason))?;
        let (t, rest) = self.optional_timestamp(value_end)?;
        let (exemplar, next) = self.optional_exemplar(rest)?;
        let series = at..series_end;
        let is_created = self.has_created_lines() && self.is_created(&series);
        if is_created {
            self.set_created(&series, v, sink);
        }
        let source = SeriesText { text: &self.text[series.clone()], dialect: Dialect::OpenMetrics, kind: self.kind };
        let key = SeriesKey { key: source.text.as_bytes(), is_expected, labels: &source };
        let info = SampleInfo { t, st: 0, exemplars: exemplar.as_slice() };
        let index = sink.float(key, v, info).map_err(|e| (at, e.reason))?;
        if self.has_created_lines() && !is_created {
            self.run.push(Unstarted { series, index });
        }
        Ok(next)
    }

    /// The end of the token that follows one blank at `at`.
    fn token(&self, at: usize, expected: &str) -> Result<usize, SyntaxError> {
        let bytes = self.text.as_bytes();
        let start = at + 1;
        let length = bytes
            .get(start..)
            .map_or(0, |rest| rest.iter().position(|b| matches!(b, b' ' | b'\n')).unwrap_or(rest.len()));
        if bytes.get(at) != Some(&b' ') || length == 0 {
            return Err((at, expected.into()));
        }
        Ok(start + length)
    }

    fn optional_timestamp(&self, at: usize) -> Result<(Option<i64>, usize), SyntaxError> {
        let bytes = self.text.as_bytes();
        if bytes.get(at) != Some(&b' ') || bytes.get(at + 1) == Some(&b'#') {
            return Ok((None, at));
        }
        let end = self.token(at, "expected a timestamp")?;
        let t = parse_seconds(&self.text[at + 1..end]).map_err(|reason| (at, reason))?;
        Ok((Some(t), end))
    }

    /// The exemplar at the end of the line, if any, and the start of the next line.
    fn optional_exemplar(&mut self, at: usize) -> Result<(Option<Exemplar>, usize), SyntaxError> {
        let bytes = self.text.as_bytes();
        match bytes.get(at) {
            Some(b'\n') => return Ok((None, at + 1)),
            None => return Err((at, "data does not end with # EOF".into())),
            Some(_) if bytes[at..].starts_with(b" # {") => {}
            Some(_) => return Err((at, "expected the end of the line or an exemplar".into())),
        }
        let open = at + 3;
        let close = series_end(bytes, open, Dialect::OpenMetrics)?;
        self.labels.clear();
        let is_kept =
            read_exemplar_labels(&self.text[open..close], &mut self.labels).map_err(|reason| (open, reason))?;
        let value_end = self.token(close, "expected a value after the exemplar's labels")?;
        let value = parse_value(&self.text[close + 1..value_end]).map_err(|reason| (close, reason))?;
        let (t, end) = self.optional_timestamp(value_end)?;
        match bytes.get(end) {
            Some(b'\n') => {}
            None => return Err((end, "data does not end with # EOF".into())),
            Some(_) => return Err((end, "expected the end of the line after the exemplar".into())),
        }
        let exemplar = || Exemplar { labels: self.labels.build(), value, t: t.unwrap_or(NO_TIMESTAMP) };
        // One whose time is out of range is left out.
        Ok(((is_kept && t < Some(i64::MAX)).then(exemplar), end + 1))
    }

    /// Whether metrics of this type have `_created` lines.
    fn has_created_lines(&self) -> bool {
        matches!(self.kind, MetricType::Counter | MetricType::Summary | MetricType::Histogram)
    }

    fn is_created(&self, series: &Range<usize>) -> bool {
        split_series(&self.text[series.clone()]).0.ends_with("_created")
    }

    /// Sets the value of a `_created` line as the start of the samples of its metric.
    fn set_created(&mut self, series: &Range<usize>, seconds: f64, sink: &mut impl Sink) {
        let (name, labels) = split_series(&self.text[series.clone()]);
        let family = name.strip_suffix("_created").unwrap_or(name);
        let st = seconds_to_millis(seconds).unwrap_or(0);
        for sample in self.run.drain(..).rev() {
            let (sample_name, sample_labels) = split_series(&self.text[sample.series]);
            if !sample_name.starts_with(family) || !same_metric(labels, sample_labels) {
                break;
            }
            sink.set_start(sample.index, st);
        }
    }
}

/// Splits `name{labels}` or `{"name",labels}` into name and labels.
fn split_series(series: &str) -> (&str, &str) {
    match series.split_once('{') {
        Some(("", rest)) => {
            let rest = rest.strip_suffix('}').unwrap_or(rest);
            let rest = rest.strip_prefix('"').unwrap_or(rest);
            let (name, labels) = rest.split_once('"').unwrap_or((rest, ""));
            (name, labels.strip_prefix(',').unwrap_or(labels))
        }
        Some((name, rest)) => (name, rest.strip_suffix('}').unwrap_or(rest)),
        None => (series, ""),
    }
}

/// Whether the labels of a sample are those of a metric, apart from `le` and `quantile`.
fn same_metric(metric: &str, sample: &str) -> bool {
    if metric == sample {
        return true;
    }
    ["le=\"", "quantile=\""].iter().any(|prefix| {
        let Some(at) = sample.find(prefix).filter(|at| *at == 0 || sample.as_bytes()[at - 1] == b',') else {
            return false;
        };
        let after = &sample[at + prefix.len()..];
        let after = after.split_once('"').map_or("", |(_, after)| after);
        let (before, after) = match after.strip_prefix(',') {
            Some(after) => (&sample[..at], after),
            None => (sample[..at].strip_suffix(',').unwrap_or(""), after),
        };
        metric.strip_prefix(before) == Some(after)
    })
}

#[cfg(test)]
mod tests;
