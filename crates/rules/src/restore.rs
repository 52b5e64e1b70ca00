//! Continuing the state of rules after a restart, or on another node, from the series that the rules wrote.
//!
//! `ALERTS_FOR_STATE` says since when the condition of an alert holds, and `ALERTS` whether the alert fired. An alert whose
//! last sample is no older than two evaluations is *current*: it goes on as if nothing had happened, so it fires on, and is
//! resolved if its condition does not hold any more. Older ones are continued when their condition holds, with the pause
//! that Prometheus makes before it lets a pending alert fire.
//!
//! Series do not say which rule wrote them. Rules that could have written the same series therefore continue alerts that
//! they find, but never assume that one is theirs.

use std::collections::{BTreeMap, BTreeSet};

use pharos_model::{Labels, LabelsBuilder, METRIC_NAME};
use pharos_promql::syntax;
use pharos_promql::{SampleValue, VectorSample};

use crate::alerts::{ALERT_NAME, ALERT_STATE, ALERTS, ALERTS_FOR_STATE, StoredAlert};
use crate::error::RuleError;
use crate::file::{RuleKind, RuleSpec};
use crate::store::RuleQueries;

/// How old the last sample of an alert may be for the alert to be assumed to go on without having been found, milliseconds.
/// After a longer pause the samples that show its condition may be too old to be found.
const MAX_CURRENT_AGE_MS: i64 = 4 * 60_000;

/// How the state of rules is restored. All durations are milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct RestorePolicy {
    /// How old the last sample of an alert may be for the alert to be continued.
    pub outage_tolerance_ms: i64,
    /// How long a restored alert stays pending at least, unless its `for` is shorter.
    pub grace_period_ms: i64,
}

/// The moment of a restoration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The time of the evaluation less the query offset, milliseconds.
    pub(crate) at_ms: i64,
    /// The interval of the group, milliseconds.
    pub(crate) interval_ms: i64,
    /// Whether no other rule writes the same series.
    pub(crate) is_alone: bool,
}

impl Moment {
    /// The time from which on a sample shows that the rule was evaluated until now.
    fn recent_from_ms(&self) -> i64 {
        self.at_ms.saturating_sub(self.interval_ms.saturating_mul(2))
    }
}

/// The alerts of a rule by what their series say.
///
/// # Errors
/// A query failed.
pub(crate) fn stored_alerts(
    spec: &RuleSpec,
    queries: &dyn RuleQueries,
    moment: Moment,
    policy: RestorePolicy,
) -> Result<BTreeMap<Labels, StoredAlert>, RuleError> {
    if policy.outage_tolerance_ms <= 0 {
        return Ok(BTreeMap::new());
    }
    let selector = selector(spec, ALERTS_FOR_STATE, None);
    let ask = |text: &str| ask(queries, text, moment.at_ms, policy.outage_tolerance_ms);
    let since = by_labels(ask(&selector)?);
    if since.is_empty() {
        return Ok(BTreeMap::new());
    }
    let seen = by_labels(ask(&format!("timestamp({selector})"))?);
    let fired = by_labels(ask(&self::selector(spec, ALERTS, Some("firing")))?);
    let mut stored = BTreeMap::new();
    for (labels, since_s) in since {
        let Some(seen_s) = seen.get(&labels) else { continue };
        let seen_at_ms = milliseconds(*seen_s);
        let is_recent = seen_at_ms >= moment.recent_from_ms();
        let alert = StoredAlert {
            active_at_ms: milliseconds(since_s),
            seen_at_ms,
            fired: fired.contains_key(&labels),
            is_current: is_recent && moment.is_alone && seen_at_ms >= moment.at_ms.saturating_sub(MAX_CURRENT_AGE_MS),
            is_recent,
            hold_ms: spec.hold_ms,
            grace_period_ms: policy.grace_period_ms,
        };
        stored.insert(labels, alert);
    }
    Ok(stored)
}

