//! Which shards of a batch are appended, and the outcomes that are reported for them.

use pharos_model::write::{RefusedSample, SampleIndex};
use pharos_model::{RejectReason, ShardSet, WriteError, WriteOutcome};

use crate::wal::Commit;

/// Why a batch was not appended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The head takes no samples at the moment.
    #[error(transparent)]
    Refused(#[from] WriteError),
    /// The batch belongs after a certain deletion, and another one was applied last.
    #[error("the batch belongs after deletion {expected}, the head has applied deletions up to {applied}")]
    Deletions {
        /// The number of the deletion that the batch belongs after.
        expected: u64,
        /// The number of the newest deletion that was applied.
        applied: u64,
    },
}

impl From<AppendError> for WriteError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Refused(error) => error,
            AppendError::Deletions { .. } => WriteError::Unavailable(error.to_string()),
        }
    }
}

/// The shards of a batch that are appended, and those that count for the sender.
#[derive(Clone, Copy, Debug)]
pub struct AppendTargets<'a> {
    /// Shards to append. Series of other shards are skipped.
    pub taken: &'a ShardSet,
    /// Shards whose samples are counted in [`AppendOutcome::counted`]. The other shards get an outcome of their own, so that
    /// a batch sent to several replicas is counted once.
    pub counted: &'a ShardSet,
    /// The number of the deletion after which the samples belong: the newest that was applied, or nothing is appended. None
    /// appends in any case.
    pub deletions: Option<u64>,
}

/// The result of [`Head::append_shards`](crate::Head::append_shards).
#[derive(Debug)]
pub struct AppendOutcome {
    /// What became of the samples of counted shards.
    pub counted: WriteOutcome,
    /// What became of the samples of other shards.
    pub uncounted: WriteOutcome,
    /// The rejected floats and histograms, by their positions in the columns of the batch, in no particular order.
    pub refused: Vec<RefusedSample>,
    /// How many samples took the place of another value; see [`Head::append_copy`](crate::Head::append_copy).
    pub replaced: u64,
    /// Resolves when the batch is durable.
    pub commit: Commit,
}

/// The outcomes of a batch while it is appended.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) counted: WriteOutcome,
    pub(crate) uncounted: WriteOutcome,
    pub(crate) refused: Vec<RefusedSample>,
    pub(crate) replaced: u64,
    /// Whether the series at hand is of a shard that is not counted.
    pub(super) is_uncounted: bool,
}

impl Outcomes {
    /// The outcome that the series at hand belongs to.
    #[inline]
    pub(super) fn current(&mut self) -> &mut WriteOutcome {
        if self.is_uncounted { &mut self.uncounted } else { &mut self.counted }
    }

    /// Rejects a float or histogram.
    #[cold]
    pub(super) fn refuse(&mut self, sample: SampleIndex, reason: RejectReason, message: impl FnOnce() -> String) {
        self.refused.push(RefusedSample { sample, reason });
        self.current().reject(reason, message);
    }

    pub(super) fn took_samples(&self) -> bool {
        [&self.counted, &self.uncounted].iter().any(|outcome| outcome.samples + outcome.histograms > 0)
    }
}
