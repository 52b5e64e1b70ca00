//! `data.parquet` while it is written: rows of samples, coded as they come, flushed as row groups.

use parquet::data_type::{ByteArray, DoubleType, Int32Type, Int64Type};
use pharos_model::{Labels, is_stale_nan};

use super::columns::{ListColumn, TextColumn, write_scalars};
use super::file::FileWriter;
use crate::coding::{self, Mode};
use crate::error::BlockError;
use crate::schema::{self, ROWS_PER_GROUP};

/// Most sample values that are buffered for a row group.
const VALUES_PER_GROUP: usize = 4 << 20;
/// Where the running integer sequence starts anew.
const MAX_SEQUENCE: i64 = 1 << 40;

/// One row: a slice of a series.
pub(crate) struct Slice<'a> {
    pub(crate) sid: i32,
    pub(crate) slice_t: i64,
    pub(crate) ts_id: i32,
    pub(crate) ts_off: i32,
    pub(crate) values: &'a [f64],
    /// Empty, or one start timestamp a value.
    pub(crate) st: &'a [i64],
}

/// The rows of the row group that is being filled.
pub(crate) struct DataFile {
    file: FileWriter,
    promoted: Vec<String>,
    sid: Vec<i32>,
    slice_t: Vec<i64>,
    ts_id: Vec<i32>,
    ts_off: Vec<i32>,
    n: Vec<i32>,
    md: Vec<i32>,
    e: Vec<i32>,
    mul: Vec<i64>,
    v0: Vec<i64>,
    vi: ListColumn<i64>,
    vd: ListColumn<f64>,
    st: ListColumn<i64>,
    labels: Vec<TextColumn>,
    last_x: i64,
    scratch: Vec<i64>,
}

impl DataFile {
    pub(crate) fn new(promoted: Vec<String>) -> Result<Self, BlockError> {
        let file = FileWriter::new(schema::data_schema(&promoted)?, schema::data_properties()?)?;
        Ok(DataFile {
            file,
            labels: promoted.iter().map(|_| TextColumn::default()).collect(),
            promoted,
            sid: Vec::new(),
            slice_t: Vec::new(),
            ts_id: Vec::new(),
            ts_off: Vec::new(),
            n: Vec::new(),
            md: Vec::new(),
            e: Vec::new(),
            mul: Vec::new(),
            v0: Vec::new(),
            vi: ListColumn::new(true),
            vd: ListColumn::new(false),
            st: ListColumn::new(false),
            last_x: 0,
            scratch: Vec::new(),
        })
    }

    /// Appends a row.
    pub(crate) fn push(&mut self, labels: &Labels, slice: &Slice<'_>) -> Result<(), BlockError> {
        let mut numbers = std::mem::take(&mut self.scratch);
        let (mode, scale) = coding::encode(slice.values, &mut numbers);
        let mut v0 = 0;
        let (mut ints, mut doubles): (usize, &[f64]) = (0, &[]);
        match mode {
            Mode::Constant => v0 = numbers[0],
            Mode::ConstantDouble => doubles = &slice.values[..1],
            Mode::Doubles => doubles = slice.values,
            Mode::Scaled => {
                v0 = self.base(&numbers);
                ints = slice.values.len();
            }
        }
        self.vi.push_levels(ints);
        if mode == Mode::Scaled {
            self.vi.values_mut().extend(numbers.iter().map(|n| n.wrapping_sub(v0)));
            self.last_x = numbers.last().map_or(0, |n| n.wrapping_sub(v0));
            if numbers.len() < ints {
                let stale = slice.values.iter().enumerate().filter(|(_, v)| is_stale_nan(**v));
                stale.for_each(|(at, _)| self.vi.mark_null(ints - at));
            }
        }
        self.scratch = numbers;
        self.vd.push(doubles);
        let same_st = slice.st.iter().all(|st| *st == slice.st[0]);
        self.st.push(if same_st { &slice.st[..slice.st.len().min(1)] } else { slice.st });
        self.sid.push(slice.sid);
        self.slice_t.push(slice.slice_t);
        self.ts_id.push(slice.ts_id);
        self.ts_off.push(slice.ts_off);
        self.n.push(slice.values.len() as i32);
        self.md.push(mode as i32);
        self.e.push(scale.e as i32);
        self.mul.push(scale.mul);
        self.v0.push(v0);
        for (column, name) in self.labels.iter_mut().zip(&self.promoted) {
            column.push(labels.get(name).map(ByteArray::from));
        }
        if self.sid.len() == ROWS_PER_GROUP || self.vi.len() + self.vd.len() + self.st.len() >= VALUES_PER_GROUP {
            self.flush()?;
        }
        Ok(())
    }

    /// Chooses `v0` so that the integers continue the row before with a step like the row's own first one: the deltas
    /// across the boundary of two rows are then as small as those within.
    fn base(&self, numbers: &[i64]) -> i64 {
        let first = numbers[0];
        let step = numbers.get(1).map_or(0, |second| second.wrapping_sub(first));
        let spread = |n: i64| n.wrapping_sub(first).unsigned_abs() < MAX_SEQUENCE as u64;
        let in_reach = self.last_x.unsigned_abs() < MAX_SEQUENCE as u64 && numbers.iter().copied().all(spread);
        if in_reach { first.wrapping_sub(self.last_x.wrapping_add(step)) } else { first }
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        if self.sid.is_empty() {
            return Ok(());
        }
        self.last_x = 0;
        self.file.group(|group| {
            write_scalars::<Int32Type, _>(group, &mut self.sid)?;
            write_scalars::<Int64Type, _>(group, &mut self.slice_t)?;
            for column in [&mut self.ts_id, &mut self.ts_off, &mut self.n, &mut self.md, &mut self.e] {
                write_scalars::<Int32Type, _>(group, column)?;
            }
            write_scalars::<Int64Type, _>(group, &mut self.mul)?;
            write_scalars::<Int64Type, _>(group, &mut self.v0)?;
            self.st.write::<Int64Type, _>(group)?;
            self.vi.write::<Int64Type, _>(group)?;
            self.vd.write::<DoubleType, _>(group)?;
            self.labels.iter_mut().try_for_each(|column| column.write(group))
        })
    }

    /// Bytes of the file so far.
    pub(crate) fn bytes(&self) -> usize {
        self.file.bytes()
    }

    /// The complete file.
    pub(crate) fn finish(mut self) -> Result<FileWriter, BlockError> {
        self.flush()?;
        Ok(self.file)
    }
}
