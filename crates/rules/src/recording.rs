//! Recording rules: the result of an expression under another name.

use pharos_model::{LabelsBuilder, METRIC_NAME};
use pharos_promql::VectorSample;

use crate::file::{RuleSpec, Texts};
use crate::group::{RuleError, without_duplicates};

/// A recording rule.
#[derive(Clone, Debug)]
pub struct RecordingRule {
    /// What the file says, with the labels of the group added.
    pub spec: RuleSpec,
}

impl RecordingRule {
    /// A rule of a group with these labels.
    pub fn new(mut spec: RuleSpec, group_labels: &Texts) -> Self {
        spec.labels = group_labels.iter().chain(&spec.labels).map(|(n, v)| (n.clone(), v.clone())).collect();
        RecordingRule { spec }
    }

    /// Makes the rule's samples of its expression's result. `limit` is the most series, 0 for any number.
    ///
    /// # Errors
    /// Two series became one, or there are too many.
    pub fn samples(&self, mut result: Vec<VectorSample>, limit: usize) -> Result<Vec<VectorSample>, RuleError> {
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
        if limit > 0 && result.len() > limit {
            return Err(RuleError::TooManySeries { limit, found: result.len() });
        }
        Ok(result)
    }
}
