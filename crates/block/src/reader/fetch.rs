//! Fetches samples: plans which pages hold the wanted rows, gets them together, and decodes each once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pharos_model::batch::SeriesColumns;
use pharos_model::{STALE_NAN, SeriesBatch, TimeRange};

use super::cache::{Part, Value};
use super::file::{PageRef, ParquetFile};
use super::heads::RowHead;
use super::pages::data_page;
use super::{BlockReader, BlockSelection, FileId, extras};
use crate::coding::{self, Mode};
use crate::error::BlockError;
use crate::page::PageError;
use crate::page::levels::{List, Lists};
use crate::page::values::{self, IntWidth};
use crate::schema::{data as columns, ts as ts_columns};

/// A wanted row with the pages that hold its parts.
struct PlannedRow {
    head: RowHead,
    /// Its position in its row group.
    local: u32,
    /// The page of `vi` or `vd`, if it needs one.
    values: Option<PageRef>,
    /// The page of its start timestamps, if the row group has any.
    st: Option<PageRef>,
}

/// Appends series to `out`; see [`BlockSelection::fetch`].
pub(super) async fn fetch(
    selection: &BlockSelection,
    series: Range<usize>,
    range: TimeRange,
    out: &mut SeriesBatch,
) -> Result<(), BlockError> {
    let reader = &selection.reader;
    let file = reader.file(FileId::Data).await?;
    let (rows, ends) = plan(selection, &file, series.clone(), range).await?;
    let mut pages: Vec<PageRef> = rows.iter().flat_map(|row| [row.values, row.st]).flatten().collect();
    pages.sort_unstable_by_key(|at| (at.group, at.column, at.page));
    pages.dedup();
    let vectors = load_ts(reader, rows.iter().map(|row| row.head.ts_id).collect());
    let (bytes, vectors) = futures::future::try_join(reader.pages(FileId::Data, &file, &pages), vectors).await?;
    let mut decoder = Decoder {
        file: &file,
        bytes: pages.into_iter().zip(bytes).collect(),
        vectors,
        ints: Cursor::default(),
        doubles: Cursor::default(),
        starts: Cursor::default(),
        shared: HashMap::new(),
        scratch: Vec::new(),
    };
    let first = out.series.len();
    let mut from = 0;
    for to in ends {
        decoder.append_series(&rows[from..to], range, out)?;
        from = to;
    }
    extras::append_histograms(selection, series, range, &mut out.series[first..].iter_mut(), &mut out.ht, &mut out.h, &mut out.hst).await
}

/// The rows that may have samples in `range`, and where each series' rows end.
async fn plan(
    selection: &BlockSelection,
    file: &ParquetFile,
    series: Range<usize>,
    range: TimeRange,
) -> Result<(Vec<PlannedRow>, Vec<usize>), BlockError> {
    let table = &selection.table;
    let spans: Vec<Range<u32>> = selection.sids[series]
        .iter()
        .map(|sid| *sid as usize)
        .map(|sid| match TimeRange::new(table.first_t[sid], table.last_t[sid]).overlaps(&range) {
            true => table.slices[sid]..table.slices[sid + 1],
            false => 0..0,
        })
        .collect();
    let mut groups: Vec<usize> = Vec::new();
    for span in spans.iter().filter(|span| !span.is_empty()) {
        let from = file.group_of(u64::from(span.start)).max(groups.last().map_or(0, |last| last + 1));
        groups.extend(from..=file.group_of(u64::from(span.end - 1)));
    }
    let heads = selection.reader.heads(file, &groups).await?;
    let mut rows = Vec::new();
    let mut ends = Vec::with_capacity(spans.len());
    let mut at = 0;
    for span in spans {
        let begin = rows.len();
        for row in span {
            while at + 1 < groups.len() && file.groups[groups[at + 1]].first_row <= u64::from(row) {
                at += 1;
            }
            let local = (u64::from(row) - file.groups[groups[at]].first_row) as usize;
            let head = heads[at].rows[local];
            // A slice ends before the next of its series begins.
            if rows.len() > begin && head.slice_t <= range.start {
                rows.truncate(begin);
            }
            if head.slice_t <= range.end {
                rows.push(plan_row(file, groups[at], local as u32, head, heads[at].has_st)?);
            }
        }
        ends.push(rows.len());
    }
    Ok((rows, ends))
}

fn plan_row(file: &ParquetFile, group: usize, local: u32, head: RowHead, has_st: bool) -> Result<PlannedRow, BlockError> {
    let page_of = |column: usize| {
        let pages = &file.groups[group].chunks[column].pages;
        let page = pages.partition_point(|page| page.first_row <= local).checked_sub(1);
        let page = page.ok_or_else(|| file.damaged(format!("row {local} of row group {group} has no page")))?;
        Ok::<_, BlockError>(PageRef { group: group as u32, column: column as u32, page: Some(page as u32) })
    };
    let values = match head.mode {
        Mode::Constant => None,
        Mode::Scaled => Some(page_of(columns::VI)?),
        Mode::Doubles | Mode::ConstantDouble => Some(page_of(columns::VD)?),
    };
    Ok(PlannedRow { head, local, values, st: if has_st { Some(page_of(columns::ST)?) } else { None } })
}

