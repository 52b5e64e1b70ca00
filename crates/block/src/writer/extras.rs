//! Writes `histograms.parquet` and `exemplars.parquet`: one row for each histogram and each exemplar.

use parquet::data_type::{ByteArray, DoubleType, Int32Type, Int64Type};
use pharos_model::{CounterReset, Exemplar, Histogram, Span};

use super::columns::{ListColumn, MapColumn, write_scalars};
use super::file::FileWriter;
use crate::error::BlockError;
use crate::schema;

/// Maximum histograms of a row group.
const MAX_GROUP_HISTOGRAMS: usize = 1024;
/// Bucket counts after which a row group of large histograms is written.
const MAX_GROUP_BUCKETS: usize = 1 << 20;
/// Maximum exemplars of a row group.
const MAX_GROUP_EXEMPLARS: usize = 4096;

/// The row group of histograms that is being filled, column by column.
pub(crate) struct HistogramFile {
    file: FileWriter,
    sid: Vec<i32>,
    t: Vec<i64>,
    st: Vec<i64>,
    /// The columns `counter_reset`, `integer` and `schema`.
    kinds: [Vec<i32>; 3],
    /// The columns `zero_threshold`, `zero_count`, `count` and `sum`.
    numbers: [Vec<f64>; 4],
    spans: [[ListColumn<i32>; 2]; 2],
    buckets: [ListColumn<f64>; 2],
    bounds: ListColumn<f64>,
}

impl HistogramFile {
    pub(crate) fn new() -> Result<Self, BlockError> {
        let layout = || [ListColumn::new(false), ListColumn::new(false)];
        Ok(HistogramFile {
            file: FileWriter::new(schema::histograms_schema()?, schema::histograms_properties()?)?,
            sid: Vec::new(),
            t: Vec::new(),
            st: Vec::new(),
            kinds: Default::default(),
            numbers: Default::default(),
            spans: [layout(), layout()],
            buckets: [ListColumn::new(false), ListColumn::new(false)],
            bounds: ListColumn::new(false),
        })
    }

    pub(crate) fn push(&mut self, sid: i32, t: i64, st: i64, h: &Histogram) -> Result<(), BlockError> {
        self.sid.push(sid);
        self.t.push(t);
        self.st.push(st);
        let reset = match h.counter_reset {
            CounterReset::Unknown => 0,
            CounterReset::Reset => 1,
            CounterReset::NotReset => 2,
            CounterReset::Gauge => 3,
        };
        for (column, value) in self.kinds.iter_mut().zip([reset, i32::from(h.integer), h.schema]) {
            column.push(value);
        }
        for (column, value) in self.numbers.iter_mut().zip([h.zero_threshold, h.zero_count, h.count, h.sum]) {
            column.push(value);
        }
        for (columns, spans) in self.spans.iter_mut().zip([&h.positive_spans, &h.negative_spans]) {
            push_spans(columns, spans);
        }
        self.buckets[0].push(&h.positive_buckets);
        self.buckets[1].push(&h.negative_buckets);
        self.bounds.push(&h.custom_values);
        let buckets: usize = self.buckets.iter().map(ListColumn::len).sum();
        if self.sid.len() == MAX_GROUP_HISTOGRAMS || buckets >= MAX_GROUP_BUCKETS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        if self.sid.is_empty() {
            return Ok(());
        }
        self.file.group(|group| {
            write_scalars::<Int32Type, _>(group, &mut self.sid)?;
            write_scalars::<Int64Type, _>(group, &mut self.t)?;
            write_scalars::<Int64Type, _>(group, &mut self.st)?;
            self.kinds.iter_mut().try_for_each(|column| write_scalars::<Int32Type, _>(group, column))?;
            self.numbers.iter_mut().try_for_each(|column| write_scalars::<DoubleType, _>(group, column))?;
            for (spans, buckets) in self.spans.iter_mut().zip(&mut self.buckets) {
                spans.iter_mut().try_for_each(|column| column.write::<Int32Type, _>(group))?;
                buckets.write::<DoubleType, _>(group)?;
            }
            self.bounds.write::<DoubleType, _>(group)
        })
    }

    pub(crate) fn finish(mut self) -> Result<FileWriter, BlockError> {
        self.flush()?;
        Ok(self.file)
    }
}

fn push_spans(columns: &mut [ListColumn<i32>; 2], spans: &[Span]) {
    let [offsets, lengths] = columns;
    offsets.push_levels(spans.len());
    offsets.values_mut().extend(spans.iter().map(|span| span.offset));
    lengths.push_levels(spans.len());
    lengths.values_mut().extend(spans.iter().map(|span| span.length as i32));
}

/// The row group of exemplars that is being filled, column by column.
pub(crate) struct ExemplarFile {
    file: FileWriter,
    sid: Vec<i32>,
    t: Vec<i64>,
    value: Vec<f64>,
    labels: MapColumn,
}

impl ExemplarFile {
    pub(crate) fn new() -> Result<Self, BlockError> {
        Ok(ExemplarFile {
            file: FileWriter::new(schema::exemplars_schema()?, schema::exemplars_properties()?)?,
            sid: Vec::new(),
            t: Vec::new(),
            value: Vec::new(),
            labels: MapColumn::default(),
        })
    }

    pub(crate) fn push(&mut self, sid: i32, exemplar: &Exemplar) -> Result<(), BlockError> {
        self.sid.push(sid);
        self.t.push(exemplar.t);
        self.value.push(exemplar.value);
        self.labels.push(exemplar.labels.iter().map(|(name, value)| (ByteArray::from(name), ByteArray::from(value))));
        if self.sid.len() == MAX_GROUP_EXEMPLARS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        if self.sid.is_empty() {
            return Ok(());
        }
        self.file.group(|group| {
            write_scalars::<Int32Type, _>(group, &mut self.sid)?;
            write_scalars::<Int64Type, _>(group, &mut self.t)?;
            write_scalars::<DoubleType, _>(group, &mut self.value)?;
            self.labels.write(group)
        })
    }

    pub(crate) fn finish(mut self) -> Result<FileWriter, BlockError> {
        self.flush()?;
        Ok(self.file)
    }
}
