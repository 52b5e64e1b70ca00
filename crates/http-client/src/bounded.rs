//! A body that is read: bounded by its own limit, and together with the other large bodies of the process.

use std::io::{Error, ErrorKind, Write};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Bodies above this are large, bytes.
const LARGE_BYTES: usize = 8 << 20;
const UNIT: u32 = 20;
/// What all large bodies of the process may take at one time, MiB.
const LARGE_BODIES_MIB: usize = 1024;

static LARGE_BODIES: Semaphore = Semaphore::const_new(LARGE_BODIES_MIB);

/// The share of a large body in what all of them may take, until it is dropped.
pub type Share = Option<SemaphorePermit<'static>>;

/// Appends to a body until its limit.
pub(super) struct Bounded<'a> {
    body: &'a mut Vec<u8>,
    /// Bytes.
    limit: u64,
    all: &'static Semaphore,
    share: Share,
}

impl<'a> Bounded<'a> {
    pub(super) fn new(body: &'a mut Vec<u8>, limit: u64) -> Self {
        Bounded { body, limit, all: &LARGE_BODIES, share: None }
    }

    /// The body is read; its share is to be kept as long as it is.
    pub(super) fn into_share(self) -> Share {
        self.share
    }

    /// Makes room for a large body: once, so that no smaller copies of it wait to be given back to the system. Pages
    /// that are not written to take no memory; those that are count among all large bodies.
    fn enlarge(&mut self, len: usize) -> std::io::Result<()> {
        let held = self.share.as_ref().map_or(0, SemaphorePermit::num_permits);
        let more = (len >> UNIT) + 1 - held;
        if more > 0 {
            let more = self.all.try_acquire_many(more as u32).map_err(|_| {
                let mib = LARGE_BODIES_MIB;
                Error::new(
                    ErrorKind::QuotaExceeded,
                    format!("large bodies take up {mib} MiB already: set body_size_limit for those that need less"),
                )
            })?;
            match &mut self.share {
                Some(share) => share.merge(more),
                none => *none = Some(more),
            }
        }
        if len > self.body.capacity() {
            self.body.reserve_exact(self.limit as usize - self.body.len());
        }
        Ok(())
    }
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let len = self.body.len() + bytes.len();
        if len as u64 >= self.limit {
            return Err(ErrorKind::FileTooLarge.into());
        }
        if len > LARGE_BYTES {
            self.enlarge(len)?;
        }
        self.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn read(body: &mut Vec<u8>, mib: usize, all: &'static Semaphore) -> std::io::Result<Share> {
        let mut bounded = Bounded { body, limit: 64 << UNIT, all, share: None };
        for _ in 0..mib {
            bounded.write_all(&[b'a'; MIB])?;
        }
        Ok(bounded.into_share())
    }

    #[test]
    fn large_bodies_have_room_at_once_and_share_a_bound() {
        static ALL: Semaphore = Semaphore::const_new(40);
        let (mut small, mut large, mut other) = (Vec::new(), Vec::new(), Vec::new());
        assert!(read(&mut small, 8, &ALL).unwrap().is_none());
        let share = read(&mut large, 20, &ALL).unwrap();
        assert_eq!((large.len(), large.capacity()), (20 * MIB, 64 * MIB));
        assert_eq!(ALL.available_permits(), 19);
        let error = read(&mut other, 20, &ALL).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
        assert!(error.to_string().contains("body_size_limit"), "{error}");
        assert_eq!(ALL.available_permits(), 19, "a body that failed has no share");
        drop(share);
        other.clear();
        assert!(read(&mut other, 38, &ALL).is_ok());
    }
}
