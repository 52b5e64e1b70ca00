//! Bugs that are put in on purpose, to see that they are found.

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An ingester takes samples under any epoch.
    SkipFence,
    /// A learner asks to be in sync before it has copied anything.
    PromoteEarly,
    /// An ingester drops a window when its block is uploaded, not when the catalogue has it.
    DropBeforeCommit,
    /// An ingester answers before its log is durable.
    AcknowledgeBeforeSync,
    /// A replica takes all it has of a window as flushed when the catalogue has any block of it.
    MarkWithoutComparing,
    /// An agent goes on without a replica that failed, and does not report it.
    SkipReport,
    /// An ingester that lost its disk answers for what it lost until meta knows of it.
    AnswerForLostShards,
    /// An ingester that lost its disk says so once, and takes any answer for a good one.
    ReportLossOnce,
    /// The source of a copy does not fence the writers of before.
    CopyWithoutFence,
}

impl Bug {
    /// All of them.
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

    /// A seed below 1000 that has found it.
    pub fn seen_at(self) -> u64 {
        match self {
            Bug::AcknowledgeBeforeSync => 5,
            _ => 0,
        }
    }
}