/// Timestamp vectors by their number.
async fn load_ts(reader: &BlockReader, mut ids: Vec<u32>) -> Result<HashMap<u32, Arc<[i64]>>, BlockError> {
    ids.sort_unstable();
    ids.dedup();
    let mut vectors = HashMap::with_capacity(ids.len());
    ids.retain(|id| match reader.cache.get(reader.block(), Part::Ts(*id)) {
        Some(Value::Ts(vector)) => vectors.insert(*id, vector).is_some(),
        _ => true,
    });
    if ids.is_empty() {
        return Ok(vectors);
    }
    let file = reader.file(FileId::Ts).await?;
    let mut wanted: Vec<(PageRef, u32)> = Vec::with_capacity(ids.len());
    for id in ids {
        if u64::from(id) >= file.rows() {
            return Err(file.damaged(format!("it lacks the timestamp vector {id}")));
        }
        let group = file.group_of(u64::from(id));
        let local = (u64::from(id) - file.groups[group].first_row) as u32;
        let pages = &file.groups[group].chunks[ts_columns::T].pages;
        let page = pages.partition_point(|page| page.first_row <= local).saturating_sub(1) as u32;
        wanted.push((PageRef { group: group as u32, column: ts_columns::T as u32, page: Some(page) }, id));
    }
    let mut pages: Vec<PageRef> = wanted.iter().map(|(page, _)| *page).collect();
    pages.dedup();
    let bytes: HashMap<PageRef, Bytes> =
        pages.iter().copied().zip(reader.pages(FileId::Ts, &file, &pages).await?).collect();
    let mut cursor = Cursor::default();
    for (page, id) in wanted {
        let group = &file.groups[page.group as usize];
        let local = (u64::from(id) - group.first_row) as u32;
        let list = cursor.seek(&file, &bytes, page, local, 1, read_integers)?;
        let vector: Arc<[i64]> = Arc::from(cursor.slice(list));
        reader.cache.insert(reader.block(), Part::Ts(id), Value::Ts(vector.clone()));
        vectors.insert(id, vector);
    }
    Ok(vectors)
}

/// The page of a list column that was decoded last.
struct Cursor<T> {
    page: Option<PageRef>,
    lists: Lists,
    values: Vec<T>,
}

impl<T> Default for Cursor<T> {
    fn default() -> Self {
        Cursor { page: None, lists: Lists::default(), values: Vec::new() }
    }
}

type ReadValues<T> = fn(&[u8], crate::page::header::ValueEncoding, usize, &mut Vec<T>) -> Result<(), PageError>;

fn read_integers(
    body: &[u8],
    encoding: crate::page::header::ValueEncoding,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), PageError> {
    values::integers(body, encoding, IntWidth::Eight, None, count, out)
}

impl<T> Cursor<T> {
    /// The list of a row, after decoding its page unless that is the current one.
    fn seek(
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
        let place = file.place(page).zip(bytes.get(&page));
        let (place, raw) = place.ok_or_else(|| error("a page is missing".into()))?;
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

    /// The values of a list of the current page, without nulls.
    fn slice(&self, list: List) -> &[T] {
        let from = list.values as usize;
        &self.values[from..from + (list.len - list.null_count) as usize]
    }

    /// Where the nulls of a list are.
    fn nulls(&self, list: List) -> &[u32] {
        &self.lists.nulls[list.nulls as usize..(list.nulls + list.null_count) as usize]
    }
}

/// Turns planned rows into samples.
struct Decoder<'a> {
    file: &'a ParquetFile,
    bytes: HashMap<PageRef, Bytes>,
    vectors: HashMap<u32, Arc<[i64]>>,
    ints: Cursor<i64>,
    doubles: Cursor<f64>,
    starts: Cursor<i64>,
    /// Timestamps that are in the batch already, by vector and part.
    shared: HashMap<(u32, usize, usize), Range<usize>>,
    scratch: Vec<f64>,
}

