//! The samples of a test: input series, which appear as time passes, and results of rules.

use std::collections::{BTreeMap, HashMap};

use pharos_model::Labels;
use pharos_promql::promqltest::{MemoryStore, SeriesValue};
use pharos_promql::syntax::ast::Expr;
use pharos_promql::{Engine, QueryOptions};
use pharos_promql::{SampleValue, Value, VectorSample};
use pharos_rules::{QueryFailure, RuleQueries, RuleStore};

/// Samples in memory, and an engine that queries them.
pub(super) struct TestStore {
    engine: Engine,
    samples: MemoryStore,
    /// Input that has not appeared yet, the next sample last.
    pending: BTreeMap<Labels, Vec<(i64, SampleValue)>>,
    /// The newest sample of each series, to detect duplicates.
    newest: HashMap<Labels, (i64, SampleValue)>,
}

impl TestStore {
    pub(super) fn new(engine: Engine) -> Self {
        TestStore { engine, samples: MemoryStore::default(), pending: BTreeMap::new(), newest: HashMap::new() }
    }

    /// Adds an input series. It replaces one with the same labels.
    pub(super) fn input(&mut self, labels: Labels, values: &[SeriesValue], start_ms: i64, step_ms: i64) {
        let sample = |(at, value): (usize, &SeriesValue)| {
            let t = start_ms.saturating_add(step_ms.saturating_mul(at as i64));
            match value {
                SeriesValue::Omitted => None,
                SeriesValue::Float(v) => Some((t, SampleValue::Float(*v))),
                SeriesValue::Histogram(h, _) => Some((t, SampleValue::Histogram(h.clone()))),
            }
        };
        let samples: Vec<_> = values.iter().enumerate().filter_map(sample).collect();
        self.pending.insert(labels, samples.into_iter().rev().collect());
    }

    /// Appends all input up to a time.
    pub(super) fn advance(&mut self, t_ms: i64) -> Result<(), String> {
        let mut due = Vec::new();
        for (labels, samples) in &mut self.pending {
            let from = samples.partition_point(|(t, _)| *t > t_ms);
            let of = |(t, value)| VectorSample { labels: labels.clone(), t, value };
            due.extend(samples.drain(from..).rev().map(of));
        }
        self.append(&due)
    }

    /// The instant vector of an expression.
    pub(super) fn vector(&self, expr: &Expr, text: &str, t_ms: i64) -> Result<Vec<VectorSample>, String> {
        self.query(expr, text, t_ms, None).map_err(|failure| failure.reason)
    }
}

impl RuleQueries for TestStore {
    fn query(
        &self,
        expr: &Expr,
        text: &str,
        t_ms: i64,
        lookback_delta_ms: Option<i64>,
    ) -> Result<Vec<VectorSample>, QueryFailure> {
        let options = QueryOptions { text: text.to_string(), lookback_delta_ms, ..QueryOptions::default() };
        let output = self.engine.instant(&self.samples, expr, t_ms, &options).map_err(|error| error.to_string())?;
        match output.value {
            Value::Vector(vector) => Ok(vector),
            Value::Scalar(t, v) => Ok(vec![VectorSample { labels: Labels::empty(), t, value: SampleValue::Float(v) }]),
            _ => Err("rule result is not a vector or scalar".into()),
        }
    }
}

impl RuleStore for TestStore {
    fn append(&mut self, samples: &[VectorSample]) -> Result<(), String> {
        let mut histograms: BTreeMap<&Labels, Vec<_>> = BTreeMap::new();
        let mut refused = None;
        for sample in samples {
            if let Some((t, value)) = self.newest.get(&sample.labels)
                && *t == sample.t
            {
                if !same(value, &sample.value) {
                    refused = Some("duplicate sample for timestamp".to_string());
                }
                continue;
            }
            self.newest.insert(sample.labels.clone(), (sample.t, sample.value.clone()));
            match &sample.value {
                SampleValue::Float(v) => self.samples.add_floats(&sample.labels, [(sample.t, *v, 0)]),
                SampleValue::Histogram(h) => {
                    histograms.entry(&sample.labels).or_default().push((sample.t, h.clone(), 0));
                }
            }
        }
        let found_any = !histograms.is_empty();
        for (labels, histograms) in histograms {
            self.samples.add_histograms(labels, histograms);
        }
        if found_any {
            self.samples.finish_load();
        }
        refused.map_or(Ok(()), Err)
    }
}

fn same(a: &SampleValue, b: &SampleValue) -> bool {
    match (a, b) {
        (SampleValue::Float(a), SampleValue::Float(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}
