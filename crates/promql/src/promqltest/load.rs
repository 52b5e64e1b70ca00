//! The `load` command: puts samples into the store, and converts classic histograms to native ones (`load_with_nhcb`).

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_histogram::CUSTOM_BUCKETS_SCHEMA;
use pharos_model::{Histogram, Labels, LabelsBuilder, METRIC_NAME};

use super::script::{Load, LoadSeries};
use super::series::SeriesValue;
use super::store::MemoryStore;
use super::words::ScriptError;

/// Loads the series of a command into the store.
pub(super) fn load(command: &Load, store: &mut MemoryStore) -> Result<(), ScriptError> {
    for series in &command.series {
        let floats = series.samples(command.step).filter_map(|(t, value, st)| match value {
            SeriesValue::Float(v) => Some((t, *v, st)),
            _ => None,
        });
        store.add_floats(&series.labels, floats);
        let histograms = series.samples(command.step).filter_map(|(t, value, st)| match value {
            SeriesValue::Histogram(h, _) => Some((t, h.clone(), st)),
            _ => None,
        });
        store.add_histograms(&series.labels, histograms);
    }
    if command.with_nhcb {
        for (labels, histograms) in custom_histograms(command)? {
            store.add_histograms(&labels, histograms.into_iter().map(|(t, h)| (t, Arc::new(h), 0)));
        }
    }
    store.finish_load();
    Ok(())
}

impl LoadSeries {
    /// The values, with their times before and their start timestamps behind them.
    fn samples(&self, step: i64) -> impl Iterator<Item = (i64, &SeriesValue, i64)> {
        self.values.iter().enumerate().map(move |(at, value)| {
            let t = step.saturating_mul(at as i64);
            let start = self.start_offsets.get(at).copied().flatten();
            (t, value, start.map_or(0, |offset| t.saturating_add(offset)))
        })
    }
}

/// The samples of a classic histogram at one time.
#[derive(Default)]
struct Classic {
    buckets: Vec<(f64, f64)>,
    sum: f64,
    count: Option<f64>,
}

/// The role of a series within a classic histogram.
enum Component {
    Bucket(f64),
    Sum,
    Count,
}

type CustomSeries = BTreeMap<Labels, Vec<(i64, Histogram)>>;

/// Converts all classic histograms of a command, by series.
fn custom_histograms(command: &Load) -> Result<CustomSeries, ScriptError> {
    let mut groups: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for series in &command.series {
        let Some((labels, component)) = classic_component(&series.labels) else { continue };
        let group = groups.entry(labels).or_default();
        for (t, value, _) in series.samples(command.step) {
            let SeriesValue::Float(v) = value else { continue };
            let classic = group.entry(t).or_default();
            match component {
                Component::Bucket(le) => classic.buckets.push((le, *v)),
                Component::Sum => classic.sum = *v,
                Component::Count => classic.count = Some(*v),
            }
        }
    }
    let mut converted = CustomSeries::new();
    for (labels, group) in groups {
        let histograms = group.into_iter().map(|(t, classic)| Ok((t, classic.into_native()?)));
        converted.insert(labels, histograms.collect::<Result<_, ScriptError>>()?);
    }
    Ok(converted)
}

/// The classic histogram that a series belongs to, and its role; `None` for other series.
fn classic_component(labels: &Labels) -> Option<(Labels, Component)> {
    let name = labels.metric_name();
    let (base, component) = if let Some(base) = name.strip_suffix("_bucket") {
        let le: f64 = labels.get("le")?.parse().ok()?;
        (base, Component::Bucket(le))
    } else if let Some(base) = name.strip_suffix("_sum") {
        (base, Component::Sum)
    } else {
        (name.strip_suffix("_count")?, Component::Count)
    };
    if matches!(component, Component::Bucket(le) if le.is_nan()) {
        return None;
    }
    let base = LabelsBuilder::from_labels(labels).set(METRIC_NAME, base).remove("le").build();
    Some((base, component))
}

impl Classic {
    fn into_native(mut self) -> Result<Histogram, ScriptError> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|later, earlier| later.0 == earlier.0);
        let count = self.count.or(self.buckets.last().map(|b| b.1)).unwrap_or(0.0);
        if self.buckets.last().is_none_or(|b| b.0 != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let mut previous = 0.0;
        let mut counts = Vec::with_capacity(self.buckets.len());
        for (_, cumulative) in &self.buckets {
            if *cumulative < previous {
                let reason =
                    format!("load_with_nhcb: histogram bucket counts are not cumulative: {cumulative} < {previous}");
                return Err(ScriptError::new(reason));
            }
            counts.push(cumulative - previous);
            previous = *cumulative;
        }
        if previous != count {
            return Err(ScriptError::new(format!("load_with_nhcb: count mismatch: {count} and {previous}")));
        }
        let bounds: Vec<f64> = self.buckets.iter().map(|b| b.0).filter(|le| *le != f64::INFINITY).collect();
        let mut h = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: vec![pharos_model::Span { offset: 0, length: counts.len() as u32 }],
            positive_buckets: counts,
            custom_values: bounds.into(),
            ..Histogram::default()
        };
        h.compact(2);
        h.validate().map_err(|error| ScriptError::new(error.to_string()))?;
        Ok(h)
    }
}
