//! Charges reads from object stores to the budget of the query that waits for them.

use std::sync::Arc;

use pharos_model::Budget;

tokio::task_local! {
    static BUDGET: Arc<Budget>;
}

/// Runs `work` on behalf of a query. Bytes that it reads from object stores are charged to the budget of the query; hits in
/// the cache are free.
pub async fn accounted<T>(budget: Arc<Budget>, work: impl Future<Output = T>) -> T {
    BUDGET.scope(budget, work).await
}

/// Charges a request that has read this many bytes.
pub(super) fn count(bytes: usize) {
    // Reads outside of a query are not charged to anyone.
    let _ = BUDGET.try_with(|budget| budget.count_read(bytes as u64));
}
