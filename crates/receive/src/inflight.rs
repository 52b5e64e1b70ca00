//! Bounds the memory of requests: bytes are taken while a request is read and decoded, and given back when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::ReceiveError;

/// The bytes of all requests at a time.
#[derive(Debug)]
pub(super) struct Inflight {
    limit: usize,
    used: AtomicUsize,
}

impl Inflight {
    /// At most `limit` bytes.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Inflight { limit, used: AtomicUsize::new(0) })
    }

    /// The bytes that are taken.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// What one request has taken.
#[derive(Debug)]
pub(super) struct Taken {
    inflight: Arc<Inflight>,
    bytes: usize,
}

impl Taken {
    /// Nothing yet.
    pub(super) fn none(inflight: &Arc<Inflight>) -> Self {
        Taken { inflight: inflight.clone(), bytes: 0 }
    }

    /// Takes more bytes, or says that the node has too much to do.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), ReceiveError> {
        let limit = self.inflight.limit;
        let add = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= limit);
        match self.inflight.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(used) => Err(ReceiveError::Overloaded(format!(
                "requests in flight hold {used} bytes and this one needs {bytes} more, over max_inflight_bytes of {limit}"
            ))),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.inflight.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_and_never_over_the_limit() {
        let inflight = Inflight::new(100);
        let mut first = Taken::none(&inflight);
        first.take(60).unwrap();
        let mut second = Taken::none(&inflight);
        assert!(matches!(second.take(41), Err(ReceiveError::Overloaded(_))));
        assert!(second.take(usize::MAX).is_err());
        second.take(40).unwrap();
        assert_eq!(inflight.used(), 100);
        drop(first);
        assert_eq!(inflight.used(), 40);
        drop(second);
        assert_eq!(inflight.used(), 0);
    }
}