impl Decoder<'_> {
    fn append_series(&mut self, rows: &[PlannedRow], range: TimeRange, out: &mut SeriesBatch) -> Result<(), BlockError> {
        let (v, st_start) = (out.v.len(), out.st.len());
        // Parts of timestamp vectors; slices of one series mostly continue each other.
        let mut parts: Vec<(u32, Range<usize>)> = Vec::with_capacity(1);
        let with_st = rows.iter().any(|row| row.st.is_some());
        let mut any_st = false;
        for row in rows {
            let head = &row.head;
            let whole = head.ts_off as usize..head.ts_off as usize + head.n as usize;
            let vector = self.vectors.get(&head.ts_id).and_then(|vector| vector.get(whole));
            let vector = vector.ok_or_else(|| {
                self.file.damaged(format!("a row needs {} timestamps of vector {}", head.n, head.ts_id))
            })?;
            let kept = within(vector, range);
            if kept.is_empty() {
                continue;
            }
            let from = head.ts_off as usize + kept.start;
            let to = head.ts_off as usize + kept.end;
            match parts.last_mut() {
                Some((id, part)) if *id == head.ts_id && part.end == from => part.end = to,
                _ => parts.push((head.ts_id, from..to)),
            }
            self.append_values(row, kept.clone(), &mut out.v)?;
            if with_st {
                any_st |= self.append_st(row, kept, &mut out.st)?;
            }
        }
        if !any_st {
            out.st.truncate(st_start);
        }
        let t = self.append_ts(&parts, &mut out.t);
        out.series.push(SeriesColumns {
            t,
            v,
            st: any_st.then_some(st_start),
            ht: out.ht.len()..out.ht.len(),
            h: out.h.len(),
            hst: None,
        });
        Ok(())
    }

    fn append_ts(&mut self, parts: &[(u32, Range<usize>)], out: &mut Vec<i64>) -> Range<usize> {
        let key = match parts {
            [(id, part)] => Some((*id, part.start, part.end)),
            _ => None,
        };
        if let Some(known) = key.and_then(|key| self.shared.get(&key)) {
            return known.clone();
        }
        let start = out.len();
        parts.iter().for_each(|(id, part)| out.extend_from_slice(&self.vectors[id][part.clone()]));
        let placed = start..out.len();
        if let Some(key) = key {
            self.shared.insert(key, placed.clone());
        }
        placed
    }

    fn append_values(&mut self, row: &PlannedRow, kept: Range<usize>, out: &mut Vec<f64>) -> Result<(), BlockError> {
        let head = &row.head;
        let Some(page) = row.values else {
            out.resize(out.len() + kept.len(), coding::decode_one(head.v0, 0, head.scale));
            return Ok(());
        };
        let expect = |found: u32, wanted: u32| {
            let reason = || format!("row {} of row group {} has {found} values instead of {wanted}", row.local, page.group);
            if found == wanted { Ok(()) } else { Err(self.file.damaged(reason())) }
        };
        if head.mode == Mode::Scaled {
            let list = self.ints.seek(self.file, &self.bytes, page, row.local, 2, read_integers)?;
            expect(list.len, head.n)?;
            let xs = self.ints.slice(list);
            if list.null_count == 0 {
                coding::decode(head.v0, &xs[kept], head.scale, out);
            } else {
                self.scratch.clear();
                coding::decode(head.v0, xs, head.scale, &mut self.scratch);
                out.extend(with_stale(&self.scratch, self.ints.nulls(list), kept));
            }
            return Ok(());
        }
        let list = self.doubles.seek(self.file, &self.bytes, page, row.local, 1, values::doubles)?;
        let vs = self.doubles.slice(list);
        if head.mode == Mode::ConstantDouble {
            expect(list.len, 1)?;
            out.resize(out.len() + kept.len(), vs[0]);
        } else {
            expect(list.len, head.n)?;
            out.extend_from_slice(&vs[kept]);
        }
        Ok(())
    }

    /// Appends the row's start timestamps, zeros where it has none; says whether it has any.
    fn append_st(&mut self, row: &PlannedRow, kept: Range<usize>, out: &mut Vec<i64>) -> Result<bool, BlockError> {
        let Some(page) = row.st else {
            out.resize(out.len() + kept.len(), 0);
            return Ok(false);
        };
        let list = self.starts.seek(self.file, &self.bytes, page, row.local, 1, read_integers)?;
        match self.starts.slice(list) {
            [] => out.resize(out.len() + kept.len(), 0),
            [same] => out.resize(out.len() + kept.len(), *same),
            each if each.len() == row.head.n as usize => out.extend_from_slice(&each[kept]),
            each => {
                let reason = format!("a row has {} start timestamps and {} samples", each.len(), row.head.n);
                return Err(self.file.damaged(reason));
            }
        }
        Ok(list.len > 0)
    }
}

/// The positions of ascending timestamps that are in a range.
pub(super) fn within(t: &[i64], range: TimeRange) -> Range<usize> {
    let from = t.partition_point(|t| *t < range.start);
    let to = t.partition_point(|t| *t <= range.end);
    from..to.max(from)
}

/// Values with stale markers put in where the nulls are, of which the positions `kept` are wanted.
fn with_stale(values: &[f64], nulls: &[u32], kept: Range<usize>) -> impl Iterator<Item = f64> {
    let (mut value, mut null) = (0, 0);
    let total = values.len() + nulls.len();
    let all = (0..total).map(move |at| {
        if nulls.get(null).is_some_and(|n| *n as usize == at) {
            null += 1;
            return STALE_NAN;
        }
        value += 1;
        values.get(value - 1).copied().unwrap_or(STALE_NAN)
    });
    all.skip(kept.start).take(kept.len())
}
