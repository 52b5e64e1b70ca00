//! Reads native histograms and exemplars of selected series, in whole row groups, which are small. The row groups of a read
//! are fetched together, through the cache.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pharos_model::{CounterReset, Exemplar, Histogram, Labels, SeriesBatch, Span, TimeRange};

use super::file::ParquetFile;
use super::files::{FileId, GroupPages, SelectedSeries};
use super::pages::{ChunkPages, Texts};
use crate::error::BlockError;
use crate::schema::{exemplars as exemplar_columns, histograms as columns};

/// A decoded row group of histograms.
struct Histograms {
    first_row: u64,
    t: Vec<i64>,
    st: Vec<i64>,
    h: Vec<Arc<Histogram>>,
}

/// The row groups with the histograms of some series, fetched but not decoded.
pub(super) struct HistogramGroups {
    file: Arc<ParquetFile>,
    /// Ascending by number.
    groups: Vec<(usize, GroupPages)>,
}

/// Fetches the row groups with the histograms of series, all of them together. `None` if the block has no histograms.
pub(super) async fn histogram_groups(
    selected: &SelectedSeries,
    series: Range<usize>,
    range: TimeRange,
) -> Result<Option<HistogramGroups>, BlockError> {
    let table = &selected.table;
    if table.histograms.last().is_none_or(|rows| *rows == 0) {
        return Ok(None);
    }
    let file = selected.files.file(FileId::Histograms).await?;
    let in_range = |sid: &usize| TimeRange::new(table.first_t[*sid], table.last_t[*sid]).overlaps(&range);
    let sids = selected.sids[series].iter().map(|sid| *sid as usize).filter(in_range);
    let numbers = group_numbers(&file, &table.histograms, sids)?;
    let pages = selected.files.groups(FileId::Histograms, &file, &numbers).await?;
    Ok(Some(HistogramGroups { groups: numbers.into_iter().zip(pages).collect(), file }))
}

/// The numbers of the row groups that hold the rows of some series, ascending. `starts` has the first row of each series.
fn group_numbers(
    file: &ParquetFile,
    starts: &[u32],
    sids: impl Iterator<Item = usize>,
) -> Result<Vec<usize>, BlockError> {
    let mut numbers: Vec<usize> = Vec::new();
    for sid in sids.filter(|sid| starts[*sid] < starts[*sid + 1]) {
        let (start, end) = (u64::from(starts[sid]), u64::from(starts[sid + 1]));
        if end > file.rows() {
            return Err(file.damaged(format!("series {sid} refers to row {end} of {}", file.rows())));
        }
        let next = numbers.last().map_or(0, |last| last + 1);
        numbers.extend(file.group_of(start).max(next)..=file.group_of(end - 1));
    }
    Ok(numbers)
}

impl HistogramGroups {
    /// Appends the histograms of series to a batch to which their floats were appended before, from position `first` on.
    pub(super) fn append(
        &self,
        selected: &SelectedSeries,
        series: Range<usize>,
        range: TimeRange,
        first: usize,
        out: &mut SeriesBatch,
    ) -> Result<(), BlockError> {
        let SeriesBatch { ht, h, hst, series: columns, .. } = out;
        let table = &selected.table;
        let mut groups = self.groups.iter();
        let mut current: Option<(usize, Histograms)> = None;
        for (sid, columns) in selected.sids[series].iter().map(|sid| *sid as usize).zip(&mut columns[first..]) {
            let (start, hst_start) = (ht.len(), hst.len());
            let mut row = u64::from(table.histograms[sid]);
            let mut end = u64::from(table.histograms[sid + 1]);
            if !TimeRange::new(table.first_t[sid], table.last_t[sid]).overlaps(&range) {
                end = row;
            }
            while row < end {
                let number = self.file.group_of(row);
                let group = match current.take() {
                    Some((known, group)) if known == number => group,
                    _ => self.decode(number, &mut groups)?,
                };
                let from = (row - group.first_row) as usize;
                let to = group.t.len().min((end - group.first_row) as usize);
                if to <= from {
                    return Err(self.file.damaged(format!("row {row} is missing from row group {number}")));
                }
                let kept = range.positions(&group.t[from..to]);
                let kept = from + kept.start..from + kept.end;
                ht.extend_from_slice(&group.t[kept.clone()]);
                hst.extend_from_slice(&group.st[kept.clone()]);
                h.extend(group.h[kept].iter().cloned());
                row = group.first_row + to as u64;
                current = Some((number, group));
            }
            let any_st = hst[hst_start..].iter().any(|st| *st != 0);
            if !any_st {
                hst.truncate(hst_start);
            }
            columns.ht = start..ht.len();
            columns.h = h.len() - (ht.len() - start);
            columns.hst = any_st.then_some(hst_start);
        }
        Ok(())
    }

