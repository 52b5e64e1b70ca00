//! Reads the lists of a column one by one, decoding each page once.

use std::collections::HashMap;

use bytes::Bytes;

use super::file::{PageRef, ParquetFile};
use super::pages::data_page;
use crate::error::BlockError;
use crate::page::PageError;
use crate::page::header::ValueEncoding;
use crate::page::levels::{List, Lists};
use crate::page::values::{self, IntWidth};

/// The most recently decoded page of a list column.
pub(super) struct Cursor<T> {
    page: Option<PageRef>,
    lists: Lists,
    values: Vec<T>,
}

impl<T> Default for Cursor<T> {
    fn default() -> Self {
        Cursor { page: None, lists: Lists::default(), values: Vec::new() }
    }
}

/// Appends a number of values from a page body.
pub(super) type ReadValues<T> = fn(&[u8], ValueEncoding, usize, &mut Vec<T>) -> Result<(), PageError>;

/// Reads 64-bit integers.
pub(super) fn read_integers(
    body: &[u8],
    encoding: ValueEncoding,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), PageError> {
    values::integers(body, encoding, IntWidth::Eight, None, count, out)
}

impl<T> Cursor<T> {
    /// The list of a row. Decodes `page` unless it is the current one.
    pub(super) fn seek(
        &mut self,
        file: &ParquetFile,
        bytes: &HashMap<PageRef, Bytes>,
        page: PageRef,
        local: u32,
        max_def: u32,
        read: ReadValues<T>,
    ) -> Result<List, BlockError> {
        let error = |reason: String| {
            let column = &file.columns[page.column as usize].name;
            file.damaged(format!("column {column} of row group {}: {reason}", page.group))
        };
        let place = file.locate(page).zip(bytes.get(&page));
        let (place, raw) = place.ok_or_else(|| error("page is missing".into()))?;
        if self.page != Some(page) {
            self.page = None;
            self.values.clear();
            let zstd = file.groups[page.group as usize].chunks[page.column as usize].zstd;
            self.decode(raw, zstd, max_def, read).map_err(|e| error(e.to_string()))?;
            self.page = Some(page);
        }
        let at = local.checked_sub(place.first_row).map(|at| at as usize);
        at.and_then(|at| self.lists.rows.get(at).copied()).ok_or_else(|| error(format!("row {local} is missing")))
    }

    fn decode(&mut self, raw: &Bytes, zstd: bool, max_def: u32, read: ReadValues<T>) -> Result<(), PageError> {
        let page = data_page(raw, zstd)?;
        let mut body = &page.body[..];
        self.lists = Lists::read(&mut body, page.num_values, max_def)?;
        if self.lists.values > 0 {
            read(body, page.encoding, self.lists.values, &mut self.values)?;
        }
        Ok(())
    }

    /// The non-null values of a list of the current page.
    pub(super) fn slice(&self, list: List) -> &[T] {
        let from = list.values as usize;
        &self.values[from..from + (list.len - list.null_count) as usize]
    }

    /// The positions of nulls within a list of the current page.
    pub(super) fn nulls(&self, list: List) -> &[u32] {
        &self.lists.nulls[list.nulls as usize..(list.nulls + list.null_count) as usize]
    }
}
