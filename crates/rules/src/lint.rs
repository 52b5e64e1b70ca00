//! Lint checks of rule files: what is valid and yet probably a mistake.

use std::collections::BTreeMap;
use std::fmt;

use crate::file::{RuleGroup, Texts};

/// A rule that occurs more than once with the same name and labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DuplicateRule {
    /// The name of the series or the alert.
    pub name: String,
    /// The labels, with those of the group.
    pub labels: Texts,
}

impl fmt::Display for DuplicateRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Metric: {}\nLabel(s):", self.name)?;
        self.labels.iter().try_for_each(|(name, value)| writeln!(f, "\t{name}: {value}"))
    }
}

/// The rules that occur more than once, over all groups, each once.
pub fn duplicate_rules(groups: &[RuleGroup]) -> Vec<DuplicateRule> {
    let mut times: BTreeMap<DuplicateRule, usize> = BTreeMap::new();
    for group in groups {
        for rule in &group.rules {
            let labels = group.labels.iter().chain(&rule.labels).map(|(name, value)| (name.clone(), value.clone()));
            *times.entry(DuplicateRule { name: rule.name.clone(), labels: labels.collect() }).or_default() += 1;
        }
    }
    times.into_iter().filter(|(_, times)| *times > 1).map(|(rule, _)| rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::RuleGroups;

    #[test]
    fn rules_with_the_same_name_and_labels_are_duplicates_across_groups() {
        let text = "groups:\n- name: a\n  labels: {x: y}\n  rules:\n  - {record: r, expr: up}\n  - {record: s, expr: up}\n\
                    - name: b\n  rules:\n  - {record: r, expr: down, labels: {x: y}}\n  - {record: r, expr: down, labels: {x: z}}\n";
        let found = duplicate_rules(&RuleGroups::parse(text, false).unwrap().groups);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["Metric: r\nLabel(s):\n\tx: y\n"]);
    }
}
