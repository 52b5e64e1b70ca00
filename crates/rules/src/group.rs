//! Groups of rules.
//!
//! The rules of a group are evaluated in order, and each one sees what the previous ones wrote; [`Group::batches`] says
//! which ones may be evaluated at the same time. A series that a rule stops to produce gets a stale marker. A rule that
//! fails keeps its error and does not stop the group.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use pharos_model::{Labels, Limit};
use pharos_promql::VectorSample;

use crate::alerting::AlertingRule;
use crate::dependencies;
use crate::error::RuleError;
use crate::file::{RuleGroup, RuleKind, Texts};
use crate::recording::RecordingRule;
use crate::rule::{Evaluation, GroupRule, Rule, stale};
use crate::store::{RuleQueries, RuleStore};

/// The settings of a server that apply to all of its groups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupOptions {
    /// The interval of groups that have none, milliseconds.
    pub interval_ms: i64,
    /// The external labels, for templates.
    pub external_labels: Arc<Texts>,
    /// The external URL, for templates.
    pub external_url: String,
    /// The query offset of groups that have none, milliseconds.
    pub query_offset_ms: i64,
}

/// A group with the state of its rules.
#[derive(Debug)]
pub struct Group {
    /// The name, unique within a file.
    pub name: String,
    /// The time between evaluations, milliseconds.
    pub interval_ms: i64,
    /// How long before the time of an evaluation expressions are evaluated, milliseconds.
    pub query_offset_ms: i64,
    /// The most series or active alerts of a rule.
    pub limit: Limit,
    external_url: String,
    rules: Vec<Arc<GroupRule>>,
    /// Series of rules that the group no longer has, which are to get stale markers.
    abandoned: Mutex<BTreeSet<Labels>>,
}

impl Group {
    /// A group of a file that was never evaluated.
    pub fn new(group: &RuleGroup, options: &GroupOptions) -> Self {
        let rule = |spec: &crate::file::RuleSpec| match spec.kind {
            RuleKind::Recording => Rule::Recording(RecordingRule::new(spec.clone(), &group.labels)),
            RuleKind::Alerting => {
                let external = options.external_labels.clone();
                Rule::Alerting(AlertingRule::new(spec.clone(), &group.labels, external))
            }
        };
        Group {
            name: group.name.clone(),
            interval_ms: group.interval_ms.unwrap_or(options.interval_ms),
            query_offset_ms: group.query_offset_ms.unwrap_or(options.query_offset_ms),
            limit: group.limit,
            external_url: options.external_url.clone(),
            rules: group.rules.iter().map(|spec| Arc::new(GroupRule::new(rule(spec)))).collect(),
            abandoned: Mutex::default(),
        }
    }

    /// The rules in the order of the file.
    pub fn rules(&self) -> &[Arc<GroupRule>] {
        &self.rules
    }

    /// The settings of an evaluation at `t_ms`, milliseconds.
    pub fn evaluation(&self, t_ms: i64) -> Evaluation {
        Evaluation {
            t_ms,
            interval_ms: self.interval_ms,
            offset_ms: self.query_offset_ms,
            limit: self.limit,
            external_url: self.external_url.clone(),
            restore: None,
        }
    }

    /// Evaluates all rules at `t_ms`, milliseconds, less the query offset.
    pub fn eval(&self, t_ms: i64, store: &mut dyn RuleStore) {
        let evaluation = self.evaluation(t_ms);
        for rule in &self.rules {
            let stored = rule.evaluate(&evaluation, store).and_then(|samples| {
                let write = rule.write_of(samples, &evaluation);
                let all: Vec<VectorSample> = write.samples.iter().chain(&write.stale).cloned().collect();
                store.append(&all).map_err(RuleError::Append)?;
                rule.wrote(write);
                Ok(())
            });
            rule.set_outcome(stored);
        }
    }

