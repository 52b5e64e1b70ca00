//! Decodes column chunks from fetched pages.

use bytes::Bytes;

use super::file::{ColumnChunk, ParquetFile};
use crate::error::BlockError;
use crate::page::header::{PageKind, RawPage, ValueEncoding, parse_page};
use crate::page::levels::{self, Lists};
use crate::page::values::{self, IntWidth};
use crate::page::{PageError, bad};

/// The fetched pages of a column chunk. The dictionary comes first, if there is one.
pub(crate) struct ChunkPages<'a> {
    pub(crate) file: &'a ParquetFile,
    pub(crate) group: usize,
    pub(crate) column: usize,
    pub(crate) pages: &'a [Bytes],
}

/// A text column: the distinct values, and a code for every row.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    pub(crate) values: Vec<Box<str>>,
    /// A position in `values` for every row or element, or [`Texts::NONE`].
    pub(crate) codes: Vec<u32>,
}

impl Texts {
    /// The code of rows without a value.
    pub(crate) const NONE: u32 = u32::MAX;
}

impl ChunkPages<'_> {
    fn chunk(&self) -> &ColumnChunk {
        &self.file.groups[self.group].chunks[self.column]
    }

    fn rows(&self) -> usize {
        self.file.groups[self.group].rows as usize
    }

    fn width(&self) -> IntWidth {
        match self.file.columns[self.column].physical {
            parquet::basic::Type::INT32 => IntWidth::Four,
            _ => IntWidth::Eight,
        }
    }

    fn error(&self, error: PageError) -> BlockError {
        let name = &self.file.columns[self.column].name;
        self.file.damaged(format!("column {name} of row group {}: {error}", self.group))
    }

    /// The dictionary page, if any, and the data pages.
    fn split(&self) -> (Option<&Bytes>, &[Bytes]) {
        match (self.chunk().dictionary, self.pages) {
            (Some(_), [dictionary, data @ ..]) => (Some(dictionary), data),
            _ => (None, self.pages),
        }
    }

    /// A required integer column: a value for every row.
    pub(crate) fn integers(&self) -> Result<Vec<i64>, BlockError> {
        let out = self.each_integer(|page, _| Ok(page.num_values)).map_err(|e| self.error(e))?;
        self.expect_rows(out.len())?;
        Ok(out)
    }

    /// A column of integer lists without nulls: the values, and the length of each list.
    pub(crate) fn integer_lists(&self) -> Result<(Vec<i64>, Vec<u32>), BlockError> {
        let mut lengths = Vec::new();
        let read = self.each_integer(|page, body| {
            let lists = Lists::read(body, page.num_values, 1)?;
            lengths.extend(lists.rows.iter().map(|list| list.len));
            Ok(lists.values)
        });
        let out = read.map_err(|e| self.error(e))?;
        self.expect_rows(lengths.len())?;
        Ok((out, lengths))
    }

    fn each_integer(
        &self,
        mut levels: impl FnMut(&RawPage<'_>, &mut &[u8]) -> Result<usize, PageError>,
    ) -> Result<Vec<i64>, PageError> {
        let zstd = self.chunk().zstd;
        let (dictionary, data) = self.split();
        let dictionary = match dictionary {
            Some(bytes) => Some(values::integer_dictionary(&dictionary_page(bytes, zstd)?, self.width())?),
            None => None,
        };
        let mut out = Vec::new();
        for bytes in data {
            let page = data_page(bytes, zstd)?;
            let mut body = &page.body[..];
            let count = levels(&page, &mut body)?;
            if count > 0 {
                values::integers(body, page.encoding, self.width(), dictionary.as_deref(), count, &mut out)?;
            }
        }
        Ok(out)
    }

    /// A column of doubles, or of lists of doubles with the length of each.
    pub(crate) fn doubles(&self) -> Result<(Vec<f64>, Vec<u32>), BlockError> {
        let is_list = self.file.columns[self.column].max_rep > 0;
        let mut out = Vec::new();
        let mut lengths = Vec::new();
        let mut read = || {
            for bytes in self.split().1 {
                let page = data_page(bytes, self.chunk().zstd)?;
                let mut body = &page.body[..];
                let mut count = page.num_values;
                if is_list {
                    let lists = Lists::read(&mut body, page.num_values, 1)?;
                    count = lists.values;
                    lengths.extend(lists.rows.iter().map(|list| list.len));
                }
                if count > 0 {
                    values::doubles(body, page.encoding, count, &mut out)?;
                }
            }
            Ok(())
        };
        read().map_err(|e| self.error(e))?;
        self.expect_rows(if is_list { lengths.len() } else { out.len() })?;
        Ok((out, lengths))
    }

    /// A text column whose rows may be null.
    pub(crate) fn texts(&self) -> Result<Texts, BlockError> {
        let out = self.each_text(|page, out| {
            let mut body = &page.body[..];
            let Some(present) = levels::presence(&mut body, page.num_values)? else {
                return text_codes(page, body, page.num_values, &mut out.values, &mut out.codes);
            };
            let mut codes = Vec::new();
            let count = present.iter().filter(|has| **has).count();
            text_codes(page, body, count, &mut out.values, &mut codes)?;
            let mut codes = codes.into_iter();
            let code = |has: bool| if has { codes.next().unwrap_or(Texts::NONE) } else { Texts::NONE };
            out.codes.extend(present.into_iter().map(code));
            Ok(())
        })?;
        self.expect_rows(out.codes.len())?;
        Ok(out)
    }

    /// The keys or values of a map column, with the length of each map.
    pub(crate) fn map_texts(&self) -> Result<(Texts, Vec<u32>), BlockError> {
        let mut lengths = Vec::new();
        let out = self.each_text(|page, out| {
            let mut body = &page.body[..];
            let lists = Lists::read(&mut body, page.num_values, 1)?;
            lengths.extend(lists.rows.iter().map(|list| list.len));
            text_codes(page, body, lists.values, &mut out.values, &mut out.codes)
        })?;
        self.expect_rows(lengths.len())?;
        Ok((out, lengths))
    }

    /// Reads the dictionary of a text column, and adds each page with `add`.
    fn each_text(
        &self,
        mut add: impl FnMut(&RawPage<'_>, &mut Texts) -> Result<(), PageError>,
    ) -> Result<Texts, BlockError> {
        let mut out = Texts::default();
        let mut read = || {
            let zstd = self.chunk().zstd;
            let (dictionary, data) = self.split();
            if let Some(bytes) = dictionary {
                let page = dictionary_page(bytes, zstd)?;
                out.values = values::strings(&page.body, page.num_values)?;
            }
            data.iter().try_for_each(|bytes| add(&data_page(bytes, zstd)?, &mut out))
        };
        read().map_err(|e| self.error(e))?;
        Ok(out)
    }

    fn expect_rows(&self, found: usize) -> Result<(), BlockError> {
        if found != self.rows() {
            return Err(self.error(PageError(format!("{found} rows instead of {}", self.rows()))));
        }
        Ok(())
    }
}

/// Appends the codes of `count` strings. Plain strings, which follow a dictionary that grew too large, are added as values.
fn text_codes(
    page: &RawPage<'_>,
    body: &[u8],
    count: usize,
    texts: &mut Vec<Box<str>>,
    codes: &mut Vec<u32>,
) -> Result<(), PageError> {
    let start = codes.len();
    match page.encoding {
        ValueEncoding::Dictionary => values::dictionary_codes(body, count, codes)?,
        ValueEncoding::Plain => {
            let first = texts.len() as u32;
            texts.extend(values::strings(body, count)?);
            codes.extend(first..first + count as u32);
        }
        other => return bad(format!("text is not {other:?} in blocks")),
    }
    match codes[start..].iter().find(|code| **code as usize >= texts.len()) {
        Some(code) => bad(format!("code {code} exceeds the dictionary of {} values", texts.len())),
        None => Ok(()),
    }
}

pub(crate) fn data_page(bytes: &Bytes, zstd: bool) -> Result<RawPage<'_>, PageError> {
    match parse_page(bytes, zstd)? {
        page if page.kind == PageKind::Data => Ok(page),
        _ => bad("found a dictionary instead of data"),
    }
}

fn dictionary_page(bytes: &Bytes, zstd: bool) -> Result<RawPage<'_>, PageError> {
    match parse_page(bytes, zstd)? {
        page if page.kind == PageKind::Dictionary => Ok(page),
        _ => bad("found data instead of a dictionary"),
    }
}
