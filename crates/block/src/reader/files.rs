//! The files of a block, read through the cache.

use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::basic::Type as Physical;

use super::cache::{BlockCache, CacheItem, Cached};
use super::file::{PageRef, ParquetFile};
use super::row_headers::{GroupHeaders, HEADER_COLUMNS, header_pages};
use super::table::SeriesTable;
use crate::error::BlockError;
use crate::meta::{BlockMeta, DATA, EXEMPLARS, HISTOGRAMS, SERIES, TS};
use crate::schema;

/// Larger pages are not cached.
const MAX_CACHED_PAGE_BYTES: usize = 1 << 20;

/// A file of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileId {
    Data = 0,
    Series = 1,
    Ts = 2,
    Histograms = 3,
    Exemplars = 4,
}

impl FileId {
    fn name(self) -> &'static str {
        [DATA, SERIES, TS, HISTOGRAMS, EXEMPLARS][self as usize]
    }
}

/// The pages of a row group, by column.
pub(super) type GroupPages = Vec<Vec<Bytes>>;

/// The files of one block. Cheap to clone.
#[derive(Clone)]
pub(crate) struct BlockFiles {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    pub(super) meta: Arc<BlockMeta>,
    cache: Arc<BlockCache>,
}

/// Some series of a block, by number, with what is needed to read them.
#[derive(Clone)]
pub(super) struct SelectedSeries {
    pub(super) files: BlockFiles,
    pub(super) table: Arc<SeriesTable>,
    /// Positions in the table, ascending.
    pub(super) sids: Arc<[u32]>,
}

impl BlockFiles {
    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: Path, meta: Arc<BlockMeta>, cache: Arc<BlockCache>) -> Self {
        BlockFiles { store, prefix, meta, cache }
    }

    pub(super) fn cached(&self, item: CacheItem) -> Option<Cached> {
        self.cache.get(self.meta.id.0, item)
    }

    pub(super) fn cache(&self, item: CacheItem, value: Cached) {
        self.cache.insert(self.meta.id.0, item, value);
    }

    pub(super) fn path(&self, id: FileId) -> Path {
        self.prefix.clone().join(id.name())
    }

    /// The structure of a file.
    pub(super) async fn file(&self, id: FileId) -> Result<Arc<ParquetFile>, BlockError> {
        if let Some(Cached::Footer(file)) = self.cached(CacheItem::Footer(id as u8)) {
            return Ok(file);
        }
        let meta = self.meta.files.get(id.name()).copied().ok_or_else(|| BlockError::Meta {
            block: self.meta.id.to_string(),
            reason: format!("file {} is not listed", id.name()),
        })?;
        let file = ParquetFile::open(self.store.as_ref(), self.path(id), meta).await?;
        require_columns(id, &file)?;
        let file = Arc::new(file);
        self.cache(CacheItem::Footer(id as u8), Cached::Footer(file.clone()));
        Ok(file)
    }

    pub(super) async fn table(&self) -> Result<Arc<SeriesTable>, BlockError> {
        if let Some(Cached::Series(table)) = self.cached(CacheItem::Series) {
            return Ok(table);
        }
        let (file, data) = futures::future::try_join(self.file(FileId::Series), self.file(FileId::Data)).await?;
        let chunks = self.chunks(&file, 0, 0..file.columns.len()).await?;
        let table = Arc::new(SeriesTable::decode(&file, &chunks)?);
        let rows = table.rows.last().copied().unwrap_or(0);
        if u64::from(rows) != data.rows() {
            return Err(file.damaged(format!("series claim {rows} rows, but {} has {}", data.name(), data.rows())));
        }
        self.cache(CacheItem::Series, Cached::Series(table.clone()));
        Ok(table)
    }

    /// The raw pages of whole column chunks of a row group, fetched together and not cached.
    pub(super) async fn chunks(
        &self,
        file: &ParquetFile,
        group: usize,
        columns: impl IntoIterator<Item = usize>,
    ) -> Result<Vec<Vec<Bytes>>, BlockError> {
        let refs: Vec<Vec<PageRef>> = columns.into_iter().map(|column| file.chunk_pages(group, column)).collect();
        let places: Vec<_> = refs.iter().flatten().filter_map(|at| file.locate(*at)).collect();
        let mut pages = file.fetch(self.store.as_ref(), &places).await?.into_iter();
        Ok(refs.iter().map(|refs| pages.by_ref().take(refs.len()).collect()).collect())
    }

    /// The row headers of row groups, which must ascend.
    pub(super) async fn row_headers(
        &self,
        file: &ParquetFile,
        groups: &[usize],
    ) -> Result<Vec<Arc<GroupHeaders>>, BlockError> {
        let cached = |group: &usize| match self.cached(CacheItem::RowHeaders(*group as u32)) {
            Some(Cached::RowHeaders(headers)) => Some(headers),
            _ => None,
        };
        let mut found: Vec<Option<Arc<GroupHeaders>>> = groups.iter().map(cached).collect();
        let missing: Vec<usize> =
            groups.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(group, _)| *group).collect();
        let refs: Vec<Vec<PageRef>> = missing.iter().flat_map(|group| header_pages(file, *group)).collect();
        let places: Vec<_> = refs.iter().flatten().filter_map(|at| file.locate(*at)).collect();
        let mut pages = file.fetch(self.store.as_ref(), &places).await?.into_iter();
        let mut chunks = refs.iter().map(|refs| pages.by_ref().take(refs.len()).collect::<Vec<Bytes>>());
        let mut decoded = missing.iter();
        for slot in found.iter_mut().filter(|slot| slot.is_none()) {
            let Some(group) = decoded.next() else { break };
            let chunks: Vec<Vec<Bytes>> = chunks.by_ref().take(HEADER_COLUMNS.len()).collect();
            let headers = Arc::new(GroupHeaders::decode(file, *group, &chunks)?);
            self.cache(CacheItem::RowHeaders(*group as u32), Cached::RowHeaders(headers.clone()));
            *slot = Some(headers);
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// The pages of whole row groups, in the order of `groups`, from the cache or the store.
    pub(super) async fn groups(
        &self,
        id: FileId,
        file: &ParquetFile,
        groups: &[usize],
    ) -> Result<Vec<GroupPages>, BlockError> {
        let columns = file.columns.len();
        let chunks = groups.iter().flat_map(|group| (0..columns).map(|column| file.chunk_pages(*group, column)));
        let chunks: Vec<Vec<PageRef>> = chunks.collect();
        let mut pages = self.pages(id, file, &chunks.concat()).await?.into_iter();
        let of_group =
            |chunks: &[Vec<PageRef>]| chunks.iter().map(|c| pages.by_ref().take(c.len()).collect()).collect();
        Ok(chunks.chunks(columns.max(1)).map(of_group).collect())
    }

    /// Pages from the cache or the store, in the order of `wanted`.
    pub(super) async fn pages(
        &self,
        id: FileId,
        file: &ParquetFile,
        wanted: &[PageRef],
    ) -> Result<Vec<Bytes>, BlockError> {
        let places: Option<Vec<_>> = wanted.iter().map(|at| file.locate(*at)).collect();
        let places = places.ok_or_else(|| file.damaged("it has rows without pages"))?;
        let key = |offset: u64| CacheItem::Page(id as u8, offset);
        let cached = |offset: u64| match self.cached(key(offset)) {
            Some(Cached::Page(bytes)) => Some(bytes),
            _ => None,
        };
        let mut found: Vec<Option<Bytes>> = places.iter().map(|place| cached(place.offset)).collect();
        let missing: Vec<_> =
            places.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(place, _)| *place).collect();
        let mut fetched = file.fetch(self.store.as_ref(), &missing).await?.into_iter().zip(&missing);
        for slot in found.iter_mut().filter(|slot| slot.is_none()) {
            let Some((bytes, place)) = fetched.next() else { break };
            if bytes.len() <= MAX_CACHED_PAGE_BYTES {
                // A copy, since a slice of the response would keep the whole response in memory.
                let copy = Cached::Page(Bytes::copy_from_slice(&bytes));
                self.cache(key(place.offset), copy);
            }
            *slot = Some(bytes);
        }
        Ok(found.into_iter().flatten().collect())
    }
}

