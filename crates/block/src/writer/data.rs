//! Writes `data.parquet`: rows of samples, which are coded as they are pushed and flushed as row groups.

use parquet::data_type::{ByteArray, DoubleType, Int32Type, Int64Type};
use pharos_model::{Labels, is_stale_nan};

use super::columns::{ListColumn, TextColumn, write_scalars};
use super::file::FileWriter;
use crate::coding::{self, Mode};
use crate::error::BlockError;
use crate::schema::{self, MAX_GROUP_ROWS};

/// Buffered values after which a row group is written.
const MAX_GROUP_VALUES: usize = 4 << 20;
/// The integers of a row continue those of the previous row as long as they stay below this.
const MAX_SEQUENCE: i64 = 1 << 40;

/// One row: consecutive samples of a series.
pub(crate) struct SampleRow<'a> {
    pub(crate) sid: i32,
    pub(crate) first_t: i64,
    pub(crate) ts_id: i32,
    pub(crate) ts_off: i32,
    pub(crate) values: &'a [f64],
    /// Empty, or a start timestamp for every value.
    pub(crate) st: &'a [i64],
}

/// The row group that is being filled, column by column.
pub(crate) struct DataFile {
    file: FileWriter,
    promoted: Vec<String>,
    sid: Vec<i32>,
    first_t: Vec<i64>,
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
    /// The last integer of the previous row of mode [`Mode::Scaled`].
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
            first_t: Vec::new(),
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

    pub(crate) fn push(&mut self, labels: &Labels, row: &SampleRow<'_>) -> Result<(), BlockError> {
        let mut numbers = std::mem::take(&mut self.scratch);
        let (mode, scale) = coding::encode(row.values, &mut numbers);
        let mut v0 = 0;
        let mut ints = 0;
        let mut doubles: &[f64] = &[];
        match mode {
            Mode::Constant => v0 = numbers[0],
            Mode::ConstantDouble => doubles = &row.values[..1],
            Mode::Doubles => doubles = row.values,
            Mode::Scaled => {
                v0 = self.base(&numbers);
                ints = row.values.len();
            }
        }
        self.vi.push_levels(ints);
        if mode == Mode::Scaled {
            self.vi.values_mut().extend(numbers.iter().map(|n| n.wrapping_sub(v0)));
            self.last_x = numbers.last().map_or(0, |n| n.wrapping_sub(v0));
            if numbers.len() < ints {
                let stale = row.values.iter().enumerate().filter(|(_, v)| is_stale_nan(**v));
                stale.for_each(|(at, _)| self.vi.mark_null(ints - at));
            }
        }
        self.scratch = numbers;
        self.vd.push(doubles);
        let same_st = row.st.iter().all(|st| *st == row.st[0]);
        self.st.push(if same_st { &row.st[..row.st.len().min(1)] } else { row.st });
        self.sid.push(row.sid);
        self.first_t.push(row.first_t);
        self.ts_id.push(row.ts_id);
        self.ts_off.push(row.ts_off);
        self.n.push(row.values.len() as i32);
        self.md.push(mode as i32);
        self.e.push(scale.e as i32);
        self.mul.push(scale.mul);
        self.v0.push(v0);
        for (column, name) in self.labels.iter_mut().zip(&self.promoted) {
            column.push(labels.get(name).map(ByteArray::from));
        }
        if self.sid.len() == MAX_GROUP_ROWS || self.vi.len() + self.vd.len() + self.st.len() >= MAX_GROUP_VALUES {
            self.flush()?;
        }
        Ok(())
    }

    /// Chooses `v0` so that the integers continue those of the previous row, with a step like the first one of this row. The
    /// delta across the boundary of two rows is then as small as the deltas within them.
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
            write_scalars::<Int64Type, _>(group, &mut self.first_t)?;
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

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> usize {
        self.file.bytes()
    }

    pub(crate) fn finish(mut self) -> Result<FileWriter, BlockError> {
        self.flush()?;
        Ok(self.file)
    }
}
