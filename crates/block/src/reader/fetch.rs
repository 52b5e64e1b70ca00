//! Fetches samples: plans which pages are needed, fetches them together, and decodes each of them once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pharos_model::batch::SeriesColumns;
use pharos_model::{STALE_NAN, SeriesBatch, TimeRange};

use super::cursor::{Cursor, read_integers};
use super::file::{PageRef, ParquetFile};
use super::files::{FileId, SelectedSeries};
use super::plan::{PlannedRow, plan};
use super::{extras, timestamps};
use crate::coding::{self, Mode};
use crate::error::BlockError;
use crate::page::values;

/// Appends series to `out`; see [`BlockSelection::fetch`](super::BlockSelection::fetch).
pub(super) async fn fetch(
    selected: &SelectedSeries,
    series: Range<usize>,
    range: TimeRange,
    out: &mut SeriesBatch,
) -> Result<(), BlockError> {
    let files = &selected.files;
    let file = files.file(FileId::Data).await?;
    let floats = async {
        let (rows, ends) = plan(selected, &file, series.clone(), range).await?;
        let mut pages: Vec<PageRef> = rows.iter().flat_map(|row| [row.values, row.st]).flatten().collect();
        pages.sort_unstable_by_key(|at| (at.group, at.column, at.page));
        pages.dedup();
        let vectors = timestamps::load(files, rows.iter().map(|row| row.header.ts_id).collect());
        let (bytes, vectors) = futures::future::try_join(files.pages(FileId::Data, &file, &pages), vectors).await?;
        let bytes: HashMap<PageRef, Bytes> = pages.into_iter().zip(bytes).collect();
        Ok::<_, BlockError>((rows, ends, bytes, vectors))
    };
    let histograms = extras::histogram_groups(selected, series.clone(), range);
    let ((rows, ends, bytes, vectors), histograms) = futures::future::try_join(floats, histograms).await?;
    let mut decoder = Decoder {
        file: &file,
        bytes,
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
    match histograms {
        Some(groups) => groups.append(selected, series, range, first, out),
        None => Ok(()),
    }
}

/// Decodes planned rows into samples.
struct Decoder<'a> {
    file: &'a ParquetFile,
    bytes: HashMap<PageRef, Bytes>,
    vectors: HashMap<u32, Arc<[i64]>>,
    ints: Cursor<i64>,
    doubles: Cursor<f64>,
    starts: Cursor<i64>,
    /// Where timestamps are in the batch already, keyed by vector and section.
    shared: HashMap<(u32, usize, usize), Range<usize>>,
    scratch: Vec<f64>,
}

impl Decoder<'_> {
    fn append_series(
        &mut self,
        rows: &[PlannedRow],
        range: TimeRange,
        out: &mut SeriesBatch,
    ) -> Result<(), BlockError> {
        let v = out.v.len();
        let st_start = out.st.len();
        // Sections of timestamp vectors. Those of one series mostly continue each other.
        let mut sections: Vec<(u32, Range<usize>)> = Vec::with_capacity(1);
        let with_st = rows.iter().any(|row| row.st.is_some());
        let mut any_st = false;
        for row in rows {
            let header = &row.header;
            let whole = header.ts_off as usize..header.ts_off as usize + header.n as usize;
            let vector = self.vectors.get(&header.ts_id).and_then(|vector| vector.get(whole));
            let vector = vector.ok_or_else(|| {
                self.file.damaged(format!("a row refers to {} timestamps of vector {}", header.n, header.ts_id))
            })?;
            let kept = range.positions(vector);
            if kept.is_empty() {
                continue;
            }
            let from = header.ts_off as usize + kept.start;
            let to = header.ts_off as usize + kept.end;
            match sections.last_mut() {
                Some((id, section)) if *id == header.ts_id && section.end == from => section.end = to,
                _ => sections.push((header.ts_id, from..to)),
            }
            self.append_values(row, kept.clone(), &mut out.v)?;
            if with_st {
                any_st |= self.append_st(row, kept, &mut out.st)?;
            }
        }
        if !any_st {
            out.st.truncate(st_start);
        }
        let t = self.append_ts(&sections, &mut out.t);
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

    fn append_ts(&mut self, sections: &[(u32, Range<usize>)], out: &mut Vec<i64>) -> Range<usize> {
        let key = match sections {
            [(id, section)] => Some((*id, section.start, section.end)),
            _ => None,
        };
        if let Some(known) = key.and_then(|key| self.shared.get(&key)) {
            return known.clone();
        }
        let start = out.len();
        sections.iter().for_each(|(id, section)| out.extend_from_slice(&self.vectors[id][section.clone()]));
        let placed = start..out.len();
        if let Some(key) = key {
            self.shared.insert(key, placed.clone());
        }
        placed
    }

    fn append_values(&mut self, row: &PlannedRow, kept: Range<usize>, out: &mut Vec<f64>) -> Result<(), BlockError> {
        let header = &row.header;
        let Some(page) = row.values else {
            out.resize(out.len() + kept.len(), coding::decode_one(header.v0, 0, header.scale));
            return Ok(());
        };
        let expect = |found: u32, wanted: u32| {
            let reason =
                || format!("row {} of row group {} has {found} values instead of {wanted}", row.local, page.group);
            if found == wanted { Ok(()) } else { Err(self.file.damaged(reason())) }
        };
        if header.mode == Mode::Scaled {
            let list = self.ints.seek(self.file, &self.bytes, page, row.local, 2, read_integers)?;
            expect(list.len, header.n)?;
            let xs = self.ints.slice(list);
            if list.null_count == 0 {
                coding::decode(header.v0, &xs[kept], header.scale, out);
            } else {
                self.scratch.clear();
                coding::decode(header.v0, xs, header.scale, &mut self.scratch);
                out.extend(with_stale(&self.scratch, self.ints.nulls(list), kept));
            }
            return Ok(());
        }
        let list = self.doubles.seek(self.file, &self.bytes, page, row.local, 1, values::doubles)?;
        let vs = self.doubles.slice(list);
        if header.mode == Mode::ConstantDouble {
            expect(list.len, 1)?;
            out.resize(out.len() + kept.len(), vs[0]);
        } else {
            expect(list.len, header.n)?;
            out.extend_from_slice(&vs[kept]);
        }
        Ok(())
    }

    /// Appends the start timestamps of a row, or zeros if it has none; returns whether it has any.
    fn append_st(&mut self, row: &PlannedRow, kept: Range<usize>, out: &mut Vec<i64>) -> Result<bool, BlockError> {
        let Some(page) = row.st else {
            out.resize(out.len() + kept.len(), 0);
            return Ok(false);
        };
        let list = self.starts.seek(self.file, &self.bytes, page, row.local, 1, read_integers)?;
        match self.starts.slice(list) {
            [] => out.resize(out.len() + kept.len(), 0),
            [same] => out.resize(out.len() + kept.len(), *same),
            each if each.len() == row.header.n as usize => out.extend_from_slice(&each[kept]),
            each => {
                let reason = format!("a row has {} start timestamps and {} samples", each.len(), row.header.n);
                return Err(self.file.damaged(reason));
            }
        }
        Ok(list.len > 0)
    }
}

/// The values at positions `kept`, with stale markers in the place of nulls.
fn with_stale(values: &[f64], nulls: &[u32], kept: Range<usize>) -> impl Iterator<Item = f64> {
    let mut value = 0;
    let mut null = 0;
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