/// Checks that the columns of a file are those of a block.
fn require_columns(id: FileId, file: &ParquetFile) -> Result<(), BlockError> {
    use Physical::{BYTE_ARRAY, DOUBLE, INT32, INT64};
    let int = |name| (name, INT32, 0, 0);
    let long = |name| (name, INT64, 0, 0);
    let double = |name| (name, DOUBLE, 0, 0);
    let text = |name| (name, BYTE_ARRAY, 1, 0);
    let list = |name, physical| (name, physical, 1, 1);
    let map = |name| (name, BYTE_ARRAY, 1, 1);
    match id {
        FileId::Data => {
            let [sid, slice_t, ts_id, ts_off, n, md, e, mul, v0, st, vi, vd] = schema::data::NAMES;
            let scalars =
                [int(sid), long(slice_t), int(ts_id), int(ts_off), int(n), int(md), int(e), long(mul), long(v0)];
            file.require(&[&scalars[..], &[list(st, INT64), (vi, INT64, 2, 1), list(vd, DOUBLE)]].concat())
        }
        FileId::Series => {
            let [sid, hash, shard, slices, histograms, exemplars, first_t, last_t, kind, unit, help, labels] =
                schema::series::NAMES;
            let ints = [int(sid), long(hash), int(shard), int(slices), int(histograms), int(exemplars)];
            let rest = [long(first_t), long(last_t), text(kind), text(unit), text(help), map(labels), map(labels)];
            file.require(&[&ints[..], &rest].concat())?;
            match file.columns[schema::series::LABELS..]
                .iter()
                .find(|c| c.physical != BYTE_ARRAY || (c.max_def, c.max_rep) != (1, 0))
            {
                Some(column) => Err(file.damaged(format!("label column {column:?} is not text"))),
                None => Ok(()),
            }
        }
        FileId::Ts => file.require(&[int("ts_id"), list("t", INT64)]),
        FileId::Histograms => file.require(&[
            int("sid"),
            long("t"),
            long("st"),
            int("counter_reset"),
            int("integer"),
            int("schema"),
            double("zero_threshold"),
            double("zero_count"),
            double("count"),
            double("sum"),
            list("positive_offsets", INT32),
            list("positive_lengths", INT32),
            list("positive", DOUBLE),
            list("negative_offsets", INT32),
            list("negative_lengths", INT32),
            list("negative", DOUBLE),
            list("bounds", DOUBLE),
        ]),
        FileId::Exemplars => file.require(&[int("sid"), long("t"), double("value"), map("labels"), map("labels")]),
    }
}
