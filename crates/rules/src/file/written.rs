//! Groups as YAML, in the form in which rule files have them.

use std::collections::BTreeMap;

use pharos_gocompat::format_duration;
use serde::Serialize;

use super::{RuleGroup, RuleKind, RuleSpec, Texts};

#[derive(Serialize)]
struct WrittenGroup<'g> {
    name: &'g str,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_offset: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    limit: usize,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'g Texts,
    rules: Vec<WrittenRule<'g>>,
}

#[derive(Serialize)]
struct WrittenRule<'g> {
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'g str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<&'g str>,
    expr: &'g str,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    hold: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_firing_for: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'g Texts,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'g Texts,
}

fn is_zero(limit: &usize) -> bool {
    *limit == 0
}

impl<'g> From<&'g RuleGroup> for WrittenGroup<'g> {
    fn from(group: &'g RuleGroup) -> Self {
        WrittenGroup {
            name: &group.name,
            interval: group.interval_ms.map(format_duration),
            query_offset: group.query_offset_ms.map(format_duration),
            limit: group.limit.as_configured(),
            labels: &group.labels,
            rules: group.rules.iter().map(WrittenRule::from).collect(),
        }
    }
}

impl<'g> From<&'g RuleSpec> for WrittenRule<'g> {
    fn from(rule: &'g RuleSpec) -> Self {
        let name = |kind| (rule.kind == kind).then_some(rule.name.as_str());
        let positive = |ms: i64| (ms > 0).then(|| format_duration(ms));
        WrittenRule {
            record: name(RuleKind::Recording),
            alert: name(RuleKind::Alerting),
            expr: &rule.text,
            hold: positive(rule.hold_ms),
            keep_firing_for: positive(rule.keep_firing_ms),
            labels: &rule.labels,
            annotations: &rule.annotations,
        }
    }
}

impl Serialize for RuleGroup {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WrittenGroup::from(self).serialize(serializer)
    }
}

/// A group, or anything made of groups, as YAML.
///
/// # Errors
/// The value has no form in YAML. Groups always have one.
pub fn to_yaml(value: &impl Serialize) -> Result<String, String> {
    serde_saphyr::to_string(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::RuleGroups;

    const GROUP: &str = "name: g\ninterval: 1m\nquery_offset: 30s\nlimit: 3\nlabels:\n  team: a\nrules:\n- record: r\n  expr: sum(up)\n- alert: A\n  \
                         expr: |\n    up == 0\n    and up\n  for: 5m\n  keep_firing_for: 1m\n  annotations:\n    s: \"{{ $value }}: x\"\n";

    #[test]
    fn a_written_group_is_read_as_the_same_group() {
        let group = RuleGroups::parse_group(GROUP).unwrap();
        let written = to_yaml(&group).unwrap();
        assert_eq!(RuleGroups::parse_group(&written).unwrap(), group, "{written}");
        assert!(written.contains("for: 5m\n") && written.contains("interval: 1m\n"), "{written}");
    }

    #[test]
    fn settings_that_are_not_given_are_not_written() {
        let group = RuleGroups::parse_group("name: g\nrules: [{record: r, expr: up}]").unwrap();
        let written = to_yaml(&group).unwrap();
        let names = ["name:", "rules:", "record:", "expr:"];
        assert_eq!(written.matches(':').count(), names.len(), "{written}");
        assert!(names.iter().all(|name| written.contains(name)), "{written}");
    }

    proptest! {
        #[test]
        fn texts_survive(name in "\\PC{1,30}", value in "[^{}\\p{C}]{0,60}", lines in "([a-z:#\"' -]{0,9}\n){0,4}") {
            let mut group = RuleGroups::parse_group("name: g\nrules: [{alert: A, expr: up}]").unwrap();
            group.name = name;
            group.rules[0].annotations = [("v".to_string(), value), ("lines".to_string(), lines)].into();
            let written = to_yaml(&group).unwrap();
            prop_assert_eq!(RuleGroups::parse_group(&written), Ok(group), "{}", written);
        }
    }
}
