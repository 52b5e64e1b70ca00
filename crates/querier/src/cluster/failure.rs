//! Why a read has no response: it failed for good, or no node is left to ask for a part of it.

use pharos_model::{SelectError, ShardSet, TimeRange};
use pharos_transport::Completeness;
use pharos_transport::query::ReadError;

use super::route::Target;

/// Why a read has no response.
#[derive(Debug)]
pub(crate) enum ReadFailure {
    /// No other node would do better: the query is at fault, or has ended.
    Fatal(ReadError),
    /// No node is left to ask.
    Unavailable(Unavailable),
}

/// Data that no node could be asked for, and why the last one failed.
#[derive(Debug, Default)]
pub(crate) struct Unavailable {
    pub(super) shards: ShardSet,
    pub(super) time: Option<TimeRange>,
    pub(super) prior: PriorFailures,
}

/// How the nodes failed that were asked so far.
#[derive(Clone, Debug, Default)]
pub(super) struct PriorFailures {
    /// The error of the last one.
    pub(super) reason: Option<String>,
    /// Whether the last one refused, so that a newer view may help.
    pub(super) was_refused: bool,
    /// What those replicas have in common that have less than the plan relies on.
    pub(super) behind: Option<Completeness>,
}

impl PriorFailures {
    pub(super) fn with(&self, error: &ReadError) -> Self {
        PriorFailures {
            reason: Some(error.to_string()),
            was_refused: matches!(error, ReadError::Refused(_)),
            behind: self.behind_with(error),
        }
    }

    fn behind_with(&self, error: &ReadError) -> Option<Completeness> {
        let ReadError::Refused(refused) = error else { return self.behind };
        match (self.behind, refused.complete) {
            (Some(known), Some(complete)) => Some(known.and(complete)),
            (known, complete) => known.or(complete),
        }
    }
}

impl ReadFailure {
    /// What the replicas have that would have answered a plan which relies on less. `None` when there are no such replicas.
    pub(crate) fn behind(&self) -> Option<Completeness> {
        match self {
            ReadFailure::Unavailable(unavailable) => unavailable.prior.behind,
            ReadFailure::Fatal(_) => None,
        }
    }

    /// Adds the error of another node that was asked for the same.
    pub(super) fn and(mut self, error: &ReadError) -> Self {
        if let ReadFailure::Unavailable(unavailable) = &mut self {
            unavailable.prior.behind = unavailable.prior.behind_with(error);
        }
        self
    }
}

impl Unavailable {
    /// A whole target.
    pub(super) fn of(target: Target, prior: PriorFailures) -> Self {
        match target {
            Target::Shards(shards) => Unavailable { shards, time: None, prior },
            Target::Blocks(store_range) => {
                Unavailable { shards: ShardSet::new(), time: Some(store_range.range), prior }
            }
        }
    }

    pub(super) fn text(&self) -> String {
        let what = match self.time {
            Some(range) => format!("no store can answer for the blocks from {} to {}", range.start, range.end),
            None if self.shards.len() == 1 => format!("no replica of shard {} can answer", self.shards),
            None => format!("no replica of shards {} can answer", self.shards),
        };
        match &self.prior.reason {
            Some(reason) => format!("{what}: {reason}"),
            None => what,
        }
    }
}

impl From<ReadFailure> for SelectError {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Fatal(error) => error.into_select_error(),
            ReadFailure::Unavailable(unavailable) => SelectError::Storage(unavailable.text()),
        }
    }
}
