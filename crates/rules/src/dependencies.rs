//! Which rules of a group may be evaluated at the same time.
//!
//! A rule depends on an earlier one if a selector of its expression could match what that one writes. A selector without a
//! matcher of the metric name could match anything, so nothing is known of a group that has one.

use pharos_model::{METRIC_NAME, Matcher};
use pharos_promql::syntax::ast::VectorSelector;

use crate::alerts::{ALERT_NAME, ALERTS, ALERTS_FOR_STATE};
use crate::file::{RuleKind, RuleSpec};

/// Positions of rules in batches that follow each other. Empty if dependencies are unknown.
///
/// First come the rules that depend on none, then one by one those in the middle of a chain, then those on which none
/// depends.
pub(crate) fn batches(rules: &[&RuleSpec]) -> Vec<Vec<usize>> {
    let Some(dependencies) = dependencies(rules) else { return Vec::new() };
    let mut first = Vec::new();
    let mut middle = Vec::new();
    let mut last = Vec::new();
    for (at, needed) in dependencies.iter().enumerate() {
        let is_needed = dependencies.iter().any(|needed| needed.contains(&at));
        match (needed.is_empty(), is_needed) {
            (true, _) => first.push(at),
            (false, true) => middle.push(vec![at]),
            (false, false) => last.push(at),
        }
    }
    let ends = |batch: Vec<usize>| (!batch.is_empty()).then_some(batch);
    ends(first).into_iter().chain(middle).chain(ends(last)).collect()
}

/// The positions of the earlier rules on which each rule depends; none if they are unknown.
fn dependencies(rules: &[&RuleSpec]) -> Option<Vec<Vec<usize>>> {
    let mut all = Vec::with_capacity(rules.len());
    for (at, rule) in rules.iter().enumerate() {
        let mut needed = Vec::new();
        let mut is_known = true;
        rule.expr.for_each_selector(&mut |selector| match name_matcher(selector) {
            Some(name) => {
                let earlier = rules[..at].iter().enumerate();
                needed.extend(earlier.filter(|(_, other)| reads(selector, name, other)).map(|(other, _)| other));
            }
            None => is_known = false,
        });
        if !is_known {
            return None;
        }
        needed.sort_unstable();
        needed.dedup();
        all.push(needed);
    }
    Some(all)
}

fn name_matcher(selector: &VectorSelector) -> Option<&Matcher> {
    selector.matchers.iter().find(|matcher| matcher.name == METRIC_NAME)
}

/// Whether a selector could match a series that a rule writes.
fn reads(selector: &VectorSelector, name: &Matcher, rule: &RuleSpec) -> bool {
    if name.matches(&rule.name) {
        return true;
    }
    let is_about_alerts = name.matches(ALERTS) || name.matches(ALERTS_FOR_STATE);
    let mut of_alerts = selector.matchers.iter().filter(|matcher| matcher.name == ALERT_NAME);
    is_about_alerts && rule.kind == RuleKind::Alerting && of_alerts.all(|matcher| matcher.matches(&rule.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::RuleGroups;

    fn batches_of(rules: &str) -> Vec<Vec<usize>> {
        let text = format!("groups:\n- name: g\n  rules:\n{rules}");
        let group = RuleGroups::parse(&text, false).unwrap().groups.remove(0);
        batches(&group.rules.iter().collect::<Vec<_>>())
    }

    #[test]
    fn independent_rules_share_a_batch() {
        assert_eq!(batches_of("  - {record: a, expr: x}\n  - {record: b, expr: y}\n"), [vec![0, 1]]);
    }

    #[test]
    fn a_chain_is_evaluated_one_by_one() {
        let rules = "  - {record: a, expr: x}\n  - {record: b, expr: a}\n  - {record: c, expr: 'rate(b[1m])'}\n";
        assert_eq!(batches_of(rules), [vec![0], vec![1], vec![2]]);
    }

    #[test]
    fn rules_that_only_read_come_last_together() {
        let rules = "  - {record: a, expr: x}\n  - {alert: A, expr: a > 1}\n  - {alert: B, expr: a > 2}\n";
        assert_eq!(batches_of(rules), [vec![0], vec![1, 2]]);
    }

    #[test]
    fn a_selector_without_a_name_makes_dependencies_unknown() {
        assert!(batches_of("  - {record: a, expr: x}\n  - {record: b, expr: 'count({job=\"x\"})'}\n").is_empty());
    }

    #[test]
    fn alerts_are_read_by_their_names() {
        let rules = "  - {alert: A, expr: x}\n  - {alert: B, expr: 'ALERTS{alertname=\"A\"}'}\n";
        assert_eq!(batches_of(rules), [vec![0], vec![1]]);
        let rules = "  - {alert: A, expr: x}\n  - {alert: B, expr: 'ALERTS{alertname=\"C\"}'}\n";
        assert_eq!(batches_of(rules), [vec![0, 1]]);
    }

    #[test]
    fn a_later_rule_is_no_dependency() {
        assert_eq!(batches_of("  - {record: a, expr: b}\n  - {record: b, expr: x}\n"), [vec![0, 1]]);
    }
}
