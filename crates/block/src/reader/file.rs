//! Opens a Parquet file of a block: reads and checks its footer and page index, and fetches pages.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::basic::{Compression, Type as Physical};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};

use super::account;
use super::ranges::coalesce;
use crate::error::BlockError;
use crate::meta::FileMeta;
use crate::page::index::{PageLocation, check_struct, offset_index};
use crate::page::{PageError, checksums};

/// How many bytes are read from the end of a file when the size of its index is unknown.
const DEFAULT_TAIL_BYTES: u64 = 64 << 10;
/// The size limit of footer and page index, in bytes.
const MAX_TAIL_BYTES: u64 = 64 << 20;
/// How many requests for one file run concurrently.
const MAX_CONCURRENT_REQUESTS: usize = 8;

/// The pages of a column chunk.
#[derive(Debug)]
pub(crate) struct ColumnChunk {
    pub(crate) zstd: bool,
    pub(crate) dictionary: Option<PageLocation>,
    pub(crate) pages: Vec<PageLocation>,
}

#[derive(Debug)]
pub(crate) struct RowGroup {
    /// The first row of the group, counted from the start of the file.
    pub(crate) first_row: u64,
    pub(crate) rows: u32,
    pub(crate) chunks: Vec<ColumnChunk>,
}

/// A leaf column of the schema.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// The name of the top-level field.
    pub(crate) name: String,
    pub(crate) physical: Physical,
    pub(crate) max_def: i16,
    pub(crate) max_rep: i16,
}

/// A page of a file; the dictionary of the column chunk if `page` is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PageRef {
    pub(crate) group: u32,
    pub(crate) column: u32,
    pub(crate) page: Option<u32>,
}

/// The structure of a file.
#[derive(Debug)]
pub(crate) struct ParquetFile {
    path: Path,
    /// How many bytes at the end hold footer and page index.
    pub(crate) tail: u64,
    /// CRC-32 of those bytes.
    pub(crate) tail_crc: u32,
    pub(crate) columns: Vec<Column>,
    pub(crate) groups: Vec<RowGroup>,
    key_values: Vec<(String, String)>,
}

impl ParquetFile {
    /// Reads and checks footer and page index of a file.
    pub(crate) async fn open(store: &dyn ObjectStore, path: Path, meta: FileMeta) -> Result<Self, BlockError> {
        let damaged = |reason: String| BlockError::damaged(path.as_ref(), reason);
        let mut tail =
            fetch_tail(store, &path, meta, if meta.tail > 0 { meta.tail } else { DEFAULT_TAIL_BYTES }).await?;
        let (footer_len, magic) = match tail.last_chunk::<8>() {
            Some([a, b, c, d, magic @ ..]) => (u32::from_le_bytes([*a, *b, *c, *d]), *magic),
            None => return Err(damaged(format!("{} bytes are too short for a Parquet file", tail.len()))),
        };
        if magic != *b"PAR1" {
            return Err(damaged("it does not end like a Parquet file".into()));
        }
        let footer_len = u64::from(footer_len) + 8;
        if footer_len > tail.len() as u64 {
            tail = fetch_tail(store, &path, meta, footer_len).await?;
        }
        let footer = tail
            .len()
            .checked_sub(footer_len as usize)
            .map(|at| tail.slice(at..tail.len() - 8))
            .ok_or_else(|| damaged(format!("footer claims {footer_len} bytes")))?;
        check_struct(&footer).map_err(|e| damaged(format!("footer: {e}")))?;
        let parsed = catch_unwind(AssertUnwindSafe(|| ParquetMetaDataReader::decode_metadata(&footer)))
            .map_err(|_| damaged("footer is inconsistent".into()))?
            .map_err(|e| damaged(format!("footer: {e}")))?;
        let needed = index_start(&parsed).map_or(footer_len, |start| meta.bytes.saturating_sub(start)).max(footer_len);
        if needed > tail.len() as u64 {
            tail = fetch_tail(store, &path, meta, needed).await?;
        }
        let tail_start = meta.bytes - tail.len() as u64;
        let tail_crc = crc32fast::hash(&tail[tail.len() - needed as usize..]);
        if needed == meta.tail && !checksums::matches(&tail[tail.len() - needed as usize..], meta.crc) {
            return Err(damaged("footer has a wrong checksum".into()));
        }
        let mut groups = groups_of(&parsed, &tail, tail_start).map_err(damaged)?;
        let columns = parsed.file_metadata().schema_descr().columns().iter().map(|column| Column {
            name: column.path().parts().first().cloned().unwrap_or_default(),
            physical: column.physical_type(),
            max_def: column.max_def_level(),
            max_rep: column.max_rep_level(),
        });
        let pairs = parsed.file_metadata().key_value_metadata().into_iter().flatten();
        let mut key_values: Vec<(String, String)> =
            pairs.filter_map(|kv| Some((kv.key.clone(), kv.value.clone()?))).collect();
        if let Some(at) = key_values.iter().position(|(key, _)| key == checksums::CHECKSUMS_KEY) {
            let (_, text) = key_values.swap_remove(at);
            set_checksums(&mut groups, &text).map_err(|e| damaged(e.to_string()))?;
        }
        Ok(ParquetFile { columns: columns.collect(), tail: needed, tail_crc, groups, key_values, path })
    }