    /// Decodes a row group, which is not before the last one that was taken from `groups`.
    fn decode(
        &self,
        number: usize,
        groups: &mut std::slice::Iter<'_, (usize, GroupPages)>,
    ) -> Result<Histograms, BlockError> {
        match groups.find(|(known, _)| *known == number) {
            Some((_, pages)) => decode_histograms(&self.file, number, pages),
            None => Err(self.file.damaged(format!("row group {number} was not expected"))),
        }
    }
}

fn decode_histograms(file: &ParquetFile, group: usize, chunks: &[Vec<Bytes>]) -> Result<Histograms, BlockError> {
    let chunk = |column: usize| ChunkPages { file, group, column, pages: &chunks[column] };
    let ints = |column: usize| chunk(column).integers();
    let numbers = |column: usize| Ok::<_, BlockError>(chunk(column).doubles()?.0);
    let reset = ints(columns::RESET)?;
    let integer = ints(columns::INTEGER)?;
    let schema = ints(columns::SCHEMA)?;
    let zero_threshold = numbers(columns::ZERO_THRESHOLD)?;
    let zero_count = numbers(columns::ZERO_COUNT)?;
    let count = numbers(columns::COUNT)?;
    let sum = numbers(columns::SUM)?;
    let spans = |offsets: usize, lengths: usize| -> Result<Rows<(i64, i64)>, BlockError> {
        let (offset, of) = chunk(offsets).integer_lists()?;
        let (length, lf) = chunk(lengths).integer_lists()?;
        if of != lf {
            return Err(
                file.damaged(format!("the numbers of span offsets and span lengths differ in row group {group}"))
            );
        }
        Ok(Rows::new(offset.into_iter().zip(length).collect(), &of))
    };
    let buckets = |column: usize| chunk(column).doubles().map(|(values, lengths)| Rows::new(values, &lengths));
    let positive_spans = spans(columns::POS_OFF, columns::POS_LEN)?;
    let negative_spans = spans(columns::NEG_OFF, columns::NEG_LEN)?;
    let positive = buckets(columns::POS)?;
    let negative = buckets(columns::NEG)?;
    let bounds = buckets(columns::BOUNDS)?;
    let mut last_bounds: Arc<[f64]> = Arc::from(&[][..]);
    let mut h = Vec::with_capacity(count.len());
    for at in 0..count.len() {
        if last_bounds[..] != *bounds.row(at) {
            last_bounds = Arc::from(bounds.row(at));
        }
        let histogram = Histogram {
            counter_reset: match reset[at] {
                1 => CounterReset::Reset,
                2 => CounterReset::NotReset,
                3 => CounterReset::Gauge,
                _ => CounterReset::Unknown,
            },
            integer: integer[at] != 0,
            schema: schema[at] as i32,
            zero_threshold: zero_threshold[at],
            zero_count: zero_count[at],
            count: count[at],
            sum: sum[at],
            positive_spans: to_spans(positive_spans.row(at)),
            positive_buckets: positive.row(at).to_vec(),
            negative_spans: to_spans(negative_spans.row(at)),
            negative_buckets: negative.row(at).to_vec(),
            custom_values: last_bounds.clone(),
        };
        check(&histogram).map_err(|reason| file.damaged(format!("row {at} of row group {group}: {reason}")))?;
        h.push(Arc::new(histogram));
    }
    Ok(Histograms { first_row: file.groups[group].first_row, t: ints(columns::T)?, st: ints(columns::ST)?, h })
}

