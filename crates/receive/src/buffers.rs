//! Memory that requests take turns to use: the body, what it decompresses to and the batch that it decodes to.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use pharos_model::WriteBatch;

/// The memory of one request.
#[derive(Default, Debug)]
pub(super) struct Buffers {
    /// The body as it was sent.
    pub(super) body: Vec<u8>,
    /// Room for the decompressed body; its length is the largest so far, not that of the request at hand.
    pub(super) plain: Vec<u8>,
    /// What the request decodes to.
    pub(super) batch: WriteBatch,
}

/// Most buffers that are kept.
const KEPT: usize = 16;
/// Buffers that a large request has made larger than this are not kept, bytes.
const KEPT_BYTES: usize = 8 << 20;

/// Buffers that wait for the next request.
#[derive(Default, Debug)]
pub(super) struct BufferPool(Mutex<Vec<Buffers>>);

impl BufferPool {
    /// Buffers for a request; they come back when they are dropped.
    pub(super) fn lease(self: &Arc<Self>) -> Lease {
        let buffers = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        Lease { buffers, pool: self.clone() }
    }

    fn put(&self, mut buffers: Buffers) {
        if buffers.body.capacity() + buffers.plain.capacity() + buffers.batch.bytes() > KEPT_BYTES {
            return;
        }
        buffers.body.clear();
        buffers.batch.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(buffers);
        }
    }
}

/// Buffers on loan.
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
    fn memory_is_used_again_unless_it_is_much() {
        let pool = Arc::new(BufferPool::default());
        let mut lease = pool.lease();
        lease.body.extend_from_slice(b"x");
        lease.plain.resize(1000, 1);
        drop(lease);
        let mut lease = pool.lease();
        assert!(lease.body.is_empty() && lease.plain.len() == 1000);
        lease.plain.resize(KEPT_BYTES + 1, 0);
        drop(lease);
        assert!(pool.lease().plain.is_empty());
    }
}
