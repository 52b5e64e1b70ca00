//! Writes `series.parquet`. Labels are collected as codes, and the ones that become columns are chosen at the end.

use std::collections::HashMap;

use parquet::data_type::{ByteArray, Int32Type, Int64Type};
use pharos_model::hash::shard_of;
use pharos_model::{Labels, METRIC_NAME, Metadata, SeriesHash};

use super::columns::{MapColumn, TextColumn, write_scalars};
use super::file::FileWriter;
use crate::error::BlockError;
use crate::filter::{LabelFilter, fingerprint};
use crate::schema;

/// Maximum number of labels that become columns.
const MAX_PROMOTED: usize = 16;

/// A row of the table without the labels. Counts refer to rows of the other files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeriesRow {
    pub(crate) hash: SeriesHash,
    pub(crate) rows: i32,
    pub(crate) histograms: i32,
    pub(crate) exemplars: i32,
    pub(crate) first_t: i64,
    pub(crate) last_t: i64,
}

/// Distinct strings with a code each.
#[derive(Default)]
struct Interner {
    codes: HashMap<Box<str>, u32>,
    texts: Vec<ByteArray>,
}

impl Interner {
    fn code(&mut self, text: &str) -> u32 {
        if let Some(code) = self.codes.get(text) {
            return *code;
        }
        let code = self.texts.len() as u32;
        self.codes.insert(text.into(), code);
        self.texts.push(ByteArray::from(text));
        code
    }
}

/// The series pushed so far.
#[derive(Default)]
pub(crate) struct SeriesTable {
    names: Interner,
    values: Interner,
    /// The labels of all series, as codes of name and value.
    labels: Vec<(u32, u32)>,
    /// Where the labels of each series end.
    ends: Vec<usize>,
    rows: Vec<SeriesRow>,
    metadata: Vec<Metadata>,
    /// The index of each series' metadata; `u32::MAX` for none.
    metadata_of: Vec<u32>,
}