    /// When the group was evaluated last before `t_ms`, as the series of its rules say; none if it wrote nothing within
    /// `lookback_ms`. All times are milliseconds.
    ///
    /// # Errors
    /// A query failed.
    pub fn evaluated_before(
        &self,
        t_ms: i64,
        lookback_ms: i64,
        queries: &dyn RuleQueries,
    ) -> Result<Option<i64>, RuleError> {
        let before_ms = t_ms.saturating_sub(self.query_offset_ms).saturating_sub(1);
        for rule in &self.rules {
            if let Some(newest_ms) = rule.newest_sample(queries, before_ms, lookback_ms)? {
                return Ok(Some(newest_ms.saturating_add(self.query_offset_ms)));
            }
        }
        Ok(None)
    }

    /// The rules, by their positions, in batches that are evaluated one after another. The rules of one batch do not depend
    /// on each other. Without batches, whose expressions say too little, rules are evaluated in order.
    pub fn batches(&self) -> Vec<Vec<usize>> {
        let specs: Vec<_> = self.rules.iter().map(|rule| rule.spec()).collect();
        dependencies::batches(&specs)
    }

    /// Takes over the state of an earlier version of the group. Rules are the same if their names and labels are; among
    /// equal ones, the first continues the first. The series of rules that are gone are abandoned.
    pub fn continue_from(&self, earlier: &Group) {
        let mut left: Vec<&Arc<GroupRule>> = earlier.rules.iter().collect();
        for rule in &self.rules {
            let is_same = |other: &&Arc<GroupRule>| {
                let (a, b) = (rule.spec(), other.spec());
                a.kind == b.kind && a.name == b.name && a.labels == b.labels
            };
            if let Some(position) = left.iter().position(is_same) {
                rule.continue_from(left.remove(position));
            }
        }
        let mut abandoned = self.abandoned.lock();
        abandoned.extend(earlier.abandoned.lock().iter().cloned());
        abandoned.extend(left.into_iter().flat_map(|rule| rule.series()));
    }

    /// Forgets the state of all rules: another node evaluates the group from now on.
    pub fn forget(&self) {
        self.rules.iter().for_each(|rule| rule.forget());
        self.forget_abandoned();
    }

    /// Abandons all series: the group is gone.
    pub fn abandon(&self) {
        let series: Vec<Labels> = self.rules.iter().flat_map(|rule| rule.take_series()).collect();
        self.abandoned.lock().extend(series);
    }

    /// The stale markers of abandoned series at `at_ms`, milliseconds, except those that are written by a rule of this group
    /// or of another one (`is_written`).
    pub fn abandoned(&self, at_ms: i64, is_written: impl Fn(&Labels) -> bool) -> Vec<VectorSample> {
        let abandoned = self.abandoned.lock();
        let gone = abandoned.iter().filter(|labels| !self.writes(labels) && !is_written(labels));
        gone.map(|labels| stale(labels, at_ms)).collect()
    }

    /// Forgets the abandoned series: they have their stale markers.
    pub fn forget_abandoned(&self) {
        self.abandoned.lock().clear();
    }

    /// Whether the last evaluation of a rule wrote the series.
    pub fn writes(&self, labels: &Labels) -> bool {
        self.rules.iter().any(|rule| rule.writes(labels))
    }
}

/// Finds out which rules could write series of others, and restores the state of those less boldly. `groups` are all
/// groups of a server.
pub fn mark_collisions<'a>(groups: impl IntoIterator<Item = &'a Group>) {
    let mut by_name: std::collections::HashMap<(RuleKind, &str), Vec<&GroupRule>> = std::collections::HashMap::new();
    for rule in groups.into_iter().flat_map(|group| group.rules()) {
        by_name.entry((rule.spec().kind, rule.spec().name.as_str())).or_default().push(rule);
    }
    for rules in by_name.values() {
        for (at, rule) in rules.iter().enumerate() {
            // Whether any of many namesakes collides is not worth a long search.
            let collides = rules.len() > MAX_NAMESAKES
                || rules
                    .iter()
                    .enumerate()
                    .any(|(other_at, other)| other_at != at && crate::restore::may_collide(rule.spec(), other.spec()));
            rule.set_alone(!collides);
        }
    }
}

/// The number of rules of one name up to which each is compared with each.
const MAX_NAMESAKES: usize = 500;

#[cfg(test)]
mod tests;
