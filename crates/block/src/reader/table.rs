//! The series table in memory. Labels are codes; a matcher is tested against the values of a dictionary, then codes are
//! compared.

use bytes::Bytes;
use pharos_model::labels::append_canonical;
use pharos_model::{Labels, Matcher, Metadata, MetricType};

use super::file::ParquetFile;
use super::pages::{ChunkPages, Texts};
use crate::error::BlockError;
use crate::schema::series as columns;

/// A label that has a column of its own.
#[derive(Debug)]
struct LabelColumn {
    name: String,
    texts: Texts,
}

/// The labels without columns: for each series a range of keys and values.
#[derive(Debug, Default)]
struct LabelMap {
    keys: Texts,
    values: Texts,
    /// Where the range of each series ends.
    ends: Vec<u32>,
}

#[derive(Debug)]
pub(crate) struct SeriesTable {
    columns: Vec<LabelColumn>,
    map: LabelMap,
    pub(crate) hashes: Vec<u64>,
    /// The first row of each series in the data file, and the end of the last one; likewise for the other files.
    pub(crate) rows: Vec<u32>,
    pub(crate) histograms: Vec<u32>,
    pub(crate) exemplars: Vec<u32>,
    pub(crate) first_t: Vec<i64>,
    pub(crate) last_t: Vec<i64>,
    metadata: [Texts; 3],
}

impl SeriesTable {
    /// Decodes the table from the pages of all its columns.
    pub(crate) fn decode(file: &ParquetFile, chunks: &[Vec<Bytes>]) -> Result<Self, BlockError> {
        if file.groups.is_empty() {
            return Ok(Self::empty());
        }
        if file.groups.len() > 1 || chunks.len() != file.columns.len() {
            return Err(file.damaged(format!("it has {} row groups instead of one", file.groups.len())));
        }
        let chunk = |column: usize| ChunkPages { file, group: 0, column, pages: &chunks[column] };
        let (keys, lengths) = chunk(columns::MAP_KEY).map_texts()?;
        let (values, value_lengths) = chunk(columns::MAP_VALUE).map_texts()?;
        if lengths != value_lengths {
            return Err(file.damaged("the number of the series' label names differs from that of their label values"));
        }
        let mut labels = Vec::new();
        for column in columns::LABELS..file.columns.len() {
            labels.push(LabelColumn { name: file.columns[column].name.clone(), texts: chunk(column).texts()? });
        }
        labels.sort_by(|a, b| a.name.cmp(&b.name));
        let mut end = 0;
        let ends = lengths
            .iter()
            .map(|len| {
                end += len;
                end
            })
            .collect();
        let starts = |column: usize| starts_of(file, &chunk(column).integers()?);
        let texts = |column: usize| chunk(column).texts();
        Ok(SeriesTable {
            columns: labels,
            map: LabelMap { keys, values, ends },
            hashes: chunk(columns::HASH).integers()?.into_iter().map(|hash| hash as u64).collect(),
            rows: starts(columns::ROWS)?,
            histograms: starts(columns::HISTOGRAMS)?,
            exemplars: starts(columns::EXEMPLARS)?,
            first_t: chunk(columns::FIRST_T).integers()?,
            last_t: chunk(columns::LAST_T).integers()?,
            metadata: [texts(columns::TYPE)?, texts(columns::UNIT)?, texts(columns::HELP)?],
        })
    }

