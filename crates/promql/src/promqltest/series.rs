//! Series notation: `name{label="value"} 1 2+3x2 _ stale {{schema:0 count:1 buckets:[1]}}x4`.

use std::sync::Arc;

use pharos_gocompat::GoFloat;
use pharos_histogram::CUSTOM_BUCKETS_SCHEMA;
use pharos_model::{CounterReset, Histogram, Labels, METRIC_NAME, MatchOp, STALE_NAN, Span};

use super::words::ScriptError;
use crate::syntax::parse_metric_selector;

/// The most values of a series line. A script must not exhaust memory.
pub(super) const MAX_VALUES: usize = 1_000_000;

/// The widest gap between buckets that is filled with zeros when a histogram is printed.
const MAX_GAP: u32 = 10_000;

/// A value of an expanded series line.
#[derive(Clone, Debug, PartialEq)]
pub enum SeriesValue {
    /// No sample, written `_`.
    Omitted,
    /// A float, or the stale marker, written `stale`.
    Float(f64),
    /// A native histogram, and whether the line states its counter reset hint.
    Histogram(Arc<Histogram>, bool),
}

/// Parses a series line into its labels and values.
///
/// # Errors
/// Fails with line 0 if the line is not valid.
pub fn parse_series(line: &str) -> Result<(Labels, Vec<SeriesValue>), ScriptError> {
    let (labels, rest) = parse_metric(line)?;
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return Err(ScriptError::new(format!("invalid series description {line:?}")));
    }
    Ok((labels, parse_values(rest)?))
}

/// Splits off the metric of a series line.
pub(super) fn parse_metric(line: &str) -> Result<(Labels, &str), ScriptError> {
    let bad = || ScriptError::new(format!("invalid series description {line:?}"));
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let (name, rest) = line.split_at(line.find(|c| !word(c)).unwrap_or(line.len()));
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(bad());
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    if !name.is_empty() {
        pairs.push((METRIC_NAME.into(), name.into()));
    }
    let braces = rest.trim_start();
    if !braces.starts_with('{') || braces.starts_with("{{") {
        return if name.is_empty() { Err(bad()) } else { Ok((Labels::from_pairs(pairs), rest)) };
    }
    let (selector, rest) = braces.split_at(end_of_braces(braces).ok_or_else(bad)?);
    if !selector[1..selector.len() - 1].trim().is_empty() {
        for matcher in parse_metric_selector(selector).map_err(|error| ScriptError::new(error.to_string()))? {
            if matcher.op != MatchOp::Equal {
                return Err(bad());
            }
            pairs.push((matcher.name, matcher.value));
        }
    }
    Ok((Labels::from_pairs(pairs), rest))
}

/// The length of a label set in braces. Braces within quotes do not end it.
fn end_of_braces(text: &str) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(q) if c == '\\' && q != '`' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'' | '`') => quote = Some(c),
            None if c == '}' => return Some(at + 1),
            None => {}
        }
    }
    None
}

/// Expands a sequence of values.
pub(super) fn parse_values(text: &str) -> Result<Vec<SeriesValue>, ScriptError> {
    let mut values = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        rest = parse_item(rest, &mut values)?.trim_start();
        if values.len() > MAX_VALUES {
            return Err(ScriptError::new(format!("a series has more than {MAX_VALUES} values")));
        }
    }
    Ok(values)
}

/// Expands the item at the start of `text` and returns what follows it.
fn parse_item<'a>(text: &'a str, values: &mut Vec<SeriesValue>) -> Result<&'a str, ScriptError> {
    let bad = || ScriptError::new(format!("invalid series values at {:?}", text.chars().take(64).collect::<String>()));
    if let Some(body) = text.strip_prefix("{{") {
        return histogram_item(body, values);
    }
    let (item, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    for (word, value, extra) in [("_", SeriesValue::Omitted, 0), ("stale", SeriesValue::Float(STALE_NAN), 1)] {
        if let Some(times) = item.strip_prefix(word) {
            let times = if times.is_empty() { 1 } else { repetitions(times).ok_or_else(bad)? + extra };
            values.extend(std::iter::repeat_n(value, times));
            return Ok(rest);
        }
    }
    let (first, after) = split_number(item).ok_or_else(bad)?;
    let (step, times) = match after.as_bytes() {
        [] => (0.0, 0),
        [b'x', ..] => (0.0, repetitions(after).ok_or_else(bad)?),
        [b'+' | b'-', ..] => {
            let (step, after) = split_number(after).ok_or_else(bad)?;
            (step, repetitions(after).ok_or_else(bad)?)
        }
        _ => return Err(bad()),
    };
    let mut value = first;
    for _ in 0..=times {
        values.push(SeriesValue::Float(value));
        value += step;
    }
    Ok(rest)
}

