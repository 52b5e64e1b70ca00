//! Encodes a [`SeriesBatch`] as an Arrow IPC stream of one record batch, with one row per series.
//!
//! | column | type | content |
//! |---|---|---|
//! | `t` | list of int64, null if equal to the previous row's | timestamps of floats |
//! | `v` | list of float64 | floats, one per timestamp |
//! | `st` | optional list of int64 | start timestamps: none, or one per float |
//! | `ht` | optional list of int64 | timestamps of histograms |
//! | `h` | binary, present with `ht` | one histogram per timestamp, each as its difference from the previous one |
//! | `hst` | optional list of int64 | start timestamps: none, or one per histogram |
//!
//! The bytes come from the network. The reader checks every number before it uses it, and refuses dictionaries,
//! compression, and columns of other names or types.

use std::collections::HashMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BinaryArray, ListArray, PrimitiveArray, RecordBatch};
use arrow_buffer::{ArrowNativeType, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_ipc::writer::StreamWriter;
use arrow_ipc::{Message, Type};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use pharos_model::batch::SeriesColumns;
use pharos_model::wire::{Malformed, Reader, histogram};
use pharos_model::{Histogram, SeriesBatch};

/// Maximum number of rows in a batch.
const MAX_ROWS: usize = 1 << 24;

/// The reason why samples cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// Arrow cannot read the record batch.
    #[error("samples: {0}")]
    Arrow(#[from] ArrowError),
    /// The stream, a column or a value is malformed.
    #[error("samples: {0}")]
    Malformed(#[from] Malformed),
}

fn list(name: &str, item: DataType, nullable: bool) -> Field {
    Field::new(name, DataType::List(Arc::new(Field::new("item", item, false))), nullable)
}

/// All columns that a batch may have.
static FIELDS: LazyLock<[Field; 6]> = LazyLock::new(|| {
    [
        list("t", DataType::Int64, true),
        list("v", DataType::Float64, false),
        list("st", DataType::Int64, false),
        list("ht", DataType::Int64, false),
        Field::new("h", DataType::Binary, false),
        list("hst", DataType::Int64, false),
    ]
});

// Positions in [`FIELDS`].
const T: usize = 0;
const V: usize = 1;
const ST: usize = 2;
const HT: usize = 3;
const H: usize = 4;
const HST: usize = 5;

/// A list column under construction.
struct Lists<T> {
    values: Vec<T>,
    ends: Vec<i32>,
}

impl<T: Copy + ArrowNativeType> Lists<T> {
    fn new(rows: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Lists { values: Vec::new(), ends }
    }

    fn push(&mut self, values: &[T]) -> Result<(), ArrowError> {
        self.values.extend_from_slice(values);
        let end = i32::try_from(self.values.len());
        self.ends.push(end.map_err(|_| ArrowError::InvalidArgumentError("too many samples for a batch".into()))?);
        Ok(())
    }

    fn array<A>(self, column: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError>
    where
        A: ArrowPrimitiveType<Native = T>,
    {
        let values = PrimitiveArray::<A>::new(ScalarBuffer::from(self.values), None);
        let DataType::List(item) = FIELDS[column].data_type() else {
            return Err(ArrowError::SchemaError("no list".into()));
        };
        let ends = OffsetBuffer::new(ScalarBuffer::from(self.ends));
        Ok(Arc::new(ListArray::try_new(item.clone(), ends, Arc::new(values), nulls)?))
    }
}

/// Encodes the series of a batch at positions `rows`.
///
/// # Errors
/// The samples or histograms are too many for Arrow's 32-bit offsets.
pub fn write_batch(batch: &SeriesBatch, rows: Range<usize>) -> Result<Vec<u8>, ArrowError> {
    let n = rows.len();
    let (mut t, mut v, mut st) = (Lists::new(n), Lists::new(n), Lists::new(n));
    let (mut ht, mut hst) = (Lists::new(n), Lists::new(n));
    let (mut h, mut ends) = (Vec::new(), vec![0i32]);
    let mut own_times = Vec::with_capacity(n);
    let mut times: &[i64] = &[];
    for row in rows {
        let view = batch.view(row);
        let same = !own_times.is_empty() && view.t == times;
        own_times.push(!same);
        t.push(if same { &[] } else { view.t })?;
        times = view.t;
        v.push(view.v)?;
        st.push(view.st)?;
        ht.push(view.ht)?;
        hst.push(view.hst)?;
        let mut before: Option<&Histogram> = None;
        for histogram in view.h {
            histogram::encode(before, histogram, &mut h);
            before = Some(histogram);
        }
        let end = i32::try_from(h.len());
        ends.push(end.map_err(|_| ArrowError::InvalidArgumentError("too many histograms for a batch".into()))?);
    }
    let (has_st, has_h, has_hst) = (!st.values.is_empty(), !ht.values.is_empty(), !hst.values.is_empty());
    let mut columns =
        vec![(T, t.array::<Int64Type>(T, Some(NullBuffer::from(own_times)))?), (V, v.array::<Float64Type>(V, None)?)];
    if has_st {
        columns.push((ST, st.array::<Int64Type>(ST, None)?));
    }
    if has_h {
        columns.push((HT, ht.array::<Int64Type>(HT, None)?));
        let ends = OffsetBuffer::new(ScalarBuffer::from(ends));
        columns.push((H, Arc::new(BinaryArray::try_new(ends, Buffer::from_vec(h), None)?)));
    }
    if has_hst {
        columns.push((HST, hst.array::<Int64Type>(HST, None)?));
    }
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) =
        columns.into_iter().map(|(column, array)| (FIELDS[column].clone(), array)).unzip();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), arrays)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    writer.write(&batch)?;
    writer.finish()?;
    writer.into_inner()
}

