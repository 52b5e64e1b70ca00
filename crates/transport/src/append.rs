//! The write path between nodes: both ends of the stream that carries appends from an agent to an ingester.
//!
//! The sender encodes the samples of a shard once for all replicas. Encoded samples refer to series by their numbers
//! in a [`Dictionary`]. Each stream ([`IngestClient`]) declares a series before the first sample that refers to it, and
//! the receiver keeps the declarations in [`Declared`].

mod client;
mod declared;
mod dictionary;
mod refused;
mod sent;

#[cfg(test)]
mod tests;

pub use client::{IngestClient, MAX_MESSAGE};
pub use declared::{Declared, DeclaredError, read_copy};
pub use dictionary::{Dictionary, EncodedShard};
pub use refused::refused_to;
pub use sent::Openings;

use std::collections::BTreeMap;

use async_trait::async_trait;
use pharos_model::write::{RefusedByShard, Rejected};
use pharos_model::{RejectReason, TenantId, WriteBatch, WriteError, WriteOutcome};

use crate::ingest_v1 as wire;

/// The header of a response to `Copy` that names the shards of which the source has lost samples, as text. What the source lacks of them
/// says nothing about what the learner has. Sources of earlier versions do not send it.
pub const LOST_AT_SOURCE: &str = "pharos-lost-at-source";

/// One shard of a request to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardTarget {
    /// The shard's number.
    pub shard: u32,
    /// The shard's epoch in the sender's view.
    pub epoch: u64,
    /// Whether this replica reports the outcome of the samples. Exactly one replica of each shard does.
    pub counted: bool,
}

/// What becomes of the samples of a shipment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// The replica accepts or rejects each sample.
    #[default]
    Append,
    /// The shard's leader has accepted the samples. They replace other values, whatever their age and the tenant's limits.
    Force,
    /// The shard's leader has rejected the samples. The replica removes those that it has accepted.
    Retract,
}

/// A write on its way to replicas. A replica in this process reads the batch; remote replicas get the encoded shards.
pub struct Shipment<'a> {
    /// What becomes of the samples.
    pub action: Action,
    /// The tenant that owns the samples.
    pub tenant: &'a TenantId,
    /// All samples of the write. An empty batch only makes replicas apply the deletion.
    pub batch: &'a WriteBatch,
    /// The number of the tenant's newest deletion in the sender's view. A replica appends the samples after exactly this
    /// deletion. None appends them wherever the replica is, as senders of versions without numbers do.
    pub deletions: Option<u64>,
    /// The encoded samples, ascending by shard. Contains at least the shards that have a remote replica.
    pub shards: Vec<EncodedShard>,
}

/// A replica's response to an append.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Appended {
    /// The outcome of the samples in counted targets. All accepted samples are durable, counted or not.
    pub outcome: WriteOutcome,
    /// Rejected samples of the targets that this replica does not count.
    pub uncounted: BTreeMap<RejectReason, Rejected>,
    /// The shards that the replica did not append to because it knows a newer epoch, each with that epoch.
    pub stale: Vec<(u32, u64)>,
    /// The number of the replica's newest deletion, if that is newer than the shipment's. Nothing was appended.
    pub newer_deletion: Option<u64>,
    /// The rejected samples of all targets, by their numbers within the shards. `None` from a replica of an older version, which
    /// does not name them and knows no other action than [`Action::Append`].
    pub refused: Option<RefusedByShard>,
    /// The shards of which the replica has lost samples. It cannot know which samples may stay there, so others need not agree with
    /// it; where they do not, the write waits until it has caught up.
    pub undecided: Vec<u32>,
}

/// The reason why an append to a replica failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The replica refused the append.
    #[error(transparent)]
    Refused(#[from] WriteError),
    /// The replica could not be reached or did not respond. It may have appended the samples nevertheless.
    #[error("{0}")]
    Unreachable(String),
}

/// An ingester that agents write to, in this process or on another node.
#[async_trait]
pub trait Replica: Send + Sync + 'static {
    /// Appends the samples of `targets` and returns once they are durable.
    async fn append(&self, shipment: &Shipment<'_>, targets: &[ShardTarget]) -> Result<Appended, ReplicaError>;
}

impl From<&WriteOutcome> for wire::WriteOutcome {
    fn from(outcome: &WriteOutcome) -> Self {
        wire::WriteOutcome {
            samples: outcome.samples,
            histograms: outcome.histograms,
            exemplars: outcome.exemplars,
            new_series: outcome.new_series,
            rejected: rejected_to(&outcome.rejected),
        }
    }
}

/// Encodes rejected samples for the wire, one message for each reason.
pub fn rejected_to(rejected: &BTreeMap<RejectReason, Rejected>) -> Vec<wire::Rejected> {
    let to = |(reason, rejected): (&RejectReason, &Rejected)| wire::Rejected {
        reason: reason.as_str().into(),
        count: rejected.count,
        first: rejected.first.clone(),
    };
    rejected.iter().map(to).collect()
}

fn outcome_from(wire: wire::WriteOutcome) -> WriteOutcome {
    WriteOutcome {
        samples: wire.samples,
        histograms: wire.histograms,
        exemplars: wire.exemplars,
        new_series: wire.new_series,
        rejected: rejected_from(wire.rejected),
    }
}

/// Decodes rejected samples. A reason that this version does not know becomes [`RejectReason::InvalidLabels`]; the
/// message still carries the details.
fn rejected_from(wire: Vec<wire::Rejected>) -> BTreeMap<RejectReason, Rejected> {
    let mut all: BTreeMap<RejectReason, Rejected> = BTreeMap::new();
    for wire::Rejected { reason, count, first } in wire {
        let reason = RejectReason::parse(&reason).unwrap_or(RejectReason::InvalidLabels);
        let rejected = all.entry(reason).or_insert_with(|| Rejected { count: 0, first });
        rejected.count = rejected.count.saturating_add(count.max(1));
    }
    all
}

impl From<Action> for wire::Action {
    fn from(action: Action) -> Self {
        match action {
            Action::Append => wire::Action::Append,
            Action::Force => wire::Action::Force,
            Action::Retract => wire::Action::Retract,
        }
    }
}

impl From<wire::Action> for Action {
    fn from(wire: wire::Action) -> Self {
        match wire {
            wire::Action::Append => Action::Append,
            wire::Action::Force => Action::Force,
            wire::Action::Retract => Action::Retract,
        }
    }
}

impl From<&WriteError> for wire::Failure {
    fn from(error: &WriteError) -> Self {
        wire::Failure { overloaded: matches!(error, WriteError::Overloaded(_)), message: error.to_string() }
    }
}

impl From<wire::Failure> for WriteError {
    fn from(failure: wire::Failure) -> Self {
        match failure.overloaded {
            true => WriteError::Overloaded(failure.message),
            false => WriteError::Unavailable(failure.message),
        }
    }
}
