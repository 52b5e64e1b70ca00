//! Variable-length integers and a bounds-checked reader over untrusted bytes.

use pharos_model::labels::{append_uvarint, read_uvarint};

/// Maps small numbers of either sign to small unsigned ones.
#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Undoes [`zigzag`].
#[inline]
pub(crate) fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Appends an unsigned number.
#[inline]
pub(crate) fn put_uvarint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
    } else {
        append_uvarint(out, value);
    }
}

/// Appends a signed number.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, zigzag(value));
}

/// Appends a length and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes that end too early or say something impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Reads forward through bytes that may be hostile: nothing panics and no length is believed before it is checked.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (&first, rest) = self.bytes.split_first().ok_or(Malformed("ends early"))?;
        self.bytes = rest;
        Ok(first)
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(Malformed("length past the end"))?;
        self.bytes = rest;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn uvarint(&mut self) -> Result<u64, Malformed> {
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

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<i64, Malformed> {
        Ok(unzigzag(self.uvarint()?))
    }

    /// A number of things of which each takes at least `min_bytes` of what is left.
    pub(crate) fn count(&mut self, min_bytes: usize) -> Result<usize, Malformed> {
        let count = self.uvarint()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.bytes.len() / min_bytes.max(1) => Ok(count),
            _ => Err(Malformed("count past the end")),
        }
    }

    pub(crate) fn prefixed(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.count(1)?;
        self.take(len)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.prefixed()?).map_err(|_| Malformed("text is not UTF-8"))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.uvarint()?).map_err(|_| Malformed("number too large"))
    }

    pub(crate) fn f64(&mut self) -> Result<f64, Malformed> {
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