    fn empty() -> Self {
        SeriesTable {
            columns: Vec::new(),
            map: LabelMap::default(),
            hashes: Vec::new(),
            rows: vec![0],
            histograms: vec![0],
            exemplars: vec![0],
            first_t: Vec::new(),
            last_t: Vec::new(),
            metadata: Default::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Memory of the table, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let texts = |t: &Texts| t.codes.len() * 4 + t.values.iter().map(|v| v.len() + 16).sum::<usize>();
        let columns: usize = self.columns.iter().map(|column| texts(&column.texts)).sum();
        let metadata: usize = self.metadata.iter().map(texts).sum();
        columns + metadata + texts(&self.map.keys) + texts(&self.map.values) + self.len() * (8 * 3 + 4 * 4)
    }

    /// The labels without columns of a series, as positions in the map.
    fn map_range(&self, sid: u32) -> std::ops::Range<usize> {
        let start = if sid == 0 { 0 } else { self.map.ends[sid as usize - 1] as usize };
        start..self.map.ends[sid as usize] as usize
    }

    fn map_label(&self, at: usize) -> (&str, &str) {
        (
            &self.map.keys.values[self.map.keys.codes[at] as usize],
            &self.map.values.values[self.map.values.codes[at] as usize],
        )
    }

    /// The labels of a series. `scratch` is a buffer for reuse between calls.
    pub(crate) fn labels(&self, sid: u32, scratch: &mut Vec<u8>) -> Labels {
        scratch.clear();
        let mut others = self.map_range(sid).map(|at| self.map_label(at)).peekable();
        for column in &self.columns {
            let code = column.texts.codes[sid as usize];
            while let Some((name, value)) = others.next_if(|(name, _)| *name < column.name.as_str()) {
                append_canonical(scratch, name, value);
            }
            if code != Texts::NONE {
                append_canonical(scratch, &column.name, &column.texts.values[code as usize]);
            }
        }
        others.for_each(|(name, value)| append_canonical(scratch, name, value));
        Labels::from_canonical_unchecked(scratch)
    }

    /// Keeps the series of `sids` that satisfy a matcher.
    fn retain(&self, matcher: &Matcher, sids: &mut Vec<u32>) {
        let absent = matcher.matches_empty();
        if let Some(column) = self.columns.iter().find(|column| column.name == matcher.name) {
            let verdicts: Vec<bool> = column.texts.values.iter().map(|value| matcher.matches(value)).collect();
            // Codes were checked against the dictionary, so any other code is Texts::NONE.
            sids.retain(|sid| verdicts.get(column.texts.codes[*sid as usize] as usize).copied().unwrap_or(absent));
            return;
        }
        let Some(key) = self.map.keys.values.iter().position(|key| **key == *matcher.name) else {
            if !absent {
                sids.clear();
            }
            return;
        };
        let mut verdicts: Vec<Option<bool>> = vec![None; self.map.values.values.len()];
        sids.retain(|sid| match self.map_range(*sid).find(|at| self.map.keys.codes[*at] as usize == key) {
            None => absent,
            Some(at) => {
                let code = self.map.values.codes[at] as usize;
                *verdicts[code].get_or_insert_with(|| matcher.matches(&self.map.values.values[code]))
            }
        });
    }

    /// The series that satisfy all matchers, ascending.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let mut sids: Vec<u32> = (0..self.len() as u32).collect();
        // The metric name first, since it leaves the fewest series.
        let name_first = |matcher: &&Matcher| matcher.name != pharos_model::METRIC_NAME;
        let mut ordered: Vec<&Matcher> = matchers.iter().collect();
        ordered.sort_by_key(name_first);
        for matcher in ordered {
            self.retain(matcher, &mut sids);
        }
        sids
    }

    /// The label names of some series, ascending.
    pub(crate) fn label_names(&self, sids: &[u32]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for column in &self.columns {
            if sids.iter().any(|sid| column.texts.codes[*sid as usize] != Texts::NONE) {
                names.push(column.name.clone());
            }
        }
        let mut seen = vec![false; self.map.keys.values.len()];
        for at in sids.iter().flat_map(|sid| self.map_range(*sid)) {
            seen[self.map.keys.codes[at] as usize] = true;
        }
        names.extend(self.map.keys.values.iter().zip(&seen).filter(|(_, seen)| **seen).map(|(key, _)| key.to_string()));
        names.sort_unstable();
        names
    }

    /// The values of a label in some series, ascending.
    pub(crate) fn label_values(&self, name: &str, sids: &[u32]) -> Vec<String> {
        let (texts, codes): (&Texts, Vec<u32>) = match self.columns.iter().find(|column| column.name == name) {
            Some(column) => (&column.texts, sids.iter().map(|sid| column.texts.codes[*sid as usize]).collect()),
            None => {
                let of_name = |at: &usize| self.map_label(*at).0 == name;
                let positions = sids.iter().flat_map(|sid| self.map_range(*sid).filter(of_name));
                (&self.map.values, positions.map(|at| self.map.values.codes[at]).collect())
            }
        };
        let mut seen = vec![false; texts.values.len()];
        codes.iter().filter(|code| **code != Texts::NONE).for_each(|code| seen[*code as usize] = true);
        let mut values: Vec<String> =
            texts.values.iter().zip(&seen).filter(|(_, seen)| **seen).map(|(value, _)| value.to_string()).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// The metadata of the metric of a series.
    pub(crate) fn metadata(&self, sid: u32) -> Option<Metadata> {
        let text = |of: &Texts| of.values.get(of.codes[sid as usize] as usize).map(|text| text.to_string());
        let [kind, unit, help] = &self.metadata;
        Some(Metadata {
            kind: MetricType::parse(&text(kind)?)?,
            unit: text(unit).unwrap_or_default(),
            help: text(help).unwrap_or_default(),
        })
    }
}

/// Turns the number of rows of each series into the position of its first row.
fn starts_of(file: &ParquetFile, counts: &[i64]) -> Result<Vec<u32>, BlockError> {
    let mut starts = Vec::with_capacity(counts.len() + 1);
    let mut at = 0u32;
    starts.push(0);
    for (sid, count) in counts.iter().enumerate() {
        let next = u32::try_from(*count).ok().and_then(|count| at.checked_add(count));
        at = next.ok_or_else(|| file.damaged(format!("series {sid} claims {count} rows")))?;
        starts.push(at);
    }
    Ok(starts)
}