    /// The path of the file, for messages.
    pub(crate) fn name(&self) -> &str {
        self.path.as_ref()
    }

    /// The value of a key in the footer.
    pub(crate) fn key_value(&self, key: &str) -> Option<&str> {
        self.key_values.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> u64 {
        self.groups.last().map_or(0, |group| group.first_row + u64::from(group.rows))
    }

    /// The row group of a row, which must exist.
    pub(crate) fn group_of(&self, row: u64) -> usize {
        self.groups.partition_point(|group| group.first_row <= row).saturating_sub(1)
    }

    /// Checks that the file begins with these columns: name, physical type, definition level and repetition level.
    pub(crate) fn require(&self, expected: &[(&str, Physical, i16, i16)]) -> Result<(), BlockError> {
        for (at, (name, physical, max_def, max_rep)) in expected.iter().enumerate() {
            let wanted = Column { name: name.to_string(), physical: *physical, max_def: *max_def, max_rep: *max_rep };
            if self.columns.get(at) != Some(&wanted) {
                let found = self.columns.get(at);
                return Err(self.damaged(format!("column {at} is {found:?} instead of {wanted:?}")));
            }
        }
        Ok(())
    }

    pub(crate) fn damaged(&self, reason: impl std::fmt::Display) -> BlockError {
        BlockError::damaged(self.path.as_ref(), reason)
    }

    /// The location of a page; `None` when there is no such page.
    pub(crate) fn locate(&self, at: PageRef) -> Option<PageLocation> {
        let chunk = self.groups.get(at.group as usize)?.chunks.get(at.column as usize)?;
        match at.page {
            None => chunk.dictionary,
            Some(page) => chunk.pages.get(page as usize).copied(),
        }
    }

    /// All pages of a column chunk. The dictionary comes first.
    pub(crate) fn chunk_pages(&self, group: usize, column: usize) -> Vec<PageRef> {
        let Some(chunk) = self.groups.get(group).and_then(|g| g.chunks.get(column)) else { return Vec::new() };
        let at = |page| PageRef { group: group as u32, column: column as u32, page };
        let dictionary = chunk.dictionary.map(|_| at(None));
        dictionary.into_iter().chain((0..chunk.pages.len() as u32).map(|page| at(Some(page)))).collect()
    }

    /// Fetches pages, neighbouring ones in one request, and verifies their checksums.
    pub(crate) async fn fetch(
        &self,
        store: &dyn ObjectStore,
        wanted: &[PageLocation],
    ) -> Result<Vec<Bytes>, BlockError> {
        let mut ranges: Vec<Range<u64>> = wanted.iter().map(|p| p.offset..p.offset + u64::from(p.size)).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        ranges.dedup();
        let merged = coalesce(&ranges);
        let fetch = |range: Range<u64>| async move {
            let bytes = store.get_range(&self.path, range.clone()).await?;
            account::count(bytes.len());
            if bytes.len() as u64 != range.end - range.start {
                return Err(self.damaged(format!("range {range:?} has {} bytes", bytes.len())));
            }
            Ok((range.start, bytes))
        };
        let fetched: Vec<(u64, Bytes)> =
            stream::iter(merged.into_iter().map(fetch)).buffered(MAX_CONCURRENT_REQUESTS).try_collect().await?;
        let slice = |page: &PageLocation| {
            let (start, bytes) =
                &fetched[fetched.partition_point(|(start, _)| *start <= page.offset).saturating_sub(1)];
            let from = page.offset.saturating_sub(*start) as usize;
            let to = from.saturating_add(page.size as usize);
            if to > bytes.len() {
                return Err(self.damaged(format!("page at {} overlaps another", page.offset)));
            }
            let bytes = bytes.slice(from..to);
            if !checksums::matches(&bytes, page.crc) {
                return Err(self.damaged(format!("page at {} has a wrong checksum", page.offset)));
            }
            Ok(bytes)
        };
        wanted.iter().map(slice).collect()
    }

    /// Memory of the structure, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let chunk = |chunk: &ColumnChunk| size_of::<ColumnChunk>() + chunk.pages.len() * size_of::<PageLocation>();
        let pages: usize = self.groups.iter().flat_map(|group| &group.chunks).map(chunk).sum();
        pages + self.key_values.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() + self.columns.len() * 64
    }
}

