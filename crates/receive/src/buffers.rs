//! Reusable memory of requests: the body, its decompressed form and the batch.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::Mutex;
use pharos_model::WriteBatch;

/// The memory of one request.
#[derive(Default, Debug)]
pub(super) struct Buffers {
    /// The body as it was sent.
    pub(super) body: Vec<u8>,
    /// Space for the decompressed body. Its length is that of the largest body so far, not of the current one.
    pub(super) plain: Vec<u8>,
    /// The decoded request.
    pub(super) batch: WriteBatch,
}

/// The number of buffers that are kept.
const MAX_POOLED: usize = 16;
/// The largest buffers that are kept, bytes.
const MAX_POOLED_BYTES: usize = 8 << 20;

/// Buffers that no request uses.
#[derive(Default, Debug)]
pub(super) struct BufferPool(Mutex<Vec<Buffers>>);

impl BufferPool {
    /// Lends buffers to a request. They return to the pool when they are dropped.
    pub(super) fn lease(self: &Arc<Self>) -> Lease {
        let buffers = self.0.lock().pop().unwrap_or_default();
        Lease { buffers, pool: self.clone() }
    }

    fn put(&self, mut buffers: Buffers) {
        if buffers.body.capacity() + buffers.plain.capacity() + buffers.batch.bytes() > MAX_POOLED_BYTES {
            return;
        }
        buffers.body.clear();
        buffers.batch.clear();
        let mut kept = self.0.lock();
        if kept.len() < MAX_POOLED {
            kept.push(buffers);
        }
    }
}

/// Buffers that belong to a request until they are dropped.
pub(super) struct Lease {
    buffers: Buffers,
    pool: Arc<BufferPool>,
}

impl Deref for Lease {
    type Target = Buffers;

    fn deref(&self) -> &Buffers {
        &self.buffers
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Buffers {
        &mut self.buffers
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_buffers_are_reused() {
        let pool = Arc::new(BufferPool::default());
        let mut lease = pool.lease();
        lease.body.extend_from_slice(b"x");
        lease.plain.resize(1000, 1);
        drop(lease);
        let lease = pool.lease();
        assert!(lease.body.is_empty());
        assert_eq!(lease.plain.len(), 1000);
    }

    #[test]
    fn large_buffers_are_freed() {
        let pool = Arc::new(BufferPool::default());
        let mut lease = pool.lease();
        lease.plain.resize(MAX_POOLED_BYTES + 1, 0);
        drop(lease);
        assert!(pool.lease().plain.is_empty());
    }

    #[test]
    fn the_pool_keeps_a_limited_number_of_buffers() {
        let pool = Arc::new(BufferPool::default());
        let leases: Vec<Lease> = (0..MAX_POOLED + 5).map(|_| pool.lease()).collect();
        drop(leases);
        assert_eq!(pool.0.lock().len(), MAX_POOLED);
    }
}
