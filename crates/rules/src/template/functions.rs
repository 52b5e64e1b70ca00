//! Prometheus's template functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_gocompat::template::{Arity, CallError, Functions, List, Record, Value, escape_query};
use pharos_gocompat::{GoRegex, parse_duration};

use super::objects::TimeObject;
use super::{TemplateContext, humanize, label_map, sample_value};

/// How many arguments each function takes.
const FUNCTIONS: &[(&str, Arity)] = &[
    ("args", Arity::AtLeast(0)),
    ("externalURL", Arity::Exactly(0)),
    ("first", Arity::Exactly(1)),
    ("graphLink", Arity::Exactly(1)),
    ("humanize", Arity::Exactly(1)),
    ("humanize1024", Arity::Exactly(1)),
    ("humanizeDuration", Arity::Exactly(1)),
    ("humanizePercentage", Arity::Exactly(1)),
    ("humanizeTimestamp", Arity::Exactly(1)),
    ("label", Arity::Exactly(2)),
    ("match", Arity::Exactly(2)),
    ("now", Arity::Exactly(0)),
    ("parseDuration", Arity::Exactly(1)),
    ("pathPrefix", Arity::Exactly(0)),
    ("query", Arity::Exactly(1)),
    ("reReplaceAll", Arity::Exactly(3)),
    ("safeHtml", Arity::Exactly(1)),
    ("sortByLabel", Arity::Exactly(2)),
    ("stripDomain", Arity::Exactly(1)),
    ("stripPort", Arity::Exactly(1)),
    ("strvalue", Arity::Exactly(1)),
    ("tableLink", Arity::Exactly(1)),
    ("title", Arity::Exactly(1)),
    ("toDuration", Arity::Exactly(1)),
    ("toLower", Arity::Exactly(1)),
    ("toTime", Arity::Exactly(1)),
    ("toUpper", Arity::Exactly(1)),
    ("urlQueryEscape", Arity::Exactly(1)),
    ("value", Arity::Exactly(1)),
];

/// The type of the result of `query` in errors.
const QUERY_RESULT: &str = "template.queryResult";
/// The type of its elements.
const SAMPLE: &str = "*template.sample";

fn arity(name: &str) -> Option<Arity> {
    FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, arity)| *arity)
}

/// Whether Prometheus has a function of that name.
pub(super) fn is_known(name: &str) -> bool {
    arity(name).is_some()
}

/// The functions as an evaluation of a rule offers them.
pub(super) struct RuleFunctions<'a>(pub(super) &'a TemplateContext<'a>);

impl Functions for RuleFunctions<'_> {
    fn arity(&self, name: &str) -> Option<Arity> {
        arity(name)
    }

    fn call(&self, name: &str, args: &[Value]) -> Result<Value, CallError> {
        match (name, args) {
            ("args", args) => Ok(args_map(args)),
            (_, []) => Ok(self.surroundings(name)),
            ("first", [list]) => first(list),
            ("value", [sample]) => sample_field(sample, "Value"),
            ("strvalue", [sample]) => Ok(sample_field(sample, "Labels")?.field("__value__")?),
            ("label", [label, sample]) => Ok(sample_field(sample, "Labels")?.field(text(label)?)?),
            ("sortByLabel", [label, list]) => sorted_by(text(label)?, list),
            ("match", [pattern, against]) => Ok(Value::Bool(regex(pattern)?.is_match(text(against)?))),
            ("reReplaceAll", [pattern, template, within]) => {
                Ok(Value::text(regex(pattern)?.replace_all(text(within)?, text(template)?)))
            }
            (name, [arg]) if name.starts_with("humanize") || matches!(name, "toTime" | "toDuration") => {
                Ok(of_number(name, number(arg)?)?)
            }
            ("query", [query]) => self.query(text(query)?),
            ("parseDuration", [duration]) => Ok(seconds_of(text(duration)?)?),
            (_, [arg, ..]) => Ok(Value::text(of_text(name, text(arg)?))),
        }
    }
}

impl RuleFunctions<'_> {
    /// What functions without arguments tell.
    fn surroundings(&self, name: &str) -> Value {
        let context = self.0;
        match name {
            "now" => Value::Float(context.t_ms as f64 / 1000.0),
            "externalURL" => Value::text(context.external_url),
            // `pathPrefix`
            _ => {
                let url = url::Url::parse(context.external_url);
                Value::text(url.map(|url| url.path().trim_end_matches('/').to_string()).unwrap_or_default())
            }
        }
    }

    fn query(&self, query: &str) -> Result<Value, CallError> {
        let sample = |sample: &pharos_promql::VectorSample| {
            let fields = vec![("Labels", label_map(&sample.labels)), ("Value", sample_value(&sample.value))];
            Value::Record(Arc::new(Record { type_name: SAMPLE, fields }))
        };
        let samples = (self.0.query)(query)?;
        Ok(Value::List(List { type_name: QUERY_RESULT, items: samples.iter().map(sample).collect() }))
    }
}

