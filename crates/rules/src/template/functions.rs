//! The functions of templates: Go's own and Prometheus's.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_gocompat::parse_duration;
use regex::Regex;

use super::value::{Data, Record};
use super::{Surroundings, go, humanize, label_map, sample_value};

/// Name, fewest and most arguments.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("and", 1, ANY),
    ("args", 0, ANY),
    ("eq", 1, ANY),
    ("externalURL", 0, 0),
    ("first", 1, 1),
    ("ge", 2, 2),
    ("graphLink", 1, 1),
    ("gt", 2, 2),
    ("html", 0, ANY),
    ("humanize", 1, 1),
    ("humanize1024", 1, 1),
    ("humanizeDuration", 1, 1),
    ("humanizePercentage", 1, 1),
    ("humanizeTimestamp", 1, 1),
    ("index", 1, ANY),
    ("js", 0, ANY),
    ("label", 2, 2),
    ("le", 2, 2),
    ("len", 1, 1),
    ("lt", 2, 2),
    ("match", 2, 2),
    ("ne", 2, 2),
    ("not", 1, 1),
    ("now", 0, 0),
    ("or", 1, ANY),
    ("parseDuration", 1, 1),
    ("pathPrefix", 0, 0),
    ("print", 0, ANY),
    ("printf", 1, ANY),
    ("println", 0, ANY),
    ("query", 1, 1),
    ("reReplaceAll", 3, 3),
    ("safeHtml", 1, 1),
    ("slice", 1, 4),
    ("sortByLabel", 2, 2),
    ("stripDomain", 1, 1),
    ("stripPort", 1, 1),
    ("strvalue", 1, 1),
    ("tableLink", 1, 1),
    ("title", 1, 1),
    ("toDuration", 1, 1),
    ("toLower", 1, 1),
    ("toTime", 1, 1),
    ("toUpper", 1, 1),
    ("urlQueryEscape", 1, 1),
    ("urlquery", 0, ANY),
    ("value", 1, 1),
];

const ANY: usize = usize::MAX;
/// Bytes of a compiled pattern.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// The names of all functions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(name, ..)| *name)
}

/// Whether there is a function of that name.
pub(super) fn is_known(name: &str) -> bool {
    names().any(|known| known == name)
}

/// Calls a function.
pub(super) fn call(name: &str, args: &[Data], around: &Surroundings<'_>) -> Result<Data, String> {
    let (_, least, most) = FUNCTIONS.iter().find(|(known, ..)| *known == name).ok_or("no such function")?;
    if args.len() < *least || args.len() > *most {
        let want = if *most == ANY { format!("at least {least}") } else { least.to_string() };
        return Err(format!("wrong number of args for {name}: want {want} got {}", args.len()));
    }
    let failed = |reason: String| format!("error calling {name}: {reason}");
    match args {
        [] => none(name, around),
        [arg] if number_function(name) => arg.number().and_then(|v| of_number(name, v)).map_err(failed),
        [Data::Text(text)] if !["not", "len", "index", "eq", "slice"].contains(&name) => {
            of_text(name, text, around).map_err(failed)
        }
        _ => of_values(name, args)
            .map_err(|reason| if reason.starts_with("wrong type") { reason } else { failed(reason) }),
    }
}

fn none(name: &str, around: &Surroundings<'_>) -> Result<Data, String> {
    Ok(match name {
        "args" => Data::Map(Arc::default()),
        "now" => Data::Float(around.t_ms as f64 / 1000.0),
        "externalURL" => Data::text(around.external_url),
        "pathPrefix" => {
            let path = url::Url::parse(around.external_url).map(|url| url.path().trim_end_matches('/').to_string());
            Data::text(path.unwrap_or_default())
        }
        "println" => Data::text("\n"),
        _ => Data::text(""),
    })
}

fn number_function(name: &str) -> bool {
    name.starts_with("humanize") || matches!(name, "toTime" | "toDuration")
}

fn of_number(name: &str, v: f64) -> Result<Data, String> {
    Ok(match name {
        "humanize" => Data::text(humanize::decimal(v)),
        "humanize1024" => Data::text(humanize::binary(v)),
        "humanizeDuration" => Data::text(humanize::duration(v)),
        "humanizePercentage" => Data::text(humanize::percentage(v)),
        "humanizeTimestamp" => Data::text(humanize::timestamp(v)?),
        "toTime" => Data::Time(humanize::nanoseconds(v)?),
        _ => Data::Duration((v * 1e9) as i64),
    })
}