/// Parses `xN`.
fn repetitions(text: &str) -> Option<usize> {
    text.strip_prefix('x')?.parse().ok().filter(|n| *n <= MAX_VALUES)
}

/// Splits off a number. It ends before `x`, `+` or `-`, unless the sign belongs to an exponent.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let bytes = text.as_bytes();
    let mut end = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let word = |text: &str, word: &str| text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if word(&text[end..], "inf") || word(&text[end..], "nan") {
        end += 3;
    } else {
        while let Some(b) = bytes.get(end) {
            let exponent_sign = matches!(b, b'+' | b'-') && matches!(bytes[end - 1], b'e' | b'E');
            if !(b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E') || exponent_sign && end > 0) {
                break;
            }
            end += 1;
        }
    }
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// Expands `{{...}}`, `{{...}}xN` or `{{...}}+{{...}}xN`, of which the first braces are already stripped.
fn histogram_item<'a>(body: &'a str, values: &mut Vec<SeriesValue>) -> Result<&'a str, ScriptError> {
    let unclosed = || ScriptError::new("a histogram lacks its closing }}");
    let (body, rest) = body.split_once("}}").ok_or_else(unclosed)?;
    let (first, mut hint_given) = parse_histogram(body)?;
    let split_times = |rest: &'a str| -> Result<(usize, &'a str), ScriptError> {
        let (times, rest) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
        let bad = || ScriptError::new(format!("invalid repetition {times:?} of a histogram"));
        Ok((repetitions(times).ok_or_else(bad)?, rest))
    };
    let signed = rest.strip_prefix("+{{").map(|step| (1.0, step)).or(rest.strip_prefix("-{{").map(|step| (-1.0, step)));
    let Some((sign, step)) = signed else {
        let (times, rest) = if rest.starts_with('x') { split_times(rest)? } else { (0, rest) };
        values.extend(std::iter::repeat_n(SeriesValue::Histogram(Arc::new(first), hint_given), times + 1));
        return Ok(rest);
    };
    let (step, rest) = step.split_once("}}").ok_or_else(unclosed)?;
    let (step, step_hint_given) = parse_histogram(step)?;
    hint_given |= step_hint_given;
    let (times, rest) = split_times(rest)?;
    let mut current = first;
    for _ in 0..times {
        values.push(SeriesValue::Histogram(Arc::new(current.clone()), hint_given));
        let combined = if sign > 0.0 { current.add(&step) } else { current.sub(&step) };
        combined.map_err(|error| ScriptError::new(error.to_string()))?;
    }
    values.push(SeriesValue::Histogram(Arc::new(current), hint_given));
    Ok(rest)
}

