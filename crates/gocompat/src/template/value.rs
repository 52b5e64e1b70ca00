//! The values of templates: how they print, what their fields are, and what counts as true.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::functions::CallError;
use crate::duration::go_duration;
use crate::strconv::GoFloat;

/// A value that a template works with.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing; prints as `<no value>`.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An `int`.
    Int(i64),
    /// A `float64`.
    Float(f64),
    /// A string.
    Text(Arc<str>),
    /// A map of strings; a missing key is the empty string.
    Texts(Arc<BTreeMap<String, String>>),
    /// A map of values; a missing key is [`Value::Nil`].
    Map(Arc<BTreeMap<String, Value>>),
    /// A struct: naming a field that it lacks is an error.
    Record(Arc<Record>),
    /// A slice.
    List(List),
    /// A `time.Duration`, nanoseconds.
    Duration(i64),
    /// A value of a type that templates know nothing of.
    Object(Arc<dyn Object>),
}

/// A struct of Go.
#[derive(Debug)]
pub struct Record {
    /// The name of the type in errors.
    pub type_name: &'static str,
    /// The fields in the order in which they print.
    pub fields: Vec<(&'static str, Value)>,
}

/// A slice of Go.
#[derive(Clone, Debug)]
pub struct List {
    /// The name of the type in errors.
    pub type_name: &'static str,
    /// The elements.
    pub items: Arc<[Value]>,
}

/// A value of a type of the program's own. It prints as its [`Display`](fmt::Display) says.
pub trait Object: std::any::Any + fmt::Debug + fmt::Display + Send + Sync {
    /// The name of the type in errors.
    fn type_name(&self) -> &'static str;

    /// A field of the value, if the type has it.
    fn field(&self, name: &str) -> Option<Value>;

    /// Calls a method of the value, if the type has it.
    fn method(&self, _name: &str, _args: &[Value]) -> Option<Result<Value, CallError>> {
        None
    }

    /// The map, slice or string that the type is defined as. Without one, the value is true in conditions and has no
    /// elements.
    fn plain(&self) -> Option<&Value> {
        None
    }

    /// The string that the value is in JSON, if it is another than it prints as.
    fn json(&self) -> Option<String> {
        None
    }

    /// What the author of the template vouches for, in templates that write HTML.
    fn trust(&self) -> Option<Trust> {
        None
    }
}

/// What a text is known to be, so that HTML templates insert it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// A fragment of HTML.
    Html,
    /// A URL.
    Url,
}

/// A text that is known to be safe where it is inserted, as of Go's `template.HTML`.
#[derive(Debug)]
pub struct Trusted {
    trust: Trust,
    text: Value,
}

impl Trusted {
    /// Vouches for a text.
    pub fn new(trust: Trust, text: &str) -> Self {
        Trusted { trust, text: Value::text(text) }
    }
}

impl fmt::Display for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl Object for Trusted {
    fn type_name(&self) -> &'static str {
        match self.trust {
            Trust::Html => "template.HTML",
            Trust::Url => "template.URL",
        }
    }

    fn field(&self, _name: &str) -> Option<Value> {
        None
    }

    fn plain(&self) -> Option<&Value> {
        Some(&self.text)
    }

    fn trust(&self) -> Option<Trust> {
        Some(self.trust)
    }
}

impl Value {
    /// A string.
    pub fn text(text: impl AsRef<str>) -> Value {
        Value::Text(text.as_ref().into())
    }

    /// The value without a type of the program's own, if that is defined as a map, slice or string.
    pub fn plain(&self) -> &Value {
        match self {
            Value::Object(object) => object.plain().unwrap_or(self),
            value => value,
        }
    }

    /// Calls a method.
    pub(super) fn method(&self, name: &str, args: &[Value]) -> Result<Value, CallError> {
        if let Value::Object(object) = self
            && let Some(result) = object.method(name, args)
        {
            return result;
        }
        let missing = match self.plain() {
            Value::Texts(_) | Value::Map(_) => format!("{name} is not a method but has arguments"),
            _ => match self.field(name) {
                Ok(_) => format!("{name} has arguments but cannot be invoked as function"),
                Err(reason) => reason,
            },
        };
        Err(CallError::Arguments(missing))
    }

    /// Whether `if` and `with` take the value for true: empty and zero values are false.
    pub fn truth(&self) -> bool {
        match self.plain() {
            Value::Nil => false,
            Value::Bool(b) => *b,
            Value::Int(n) | Value::Duration(n) => *n != 0,
            Value::Float(v) => *v != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::Texts(map) => !map.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::List(list) => !list.items.is_empty(),
            Value::Record(_) | Value::Object(_) => true,
        }
    }

    /// The name of the value's type in errors.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::Texts(_) => "map[string]string",
            Value::Map(_) => "map[string]interface {}",
            Value::Record(record) => record.type_name,
            Value::List(list) => list.type_name,
            Value::Duration(_) => "*time.Duration",
            Value::Object(object) => object.type_name(),
        }
    }

    /// A field of a struct, the value of a key of a map, or what a method without arguments returns.
    ///
    /// # Errors
    /// The type has no such field.
    pub fn field(&self, name: &str) -> Result<Value, String> {
        let missing = || format!("can't evaluate field {name} in type {}", self.type_name());
        match self {
            Value::Texts(map) => Ok(Value::text(map.get(name).map_or("", String::as_str))),
            Value::Map(map) => Ok(map.get(name).cloned().unwrap_or(Value::Nil)),
            Value::Record(record) => {
                let found = record.fields.iter().find(|(field, _)| *field == name);
                found.map(|(_, value)| value.clone()).ok_or_else(missing)
            }
            Value::Object(object) => {
                if let Some(result) = object.method(name, &[]) {
                    return result.map_err(|error| error.reason(name));
                }
                match object.field(name) {
                    Some(value) => Ok(value),
                    None if matches!(object.plain(), Some(Value::Texts(_) | Value::Map(_))) => self.plain().field(name),
                    None => Err(missing()),
                }
            }
            Value::Nil => Err(format!("nil data; no entry for key {name:?}")),
            _ => Err(missing()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("<no value>"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::Int(n) => write!(f, "{n}"),
            Value::Float(v) => GoFloat(*v).fmt(f),
            Value::Text(text) => f.write_str(text),
            Value::Texts(map) => write_map(f, map.iter()),
            Value::Map(map) => write_map(f, map.iter()),
            Value::Record(record) => write_list(f, "{", record.fields.iter().map(|(_, value)| value), "}"),
            Value::List(list) => write_list(f, "[", list.items.iter(), "]"),
            Value::Duration(ns) => f.write_str(&go_duration(*ns)),
            Value::Object(object) => object.fmt(f),
        }
    }
}

fn write_map<V: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    entries: impl Iterator<Item = (impl fmt::Display, V)>,
) -> fmt::Result {
    f.write_str("map[")?;
    for (i, (name, value)) in entries.enumerate() {
        write!(f, "{}{name}:{value}", if i > 0 { " " } else { "" })?;
    }
    f.write_str("]")
}

fn write_list<'a>(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    values: impl Iterator<Item = &'a Value>,
    close: &str,
) -> fmt::Result {
    f.write_str(open)?;
    for (i, value) in values.enumerate() {
        write!(f, "{}{value}", if i > 0 { " " } else { "" })?;
    }
    f.write_str(close)
}
