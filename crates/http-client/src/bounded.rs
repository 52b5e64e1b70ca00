//! A body with a limit of its own. All large bodies of the process share another limit.

use std::io::{Error, ErrorKind, Write};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Bodies above this size are large, bytes.
const LARGE_BYTES: usize = 8 << 20;
/// Permits count units of 2^20 bytes.
const UNIT_BITS: u32 = 20;
/// The limit on all large bodies of the process together, MiB.
const MAX_LARGE_BODIES_MIB: usize = 1024;

static LARGE_BODIES: Semaphore = Semaphore::const_new(MAX_LARGE_BODIES_MIB);

/// The share of a large body in the common limit, released when it is dropped. `None` for a small body.
pub type Share = Option<SemaphorePermit<'static>>;

/// A writer that appends to a body up to its limit.
pub(super) struct Bounded<'a> {
    body: &'a mut Vec<u8>,
    /// The exclusive limit, bytes.
    limit: u64,
    all: &'static Semaphore,
    share: Share,
}

impl<'a> Bounded<'a> {
    pub(super) fn new(body: &'a mut Vec<u8>, limit: u64) -> Self {
        Bounded { body, limit, all: &LARGE_BODIES, share: None }
    }

    /// Ends the body. Its share must be held for as long as the body.
    pub(super) fn into_share(self) -> Share {
        self.share
    }

    /// Reserves memory for a large body at once, so that growing it leaves no smaller copies behind. Pages that are never
    /// written take no memory; written ones count towards the common limit.
    fn reserve(&mut self, len: usize) -> std::io::Result<()> {
        let held = self.share.as_ref().map_or(0, SemaphorePermit::num_permits);
        let more = (len >> UNIT_BITS) + 1 - held;
        if more > 0 {
            let more = self.all.try_acquire_many(more as u32).map_err(|_| {
                let mib = MAX_LARGE_BODIES_MIB;
                Error::new(
                    ErrorKind::QuotaExceeded,
                    format!(
                        "all large bodies together exceed {mib} MiB: set body_size_limit for targets that need less"
                    ),
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
            self.reserve(len)?;
        }
        self.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