async fn fetch_tail(store: &dyn ObjectStore, path: &Path, meta: FileMeta, want: u64) -> Result<Bytes, BlockError> {
    if want > MAX_TAIL_BYTES {
        return Err(BlockError::damaged(
            path.as_ref(),
            format!("index claims {want} bytes, more than {MAX_TAIL_BYTES}"),
        ));
    }
    let want = want.min(meta.bytes);
    if want == 0 {
        return Err(BlockError::damaged(path.as_ref(), "file is empty"));
    }
    let bytes = store.get_range(path, meta.bytes - want..meta.bytes).await?;
    account::count(bytes.len());
    if bytes.len() as u64 != want {
        return Err(BlockError::damaged(path.as_ref(), format!("{} bytes at the end instead of {want}", bytes.len())));
    }
    Ok(bytes)
}

/// Where the offset indexes begin; `None` without any.
pub(crate) fn index_start(metadata: &ParquetMetaData) -> Option<u64> {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    columns.filter_map(|column| column.offset_index_offset()).filter_map(|at| u64::try_from(at).ok()).min()
}

/// Assigns checksums, which are in file order, to pages.
fn set_checksums(groups: &mut [RowGroup], text: &str) -> Result<(), PageError> {
    let chunks = groups.iter_mut().flat_map(|group| &mut group.chunks);
    let mut pages: Vec<&mut PageLocation> = chunks.flat_map(|c| c.dictionary.iter_mut().chain(&mut c.pages)).collect();
    pages.sort_unstable_by_key(|page| page.offset);
    let sums = checksums::decode(text, pages.len())?;
    pages.into_iter().zip(sums).for_each(|(page, sum)| page.crc = Some(sum));
    Ok(())
}

fn groups_of(metadata: &ParquetMetaData, tail: &Bytes, tail_start: u64) -> Result<Vec<RowGroup>, String> {
    let columns = metadata.file_metadata().schema_descr().num_columns();
    let mut groups = Vec::new();
    let mut first_row = 0u64;
    for (at, group) in metadata.row_groups().iter().enumerate() {
        let rows =
            u32::try_from(group.num_rows()).map_err(|_| format!("row group {at} has {} rows", group.num_rows()))?;
        if group.num_columns() != columns {
            return Err(format!("row group {at} has {} columns instead of {columns}", group.num_columns()));
        }
        let chunks: Result<Vec<ColumnChunk>, String> = group
            .columns()
            .iter()
            .map(|column| chunk_of(column, rows, tail, tail_start).map_err(|e| format!("row group {at}: {e}")))
            .collect();
        groups.push(RowGroup { first_row, rows, chunks: chunks? });
        first_row += u64::from(rows);
    }
    Ok(groups)
}

fn chunk_of(column: &ColumnChunkMetaData, rows: u32, tail: &Bytes, tail_start: u64) -> Result<ColumnChunk, String> {
    let name = column.column_path().string();
    let zstd = match column.compression() {
        Compression::ZSTD(_) => true,
        Compression::UNCOMPRESSED => false,
        other => return Err(format!("column {name} is compressed with {other}")),
    };
    let index = column.offset_index_offset().zip(column.offset_index_length()).and_then(|(at, len)| {
        let from = usize::try_from(u64::try_from(at).ok()?.checked_sub(tail_start)?).ok()?;
        tail.get(from..from.checked_add(usize::try_from(len).ok()?)?)
    });
    let index = index.ok_or_else(|| format!("column {name} has no offset index"))?;
    let end = tail_start + tail.len() as u64;
    let pages = offset_index(index, rows, end).map_err(|e| format!("column {name}: {e}"))?;
    let dictionary = match (column.dictionary_page_offset(), pages.first()) {
        (Some(at), Some(first)) if at >= 0 && (at as u64) < first.offset => {
            let size = u32::try_from(first.offset - at as u64).unwrap_or(u32::MAX);
            if size as usize > crate::page::MAX_PAGE_BYTES {
                return Err(format!("column {name} has a dictionary of {size} bytes"));
            }
            Some(PageLocation { offset: at as u64, size, first_row: 0, crc: None })
        }
        _ => None,
    };
    Ok(ColumnChunk { zstd, dictionary, pages })
}
