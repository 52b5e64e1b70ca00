//! Rules, alerts and Alertmanagers as the API shows them. Times are milliseconds since the epoch.

use std::collections::BTreeMap;

use pharos_model::Labels;

/// A call of the rule API of Cortex and Mimir. Groups are YAML.
#[derive(Clone, Debug)]
pub enum RuleConfigCall {
    /// Shows the groups by namespace, of all namespaces or of one.
    List(Option<String>),
    /// Shows a group of a namespace.
    Get(String, String),
    /// Creates or replaces a group of a namespace.
    Set(String, String),
    /// Deletes a group of a namespace.
    Delete(String, String),
    /// Deletes all groups of a namespace.
    DeleteNamespace(String),
}

/// The groups of all rulers.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The groups, sorted by file and name.
    pub groups: Vec<RuleGroup>,
    /// Human-readable descriptions of missing data.
    pub warnings: Vec<String>,
}

/// A group of rules.
#[derive(Clone, Debug, Default)]
pub struct RuleGroup {
    /// The name, unique within the file.
    pub name: String,
    /// The path of the file.
    pub file: String,
    /// The rules in the order of the file.
    pub rules: Vec<Rule>,
    /// The time between evaluations, milliseconds.
    pub interval_ms: i64,
    /// The most series or active alerts of a rule; 0 for no limit.
    pub limit: usize,
    /// How long the last evaluation took, seconds.
    pub evaluation_seconds: f64,
    /// When the last evaluation began; `None` before the first one.
    pub last_evaluation_ms: Option<i64>,
}

/// A rule.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// What an alerting rule has besides; `None` for a recording rule.
    pub alerting: Option<AlertingRule>,
    /// The name of the series or the alert.
    pub name: String,
    /// The expression.
    pub query: String,
    /// The labels, with those of the group.
    pub labels: Labels,
    /// `ok`, `err` or `unknown`.
    pub health: String,
    /// Why the last evaluation failed; empty if it did not.
    pub last_error: String,
    /// How long the last evaluation took, seconds.
    pub evaluation_seconds: f64,
    /// When the last evaluation began; `None` before the first one.
    pub last_evaluation_ms: Option<i64>,
}

/// What only alerting rules have.
#[derive(Clone, Debug, Default)]
pub struct AlertingRule {
    /// The most urgent state of the alerts.
    pub state: String,
    /// The value of `for`, milliseconds.
    pub hold_ms: i64,
    /// The value of `keep_firing_for`, milliseconds.
    pub keep_firing_ms: i64,
    /// The annotations, which are templates.
    pub annotations: BTreeMap<String, String>,
    /// The alerts that are pending or firing.
    pub alerts: Vec<Alert>,
}

/// An alert that is pending or firing.
#[derive(Clone, Debug, Default)]
pub struct Alert {
    /// The labels.
    pub labels: Labels,
    /// The annotations.
    pub annotations: BTreeMap<String, String>,
    /// `pending` or `firing`.
    pub state: String,
    /// When the condition began to hold.
    pub active_at_ms: i64,
    /// When the condition stopped to hold, while `keep_firing_for` keeps the alert firing.
    pub keep_firing_since_ms: Option<i64>,
    /// The value of the expression.
    pub value: f64,
}

/// The Alertmanagers to which alerts are sent.
#[derive(Clone, Debug, Default)]
pub struct Alertmanagers {
    /// The URLs of those that get alerts.
    pub active: Vec<String>,
    /// The URLs of those that relabelling dropped.
    pub dropped: Vec<String>,
}
