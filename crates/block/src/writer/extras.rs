//! `histograms.parquet` and `exemplars.parquet` while they are written: one row a histogram, one row an exemplar.

use parquet::data_type::{ByteArray, DoubleType, Int32Type, Int64Type};
use pharos_model::{CounterReset, Exemplar, Histogram, Span};

use super::columns::{ListColumn, MapColumn, write_scalars};
use super::file::FileWriter;
use crate::error::BlockError;
use crate::schema;

/// Histograms of a row group.
const HISTOGRAMS_PER_GROUP: usize = 1024;
/// Bucket counts of a row group, when histograms are large.
const BUCKETS_PER_GROUP: usize = 1 << 20;
/// Exemplars of a row group.
const EXEMPLARS_PER_GROUP: usize = 4096;

/// The histograms of the row group that is being filled.
pub(crate) struct HistogramFile {
    file: FileWriter,
    sid: Vec<i32>,
    t: Vec<i64>,
    st: Vec<i64>,
    /// Counter reset, integer and schema.
    kinds: [Vec<i32>; 3],
    /// Zero threshold, zero count, count and sum.
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

    /// Appends a histogram.
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
        if self.sid.len() == HISTOGRAMS_PER_GROUP || buckets >= BUCKETS_PER_GROUP {
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

    /// The complete file.
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

/// The exemplars of the row group that is being filled.
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

    /// Appends an exemplar.
    pub(crate) fn push(&mut self, sid: i32, exemplar: &Exemplar) -> Result<(), BlockError> {
        self.sid.push(sid);
        self.t.push(exemplar.t);
        self.value.push(exemplar.value);
        self.labels.push(exemplar.labels.iter().map(|(name, value)| (ByteArray::from(name), ByteArray::from(value))));
        if self.sid.len() == EXEMPLARS_PER_GROUP {
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

    /// The complete file.
    pub(crate) fn finish(mut self) -> Result<FileWriter, BlockError> {
        self.flush()?;
        Ok(self.file)
    }
}
