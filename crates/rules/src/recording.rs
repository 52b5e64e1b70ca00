//! Recording rules: they store the result of an expression under another name.

use std::collections::BTreeSet;

use pharos_model::{LabelsBuilder, Limit, METRIC_NAME};
use pharos_promql::VectorSample;

use crate::error::RuleError;
use crate::file::{RuleSpec, Texts};

/// A recording rule.
#[derive(Clone, Debug)]
pub struct RecordingRule {
    /// The rule of the file, with the labels of its group.
    pub spec: RuleSpec,
}

impl RecordingRule {
    /// A rule of a group that has labels of its own. Labels of the rule take precedence.
    pub fn new(mut spec: RuleSpec, group_labels: &Texts) -> Self {
        spec.labels = group_labels.iter().chain(&spec.labels).map(|(n, v)| (n.clone(), v.clone())).collect();
        RecordingRule { spec }
    }

    /// Turns the result of the expression into the samples of the rule. `limit` bounds their number.
    ///
    /// # Errors
    /// Two samples have the same labels, or there are too many.
    pub fn samples(&self, mut result: Vec<VectorSample>, limit: Limit) -> Result<Vec<VectorSample>, RuleError> {
        for sample in &mut result {
            let mut labels = LabelsBuilder::from_labels(&sample.labels);
            labels.set(METRIC_NAME, &self.spec.name);
            for (name, value) in &self.spec.labels {
                labels.set(name, value);
            }
            sample.labels = labels.build();
        }
        if !without_duplicates(&result) {
            return Err(RuleError::DuplicateSeries);
        }
        if limit.is_exceeded_by(result.len()) {
            return Err(RuleError::TooManySeries { limit: limit.or_max(), found: result.len() });
        }
        Ok(result)
    }
}

/// Whether no two samples have the same labels.
fn without_duplicates(samples: &[VectorSample]) -> bool {
    let mut seen = BTreeSet::new();
    samples.iter().all(|sample| seen.insert(&sample.labels))
}

#[cfg(test)]
mod tests;
