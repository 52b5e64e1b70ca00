//! The write path between nodes: an agent's stream of appends to an ingester, both ends of it.
//!
//! Samples are coded once for all replicas, shard by shard, by reference to the series of a [`Dictionary`]; a stream
//! ([`IngestClient`]) declares what it has not declared yet (`sent`), and [`Declared`] remembers it on the other side.

mod client;
mod declared;
mod dictionary;
mod sent;

#[cfg(test)]
mod tests;

pub use client::{IngestClient, MAX_MESSAGE};
pub use declared::{Declared, DeclaredError, read_copy};
pub use dictionary::{Dictionary, EncodedShard};
pub use sent::Openings;

use std::collections::BTreeMap;

use async_trait::async_trait;
use pharos_model::write::Rejected;
use pharos_model::{RejectReason, TenantId, WriteBatch, WriteError, WriteOutcome};

use crate::ingest_v1 as wire;

/// One shard of a request to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardTarget {
    /// The shard.
    pub shard: u32,
    /// Its epoch as the sender knows it.
    pub epoch: u64,
    /// Whether this replica counts what becomes of the samples: one replica of each shard does.
    pub counted: bool,
}

/// What is sent to the replicas of some shards: the batch itself for one in this process, the coded shards for others.
pub struct Shipment<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// All samples.
    pub batch: &'a WriteBatch,
    /// The same by shard, ascending; at least the shards that a remote replica gets.
    pub shards: Vec<EncodedShard>,
}

/// A replica's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Appended {
    /// What became of the samples that it was to count. All of it, and the others, are durable.
    pub outcome: WriteOutcome,
    /// What it refused of the others.
    pub uncounted: BTreeMap<RejectReason, Rejected>,
    /// The shards that it did not take because it knows a newer epoch, with that epoch.
    pub stale: Vec<(u32, u64)>,
}

/// Why a replica took nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReplicaError {
    /// It answered that it can't.
    #[error(transparent)]
    Refused(#[from] WriteError),
    /// It could not be asked, or did not answer. It may have taken the samples nevertheless.
    #[error("{0}")]
    Unreachable(String),
}

/// An ingester as agents see it, in this process or behind the network.
#[async_trait]
pub trait Replica: Send + Sync + 'static {
    /// Appends the samples of `targets` and answers when they are durable.
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

/// What was refused, for the network.
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

/// What was refused, from the network. A reason that this version does not know counts as bad labels: the message tells.
fn rejected_from(wire: Vec<wire::Rejected>) -> BTreeMap<RejectReason, Rejected> {
    let mut all: BTreeMap<RejectReason, Rejected> = BTreeMap::new();
    for wire::Rejected { reason, count, first } in wire {
        let reason = RejectReason::parse(&reason).unwrap_or(RejectReason::InvalidLabels);
        let rejected = all.entry(reason).or_insert_with(|| Rejected { count: 0, first });
        rejected.count = rejected.count.saturating_add(count.max(1));
    }
    all
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
