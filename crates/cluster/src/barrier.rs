//! How a deletion gets its place in the order of writes on every replica.

use futures::future::BoxFuture;
use pharos_model::{TenantId, WriteError};

/// Waits until a deletion holds everywhere. The distributor does so over all replicas, an ingester that is alone in its
/// process for its own head.
pub trait DeletionBarrier: Send + Sync + 'static {
    /// Returns once every replica of every shard that writes go to has applied the tenant's deletions up to `number`
    /// durably, or is out of sync. Writes that begin afterwards are not deleted by them.
    fn settle<'a>(&'a self, tenant: &'a TenantId, number: u64) -> BoxFuture<'a, Result<(), WriteError>>;
}
