//! Row headers: the scalar columns of a row group of `data.parquet`, decoded and cached. They describe every row but do not
//! hold its samples.

use crate::coding::{Mode, Scale};
use crate::error::BlockError;
use crate::page::MAX_PAGE_VALUES;
use crate::schema::data as columns;

use super::file::{PageRef, ParquetFile};
use super::pages::ChunkPages;
use bytes::Bytes;

/// The columns of the row headers, in file order.
pub(crate) const HEADER_COLUMNS: [usize; 9] = [
    columns::FIRST_T,
    columns::TS_ID,
    columns::TS_OFF,
    columns::N,
    columns::MD,
    columns::E,
    columns::MUL,
    columns::V0,
    columns::ST,
];

/// Start timestamps of a row group are read along with the headers up to this size, to learn whether there are any.
const MAX_INSPECTED_ST_BYTES: u32 = 4096;

/// The pages of the row headers of a row group, by column. Large columns of start timestamps are omitted.
pub(crate) fn header_pages(file: &ParquetFile, group: usize) -> [Vec<PageRef>; 9] {
    HEADER_COLUMNS.map(|column| {
        let small = file.groups[group].chunks[column].pages.iter().all(|page| page.size <= MAX_INSPECTED_ST_BYTES);
        if column == columns::ST && !small { Vec::new() } else { file.chunk_pages(group, column) }
    })
}

/// A row of `data.parquet` without its samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowHeader {
    pub(crate) first_t: i64,
    pub(crate) v0: i64,
    pub(crate) scale: Scale,
    pub(crate) ts_id: u32,
    pub(crate) ts_off: u32,
    pub(crate) n: u32,
    pub(crate) mode: Mode,
}

/// The row headers of a row group.
#[derive(Debug)]
pub(crate) struct GroupHeaders {
    pub(crate) rows: Vec<RowHeader>,
    /// Whether any row has start timestamps.
    pub(crate) has_st: bool,
}

impl GroupHeaders {
    /// Decodes the row headers of a row group from the pages of [`HEADER_COLUMNS`], one column chunk after the other.
    pub(crate) fn decode(file: &ParquetFile, group: usize, chunks: &[Vec<Bytes>]) -> Result<Self, BlockError> {
        let mut decoded = Vec::with_capacity(HEADER_COLUMNS.len());
        let mut has_st = false;
        for (column, pages) in HEADER_COLUMNS.into_iter().zip(chunks) {
            let chunk = ChunkPages { file, group, column, pages };
            if column == columns::ST {
                has_st = pages.is_empty() || !chunk.integer_lists()?.0.is_empty();
            } else {
                decoded.push(chunk.integers()?);
            }
        }
        let [first_t, ts_id, ts_off, n, md, e, mul, v0] = &decoded[..] else {
            return Err(file.damaged("row headers are incomplete"));
        };
        let mut rows = Vec::with_capacity(first_t.len());
        for at in 0..first_t.len() {
            let bad =
                |what: &str, value: i64| file.damaged(format!("row {at} of row group {group} has {what} {value}"));
            let size = |what: &str, value: i64| u32::try_from(value).map_err(|_| bad(what, value));
            let n = size("an impossible length of", n[at])?;
            if n == 0 || n as usize > MAX_PAGE_VALUES {
                return Err(bad("an impossible length of", i64::from(n)));
            }
            rows.push(RowHeader {
                first_t: first_t[at],
                v0: v0[at],
                scale: Scale {
                    e: exponent(e[at]).ok_or_else(|| bad("an impossible exponent of", e[at]))?,
                    mul: mul[at],
                },
                ts_id: size("an impossible timestamp vector", ts_id[at])?,
                ts_off: size("an impossible timestamp offset of", ts_off[at])?,
                n,
                mode: Mode::from_i64(md[at]).ok_or_else(|| bad("an unknown coding", md[at]))?,
            });
        }
        Ok(GroupHeaders { rows, has_st })
    }

    /// Memory of the headers, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.rows.len() * size_of::<RowHeader>()
    }
}

fn exponent(e: i64) -> Option<u32> {
    u32::try_from(e).ok().filter(|e| (*e as usize) < crate::coding::POWERS_OF_TEN.len())
}
