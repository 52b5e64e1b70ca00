//! Times in templates.

use std::fmt;
use std::sync::Arc;

use jiff::ToSpan;
use pharos_gocompat::template::{CallError, Object, Value};
use pharos_gocompat::time::{GoTime, RFC3339_NANO};

use crate::data::count;

/// A time, with the methods of Go's `time.Time`.
#[derive(Clone, Debug)]
pub(crate) struct TimeObject(pub(crate) GoTime);

impl TimeObject {
    /// The time that a value is.
    pub(crate) fn of(value: &Value) -> Result<GoTime, CallError> {
        let wrong = || CallError::wrong_type("time.Time", value);
        let Value::Object(object) = value else { return Err(wrong()) };
        let any: &dyn std::any::Any = &**object;
        any.downcast_ref::<TimeObject>().map(|time| time.0.clone()).ok_or_else(wrong)
    }

    /// A time as a value.
    pub(crate) fn value(time: GoTime) -> Value {
        Value::Object(Arc::new(TimeObject(time)))
    }
}

impl fmt::Display for TimeObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn integer(value: &Value) -> Result<i64, CallError> {
    match value {
        Value::Int(n) | Value::Duration(n) => Ok(*n),
        other => Err(CallError::wrong_type("int64", other)),
    }
}

impl Object for TimeObject {
    fn type_name(&self) -> &'static str {
        "time.Time"
    }

    fn field(&self, _name: &str) -> Option<Value> {
        None
    }

    fn json(&self) -> Option<String> {
        Some(self.0.format(RFC3339_NANO))
    }

    fn method(&self, name: &str, args: &[Value]) -> Option<Result<Value, CallError>> {
        let time = &self.0;
        let moment = time.moment();
        let civil = time.civil();
        let number = |value: i64| Ok(Value::Int(value));
        let other = || TimeObject::of(&args[0]).map(|other| other.moment());
        let want = match name {
            "Format" | "Before" | "After" | "Equal" | "Add" | "Sub" => 1,
            "AddDate" => 3,
            _ => 0,
        };
        if let Err(error) = count(name, args, want)
            && want > 0
        {
            return Some(Err(error));
        }
        let result = match name {
            "Format" => match &args[0] {
                Value::Text(layout) => Ok(Value::text(time.format(layout))),
                other => Err(CallError::wrong_type("string", other)),
            },
            "Before" => other().map(|other| Value::Bool(moment < other)),
            "After" => other().map(|other| Value::Bool(moment > other)),
            "Equal" => other().map(|other| Value::Bool(moment == other)),
            "Add" => integer(&args[0]).map(|ns| TimeObject::value(time.plus(ns))),
            "Sub" => other().map(|other| Value::Duration(nanoseconds(moment.duration_since(other)))),
            "AddDate" => add_date(time, args),
            "UTC" => Ok(TimeObject::value(GoTime::utc(moment))),
            "Local" => time.in_location("Local").map(TimeObject::value).map_err(CallError::Failed),
            "String" => Ok(Value::text(time.to_string())),
            "IsZero" => Ok(Value::Bool(time.is_zero())),
            "Unix" => number(moment.as_second()),
            "UnixMilli" => number(moment.as_millisecond()),
            "UnixMicro" => number(moment.as_microsecond()),
            "UnixNano" => number(i64::try_from(moment.as_nanosecond()).unwrap_or(0)),
            "Year" => number(civil.year().into()),
            "Month" => Ok(Value::text(time.format("January"))),
            "Day" => number(civil.day().into()),
            "Hour" => number(civil.hour().into()),
            "Minute" => number(civil.minute().into()),
            "Second" => number(civil.second().into()),
            "Nanosecond" => number(civil.subsec_nanosecond().into()),
            "Weekday" => Ok(Value::text(time.format("Monday"))),
            "YearDay" => number(civil.date().day_of_year().into()),
            _ => return None,
        };
        Some(count(name, args, want).and(result))
    }
}

/// A duration in nanoseconds, at most as long as Go's can be.
pub(super) fn nanoseconds(duration: jiff::SignedDuration) -> i64 {
    let limit = if duration.is_negative() { i64::MIN } else { i64::MAX };
    i64::try_from(duration.as_nanos()).unwrap_or(limit)
}

fn add_date(time: &GoTime, args: &[Value]) -> Result<Value, CallError> {
    let [years, months, days] = [integer(&args[0])?, integer(&args[1])?, integer(&args[2])?];
    let out_of_range = || CallError::Failed("date out of range".into());
    if [years, months, days].iter().any(|n| n.abs() > 1_000_000) {
        return Err(out_of_range());
    }
    let span = years.years().months(months).days(days);
    time.civil().checked_add(span).ok().and_then(|civil| time.at(civil)).map(TimeObject::value).ok_or_else(out_of_range)
}
