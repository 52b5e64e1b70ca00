//! What templates see of a notification, which is also the payload of webhooks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use pharos_gocompat::regexp::quote_meta;
use pharos_gocompat::template::{CallError, List, Object, Record, Value};
use pharos_gocompat::time::{GoTime, RFC3339_NANO};
use serde::{Serialize, Serializer};

use crate::alert::{Alert, Status};
use crate::notification::Notification;
use crate::templates::time::TimeObject;

type Pairs = BTreeMap<String, String>;

/// The data of a notification.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Data {
    pub(crate) receiver: String,
    pub(crate) status: &'static str,
    pub(crate) alerts: Vec<AlertData>,
    pub(crate) notification_reason: &'static str,
    #[serde(rename = "groupLabels")]
    pub(crate) group_labels: Pairs,
    #[serde(rename = "commonLabels")]
    pub(crate) common_labels: Pairs,
    #[serde(rename = "commonAnnotations")]
    pub(crate) common_annotations: Pairs,
    #[serde(rename = "routeLabels")]
    pub(crate) route_labels: Pairs,
    #[serde(rename = "externalURL")]
    pub(crate) external_url: String,
}

/// The data of an alert.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AlertData {
    status: &'static str,
    labels: Pairs,
    annotations: Pairs,
    #[serde(rename = "startsAt", serialize_with = "time")]
    starts_at: Option<Timestamp>,
    #[serde(rename = "endsAt", serialize_with = "time")]
    ends_at: Option<Timestamp>,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    fingerprint: String,
}

/// Serialises a time as Go does. An unknown time is Go's zero time.
fn time<S: Serializer>(moment: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&go_time(*moment).format(RFC3339_NANO))
}

fn go_time(moment: Option<Timestamp>) -> GoTime {
    moment.map_or_else(GoTime::zero, GoTime::utc)
}

impl Data {
    /// The data of a notification about some of its alerts.
    pub(crate) fn new(notification: &Notification, alerts: &[Alert], external_url: &str) -> Self {
        let now = notification.now;
        Data {
            receiver: quote_meta(&notification.receiver),
            status: Status::of_group(alerts, now).as_str(),
            alerts: alerts.iter().map(|alert| AlertData::new(alert, now)).collect(),
            notification_reason: notification.reason.as_str(),
            group_labels: notification.group_labels.clone(),
            common_labels: common(alerts.iter().map(|alert| &alert.labels)),
            common_annotations: common(alerts.iter().map(|alert| &alert.annotations)),
            route_labels: notification.route_labels.clone(),
            external_url: external_url.to_string(),
        }
    }

    /// The data for templates.
    pub(crate) fn to_value(&self) -> Value {
        let alerts = self.alerts.iter().map(AlertData::to_value).collect();
        Value::Record(Arc::new(Record {
            type_name: "*template.Data",
            fields: vec![
                ("Receiver", Value::text(&self.receiver)),
                ("Status", Value::text(self.status)),
                ("Alerts", alert_list("template.Alerts", alerts)),
                ("NotificationReason", Value::text(self.notification_reason)),
                ("GroupLabels", key_values(self.group_labels.clone())),
                ("CommonLabels", key_values(self.common_labels.clone())),
                ("CommonAnnotations", key_values(self.common_annotations.clone())),
                ("RouteLabels", key_values(self.route_labels.clone())),
                ("ExternalURL", Value::text(&self.external_url)),
            ],
        }))
    }
}

impl AlertData {
    fn new(alert: &Alert, now: Timestamp) -> Self {
        AlertData {
            status: alert.status(now).as_str(),
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            starts_at: Some(alert.starts_at),
            ends_at: alert.ends_at,
            generator_url: alert.generator_url.clone(),
            fingerprint: alert.fingerprint().to_string(),
        }
    }

    fn to_value(&self) -> Value {
        let time = |moment| Value::Object(Arc::new(TimeObject(go_time(moment))));
        Value::Record(Arc::new(Record {
            type_name: "template.Alert",
            fields: vec![
                ("Status", Value::text(self.status)),
                ("Labels", key_values(self.labels.clone())),
                ("Annotations", key_values(self.annotations.clone())),
                ("StartsAt", time(self.starts_at)),
                ("EndsAt", time(self.ends_at)),
                ("GeneratorURL", Value::text(&self.generator_url)),
                ("Fingerprint", Value::text(&self.fingerprint)),
            ],
        }))
    }
}

/// The pairs that all sets have.
fn common<'a>(mut sets: impl Iterator<Item = &'a Pairs>) -> Pairs {
    let mut common = sets.next().cloned().unwrap_or_default();
    for set in sets {
        common.retain(|name, value| set.get(name) == Some(value));
    }
    common
}

/// Calls a method of a plain value, if it has it.
type Methods = fn(&Value, &str, &[Value]) -> Option<Result<Value, CallError>>;

/// A type of the data: a plain value with methods.
#[derive(Debug)]
struct Typed {
    type_name: &'static str,
    plain: Value,
    methods: Methods,
    print: fn(&Value) -> String,
}

impl fmt::Display for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&(self.print)(&self.plain))
    }
}

impl Object for Typed {
    fn type_name(&self) -> &'static str {
        self.type_name
    }

    fn field(&self, _name: &str) -> Option<Value> {
        None
    }

    fn method(&self, name: &str, args: &[Value]) -> Option<Result<Value, CallError>> {
        (self.methods)(&self.plain, name, args)
    }

    fn plain(&self) -> Option<&Value> {
        Some(&self.plain)
    }
}

