//! The functions that Go's templates have by themselves.

use std::cmp::Ordering;

use super::escape::{escape_html, escape_js, escape_query};
use super::functions::{Arity, CallError};
use super::printf::printf;
use super::value::{List, Value};

/// How many arguments each function takes. The executor evaluates `and` and `or`, which may leave arguments alone.
const BUILTINS: &[(&str, Arity)] = &[
    ("and", Arity::AtLeast(1)),
    ("eq", Arity::AtLeast(1)),
    ("ge", Arity::Exactly(2)),
    ("gt", Arity::Exactly(2)),
    ("html", Arity::AtLeast(0)),
    ("index", Arity::AtLeast(1)),
    ("js", Arity::AtLeast(0)),
    ("le", Arity::Exactly(2)),
    ("len", Arity::Exactly(1)),
    ("lt", Arity::Exactly(2)),
    ("ne", Arity::Exactly(2)),
    ("not", Arity::Exactly(1)),
    ("or", Arity::AtLeast(1)),
    ("print", Arity::AtLeast(0)),
    ("printf", Arity::AtLeast(1)),
    ("println", Arity::AtLeast(0)),
    ("slice", Arity::AtLeast(1)),
    ("urlquery", Arity::AtLeast(0)),
];

fn arity(name: &str) -> Option<Arity> {
    BUILTINS.iter().find(|(known, _)| *known == name).map(|(_, arity)| *arity)
}

/// Whether Go has a function of that name.
pub(super) fn is_known(name: &str) -> bool {
    arity(name).is_some()
}

/// Calls a function of Go's; `None` if there is none of that name.
pub(super) fn call(name: &str, args: &[Value]) -> Option<Result<Value, CallError>> {
    let arity = arity(name)?;
    Some(arity.check(name, args.len()).and_then(|()| call_known(name, args)))
}

fn call_known(name: &str, args: &[Value]) -> Result<Value, CallError> {
    Ok(match (name, args) {
        ("not", [arg]) => Value::Bool(!arg.truth()),
        ("len", [of]) => Value::Int(length(of)? as i64),
        ("index", [of, keys @ ..]) => keys.iter().try_fold(of.clone(), |value, key| index(&value, key))?,
        ("slice", [of, bounds @ ..]) => slice(of, bounds)?,
        ("print", args) => Value::text(print(args, false)),
        ("println", args) => Value::text(print(args, true) + "\n"),
        ("printf", [Value::Text(format), args @ ..]) => Value::text(printf(format, args)),
        ("printf", [other, ..]) => return Err(CallError::wrong_type("string", other)),
        ("html", args) => Value::text(escape_html(&print(args, false))),
        ("js", args) => Value::text(escape_js(&print(args, false))),
        ("urlquery", args) => Value::text(escape_query(&print(args, false))),
        _ => Value::Bool(compare(name, args)?),
    })
}

/// Prints values as `fmt.Sprint` does, with a space between operands if neither is a string, or, with `lines`, between all
/// operands.
fn print(args: &[Value], lines: bool) -> String {
    let mut out = String::new();
    for (i, arg) in args.iter().enumerate() {
        let is_text = |arg: &Value| matches!(arg.plain(), Value::Text(_));
        if i > 0 && (lines || !is_text(arg) && !is_text(&args[i - 1])) {
            out.push(' ');
        }
        match arg {
            Value::Nil => out.push_str("<nil>"),
            arg => out.push_str(&arg.to_string()),
        }
    }
    out
}

fn length(of: &Value) -> Result<usize, String> {
    match of.plain() {
        Value::Text(text) => Ok(text.len()),
        Value::List(list) => Ok(list.items.len()),
        Value::Texts(map) => Ok(map.len()),
        Value::Map(map) => Ok(map.len()),
        Value::Nil => Err("len of nil pointer".into()),
        other => Err(format!("len of type {}", other.type_name())),
    }
}

fn index(of: &Value, key: &Value) -> Result<Value, String> {
    match (of.plain(), key.plain()) {
        (Value::List(list), Value::Int(at)) => usize::try_from(*at)
            .ok()
            .and_then(|at| list.items.get(at).cloned())
            .ok_or_else(|| format!("index out of range: {at}")),
        (Value::Text(text), Value::Int(at)) => usize::try_from(*at)
            .ok()
            .and_then(|at| text.as_bytes().get(at))
            .map(|byte| Value::Int(i64::from(*byte)))
            .ok_or_else(|| format!("index out of range: {at}")),
        (map @ (Value::Texts(_) | Value::Map(_)), Value::Text(name)) => map.field(name),
        (Value::Nil, _) => Err("index of untyped nil".into()),
        (Value::List(_) | Value::Text(_), key) => {
            Err(format!("cannot index slice/array with type {}", key.type_name()))
        }
        (Value::Texts(_) | Value::Map(_), key) => Err(format!("value has type {}; should be string", key.type_name())),
        (other, _) => Err(format!("can't index item of type {}", other.type_name())),
    }
}

fn slice(of: &Value, bounds: &[Value]) -> Result<Value, String> {
    if bounds.len() > 3 {
        return Err(format!("too many slice indexes: {}", bounds.len()));
    }
    let length = length(of)?;
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Ok(default),
        Some(Value::Int(n)) if *n >= 0 && *n as u64 <= length as u64 => Ok(*n as usize),
        Some(other) => Err(format!("index out of range: {other}")),
    };
    let from = bound(0, 0)?;
    let to = bound(1, length)?;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match of.plain() {
        Value::Text(text) => Ok(Value::text(String::from_utf8_lossy(&text.as_bytes()[from..to]))),
        Value::List(list) => Ok(Value::List(List { items: list.items[from..to].into(), ..list.clone() })),
        other => Err(format!("can't slice item of type {}", other.type_name())),
    }
}

fn compare(name: &str, args: &[Value]) -> Result<bool, String> {
    let [first, rest @ ..] = args else { return Err("missing argument for comparison".into()) };
    if rest.is_empty() {
        return Err("missing argument for comparison".into());
    }
    if name == "eq" {
        for other in rest {
            if order(first, other, true)? == Some(Ordering::Equal) {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    let order = order(first, &rest[0], name == "ne")?;
    Ok(match name {
        "ne" => order != Some(Ordering::Equal),
        "lt" => order == Some(Ordering::Less),
        "le" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        "gt" => order == Some(Ordering::Greater),
        _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    })
}

/// Compares two values. Returns `None` if one of them is NaN. `equality` allows types that have no order.
fn order(a: &Value, b: &Value, equality: bool) -> Result<Option<Ordering>, String> {
    match (a.plain(), b.plain()) {
        (Value::Int(a), Value::Int(b)) | (Value::Duration(a), Value::Duration(b)) => Ok(Some(a.cmp(b))),
        (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
        (Value::Text(a), Value::Text(b)) => Ok(Some(a.cmp(b))),
        (Value::Bool(a), Value::Bool(b)) if equality => Ok(Some(a.cmp(b))),
        (Value::Nil, Value::Nil) if equality => Ok(Some(Ordering::Equal)),
        (Value::Nil, _) | (_, Value::Nil) if equality => Ok(None),
        (Value::Bool(_), _) if !equality => Err("invalid type for comparison".into()),
        (
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_),
        ) => Err(format!("incompatible types for comparison: {} and {}", a.type_name(), b.type_name())),
        _ => Err("invalid type for comparison".into()),
    }
}
