//! Parses offset indexes, which tell where the pages of a column chunk are, and checks the sizes that a footer claims.

use super::header::{next_field, skip};
use super::{PageError, bad, take, uvarint, zigzag};

/// Where a page is in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageLocation {
    /// The offset in the file, in bytes.
    pub(crate) offset: u64,
    /// The size including the header, in bytes.
    pub(crate) size: u32,
    /// The first row of the page, counted from the start of its row group.
    pub(crate) first_row: u32,
    /// CRC-32 of the bytes, if the file has checksums.
    pub(crate) crc: Option<u32>,
}

/// Checks that bytes are a struct whose lists claim no more elements than there are bytes. A parser that trusts these numbers
/// then allocates memory in proportion to the bytes.
pub(crate) fn check_struct(mut bytes: &[u8]) -> Result<(), PageError> {
    skip(&mut bytes, 12, 0)
}

/// Parses the offset index of a column chunk with `rows` rows, whose pages must end within the first `end` bytes of the file.
pub(crate) fn offset_index(mut bytes: &[u8], rows: u32, end: u64) -> Result<Vec<PageLocation>, PageError> {
    let mut id = 0;
    let mut pages = Vec::new();
    while let Some(kind) = next_field(&mut bytes, &mut id)? {
        if (id, kind) != (1, 9) {
            skip(&mut bytes, kind, 0)?;
            continue;
        }
        let head = take(&mut bytes, 1)?[0];
        let count = if head >> 4 == 15 { uvarint(&mut bytes)? } else { u64::from(head >> 4) };
        if head & 15 != 12 || count > bytes.len() as u64 / 4 {
            return bad(format!("offset index claims {count} pages in {} bytes", bytes.len()));
        }
        for _ in 0..count {
            pages.push(page_location(&mut bytes, end)?);
        }
    }
    let ordered = pages.is_sorted_by(|a, b| a.first_row < b.first_row && a.offset + u64::from(a.size) <= b.offset);
    let starts = pages.first().is_none_or(|page| page.first_row == 0);
    if !ordered || !starts || pages.last().is_some_and(|page| page.first_row >= rows) {
        return bad("offset index is out of order");
    }
    Ok(pages)
}

fn page_location(bytes: &mut &[u8], end: u64) -> Result<PageLocation, PageError> {
    let mut numbers = [0i64; 3];
    let mut id = 0;
    while let Some(kind) = next_field(bytes, &mut id)? {
        match (id, kind) {
            (1, 6) | (2, 5) | (3, 6) => numbers[id as usize - 1] = zigzag(uvarint(bytes)?),
            _ => skip(bytes, kind, 1)?,
        }
    }
    let page = (u64::try_from(numbers[0]), u32::try_from(numbers[1]), u32::try_from(numbers[2]));
    let (Ok(offset), Ok(size), Ok(first_row)) = page else {
        return bad(format!("offset index has an impossible page {numbers:?}"));
    };
    if size as usize > super::MAX_PAGE_BYTES || offset.checked_add(u64::from(size)).is_none_or(|to| to > end) {
        return bad(format!("page at {offset} of {size} bytes ends beyond {end}"));
    }
    Ok(PageLocation { offset, size, first_row, crc: None })
}

#[cfg(test)]
mod tests;