/// Decodes the output of [`write_batch`] and appends its series to `out`. Returns the number of series.
///
/// # Errors
/// The bytes are malformed. `out` may then hold some of the series.
pub fn read_batch(bytes: &[u8], out: &mut SeriesBatch) -> Result<usize, BatchError> {
    let mut frames = Frames { rest: bytes };
    let (message, _) = frames.next()?.ok_or(Malformed("no schema"))?;
    let (schema, columns) = read_schema(&message)?;
    let (message, body) = frames.next()?.ok_or(Malformed("no record batch"))?;
    let header = message.header_as_record_batch().ok_or(Malformed("no record batch"))?;
    check_header(&header, body.len())?;
    // Arrow needs aligned buffers, so copy the body.
    let body = Buffer::from(body);
    let read =
        || arrow_ipc::reader::read_record_batch(&body, header, schema, &HashMap::new(), None, &message.version());
    // Arrow asserts that buffers have whole numbers of values, which the header does not show.
    let batch = catch_unwind(AssertUnwindSafe(read)).map_err(|_| Malformed("buffers are inconsistent"))??;
    let mut by_name: [Option<&ArrayRef>; 6] = [None; 6];
    for (column, array) in columns.into_iter().zip(batch.columns()) {
        by_name[column] = Some(array);
    }
    append(batch.num_rows(), by_name, out)?;
    Ok(batch.num_rows())
}

/// Iterates over the messages of an Arrow IPC stream.
struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed("message past the end"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, Malformed> {
        let mut raw = [0; 4];
        raw.copy_from_slice(self.take(4)?);
        Ok(u32::from_le_bytes(raw))
    }

    /// Returns the next message and its body, or `None` at the end of the stream.
    fn next(&mut self) -> Result<Option<(Message<'a>, &'a [u8])>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        if self.number()? != u32::MAX {
            return Err(Malformed("no continuation marker"));
        }
        let len = self.number()? as usize;
        if len == 0 {
            return Ok(None);
        }
        let message = arrow_ipc::root_as_message(self.take(len)?).map_err(|_| Malformed("bad message"))?;
        let body = usize::try_from(message.bodyLength()).map_err(|_| Malformed("negative length of a body"))?;
        Ok(Some((message, self.take(body)?)))
    }
}

/// Decodes the schema. Returns it with the position of each column in [`FIELDS`].
fn read_schema(message: &Message<'_>) -> Result<(SchemaRef, Vec<usize>), Malformed> {
    let schema = message.header_as_schema().ok_or(Malformed("no schema"))?;
    let fields = schema.fields().ok_or(Malformed("no columns"))?;
    let mut columns: Vec<usize> = Vec::new();
    for field in fields {
        let name = field.name().unwrap_or("");
        let column = FIELDS.iter().position(|f| f.name() == name).ok_or(Malformed("unknown column"))?;
        let item = field.children().and_then(|children| (children.len() == 1).then(|| children.get(0)));
        let is_int64 = |field: &arrow_ipc::Field<'_>| {
            field.type_as_int().is_some_and(|int| int.bitWidth() == 64 && int.is_signed())
        };
        let is_double = |field: &arrow_ipc::Field<'_>| {
            field.type_as_floating_point().is_some_and(|f| f.precision() == arrow_ipc::Precision::DOUBLE)
        };
        let is_plain = field.dictionary().is_none() && item.is_none_or(|item| item.dictionary().is_none());
        let fits = match column {
            H => field.type_type() == Type::Binary,
            V => field.type_type() == Type::List && item.as_ref().is_some_and(is_double),
            _ => field.type_type() == Type::List && item.as_ref().is_some_and(is_int64),
        };
        if !fits || !is_plain || columns.contains(&column) {
            return Err(Malformed("column of another type"));
        }
        columns.push(column);
    }
    if !columns.contains(&T) || !columns.contains(&V) || columns.contains(&HT) != columns.contains(&H) {
        return Err(Malformed("column missing"));
    }
    let fields: Vec<Field> = columns.iter().map(|column| FIELDS[*column].clone()).collect();
    Ok((Arc::new(Schema::new(fields)), columns))
}

