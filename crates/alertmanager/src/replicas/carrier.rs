//! How a call reaches another replica: over HTTP between processes of `pharos alertmanager`, or as nodes of a cluster call
//! each other.

use bytes::Bytes;
use futures::future::BoxFuture;

/// The largest call or answer, bytes.
pub(crate) const MAX_BYTES: usize = 256 << 20;

/// Carries calls to other replicas.
pub trait Carrier: Send + Sync {
    /// Sends a call to `host:port` and returns the answer. The caller limits the time.
    ///
    /// # Errors
    /// The replica did not answer, or refused the call.
    fn carry<'a>(&'a self, address: &'a str, call: Bytes) -> BoxFuture<'a, Result<Bytes, String>>;
}