fn text(arg: &Value) -> Result<&str, CallError> {
    match arg {
        Value::Text(text) => Ok(text),
        other => Err(CallError::wrong_type("string", other)),
    }
}

/// The number that functions such as `humanize` take. Strings are parsed.
fn number(arg: &Value) -> Result<f64, String> {
    match arg {
        Value::Float(v) => Ok(*v),
        Value::Int(n) => Ok(*n as f64),
        Value::Duration(ns) => Ok(*ns as f64 / 1e9),
        Value::Text(text) => pharos_gocompat::strconv::parse_float(text)
            .map_err(|error| format!("strconv.ParseFloat: parsing {}: {error}", pharos_gocompat::GoQuoted(text))),
        other => Err(format!("can't convert {} to float", other.type_name())),
    }
}

fn of_number(name: &str, v: f64) -> Result<Value, String> {
    Ok(match name {
        "humanize" => Value::text(humanize::decimal(v)),
        "humanize1024" => Value::text(humanize::binary(v)),
        "humanizeDuration" => Value::text(humanize::duration(v)),
        "humanizePercentage" => Value::text(humanize::percentage(v)),
        "humanizeTimestamp" => Value::text(humanize::timestamp(v)?),
        "toTime" => Value::Object(Arc::new(TimeObject(humanize::nanoseconds(v)?))),
        // `toDuration`
        _ => Value::Duration((v * 1e9) as i64),
    })
}

fn of_text(name: &str, text: &str) -> String {
    match name {
        "title" => title(text),
        "toUpper" => text.to_uppercase(),
        "toLower" => text.to_lowercase(),
        "graphLink" => format!("/graph?g0.expr={}&g0.tab=0", escape_query(text)),
        "tableLink" => super::table_link(text),
        "stripPort" => split_host_port(text).map_or(text, |(host, _)| host).to_string(),
        "stripDomain" => strip_domain(text),
        "urlQueryEscape" => escape_query(text),
        // `safeHtml`
        _ => text.to_string(),
    }
}

/// The seconds of a duration, which may be negative.
fn seconds_of(duration: &str) -> Result<Value, String> {
    let (sign, magnitude) = duration.strip_prefix('-').map_or((1.0, duration), |magnitude| (-1.0, magnitude));
    Ok(Value::Float(sign * parse_duration(magnitude)? as f64 / 1000.0))
}

fn args_map(args: &[Value]) -> Value {
    let named = args.iter().enumerate().map(|(i, arg)| (format!("arg{i}"), arg.clone()));
    Value::Map(Arc::new(named.collect::<BTreeMap<_, _>>()))
}

fn first(list: &Value) -> Result<Value, CallError> {
    let Value::List(list) = list else { return Err(CallError::wrong_type(QUERY_RESULT, list)) };
    let empty = || CallError::Failed("first() called on vector with no elements".into());
    list.items.first().cloned().ok_or_else(empty)
}

fn sample_field(sample: &Value, field: &str) -> Result<Value, CallError> {
    match sample {
        Value::Record(record) if record.type_name == SAMPLE => Ok(sample.field(field)?),
        other => Err(CallError::wrong_type(SAMPLE, other)),
    }
}

fn sorted_by(label: &str, list: &Value) -> Result<Value, CallError> {
    let Value::List(list) = list else { return Err(CallError::wrong_type(QUERY_RESULT, list)) };
    let key = |sample: &Value| match sample.field("Labels").and_then(|labels| labels.field(label)) {
        Ok(Value::Text(value)) => value,
        _ => "".into(),
    };
    let mut sorted = list.items.to_vec();
    sorted.sort_by_cached_key(key);
    Ok(Value::List(List { items: sorted.into(), ..list.clone() }))
}

fn regex(pattern: &Value) -> Result<GoRegex, CallError> {
    GoRegex::unanchored(text(pattern)?).map_err(|error| CallError::Failed(error.to_string()))
}

/// Capitalizes the first letter of each word.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        match inside {
            false => out.extend(c.to_uppercase()),
            true => out.push(c),
        }
        inside = c.is_alphanumeric() || matches!(c, '\'' | '_' | '.' | ':');
    }
    out
}

/// The host and port of `host:port` or `[v6]:port`; `None` without a port.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => Some((host, port)),
        None if host.contains([':', '[', ']']) => None,
        None => Some((host, port)),
    }
}

/// Removes all but the first label of a host name; an address stays as it is.
fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return text.to_string();
    }
    let host = host.split('.').next().unwrap_or(host);
    if port.is_empty() { host.to_string() } else { format!("{host}:{port}") }
}
