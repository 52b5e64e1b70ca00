//! Who a read is for: what is read from a block's objects while a query waits counts in the query's budget.

use std::sync::Arc;

use pharos_model::Budget;

tokio::task_local! {
    static BUDGET: Arc<Budget>;
}

/// Does `work` for a query: what it reads from objects is counted in the query's budget. What is found in the cache is
/// not read.
pub async fn accounted<T>(budget: Arc<Budget>, work: impl Future<Output = T>) -> T {
    BUDGET.scope(budget, work).await
}

/// Counts a request that has read this many bytes.
pub(super) fn count(bytes: usize) {
    // Reads that are for no query are nobody's.
    let _ = BUDGET.try_with(|budget| budget.count_read(bytes as u64));
}
