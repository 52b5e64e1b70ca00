//! Attribute values as label values: strings as they are, numbers and booleans in Go's format, arrays and maps as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pharos_transport::otlp::common::v1::AnyValue;
use pharos_transport::otlp::common::v1::any_value::Value;

/// The label value of an attribute; empty when it has no value.
pub(super) fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|v| v.value.as_ref()) {
        None => String::new(),
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BytesValue(bytes)) => STANDARD.encode(bytes),
        Some(Value::DoubleValue(number)) if !number.is_finite() => {
            format!("json: unsupported value: {}", go_non_finite(*number))
        }
        Some(value) => {
            let mut out = String::new();
            append_json(value, &mut out);
            out
        }
    }
}

/// Nanoseconds since the Unix epoch as milliseconds.
pub(super) fn to_millis(nanos: u64) -> i64 {
    (nanos / 1_000_000) as i64
}

/// A float as Go's `strconv.FormatFloat(f, 'f', -1, 64)` prints it: the shortest digits that read back, without an exponent.
pub(super) fn decimal(number: f64) -> String {
    if number.is_finite() { format!("{number}") } else { go_non_finite(number).to_string() }
}

fn go_non_finite(number: f64) -> &'static str {
    match (number.is_nan(), number > 0.0) {
        (true, _) => "NaN",
        (false, true) => "+Inf",
        (false, false) => "-Inf",
    }
}

// Writing to a string cannot fail, so results are dropped. The protobuf decoder bounds the depth.
fn append_json(value: &Value, out: &mut String) {
    match value {
        Value::StringValue(text) => append_quoted(text, out),
        Value::BytesValue(bytes) => append_quoted(&STANDARD.encode(bytes), out),
        Value::BoolValue(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::IntValue(number) => drop(write!(out, "{number}")),
        Value::DoubleValue(number) => append_number(*number, out),
        Value::ArrayValue(array) => {
            out.push('[');
            for (i, value) in array.values.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                append_any(Some(value), out);
            }
            out.push(']');
        }
        Value::KvlistValue(map) => {
            // Of entries with the same key the last one counts.
            let entries: BTreeMap<&str, _> =
                map.values.iter().map(|entry| (entry.key.as_str(), entry.value.as_ref())).collect();
            out.push('{');
            for (i, (key, value)) in entries.into_iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                append_quoted(key, out);
                out.push(':');
                append_any(value, out);
            }
            out.push('}');
        }
    }
}

fn append_any(value: Option<&AnyValue>, out: &mut String) {
    match value.and_then(|v| v.value.as_ref()) {
        Some(value) => append_json(value, out),
        None => out.push_str("null"),
    }
}

/// A number as Go's JSON encoder prints it: with an exponent if it is very small or large.
fn append_number(number: f64, out: &mut String) {
    let size = number.abs();
    let _ = match size != 0.0 && !(1e-6..1e21).contains(&size) {
        _ if !number.is_finite() => write!(out, "\"{}\"", go_non_finite(number)),
        false => write!(out, "{number}"),
        true if size >= 1.0 => write!(out, "{}", format!("{number:e}").replace('e', "e+")),
        true => write!(out, "{number:e}"),
    };
}

/// A JSON string with the escapes that Go's encoder uses.
fn append_quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => drop(write!(out, "\\u{:04x}", c as u32)),
            c if (c as u32) < 0x20 => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use pharos_transport::otlp::common::v1::{ArrayValue, KeyValue, KeyValueList};

    fn any(value: Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    #[test]
    fn values_are_printed_as_go_does() {
        for (value, expected) in [
            (Value::StringValue("a<b".into()), "a<b"),
            (Value::BoolValue(true), "true"),
            (Value::IntValue(-7), "-7"),
            (Value::DoubleValue(1.5), "1.5"),
            (Value::DoubleValue(3.0), "3"),
            (Value::DoubleValue(1e21), "1e+21"),
            (Value::DoubleValue(1e-7), "1e-7"),
            (Value::DoubleValue(f64::INFINITY), "json: unsupported value: +Inf"),
            (Value::BytesValue(vec![1, 2, 255]), "AQL/"),
        ] {
            assert_eq!(text(Some(&any(value))), expected);
        }
    }

    #[test]
    fn a_missing_value_is_empty() {
        assert_eq!(text(None), "");
        assert_eq!(text(Some(&AnyValue { value: None })), "");
    }

    #[test]
    fn arrays_and_maps_are_json_with_sorted_keys() {
        let entry = |key: &str, value| KeyValue { key: key.into(), value };
        let first = entry("a", Some(any(Value::BoolValue(true))));
        let last = entry("a", Some(any(Value::StringValue("<\n".into()))));
        let map = KeyValueList { values: vec![entry("z", None), first, last] };
        let array = ArrayValue { values: vec![any(Value::IntValue(1)), any(Value::KvlistValue(map))] };
        assert_eq!(text(Some(&any(Value::ArrayValue(array)))), r#"[1,{"a":"\u003c\n","z":null}]"#);
    }

    #[test]
    fn decimals_have_no_exponent() {
        assert_eq!(decimal(0.1), "0.1");
        assert_eq!(decimal(1e21), "1000000000000000000000");
        assert_eq!(decimal(f64::NEG_INFINITY), "-Inf");
        assert_eq!(decimal(f64::NAN), "NaN");
    }

    #[test]
    fn timestamps_are_truncated_to_milliseconds() {
        assert_eq!(to_millis(1_999_999), 1);
        assert_eq!(to_millis(u64::MAX), 18_446_744_073_709);
    }
}