fn of_text(name: &str, text: &str, around: &Surroundings<'_>) -> Result<Data, String> {
    Ok(match name {
        "query" => {
            let sample = |sample: &pharos_promql::VectorSample| {
                let fields = vec![("Labels", label_map(&sample.labels)), ("Value", sample_value(&sample.value))];
                Data::Record(Arc::new(Record { type_name: "*template.sample", fields }))
            };
            Data::List((around.query)(text)?.iter().map(sample).collect())
        }
        "title" => Data::text(title(text)),
        "toUpper" => Data::text(text.to_uppercase()),
        "toLower" => Data::text(text.to_lowercase()),
        "graphLink" => Data::text(format!("/graph?g0.expr={}&g0.tab=0", escape_query(text))),
        "tableLink" => Data::text(format!("/graph?g0.expr={}&g0.tab=1", escape_query(text))),
        "stripPort" => Data::text(split_host_port(text).map_or(text, |(host, _)| host)),
        "stripDomain" => Data::text(strip_domain(text)),
        "urlQueryEscape" | "urlquery" => Data::text(escape_query(text)),
        "html" => Data::text(escape_html(text)),
        "parseDuration" => {
            let (sign, digits) = text.strip_prefix('-').map_or((1.0, text), |digits| (-1.0, digits));
            Data::Float(sign * parse_duration(digits)? as f64 / 1000.0)
        }
        "args" => args_map(&[Data::text(text)]),
        "printf" => Data::text(go::printf(text, &[])),
        "println" => Data::text(format!("{text}\n")),
        "js" => Data::text(escape_js(text)),
        "print" | "safeHtml" => Data::text(text),
        _ => return Err(format!("wrong type of argument: string {text:?}")),
    })
}

fn args_map(args: &[Data]) -> Data {
    let named = args.iter().enumerate().map(|(i, arg)| (format!("arg{i}"), arg.clone()));
    Data::Map(Arc::new(named.collect::<BTreeMap<_, _>>()))
}

fn of_values(name: &str, args: &[Data]) -> Result<Data, String> {
    let text = |arg: &Data| match arg {
        Data::Text(text) => Ok(text.clone()),
        other => Err(format!("wrong type for value; expected string; got {}", other.type_name())),
    };
    Ok(match (name, args) {
        ("eq" | "ne" | "lt" | "le" | "gt" | "ge", args) => Data::Bool(compared(name, args)?),
        ("not", [arg]) => Data::Bool(!arg.truth()),
        ("len", [arg]) => Data::Int(length(arg)? as i64),
        ("index", [of, keys @ ..]) => keys.iter().try_fold(of.clone(), |value, key| index(&value, key))?,
        ("slice", [of, bounds @ ..]) => slice(of, bounds)?,
        ("print", args) => Data::text(print(args, false)),
        ("println", args) => Data::text(print(args, true) + "\n"),
        ("printf", [format, args @ ..]) => Data::text(go::printf(&text(format)?, args)),
        ("html", args) => Data::text(escape_html(&print(args, false))),
        ("js", args) => Data::text(escape_js(&print(args, false))),
        ("urlquery", args) => Data::text(escape_query(&print(args, false))),
        ("args", args) => args_map(args),
        ("first", [Data::List(list)]) => list.first().cloned().ok_or("first() called on vector with no elements")?,
        ("value", [sample @ Data::Record(_)]) => sample.field("Value")?,
        ("strvalue", [sample @ Data::Record(_)]) => sample.field("Labels")?.field("__value__")?,
        ("label", [name, sample @ Data::Record(_)]) => sample.field("Labels")?.field(&text(name)?)?,
        ("sortByLabel", [name, Data::List(list)]) => sorted_by(&text(name)?, list),
        ("match", [pattern, against]) => Data::Bool(compiled(&text(pattern)?)?.is_match(&text(against)?)),
        ("reReplaceAll", [pattern, by, within]) => {
            let (pattern, by, within) = (compiled(&text(pattern)?)?, text(by)?, text(within)?);
            Data::text(pattern.replace_all(&within, &*by))
        }
        (_, args) => {
            let wrong = args.iter().find(|arg| !matches!(arg, Data::Text(_))).unwrap_or(&Data::Nil);
            return Err(format!("wrong type for value; got {}", wrong.type_name()));
        }
    })
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(pattern).size_limit(MAX_REGEX_BYTES).build().map_err(|error| error.to_string())
}

fn sorted_by(name: &str, list: &Arc<[Data]>) -> Data {
    let key = |sample: &Data| match sample.field("Labels").and_then(|labels| labels.field(name)) {
        Ok(Data::Text(value)) => value,
        _ => "".into(),
    };
    let mut sorted: Vec<Data> = list.to_vec();
    sorted.sort_by_cached_key(key);
    Data::List(sorted.into())
}

