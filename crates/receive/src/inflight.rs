//! The limit on the memory of all requests together. A request reserves bytes while it is read and decoded, and releases them
//! when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The requests in flight hold as much memory as they may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "requests in flight hold {used} bytes and this one needs {more} more, over the limit max_inflight_requests_size of {limit}"
)]
pub(super) struct Full {
    used: usize,
    more: usize,
    limit: usize,
}

/// The bytes of all requests in flight.
#[derive(Debug)]
pub(super) struct Inflight {
    limit: usize,
    used: AtomicUsize,
}

impl Inflight {
    /// Creates a limit, bytes.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Inflight { limit, used: AtomicUsize::new(0) })
    }

    /// The bytes that are reserved now.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// The bytes that one request has reserved, released when this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    inflight: Arc<Inflight>,
    bytes: usize,
}

impl Taken {
    /// A reservation of no bytes.
    pub(super) fn none(inflight: &Arc<Inflight>) -> Self {
        Taken { inflight: inflight.clone(), bytes: 0 }
    }

    /// Reserves more bytes; fails when that would exceed the limit.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Full> {
        let limit = self.inflight.limit;
        let add = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= limit);
        match self.inflight.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(used) => Err(Full { used, more: bytes, limit }),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.inflight.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Taken {
    /// A reservation that never fails.
    pub(super) fn unlimited() -> Self {
        Taken::none(&Inflight::new(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_never_exceed_the_limit() {
        let inflight = Inflight::new(100);
        let mut first = Taken::none(&inflight);
        first.take(60).unwrap();
        let mut second = Taken::none(&inflight);
        assert_eq!(second.take(41), Err(Full { used: 60, more: 41, limit: 100 }));
        second.take(40).unwrap();
        assert_eq!(inflight.used(), 100);
    }

    #[test]
    fn a_failed_reservation_reserves_nothing() {
        let inflight = Inflight::new(100);
        let mut reservation = Taken::none(&inflight);
        reservation.take(60).unwrap();
        assert!(reservation.take(usize::MAX).is_err(), "the sum overflows");
        assert_eq!(inflight.used(), 60);
    }

    #[test]
    fn dropped_reservations_are_released() {
        let inflight = Inflight::new(100);
        let mut first = Taken::none(&inflight);
        let mut second = Taken::none(&inflight);
        first.take(60).unwrap();
        second.take(40).unwrap();
        drop(first);
        assert_eq!(inflight.used(), 40);
        drop(second);
        assert_eq!(inflight.used(), 0);
    }
}