/// Parses the text between the braces of a histogram. Also returns whether it states a counter reset hint.
fn parse_histogram(body: &str) -> Result<(Histogram, bool), ScriptError> {
    let mut h = Histogram::default();
    let (mut positive, mut negative, mut hint_given) = ((0, Vec::new()), (0, Vec::new()), false);
    let mut rest = body.trim();
    while !rest.is_empty() {
        let bad = || ScriptError::new(format!("invalid histogram description {body:?}"));
        let (key, after) = rest.split_once(':').ok_or_else(bad)?;
        let after = after.trim_start();
        let end = match after.starts_with('[') {
            true => after.find(']').ok_or_else(bad)? + 1,
            false => after.find(char::is_whitespace).unwrap_or(after.len()),
        };
        let value = &after[..end];
        let number = || parse_number(value).ok_or_else(bad);
        let whole = || value.parse::<i32>().map_err(|_| bad());
        let list = || -> Result<Vec<f64>, ScriptError> {
            let items = value.strip_prefix('[').and_then(|v| v.strip_suffix(']')).ok_or_else(bad)?;
            items.split_whitespace().map(|item| parse_number(item).ok_or_else(bad)).collect()
        };
        match key.trim() {
            "schema" => h.schema = whole()?,
            "sum" => h.sum = number()?,
            "count" => h.count = number()?,
            "z_bucket" => h.zero_count = number()?,
            "z_bucket_w" => h.zero_threshold = number()?,
            "custom_values" => h.custom_values = list()?.into(),
            "buckets" => positive.1 = list()?,
            "offset" => positive.0 = whole()?,
            "n_buckets" => negative.1 = list()?,
            "n_offset" => negative.0 = whole()?,
            "counter_reset_hint" => {
                h.counter_reset = counter_reset(value).ok_or_else(bad)?;
                hint_given = true;
            }
            _ => return Err(bad()),
        }
        rest = after[end..].trim_start();
    }
    (h.positive_spans, h.positive_buckets) = side(positive);
    (h.negative_spans, h.negative_buckets) = side(negative);
    if h.schema != CUSTOM_BUCKETS_SCHEMA && !h.custom_values.is_empty() {
        return Err(ScriptError::new("custom_values requires schema -53"));
    }
    Ok((h, hint_given))
}

fn side((offset, buckets): (i32, Vec<f64>)) -> (Vec<Span>, Vec<f64>) {
    match buckets.len() {
        0 => (Vec::new(), Vec::new()),
        n => (vec![Span { offset, length: n as u32 }], buckets),
    }
}

fn counter_reset(name: &str) -> Option<CounterReset> {
    Some(match name {
        "unknown" => CounterReset::Unknown,
        "reset" => CounterReset::Reset,
        "not_reset" => CounterReset::NotReset,
        "gauge" => CounterReset::Gauge,
        _ => return None,
    })
}

/// Parses a number like Go: decimal, `0x` hexadecimal, `Inf`, `NaN`.
pub(super) fn parse_number(text: &str) -> Option<f64> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok().map(|n| n as f64);
    }
    text.parse().ok()
}

/// Prints a histogram in series notation: `{{count:2 sum:3 buckets:[2]}}`. Zero fields are omitted, and gaps between buckets
/// are filled with zeros.
pub fn histogram_notation(h: &Histogram) -> String {
    let mut h = h.clone();
    h.compact(MAX_GAP);
    let list = |values: &[f64]| values.iter().map(|v| GoFloat(*v).to_string()).collect::<Vec<_>>().join(" ");
    let mut parts = Vec::new();
    if h.schema != 0 {
        parts.push(format!("schema:{}", h.schema));
    }
    let numbers = [("count", h.count), ("sum", h.sum), ("z_bucket", h.zero_count), ("z_bucket_w", h.zero_threshold)];
    for (key, value) in numbers.into_iter().filter(|(_, value)| *value != 0.0) {
        parts.push(format!("{key}:{}", GoFloat(value)));
    }
    if h.has_custom_buckets() {
        parts.push(format!("custom_values:[{}]", list(&h.custom_values)));
    }
    match h.counter_reset {
        CounterReset::Unknown => {}
        CounterReset::Reset => parts.push("counter_reset_hint:reset".into()),
        CounterReset::NotReset => parts.push("counter_reset_hint:not_reset".into()),
        CounterReset::Gauge => parts.push("counter_reset_hint:gauge".into()),
    }
    let sides = [
        ("offset", "buckets", &h.positive_spans, &h.positive_buckets),
        ("n_offset", "n_buckets", &h.negative_spans, &h.negative_buckets),
    ];
    for (offset_key, key, spans, buckets) in sides {
        if let Some(offset) = spans.first().map(|span| span.offset).filter(|offset| *offset != 0) {
            parts.push(format!("{offset_key}:{offset}"));
        }
        if !buckets.is_empty() {
            parts.push(format!("{key}:[{}]", list(buckets)));
        }
    }
    format!("{{{{{}}}}}", parts.join(" "))
}
