//! What a ruler shows of its groups, in the form in which other nodes get it.

use pharos_model::Labels;
use pharos_rules::file::{RuleKind, Texts};
use pharos_rules::{Alert, GroupRule};
use pharos_transport::ruler_v1 as wire;

use crate::group::RunningGroup;

/// A group with its state.
pub(crate) fn group(group: &RunningGroup) -> wire::Group {
    let last = group.last();
    wire::Group {
        name: group.rules.name.clone(),
        file: group.file.clone(),
        rules: group.rules.rules().iter().map(|shown| rule(shown)).collect(),
        interval_ms: group.rules.interval_ms,
        limit: group.rules.limit.as_configured() as u64,
        evaluation_seconds: last.duration.as_secs_f64(),
        last_evaluation_ms: last.began_ms,
        tenant: group.tenant.as_str().to_string(),
    }
}

fn rule(rule: &GroupRule) -> wire::Rule {
    let spec = rule.spec();
    let status = rule.status();
    let alerts = rule.alerts();
    let (health, last_error) = match status.outcome {
        None => ("unknown", String::new()),
        Some(Ok(())) => ("ok", String::new()),
        Some(Err(error)) => ("err", error.to_string()),
    };
    let state = if status.evaluated_at_ms.is_none() { "unknown" } else { alerts.state().as_str() };
    wire::Rule {
        alerting: spec.kind == RuleKind::Alerting,
        state: state.into(),
        name: spec.name.clone(),
        query: spec.expr.to_string(),
        hold_ms: spec.hold_ms,
        keep_firing_ms: spec.keep_firing_ms,
        labels: bytes(&Labels::from_pairs(&spec.labels)),
        annotations: texts(&spec.annotations),
        alerts: alerts.active().map(alert).collect(),
        health: health.into(),
        last_error,
        evaluation_seconds: status.duration.as_secs_f64(),
        last_evaluation_ms: status.evaluated_at_ms,
    }
}

fn alert(alert: &Alert) -> wire::Alert {
    wire::Alert {
        labels: bytes(&alert.labels),
        annotations: texts(&alert.annotations),
        state: alert.state.as_str().into(),
        active_at_ms: alert.active_at_ms,
        keep_firing_since_ms: alert.keep_firing_since_ms,
        value: alert.value,
    }
}

fn bytes(labels: &Labels) -> bytes::Bytes {
    labels.as_bytes().to_vec().into()
}

fn texts(texts: &Texts) -> std::collections::HashMap<String, String> {
    texts.iter().map(|(name, text)| (name.clone(), text.clone())).collect()
}
