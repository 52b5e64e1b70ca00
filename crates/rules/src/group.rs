//! Groups of rules.
//!
//! The rules of a group are evaluated in order, and each one sees what the previous ones wrote. A series that a rule stops
//! to produce gets a stale marker. A rule that fails keeps its error and does not stop the group.

use std::collections::BTreeSet;
use std::sync::Arc;

use pharos_model::{Labels, Limit, STALE_NAN};
use pharos_promql::syntax::{self, ast::Expr};
use pharos_promql::{SampleValue, VectorSample};

use crate::alerting::AlertingRule;
use crate::error::RuleError;
use crate::file::{RuleGroup, RuleKind, RuleSpec, Texts};
use crate::recording::RecordingRule;
use crate::template::TemplateContext;

/// The storage of a group: answers queries and takes samples. Its methods block.
pub trait RuleStore {
    /// Evaluates an expression, whose text is `text`, to an instant vector. A scalar is a sample without labels.
    ///
    /// # Errors
    /// The reason why the expression cannot be evaluated.
    fn query(&self, expr: &Expr, text: &str, t_ms: i64) -> Result<Vec<VectorSample>, String>;

    /// Appends samples.
    ///
    /// # Errors
    /// The reason why a sample was not accepted.
    fn append(&mut self, samples: &[VectorSample]) -> Result<(), String>;
}

/// A rule with its state.
#[derive(Debug)]
pub enum Rule {
    /// A rule whose result becomes series.
    Recording(RecordingRule),
    /// A rule whose result becomes alerts.
    Alerting(AlertingRule),
}

impl Rule {
    /// The rule of the file, with the labels of its group.
    pub fn spec(&self) -> &RuleSpec {
        match self {
            Rule::Recording(rule) => &rule.spec,
            Rule::Alerting(rule) => &rule.spec,
        }
    }
}

/// The settings of a server that apply to all of its groups.
#[derive(Clone, Debug, Default)]
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
    options: GroupOptions,
    query_offset_ms: i64,
    limit: Limit,
    rules: Vec<RuleState>,
}

#[derive(Debug)]
struct RuleState {
    rule: Rule,
    /// The series that the previous evaluation wrote.
    series: BTreeSet<Labels>,
    error: Option<RuleError>,
}

impl Group {
    /// A group of a file that was never evaluated.
    pub fn new(group: &RuleGroup, options: &GroupOptions) -> Self {
        let rule = |spec: &RuleSpec| match spec.kind {
            RuleKind::Recording => Rule::Recording(RecordingRule::new(spec.clone(), &group.labels)),
            RuleKind::Alerting => {
                let external = options.external_labels.clone();
                Rule::Alerting(AlertingRule::new(spec.clone(), &group.labels, external))
            }
        };
        let state = |spec| RuleState { rule: rule(spec), series: BTreeSet::new(), error: None };
        Group {
            name: group.name.clone(),
            interval_ms: group.interval_ms.unwrap_or(options.interval_ms),
            options: options.clone(),
            query_offset_ms: group.query_offset_ms.unwrap_or(options.query_offset_ms),
            limit: group.limit,
            rules: group.rules.iter().map(state).collect(),
        }
    }

    /// The rules, each with the error of its last evaluation.
    pub fn rules(&self) -> impl Iterator<Item = (&Rule, Option<&RuleError>)> {
        self.rules.iter().map(|state| (&state.rule, state.error.as_ref()))
    }

    /// Evaluates all rules at `t_ms`, milliseconds, less the query offset.
    pub fn eval(&mut self, t_ms: i64, store: &mut dyn RuleStore) {
        let at_ms = t_ms.saturating_sub(self.query_offset_ms);
        for state in &mut self.rules {
            let spec = state.rule.spec();
            let samples = store.query(&spec.expr, &spec.text, at_ms).map_err(RuleError::Query).and_then(|result| {
                let query = |text: &str| {
                    let expr = syntax::parse(text).map_err(|error| error.to_string())?;
                    store.query(&expr, text, t_ms)
                };
                let context = TemplateContext { t_ms, external_url: &self.options.external_url, query: &query };
                match &mut state.rule {
                    Rule::Recording(rule) => rule.samples(result, self.limit),
                    Rule::Alerting(rule) => rule.update(t_ms, self.query_offset_ms, &result, &context, self.limit),
                }
            });
            state.error = samples.and_then(|samples| state.keep(samples, at_ms, store)).err();
        }
    }
}

impl RuleState {
    /// Writes the samples, and stale markers for series that the rule does not produce any more.
    fn keep(&mut self, mut samples: Vec<VectorSample>, at_ms: i64, store: &mut dyn RuleStore) -> Result<(), RuleError> {
        let series: BTreeSet<Labels> = samples.iter().map(|sample| sample.labels.clone()).collect();
        let vanished = self.series.difference(&series);
        let stale =
            |labels: &Labels| VectorSample { labels: labels.clone(), t: at_ms, value: SampleValue::Float(STALE_NAN) };
        samples.iter_mut().for_each(|sample| sample.t = at_ms);
        samples.extend(vanished.map(stale));
        self.series = series;
        store.append(&samples).map_err(RuleError::Append)
    }
}

#[cfg(test)]
mod tests;
