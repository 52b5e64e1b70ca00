//! Reads the protobuf wire format in place: keys, varints, fixed-size numbers and length-prefixed bytes. It neither
//! allocates nor recurses, and checks every length before use. Decoders know what the fields mean.

/// Bytes that are not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// The message ends within a field.
    #[error("proto: a field of {needed} bytes starts {left} bytes before the end of its message")]
    Truncated { needed: u64, left: usize },
    /// A varint has more than 64 bits.
    #[error("proto: integer overflow")]
    Varint,
    /// The field number is 0, or the wire type is reserved or a group.
    #[error("proto: illegal tag {0}")]
    Tag(u64),
    /// A field has the wire type of another kind of value.
    #[error("proto: wrong wire type {wire_type} for field {field}")]
    WireType { field: u32, wire_type: u8 },
}

/// The wire type of varints.
pub(super) const VARINT: u8 = 0;
/// The wire type of eight-byte numbers.
pub(super) const FIXED64: u8 = 1;
/// The wire type of length-prefixed bytes.
pub(super) const BYTES: u8 = 2;
/// The wire type of four-byte numbers.
pub(super) const FIXED32: u8 = 5;

/// A label in place. Name and value start with their length byte and extend to the end of the message.
#[derive(Clone, Copy)]
pub(super) struct PlainLabel<'a> {
    pub(super) name: &'a [u8],
    /// Under 128.
    pub(super) name_len: usize,
    pub(super) value: &'a [u8],
    /// Under 128.
    pub(super) value_len: usize,
}

