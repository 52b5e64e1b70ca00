//! Alerts as the API v2 of Alertmanager takes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::components::OutgoingAlert;

#[derive(Serialize)]
struct PostableAlert<'a> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    #[serde(rename = "endsAt")]
    ends_at: Time,
    #[serde(rename = "startsAt")]
    starts_at: Time,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
}

/// A time in milliseconds since the epoch.
struct Time(i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => serializer.collect_str(&format_args!("{time:.3}")),
            Err(error) => Err(serde::ser::Error::custom(error)),
        }
    }
}

/// The body of a request.
///
/// # Errors
/// A time is out of range.
pub(super) fn body(alerts: &[Arc<OutgoingAlert>]) -> Result<Bytes, serde_json::Error> {
    let alerts: Vec<PostableAlert<'_>> = alerts
        .iter()
        .map(|alert| PostableAlert {
            annotations: &alert.annotations,
            ends_at: Time(alert.ends_at_ms),
            starts_at: Time(alert.starts_at_ms),
            generator_url: &alert.generator_url,
            labels: alert.labels.iter().collect(),
        })
        .collect();
    serde_json::to_vec(&alerts).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use pharos_model::Labels;

    use super::*;

    #[test]
    fn alerts_are_written_in_the_form_of_the_api() {
        let alert = OutgoingAlert {
            labels: Labels::from_pairs([("alertname", "A"), ("a", "\"")]),
            annotations: BTreeMap::from([("summary".to_string(), "s".to_string())]),
            starts_at_ms: 1_700_000_000_000,
            ends_at_ms: 1_700_000_240_125,
            generator_url: "http://p/graph".into(),
        };
        assert_eq!(
            body(&[Arc::new(alert)]).unwrap(),
            r#"[{"annotations":{"summary":"s"},"endsAt":"2023-11-14T22:17:20.125Z","startsAt":"2023-11-14T22:13:20.000Z","generatorURL":"http://p/graph","labels":{"a":"\"","alertname":"A"}}]"#
        );
    }
}