/// Refuses headers that point beyond the body, before anything uses their offsets.
fn check_header(header: &arrow_ipc::RecordBatch<'_>, body: usize) -> Result<(), Malformed> {
    let fits = |number: i64, most: usize| usize::try_from(number).is_ok_and(|number| number <= most);
    if header.compression().is_some() {
        return Err(Malformed("compressed batch"));
    }
    if !fits(header.length(), MAX_ROWS) {
        return Err(Malformed("number of rows"));
    }
    for node in header.nodes().into_iter().flatten() {
        if !fits(node.length(), body.max(MAX_ROWS)) || !fits(node.null_count(), body.max(MAX_ROWS)) {
            return Err(Malformed("length of a column"));
        }
    }
    for buffer in header.buffers().into_iter().flatten() {
        let end = buffer.offset().checked_add(buffer.length()).unwrap_or(i64::MAX);
        if buffer.offset() < 0 || buffer.length() < 0 || !fits(end, body) {
            return Err(Malformed("buffer past the end"));
        }
    }
    Ok(())
}

/// A decoded list column.
struct Column<'a, A: ArrowPrimitiveType> {
    list: &'a ListArray,
    values: &'a PrimitiveArray<A>,
}

impl<'a, A: ArrowPrimitiveType> Column<'a, A> {
    fn of(array: &'a ArrayRef) -> Result<Self, Malformed> {
        let list = array.as_list_opt::<i32>().ok_or(Malformed("column is not a list"))?;
        let values = list.values().as_primitive_opt::<A>().ok_or(Malformed("list of another type"))?;
        if values.null_count() > 0 {
            return Err(Malformed("null in a list"));
        }
        Ok(Column { list, values })
    }

    fn range(&self, row: usize) -> Range<usize> {
        let offsets = self.list.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    }

    fn get(&self, row: usize) -> &'a [A::Native] {
        let range = self.range(row);
        &self.values.values()[range]
    }
}

fn append(rows: usize, columns: [Option<&ArrayRef>; 6], out: &mut SeriesBatch) -> Result<(), Malformed> {
    let missing = Malformed("column missing");
    let t = Column::<Int64Type>::of(columns[T].ok_or(missing)?)?;
    let v = Column::<Float64Type>::of(columns[V].ok_or(missing)?)?;
    let optional = |column: usize| columns[column].map(Column::<Int64Type>::of).transpose();
    let (st, ht, hst) = (optional(ST)?, optional(HT)?, optional(HST)?);
    let h = match columns[H] {
        Some(array) => Some(array.as_binary_opt::<i32>().ok_or(Malformed("histograms are not binary"))?),
        None => None,
    };
    let mut times = out.t.len()..out.t.len();
    for row in 0..rows {
        if !t.list.is_null(row) {
            let own = t.get(row);
            check_ascending(own)?;
            times = out.t.len()..out.t.len() + own.len();
            out.t.extend_from_slice(own);
        } else if row == 0 {
            return Err(Malformed("the first row has no timestamps"));
        }
        let mut columns = SeriesColumns { t: times.clone(), v: out.v.len(), ..SeriesColumns::default() };
        append_exactly(v.get(row), times.len(), &mut out.v)?;
        columns.st = append_starts(st.as_ref().map_or(&[], |st| st.get(row)), times.len(), &mut out.st)?;
        let own = ht.as_ref().map_or(&[][..], |ht| ht.get(row));
        check_ascending(own)?;
        columns.ht = out.ht.len()..out.ht.len() + own.len();
        columns.h = out.h.len();
        out.ht.extend_from_slice(own);
        read_histograms(h.map_or(&[], |h| h.value(row)), own.len(), &mut out.h)?;
        columns.hst = append_starts(hst.as_ref().map_or(&[], |hst| hst.get(row)), own.len(), &mut out.hst)?;
        out.series.push(columns);
    }
    Ok(())
}

fn check_ascending(times: &[i64]) -> Result<(), Malformed> {
    if times.is_sorted_by(|a, b| a < b) { Ok(()) } else { Err(Malformed("timestamps are not ascending")) }
}

fn append_exactly<T: Copy>(values: &[T], len: usize, out: &mut Vec<T>) -> Result<(), Malformed> {
    if values.len() != len {
        return Err(Malformed("as many values as timestamps were expected"));
    }
    out.extend_from_slice(values);
    Ok(())
}

fn append_starts(values: &[i64], len: usize, out: &mut Vec<i64>) -> Result<Option<usize>, Malformed> {
    if values.is_empty() {
        return Ok(None);
    }
    let at = out.len();
    append_exactly(values, len, out)?;
    Ok(Some(at))
}

fn read_histograms(bytes: &[u8], count: usize, out: &mut Vec<Arc<Histogram>>) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes);
    let mut before: Option<Arc<Histogram>> = None;
    for _ in 0..count {
        let histogram = Arc::new(histogram::decode(before.as_deref(), &mut reader)?);
        out.push(histogram.clone());
        before = Some(histogram);
    }
    if reader.is_empty() { Ok(()) } else { Err(Malformed("bytes behind the last histogram")) }
}

#[cfg(test)]
mod tests;