/// The series that the last evaluation of a rule wrote, if it was recent and no other rule could have written them.
///
/// # Errors
/// A query failed.
pub(crate) fn written_series(
    spec: &RuleSpec,
    queries: &dyn RuleQueries,
    moment: Moment,
) -> Result<BTreeSet<Labels>, RuleError> {
    if !moment.is_alone {
        return Ok(BTreeSet::new());
    }
    let lookback_ms = moment.at_ms.saturating_sub(moment.recent_from_ms());
    let selectors = match spec.kind {
        RuleKind::Recording => vec![selector(spec, &spec.name, None)],
        RuleKind::Alerting => vec![selector(spec, ALERTS, None), selector(spec, ALERTS_FOR_STATE, None)],
    };
    let mut series = BTreeSet::new();
    for selector in selectors {
        series.extend(ask(queries, &selector, moment.at_ms, lookback_ms)?.into_iter().map(|sample| sample.labels));
    }
    Ok(series)
}

/// The time of the newest sample that a rule wrote within `lookback_ms` before a moment; none if it wrote none.
///
/// # Errors
/// A query failed.
pub(crate) fn newest_sample(
    spec: &RuleSpec,
    queries: &dyn RuleQueries,
    at_ms: i64,
    lookback_ms: i64,
) -> Result<Option<i64>, RuleError> {
    let metric = if spec.kind == RuleKind::Alerting { ALERTS_FOR_STATE } else { spec.name.as_str() };
    let newest = ask(queries, &format!("max(timestamp({}))", selector(spec, metric, None)), at_ms, lookback_ms)?;
    Ok(newest.into_iter().find_map(|sample| match sample.value {
        SampleValue::Float(seconds) => Some(milliseconds(seconds)),
        SampleValue::Histogram(_) => None,
    }))
}

/// Whether two rules could write the same series.
pub(crate) fn may_collide(a: &RuleSpec, b: &RuleSpec) -> bool {
    let differs = |(name, value): (&String, &String)| {
        let other = b.labels.get(name).filter(|other| !is_template(a, value) && !is_template(b, other));
        other.is_some_and(|other| other != value)
    };
    a.kind == b.kind && a.name == b.name && !a.labels.iter().any(differs)
}

fn is_template(spec: &RuleSpec, text: &str) -> bool {
    spec.kind == RuleKind::Alerting && text.contains("{{")
}

/// The selector of the series of a metric that a rule writes.
fn selector(spec: &RuleSpec, metric: &str, state: Option<&str>) -> String {
    let mut labels = LabelsBuilder::default();
    for (name, value) in spec.labels.iter().filter(|(_, value)| !is_template(spec, value) && !value.is_empty()) {
        labels.set(name, value);
    }
    labels.set(METRIC_NAME, metric);
    if spec.kind == RuleKind::Alerting {
        labels.set(ALERT_NAME, &spec.name);
    }
    if let Some(state) = state {
        labels.set(ALERT_STATE, state);
    }
    labels.build().to_string()
}

fn ask(queries: &dyn RuleQueries, text: &str, at_ms: i64, lookback_ms: i64) -> Result<Vec<VectorSample>, RuleError> {
    let expr = syntax::parse(text).map_err(|error| RuleError::Restore(error.to_string().into()))?;
    queries.query(&expr, text, at_ms, Some(lookback_ms)).map_err(RuleError::Restore)
}

/// The values of samples by the labels of their alerts.
fn by_labels(samples: Vec<VectorSample>) -> BTreeMap<Labels, f64> {
    let of_alert = |sample: VectorSample| match sample.value {
        SampleValue::Float(value) => {
            Some((sample.labels.without(|name| name == METRIC_NAME || name == ALERT_STATE), value))
        }
        SampleValue::Histogram(_) => None,
    };
    samples.into_iter().filter_map(of_alert).collect()
}

fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}