impl SeriesTable {
    /// Appends a series.
    pub(crate) fn push(&mut self, labels: &Labels, metadata: Option<&Metadata>, row: SeriesRow) {
        for (name, value) in labels.iter() {
            let pair = (self.names.code(name), self.values.code(value));
            self.labels.push(pair);
        }
        self.ends.push(self.labels.len());
        self.rows.push(row);
        // Series are sorted by metric, so the metadata is mostly that of the previous series.
        let index = metadata.map_or(u32::MAX, |metadata| {
            if self.metadata.last().is_none_or(|last| last != metadata) {
                self.metadata.push(metadata.clone());
            }
            self.metadata.len() as u32 - 1
        });
        self.metadata_of.push(index);
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row of the series that was pushed last.
    pub(crate) fn last_mut(&mut self) -> Option<&mut SeriesRow> {
        self.rows.last_mut()
    }

    /// The shards of the series, ascending.
    pub(crate) fn shards(&self, total: u32) -> Vec<u32> {
        let shards: std::collections::BTreeSet<u32> = self.rows.iter().map(|row| shard_of(row.hash, total)).collect();
        shards.into_iter().collect()
    }

    /// The filter of all label pairs.
    pub(crate) fn filter(&self) -> LabelFilter {
        let mut pairs = self.labels.clone();
        pairs.sort_unstable();
        pairs.dedup();
        let text = |array: &ByteArray| String::from_utf8_lossy(array.data()).into_owned();
        LabelFilter::build(pairs.iter().map(|(name, value)| {
            fingerprint(&text(&self.names.texts[*name as usize]), &text(&self.values.texts[*value as usize]))
        }))
    }

    /// The labels that become columns: the metric name, and those that at least an eighth of the series have.
    fn promoted(&self) -> Vec<u32> {
        let mut counts = vec![0usize; self.names.texts.len()];
        self.labels.iter().for_each(|(name, _)| counts[*name as usize] += 1);
        let name_of = |code: u32| std::str::from_utf8(self.names.texts[code as usize].data()).unwrap_or("");
        let mut codes: Vec<u32> = (0..counts.len() as u32)
            .filter(|code| name_of(*code) == METRIC_NAME || counts[*code as usize] * 8 >= self.rows.len())
            .collect();
        codes.sort_by_key(|code| {
            (name_of(*code) != METRIC_NAME, std::cmp::Reverse(counts[*code as usize]), name_of(*code))
        });
        let mut taken = schema::series::NAMES.to_vec();
        codes.retain(|code| {
            let free = taken.len() < schema::series::NAMES.len() + MAX_PROMOTED
                && schema::is_column_name(name_of(*code), &taken);
            if free {
                taken.push(name_of(*code));
            }
            free
        });
        codes
    }

    pub(crate) fn finish(self, shards: u32) -> Result<FileWriter, BlockError> {
        let promoted = self.promoted();
        let name = |code: &u32| String::from_utf8_lossy(self.names.texts[*code as usize].data()).into_owned();
        let columns: Vec<String> = promoted.iter().map(name).collect();
        let mut file = FileWriter::new(schema::series_schema(&columns)?, schema::series_properties()?)?;
        if self.rows.is_empty() {
            return Ok(file);
        }
        let ints = |of: &dyn Fn(usize, &SeriesRow) -> i32| -> Vec<i32> {
            self.rows.iter().enumerate().map(|(sid, row)| of(sid, row)).collect()
        };
        let longs = |of: &dyn Fn(&SeriesRow) -> i64| -> Vec<i64> { self.rows.iter().map(of).collect() };
        file.group(|group| {
            write_scalars::<Int32Type, _>(group, &mut ints(&|sid, _| sid as i32))?;
            write_scalars::<Int64Type, _>(group, &mut longs(&|row| row.hash as i64))?;
            write_scalars::<Int32Type, _>(group, &mut ints(&|_, row| shard_of(row.hash, shards) as i32))?;
            write_scalars::<Int32Type, _>(group, &mut ints(&|_, row| row.rows))?;
            write_scalars::<Int32Type, _>(group, &mut ints(&|_, row| row.histograms))?;
            write_scalars::<Int32Type, _>(group, &mut ints(&|_, row| row.exemplars))?;
            write_scalars::<Int64Type, _>(group, &mut longs(&|row| row.first_t))?;
            write_scalars::<Int64Type, _>(group, &mut longs(&|row| row.last_t))?;
            let kind = |m: &Metadata| Some(ByteArray::from(m.kind.as_str()));
            let filled = |text: &str| (!text.is_empty()).then(|| ByteArray::from(text));
            for of in [&kind as &dyn Fn(&Metadata) -> Option<ByteArray>, &|m| filled(&m.unit), &|m| filled(&m.help)] {
                self.metadata_column(of).write(group)?;
            }
            self.map_column(&promoted).write(group)?;
            promoted.iter().try_for_each(|code| self.label_column(*code).write(group))
        })?;
        Ok(file)
    }

    fn labels_of(&self, sid: usize) -> &[(u32, u32)] {
        let start = if sid == 0 { 0 } else { self.ends[sid - 1] };
        &self.labels[start..self.ends[sid]]
    }

    fn metadata_column(&self, of: &dyn Fn(&Metadata) -> Option<ByteArray>) -> TextColumn {
        let texts: Vec<Option<ByteArray>> = self.metadata.iter().map(of).collect();
        let mut column = TextColumn::default();
        self.metadata_of.iter().for_each(|index| column.push(texts.get(*index as usize).cloned().flatten()));
        column
    }

    fn map_column(&self, promoted: &[u32]) -> MapColumn {
        let mut map = MapColumn::default();
        for sid in 0..self.rows.len() {
            let others = self.labels_of(sid).iter().filter(|(name, _)| !promoted.contains(name));
            map.push(others.map(|(name, value)| {
                (self.names.texts[*name as usize].clone(), self.values.texts[*value as usize].clone())
            }));
        }
        map
    }

    fn label_column(&self, code: u32) -> TextColumn {
        let mut column = TextColumn::default();
        for sid in 0..self.rows.len() {
            let value = self.labels_of(sid).iter().find(|(name, _)| *name == code);
            column.push(value.map(|(_, value)| self.values.texts[*value as usize].clone()));
        }
        column
    }
}

#[cfg(test)]
mod tests;
