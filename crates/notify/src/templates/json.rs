//! Values of templates as JSON, for `toJson`.

use pharos_gocompat::template::{Record, Value};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// A value that serialises as Go's `encoding/json` would encode it.
pub(super) struct Json<'a>(pub(super) &'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.plain() {
            Value::Nil => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) | Value::Duration(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Texts(map) => serializer.collect_map(map.iter()),
            Value::Map(map) => serializer.collect_map(map.iter().map(|(name, value)| (name, Json(value)))),
            Value::List(list) => serializer.collect_seq(list.items.iter().map(Json)),
            Value::Record(record) => {
                let mut map = serializer.serialize_map(Some(record.fields.len()))?;
                for (name, value) in &record.fields {
                    map.serialize_entry(&field_name(record, name), &Json(value))?;
                }
                map.end()
            }
            Value::Object(object) => serializer.serialize_str(&object.json().unwrap_or_else(|| object.to_string())),
        }
    }
}

/// The name of a field in JSON.
fn field_name(record: &Record, name: &str) -> String {
    match (record.type_name, name) {
        ("template.Pair", name) => name.to_string(),
        (_, "NotificationReason") => "notification_reason".into(),
        (_, name) => name[..1].to_ascii_lowercase() + &name[1..],
    }
}
