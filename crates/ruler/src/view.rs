//! What a ruler shows of its groups.

use pharos_model::Labels;
use pharos_rules::file::{RuleKind, Texts};
use pharos_rules::{Alert, GroupRule};

use crate::group::RunningGroup;

/// A group. Times are milliseconds since the epoch.
#[derive(Clone, Debug)]
pub struct GroupView {
    /// The name.
    pub name: String,
    /// The path of the file.
    pub file: String,
    /// The rules in the order of the file.
    pub rules: Vec<RuleView>,
    /// The time between evaluations, milliseconds.
    pub interval_ms: i64,
    /// The most series or active alerts of a rule; 0 for no limit.
    pub limit: usize,
    /// How long the last evaluation took, seconds.
    pub evaluation_seconds: f64,
    /// When the last evaluation began; `None` before the first one.
    pub last_evaluation_ms: Option<i64>,
}

/// A rule. Times are milliseconds since the epoch.
#[derive(Clone, Debug)]
pub struct RuleView {
    /// Whether it alerts or records.
    pub is_alerting: bool,
    /// The most urgent state of its alerts; `unknown` before the first evaluation.
    pub state: &'static str,
    /// The name of the series or the alert.
    pub name: String,
    /// The expression.
    pub query: String,
    /// The value of `for`, milliseconds.
    pub hold_ms: i64,
    /// The value of `keep_firing_for`, milliseconds.
    pub keep_firing_ms: i64,
    /// The labels, with those of the group.
    pub labels: Labels,
    /// The annotations as the file has them.
    pub annotations: Texts,
    /// The alerts that are pending or firing.
    pub alerts: Vec<AlertView>,
    /// `ok`, `err`, or `unknown` before the first evaluation.
    pub health: &'static str,
    /// Why the last evaluation failed; empty if it did not.
    pub last_error: String,
    /// How long the last evaluation took, seconds.
    pub evaluation_seconds: f64,
    /// When the last evaluation began; `None` before the first one.
    pub last_evaluation_ms: Option<i64>,
}

/// An alert. Times are milliseconds since the epoch.
#[derive(Clone, Debug)]
pub struct AlertView {
    /// The labels.
    pub labels: Labels,
    /// The annotations.
    pub annotations: Texts,
    /// `pending` or `firing`.
    pub state: &'static str,
    /// When the condition began to hold.
    pub active_at_ms: i64,
    /// When the condition stopped to hold, while `keep_firing_for` keeps the alert firing.
    pub keep_firing_since_ms: Option<i64>,
    /// The value of the expression.
    pub value: f64,
}

impl GroupView {
    pub(crate) fn new(group: &RunningGroup) -> Self {
        let last = group.last();
        GroupView {
            name: group.rules.name.clone(),
            file: group.file.clone(),
            rules: group.rules.rules().iter().map(|rule| RuleView::new(rule)).collect(),
            interval_ms: group.rules.interval_ms,
            limit: group.rules.limit.as_configured(),
            evaluation_seconds: last.duration.as_secs_f64(),
            last_evaluation_ms: last.began_ms,
        }
    }
}

impl RuleView {
    fn new(rule: &GroupRule) -> Self {
        let spec = rule.spec();
        let status = rule.status();
        let alerts = rule.alerts();
        let (health, last_error) = match status.outcome {
            None => ("unknown", String::new()),
            Some(Ok(())) => ("ok", String::new()),
            Some(Err(error)) => ("err", error.to_string()),
        };
        RuleView {
            is_alerting: spec.kind == RuleKind::Alerting,
            state: if status.evaluated_at_ms.is_none() { "unknown" } else { alerts.state().as_str() },
            name: spec.name.clone(),
            query: spec.expr.to_string(),
            hold_ms: spec.hold_ms,
            keep_firing_ms: spec.keep_firing_ms,
            labels: Labels::from_pairs(&spec.labels),
            annotations: spec.annotations.clone(),
            alerts: alerts.active().map(AlertView::new).collect(),
            health,
            last_error,
            evaluation_seconds: status.duration.as_secs_f64(),
            last_evaluation_ms: status.evaluated_at_ms,
        }
    }
}

impl AlertView {
    fn new(alert: &Alert) -> Self {
        AlertView {
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            state: alert.state.as_str(),
            active_at_ms: alert.active_at_ms,
            keep_firing_since_ms: alert.keep_firing_since_ms,
            value: alert.value,
        }
    }
}
