//! Bugs that are planted to show that the invariants find them.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An ingester accepts samples under any epoch.
    SkipFence,
    /// A learner asks for promotion before it has copied anything.
    PromoteEarly,
    /// An ingester drops a window once its block is uploaded, before it is committed.
    DropBeforeCommit,
    /// An ingester answers before its log is durable.
    AcknowledgeBeforeSync,
    /// A replica marks everything of a window as flushed if the catalogue has any block of it.
    MarkWithoutComparing,
    /// An agent continues without a replica that failed, and does not report it.
    SkipReport,
    /// An ingester that lost its disk answers for the lost shards until meta knows.
    AnswerForLostShards,
    /// An ingester that lost its disk reports it once and accepts any answer.
    ReportLossOnce,
    /// The source of a copy does not fence writers with older epochs.
    CopyWithoutFence,
}

impl Bug {
    /// All planted bugs.
    pub const ALL: [Bug; 9] = [
        Bug::SkipFence,
        Bug::PromoteEarly,
        Bug::DropBeforeCommit,
        Bug::AcknowledgeBeforeSync,
        Bug::MarkWithoutComparing,
        Bug::SkipReport,
        Bug::AnswerForLostShards,
        Bug::ReportLossOnce,
        Bug::CopyWithoutFence,
    ];

    /// Returns a seed below 1000 that finds the bug.
    pub fn seen_at(self) -> u64 {
        match self {
            Bug::AcknowledgeBeforeSync => 5,
            _ => 0,
        }
    }
}
