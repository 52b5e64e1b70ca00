//! The values of templates that are not Go's own: histograms and times.

use std::fmt;
use std::sync::Arc;

use pharos_gocompat::template::{Object, Value};
use pharos_model::Histogram;

/// A native histogram.
#[derive(Debug)]
pub(super) struct HistogramObject(pub(super) Arc<Histogram>);

impl fmt::Display for HistogramObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Object for HistogramObject {
    fn type_name(&self) -> &'static str {
        "*histogram.FloatHistogram"
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Count" => Some(Value::Float(self.0.count)),
            "Sum" => Some(Value::Float(self.0.sum)),
            "ZeroCount" => Some(Value::Float(self.0.zero_count)),
            "Schema" => Some(Value::Int(i64::from(self.0.schema))),
            _ => None,
        }
    }
}

/// A time, nanoseconds since the epoch.
#[derive(Debug)]
pub(super) struct TimeObject(pub(super) i64);

impl fmt::Display for TimeObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&time(self.0))
    }
}

impl Object for TimeObject {
    fn type_name(&self) -> &'static str {
        "*time.Time"
    }

    fn field(&self, _name: &str) -> Option<Value> {
        None
    }
}

/// Prints nanoseconds since the epoch as Go prints a time: `2006-01-02 15:04:05.5 +0000 UTC`.
pub(super) fn time(ns: i64) -> String {
    let Ok(moment) = jiff::Timestamp::from_nanosecond(i128::from(ns)) else { return ns.to_string() };
    let text = moment.to_string();
    let (date, rest) = text.split_once('T').unwrap_or((&text, ""));
    format!("{date} {} +0000 UTC", rest.trim_end_matches('Z'))
}
