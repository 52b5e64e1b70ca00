//! Inhibition: alerts that mute others while they are active.
//!
//! Each rule keeps the alerts that satisfy its source, by the values of the labels that must be equal, so that a question
//! about one alert looks at few others.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use pharos_notify::alert::{Alert, Fingerprint, Status};

use crate::config::InhibitRule;
use crate::matcher::{Matcher, all_match};
use crate::routing::LabelMap;

/// The rules with the alerts that satisfy their sources.
#[derive(Default)]
pub struct Inhibition {
    rules: Vec<Rule>,
}

struct Rule {
    rule: InhibitRule,
    /// By the values of the labels that must be equal.
    sources: HashMap<Vec<String>, HashMap<Fingerprint, Arc<Alert>>>,
}

fn satisfies(labels: &LabelMap, matchers: &[Matcher]) -> bool {
    all_match(matchers, |name| labels.get(name).map_or("", String::as_str))
}

impl Rule {
    fn values(&self, labels: &LabelMap) -> Vec<String> {
        self.rule.equal.iter().map(|name| labels.get(name).cloned().unwrap_or_default()).collect()
    }
}

impl Inhibition {
    /// Rules without alerts.
    pub fn new(rules: Vec<InhibitRule>) -> Self {
        Inhibition { rules: rules.into_iter().map(|rule| Rule { rule, sources: HashMap::new() }).collect() }
    }

    /// Takes what is known about an alert now.
    pub fn put(&mut self, alert: &Arc<Alert>) {
        for rule in &mut self.rules {
            if satisfies(&alert.labels, &rule.rule.source) {
                let values = rule.values(&alert.labels);
                rule.sources.entry(values).or_default().insert(alert.fingerprint(), alert.clone());
            }
        }
    }

    /// An active alert that mutes an alert with these labels. An alert that is source and target of a rule is not muted by
    /// another such alert.
    pub fn muting(&self, labels: &LabelMap, now: Timestamp) -> Option<Fingerprint> {
        self.rules.iter().find_map(|rule| {
            let (source, target) = (&rule.rule.source, &rule.rule.target);
            if !satisfies(labels, target) {
                return None;
            }
            let is_source = satisfies(labels, source);
            let active = rule.sources.get(&rule.values(labels))?.iter().filter(|(_, alert)| {
                alert.status(now) == Status::Firing && !(is_source && satisfies(&alert.labels, target))
            });
            active.map(|(fingerprint, _)| *fingerprint).min()
        })
    }

    /// Forgets resolved alerts.
    pub fn collect_garbage(&mut self, now: Timestamp) {
        for rule in &mut self.rules {
            rule.sources.retain(|_, sources| {
                sources.retain(|_, alert| alert.status(now) == Status::Firing);
                !sources.is_empty()
            });
        }
    }
}

#[cfg(test)]
mod tests;