fn typed(type_name: &'static str, plain: Value, methods: Methods, print: fn(&Value) -> String) -> Value {
    Value::Object(Arc::new(Typed { type_name, plain, methods, print }))
}

/// Refuses a call with another number of arguments.
pub(crate) fn count(name: &str, args: &[Value], want: usize) -> Result<(), CallError> {
    match args.len() == want {
        true => Ok(()),
        false => Err(CallError::Arguments(format!("wrong number of args for {name}: want {want} got {}", args.len()))),
    }
}

/// A map of strings.
fn key_values(pairs: Pairs) -> Value {
    fn methods(plain: &Value, name: &str, args: &[Value]) -> Option<Result<Value, CallError>> {
        let Value::Texts(pairs) = plain else { return None };
        let want = usize::from(name == "Remove");
        let sorted = sorted_pairs(pairs);
        let value = match (name, args) {
            ("SortedPairs", _) => sorted,
            ("Names" | "Values", _) => match sorted.field(name) {
                Ok(values) => values,
                Err(reason) => return Some(Err(CallError::Failed(reason))),
            },
            ("Remove", [names]) => match string_list(names) {
                Ok(names) => key_values(
                    pairs
                        .iter()
                        .filter(|(name, _)| !names.contains(name))
                        .map(|(n, v)| (n.clone(), v.clone()))
                        .collect(),
                ),
                Err(error) => return Some(Err(error)),
            },
            ("Remove", _) => Value::Nil,
            ("String", _) => Value::text(sorted.to_string()),
            _ => return None,
        };
        Some(count(name, args, want).map(|()| value))
    }
    fn print(plain: &Value) -> String {
        let Value::Texts(pairs) = plain else { return String::new() };
        sorted_pairs(pairs).to_string()
    }
    typed("template.KV", Value::Texts(Arc::new(pairs)), methods, print)
}

/// The pairs by name, `alertname` first.
fn sorted_pairs(pairs: &Pairs) -> Value {
    fn methods(plain: &Value, name: &str, args: &[Value]) -> Option<Result<Value, CallError>> {
        let field = match name {
            "Names" => "Name",
            "Values" => "Value",
            "String" => return Some(count(name, args, 0).map(|()| Value::text(print(plain)))),
            _ => return None,
        };
        let Value::List(list) = plain else { return None };
        let texts = list.items.iter().filter_map(|pair| pair.field(field).ok()).map(|text| text.to_string());
        Some(count(name, args, 0).map(|()| strings(texts.collect())))
    }
    fn print(plain: &Value) -> String {
        let Value::List(list) = plain else { return String::new() };
        let show = |pair: &Value| match pair {
            Value::Record(record) => {
                record.fields.iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>().join("=")
            }
            other => other.to_string(),
        };
        list.items.iter().map(show).collect::<Vec<_>>().join(", ")
    }
    let pair = |(name, value): (&String, &String)| {
        let fields = vec![("Name", Value::text(name)), ("Value", Value::text(value))];
        Value::Record(Arc::new(Record { type_name: "template.Pair", fields }))
    };
    let is_first = |(name, _): &(&String, &String)| *name == "alertname";
    let (first, rest): (Vec<_>, Vec<_>) = pairs.iter().partition(is_first);
    let items: Arc<[Value]> = first.into_iter().chain(rest).map(pair).collect();
    typed("template.Pairs", Value::List(List { type_name: "template.Pairs", items }), methods, print)
}

/// A list of strings.
fn strings(texts: Vec<String>) -> Value {
    fn methods(plain: &Value, name: &str, args: &[Value]) -> Option<Result<Value, CallError>> {
        let (Value::List(list), "Join") = (plain, name) else { return None };
        let texts: Vec<_> = list.items.iter().map(Value::to_string).collect();
        Some(count(name, args, 1).and_then(|()| match &args[0] {
            Value::Text(separator) => Ok(Value::text(texts.join(separator))),
            other => Err(CallError::wrong_type("string", other)),
        }))
    }
    let items: Arc<[Value]> = texts.into_iter().map(Value::text).collect();
    let list = Value::List(List { type_name: "template.Strings", items });
    typed("template.Strings", list, methods, Value::to_string)
}

/// The texts of a list of strings.
pub(crate) fn string_list(list: &Value) -> Result<Vec<String>, CallError> {
    let wrong = || CallError::wrong_type("[]string", list);
    let Value::List(List { type_name, items }) = list.plain() else { return Err(wrong()) };
    if !matches!(*type_name, "[]string" | "template.Strings") {
        return Err(wrong());
    }
    Ok(items.iter().map(Value::to_string).collect())
}

/// Alerts, of which those with a status can be taken.
fn alert_list(type_name: &'static str, items: Vec<Value>) -> Value {
    fn methods(plain: &Value, name: &str, args: &[Value]) -> Option<Result<Value, CallError>> {
        let status = match name {
            "Firing" => Status::Firing,
            "Resolved" => Status::Resolved,
            _ => return None,
        };
        let Value::List(list) = plain else { return None };
        let has_status =
            |alert: &&Value| matches!(alert.field("Status"), Ok(Value::Text(text)) if *text == *status.as_str());
        let items: Arc<[Value]> = list.items.iter().filter(has_status).cloned().collect();
        Some(count(name, args, 0).map(|()| Value::List(List { type_name: "[]template.Alert", items })))
    }
    typed(type_name, Value::List(List { type_name, items: items.into() }), methods, Value::to_string)
}

#[cfg(test)]
mod tests;
