//! The outcome of a write, from the answers of all replicas.

use std::collections::BTreeMap;

use pharos_model::write::RefusedSample;
use pharos_model::{RejectReason, WriteOutcome};
use pharos_transport::append::Appended;

use crate::progress::{Correction, Progress};

/// The answers so far.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    counted: WriteOutcome,
    /// What replicas rejected that do not count.
    uncounted: WriteOutcome,
    /// Like `uncounted`, of replicas that name the rejected samples and were made to agree with the leader.
    named: WriteOutcome,
}

impl Outcome {
    /// Adds the answer of a replica.
    pub(super) fn absorb(&mut self, appended: Appended) {
        self.counted.absorb(appended.outcome);
        let uncounted = if appended.refused.is_some() { &mut self.named } else { &mut self.uncounted };
        uncounted.merge_rejections_of_replica(appended.uncounted);
    }

    /// The outcome of a write that is done.
    pub(super) fn finish(self, progress: &Progress) -> WriteOutcome {
        let Outcome { counted: mut outcome, uncounted, named } = self;
        let messages: BTreeMap<RejectReason, String> =
            named.rejected.iter().map(|(reason, rejected)| (*reason, rejected.first.clone())).collect();
        for correction in progress.corrections() {
            correct(&mut outcome, *correction, &messages);
        }
        outcome.merge_rejections_of_replica(uncounted.rejected);
        if progress.has_unnamed_verdicts() {
            outcome.merge_rejections_of_replica(named.rejected);
        }
        outcome
    }
}

fn correct(outcome: &mut WriteOutcome, correction: Correction, messages: &BTreeMap<RejectReason, String>) {
    let (Correction::Rejected(refused) | Correction::Accepted(refused)) = correction;
    let RefusedSample { sample, reason } = refused;
    let accepted = if sample.is_histogram { &mut outcome.histograms } else { &mut outcome.samples };
    match correction {
        Correction::Rejected(_) => {
            *accepted = accepted.saturating_sub(1);
            outcome.reject(reason, || messages.get(&reason).cloned().unwrap_or_default());
        }
        Correction::Accepted(_) => {
            *accepted += 1;
            if let Some(rejected) = outcome.rejected.get_mut(&reason) {
                rejected.count = rejected.count.saturating_sub(1);
            }
            outcome.rejected.retain(|_, rejected| rejected.count > 0);
        }
    }
}

#[cfg(test)]
mod tests;
