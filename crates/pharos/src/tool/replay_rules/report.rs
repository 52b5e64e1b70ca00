//! When alerts begin and cease to fire.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_gocompat::format_duration;
use pharos_model::Labels;
use pharos_rules::file::RuleKind;
use pharos_rules::{Alert, AlertState, Group, GroupRule};

/// The alerts that fire, and lines about those that began or ceased to.
#[derive(Default)]
pub(super) struct Report {
    /// Since when alerts fire, milliseconds, by their labels.
    firing: BTreeMap<Labels, i64>,
    /// Times and lines that were not taken yet.
    lines: Vec<(i64, String)>,
    /// How often an alert began to fire.
    count: usize,
}

impl Report {
    /// Looks at the alerts of a rule after its evaluation at `t_ms`.
    pub(super) fn observe(&mut self, rule: &Arc<GroupRule>, t_ms: i64) {
        if rule.spec().kind != RuleKind::Alerting {
            return;
        }
        for alert in rule.alerts().all() {
            let is_firing = alert.state == AlertState::Firing && alert.resolved_at_ms.is_none();
            match self.firing.get(&alert.labels) {
                None if is_firing => {
                    self.firing.insert(alert.labels.clone(), t_ms);
                    self.count += 1;
                    self.lines.push((t_ms, format!("{}  firing    {}", time(t_ms), shown(alert))));
                }
                Some(since_ms) if !is_firing => {
                    let after = format_duration(t_ms - since_ms);
                    self.lines.push((t_ms, format!("{}  resolved  {} after {after}", time(t_ms), alert.labels)));
                    self.firing.remove(&alert.labels);
                }
                _ => {}
            }
        }
    }

    /// The lines since the last call, in the order of time.
    pub(super) fn take(&mut self) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.lines);
        lines.sort_by_key(|(t_ms, _)| *t_ms);
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// What to say at the end of a group.
    pub(super) fn summary(&self, group: &Group, written: usize, writes: bool) -> Vec<String> {
        let mut lines = Vec::new();
        if group.rules().iter().any(|rule| rule.spec().kind == RuleKind::Alerting) {
            lines.push(match self.count {
                0 => "no alert fires".to_string(),
                1 => format!("1 alert fires, {} at the end", self.firing.len()),
                count => format!("{count} alerts fire, {} at the end", self.firing.len()),
            });
        }
        if writes && group.rules().iter().any(|rule| rule.spec().kind == RuleKind::Recording) {
            lines.push(format!("{written} samples written"));
        }
        lines
    }
}

fn shown(alert: &Alert) -> String {
    format!("{} value={}", alert.labels, pharos_gocompat::GoFloat(alert.value))
}

fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}
