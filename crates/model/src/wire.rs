//! Samples as bytes, for the log and for the network: variable-length integers, a bounds-checked reader over untrusted
//! bytes, histograms ([`histogram`]) and batches ([`append`]).

pub mod append;
pub mod histogram;

use crate::labels::{append_uvarint, read_uvarint};

/// Maps small numbers of either sign to small unsigned ones.
#[inline]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Undoes [`zigzag`].
#[inline]
pub fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Appends an unsigned number.
#[inline]
pub fn put_uvarint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
    } else {
        append_uvarint(out, value);
    }
}

/// Appends a signed number.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, zigzag(value));
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes that end too early or say something impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(/** What is wrong. */ pub &'static str);

/// Reads forward through bytes that may be hostile: nothing panics and no length is believed before it is checked.
#[derive(Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (&first, rest) = self.bytes.split_first().ok_or(Malformed("ends early"))?;
        self.bytes = rest;
        Ok(first)
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(Malformed("length past the end"))?;
        self.bytes = rest;
        Ok(taken)
    }

    /// The next unsigned number.
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

    /// The next signed number.
    #[inline]
    pub fn varint(&mut self) -> Result<i64, Malformed> {
        Ok(unzigzag(self.uvarint()?))
    }

    /// A number of things of which each takes at least `min_bytes` of what is left.
    pub fn count(&mut self, min_bytes: usize) -> Result<usize, Malformed> {
        let count = self.uvarint()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.bytes.len() / min_bytes.max(1) => Ok(count),
            _ => Err(Malformed("count past the end")),
        }
    }

    /// The next bytes with their length before them.
    pub fn prefixed(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.count(1)?;
        self.take(len)
    }

    /// As [`Reader::prefixed`], checked to be UTF-8.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.prefixed()?).map_err(|_| Malformed("text is not UTF-8"))
    }

    /// The next unsigned number, which must fit.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.uvarint()?).map_err(|_| Malformed("number too large"))
    }

    /// The next eight bytes as a double, little-endian.
    pub fn f64(&mut self) -> Result<f64, Malformed> {
        let mut raw = [0; 8];
        raw.copy_from_slice(self.take(8)?);
        Ok(f64::from_bits(u64::from_le_bytes(raw)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_round_trip(value in any::<i64>()) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
            let mut reader = Reader::new(&bytes);
            let _ = reader.clone().prefixed();
            let _ = reader.clone().text();
            let _ = reader.clone().f64();
            let _ = reader.count(3);
        }
    }
}
