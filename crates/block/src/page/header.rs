//! Parses the header in front of a page, in Thrift's compact protocol, and decompresses the body of the page.

use std::borrow::Cow;

use super::{MAX_PAGE_BYTES, MAX_PAGE_VALUES, PageError, bad, take, uvarint, zigzag};

/// The kind of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageKind {
    /// Levels and values (version 1).
    Data,
    /// The dictionary of a column chunk.
    Dictionary,
}

/// The encoding of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueEncoding {
    Plain,
    Dictionary,
    DeltaBinaryPacked,
    ByteStreamSplit,
}

/// A decompressed page.
#[derive(Debug)]
pub(crate) struct RawPage<'a> {
    pub(crate) kind: PageKind,
    /// How many values there are, including nulls and empty lists.
    pub(crate) num_values: usize,
    pub(crate) encoding: ValueEncoding,
    pub(crate) body: Cow<'a, [u8]>,
}

#[derive(Default)]
struct Fields {
    kind: Option<i64>,
    uncompressed: Option<i64>,
    compressed: Option<i64>,
    num_values: Option<i64>,
    encoding: Option<i64>,
}

/// Parses the page at the start of `bytes` and decompresses its body.
pub(crate) fn parse_page(bytes: &[u8], zstd: bool) -> Result<RawPage<'_>, PageError> {
    let mut rest = bytes;
    let fields = page_header(&mut rest)?;
    let kind = match fields.kind {
        Some(0) => PageKind::Data,
        Some(2) => PageKind::Dictionary,
        other => return bad(format!("page type {other:?} is not used in blocks")),
    };
    let encoding = match fields.encoding {
        Some(0) => ValueEncoding::Plain,
        Some(2 | 8) => ValueEncoding::Dictionary,
        Some(5) => ValueEncoding::DeltaBinaryPacked,
        Some(9) => ValueEncoding::ByteStreamSplit,
        other => return bad(format!("encoding {other:?} is not used in blocks")),
    };
    let size = |what: &str, value: Option<i64>, most: usize| match value.map(usize::try_from) {
        Some(Ok(n)) if n <= most => Ok(n),
        _ => Err(PageError(format!("{what} {value:?} is not between 0 and {most}"))),
    };
    let num_values = size("number of values", fields.num_values, MAX_PAGE_VALUES)?;
    let uncompressed = size("page size", fields.uncompressed, MAX_PAGE_BYTES)?;
    let compressed = size("compressed page size", fields.compressed, MAX_PAGE_BYTES)?;
    let body = take(&mut rest, compressed)?;
    let body = if uncompressed == 0 {
        // An empty dictionary. Its compressed form is not empty.
        Cow::Borrowed(&[][..])
    } else if zstd {
        let body = zstd::bulk::decompress(body, uncompressed).map_err(|e| PageError(format!("zstd: {e}")))?;
        Cow::Owned(body)
    } else {
        Cow::Borrowed(body)
    };
    if body.len() != uncompressed {
        return bad(format!("page has {} bytes instead of {uncompressed}", body.len()));
    }
    Ok(RawPage { kind, num_values, encoding, body })
}

/// The length of the page at the start of `bytes`, including its header.
pub(crate) fn page_length(bytes: &[u8]) -> Result<usize, PageError> {
    let mut rest = bytes;
    let body = page_header(&mut rest)?.compressed.and_then(|n| usize::try_from(n).ok());
    match body {
        Some(body) if body <= rest.len() => Ok(bytes.len() - rest.len() + body),
        _ => bad("page is truncated"),
    }
}

fn page_header(rest: &mut &[u8]) -> Result<Fields, PageError> {
    let mut fields = Fields::default();
    let mut id = 0;
    while let Some(kind) = next_field(rest, &mut id)? {
        match (id, kind) {
            (1, 5) => fields.kind = Some(zigzag(uvarint(rest)?)),
            (2, 5) => fields.uncompressed = Some(zigzag(uvarint(rest)?)),
            (3, 5) => fields.compressed = Some(zigzag(uvarint(rest)?)),
            (5 | 7, 12) => {
                let mut inner = 0;
                while let Some(kind) = next_field(rest, &mut inner)? {
                    match (inner, kind) {
                        (1, 5) => fields.num_values = Some(zigzag(uvarint(rest)?)),
                        (2, 5) => fields.encoding = Some(zigzag(uvarint(rest)?)),
                        _ => skip(rest, kind, 0)?,
                    }
                }
            }
            _ => skip(rest, kind, 0)?,
        }
    }
    Ok(fields)
}

/// The type of the next field of a struct, or `None` at its end. Sets `id` to the number of the field.
pub(super) fn next_field(rest: &mut &[u8], id: &mut i64) -> Result<Option<u8>, PageError> {
    let byte = take(rest, 1)?[0];
    if byte == 0 {
        return Ok(None);
    }
    *id = match byte >> 4 {
        0 => zigzag(uvarint(rest)?),
        delta => id.wrapping_add(i64::from(delta)),
    };
    Ok(Some(byte & 15))
}

/// Skips a value of a type.
pub(super) fn skip(rest: &mut &[u8], kind: u8, depth: u32) -> Result<(), PageError> {
    if depth > 16 {
        return bad("metadata is nested too deeply");
    }
    match kind {
        1 | 2 => {}
        3 => {
            take(rest, 1)?;
        }
        4..=6 => {
            uvarint(rest)?;
        }
        7 => {
            take(rest, 8)?;
        }
        8 => {
            let len = uvarint(rest)?;
            take(rest, usize::try_from(len).unwrap_or(usize::MAX))?;
        }
        9 | 10 => {
            let byte = take(rest, 1)?[0];
            let count = if byte >> 4 == 15 { uvarint(rest)? } else { u64::from(byte >> 4) };
            if count > rest.len() as u64 {
                return bad("a list in metadata is truncated");
            }
            for _ in 0..count {
                // A boolean in a list takes a byte.
                skip(rest, if byte & 15 <= 2 { 3 } else { byte & 15 }, depth + 1)?;
            }
        }
        12 => {
            let mut id = 0;
            while let Some(kind) = next_field(rest, &mut id)? {
                skip(rest, kind, depth + 1)?;
            }
        }
        other => return bad(format!("metadata has a field of unknown type {other}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