/// Checks that spans and buckets agree.
fn check(h: &Histogram) -> Result<(), String> {
    for (spans, buckets) in [(&h.positive_spans, &h.positive_buckets), (&h.negative_spans, &h.negative_buckets)] {
        let named: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
        if named != buckets.len() as u64 {
            return Err(format!("spans cover {named} buckets, but there are {}", buckets.len()));
        }
    }
    Ok(())
}

fn to_spans(spans: &[(i64, i64)]) -> Vec<Span> {
    spans.iter().map(|(offset, length)| Span { offset: *offset as i32, length: *length as u32 }).collect()
}

/// The lists of a row group.
struct Rows<T> {
    values: Vec<T>,
    ends: Vec<usize>,
}

impl<T> Rows<T> {
    fn new(values: Vec<T>, lengths: &[u32]) -> Self {
        let mut end = 0;
        let ends = lengths.iter().map(|length| {
            end += *length as usize;
            end
        });
        Rows { ends: ends.collect(), values }
    }

    fn row(&self, at: usize) -> &[T] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.values[start..self.ends[at]]
    }
}

/// See [`BlockSelection::exemplars`](super::BlockSelection::exemplars).
pub(super) async fn exemplars(
    selected: &SelectedSeries,
    series: Range<usize>,
    range: TimeRange,
) -> Result<Vec<(usize, Exemplar)>, BlockError> {
    let starts = &selected.table.exemplars;
    let mut out = Vec::new();
    if starts.last().is_none_or(|rows| *rows == 0) {
        return Ok(out);
    }
    let file = selected.files.file(FileId::Exemplars).await?;
    let sids = selected.sids[series.clone()].iter().map(|sid| *sid as usize);
    let numbers = group_numbers(&file, starts, sids)?;
    let mut groups = numbers.iter().zip(selected.files.groups(FileId::Exemplars, &file, &numbers).await?);
    let mut current: Option<(usize, Vec<Exemplar>)> = None;
    for at in series {
        let sid = selected.sids[at] as usize;
        for row in u64::from(starts[sid])..u64::from(starts[sid + 1]) {
            let number = file.group_of(row);
            let group = match current.take() {
                Some((known, group)) if known == number => group,
                _ => match groups.find(|(known, _)| **known == number) {
                    Some((_, pages)) => decode_exemplars(&file, number, &pages)?,
                    None => return Err(file.damaged(format!("row group {number} was not expected"))),
                },
            };
            let local = (row - file.groups[number].first_row) as usize;
            out.extend(group.get(local).filter(|e| range.contains(e.t)).map(|e| (at, e.clone())));
            current = Some((number, group));
        }
    }
    Ok(out)
}

fn decode_exemplars(file: &ParquetFile, group: usize, chunks: &[Vec<Bytes>]) -> Result<Vec<Exemplar>, BlockError> {
    let chunk = |column: usize| ChunkPages { file, group, column, pages: &chunks[column] };
    let t = chunk(exemplar_columns::T).integers()?;
    let (value, _) = chunk(exemplar_columns::VALUE).doubles()?;
    let (keys, lengths) = chunk(exemplar_columns::MAP_KEY).map_texts()?;
    let (values, value_lengths) = chunk(exemplar_columns::MAP_VALUE).map_texts()?;
    if lengths != value_lengths {
        return Err(file.damaged("the number of exemplars' label names differs from that of their label values"));
    }
    let text = |texts: &Texts, at: usize| texts.values[texts.codes[at] as usize].to_string();
    let pairs: Vec<(String, String)> = (0..keys.codes.len()).map(|at| (text(&keys, at), text(&values, at))).collect();
    let labels = Rows::new(pairs, &lengths);
    let one =
        |at: usize| Exemplar { labels: Labels::from_pairs(labels.row(at).iter().cloned()), value: value[at], t: t[at] };
    Ok((0..t.len()).map(one).collect())
}
