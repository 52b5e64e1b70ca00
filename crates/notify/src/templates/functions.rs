//! The functions that templates of notifications have besides Go's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::prelude::BASE64_URL_SAFE;
use base64::{DecodeError, Engine as _};
use jiff::Timestamp;
use pharos_gocompat::strconv::{format_general, parse_float};
use pharos_gocompat::template::{Arity, CallError, Functions, List, Trust, Trusted, Value};
use pharos_gocompat::time::{GoTime, parse_time};
use pharos_gocompat::{GoRegex, parse_go_duration};

use super::json::Json;
use super::time::{TimeObject, nanoseconds};
use crate::data::string_list;

const FUNCTIONS: &[(&str, Arity)] = &[
    ("addDuration", Arity::Exactly(2)),
    ("append", Arity::AtLeast(1)),
    ("base64decode", Arity::Exactly(1)),
    ("base64encode", Arity::Exactly(1)),
    ("date", Arity::Exactly(2)),
    ("dict", Arity::AtLeast(0)),
    ("humanizeDuration", Arity::Exactly(1)),
    ("join", Arity::Exactly(2)),
    ("list", Arity::AtLeast(0)),
    ("match", Arity::Exactly(2)),
    ("mustToDate", Arity::Exactly(2)),
    ("now", Arity::Exactly(0)),
    ("reReplaceAll", Arity::Exactly(3)),
    ("routeLabels", Arity::Exactly(1)),
    ("safeHtml", Arity::Exactly(1)),
    ("safeUrl", Arity::Exactly(1)),
    ("since", Arity::Exactly(1)),
    ("stringSlice", Arity::AtLeast(0)),
    ("title", Arity::Exactly(1)),
    ("toDate", Arity::Exactly(2)),
    ("toJson", Arity::Exactly(1)),
    ("toLower", Arity::Exactly(1)),
    ("toUpper", Arity::Exactly(1)),
    ("trimSpace", Arity::Exactly(1)),
    ("tz", Arity::Exactly(2)),
    ("urlUnescape", Arity::Exactly(1)),
];

fn arity(name: &str) -> Option<Arity> {
    FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, arity)| *arity)
}

/// Whether templates have a function of that name.
pub(super) fn is_known(name: &str) -> bool {
    arity(name).is_some()
}

/// What functions know of the notification.
pub(super) struct TemplateFunctions {
    pub(super) now: Timestamp,
    pub(super) route_labels: BTreeMap<String, String>,
}

/// The string that an argument is.
fn text(value: &Value) -> Result<&str, CallError> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(CallError::wrong_type("string", other)),
    }
}

fn list(type_name: &'static str, items: impl IntoIterator<Item = Value>) -> Value {
    Value::List(List { type_name, items: items.into_iter().collect() })
}

impl Functions for TemplateFunctions {
    fn arity(&self, name: &str) -> Option<Arity> {
        arity(name)
    }

    fn call(&self, name: &str, args: &[Value]) -> Result<Value, CallError> {
        match (name, args) {
            ("now", []) => Ok(TimeObject::value(GoTime::utc(self.now))),
            ("since", [time]) => {
                let passed = self.now.duration_since(TimeObject::of(time)?.moment());
                Ok(Value::Duration(nanoseconds(passed)))
            }
            ("routeLabels", [name]) => Ok(Value::text(self.route_labels.get(text(name)?).map_or("", String::as_str))),
            ("list", args) => Ok(list("[]interface {}", args.iter().cloned())),
            ("append", [first, rest @ ..]) => match first.plain() {
                Value::List(items) => Ok(list(items.type_name, items.items.iter().chain(rest).cloned())),
                other => Err(CallError::wrong_type("[]interface {}", other)),
            },
            ("dict", args) => dict(args),
            ("stringSlice", args) => {
                args.iter().try_for_each(|arg| text(arg).map(drop))?;
                Ok(list("[]string", args.iter().cloned()))
            }
            ("join", [separator, list]) => join(text(separator)?, list),
            ("toJson", [value]) => {
                crate::json::to_string(&Json(value)).map(Value::text).map_err(|e| CallError::Failed(e.to_string()))
            }
            ("humanizeDuration", [value]) => humanize_duration(value).map(Value::text),
            ("date" | "tz" | "addDuration", [first, time]) => of_time(name, text(first)?, &TimeObject::of(time)?),
            (name, args) => {
                let texts = args.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                of_texts(name, &texts).map_err(CallError::Failed)
            }
        }
    }
}

