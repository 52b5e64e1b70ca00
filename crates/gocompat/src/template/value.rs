//! The values of templates, how they print and how they compare.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pharos_gocompat::GoFloat;
use pharos_model::Histogram;

/// A value that a template works with.
#[derive(Clone, Debug)]
pub enum Data {
    /// Nothing; prints as `<no value>`.
    Nil,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A float.
    Float(f64),
    /// A text.
    Text(Arc<str>),
    /// Texts by name; a missing one is empty.
    Texts(Arc<BTreeMap<String, String>>),
    /// Values by name; a missing one is [`Data::Nil`].
    Map(Arc<BTreeMap<String, Data>>),
    /// Fields; another name is an error.
    Record(Arc<Record>),
    /// Values in order.
    List(Arc<[Data]>),
    /// A native histogram.
    Histogram(Arc<Histogram>),
    /// A moment, nanoseconds since the epoch.
    Time(i64),
    /// A length of time, nanoseconds.
    Duration(i64),
}

/// A value with a fixed set of fields.
#[derive(Debug)]
pub struct Record {
    /// What errors call it.
    pub type_name: &'static str,
    /// Its fields.
    pub fields: Vec<(&'static str, Data)>,
}

impl Data {
    /// A text.
    pub fn text(text: impl AsRef<str>) -> Data {
        Data::Text(text.as_ref().into())
    }

    /// Whether `if` and `with` take it: empty and zero values are false.
    pub fn truth(&self) -> bool {
        match self {
            Data::Nil => false,
            Data::Bool(b) => *b,
            Data::Int(n) | Data::Duration(n) => *n != 0,
            Data::Float(v) => *v != 0.0,
            Data::Text(text) => !text.is_empty(),
            Data::Texts(map) => !map.is_empty(),
            Data::Map(map) => !map.is_empty(),
            Data::List(list) => !list.is_empty(),
            Data::Record(_) | Data::Histogram(_) | Data::Time(_) => true,
        }
    }

    /// The name of the type in messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Data::Nil => "<nil>",
            Data::Bool(_) => "bool",
            Data::Int(_) => "int",
            Data::Float(_) => "float64",
            Data::Text(_) => "string",
            Data::Texts(_) => "map[string]string",
            Data::Map(_) => "map[string]interface {}",
            Data::Record(record) => record.type_name,
            Data::List(_) => "template.queryResult",
            Data::Histogram(_) => "*histogram.FloatHistogram",
            Data::Time(_) => "*time.Time",
            Data::Duration(_) => "*time.Duration",
        }
    }

    /// The number that functions such as `humanize` take; texts are parsed.
    pub fn number(&self) -> Result<f64, String> {
        match self {
            Data::Float(v) => Ok(*v),
            Data::Int(n) => Ok(*n as f64),
            Data::Duration(ns) => Ok(*ns as f64 / 1e9),
            Data::Text(text) => pharos_number(text)
                .ok_or_else(|| format!("strconv.ParseFloat: parsing {:?}: invalid syntax", text.as_ref())),
            other => Err(format!("can't convert {} to float", other.type_name())),
        }
    }

    /// A field or the value of a key.
    pub fn field(&self, name: &str) -> Result<Data, String> {
        match self {
            Data::Texts(map) => Ok(Data::text(map.get(name).map_or("", String::as_str))),
            Data::Map(map) => Ok(map.get(name).cloned().unwrap_or(Data::Nil)),
            Data::Record(record) => {
                let found = record.fields.iter().find(|(field, _)| *field == name);
                let missing = || format!("can't evaluate field {name} in type {}", record.type_name);
                found.map(|(_, value)| value.clone()).ok_or_else(missing)
            }
            Data::Histogram(h) => match name {
                "Count" => Ok(Data::Float(h.count)),
                "Sum" => Ok(Data::Float(h.sum)),
                "ZeroCount" => Ok(Data::Float(h.zero_count)),
                "Schema" => Ok(Data::Int(i64::from(h.schema))),
                _ => Err(format!("can't evaluate field {name} in type *histogram.FloatHistogram")),
            },
            Data::Nil => Err(format!("nil data; no entry for key {name:?}")),
            other => Err(format!("can't evaluate field {name} in type {}", other.type_name())),
        }
    }
}

/// A float as Go reads it.
fn pharos_number(text: &str) -> Option<f64> {
    let digits = text.trim_start_matches(['+', '-']);
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        let value = u64::from_str_radix(hex, 16).ok()? as f64;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    text.parse().ok()
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Data::Nil => f.write_str("<no value>"),
            Data::Bool(b) => write!(f, "{b}"),
            Data::Int(n) => write!(f, "{n}"),
            Data::Float(v) => GoFloat(*v).fmt(f),
            Data::Text(text) => f.write_str(text),
            Data::Texts(map) => entries(f, "map[", map.iter(), "]"),
            Data::Map(map) => entries(f, "map[", map.iter(), "]"),
            Data::Record(record) => {
                f.write_str("{")?;
                spaced(f, record.fields.iter().map(|(_, value)| value))?;
                f.write_str("}")
            }
            Data::List(list) => {
                f.write_str("[")?;
                spaced(f, list.iter())?;
                f.write_str("]")
            }
            Data::Histogram(h) => h.fmt(f),
            Data::Time(ns) => super::go::time(*ns).fmt(f),
            Data::Duration(ns) => super::go::duration(*ns).fmt(f),
        }
    }
}

fn entries<V: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    entries: impl Iterator<Item = (impl fmt::Display, V)>,
    close: &str,
) -> fmt::Result {
    f.write_str(open)?;
    for (i, (name, value)) in entries.enumerate() {
        write!(f, "{}{name}:{value}", if i > 0 { " " } else { "" })?;
    }
    f.write_str(close)
}

fn spaced<'a>(f: &mut fmt::Formatter<'_>, values: impl Iterator<Item = &'a Data>) -> fmt::Result {
    for (i, value) in values.enumerate() {
        write!(f, "{}{value}", if i > 0 { " " } else { "" })?;
    }
    Ok(())
}
