//! A body with a limit of its own, whose memory is drawn from an account.

use std::io::{Error, ErrorKind, Write};

use pharos_model::Hold;

/// Bodies above this size are large, bytes.
const LARGE_BYTES: usize = 8 << 20;
/// Memory is drawn in steps of this many bytes.
const STEP: usize = 64 << 10;

/// A writer that appends to a body up to its limit.
pub(super) struct Bounded<'a> {
    body: &'a mut Vec<u8>,
    /// The exclusive limit, bytes.
    limit: u64,
    /// What the body draws on; `None` where nobody counts.
    hold: Option<&'a Hold>,
    /// The bytes that were drawn.
    drawn: usize,
}

impl<'a> Bounded<'a> {
    pub(super) fn new(body: &'a mut Vec<u8>, limit: u64, hold: Option<&'a Hold>) -> Self {
        Bounded { body, limit, hold, drawn: 0 }
    }

    fn draw(&mut self, len: usize) -> std::io::Result<()> {
        let Some(hold) = self.hold.filter(|_| len > self.drawn) else { return Ok(()) };
        let more = (len - self.drawn).next_multiple_of(STEP);
        hold.draw(more as u64).map_err(|full| Error::new(ErrorKind::QuotaExceeded, full))?;
        self.drawn += more;
        Ok(())
    }
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let len = self.body.len() + bytes.len();
        if len as u64 >= self.limit {
            return Err(ErrorKind::FileTooLarge.into());
        }
        self.draw(len)?;
        if len > LARGE_BYTES && len > self.body.capacity() {
            // At once, so that growing a large body leaves no smaller copies behind. Pages that are never written take no memory.
            self.body.reserve_exact(self.limit as usize - self.body.len());
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