/// Go's `Sprint`: a space between operands when neither is a text; with `lines`, always.
fn print(args: &[Data], lines: bool) -> String {
    let mut out = String::new();
    for (i, arg) in args.iter().enumerate() {
        let texts = |arg: &Data| matches!(arg, Data::Text(_));
        if i > 0 && (lines || !texts(arg) && !texts(&args[i - 1])) {
            out.push(' ');
        }
        match arg {
            Data::Nil => out.push_str("<nil>"),
            arg => out.push_str(&arg.to_string()),
        }
    }
    out
}

fn length(of: &Data) -> Result<usize, String> {
    match of {
        Data::Text(text) => Ok(text.len()),
        Data::List(list) => Ok(list.len()),
        Data::Texts(map) => Ok(map.len()),
        Data::Map(map) => Ok(map.len()),
        Data::Nil => Err("len of nil pointer".into()),
        other => Err(format!("len of type {}", other.type_name())),
    }
}

fn index(of: &Data, key: &Data) -> Result<Data, String> {
    match (of, key) {
        (Data::List(list), Data::Int(at)) => usize::try_from(*at)
            .ok()
            .and_then(|at| list.get(at).cloned())
            .ok_or_else(|| format!("index out of range: {at}")),
        (Data::Text(text), Data::Int(at)) => usize::try_from(*at)
            .ok()
            .and_then(|at| text.as_bytes().get(at))
            .map(|byte| Data::Int(i64::from(*byte)))
            .ok_or_else(|| format!("index out of range: {at}")),
        (Data::Texts(_) | Data::Map(_), Data::Text(name)) => of.field(name),
        (Data::Nil, _) => Err("index of untyped nil".into()),
        (Data::List(_) | Data::Text(_), key) => Err(format!("cannot index slice/array with type {}", key.type_name())),
        (Data::Texts(_) | Data::Map(_), key) => Err(format!("value has type {}; should be string", key.type_name())),
        (other, _) => Err(format!("can't index item of type {}", other.type_name())),
    }
}

fn slice(of: &Data, bounds: &[Data]) -> Result<Data, String> {
    let length = length(of)?;
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Ok(default),
        Some(Data::Int(n)) if *n >= 0 && *n as u64 <= length as u64 => Ok(*n as usize),
        Some(other) => Err(format!("index out of range: {other}")),
    };
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match of {
        Data::Text(text) => Ok(Data::text(String::from_utf8_lossy(&text.as_bytes()[from..to]))),
        Data::List(list) => Ok(Data::List(list[from..to].into())),
        other => Err(format!("can't slice item of type {}", other.type_name())),
    }
}

fn compared(name: &str, args: &[Data]) -> Result<bool, String> {
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

/// How two values stand to each other; none when a number is not a number. `equality` allows types without an order.
fn order(a: &Data, b: &Data, equality: bool) -> Result<Option<Ordering>, String> {
    match (a, b) {
        (Data::Int(a), Data::Int(b)) | (Data::Duration(a), Data::Duration(b)) => Ok(Some(a.cmp(b))),
        (Data::Float(a), Data::Float(b)) => Ok(a.partial_cmp(b)),
        (Data::Text(a), Data::Text(b)) => Ok(Some(a.cmp(b))),
        (Data::Bool(a), Data::Bool(b)) if equality => Ok(Some(a.cmp(b))),
        (Data::Nil, Data::Nil) if equality => Ok(Some(Ordering::Equal)),
        (Data::Nil, _) | (_, Data::Nil) if equality => Ok(None),
        (Data::Bool(_), _) if !equality => Err("invalid type for comparison".into()),
        (
            Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Text(_),
            Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Text(_),
        ) => Err(format!("incompatible types for comparison: {} and {}", a.type_name(), b.type_name())),
        _ => Err("invalid type for comparison".into()),
    }
}

/// The first letter of each word as a capital.
fn title(text: &str) -> String {
    let (mut out, mut inside) = (String::with_capacity(text.len()), false);
    for c in text.chars() {
        match inside {
            false => out.extend(c.to_uppercase()),
            true => out.push(c),
        }
        inside = c.is_alphanumeric() || matches!(c, '\'' | '_' | '.' | ':');
    }
    out
}

/// As in the query of a URL: a space becomes `+`.
fn escape_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

/// As inside a string of JavaScript.
fn escape_js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => out.extend(['\\', c]),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if c < ' ' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// `host:port`, `[v6]:port`; none when there is no port.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => Some((host, port)),
        None if host.contains([':', '[', ']']) => None,
        None => Some((host, port)),
    }
}

fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return text.to_string();
    }
    let host = host.split('.').next().unwrap_or(host);
    if port.is_empty() { host.to_string() } else { format!("{host}:{port}") }
}
