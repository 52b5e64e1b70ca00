//! Groups: their rules are evaluated one after the other, each sees what those before it have written, and series that a
//! rule no longer gives are marked as stale.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pharos_model::{Labels, STALE_NAN};
use pharos_promql::syntax::{self, ast::Expr};
use pharos_promql::{SampleValue, VectorSample};

use crate::alerting::AlertingRule;
use crate::file::{RuleGroup, RuleKind, RuleSpec, Texts};
use crate::recording::RecordingRule;
use crate::template::TemplateContext;

/// Answers the queries of rules and takes their samples. Blocks.
pub trait RuleStore {
    /// The instant vector of an expression; a scalar is a sample without labels.
    ///
    /// # Errors
    /// Why it cannot be evaluated.
    fn query(&self, expr: &Expr, text: &str, t_ms: i64) -> Result<Vec<VectorSample>, String>;

    /// Keeps samples.
    ///
    /// # Errors
    /// Why one of them was not taken.
    fn append(&mut self, samples: &[VectorSample]) -> Result<(), String>;
}

/// Why a rule was not evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Its expression failed.
    #[error("{0}")]
    Query(String),
    /// Its samples were not taken.
    #[error("{0}")]
    Append(String),
    /// A recording rule gives a series twice.
    #[error("vector contains metrics with the same labelset after applying rule labels")]
    DuplicateSeries,
    /// An alerting rule gives an alert twice.
    #[error("vector contains metrics with the same labelset after applying alert labels")]
    DuplicateAlerts,
    /// A recording rule gives more series than it may.
    #[error("exceeded limit of {limit} with {found} series")]
    TooManySeries {
        /// The most.
        limit: usize,
        /// How many there were.
        found: usize,
    },
    /// An alerting rule gives more alerts than it may.
    #[error("exceeded limit of {limit} with {found} alerts")]
    TooManyAlerts {
        /// The most.
        limit: usize,
        /// How many there were.
        found: usize,
    },
}

/// A rule with its state.
#[derive(Debug)]
pub enum Rule {
    /// Its result becomes series.
    Recording(RecordingRule),
    /// Its result becomes alerts.
    Alerting(AlertingRule),
}

impl Rule {
    /// What the file says of it.
    pub fn spec(&self) -> &RuleSpec {
        match self {
            Rule::Recording(rule) => &rule.spec,
            Rule::Alerting(rule) => &rule.spec,
        }
    }
}

/// What a group needs to know of the server.
#[derive(Clone, Debug, Default)]
pub struct GroupOptions {
    /// Interval of groups that name none, milliseconds.
    pub interval_ms: i64,
    /// Labels that templates see.
    pub external_labels: Arc<Texts>,
    /// The URL that templates see.
    pub external_url: String,
    /// Offset of groups that name none, milliseconds.
    pub query_offset_ms: i64,
}

/// A group with the state of its rules.
#[derive(Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Time between evaluations, milliseconds.
    pub interval_ms: i64,
    options: GroupOptions,
    query_offset_ms: i64,
    limit: usize,
    rules: Vec<RuleState>,
}

#[derive(Debug)]
struct RuleState {
    rule: Rule,
    /// The series of the evaluation before.
    series: BTreeSet<Labels>,
    error: Option<RuleError>,
}

impl Group {
    /// A group of a file.
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

    /// The rules with the error of their last evaluation.
    pub fn rules(&self) -> impl Iterator<Item = (&Rule, Option<&RuleError>)> {
        self.rules.iter().map(|state| (&state.rule, state.error.as_ref()))
    }

    /// Evaluates all rules at a time.
    pub fn eval(&mut self, t_ms: i64, store: &mut dyn RuleStore) {
        let at_ms = t_ms.saturating_sub(self.query_offset_ms);
        for state in &mut self.rules {
            let spec = state.rule.spec();
            let samples = store.query(&spec.expr, &spec.text, at_ms).map_err(RuleError::Query).and_then(|result| {
                let query = |text: &str| {
                    let expr = syntax::parse(text).map_err(|error| error.to_string())?;
                    store.query(&expr, text, t_ms)
                };
                let around = TemplateContext { t_ms, external_url: &self.options.external_url, query: &query };
                match &mut state.rule {
                    Rule::Recording(rule) => rule.samples(result, self.limit),
                    Rule::Alerting(rule) => rule.update(t_ms, self.query_offset_ms, &result, &around, self.limit),
                }
            });
            state.error = samples.and_then(|samples| state.keep(samples, at_ms, store)).err();
        }
    }
}

impl RuleState {
    /// Writes the samples, and stale markers for series that have gone.
    fn keep(&mut self, mut samples: Vec<VectorSample>, at_ms: i64, store: &mut dyn RuleStore) -> Result<(), RuleError> {
        let series: BTreeSet<Labels> = samples.iter().map(|sample| sample.labels.clone()).collect();
        let gone = self.series.difference(&series);
        let stale =
            |labels: &Labels| VectorSample { labels: labels.clone(), t: at_ms, value: SampleValue::Float(STALE_NAN) };
        samples.iter_mut().for_each(|sample| sample.t = at_ms);
        samples.extend(gone.map(stale));
        self.series = series;
        store.append(&samples).map_err(RuleError::Append)
    }
}

/// Whether no two samples have the same labels.
pub(crate) fn without_duplicates(samples: &[VectorSample]) -> bool {
    let mut seen = BTreeMap::new();
    samples.iter().all(|sample| seen.insert(&sample.labels, ()).is_none())
}

#[cfg(test)]
mod tests;
