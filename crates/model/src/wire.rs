//! The encoding of samples in the write-ahead log and on the network: variable-length integers, a reader of untrusted
//! bytes, histograms ([`histogram`]), batches ([`append`]) and values of fragments ([`columns`]).

pub mod append;
pub mod columns;
pub mod histogram;

use crate::labels::{append_uvarint, read_uvarint};

/// Maps small numbers of either sign to small unsigned ones.
#[inline]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
pub fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Appends an unsigned LEB128 number.
#[inline]
pub fn put_uvarint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
    } else {
        append_uvarint(out, value);
    }
}

/// Appends a signed number as a zigzag LEB128 number.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, zigzag(value));
}

/// Appends bytes after their length.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes that end too early or are impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(/** What is wrong. */ pub &'static str);

/// Reads forward through bytes that may be hostile. Nothing panics, and lengths are checked before they are used.
#[derive(Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    /// The bytes that were not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether all bytes were read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Reads a byte.
    ///
    /// # Errors
    /// No byte is left.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (&first, rest) = self.bytes.split_first().ok_or(Malformed("ends early"))?;
        self.bytes = rest;
        Ok(first)
    }

    /// Reads `len` bytes.
    ///
    /// # Errors
    /// Fewer bytes are left.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(Malformed("length past the end"))?;
        self.bytes = rest;
        Ok(taken)
    }

    /// Reads a number that [`put_uvarint`] wrote.
    ///
    /// # Errors
    /// The number has more than 64 bits, or the bytes end within it.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u64, Malformed> {
        if let Some((&first, rest)) = self.bytes.split_first()
            && first < 0x80
        {
            self.bytes = rest;
            return Ok(u64::from(first));
        }
        let (value, used) = read_uvarint(self.bytes).ok_or(Malformed("bad number"))?;
        self.bytes = &self.bytes[used..];
        Ok(value)
    }

    /// Reads a number that [`put_varint`] wrote.
    ///
    /// # Errors
    /// As [`Reader::uvarint`].
    #[inline]
    pub fn varint(&mut self) -> Result<i64, Malformed> {
        Ok(unzigzag(self.uvarint()?))
    }

    /// Reads the number of entries that follow, each of which takes at least `min_bytes`.
    ///
    /// # Errors
    /// So many entries do not fit into the bytes that are left.
    pub fn count(&mut self, min_bytes: usize) -> Result<usize, Malformed> {
        let count = self.uvarint()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.bytes.len() / min_bytes.max(1) => Ok(count),
            _ => Err(Malformed("count past the end")),
        }
    }

    /// Reads bytes that [`put_bytes`] wrote.
    ///
    /// # Errors
    /// The length exceeds the bytes that are left.
    pub fn prefixed(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.count(1)?;
        self.take(len)
    }

    /// Reads bytes that [`put_bytes`] wrote and that are UTF-8.
    ///
    /// # Errors
    /// As [`Reader::prefixed`], or the bytes are not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.prefixed()?).map_err(|_| Malformed("text is not UTF-8"))
    }

    /// Reads a number of at most 32 bits.
    ///
    /// # Errors
    /// As [`Reader::uvarint`], or the number is too large.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.uvarint()?).map_err(|_| Malformed("number too large"))
    }

    /// Reads a little-endian double.
    ///
    /// # Errors
    /// Fewer than eight bytes are left.
    pub fn f64(&mut self) -> Result<f64, Malformed> {
        let mut raw = [0; 8];
        raw.copy_from_slice(self.take(8)?);
        Ok(f64::from_bits(u64::from_le_bytes(raw)))
    }
}

#[cfg(test)]
mod tests;
