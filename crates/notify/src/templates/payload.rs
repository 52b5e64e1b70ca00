//! Structures whose texts are templates: custom payloads and details.

use serde_json::{Map, Value};

use crate::error::NotifyError;

type Expand<'a> = &'a dyn Fn(&str) -> Result<String, NotifyError>;

/// Expands all texts and keys of a structure.
pub(super) fn expand(value: &Value, text: Expand<'_>) -> Result<Value, NotifyError> {
    match value {
        Value::String(template) => text(template).map(decoded),
        Value::Array(items) => items.iter().map(|item| expand(item, text)).collect(),
        Value::Object(entries) => {
            let mut expanded = Map::new();
            for (key, value) in entries {
                expanded.insert(text(key)?, expand(value, text)?);
            }
            Ok(Value::Object(expanded))
        }
        other => Ok(other.clone()),
    }
}

/// What an expanded text stands for: the number, truth value, list or map that it is as YAML, or itself.
fn decoded(text: String) -> Value {
    match serde_saphyr::from_str::<Value>(&text) {
        // A quoted string of JSON loses its quotes. Other strings keep what YAML would remove.
        Ok(Value::String(inner)) if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() => {
            Value::String(inner)
        }
        Ok(Value::String(_)) | Err(_) => Value::String(text),
        Ok(value) => value,
    }
}
