//! Which shards of a batch are appended, and the outcomes that are reported for them.

use pharos_model::{ShardSet, WriteOutcome};

use crate::wal::Commit;

/// The shards of a batch that are appended, and those that count for the sender.
#[derive(Clone, Copy, Debug)]
pub struct AppendTargets<'a> {
    /// Shards to append. Series of other shards are skipped.
    pub taken: &'a ShardSet,
    /// Shards whose samples are counted in [`AppendOutcome::counted`]. The other shards get an outcome of their own, so that
    /// a batch sent to several replicas is counted once.
    pub counted: &'a ShardSet,
}

/// The result of [`Head::append_shards`](crate::Head::append_shards).
#[derive(Debug)]
pub struct AppendOutcome {
    /// What became of the samples of counted shards.
    pub counted: WriteOutcome,
    /// What became of the samples of other shards.
    pub uncounted: WriteOutcome,
    /// Resolves when the batch is durable.
    pub commit: Commit,
}

/// The outcomes of a batch while it is appended.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) counted: WriteOutcome,
    pub(crate) uncounted: WriteOutcome,
    /// Whether the series at hand is of a shard that is not counted.
    pub(super) is_uncounted: bool,
}

impl Outcomes {
    /// The outcome that the series at hand belongs to.
    #[inline]
    pub(super) fn current(&mut self) -> &mut WriteOutcome {
        if self.is_uncounted { &mut self.uncounted } else { &mut self.counted }
    }

    pub(super) fn took_samples(&self) -> bool {
        [&self.counted, &self.uncounted].iter().any(|outcome| outcome.samples + outcome.histograms > 0)
    }
}