/// Functions of texts.
fn of_texts(name: &str, args: &[&str]) -> Result<Value, String> {
    let regex = |pattern: &str| GoRegex::unanchored(pattern).map_err(|e| e.to_string());
    Ok(match (name, args) {
        ("toUpper", [text]) => Value::text(text.to_uppercase()),
        ("toLower", [text]) => Value::text(text.to_lowercase()),
        ("title", [text]) => Value::text(title(text)),
        ("trimSpace", [text]) => Value::text(text.trim()),
        ("match", [pattern, text]) => Value::Bool(regex(pattern)?.is_match(text)),
        ("reReplaceAll", [pattern, with, text]) => Value::text(regex(pattern)?.replace_all(text, with)),
        ("safeHtml", [text]) => Value::Object(Arc::new(Trusted::new(Trust::Html, text))),
        ("safeUrl", [text]) => Value::Object(Arc::new(Trusted::new(Trust::Url, text))),
        ("urlUnescape", [text]) => Value::text(unescape_query(text)?),
        ("base64encode", [text]) => Value::text(BASE64_URL_SAFE.encode(text)),
        ("base64decode", [text]) => {
            let decoded = BASE64_URL_SAFE.decode(text).map_err(|error| {
                let at = match error {
                    DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol { offset: at, .. } => at,
                    _ => text.len(),
                };
                format!("illegal base64 data at input byte {at}")
            })?;
            Value::text(String::from_utf8_lossy(&decoded))
        }
        ("toDate", [layout, text]) => TimeObject::value(parse_time(layout, text).unwrap_or_else(|_| GoTime::zero())),
        ("mustToDate", [layout, text]) => TimeObject::value(parse_time(layout, text)?),
        _ => return Err(format!("{name} is not a function")),
    })
}

/// Functions of a text and a time.
fn of_time(name: &str, text: &str, time: &GoTime) -> Result<Value, CallError> {
    Ok(match name {
        "date" => Value::text(time.format(text)),
        "tz" => TimeObject::value(time.in_location(text).map_err(CallError::Failed)?),
        _ => {
            let ns = parse_go_duration(text).map_err(CallError::Failed)?;
            Value::Int(time.plus(ns).moment().as_millisecond())
        }
    })
}

fn dict(args: &[Value]) -> Result<Value, CallError> {
    let (pairs, []) = args.as_chunks::<2>() else {
        return Err(CallError::Failed("dict requires an even number of arguments".into()));
    };
    let mut map = BTreeMap::new();
    for [key, value] in pairs {
        let Value::Text(key) = key else { return Err(CallError::Failed("dict keys must be strings".into())) };
        map.insert(key.to_string(), value.clone());
    }
    Ok(Value::Map(Arc::new(map)))
}

fn join(separator: &str, items: &Value) -> Result<Value, CallError> {
    if let Ok(texts) = string_list(items) {
        return Ok(Value::text(texts.join(separator)));
    }
    match items.plain() {
        Value::Nil => Ok(Value::text("")),
        Value::List(list) => {
            let texts: Vec<_> = list.items.iter().map(Value::to_string).collect();
            Ok(Value::text(texts.join(separator)))
        }
        other => Err(CallError::Failed(format!("join expects a slice or array, got {}", other.type_name()))),
    }
}

/// Capitalises each word.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut is_inside = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_alphabetic() {
            match is_inside {
                true => out.extend(c.to_lowercase()),
                false => out.extend(c.to_uppercase()),
            }
            is_inside = true;
            continue;
        }
        out.push(c);
        // A word begins with its first letter, even behind digits.
        if c.is_numeric() {
            continue;
        }
        // These join the letters around them to one word.
        let joins = "'’.:·".contains(c) && chars.peek().is_some_and(|next| next.is_alphanumeric());
        is_inside = c == '_' || is_inside && joins;
    }
    out
}

/// Decodes a text from the query of a URL, as `url.QueryUnescape` does.
fn unescape_query(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
                let byte = hex.filter(|hex| !hex.starts_with('+')).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                let shown = String::from_utf8_lossy(&after[..after.len().min(2)]);
                bytes.push(byte.ok_or_else(|| format!("invalid URL escape \"%{shown}\""))?);
                rest = &after[2..];
            }
            byte => bytes.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Prints seconds with units that suit their size.
fn humanize_duration(value: &Value) -> Result<String, CallError> {
    let mut v = match value {
        Value::Float(v) => *v,
        Value::Int(n) => *n as f64,
        Value::Duration(ns) => *ns as f64 / 1e9,
        Value::Text(text) => parse_float(text).map_err(|_| {
            CallError::Failed(format!(
                "strconv.ParseFloat: parsing {}: invalid syntax",
                pharos_gocompat::GoQuoted(text)
            ))
        })?,
        other => return Err(CallError::Failed(format!("can't convert {} to float", other.type_name()))),
    };
    if !v.is_finite() {
        return Ok(pharos_gocompat::GoFloat(v).to_string());
    }
    if v == 0.0 {
        return Ok("0s".into());
    }
    let sign = if v < 0.0 { "-" } else { "" };
    if v.abs() >= 1.0 {
        let total = v.abs() as u64;
        let (days, hours, minutes, seconds) = (total / 86_400, total / 3600 % 24, total / 60 % 60, total % 60);
        return Ok(match (days, hours, minutes) {
            (0, 0, 0) => format!("{sign}{}s", format_general(v.abs(), 4)),
            (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
            (0, ..) => format!("{sign}{hours}h {minutes}m {seconds}s"),
            _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
        });
    }
    let mut prefix = "";
    for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if v.abs() >= 1.0 {
            break;
        }
        prefix = next;
        v *= 1000.0;
    }
    Ok(format!("{sign}{}{prefix}s", format_general(v.abs(), 4)))
}
