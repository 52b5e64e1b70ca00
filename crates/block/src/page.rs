//! Decodes pages of Parquet files without trusting them: headers, levels and values.
//!
//! The Parquet library writes the files and reads their footers. Pages are decoded here: this decoder knows the few encodings
//! that blocks use, is several times faster, and checks every number against a stated bound.

pub(crate) mod checksums;
pub(crate) mod delta;
pub(crate) mod header;
pub(crate) mod index;
pub(crate) mod levels;
pub(crate) mod values;

/// The size limit of a decompressed page, in bytes.
pub(crate) const MAX_PAGE_BYTES: usize = 64 << 20;
/// The maximum number of values in a page.
pub(crate) const MAX_PAGE_VALUES: usize = 4 << 20;

/// What is wrong with a page. The caller adds the file.
#[derive(Debug)]
pub(crate) struct PageError(pub(crate) String);

impl std::fmt::Display for PageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn bad<T>(reason: impl Into<String>) -> Result<T, PageError> {
    Err(PageError(reason.into()))
}

/// Reads an unsigned LEB128 number and moves past it.
pub(crate) fn uvarint(bytes: &mut &[u8]) -> Result<u64, PageError> {
    match pharos_model::labels::read_uvarint(bytes) {
        Some((value, used)) => {
            *bytes = &bytes[used..];
            Ok(value)
        }
        None => bad("a number is truncated"),
    }
}

/// Undoes the zigzag coding of signed numbers.
pub(crate) fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Takes `n` bytes from the front.
pub(crate) fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Result<&'a [u8], PageError> {
    let Some((head, rest)) = bytes.split_at_checked(n) else {
        return bad(format!("expected {n} bytes, but only {} are left", bytes.len()));
    };
    *bytes = rest;
    Ok(head)
}

#[cfg(test)]
mod tests;
