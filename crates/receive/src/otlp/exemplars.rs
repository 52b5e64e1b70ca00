//! The exemplars of OTLP points.

use pharos_model::{Exemplar, Labels, LabelsBuilder};
use pharos_transport::otlp::metrics::v1 as proto;

use super::values::{text, to_millis};

/// The limit that OpenMetrics sets on all labels of an exemplar together, characters.
const MAX_CHARACTERS: usize = 128;

/// The exemplars of a point, in the order of the request. One without a timestamp gets the point's.
pub(super) fn of_point(exemplars: &[proto::Exemplar], point_time: i64) -> Vec<Exemplar> {
    let mut builder = LabelsBuilder::default();
    let convert = |exemplar: &proto::Exemplar| {
        let value = match exemplar.value? {
            proto::exemplar::Value::AsDouble(value) => value,
            proto::exemplar::Value::AsInt(value) => value as f64,
        };
        let t = match to_millis(exemplar.time_unix_nano) {
            0 => point_time,
            t => t,
        };
        Some(Exemplar { labels: labels(exemplar, &mut builder), value, t })
    };
    exemplars.iter().filter_map(convert).collect()
}

/// The trace and span ids, and the attributes unless all of it is too long.
fn labels(exemplar: &proto::Exemplar, builder: &mut LabelsBuilder) -> Labels {
    builder.clear();
    let mut characters = 0;
    for (name, id) in [("trace_id", &exemplar.trace_id), ("span_id", &exemplar.span_id)] {
        // Ids have 16 and 8 bytes. All zeros mean that there is none, and longer values are not ids.
        if id.len() <= 16 && id.iter().any(|byte| *byte != 0) {
            let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            characters += name.len() + hex.len();
            builder.set(name, &hex);
        }
    }
    let attributes: Vec<(&str, String)> =
        exemplar.filtered_attributes.iter().map(|a| (a.key.as_str(), text(a.value.as_ref()))).collect();
    characters += attributes.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum::<usize>();
    if characters <= MAX_CHARACTERS {
        for (name, value) in attributes.iter().filter(|(name, _)| !name.is_empty()) {
            builder.set(name, value);
        }
    }
    builder.build()
}