/// Reads a message from front to back.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Reader { rest: message }
    }

    /// The number of unread bytes.
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    /// The next field's number and wire type; `None` at the end of the message.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Option<(u32, u8)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let wire_type = (key & 7) as u8;
        match u32::try_from(key >> 3) {
            Ok(field) if field != 0 && matches!(wire_type, VARINT | FIXED64 | BYTES | FIXED32) => {
                Ok(Some((field, wire_type)))
            }
            _ => Err(WireError::Tag(key)),
        }
    }

    /// A varint of up to 64 bits.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, WireError> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    /// Decodes up to eight bytes at once: timestamps have six.
    fn long_varint(&mut self) -> Result<u64, WireError> {
        const ENDS: u64 = 0x8080_8080_8080_8080;
        let Some(bytes) = self.rest.first_chunk::<8>() else { return self.any_varint() };
        let bytes = u64::from_le_bytes(*bytes);
        let ends = !bytes & ENDS;
        if ends == 0 {
            return self.any_varint();
        }
        // Keep the bits up to the last byte of the varint, then join groups of seven bits pairwise.
        let x = bytes & (ends ^ (ends - 1));
        let x = (x & 0x007f_007f_007f_007f) | (x & 0x7f00_7f00_7f00_7f00) >> 1;
        let x = (x & 0x0000_3fff_0000_3fff) | (x & 0x3fff_0000_3fff_0000) >> 2;
        let x = (x & 0x0000_0000_0fff_ffff) | (x & 0x0fff_ffff_0000_0000) >> 4;
        self.rest = &self.rest[ends.trailing_zeros() as usize / 8 + 1..];
        Ok(x)
    }

    #[cold]
    fn any_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for (i, &byte) in self.rest.iter().enumerate().take(10) {
            if i == 9 && byte > 1 {
                return Err(WireError::Varint);
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        match self.rest.len() {
            left @ 0..10 => Err(WireError::Truncated { needed: left as u64 + 1, left }),
            _ => Err(WireError::Varint),
        }
    }

    /// An eight-byte number, little endian.
    #[inline]
    pub(super) fn fixed64(&mut self) -> Result<u64, WireError> {
        match self.rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u64::from_le_bytes(*bytes))
            }
            None => Err(WireError::Truncated { needed: 8, left: self.rest.len() }),
        }
    }

    /// Length-prefixed bytes: a string, a message or packed numbers.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.varint()?;
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (bytes, rest) = split.ok_or(WireError::Truncated { needed: len, left: self.rest.len() })?;
        self.rest = rest;
        Ok(bytes)
    }

    /// The next field, if it is a label of remote write 1.0 in the usual form: field 1, name before value, both shorter than
    /// 128 bytes. Otherwise nothing is read.
    #[inline]
    pub(super) fn plain_label(&mut self) -> Option<PlainLabel<'a>> {
        const LABEL: u8 = 1 << 3 | BYTES;
        const NAME: u8 = 1 << 3 | BYTES;
        const VALUE: u8 = 2 << 3 | BYTES;
        let &[LABEL, len, NAME, name_len, ..] = self.rest else { return None };
        let len = usize::from(len);
        let name_len = usize::from(name_len);
        // Two keys and two length bytes. A longer length prefix makes this negative or differ from the value's below.
        let value_len = len.checked_sub(4 + name_len).filter(|_| len < 0x80)?;
        let name = &self.rest[3..];
        let (key, value) = name.get(1 + name_len..)?.split_first()?;
        if *key != VALUE || usize::from(*value.first()?) != value_len {
            return None;
        }
        self.rest = value.get(1 + value_len..)?;
        Some(PlainLabel { name, name_len, value, value_len })
    }

    /// Skips the value of a field.
    #[inline]
    pub(super) fn skip(&mut self, wire_type: u8) -> Result<(), WireError> {
        match wire_type {
            VARINT => self.varint().map(drop),
            FIXED64 => self.fixed64().map(drop),
            FIXED32 => match self.rest.split_at_checked(4) {
                Some((_, rest)) => {
                    self.rest = rest;
                    Ok(())
                }
                None => Err(WireError::Truncated { needed: 4, left: self.rest.len() }),
            },
            _ => self.bytes().map(drop),
        }
    }

    /// A `double`.
    #[inline]
    pub(super) fn double(&mut self, field: u32, wire_type: u8) -> Result<f64, WireError> {
        expect(field, wire_type, FIXED64)?;
        self.fixed64().map(f64::from_bits)
    }

    /// A number encoded as a varint: `uint64`, an enum, or the raw form of a signed number.
    #[inline]
    pub(super) fn number(&mut self, field: u32, wire_type: u8) -> Result<u64, WireError> {
        expect(field, wire_type, VARINT)?;
        self.varint()
    }

    /// The length-prefixed bytes of a field.
    #[inline]
    pub(super) fn chunk(&mut self, field: u32, wire_type: u8) -> Result<&'a [u8], WireError> {
        expect(field, wire_type, BYTES)?;
        self.bytes()
    }

    /// A repeated number field, packed or not: calls `each` for every value.
    pub(super) fn numbers(&mut self, field: u32, wire_type: u8, mut each: impl FnMut(u64)) -> Result<(), WireError> {
        if wire_type == VARINT {
            each(self.varint()?);
            return Ok(());
        }
        let mut packed = Reader::new(self.chunk(field, wire_type)?);
        while packed.len() > 0 {
            each(packed.varint()?);
        }
        Ok(())
    }

    /// A repeated `double` field, packed or not.
    pub(super) fn doubles(&mut self, field: u32, wire_type: u8, out: &mut Vec<f64>) -> Result<(), WireError> {
        if wire_type == FIXED64 {
            out.push(f64::from_bits(self.fixed64()?));
            return Ok(());
        }
        let mut packed = Reader::new(self.chunk(field, wire_type)?);
        out.reserve(packed.len() / 8);
        while packed.len() > 0 {
            out.push(f64::from_bits(packed.fixed64()?));
        }
        Ok(())
    }
}

#[inline]
fn expect(field: u32, wire_type: u8, expected: u8) -> Result<(), WireError> {
    if wire_type == expected { Ok(()) } else { Err(WireError::WireType { field, wire_type }) }
}

/// Decodes the zigzag form of a `sint64`.
pub(super) fn zigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

#[cfg(test)]
mod tests;
